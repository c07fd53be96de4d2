"""Whether a model keeps the promises that the frame makes for it."""

import atexit
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tadka.core.error import DataError, TadkaError
from tadka.models.define.catalog import get
from tadka.models.define.model import Model
from tadka.models.train.flow import Fit, load, train
from tadka.models.train.run import ModelRun
from tadka.models.train.trained import Trained

_ROWS = 160
_NEAR = 1e-5  # between batch sizes: sums of floats in another order
_ELSEWHERE = """
import sys, traceback, cloudpickle
from tadka.models.train.trained import Trained
while True:
    try:
        folder, model, rows = cloudpickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        told = Trained(folder, model, {}).predict(rows).to_pydict()
    except Exception:
        told = traceback.format_exc()
    cloudpickle.dump(told, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


def check_model(
    model: str | type[Model],
    params: Mapping[str, Any] | None = None,
    *,
    tables: Mapping[str, pa.Table] | None = None,
    elsewhere: bool = True,
) -> list[str]:
    """Trains a model on a small table, again and again, and looks whether it behaves.

    Args:
        model: Name, or a registered class.
        params: Parameters that make it small and fast.
        tables: `train` and what else `prepare` asks for; `Model.example` makes them unless given.
        elsewhere: Whether to predict in another process, too, which takes some seconds.

    Returns:
        Names of the checks that it passed.

    Raises:
        AssertionError: It failed one: which, and what was seen.

    >>> from tadka.testing import check_model
    >>> check_model("fm", {"dim": 4}, elsewhere=False)[0]  # doctest: +SKIP
    'rows keep their number and order'
    """
    cls = get(model) if isinstance(model, str) else model
    given = {"epochs": 2, "batch_rows": 32, **(params or {})}
    made = dict(tables or cls.example(_ROWS, seed=7))
    with tempfile.TemporaryDirectory() as folder:
        checks = _Checks(cls, given, made, Path(folder))
        passed = []
        for name, check in checks.all(elsewhere=elsewhere):
            try:
                check()
            except (AssertionError, TadkaError) as error:
                raise AssertionError(f"Model {cls.name!r}: {name}: {error}") from error
            passed.append(name)
    return passed


class _Checks:
    def __init__(
        self, cls: type[Model], params: Mapping[str, Any], tables: dict[str, pa.Table], folder: Path
    ) -> None:
        self._cls = cls
        self._params = params
        self._tables = tables
        self._folder = folder
        self._num_fits = 0
        self._rows = tables["train"].slice(0, 50)
        self._labels = [column.name for column in cls.inputs if column.role == "label"]
        self._fit = self._train()
        self._trained = self._fit.load()
        self._found = self._predict(self._rows)

    def all(self, *, elsewhere: bool) -> list[tuple[str, Callable[[], None]]]:
        """Name and function of every check."""
        checks = [
            ("rows keep their number and order", self.order),
            ("labels are not needed to predict", self.without_labels),
            ("one row is predicted as in a batch", self.one_row),
            ("no rows are predicted as no rows", self.no_rows),
            ("float64 and int32 do as float32 and int64 do", self.wide),
            ("ids that were never seen get an answer", self.unseen),
            ("the seed decides everything random", self.seeded),
            ("saved and loaded predicts the same bits", self.loaded),
            ("a run that was stopped goes on as if it had not been", self.resumed),
            ("another training goes on from it, and grows", self.grown),
            ("bad rows are refused before training", self.refused),
        ]
        if elsewhere:
            checks.append(("another process predicts the same", self.elsewhere))
        return checks

    def _train(self, tables: Mapping[str, pa.Table] | None = None, **options: Any) -> Fit:
        self._num_fits += 1
        place = self._folder / str(self._num_fits)
        place.mkdir()
        uris: dict[str, str] = {}
        given: dict[str, pa.Table] = self._tables | dict(tables or {})
        for name, table in given.items():
            uris[name] = str(place / f"{name}.parquet")
            pq.write_table(table, uris[name], row_group_size=64)
        parts = {name: uris.pop(name) for name in ("train", "valid", "test") if name in uris}
        self._values: dict[str, Any] = {
            "data": {**parts, "tables": uris},
            "model": {"name": self._cls.name, **self._params},
            "stream": {"on": "here"},
            "tracking": {"offline": True, "folder": str(place / "runs")},
        }
        return train(self._values, progress="none", **options)

    def _predict(self, rows: pa.Table, trained: Trained | None = None, **options: Any) -> Any:
        return (trained or self._trained).predict(rows, **options)

    def _same(self, expected: pa.Table, found: pa.Table, near: float = 0.0) -> None:
        assert expected.column_names == found.column_names, (
            f"columns {found.column_names} instead of {expected.column_names}"
        )
        assert len(expected) == len(found), f"{len(found)} rows instead of {len(expected)}"
        for name in expected.column_names:
            first, second = _matrix(expected[name]), _matrix(found[name])
            if first.dtype.kind != "f":
                assert first.tolist() == second.tolist(), f"{name} differs"
                continue
            gap = np.abs(first - second) - near * np.maximum(1, np.abs(first))
            worst = int(np.argmax(gap.reshape(len(gap), -1).max(axis=1))) if gap.size else 0
            assert not gap.size or gap.max() <= 0, (
                f"{name} of row {worst} is {second[worst]} instead of {first[worst]}"
            )

    def order(self) -> None:
        assert len(self._rows) == len(self._found), (
            f"{len(self._found)} outputs for {len(self._rows)} rows"
        )
        order = np.random.default_rng(1).permutation(len(self._rows))
        self._same(self._found.take(order), self._predict(self._rows.take(order)), _NEAR)

    def without_labels(self) -> None:
        self._same(self._found, self._predict(self._rows.drop_columns(self._labels)))

    def one_row(self) -> None:
        self._same(self._found, self._predict(self._rows, batch_rows=1), _NEAR)

    def no_rows(self) -> None:
        found = self._predict(self._rows.slice(0, 0))
        assert self._found.column_names == found.column_names, f"columns {found.column_names}"
        assert not len(found), f"{len(found)} outputs for no rows"

    def wide(self) -> None:
        rows = self._rows
        wider = {pa.float32(): pa.float64(), pa.int64(): pa.int32()}
        for place, field in enumerate(rows.schema):
            kind = wider.get(field.type)
            if kind is not None:
                rows = rows.set_column(place, field.name, rows[field.name].cast(kind))
        self._same(self._found, self._predict(rows), _NEAR)

    def unseen(self) -> None:
        rows = self._rows
        for column in self._cls.inputs:
            if column.vocabulary and column.role != "label" and not column.is_list:
                place = rows.column_names.index(column.name)
                values = _unseen(rows[column.name].type, len(rows))
                rows = rows.set_column(place, column.name, values)
        found = self._predict(rows)
        for name in found.column_names:
            values = _matrix(found[name])
            assert values.dtype.kind != "f" or np.isfinite(values).all(), f"{name} is not finite"

    def seeded(self) -> None:
        again = self._train()
        self._same(self._found, self._predict(self._rows, again.load()))
        assert _numbers(self._fit) == _numbers(again), (
            f"metrics {_numbers(again)} after {_numbers(self._fit)}"
        )

    def loaded(self) -> None:
        self._same(self._found, self._predict(self._rows, load(self._fit.folder)))

    def resumed(self) -> None:
        stopped = []
        save = ModelRun.save

        def stop(run: ModelRun, learnt: Any, **more: Any) -> None:
            save(run, learnt, **more)
            stopped.append(run.folder)
            raise _Stop

        ModelRun.save = stop  # type: ignore[method-assign, assignment]
        try:
            with suppress(TadkaError):
                self._train()
        finally:
            ModelRun.save = save  # type: ignore[method-assign]
        if stopped:  # else it keeps no checkpoints, and is trained in one go
            done = train(self._values, resume=stopped[0], progress="none")
            self._same(self._found, self._predict(self._rows, done.load()))

    def grown(self) -> None:
        more = dict(self._cls.example(_ROWS, seed=8))["train"]
        keys = [c for c in self._cls.inputs if c.vocabulary and not c.is_list]
        if not keys or "train" not in self._tables or len(self._tables) > 1:
            more = self._tables["train"]
        else:
            for column in keys:
                place = more.column_names.index(column.name)
                new = _unseen(more[column.name].type, len(more) // 4)
                old = more[column.name].slice(len(new)).combine_chunks()
                more = more.set_column(place, column.name, pa.concat_arrays([new, old]))
        grown = self._train({"train": more}, start=self._fit.folder).load()
        for name in set(self._trained.model.state.vocabularies.values()):
            before = self._trained.model.state.vocabulary(name)
            after = grown.model.state.vocabulary(name)
            keys_before = before.values(1)
            assert after.rows(keys_before).tolist() == before.rows(keys_before).tolist(), (
                f"rows of vocabulary {name!r} have moved"
            )
        assert len(self._rows) == len(self._predict(self._rows, grown))

    def refused(self) -> None:
        column = next(c for c in self._cls.inputs if c.role != "label")
        table = self._tables["train"].drop_columns([column.name])
        _refuses(lambda: self._train({"train": table}), column.name)
        for name in self._labels:
            kind = self._tables["train"][name].type
            if pa.types.is_floating(kind):
                place = table.column_names.index(name)
                values = self._tables["train"][name].to_numpy().copy()
                values[3] = np.nan
                bad = self._tables["train"].set_column(place + 1, name, pa.array(values))
                _refuses(partial(self._train, {"train": bad}), name)

    def elsewhere(self) -> None:
        other = _other_process()
        assert other.stdin is not None
        assert other.stdout is not None
        cloudpickle.dump((self._trained.folder, self._trained.model, self._rows), other.stdin)
        other.stdin.flush()
        told = cloudpickle.load(other.stdout)
        assert not isinstance(told, str), told[-2000:]
        self._same(self._found, pa.table(told, schema=self._found.schema))


@cache
def _other_process() -> "subprocess.Popen[bytes]":
    """An interpreter that predicts for all checks; it ends when this process does."""
    other = subprocess.Popen(
        [sys.executable, "-c", _ELSEWHERE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(other.communicate)  # closes its input, and waits
    return other


class _Stop(Exception):
    """Ends a training after its first checkpoint."""


def _refuses(act: Callable[[], object], column: str) -> None:
    try:
        act()
    except DataError as error:
        told = str(error)
    else:
        raise AssertionError(f"bad values of {column!r} were trained on")
    assert column in told, f"the error does not name {column!r}: {told}"


def _unseen(kind: Any, count: int) -> Any:
    if pa.types.is_integer(kind):
        return pa.array(np.arange(count) + 1_000_000, kind)
    return pa.array([f"never seen {number}" for number in range(count)], kind)


def _matrix(column: Any) -> np.ndarray:
    """A column as an array; vectors as rows."""
    array = column.combine_chunks()
    if pa.types.is_fixed_size_list(array.type):
        return np.asarray(array.flatten()).reshape(len(array), -1)
    return np.asarray(array)


def _numbers(fit: Fit) -> dict[str, float]:
    return {**fit.metrics, "loss": fit.history[-1].get("loss", 0.0) if fit.history else 0.0}
