import io
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import DataError, NotFound
from tadka.storage.format import load, open_writer, read_piece, save, scan, suffix_of
from tadka.storage.publish import publish_file
from tadka.storage.tabular import TableScan
from tadka.storage.uri import join

TABLE = pa.table(
    {
        "user": pa.array([1, 2, 3], pa.int64()),
        "name": ["é", 'two, "quoted"', "three"],
        "rating": [0.5, -1.0, 1e300],
    }
)
SUFFIXES = [
    ".parquet", ".arrow", ".feather", ".ipc",
    ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz",
]  # fmt: skip
DAMAGEABLE = [*SUFFIXES, ".npy"]


def write(uri: str, *tables: pa.Table) -> None:
    with publish_file(uri) as file:
        writer = open_writer(file, suffix_of(uri), tables[0].schema)
        for table in tables:
            writer.write(table)
        writer.close()


def read_all(found: TableScan) -> pa.Table:
    pieces = [read_piece(found, i) for i in range(len(found.piece_rows))]
    return pa.concat_tables([found.schema.empty_table(), *pieces])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_back_on_every_file_system(folder: str, suffix: str) -> None:
    uri = join(folder, f"sub/a{suffix}")

    write(uri, TABLE)

    found = scan(uri)
    assert TABLE.schema == found.schema
    assert found.num_rows in {3, None}
    assert TABLE == read_all(found)
    assert TABLE == load(uri)


@pytest.mark.parametrize("suffix", DAMAGEABLE)
def test_columns_come_in_the_order_asked_for(tmp_path: Path, suffix: str) -> None:
    uri = f"{tmp_path}/a{suffix}"
    write(uri, TABLE.select(["user", "rating"]).append_column("third", pa.array([1, 2, 3])))

    found = scan(uri, ["third", "user"])

    assert ["third", "user"] == found.schema.names
    assert {"third": [1, 2, 3], "user": [1, 2, 3]} == read_all(found).to_pydict()


@pytest.mark.parametrize("suffix", DAMAGEABLE)
def test_missing_column_is_named_with_the_likely_one(tmp_path: Path, suffix: str) -> None:
    uri = f"{tmp_path}/a{suffix}"
    write(uri, TABLE.select(["user", "rating"]))

    with pytest.raises(DataError) as caught:
        scan(uri, ["usr"])
    with pytest.raises(DataError, match=r"no column 'x'\. Its columns are: user, rating\."):
        scan(uri, ["x"])

    assert (
        f"File {uri!r} has no column 'usr'. Did you mean 'user'? Its columns are: user, rating."
        == str(caught.value)
    )


@pytest.mark.parametrize("columns", [[], ["user", "user"]])
def test_columns_must_be_some_and_each_once(tmp_path: Path, columns: list[str]) -> None:
    save(TABLE, tmp_path / "a.parquet")

    with pytest.raises(DataError, match="give at least one name, each once"):
        scan(tmp_path / "a.parquet", columns)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, suffix: str) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    write(f"{tmp_path}/a{suffix}", table)

    with pytest.raises(DataError, match="more than one column 'a'"):
        scan(f"{tmp_path}/a{suffix}")


@pytest.mark.parametrize("suffix", DAMAGEABLE)
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe garbage \x80" * 40], ids=["empty", "noise"]
)
def test_empty_and_garbled_files_are_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)

    with pytest.raises(DataError) as caught:
        read_all(scan(path))

    assert f"File {str(path)!r} cannot be read as " in str(caught.value)
    assert "It may be truncated, damaged or of another format; write it again." in str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv.gz", ".jsonl.gz", ".npy"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
def test_truncated_file_is_named(folder: str, suffix: str, kept: float) -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"a": rng.random(50_000), "b": rng.integers(0, 1 << 60, 50_000)})
    buffer = io.BytesIO()
    writer = open_writer(buffer, suffix, table.schema)
    writer.write(table)
    writer.close()
    data = buffer.getvalue()
    uri = join(folder, f"cut{suffix}")
    with publish_file(uri) as file:
        file.write(data[: int(len(data) * kept)])

    with pytest.raises(DataError) as caught:
        read_all(scan(uri))

    assert uri in str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".npy", ".csv.gz", ".csv", ".jsonl"])
def test_content_of_another_format_is_named(tmp_path: Path, suffix: str) -> None:
    other = ".parquet" if suffix != ".parquet" else ".csv"
    write(f"{tmp_path}/a{other}", TABLE)
    path = tmp_path / f"b{suffix}"
    path.write_bytes((tmp_path / f"a{other}").read_bytes())

    with pytest.raises(DataError, match="cannot be read as"):
        read_all(scan(path))


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.parquet.gz", ".parquet/a", "a.csv.bz2"])
def test_other_suffixes_are_refused_with_the_list_of_suffixes(name: str) -> None:
    with pytest.raises(DataError, match=r"which is no table format; it must be one of \.parquet,"):
        scan(name)


