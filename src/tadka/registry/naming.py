"""Names and values as MLflow takes them, and back: it takes few characters, and text alone."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from tadka.core.error import ConfigError

_MOST_PARAM_LETTERS = 6000  # of MLflow
_ALLOWED = re.compile(r"[\w\-. :/]{1,250}", re.ASCII)
_AT = re.compile(r"@(\d+)$")
_AT_THERE = re.compile(r"_at_(\d+)$")
_LARGEST = 1.79e308  # MLflow keeps infinity as the largest double


def metric_key(name: str) -> str:
    """A metric's name for MLflow, which has no `@`: `recall@20` becomes `recall_at_20`.

    Args:
        name: Ours.

    Raises:
        ConfigError: It holds characters that MLflow does not take.
    """
    return _checked(_AT.sub(r"_at_\1", name), name, "metric")


def metric_name(key: str) -> str:
    """The name that `metric_key` made a key of.

    Args:
        key: MLflow's.
    """
    return _AT_THERE.sub(r"@\1", key)


def step_number(step: object) -> int:
    """A step as a whole number of 64 bits.

    Args:
        step: To be logged.

    Raises:
        ConfigError: It is none.
    """
    try:
        number = int(step)  # type: ignore[call-overload]  # told below
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or not -(2**63) <= number < 2**63:
        raise ConfigError(f"Step {step!r} is no step; it must be a whole number of 64 bits.")
    return int(number)


def metric_value(name: str, value: object) -> float:
    """A metric as a float: of a number, or of an array or tensor that holds one.

    Args:
        name: For the error.
        value: To be logged.

    Raises:
        ConfigError: It is no number.
    """
    item = getattr(value, "item", None)
    try:
        if isinstance(value, str):
            raise TypeError
        return float(item() if callable(item) else value)  # type: ignore[arg-type]  # told below
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last one: torch
        raise ConfigError(
            f"Metric {name!r} is {value!r}; it needs a number. Log texts as params or artifacts."
        ) from error


def known_metric(value: float) -> float:
    """A value that MLflow gave back, infinities restored.

    Args:
        value: MLflow's.
    """
    return math.copysign(math.inf, value) if abs(value) > _LARGEST else value


def flat(params: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Params by dotted name: `{"model": {"lr": 0.1}}` has `model.lr`.

    Args:
        params: Nested mappings of plain values.
        above: Dotted name of the mapping, with a dot behind it.

    Yields:
        Name and value.

    Raises:
        ConfigError: A name holds characters that MLflow does not take.
    """
    for key, value in params.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{name}.")
        else:
            yield _checked(name, name, "param"), value


def plain(value: Any) -> Any:
    """A value as JSON has it: NumPy's numbers as Python's, paths as text, others as their text.

    Args:
        value: Anything.
    """
    if isinstance(value, str):  # a half of a character, which no server takes, becomes '?'
        return value.encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if isinstance(value, PurePath):
        return str(value)
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "size", 1) == 1:
        return plain(item())
    return str(value)


def text_of(value: Any) -> str:
    """A plain value as the text of a param, read back by `value_of`.

    A text stays as it is unless it would be read as something else (`"12"` keeps its quotes).

    Args:
        value: As `plain` gives it. Longer than 6,000 characters it is cut, as a mark says.
    """
    if isinstance(value, str) and value and value_of(value) == value and value.strip() == value:
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False)
    if len(text) > _MOST_PARAM_LETTERS:
        mark = f"... (cut, {len(text)} characters)"
        text = text[: _MOST_PARAM_LETTERS - len(mark)] + mark
    return text


def value_of(text: str) -> Any:
    """The value that `text_of` made a text of; the text itself where it is no JSON.

    Args:
        text: Of a param.
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


def _checked(key: str, name: str, kind: str) -> str:
    parts = key.split("/")
    if not _ALLOWED.fullmatch(key) or "" in parts or "." in parts or ".." in parts:
        raise ConfigError(
            f"The {kind} {name!r} cannot be kept: MLflow takes names of up to 250 letters, digits, "
            "'_', '-', '.', ':', '/' and spaces (a metric may end in '@' and a number). Rename it."
        )
    return key
