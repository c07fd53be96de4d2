"""Text files with declared types."""

import bz2
import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tadka.core.error import DataError, NotFound
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import BOOL, BYTES, DATE, FLOAT, INT, STRING, TIME, UTC, Kind
from tadka.dataset.source import rows
from tadka.dataset.source.listing import InputFile
from tadka.dataset.source.rows import read_rows

KINDS = {
    "i": INT,
    "n": Kind("int8"),
    "f": FLOAT,
    "s": STRING,
    "b": BOOL,
    "d": DATE,
    "t": TIME,
    "u": UTC,
    "y": BYTES,
    "l": Kind("list", INT),
}
DAY = dt.date(2026, 1, 31)
NOON = dt.datetime(2026, 1, 31, 12, 0, 0, 5)  # noqa: DTZ001 - without a zone


def read(path: Path, names: str, format: str = "jsonl") -> list[dict[str, Any]]:  # noqa: A002
    columns: dict[str, Column[Any]] = {name: Column(name, KINDS[name]) for name in names}
    columns["dt"] = Column("dt", DATE, is_partition=True)
    batches = list(read_rows(InputFile(str(path), {}, 0, "", format), columns))
    wanted = pa.schema([(name, KINDS[name].arrow) for name in names])
    assert all(batch.schema == wanted for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


def test_csv_of_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "more,i,f,s,b,d,t,u,y\n"
        'x,1,nan,"a\nb",true,2026-01-31,2026-01-31 12:00:00.000005,'
        "2026-01-31T21:00:00.000005+09:00,q\n"
        'x,,,"",,,,,\n'
        "x,-5,1e3,,false,,2026-01-31,,\n",
        encoding="utf-8",
    )
    first, second, third = read(path, "ifsbdtuy", "csv")
    assert first.pop("f") != first.get("f")
    noon = NOON.replace(tzinfo=dt.UTC)
    assert first == {"i": 1, "s": "a\nb", "b": True, "d": DAY, "t": NOON, "u": noon, "y": b"q"}
    assert second == dict.fromkeys("ifsbdtuy") | {"s": ""}
    assert (third["f"], third["s"], third["t"]) == (1000.0, None, dt.datetime(2026, 1, 31))  # noqa: DTZ001


def test_tabs_and_compression(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.bz2"
    path.write_bytes(bz2.compress("s\ti\n東京,\t1\n".encode()))
    assert read(path, "is", "tsv") == [{"i": 1, "s": "東京,"}]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("i", "x", "invalid value 'x'"),
        ("i", "1.0", "invalid value '1.0'"),
        ("n", "128", "invalid value '128'"),
        ("d", "2026-02-30", "invalid value '2026-02-30'"),
        ("t", "2026-01-31T12:00:00Z", "expected no zone offset"),
        ("u", "2026-01-31T12:00:00", "expected a zone offset"),
        ("b", "yes", "invalid value 'yes'"),
    ],
)
def test_csv_names_the_row_that_is_not_as_declared(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{name},s\n,a\n,b\n{value},c\n")
    with pytest.raises(DataError, match=f"Row #4.*{message}") as caught:
        read(path, name + "s", "csv")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i,s\n1\n", "Row #2: Expected 2 columns, got 1"),
        ("i,ss\n1,a\n", "no column 's'. Did you mean 'ss'"),
        ("i,s,s\n1,a,b\n", "more than one column 's'"),
        ("", "Empty CSV"),
    ],
)
def test_csv_of_another_form(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read(path, "is", "csv")


def test_csv_holds_no_lists(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("l\n1\n")
    with pytest.raises(DataError, match="'l' is a list"):
        read(path, "l", "csv")


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    for format_ in ("csv", "jsonl"):
        with pytest.raises(NotFound):
            read(tmp_path / "gone", "i", format_)


def test_json_lines_of_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"i": 1, "n": -128, "f": 2, "s": "\\ud83d\\ude00", "b": true, "d": "2026-01-31", '
        '"t": "2026-01-31T12:00:00.000005", "u": "2026-01-31T21:00:00.000005+09:00", "y": "q", '
        '"l": [1, null], "more": {"x": 1}}\n\n'
        '{"i": null}',
        encoding="utf-8",
    )
    first, second = read(path, "infsbdtuyl")
    assert first == {
        "i": 1,
        "n": -128,
        "f": 2.0,
        "s": "😀",
        "b": True,
        "d": DAY,
        "t": NOON,
        "u": NOON.replace(tzinfo=dt.UTC),
        "y": b"q",
        "l": [1, None],
    }
    assert second == dict.fromkeys("infsbdtuyl")


@pytest.mark.parametrize(
    "line",
    [
        '{"i": 1.5}',
        '{"i": "1"}',
        '{"i": true}',
        '{"i": 1e3}',
        '{"n": 128}',
        '{"f": "x"}',
        '{"s": 5}',
        '{"b": 1}',
        '{"d": 5}',
        '{"d": "2026-02-30"}',
        '{"t": "2026-01-31T12:00:00Z"}',
        '{"u": "2026-01-31T12:00:00"}',
        '{"u": 5}',
        '{"l": [1.5]}',
        '{"i": 1, "i": 2}',
        '{"i": 1} {"i": 2}',
        "[1]",
        "5",
        "null",
        "{bad",
        '{"i": 1',
    ],
)
def test_json_names_the_line_that_is_not_as_declared(
    tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 64)  # the line lies in a later block
    path = tmp_path / "a.jsonl"
    fine = '{"i": 1, "n": 1, "f": 1, "s": "a", "b": true, "l": []}\n'
    path.write_text(fine * 3 + "\n" + line + "\n" + fine * 3)
    with pytest.raises(DataError, match=r"line 5: .") as caught:
        read(path, "infsbdtul")
    assert str(path) in str(caught.value)


def test_json_bytes_outside_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"s": "a"}\n{"s": "\xff"}\n')
    with pytest.raises(DataError, match=r"line 2: .*UTF"):
        read(path, "s")


def test_a_key_that_no_line_has(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"i": 1}\n{"i": 2}\n')
    with pytest.raises(DataError, match="no key 's' in any line; its first lines have i"):
        read(path, "is")
    path.write_text('{"i": 1, "s": null}\n{"i": 2}\n')
    assert read(path, "is") == [{"i": 1, "s": None}, {"i": 2, "s": None}]
    path.write_text("")
    assert read(path, "is") == []


def test_json_over_several_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"i":\n1}\n')
    with pytest.raises(DataError, match="line 1: "):
        read(path, "i")
