"""Runs that were: found by id, alias or folder, and compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadka.models.measure.best import best_of
from tadka.registry.kept import read_kept
from tadka.registry.record import RunRecord
from tadka.registry.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How runs differ.

    Args:
        runs: In the order that they were named.
        params: Those that differ: a value for each run, None where it has none.
        metrics: All, likewise.
        best: Index of the run with the best value, by metric; those that nobody leads are left out.
        facts: Model, data, code and commit, where they differ.
    """

    runs: tuple[RunRecord, ...]
    params: Mapping[str, tuple[Any, ...]]
    metrics: Mapping[str, tuple[float | None, ...]]
    best: Mapping[str, int]
    facts: Mapping[str, tuple[str, ...]]


def find(run: str | Path, tracking: str | None = None) -> RunRecord:
    """A run, wherever it is kept.

    Args:
        run: Its folder, which tells all without a server; else id, its beginning, or an alias.
        tracking: URI of the registry.

    Raises:
        NotFound: There is no such run.
    """
    if Path(run).is_dir():
        return read_kept(run)
    return Registry(tracking).run(str(run))


def compare(*runs: str | Path, tracking: str | None = None) -> Comparison:
    """How runs differ: their parameters, their metrics, and what made them.

    Args:
        runs: Ids, aliases or folders.
        tracking: URI of the registry, where one is no folder.

    Raises:
        NotFound: There is no such run.
    """
    return differences([find(run, tracking) for run in runs])


def differences(runs: Sequence[RunRecord]) -> Comparison:
    """How runs differ that were found already.

    Args:
        runs: Any number.
    """
    params = {
        name: tuple(run.params.get(name) for run in runs)
        for name in _names([run.params for run in runs])
    }
    metrics = {
        name: tuple(run.metrics.get(name) for run in runs)
        for name in _names([run.metrics for run in runs])
    }
    best = {name: best_of(name, values) for name, values in metrics.items()}
    facts = {
        "model": tuple(run.model for run in runs),
        "data": tuple(run.dataset.fingerprint[:12] if run.dataset else "" for run in runs),
        "code": tuple(run.code[:12] for run in runs),
        "commit": tuple(str(run.environment.get("commit", ""))[:12] for run in runs),
    }
    return Comparison(
        runs=tuple(runs),
        params={name: values for name, values in params.items() if _differ(values)},
        metrics=metrics,
        best={name: index for name, index in best.items() if index is not None},
        facts={name: values for name, values in facts.items() if _differ(values)},
    )


def _names(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of all, in the order in which they come."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _differ(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values)
