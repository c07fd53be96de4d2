"""Builds: what runs, what is served, what fails."""

import os
import random
import re
import traceback
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.task.define.task import Task
from tadka.task.engine import drive
from tadka.task.engine.build import Build, BuildError, Event, Report, build
from tadka.task.force import below
from tadka.task.look.word import first_line
from tadka.task.output.out import Out
from tadka.task.store.store import Store
from tests.unit.task.engine import steps
from tests.unit.task.engine.steps import (
    Asking,
    AskingApart,
    AskingForMeeting,
    AskingInFolder,
    Chatty,
    Checked,
    Choosing,
    Circular,
    Empty,
    Failing,
    Flaky,
    Folder,
    Half,
    Lazy,
    Meeting,
    Named,
    Needing,
    Number,
    Only,
    Outside,
    Pair,
    Random,
    Refusing,
    Seeded,
    Slow,
    Sum,
    TakesFolder,
    TakesPart,
    Wanting,
    WideHalf,
    noted,
)


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "book"
    monkeypatch.setenv(steps.BOOK, str(path))
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "ws"


def run(*tasks: Task[Any], workspace: Path, **given: Any) -> Report:
    with Store(workspace) as store:
        return Build(tasks, store=store, **given).run()


def counts(report: Report) -> dict[str, int]:
    return {name: number for name, number in report.counts.items() if number}


@pytest.mark.parametrize("workers", [0, -1, True])
def test_a_number_of_workers_is_at_least_one(workers: Any, workspace: Path) -> None:
    with pytest.raises(ConfigError, match=f"workers={workers}; it must be a whole number of at"):
        build(Number(value=1), workspace=workspace, workers=workers)


def test_a_task_runs_once_and_is_served_afterwards(workspace: Path) -> None:
    task = Sum(parts=[Number(value=1), Number(value=2)])

    assert 3 == build(task, workspace=workspace)
    assert 3 == build(task, workspace=workspace)
    assert ["Number1", "Number2", "Sum"] == noted()


def test_a_list_of_tasks_gives_a_list(workspace: Path) -> None:
    assert [2, 1] == build([Number(value=2), Number(value=1)], workspace=workspace)


def test_a_task_that_stands_in_two_places_runs_once(workspace: Path) -> None:
    one = Number(value=1)

    assert 3 == build(Sum(parts=[one, one, Number(value=1)]), workspace=workspace)
    assert ["Number1", "Sum"] == noted()


def test_equal_content_of_an_input_cuts_off_what_is_below(workspace: Path) -> None:
    build(Sum(parts=[Half(of=Number(value=4))]), workspace=workspace)
    build(Sum(parts=[Half(of=Number(value=5))]), workspace=workspace)

    assert ["Number4", "Half", "Sum", "Number5", "Half"] == noted()


def test_inputs_are_loaded_one_by_one_where_an_iterator_is_asked_for(workspace: Path) -> None:
    assert [1, 2] == build(Lazy(parts=[Number(value=1), Number(value=2)]), workspace=workspace)


def test_several_outputs(workspace: Path) -> None:
    pair = Pair()

    assert {"first": [1, 2], "second": "two"} == build(pair, workspace=workspace)
    assert "two" == build(pair["second"], workspace=workspace)
    assert [1, 2] == build(TakesPart(first=pair["first"]), workspace=workspace)
    assert ["Pair"] == noted()


def test_a_folder_is_an_input_too(workspace: Path) -> None:
    assert '{"a": "1", "b": "2"}' == build(TakesFolder(folder=Folder()), workspace=workspace)


# ------------------------------------------------------------ failures


def test_a_failure_stops_only_what_depends_on_it(workspace: Path) -> None:
    good, bad = Sum(parts=[Number(value=1)]), Sum(parts=[Failing(), Number(value=2)])
    top = Sum(parts=[bad])

    report = run(good, top, workspace=workspace)

    status = {id_: result.status for id_, result in report.results.items()}
    assert "ran" == status[good.id]
    assert "failed" == status[Failing().id]
    assert "skipped" == status[bad.id] == status[top.id]
    assert not report.is_ok
    assert {"ran": 3, "hit": 0, "failed": 1, "skipped": 2} == report.counts


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("3 fields are wrong:\n  a: missing\n  b: missing", "ValueError: 3 fields are wrong."),
        ("no luck!\n\nTry again", "ValueError: no luck!"),
        ("", "ValueError."),
    ],
)
def test_of_a_long_error_type_and_first_line_are_told(
    message: str, line: str, workspace: Path
) -> None:
    report = run(Failing(message=message), workspace=workspace)

    with pytest.raises(BuildError, match=rf": {re.escape(line)} Log: "):
        report.raise_failures()
    assert str(report).endswith(f": {line}")


