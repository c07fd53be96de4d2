"""Checks on rows, against Parquet that pyarrow wrote, on DuckDB."""

import datetime as dt
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.document import read_yaml, write_yaml
from tadka.core.error import ConfigError, DataError
from tadka.dataset.check.check import (
    Check,
    CheckFailed,
    CheckResult,
    CheckWarning,
    Ground,
    OnFail,
    Scope,
    Verdict,
)
from tadka.dataset.check.config import KINDS, check_from_config
from tadka.dataset.check.custom import CheckedOutput, Custom
from tadka.dataset.check.footer import AsDeclared, Listed, PartitionsExist, TableFacts
from tadka.dataset.check.inputs import Fresh, Matched, TimeCutoff
from tadka.dataset.check.integrity import NoTies, NotMultiplied
from tadka.dataset.check.predictor import NoSinglePredictor
from tadka.dataset.check.rows import LabelShare, NoDuplicates, NoEntityOverlap, RowCount, Unique
from tadka.dataset.check.runner import Results, refuse_mistaken, run_checks, run_custom
from tadka.dataset.check.values import InRange, NoNan, NullShare, OneOf
from tadka.dataset.engine.engine import Answer, one_by_one
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import BOOL, DATE, FLOAT, INT, STRING, TIME, UTC
from tadka.dataset.sql.duckdb import DUCKDB
from tadka.dataset.sql.spark import SETTINGS as SPARK_SETTINGS
from tadka.dataset.sql.spark import SPARK

NAN = float("nan")
SCOPE = Scope(
    features={"user": INT, "price": FLOAT, "country": STRING, "day": DATE},
    label=("label", BOOL),
    split=("split", STRING),
    relations={"imp": {"user": INT, "ad": INT, "at": UTC, "bid": FLOAT}, "ad": {"id": INT}},
    rows="imp",
    lookups=("ad",),
    tables={"Imp": ("at", UTC), "Log": ("at", TIME), "Ad": None},
)
ROWS: dict[str, list[Any]] = {
    "user": [1, 1, 2, 3],
    "price": [0.5, 1.5, 2.5, 9.5],
    "country": ["JP", "日本", "", "JP"],
    "day": [dt.date(2026, 1, day) for day in (1, 2, 3, 4)],
    "label": [True, False, True, False],
    "split": ["train", "train", "valid", "valid"],
}
IMPRESSIONS: dict[str, list[Any]] = {
    "user": [1, 1, 2, 3],
    "ad": [7, 7, 7, 8],
    "at": [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3, 4)],
    "bid": [1.0, None, 2.0, None],
}


