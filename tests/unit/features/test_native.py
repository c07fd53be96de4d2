"""The compiled engine: against protobuf, against a recomputation, and under bad use."""

import math
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError
from tadka.features import Buckets, Features, Hashed, Log, Number, Skip, Vocabulary
from tadka.features.columns import Columns
from tadka.features.features import plan_of
from tadka.features.hash import feature_seed, hash_text, missing_hash, slot_of
from tadka.features.plan import Plan
from tadka.features.program import Code, Op, Program
from tadka.features.wire import EPOCH
from tests.unit.features.rows import Everything, google_class, rows_of, table_of
from tests.unit.features.test_wire import google_values, varint, wire_fields

native = pytest.importorskip("tadka.features.native")


def engine_of(cls: type[Features]) -> Any:
    plan = plan_of(cls, None)
    if not plan.is_native:  # TADKA_NATIVE=0
        plan = Plan(cls, cls.definition(), declared(cls), native=True)
    return plan.engine


def declared(cls: Any) -> Any:
    return cls._declaration


def batch_of(rows: list[Any], cls: Any = Everything) -> pa.RecordBatch:
    """Canonical columns in the order of the fields."""
    (batch,) = table_of(rows, cls).combine_chunks().to_batches(max_chunksize=None) or [
        pa.RecordBatch.from_pylist([], table_of(rows, cls).schema)
    ]
    return Columns(cls.__name__, declared(cls).fields).cast(batch)


def bits(found: Any) -> tuple[bytes, ...]:
    return tuple(array.tobytes() for array in found)


# ---------------------------------------------------------------- decoder

ENGINE = engine_of(Everything)
NUMBERS = {field.name: field.number for field in Everything.definition().fields}


def decoded(message: bytes) -> list[Any] | None:
    try:
        return list(ENGINE.decode(message))
    except DataError:
        return None


def has_no_group(message: bytes) -> bool:
    """In an unknown group protobuf accepts field number 0, and we do not."""
    return not any(byte & 7 == 3 for byte in message)


@settings(deadline=None, max_examples=500)
@given(st.lists(wire_fields | st.binary(max_size=3), max_size=6).map(b"".join))
def test_any_bytes_get_the_verdict_and_values_of_protobuf(message: bytes) -> None:
    expected = google_values(message)
    if expected is not None or has_no_group(message):
        assert repr(expected) == repr(decoded(message))


@settings(deadline=None, max_examples=60)
@given(rows_of(), st.integers(0, 2**32), st.integers(0, 255))
def test_messages_whole_cut_and_mutated_read_as_protobuf_reads_them(
    row: Any, place: int, byte: int
) -> None:
    message = row.to_message()
    assert repr(google_values(message)) == repr(decoded(message))
    for end in range(len(message)):
        assert repr(google_values(message[:end])) == repr(decoded(message[:end]))
    if message:
        mutated = bytearray(message)
        mutated[place % len(message)] = byte
        expected = google_values(bytes(mutated))
        if expected is not None or has_no_group(bytes(mutated)):
            assert repr(expected) == repr(decoded(bytes(mutated)))


@settings(deadline=None, max_examples=60)
@given(rows_of(), rows_of())
def test_of_two_messages_in_a_row_scalars_are_the_last_and_lists_are_joined(a: Any, b: Any) -> None:
    message = a.to_message() + b.to_message()

    assert repr(google_values(message)) == repr(decoded(message))


TEXTS = [
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\x80",
    b"\xff",
    b"\xe2\x82",
    b"\xe2\x28\xa1",
    b"\xf0\x9f\x98",
    "\ud7ff\ue000\U0010ffff\uffff\0".encode(),
    "é".encode(),
]


@pytest.mark.parametrize("before", [0, 1, 3, 4, 6, 7, 8, 15, 16, 40])
@pytest.mark.parametrize("after", [0, 1, 7, 20])
def test_utf8_is_judged_as_python_judges_it_wherever_it_stands(before: int, after: int) -> None:
    for text in TEXTS:
        data = b"x" * before + text + b"y" * after
        message = varint(NUMBERS["site"] << 3 | 2) + varint(len(data)) + data
        try:
            data.decode()
        except UnicodeDecodeError:
            with pytest.raises(DataError, match="field 'site' is not UTF-8"):
                ENGINE.decode(message)
        else:
            assert data.decode() == ENGINE.decode(message)[3]


