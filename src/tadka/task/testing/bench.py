"""Runs the body of a task in memory, without a store."""

import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tadka.core.error import DataError
from tadka.task.define.declaration import Argument
from tadka.task.define.frozen import Input, loaded
from tadka.task.define.run import Run
from tadka.task.define.task import Task, arguments_of
from tadka.task.engine.body import (
    codec_for,
    number_of,
    refuse_dump,
    returned,
    set_seed,
    settled,
)
from tadka.task.engine.job import seed_of
from tadka.task.output.codec import Codec
from tadka.task.output.frame import library_of


class Bench(Run):
    """Runs the body of one task in memory, and is the `Run` that it sees.

    Args:
        task: It.
        load: Gives the value of a task that a field holds.
        need: Gives the value of any other task.
        is_empty: Whether inputs have no rows: then `min_rows` and what checks say do not count.
    """

    def __init__(
        self,
        task: Task[Any],
        load: Callable[[Input[Any]], Any],
        need: Callable[[Input[Any]], Any],
        *,
        is_empty: bool = False,
    ) -> None:
        self.seed = seed_of(task)
        self._task = task
        self._cls = type(task)
        self._load = load
        self._need = need
        self._is_empty = is_empty
        self._dumped: dict[str, Any] = {}
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def outputs(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Runs the body.

        Args:
            arguments: Of the body; others are loaded.

        Returns:
            All outputs by name, a single one as `""`, each looked at.

        Raises:
            DataError: One is missing, or not as declared.
        """
        taken = {
            argument.name: self._argument(argument, arguments)
            for argument in arguments_of(self._cls)
        }
        set_seed(self.seed)
        value: Any = self._task.run(**taken)
        if "" in self._cls.outs:
            return {"": self._settled("", value)}
        rest = returned(self._cls, value, self._dumped)
        found = {**self._dumped, **{name: self._settled(name, one) for name, one in rest.items()}}
        return {name: found[name] for name in self._cls.outs}

    def check(self, outputs: Mapping[str, Any]) -> None:
        """Asks the checks of the class.

        Args:
            outputs: All, by name.

        Raises:
            DataError: One of severity "error" said False.
        """
        whole = outputs[""] if "" in outputs else dict(outputs)
        for one in self._cls.checks:
            if one.passes(self._task, whole) or self._is_empty:
                continue
            message = f"Check {self._cls.__name__}.{one.name} failed."
            if one.severity == "error":
                raise DataError(message)
            warnings.warn(message, UserWarning, stacklevel=3)

    def _argument(self, argument: Argument, given: Mapping[str, Any]) -> Any:
        name = argument.name
        if argument.is_run:
            return self
        value = given[name] if name in given else loaded(self._task.__dict__[name], self._load)
        return iter(value) if argument.is_lazy else value

    def _settled(self, name: str, value: Any) -> Any:
        codec = codec_for(self._cls, name)
        if self._is_empty and codec.out.min_rows:
            codec = Codec(replace(codec.out, min_rows=0), codec.type_, codec.format)
        value = settled(codec, self._cls, name, value)
        return value.lazy() if library_of(codec.type_) == "lazy" else value

    # ------------------------------------------------------------ what a body sees

    @property
    def folder(self) -> Path:  # type: ignore[override]
        """Scratch space, removed afterwards."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tadka-"))
        return self._folder

    def load(self, task: Input[Any]) -> Any:
        return self._load(task)

    def need(self, task: Any) -> Any:
        if isinstance(task, Input):
            return self._need(task)
        return [self._need(item) for item in task]

    def dump(self, value: Any, name: str) -> None:
        refuse_dump(self._cls, name, self._dumped)
        self._dumped[name] = self._settled(name, value)

    def log(self, **metrics: float) -> None:
        for name, value in metrics.items():
            number_of(name, value)

    def plot(self, frame: Any, x: str, y: str) -> None: ...