def at(day: int) -> dt.datetime:
    return dt.datetime(2026, 1, day, tzinfo=dt.UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


class Room:
    """An engine with the view `output`, and the numbers of queries that it ran."""

    def __init__(self, folder: Path, rows: dict[str, list[Any]]) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.queries: list[str] = []
        self.tables = {"output": rows, "Imp": IMPRESSIONS}
        for name, values in self.tables.items():
            pq.write_table(pa.table(values), folder / f"{name}.parquet")
            self.connection.execute(
                f"CREATE VIEW \"{name}\" AS FROM read_parquet('{folder}/{name}.parquet', "
                "can_have_nan=true)"
            )

    def query(self, sql: str) -> pa.Table:
        self.queries.append(sql)
        return self.connection.sql(sql).to_arrow_table()

    def query_all(self, sqls: Sequence[str]) -> Iterator[Answer]:
        return one_by_one(self.query, sqls)

    def run(self, *checks: Check, on_fail: OnFail | None = None, **ground: Any) -> Results:
        results = Results("Ctr", on_fail=on_fail, clock=Clock())
        run_checks(checks, self.ground(**ground), self.query_all, results)
        return results

    def ground(self, **further: Any) -> Ground:
        given = {
            "scope": SCOPE,
            "dialect": DUCKDB,
            "sources": {"imp": '"Imp"'},
            "tables": {"Imp": '"Imp"'},
            **further,
        }
        return Ground(**given)


@pytest.fixture
def room(tmp_path: Path) -> Callable[..., Room]:
    def make(**columns: Sequence[Any]) -> Room:
        return Room(tmp_path, {**ROWS, **{name: list(column) for name, column in columns.items()}})

    return make


def told(results: Results) -> list[tuple[str, str]]:
    return [(result.status, result.message) for result in results.all]


@pytest.mark.parametrize(
    ("check", "columns", "status", "message"),
    [
        (RowCount(min=4, max=4), {}, "passed", "4 rows."),
        (RowCount(min=5), {}, "failed", "4 rows; at least 5 must be there."),
        (RowCount(max=3), {}, "failed", "4 rows; at most 3 are accepted."),
        (NullShare("price", max=0.0), {}, "passed", "0 of 4 rows (0.00%) are null."),
        (NullShare("price", max=0.5), {"price": [None, NAN, 1.0, None]}, "passed",
         "2 of 4 rows (50.00%) are null."),
        (NullShare("price", max=0.4), {"price": [None, NAN, 1.0, None]}, "failed",
         "2 of 4 rows (50.00%) are null; at most 40.00% are accepted."),
        (NoNan("price"), {}, "passed", "0 of 4 rows are NaN in 'price'."),
        # without a null and without an infinity, which hide that engines trust the footer's bounds
        (NoNan("price"), {"price": [1.0, NAN, 2.0, NAN]}, "failed",
         "2 of 4 rows are NaN in 'price'."),
        (NoNan("price"), {"price": [1.0, None, 2.0, NAN]}, "failed",
         "1 of 4 rows are NaN in 'price'."),
        (InRange("price", min=0, max=9.5), {"price": [0.0, None, 1.0, 9.5]}, "passed",
         "4 rows are in the range."),
        (InRange("price", min=1, max=9), {}, "failed",
         "2 of 4 rows are outside the range from 1 to 9: from 0.5 to 9.5."),
        (InRange("price", min=0), {"price": [1.0, NAN, 2.0, 3.0]}, "failed",
         "1 of 4 rows are outside the range from 0: from nan to nan."),
        (InRange("price", max=100), {"price": [1.0, NAN, 2.0, 3.0]}, "failed",
         "1 of 4 rows are outside the range to 100: from nan to nan."),
        (InRange("day", min=dt.date(2026, 1, 2)), {}, "failed",
         "1 of 4 rows are outside the range from 2026-01-02: from 2026-01-01 to 2026-01-01."),
        (InRange("country", min="A"), {}, "failed",
         "1 of 4 rows are outside the range from A: from  to ."),
        (OneOf("country", ["JP", "日本", ""]), {}, "passed", "4 rows have one of 3 values."),
        (OneOf("country", ["JP"]), {"country": ["JP", None, "o'x", "z"]}, "failed",
         "2 of 4 rows have another value, such as \"o'x\" and 'z'."),
        (OneOf("label", [True]), {}, "failed", "2 of 4 rows have another value."),
        (Unique("day"), {}, "passed", "every row is the only one of its kind."),
        (Unique("user", "country"), {"country": ["a", "a", None, None]}, "failed",
         "1 combinations of 'user', 'country' occur more than once, in 2 rows."),
        (Unique("country"), {"country": ["a", "b", None, None]}, "failed",
         "1 combinations of 'country' occur more than once, in 2 rows."),
        (NoDuplicates(), {}, "passed", "no two rows are equal."),
        (NoDuplicates(), {name: [values[0]] * 4 for name, values in ROWS.items()}, "failed",
         "4 rows are only 1 different ones."),
        (NoEntityOverlap("user"), {}, "passed", "no 'user' is in two splits."),
        (NoEntityOverlap("user"), {"user": [1, 2, 2, None]}, "failed",
         ("1 values of 'user' are in more than one split, such as 2. Split by this column: "
         "by_hash(user, ...).")),
        (LabelShare(min=0.5, max=0.5), {}, "passed", "50.0000% of 4 labels are positive."),
        (LabelShare(max=0.6), {"label": [True, True, None, False]}, "failed",
         "66.6667% of 3 labels are positive; accepted are 0.0000% to 60.0000%."),
        (LabelShare(), {"label": pa.array([None] * 4, pa.bool_())}, "failed",
         "no row has a label."),
        # columns that only the rows have which the output is made from
        (NullShare("bid", max=0.1), {}, "failed",
         "2 of 4 rows (50.00%) are null; at most 10.00% are accepted."),
        (Unique("user", "at"), {}, "passed", "every row is the only one of its kind."),
        (Unique("ad"), {}, "failed", "1 combinations of 'ad' occur more than once, in 3 rows."),
    ],
)  # fmt: skip
def test_a_check_finds(
    room: Callable[..., Room],
    check: Check,
    columns: dict[str, Any],
    status: str,
    message: str,
) -> None:
    assert [] == check.mistakes(SCOPE)
    assert [(status, message)] == told(room(**columns).run(check))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (80, "80 rows."),
        (79, ("79 rows; 21.0% fewer than the 100 of the version before, and at most 20.0% are "
         "accepted.")),
    ],
)  # fmt: skip
def test_rows_may_drop_by_a_share_of_the_version_before(
    room: Callable[..., Room], rows: int, message: str
) -> None:
    empty = room(**{name: [values[0]] * rows for name, values in ROWS.items()})

    results = empty.run(RowCount(max_drop=0.2), previous_rows=100)

    assert message == results.all[0].message