def test_groups_are_skipped_up_to_64_deep() -> None:
    start, end = varint(99 << 3 | 3), varint(99 << 3 | 4)
    inner = varint(50 << 3) + varint(7)

    assert ENGINE.decode(b"") == ENGINE.decode(start * 64 + inner + end * 64)
    for message in (
        start * 65 + end * 65,
        start * 2 + end,
        start + varint(98 << 3 | 4),
        end,
        start + b"\x00\x00" + end,
    ):
        with pytest.raises(DataError):
            ENGINE.decode(message)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"\x00\x00", "an unknown field is malformed"),
        (varint(2**29 << 3), "an unknown field is malformed"),
        (varint(NUMBERS["count"] << 3), "it ends inside field 'count'"),
        (varint(NUMBERS["count"] << 3) + b"\xff" * 11, "field 'count' is malformed"),
        (varint(NUMBERS["price"] << 3 | 1) + b"1234", "it ends inside field 'price'"),
        (varint(NUMBERS["site"] << 3 | 2) + b"\x05ab", "it ends inside field 'site'"),
        (varint(NUMBERS["codes"] << 3 | 2) + b"\x01\x80", "it ends inside field 'codes'"),
        (varint(NUMBERS["weights"] << 3 | 2) + b"\x03abc", "it ends inside field 'weights'"),
        (varint(NUMBERS["time"] << 3) + varint(2**62), "field 'time' has a time outside the years"),
        (varint(NUMBERS["times"] << 3) + varint(2**62), "field 'times' has a time outside"),
        (varint(77 << 3 | 2) + b"\x05ab", "it ends inside an unknown field"),
    ],
)
def test_an_error_names_the_row_and_the_field(message: bytes, what: str) -> None:
    with pytest.raises(DataError, match=f"Row 12: the message is no Everything: {what}"):
        ENGINE.encode_messages([b"", b"", message], first_row=10)


def test_fields_of_large_numbers_are_found() -> None:
    definition = Everything.definition()
    fields = [(f.name, number) for f, number in zip(definition.fields, big_numbers(), strict=False)]
    engine = renumbered(dict(fields))
    google = google_class(engine.definition)

    row = google(site="here", count=-5, codes=[1, -2], weights=[0.5], tags=["a", "b"])

    names = [name for name, _ in fields]
    values = dict(zip(names, engine.decode(row.SerializeToString()), strict=True))
    assert ("here", -5, [1, -2], [0.5], ["a", "b"]) == tuple(
        values[name] for name in ("site", "count", "codes", "weights", "tags")
    )


def big_numbers() -> Iterator[int]:
    yield from (2**29 - 1, 127, 128, 129, 1000, 18999, 2**20)
    yield from range(2**28, 2**28 + 100)


def renumbered(numbers: dict[str, int]) -> Any:
    plan = plan_of(Everything, None)
    definition = replace(
        plan.definition,
        fields=tuple(replace(f, number=numbers[f.name]) for f in plan.definition.fields),
    )
    return Plan(Everything, definition, declared(Everything), native=True).engine


# ---------------------------------------------------------------- entries


def entry_of(feature: Any, span: Any, value: Any) -> tuple[int, float]:
    """Slot and value, computed from the words of the encoding and nothing else."""
    encoding, seed = feature.encoding, feature_seed(feature.name)
    first = span.offset
    if isinstance(encoding, Hashed):
        code = missing_hash(seed) if value is None else hash_text(str(value).encode(), seed)
        return slot_of(code, first, span.width), 1.0
    if isinstance(encoding, Vocabulary):
        words = list(encoding.words)
        if value is None:
            return first + len(words) + 1, 1.0
        return first + (words.index(str(value)) if str(value) in words else len(words)), 1.0
    x = math.nan if value is None else float(value)
    if isinstance(encoding, Buckets):
        if math.isnan(x):
            return first + len(encoding.edges) + 1, 1.0
        return first + sum(edge <= x for edge in encoding.edges), 1.0
    if isinstance(encoding, Number):
        x = (x - encoding.shift) / encoding.scale
    elif isinstance(encoding, Log):
        x = math.copysign(math.log1p(abs(x)), x)
    with np.errstate(over="ignore"):
        narrow = float(np.float32(x))
    return (first, narrow) if math.isfinite(narrow) else (first + 1, 1.0)


