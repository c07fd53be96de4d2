"""Tasks: frozen values that name a result and know how to make it."""

import hashlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, FrozenInstanceError
from types import MappingProxyType, NoneType
from typing import Any, ClassVar, Literal, Never, Self, TypeVar, dataclass_transform

from tadka.core.error import ConfigError
from tadka.core.resource import Resources
from tadka.task.define.declaration import (
    Argument,
    check_settings,
    closest,
    read_arguments,
    read_fields,
    read_outs,
)
from tadka.task.define.explanation import Explanation
from tadka.task.define.field import Field, param
from tadka.task.define.frozen import (
    Input,
    canonical,
    gather,
    inputs,
    ordered,
    path_of,
    record,
    replaced,
)
from tadka.task.define.result import closed, result_of, shown
from tadka.task.output.codec import codec_of
from tadka.task.output.out import Check, Out, checks_of

T_co = TypeVar("T_co", covariant=True)

_LONGEST_REPR = 160  # letters
# They stand above this module, which knows no store, and are needed by few who need tasks.
_EXPLAIN = "tadka.task.plan:explain"
_DEFAULTS = "tadka.task.settings:defaults_of"
_WITHOUT_ROWS = (bool, int, float, str, bytes, NoneType)
# Attributes of a class that say nothing about how its result is made, or that keys have anyway.
_NOT_CODE = frozenset(
    (
        "_arguments",
        "_declared",
        "_head",
        "_is_abstract",
        "_path",
        "_significant",
        "_with_tasks",
        "checks",
        "code_files",
        "fields",
        "on_code_change",
        "out",
        "outs",
        "resources",
        "result_type",
        "retries",
        "significant",
        "version",
    )
)


def _first(cls: type["Task[Any]"]) -> Mapping[str, Any]:
    """The settings of the project, which are looked for when a task first asks for a default."""
    defaults: Callable[..., Mapping[str, Any]] = pkgutil.resolve_name(_DEFAULTS)
    return defaults(cls)


