"""Both engines show the same rows of the same files."""

import datetime as dt
import decimal
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, LaunchError
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.define.schema import Named, Partition
from tadka.dataset.define.table import Table
from tadka.dataset.engine.choice import make_engine
from tadka.dataset.engine.engine import Engine, TableInputs
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import DATE, FLOAT, INT, STRING, Utc
from tadka.dataset.source.footer import footers
from tadka.dataset.source.listing import InputFile

NAN = float("nan")
DAY = dt.date(2026, 1, 2)

pytestmark = [
    pytest.mark.timeout(600),  # Spark takes long to start where others work, too
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
]


@pytest.fixture(
    scope="module", params=["duckdb", pytest.param("spark", marks=pytest.mark.needs_spark)]
)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    parent = request.getfixturevalue("spark") if request.param == "spark" else None
    made = make_engine(request.param, spark=parent, scratch=tmp_path_factory.mktemp("scratch"))
    made.start()
    yield made
    made.stop()


def put(path: str, /, **columns: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def shown(engine: Engine, table: type[Table], *, has_footers: bool = True) -> list[dict[str, Any]]:
    """All rows of a table, in order of the first column."""
    files = list(table.source.resolve(table.columns).files)
    found = footers(files) if has_footers else None
    engine.register(table.__name__, TableInputs(table, files, found))
    name = "`T`" if engine.name == "spark" else '"T"'
    rows: list[dict[str, Any]] = engine.query(f"SELECT * FROM {name}").to_pylist()
    return sorted(rows, key=lambda row: str(list(row.values())))


@pytest.mark.parametrize(
    ("template", "folder"),
    [
        ("day={day}/kind={kind}", "day={day}/kind={kind}"),
        ("{kind}/{day:%Y/%m/%d}", "{kind}/{day:%Y/%m/%d}"),
        ("kind={kind}/day={day:%Y%m%d}", "kind={kind}/day={day:%Y%m%d}"),
    ],
)
def test_partitions_are_columns_wherever_they_stand(
    engine: Engine, tmp_path: Path, template: str, folder: str
) -> None:
    root = tmp_path / "with space, 100% [a] {b} 日本 + x"
    escaped = str(root).replace("{", "{{").replace("}", "}}").replace("[a]", "[[]a]")

    class T(Table, source=f"{escaped}/{template}/*.parquet"):
        user: Column[int]
        day: Partition[dt.date]
        kind: Partition[str]

    expected = []
    for number in range(4):
        day, kind = DAY + dt.timedelta(days=number // 2), "ab"[number % 2]
        put(f"{root}/{folder.format(day=day, kind=kind)}/x.parquet", user=[number])
        expected.append({"user": number, "day": day, "kind": kind})
    assert expected == shown(engine, T)
    where = "day = DATE '2026-01-02' AND kind = 'b'"
    assert engine.query(f"SELECT * FROM T WHERE {where}").num_rows == 1
    assert engine.query(f"SELECT user FROM T WHERE {where}")["user"].to_pylist() == [1]


def test_a_single_partition_is_a_constant(engine: Engine, tmp_path: Path) -> None:
    class T(Table, source=f"{tmp_path}/x-{{hour}}.parquet"):
        hour: Partition[int]
        user: Column[int]

    put(f"{tmp_path}/x-07.parquet", user=[1, 2])
    assert [{"hour": 7, "user": 1}, {"hour": 7, "user": 2}] == shown(engine, T)


def test_partitions_may_be_null_or_need_quotes(engine: Engine, tmp_path: Path) -> None:
    class T(Table, source=f"{tmp_path}/kind={{kind}}/*.parquet"):
        kind: Partition[str | None]
        user: Column[int]

    for number, name in enumerate(["__HIVE_DEFAULT_PARTITION__", "it%27s", "100%25"]):
        put(f"{tmp_path}/kind={name}/x.parquet", user=[number])
    expected = {("100%", 2), ("it's", 1), (None, 0)}
    assert expected == {(row["kind"], row["user"]) for row in shown(engine, T)}


def test_a_column_in_the_file_does_not_hide_the_partition(engine: Engine, tmp_path: Path) -> None:
    class T(Table, source=f"{tmp_path}/{{day}}/*.parquet"):
        day: Partition[dt.date]
        user: Column[int]

    for number in range(2):
        day = DAY + dt.timedelta(days=number)
        put(f"{tmp_path}/{day}/x.parquet", user=[number], day=["wrong"])
    assert [DAY, DAY + dt.timedelta(days=1)] == [row["day"] for row in shown(engine, T)]


PSEUDO = [
    *("file_index", "filename", "file_row_number", "rowid", "part", "path", "file_path", "value0"),
    *("_metadata", "partition", "file", "values"),
]


@pytest.mark.parametrize("where", ["{key}/x", "key={key}/x", "x"])
def test_columns_may_be_called_as_engines_call_theirs(
    engine: Engine, tmp_path: Path, where: str
) -> None:
    has_key = "{key}" in where
    key: dict[str, Any] = {"key": Partition[int]} if has_key else {}
    body = {
        "__annotations__": {**{f"c{n}": Column[int] for n in range(len(PSEUDO))}, **key},
        **{f"c{n}": Named(name) for n, name in enumerate(PSEUDO)},
    }
    source = f"{tmp_path}/{where}.parquet"
    table = types.new_class("T", (Table,), {"source": source}, lambda space: space.update(body))
    for number in range(2 if has_key else 1):
        put(
            f"{tmp_path}/{where.format(key=number)}.parquet",
            **{name: [10 * number + place] for place, name in enumerate(PSEUDO)},
        )

    expected = [
        {name: 10 * number + place for place, name in enumerate(PSEUDO)}
        | ({"key": number} if has_key else {})
        for number in range(2 if has_key else 1)
    ]
    assert expected == shown(engine, table)


@pytest.mark.parametrize("template", ["{%s}", "%s={%s}"])
def test_partitions_may_be_called_as_engines_call_their_columns(
    engine: Engine, tmp_path: Path, template: str
) -> None:
    names = [name for name in PSEUDO if not name.startswith("_")]
    folder = "/".join(template.replace("%s", name) for name in names)
    body = {
        "__annotations__": {
            **{f"c{n}": Partition[int] for n in range(len(names))},
            "user": Column[int],
        },
        **{f"c{n}": Named(name) for n, name in enumerate(names)},
    }
    source = f"{tmp_path}/{folder}/x.parquet"
    table = types.new_class("T", (Table,), {"source": source}, lambda space: space.update(body))
    expected = []
    for number in range(2):
        values = {name: 10 * number + place for place, name in enumerate(names)}
        put(f"{tmp_path}/{folder.format(**values)}/x.parquet", user=[number])
        expected.append({**values, "user": number})
    assert expected == shown(engine, table)


def test_columns_that_nobody_declares_do_not_hide_which_file_it_is(
    engine: Engine, tmp_path: Path
) -> None:
    class T(Table, source=f"{tmp_path}/{{key}}.parquet"):
        key: Partition[int]
        user: Column[int]

    for key in range(3):
        put(f"{tmp_path}/{key}.parquet", user=[key], FILE_Index=[0], _metadata=[0], path=[0])
    expected = [{"key": key, "user": key} for key in range(3)]
    assert expected == shown(engine, T)


def test_files_of_narrower_types_are_read_as_declared(engine: Engine, tmp_path: Path) -> None:
    class T(Table, source=f"{tmp_path}/*.parquet"):
        number: Column[int]
        user: Column[int | None]
        price: Column[float | None]
        items_: Column[list[int] | None]

    def file(number: int, user: pa.DataType, price: pa.DataType, item: pa.DataType) -> None:
        put(
            f"{tmp_path}/{number}.parquet",
            number=pa.array([number], pa.int64()),
            user=pa.array([decimal.Decimal(7)], pa.decimal128(3, 0)).cast(user)
            if user != pa.null()
            else pa.nulls(1),
            price=pa.array([decimal.Decimal(2)], pa.decimal128(4, 2)).cast(price),
            items_=pa.array([[1, None]], pa.list_(item)),
        )

    file(0, pa.int32(), pa.float32(), pa.int64())
    file(1, pa.int64(), pa.float64(), pa.int32())
    file(2, pa.uint32(), pa.int32(), pa.int64())
    file(3, pa.decimal128(5, 0), pa.decimal128(4, 2), pa.int64())
    file(4, pa.null(), pa.float64(), pa.int64())
    file(5, pa.uint8(), pa.int16(), pa.int8())
    expected = [
        {"number": n, "user": None if n == 4 else 7, "price": 2.0, "items_": [1, None]}
        for n in range(6)
    ]
    assert expected == shown(engine, T)


def test_every_kind_comes_back_as_arrow_has_it(engine: Engine, tmp_path: Path) -> None:
    class T(Table, source=f"{tmp_path}/*.parquet"):
        i8: Column[np.int8]
        f32: Column[np.float32]
        text: Column[str]
        raw: Column[bytes]
        flag: Column[bool]
        day: Column[dt.date]
        naive: Column[dt.datetime]
        point: Column[Utc]
        words: Column[list[str]]

    row = {
        "i8": -128,
        "f32": 0.5,
        "text": "日本 ' \\ \" 🎈",
        "raw": b"\x00\xff",
        "flag": True,
        "day": dt.date(1583, 1, 1),
        "naive": dt.datetime(2026, 3, 29, 2, 30, 0, 123456),  # noqa: DTZ001 - on purpose
        "point": dt.datetime(2026, 3, 29, 2, 30, tzinfo=dt.UTC),
        "words": ["a", ""],
    }
    schema = pa.schema([(c.name, c.kind.arrow) for c in T.columns.values()])
    pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / "x.parquet")
    assert [row] == shown(engine, T)
    assert [row] == shown(engine, T, has_footers=False)


def test_conditions_on_nan_see_what_is_in_the_file(engine: Engine, tmp_path: Path) -> None:
    class T(Table, source=f"{tmp_path}/*.parquet"):
        x: Column[float]

    put(f"{tmp_path}/x.parquet", x=[1.0, NAN, 3.0])
    assert len(shown(engine, T)) == 3
    assert engine.query("SELECT * FROM T WHERE isnan(x)").num_rows == 1
    assert engine.query("SELECT * FROM T WHERE x > 2 AND NOT isnan(x)").num_rows == 1
    assert engine.query("SELECT * FROM T WHERE x <= 3 AND NOT isnan(x)").num_rows == 2


def test_a_table_without_files_has_columns_and_no_rows(engine: Engine, tmp_path: Path) -> None:
    class T(Table, source=f"{tmp_path}/{{day}}/*.parquet"):
        day: Partition[dt.date]
        user: Column[int]
        words: Column[list[str]]

    engine.register("T", TableInputs(T, []))
    table = engine.query("SELECT * FROM T")
    assert (0, ["day", "user", "words"]) == (table.num_rows, table.column_names)
    assert [pa.date32(), pa.int64()] == list(table.schema.types[:2])


def test_names_may_hold_anything_that_is_printed(engine: Engine, tmp_path: Path) -> None:
    source = f"{tmp_path}/*.parquet"
    T = type(
        "T",
        (Table,),
        {"__annotations__": {'a "b" `c` ${d}': Column[int], "select": Column[int]}},
        source=source,
    )
    put(f"{tmp_path}/x.parquet", **{'a "b" `c` ${d}': [1], "select": [2]})
    assert [{'a "b" `c` ${d}': 1, "select": 2}] == shown(engine, T)


def test_a_damaged_file_is_named(engine: Engine, tmp_path: Path) -> None:
    class T(Table, source=f"{tmp_path}/*.parquet"):
        user: Column[int]

    (tmp_path / "x.parquet").write_bytes(b"PAR1 no more than this PAR1")
    with pytest.raises(DataError, match=r"x\.parquet"):
        shown(engine, T, has_footers=False)


def test_sql_that_is_none_is_an_error_of_the_definition(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="does not understand"):
        engine.query("SELECT nothing FROM nowhere")
    with pytest.raises(ConfigError, match="does not understand"):
        engine.query("SELEC 1")


def test_an_engine_knows_its_version_and_what_it_is_set_to(engine: Engine) -> None:
    assert engine.version[0].isdigit()
    assert all(isinstance(value, str) for value in engine.options.values())


def output(name: str, kind: Any) -> OutputColumn:
    return OutputColumn(name, kind, True, False, "feature")


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "csv"])
def test_what_was_written_can_be_queried(engine: Engine, tmp_path: Path, format_: str) -> None:
    columns = [output("x", INT), output("f", FLOAT), output("day", DATE), output("kind", STRING)]
    selected = "CAST(1 AS BIGINT) AS x, CAST('0.5' AS DOUBLE) AS f, DATE '2026-01-02' AS day"
    sql = f"SELECT {selected}, 'a' AS kind UNION ALL SELECT {selected}, 'b/c'"
    form = Output(format=format_, partition_by=["kind"])
    paths = engine.write(sql, tmp_path, form, columns)
    engine.register_files("output", paths, columns)
    expected = [
        {"x": 1, "f": 0.5, "day": DAY, "kind": "a"},
        {"x": 1, "f": 0.5, "day": DAY, "kind": "b/c"},
    ]
    assert expected == engine.query("SELECT * FROM output ORDER BY kind").to_pylist()