def recomputed(rows: list[Any]) -> tuple[bytes, ...]:
    definition = type(rows[0]).definition() if rows else Everything.definition()
    starts, slots, values, features = [0], [], [], []
    for row in rows:
        for j, feature in enumerate(definition.features):
            span = definition.spans[j]
            value = getattr(row, feature.name)
            for item in value if isinstance(value, list) else [value]:
                slot, x = entry_of(feature, span, item)
                slots.append(slot)
                values.append(x)
                features.append(j)
        starts.append(len(slots))
    return bits(
        (
            np.array(starts, np.int64),
            np.array(slots, np.int32),
            np.array(values, np.float32),
            np.array(features, np.uint16),
        )
    )


class Scalars(Features, size=97):
    """As `Everything`, without lists: columns are encoded feature by feature."""

    time: datetime
    seen: datetime | None
    user: str | None
    site: str
    category: int | None
    price: float
    bid: Annotated[float | None, Number(3.5, 1e-3)]
    flag: bool
    answer: Annotated[bool | None, Vocabulary(["True", "None"])]
    own: Annotated[str, Hashed(size=7)]
    word: Annotated[str | None, Vocabulary(["a", "b", "", "ü", "None"])]
    code: Annotated[int, Vocabulary(["0", "-1", "9223372036854775807"])]
    size: Annotated[int, Log()]
    cost: Annotated[float | None, Log()]
    level: Annotated[int | None, Buckets([-1e9, -1.0, 0.0, 0.5, 2.0**53])]
    rate: Annotated[float, Buckets([0.0])]

    @property
    def hour(self) -> str:
        return str(self.time.hour)

    @property
    def cross(self) -> str:
        return f"{self.user}_{self.site}"

    @property
    def loop(self) -> str:
        total = ""
        for letter in self.site:
            total = letter + total
        return total

    @property
    def price_text(self) -> str:
        return str(self.price)

    @property
    def beyond(self) -> int:
        return self.code * 2**70

    @property
    def half(self) -> float | None:
        return None if self.bid is None else self.bid / 2

    @property
    def level_of(self) -> Annotated[float, Buckets([0.0, 24.0])]:
        return self.time.hour


@pytest.mark.parametrize("cls", [Everything, Scalars])
def test_messages_columns_and_instances_give_the_recomputed_entries(cls: Any) -> None:
    @settings(deadline=None, max_examples=60)
    @given(st.lists(rows_of(cls), min_size=1, max_size=6))
    def check(rows: list[Any]) -> None:
        engine = engine_of(cls)
        expected = recomputed(rows)
        assert expected == bits(engine.encode_messages([row.to_message() for row in rows]))
        assert expected == bits(engine.encode_rows(rows))
        assert expected == bits(engine.encode_arrow(batch_of(rows, cls)))

    check()


@pytest.mark.parametrize("cls", [Everything, Scalars])
def test_no_rows_give_no_entries(cls: Any) -> None:
    engine = engine_of(cls)

    for found in (
        engine.encode_messages([]),
        engine.encode_rows([]),
        engine.encode_arrow(batch_of([], cls)),
    ):
        assert ([0], 0, 0, 0) == (found[0].tolist(), *map(len, found[1:]))


