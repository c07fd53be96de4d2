"""Fields: the parameters of a task, declared by the annotations of its class."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass
from dataclasses import field as dataclass_field
from typing import Any, TypeVar, overload

from tadka.core.error import ConfigError
from tadka.task.define.annotation import kind_of
from tadka.task.define.frozen import Input, canonical
from tadka.task.define.kind import Kind, TaskOf, Wrong

V = TypeVar("V")

_LONGEST_VALUE = 80  # letters of a value in a message


@dataclass(frozen=True)
class Param:
    """What `param` was told, until the class that it stands in is made."""

    default: Any
    default_factory: Any
    is_significant: bool
    help: str


@overload
def param(*, default: V, significant: bool = True, help: str = "") -> V: ...
@overload
def param(*, default_factory: Callable[[], V], significant: bool = True, help: str = "") -> V: ...
@overload
def param(*, significant: bool = True, help: str = "") -> Any: ...
def param(
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    significant: bool = True,
    help: str = "",  # noqa: A002 - the word that argparse and typer have
) -> Any:
    """What is said of a field beside its type; it stands where a default would.

    Args:
        default: The value where none is given.
        default_factory: Called without arguments for the value where none is given.
        significant: Whether another value makes another task. Where results are read from, and how
            many threads make them, is not significant.
        help: One sentence for the command line.

    Returns:
        What the class statement takes the field's settings from.

    Raises:
        ConfigError: Both a default and a factory are given, or one is of the wrong type.
    """
    if default is not MISSING and default_factory is not MISSING:
        raise ConfigError("param has both `default` and `default_factory`; give one of them.")
    if default_factory is not MISSING and not callable(default_factory):
        raise ConfigError(
            f"param has default_factory={default_factory!r}; it must be a function without "
            "arguments. A value is given as `default`."
        )
    for name, value, type_ in (("significant", significant, bool), ("help", help, str)):
        if type(value) is not type_:
            raise ConfigError(f"param has {name}={value!r}; it must be {type_.__name__}.")
    return Param(default, default_factory, significant, help)


@dataclass(frozen=True)
class Field:
    """One parameter of a class of tasks.

    Args:
        name: As in the class.
        annotation: Its type, evaluated.
        default: Checked and frozen; `dataclasses.MISSING` where there is none.
        default_factory: Makes the default; `dataclasses.MISSING` where there is none.
        is_significant: Whether another value makes another task.
        help: One sentence for the command line.
        kind: The values that it accepts.
    """

    name: str
    annotation: Any
    default: Any
    default_factory: Any
    is_significant: bool
    help: str
    kind: Kind = dataclass_field(repr=False)

    @classmethod
    def of(cls, name: str, annotation: Any, declared: Any, where: str) -> "Field":
        """A field as a class declares it.

        Args:
            name: As in the class.
            annotation: Its type, evaluated.
            declared: The value beside it: a default, what `param` gave, or `MISSING`.
            where: The class, for messages.

        Raises:
            ConfigError: The type is no parameter's, or the default is not of it.
        """
        given = declared if isinstance(declared, Param) else Param(declared, MISSING, True, "")
        if isinstance(given.default, list | dict | set):
            made = type(given.default).__name__
            factory = made if not given.default else f"lambda: {given.default!r}"
            raise ConfigError(
                f"Field {name!r} of {where} has the default {given.default!r}, which all tasks of "
                f"the class would share; write param(default_factory={factory})."
            )
        kind = kind_of(annotation, f"Field {name!r} of {where}")
        field = cls(
            name, annotation, MISSING, given.default_factory, given.is_significant, given.help, kind
        )
        return field if given.default is MISSING else field.with_default(given.default, where)

    def with_default(self, default: Any, where: str) -> "Field":
        """The field with another default.

        Args:
            default: Checked here.
            where: The class, for messages.

        Raises:
            ConfigError: The field does not accept it.
        """
        try:
            default = self.kind.check(default)
        except Wrong as wrong:
            raise self._error(wrong, f"{where} has as default") from None
        return Field(
            self.name,
            self.annotation,
            default,
            MISSING,
            self.is_significant,
            self.help,
            self.kind,
        )

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING and self.default_factory is MISSING

    @property
    def holds_tasks(self) -> bool:
        """Whether its value is, or may have in it, tasks."""
        return self.kind.holds_tasks

    def value_of(self, value: Any, where: str) -> Any:
        """A value, checked and frozen: lists are tuples, dicts and sets cannot change.

        Args:
            value: What was given.
            where: The class, for messages.

        Raises:
            ConfigError: The field does not accept it.
        """
        try:
            return self.kind.check(value)
        except Wrong as wrong:
            raise self._error(wrong, f"{where} is") from None

    def made_default(self, where: str) -> Any:
        """The default; checked, where a factory makes it.

        Args:
            where: The class, for messages.

        Raises:
            ConfigError: There is none, or the factory makes what the field does not accept.
        """
        if self.default is not MISSING:
            return self.default
        if self.default_factory is MISSING:
            raise ConfigError(f"{where} needs field {self.name!r} ({self.kind.name}).")
        return self.value_of(self.default_factory(), where)

    def from_text(self, text: str, where: str) -> Any:
        """The value of a text on a command line: dates as ISO, Enum by name, containers as JSON.

        Args:
            text: As typed.
            where: The class, for messages.

        Raises:
            ConfigError: The text is no value of the field.
        """
        try:
            return self.kind.from_text(text)
        except Wrong as wrong:
            raise self._error(wrong, f"{where} is") from None

    def to_json(self, value: Any) -> Any:
        """A value of the field as plain JSON; tasks as `{"task": id}`.

        Args:
            value: As `value_of` gave it.
        """
        return value.as_json() if isinstance(value, Input) else self.kind.to_json(value)

    def from_json(self, data: Any, where: str, task_of: TaskOf | None = None) -> Any:
        """The value that `to_json` wrote.

        Args:
            data: Plain JSON.
            where: The class, for messages.
            task_of: Gives the task of an id, or its part of a name; without it tasks are refused.

        Raises:
            ConfigError: The JSON is no value of the field.
        """
        try:
            return self.kind.from_json(data, task_of)
        except Wrong as wrong:
            raise self._error(wrong, f"{where} is") from None

    def canonical(self, value: Any, part: Callable[[Input[Any]], bytes]) -> bytes:
        """What is hashed for a value: typed and unambiguous.

        Args:
            value: As `value_of` gave it.
            part: The payload that stands for a task or for one output of it.
        """
        return canonical(value, part)

    def _error(self, wrong: Wrong, what: str) -> ConfigError:
        shown = repr(wrong.value)
        if len(shown) > _LONGEST_VALUE:
            shown = f"{shown[: _LONGEST_VALUE - 3]}..."
        return ConfigError(
            f"Field {self.name + wrong.place!r} of {what} {shown}; it must be {wrong.accepted}."
            f"{' ' if wrong.hint else ''}{wrong.hint}"
        )
