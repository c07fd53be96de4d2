"""What a running task may ask for beside its inputs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from tadka.task.define.frozen import Input

T = TypeVar("T")


class Run(ABC):
    """The run of one task: `def run(self, clicks: DataFrame, run: Run) -> DataFrame`.

    Attributes:
        seed: The class's own, or one derived from the task's id.
        folder: Scratch space, removed afterwards.
    """

    seed: int
    folder: Path

    @abstractmethod
    def load(self, task: Input[T]) -> T:
        """The result of a task that a field holds.

        Args:
            task: It, or one output of it.

        Raises:
            ConfigError: No field of the running task holds it.
        """

    @overload
    def need(self, task: Input[T]) -> T: ...
    @overload
    def need(self, task: Sequence[Input[T]]) -> list[T]: ...
    @abstractmethod
    def need(self, task: Any) -> Any:
        """The result of a task that no field holds: one that is known only now.

        Where it is not made yet, `run` is left here, the task is built, and `run` begins again.
        What was needed is remembered with the result: when one of these tasks gives another
        result later, this one is made again.

        Args:
            task: It, one output of it, or a list of such; those of a list are built together.

        Raises:
            ConfigError: The task needs this one.
        """

    @abstractmethod
    def dump(self, value: Any, name: str) -> None:
        """Keeps one of several outputs before `run` returns.

        Args:
            value: The output.
            name: As the class declares it.

        Raises:
            ConfigError: The class declares no such output.
        """

    @abstractmethod
    def log(self, **metrics: float) -> None:
        """Records numbers about the run.

        Args:
            metrics: By name.
        """

    @abstractmethod
    def plot(self, frame: Any, x: str, y: str) -> None:
        """Puts a chart on the card of the task.

        Args:
            frame: A frame, a dict of columns, or a list of dicts.
            x: Its column along the axis.
            y: Its column of values.
        """