def many(cls: Any, num: int) -> list[Any]:
    """Rows with a bit of everything, of which 1 in 7 has missing values."""
    rows = []
    for i in range(num):
        parts: dict[str, Any] = {}
        for member in declared(cls).fields:
            kind, shape = member.shape.type, member.shape
            item: Any = {
                "bool": i % 3 == 0,
                "datetime": EPOCH + timedelta(days=-3650, seconds=i * 1_000_003),
                "float": (i - num / 2) / 7,
                "int": i * 1_000_003 % 2003 - 1000,
                "str": ("日" if i % 11 == 0 else "x") * (i % 5) + str(i),
            }[kind]
            if shape.is_list:
                item = [item] * (i % 4)
            elif shape.is_optional and i % 7 == len(member.name) % 7:
                item = None
            parts[member.name] = item
        rows.append(cls(**parts))
    return rows


@pytest.mark.parametrize("cls", [Everything, Scalars])
def test_columns_of_many_rows_are_cut_into_blocks_threads_and_slices_alike(cls: Any) -> None:
    engine = engine_of(cls)
    rows = many(cls, 1500)
    messages = [row.to_message() for row in rows]
    batch = batch_of(rows, cls)

    assert bits(engine.encode_messages(messages)) == bits(engine.encode_arrow(batch))
    assert bits(engine.encode_messages(messages)) == bits(engine.encode_arrow(batch, threads=3))
    for first, last in ((1, 2), (127, 129), (130, 700), (9, 1500), (1500, 1500)):
        expected = bits(engine.encode_messages(messages[first:last]))
        assert expected == bits(engine.encode_arrow(batch.slice(first, last - first)))


def test_a_struct_array_with_an_offset_of_its_own_is_read_from_there() -> None:
    engine = engine_of(Scalars)
    rows = many(Scalars, 300)
    batch = batch_of(rows, Scalars)
    whole = pa.StructArray.from_arrays(batch.columns, fields=list(batch.schema))

    expected = bits(engine.encode_rows(rows[17:290]))
    assert expected == bits(engine.encode_arrow(whole[17:290]))


NARROW = [pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.int64()]


class Small(Features):
    i: int
    x: float
    s: str
    tags: list[str]


@pytest.mark.parametrize("kind", NARROW, ids=str)
def test_narrow_and_large_types_are_read_as_they_are(kind: pa.DataType) -> None:
    engine = engine_of(Small)
    numbers = [0, 1, 127]
    batch = pa.record_batch(
        {
            "i": pa.array(numbers, kind),
            "x": pa.array([0.5, -1.5, 2.0], pa.float32()),
            "s": pa.array(["a", "", "日本"], pa.large_string()),
            "tags": pa.array([["a"], [], ["b", "c"]], pa.large_list(pa.large_string())),
        }
    )

    rows = [Small(**row) for row in batch.to_pylist()]
    assert bits(engine.encode_rows(rows)) == bits(engine.encode_arrow(batch))


# ---------------------------------------------------------------- bad columns


def small_batch(**changed: pa.Array) -> pa.RecordBatch:
    columns = {
        "i": pa.array([1, 2, 3]),
        "x": pa.array([0.5, 1.0, 2.0]),
        "s": pa.array(["a", "b", "c"]),
        "tags": pa.array([["a"], [], ["b"]]),
    }
    return pa.record_batch({**columns, **changed})


def raw_texts(data: bytes, offsets: list[int]) -> pa.Array:
    return pa.Array.from_buffers(
        pa.string(),
        len(offsets) - 1,
        [None, pa.py_buffer(np.array(offsets, np.int32).tobytes()), pa.py_buffer(data)],
    )


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"i": pa.array([1, None, 3])}, "Row 6: field 'i' is missing, but its type is int"),
        ({"s": pa.array(["a", "b", None])}, "Row 7: field 's' is missing"),
        ({"tags": pa.array([["a"], [None], []])}, "Row 6: field 'tags' is missing"),
        ({"s": raw_texts(b"ab\xff", [0, 1, 2, 3])}, "Row 7: field 's' is not UTF-8"),
        ({"s": raw_texts(b"\xc3\xa9", [0, 1, 2, 2])}, "Row 5: field 's' is not UTF-8"),
        ({"s": raw_texts(b"abc", [0, 2, 1, 3])}, "Row 6: field 's' has offsets that decrease"),
        ({"i": pa.array(["a", "b", "c"])}, "Column 'i' has the Arrow type 'u'; the field is int"),
        ({"i": pa.array([1, 2, 3], pa.uint64())}, "Column 'i' has the Arrow type 'L'"),
        ({"i": pa.array([1, 2, 3], pa.timestamp("us"))}, "Column 'i' has the Arrow type 'tsu:'"),
        ({"tags": pa.array(["a", "b", "c"])}, "Column 'tags' has the Arrow type 'u'"),
        ({"tags": pa.array([[1], [], [2]])}, "Column 'tags' has the Arrow type 'l'"),
        ({"s": pa.array(["a", "b", "c"]).dictionary_encode()}, "Column 's' has the Arrow type 'i'"),
        ({"more": pa.array([1, 2, 3])}, "has 5 columns; it must have the 4 fields"),
    ],
)
def test_a_column_that_cannot_be_is_named(changed: dict[str, pa.Array], what: str) -> None:
    with pytest.raises(DataError, match=what):
        engine_of(Small).encode_arrow(small_batch(**changed), first_row=5)


