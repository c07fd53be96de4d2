"""From a configuration to a trained model in its folder, and from there to predictions."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadka.core.error import ConfigError, DataError
from tadka.core.progress import Mode
from tadka.models.data.check import check
from tadka.models.data.config import DataConfig
from tadka.models.data.data import Data
from tadka.models.data.prepare import prepare
from tadka.models.train.bind import bind
from tadka.models.train.code import code_of
from tadka.models.train.config import Config, read
from tadka.models.train.evaluate import check_negatives, metrics_of
from tadka.models.train.folder import (
    CONFIG,
    config_of,
    held,
    kept_folder,
    locate,
    new_folder,
    write_fit,
)
from tadka.models.train.history import plain, read_history
from tadka.models.train.loop import run_loop
from tadka.models.train.tracking import dataset_of, publish, telling
from tadka.models.train.trained import MODEL, RECORD, STATE, WEIGHTS, Trained, read_trained
from tadka.registry.environment import environment
from tadka.registry.registry import Registry
from tadka.stream.flow import read as read_rows
from tadka.stream.flow import write as write_rows
from tadka.stream.report import Report


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a training has given.

    Args:
        run: Its id in the registry.
        folder: Of the run.
        metrics: On the test part; on the validation part where there is no test part.
        history: One entry an epoch.
        seconds: Of all of it.
        report: Of the stream.
    """

    run: str
    folder: Path
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]]
    seconds: float
    report: Report

    def load(self) -> Trained:
        """The trained model."""
        return read_trained(self.folder)


def train(
    config: Config | str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    start: str | Path | None = None,
    resume: str | Path | None = None,
    progress: Mode = "auto",
) -> Fit:
    """Trains a model.

    Args:
        config: A configuration, its file, or its values.
        overrides: Settings that win over it, as `"model.lr=0.1"`.
        start: Run, alias or folder of a trained model to begin from: its vocabularies are kept and
            grow, its weights are the first ones. Those of the same model and the same parameters.
        resume: Folder of a run that was stopped, to go on from its last checkpoint, or from its
            beginning where there is none yet. Or a checkpoint of it, should the last be damaged.
        progress: As `Flow.run` has it.

    Returns:
        Run, metrics and where the model lies.

    Raises:
        ConfigError: The configuration is wrong, or the run that is to go on has ended.
        NotFound: A file or a run is missing.
        CheckFailed: The data do not suit the model: all errors are listed.
        DataError: A file is damaged, or a folder cannot be written.
        Unreachable: The tracking server does not answer.
        StageError: A function of the model raised.
    """
    begun_s = time.monotonic()
    config = read(config, overrides)
    model, tracking = config.model, config.tracking
    folder, began_from = (None, None) if resume is None else kept_folder(resume)
    registry = Registry(tracking.uri, experiment=tracking.experiment, offline=tracking.offline)
    before = _before(config, start or began_from, registry)
    check_negatives(model, config.data.expanded().negatives)
    data = prepare(config.data, tracking.data)
    check(data, model.inputs, task=model.task, config=config.check).require_ok()
    folder = folder or new_folder(config, None if before is None else before.folder)
    with held(folder):
        return _train(config, data, folder, before, registry, begun_s, resume, progress)


def evaluate(
    run: str | Path,
    data: DataConfig | None = None,
    *,
    part: str = "test",
    negatives: str | Path = "",
    tracking: str | None = None,
) -> dict[str, float]:
    """Metrics of a trained model.

    Args:
        run: Id, alias (`fm@champion`), or folder.
        data: Other data; None for those that the run was trained on.
        part: Of the data.
        negatives: File of `draw_negatives` for the part; rankings are judged among them, too. Empty
            for `data.negatives`, which is for the part test.
        tracking: URI of the registry, where `run` is no folder.

    Raises:
        NotFound: There is no such run, or no such file.
        DataError: The data do not suit the model, or the part has no rows.
    """
    trained = load(run, tracking=tracking)
    config = config_of(trained.folder.parent)
    wanted = data or config.data
    found = prepare(wanted, config.tracking.data)
    if not found.num_rows(part):
        raise DataError(f"The data have no rows in the part {part!r}; choose another, or a split.")
    return metrics_of(trained, found, part, str(negatives) or _negatives_of(wanted, part))


