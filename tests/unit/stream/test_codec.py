from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tadka.core.error import DataError
from tadka.stream.codec import aligned_bytes, decode, encode, num_rows


def memory_of(batch: Any) -> np.ndarray[Any, Any]:
    """The encoded batch in memory that was dirty before."""
    encoded = encode(batch)
    memory = aligned_bytes(encoded.size_bytes)
    memory[:] = 0xA5
    encoded.write_to(memory)
    return memory


def travel(batch: Any, *, trusted: bool = True) -> Any:
    return decode(memory_of(batch), trusted=trusted)


def assert_same(expected: dict[str, Any], actual: dict[str, Any]) -> None:
    assert list(expected) == list(actual)
    for name, column in expected.items():
        other = actual[name]
        if isinstance(column, np.ndarray):
            assert (column.dtype, column.shape) == (other.dtype, other.shape)
            np.testing.assert_array_equal(column, other)
        else:
            assert column.equals(other)


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="="),
    hnp.integer_dtypes(endianness=">"),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(endianness="="),
    hnp.floating_dtypes(endianness=">"),
    hnp.complex_number_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.unicode_string_dtypes(max_len=5),
    hnp.byte_string_dtypes(max_len=5),
)


@st.composite
def array_batches(draw: st.DrawFn) -> dict[str, Any]:
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(st.text(max_size=4), unique=True, max_size=4))
    batch = {}
    for name in names:
        shape = (rows, *draw(st.lists(st.integers(0, 3), max_size=2)))
        column = draw(hnp.arrays(draw(DTYPES), shape))
        how = draw(st.sampled_from(["as is", "fortran", "backwards", "every second"]))
        if how == "fortran":
            column = np.asfortranarray(column)
        elif how == "backwards":
            column = column[::-1]
        elif how == "every second":
            column = np.repeat(column, 2, axis=0)[::2]
        batch[name] = column
    return batch


@given(array_batches())
def test_arrays_come_back_as_they_were_also_without_trust(batch: dict[str, Any]) -> None:
    assert_same(batch, travel(batch, trusted=False))


ARROW_COLUMNS = {
    "string": pa.array(["a", None, "ü🦄", ""]),
    "large_string": pa.array(["a", None, "b" * 1000, ""], pa.large_string()),
    "view": pa.array(["a", None, "b" * 100, ""], pa.string_view()),
    "binary": pa.array([b"\x00", None, b"", b"\xff"]),
    "int with null": pa.array([1, None, 3, 4]),
    "bool with null": pa.array([True, None, False, True]),
    "dictionary": pa.array(["x", "y", None, "x"]).dictionary_encode(),
    "list": pa.array([[1, 2], [], None, [3]]),
    "list of lists": pa.array([[["a"], []], [], None, [[None, "b"]]]),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 4, "b": None}]),
    "map": pa.array([[("k", 1)], [], None, [("l", None)]], pa.map_(pa.string(), pa.int8())),
    "null": pa.nulls(4),
    "decimal": pa.array([1, None, 3, 4], pa.decimal128(10, 2)),
    "time": pa.array([1, None, 3, 4], pa.time64("us")),
    "zoned": pa.array([1, None, 3, 4], pa.timestamp("ms", "Asia/Tokyo")),
    "fixed list": pa.array([[1.0, 2.0], [3.0, None], None, [5.0, 6.0]], pa.list_(pa.float32(), 2)),
}


@pytest.mark.parametrize("name", ARROW_COLUMNS)
@pytest.mark.parametrize(("start", "stop"), [(0, 4), (1, 4), (1, 3), (2, 2), (3, 4)])
def test_arrow_column_travels_beside_arrays_without_trust(name: str, start: int, stop: int) -> None:
    column = ARROW_COLUMNS[name][start:stop]
    batch = {"a": np.arange(stop - start), name: column, "z": np.ones((stop - start, 2), "f4")}

    found = travel(batch, trusted=False)

    found[name].validate(full=True)
    assert_same(batch, found)


def test_slice_carries_only_its_own_rows() -> None:
    column = pa.array([f"{i:0100}" for i in range(10_000)])

    assert encode({"s": column.slice(5_000, 10)}).size_bytes < 4_000


def test_columns_keep_their_order_whatever_their_kind() -> None:
    text, numbers = pa.array(["a", "b"]), np.arange(2)
    batch = {"z": text, "b": numbers, "": text, "a": numbers, "m": text}

    assert_same(batch, travel(batch))


def test_chunked_array_becomes_one_array() -> None:
    found = travel({"s": pa.chunked_array([["a"], [], ["b", None]])})

    assert pa.array(["a", "b", None]).equals(found["s"])


