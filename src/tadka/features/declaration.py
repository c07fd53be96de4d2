"""What a class statement of a feature class says, read and checked once."""

import dataclasses
import functools
import inspect
import keyword
import re
import sys
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tadka.core.error import ConfigError
from tadka.features.annotation import Shape, read_annotation
from tadka.features.encoding import MAX_SLOTS, Encoding

DEFAULT_SIZE = 2**20

_PROTO_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Member:
    """A field or property of a feature class.

    Args:
        name: As in the class.
        shape: Its type.
        encoding: How it becomes slots; None where it is no feature.
        is_property: Whether it is computed.
    """

    name: str
    shape: Shape
    encoding: Encoding | None
    is_property: bool = False


@dataclass(frozen=True)
class Declaration:
    """A class statement as data.

    Args:
        fields: Inputs, in the order of the class.
        properties: Public ones, in the order of definition, base classes first; those that are no
            features are among them.
        size: Slots of the shared table.
        groups: Names of features by group.
        version: As the class states it.
        proto: File of the history of field numbers; None for numbers in order of declaration.
        history: Text of that file when the class was made; None where there was none.
    """

    fields: tuple[Member, ...]
    properties: tuple[Member, ...]
    size: int
    groups: Mapping[str, tuple[str, ...]]
    version: int
    proto: Path | None
    history: str | None

    @property
    def features(self) -> tuple[Member, ...]:
        """What a model sees: fields, then properties."""
        return tuple(m for m in (*self.fields, *self.properties) if m.encoding is not None)


def check_names(cls: type, root: type) -> None:
    """Refuses names that cannot be, before the class is made a dataclass.

    Args:
        cls: The new class.
        root: `Features`, whose own names are taken.

    Raises:
        ConfigError: A name hides another, is taken, or cannot stand in a message.
    """
    own = vars(cls)
    annotated = _annotated(cls)
    inherited = set(getattr(cls, "__dataclass_fields__", {}))
    taken = {name for name in vars(root) if not name.startswith("_")}
    for name in (*annotated, *own):
        if name in taken:
            raise ConfigError(
                f"{cls.__name__!r} defines {name!r}, which is a method of Features. Choose another "
                "name."
            )
    for name in ("__init__", "__new__"):
        if name in own:
            raise ConfigError(
                f"{cls.__name__!r} defines {name!r}; the fields give a row its own. Use "
                "__post_init__."
            )
    for name in annotated:
        if isinstance(own.get(name), property):
            raise ConfigError(
                f"{cls.__name__!r} has both a field and a property {name!r}; two features cannot "
                "have one name. Rename one."
            )
        found = inspect.getattr_static(cls, name, None)
        if name not in own and isinstance(found, property):
            raise ConfigError(
                f"The field {name!r} of {cls.__name__!r} hides a property of a base class. "
                "Rename one."
            )
    for name, value in own.items():
        if isinstance(value, functools.cached_property) and not name.startswith("_"):
            raise ConfigError(
                f"{name!r} of {cls.__name__!r} is a cached_property, which is no feature. Write "
                f"@property, or call it {'_' + name!r} if it is none."
            )
        if (
            name in inherited
            and name not in annotated
            and callable(getattr(value, "__get__", None))
        ):
            kind = "property" if isinstance(value, property) else "method"
            raise ConfigError(
                f"The {kind} {name!r} of {cls.__name__!r} hides the field {name!r} of a base "
                "class; two features cannot have one name. Rename one."
            )


def read_declaration(
    cls: type,
    root: type,
    *,
    size: int | None,
    groups: Mapping[str, Sequence[str]] | None,
    version: int,
    proto: str | None,
) -> Declaration:
    """Reads a class that has been made a dataclass.

    Args:
        cls: The class.
        root: `Features`.
        size: As the class statement gives it; None takes the base class's.
        groups: As the class statement gives them; those of base classes are added.
        version: As the class statement gives it.
        proto: As the class statement gives it, relative to the class's file.

    Raises:
        ConfigError: The class is no feature class that can be.
    """
    name = cls.__name__
    if not _PROTO_NAME.match(name):
        raise ConfigError(
            f"The class {name!r} cannot name a message; use the letters A to Z, digits and _."
        )
    fields, properties = _fields(cls), _properties(cls, root)
    base: Declaration | None = getattr(cls, "_declaration", None)
    if size is None:
        size = base.size if base else DEFAULT_SIZE
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_SLOTS:
        raise ConfigError(f"The size of {name!r} is {size!r}; it must be from 1 to 2**31 - 1.")
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise ConfigError(f"The version of {name!r} is {version!r}; it must be a number from 0.")
    declaration = Declaration(fields, properties, size, {}, version, *_history(cls, proto))
    all_groups = {**(base.groups if base else {}), **_groups(declaration, name, groups or {})}
    if not declaration.features and (_annotated(cls) or _own_properties(cls)):
        raise ConfigError(
            f"{name!r} has no feature: every field and property is a datetime or has Skip(). "
            "Write a property, such as the hour of a time."
        )
    return dataclasses.replace(declaration, groups=all_groups)


