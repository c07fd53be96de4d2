"""CSV, TSV and JSON lines: what other programs see, encodings, compression, damage."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tadka.core.error import DataError
from tadka.task.output.codec import codec_of
from tadka.task.output.out import Out

_FRAME = pd.DataFrame({"品": ["01", None, "日本", ""], "n": pd.array([1, 2, 3, 4], dtype="int8")})


@pytest.mark.parametrize("format_", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "utf-16"])
def test_every_encoding_comes_back(format_: str, encoding: str, tmp_path: Path) -> None:
    codec = codec_of(Out(format_, encoding=encoding), pd.DataFrame)
    codec.write(_FRAME, tmp_path / "x")

    text = (tmp_path / "x" / codec.shown).read_bytes().decode(encoding)

    assert "日本" in text
    pd.testing.assert_frame_equal(_FRAME, codec.read(tmp_path / "x"))


def test_csv_is_plain_csv_beside_its_schema(tmp_path: Path) -> None:
    codec = codec_of(Out("csv"), pd.DataFrame)
    codec.write(_FRAME, tmp_path / "x")

    assert "table.csv" == codec.shown
    assert ["schema.json", "table.csv"] == sorted(path.name for path in (tmp_path / "x").iterdir())
    assert '"品","n"\n"01",1\n,2\n"日本",3\n"",4\n' == (tmp_path / "x/table.csv").read_text(
        encoding="utf-8"
    )
    schema = json.loads((tmp_path / "x/schema.json").read_text())
    assert {"品": "string", "n": "int8"} == schema["columns"]


def test_gzip_is_what_others_open(tmp_path: Path) -> None:
    codec = codec_of(Out(path="clicks.tsv.gz"), pd.DataFrame)
    codec.write(_FRAME, tmp_path / "x")

    assert (".tsv.gz", "table.tsv.gz") == (codec.suffix, codec.shown)
    assert gzip.decompress((tmp_path / "x/table.tsv.gz").read_bytes()).startswith(
        '"品"\t"n"'.encode()
    )
    pd.testing.assert_frame_equal(_FRAME, codec.read(tmp_path / "x"))


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_what_the_encoding_lacks_names_column_and_row(format_: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x", "日é"]})

    with pytest.raises(
        DataError, match="Column 'a' holds '日é' in row 1, which the encoding 'cp932'"
    ):
        codec_of(Out(format_, encoding="cp932"), pd.DataFrame).write(frame, tmp_path / "x")


@pytest.mark.parametrize("format_", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("name", ["table", "schema"])
@pytest.mark.parametrize("damage", [b"", b"\xff,not\n,\n,,,,\n{"])
def test_a_damaged_file_is_a_data_error(
    format_: str, name: str, damage: bytes, tmp_path: Path
) -> None:
    codec = codec_of(Out(format_), pd.DataFrame)
    codec.write(_FRAME, tmp_path / "x")
    file = codec.shown if name == "table" else "schema.json"
    (tmp_path / "x" / file).write_bytes(damage)

    with pytest.raises(DataError, match="cannot be read as"):
        codec.read(tmp_path / "x")


@pytest.mark.parametrize("format_", ["csv", "tsv"])
@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": ["x" * 3_000_000, "y"], "b": [1, 2]}),
        pd.DataFrame({"a": ["x\n" * 1_500_000, "y"], "b": [1, 2]}),
        pd.DataFrame([[1, 2]], columns=["a" * 800_000, "b" * 800_000]),
    ],
    ids=["cell", "lines in a cell", "header"],
)
def test_a_line_longer_than_a_block_comes_back(
    format_: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    codec = codec_of(Out(format_), pd.DataFrame)
    codec.write(frame, tmp_path / "x")

    pd.testing.assert_frame_equal(frame, codec.read(tmp_path / "x"))


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("encoding", "text"), [("shift_jis", "¥"), ("euc_jp", "a‾"), ("cp932", "1\u22122")]
)
def test_what_the_encoding_gives_back_as_another_is_refused(
    format_: str, encoding: str, text: str, tmp_path: Path
) -> None:
    codec = codec_of(Out(format_, encoding=encoding), pd.DataFrame)

    with pytest.raises(DataError, match=f"Column 'b' holds '{text}' in row 1"):
        codec.write(pd.DataFrame({"a": ["x", "\\~"], "b": ["x", text]}), tmp_path / "x")


@pytest.mark.parametrize("format_", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("year", [-1, 10_000])
def test_years_that_text_has_no_form_for_are_refused(
    format_: str, year: int, tmp_path: Path
) -> None:
    times = np.array([0, year - 1970], "M8[Y]").astype("M8[s]")

    with pytest.raises(DataError, match=f"Column 'a' .* year {year},"):
        codec_of(Out(format_), pd.DataFrame).write(pd.DataFrame({"a": times}), tmp_path / "x")


@pytest.mark.parametrize("format_", ["csv", "tsv", "jsonl"])
def test_the_first_and_the_last_year_come_back(format_: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.array(["0000-01-01", "9999-12-31", "NaT"], "M8[s]")})
    codec = codec_of(Out(format_), pd.DataFrame)
    codec.write(frame, tmp_path / "x")

    pd.testing.assert_frame_equal(frame, codec.read(tmp_path / "x"))
