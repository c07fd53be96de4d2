# ruff: noqa: DTZ001, DTZ901 - naive times are UTC in this room
import struct
from datetime import datetime
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import DataError
from tadka.features.definition import Field
from tadka.features.wire import EPOCH, MAX_TIME, MIN_TIME, Wire, from_time, to_time
from tests.unit.features.rows import Everything, google_class, rows_of

DEFINITION = Everything.definition()
WIRE = Wire(DEFINITION.fields)
GOOGLE = google_class(DEFINITION)
NUMBERS = {field.name: field.number for field in DEFINITION.fields}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def google_values(message: bytes) -> list[Any] | None:
    """What protobuf reads; None where it refuses."""
    row = GOOGLE()
    try:
        row.ParseFromString(message)
    except DecodeError:
        return None
    found: list[Any] = []
    for field in DEFINITION.fields:
        value = getattr(row, field.name)
        if field.is_list:
            value = list(value)
        elif field.is_optional and not row.HasField(field.name):
            value = None
        if field.type == "datetime" and value is not None:
            many = value if field.is_list else [value]
            if any(not MIN_TIME <= x <= MAX_TIME for x in many):
                return None
            value = [from_time(x) for x in many] if field.is_list else from_time(value)
        found.append(value)
    return found


def our_values(message: bytes) -> list[Any] | None:
    try:
        return WIRE.decode(message)
    except DataError:
        return None


wire_fields = st.builds(
    lambda number, kind, payload: varint(number << 3 | kind) + payload,
    st.one_of(st.integers(1, 23), st.sampled_from([0, 15, 16, 2**29 - 1, 2**29, 2**40])),
    st.integers(0, 7),
    st.one_of(
        st.integers(0, 2**64 - 1).map(varint),
        st.integers(0, 300).map(varint),
        st.binary(max_size=9),
        st.binary(max_size=20).map(lambda data: varint(len(data)) + data),
        st.text(max_size=5).map(lambda t: varint(len(t.encode())) + t.encode()),
        st.lists(st.floats(), max_size=3).map(
            lambda xs: varint(8 * len(xs)) + b"".join(struct.pack("<d", x) for x in xs)
        ),
        st.sampled_from([b"\xff" * 10, b"\x80" * 9 + b"\x01", b"\x80" * 10 + b"\x00", b""]),
    ),
)


@settings(deadline=None, max_examples=600)
@given(st.lists(wire_fields | st.binary(max_size=3), max_size=5).map(b"".join))
def test_any_bytes_get_the_verdict_and_the_values_of_protobuf(message: bytes) -> None:
    assert repr(google_values(message)) == repr(our_values(message))


@settings(deadline=None, max_examples=100)
@given(rows_of(), st.data())
def test_every_cut_and_changed_byte_gets_the_verdict_of_protobuf(
    row: Any, data: st.DataObject
) -> None:
    message = bytearray(row.to_message())
    if message:
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(message[: data.draw(st.integers(0, len(message)))])

    for part in (bytes(message), cut):
        assert repr(google_values(part)) == repr(our_values(part))


@settings(deadline=None, max_examples=100)
@given(rows_of())
def test_protobuf_reads_and_writes_the_same_bytes(row: Any) -> None:
    message = row.to_message()
    theirs = GOOGLE()
    theirs.ParseFromString(message)

    assert message == theirs.SerializeToString(deterministic=True)
    assert repr([getattr(row, f.name) for f in DEFINITION.fields]) == repr(WIRE.decode(message))


def test_unpacked_lists_are_read_like_packed_ones() -> None:
    tag = varint(NUMBERS["codes"] << 3)
    packed = varint(NUMBERS["codes"] << 3 | 2) + b"\x02\x01\x02"

    values = dict(zip(NUMBERS, WIRE.decode(tag + b"\x07" + packed), strict=True))

    assert [7, 1, 2] == values["codes"]


def test_the_last_of_repeated_scalars_counts() -> None:
    tag = varint(NUMBERS["site"] << 3 | 2)

    assert "b" == WIRE.decode(tag + b"\x01a" + tag + b"\x01b")[list(NUMBERS).index("site")]


@pytest.mark.parametrize("depth", [1, 64])
def test_unknown_groups_are_skipped(depth: int) -> None:
    start, end = varint(100 << 3 | 3), varint(100 << 3 | 4)

    assert WIRE.decode(b"") == WIRE.decode(start * depth + end * depth)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\x08", "ends inside a varint"),
        (b"\x08" + b"\x80" * 11, "more than 10 bytes"),
        (b"\x00\x00", "number 0"),
        (varint(2**32 | 8) + b"\x00", "too large"),
        (varint(NUMBERS["site"] << 3 | 2) + b"\x05a", "ends inside field 4"),
        (varint(NUMBERS["site"] << 3 | 2) + b"\x01\xff", "field 'site' is not UTF-8"),
        (varint(NUMBERS["price"] << 3 | 1) + b"1234567", "ends inside field 7"),
        (b"\x0d\x00", "ends inside field 1"),
        (b"\x0e\x00", "wire type 6"),
        (varint(100 << 3 | 3) * 65 + varint(100 << 3 | 4) * 65, "nested more than 64 deep"),
        (varint(100 << 3 | 3), "ends inside group 100"),
        (varint(100 << 3 | 4), "has not begun"),
        (varint(100 << 3 | 3) + varint(101 << 3 | 4), "group 100 ends as group 101"),
        (b"\x08" + varint(2**63), "outside the years 1 to 9999"),
        (varint(NUMBERS["times"] << 3) + varint(2**62), "field 'times'"),
    ],
)
def test_a_damaged_message_is_refused_with_the_reason(message: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        WIRE.decode(message)


def test_times_go_through_microseconds_exactly() -> None:
    for time in (datetime.min, datetime.max, EPOCH, datetime(1969, 12, 31, 23, 59, 59, 999999)):
        assert time == from_time(to_time(time))
    assert (MIN_TIME, MAX_TIME) == (to_time(datetime.min), to_time(datetime.max))


def test_defaults_are_left_out_and_negative_zero_is_not() -> None:
    wire = Wire([Field("x", "float", 1), Field("y", "int", 2), Field("z", "int", 3)])

    assert b"" == wire.encode([0.0, 0, 0])
    assert b"\x09" + struct.pack("<d", -0.0) == wire.encode([-0.0, 0, 0])