@pytest.mark.parametrize("name", ["duckdb", pytest.param("spark", marks=pytest.mark.needs_spark)])
def test_an_interrupted_engine_answers_nothing_any_more(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    parent = request.getfixturevalue("spark") if name == "spark" else None
    made = make_engine(name, spark=parent, scratch=tmp_path)
    with pytest.raises(LaunchError, match="was not started, or was stopped"):
        made.query("SELECT 1")
    made.start()
    assert made.query("SELECT 1").num_rows == 1
    made.interrupt()
    with pytest.raises(DataError, match="interrupted"):
        made.query("SELECT 1")
    made.stop()
    with pytest.raises(LaunchError, match="was not started, or was stopped"):
        made.query("SELECT 1")

    early = make_engine(name, spark=parent, scratch=tmp_path)
    early.interrupt()
    with pytest.raises(LaunchError, match="was interrupted"):
        early.start()
    early.stop()


def test_files_that_nobody_listed_are_not_read(engine: Engine, tmp_path: Path) -> None:
    class T(Table, source=f"{tmp_path}/*.parquet"):
        user: Column[int]

    put(f"{tmp_path}/a*.parquet", user=[1])
    put(f"{tmp_path}/ab.parquet", user=[2])
    engine.register("T", TableInputs(T, [InputFile(f"{tmp_path}/a*.parquet", {}, 0, "")]))
    assert [1] == engine.query("SELECT user FROM T")["user"].to_pylist()
