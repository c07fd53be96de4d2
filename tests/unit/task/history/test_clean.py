import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError, DataError
from tadka.task.engine.build import build
from tadka.task.history.clean import gc
from tadka.task.plan import plan
from tadka.task.store.row import RunRow
from tadka.task.store.store import Store
from tests.unit.task.history.test_results import Number
from tests.unit.task.made import make
from tests.unit.task.shop import Link, Total
from tests.unit.task.test_plan import Changed, Lines, Upper

DAY_S = 86400.0


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    place = tmp_path / "ws" if request.param == "local" else f"memory:/{tmp_path}/ws"
    with Store(place, cache=tmp_path / "cache") as made:
        yield made


def numbers(store: Store) -> list[int]:
    return sorted(entry.fields["number"] for entry in store.index.entries(task="Link"))


def num_objects(store: Store) -> int:
    return len(store.unnamed(()))


def test_nothing_is_removed_at_first(store: Store) -> None:
    make(store, Link(number=1), at=1.0)

    found = gc(workspace=store, keep_runs=0)

    assert (1, 1, 0, True) == (len(found.entries), found.num_objects, found.num_kept, found.is_dry)
    assert found.num_bytes > 0
    assert "1 result would be removed, with 1 file of" in str(found)
    assert "0 results stay" in str(found)
    assert [1] == numbers(store)
    assert 1 == num_objects(store)
    json.dumps(found.to_json())


def test_old_results_are_removed_with_their_bytes(store: Store) -> None:
    now = time.time()
    make(store, Link(number=1), run="r1", at=now - 40 * DAY_S)
    make(store, Link(number=2), run="r2", at=now - 20 * DAY_S)

    dry = gc(workspace=store, older_than="30d")
    done = gc(workspace=store, older_than=dt.timedelta(days=30), dry=False)

    assert dry.entries == done.entries
    assert (dry.num_objects, dry.num_bytes) == (done.num_objects, done.num_bytes)
    assert [2] == numbers(store)
    assert 1 == num_objects(store)
    assert "1 result removed" in str(done)
    assert ["stored"] == [step.status for step in plan(Link(number=2), store=store)]


def test_old_results_that_a_later_run_used_stay(store: Store) -> None:
    now = time.time()
    task = Link(number=2, before=Link(number=1))
    make(store, task, run="r1", at=now - 40 * DAY_S)
    make(store, Link(number=3), run="r2", at=now - 39 * DAY_S)
    make(store, task, run="r3", at=now - DAY_S)  # nothing runs

    gc(workspace=store, older_than="30d", dry=False)

    assert [1, 2] == numbers(store)


def test_what_the_newest_runs_made_and_used_stays(store: Store) -> None:
    for number in range(1, 5):
        make(store, Link(number=number, before=Link(number=0)), run=f"r{number}", at=float(number))

    gc(workspace=store, keep_runs=2, dry=False)

    assert [0, 3, 4] == numbers(store)


def test_what_a_task_needs_stays(store: Store) -> None:
    kept = Total(parts=[Link(number=1), Link(number=2, before=Link(number=0))])
    make(store, kept, *(Link(number=number) for number in range(5, 9)))

    found = gc(workspace=store, keep=kept, dry=False)

    assert (4, 4) == (len(found.entries), found.num_kept)
    assert [0, 1, 2] == numbers(store)
    assert {"stored"} == {step.status for step in plan(kept, store=store)}


def test_a_result_of_other_code_stays_while_there_is_no_other(store: Store) -> None:
    make(store, Upper(lines=Lines()), codes=Changed(Lines), at=1.0)

    gc(workspace=store, keep=[Upper(lines=Lines())], dry=False)
    assert 2 == len(list(store.index.entries()))

    make(store, Upper(lines=Lines()), at=2.0)
    gc(workspace=store, keep=[Upper(lines=Lines())], dry=False)
    assert 2 == len(list(store.index.entries()))


def test_each_condition_keeps(store: Store) -> None:
    for number in range(4):
        make(store, Link(number=number), run=f"r{number}", at=float(number))

    gc(workspace=store, keep_runs=1, keep=Link(number=0), older_than="1d", dry=False)

    assert [0, 3] == numbers(store)


