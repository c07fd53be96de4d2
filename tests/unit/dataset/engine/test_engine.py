import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.schema import Partition
from tadka.dataset.define.table import Table
from tadka.dataset.engine.choice import make_engine
from tadka.dataset.engine.engine import TableInputs, groups_of, hive_root, written_inputs
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import BOOL, DATE, INT, STRING, Kind
from tadka.dataset.source.footer import Footer
from tadka.dataset.source.listing import InputFile

DAY = dt.date(2026, 1, 2)


class Log(Table, source="log/{day}/{kind}/*.parquet"):
    day: Partition[dt.date]
    kind: Partition[str]
    user: Column[int]
    price: Column[float]


PARTITIONS = [Log.columns["day"], Log.columns["kind"]]


def file(uri: str, **values: Any) -> InputFile:
    return InputFile(uri, values, 0, "")


def test_paths_as_hive_writes_them_have_the_folder_above_the_first_value() -> None:
    files = [
        file("/log/day=2026-01-02/kind=a/x.parquet", day=DAY, kind="a"),
        file("/log/day=2026-01-02/kind=b-1/x.parquet", day=DAY, kind="b-1"),
    ]
    assert hive_root(files, PARTITIONS) == "/log"
    assert hive_root([], PARTITIONS) is None


@pytest.mark.parametrize(
    "second",
    [
        file("/other/day=2026-01-02/kind=b/x.parquet", day=DAY, kind="b"),  # another root
        file("/log/kind=b/day=2026-01-02/x.parquet", day=DAY, kind="b"),  # another order
        file("/log/2026-01-02/kind=b/x.parquet", day=DAY, kind="b"),  # a value without a name
        file("/log/day=20260102/kind=b/x.parquet", day=DAY, kind="b"),  # a format of one's own
        file("/log/day=2026-01-02/kind=b%20c/x.parquet", day=DAY, kind="b c"),  # encoded
        file("/log/day=2026-01-02/kind=__HIVE_DEFAULT_PARTITION__/x.p", day=DAY, kind=None),
        file("/log/day=2026-01-02/kind=b/hour=3/x.parquet", day=DAY, kind="b"),  # one too many
        file("/log/day=2026-01-02/kind=b/kind=b/x.parquet", day=DAY, kind="b"),  # one twice
    ],
)
def test_other_paths_are_not_left_to_engines(second: InputFile) -> None:
    first = file("/log/day=2026-01-02/kind=a/x.parquet", day=DAY, kind="a")
    assert hive_root([first, second], PARTITIONS) is None


@pytest.mark.parametrize(
    ("text", "value", "is_plain"), [("07", 7, True), ("-3", -3, True), ("7.0", 7, False)]
)
def test_numbers_in_paths_may_have_zeros_before_them(text: str, value: int, is_plain: bool) -> None:
    hour: Column[int] = Column("hour", INT, is_partition=True)
    found = hive_root([file(f"/log/hour={text}/x.parquet", hour=value)], [hour])
    assert ("/log" if is_plain else None) == found


def test_values_that_engines_read_each_in_its_way_are_not_left_to_them() -> None:
    is_new: Column[bool] = Column("is_new", BOOL, is_partition=True)
    assert hive_root([file("/log/is_new=true/x.parquet", is_new=True)], [is_new]) is None


def test_files_are_grouped_by_the_types_of_the_declared_columns() -> None:
    files = [file(f"/log/{name}.parquet", day=DAY, kind="a") for name in "abcd"]
    types: list[dict[str, str]] = [
        {"user": "int64", "price": "float64"},
        {"user": "int32", "price": "float64", "other": "string"},
        {"user": "int64", "price": "float64", "other": "int8"},
        {"user": "int64"},
    ]
    footers = [Footer(f.uri, 1, t, "") for f, t in zip(files, types, strict=True)]
    found = groups_of(TableInputs(Log, files, footers))
    assert [[files[0], files[2]], [files[1]], [files[3]]] == [list(g.files) for g in found]
    assert {"user": "int32", "price": "float64"} == found[1].types
    assert {"user": "int64"} == found[2].types


def test_without_footers_all_files_are_one_group() -> None:
    files = [file("/log/a.parquet", day=DAY, kind="a")]
    assert [None] == [group.types for group in groups_of(TableInputs(Log, files))]
    assert [] == groups_of(TableInputs(Log, []))


def output(name: str, kind: Kind) -> OutputColumn:
    return OutputColumn(name, kind, True, False, "feature")


def test_columns_in_folders_of_the_output_are_partitions(tmp_path: Path) -> None:
    folder = tmp_path / "day=2026-01-02" / "kind=a%2Fb"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), folder / "part-00000.parquet")
    columns = [output("x", INT), output("day", DATE), output("kind", STRING)]
    found = written_inputs([folder / "part-00000.parquet"], columns, tmp_path)
    assert [{"day": DAY, "kind": "a/b"}] == [f.values for f in found.files]
    assert [False, True, True] == [c.is_partition for c in found.table.columns.values()]


def test_a_folder_of_nulls_is_null(tmp_path: Path) -> None:
    folder = tmp_path / "kind=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir()
    pq.write_table(pa.table({"x": [1]}), folder / "part-00000.parquet")
    columns = [output("x", INT), output("kind", STRING)]
    found = written_inputs([folder / "part-00000.parquet"], columns, tmp_path)
    assert [{"kind": None}] == [f.values for f in found.files]


def test_a_file_outside_of_the_folders_of_the_others_is_an_error(tmp_path: Path) -> None:
    columns = [output("x", INT), output("kind", STRING)]
    paths = [tmp_path / "kind=a" / "p.parquet", tmp_path / "p.parquet"]
    with pytest.raises(DataError, match=r"no folder 'kind=\.\.\.'"):
        written_inputs(paths, columns, tmp_path)


def test_lines_of_json_become_parquet(tmp_path: Path) -> None:
    lines = tmp_path / "part-00000.jsonl"
    lines.write_text('{"x": 1, "at": "2026-01-02"}\n{"x": null, "at": null}\n')
    columns = [output("x", INT), output("at", DATE)]
    (tmp_path / "made").mkdir()
    found = written_inputs([lines], columns, tmp_path / "made")
    rows = pq.read_table(found.files[0].uri).to_pylist()
    assert [{"x": 1, "at": DAY}, {"x": None, "at": None}] == rows


def test_a_file_of_unknown_format_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of Parquet, JSON lines and CSV"):
        written_inputs([tmp_path / "x.txt"], [output("x", INT)], tmp_path)


def test_an_engine_has_a_name(tmp_path: Path) -> None:
    assert make_engine("duckdb", scratch=tmp_path).name == "duckdb"
    assert make_engine("spark", scratch=tmp_path).name == "spark"
    with pytest.raises(ConfigError, match="'polars' is not known; it must be one of duckdb, spark"):
        make_engine("polars", scratch=tmp_path)
    with pytest.raises(ConfigError, match="say engine='spark'"):
        make_engine("duckdb", spark=object(), scratch=tmp_path)
