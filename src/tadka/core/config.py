"""Configuration: YAML into dataclasses, with errors that name the full path of a key.

Types are checked strictly, so `"5"` is no number and `true` is no 1; only what YAML cannot spell
(tuples, sets, paths, dates, Enum members) is converted.
"""

import dataclasses
import difflib
import itertools
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
import pydantic_core
import yaml

from tadka.core.document import read_yaml, write_yaml
from tadka.core.error import ConfigError, NotFound

T = TypeVar("T")
_Step = str | int


def read_config(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """The values of a configuration, before anything says which of them are right.

    Args:
        source: As `load_config` has it.
        overrides: The same.

    Returns:
        Plain dicts and lists of the caller's own.

    Raises:
        NotFound: There is no such file.
        ConfigError: The file is not YAML or no mapping, or an override is not understood.
    """
    name = _name(source)
    data = _copy(source) if isinstance(source, Mapping) else _read(source)
    if not isinstance(data, dict):
        raise ConfigError(
            f"{name} is a {type(data).__name__}; it must be a mapping of keys to values."
        )
    for override in overrides:
        _override(data, override)
    return data


def load_config(
    cls: type[T],
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    name: str | None = None,
) -> T:
    """A configuration object from a file or mapping.

    Args:
        cls: A dataclass; its fields may be dataclasses, lists, mappings and so on.
        source: Path of a YAML (or JSON) file, or the values themselves.
        overrides: Settings that win over the source, as `"stream.num_credits=8"`: the path of a
            key, then a value in YAML. A number in the path is an index into a list.
        name: What messages call it; None for the path of the file.

    Returns:
        An instance of `cls`.

    Raises:
        NotFound: There is no such file.
        ConfigError: The file is not YAML, a key is unknown or missing, or a value is of the wrong
            type or out of range. All mistakes are listed, one a line.
    """
    name = name or _name(source)
    data = read_config(source, overrides)
    mistakes = _unknown_keys(cls, data, ())
    if not mistakes:
        try:
            text = pydantic_core.to_json(data, inf_nan_mode="constants")
            # strict JSON: nothing is guessed, yet a list may become a tuple and text a date
            return pydantic.TypeAdapter(cls).validate_json(text, strict=True, extra="forbid")
        except pydantic.ValidationError as error:
            mistakes = _describe(error.errors(), data)
        except pydantic_core.PydanticSerializationError as error:
            mistakes = [f"it holds a value that configuration cannot: {error}."]
    if len(mistakes) == 1:
        raise ConfigError(f"{name}: {mistakes[0]}")
    raise ConfigError(f"{name} has {len(mistakes)} mistakes:\n  " + "\n  ".join(mistakes))


def dump_config(obj: object) -> str:
    """YAML text of a configuration object, which `load_config` reads back as an equal one.

    Args:
        obj: A dataclass instance.

    Returns:
        One key a line, in the order of the fields.

    Raises:
        ConfigError: It is no dataclass, or a value has no form in YAML.
    """
    if not dataclasses.is_dataclass(obj) or isinstance(obj, type):
        raise ConfigError(f"A {type(obj).__name__!r} is no configuration; it must be a dataclass.")
    try:
        return write_yaml(pydantic.TypeAdapter(type(obj)).dump_python(obj, mode="json"))
    except pydantic_core.PydanticSerializationError as error:
        raise ConfigError(
            f"A {type(obj).__name__!r} cannot be written as YAML: {error}."
        ) from error


def _name(source: str | Path | Mapping[str, Any]) -> str:
    is_file = not isinstance(source, Mapping)
    return f"Configuration {str(source)!r}" if is_file else "Configuration"


def _copy(value: Any) -> Any:
    """Plain dicts and lists all the way down, so that overrides leave the caller's alone."""
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _read(path: str | Path) -> Any:
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = read_yaml(text)
    except FileNotFoundError as error:
        raise NotFound(f"Configuration {str(path)!r} does not exist. Check the path.") from error
    except OSError as error:
        raise ConfigError(
            f"Configuration {str(path)!r} cannot be read: {error.strerror}."
        ) from error
    except (yaml.YAMLError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"Configuration {str(path)!r} is not YAML: {reason}.") from error
    return {} if data is None else data


def _override(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    steps = path.strip().split(".")
    if not equals or not all(steps):
        raise ConfigError(
            f"Override {override!r} is not understood; write it as 'path.of.key=value'."
        )
    try:
        value = read_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"Override {override!r} has a value that is not YAML.") from error
    place: Any = data
    for depth, step in enumerate(steps):
        is_last = depth == len(steps) - 1
        key: _Step = step
        if isinstance(place, list):
            if not (step.isdecimal() and int(step) < len(place)):
                raise ConfigError(
                    f"Override {override!r}: {step!r} is no index of "
                    f"{_path(steps[:depth])!r}, which has {len(place)} items, from 0."
                )
            key = int(step)
        elif not isinstance(place, dict):
            raise ConfigError(
                f"Override {override!r}: {_path(steps[:depth])!r} is {place!r}, which has no keys."
            )
        if is_last:
            place[key] = value
        elif isinstance(place, dict) and place.get(step) is None:
            place[key] = {}
        place = place[key]


def _unknown_keys(kind: Any, data: Any, path: tuple[_Step, ...]) -> list[str]:
    """Messages for keys that no dataclass at their place has; pydantic would ignore them."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _unknown_keys(arguments[0], data, path)
    if origin in (typing.Union, types.UnionType):
        # wrong when it suits no member; then in the words of the member that it suits best
        members = [member for member in arguments if _takes(member, data)]
        return min((_unknown_keys(member, data, path) for member in members), key=len, default=[])
    if isinstance(data, dict):
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return _unknown_fields(kind, data, path)
        if len(arguments) == 2:
            items = data.items()
            return [m for k, v in items for m in _unknown_keys(arguments[1], v, (*path, k))]
    if isinstance(data, list) and arguments:
        kinds = list(arguments)
        if origin is not tuple or kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(data)
        pairs = zip(kinds, data, strict=False)
        return [m for i, (k, v) in enumerate(pairs) for m in _unknown_keys(k, v, (*path, i))]
    return []


def _unknown_fields(kind: type, data: dict[Any, Any], path: tuple[_Step, ...]) -> list[str]:
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    mistakes = []
    for key, value in data.items():
        if key in names:
            mistakes.extend(_unknown_keys(hints[key], value, (*path, key)))
            continue
        close = difflib.get_close_matches(str(key), names, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(names)}."
        mistakes.append(f"key {_path((*path, key))!r} is unknown. {hint}")
    return mistakes


def _takes(kind: Any, data: Any) -> bool:
    """Whether a mapping or list may be meant for this member of a union."""
    if typing.get_origin(kind) is Annotated:
        return _takes(typing.get_args(kind)[0], data)
    kind = typing.get_origin(kind) or kind
    if kind is Any or not isinstance(kind, type):
        return kind is Any
    is_mapping = dataclasses.is_dataclass(kind) or issubclass(kind, Mapping)
    return is_mapping if isinstance(data, dict) else issubclass(kind, Collection) and not is_mapping


def _path(steps: Sequence[_Step]) -> str:
    return ".".join(str(step) for step in steps)


def _describe(errors: Sequence[Any], data: Any) -> list[str]:
    """One sentence for each place that pydantic found fault with."""
    by_place: dict[tuple[_Step, ...], list[Any]] = {}
    for error in errors:
        by_place.setdefault(_place(error, data), []).append(error)
    deepest = [
        place
        for place in by_place
        # where a union tried several members, the one that came furthest was meant
        if not any(len(other) > len(place) == _common(other, place) for other in by_place)
    ]
    return [_sentence(place, by_place[place]) for place in deepest]


def _common(first: tuple[_Step, ...], second: tuple[_Step, ...]) -> int:
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _place(error: Any, data: Any) -> tuple[_Step, ...]:
    steps: list[_Step] = []
    for step in error["loc"]:
        # pydantic also lists the member of a union it tried, which is no key of the user's
        if isinstance(data, dict) and (step in data or error["type"] == "missing"):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            continue
        steps.append(step)
    return tuple(steps)


_ACCEPTED = {  # by pydantic's type of error, with the values of its context
    "bool_type": "true or false",
    "dataclass_type": "a mapping",
    "dict_type": "a mapping",
    "enum": "{expected}",
    "float_type": "a number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "string_type": "text (in quotes, where YAML reads a number)",
    "tuple_type": "a list",
}


def _sentence(place: tuple[_Step, ...], errors: list[Any]) -> str:
    where = f"key {_path(place)!r}" if place else "the whole"
    first = errors[0]
    if first["type"] == "missing":
        return f"{where} is missing; it has no default."
    if first["type"] == "value_error":  # raised by a dataclass that checks itself
        return f"{where}: {first['ctx']['error']}"
    accepted = [
        f"it must be {_ACCEPTED[error['type']].format(**error.get('ctx', {}))}"
        if error["type"] in _ACCEPTED
        else error["msg"].replace("Input should", "it must", 1)
        for error in errors
    ]
    return f"{where} is {first['input']!r}; {', or '.join(dict.fromkeys(accepted))}."