def test_an_output_without_rows_needs_a_minimum_of_0(room: Callable[..., Room]) -> None:
    empty = room(**{name: pa.array([], pa.array(values).type) for name, values in ROWS.items()})

    results = empty.run(RowCount(), RowCount(min=0), InRange("price", min=0), NoDuplicates())

    assert ["failed", "passed", "skipped", "passed"] == [r.status for r in results.all]
    assert "0 rows; at least 1 must be there; the filters removed all." == results.all[0].message


def test_checks_of_the_same_rows_are_one_query(room: Callable[..., Room]) -> None:
    full = room()

    results = full.run(
        RowCount(), NullShare("price", max=0), NoNan("price"), OneOf("country", ["JP"]),
        LabelShare(), Unique("user"), NullShare("bid", max=1.0),
    )  # fmt: skip

    assert 7 == len(results.all)
    assert 3 == len(full.queries)


def test_results_arrive_one_by_one_and_failures_are_listed_once(
    room: Callable[..., Room],
) -> None:
    seen: list[CheckResult] = []
    results = Results("Ctr", report=seen.append)

    run_checks(
        [RowCount(min=9), NoDuplicates(), NullShare("bid", max=0.1)],
        room().ground(),
        room().query_all,
        results,
    )
    with pytest.raises(CheckFailed) as raised:
        results.raise_failures()

    assert results.all == seen == raised.value.results
    assert (
        "2 checks of dataset 'Ctr' failed:\n"
        "  RowCount: 4 rows; at least 9 must be there.\n"
        "  NullShare(bid): 2 of 4 rows (50.00%) are null; at most 10.00% are accepted."
    ) == str(raised.value)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (str(raised.value), raised.value.results) == (str(copy), copy.results)


@pytest.mark.parametrize(
    ("of_check", "of_session", "status"),
    [
        ("raise", None, "failed"),
        ("warn", None, "warned"),
        ("warn", "raise", "failed"),
        ("raise", "warn", "warned"),
    ],
)
def test_on_fail_of_the_session_wins(
    room: Callable[..., Room], of_check: OnFail, of_session: OnFail | None, status: str
) -> None:
    full, check = room(), RowCount(min=9, on_fail=of_check)
    if status == "warned":
        with pytest.warns(CheckWarning, match="'Ctr', RowCount: 4 rows; at least 9 must"):
            results = full.run(check, on_fail=of_session)
        results.raise_failures()
    else:
        results = full.run(check, on_fail=of_session)

    assert [status] == [result.status for result in results.all]


