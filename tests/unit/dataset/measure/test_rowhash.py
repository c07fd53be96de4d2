import datetime as dt
import hashlib
import itertools
import math
import random
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tadka.dataset.measure.rowhash_reference as plain
from tadka.core.error import ConfigError, DataError
from tadka.dataset.expression.kind import Kind
from tadka.dataset.measure.rowhash import (
    _ROW_KEYS,
    RowHash,
    column_keys,
    digest_piece,
    normalised,
    row_digests,
)

native: Any
try:
    import tadka.dataset.measure.rowhash_native as native
except ImportError:  # built without a compiler
    native = None

EVERY = [
    ("flag", "bool"),
    ("i8", "int8"),
    ("i16", "int16"),
    ("i32", "int32"),
    ("i64", "int64"),
    ("f32", "float32"),
    ("f64", "float64"),
    ("text", "string"),
    ("data", "bytes"),
    ("day", "date"),
    ("at", "time"),
    ("point", "utc"),
    ("ids", "list[int64]"),
    ("words", "list[string]"),
    ("deep", "list[list[float64]]"),
]
UTC = dt.UTC


def kind_of(text: str) -> Kind:
    return Kind("list", kind_of(text[5:-1])) if text.startswith("list[") else Kind(text)


COLUMNS = [(name, kind_of(kind)) for name, kind in EVERY]