def test_a_list_that_ends_after_its_items_is_refused() -> None:
    offsets = np.array([0, 1, 2, 2], np.int32)
    lists = pa.Array.from_buffers(
        pa.list_(pa.string()), 3, [None, pa.py_buffer(offsets)], children=[pa.array(["a", "b"])]
    )
    batch = small_batch(tags=lists)
    offsets[3] = 9  # after pyarrow has looked

    with pytest.raises(DataError, match="field 'tags' has offsets"):
        engine_of(Small).encode_arrow(batch)


def test_a_row_that_is_missing_altogether_is_refused() -> None:
    batch = small_batch()
    rows = pa.StructArray.from_arrays(
        batch.columns, fields=list(batch.schema), mask=pa.array([False, True, False])
    )

    with pytest.raises(DataError, match="Row 1 of the record batch is missing altogether"):
        engine_of(Small).encode_arrow(rows)


def test_what_is_no_record_batch_is_refused() -> None:
    with pytest.raises(DataError, match="dict is no record batch"):
        engine_of(Small).encode_arrow({})
    with pytest.raises(DataError, match="has 0 columns; it must have the 4 fields"):
        engine_of(Small).encode_arrow(pa.array([1, 2]))


def test_a_time_outside_the_years_is_refused_unless_it_is_missing() -> None:
    class Timed(Features):
        time: datetime | None
        user: str

    far = pa.array([0, 2**62, 0]).view(pa.timestamp("us"))
    users = pa.array(["a", "b", "c"])
    engine = engine_of(Timed)

    with pytest.raises(DataError, match="Row 1: field 'time' has a time outside the years 1 to"):
        engine.encode_arrow(pa.record_batch({"time": far, "user": users}))
    hidden = pa.Array.from_buffers(pa.timestamp("us"), 3, [pa.py_buffer(b"\x05"), far.buffers()[1]])
    found = engine.encode_arrow(pa.record_batch({"time": hidden, "user": users}))
    assert 3 == len(found[1])


def test_the_first_bad_row_is_the_one_that_is_named() -> None:
    batch = small_batch(i=pa.array([1, 2, None]), s=pa.array(["a", None, "c"]))

    with pytest.raises(DataError, match="Row 1: field 's'"):
        engine_of(Small).encode_arrow(batch)


# ---------------------------------------------------------------- Python's part


class Slow(Features):
    """Properties that Python evaluates, some of them wrongly."""

    n: int
    name: str

    @property
    def ratio(self) -> float:
        total = 0.0
        for _ in range(2):
            total += 1 / self.n
        return total

    @property
    def word(self) -> str:
        for letter in self.name:
            return self.n if letter == "!" else self.name[::-1]  # type: ignore[return-value]
        return "\ud800"


def run_messages(engine: Any, rows: list[Any]) -> Any:
    return engine.encode_messages([row.to_message() for row in rows])


def run_columns(engine: Any, rows: list[Any]) -> Any:
    return engine.encode_arrow(batch_of(rows, type(rows[0])))


def run_rows(engine: Any, rows: list[Any]) -> Any:
    return engine.encode_rows(rows)


PATHS = [run_messages, run_columns, run_rows]