def test_a_query_that_the_data_breaks_fails_its_checks_alone(room: Callable[..., Room]) -> None:
    full = room()

    def query(sql: str) -> pa.Table:
        if "GROUP BY" in sql:
            raise DataError("File 'x' is damaged.")
        return full.query(sql)

    results = Results("Ctr")
    run_checks([Unique("user"), RowCount()], full.ground(), partial(one_by_one, query), results)

    assert [("passed", "4 rows."), ("failed", "File 'x' is damaged.")] == told(results)


class TestNoSinglePredictor:
    @pytest.mark.parametrize(
        ("columns", "status", "best"),
        [
            ({"price": [9.0, 1.0, 8.0, 2.0]}, "failed", "'price' (1.0000)"),
            ({"price": [1.0, 9.0, 2.0, 8.0]}, "failed", "'price' (1.0000)"),
            ({"price": [None, 1.0, None, 2.0]}, "failed", "'price' (1.0000)"),
            ({"price": [NAN, 1.0, NAN, 2.0]}, "failed", "'price' (1.0000)"),
            # one of four pairs is in the wrong order, one is a tie
            ({"price": [3.0, 2.0, 2.0, 1.0]}, "passed", "'price' (0.8750)"),
        ],
    )
    def test_finds_what_orders_the_labels(
        self, room: Callable[..., Room], columns: dict[str, Any], status: str, best: str
    ) -> None:
        still = {"user": [1, 1, 1, 1], "day": [dt.date(2026, 1, 1)] * 4}

        results = room(**still, **columns).run(NoSinglePredictor())

        assert status == results.all[0].status
        assert best in results.all[0].message

    def test_takes_rare_texts_together(self, room: Callable[..., Room]) -> None:
        labels = [index % 2 == 0 for index in range(80)]
        still = {
            "user": [1] * 80,
            "price": [1.0] * 80,
            "day": [dt.date(2026, 1, 1)] * 80,
            "label": labels,
            "split": ["train"] * 80,
        }
        rare = [str(index) for index in range(80)]
        frequent = ["yes" if label else "no" for label in labels]

        results = [
            room(country=texts, **still).run(NoSinglePredictor()).all[0]
            for texts in (rare, frequent)
        ]

        assert ["passed", "failed"] == [result.status for result in results]
        assert "'country' (1.0000)" in results[1].message

    def test_has_nothing_to_say_about_one_class(self, room: Callable[..., Room]) -> None:
        assert "skipped" == room(label=[True] * 4).run(NoSinglePredictor()).all[0].status


class TestFresh:
    @pytest.mark.parametrize(
        ("end", "status", "message"),
        [
            (dt.date(2026, 1, 5), "passed", ("the newest row is of 2026-01-04T00:00:00+00:00, "
             "1 day, 0:00:00 before the end.")),
            # what is newer than the period does not count
            (dt.date(2026, 1, 4), "passed", ("the newest row is of 2026-01-03T00:00:00+00:00, "
             "1 day, 0:00:00 before the end.")),
            (dt.datetime(2026, 1, 5, 0, 0, 1, tzinfo=dt.UTC), "failed", ("the newest row is of "
             "2026-01-04T00:00:00+00:00, 1 day, 0:00:01 before the end; at most 1 day, 0:00:00 "
             "are accepted.")),
            (dt.date(2026, 1, 1), "failed", "table 'Imp' has no row before the end."),
        ],
    )  # fmt: skip
    def test_looks_from_the_end_of_the_period(
        self, room: Callable[..., Room], end: dt.date, status: str, message: str
    ) -> None:
        results = room().run(Fresh("Imp", dt.timedelta(days=1)), end=end)

        assert [(status, message)] == told(results)

    def test_looks_from_now_without_a_period(self, room: Callable[..., Room]) -> None:
        results = room().run(Fresh("Imp", dt.timedelta(days=36500)))

        assert ["passed"] == [result.status for result in results.all]


