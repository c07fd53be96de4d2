import re
import time

import pytest

from tadka.task.tree import table, tree
from tests.unit.task.look.made import Day, Shop, chain, execution, fit, mixed, plan_of


def test_what_is_needed_stands_below_with_its_mark() -> None:
    plan = plan_of(fit(2), step=mixed)

    assert [
        "Fit(lr=0.05) [waiting]",
        "├─ days[0]: Joined(window=7) [other code]",
        "│  ├─ clicks: Day(day=2026-01-01, bucket=logs) [stored]",
        "│  └─ shop: Shop() [stored]",
        "└─ days[1]: Joined(window=7) [stored]",
        "   ├─ clicks: Day(day=2026-01-02, bucket=logs) [stored]",
        "   └─ shop: Shop() [stored]",
    ] == tree(plan).split("\n")


def test_a_subtree_is_told_once() -> None:
    task = fit(1)
    plan = plan_of(task, task.days[0])

    assert [
        "Fit(lr=0.05) [stored]",
        "└─ days[0]: Joined(window=7) [stored]",
        "   ├─ clicks: Day(day=2026-01-01, bucket=logs) [stored]",
        "   └─ shop: Shop() [stored]",
        "Joined(window=7) [stored] ...",
    ] == tree(plan).split("\n")


@pytest.mark.parametrize("ignored", [[Day, Shop], ["Day", "Shop"], [f"{Day.__module__}.Day", Shop]])
def test_ignored_classes_are_left_out(ignored: list[type | str]) -> None:
    plan = plan_of(fit(1))

    assert [
        "Fit(lr=0.05) [stored]",
        "└─ days[0]: Joined(window=7) [stored]",
    ] == tree(plan, ignore=ignored).split("\n")
    assert ["task", "Joined(window=7)", "Fit(lr=0.05)"] == [
        line.split()[0] for line in table(plan, ignore=ignored).split("\n")
    ]


def test_what_only_an_ignored_task_needs_is_left_out_too() -> None:
    plan = plan_of(fit(1))

    assert "Fit(lr=0.05) [stored]" == tree(plan, ignore=["Joined"])
    assert "" == tree(plan, ignore=["Fit"])
    assert 1 == len(table(plan, ignore=["Fit"]).split("\n"))


def test_many_siblings_are_told_as_a_number() -> None:
    lines = tree(plan_of(fit(30), step=mixed)).split("\n")

    assert "days[19]: Joined" in lines[-4]
    assert "└─ days: 10 more Joined [4 to run, 3 other code, 3 stored]" == lines[-1]


def test_a_deep_or_long_tree_ends_with_what_is_left_out() -> None:
    deep = tree(plan_of(chain(100))).split("\n")
    assert 42 == len(deep)
    assert deep[-2].endswith("before: Named(name=59) [stored] ...")
    assert "... 59 more tasks" == deep[-1]

    long = tree(plan_of(fit(5)), most_lines=3).split("\n")
    assert "... 9 more tasks" == long[-1]
    assert 4 == len(long)


def test_a_failed_task_is_marked() -> None:
    plan = plan_of(fit(1), step=mixed)
    (root,) = plan.graph.roots
    runs = {root.id: execution(root, status="failed", error="no")}

    assert tree(plan, executions=runs).startswith("Fit(lr=0.05) [failed]\n")
    assert "failed" in table(plan, executions=runs).split("\n")[-1]


def test_the_table_has_a_line_for_each_distinct_task() -> None:
    task = fit(2)
    lines = table(plan_of(task, step=mixed)).split("\n")

    assert 1 + 6 == len(lines)
    assert ["task", "status", "time", "rows", "size", "id"] == lines[0].split()
    shop = ["Shop()", "stored", "2.5 s", "20,000", "3 MiB", task.days[0].shop.id[:8]]
    assert shop == re.split(r"  +", lines[2])
    assert lines[-1].split()[1:5] == ["waiting", "-", "-", "-"]
    assert "... 4 more tasks" == table(plan_of(task), most_lines=2).split("\n")[-1]


def test_hostile_names_stay_in_their_line() -> None:
    task = chain(1)
    evil = type(task)(name="a\nb\x1b[31m\u202e", before=task)

    assert r"Named(name=a\nb\u001b[31m\u202e) [stored]" == tree(plan_of(evil)).split("\n")[0]


def test_a_chain_of_many_thousand_tasks_is_quick() -> None:
    plan = plan_of(chain(20_000))
    began = time.perf_counter()

    assert "... 19,959 more tasks" == tree(plan).split("\n")[-1]
    assert time.perf_counter() - began < 5
