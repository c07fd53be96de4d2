"""Protobuf messages of a row, in Python: what engine/wire.c does, and the oracle it is tested by.

Source: the encoding guide of Protocol Buffers (protobuf.dev/programming-guides/encoding). Where it
leaves a verdict open, we give the one of upb, the parser under Google's own Python package.
"""

import math
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tadka.core.error import DataError
from tadka.features.definition import Field

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)

MAX_DEPTH = 64
"""Of groups inside groups, all of them unknown fields."""

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive is UTC throughout
MIN_TIME, MAX_TIME = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds of the first and last time that a datetime holds."""

_DOUBLE = struct.Struct("<d")
_MICROSECOND = timedelta(microseconds=1)


def to_time(value: datetime) -> int:
    """Microseconds since 1970-01-01 00:00 UTC of a naive datetime."""
    delta = value - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_time(microseconds: int) -> datetime:
    """The naive datetime of microseconds since 1970-01-01 00:00 UTC.

    Raises:
        DataError: It lies outside the years 1 to 9999.
    """
    if not MIN_TIME <= microseconds <= MAX_TIME:
        raise DataError(f"the time {microseconds} us is outside the years 1 to 9999")
    return EPOCH + timedelta(microseconds=microseconds)


def naive_utc(value: datetime) -> datetime:
    """The same instant without time zone or fold; naive is UTC already.

    Raises:
        DataError: It lies outside the years 1 to 9999.
    """
    if value.tzinfo is None:
        return value.replace(fold=0) if value.fold else value
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError as error:
        raise DataError(f"The time {value} is outside the years 1 to 9999 in UTC.") from error


class Wire:
    """Messages of one feature class.

    Args:
        fields: Of the class.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = tuple(fields)
        self._writers = [
            (i, field.is_optional, _writer(field))
            for i, field in sorted(enumerate(fields), key=lambda pair: pair[1].number)
        ]
        self._readers = {
            field.number << 3 | _wire_type(field): (i, field) for i, field in enumerate(fields)
        }
        self._packed = {
            field.number << 3 | BYTES: (i, field)
            for i, field in enumerate(fields)
            if field.is_list and field.type != "str"
        }
        self._empty = [_default(field) for field in fields]

    def encode(self, values: Sequence[Any]) -> bytes:
        """The message of a row.

        Args:
            values: Of the fields in the order of the class, each of its exact type; times naive.
        """
        out = bytearray()
        for i, is_optional, write in self._writers:
            value = values[i]
            if not (is_optional and value is None):
                write(out, value)
        return bytes(out)

    def decode(self, message: bytes) -> list[Any]:
        """The values of the fields, in the order of the class.

        Args:
            message: As a client wrote it. Missing fields take their default; of a field that
                comes several times the last one counts.

        Raises:
            DataError: It is no message, or a value cannot be held. The text begins with a small
                letter, for the caller to say which row.
        """
        values: list[Any] = [[] if type(v) is list else v for v in self._empty]
        at, end = 0, len(message)
        while at < end:
            tag, at = _tag(message, at, end)
            kind = tag & 7
            if (known := self._readers.get(tag)) is not None:
                i, field = known
                value: Any
                if kind == BYTES:
                    start, at = _size(message, at, end, field.number)
                    value = _utf8(message[start:at], field)
                else:
                    value, at = _scalar(message, at, end, field)
                if field.is_list:
                    values[i].append(value)
                else:
                    values[i] = value
            elif (known := self._packed.get(tag)) is not None:
                i, field = known
                at, stop = _size(message, at, end, field.number)
                while at < stop:
                    value, at = _scalar(message, at, stop, field)
                    values[i].append(value)
            else:
                at = _skip(message, at, end, tag, 0)
        return self._finished(values)

    def _finished(self, values: list[Any]) -> list[Any]:
        for i, field in enumerate(self._fields):
            if field.type == "datetime" and values[i] is not None:
                try:
                    if field.is_list:
                        values[i] = [from_time(item) for item in values[i]]
                    else:
                        values[i] = from_time(values[i])
                except DataError as error:
                    raise DataError(f"field {field.name!r}: {error}") from error
        return values


def _default(field: Field) -> Any:
    if field.is_list:
        return []
    if field.is_optional:
        return None
    return {"bool": False, "datetime": 0, "float": 0.0, "int": 0, "str": ""}[field.type]


def _wire_type(field: Field) -> int:
    return {"float": FIXED64, "str": BYTES}.get(field.type, VARINT)