def test_times_outside_the_period_are_counted(room: Callable[..., Room]) -> None:
    outside = Column("at", UTC).between(*(at(day) for day in (2, 4)))
    inside = Column("at", UTC) >= at(1)
    sources = {"imp": '"Imp"', "click": '"Imp"'}

    ((status, message),) = told(room().run(TimeCutoff(), cutoffs={"imp": outside}))
    assert "failed" == status
    assert "2 of 4 rows of 'imp' have a time outside of the period" in message
    assert "Leave them out with where()" in message

    found = room().run(TimeCutoff(), cutoffs={"imp": inside, "click": outside}, sources=sources)
    ((status, message),) = told(found)
    assert "failed" == status
    assert message.startswith("2 of 4 rows of 'click' have a time outside of the period")
    assert "Give its between() by= the column of time" in message

    both = {"imp": inside, "click": inside}
    assert [("passed", "8 rows are inside the period.")] == told(
        room().run(TimeCutoff(), cutoffs=both, sources=sources)
    )
    assert ["skipped"] == [each.status for each in room().run(TimeCutoff()).all]


def test_ties_and_multiplied_rows_are_found_whatever_the_session_says(
    room: Callable[..., Room],
) -> None:
    ties = {"a": "SELECT 1 AS n", "b": "SELECT 1 AS n WHERE FALSE"}
    matches = {
        "once": "(VALUES (0), (1), (1)) AS m (matches)",
        "twice": "(VALUES (0), (2), (1)) AS m (matches)",
        "none": "(SELECT 1 AS matches WHERE FALSE) AS m",
    }
    checks = [
        *(NoTies("a"), NoTies("b")),
        *(NotMultiplied("once", 1.0, keeps_all=True), NotMultiplied("none", 1.0, keeps_all=True)),
        *(
            NotMultiplied("twice", 1.0, keeps_all=True),
            NotMultiplied("twice", 1.0, keeps_all=False),
        ),
        *(NotMultiplied("twice", 1.3, keeps_all=True), NotMultiplied("twice", 1.4, keeps_all=True)),
    ]

    results = room().run(*checks, on_fail="warn", ties=ties, matches=matches)

    status = {(r.name, r.message.split(" (")[0]): r.status for r in results.all}
    assert {
        ("NoTies(a)", NoTies("a").judge({"ties": 1}, room().ground()).message): "failed",
        ("NoTies(b)", "every key has one row of a time."): "passed",
        ("NotMultiplied(once)", "3 rows become 3."): "passed",
        ("NotMultiplied(none)", "0 rows become 0."): "passed",
        ("NotMultiplied(twice)", "3 rows become 4"): "failed",
        ("NotMultiplied(twice)", "3 rows become 3"): "failed",
        ("NotMultiplied(twice)", "3 rows become 4."): "passed",
    } == status


def test_matched_counts_rows_that_find_something(room: Callable[..., Room]) -> None:
    matches = {"ad": "(SELECT 0 AS matches UNION ALL SELECT 1 UNION ALL SELECT 5) AS m"}

    results = room().run(Matched("ad", 0.6), Matched("ad"), matches=matches)

    assert [
        ("passed", "2 of 3 rows (66.67%) have a match."),
        ("failed", "2 of 3 rows (66.67%) have a match; at least 100.00% must have one."),
    ] == told(results)


