from pathlib import Path

import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.storage.format import open_writer, read_piece, scan
from tadka.storage.publish import publish_file
from tadka.storage.uri import join

TABLE = pa.table({"text": ["a", "b", "c"], "wide": [1, 2, 3], "narrow": pa.array([1, 2, 3], "i1")})


@pytest.mark.parametrize("suffix", [".arrow", ".feather", ".ipc"])
def test_piece_is_a_record_batch(folder: str, suffix: str) -> None:
    uri = join(folder, f"a{suffix}")
    with publish_file(uri) as file:
        writer = open_writer(file, suffix, TABLE.schema)
        writer.write(TABLE)
        writer.write(TABLE.to_batches()[0].slice(1))
        writer.close()

    found = scan(uri, ["wide", "text"])

    assert [3, 2] == found.piece_rows
    assert {"wide": [2, 3], "text": ["b", "c"]} == read_piece(found, 1).to_pydict()


@pytest.mark.parametrize("compression", ["lz4", "zstd", "uncompressed"])
def test_compressed_files_are_read(tmp_path: Path, compression: str) -> None:
    options = pa.ipc.IpcWriteOptions(
        compression=None if compression == "uncompressed" else compression
    )
    with pa.ipc.new_file(f"{tmp_path}/a.feather", TABLE.schema, options=options) as writer:
        writer.write(TABLE)

    found = scan(tmp_path / "a.feather")

    assert [3] == found.piece_rows
    assert TABLE == read_piece(found, 0)


def test_columns_without_a_fixed_width_are_counted_too(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "list": [[1], [2, 3]]})
    with pa.ipc.new_file(f"{tmp_path}/a.arrow", table.schema) as writer:
        writer.write(table)

    assert [2] == scan(tmp_path / "a.arrow").piece_rows


def test_dictionary_columns_are_read(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array(["u", "v", "u"]).dictionary_encode(), "b": [1, 2, 3]})
    with pa.ipc.new_file(f"{tmp_path}/a.arrow", table.schema) as writer:
        writer.write(table)

    assert table.select(["b", "a"]) == read_piece(scan(tmp_path / "a.arrow", ["b", "a"]), 0)


def test_local_file_is_mapped_not_copied(tmp_path: Path) -> None:
    table = pa.table({"a": list(range(100_000))})
    with pa.ipc.new_file(f"{tmp_path}/a.arrow", table.schema) as writer:
        writer.write(table)
    found = scan(tmp_path / "a.arrow")
    before = pa.total_allocated_bytes()

    piece = read_piece(found, 0)

    assert pa.total_allocated_bytes() - before < 100_000
    assert 100_000 == piece.num_rows


def test_streaming_format_is_refused(tmp_path: Path) -> None:
    with pa.ipc.new_stream(f"{tmp_path}/a.arrow", TABLE.schema) as writer:
        writer.write(TABLE)

    with pytest.raises(DataError, match="cannot be read as an Arrow IPC file: Not an Arrow file"):
        scan(tmp_path / "a.arrow")
