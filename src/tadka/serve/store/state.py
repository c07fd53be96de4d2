"""What a store serves, as plain data: which versions bear which alias, and who gets the traffic.

A request's arm is chosen by a hash: the same key goes to the same arm in every worker and on every
machine, until the split changes. The compiled loop computes the same from the same numbers.
"""

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from tadka.core.error import ConfigError, DataError
from tadka.features.hash import hash_text as plain_hash_text
from tadka.features.wire import BYTES, END_GROUP, FIXED32, FIXED64, GROUP, MAX_DEPTH, VARINT
from tadka.serve.board import NUM_ARMS

try:
    from tadka.features.native import hash_text as hash_text
except ImportError:  # built without a compiler: the same numbers, slower
    hash_text = plain_hash_text

FORMAT = 1

NUM_BUCKETS = 10_000
"""Into which keys fall; a hundredth of a percent each."""

NAME = re.compile(r"[a-z][a-z0-9_-]{0,47}")
"""Of models and aliases, which become folders, labels of metrics and headers."""

_RESERVED = frozenset({"generation", "lock", "log"})
"""Names that lie beside the models' folders in a store."""


@dataclass(frozen=True)
class Traffic:
    """Of one model: its aliases and who answers.

    Args:
        aliases: Version of each alias.
        split: Percent of the requests of each alias, in the order in which buckets are given out;
            100 together.
        key: Field of the feature class whose value decides the arm; None for the whole message.
        shadow: Aliases that score without answering.
        previous: Version that each alias had before, to which a rollback returns.
        since: When each alias got its version, in seconds since 1970.
        last: The highest version ever published; numbers are not used again.
    """

    aliases: Mapping[str, int]
    split: Mapping[str, float]
    key: str | None = None
    shadow: tuple[str, ...] = ()
    previous: Mapping[str, int] = field(default_factory=dict)
    since: Mapping[str, int] = field(default_factory=dict)
    last: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, which `from_dict` reads."""
        return {
            "aliases": dict(self.aliases),
            "split": dict(self.split),
            "key": self.key,
            "shadow": list(self.shadow),
            "previous": dict(self.previous),
            "since": dict(self.since),
            "last": self.last,
        }

    @classmethod
    def from_dict(cls, data: Any, where: str) -> "Traffic":
        """What `to_dict` wrote.

        Args:
            data: As read from JSON.
            where: File and key, for messages.

        Raises:
            DataError: A value is missing or impossible; the message names its key.
        """
        if not isinstance(data, dict):
            raise DataError(f"{where} is {data!r}; it must be an object. {_REPAIR}")
        aliases = _numbers(data, "aliases", where, is_needed=True)
        previous = _numbers(data, "previous", where)
        key, shadow = data.get("key"), data.get("shadow", [])
        if key is not None and not isinstance(key, str):
            raise DataError(f"{where}, key 'key', is {key!r}; it must be text or null. {_REPAIR}")
        if not isinstance(shadow, list):
            raise DataError(f"{where}, key 'shadow', is {shadow!r}; it must be a list. {_REPAIR}")
        last = data.get("last", 0)
        if not _is_count(last):
            raise DataError(f"{where}, key 'last', is {last!r}; it must be a number. {_REPAIR}")
        try:
            return cls(
                aliases=aliases,
                split=check_split(data.get("split"), aliases),
                key=key,
                shadow=check_shadow(shadow, aliases),
                previous=previous,
                since=_numbers(data, "since", where),
                last=max([last, *aliases.values(), *previous.values()]),
            )
        except ConfigError as error:
            raise DataError(f"{where}: {error} {_REPAIR}") from error


@dataclass(frozen=True)
class State:
    """All that a store serves.

    Args:
        generation: Number of the state; every change counts one up.
        models: By name.

    Raises:
        ConfigError: More versions score requests than a server counts apart.
    """

    generation: int = 0
    models: Mapping[str, Traffic] = field(default_factory=dict)

    def __post_init__(self) -> None:
        num_arms = sum(len(traffic.split) + len(traffic.shadow) for traffic in self.models.values())
        if num_arms > NUM_ARMS:
            raise ConfigError(
                f"{num_arms} versions of {len(self.models)} models are to score "
                f"requests; a store serves at most {NUM_ARMS}, shadows included. Use another store "
                "for some of the models."
            )

    def to_json(self) -> str:
        """Text of `state.json`, which `from_json` reads."""
        whole = {
            "format": FORMAT,
            "generation": self.generation,
            "models": {name: traffic.to_dict() for name, traffic in self.models.items()},
        }
        return json.dumps(whole, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, file: str) -> "State":
        """The state that `to_json` wrote.

        Args:
            text: Content of the file.
            file: Its name, for messages.

        Raises:
            DataError: It is damaged or of another format; the message names file and key.
        """
        try:
            data = json.loads(text)
        except ValueError as error:  # also of bytes that are no UTF-8
            raise DataError(f"File {file!r} is no JSON ({error}). {_REPAIR}") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            seen = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise DataError(f"File {file!r} has format {seen!r}; this tadka reads {FORMAT}.")
        generation, models = data.get("generation"), data.get("models")
        if not _is_count(generation):
            raise DataError(
                f"File {file!r}, key 'generation', is {generation!r}; it must be a number of at "
                f"least 0. {_REPAIR}"
            )
        if not isinstance(models, dict):
            raise DataError(
                f"File {file!r}, key 'models', is {models!r}; it must be an object. {_REPAIR}"
            )
        traffic = {
            name: Traffic.from_dict(value, f"File {file!r}, model {name!r}")
            for name, value in models.items()
        }
        try:
            return cls(generation, traffic)
        except ConfigError as error:
            raise DataError(f"File {file!r}: {error}") from error


_REPAIR = "Put back a copy of the file, or publish to another store."


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _numbers(data: dict[str, Any], key: str, where: str, *, is_needed: bool = False) -> Any:
    """A mapping of names to numbers."""
    found = data.get(key, None if is_needed else {})
    if not isinstance(found, dict) or not all(map(_is_count, found.values())):
        raise DataError(
            f"{where}, key {key!r}, is {found!r}; it must hold a number for each alias. {_REPAIR}"
        )
    if is_needed and not found:
        raise DataError(f"{where}, key {key!r}, is empty; a model has an alias. {_REPAIR}")
    return found


def check_name(kind: str, name: str) -> str:
    """The name of a model or alias, if it is one.

    Args:
        kind: What it names, for the message: "Model" or "Alias".
        name: As the user gave it.

    Raises:
        ConfigError: It is no such name.
    """
    if NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{kind} {name!r} is no name; it must begin with a to z and hold at most 48 of a to z, "
            "0 to 9, _ and -."
        )
    if name in _RESERVED:
        raise ConfigError(f"{kind} {name!r} is a name that the store uses itself. Choose another.")
    return name


def check_alias(name: str, known: Iterable[str]) -> str:
    """An alias, if the model has it.

    Args:
        name: As the user gave it.
        known: Aliases of the model.

    Raises:
        ConfigError: It has not; the message names one that is close.
    """
    names = sorted(known)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(
            f"Alias {name!r} has no version.{hint} There are: {', '.join(names) or 'none'}. "
            f"To make it: tadka serve publish MODEL_DIR --alias {name}."
        )
    return name


def parse_split(text: str) -> dict[str, float]:
    """Shares of aliases as written on a command line: "production=90,candidate=10".

    Args:
        text: Aliases with percents, with commas between them.

    Returns:
        Percent by alias, in the order written; `check_split` judges them.

    Raises:
        ConfigError: It is not of this form, or names an alias twice.
    """
    split: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        try:
            percent = float(number.removesuffix("%"))
        except ValueError:
            equals = ""
        if not name or not equals:
            raise ConfigError(
                f"Split {text!r} has the part {part.strip()!r}; write ALIAS=PERCENT with commas "
                "between: production=90,candidate=10."
            )
        if name in split:
            raise ConfigError(f"Split {text!r} names the alias {name!r} twice. Name each once.")
        split[name] = percent
    return split


def check_split(split: Any, aliases: Iterable[str]) -> dict[str, float]:
    """Shares of aliases that can be served.

    Args:
        split: Percent by alias.
        aliases: Those that the model has.

    Returns:
        The same, as floats.

    Raises:
        ConfigError: It is empty, does not sum to 100, or a share is negative, has more than two
            decimals or is of an unknown alias.
    """
    if not isinstance(split, Mapping) or not split:
        raise ConfigError(
            f"Split {split!r} names no alias; it must give 100 percent to at least one."
        )
    for name, percent in split.items():
        check_alias(name, aliases)
        is_number = isinstance(percent, int | float) and not isinstance(percent, bool)
        if not is_number or not math.isfinite(percent) or percent < 0:
            raise ConfigError(
                f"Split gives {name!r} {percent!r} percent; it must be a number from 0 to 100."
            )
        if abs(percent * 100 - round(percent * 100)) > 1e-6:
            raise ConfigError(
                f"Split gives {name!r} {percent!r} percent; two decimals are possible."
            )
    total = sum(round(percent * 100) for percent in split.values())
    if total != NUM_BUCKETS:
        shown = ", ".join(f"{name}={percent:g}" for name, percent in split.items())
        raise ConfigError(f"Split {shown} sums to {total / 100:g}; it must sum to 100.")
    return {name: float(percent) for name, percent in split.items()}


def check_shadow(shadow: Iterable[Any], aliases: Iterable[str]) -> tuple[str, ...]:
    """Aliases that can score without answering.

    Args:
        shadow: Their names; none switches shadows off.
        aliases: Those that the model has.

    Raises:
        ConfigError: One is unknown, or named twice.
    """
    names = tuple(shadow)
    for place, name in enumerate(names):
        check_alias(name, aliases)
        if name in names[:place]:
            raise ConfigError(f"Shadow names the alias {name!r} twice. Name each once.")
    return names


def thresholds_of(split: Mapping[str, float]) -> tuple[int, ...]:
    """For each arm the first bucket that is not its own nor one before; the last is 10,000."""
    end, ends = 0, []
    for percent in split.values():
        end += round(percent * 100)
        ends.append(end)
    return tuple(ends)


def model_seed(model: str) -> int:
    """What the hashes of a model's keys start from, so that models split independently."""
    return hash_text(model.encode(), 0)


