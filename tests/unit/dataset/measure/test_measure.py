import datetime as dt
import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import DataError, NotFound
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.expression.kind import named_kind
from tadka.dataset.measure.measure import SAMPLE_ROWS, hash_files, measure
from tadka.dataset.measure.rowhash import RowHash

UTC = dt.UTC
KINDS = {
    "user": "int64",
    "small": "int8",
    "price": "float64",
    "ad": "string",
    "seen": "bool",
    "day": "date",
    "at": "time",
    "point": "utc",
    "mean": "float64",
    "split": "string",
}


def columns_of(**kinds: str) -> list[OutputColumn]:
    return [
        OutputColumn(name, named_kind(kind, name), True, name == "mean", "feature")
        for name, kind in kinds.items()
    ]


COLUMNS = columns_of(**KINDS)


def rows(count: int, seed: int = 0) -> pa.Table:
    chance = np.random.default_rng(seed)
    is_null = chance.random(count) < 0.1
    price = np.where(chance.random(count) < 0.1, math.nan, chance.normal(size=count))
    seconds = chance.integers(0, 10**9, count) * 1_000_000 + 5
    made = {
        "user": pa.array(chance.integers(0, 1000, count)),
        "small": pa.array(chance.integers(-5, 5, count).astype(np.int8), mask=is_null),
        "price": pa.array(price, mask=chance.random(count) < 0.1),
        "ad": pa.array([None if n else f'ad, "{i % 7}"\n' for i, n in enumerate(is_null)]),
        "seen": pa.array(chance.random(count) < 0.5),
        "day": pa.array(chance.integers(0, 20_000, count).astype(np.int32)).cast(pa.date32()),
        "at": pa.array(seconds).cast(pa.timestamp("us")),
        "point": pa.array(seconds).cast(pa.timestamp("us", "UTC")),
        "mean": pa.array(chance.normal(size=count)),
        "split": pa.array(np.array(["train", "valid"])[chance.integers(0, 2, count)]),
    }
    return pa.table(made)


def expected_hash(table: pa.Table, columns: list[OutputColumn] = COLUMNS) -> str:
    made = RowHash([(c.name, c.kind) for c in columns if not c.is_inexact])
    made.update(table)
    return made.hexdigest()


