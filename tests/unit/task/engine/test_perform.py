"""One job, from the bytes of its inputs to those of its outputs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from tadka.task.define.task import Task
from tadka.task.engine.job import Job, Outcome, Ready
from tadka.task.engine.perform import perform, value_of
from tadka.task.output.out import Out
from tadka.task.store.store import Store
from tests.rows import entry


class Rows(Task[pl.LazyFrame]):
    def run(self) -> pl.LazyFrame:
        return pl.LazyFrame({"a": [1, 2, 3]})


class Parts(Task[pl.LazyFrame]):
    out = Out("parquet", max_bytes="1kB")

    def run(self) -> pl.LazyFrame:
        return pl.LazyFrame({"a": range(1000)})


def save(rows: int, folder: Path) -> None:
    pl.DataFrame({"a": range(rows)}).write_parquet(folder / "rows")


def load(folder: Path) -> pl.LazyFrame:
    return pl.scan_parquet(folder / "rows")


class Own(Task[Any]):
    out = Out(save=save, load=load)

    def run(self) -> int:
        return 5


class Height(Task[int]):
    rows: Task[Any]
    before: ClassVar[Callable[[], object]]

    def run(self, rows: pl.LazyFrame) -> int:
        type(self).before()
        return rows.collect().height


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "ws") as made:
        yield made


def performed(
    store: Store, task: Task[Any], inputs: dict[str, Ready] | None = None, **given: Any
) -> Outcome:
    return perform(Job(1, task, inputs or {}, "key", 0), store, **given)


@pytest.mark.parametrize(("rows", "height"), [(Rows(), 3), (Parts(), 1000), (Own(), 5)])
def test_a_lazy_frame_is_read_when_its_file_got_its_name(
    store: Store, monkeypatch: pytest.MonkeyPatch, rows: Task[Any], height: int
) -> None:
    outputs = performed(store, rows).outputs
    before = lambda: store.commit([entry(1, *outputs)])  # noqa: E731
    monkeypatch.setattr(Height, "before", staticmethod(before), raising=False)

    task = Height(rows=rows)
    outcome = performed(store, task, {"rows": Ready(type(rows), outputs)})

    assert outcome.error is None
    assert height == value_of(task, Ready(Height, outcome.outputs), store)
    assert [] == list(store.folder.glob("objects/.aside/*/*"))


class Array(Task[np.ndarray]):
    def run(self) -> np.ndarray:
        return np.zeros(3)


@pytest.mark.parametrize("num_bytes", [4096, 1 << 30])
def test_a_full_disk_is_named_where_numpy_does_not(
    store: Store, monkeypatch: pytest.MonkeyPatch, num_bytes: int
) -> None:
    def refuse(*given: Any, **named: Any) -> None:
        raise OSError("3000000 requested and 262016 written")

    usage = SimpleNamespace(free=num_bytes)
    monkeypatch.setattr("numpy.lib.format.write_array", refuse)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)

    error = performed(store, Array()).error

    assert error is not None
    assert "requested and 262016 written" in error.message
    assert (num_bytes == 4096) == ("The disk of the workspace has 4,096" in error.message)
