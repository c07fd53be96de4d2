import math
from typing import Any

import pytest

from tadka.task.look.card import card
from tadka.task.look.view import View, views_of
from tadka.task.plan import Step
from tests.unit.task.look.made import (
    EVIL,
    Day,
    Elements,
    Fit,
    Joined,
    Named,
    Shop,
    chain,
    entry,
    execution,
    fit,
    mixed,
    plan_of,
    stored,
)


def card_of(cls: type, *, log: str = "", step: Any = mixed, days: int = 3, **run: Any) -> Elements:
    """The card of the last task of a class; `run` is what its run did."""
    plan = plan_of(fit(days), step=step)
    node = [node for node in plan.graph if type(node.task) is cls][-1]
    views = views_of(plan, {node.id: execution(node, **run)} if run else {})
    anchors = frozenset(view.anchor for view in views)
    found = Elements(card(views[node.index], views=views, anchors=anchors, log=lambda _: log))
    assert [] == found.open
    return found


def test_what_a_stored_task_is_and_came_out() -> None:
    found = card_of(Joined, step=stored, status="ran", metrics={"auc": 0.71234})

    for text in (
        "Joined", "day=2026-01-03", "stored", "20k rows", "3 MiB", "300 MiB", "version 2",
        "2 CPU, 4 GiB memory, 1 GPU, at most 60 s", "2026-09-21 14:13:20 UTC", "seed 7", "run r1",
        "window default 7", "Needs", "clicks", "shop", "Needed by", "Fit", "lr=0.05",
        ".parquet, 3 MiB, 20,000 rows, 4 columns, 625 KiB in memory", "int64",
        "is_sane error passed", "is_full warn passed", "auc 0.71234",
        "code c0dec0dec0de", "Code: 2 pieces", "shop.helpers.clean",
    ):  # fmt: skip
        assert text in found.text, text
    assert "Why" not in found.text
    assert 0 == found.count("details", "open")


def test_parameters_say_what_does_not_count_and_what_they_are_for() -> None:
    text = card_of(Day).text

    assert "Clicks of a day." in text
    assert "As the log server" not in text
    assert (
        "bucket Where logs are.; not significant: another value makes no other result logs" in text
    )


def test_why_it_runs_stands_beside_the_result_before() -> None:
    plan_text = card_of(Fit, step=mixed).text
    assert "Why it may run input days[1] is made before" in plan_text

    def running(node: Any) -> Any:
        step = mixed(node)
        return type(step)(node, "runs", step.entry, ("forced",))

    found = card_of(Joined, step=running)
    assert "Why it runs forced" in found.text
    assert "time, before" in found.text
    assert "Output, before" in found.text
    assert "is_sane error not run" in found.text


def test_a_failure_shows_its_error_and_the_end_of_its_log() -> None:
    log = "\x1b[31mred\x1b[0m\n" + "".join(f"line {number}\n" for number in range(100))
    found = card_of(
        Fit, status="failed", attempt=3, log=log,
        error="Traceback (most recent call last):\n  <b>\nKeyError: 'item'",
    )  # fmt: skip

    assert "Failed with" in found.text
    assert "KeyError: 'item'" in found.text
    assert "attempts 3" in found.text
    assert 1 == found.count("pre", "failure")
    assert 0 == found.count("pre", "log"), "the run has no log"


def test_the_end_of_a_log_is_shown_where_there_is_one() -> None:
    plan = plan_of(chain(1))
    (node,) = plan.graph
    text = "\x1b[31mred\x1b[0m\n" + "".join(f"line {number} <b>\n" for number in range(100))
    views = views_of(plan, {node.id: execution(node, log="logs/r1/Named.txt")})
    found = Elements(card(views[0], views=views, anchors=frozenset(), log=lambda _: text))

    assert "end of logs/r1/Named.txt" in found.text
    assert "after 71 lines" in found.text
    assert "line 70 <b>" in found.text
    assert "line 69 <b>" not in found.text
    empty = Elements(card(views[0], views=views, anchors=frozenset(), log=lambda _: " \n"))
    assert "Log" not in empty.text


@pytest.mark.parametrize(
    ("told", "name"),
    [({"error": "Check Joined.is_sane failed.", "status": "failed"}, "is_sane"),
     ({"status": "ran", "details": {"warnings": ["check is_full failed"]}}, "is_full")],
)  # fmt: skip
def test_checks_that_failed_are_marked(told: dict[str, Any], name: str) -> None:
    def step(node: Any) -> Any:
        found = stored(node)
        if told["status"] == "failed" and type(node.task) is Joined:
            return type(found)(node, "runs", None, ("never built",))
        return found

    found = card_of(Joined, step=step, **told)
    marks = [place for place, (tag, a) in enumerate(found.found) if a.get("class") == "tag"]

    assert 1 == len(marks)
    assert f"{name} {'error failed' if name == 'is_sane' else 'warn warned'}" in found.text


def test_many_neighbours_are_counted() -> None:
    found = card_of(Fit, step=stored, days=60)

    assert "and 36 more" in found.text
    assert 24 == sum(text.startswith("#t-") for text in found.values("href"))
    shop = card_of(Shop, step=stored, days=60)
    assert "and 36 more" in shop.text


def test_a_task_in_two_places_is_told_once() -> None:
    class Pair(Fit):
        out = Fit.out

    task = fit(1)
    pair = Pair(days=[task.days[0], task.days[0]])
    views = views_of(plan_of(pair))
    found = Elements(card(views[-1], views=views, anchors=frozenset(), log=lambda _: ""))

    assert "days[0]" in found.text
    assert "and 1 more" in found.text
    assert 0 == len(found.values("href")), "no card, no link"


def test_what_a_body_asked_for_is_told() -> None:
    needs = {
        "tasks": [
            {
                "id": "a",
                "task": "shop.Day",
                "fields": {"day": "2026-01-01", "other": {"task": "b"}},
            },
            {"id": "b", "task": "shop.Deeper", "fields": {}},
        ],
        "contents": {"a": "0" * 64},
    }
    plan = plan_of(chain(1), step=lambda n: Step(n, "stored", entry(n, parts={"needs": needs}), ()))
    views = views_of(plan)
    found = Elements(card(views[0], views=views, anchors=frozenset(), log=lambda _: ""))

    assert "Asked for while it ran task Day day=2026-01-01, other={task: b}" in found.text
    assert "Deeper" not in found.text


def test_all_text_is_escaped() -> None:
    task = Named(name=EVIL, before=Named(name="\u202e\ud800" + EVIL))
    plan = plan_of(
        task,
        step=lambda node: type(stored(node))(
            node, "other code",
            entry(node, run=EVIL, key=EVIL, parts={"code_parts": {EVIL: "1"}}, approved_from=EVIL,
                  created_at=1e30, outputs=()),
            (EVIL, "z" * 900),
        ),
    )  # fmt: skip
    plots = [{"x": EVIL, "y": EVIL, "points": [[EVIL, 1], [2, EVIL]]}]
    runs = {
        node.id: execution(
            node, status="failed", run=EVIL, error=EVIL, log=EVIL, seconds=math.inf,
            metrics={EVIL: EVIL}, details={"kind": EVIL, "plots": plots},
        )
        for node in plan.graph
    }  # fmt: skip
    views: list[View] = views_of(plan, runs)
    for view in views:
        text = card(view, views=views, anchors=frozenset(), log=lambda _: EVIL)
        text.encode()
        found = Elements(text)
        assert [] == found.open
        assert 0 == found.count("script") == found.count("img")
        assert not [n for _, a in found.found for n in a if n.startswith("on") or n == "src"]