@pytest.fixture(params=["native", "plain"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "plain":
        monkeypatch.setenv("TADKA_NATIVE", "0")
    elif native is None:
        pytest.skip("the compiled part is not built")
    return str(request.param)


def kinds(**columns: str) -> list[tuple[str, Kind]]:
    return [(name, kind_of(kind)) for name, kind in columns.items()]


def hash_of(table: Any, columns: list[tuple[str, Kind]] | None = None) -> str:
    made = RowHash(COLUMNS if columns is None else columns)
    made.update(table)
    return made.hexdigest()


def table_of(rows: list[dict[str, Any]], columns: list[tuple[str, Kind]] | None = None) -> pa.Table:
    columns = COLUMNS if columns is None else columns
    schema = pa.schema([(name, kind.arrow) for name, kind in columns])
    return pa.Table.from_pylist(rows, schema)


def some_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    chance = random.Random(seed)

    def maybe(value: Any) -> Any:
        return None if chance.random() < 0.15 else value

    def text() -> str:
        return "".join(chance.choice("aé漢🙂 \0") for _ in range(chance.randrange(40)))

    def real() -> float:
        return chance.choice([math.nan, -0.0, 0.0, math.inf, 1.5, chance.gauss(0, 1)])

    return [
        {
            "flag": maybe(chance.random() < 0.5),
            "i8": maybe(chance.randrange(-128, 128)),
            "i16": maybe(chance.randrange(-(2**15), 2**15)),
            "i32": maybe(chance.randrange(-(2**31), 2**31)),
            "i64": maybe(chance.randrange(-(2**63), 2**63)),
            "f32": maybe(struct.unpack("f", struct.pack("f", real()))[0]),
            "f64": maybe(real()),
            "text": maybe(text()),
            "data": maybe(chance.randbytes(chance.randrange(40))),
            "day": maybe(dt.date.fromordinal(chance.randrange(1, 3_652_060))),
            "at": maybe(dt.datetime(1, 1, 1) + dt.timedelta(seconds=chance.randrange(2**37))),  # noqa: DTZ001
            "point": maybe(dt.datetime.fromtimestamp(chance.randrange(2**31), UTC)),
            "ids": maybe([maybe(chance.randrange(9)) for _ in range(chance.randrange(5))]),
            "words": maybe([maybe(text()) for _ in range(chance.randrange(4))]),
            "deep": maybe([maybe([real()] * chance.randrange(3)) for _ in range(2)]),
        }
        for _ in range(count)
    ]


# ---------------------------------------------------------------- the definition, once more


def from_the_docstring(row: dict[str, Any], columns: list[tuple[str, Kind]]) -> int:
    """The digest of a row in Python's integers, written from the docstring alone."""
    mask = 2**64 - 1

    def numbers(text: str) -> list[int]:
        return list(struct.unpack("<8Q", hashlib.blake2b(text.encode()).digest()))

    def mix(a: int, b: int) -> int:
        product = a * b
        return product & mask ^ product >> 64

    def cell(value: Any, name: str, kind: Kind) -> tuple[int, int]:
        a, b, c, d, p, q = numbers(f"tadka.rowhash.1\0column\0{name}\0{kind}")[:6]
        x, y = b | 1, d | 1
        if value is None:
            return p, q
        for u, v in blocks(value, name, kind):
            x, y = mix(u ^ a, v ^ x), mix(u ^ c, v ^ y)
        return x, y

    def blocks(value: Any, name: str, kind: Kind) -> list[tuple[int, int]]:
        if kind.item is not None:
            item = kind.item
            return [(len(value), 0), *(cell(v, f"{name}[]", item) for v in value)]
        if kind.name in {"string", "bytes"}:
            raw = (value.encode() if isinstance(value, str) else value) + b"\1"
            raw += b"\0" * (-len(raw) % 16)
            return list(struct.iter_unpack("<QQ", raw))
        if kind.is_float:
            is_wide = kind.name == "float64"
            if value != value:  # noqa: PLR0124
                return [(0x7FF8 << 48 if is_wide else 0x7FC0 << 16, 0)]
            form = "<dQ" if is_wide else "<fI"
            return [(*struct.unpack(f"<{form[2]}", struct.pack(form[:2], value or 0.0)), 0)]
        if kind.name == "date":
            value = (value - dt.date(1970, 1, 1)).days
        elif kind.is_time:
            epoch = dt.datetime(1970, 1, 1, tzinfo=value.tzinfo)
            value = (value - epoch) // dt.timedelta(microseconds=1)
        return [(int(value) & mask, 0)]

    cells = [cell(row[name], name, kind) for name, kind in columns]
    x, y = (sum(part) & mask for part in zip(*cells, strict=True))
    r = numbers("tadka.rowhash.1\0row")
    r = [key | i % 2 for i, key in enumerate(r)]
    y ^= mix(x ^ r[0], r[1])
    x ^= mix(y ^ r[2], r[3])
    y ^= mix(x ^ r[4], r[5])
    x ^= mix(y ^ r[6], r[7])
    return int(x << 64 | y)


def test_digests_are_what_the_docstring_says(backend: str) -> None:
    rows = some_rows(50)
    digests = row_digests(table_of(rows), COLUMNS)
    assert [from_the_docstring(row, COLUMNS) for row in table_of(rows).to_pylist()] == [
        int(x) << 64 | int(y) for x, y in digests
    ]


def test_the_hash_is_the_sum_of_the_digests_and_of_a_number_of_the_columns(backend: str) -> None:
    rows = table_of(some_rows(20))
    text = "".join(f"\0{name}\0{kind}" for name, kind in sorted(EVERY))
    start = hashlib.blake2b(b"tadka.rowhash.1\0table" + text.encode()).digest()[:16]
    total = sum(from_the_docstring(row, COLUMNS) for row in rows.to_pylist())
    expected = (total + int.from_bytes(start, "little")) % 2**128
    assert f"{expected:032x}" == hash_of(rows)


def test_the_hash_stays_what_it_was(backend: str) -> None:
    columns = kinds(user="int64", city="string", spent="float64", at="utc")
    rows: list[dict[str, Any]] = [
        {"user": 1, "city": "東京", "spent": 0.5, "at": dt.datetime(2026, 1, 1, tzinfo=UTC)},
        {"user": -1, "city": None, "spent": math.nan, "at": None},
    ]
    assert hash_of(table_of(rows, columns), columns) == "7881008239ec668260535c6e6c7312ba"


# ---------------------------------------------------------------- two backends


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_both_backends_give_the_same_bits(data: st.DataObject) -> None:
    if native is None:
        pytest.skip("the compiled part is not built")
    values = {
        "bool": st.booleans(),
        "int8": st.integers(-128, 127),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "float32": st.floats(width=32),
        "float64": st.floats(),
        "string": st.text(),
        "bytes": st.binary(max_size=70),
        "list[int64]": st.lists(st.none() | st.integers(0, 3), max_size=5),
        "list[string]": st.lists(st.none() | st.text(max_size=20), max_size=3),
    }
    chosen = data.draw(st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=4))
    columns = [(f"c{i}", kind_of(name)) for i, name in enumerate(chosen)]
    row = st.tuples(*(st.none() | values[name] for name in chosen))
    rows: list[Any] = data.draw(st.lists(row, max_size=30))
    names = [name for name, _ in columns]
    table = table_of([dict(zip(names, r, strict=True)) for r in rows], columns)
    start = data.draw(st.integers(0, len(rows)))
    for piece in normalised(table.slice(start), columns):
        keys = [column_keys(*column) for column in columns]
        made = []
        for module in (native, plain):
            digests = np.zeros((piece.num_rows, 2), np.uint64)
            registers = np.zeros((len(columns), 4096), np.uint8)
            total = module.hash_rows(piece, keys, _ROW_KEYS, digests, registers)
            made.append((total, digests.tolist(), registers.tobytes()))
        assert made[0] == made[1]


def test_both_backends_agree_on_more_rows_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(some_rows(3000))
    found = []
    for setting in ("1", "0"):
        monkeypatch.setenv("TADKA_NATIVE", setting)
        found.append(row_digests(table, COLUMNS).tolist())
    assert found[0] == found[1]


# ---------------------------------------------------------------- what makes no difference


def test_order_of_rows_and_columns_and_borders_of_batches_make_no_difference(backend: str) -> None:
    table = table_of(some_rows(300))
    expected = hash_of(table)
    shuffled = table.take(np.random.default_rng(1).permutation(300))
    turned = shuffled.select(list(reversed(table.column_names)))
    made = RowHash(list(reversed(COLUMNS)))
    for batch in turned.to_batches(max_chunksize=7):
        made.update(batch)
    assert made.hexdigest() == expected
    assert made.num_rows == 300


def test_hashes_of_parts_add_up(backend: str) -> None:
    table = table_of(some_rows(100))
    parts = [RowHash(COLUMNS), RowHash(COLUMNS)]
    parts[0].update(table.slice(0, 33))
    parts[1].update(table.slice(33))
    parts[1].merge(parts[0])
    assert parts[1].hexdigest() == hash_of(table)
    assert parts[1].num_rows == 100
    with pytest.raises(ConfigError, match="do not add up"):
        parts[0].merge(RowHash(COLUMNS[1:]))


def test_slices_and_offsets_make_no_difference(backend: str) -> None:
    rows = some_rows(200)
    table = table_of(rows)
    struct_array = table.combine_chunks().to_struct_array().combine_chunks()
    for start, stop in [(0, 200), (1, 9), (3, 200), (64, 129), (200, 200)]:
        expected = hash_of(table_of(rows[start:stop]))
        assert hash_of(table.slice(start, stop - start)) == expected
        part = pa.RecordBatch.from_struct_array(struct_array.slice(start, stop - start))
        assert hash_of(part) == expected


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        (
            "string",
            [
                pa.large_string(),
                pa.string_view(),
                pa.dictionary(pa.int32(), "string"),
                pa.dictionary(pa.int8(), pa.large_string()),
            ],
        ),
        ("bytes", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)]),
        (
            "int64",
            [pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.dictionary(pa.int32(), "i8")],
        ),
        ("int8", [pa.int64(), pa.uint16()]),
        ("float64", [pa.float16(), pa.float32()]),
        ("date", [pa.date64()]),
        ("time", [pa.timestamp("s"), pa.timestamp("ns")]),
        (
            "utc",
            [pa.timestamp("ns", "UTC"), pa.timestamp("us", "+09:00"), pa.timestamp("s", "UTC")],
        ),
        (
            "list[string]",
            [
                pa.large_list(pa.string()),
                pa.list_(pa.large_string()),
                pa.list_(pa.string(), 1),
                pa.list_(pa.dictionary(pa.int32(), "string")),
            ],
        ),
    ],
)
def test_how_values_are_laid_out_makes_no_difference(
    backend: str, kind: str, types: list[pa.DataType]
) -> None:
    day = dt.datetime(2026, 1, 2)  # noqa: DTZ001
    values: dict[str, list[Any]] = {
        "string": ["ab", None, "", "ab", "a text that is longer than sixteen bytes"],
        "bytes": [b"ab", None, b"xy"],
        "int64": [1, None, 100, 1],
        "int8": [1, None, 100],
        "float64": [1.5, None, -0.0, math.nan],
        "date": [day.date(), None],
        "time": [day, None],
        "utc": [day.replace(tzinfo=UTC), None],
        "list[string]": [["ab"], None, [None]],
    }
    columns = kinds(c=kind)
    expected = hash_of(pa.table({"c": pa.array(values[kind], columns[0][1].arrow)}), columns)
    for given_type in types:
        array = pa.array(values[kind], columns[0][1].arrow)
        if pa.types.is_dictionary(given_type):
            array = array.cast(given_type.value_type).dictionary_encode().cast(given_type)
        elif pa.types.is_list(given_type) and pa.types.is_dictionary(given_type.value_type):
            array = pa.array(values[kind], given_type)
        else:
            array = pa.array(values[kind], given_type)
        assert hash_of(pa.table({"c": array}), columns) == expected, given_type


