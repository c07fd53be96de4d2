"""Tables of Apache Iceberg in a catalog of SQLite."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import DATE, INT, STRING, UTC
from tadka.dataset.source.footer import check_columns, footers
from tadka.dataset.source.iceberg import Iceberg
from tadka.dataset.source.listing import Listing
from tadka.dataset.version.fingerprint import take, verify

COLUMNS: dict[str, Column[Any]] = {
    "dt": Column("dt", DATE, is_partition=True),
    "x": Column("x", INT),
    "at": Column("at", UTC),
}
SCHEMA = pa.schema([("dt", pa.date32()), ("x", pa.int64()), ("at", pa.timestamp("us", "UTC"))])


def rows(*xs: int) -> pa.Table:
    return pa.table(
        {
            "dt": [dt.date(2026, 1, 1 + x % 2) for x in xs],
            "x": list(xs),
            "at": pa.array(xs, pa.timestamp("us", "UTC")),
        }
    )


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A catalog named `tests`, as users configure one."""
    settings = {
        "TYPE": "sql",
        "URI": f"sqlite:///{tmp_path}/catalog.db",
        "WAREHOUSE": f"file://{tmp_path}/warehouse",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__TESTS__{name}", value)
    import pyiceberg.catalog
    from pyiceberg.utils.config import Config

    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())  # read at import
    made = load_catalog("tests")
    made.create_namespace("log")
    yield made
    made.close()


@pytest.fixture
def table(catalog: Any) -> Any:
    made = catalog.create_table("log.t", schema=SCHEMA)
    with made.update_spec() as update:
        update.add_field("dt", IdentityTransform(), "dt")
    made.append(rows(0, 1, 2))
    return made


def source(**options: Any) -> Iceberg:
    return Iceberg("log.t", catalog="tests", **options)


def values_of(listing: Listing) -> list[int]:
    tables = (pq.read_table(file.uri, partitioning=None) for file in listing.files)
    return sorted(x for found in tables for x in found["x"].to_pylist())


def test_files_of_the_current_snapshot_with_their_partitions(table: Any) -> None:
    listing = source().resolve(COLUMNS)
    assert listing.snapshot == str(table.current_snapshot().snapshot_id)
    assert values_of(listing) == [0, 1, 2]
    assert [dt.date(2026, 1, 1), dt.date(2026, 1, 2)] == [f.values["dt"] for f in listing.files]
    assert all(file.uri.startswith(listing.root) for file in listing.files)
    assert all(file.num_bytes == Path(file.uri).stat().st_size for file in listing.files)
    assert check_columns(footers(listing.files), COLUMNS) == []


def test_an_older_snapshot_is_what_it_was(table: Any) -> None:
    first = table.current_snapshot().snapshot_id
    old = take(source().resolve(COLUMNS), "content")
    table.append(rows(3))
    assert values_of(source().resolve(COLUMNS)) == [0, 1, 2, 3]
    assert values_of(source(snapshot=first).resolve(COLUMNS)) == [0, 1, 2]
    assert verify(old, source(snapshot=first), COLUMNS, level="content").status == "same"
    assert verify(old, source(), COLUMNS, level="content").status == "changed"


def test_only_wanted_partitions(table: Any) -> None:
    assert values_of(source().resolve(COLUMNS, lambda v: v["dt"].day == 2)) == [1]
    with pytest.raises(NotFound, match="there are dt=2026-01-01, dt=2026-01-02"):
        source().resolve(COLUMNS, lambda _: False)


def test_tables_and_snapshots_that_are_not_there(catalog: Any, table: Any) -> None:
    with pytest.raises(NotFound, match="no snapshot 5; it may have expired"):
        source(snapshot=5).resolve(COLUMNS)
    with pytest.raises(NotFound, match=r"no Iceberg table 'log\.no'"):
        Iceberg("log.no", catalog="tests").resolve(COLUMNS)
    with pytest.raises(ConfigError, match="'nowhere' is not configured"):
        Iceberg("log.t", catalog="nowhere").resolve(COLUMNS)
    catalog.create_table("log.empty", schema=SCHEMA)
    with pytest.raises(NotFound, match="nothing was written"):
        Iceberg("log.empty", catalog="tests").resolve(COLUMNS)