@pytest.mark.parametrize(
    ("facts", "status", "message"),
    [
        (TableFacts(table="Imp", rows={"dt=1": 5}), "passed", "1 partitions have 5 rows."),
        (TableFacts(table="Imp", expected=["dt=1", "dt=2"], present=frozenset({"dt=2"})),
         "failed", "1 of 2 partitions are missing: dt=1."),
        (TableFacts(table="Imp", rows={"dt=1": 5, "dt=2": 0}), "failed",
         "1 partitions have no rows: dt=2."),
        (TableFacts(table="Imp", num_files=2, rows={"dt=1": 0, "dt=2": 0}), "failed",
         "none of 2 files has a row."),
        (TableFacts(table="Imp", expected=[f"dt={day}" for day in range(9)]), "failed",
         "9 of 9 partitions are missing: dt=0, dt=1, dt=2, dt=3, dt=4, and 4 more."),
    ],
)  # fmt: skip
def test_partitions_exist_and_have_rows(facts: TableFacts, status: str, message: str) -> None:
    assert Verdict(status, message) == PartitionsExist().judge_table(facts)  # type: ignore[arg-type]


def test_tables_are_listed_and_as_declared() -> None:
    fine = TableFacts(table="Imp", num_files=2, num_bytes=1000)
    gone = TableFacts(table="Imp", error="No file matches.")
    odd = TableFacts(table="Imp", complaints=["Column 'a' is missing.", "Column 'b' is int8."])

    assert "2 files of 1,000 bytes." == Listed("Imp").judge_table(fine).message
    assert Verdict("failed", "No file matches.") == Listed("Imp").judge_table(gone)
    assert Verdict("failed", "No file matches.") == AsDeclared("Imp").judge_table(gone)
    assert "passed" == AsDeclared("Imp").judge_table(fine).status
    assert (
        "Column 'a' is missing. Column 'b' is int8." == AsDeclared("Imp").judge_table(odd).message
    )