@pytest.mark.parametrize("run", PATHS)
def test_a_property_that_raises_is_named_with_its_row(run: Callable[..., Any]) -> None:
    rows = [Slow(1, "a"), Slow(2, "b"), Slow(0, "c"), Slow(0, "d")]

    with pytest.raises(
        DataError, match=r"property 'ratio' raised ZeroDivisionError.*row 2"
    ) as info:
        run(engine_of(Slow), rows)
    assert isinstance(info.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("run", PATHS)
def test_a_property_of_the_wrong_type_is_named_with_both_types(run: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"Row 1: property 'word' is annotated str but gave 7 .int"):
        run(engine_of(Slow), [Slow(1, "a"), Slow(7, "!")])


@pytest.mark.parametrize("run", PATHS)
def test_a_property_that_is_no_utf8_is_refused(run: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="Row 0: property 'word'"):
        run(engine_of(Slow), [Slow(1, "")])


@pytest.mark.parametrize("run", PATHS)
def test_rows_after_an_error_encode_as_before(run: Callable[..., Any]) -> None:
    engine = engine_of(Slow)
    before = bits(run(engine, [Slow(1, "a")]))
    with pytest.raises(DataError):
        run(engine, [Slow(0, "a")])

    assert before == bits(run(engine, [Slow(1, "a")]))


def test_python_evaluates_with_times_in_utc_and_lists_of_its_own() -> None:
    class Seen(Features):
        time: datetime
        tags: list[str]

        @property
        def about(self) -> str:
            found = [str(self.time), repr(self.time.tzinfo)]
            for tag in self.tags:
                found += [tag, ""]
            return "|".join(found)

    row = Seen(datetime(1900, 1, 1, 3, tzinfo=UTC), ["a", "日"])

    rows = [row, Seen(EPOCH - timedelta(microseconds=1), [])]
    expected = recomputed(rows)
    for run in PATHS:
        assert expected == bits(run(engine_of(Seen), rows))


def test_a_class_that_changes_its_fields_is_encoded_as_it_changed_them() -> None:
    class Changed(Features):
        name: str
        tags: list[str]

        def __post_init__(self) -> None:
            self.name = self.name.strip()

    rows = [Changed("  a ", []), Changed("b", ["x"])]
    expected = recomputed(rows)
    message = [b"\x0a\x04  a ", b"\x0a\x02b \x12\x01x"]
    engine = engine_of(Changed)

    assert expected == bits(engine.encode_messages(message))
    assert expected == bits(engine.encode_rows(rows))
    batch = pa.record_batch({"name": [" a", " b"], "tags": [[], ["x"]]})
    batch = batch.set_column(1, "tags", pa.array([[], ["x"]], pa.list_(pa.string())))
    assert expected == bits(engine.encode_arrow(batch))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"n": 2**63}, "Row 4: field 'n'"),
        ({"n": True}, "Row 4: field 'n'"),
        ({"n": None}, "Row 4: field 'n'"),
        ({"name": 5}, "Row 4: field 'name'"),
        ({"name": "\ud800"}, "Row 4: field 'name'"),
    ],
)
def test_an_instance_with_a_wrong_value_is_named(change: dict[str, Any], what: str) -> None:
    good = Slow(1, "a")
    bad = Slow(1, "a")
    for name, value in change.items():
        setattr(bad, name, value)

    with pytest.raises(DataError, match=what):
        engine_of(Slow).encode_rows([good, bad], first_row=3)


def test_instances_of_other_classes_are_refused() -> None:
    engine = engine_of(Slow)

    for other in (Small(1, 1.0, "a", []), b"", None):
        with pytest.raises(DataError, match=r"Row 1: .* is no Slow"):
            engine.encode_rows([Slow(1, "a"), other])


def test_values_of_other_numeric_types_are_converted() -> None:
    row = Small(np.int32(5), np.float32(0.5), "a", ("b",))  # type: ignore[arg-type]

    assert bits(engine_of(Small).encode_rows([Small(5, 0.5, "a", ["b"])])) == bits(
        engine_of(Small).encode_rows([row])
    )


