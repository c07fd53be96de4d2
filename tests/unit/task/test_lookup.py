"""Whether a result is there."""

from pathlib import Path
from typing import Any

import pytest

from tadka.task.define.task import Part, Task
from tadka.task.engine.build import build
from tadka.task.lookup import Codes, Found, lookup, reasons_of
from tadka.task.output.out import Out
from tadka.task.store.row import Entry, Output
from tadka.task.store.store import Store


class Text(Task[str]):
    """Writes what others read."""

    value: str = "5"

    def run(self) -> str:
        return self.value


class Reader(Task[str]):
    text: Task[Any] | Part[Any]

    def run(self, text: object) -> str:
        return repr(text)


class Both(Task[dict[str, Any]]):
    out = {"a": Out("json"), "b": Out("json")}

    def run(self) -> dict[str, Any]:
        return {"a": 1, "b": 1}


class Only(Task[dict[str, Any]]):
    out = {"a": Out("json")}

    def run(self) -> dict[str, Any]:
        return {"a": 1}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "ws")


def entry_of(store: Store, task: Task[Any]) -> Entry:
    entry = store.index.newest(task.id)
    assert entry is not None
    return entry


def found(store: Store, task: Task[Any], **given: Any) -> Found:
    return lookup(task, {}, store, Codes(), **given)


def test_what_was_built_is_found_and_else_nothing(store: Store) -> None:
    build(Text(), workspace=store)

    assert found(store, Text()).entry == entry_of(store, Text())
    assert None is found(store, Text(value="6")).entry


def test_an_entry_whose_bytes_are_gone_is_none(store: Store) -> None:
    build(Text(), workspace=store)
    store.path(entry_of(store, Text()).outputs[0]).unlink()

    missing = found(store, Text())

    assert None is missing.entry
    newest = store.index.newest(Text().id)
    assert ("its output is gone, or damaged",) == reasons_of(missing, newest)


def test_results_of_other_code_are_served_where_that_is_wanted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(self: Text) -> str:
        return "other"

    build(Text(), workspace=store)
    before = entry_of(store, Text())
    monkeypatch.setattr(Text, "run", other)

    assert None is found(store, Text()).entry
    for mode in ("warn", "ignore"):
        served = found(store, Text(), on_code_change=mode)
        assert before == served.entry
        assert served.is_other_code
        assert before.key != served.key
    (reason,) = reasons_of(found(store, Text()), before)[:1]
    assert reason.startswith("code: ")


def test_the_setting_of_the_class_wins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    build(Text(), workspace=store)
    monkeypatch.setattr(Text, "run", lambda self: "other")
    monkeypatch.setattr(Text, "on_code_change", "rerun")

    assert None is found(store, Text(), on_code_change="ignore").entry


def test_only_the_code_may_differ(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    build(Text(), workspace=store)
    monkeypatch.setattr(Text, "run", lambda self: "other")
    monkeypatch.setattr(Text, "version", "2")

    assert None is found(store, Text(), on_code_change="ignore").entry


def test_equal_bytes_that_are_read_in_another_way_are_another_input(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = (Output("", "c" * 64, ".txt", 1),)
    before = Codes().content(Text(), outputs)
    monkeypatch.setattr(Text, "outs", {"": Out("json")})

    assert before != Codes().content(Text(), outputs)


def test_a_part_is_its_output_and_a_whole_is_all_of_them(store: Store) -> None:
    both = Both()
    build(both, workspace=store)
    outputs = entry_of(store, both).outputs
    codes = Codes()

    assert codes.content(both["a"], outputs) == codes.content(both["b"], outputs)
    assert codes.content(both, outputs) != codes.content(both["a"], outputs)
    assert codes.content(both, outputs) == codes.content(both, outputs[::-1])


def test_a_part_is_another_input_than_the_whole_of_one_output(store: Store) -> None:
    only = Only()
    build(only, workspace=store)
    outputs = entry_of(store, only).outputs

    assert Codes().content(only, outputs) != Codes().content(only["a"], outputs)
    assert ["1", "{'a': 1}"] == build([Reader(text=only["a"]), Reader(text=only)], workspace=store)


def test_what_was_never_built_says_so(store: Store) -> None:
    assert ("never built",) == reasons_of(found(store, Text()), None)