class TestCustom:
    def run(self, room: Room, check: Custom, on_fail: OnFail | None = None) -> Results:
        results = Results("Ctr", on_fail=on_fail)
        run_custom([check], CheckedOutput(room.query, tuple(ROWS), 4), results)
        return results

    def test_looks_at_the_output(self, room: Callable[..., Room]) -> None:
        def no_japan(output: CheckedOutput) -> str | None:
            found = output.query("SELECT count(*) AS n FROM output WHERE country = 'JP'")
            assert 2 == output.sample(2).num_rows
            return f"{found['n'][0]} of {output.num_rows} rows are of Japan."

        results = self.run(room(), Custom(no_japan))

        assert [("failed", "2 of 4 rows are of Japan.")] == told(results)
        assert "no_japan" == results.all[0].name
        assert ["fine"] == [
            result.name for result in self.run(room(), Custom(lambda _: None, "fine")).all
        ]

    def test_its_own_error_goes_on_with_a_note(self, room: Callable[..., Room]) -> None:
        with pytest.raises(ZeroDivisionError) as raised:
            self.run(room(), Custom(lambda _: str(1 // 0), "odd"))

        assert ["In check 'odd' of the output."] == raised.value.__notes__

    def test_gives_none_or_a_text(self, room: Callable[..., Room]) -> None:
        with pytest.raises(ConfigError, match="gave False; its function must give None"):
            self.run(room(), Custom(lambda _: False, "odd"))  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (NullShare("prise", max=0.1), "there is no column 'prise'. Did you mean 'price'?"),
        (Unique("country", "at"), "'country', 'at' stand neither all in the output nor all in"),
        (NoNan("user"), "column 'user' is int64, which has no NaN."),
        (InRange("price", max="high"), "is 'high'; it must be of type float64"),
        (InRange("label", max=True), "does not order such values"),
        (OneOf("user", ["a"]), "is 'a'; it must be of type int64."),
        (Matched("imp"), "'imp' is not joined to the rows. Its lookups are 'ad'."),
        (Fresh("Im", dt.timedelta(1)), "the dataset uses no table 'Im'. Did you mean 'Imp'?"),
        (Fresh("Ad", dt.timedelta(1)), "table 'Ad' has no time column; declare it with time=."),
        (PartitionsExist("Im"), "the dataset uses no table 'Im'. Did you mean 'Imp'?"),
        (NoEntityOverlap("usr"), "the output has no column 'usr'. Did you mean 'user'?"),
    ],
)
def test_mistakes_are_found_before_anything_runs(check: Check, message: str) -> None:
    mistakes = check.mistakes(SCOPE)

    assert 1 == len(mistakes)
    assert message in mistakes[0]


def test_all_mistakes_are_refused_at_once() -> None:
    bare = Scope(features={"user": INT})

    with pytest.raises(ConfigError) as raised:
        refuse_mistaken("Ctr", [LabelShare(), NoEntityOverlap("user"), RowCount()], bare)

    assert (
        "Dataset 'Ctr' has 2 mistakes:\n"
        "  check LabelShare: the dataset has no label; add one, or leave this check out.\n"
        "  check NoEntityOverlap(user): the dataset has no split; add one, or leave this check out."
    ) == str(raised.value)
    with pytest.raises(ConfigError, match="Dataset 'Ctr', check LabelShare: the label 'x' is str"):
        refuse_mistaken("Ctr", [LabelShare()], Scope(features={}, label=("x", STRING)))
    refuse_mistaken("Ctr", [RowCount()], bare)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RowCount(min=-1), "min is -1"),
        (lambda: RowCount(min=5, max=4), "min is 5 and max is 4"),
        (lambda: RowCount(max_drop=1.5), "max_drop is 1.5; it must be a share from 0 to 1"),
        (
            lambda: RowCount(on_fail="ignore"),  # type: ignore[arg-type]
            "'ignore'; it must be 'raise' or 'warn'",
        ),
        (lambda: NullShare("a", max=True), "max is True"),
        (lambda: LabelShare(min=-0.1), "min is -0.1"),
        (lambda: Matched("a", 2), "min_share is 2"),
        (lambda: InRange("a"), "has no bounds"),
        (lambda: OneOf("a", []), "accepts no values"),
        (Unique, "has no columns"),
        (lambda: NoSinglePredictor(max_auc=0.4), "max_auc is 0.4; it must be from 0.5 to 1"),
    ],
)
def test_a_check_refuses_what_means_nothing(make: Callable[[], Check], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def is_fine(output: CheckedOutput) -> str | None:
    return None


ALL = [
    Custom(is_fine, "fine"),
    Fresh("Imp", dt.timedelta(hours=36)),
    InRange("price", min=0, max=1.5),
    InRange("day", max=dt.date(2026, 1, 1)),
    LabelShare(min=0.1),
    Matched("ad", 0.9),
    NoDuplicates(),
    NoEntityOverlap("user"),
    NoNan("price"),
    NoSinglePredictor(max_auc=0.9),
    NullShare("price", max=0.1, on_fail="warn"),
    OneOf("country", ["JP", "no"]),
    PartitionsExist("Imp"),
    PartitionsExist(),
    RowCount(min=5, max_drop=0.5),
    TimeCutoff(on_fail="warn"),
    Unique("user", "day", on_fail="warn"),
]


@dataclass(frozen=True)
class Even(Check):
    """A check of one's own."""

    within: dt.timedelta
    names: tuple[str, ...] = ()
    seen: int = field(default=0, init=False)


class TestConfig:
    @pytest.mark.parametrize("check", ALL, ids=lambda check: check.name)
    def test_the_way_back_gives_an_equal_check(
        self, check: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if isinstance(check, Custom):
            monkeypatch.setattr(is_fine, "__module__", "os.path")
            monkeypatch.setattr("os.path.is_fine", is_fine, raising=False)

        given = check.to_config()
        back = check_from_config(read_yaml(write_yaml(given)))

        assert type(check) is type(back)
        assert given == back.to_config()

    def test_every_kind_has_the_way_back(self) -> None:
        assert set(KINDS.values()) == {type(check) for check in ALL}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("RowCount", "checks.0 is 'RowCount'; it must be a mapping with the key 'check'."),
            ({"check": "RowCont"}, "checks.0.check is 'RowCont'. Did you mean 'RowCount'?"),
            ({"check": "RowCount", "mni": 1}, "checks.0.mni is not known to RowCount. Did you me"),
            ({"check": "NullShare", "max": 1}, "checks.0.column is missing; NullShare needs it."),
            ({"check": "Fresh", "table": "a"}, "checks.0.max_age_s is missing; Fresh needs it."),
            ({"check": "RowCount", "min": "5"}, "checks.0 of kind RowCount is not understood: "),
            ({"check": "Custom", "function": "os:nothing"}, "checks.0.function is 'os:nothing'"),
            ({"check": "Custom", "function": "os"}, "checks.0.function is 'os'; it must be"),
            ({"check": "os:sep"}, "checks.0.check is 'os:sep', which is no class below Check."),
            ({"check": "os:Nothing"}, "checks.0.check is 'os:Nothing', which cannot be found"),
            ({"check": f"{__name__}:Even", "odd": 1}, ".odd is not known to "),
            ({"check": "Custom", "function": "os:sep"}, "it must be a function"),
            ({"check": "Custom", "function": "no_such_:x"}, "cannot be found: No module"),
        ],
    )
    def test_what_is_not_understood_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(ConfigError) as raised:
            check_from_config(given, "checks.0")

        assert message in str(raised.value)

    def test_a_function_without_a_name_has_no_way_back(self) -> None:
        given = Custom(lambda _: None).to_config()

        with pytest.raises(ConfigError, match="define it at the top of a module"):
            check_from_config(given)

    def test_a_class_of_ones_own_is_found_in_its_module(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Even, "__module__", "os.path")
        monkeypatch.setattr("os.path.Even", Even, raising=False)
        check = Even(within=dt.timedelta(hours=1), names=("a", "b"), on_fail="warn")

        given = read_yaml(write_yaml(check.to_config()))

        assert {"check": "os.path:Even", "within_s": 3600.0, "names": ["a", "b"]} == {
            key: value for key, value in given.items() if key != "on_fail"
        }
        back = check_from_config(given)
        assert check == back
        assert hash(check) == hash(back)

    def test_a_class_inside_a_function_has_no_way_back(self) -> None:
        class Inner(Check):
            pass

        with pytest.raises(ConfigError, match="define it at the top of a module"):
            check_from_config(Inner().to_config())


