"""The class that a user writes: fields are inputs, properties are made of them."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Self, dataclass_transform

from tadka.core.error import ConfigError, DataError
from tadka.features.body import body_of
from tadka.features.declaration import Declaration, check_names, read_declaration
from tadka.features.definition import Definition, Feature, Field
from tadka.features.plan import Explanation, Plan
from tadka.features.proto import message_of, write
from tadka.features.row import Rows
from tadka.features.sparse import SparseRows
from tadka.features.wire import Wire, naive_utc


class _Cache:
    """What is made of a class when first needed; of it only the definition travels in a pickle."""

    def __init__(self, definition: Definition | None = None) -> None:
        self.cls: Any = None
        self.definition = definition
        self.plans: dict[str | None, Plan] = {}
        self.wire: Wire | None = None
        self.rows: Rows | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Now, while the source of the properties is at hand: where the class arrives it may not be.
        if self.definition is None and self.cls is not None:
            try:
                self.cls.definition()
            except ConfigError:
                return _Cache, ()
        return _Cache, (self.definition,)


class _Time:
    """Sets a field of one or many datetimes: without time zone, in UTC.

    It has no __get__, so that reading finds the instance's own dict at full speed.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __set__(self, instance: Any, value: Any) -> None:
        if isinstance(value, datetime):
            value = naive_utc(value)
        elif isinstance(value, list):
            value = [naive_utc(item) if isinstance(item, datetime) else item for item in value]
        instance.__dict__[self._name] = value