def test_a_catalog_that_does_not_answer(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    def fail(*_: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(SqlCatalog, "load_table", fail)
    with pytest.raises(DataError, match="cannot be read: no route"):
        source().resolve(COLUMNS)


def test_a_plan_that_fails(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyiceberg.table import DataScan

    def fail(_: Any) -> None:
        raise OSError("manifest is gone")

    monkeypatch.setattr(DataScan, "plan_files", fail)
    with pytest.raises(DataError, match=r"'log.t' cannot be read: manifest is gone"):
        source().resolve(COLUMNS)


def staged_rows(columns: dict[str, Column[Any]], folder: Path, **options: Any) -> list[Any]:
    """What engines read: the plain files, and copies of the others."""
    made = source(**options)
    listing = made.stage(made.resolve(columns), columns, folder)
    assert check_columns(footers(listing.files), columns) == []
    names = [name for name, column in columns.items() if not column.is_partition]
    tables = [pq.read_table(f.uri, partitioning=None, columns=names) for f in listing.files]
    found = [row for read in tables for row in read.to_pylist()]
    return sorted(found, key=lambda row: tuple((v is None, v) for v in row.values()))


def test_a_renamed_column_is_read_in_files_of_either_name(table: Any, tmp_path: Path) -> None:
    first = table.current_snapshot().snapshot_id
    with table.update_schema() as update:
        update.rename_column("x", "y")
    columns = {"dt": COLUMNS["dt"], "y": Column("y", INT)}
    expected = [{"y": 0}, {"y": 1}, {"y": 2}]
    assert expected == staged_rows(columns, tmp_path)
    table.append(rows(3).rename_columns(["dt", "y", "at"]))
    assert [*expected, {"y": 3}] == staged_rows(columns, tmp_path)
    listing = source().resolve(columns)
    assert [True, False, False] == sorted((f.is_plain for f in listing.files), reverse=True)
    assert all(file.format == "parquet" for file in listing.files)
    assert [0, 1, 2] == values_of(source(snapshot=first).resolve(COLUMNS))
    with pytest.raises(DataError, match="no column 'x'; its columns are: dt, y, at"):
        source().resolve(COLUMNS)


def test_a_column_of_the_same_name_as_a_dropped_one_is_another(table: Any, tmp_path: Path) -> None:
    with table.update_schema() as update:
        update.delete_column("x")
    with table.update_schema() as update:
        update.add_column("x", LongType())
    table.append(rows(7).select(["dt", "at", "x"]))
    assert [{"x": 7}, {"x": None}, {"x": None}, {"x": None}] == staged_rows(
        {"x": COLUMNS["x"]}, tmp_path
    )
    # what is not declared is not looked at
    assert all(file.is_plain for file in source().resolve({"at": COLUMNS["at"]}).files)


def test_names_that_changed_places(table: Any, tmp_path: Path) -> None:
    with table.update_schema() as update:
        update.add_column("z", LongType())
    table.append(rows(3).append_column("z", pa.array([30])))
    for old, new in (("x", "w"), ("z", "x"), ("w", "z")):
        with table.update_schema() as update:
            update.rename_column(old, new)
    found = staged_rows({"x": Column("x", INT), "z": Column("z", INT)}, tmp_path)
    assert {"x": 30, "z": 3} == found[0]
    assert [(None, 0), (None, 1), (None, 2)] == [(row["x"], row["z"]) for row in found[1:]]


def test_a_file_of_another_type_under_another_name(table: Any, tmp_path: Path) -> None:
    with table.update_schema() as update:
        update.rename_column("x", "y")
    columns: dict[str, Column[Any]] = {"y": Column("y", STRING)}
    made = source()
    with pytest.raises(DataError, match=r"Column 'y' is int64 in file .*; the table declares str"):
        made.stage(made.resolve(columns), columns, tmp_path)


def test_a_partition_that_is_not_by_identity(catalog: Any) -> None:
    catalog.create_table("log.t", schema=SCHEMA).append(rows(0))
    with pytest.raises(ConfigError, match=r"'dt' is none of file .* it has none"):
        source().resolve(COLUMNS)
    assert values_of(source().resolve({"x": COLUMNS["x"]})) == [0]


def test_rows_deleted_beside_the_files_are_refused(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pyiceberg itself cannot write such files, it rewrites: the plan bears one as Spark's would
    from pyiceberg.table import DataScan

    plan = DataScan.plan_files

    def with_deletes(scan: Any) -> Any:
        tasks = list(plan(scan))
        tasks[0].delete_files.add(tasks[0].file)
        return tasks

    monkeypatch.setattr(DataScan, "plan_files", with_deletes)
    with pytest.raises(DataError, match="deleted rows beside its files"):
        source().resolve(COLUMNS)
