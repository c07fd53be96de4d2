import datetime as dt
import gzip
import io
import math
from pathlib import Path

import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.storage.format import load, open_writer, read_piece, save, scan


def test_whole_file_is_one_piece_of_unknown_length(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,x\n2,y\n")

    found = scan(tmp_path / "a.csv")

    assert [None] == found.piece_rows
    assert found.num_rows is None
    assert {"a": [1, 2], "b": ["x", "y"]} == read_piece(found, 0).to_pydict()


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_types_of_the_first_block_hold_for_the_whole_file(tmp_path: Path, name: str) -> None:
    rows = [f"{i},{'x' * 100}" for i in range(20_000)]
    lines = ["n,s", *rows, "not a number,x"]
    if name == "a.jsonl":
        lines = [f'{{"n": {i}, "s": "{"x" * 100}"}}' for i in range(20_000)]
        lines.append('{"n": "not a number", "s": "x"}')
    (tmp_path / name).write_text("\n".join(lines) + "\n")

    found = scan(tmp_path / name)

    assert pa.int64() == found.schema.field("n").type
    with pytest.raises(DataError, match=r"to int64|from number to string"):
        read_piece(found, 0)


def test_column_without_values_counts_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,\n2,\n")
    (tmp_path / "a.jsonl").write_text('{"a": 1, "b": null}\n')

    assert pa.string() == scan(tmp_path / "a.csv").schema.field("b").type
    assert pa.string() == scan(tmp_path / "a.jsonl").schema.field("b").type
    assert [None] == load(tmp_path / "a.jsonl")["b"].to_pylist()


def test_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n")

    assert {"a": [], "b": []} == load(tmp_path / "a.csv").to_pydict()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_bytes_outside_utf8_are_refused_with_the_column(tmp_path: Path, name: str) -> None:
    data = "a,b\n1,café\n".encode("latin-1").replace(b",", b"\t" if "tsv" in name else b",")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)

    with pytest.raises(DataError, match="column 'b' is not valid UTF-8 text"):
        scan(tmp_path / name)


def test_bytes_outside_utf8_after_the_first_block_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n" + b"1,xxxxxxxxxxxx\n" * 100_000 + b"1,caf\xe9\n")
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "x"}\n{"a": "caf\xe9"}\n')

    with pytest.raises(DataError, match="UTF8"):
        read_piece(scan(tmp_path / "a.csv"), 0)
    with pytest.raises(DataError, match="cannot be read as JSON lines"):
        load(tmp_path / "a.jsonl")


def test_mark_at_the_beginning_of_utf8_is_no_part_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")

    assert ["a", "b"] == scan(tmp_path / "a.csv").schema.names


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "a,b\n1,2,3\n"),
        ("a.csv", "a,b\n1\n"),
        ("a.jsonl", '{"a": 1}\n{"a": \n'),
        ("a.jsonl", "[1, 2]\n"),
        ("a.jsonl", '{"a": 1}\n{"a": "x"}\n'),
    ],
)
def test_broken_line_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(DataError, match="cannot be read as"):
        load(tmp_path / name)


def test_keys_that_a_line_lacks_are_null(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"b": "x"}\n')

    assert {"b": [None, "x"], "a": [1, None]} == read_piece(
        scan(tmp_path / "a.jsonl", ["b", "a"]), 0
    ).to_pydict()


def test_values_that_json_spells_differently_survive(tmp_path: Path) -> None:
    save(
        pa.table({"f": [math.nan, math.inf, None], "d": [dt.date(2026, 1, 2)] * 3}),
        tmp_path / "a.jsonl",
    )

    loaded = load(tmp_path / "a.jsonl")
    first, second, third = loaded["f"].to_pylist()
    assert math.isnan(first)
    assert (math.inf, None) == (second, third)
    assert ["2026-01-02"] * 3 == [str(day)[:10] for day in loaded["d"].to_pylist()]


def test_bytes_have_no_form_in_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="type 'bytes' has no form in JSON lines; cast"):
        save(pa.table({"a": [b"x"]}), tmp_path / "a.jsonl")

    assert not (tmp_path / "a.jsonl").exists()


def test_writer_flushes_onto_an_open_file() -> None:
    buffer = io.BytesIO()
    writer = open_writer(buffer, ".csv", pa.schema([("a", pa.int64())]))
    writer.write(pa.table({"a": [1]}))
    writer.write(pa.table({"a": [2]}))
    writer.close()

    assert b'"a"\n1\n2\n' == buffer.getvalue()
