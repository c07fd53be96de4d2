"""Encoding in plain Python: the truth that the compiled engine is tested against."""

import bisect
import math
import struct
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tadka.core.error import DataError
from tadka.features.declaration import Member
from tadka.features.definition import Definition, Feature, Span
from tadka.features.encoding import Buckets, Hashed, Log, Number, Vocabulary
from tadka.features.hash import feature_seed, hash_text, missing_hash, slot_of
from tadka.features.row import PropertyError, at_row, property_value, show, type_of
from tadka.features.sparse import SparseRows

Entry = tuple[int, float]

_FLOAT = struct.Struct("<f")


class Reference:
    """Encodes instances of a feature class.

    Args:
        definition: Says what the features are.
        members: Fields and properties of the class, with the types of their values.
    """

    def __init__(self, definition: Definition, members: Iterable[Member]) -> None:
        self._definition = definition
        known = {member.name: member for member in members}
        self.members = tuple(known[feature.name] for feature in definition.features)
        self._encoders = tuple(map(encoder, definition.features, definition.spans))

    def value(self, j: int, instance: Any, row: int | None) -> Any:
        """Value of feature `j` of a row.

        Args:
            j: Number of the feature.
            instance: The row.
            row: Its number, for messages.

        Raises:
            DataError: A property raises, or gives what its annotation does not say.
        """
        return evaluate(instance, self.members[j], row)

    def entries(self, j: int, value: Any, row: int | None) -> list[Entry]:
        """Slots and values that a value of feature `j` becomes.

        Args:
            j: Number of the feature.
            value: As `value` gives it.
            row: Its number, for messages.

        Raises:
            DataError: The value has no text, such as an int of over 4300 digits.
        """
        encode = self._encoders[j]
        try:
            return [*map(encode, value)] if self.members[j].shape.is_list else [encode(value)]
        except ValueError as error:
            raise DataError(f"{at_row(row)}feature {self.members[j].name!r}: {error}.") from error

    def encode(self, rows: Iterable[tuple[int | None, Any]]) -> SparseRows:
        """Entries of rows.

        Args:
            rows: Number and instance of each; the fields of their exact types.

        Raises:
            DataError: A row cannot be encoded.
        """
        starts, slots, values, features = [0], [], [], []
        for row, instance in rows:
            for j in range(len(self.members)):
                for slot, x in self.entries(j, self.value(j, instance, row), row):
                    slots.append(slot)
                    values.append(x)
                    features.append(j)
            starts.append(len(slots))
        return SparseRows(
            np.array(starts, np.int64),
            np.array(slots, np.int32),
            np.array(values, np.float32),
            np.array(features, np.uint16),
            self._definition.num_slots,
            self._definition.num_features,
        )


def evaluate(instance: Any, member: Member, row: int | None) -> Any:
    """Value of a field, or of a property: what Python gives.

    Args:
        instance: A row.
        member: The field or property.
        row: Its number, for messages.

    Raises:
        PropertyError: The property raises, or gives what its annotation does not say.
    """
    if not member.is_property:
        return getattr(instance, member.name)
    try:
        value = getattr(instance, member.name)
    except Exception as error:  # the user's own code, of any kind
        where = "" if row is None else f" for row {row}"
        raise PropertyError(
            f"property {member.name!r} raised {type(error).__name__}: {error}{where}"
        ) from error
    try:
        return property_value(value, member.shape)
    except DataError as error:
        raise PropertyError(f"{at_row(row)}property {member.name!r}: {error}") from error
    except TypeError as error:
        raise PropertyError(
            f"{at_row(row)}property {member.name!r} is annotated {member.shape} but gave "
            f"{show(value)} ({_types(value)})."
        ) from error


def _types(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{type_of(value)} of {' and '.join(sorted({type_of(item) for item in value}))}"
    return type_of(value)


def encoder(feature: Feature, span: Span) -> Callable[[Any], Entry]:
    """A function that gives the entry of a value, or of an item of a list.

    Args:
        feature: With its encoding.
        span: Where its slots lie.
    """
    match feature.encoding:
        case Hashed():
            return _hashed(feature.name, span)
        case Vocabulary(words):
            slots = {word: span.offset + i for i, word in enumerate(words)}
            unknown = span.offset + len(words)

            def vocabulary(value: Any) -> Entry:
                return (unknown + 1 if value is None else slots.get(text_of(value), unknown)), 1.0

            return vocabulary
        case Buckets(edges):

            def buckets(value: Any) -> Entry:
                x = _number(value)
                if math.isnan(x):
                    return span.offset + len(edges) + 1, 1.0
                return span.offset + bisect.bisect_right(edges, x), 1.0

            return buckets
        case Number(shift, scale):

            def number(value: Any) -> Entry:
                return _numeric((_number(value) - shift) / scale, span)

            return number
        case Log():

            def log(value: Any) -> Entry:
                x = _number(value)
                return _numeric(math.copysign(math.log1p(math.fabs(x)), x), span)

            return log


def text_of(value: Any) -> str:
    """The text that stands for a category."""
    return str(value)


def _hashed(name: str, span: Span) -> Callable[[Any], Entry]:
    seed, offset, width = feature_seed(name), span.offset, span.width
    missing = slot_of(missing_hash(seed), offset, width)

    def hashed(value: Any) -> Entry:
        if value is None:
            return missing, 1.0
        return slot_of(hash_text(text_of(value).encode(), seed), offset, width), 1.0

    return hashed


def _number(value: Any) -> float:
    """A value as float64; missing is NaN, an int beyond the largest float is infinite."""
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _numeric(x: float, span: Span) -> Entry:
    """The entry of a number; one that float32 cannot hold is missing."""
    if math.isfinite(x):
        try:
            return span.offset, _FLOAT.unpack(_FLOAT.pack(x))[0]
        except OverflowError:
            pass
    return span.offset + 1, 1.0
