import gc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import DataError
from tadka.storage.format import open_writer, read_piece, save, scan
from tadka.storage.publish import publish_file
from tadka.storage.uri import join
from tests.descriptors import open_descriptors


def write_groups(uri: str, num_groups: int) -> None:
    with publish_file(uri) as file:
        schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
        writer = open_writer(file, ".parquet", schema)
        for i in range(num_groups):
            writer.write(pa.table({"a": [i] * (i + 1), "b": ["x"] * (i + 1)}))
        writer.close()


def opened_files(folder: Path) -> list[str]:
    """Files below the folder that this process has open or mapped into memory."""
    paths = [
        row.split()[-1] for row in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    ]
    paths += [target for _, target in open_descriptors()]
    return sorted({Path(path).name for path in paths if path.startswith(f"{folder}/")})


def test_piece_is_a_row_group(folder: str) -> None:
    uri = join(folder, "a.parquet")
    write_groups(uri, 3)

    found = scan(uri, ["a"])

    assert [1, 2, 3] == found.piece_rows
    assert 6 == found.num_rows
    assert [[2, 2, 2], [0], [1, 1]] == [read_piece(found, i)["a"].to_pylist() for i in (2, 0, 1)]


def test_footer_is_parsed_once_for_many_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_groups(f"{tmp_path}/a.parquet", 5)
    found = scan(f"{tmp_path}/a.parquet")
    opened = []

    class Counted(pq.ParquetFile):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            opened.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(pq, "ParquetFile", Counted)
    for i in range(5):
        read_piece(found, i)

    assert 1 == len(opened)


def test_file_replaced_since_is_read_anew(tmp_path: Path) -> None:
    uri = f"{tmp_path}/a.parquet"
    write_groups(uri, 2)
    found = scan(uri)
    read_piece(found, 0)
    save(pa.table({"a": [7], "b": ["y"]}), uri)

    assert {"a": [7], "b": ["y"]} == read_piece(found, 0).to_pydict()


def test_object_replaced_since_is_an_error_once_and_then_read_anew(bucket: str) -> None:
    uri = join(bucket, "a.parquet")
    write_groups(uri, 2)
    found = scan(uri)
    read_piece(found, 0)
    save(pa.table({"a": [7], "b": ["y"]}), uri)

    with pytest.raises(DataError, match=r"a\.parquet' cannot be read"):
        read_piece(found, 0)
    assert {"a": [7], "b": ["y"]} == read_piece(found, 0).to_pydict()


def test_object_scanned_again_is_read_as_it_is_now(bucket: str) -> None:
    uri = join(bucket, "a.parquet")
    write_groups(uri, 2)
    read_piece(scan(uri), 0)
    save(pa.table({"a": [7], "b": ["y"]}), uri)

    assert {"a": [7], "b": ["y"]} == read_piece(scan(uri), 0).to_pydict()


def test_an_object_that_becomes_what_it_was_is_read_again(bucket: str) -> None:
    uri = join(bucket, "a.parquet")
    first, other = pa.table({"a": [1]}), pa.table({"a": [2]})
    save(first, uri)
    found = scan(uri)
    save(other, uri)
    assert {"a": [2]} == read_piece(found, 0).to_pydict()

    save(first, uri)

    assert {"a": [1]} == read_piece(scan(uri), 0).to_pydict()


def test_few_files_stay_open(tmp_path: Path) -> None:
    for i in range(20):
        write_groups(f"{tmp_path}/{i}.parquet", 1)
        read_piece(scan(f"{tmp_path}/{i}.parquet"), 0)
    gc.collect()

    assert [f"{i}.parquet" for i in range(12, 20)] == sorted(
        opened_files(tmp_path), key=lambda name: int(name.split(".")[0])
    )


def test_scan_leaves_no_file_open(tmp_path: Path) -> None:
    write_groups(f"{tmp_path}/a.parquet", 1)

    scan(f"{tmp_path}/a.parquet")

    assert [] == opened_files(tmp_path)


def test_file_without_row_groups_has_no_pieces(tmp_path: Path) -> None:
    write_groups(f"{tmp_path}/a.parquet", 0)

    found = scan(f"{tmp_path}/a.parquet", ["b"])

    assert ([], 0, ["b"]) == (found.piece_rows, found.num_rows, found.schema.names)


def test_nested_and_dictionary_columns_keep_their_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "list": pa.array([[1], None]),
            "struct": pa.array([{"x": 1, "y": "a"}, None]),
            "dict": pa.array(["u", "v"]).dictionary_encode(),
            "null": pa.nulls(2),
        }
    )
    save(table, tmp_path / "a.parquet")

    found = scan(tmp_path / "a.parquet", ["struct", "null", "dict", "list"])

    assert table.select(found.schema.names).schema == found.schema
    assert table.select(found.schema.names) == read_piece(found, 0)


def test_metadata_of_pandas_is_dropped_from_the_schema(tmp_path: Path) -> None:
    save(pa.table({"a": [1]}).replace_schema_metadata({"pandas": "{}"}), tmp_path / "a.parquet")

    assert scan(tmp_path / "a.parquet").schema.metadata is None


def test_writer_compresses_with_zstd(tmp_path: Path) -> None:
    write_groups(f"{tmp_path}/a.parquet", 1)

    footer = pq.read_metadata(tmp_path / "a.parquet")
    assert "ZSTD" == footer.row_group(0).column(0).compression


def test_flipped_byte_is_found_or_read_but_never_a_crash(tmp_path: Path) -> None:
    save(pa.table({"a": list(range(1000)), "b": ["x" * 10] * 1000}), tmp_path / "a.parquet")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    messages = []
    for place in range(0, len(data), 37):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        path = tmp_path / f"{place}.parquet"
        path.write_bytes(damaged)
        try:
            found = scan(path)
            for i in range(len(found.piece_rows)):
                read_piece(found, i)
        except DataError as error:
            messages.append(str(error).replace(str(path), "PATH"))

    assert messages
    assert [] == [message for message in messages if not message.startswith("File 'PATH' ")]
