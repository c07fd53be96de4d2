from collections.abc import Iterator
from pathlib import Path

import pytest

from tadka.core.error import ConfigError
from tadka.task.define.task import Task
from tadka.task.history.approve import approve
from tadka.task.history.results import load
from tadka.task.plan import explain, plan
from tadka.task.store.store import Store
from tests.unit.task.made import make
from tests.unit.task.test_plan import Changed, Lines, Upper


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "ws") as made:
        yield made


def statuses(task: Task[str], store: Store) -> list[str]:
    return [step.status for step in plan(task, store=store)]


def test_a_result_of_other_code_is_bound_to_the_present_code(store: Store) -> None:
    entry = make(store, Lines(), at=1.0, codes=Changed(Lines))[Lines().id]
    assert ["runs"] == statuses(Lines(), store)

    (bound,) = approve(Lines(), workspace=store)

    assert ["stored"] == statuses(Lines(), store)
    assert (entry.key, entry.outputs) == (bound.approved_from, bound.outputs)
    assert entry.seconds == bound.seconds
    assert "approved for this code" in str(explain(Lines(), workspace=store))
    assert load(entry.key, workspace=store) == load(Lines(), workspace=store)
    assert [] == approve(Lines(), workspace=store)


def test_what_needs_an_approved_task_is_served_again(store: Store) -> None:
    task = Upper(lines=Lines())
    make(store, task, at=1.0, codes=Changed(Lines))

    assert 1 == len(approve(task.lines, workspace=store))
    assert ["stored", "stored"] == statuses(task, store)


def test_all_that_a_task_needs_is_approved_on_demand(store: Store) -> None:
    task = Upper(lines=Lines())
    make(store, task, at=1.0, codes=Changed(Lines, Upper))

    with pytest.raises(ConfigError, match=r"its input lines, Lines\(number=1\), is not stored"):
        approve(task, workspace=store)
    assert ["runs", "runs"] == statuses(task, store)

    assert 2 == len(approve(task, workspace=store, upstream=True))
    assert ["stored", "stored"] == statuses(task, store)


def test_what_more_than_the_code_of_changed_is_not_approved(store: Store) -> None:
    task = Upper(lines=Lines())
    make(store, task, at=1.0, codes=Changed(Upper, Lines))
    third = Changed(Lines, digest="third")
    make(store, Lines(), at=2.0, values={Lines().id: "new"}, codes=third)
    approve(Lines(), workspace=store)  # of another content than the one that was taken in

    with pytest.raises(ConfigError, match="more than its code changed: input lines changed"):
        approve(task, workspace=store)


def test_another_version_is_not_approved(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    make(store, Lines())
    monkeypatch.setattr(Lines, "version", "2")

    with pytest.raises(ConfigError, match="version '' -> '2'"):
        approve(Lines(), workspace=store)


def test_what_is_not_stored_is_not_approved(store: Store, tmp_path: Path) -> None:
    entry = make(store, Lines(), codes=Changed(Lines))[Lines().id]

    with pytest.raises(ConfigError, match="nothing is stored of it"):
        approve([Lines(), Lines(number=2)], workspace=store)
    assert ["runs"] == statuses(Lines(), store)

    content = entry.outputs[0].content
    (tmp_path / "ws/objects" / content[0] / content).unlink()
    with pytest.raises(ConfigError, match="gone, or damaged"):
        approve(Lines(), workspace=store)
    with pytest.raises(ConfigError, match="does not exist"):
        approve(Lines(), workspace=tmp_path / "none")


def test_a_result_of_a_class_that_was_moved_is_approved(store: Store) -> None:
    def old() -> type[Task[str]]:
        class Rows(Task[str]):
            number: int = 1

            def run(self) -> str:
                return ""

        return Rows

    class Renamed(Task[str]):
        number: int = 1

        def run(self) -> str:
            return ""

    before = old()
    path = f"{before.__module__}.{before.__qualname__}"
    make(store, *(before(number=n) for n in (1, 2)), at=1.0)

    with pytest.raises(ConfigError, match="nothing is stored"):
        approve(Renamed(number=2), workspace=store)
    (bound,) = approve(Renamed(number=2), workspace=store, moved={path: Renamed})

    assert before(number=2).id[:8] == load(Renamed(number=2), workspace=store)
    assert bound.task_id == Renamed(number=2).id
    assert ["stored"] == statuses(Renamed(number=2), store)
