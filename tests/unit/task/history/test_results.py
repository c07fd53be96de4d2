import datetime as dt
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.task.define.task import Task
from tadka.task.engine.build import build
from tadka.task.history.results import get, load, ls, restore
from tadka.task.look.table import shown_fields
from tadka.task.output.out import Out
from tadka.task.store.row import Entry
from tadka.task.store.store import Store
from tests.unit.task.made import make
from tests.unit.task.shop import Clicks, Link, Mode, Score, Total, Train

DAY = dt.date(2026, 1, 31)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "ws") as made:
        yield made


class Numbers(Task[pd.DataFrame]):
    size: int = 3
    parent: Task[dict[str, int]] | None = None

    def run(self) -> pd.DataFrame:
        return pd.DataFrame()


def save(value: str, folder: Path) -> None:
    folder.joinpath("value").write_text(value)


def read(folder: Path) -> str:
    return folder.joinpath("value").read_text()


class Model(Task[str]):
    out = Out(save=save, load=read)

    def run(self) -> str:
        return ""


class Number(Task[int]):
    value: int

    def run(self) -> int:
        return self.value


class Sum(Task[float]):
    numbers: list[Number]
    scale: float = 1.0

    def run(self, numbers: list[int]) -> float:
        return sum(numbers) * self.scale


def test_stored_results_are_listed_newest_first(store: Store) -> None:
    for number in range(3):
        make(
            store, Link(number=number), at=1_000_000.0 + number, values={Link(number=number).id: 1}
        )

    assert [2, 1, 0] == [row.fields["number"] for row in ls(workspace=store)]
    assert [2, 1] == [row.fields["number"] for row in ls("Link", workspace=store, limit=2)]
    assert 3 == len(ls(Link, workspace=store))
    assert [] == ls("Lin", workspace=store)
    assert [2, 1] == [r.fields["number"] for r in ls(workspace=store, since=1_000_001.0)]
    assert [0] == [r.fields["number"] for r in ls(workspace=store, where={"number": 0})]
    assert [] == ls(workspace=store, where={"number": True})
    assert [] == ls(workspace=store, where={"other": 0})
    assert [1] == [r.fields["number"] for r in ls(workspace=store, where={"number": 1}, limit=1)]


def test_results_are_listed_by_the_parameters_of_what_they_were_made_from(store: Store) -> None:
    days = [DAY, DAY + dt.timedelta(days=1)]
    tasks = [Numbers(parent=Clicks(day=day, mode=Mode.FAST)) for day in days]
    frame = pd.DataFrame({"x": [1]})
    values = {task.id: frame for task in tasks}
    parents = {str(task.parent.id): {"n": i} for i, task in enumerate(tasks) if task.parent}
    make(store, *tasks, values={**values, **parents})

    assert [tasks[0].id] == [
        row.entry.task_id for row in ls(Numbers, workspace=store, where={"parent.day": DAY})
    ]
    assert 2 == len(ls(Numbers, workspace=store, where={"parent.mode": Mode.FAST}))
    assert [tasks[1].id] == [
        r.entry.task_id for r in ls(workspace=store, where={"parent": tasks[1].parent})
    ]


def test_a_list_prints_as_a_table_and_becomes_a_frame(store: Store) -> None:
    task = Numbers(size=7)
    make(store, task, at=1_700_000_000.0, values={task.id: pd.DataFrame({"x": [1.0, 2.0]})})

    rows = ls(workspace=store)

    head, line = str(rows).splitlines()
    assert ["task", "key", "fields", "created", "seconds", "rows", "size"] == head.split()
    assert "Numbers" in line
    assert "size=7, parent=None" in line
    assert "2023-11-14 22:13:20 UTC" in line
    frame = rows.to_pandas()
    assert [7] == frame["fields.size"].tolist()
    assert [2] == frame["num_rows"].tolist()
    assert pd.Timestamp("2023-11-14 22:13:20", tz="UTC") == frame["created_at"][0]
    assert task.id == json.loads(json.dumps(rows.to_json()))[0]["id"]
    assert "Nothing." == str(ls(workspace=store, limit=0))


def test_fields_are_shown_in_a_line() -> None:
    task = {"task": "abcdef0123456789"}
    fields = {"a": 1, "b": task, "c": [task, task], "d": {**task, "part": "x"}, "e": {"k": [1]}}
    assert (
        "a=1, b=#abcdef01, c=[2 tasks], d=#abcdef01[x], e={k: [1]}, f=[9 items], g=[], h=None"
        == shown_fields({**fields, "f": [0] * 9, "g": [], "h": None})
    )