def _writer(field: Field) -> Callable[[bytearray, Any], None]:
    """A function that appends a field's value to a message; what is the default is left out."""
    tag = bytearray()
    _put_varint(tag, field.number << 3 | _wire_type(field))
    write, is_kept = _put(field), field.is_optional

    def put_scalar(out: bytearray, value: Any) -> None:
        # -0.0 is written: protobuf compares bits with its default
        if value or is_kept or (type(value) is float and math.copysign(1.0, value) < 0):
            out.extend(tag)
            write(out, value)

    def put_time(out: bytearray, value: datetime) -> None:
        if is_kept or value != EPOCH:
            out.extend(tag)
            write(out, value)

    def put_texts(out: bytearray, values: list[str]) -> None:
        for value in values:
            out.extend(tag)
            write(out, value)

    def put_packed(out: bytearray, values: list[Any]) -> None:
        if values:
            inner = bytearray()
            for value in values:
                write(inner, value)
            _put_varint(out, field.number << 3 | BYTES)
            _put_varint(out, len(inner))
            out.extend(inner)

    if field.is_list:
        return put_texts if field.type == "str" else put_packed
    return put_time if field.type == "datetime" else put_scalar


def _put(field: Field) -> Callable[[bytearray, Any], None]:
    def put_text(out: bytearray, value: str) -> None:
        data = value.encode()
        _put_varint(out, len(data))
        out.extend(data)

    def put_float(out: bytearray, value: float) -> None:
        out.extend(_DOUBLE.pack(value))

    def put_int(out: bytearray, value: int) -> None:
        _put_varint(out, value & 0xFFFF_FFFF_FFFF_FFFF)

    def put_time(out: bytearray, value: datetime) -> None:
        _put_varint(out, to_time(value) & 0xFFFF_FFFF_FFFF_FFFF)

    known: dict[str, Callable[[bytearray, Any], None]] = {
        "datetime": put_time,
        "float": put_float,
        "str": put_text,
    }
    return known.get(field.type, put_int)


def _put_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift == 70:
            raise DataError("a varint has more than 10 bytes")
    raise DataError("the message ends inside a varint")


def _tag(message: bytes, at: int, end: int) -> tuple[int, int]:
    start = at
    tag, at = _varint(message, at, end)
    if at - start > 5 or tag >> 32:
        raise DataError("a tag is too large; field numbers end at 2**29 - 1")
    if not tag >> 3:
        raise DataError("a field has the number 0")
    return tag, at


def _size(message: bytes, at: int, end: int, number: int) -> tuple[int, int]:
    """Where the bytes of a field begin and end."""
    start = at
    size, at = _varint(message, at, end)
    if at - start > 5 or size > end - at:
        raise DataError(f"the message ends inside field {number}")
    return at, at + size


def _utf8(data: bytes, field: Field) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"field {field.name!r} is not UTF-8") from error


def _scalar(message: bytes, at: int, end: int, field: Field) -> tuple[Any, int]:
    if field.type == "float":
        if end - at < 8:
            raise DataError(f"the message ends inside field {field.number}")
        return _DOUBLE.unpack_from(message, at)[0], at + 8
    value, at = _varint(message, at, end)
    if field.type == "bool":
        return value != 0, at
    return (value - (1 << 64) if value >> 63 else value), at


def _skip(message: bytes, at: int, end: int, tag: int, depth: int) -> int:
    """The end of an unknown field that begins after its tag."""
    kind, number = tag & 7, tag >> 3
    if kind == VARINT:
        return _varint(message, at, end)[1]
    if kind == BYTES:
        return _size(message, at, end, number)[1]
    if kind in (FIXED64, FIXED32):
        at += 8 if kind == FIXED64 else 4
        if at > end:
            raise DataError(f"the message ends inside field {number}")
        return at
    if kind == GROUP:
        if depth == MAX_DEPTH:
            raise DataError(f"groups are nested more than {MAX_DEPTH} deep")
        while at < end:
            inner, at = _tag(message, at, end)
            if inner & 7 == END_GROUP:
                if inner >> 3 != number:
                    raise DataError(f"group {number} ends as group {inner >> 3}")
                return at
            at = _skip(message, at, end, inner, depth + 1)
        raise DataError(f"the message ends inside group {number}")
    if kind == END_GROUP:
        raise DataError(f"group {number} ends but has not begun")
    raise DataError(f"field {number} has the wire type {kind}, which does not exist")