# Values of fields that stand above a class's own defaults and below what a call gives.
_settings: Callable[[type["Task[Any]"]], Mapping[str, Any]] | None = _first


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(param,))
class Task(Input[T_co]):
    """A result of type T that is made at most once for each set of parameters.

    A subclass annotates its fields, which are given by keyword and never change. A field may hold
    other tasks, or lists and dicts of them: what the task needs. `run` makes the result; it has an
    argument for each field whose results it wants loaded.

    Tasks are equal when their ids are. Settings of a subclass are plain attributes:

    Attributes:
        fields: The parameters, by name.
        outs: The outputs by name; a single one is called `""`.
        checks: Methods marked with `@check`.
        result_type: T, as a subclass or its bases give it.
        out: How the result is kept; a dict of several outputs by name.
        version: Another one makes all results anew.
        resources: What `run` needs.
        retries: How often a failed `run` is tried again.
        seed: Of random numbers; None derives it from the id.
        on_code_change: What happens to a result when its code changed; None leaves it to `build`.
        code_files: Files that belong to the code, relative to the class's file.
        uses: Functions, classes and values that belong to the code and are not seen in it.
        significant: Whether what takes this in is another task because of it.

    Raises:
        ConfigError: The class statement, or a value of a field, is wrong.
    """

    fields: ClassVar[Mapping[str, Field]] = MappingProxyType({})
    outs: ClassVar[Mapping[str, Out]] = MappingProxyType({})
    checks: ClassVar[Sequence[Check]] = ()
    result_type: ClassVar[Any] = Any

    out: ClassVar[Out | Mapping[str, Out]] = Out()
    version: ClassVar[str] = ""
    resources: ClassVar[Resources] = Resources()
    retries: ClassVar[int] = 0
    seed: ClassVar[int | None] = None
    on_code_change: ClassVar[Literal["rerun", "warn", "ignore"] | None] = None
    code_files: ClassVar[Sequence[str]] = ()
    uses: ClassVar[Sequence[object]] = ()
    significant: ClassVar[bool] = True

    __not_code__: ClassVar[frozenset[str]] = frozenset()  # read by tadka.task.code.digest
    _path: ClassVar[str] = ""
    _declared: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    _arguments: ClassVar[tuple[Argument, ...]] = ()
    _is_abstract: ClassVar[bool] = True
    _head: ClassVar[bytes] = b""  # of the pre-image of ids
    _significant: ClassVar[tuple[tuple[bytes, str], ...]] = ()
    _with_tasks: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        frame = inspect.currentframe()
        while frame is not None and frame.f_code.co_name == "__init_subclass__":
            frame = frame.f_back  # that of the class statement, where its annotations were written
        names = {} if frame is None else frame.f_locals
        cls.fields = MappingProxyType(read_fields(cls, Task, names))
        for name, field in cls.fields.items():
            if field.default is not MISSING:
                setattr(cls, name, field.default)
            elif name in vars(cls):
                delattr(cls, name)
        check_settings(cls, Task)
        cls.outs = MappingProxyType(read_outs(cls))
        cls._declared = {name: out.declaration() for name, out in cls.outs.items()}
        cls.checks = checks_of(cls)
        cls.result_type = closed(result_of(cls, Task))
        cls._is_abstract = cls.run is Task.run or hasattr(cls.run, "__isabstractmethod__")
        cls._arguments = () if cls._is_abstract else read_arguments(cls, cls.fields)
        if not cls._is_abstract:
            _check_formats(cls)
        for one in cls.checks:
            _check_check(cls, one.name)
        cls.__not_code__ = _NOT_CODE | cls.fields.keys()
        cls._path = path_of(cls)
        cls._head = record(b"str", cls._path.encode())
        cls._significant = tuple(
            (record(b"str", name.encode()), name)
            for name in sorted(cls.fields)
            if cls.fields[name].is_significant
        )
        cls._with_tasks = tuple(n for n, field in cls.fields.items() if field.holds_tasks)

    def __init__(self, *args: Any, **given: Any) -> None:
        cls = type(self)
        where = cls.__name__
        if args or cls._is_abstract:
            raise _misuse(cls, args)
        values = self.__dict__
        settings: Mapping[str, Any] | None = None
        for name, field in cls.fields.items():
            if name in given:
                values[name] = field.value_of(given.pop(name), where)
                continue
            if _settings is not None:
                settings = _settings(cls) if settings is None else settings
                if name in settings:
                    values[name] = field.value_of(settings[name], where)
                    continue
            if field.is_required:
                _refuse_unknown(cls, given)  # perhaps the field's name, misspelt
            values[name] = field.made_default(where)
        if given:
            _refuse_unknown(cls, given)
        if hasattr(self, "__post_init__"):
            self.__post_init__()

    def run(self, *args: Any, **kwargs: Any) -> T_co:
        """Makes the result; every class writes its own, with an argument for each input it loads.

        Raises:
            NotImplementedError: The class has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run.")

    def fingerprint(self) -> Mapping[str, str]:
        """The state of what `run` reads and no task made; another state makes another result.

        A class that reads files, tables or services says here what they are like now. It is asked
        at each build, before anything of the task runs: `{"ratings": state_of(self.file)}`.

        Returns:
            Text by name; the names are what `explain` tells of.
        """
        return {}

    @property
    def id(self) -> str:
        """What the task is, as 32 hexadecimal digits: its class and its significant fields."""
        known: str | None = self.__dict__.get("_id")
        if known is None:
            for task in ordered([self], _without_id, id) if _without_id(self) else (self,):
                known = task.__dict__["_id"] = _digest(task)
        assert known is not None
        return known

    @property
    def is_significant(self) -> bool:
        """Whether what takes this in is another task because of it."""
        return type(self).significant

    def tasks(self) -> "Iterator[tuple[str, Task[Any]]]":
        """What the task needs directly: each task with its place, such as `"days[3]"`.

        Returns:
            In the order of the fields; where a part of a task is held, the task.
        """
        for place, item in inputs_of(self):
            yield place, whole_of(item)

    def explain(self, workspace: Any = None) -> Explanation:
        """Whether the task runs if it is built now, and what changed since its last result.

        Args:
            workspace: As in `build`.

        Raises:
            DataError: The index cannot be read.
        """
        explain: Callable[..., Explanation] = pkgutil.resolve_name(_EXPLAIN)
        return explain(self, workspace=workspace)

    def __getitem__(self, name: str) -> "Part[Any]":
        """One of several outputs, for a field of another task: `train["weights"]`."""
        return Part(self, name)

    __iter__ = None  # it has outputs by name, not by number

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(self) is type(other) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        """Short, however deep: `Features(window=7, clicks=Clicks#1a2b3c)`."""
        plain, needed = [], []
        for name, field in self.fields.items():
            if field.holds_tasks:
                needed.append(f"{name}={_brief(self.__dict__.get(name))}")
            else:
                text = repr(self.__dict__.get(name))
                plain.append(f"{name}={text if len(text) <= 40 else text[:37] + '...'}")
        text = ", ".join(plain + needed)
        text = text if len(text) <= _LONGEST_REPR else f"{text[: _LONGEST_REPR - 3]}..."
        return f"{type(self).__name__}({text})"

    def __setattr__(self, name: str, value: object) -> Never:
        raise FrozenInstanceError(
            f"{type(self).__name__}.{name} cannot be set: a task never changes. Make another one."
        )

    def __delattr__(self, name: str) -> Never:
        raise FrozenInstanceError(
            f"{type(self).__name__}.{name} cannot be deleted: a task never changes."
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """As a flat list, each task after what it needs: pickle would go as deep as the tasks."""
        tasks = list(ordered([self], needs_of, id))
        index = {id(task): i for i, task in enumerate(tasks)}

        def place(item: Input[Any]) -> Input[Any]:
            return _Place(
                index[id(whole_of(item))], item.output if isinstance(item, Part) else None
            )

        rows = []
        for task in tasks:
            own = task.__dict__
            values = {name: replaced(own[name], place) for name in task.fields}
            if "_is_cut" in own:  # its fields give no id any more
                values.update(_id=own["_id"], _is_cut=True)
            rows.append((type(task), values))
        return _restored, (rows,)


class Part(Input[T_co]):
    """One of several outputs of a task, as `train["weights"]` gives it.

    A field takes it when it is annotated with `Part[T]`.

    Args:
        task: It.
        output: The output's name.

    Raises:
        ConfigError: The task has no such output.
    """

    __slots__ = ("output", "task")

    task: Task[Any]
    output: str

    def __init__(self, task: Task[Any], output: str) -> None:
        name = type(task).__name__
        if "" in task.outs:
            raise ConfigError(
                f"{name} has a single output, and {output!r} is asked of it. Several are declared "
                'as out = {"name": Out(...)}.'
            )
        if output not in task.outs:
            hint = closest(str(output), task.outs, "Its outputs are ")
            raise ConfigError(f"{name} has no output {output!r}.{hint}")
        object.__setattr__(self, "task", task)
        object.__setattr__(self, "output", output)

    @property
    def id(self) -> str:
        """The id of the task and the name of the output."""
        return f"{self.task.id}[{self.output}]"

    @property
    def is_significant(self) -> bool:
        """Whether the task is."""
        return self.task.is_significant

    @property
    def result_type(self) -> Any:
        """The type of the output, as far as the task's class says it."""
        return type_of_output(type(self.task), self.output)

    def as_json(self) -> dict[str, str]:
        """What stands for it in JSON."""
        return {"task": self.task.id, "part": self.output}

    def __eq__(self, other: object) -> bool:
        return type(other) is Part and self.output == other.output and self.task == other.task

    def __hash__(self) -> int:
        return hash((self.task, self.output))

    def __repr__(self) -> str:
        return f"{type(self.task).__name__}#{self.task.id[:6]}[{self.output!r}]"

    def __setattr__(self, name: str, value: object) -> Never:
        raise FrozenInstanceError(f"Part.{name} cannot be set: a part never changes.")

    def __delattr__(self, name: str) -> Never:
        raise FrozenInstanceError(f"Part.{name} cannot be deleted: a part never changes.")

    def __reduce__(self) -> tuple[Any, ...]:
        return Part, (self.task, self.output)


