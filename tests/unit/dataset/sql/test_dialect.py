"""Names, constants, buckets and refusals of the dialects."""

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.expression.expression import (
    Aggregate,
    Column,
    Expression,
    Literal,
    Parameter,
    Relation,
    Sql,
    as_literal,
)
from tadka.dataset.expression.kind import FLOAT, INT, STRING, Kind
from tadka.dataset.sql.choice import DIALECTS, dialect_of
from tadka.dataset.sql.dialect import Dialect
from tests.unit.dataset.sql.engines import TestEngine
from tests.unit.dataset.sql.hostile import COLUMNS, NUM_ROWS, ROWS, TEXTS

HOSTILE_TEXTS = [
    *TEXTS,
    *("'; DROP TABLE rows; --", "') OR TRUE --", "\\' OR TRUE --", "\\", "\\\\'", "\r\n\t\b\x1a"),
    *("$1 ? :name @x {{x}}", "${spark.app.name}", "/* */ -- #", "''", "`a`", '"a"', "\u202e\ufeff"),
]
KEYS = ("i", "k", "b", "s", "c", "r", "d", "t", "u")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


def _sql(dialect: Dialect, expression: Expression[Any], **parameters: Literal[Any]) -> str:
    return dialect.expression(
        expression, column=lambda column: dialect.quote(column.name), parameters=parameters
    )


def test_any_text_is_itself(engine: TestEngine) -> None:
    selected = [f"{engine.dialect.text(text)} AS c{k}" for k, text in enumerate(HOSTILE_TEXTS)]

    (found,) = engine.query(f"SELECT {', '.join(selected)}").to_pylist()

    assert HOSTILE_TEXTS == list(found.values())


def test_any_bytes_are_themselves(engine: TestEngine) -> None:
    values = [b"", bytes(range(256)), b"'\\x00"]
    selected = [f"{engine.dialect.binary(value)} AS c{k}" for k, value in enumerate(values)]

    (found,) = engine.query(f"SELECT {', '.join(selected)}").to_pylist()

    assert values == list(found.values())


def test_any_name_is_itself(engine: TestEngine) -> None:
    names = ['a "b" `c`', "select", "a.b", "名前", "${x}", "a'b", "x;--", " "]
    selected = [f"{k} AS {engine.dialect.quote(name)}" for k, name in enumerate(names)]

    assert names == engine.query(f"SELECT {', '.join(selected)}").column_names


@every_dialect
@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_no_engine_takes_is_refused(dialect: Dialect, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name that SQL could hold"):
        dialect.quote(name)


@pytest.mark.parametrize("number", [0.1, 1e300, -5e-324, 2.0**63, -(2**63), 2**63 - 1, 0])
def test_a_number_is_itself(engine: TestEngine, number: float) -> None:
    literal: Literal[float] = Literal(number, INT if isinstance(number, int) else FLOAT)

    assert [[number]] == [
        column.to_pylist()
        for column in engine.query(f"SELECT {engine.dialect.literal(literal)} AS c").columns
    ]


def test_an_error_says_which_expression_it_was(engine: TestEngine, hostile: Path) -> None:
    sql = engine.sql(COLUMNS["x"] / COLUMNS["x2"])

    with pytest.raises(engine.error, match=r"x / x2 divides by 0\."):
        engine.query(f"SELECT {sql} AS c FROM {engine.scan(hostile)}")


# ---------------------------------------------------------------- buckets


def _bucket(name: str, value: Any, salt: str) -> int:
    text = value.hex().upper() if isinstance(value, bytes) else str(value)
    seed = salt if value is None else f"{salt}:{text}"
    return int(hashlib.md5(seed.encode()).hexdigest()[:8], 16)


@pytest.mark.parametrize("salt", ["v1", "", "it's \\ 名前"])
def test_a_bucket_is_the_digest_of_the_key(engine: TestEngine, hostile: Path, salt: str) -> None:
    quote = engine.dialect.quote
    selected = [
        f"{engine.dialect.bucket(quote(name), COLUMNS[name].kind, salt)} AS {name}" for name in KEYS
    ]

    found = engine.query(
        f"SELECT {', '.join(selected)} FROM {engine.scan(hostile)} ORDER BY {quote('row')}"
    )

    assert [INT.arrow] * len(KEYS) == found.schema.types
    for name in KEYS:
        assert [_bucket(name, row[name], salt) for row in ROWS] == found[name].to_pylist()
    assert NUM_ROWS == found.num_rows


@every_dialect
@pytest.mark.parametrize("kind", [FLOAT, Kind("float32"), Kind("list", INT)])
def test_a_float_or_a_list_is_no_key(dialect: Dialect, kind: Kind) -> None:
    with pytest.raises(ConfigError, match=f"A split by {kind} is not possible".replace("[", r"\[")):
        dialect.bucket("x", kind, "v1")


# ---------------------------------------------------------------- raw SQL, parameters, aggregates


def test_raw_sql_is_made_the_kind_that_it_was_declared(engine: TestEngine) -> None:
    text = "1 + 1"
    expression: Expression[Any] = Sql("float32", duckdb=text, spark=text)

    (column,) = engine.query(f"SELECT {_sql(engine.dialect, expression + 0.5)} AS c").columns

    assert (FLOAT.arrow, [2.5]) == (column.type, column.to_pylist())


def test_raw_sql_of_the_other_engine_is_refused() -> None:
    expression: Expression[Any] = Sql(int, duckdb="hash(1)")

    with pytest.raises(ConfigError, match=r"has no text for spark; give spark= as well"):
        _sql(dialect_of("spark"), expression)


@every_dialect
def test_a_parameter_needs_a_value(dialect: Dialect) -> None:
    start: Parameter[dt.date] = Parameter(dt.date)
    start.name = "start"
    condition = Column("d", start.kind) >= start

    given = as_literal(dt.date(2026, 1, 31), start.kind, "start")
    assert "DATE '2026-01-31'" in _sql(dialect, condition, start=given)
    with pytest.raises(ConfigError, match="Parameter 'start' has no value"):
        _sql(dialect, condition)


@every_dialect
def test_an_aggregate_leads_to_where_it_was_computed(dialect: Dialect) -> None:
    window = Relation()
    window.alias = "clicks"
    count: Aggregate[int] = Aggregate("count", window, None, INT)

    sql = dialect.expression(
        count > 0, column=lambda column: column.name, parameters={}, aggregate=lambda _: "w.n"
    )

    assert "(w.n > CAST(0 AS BIGINT))" == sql
    with pytest.raises(ConfigError, match=r"clicks\.count\(\) stands in a condition or a key"):
        _sql(dialect, count > 0)


@every_dialect
def test_what_is_not_an_operator_has_no_sql(dialect: Dialect) -> None:
    assert dialect is dialect_of(dialect.name)
    assert "(`s` = 'a')".replace("`", dialect.mark) == _sql(dialect, Column("s", STRING) == "a")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Engine 'polars' is not known; it must be 'duckdb' or"):
        dialect_of("polars")