def test_of_an_error_of_syntax_its_type_is_told() -> None:
    with pytest.raises(SyntaxError) as caught:
        compile("a b", "query.py", "exec")
    text = "".join(traceback.format_exception_only(caught.value)).strip()

    assert first_line(text).startswith("SyntaxError: ")
    assert "" == first_line(None)


def test_one_error_lists_every_failed_task(workspace: Path) -> None:
    tasks = [Failing(message="first"), Failing(message="second"), Sum(parts=[Failing()])]

    with pytest.raises(BuildError) as caught:
        build(tasks, workspace=workspace)

    text = str(caught.value)
    assert 3 == len(caught.value.failures)
    for message in ("ValueError: first", "ValueError: second", "ValueError: no luck"):
        assert message in text
    assert "3 of 4 tasks failed" in text
    assert "1 task was skipped" in text
    assert "ValueError: first. Log: " in text
    log = Path(text.split("Log: ")[1].splitlines()[0])
    assert "before the end" in log.read_text(encoding="utf-8")
    assert "raise ValueError(self.message)" in log.read_text(encoding="utf-8")


def test_without_keep_going_nothing_begins_after_a_failure(workspace: Path) -> None:
    report = run(Failing(), Number(value=1), Number(value=2), workspace=workspace, keep_going=False)

    assert {"ran": 0, "hit": 0, "failed": 1, "skipped": 2} == report.counts
    assert ["Failing"] == noted()


def test_a_failed_task_is_tried_again(workspace: Path) -> None:
    report = run(Flaky(times=2), workspace=workspace)

    result = report.results[Flaky(times=2).id]
    assert ("ran", 3) == (result.status, result.attempts)


def test_a_task_that_fails_too_often_has_failed(workspace: Path) -> None:
    report = run(Flaky(times=5), workspace=workspace)

    assert 3 == len(noted())
    assert "OSError: not yet" == report.results[Flaky(times=5).id].error
    with Store(workspace) as store:
        rows = store.index.executions(report.run)
    assert ["retried", "retried", "failed"] == [row.status for row in rows]


def test_a_failed_check_publishes_nothing(workspace: Path) -> None:
    report = run(Checked(value=-1), Empty(), workspace=workspace)

    assert 2 == report.counts["failed"]
    assert "Check Checked.is_positive failed." == report.results[Checked(value=-1).id].error
    with Store(workspace) as store:
        assert not list(store.index.entries())
        assert not store.sweep(is_dry=True)
        assert not list(workspace.glob("objects/??/*"))


def test_a_check_that_warns_publishes_and_is_told(workspace: Path) -> None:
    report = run(Checked(value=1000), workspace=workspace)

    assert ("check is_small failed",) == report.results[Checked(value=1000).id].warnings
    assert report.is_ok


def test_a_fingerprint_that_fails_is_a_failed_task(workspace: Path) -> None:
    report = run(Refusing(), Number(value=1), workspace=workspace)

    assert "DataError: the table is gone" == report.results[Refusing().id].error
    assert 1 == report.counts["ran"]


def test_tasks_that_would_write_one_path_are_refused(workspace: Path) -> None:
    with pytest.raises(ConfigError, match=r"would both write 'named/1.json'"):
        build([Named(value=1), Named(value=1, salt=1)], workspace=workspace)

    assert not noted()


def test_a_path_with_an_unknown_field_is_refused(workspace: Path) -> None:
    class Wrong(Task[int]):
        day: str = "x"
        out = Out("json", path="{dya}.json")

        def run(self) -> int:
            return 1

    with pytest.raises(ConfigError, match=r"no field 'dya'. Did you mean 'day'"):
        build(Wrong(), workspace=workspace)


def test_a_path_leads_to_no_other_folder(workspace: Path) -> None:
    class Outside(Task[int]):
        name: str
        out = Out("json", path="{name}.json")

        def run(self) -> int:
            return 1

    for name in ("../up", "/tmp/abs"):
        with pytest.raises(ConfigError, match="leads out of the workspace"):
            build(Outside(name=name), workspace=workspace)


@pytest.mark.parametrize("wrong", [3, Number, "x"])
def test_what_is_no_task_is_refused(workspace: Path, wrong: object) -> None:
    with pytest.raises(ConfigError, match="build takes tasks"):
        build(wrong, workspace=workspace)  # type: ignore[call-overload]


# ------------------------------------------------------------ force