class _Place(Input[Any]):
    """Stands for a task in a pickle: its number in the list of tasks, and the output's name."""

    __slots__ = ("index", "output")

    def __init__(self, index: int, output: str | None) -> None:
        self.index = index
        self.output = output

    def __reduce__(self) -> tuple[Any, ...]:
        return _Place, (self.index, self.output)


def inputs_of(task: Task[Any]) -> Iterator[tuple[str, Input[Any]]]:
    """The tasks and parts that a task's fields hold, with their places.

    Args:
        task: Any.

    Returns:
        In the order of the fields.
    """
    cls = type(task)
    for name in cls._with_tasks:
        yield from inputs(task.__dict__[name], name)


def needs_of(task: Task[Any]) -> list[Task[Any]]:
    """What a task needs directly; what stands in two places is there twice.

    Args:
        task: Any.

    Returns:
        In the order of the fields.
    """
    cls = type(task)
    if not cls._with_tasks:
        return []
    found: list[Input[Any]] = []
    for name in cls._with_tasks:
        gather(task.__dict__[name], found)
    return [item.task if type(item) is Part else item for item in found]  # type: ignore[misc]


def whole_of(item: Input[Any]) -> Task[Any]:
    """The task itself, or the one whose part it is.

    Args:
        item: What a field holds.
    """
    if isinstance(item, Part):
        return item.task
    assert isinstance(item, Task)
    return item