def test_a_dictionary_with_a_null_or_more_values_than_rows_makes_no_difference(
    backend: str,
) -> None:
    columns = kinds(c="string")
    codes = pa.array([2, 1, None, 0], pa.int32())
    array = pa.DictionaryArray.from_arrays(codes, pa.array(["a", None, "c"]))
    expected = hash_of(pa.table({"c": ["c", None, None, "a"]}), columns)
    assert hash_of(pa.table({"c": array}), columns) == expected
    assert hash_of(pa.table({"c": array.slice(0, 1)}), columns) == hash_of(
        pa.table({"c": ["c"]}), columns
    )


def test_what_lies_under_a_null_makes_no_difference(backend: str) -> None:
    columns = kinds(i="int64", s="string", l="list[int64]")
    mask = pa.array([False, True, False]).buffers()[1]
    valid = pa.array([True, False, True]).buffers()[1]
    assert mask is not None
    offsets = pa.array([0, 1, 3, 4], pa.int32()).buffers()[1]
    numbers = pa.array([7, 8, 9, 10], pa.int64())
    layouts = {
        "i": pa.Array.from_buffers(pa.int64(), 3, [valid, numbers.buffers()[1]]),
        "s": pa.Array.from_buffers(pa.string(), 3, [valid, offsets, pa.py_buffer(b"abcd")]),
        "l": pa.Array.from_buffers(pa.list_(pa.int64()), 3, [valid, offsets], children=[numbers]),
    }
    clean = {"i": [7, None, 9], "s": ["a", None, "d"], "l": [[7], None, [10]]}
    assert hash_of(pa.table(layouts), columns) == hash_of(pa.table(clean), columns)