def bucket_of(key: bytes, seed: int) -> int:
    """The bucket of a key, from 0 to 9,999: the same in Python and in the compiled loop."""
    return hash_text(key, seed) % NUM_BUCKETS


_WIDTH = {FIXED64: 8, FIXED32: 4}


def key_bytes(message: bytes, number: int) -> bytes:
    """The bytes of a field by which a request is assigned to an arm.

    Args:
        message: A row as its client sent it.
        number: Of the protobuf field.

    Returns:
        Of its last occurrence what follows the tag, as sent: the content of text, the bytes of a
        varint or a fixed number. Empty where the field is absent, or the message is malformed
        (decoding refuses it anyway).
    """
    found = b""
    at = 0
    open_groups: list[int] = []
    try:
        while at < len(message):
            tag, at = _tag(message, at)
            kind = tag & 7
            if kind == GROUP:
                open_groups.append(tag >> 3)
                if len(open_groups) > MAX_DEPTH:
                    return b""
                continue
            if kind == END_GROUP:
                if not open_groups or open_groups.pop() != tag >> 3:
                    return b""
                continue
            start = at
            if kind == VARINT:
                at = _end_of_varint(message, at, 10)
            elif kind == BYTES:
                start = _end_of_varint(message, at, 5)
                at = start + _value(message, at, start)
            else:
                at += _WIDTH[kind]
            if at > len(message):
                return b""
            if tag >> 3 == number and not open_groups:
                found = message[start:at]
    except (IndexError, KeyError, ValueError):
        return b""
    return b"" if open_groups else found


def _tag(message: bytes, at: int) -> tuple[int, int]:
    end = _end_of_varint(message, at, 5)
    tag = _value(message, at, end)
    if tag >> 32 or not tag >> 3:
        raise ValueError
    return tag, end


def _end_of_varint(message: bytes, at: int, limit: int) -> int:
    end = at
    while message[end] & 0x80:
        end += 1
    if end - at >= limit:
        raise ValueError
    return end + 1


def _value(message: bytes, at: int, end: int) -> int:
    value = 0
    for place in range(at, end):
        value |= (message[place] & 0x7F) << 7 * (place - at)
    return value
