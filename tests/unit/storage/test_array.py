import datetime as dt
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.storage.array import PIECE_ROWS
from tadka.storage.format import load, open_writer, read_piece, save, scan
from tadka.storage.uri import join


def written(table: pa.Table) -> Any:
    buffer = io.BytesIO()
    writer = open_writer(buffer, ".npy", table.schema)
    for batch in table.to_batches(max_chunksize=2):
        writer.write(batch)
    writer.close()
    return np.load(io.BytesIO(buffer.getvalue()))


def test_piece_is_a_slice_of_131072_rows(folder: str) -> None:
    uri = join(folder, "a.npy")
    array = np.arange(2 * PIECE_ROWS + 5, dtype=np.int32)
    save(array, uri)

    found = scan(uri)

    assert [PIECE_ROWS, PIECE_ROWS, 5] == found.piece_rows
    assert pa.schema([("value", pa.int32())]) == found.schema
    assert array[-5:].tolist() == read_piece(found, 2)["value"].to_pylist()
    assert array[:PIECE_ROWS].tolist() == read_piece(found, 0)["value"].to_pylist()


def test_more_axes_become_fixed_size_lists(folder: str) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    save(array, join(folder, "a.npy"))

    found = scan(join(folder, "a.npy"))

    assert pa.list_(pa.list_(pa.float32(), 4), 3) == found.schema.field("value").type
    assert array.tolist() == read_piece(found, 0)["value"].to_pylist()


def test_fields_of_a_structured_array_become_columns(folder: str) -> None:
    array = np.array(
        [(1, 2.5, [1, 2], "ab"), (3, 4.5, [3, 4], "c")],
        [("a", ">i4"), ("b", "f8"), ("c", "i2", (2,)), ("d", "U2")],
    )
    save(array, join(folder, "a.npy"))

    assert {"a": [1, 3], "b": [2.5, 4.5], "c": [[1, 2], [3, 4]], "d": ["ab", "c"]} == read_piece(
        scan(join(folder, "a.npy")), 0
    ).to_pydict()
    assert {"d": ["ab", "c"], "a": [1, 3]} == read_piece(
        scan(join(folder, "a.npy"), ["d", "a"]), 0
    ).to_pydict()


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False]),
        np.array([1, 2], ">i8"),
        np.array([0.5, 1.5], np.float16),
        np.array(["2026-01-01"], "M8[D]"),
        np.array([b"ab"]),
        np.zeros(0),
        np.zeros((0, 3)),
    ],
    ids=str,
)
def test_element_types_and_empty_arrays_are_read(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "a.npy", array)

    found = scan(tmp_path / "a.npy")
    pieces = [read_piece(found, i) for i in range(len(found.piece_rows))]

    assert len(array) == found.num_rows
    assert array.tolist() == [row for piece in pieces for row in piece["value"].to_pylist()]


def test_fortran_order_is_read_locally_and_refused_elsewhere(tmp_path: Path, memory: str) -> None:
    array = np.asfortranarray(np.arange(6).reshape(3, 2))
    np.save(tmp_path / "a.npy", array)
    save(array, join(memory, "a.npy"))

    assert array.tolist() == read_piece(scan(tmp_path / "a.npy"), 0)["value"].to_pylist()
    with pytest.raises(DataError, match="it is in Fortran order, of which no slice"):
        scan(join(memory, "a.npy"))


def test_large_header_of_version_two_is_read(tmp_path: Path) -> None:
    fields = [(f"column_{i:05}", "i1") for i in range(5000)]
    with pytest.warns(UserWarning, match="format 2.0"):
        np.save(tmp_path / "a.npy", np.zeros(2, fields))

    with pytest.raises(DataError, match=r"Header info length .* is large"):
        scan(tmp_path / "a.npy", ["column_00007"])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([{}]), "its elements are pickled Python objects"),
        (np.array(1.5), "it is a single number without rows"),
        (np.zeros((3, 0)), "list_size needs to be"),
        (np.array([1j]), "complex128 has no column type"),
        (np.zeros(2, [("a", [("b", "i4")])]), "has no column type"),
    ],
    ids=["object", "scalar", "no columns", "complex", "nested"],
)
def test_array_that_is_no_table_is_refused(tmp_path: Path, array: Any, reason: str) -> None:
    np.save(tmp_path / "a.npy", array)

    with pytest.raises(DataError, match=reason):
        scan(tmp_path / "a.npy")


def test_missing_bytes_are_counted(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(100))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-8])

    with pytest.raises(DataError, match="8 bytes are missing at its end"):
        scan(tmp_path / "a.npy")


def test_one_column_called_value_is_written_as_a_plain_array() -> None:
    values = pa.FixedSizeListArray.from_arrays(pa.array(range(10)), 2)

    assert [1, 2, 3] == written(pa.table({"value": [1, 2, 3]})).tolist()
    assert np.arange(10).reshape(5, 2).tolist() == written(pa.table({"value": values})).tolist()


def test_other_columns_are_written_as_fields() -> None:
    table = pa.table({"a": [1, 2, 3], "b": pa.array([0.5, 1, 2], pa.float32())})

    array = written(table)

    assert np.dtype([("a", "i8"), ("b", "f4")]) == array.dtype
    assert [(1, 0.5), (2, 1.0), (3, 2.0)] == array.tolist()


def test_slices_of_lists_are_written_from_their_own_rows() -> None:
    values = pa.FixedSizeListArray.from_arrays(pa.array(range(10)), 2).slice(2)

    assert [[4, 5], [6, 7], [8, 9]] == written(pa.table({"value": values})).tolist()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1, None]), "holds nulls; a .npy file cannot. Fill them first"),
        (pa.array(["a"]), "type string cannot be written to a .npy file"),
        (pa.array([[1], [2, 3]]), "cannot be written to a .npy file"),
        (pa.array([dt.date(2026, 1, 1)]).cast(pa.string()), "cannot be written"),
        (
            pa.FixedSizeListArray.from_arrays(pa.array([1, None]), 2),
            "holds nulls; a .npy file cannot",
        ),
    ],
)
def test_column_that_an_array_cannot_hold_is_refused(column: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        written(pa.table({"a": column}))


def test_saved_array_loads_as_it_was(tmp_path: Path) -> None:
    save(np.array([[1, 2]], np.uint8), tmp_path / "a.npy")

    assert [[1, 2]] == load(tmp_path / "a.npy").tolist()