def test_there_is_one_nan_and_one_zero(backend: str) -> None:
    for kind, number, whole in (("float64", "f8", "u8"), ("float32", "f4", "u4")):
        bits = np.array([0, 1], whole)
        bits[0] = np.array(-np.nan, number).view(whole) | np.array(1, whole)
        bits[1] = np.array(-0.0, number).view(whole)
        odd = pa.table({"c": bits.view(number)})
        even = pa.table({"c": np.array([np.nan, 0.0], number)})
        assert hash_of(odd, kinds(c=kind)) == hash_of(even, kinds(c=kind))
    least = np.array([1], "u8").view("f8")  # subnormal, not zero
    rows = [pa.table({"c": c}) for c in (least, -least, np.zeros(1))]
    assert len({hash_of(row, kinds(c="float64")) for row in rows}) == 3


# ---------------------------------------------------------------- what makes a difference


def test_one_changed_cell_changes_the_hash(backend: str) -> None:
    rows = some_rows(30)
    seen = {hash_of(table_of(rows))}
    other: dict[str, Any] = {
        "bool": True,
        "string": "else",
        "bytes": b"else",
        "date": dt.date(2000, 1, 1),
        "time": dt.datetime(2000, 1, 1),  # noqa: DTZ001
        "utc": dt.datetime(2000, 1, 1, tzinfo=UTC),
    }
    for name, kind in COLUMNS:
        new = [None] if kind.item is not None else other.get(kind.name, 77)
        for value in (None, new):
            changed = [dict(row) for row in rows]
            old = changed[11][name]
            changed[11][name] = value
            if value != old:
                seen.add(hash_of(table_of(changed)))
    assert len(seen) >= 2 * len(COLUMNS) - 3  # some were null, or that value, before


def test_rows_that_are_there_twice_count_twice(backend: str) -> None:
    table = table_of(some_rows(10))
    pair = pa.concat_tables([table, table.slice(0, 1), table.slice(0, 1)])
    assert len({hash_of(table), hash_of(pair), hash_of(pa.concat_tables([table, table]))}) == 3


