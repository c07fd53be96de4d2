"""The 28 behaviours that tasks are known by, one after the other, each through the public door.

Their numbers are those of the list that the room was built from; what has many cases (formats,
types, locks, pages) is here once, and in full in the test of its part.
"""

import multiprocessing
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tadka.core import ConfigError
from tadka.task import (
    Build,
    BuildError,
    Out,
    Run,
    Store,
    Task,
    build,
    ls,
    param,
    plan,
    restore,
)
from tadka.task.key import code_of_tasks, parts_of
from tadka.task.settings import Settings, load_settings, use
from tadka.task.testing import assert_frames_equal
from tadka.task.tree import tree

RAN: list[str] = []


@pytest.fixture(autouse=True)
def _none_ran() -> None:
    RAN.clear()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


class Number(Task[int]):
    value: int
    note: str = param(default="", significant=False)

    def run(self) -> int:
        RAN.append(f"Number {self.value}")
        return self.value


class Parity(Task[int]):
    """Its content stays where its input changes by 2."""

    number: Number

    def run(self, number: int) -> int:
        RAN.append("Parity")
        return number % 2


class Word(Task[str]):
    parity: Parity

    def run(self, parity: int) -> str:
        RAN.append("Word")
        return "odd" if parity else "even"


class Sum(Task[int]):
    numbers: Sequence[Task[int]]

    def run(self, numbers: list[int]) -> int:
        RAN.append("Sum")
        return sum(numbers)


WORD = Word(parity=Parity(number=Number(value=3)))


def test_01_what_is_stored_does_not_run_again(work: Path) -> None:
    assert "odd" == build(WORD, workspace=work)
    assert ["Number 3", "Parity", "Word"] == RAN

    assert "odd" == build(WORD, workspace=work)
    assert 3 == len(RAN)


@pytest.mark.parametrize("what", [WORD.parity, Parity, "Parity"])
def test_02_what_is_forced_runs_once_and_what_follows_only_if_it_changed(
    work: Path, what: Any
) -> None:
    build(WORD, workspace=work)
    RAN.clear()

    build(WORD, workspace=work, force=[what])
    assert ["Parity"] == RAN

    build(WORD, workspace=work)
    assert ["Parity"] == RAN


def test_03_what_is_gone_is_made_again(work: Path) -> None:
    build(WORD, workspace=work)
    with Store(work) as store:
        found = store.index.newest(WORD.parity.id)
        assert found is not None
        store.path(found.outputs[0]).unlink()
    RAN.clear()

    assert "odd" == build(WORD, workspace=work)
    assert ["Parity"] == RAN


def test_04_content_decides_and_no_time(work: Path) -> None:
    """A newer input of equal content is no reason; one of other content is, whatever its time."""
    build(WORD, workspace=work)
    RAN.clear()

    build(WORD, workspace=work, force=[Number])
    assert ["Number 3"] == RAN

    assert "odd" == build(Word(parity=Parity(number=Number(value=5))), workspace=work)
    assert ["Number 3", "Number 5", "Parity"] == RAN


def test_05_parameters_make_the_task() -> None:
    assert Number(value=3).id == Number(value=3).id
    assert Number(value=3).id != Number(value=4).id
    assert Parity(number=Number(value=3)).id != Parity(number=Number(value=4)).id


class Silent(Task[int]):
    value: int
    significant = False

    def run(self) -> int:
        return self.value


def test_06_what_is_not_significant_does_not() -> None:
    assert Number(value=3).id == Number(value=3, note="x").id
    assert Sum(numbers=[Silent(value=1)]).id == Sum(numbers=[Silent(value=2)]).id


