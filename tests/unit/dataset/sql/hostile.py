"""Rows of hostile values, and how the answers of engines for them are judged."""

import datetime as dt
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tadka.dataset.expression.expression import Column, Expression, Parameter, as_literal
from tadka.dataset.expression.kind import BOOL, BYTES, DATE, FLOAT, INT, STRING, TIME, UTC, Kind
from tests.unit.dataset.sql.engines import TestEngine
from tests.unit.dataset.sql.oracle import Unsure, Wrong, raw, value_of

NAN, INF = math.nan, math.inf
MOST = 2**63 - 1
I8, I32, F32 = Kind("int8"), Kind("int32"), Kind("float32")


def at(text: str) -> int:
    """Microseconds since 1970."""
    moment: int = raw(dt.datetime.fromisoformat(text))
    return moment


# New York's clocks skip 2:30 on 8 March 2026 and show 1:30 twice on 1 November
_MOMENTS = [
    *("0001-01-01T00:00:00", "1582-10-10T12:00:00", "1887-12-31T14:59:59.999999"),
    *("1969-12-31T23:59:59.999999", "1970-01-01T00:00:00", "2024-02-29T23:59:59.000001"),
    *("2026-03-08T02:30:00", "2026-03-08T06:59:59.999999", "2026-03-08T07:00:00"),
    *("2026-11-01T01:30:00", "2026-11-01T05:30:00", "2026-11-01T06:30:00"),
    "9999-12-31T23:59:59.999999",
]
_TIMES = [None, *map(at, _MOMENTS)]
_DATES = [None, *(at(text) // 86_400_000_000 for text in _MOMENTS)]
_FLOATS = [None, NAN, INF, -INF, 0.0, -0.0, 1.5, -2.5, 2.5, 3.5, 1e300, -1e300, 5e-324, 2.0**63]
_INTS = [None, 0, 1, -1, 7, -7, 3, -3, 2**53 + 1, MOST, -MOST - 1, 2**62]
TEXTS = [
    *("", "a", "A", "a ", "aé", "ß", "e\u0301", "カﾅ", "😀", "\U0010ffff"),
    *("\uffff", "'", '"', "\\", "\\n", "\n", "%", "_", "${x}", "a\0b", '名前\'s \\ "😀"'),
]
# x and y run through all pairs of a kind's values, z through a third
VALUES: dict[str, tuple[Kind, Sequence[Any]]] = {
    "i": (INT, _INTS),
    "k": (I32, [None, 0, 1, -1, 5, 2**31 - 1, -(2**31), 16_777_217]),
    "b": (I8, [None, 0, 1, -1, 127, -128, 5]),
    "x": (FLOAT, _FLOATS),
    "f": (
        F32,
        [
            None,
            NAN,
            INF,
            -INF,
            0.0,
            -0.0,
            1.5,
            float(np.float32(0.1)),
            2.0**24,
            2.0**31,
            -(2.0**63),
        ],
    ),
    "s": (STRING, [None, *TEXTS]),
    "c": (BOOL, [None, True, False]),
    "r": (BYTES, [None, b"", b"\x00", b"\xff'", "é".encode()]),
    "d": (DATE, _DATES),
    "t": (TIME, _TIMES),
    "u": (UTC, _TIMES),
}
COLUMNS: dict[str, Column[Any]] = {
    f"{name}{number}": Column(f"{name}{number}", kind)
    for name, (kind, _) in VALUES.items()
    for number in ("", 2)
}
NUM_ROWS = 529
_BATCH = 60  # expressions in one SELECT


def _rows() -> list[dict[str, Any]]:
    rows = []
    for k in range(NUM_ROWS):
        row = {}
        for name, (_, values) in VALUES.items():
            row[name] = values[k % len(values)]
            row[f"{name}2"] = values[k // len(values) % len(values)]
        rows.append(row)
    return rows


ROWS = _rows()


def arrow_of(values: Sequence[Any], kind: Kind) -> pa.Array:
    raw_type = {"date": pa.int32(), "time": pa.int64(), "utc": pa.int64()}.get(kind.name)
    return pa.array(values, raw_type or kind.arrow, from_pandas=False).cast(kind.arrow)


ONE_DAY, LIMIT, RATE, WORD = Parameter(dt.date), Parameter(int), Parameter(float), Parameter(str)
ONE_DAY.name, LIMIT.name, RATE.name, WORD.name = "day", "limit", "rate", "word"
PARAMETERS = {
    "day": as_literal("2026-03-08", DATE, "day"),
    "limit": as_literal(-3, INT, "limit"),
    "rate": as_literal(-0.0, FLOAT, "rate"),
    "word": as_literal('名前\'s \\ "😀"', STRING, "word"),
}


def write_rows(path: Path) -> None:
    """The rows as Parquet, in row groups so small that their bounds matter."""
    table = {name: arrow_of([row[name] for row in ROWS], c.kind) for name, c in COLUMNS.items()}
    table["row"] = pa.array(range(NUM_ROWS), pa.int64())
    pq.write_table(pa.table(table), path, row_group_size=64)


def expected(expression: Expression[Any]) -> tuple[list[Any], list[int], list[int]]:
    """Values by row, rows with a value, rows with an error."""
    values, fine, wrong = [], [], []
    for number, row in enumerate(ROWS):
        try:
            values.append(value_of(expression, row, PARAMETERS))
            fine.append(number)
        except Wrong:
            values.append(None)
            wrong.append(number)
        except Unsure:
            values.append(None)
    return values, fine, wrong


def plain(column: pa.ChunkedArray, kind: Kind) -> list[Any]:
    """Values as the oracle has them."""
    if kind.is_time or kind == DATE:
        column = column.cast(pa.int32() if kind == DATE else pa.int64())
    return list(column.to_pylist())


def differences(
    engine: TestEngine, hostile: Path, expressions: Sequence[Expression[Any]]
) -> list[str]:
    """What an engine answers otherwise than Python, in rows that are no error."""
    if len(expressions) > _BATCH:
        first, rest = expressions[:_BATCH], expressions[_BATCH:]
        return differences(engine, hostile, first) + differences(engine, hostile, rest)
    wanted = [expected(expression) for expression in expressions]
    selected = []
    for number, (expression, (_, fine, _)) in enumerate(zip(expressions, wanted, strict=True)):
        sql = engine.sql(expression, PARAMETERS)
        if len(fine) < NUM_ROWS:
            rows = ", ".join(map(str, fine or [-1]))
            sql = f"CASE WHEN {engine.dialect.quote('row')} IN ({rows}) THEN {sql} END"
        selected.append(f"{sql} AS c{number}")
    source = engine.scan(hostile)
    row = engine.dialect.quote("row")
    answer = engine.query(f"SELECT {row}, {', '.join(selected)} FROM {source} ORDER BY {row}")
    assert list(range(NUM_ROWS)) == answer.column(0).to_pylist()
    told = []
    for number, expression in enumerate(expressions):
        column = answer.column(number + 1)
        if expression.kind == UTC and column.type.tz is not None:
            column = column.cast(UTC.arrow)  # DuckDB shows the zone of its session
        if not column.type.equals(expression.kind.arrow):
            told.append(f"{expression}: type {column.type}, not {expression.kind.arrow}")
            continue
        values, fine, _ = wanted[number]
        found = plain(column, expression.kind)
        for k in fine:
            if not is_same(values[k], found[k]):
                names = {part.name for part in expression.walk() if isinstance(part, Column)}
                row_values = {name: ROWS[k][name] for name in sorted(names)}
                told.append(f"{expression}: {found[k]!r}, not {values[k]!r}, for {row_values}")
                break
    return told


def is_same(expected: Any, found: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, float) and math.isnan(expected):
        return math.isnan(found)
    return type(expected) is type(found) and bool(expected == found)


def silent(engine: TestEngine, hostile: Path, expressions: Sequence[Expression[Any]]) -> list[str]:
    """Where an engine raises no error although it must: the first and the last such row of each."""
    told = []
    for expression in expressions:
        _, _, wrong = expected(expression)
        for k in {wrong[0], wrong[-1]} if wrong else ():
            sql = engine.sql(expression, PARAMETERS)
            row = engine.dialect.quote("row")
            try:
                found = engine.query(
                    f"SELECT {sql} AS c FROM {engine.scan(hostile)} WHERE {row} = {k}"
                )
            except engine.error:
                continue
            told.append(f"{expression}: {found.column(0).to_pylist()}, no error, for {ROWS[k]}")
    return told