def test_values_that_change_places_change_the_hash(backend: str) -> None:
    columns = kinds(a="int64", b="int64")

    def of(a: list[Any], b: list[Any]) -> str:
        return hash_of(pa.table({"a": pa.array(a, "i8"), "b": pa.array(b, "i8")}), columns)

    seen = [
        of([1, 2], [3, 4]),
        of([2, 1], [3, 4]),  # within a column, between rows
        of([3, 4], [1, 2]),  # columns
        of([3, 2], [1, 4]),  # cells of one row
        of([1, 2], [3, 3]),
        of([None, 2], [3, 4]),
        of([0, 2], [3, 4]),
    ]
    assert len(set(seen)) == len(seen)


def test_values_that_look_alike_differ(backend: str) -> None:
    def digests(kind: str, values: list[Any]) -> int:
        table = pa.table({"c": pa.array(values, kind_of(kind).arrow)})
        return len({tuple(row) for row in row_digests(table, kinds(c=kind)).tolist()})

    texts = [None, *("\0" * n for n in range(40)), *("\1" * n for n in range(1, 40))]
    texts += ["a" * n for n in range(1, 40)]
    assert digests("string", texts) == len(texts)
    lists = [None, [], [None], [None, None], [0], [0, 0], [1], [0, 1], [1, 0], [0, None]]
    assert digests("list[int64]", lists) == len(lists)
    nested = [[[], []], [[]], [], [[1], [2]], [[1, 2]], [[1, 2], []], [[], [1, 2]], [None]]
    assert digests("list[list[int64]]", nested) == len(nested)
    texts_of = [["ab"], ["a", "b"], ["", "ab"], ["ab", ""], ["b", "a"]]
    assert digests("list[string]", texts_of) == len(texts_of)


def test_names_and_kinds_of_columns_count(backend: str) -> None:
    table = pa.table({"a": pa.array([1], pa.int32()), "b": pa.array([1], pa.int32())})
    seen = [
        hash_of(table, kinds(a="int32")),
        hash_of(table, kinds(b="int32")),
        hash_of(table, kinds(a="int64")),
        hash_of(table, kinds(a="int32", b="int32")),
        hash_of(table, []),
        hash_of(table.slice(0, 0), kinds(a="int32")),
        hash_of(table.slice(0, 0), kinds(b="int32")),
    ]
    assert len(set(seen)) == len(seen)


def near_rows(count: int) -> npt.NDArray[np.uint64]:
    """Digests of rows of three small whole numbers, all of them different."""
    side = round(count ** (1 / 3))
    grid = np.array(list(itertools.product(range(side), repeat=3)))
    table = pa.table({name: grid[:, i] for i, name in enumerate("abc")})
    return row_digests(table, kinds(a="int64", b="int64", c="int64"))


def test_rows_close_to_each_other_share_no_half_of_a_digest() -> None:
    digests_N2 = near_rows(200_000)
    for half in range(2):
        assert len(np.unique(digests_N2[:, half])) == len(digests_N2)
        # 32 bits of a half collide as often as chance has them: 2e5**2 / 2 / 2**32 = 4.7 times
        for shift in (0, 16, 32):
            word = (digests_N2[:, half] >> np.uint64(shift)) & np.uint64(0xFFFF_FFFF)
            assert len(digests_N2) - len(np.unique(word)) < 20


def test_each_bit_is_set_in_half_of_the_digests() -> None:
    digests_N2 = near_rows(60_000)
    bits = np.unpackbits(digests_N2.view(np.uint8), axis=1).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 5 * 0.5 / math.sqrt(len(digests_N2))