def write(folder: Path, table: pa.Table, num_files: int, **options: Any) -> list[str]:
    paths = []
    for i in range(num_files):
        part = table.slice(
            table.num_rows * i // num_files,
            table.num_rows * (i + 1) // num_files - table.num_rows * i // num_files,
        )
        path = folder / f"part-{i:05d}.parquet"
        pq.write_table(part, path, **options)
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("native", ["1", "0"])
def test_files_have_the_hash_of_their_rows_however_written(
    tmp_path: Path, native: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADKA_NATIVE", native)
    table = rows(5000)
    shuffled = table.take(np.random.default_rng(1).permutation(5000))
    ways: list[tuple[pa.Table, int, dict[str, Any]]] = [
        (table, 1, {}),
        (shuffled, 5, {"row_group_size": 300, "compression": "snappy"}),
        (shuffled.select(sorted(KINDS)), 2, {"use_dictionary": False, "compression": "gzip"}),
    ]
    found = []
    for i, (written, num_files, options) in enumerate(ways):
        folder = tmp_path / str(i)
        folder.mkdir()
        files = write(folder, written, num_files, **options)
        for threads in (1, 3):
            found.append(measure(files, COLUMNS, threads=threads))
            assert hash_files(files, COLUMNS, threads=threads).hexdigest() == expected_hash(table)
        assert sum(file.num_rows for file in found[-1].files) == found[-1].num_rows == 5000
        assert [file.uri for file in found[-1].files] == files
        assert found[-1].num_bytes == sum(Path(file).stat().st_size for file in files)
    for other in found:
        assert other.output_hash == expected_hash(table)
        # as text, since NaN does not equal itself
        assert str(other.sample.to_pylist()) == str(found[0].sample.to_pylist())
        for name, statistics in other.statistics.items():
            means = [statistics.mean, found[0].statistics[name].mean]
            if means[0] is not None:
                assert means[0] == pytest.approx(means[1])
            assert (statistics.num_null, statistics.num_nan, statistics.num_distinct) == (
                found[0].statistics[name].num_null,
                found[0].statistics[name].num_nan,
                found[0].statistics[name].num_distinct,
            )
            assert statistics.top == found[0].statistics[name].top
            assert statistics.histogram_counts == found[0].statistics[name].histogram_counts


def test_statistics_are_of_all_columns_and_exact_for_few_rows(tmp_path: Path) -> None:
    table = rows(3000)
    found = measure(write(tmp_path, table, 2), COLUMNS)
    assert list(found.statistics) == list(KINDS)
    assert found.statistics["user"].num_distinct == len(set(table["user"].to_pylist()))
    assert found.statistics["price"].num_null == table["price"].null_count
    assert found.statistics["price"].num_nan == sum(
        value is not None and math.isnan(value) for value in table["price"].to_pylist()
    )
    assert found.statistics["mean"].mean == pytest.approx(np.mean(table["mean"].to_numpy()))
    assert sum(found.statistics["user"].histogram_counts) == 3000
    assert dict(found.statistics["split"].top) == {
        name: table["split"].to_pylist().count(name) for name in ("train", "valid")
    }


def test_statistics_of_many_rows_are_close(tmp_path: Path) -> None:
    table = rows(60_000)
    found = measure(write(tmp_path, table, 3, row_group_size=7000), COLUMNS)
    top = dict(found.statistics["split"].top)
    for name in ("train", "valid"):
        assert top[name] == pytest.approx(table["split"].to_pylist().count(name), rel=0.05)
    assert found.statistics["user"].num_distinct == pytest.approx(1000, rel=0.05)
    assert found.statistics["split"].num_distinct == 2


def test_inexact_columns_are_not_in_the_hash_but_in_the_rest(tmp_path: Path) -> None:
    table = rows(100)
    other = table.set_column(table.column_names.index("mean"), "mean", pa.array(np.zeros(100)))
    files = write(tmp_path, other, 1)
    found = measure(files, COLUMNS)
    assert found.output_hash == expected_hash(table)
    assert found.statistics["mean"].max == 0
    assert found.sample["mean"].to_pylist() == [0.0] * 100
    assert hash_files(files, COLUMNS).num_rows == 100


def test_a_changed_cell_changes_the_hash(tmp_path: Path) -> None:
    table = rows(100)
    users = table["user"].to_pylist()
    users[50] += 1
    files = write(tmp_path, table.set_column(0, "user", pa.array(users)), 1)
    assert measure(files, COLUMNS).output_hash != expected_hash(table)


def test_the_sample_is_of_different_rows_with_all_columns(tmp_path: Path) -> None:
    table = rows(3000)
    found = measure(write(tmp_path, pa.concat_tables([table, table]), 2), COLUMNS)
    assert found.sample.num_rows == SAMPLE_ROWS
    assert found.sample.column_names == list(KINDS)
    rows_seen = [str(row) for row in found.sample.to_pylist()]
    assert len(set(rows_seen)) == SAMPLE_ROWS
    assert set(rows_seen) <= {str(row) for row in table.to_pylist()}


def test_values_of_folders_are_columns(tmp_path: Path) -> None:
    columns = columns_of(user="int64", split="string", day="date", n="int64")
    table = pa.table(
        {
            "user": [1, 2, 3, 4],
            "split": ["a b/c", None, "x", "x"],
            "day": pa.array([dt.date(2026, 1, 2)] * 3 + [None], pa.date32()),
            "n": [1, 1, 2, 2],
        }
    )
    _write_folders(tmp_path, table)
    files = sorted(str(path) for path in tmp_path.rglob("*.parquet"))
    found = measure(files, columns, partition_by=["split", "day", "n"])
    assert found.output_hash == expected_hash(table, columns)
    assert found.statistics["split"].num_null == 1
    assert found.statistics["n"].max == 2
    assert sorted(found.sample.to_pylist(), key=lambda row: row["user"]) == table.to_pylist()
    with pytest.raises(DataError, match=r"lies in no folder 'other=\.\.\.'"):
        measure(files, columns_of(user="int64", other="int64"), partition_by=["other"])
    with pytest.raises(DataError, match=r"folder 'day=2026-01-02'; its value must be int64"):
        measure(files[:1], columns_of(day="int64"), partition_by=["day"])


def _write_folders(folder: Path, table: pa.Table) -> None:
    connection = duckdb.connect()
    connection.register("t", table)
    connection.execute(
        f"COPY (SELECT * FROM t) TO '{folder / 'out'}' "
        "(FORMAT parquet, PARTITION_BY (split, day, n))"
    )
    connection.close()


@pytest.mark.parametrize(("form", "engine_form"), [("csv", "csv"), ("jsonl", "json")])
def test_text_files_have_the_hash_of_their_rows(
    tmp_path: Path, form: str, engine_form: str
) -> None:
    table = rows(500)
    if form == "jsonl":  # JSON has no NaN
        price = table["price"].to_pylist()
        price = [None if v is None or math.isnan(v) else v for v in price]
        table = table.set_column(2, "price", pa.array(price))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("t", table)
    files = []
    for i in range(2):
        path = str(tmp_path / f"part-{i}.{form}")
        connection.execute(
            f"COPY (SELECT * FROM t LIMIT 250 OFFSET {250 * i}) TO '{path}' (FORMAT {engine_form})"
        )
        files.append(path)
    connection.close()
    found = measure(files, COLUMNS, format=form)
    assert found.output_hash == expected_hash(table)
    assert [file.num_rows for file in found.files] == [250, 250]
    assert hash_files(files, COLUMNS, format=form).hexdigest() == expected_hash(table)


def test_files_without_rows_have_columns(tmp_path: Path) -> None:
    files = write(tmp_path, rows(0), 1)
    found = measure(files, COLUMNS)
    assert found.num_rows == 0
    assert found.output_hash == expected_hash(rows(0))
    assert found.sample.num_rows == 0
    assert found.statistics["user"].num_distinct == 0
    assert measure([], COLUMNS).output_hash == found.output_hash


def test_only_inexact_columns(tmp_path: Path) -> None:
    files = write(tmp_path, rows(10), 1)
    found = measure(files, columns_of(mean="float64"))
    assert found.num_rows == 10
    assert found.statistics["mean"].num_distinct == 10
    assert hash_files(files, columns_of(mean="float64")).hexdigest() == found.output_hash


def test_files_that_are_gone_damaged_or_of_other_columns_are_named(tmp_path: Path) -> None:
    files = write(tmp_path, rows(1000), 3, row_group_size=100)
    with pytest.raises(NotFound, match="nowhere"):
        measure([*files, str(tmp_path / "nowhere.parquet")], COLUMNS)
    with pytest.raises(DataError, match=r"part-00000.parquet' has no column 'usr'"):
        measure(files, columns_of(usr="int64"))
    with pytest.raises(DataError, match="Column 'ad' has the Arrow type string"):
        measure(files, columns_of(ad="int64"))
    content = Path(files[1]).read_bytes()
    Path(files[1]).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"part-00001.parquet' cannot be read as Parquet"):
        measure(files, COLUMNS)
