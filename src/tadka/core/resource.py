"""What a piece of work needs from a machine: one class for tasks, stages and deployments."""

import math
import re
from dataclasses import dataclass

from tadka.core.error import ConfigError

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>[KMGT]?)(?:I?B)?", re.ASCII)
_SIZE_HELP = "a number of bytes, or a number with K, M, G or T (powers of 1024) such as '512M'"


def parse_bytes(text: str | int) -> int:
    """Number of bytes in a size such as `"512M"`; units are powers of 1024.

    Args:
        text: Digits, an optional fraction, an optional unit K, M, G or T with an optional `B`
            or `iB`, in any case; or a number of bytes as an integer.

    Returns:
        The size rounded to the nearest whole byte.

    Raises:
        ConfigError: The text is not such a size, or the number is negative.

    >>> parse_bytes("1.5G")
    1610612736
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _SIZE.fullmatch(text.strip().upper()) if isinstance(text, str) else None
    if match is None:
        raise ConfigError(f"Size {text!r} is not understood; it must be {_SIZE_HELP}.")
    return round(float(match["number"]) * _UNITS[match["unit"]])


def format_bytes(num_bytes: int) -> str:
    """A size for people, in the largest unit that leaves at least 1.

    Args:
        num_bytes: The size; negative sizes keep their sign.

    Returns:
        At most one decimal, none where it would be 0: `"512M"`, `"1.5G"`, `"17"`.

    >>> format_bytes(1610612736)
    '1.5G'
    """
    sign, size = ("-", -num_bytes) if num_bytes < 0 else ("", num_bytes)
    unit = max((u for u in _UNITS if size >= _UNITS[u]), key=_UNITS.__getitem__, default="")
    number = f"{size / _UNITS[unit]:.1f}".removesuffix(".0")
    return f"{sign}{number}{unit}"


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one piece of work needs; only a launcher interprets it.

    Args:
        cpu: Cores of each replica, more than 0; fractions share a core.
        memory: Memory of each replica, as `"512M"` or a number of bytes; None is no limit.
        gpu: Whole GPUs of each replica.
        replicas: How many copies run side by side.
        image: Container image, for launchers that use one.
        timeout_s: Seconds after which the work is stopped; None waits for ever.

    Raises:
        ConfigError: A field is of the wrong type or out of range.
    """

    cpu: float = 1
    memory: str | int | None = None
    gpu: int = 0
    replicas: int = 1
    image: str | None = None
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        _check(_is_number(self.cpu) and self.cpu > 0, "cpu", self.cpu, "a number above 0")
        _check(_is_whole(self.gpu, 0), "gpu", self.gpu, "a whole number, at least 0")
        _check(_is_whole(self.replicas, 1), "replicas", self.replicas, "a whole number, at least 1")
        image_is_fine = self.image is None or (isinstance(self.image, str) and self.image.strip())
        _check(bool(image_is_fine), "image", self.image, "the name of an image, or None")
        timeout_is_fine = self.timeout_s is None or (
            _is_number(self.timeout_s) and self.timeout_s > 0
        )
        _check(timeout_is_fine, "timeout_s", self.timeout_s, "seconds above 0, or None")
        if self.memory is not None:
            try:
                memory_bytes = parse_bytes(self.memory)
            except ConfigError:
                memory_bytes = 0
            _check(memory_bytes > 0, "memory", self.memory, f"{_SIZE_HELP}, above 0, or None")

    @property
    def memory_bytes(self) -> int | None:
        """`memory` as a number of bytes."""
        return None if self.memory is None else parse_bytes(self.memory)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check(is_fine: bool, field: str, value: object, accepted: str) -> None:
    if not is_fine:
        raise ConfigError(f"Resources field {field!r} is {value!r}; it must be {accepted}.")