@pytest.mark.parametrize(
    ("uri", "suffix"),
    [
        ("a.CSV", ".csv"),
        ("a.b.parquet", ".parquet"),
        ("s3://b.c/d/a.csv.gz", ".csv.gz"),
        ("a.b.csv.gz", ".csv.gz"),
        ("a.gz", ".gz"),
        ("a.d/file", ""),
        (Path("x/a.npy"), ".npy"),
    ],
)
def test_suffix_of_a_name(uri: str | Path, suffix: str) -> None:
    assert suffix == suffix_of(uri)


@pytest.mark.parametrize("suffix", DAMAGEABLE)
def test_missing_file_is_not_found(folder: str, suffix: str) -> None:
    with pytest.raises(NotFound, match=r"does not exist\. Check the path"):
        scan(join(folder, f"none{suffix}"))


@pytest.mark.parametrize("suffix", DAMAGEABLE)
def test_file_removed_after_the_scan_is_not_found(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write(str(path), TABLE.select(["user", "rating"]))
    found = scan(path)
    path.unlink()

    with pytest.raises(NotFound, match="does not exist"):
        read_piece(found, 0)


def test_directory_with_the_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").mkdir()
    (tmp_path / "a.npy").mkdir()

    for name in ("a.parquet", "a.npy"):
        with pytest.raises(DataError):
            scan(tmp_path / name)


@pytest.mark.parametrize("index", [-1, 1, 5])
def test_piece_that_does_not_exist_is_refused(tmp_path: Path, index: int) -> None:
    save(TABLE, tmp_path / "a.parquet")

    with pytest.raises(DataError, match=rf"has no piece {index}; it has 1, from 0\."):
        read_piece(scan(tmp_path / "a.parquet"), index)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".npy"])
def test_file_that_changed_its_types_since_the_scan_is_refused(tmp_path: Path, suffix: str) -> None:
    uri = f"{tmp_path}/a{suffix}"
    write(uri, pa.table({"a": [1, 2], "b": [1, 2]}))
    found = scan(uri, ["a"])
    read_piece(found, 0)
    write(uri, pa.table({"a": [1.5, 2.5], "b": [1, 2]}))

    with pytest.raises(
        DataError, match=r"has changed since it was scanned: .* were a \(int64\) and now are a \(do"
    ):
        read_piece(found, 0)


def test_scans_of_many_files_run_in_threads(tmp_path: Path) -> None:
    for i in range(50):
        write(f"{tmp_path}/{i}.parquet", pa.table({"a": list(range(i + 1))}))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: scan(tmp_path / f"{i}.parquet"), range(50)))

    assert list(range(1, 51)) == [each.num_rows for each in found]


def test_pieces_of_one_file_are_read_in_threads(tmp_path: Path) -> None:
    uri = f"{tmp_path}/a.parquet"
    write(uri, *(pa.table({"a": [i] * 100}) for i in range(40)))
    found = scan(uri)

    with ThreadPoolExecutor(8) as pool:
        pieces = list(pool.map(lambda i: read_piece(found, i), range(40)))

    assert [[i] * 100 for i in range(40)] == [piece["a"].to_pylist() for piece in pieces]


def _read_in_child(found: TableScan, answer: Any) -> None:
    answer.put(read_piece(found, 1).to_pydict())


def test_scan_travels_to_another_process(tmp_path: Path) -> None:
    write(f"{tmp_path}/a.parquet", TABLE, TABLE.slice(0, 1))
    found = scan(f"{tmp_path}/a.parquet", ["user"])
    read_piece(found, 0)  # so that a forked child inherits an opened file
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    child = context.Process(target=_read_in_child, args=(found, answer))
    child.start()

    assert {"user": [1]} == answer.get(timeout=60)
    child.join()