@dataclass_transform()
class Features:
    """A row for a model: typed inputs, and properties computed from them.

    A subclass is a dataclass. Its fields and public properties are the features, each encoded as
    its type or its annotation says: `Annotated[float, Log()]`.

    Class keywords: `size`, slots of the table that hashed features share (2**20, or the base
    class's); `groups`, lists of features by name, for models that see some of them; `version`, a
    number that travels with every model (1); `proto`, the file that keeps the numbers of the
    message's fields, relative to the module's.
    """

    _declaration: ClassVar[Declaration]
    _cache: ClassVar[_Cache]

    def __init_subclass__(
        cls,
        *,
        size: int | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        proto: str | None = None,
        version: int = 1,
        **extra: Any,
    ) -> None:
        super().__init_subclass__(**extra)
        check_names(cls, Features)
        own = inspect.get_annotations(cls)
        for name in own:
            if name not in vars(cls) and isinstance(inspect.getattr_static(cls, name, None), _Time):
                setattr(cls, name, _default_again(cls, name))
        try:
            dataclass(cls)
        except (TypeError, ValueError) as error:  # the order of defaults, a mutable default
            raise ConfigError(f"{cls.__name__!r} cannot be a feature class: {error}.") from error
        cls._declaration = read_declaration(
            cls, Features, size=size, groups=groups, version=version, proto=proto
        )
        cls._cache = _Cache()
        cls._cache.cls = cls
        for member in cls._declaration.fields:
            if member.shape.type == "datetime":
                setattr(cls, member.name, _Time(member.name))

    @classmethod
    def definition(cls, group: str | None = None) -> Definition:
        """The class as data: what a model keeps, and what decides where slots lie.

        Args:
            group: One of the class's groups; None for all features.

        Raises:
            ConfigError: There is no such group, or the numbers of the fields are not those of the
                class's `.proto` file.
        """
        cache, declaration = _parts(cls)
        if cache.definition is None:
            command = f"tadka features proto {cls.__module__}:{cls.__qualname__} --update"
            message = message_of(cls.__name__, declaration, command)
            numbers = {field.name: field.number for field in message.fields}
            cache.definition = Definition(
                cls.__name__,
                declaration.version,
                declaration.size,
                tuple(
                    Field(
                        member.name,
                        member.shape.type,
                        numbers[member.name],
                        is_list=member.shape.is_list,
                        is_optional=member.shape.is_optional,
                    )
                    for member in declaration.fields
                ),
                tuple(
                    Feature(
                        member.name,
                        member.encoding,
                        body_of(cls, inspect.getattr_static(cls, member.name).fget)
                        if member.is_property
                        else "",
                    )
                    for member in declaration.features
                    if member.encoding is not None
                ),
            )
        if group is None:
            return cache.definition
        if group not in declaration.groups:
            known = ", ".join(map(repr, declaration.groups)) or "none"
            raise ConfigError(f"{cls.__name__!r} has no group {group!r}; it has: {known}.")
        return cache.definition.only(declaration.groups[group])

    @classmethod
    def encode(cls, rows: Any, group: str | None = None, threads: int | None = None) -> SparseRows:
        """Rows as a model sees them.

        Args:
            rows: A pyarrow Table or RecordBatch, or another object with Arrow's C interface, whose
                columns are found by the names of the fields; or a sequence of messages (bytes); or
                a sequence of instances.
            group: One of the class's groups; None for all features.
            threads: To encode with; None takes as many as there are cores for long data.

        Raises:
            DataError: A row cannot be encoded; the message names it.
            ConfigError: There is no such group, or `threads` is below 1.
        """
        return plan_of(cls, group).encode(rows, threads=threads)

    @classmethod
    def from_message(cls, message: bytes) -> Self:
        """The row of a protobuf message.

        Args:
            message: As `to_message` or a client of the class's `.proto` file wrote it.

        Raises:
            DataError: It is no such message.
        """
        wire, rows = _codec(cls)
        try:
            values = wire.decode(bytes(message))
        except DataError as error:
            raise DataError(f"The message is no {cls.__name__}: {error}.") from error
        made: Self = rows.make(values)
        return made

    def to_message(self) -> bytes:
        """The row as a protobuf message.

        Raises:
            DataError: A value cannot be that of its field.
        """
        wire, rows = _codec(type(self))
        return wire.encode(rows.exact(self)[1])

    @classmethod
    def proto(cls) -> str:
        """Text of the `.proto` file from which clients in any language make messages.

        Raises:
            ConfigError: The fields are not those of the class's own `.proto` file.
        """
        _, declaration = _parts(cls)
        command = f"tadka features proto {cls.__module__}:{cls.__qualname__} --update"
        return write(message_of(cls.__name__, declaration, command))

    @classmethod
    def explain(cls) -> list[Explanation]:
        """How each feature is computed: compiled, or as Python and why."""
        return plan_of(cls, None).explain()


def _default_again(cls: type, name: str) -> Any:
    """A default for a field that a subclass annotates anew, whose class attribute is a _Time."""
    before = getattr(cls, "__dataclass_fields__")[name]  # noqa: B009 - for the type checker
    if before.default is not MISSING:
        return field(default=before.default)
    if before.default_factory is not MISSING:
        return field(default_factory=before.default_factory)
    return field()


def _parts(cls: type[Features]) -> tuple[_Cache, Declaration]:
    """Cache and declaration of a class, which has features."""
    declaration: Declaration | None = getattr(cls, "_declaration", None)
    if declaration is None or not declaration.features:
        raise ConfigError(
            f"{cls.__name__!r} has no features. Write a subclass of Features with typed fields."
        )
    cache: _Cache = vars(cls)["_cache"]
    cache.cls = cls  # not there after a pickle
    return cache, declaration


def _codec(cls: type[Features]) -> tuple[Wire, Rows]:
    cache, declaration = _parts(cls)
    if cache.wire is None or cache.rows is None:
        cache.wire = Wire(cls.definition().fields)
        cache.rows = Rows(cls, declaration.fields)
    return cache.wire, cache.rows


def plan_of(cls: type[Features], group: str | None) -> Plan:
    """The plan of a class, made once."""
    cache, declaration = _parts(cls)
    if group not in cache.plans:
        cache.plans[group] = Plan(cls, cls.definition(group), declaration)
    return cache.plans[group]
