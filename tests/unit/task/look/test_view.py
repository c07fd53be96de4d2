import datetime as dt
import enum
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tadka.task.define.task import Task
from tadka.task.look.view import View, names_of, parameters_of, value_text, views_of
from tadka.task.plan import Step
from tests.unit.task import shop
from tests.unit.task.look.made import Day, Fit, Joined, Named, chain, execution, fit, mixed, plan_of


class Clicks(Task[int]):
    def run(self) -> int:
        return 0


class Mode(enum.Enum):
    FAST = "f"


def view_of(views: list[View], task: Task[Any]) -> View:
    return next(view for view in views if view.task == task)


def test_labels_are_what_tells_tasks_of_a_class_apart() -> None:
    task = fit()
    views = views_of(plan_of(task))

    assert ["day=2026-01-01", "", "day=2026-01-01", "day=2026-01-02", "day=2026-01-02"] == [
        view.label for view in views[:5]
    ]
    assert "lr=0.05" == views[-1].label
    assert ["Day", "Shop", "Joined"] == [view.name for view in views[:3]]


def test_what_differs_in_what_it_needs_alone_is_told_by_it_or_by_its_id() -> None:
    class Both(Task[int]):
        days: list[Day]

        def run(self, days: list[dict[str, int]]) -> int:
            return 0

    days = [joined.clicks for joined in fit(3).days]
    both = [Both(days=days[:1]), Both(days=days[:2])]
    views = views_of(plan_of(*both))

    assert ["day=2026-01-01", f"#{both[1].id[:8]}"] == [view_of(views, b).label for b in both]
    assert "" == view_of(views_of(plan_of(both[1])), both[1]).label


def test_classes_of_one_name_bear_as_much_of_the_module_as_tells_them_apart() -> None:
    names = names_of([shop.Clicks, Clicks, Day])

    assert {shop.Clicks: "shop.Clicks", Clicks: "test_view.Clicks", Day: "Day"} == names


def test_statuses_and_figures() -> None:
    task = fit()
    plan = plan_of(task, step=mixed)
    failing = plan.graph[task.days[2]]
    runs = {failing.id: execution(failing, status="failed", seconds=9.0, peak_bytes=1, error="no")}
    views = views_of(plan, runs)
    first, second, third = (view_of(views, day) for day in task.days)

    assert ("other code", "stored", "failed") == (first.status, second.status, third.status)
    assert (True, True, False) == (first.is_stored, second.is_stored, third.is_stored)
    assert (20_000, 3 << 20, 300 << 20) == (second.num_rows, second.num_bytes, second.peak_bytes)
    assert (9.0, None, None, 1) == (
        third.seconds, third.num_rows, third.num_bytes, third.peak_bytes
    )  # fmt: skip
    last = views[-1]
    assert ("waits", None, None, None) == (
        last.status, last.seconds, last.num_bytes, last.peak_bytes
    )  # fmt: skip


def test_a_failed_run_of_what_is_stored_by_now_counts_no_more() -> None:
    plan = plan_of(chain(1))
    (node,) = plan.graph
    views = views_of(plan, {node.id: execution(node, status="failed", error="no")})

    assert "stored" == views[0].status


def test_an_unknown_status_counts_as_to_run() -> None:
    plan = plan_of(chain(1), step=lambda node: Step(node, "new word", None, ()))  # type: ignore[arg-type]

    assert "runs" == views_of(plan)[0].status


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"), ("", "''"), (1.5, "1.5"), (None, "None"), (dt.date(2026, 1, 31), "2026-01-31"),
        (Mode.FAST, "FAST"), (("a", ("b", 1)), "[a, [b, 1]]"), (frozenset({"b", "a"}), "{a, b}"),
        ({"k": dt.date(2026, 1, 1)}, "{k: 2026-01-01}"), (Path("a/b"), "a/b"),
        (types.MappingProxyType({}), "{}"), ("\u202e", r"\u202e"),
    ],
)  # fmt: skip
def test_values_read_as_people_write_them(value: Any, text: str) -> None:
    assert text == value_text(value)


def test_parameters_leave_tasks_out_and_are_short() -> None:
    named = Named(name="x" * 99, before=Named(name="y"))

    assert f"name={'x' * 39}…" == parameters_of(named)
    assert "lr=0.05" == parameters_of(fit())
    assert "" == parameters_of(fit(), [])


def test_the_parts_of_many_classes_and_a_deep_chain_are_quick() -> None:
    views = views_of(plan_of(chain(5000)))

    assert 5000 == len(views)
    assert "name=4999" == views[-1].label
    assert isinstance({view.anchor: view for view in views}, Mapping)
    assert 5000 == len({view.anchor for view in views})
    assert {Joined, Fit} == {type(v.task) for v in views_of(plan_of(fit()))[-2:]}
