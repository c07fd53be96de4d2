"""Tests of tadka.dataset.write.sized."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.dataset.write import sized
from tadka.dataset.write.sized import Layout, SizedWriter, json_lines, merge

TARGET = 128 << 10
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])


def noise(num_rows: int, width: int, start: int = 0) -> pa.RecordBatch:
    """Rows with texts that hardly compress."""
    rng = np.random.default_rng(start)
    texts = [rng.bytes(width).hex()[:width] for _ in range(num_rows)]
    return pa.record_batch([pa.array(range(start, start + num_rows)), texts], schema=SCHEMA)


def written(tmp_path: Path, layout: Layout, batches: list[pa.RecordBatch]) -> list[sized.Written]:
    writer = SizedWriter(str(tmp_path), layout)
    for batch in batches:
        writer.add(batch)
    return writer.close()


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_widths_may_jump(tmp_path: Path, form: str) -> None:
    batches = [noise(20000, 1), noise(2000, 500, 20000), noise(20000, 2, 22000)]
    files = written(tmp_path, Layout(SCHEMA, TARGET, form), batches)
    sizes = [file.num_bytes / TARGET for file in files]
    assert [] == [size for size in sizes[:-1] if abs(size - 1) > 0.1]
    assert 42000 == sum(file.num_rows for file in files)


def test_texts_that_stop_compressing_do_not_carry_a_file_far(tmp_path: Path) -> None:
    same = pa.record_batch([pa.array([0] * 50000), ["x" * 90] * 50000], schema=SCHEMA)
    files = written(tmp_path, Layout(SCHEMA, TARGET), [same, noise(3000, 400)])
    assert max(file.num_bytes for file in files) < 1.4 * TARGET


def test_a_row_larger_than_a_file_is_a_file(tmp_path: Path) -> None:
    files = written(tmp_path, Layout(SCHEMA, TARGET), [noise(3, 3 * TARGET)])
    assert [1, 1, 1] == [file.num_rows for file in files]


def test_memory_is_bounded_by_writing_the_fullest_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sized, "_BUFFER_BYTES", 64 << 10)
    layout = Layout(SCHEMA, TARGET, partition_by=("id",))
    writer = SizedWriter(str(tmp_path), layout)
    for start in range(20):
        batch = noise(2000, 40, start)
        ids = pa.array(np.arange(2000) % 40)
        writer.add(batch.set_column(0, "id", ids))
        assert sum(folder.num_bytes for folder in writer._folders.values()) <= 64 << 10
    files = writer.close()
    assert {f"id={i}" for i in range(40)} == {file.folder for file in files}
    assert 40000 == sum(file.num_rows for file in files)


def test_more_folders_than_open_files_leave_remains_that_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sized, "_MAX_OPEN", 3)
    layout = Layout(SCHEMA, TARGET, partition_by=("id",))
    batches = [noise(100, 5).set_column(0, "id", pa.array(np.arange(100) % 10))] * 4
    files = written(tmp_path, layout, batches)
    assert len(files) > 10
    first = [file.path for file in files if file.folder == "id=3"]
    (made,) = merge(first, str(tmp_path), layout, "id=3")
    assert ("id=3", 40) == (made.folder, made.num_rows)
    assert all(Path(path).exists() for path in first)  # a task that is repeated needs them
    assert ["text"] == pq.read_schema(made.path).names


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_lines_merge_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, compression: str
) -> None:
    monkeypatch.setattr(sized, "_READ_BYTES", 7)  # every piece ends within a row
    texts = ['a\nb"\n"c', "", None, "\n", "é日"]
    batch = pa.record_batch([pa.array(range(5)), pa.array(texts)], schema=SCHEMA)
    layout = Layout(SCHEMA, TARGET, form, compression)
    files = [written(tmp_path, layout, [batch])[0] for _ in range(3)]
    codec = None if compression == "none" else compression
    (made,) = merge([file.path for file in files], str(tmp_path), layout, "")
    with pa.input_stream(made.path, compression=codec) as stream:
        text = stream.read()
    header = b'"id","text"\n' if form == "csv" else b""
    rows = (sized.csv_rows if form == "csv" else json_lines)(pa.table(batch)).to_pybytes()
    assert header + rows * 3 == text
    assert 15 == made.num_rows


def test_json_is_what_python_reads() -> None:
    rows: dict[str, Any] = {
        'a"\n': pa.array(['\x00\x1f\\"/é\u2028', None]),
        "f": pa.array([1e300, None]),
        "g": pa.array([0.1, -0.0], pa.float32()),
        "b": pa.array([True, None]),
        "l": pa.array([[1, None], None], pa.list_(pa.int64())),
        "m": pa.array([[], [None, "x,"]], pa.list_(pa.string())),
        "n": pa.array([[float("inf")], [float("-inf")]]),
    }
    table = pa.table(rows)
    lines = json_lines(table.slice(0, 1)).to_pybytes() + json_lines(table.slice(1)).to_pybytes()
    expected = table.to_pylist()
    expected[0]["g"] = 0.1
    assert expected == [json.loads(line) for line in lines.decode().split("\n")[:-1]]


def test_an_aborted_writer_leaves_files_closed(tmp_path: Path) -> None:
    writer = SizedWriter(str(tmp_path), Layout(SCHEMA, TARGET, "jsonl"))
    writer.add(noise(5000, 40))
    writer.abort()
    assert [] == writer.close()
