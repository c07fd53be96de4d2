from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.task.define.run import Run
from tadka.task.define.task import Part, Task
from tadka.task.output.out import Out, check
from tadka.task.testing import run_empty


class Clicks(Task[pl.DataFrame]):
    day: int = 1
    out = Out("parquet", columns={"user": int, "item": str}, min_rows=1)

    def run(self) -> pl.DataFrame:
        raise AssertionError("the real source is not read")


class Counts(Task[pl.DataFrame]):
    clicks: Clicks
    out = Out("parquet", columns={"user": int, "n": "uint32"}, min_rows=1)

    @check
    def has_users(self, frame: pl.DataFrame) -> bool:
        return len(frame) > 0

    def run(self, clicks: pl.DataFrame) -> pl.DataFrame:
        return clicks.group_by("user").agg(pl.len().alias("n"))


class Mean(Task[float]):
    counts: Task[pl.DataFrame]

    def run(self, counts: pl.DataFrame) -> float:
        return float(counts["n"].sum()) / len(counts)


class Report(Task[str]):
    mean: Mean
    counts: Counts

    def run(self, mean: float, counts: pl.DataFrame) -> str:
        return f"{mean} of {len(counts)}"


class Broken(Task[pd.DataFrame]):
    clicks: Clicks
    out = Out("parquet", columns={"user": int})

    def run(self, clicks: pl.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            {"user": [row[0] for row in clicks.rows()]}
        )  # floats, where there are no rows


class After(Task[int]):
    broken: Broken

    def run(self, broken: pd.DataFrame) -> int:
        return len(broken)


def statuses(tasks: Any, **settings: Any) -> dict[str, str]:
    found = run_empty(tasks, **settings).results.values()
    return {type(result.task).__name__: result.status for result in found}


def test_bodies_run_on_frames_without_rows() -> None:
    assert {"Clicks": "replaced", "Counts": "passed"} == statuses(Counts(clicks=Clicks()))


def test_the_report_says_who_broke_and_goes_on() -> None:
    counts = Counts(clicks=Clicks())
    report = run_empty(
        [Report(mean=Mean(counts=counts), counts=counts), After(broken=Broken(clicks=Clicks()))]
    )

    assert {
        "Clicks": "replaced",
        "Counts": "passed",
        "Mean": "failed",
        "Report": "skipped",
        "Broken": "failed",
        "After": "passed",  # Broken declares its columns, so an empty frame stands for it
    } == {type(r.task).__name__: r.status for r in report.results.values()}
    assert not report.is_ok
    assert "6 tasks on empty frames: 1 replaced, 2 passed, 2 failed, 1 skipped." in str(report)
    assert "broke: ZeroDivisionError: float division by zero" in str(report)
    assert "Column 'user' of Broken.out is declared as int and is float64" in str(report)
    trace = report.failures[0].traceback
    assert 'return float(counts["n"].sum()) / len(counts)' in trace
    assert "bench.py" not in trace
    with pytest.raises(DataError, match="ZeroDivisionError"):
        report.raise_failures()
    assert ["failed", "failed"] == [r["status"] for r in report.to_json() if r["error"]]


def test_a_good_graph_raises_nothing() -> None:
    report = run_empty(Counts(clicks=Clicks()))

    report.raise_failures()

    assert report.is_ok


def test_values_can_be_given_by_task_and_by_class() -> None:
    counts = Counts(clicks=Clicks())
    full = pl.DataFrame({"user": [1], "n": [2]}, schema_overrides={"n": pl.UInt32})

    assert {"Clicks": "replaced", "Counts": "given", "Mean": "passed"} == (
        statuses(Mean(counts=counts), given={counts: full})
    )
    assert {"Clicks": "replaced", "Counts": "given", "Mean": "passed"} == (
        statuses(Mean(counts=counts), given={Counts: full})
    )


def test_a_source_without_columns_runs_as_it_is() -> None:
    class Names(Task[list[str]]):
        def run(self) -> list[str]:
            return ["a"]

    class Join(Task[int]):
        names: Names

        def run(self, names: list[str]) -> int:
            return 1 // len(names)

    assert {"Names": "passed", "Join": "passed"} == statuses(Join(names=Names()))


def test_a_check_that_raises_on_no_rows_is_told() -> None:
    class Checked(Counts):
        @check
        def is_even(self, frame: pl.DataFrame) -> bool:
            return bool(frame["n"][0] % 2 == 0)

    report = run_empty(Checked(clicks=Clicks()))

    assert "IndexError" in str(report)


def test_several_outputs_needs_and_other_libraries() -> None:
    class Two(Task[dict[str, pa.Table]]):
        clicks: Clicks
        out = {
            "left": Out("parquet", columns={"a": int}),
            "right": Out("parquet", columns={"b": str}),
        }

        def run(self, clicks: pl.DataFrame, run: Run) -> dict[str, pa.Table]:
            assert 0 == len(clicks) == len(run.need(Clicks(day=2)))
            run.dump(pa.table({"a": pa.array([1], pa.int64())}), "left")
            return {"right": pa.table({"b": pa.array([], pa.string())})}

    class Use(Task[int]):
        left: Part[pa.Table]
        both: list[Two]

        def run(self, left: pa.Table, both: list[dict[str, pa.Table]]) -> int:
            assert 0 == len(left) == len(both[0]["right"])  # rows are taken away
            return 1

    two = Two(clicks=Clicks())

    assert {"Clicks": "replaced", "Two": "passed", "Use": "passed"} == (
        statuses(Use(left=two["left"], both=[two]))
    )


def test_a_thousand_tasks_deep() -> None:
    class Next(Task[pl.DataFrame]):
        before: Task[pl.DataFrame]
        out = Out("parquet", columns={"user": int, "item": str})

        def run(self, before: pl.DataFrame) -> pl.DataFrame:
            return before

    task: Task[pl.DataFrame] = Clicks()
    for _ in range(3000):
        task = Next(before=task)

    assert run_empty(task).is_ok