def test_a_long_list_prints_its_first_rows(store: Store) -> None:
    total = Total(parts=[Link(number=i) for i in range(30)])
    make(store, total)

    assert "and 11 more" == str(ls(workspace=store)).splitlines()[-1]


@pytest.mark.parametrize("name", ["key", "id", "class", "path", "type", "printed", "task"])
def test_a_result_is_found_by_many_names(store: Store, name: str) -> None:
    task = Link(number=1)
    entry = make(store, task, at=2.0, values={task.id: 5})[task.id]
    make(store, Link(number=2), at=1.0, values={Link(number=2).id: 6})
    names: dict[str, Any] = {
        "key": entry.key[:8],
        "id": task.id[:8],
        "class": "Link",
        "path": f"{Link.__module__}:Link",
        "type": Link,
        "printed": f"Link#{task.id[:6]}",
        "task": task,
    }

    assert entry == get(names[name], workspace=store)
    assert 5 == load(names[name], workspace=store)


def test_a_result_is_found_by_its_file_for_people(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = make(store, Link(number=1), values={Link(number=1).id: 5})[Link(number=1).id]
    store.link("Link/1a2b3c4d.pkl", entry.outputs[0])

    assert entry == get("Link/1a2b3c4d.pkl", workspace=store)
    assert entry == get(tmp_path / "ws/Link/1a2b3c4d.pkl", workspace=store)
    monkeypatch.chdir(tmp_path / "ws/Link")
    assert entry == get("1a2b3c4d.pkl", workspace=store)


def test_a_task_whose_inputs_equal_those_of_another_has_its_result(store: Store) -> None:
    first, second = (Total(parts=[Link(number=n)]) for n in (1, 2))
    values = dict.fromkeys([Link(number=1).id, Link(number=2).id], 1)
    entries = make(store, first, second, values={**values, first.id: 7})

    assert entries[first.id] == entries[second.id]
    assert 7 == load(second, workspace=store)


def test_a_name_of_several_results_is_refused(store: Store) -> None:
    tasks = [Link(number=number) for number in range(300)]
    make(store, *tasks)
    entries = {task.id[:1]: task for task in tasks}

    with pytest.raises(NotFound, match="Nothing of 'abc'"):
        get("abc", workspace=store)
    text = next(iter(entries))
    with pytest.raises(ConfigError, match="is the beginning of Link"):
        get(f"Link#{text}", workspace=store)


@pytest.mark.parametrize("name", ["Lnk", "0123456789", "x/y.csv", "shap.Link", Link(number=7)])
def test_what_is_not_stored_is_not_found(store: Store, name: Any) -> None:
    make(store, Link(number=1))

    with pytest.raises(NotFound):
        get(name, workspace=store)
    with pytest.raises(NotFound, match="does not exist"):
        get(name, workspace=f"{store.folder}-none")


def test_the_nearest_class_is_told(store: Store) -> None:
    make(store, Link(number=1))

    with pytest.raises(NotFound, match="Did you mean 'Link'"):
        load("Lnik", workspace=store)


def test_several_outputs_are_loaded_together_or_one_by_one(store: Store) -> None:
    task = Train(clicks=Clicks())
    given = {"weights": np.arange(3), "report": {"auc": 0.7}}
    make(store, task, values={task.id: given, task.clicks.id: {"a": 1}})

    found = load("Train", workspace=store)
    assert ["report", "weights"] == sorted(found)
    assert {"auc": 0.7} == load("Train", output="report", workspace=store)
    assert [0, 1, 2] == load(task["weights"], workspace=store).tolist()
    assert {"a": 1} == load(get("Clicks", workspace=store), workspace=store)
    with pytest.raises(NotFound, match="Did you mean 'weights'"):
        load("Train", output="weigths", workspace=store)


def test_functions_of_the_class_load_what_they_saved(store: Store) -> None:
    make(store, Model(), values={Model().id: "deep"})

    assert "deep" == load("Model", workspace=store)


def test_damaged_bytes_are_not_loaded(store: Store, tmp_path: Path) -> None:
    entry = make(store, Link(number=1))[Link(number=1).id]
    content = entry.outputs[0].content
    path = tmp_path / "ws/objects" / content[0] / content
    path.chmod(0o644)
    path.write_bytes(b"x" * entry.outputs[0].num_bytes)

    with Store(tmp_path / "ws") as other, pytest.raises(DataError, match="damaged"):
        load("Link", workspace=other)


@pytest.mark.parametrize(
    ("since", "words"),
    [("7 years", "is no time"), ("yesterday", "an age"), (True, "is no time"), ([], "is no time")],
)
def test_what_is_no_time_is_refused(store: Store, since: Any, words: str) -> None:
    make(store, Link(number=1))

    with pytest.raises(ConfigError, match=words):
        ls(workspace=store, since=since)


@pytest.mark.parametrize(
    "since",
    [
        "1d",
        "2w",
        "2020-01-01",
        "2020-01-01T10:00:00+02:00",
        dt.date(2020, 1, 1),
        5,
        dt.timedelta(1),
    ],
)
def test_times_and_ages_are_understood(store: Store, since: Any) -> None:
    make(store, Link(number=1))

    assert 1 == len(ls(workspace=store, since=since))


# ---------------------------------------------------------------- tasks made again


def test_a_task_is_made_again_with_its_parameters(store: Store) -> None:
    clicks = Clicks(day=DAY, tags={"b", "a"}, bucket="other")
    train = Train(clicks=clicks)
    score = Score(weights=train["weights"])
    value = {"weights": np.zeros(1), "report": {}}
    make(store, score, values={train.id: value, clicks.id: {}, score.id: 3})

    found = restore(score.id, workspace=store)

    assert score == found
    again: Any = found
    assert {"a", "b"} == set(again.weights.task.clicks.tags)
    assert "other" == again.weights.task.clicks.bucket
    assert 3 == load(found, workspace=store)


def test_a_deep_task_is_made_again(store: Store) -> None:
    task = Link(number=0)
    for number in range(1, 3000):
        task = Link(number=number, before=task)
    make(store, task)

    assert task == restore(task.id, workspace=store)


def test_a_task_of_a_class_that_changed_is_not_made_again(store: Store, tmp_path: Path) -> None:
    entry = make(store, Link(number=1))[Link(number=1).id]

    def put(**changes: Any) -> Entry:
        return Entry.from_json({**entry.to_json(), **changes})

    with pytest.raises(DataError, match="'size', which is no field"):
        restore(put(fields={"number": 1, "size": 2}), workspace=store)
    with pytest.raises(DataError, match="must be int"):
        restore(put(fields={"number": "1"}), workspace=store)
    with pytest.raises(DataError, match="would be another task"):
        restore(put(fields={"number": 2}), workspace=store)
    with pytest.raises(NotFound, match="There is no class 'shop"):
        restore(put(task="shop.Gone"), workspace=store)
    with pytest.raises(NotFound, match="nothing is stored"):
        restore(put(fields={"number": 1, "before": {"task": "0" * 32}}), workspace=store)


def test_values_are_loaded_and_tasks_made_again_in_another_program(tmp_path: Path) -> None:
    """A script makes a result; the next one has no such class, or imports it by itself."""
    tmp_path.joinpath("shop2.py").write_text(
        textwrap.dedent(
            """
            import pandas as pd
            from tadka.task.define.task import Task

            class Rows(Task[pd.DataFrame]):
                size: int = 2
                def run(self):
                    return pd.DataFrame()

            if __name__ == "__main__":
                from tadka.task.store.store import Store
                from tests.unit.task.made import make
                with Store("ws") as store:
                    make(store, Rows(), values={Rows().id: pd.DataFrame({"a": [1, 2]})})
            """
        )
    )

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout

    run("shop2.py")
    ways = "from tadka.task.history.results import load, restore\n"
    read_ = (
        f"{ways}import sys\nprint(load('Rows', workspace='ws').a.tolist(), 'shop2' in sys.modules)"
    )
    assert "[1, 2] False\n" == run("-c", read_)
    again = f"{ways}print(restore('Rows', workspace='ws'))"
    assert "Rows(size=2)\n" == run("-c", again)


def test_what_a_build_made_is_listed_loaded_and_made_again(tmp_path: Path) -> None:
    """Behaviour 21: restored by its id, a task has its parameters and its result."""
    task = Sum(numbers=[Number(value=value) for value in (1, 2)], scale=2.5)
    assert 7.5 == build(task, workspace=tmp_path)

    again = restore(task.id[:12], workspace=tmp_path)

    assert task == again
    assert repr(task) == repr(again)
    assert 7.5 == load(again, workspace=tmp_path) == build(again, workspace=tmp_path)
    assert 3 == len(ls(workspace=tmp_path))
    assert 1 == len(ls(Sum, workspace=tmp_path, where={"numbers.value": 2}))