HOSTILE: dict[str, list[Any]] = {
    "user": [1, 2, 2, None],
    "price": [1.0, NAN, 2.0, NAN],
    "country": ["JP", None, "o'x", "日本"],
    "label": [True, None, False, False],
}


@pytest.mark.needs_spark
def test_spark_says_the_same(room: Callable[..., Room], tmp_path: Path, spark: Any) -> None:
    full = room(**HOSTILE)
    own = spark.newSession()
    for key, value in SPARK_SETTINGS.items():
        own.conf.set(key, value)
    for name in full.tables:
        own.read.parquet(str(tmp_path / f"{name}.parquet")).createOrReplaceTempView(name)
    checks = [
        *(check for check in ALL if not isinstance(check, Custom | PartitionsExist | Matched)),
        *(InRange("price", max=100), NoNan("price"), Unique("country"), LabelShare(max=0.1)),
        *(OneOf("country", ["o'x"]), NullShare("bid", max=0.1), Unique("user", "at")),
    ]
    results = Results("Ctr", on_fail="raise")
    period = {"cutoffs": {"imp": Column("at", UTC) >= at(2)}, "end": dt.date(2026, 1, 9)}
    views = {"sources": {"imp": "`Imp`"}, "tables": {"Imp": "`Imp`"}}

    run_checks(
        checks,
        full.ground(dialect=SPARK, **views, **period),
        partial(one_by_one, lambda sql: own.sql(sql).toArrow()),
        results,
    )

    assert sorted(told(full.run(*checks, on_fail="raise", **period))) == sorted(told(results))
    assert {"passed", "failed"} <= {result.status for result in results.all}