def test_a_forced_task_runs_once(workspace: Path) -> None:
    task = Sum(parts=[Half(of=Number(value=4))])
    build(task, workspace=workspace)

    for force in (Half, "Half", "steps.Half", Half(of=Number(value=4)), [Half]):
        before = len(noted())
        build(task, workspace=workspace, force=force)
        assert ["Half"] == noted()[before:]
    build(task, workspace=workspace)
    assert 3 + 5 == len(noted())


def test_all_that_is_below_is_forced(workspace: Path) -> None:
    task = Sum(parts=[Half(of=Number(value=4))])
    build(task, workspace=workspace)

    report = run(task, workspace=workspace, force=below(Number))

    assert ["Half", "Sum"] == noted()[3:]
    assert ("forced",) == report.results[task.id].reasons


def test_forcing_what_is_not_there_is_refused(workspace: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'Number'"):
        build(Number(value=1), workspace=workspace, force="Numbr")


# ------------------------------------------------------------ what is damaged


def object_of(workspace: Path, task: Task[Any]) -> Path:
    with Store(workspace) as store:
        entry = store.index.newest(task.id)
        assert entry is not None
        return store.path(entry.outputs[0])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def test_a_damaged_input_is_made_again_in_the_same_build(workspace: Path) -> None:
    half = Half(of=Number(value=44))
    build(half, workspace=workspace)
    flip(object_of(workspace, Number(value=44)))

    report = run(half, Sum(parts=[Number(value=44)]), workspace=workspace)

    assert report.is_ok
    assert ["Number44", "Half", "Number44", "Sum"] == noted()
    assert 44 == build(Sum(parts=[Number(value=44)]), workspace=workspace)
    assert list((workspace / "quarantine").iterdir())


def test_a_damaged_chain_is_made_again_from_where_it_is_good(workspace: Path) -> None:
    top = Half(of=Half(of=Half(of=Number(value=64))))
    build(top, workspace=workspace)
    for task in (Number(value=64), Half(of=Number(value=64)), Half(of=Half(of=Number(value=64)))):
        flip(object_of(workspace, task))

    assert 8 == build(top, workspace=workspace)
    assert 4 == build(Half(of=top), workspace=workspace, force=top)
    assert 4 + 3 + 2 == len(noted())


def test_a_damaged_result_is_made_again_before_it_is_returned(workspace: Path) -> None:
    build(Number(value=9), workspace=workspace)
    flip(object_of(workspace, Number(value=9)))

    assert 9 == build(Number(value=9), workspace=workspace)
    assert ["Number9", "Number9"] == noted()


def test_a_deleted_result_is_made_again(workspace: Path) -> None:
    build(Half(of=Number(value=2)), workspace=workspace)
    object_of(workspace, Number(value=2)).unlink()

    report = run(Half(of=Number(value=2)), workspace=workspace)

    assert ["Number2", "Half", "Number2"] == noted()
    assert ("its output is gone, or damaged",) == report.results[Number(value=2).id].reasons


def test_a_key_is_that_of_the_input_that_was_read(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, wide = Outside(), WideHalf(of=Outside())
    monkeypatch.setenv("TADKA_TEST_VALUE", "10")
    build(outside, workspace=workspace)
    flip(object_of(workspace, outside))
    monkeypatch.setenv("TADKA_TEST_VALUE", "30")

    # half meets the damage while wide is pending; sum keeps it from beginning at once
    report = run(Half(of=outside), Sum(parts=[outside]), wide, workspace=workspace)

    assert report.is_ok
    assert {"hit": 2} == counts(run(wide, workspace=workspace))
    with Store(workspace) as store:
        store.index.remove([str(report.results[outside.id].key)])
    monkeypatch.setenv("TADKA_TEST_VALUE", "10")
    assert 5 == build(wide, workspace=workspace)


# ------------------------------------------------------------ tasks that are asked for


def test_a_body_asks_for_tasks(workspace: Path) -> None:
    task = Needing(numbers=Number(value=3))

    assert 103 == build(task, workspace=workspace)
    assert ["Number3", "Needing", "Number0", "Number1", "Number2", "Needing"] == noted()
    assert 103 == build(task, workspace=workspace)
    assert 6 == len(noted())


def test_what_a_body_asked_for_is_brought_up_to_date_at_a_hit(workspace: Path) -> None:
    task = Needing(numbers=Number(value=2))
    build(task, workspace=workspace)
    object_of(workspace, Number(value=1)).unlink()

    assert 101 == build(task, workspace=workspace)
    assert ["Number1"] == noted()[5:]


def test_only_another_result_of_what_a_body_asked_for_makes_it_run_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADKA_TEST_VALUE", "1")
    assert 101 == build(Asking(), workspace=workspace)
    monkeypatch.setattr(Outside, "version", "2")
    assert 101 == build(Asking(), workspace=workspace)
    assert ["Asking", "Outside", "Asking", "Outside"] == noted()

    monkeypatch.setenv("TADKA_TEST_VALUE", "2")
    monkeypatch.setattr(Outside, "version", "3")
    report = run(Asking(), workspace=workspace)

    assert ["Outside", "Asking"] == noted()[4:]
    result = report.results[Asking().id]
    assert ("a task that it asked for gives another result",) == result.reasons
    assert 102 == build(Asking(), workspace=workspace)
    assert 6 == len(noted())


def test_what_a_body_asks_for_no_more_is_not_built(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADKA_TEST_VALUE", "1")
    assert 1 == build(Choosing(), workspace=workspace)

    monkeypatch.setenv("TADKA_TEST_VALUE", "2")
    monkeypatch.setattr(Outside, "version", "2")
    monkeypatch.setattr(Only, "version", "2")

    assert {"ran": 3} == counts(run(Choosing(), workspace=workspace))
    assert ["Outside", "Only1", "Outside", "Only2"] == noted()


@pytest.mark.parametrize("keep_going", [True, False])
def test_a_body_asks_anew_where_what_was_recorded_fails(
    workspace: Path, tmp_path: Path, keep_going: bool
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "text").write_text("hello")
    assert "hello" == build(AskingInFolder(folder=tmp_path / "old"), workspace=workspace)
    (tmp_path / "old").rename(tmp_path / "new")
    task = AskingInFolder(folder=tmp_path / "new")

    report = run(task, workspace=workspace, keep_going=keep_going)

    assert {"ran": 1, "hit": 1} == counts(report)
    assert {"hit": 2} == counts(run(task, workspace=workspace))


def test_what_one_call_asked_for_is_built_together(workspace: Path, tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    task = AskingForMeeting(pipe=pipe)
    assert [1, 0] == build(task, workspace=workspace, workers=2)
    for is_reader in (True, False):
        object_of(workspace, Meeting(pipe=pipe, is_reader=is_reader)).unlink()

    assert [1, 0] == build(task, workspace=workspace, workers=2)
    assert ["AskingForMeeting"] * 2 == noted()  # once to ask, once with what it got


def test_bodies_that_ask_for_each_other_fail(workspace: Path) -> None:
    report = run(Circular(other=0), workspace=workspace)

    assert 1 <= report.counts["failed"]
    assert 0 == report.counts["ran"]
    assert "in turn" in "".join(str(result.error) for result in report.failures.values())


# ------------------------------------------------------------ what is written down


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("one path", "would both write 'named/1.json'"),
        ("outside", "leads out of the workspace"),
        ("too much", "resources with gpu=1000"),
    ],
)
def test_what_cannot_be_built_fails_who_asked_for_it(
    workspace: Path, what: str, message: str
) -> None:
    task = Wanting(what=what)

    report = run(task, Number(value=1), workspace=workspace)

    assert {"ran": 1, "failed": 1} == counts(report)
    assert message in str(report.results[task.id].error)
    assert ["Number1"] == noted()
    assert {"hit": 1, "failed": 1} == counts(run(task, Number(value=1), workspace=workspace))


def test_what_is_asked_for_has_no_path_of_the_build(workspace: Path) -> None:
    report = run(Named(value=1, salt=2), Wanting(what="one path"), workspace=workspace)

    assert {"ran": 1, "failed": 1} == counts(report)


def test_a_run_says_what_it_did(workspace: Path) -> None:
    report = run(Chatty(), workspace=workspace)

    result = report.results[Chatty().id]
    assert result.log is not None
    assert "hello\n" == (workspace / result.log).read_text(encoding="utf-8")
    with Store(workspace) as store:
        (row,) = store.index.executions(report.run)
        assert {"auc": 0.5, "rows": 3} == row.metrics
        assert [{"x": "x", "y": "y", "points": [[1, 3.0]]}] == row.details["plots"]
        written = store.index.run(report.run)
        assert "ok" == written.status
        assert 1 == written.details["counts"]["ran"]
        environment = store.index.environment(written.environment)
    assert {"host", "python", "libraries", "commit"} <= set(environment)
    assert not list(workspace.glob("objects/.aside/*/*"))


def test_results_have_names_for_people(workspace: Path) -> None:
    report = run(Named(value=5), Pair(), Number(value=3), workspace=workspace)

    assert "5" == (workspace / "named" / "5.json").read_text(encoding="utf-8").strip()
    key = report.results[Number(value=3).id].key
    assert key is not None
    assert list((workspace / "Number").glob(f"{key[:8]}.*"))
    assert 2 == len(list((workspace / "Pair").iterdir()))


def test_a_name_follows_the_version_that_is_served(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(Named(value=5), workspace=workspace)
    with monkeypatch.context() as patch:
        patch.setattr(Named, "version", "2")
        patch.setattr(Named, "run", lambda self: 50)
        build(Named(value=5), workspace=workspace)
        assert "50" == (workspace / "named" / "5.json").read_text(encoding="utf-8").strip()

    build(Named(value=5), workspace=workspace)

    assert "5" == (workspace / "named" / "5.json").read_text(encoding="utf-8").strip()


def test_events_come_in_order(workspace: Path) -> None:
    events: list[Event] = []
    task = Sum(parts=[Number(value=1), Failing()])

    def listen(event: Event) -> None:
        if event.kind == "finished":
            with Store(workspace) as store:
                assert event.key is not None
                assert store.hit(event.key) is not None
        events.append(event)

    run(task, workspace=workspace, on_event=listen)

    kinds = [(event.kind, type(event.task).__name__) for event in events]
    assert ("build started", "NoneType") == kinds[0]
    assert ("build finished", "NoneType") == kinds[-1]
    assert {
        ("started", "Number"),
        ("finished", "Number"),
        ("failed", "Failing"),
        ("skipped", "Sum"),
    } <= set(kinds)
    assert 3 == events[-1].num_done == events[-1].num_tasks
    assert "Sum" in str(events[-2].to_json()) or events[-2].task is not None


@pytest.mark.parametrize("workers", [None, 2])
def test_a_listener_that_fails_is_logged_once(
    workspace: Path, caplog: pytest.LogCaptureFixture, workers: int | None
) -> None:
    def refuse(event: Event) -> None:
        raise ValueError(event.kind)

    tasks = [Number(value=value) for value in range(3)]

    assert [0, 1, 2] == build(tasks, workspace=workspace, workers=workers, on_event=refuse)
    assert 1 == len([record for record in caplog.records if "on_event" in record.message])


def test_an_error_of_the_build_itself_frees_the_locks(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    def refuse(_: object, key: str, __: object) -> None:
        keys.append(key)
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(drive, "names_of", refuse)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        build(Number(value=1), workspace=workspace)

    with Store(workspace) as store:
        assert not store.locks.is_held(keys[0])


def test_a_report_is_read_by_people_and_programs(workspace: Path) -> None:
    report = run(Sum(parts=[Number(value=1), Failing()]), workspace=workspace)

    assert "1 ran, 1 failed, 1 skipped" in str(report)
    assert "ValueError: no luck" in str(report)
    found = report.to_json()
    assert found["counts"] == report.counts
    assert {"ran", "failed", "skipped"} == {row["status"] for row in found["results"]}


# ------------------------------------------------------------ seeds, code


def test_random_numbers_follow_from_the_task(workspace: Path, tmp_path: Path) -> None:
    first = build([Random(), Random(salt=1), Seeded()], workspace=workspace)
    second = build([Random(), Random(salt=1), Seeded()], workspace=tmp_path / "other")

    assert first == second
    assert first[0] != first[1]
    assert random.Random(7).random() == first[2]


def test_a_build_leaves_random_numbers_as_they_were(workspace: Path) -> None:
    random.seed(3)
    expected = random.random()
    random.seed(3)

    build(Random(), workspace=workspace)

    assert expected == random.random()


def test_random_numbers_are_as_they_were_when_processes_take_over(workspace: Path) -> None:
    random.seed(3)
    expected = random.random()
    random.seed(3)

    build(AskingApart(), workspace=workspace)

    assert expected == random.random()


def test_changed_code_may_be_served_with_a_warning(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(self: Number) -> int:
        return 1000

    tasks = [Number(value=1), Number(value=2)]
    build(tasks, workspace=workspace)
    monkeypatch.setattr(Number, "run", other)

    with pytest.warns(UserWarning, match="code of Number changed") as caught:
        assert [1, 2] == build(tasks, workspace=workspace, on_code_change="warn")
    assert 1 == len(caught)
    assert [1, 2] == build(tasks, workspace=workspace, on_code_change="ignore")
    assert [1000, 1000] == build(tasks, workspace=workspace)


def test_nothing_to_build_is_a_build(workspace: Path) -> None:
    assert [] == build([], workspace=workspace)


def test_two_builds_in_threads_share_the_work(workspace: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: build(Slow(), workspace=workspace), range(4)))

    assert [1, 1, 1, 1] == found
    assert ["Slow"] == noted()