def predict(
    run: str | Path,
    rows: Any,
    out: str | Path,
    *,
    keep: Sequence[str] | None = None,
    overwrite: bool = False,
    tracking: str | None = None,
    progress: Mode = "auto",
) -> Report:
    """Writes predictions for files of rows, in their order.

    Args:
        run: Id, alias or folder; an alias is looked up once, at the start.
        rows: Files as `tadka.stream.read` takes them; columns bear the model's names.
        out: Folder for the predictions: Parquet, one part for each chunk of the input.
        keep: Columns of `rows` that go along; None for all but labels and lists.
        overwrite: Whether an earlier output may be replaced.
        tracking: URI of the registry, where `run` is no folder.
        progress: As `Flow.run` has it.

    Returns:
        What was done; `outputs` are the files.

    Raises:
        NotFound: There is no such run, or a file is missing.
        DataError: A column is absent.
        StageError: A function of the model raised.
    """
    trained = load(run, tracking=tracking)
    config = config_of(trained.folder.parent)
    inputs = [column for column in trained.model.inputs if column.role != "label"]
    kept = [c.name for c in inputs if not c.is_list] if keep is None else list(keep)
    columns = list(dict.fromkeys([*(column.name for column in inputs), *kept]))
    flow = read_rows(rows, columns=columns, batch_rows=config.model.batch_rows)
    for stage in trained.stages(tuple(kept), config.stream):
        flow |= stage
    return (flow | write_rows(out, overwrite=overwrite)).run(
        on=config.stream.on, directory=trained.folder.parent / "predict", progress=progress
    )


def load(run: str | Path, *, tracking: str | None = None) -> Trained:
    """A trained model.

    Args:
        run: Id, alias (`fm@champion`), or folder.
        tracking: URI of the registry, where `run` is no folder.

    Raises:
        NotFound: There is no such run.
    """
    return read_trained(locate(run, None if Path(run).is_dir() else Registry(tracking)))


def _train(
    config: Config,
    data: Data,
    folder: Path,
    before: Trained | None,
    registry: Registry,
    begun_s: float,
    resume: str | Path | None,
    progress: Mode,
) -> Fit:
    """Trains in the folder of a run, and keeps the run."""
    model = config.model
    state = None if before is None else before.model.state
    model = bind(model, data, folder / MODEL / STATE, state)
    code = code_of(type(model))
    tracked = registry.begin(
        model.name,
        params=config.to_dict(),
        dataset=dataset_of(config, data),
        code=code,
        environment=environment(),
        parent=None if before is None else before.record.get("run"),
        directory=folder,
    )
    try:
        with telling(tracked):
            done = run_loop(
                model,
                data,
                config.stream,
                folder,
                start=None if before is None else before.folder / WEIGHTS,
                origin={"run": tracked.id, "module": config.module, "code": code},
                resume=None if resume is None else Path(resume),
                progress=progress,
            )
        trained = read_trained(folder)
        part = next((p for p in ("test", "valid") if data.num_rows(p)), None)
        negatives = "" if part is None else _negatives_of(config.data, part)
        metrics = {} if part is None else metrics_of(trained, data, part, negatives)
    except BaseException:
        tracked.finish(status="failed")
        raise
    fit = Fit(
        run=tracked.id,
        folder=folder,
        metrics=metrics,
        history=read_history(folder),
        seconds=time.monotonic() - begun_s,
        report=done,
    )
    write_fit(
        folder,
        {
            "run": fit.run,
            "metrics": plain(fit.metrics),
            "seconds": fit.seconds,
            "rows": done.rows_out,
            "steps": done.steps,
            "bottleneck": done.bottleneck,
        },
    )
    tracked.finish(
        metrics={**metrics, "seconds": fit.seconds},
        artifacts={RECORD: folder / MODEL / RECORD, CONFIG: folder / CONFIG},
    )
    if tracked.is_sent:  # else `tadka model send` brings it
        publish(registry, fit.run, trained)
    return fit


def _negatives_of(data: DataConfig, part: str) -> str:
    return data.expanded().negatives if part == "test" else ""


def _before(config: Config, start: str | Path | None, registry: Registry) -> Trained | None:
    """The trained model to begin from."""
    if start is None:
        return None
    before = read_trained(locate(start, registry))
    if before.model.name != config.model.name:
        raise ConfigError(
            f"Training starts from a model {before.model.name!r}, and this one is "
            f"{config.model.name!r}; both must be the same."
        )
    return before
