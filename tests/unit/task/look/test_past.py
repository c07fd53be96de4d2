from pathlib import Path

from tadka.task.look.past import executions_of, log_reader
from tadka.task.plan import Plan, Step, plan
from tadka.task.store.row import Execution, RunRow
from tadka.task.store.store import Store
from tests.unit.task.look.made import AT, chain, plan_of
from tests.unit.task.made import make


def failed(id_: str, run: str, at: float, attempt: int = 1) -> Execution:
    return Execution(run, "x", id_, "failed", at, 1.0, attempt=attempt, error=f"of {run}")


def add(store: Store, run: str, *executions: Execution) -> None:
    store.index.begin_run(RunRow(run, "x", "x", AT))
    store.index.add([], executions)
    store.index.end_run(run, "ok", AT)


def test_of_what_is_stored_the_run_that_made_it_and_else_the_last(tmp_path: Path) -> None:
    task = chain(3)
    first, second = plan_of(task).graph.nodes[:2]
    with Store(tmp_path) as store:
        make(store, first.task, run="r1", at=AT, metrics={"auc": 0.5})
        add(
            store, "r2",
            failed(first.id, "r2", AT + 1), failed(second.id, "r2", AT + 1),
            failed(task.id, "r2", AT + 1, attempt=2), failed(task.id, "r2", AT + 1),
            Execution("r2", "x", "of another graph", "ran", AT, 1.0),
        )  # fmt: skip
        add(
            store, "r3",
            failed(second.id, "r3", AT + 2), Execution("r3", "x", task.id, "skipped", AT + 2, 0.0),
        )  # fmt: skip
        found = executions_of(plan(task, store=store), store)

    assert {first.id, second.id, task.id} == set(found)
    assert ("ran", "r1", {"auc": 0.5}) == (
        found[first.id].status, found[first.id].run, found[first.id].metrics
    )  # fmt: skip
    assert "r3" == found[second.id].run
    assert ("r2", 2) == (found[task.id].run, found[task.id].attempt)


def test_runs_that_made_results_are_found_however_old(tmp_path: Path) -> None:
    task = chain(1)
    with Store(tmp_path) as store:
        make(store, task, run="old", at=AT)
        for number in range(5):
            add(store, f"r{number}")
        found = executions_of(plan(task, store=store), store, num_runs=2)

    assert "old" == found[task.id].run


def test_nothing_is_known_of_a_workspace_that_is_not_there(tmp_path: Path) -> None:
    empty = plan_of(chain(2), step=lambda node: Step(node, "runs", None, ()))

    assert isinstance(empty, Plan)
    assert {} == executions_of(empty, Store(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_logs_are_read_from_their_end_and_only_below_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    logs = tmp_path / "workspace" / "logs"
    logs.mkdir(parents=True)
    (logs / "short.txt").write_text("short\n")
    (logs / "long.txt").write_bytes(b"x" * 200_000 + b"\xff end")

    def read(log: str | None) -> str:
        return log_reader(Store(tmp_path / "workspace"))(
            Execution("r", "x", "x", "ran", AT, 1.0, log=log)
        )

    assert "short\n" == read("logs/short.txt")
    assert read("logs/long.txt").endswith("xx\ufffd end")
    assert 65_536 == len(read("logs/long.txt"))
    assert ["", "", "", "", ""] == [
        read(log)
        for log in (None, "logs/none.txt", "../secret.txt", str(tmp_path / "secret.txt"), "logs")
    ]