def test_chunked_array_of_no_chunks_becomes_an_empty_array() -> None:
    found = travel({"s": pa.chunked_array([], pa.string())})

    assert pa.array([], pa.string()).equals(found["s"])


def test_dictionaries_of_two_chunks_become_one() -> None:
    chunks = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", "c"]).dictionary_encode()]

    found = travel({"s": pa.chunked_array(chunks)})

    assert ["a", "b", "b", "c"] == found["s"].to_pylist()


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_table_and_record_batch_come_back_as_a_table(rows: int) -> None:
    table = pa.table({name.replace(" ", "_"): c[:rows] for name, c in ARROW_COLUMNS.items()})

    assert table.equals(travel(table, trusted=False))
    assert table.equals(travel(table.to_batches()[0] if rows else table, trusted=False))


def test_table_of_many_chunks_and_with_an_offset_comes_back_whole() -> None:
    table = pa.concat_tables([pa.table({"x": [1, 2], "s": ["a", None]})] * 3).slice(1, 4)

    found = travel(table)

    assert table.equals(found)
    assert 1 == found["x"].num_chunks


def test_field_metadata_of_a_table_comes_back() -> None:
    schema = pa.schema([pa.field("x", pa.int64(), metadata={"unit": "s"})], {"made": "here"})
    table = pa.table({"x": [1]}, schema)

    assert table.schema.equals(travel(table).schema, check_metadata=True)


def test_empty_dict_comes_back() -> None:
    assert {} == travel({}, trusted=False)


def test_same_header_is_used_again_for_other_values() -> None:
    for value in (1, 2):
        assert_same({"x": np.full(3, value)}, travel({"x": np.full(3, value)}))


@given(array_batches())
def test_columns_are_aligned_for_vector_instructions(batch: dict[str, Any]) -> None:
    for column in travel(batch).values():
        assert column.size == 0 or column.ctypes.data % 64 == 0


@pytest.mark.parametrize("size_bytes", [1, 64, 100_000])
def test_aligned_bytes_are_as_many_as_asked_for_and_aligned(size_bytes: int) -> None:
    memory = aligned_bytes(size_bytes)

    assert (size_bytes,) == memory.shape
    assert 0 == memory.ctypes.data % 64


def test_batch_is_written_at_an_offset_and_nowhere_else() -> None:
    encoded = encode({"x": np.arange(10), "y": np.ones(3 * 10).reshape(10, 3)})
    memory = np.full(encoded.size_bytes + 192, 7, np.uint8)

    encoded.write_to(memory, 128)

    assert {7} == set(memory[:128]) | set(memory[128 + encoded.size_bytes :])
    assert_same({"x": np.arange(10)}, {"x": decode(memory[128:-64])["x"]})


def test_memory_may_be_any_writable_buffer() -> None:
    encoded = encode({"x": np.arange(10)})
    memory = bytearray(encoded.size_bytes)

    encoded.write_to(memory)

    assert_same({"x": np.arange(10)}, decode(np.frombuffer(memory, np.uint8)))


def test_decoded_columns_look_into_the_memory() -> None:
    batch = {"x": np.zeros(4), "s": pa.array(["abc"]).take([0, 0, 0, 0]), "y": np.zeros((4, 2))}
    memory = memory_of(batch)

    found = decode(memory)

    assert all(np.shares_memory(memory, found[name]) for name in "xy")
    text = found["s"].buffers()[2]
    assert memory.ctypes.data < text.address < memory.ctypes.data + len(memory)
    found["x"][1] = 5
    assert 5 == decode(memory)["x"][1]


def test_arrays_of_an_object_look_into_the_memory_and_can_be_written() -> None:
    memory = memory_of((np.zeros(4), {"a": np.ones(3, "i4")}))

    first, rest = decode(memory)

    assert np.shares_memory(memory, first)
    assert np.shares_memory(memory, rest["a"])
    first += 1


class Ratings:
    """A user's own batch."""

    def __init__(self, stars: Any) -> None:
        self.stars = stars


OBJECTS = {
    "tuple": (np.arange(3), np.ones((2, 2), order="F")),
    "nested": {"a": {"b": np.arange(3)}, "c": [1, "x", None]},
    "lists": {"x": [1, 2, 3], "y": ["a", "b", "c"]},
    "ragged": {"x": [[1], [1, 2]]},
    "strided": (np.arange(10)[::3],),
    "empty array": (np.zeros(0), np.zeros((0, 3))),
    "array": np.arange(5),
    "number keys": {1: np.arange(3), 2: np.ones(3)},
    "object column": {"x": np.array(["a", None, (1, 2)], dtype=object)},
    "text column": {"x": np.array(["a", "b" * 100], dtype=np.dtypes.StringDType())},
    "structured": {"x": np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])},
    "masked": {"x": np.ma.masked_equal([1, 2, 3], 2)},
}


