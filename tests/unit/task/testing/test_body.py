import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.task.define.run import Run
from tadka.task.define.task import Part, Task
from tadka.task.output.out import Out, check
from tadka.task.testing import assert_frames_equal, run_with


class Clicks(Task[pd.DataFrame]):
    day: int = 1
    out = Out("parquet", columns={"user": int})

    def run(self) -> pd.DataFrame:
        raise AssertionError("nobody builds what a stub stands for")


class Features(Task[pd.DataFrame]):
    clicks: Clicks
    window: int = 7
    out = Out("parquet", columns={"user": int, "count": int}, min_rows=1)

    @check
    def is_positive(self, frame: pd.DataFrame) -> bool:
        return bool((frame["count"] > 0).all())

    @check(severity="warn")
    def is_small(self, frame: pd.DataFrame) -> bool:
        return bool((frame["count"] < 5).all())

    def run(self, clicks: pd.DataFrame) -> pd.DataFrame:
        counts = clicks.groupby("user").size()
        return counts.rename("count").reset_index()


class Several(Task[dict[str, Any]]):
    days: list[Features]
    by_name: dict[str, Clicks]
    other: Clicks | None = None
    out = {"weights": Out("json"), "report": Out("json")}

    def run(
        self, days: Iterator[pd.DataFrame], by_name: dict[str, Any], other: Any, run: Run
    ) -> dict[str, Any]:
        run.dump([len(frame) for frame in days], "weights")
        run.log(auc=0.5)
        (run.folder / "x").write_text("x")
        return {"report": {"folder": str(run.folder), "names": list(by_name), "other": other}}


class Score(Task[int]):
    weights: Part[list[int]]
    whole: Several

    def run(self, weights: list[int], run: Run) -> int:
        loaded: Any = run.load(self.whole["report"])
        return sum(weights) + int(loaded["x"]) + int(run.load(self.weights)[0])


FRAME = pd.DataFrame({"user": [1, 1, 2]})


def several() -> Several:
    return Several(days=[Features(clicks=Clicks(day=d)) for d in (1, 2)], by_name={"a": Clicks()})


def test_a_body_runs_on_a_stub() -> None:
    found = run_with(Features(clicks=Clicks()), clicks=FRAME)

    assert_frames_equal(pd.DataFrame({"count": [2, 1], "user": [1, 2]}), found)


def test_result_must_be_as_declared() -> None:
    with pytest.raises(DataError, match=r"Features\.out has 0 rows"):
        run_with(Features(clicks=Clicks()), clicks=FRAME.iloc[:0])


def test_checks_are_asked() -> None:
    class Negative(Features):
        def run(self, clicks: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"user": [1], "count": [len(clicks)]})

    with pytest.raises(DataError, match=r"Check Negative\.is_positive failed"):
        run_with(Negative(clicks=Clicks()), clicks=FRAME.iloc[:0])
    with pytest.warns(UserWarning, match=r"Check Negative\.is_small failed"):
        run_with(Negative(clicks=Clicks()), clicks=pd.concat([FRAME] * 3))


def test_what_the_body_raises_is_raised() -> None:
    with pytest.raises(KeyError, match="user"):
        run_with(Features(clicks=Clicks()), clicks=pd.DataFrame({"usr": [1]}))


def test_lists_dicts_outputs_by_name_and_the_run() -> None:
    found = run_with(several(), days=[FRAME, FRAME[:1]], by_name={"a": 1})

    assert [3, 1] == found["weights"]
    assert {"names": ["a"], "other": None} == {k: found["report"][k] for k in ("names", "other")}
    assert not Path(found["report"]["folder"]).exists()


def test_parts_and_explicit_loads() -> None:
    task = Score(weights=several()["weights"], whole=several())

    assert 1 + 2 + 4 + 1 == run_with(
        task, weights=[1, 2], whole={"weights": [9], "report": {"x": 4}}
    )


def test_needs_are_given_by_task() -> None:
    class Ask(Task[int]):
        def run(self, run: Run) -> int:
            first, second = run.need([Clicks(day=1), Clicks(day=2)])
            return int(first) + int(second) + len(run.need(several()["weights"]))

    needed = {Clicks(day=1): 3, Clicks(day=2): 4, several(): {"weights": [1]}}

    assert 8 == run_with(Ask(), needed)
    with pytest.raises(ConfigError, match="needs Clicks"):
        run_with(Ask())


def test_the_seed_is_that_of_a_build() -> None:
    class Draw(Task[float]):
        def run(self) -> float:
            return random.random()

    assert run_with(Draw()) == run_with(Draw())


def test_a_lazy_frame_stays_lazy() -> None:
    class Lazy(Task[pl.LazyFrame]):
        out = Out("parquet", columns={"a": int})

        def run(self) -> pl.LazyFrame:
            return pl.LazyFrame({"a": [1]})

    found = run_with(Lazy())

    assert isinstance(found, pl.LazyFrame)
    assert 1 == len(found.collect())


@pytest.mark.parametrize(
    ("task", "stubs", "words"),
    [
        (Features(clicks=Clicks()), {}, r"no value for the input 'clicks' of Features"),
        (Features(clicks=Clicks()), {"click": 1}, "Did you mean 'clicks'"),
        (Features(clicks=Clicks()), {"window": 1}, "'window', which is no input"),
        (several(), {"days": [1], "by_name": {"a": 1}}, "list of 1 for days, which holds 2 tasks"),
        (several(), {"days": 1, "by_name": {"a": 1}}, "'int' for days"),
        (several(), {"days": [1, 2], "by_name": {"b": 1}}, "tasks by 'a'"),
        (several(), {"days": [1, 2], "by_name": {"a": 1}, "other": 3}, "holds None, no task"),
        (Clicks(), {"x": 1}, "The class has no field with tasks"),
    ],
)
def test_wrong_stubs_are_refused(task: Task[Any], stubs: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run_with(task, **stubs)


def test_a_load_without_a_stub_is_refused() -> None:
    class Quiet(Task[int]):
        clicks: Clicks

        def run(self, run: Run) -> int:
            run.load(self.clicks)
            return 1

    with pytest.raises(ConfigError, match=r"Quiet\.run loads Clicks"):
        run_with(Quiet(clicks=Clicks()))
    assert 1 == run_with(Quiet(clicks=Clicks()), clicks=FRAME)


def test_a_part_of_a_stub_must_be_there() -> None:
    task = Score(weights=several()["weights"], whole=several())

    with pytest.raises(ConfigError, match="'int'; give a dict with 'report'"):
        run_with(task, weights=[1], whole=3)