def test_messages_may_be_any_bytes_like_and_nothing_else() -> None:
    engine = engine_of(Small)
    message = Small(5, 0.5, "a", ["b"]).to_message()

    found = engine.encode_messages([message, bytearray(message), memoryview(message)])
    assert bits(engine.encode_messages([message] * 3)) == bits(found)
    with pytest.raises(DataError, match="Row 1: 'x' is no message but str"):
        engine.encode_messages([message, "x"])


# ---------------------------------------------------------------- engine


def test_programs_that_are_out_of_bounds_are_refused() -> None:
    plan = plan_of(Slow, None)
    for ops, constants in (
        ((Op(Code.FIELD, 0, imm=2), Op(Code.RETURN)), ()),
        ((Op(Code.CONSTANT, 0, imm=0), Op(Code.RETURN)), ()),
        ((Op(Code.RETURN, a=200),), ()),
        ((), ()),
    ):
        programs = [None, None, None, Program(ops, constants)]
        with pytest.raises(ConfigError, match="'Slow' cannot be compiled: a compiled property is"):
            native.Engine(
                plan.definition, [0, 1, -1, -1], programs, plan._rows, plan.reference.members
            )


def test_an_engine_is_made_once_of_parts_that_belong_together() -> None:
    plan = plan_of(Slow, None)
    with pytest.raises(ConfigError, match="a source, program and member for each"):
        native.Engine(plan.definition, [0], [None], plan._rows, plan.reference.members)
    with pytest.raises(ConfigError, match="a feature is of a field that does not exist"):
        native.Engine(
            plan.definition, [0, 9, -1, -1], [None] * 4, plan._rows, plan.reference.members
        )
    with pytest.raises(ConfigError, match="a feature and its field differ in type"):
        native.Engine(
            plan.definition, [1, 0, -1, -1], [None] * 4, plan._rows, plan.reference.members
        )
    engine = engine_of(Slow)
    with pytest.raises(ConfigError, match="has been made already"):
        type(engine).__init__(engine, plan.definition, [], [], plan._rows, [])


def test_an_engine_that_was_not_made_is_refused() -> None:
    empty = native.Engine.__new__(native.Engine)
    uses: list[Callable[[], Any]] = [
        lambda: empty.decode(b""),
        lambda: empty.encode_messages([b""]),
        lambda: empty.encode_rows([]),
        lambda: empty.encode_arrow(small_batch()),
    ]

    for use in uses:
        with pytest.raises(ConfigError, match="was not made"):
            use()


def test_threads_share_an_engine() -> None:
    engine = engine_of(Scalars)
    rows = many(Scalars, 400)
    messages = [row.to_message() for row in rows]
    batch = batch_of(rows, Scalars)
    expected = bits(engine.encode_messages(messages))
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(4):
            for found in (
                engine.encode_messages(messages),
                engine.encode_arrow(batch, threads=2),
                engine.encode_rows(rows),
            ):
                if bits(found) != expected:
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong


@pytest.mark.parametrize("run", PATHS)
def test_memory_does_not_grow_with_rows_that_python_evaluates(run: Callable[..., Any]) -> None:
    engine = engine_of(Slow)
    rows = [Slow(i, f"name {i}") for i in range(1, 1501)]

    def encode() -> int:
        run(engine, rows)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        encode()
        before = encode()
        for _ in range(5):
            after = encode()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def test_numbers_at_the_ends_of_float32_and_int64() -> None:
    class Ends(Features):
        a: float
        b: Annotated[int, Number(0.0, 1e-300)]
        c: Annotated[int, Buckets([float(2**63)])]
        d: Annotated[float, Skip()]

    rows = [
        Ends(x, i, i, x)
        for x in (3.4028235e38, 3.4028236e38, -1e39, 1e-46, -0.0, math.inf, math.nan)
        for i in (2**63 - 1, -(2**63), 0)
    ]

    expected = recomputed(rows)
    for run in PATHS:
        assert expected == bits(run(engine_of(Ends), rows))
    assert struct.pack("<f", -0.0) == engine_of(Ends).encode_rows(rows[12:13])[2][:1].tobytes()