def test_forked_child_opens_the_file_for_itself(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from tadka.storage.format import read_piece, scan\n"
        "found = scan(sys.argv[1])\n"
        "read_piece(found, 0)\n"
        "child = os.fork()\n"
        "line = f'{read_piece(found, 1).num_rows}\\n'\n"
        "os.write(1, line.encode())\n"  # whole: two processes print at once
        "if child: os.waitpid(child, 0)\n"
        "os._exit(0)\n"
    )
    write(f"{tmp_path}/a.parquet", TABLE, TABLE.slice(0, 1))

    done = subprocess.run(
        [sys.executable, "-c", code, f"{tmp_path}/a.parquet"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "1\n1\n" == done.stdout


def test_writer_takes_batches_and_a_name_for_the_suffix() -> None:
    buffer = io.BytesIO()
    writer = open_writer(buffer, "s3://bucket/part-0.parquet", TABLE.schema)

    writer.write(TABLE.to_batches()[0])
    writer.close()

    assert TABLE == pq.read_table(io.BytesIO(buffer.getvalue()))


@pytest.mark.parametrize("suffix", DAMAGEABLE)
def test_writer_leaves_the_file_open_and_writes_no_row_as_an_empty_table(
    tmp_path: Path, suffix: str
) -> None:
    schema = pa.schema([("a", pa.int64())])
    with (tmp_path / f"a{suffix}").open("wb") as file:
        open_writer(file, suffix, schema).close()
        assert not file.closed

    if suffix.startswith((".jsonl", ".ndjson")):  # no row, no line, nothing to know columns from
        with pytest.raises(DataError, match="Empty JSON stream"):
            scan(f"{tmp_path}/a{suffix}")
    else:
        found = scan(f"{tmp_path}/a{suffix}")
        assert 0 == read_all(found).num_rows
        assert 1 == len(found.schema)


@pytest.mark.parametrize("suffix", DAMAGEABLE)
def test_writer_refuses_a_table_of_other_columns(suffix: str) -> None:
    writer = open_writer(io.BytesIO(), suffix, pa.schema([("a", pa.int64())]))

    with pytest.raises(DataError, match=r"columns a \(double\); the file has a \(int64\)"):
        writer.write(pa.table({"a": [1.5]}))


def test_writer_refuses_a_type_that_the_format_cannot_hold() -> None:
    schema = pa.schema([("a", pa.list_(pa.int64()))])

    with pytest.raises(DataError, match=r"A \.csv file cannot hold a \(list<"):
        open_writer(io.BytesIO(), ".csv", schema)


@pytest.mark.parametrize(
    ("suffix", "value"),
    [
        (".json", {"a": [1, None, "é"], "b": 1.5}),
        (".yaml", {"a": [1, None, "é", "1e-3", "on"], "b": 1.5}),
        (".yml", [1]),
        (".txt", "zwei\nZeilen é"),
        (".pkl", {"a": {1, 2}, "b": (None,)}),
    ],
)
def test_whole_objects_are_saved_and_loaded(folder: str, suffix: str, value: Any) -> None:
    save(value, join(folder, f"sub/a{suffix}"))

    assert value == load(join(folder, f"sub/a{suffix}"))


def test_arrays_are_saved_and_loaded(folder: str) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    save(array, join(folder, "a.npy"))
    save({"file": array, "b": np.array(["x"])}, join(folder, "a.npz"))

    loaded = load(join(folder, "a.npy"))
    assert (array.dtype, array.tolist()) == (loaded.dtype, loaded.tolist())
    archive = load(join(folder, "a.npz"))
    assert (["file", "b"], ["x"]) == (list(archive), archive["b"].tolist())
    assert array.tolist() == archive["file"].tolist()


def test_record_batch_is_saved_as_a_table(tmp_path: Path) -> None:
    save(TABLE.to_batches()[0], tmp_path / "a.parquet")

    assert TABLE == load(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.parquet", {"a": [1]}),
        ("a.json", {1, 2}),
        ("a.yaml", object()),
        ("a.txt", b"bytes"),
        ("a.npy", [object()]),
        ("a.npz", {"a": np.array([object()])}),
        ("a.npz", 5),
        ("a.pkl", lambda: None),
    ],
)
def test_object_that_the_suffix_does_not_take_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, value: Any
) -> None:
    with pytest.raises(DataError, match=r"cannot be saved as .*; it must be"):
        save(value, tmp_path / name)

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".npy", ".npz", ".txt", ".pkl"])
def test_damaged_object_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\xff\x00{[")

    with pytest.raises(DataError) as caught:
        load(path)

    assert f"File {str(path)!r} cannot be read as {suffix[1:]}: " in str(caught.value)


def test_pickled_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([object()]), allow_pickle=True)

    with pytest.raises(DataError, match="allow_pickle=False"):
        load(tmp_path / "a.npy")


def test_unknown_suffix_of_an_object_lists_all_suffixes(tmp_path: Path) -> None:
    for act in (lambda: load(tmp_path / "a.xyz"), lambda: save(1, tmp_path / "a.xyz")):
        with pytest.raises(DataError, match=r"no known format; it must be one of .*\.json.*\.pkl"):
            act()


def test_missing_object_is_not_found(folder: str) -> None:
    with pytest.raises(NotFound):
        load(join(folder, "none.json"))