def plain(value: Any) -> Any:
    """The same with lists in place of arrays, to be compared."""
    if isinstance(value, np.ma.MaskedArray | np.ndarray):
        return str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(inner) for inner in value)
    return value


@pytest.mark.parametrize("name", OBJECTS)
def test_anything_else_is_pickled(name: str) -> None:
    found = travel(OBJECTS[name])

    assert type(OBJECTS[name]) is type(found)
    assert plain(OBJECTS[name]) == plain(found)


def test_users_own_class_is_pickled_with_its_arrays_out_of_band() -> None:
    batch = Ratings(np.arange(100_000))
    encoded = encode(batch)

    assert encoded.size_bytes < batch.stars.nbytes + 2_000
    found = travel(batch)
    assert isinstance(found, Ratings)
    np.testing.assert_array_equal(batch.stars, found.stars)


def test_torch_tensors_come_back() -> None:
    torch = pytest.importorskip("torch")
    batch = {"x": torch.arange(6).reshape(2, 3), "y": torch.ones(2, dtype=torch.bfloat16)}

    found = travel(batch)

    assert torch.equal(batch["x"], found["x"])
    assert torch.equal(batch["y"], found["y"])


@pytest.mark.parametrize("name", OBJECTS)
def test_pickle_of_a_sender_who_is_not_trusted_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"pickled batch .* Return dicts .*curve=True\)\.$"):
        travel(OBJECTS[name], trusted=False)


def test_refused_pickle_is_not_run(tmp_path: Any) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (tmp_path / "trodden").mkdir, ()

    memory = memory_of(Trap())
    with pytest.raises(DataError, match="unpickling runs"):
        decode(memory, trusted=False)
    assert not (tmp_path / "trodden").exists()

    decode(memory, trusted=True)
    assert (tmp_path / "trodden").exists()


@pytest.mark.parametrize("batch", [lambda: 0, (i for i in range(3)), {"x": lambda: 0}])
def test_batch_that_cannot_be_pickled_is_named_with_what_can(batch: Any) -> None:
    kind = type(batch).__name__
    with pytest.raises(
        DataError, match=rf"type '{kind}' cannot be sent on: .*dict of NumPy arrays, an Arrow"
    ):
        encode(batch)


@pytest.mark.parametrize(
    "batch",
    [
        {"a": np.zeros(2), "b": np.zeros(3)},
        {"a": np.zeros(2), "b": pa.array([1, 2, 3])},
        {"a": pa.array([1, 2]), "b": pa.array([1, 2, 3])},
        {"a": np.zeros((2, 3)), "b": np.zeros((3, 2))},
    ],
)
def test_columns_of_different_lengths_are_refused(batch: dict[str, Any]) -> None:
    with pytest.raises(
        DataError,
        match=r"^Column 'b' has 3 rows and column 'a' has 2; all columns .* same number\.$",
    ):
        encode(batch)


@pytest.mark.parametrize("order", [("n", "x"), ("x", "n")])
def test_column_of_no_dimension_is_refused(order: tuple[str, str]) -> None:
    columns = {"n": np.array(1.5), "x": np.zeros(3)}
    with pytest.raises(DataError, match=r"^Column 'n' is a single number, not an array"):
        encode({name: columns[name] for name in order})


@pytest.mark.parametrize(
    ("batch", "rows"),
    [
        ({}, 0),
        ({"x": np.zeros((7, 2))}, 7),
        ({"x": pa.array([1, 2])}, 2),
        ({"x": pa.chunked_array([[1], [2, 3]])}, 3),
        (pa.table({"x": [1, 2]}), 2),
        (pa.record_batch({"x": [1, 2]}), 2),
        ({"x": [1, 2, 3]}, 3),
        ({"x": [[1], [1, 2]]}, 2),
        ({"x": "abc"}, 1),
        ({"x": 5}, 1),
        ({"x": np.array(5)}, 1),
        ({"in": {"a": np.zeros(5), "b": np.zeros(5)}}, 5),
        ((np.zeros(3), np.zeros(3)), 1),
        (None, 1),
    ],
)
def test_rows_of_a_batch(batch: Any, rows: int) -> None:
    assert rows == num_rows(batch)


def test_encoded_batch_knows_its_rows() -> None:
    batches = [
        {"x": np.zeros((7, 2))},
        {"x": pa.nulls(7)},
        pa.table({"x": range(7)}),
        {"x": [0] * 7},
    ]

    assert [7] * 4 == [encode(batch).num_rows for batch in batches]


def test_rows_of_tensors() -> None:
    torch = pytest.importorskip("torch")

    assert [4, 1] == [num_rows({"x": torch.zeros(4, 2)}), num_rows({"x": torch.tensor(4)})]