def test_07_classes_of_one_name_in_two_modules_have_two_results(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from tadka.task import Task\nclass Foo(Task[int]):\n    def run(self): return {}\n"
    for name, value in (("first_of_two", 1), ("second_of_two", 2)):
        (tmp_path / f"{name}.py").write_text(source.format(value))
    monkeypatch.syspath_prepend(tmp_path)
    import first_of_two  # type: ignore[import-not-found]
    import second_of_two  # type: ignore[import-not-found]

    first, second = first_of_two.Foo(), second_of_two.Foo()
    assert [1, 2] == build([first, second], workspace=work)
    assert first.id != second.id
    links = [path for path in work.rglob("*") if path.is_symlink()]
    assert 2 == len({path.resolve() for path in links})


PROJECT = """
from tadka.task import Task

def helper():
    return {value}

class Edited(Task[int]):
    def run(self) -> int:
        print("ran")
        return helper()
"""


BUILD_EDITED = """
import sys
from edited import Edited
from tadka.task import build

print("value", build(Edited(), workspace=sys.argv[1], on_code_change=sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("mode", "expected", "runs"), [("rerun", 2, 2), ("warn", 1, 1), ("ignore", 1, 1)]
)
def test_08_other_code_is_another_key_unless_told_otherwise(
    work: Path, tmp_path: Path, mode: str, expected: int, runs: int
) -> None:
    told, ran = [], 0
    for value in (1, 2):
        (tmp_path / "edited.py").write_text(PROJECT.format(value=value))
        done = subprocess.run(
            [
                *(sys.executable, "-W", "ignore", "-c"),
                BUILD_EDITED,
                *(str(work), mode),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        lines = done.stdout.split("\n")
        ran += lines.count("ran")
        told.append(int(next(line for line in lines if line.startswith("value")).split()[1]))

    assert [1, expected] == told
    assert runs == ran


class ByName(Task[list[Any]]):
    one: Number
    several: Sequence[Number]
    named: dict[str, Number]

    def run(self, one: int, several: list[int], named: dict[str, int], run: Run) -> list[Any]:
        return [one, several, named, run.load(self.one), run.load(self.named["b"])]


def test_09_results_come_in_the_shape_of_the_field(work: Path) -> None:
    task = ByName(
        one=Number(value=1),
        several=[Number(value=3), Number(value=2)],
        named={"a": Number(value=4), "b": Number(value=5)},
    )

    assert [1, [3, 2], {"a": 4, "b": 5}, 1, 5] == build(task, workspace=work)


class Reaching(Task[int]):
    number: Number

    def run(self, run: Run) -> int:
        return run.load(Number(value=99))


def test_10_what_no_field_holds_is_not_loaded(work: Path) -> None:
    with pytest.raises(BuildError, match=r"Number\(value=99.*no field of Reaching holds"):
        build(Reaching(number=Number(value=1)), workspace=work)


class OneByOne(Task[list[int]]):
    numbers: Sequence[Number]

    def run(self, numbers: Iterator[int]) -> list[int]:
        assert iter(numbers) is numbers
        return [next(numbers), next(numbers)]


def test_11_an_iterator_loads_one_after_the_other_in_order(work: Path) -> None:
    task = OneByOne(numbers=[Number(value=value) for value in (5, 4, 3)])

    assert [5, 4] == build(task, workspace=work)


class Frame(Task[pd.DataFrame]):
    rows: int
    out = Out("parquet", columns={"x": int}, min_rows=1)

    def run(self) -> pd.DataFrame:
        return pd.DataFrame({"x": range(self.rows)})


class PerhapsEmpty(Task[pd.DataFrame]):
    out = Out("parquet")

    def run(self) -> pd.DataFrame:
        return pd.DataFrame({"x": []})


def test_12_an_empty_frame_is_refused_where_rows_are_declared(work: Path) -> None:
    with pytest.raises(BuildError, match="has 0 rows; it declares at least 1"):
        build(Frame(rows=0), workspace=work)
    assert [] == list(ls(workspace=work))
    assert 0 == len(build(PerhapsEmpty(), workspace=work))


class WrongType(Task[pd.DataFrame]):
    values: Sequence[float | None]
    out = Out("parquet", columns={"x": int})

    def run(self) -> pd.DataFrame:
        return pd.DataFrame({"x": self.values}, dtype="float64")


class WithNull(Task[pd.DataFrame]):
    out = Out("parquet", columns={"x": int})

    def run(self) -> pd.DataFrame:
        return pd.DataFrame({"x": pd.array([1, None], dtype="Int64")})


def test_13_another_type_than_declared_is_refused_with_both(work: Path) -> None:
    with pytest.raises(BuildError, match=r"'x'.*declared as int and is float64"):
        build(WrongType(values=[1.5]), workspace=work)
    with pytest.raises(BuildError, match=r"'x'.*null"):
        build(WithNull(), workspace=work)


def test_14_a_task_that_went_through_json_is_the_same(work: Path) -> None:
    build(WORD, workspace=work)
    with Store(work) as store:
        again = restore(WORD.id, workspace=store)

    assert again == WORD
    assert again.id == WORD.id


def test_15_what_is_no_such_task_is_refused_where_it_is_given() -> None:
    with pytest.raises(ConfigError, match=r"Field 'number' of Parity is .*; it must be .*Number"):
        Parity(number=Silent(value=1))  # type: ignore[arg-type]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Any]:
    def read(text: str) -> Settings:
        file = tmp_path / "tadka.toml"
        file.write_text(textwrap.dedent(text))
        found = load_settings(file)
        use(found)
        return found

    yield read
    use(Settings())


class Configured(Task[str]):
    name: str = "class"

    def run(self) -> str:
        return self.name


class Child(Configured):
    pass


def test_16_a_call_wins_over_settings_and_they_over_the_class(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "class" == Configured().name
    monkeypatch.setenv("TADKA_TEST_NAME", "environment")
    settings('[tasks.Configured]\nname = "${TADKA_TEST_NAME}"\n')

    assert "environment" == Configured().name
    assert "call" == Configured(name="call").name
    monkeypatch.delenv("TADKA_TEST_NAME")
    settings('[tasks.Configured]\nname = "${TADKA_TEST_NAME}"\n')
    with pytest.raises(ConfigError, match="TADKA_TEST_NAME"):
        Configured()


def test_17_settings_of_a_base_hold_below_it_and_own_ones_win(settings: Any) -> None:
    settings('[tasks.Configured]\nname = "base"\n')
    assert "base" == Child().name

    settings('[tasks.Configured]\nname = "base"\n[tasks.Child]\nname = "child"\n')
    assert ("base", "child") == (Configured().name, Child().name)


class Broken(Task[int]):
    value: int

    def run(self) -> int:
        raise ValueError(f"no {self.value}")


def test_18_every_failure_is_listed_and_the_rest_is_done(work: Path) -> None:
    good = Number(value=7)
    root = Sum(numbers=[Broken(value=1), good, Broken(value=2)])

    with pytest.raises(BuildError) as caught:
        build(root, workspace=work)

    assert {Broken(value=1).id, Broken(value=2).id} == set(caught.value.failures)
    for text in ("ValueError: no 1", "ValueError: no 2", "1 task was skipped"):
        assert text in str(caught.value)
    assert ["Number 7"] == RAN


class Flaky(Task[int]):
    folder: Path
    retries = 1

    def run(self) -> int:
        marker = self.folder / "tried"
        if not marker.exists():
            marker.touch()
            raise OSError("first time")
        return 1


def test_19_a_second_attempt_may_succeed(work: Path, tmp_path: Path) -> None:
    report = Build([task := Flaky(folder=tmp_path)], store=Store(work)).run()

    assert report.is_ok
    assert 2 == report.results[task.id].attempts


class Two(Task[dict[str, int]]):
    out = {"a": Out("json"), "b": Out("json")}

    def run(self) -> dict[str, int]:
        return {"a": 1, "b": 2}


@pytest.mark.parametrize("workers", [None, 2])
def test_20_build_gives_the_value(work: Path, workers: int | None) -> None:
    two = Two()

    assert {"a": 1, "b": 2} == build(two, workspace=work, workers=workers)
    assert 2 == build(two["b"], workspace=work, workers=workers)
    assert ["odd", 6] == build(
        [WORD, Sum(numbers=[Number(value=1), Number(value=5)])], workspace=work, workers=workers
    )


def test_21_a_task_is_restored_by_its_id(work: Path) -> None:
    task = ByName(one=Number(value=1), several=[], named={"b": Number(value=5)})
    expected = build(task, workspace=work)
    with Store(work) as store:
        again = restore(task.id, workspace=store)

    assert task == again
    assert expected == build(again, workspace=work)


def test_22_the_tree_says_what_is_done_and_tells_a_branch_once(work: Path) -> None:
    both = Sum(numbers=[WORD.parity, Parity(number=Number(value=4)), WORD.parity])
    before = tree(plan(both, workspace=work))
    build(WORD.parity, workspace=work)
    after = tree(plan(both, workspace=work))

    assert 0 == before.count("[stored]")
    assert [
        "Sum() [to run]",
        "├─ numbers[0]: Parity() [stored]",
        "│  └─ number: Number(value=3, note='') [stored]",
    ] == after.splitlines()[:3]
    assert 1 == after.count("value=3")
    assert "..." in after.splitlines()[-1]


FORMATS: list[tuple[Out, Any]] = [
    (Out("json"), {"a": [1, None, "é"]}),
    (Out("jsonl"), [{"a": 1}, {"a": 2}]),
    (Out("txt"), "01\n1e3\n"),
    (Out("pickle"), {"a": {1, 2}}),
    (Out("csv", encoding="cp932"), pd.DataFrame({"text": ["01", "1e3", "日本"], "n": [1, 2, 3]})),
    (Out("tsv"), pd.DataFrame({"a b": ["x\ty", ""]})),
    (Out("parquet"), pd.DataFrame({"x": [1.5]}, index=pd.Index(["k"], name="name"))),
    (Out("feather"), pd.DataFrame({"x": pd.Categorical(["b", "a"])})),
]


def made(out_: Out, value: Any) -> Task[Any]:
    cls: Any = pd.DataFrame if isinstance(value, pd.DataFrame) else type(value)

    class Made(Task[cls]):
        out = out_

        def run(self) -> Any:
            return value

    return Made()


@pytest.mark.parametrize(("out", "value"), FORMATS, ids=[str(out.format) for out, _ in FORMATS])
def test_23_what_is_loaded_is_what_was_given(work: Path, out: Out, value: Any) -> None:
    found = build(made(out, value), workspace=work)

    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(value, found)
    else:
        assert value == found


class Mixin:
    def run(self) -> Any:
        return pd.DataFrame({"x": [1]})


class OfPandas(Task[pd.DataFrame]):
    pass


class ThroughMixin(Mixin, OfPandas):
    pass


def test_24_the_type_argument_decides_the_library_through_bases(work: Path) -> None:
    pl = pytest.importorskip("polars")

    class Polars(Task[pl.DataFrame]):  # type: ignore[name-defined]
        def run(self) -> Any:
            return pl.DataFrame({"x": [1]})

    assert isinstance(build(ThroughMixin(), workspace=work), pd.DataFrame)
    assert isinstance(build(Polars(), workspace=work), pl.DataFrame)


class Large(Task[pd.DataFrame]):
    rows: int
    out = Out("parquet", max_bytes="20K")

    def run(self) -> pd.DataFrame:
        return pd.DataFrame({"x": range(self.rows), "y": "a"})


@pytest.mark.parametrize("rows", [0, 10_000])
def test_25_a_large_frame_is_kept_in_parts_and_comes_back(work: Path, rows: int) -> None:
    task = Large(rows=rows)
    found = build(task, workspace=work)
    with Store(work) as store:
        entry = store.index.newest(task.id)
        assert entry is not None
        num_files = len(list(store.path(entry.outputs[0]).iterdir()))

    assert (num_files > 5) == (rows > 0)
    pd.testing.assert_frame_equal(task.run(), found)


class Slow(Task[int]):
    folder: Path

    def run(self) -> int:
        with (self.folder / "ran").open("a") as file:
            file.write("x")
        for line in (self.folder / "gate").open():  # a pipe: until the test has seen both
            return int(line)
        return 0


def _build_slow(folder: Path, results: Any) -> None:
    results.put(build(Slow(folder=folder), workspace=folder / "work"))


def test_26_of_two_processes_one_runs_and_the_other_takes_its_result(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "gate")
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    both = [context.Process(target=_build_slow, args=(tmp_path, results)) for _ in range(2)]
    for process in both:
        process.start()
    with (tmp_path / "gate").open("w") as gate:  # opens when the first body runs
        gate.write("42\n")
    for process in both:
        process.join()

    assert [42, 42] == [results.get(), results.get()]
    assert "x" == (tmp_path / "ran").read_text()


def test_27_while_another_has_the_lock_other_tasks_go_first(work: Path) -> None:
    held = Number(value=1)
    root = Sum(numbers=[held, Number(value=2), Number(value=3)])
    with Store(work) as other:
        key = parts_of(held, code_of_tasks(Number), {}).key
        assert other.locks.acquire(key)
        done: list[Any] = []

        def see(event: Any) -> None:
            if event.kind == "started":
                done.append(event.task.value if isinstance(event.task, Number) else "Sum")
            if done == [2, 3]:
                other.locks.release(key)

        assert 6 == build(root, workspace=work, on_event=see)

    assert [2, 3, 1, "Sum"] == done


class Seeded(Task[float]):
    value: int = 0

    def run(self, run: Run) -> float:
        import random

        assert random.Random(run.seed).random() == random.random()
        return float(run.seed)


class OwnSeed(Seeded):
    seed = 17


def test_28_seeds_follow_from_the_task_unless_given(tmp_path: Path) -> None:
    first = build(Seeded(), workspace=tmp_path / "a")

    assert first == build(Seeded(), workspace=tmp_path / "b")
    assert first != build(Seeded(value=1), workspace=tmp_path / "a")
    assert 17 == build(OwnSeed(), workspace=tmp_path / "a")


def test_28_frames_are_compared_whatever_their_order() -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}, index=["p", "q"])

    assert_frames_equal(frame, frame.iloc[::-1][["y", "x"]])
    with pytest.raises(AssertionError, match="x"):
        assert_frames_equal(frame, frame.assign(x=[1, 3]))
    twice = frame.set_axis(["p", "p"])
    with pytest.raises(AssertionError, match="'p' is there 2 times"):
        assert_frames_equal(twice, twice)