@pytest.mark.parametrize("kind", ["int64", "float64", "string", "list[int64]"])
def test_one_flipped_bit_flips_half_of_the_digest(kind: str) -> None:
    chance = np.random.default_rng(3)
    num, num_bits = 500, 63 if kind == "float64" else 64
    words = chance.integers(0, 2**62, num, np.uint64)
    if kind == "float64":  # ordinary numbers, whose sign and exponent stay away from NaN
        words = chance.normal(size=num).view(np.uint64)
        num_bits = 52

    def digests(words_N: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
        if kind == "string":
            array = pa.array([b"a text of some length, then " + w.tobytes() for w in words_N])
            columns = kinds(c="bytes")
        elif kind == "list[int64]":
            array = pa.array([[1, int(w)] for w in words_N.view(np.int64)])
            columns = kinds(c=kind)
        else:
            array = pa.array(words_N.view("f8" if kind == "float64" else "i8"))
            columns = kinds(c=kind)
        found = row_digests(pa.table({"c": array}), columns)
        return np.unpackbits(found.view(np.uint8), axis=1)

    before = digests(words)
    for bit in range(num_bits):
        flipped = before ^ digests(words ^ np.uint64(1 << bit))
        share_by_place = flipped.mean(axis=0)
        assert abs(share_by_place.mean() - 0.5) < 0.01, bit
        assert np.abs(share_by_place - 0.5).max() < 0.12, bit  # 5 sigma of 500 rows


# ---------------------------------------------------------------- what is refused


def test_no_rows_and_no_columns_have_hashes(backend: str) -> None:
    empty = table_of([])
    assert hash_of(empty) == RowHash(COLUMNS).hexdigest()
    assert row_digests(empty, COLUMNS).shape == (0, 2)
    two = RowHash([])
    two.update(pa.table({"a": [1, 2]}))
    assert two.num_rows == 2
    assert two.hexdigest() != RowHash([]).hexdigest()
    nothing = pa.table({"c": pa.nulls(3)})
    as_text = pa.table({"c": pa.array([None] * 3, pa.string())})
    assert hash_of(nothing, kinds(c="string")) == hash_of(as_text, kinds(c="string"))


def test_columns_that_are_missing_or_there_twice_are_refused() -> None:
    made = RowHash(kinds(user="int64"))
    with pytest.raises(DataError, match=r"no column 'user'\. Did you mean 'usr'"):
        made.update(pa.table({"usr": [1]}))
    with pytest.raises(DataError, match=r"no column 'user'. They have \['x'\]"):
        made.update(pa.table({"x": [1]}))
    with pytest.raises(DataError, match="2 columns named 'user'"):
        made.update(pa.Table.from_arrays([pa.array([1]), pa.array([1])], ["user", "user"]))
    with pytest.raises(ConfigError, match="'user' is given twice"):
        RowHash([*kinds(user="int64"), *kinds(user="string")])
    assert made.num_rows == 0


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("int64", pa.array([1.0])),
        ("int64", pa.array(["1"])),
        ("bool", pa.array([1])),
        ("float32", pa.array([1.0], pa.float64())),
        ("string", pa.array([b"a"])),
        ("date", pa.array([dt.datetime(2026, 1, 1)])),  # noqa: DTZ001
        ("time", pa.array([dt.datetime(2026, 1, 1, tzinfo=UTC)])),
        ("utc", pa.array([dt.datetime(2026, 1, 1)])),  # noqa: DTZ001
        ("list[int64]", pa.array([1])),
        ("list[int64]", pa.array([["a"]])),
        ("list[int64]", pa.array([[1]], pa.list_view(pa.int64()))),
        ("int64", pa.array(["a"]).dictionary_encode()),
    ],
)
def test_a_type_that_is_not_the_kind_is_refused(kind: str, array: pa.Array) -> None:
    with pytest.raises(DataError, match=r"Column 'c' has the Arrow type .*; it must be"):
        hash_of(pa.table({"c": array}), kinds(c=kind))


def test_a_value_beyond_the_kind_is_refused_and_nothing_is_added() -> None:
    made = RowHash(kinds(c="int8"))
    with pytest.raises(DataError, match="Column 'c' does not fit int8"):
        made.update(pa.table({"c": [1, 300]}))
    assert (made.num_rows, made.total) == (0, 0)
    odd = pa.table({"c": pa.array([1], pa.timestamp("ns"))})
    with pytest.raises(DataError, match="does not fit time"):
        hash_of(odd, kinds(c="time"))


@pytest.mark.parametrize("module", ["native", "plain"])
def test_a_type_without_a_digest_is_refused_by_the_backends_themselves(module: str) -> None:
    chosen: Any = plain if module == "plain" else native
    if chosen is None:
        pytest.skip("the compiled part is not built")
    batch = pa.record_batch({"c": pa.array([1], pa.uint32())})
    with pytest.raises(DataError, match="which has no digest"):
        chosen.hash_rows(batch, [column_keys("c", Kind("int32"))], _ROW_KEYS)


def test_digest_piece_fills_what_it_is_given() -> None:
    columns = kinds(a="int64")
    piece = next(iter(normalised(pa.table({"a": [1, 1, None]}), columns)))
    digests = np.zeros((3, 2), np.uint64)
    registers = np.zeros((1, 4096), np.uint8)
    total = digest_piece(piece, [column_keys(*columns[0])], digests, registers)
    assert total == sum(int(x) << 64 | int(y) for x, y in digests) % 2**128
    assert np.count_nonzero(registers) == 1