def test_bytes_that_two_results_have_stay_for_the_other(store: Store) -> None:
    first, second = Link(number=1), Link(number=2)
    make(store, first, second, values={first.id: "same", second.id: "same"})

    found = gc(workspace=store, keep=second, dry=False)

    assert (1, 0) == (len(found.entries), found.num_objects)
    assert ["stored"] == [step.status for step in plan(second, store=store)]


def test_without_a_condition_only_what_no_result_names_goes(store: Store) -> None:
    entries = make(store, Link(number=1), Link(number=2))
    store.index.remove([entries[Link(number=1).id].key])

    found = gc(workspace=store, dry=False)

    assert (0, 1, 1) == (len(found.entries), found.num_objects, found.num_kept)
    assert 1 == num_objects(store)
    assert ["stored"] == [step.status for step in plan(Link(number=2), store=store)]


def test_nothing_is_removed_while_a_build_goes_on(store: Store) -> None:
    make(store, Link(number=1), at=1.0)
    with store.using(RunRow("r9", "shop.Train", "id", 2.0)):
        with pytest.raises(DataError, match=r"1 build going on in .*: r9 \(Train\)"):
            gc(workspace=store, keep_runs=0, dry=False)
        assert 1 == len(gc(workspace=store, keep_runs=0).entries)
    assert [1] == numbers(store)

    gc(workspace=store, keep_runs=0, dry=False)  # the run has no end: it was killed
    assert [] == numbers(store)


def test_a_build_that_begins_waits_for_the_end_of_a_removal(store: Store) -> None:
    make(store, Link(number=1), at=1.0)
    order: list[str] = []

    def begin() -> None:
        with store.using(RunRow("r9", "shop.Train", "id", 2.0)):
            order.append("build")

    with store.removing():
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join(0.2)
        order.append("removed")
    thread.join(30)
    assert ["removed", "build"] == order


@pytest.mark.parametrize(
    "given", [{"keep_runs": -1}, {"keep_runs": True}, {"older_than": "x"}, {"older_than": 1e12}]
)
def test_conditions_that_are_none_are_refused(store: Store, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        gc(workspace=store, **given)


def test_an_empty_workspace_is_left_alone(tmp_path: Path) -> None:
    assert 0 == gc(workspace=tmp_path / "none", keep_runs=1, dry=False).num_kept
    assert [] == list(tmp_path.iterdir())


def test_names_for_people_go_with_what_they_name(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        entries = make(store, Link(number=1), Link(number=2))
        for number in (1, 2):
            store.link(f"{number}/Link/x.pkl", entries[Link(number=number).id].outputs[0])
        (tmp_path / "1/Link/mine.txt").write_text("a note")
        (tmp_path / "3").mkdir()
        (tmp_path / "3/dead").symlink_to("../nowhere")

        gc(workspace=store, keep=Link(number=2), dry=False)

    assert (tmp_path / "2/Link/x.pkl").exists()
    assert not (tmp_path / "1/Link/x.pkl").is_symlink()
    assert (tmp_path / "1/Link/mine.txt").exists()
    assert (tmp_path / "3/dead").is_symlink()  # not ours


def test_what_a_build_found_stored_stays_with_its_run(tmp_path: Path) -> None:
    first, second = (Total(parts=[Number(value=1), Number(value=n)]) for n in (2, 3))
    for task in (first, second, first):
        build(task, workspace=tmp_path)

    found = gc(workspace=tmp_path, keep_runs=1, dry=False)

    assert {"Total", "Number"} == {entry.task.rpartition(".")[2] for entry in found.entries}
    assert 2 == len(found.entries)
    assert "stored" == plan(first, workspace=tmp_path)[first].status
    assert 2 == plan(second, workspace=tmp_path).num_to_run
    assert 4 == build(second, workspace=tmp_path)


def test_a_build_in_another_process_is_seen(tmp_path: Path) -> None:
    code = """if True:
        import time
        from pathlib import Path
        from tadka.task.engine.build import build
        from tadka.task.define.task import Task

        class Slow(Task[int]):
            def run(self) -> int:
                Path("begun").touch()
                while not Path("go").exists():
                    time.sleep(0.01)
                return 1

        build(Slow(), workspace="ws")
    """
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(DataError, match="1 build going on"):
            gc(workspace=tmp_path / "ws", dry=False)
        (tmp_path / "go").touch()
        assert 0 == process.wait(120)
    finally:
        process.kill()
        process.wait()
    assert 1 == gc(workspace=tmp_path / "ws", dry=False).num_kept
