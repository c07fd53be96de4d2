"""Runs the body of a task in memory, without a store."""

import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import loaded as loaded_module
from tadka.task.define.declaration import Argument, closest
from tadka.task.define.frozen import Input, loaded
from tadka.task.define.run import Run
from tadka.task.define.task import Task, arguments_of, type_of_output
from tadka.task.engine.job import seed_of
from tadka.task.output.codec import Codec, codec_of
from tadka.task.output.frame import library_of

_SEEDS = 2**32  # of numpy's generator


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
        _seed(self.seed)
        value: Any = self._task.run(**taken)
        if "" in self._cls.outs:
            return {"": self._settled("", value)}
        where = f"{self._cls.__name__}.run"
        names = self._cls.outs
        value = {} if value is None and self._dumped else value
        if not isinstance(value, Mapping):
            raise DataError(
                f"{where} returned {type(value).__name__}; it must return a dict with its outputs "
                f"{', '.join(map(repr, names))}."
            )
        for name in value:
            if name not in names:
                raise DataError(
                    f"{where} returned an output {name!r}."
                    f"{closest(str(name), names, 'Its outputs are ')}"
                )
            if name in self._dumped:
                raise DataError(f"{where} returned output {name!r}, which it had dumped already.")
        found = {**self._dumped, **{name: self._settled(name, one) for name, one in value.items()}}
        missing = [name for name in names if name not in found]
        if missing:
            raise DataError(f"{where} gave no output {', '.join(map(repr, missing))}.")
        return {name: found[name] for name in names}

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
        out = self._cls.outs[name]
        codec = codec_of(out, type_of_output(self._cls, name))
        if self._is_empty and out.min_rows:
            codec = Codec(replace(out, min_rows=0), codec.type_, codec.format)
        settled = codec.settle(value)
        cls = self._cls.__name__
        codec.refuse(settled, f"{cls}.out[{name!r}]" if name else f"{cls}.out")
        is_lazy = library_of(codec.type_) == "lazy"
        return settled.lazy() if is_lazy else settled

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
        if name not in self._cls.outs:
            raise ConfigError(
                f"{self._cls.__name__}.run dumps an output {name!r} that is not declared."
            )
        if name in self._dumped:
            raise ConfigError(f"{self._cls.__name__}.run dumped {name!r} twice.")
        self._dumped[name] = self._settled(name, value)

    def log(self, **metrics: float) -> None:
        for name, value in metrics.items():
            if isinstance(value, bool) or not hasattr(value, "__float__"):
                raise ConfigError(f"run.log({name}={value!r}): a metric must be a number.")

    def plot(self, frame: Any, x: str, y: str) -> None: ...


def _seed(seed: int) -> None:
    random.seed(seed)
    if (numpy := loaded_module("numpy")) is not None:
        numpy.random.seed(seed % _SEEDS)
    if (torch := loaded_module("torch")) is not None:
        torch.manual_seed(seed % _SEEDS)
