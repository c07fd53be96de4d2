"""What the registry tells: runs, data sets, model versions, lineage. Plain values, no MLflow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

History = Callable[[str], list[tuple[int, float]]]


def _no_history(_metric: str) -> list[tuple[int, float]]:
    """The history of a record that nothing was read from."""
    return []


@dataclass(frozen=True, kw_only=True)
class DatasetRef:
    """Which data a run was trained on.

    Args:
        name: For people: `"ml-100k"`.
        uri: Where it stood.
        fingerprint: Hash of its contents, at least one character.
        version: Id of the dataset version (`tadka.dataset`), where it is one.
        num_rows: Rows of the training part, where known.
    """

    name: str
    uri: str
    fingerprint: str
    version: str | None = None
    num_rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as the registry has it.

    Args:
        id: Ours, made before any server was asked; it never changes. For a run that another
            program logged, MLflow's.
        mlflow_id: MLflow's own id of the run, as its UI shows it.
        model: Name of the model that was trained.
        experiment: Name of the experiment that it belongs to.
        status: `"running"`, `"finished"`, `"failed"`, or another one of MLflow's in lower case.
        started: When, in UTC.
        seconds: How long it took; None while it is running.
        params: Flat, by dotted name, as they were given (numbers stay numbers).
        metrics: The last value of each.
        dataset: What it was trained on.
        code: Hash of the code, as it was given.
        directory: Folder that it was begun with, on the machine that ran it; empty for a run that
            another program logged.
        environment: What ran it. In lists of runs only the short values, without `"packages"`.
        parent: Id of the run that it goes on from (warm start).
        tags: Others that people or programs set.
        artifacts: URI of the folder of its files.
        read_history: What `history` asks.
    """

    id: str
    mlflow_id: str
    model: str
    experiment: str
    status: str
    started: datetime
    seconds: float | None
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    dataset: DatasetRef | None
    code: str
    directory: str
    environment: Mapping[str, Any]
    parent: str | None
    tags: Mapping[str, str]
    artifacts: str
    read_history: History = field(default=_no_history, repr=False, compare=False)

    def history(self, metric: str) -> list[tuple[int, float]]:
        """Every value of a metric, with its step, in order of the steps.

        Args:
            metric: Its name; one that was never logged has no values.

        Returns:
            Pairs of step and value.
        """
        return self.read_history(metric)


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A run's model under a name and a number.

    Args:
        name: Of the registered model.
        version: From 1, in order of publishing.
        run: Id of the run that made it.
        signature: What it takes and gives, as it was published.
        aliases: Names that point to this version now, sorted.
        created: When it was published, in UTC.
    """

    name: str
    version: int
    run: str
    signature: Mapping[str, Any]
    aliases: tuple[str, ...]
    created: datetime

    def __str__(self) -> str:
        names = "".join(f" @{alias}" for alias in self.aliases)
        return f"{self.name}/{self.version}{names}"


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """What made a model.

    Args:
        run: That made it.
        parents: The runs that it goes on from, the nearest first, back to the first.
        missing: Id of a parent that the registry does not have (never sent, or deleted), where the
            chain breaks off.
    """

    run: RunRecord
    parents: tuple[RunRecord, ...] = ()
    missing: str | None = None

    @property
    def dataset(self) -> DatasetRef | None:
        """What the run was trained on."""
        return self.run.dataset

    @property
    def code(self) -> str:
        """Hash of the run's code."""
        return self.run.code

    @property
    def environment(self) -> Mapping[str, Any]:
        """What ran it: versions, commit, host."""
        return self.run.environment

    def __str__(self) -> str:
        lines = []
        for depth, run in enumerate((self.run, *self.parents)):
            data = run.dataset
            made_of = (
                f"{data.name} {data.fingerprint[:12]} ({data.uri})" if data else "unknown data"
            )
            lines.append(
                f"{'  ' * depth}{run.id[:8]} {run.model}, {run.started:%Y-%m-%d %H:%M}, "
                f"code {run.code[:12] or 'unknown'}, from {made_of}"
            )
        if self.missing:
            lines.append(f"{'  ' * len(lines)}{self.missing[:8]} is not in this registry")
        return "\n".join(lines)