def part_of(task: Task[Any], output: str) -> Part[Any]:
    """A part, without asking whether the task has that output: a stand-in does not know it.

    Args:
        task: Any.
        output: Of the task.
    """
    part: Part[Any] = Part.__new__(Part)
    object.__setattr__(part, "task", task)
    object.__setattr__(part, "output", output)
    return part


def arguments_of(cls: type[Task[Any]]) -> tuple[Argument, ...]:
    """What `run` of a class asks for, in its order.

    Args:
        cls: A class of tasks.
    """
    return cls._arguments


def type_of_output(cls: type[Task[Any]], name: str) -> Any:
    """The type of an output: T, or for several what T says of each.

    Args:
        cls: A class of tasks.
        name: Of an output; `""` where there is a single one.

    Returns:
        X of `dict[str, X]`, the type beside the name in a TypedDict, else Any.
    """
    result = cls.result_type
    if not name:
        return result
    if typing.is_typeddict(result):
        return typing.get_type_hints(result).get(name, Any)
    arguments = typing.get_args(result)
    is_mapping = typing.get_origin(result) in {dict, Mapping} and len(arguments) == 2
    return arguments[1] if is_mapping and arguments[1] is not object else Any


def set_settings(settings: Callable[[type[Task[Any]]], Mapping[str, Any]] | None) -> None:
    """Takes defaults of fields from somewhere else, above those of the class.

    Args:
        settings: Gives, for a class, values by field; None for no such settings.
    """
    global _settings
    _settings = settings


def _check_formats(cls: type[Task[Any]]) -> None:
    for name, out in cls.outs.items():
        type_ = type_of_output(cls, name)
        place = f"{cls.__name__}.out[{name!r}]" if name else f"{cls.__name__}.out"
        try:
            codec_of(out, type_)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from error
        if out.min_rows and type_ in _WITHOUT_ROWS:
            raise ConfigError(
                f"{place} declares min_rows={out.min_rows}, and {shown(type_)} has no rows; "
                "frames, lists, dicts and arrays have."
            )


def _check_check(cls: type[Task[Any]], name: str) -> None:
    """Refuses a check that cannot be called with the result."""
    is_method = inspect.isfunction(inspect.getattr_static(cls, name))
    try:
        inspect.signature(getattr(cls, name)).bind(*([None] * (1 + is_method)))
    except TypeError:
        raise ConfigError(
            f"Check {cls.__name__}.{name} must have one argument, the result: "
            f"def {name}(self, value) -> bool."
        ) from None


def _misuse(cls: type[Task[Any]], args: tuple[Any, ...]) -> ConfigError:
    if args:
        return ConfigError(
            f"{cls.__name__} takes its fields by name, but {args[0]!r} has none. Write "
            f"{cls.__name__}({next(iter(cls.fields), 'field')}=...)."
        )
    return ConfigError(
        f"{cls.__name__} has no run, so no task can be made of it. Write def run(self, ...), or "
        "use a subclass that has one."
    )


def _refuse_unknown(cls: type[Task[Any]], given: Iterable[str]) -> None:
    for name in given:
        if name not in cls.fields:
            hint = closest(name, cls.fields, "Its fields are ") or " It has no fields."
            raise ConfigError(f"{cls.__name__} has no field {name!r}.{hint}")


def _without_id(task: Task[Any]) -> list[Task[Any]]:
    return [other for other in needs_of(task) if "_id" not in other.__dict__]


def _digest(task: Task[Any]) -> str:
    cls, values = type(task), task.__dict__
    parts = [cls._head]
    for head, name in cls._significant:
        parts.append(head)
        parts.append(canonical(values[name], _id_bytes))
    return hashlib.sha256(record(b"task", b"".join(parts))).hexdigest()[:32]


def _id_bytes(item: Input[Any]) -> bytes:
    return item.id.encode()


def _brief(value: Any) -> str:
    """A field with tasks: one of them by name, many of them by number."""
    if isinstance(value, Task):
        return f"{type(value).__name__}#{value.id[:6]}"
    if value and isinstance(value, tuple | Mapping):
        found = [type(whole_of(item)).__name__ for _, item in inputs(value, "")]
        if len(found) == len(value):
            return f"[{len(found)} {' or '.join(sorted(set(found))[:3])}]"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _restored(rows: Sequence[tuple[type[Task[Any]], dict[str, Any]]]) -> Task[Any]:
    tasks: list[Task[Any]] = []

    def known(item: Input[Any]) -> Input[Any]:
        assert isinstance(item, _Place)
        task = tasks[item.index]
        return task if item.output is None else part_of(task, item.output)

    for cls, values in rows:
        task = cls.__new__(cls)
        task.__dict__.update({name: replaced(value, known) for name, value in values.items()})
        tasks.append(task)
    return tasks[-1]
