"""Runs a whole graph on frames without rows."""

import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tadka.core.error import ConfigError, DataError
from tadka.task.define.frozen import Input, path_of
from tadka.task.define.task import Part, Task, inputs_of, type_of_output, whole_of
from tadka.task.engine.body import theirs
from tadka.task.graph import Graph, Node
from tadka.task.output.empty import empty_of, without_rows
from tadka.task.testing.bench import Bench

_HERE = Path(__file__).parent

EmptyStatus = Literal["replaced", "given", "passed", "failed", "skipped"]


@dataclass(frozen=True)
class EmptyResult:
    """How one task took empty frames.

    Args:
        task: It.
        status: `"replaced"`: it has no inputs and declares columns, so its body did not run.
            `"given"`: its value was given. `"passed"`, `"failed"`: its body ran. `"skipped"`: an
            input of it has no value, because a task failed that declares no columns.
        error: The exception's last line.
        traceback: Of it.
    """

    task: Task[Any]
    status: EmptyStatus
    error: str = ""
    traceback: str = ""


class EmptyReport:
    """How the tasks of a graph took empty frames; made by `run_empty`.

    Args:
        results: By id of the task, in the order of the graph.
    """

    def __init__(self, results: Mapping[str, EmptyResult]) -> None:
        self.results = results

    @property
    def failures(self) -> list[EmptyResult]:
        """The tasks that broke."""
        return [result for result in self.results.values() if result.status == "failed"]

    @property
    def is_ok(self) -> bool:
        """Whether all bodies ran that could."""
        return not self.failures

    def raise_failures(self) -> None:
        """Fails where a task broke.

        Raises:
            DataError: One did; the message names all, with the traceback of the first.
        """
        if self.failures:
            raise DataError(f"{self}\n\n{self.failures[0].traceback}".rstrip())

    def to_json(self) -> list[dict[str, Any]]:
        """As plain JSON."""
        return [
            {
                "task": path_of(type(result.task)),
                "id": result.task.id,
                "status": result.status,
                "error": result.error or None,
                "traceback": result.traceback or None,
            }
            for result in self.results.values()
        ]

    def __str__(self) -> str:
        counts = Counter(result.status for result in self.results.values())
        parts = ", ".join(f"{count} {status}" for status, count in counts.items())
        count = "1 task" if len(self.results) == 1 else f"{len(self.results)} tasks"
        lines = [f"{count} on empty frames: {parts}."]
        lines += [f"  {result.task!r} broke: {result.error}" for result in self.failures]
        return "\n".join(lines)


def run_empty(
    tasks: Task[Any] | Sequence[Task[Any]],
    *,
    given: Mapping[Any, Any] | None = None,
) -> EmptyReport:
    """Runs the bodies of a whole graph on frames without rows, in memory, and tells which broke.

    A task without inputs that declares the columns of all its outputs is replaced by empty frames
    of these columns and types; one that declares none runs as it is, unless its value is given.
    Every other body runs. Its result must have the declared columns and types, even without rows;
    `min_rows` and what checks say do not count, what they raise does. Where columns are declared,
    the next task gets the result without its rows.

    Args:
        tasks: One or several; all that they need is run, too.
        given: Values by task, or by class for all its tasks.

    Returns:
        How each task did.

    Raises:
        ConfigError: Tasks need each other in a circle.
    """
    roots = [tasks] if isinstance(tasks, Task) else list(tasks)
    session = _EmptySession(given or {})
    session.run(roots)
    return EmptyReport(session.results)


class _EmptySession:
    """Values and results of a graph on empty frames."""

    def __init__(self, given: Mapping[Any, Any]) -> None:
        self._given = given
        self._values: dict[str, dict[str, Any]] = {}  # id -> outputs
        self.results: dict[str, EmptyResult] = {}

    def run(self, roots: Sequence[Task[Any]]) -> None:
        for node in Graph(roots):
            if node.id not in self.results:
                self.results[node.id] = EmptyResult(node.task, "skipped")  # keeps the order
                self.results[node.id] = self._result(node)

    def _result(self, node: Node) -> EmptyResult:
        task, cls = node.task, type(node.task)
        keys = [key for key in (task, *cls.__mro__) if key in self._given]
        if keys:
            value = self._given[keys[0]]
            self._values[node.id] = {"": value} if "" in cls.outs else dict(value)
            return EmptyResult(task, "given")
        declared = _declared(cls)
        if not node.parents and len(declared) == len(cls.outs):
            self._values[node.id] = declared
            return EmptyResult(task, "replaced")
        if not all(self._has(item) for _, item in inputs_of(task)):
            self._values[node.id] = declared
            return EmptyResult(task, "skipped")
        try:
            with Bench(task, self._load, self._need, is_empty=True) as bench:
                outputs = bench.outputs({})
                bench.check(outputs)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code raises anything
            self._values[node.id] = declared
            last = traceback.format_exception_only(error)[-1].strip()
            lines = traceback.format_exception(
                type(error), error, theirs(error.__traceback__, _HERE)
            )
            return EmptyResult(task, "failed", last, "".join(lines))
        self._values[node.id] = {
            name: without_rows(value) if name in declared else value
            for name, value in outputs.items()
        }
        return EmptyResult(task, "passed")

    def _has(self, item: Input[Any]) -> bool:
        outputs = self._values.get(whole_of(item).id, {})
        if isinstance(item, Part):
            return item.output in outputs
        return outputs.keys() == type(whole_of(item)).outs.keys()

    def _load(self, item: Input[Any]) -> Any:
        outputs = self._values[whole_of(item).id]
        if isinstance(item, Part):
            return outputs[item.output]
        return outputs[""] if "" in outputs else dict(outputs)

    def _need(self, item: Input[Any]) -> Any:
        task = whole_of(item)
        self.run([task])
        if not self._has(item):
            raise DataError(f"{item!r} is needed and has no value: {self.results[task.id].error}")
        return self._load(item)


def _declared(cls: type[Task[Any]]) -> dict[str, Any]:
    """Empty frames of the outputs that declare columns."""
    found = {}
    for name, out in cls.outs.items():
        if out.columns is not None:
            try:
                found[name] = empty_of(out, type_of_output(cls, name))
            except ConfigError:  # a result of another kind
                continue
    return found