def _annotated(cls: type) -> dict[str, Any]:
    """Own annotations that are not ClassVar, as they stand; strings where they are deferred."""
    return {
        name: annotation
        for name, annotation in inspect.get_annotations(cls).items()
        if not _is_class_var(annotation)
    }


def _is_class_var(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return re.match(r"(\w+\.)?ClassVar\b", annotation) is not None
    origin: Any = typing.get_origin(annotation)
    return origin is ClassVar or annotation == ClassVar


def _own_properties(cls: type) -> list[str]:
    return [
        name
        for name, value in vars(cls).items()
        if isinstance(value, property) and not name.startswith("_")
    ]


def _fields(cls: type) -> tuple[Member, ...]:
    hints = _hints(cls, cls.__name__)
    for name, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar):
            read_annotation(hint, f"Field {name!r} of {cls.__name__!r}")  # refuses it
    members = []
    json_names: dict[str, str] = {}
    for field in dataclasses.fields(cls):
        what = f"Field {field.name!r} of {cls.__name__!r}"
        if not _PROTO_NAME.match(field.name) or keyword.iskeyword(field.name):
            raise ConfigError(
                f"{what} cannot stand in a message; a name starts with a letter, then letters A to "
                "Z, digits and _."
            )
        if not field.init:
            raise ConfigError(f"{what} has init=False; a row is made from its fields.")
        json_name = _json_name(field.name)
        if json_name in json_names:
            raise ConfigError(
                f"{what} and {json_names[json_name]!r} have the same name {json_name!r} in "
                "protobuf's JSON, which protoc refuses. Rename one."
            )
        json_names[json_name] = field.name
        members.append(Member(field.name, *read_annotation(hints[field.name], what)))
    return tuple(members)


def _json_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)


def _properties(cls: type, root: type) -> tuple[Member, ...]:
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        if base not in (object, root):
            names |= dict.fromkeys(_own_properties(base))
    members = []
    for name in names:
        found = inspect.getattr_static(cls, name)
        if not isinstance(found, property):
            continue  # a subclass has put something else in its place
        what = f"Property {name!r} of {cls.__name__!r}"
        if found.fget is None:
            raise ConfigError(f"{what} cannot be read; give it a function.")
        hints = _hints(found.fget, what)
        if "return" not in hints:
            raise ConfigError(
                f"{what} has no return annotation; write `-> str`, or call it {'_' + name!r} if it "
                "is no feature."
            )
        members.append(Member(name, *read_annotation(hints["return"], what), is_property=True))
    return tuple(members)


def _hints(thing: Any, what: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise ConfigError(
            f"An annotation of {what} cannot be evaluated: {error}. Names in it must be known at "
            "the top of the module."
        ) from error


def _groups(
    declaration: Declaration, name: str, groups: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    known = [feature.name for feature in declaration.features]
    checked = {}
    for group, names in groups.items():
        if not isinstance(group, str) or isinstance(names, str) or not isinstance(names, Iterable):
            raise ConfigError(
                f"The groups of {name!r} have {group!r}: {names!r}; give a list of names of "
                "features for each."
            )
        chosen = tuple(names)
        if not chosen:
            raise ConfigError(f"Group {group!r} of {name!r} has no features; name at least one.")
        for feature in chosen:
            if feature not in known:
                raise ConfigError(
                    f"Group {group!r} of {name!r} has {feature!r}, which is no feature; there are: "
                    f"{', '.join(known)}."
                )
        checked[group] = chosen
    return checked


def _history(cls: type, proto: str | None) -> tuple[Path | None, str | None]:
    if proto is None:
        return None, None
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    path = (Path(file).resolve().parent if file else Path.cwd()) / proto
    return path, read_history(path)


def read_history(path: Path) -> str | None:
    """Text of a file of field numbers; None where there is none.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"The proto file {str(path)!r} cannot be read: {error}.") from error
