"""From a configuration to a trained model in its folder, and from there to predictions.

RUN/config.json      what was asked for, and the parameters that it came to
RUN/history.jsonl    numbers of every epoch, as they come
RUN/checkpoints/     model, optimizer and the place in the data, after every epoch
RUN/model/           the trained model: see `trained`
RUN/fit.json         what came of it; written last
RUN/tracking.jsonl   what the registry is told: see `tadka.registry`
"""

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.progress import Mode
from tadka.models.data.check import check
from tadka.models.data.data import Data
from tadka.models.data.prepare import prepare
from tadka.models.define.model import Model
from tadka.models.define.state import State
from tadka.models.train.code import code_of
from tadka.models.train.config import Config, read
from tadka.models.train.evaluate import metrics_of
from tadka.models.train.grown import grown_pairs
from tadka.models.train.run import HISTORY, ModelRun
from tadka.models.train.trained import (
    MODEL,
    STATE,
    WEIGHTS,
    Trained,
    read_trained,
    write_trained,
)
from tadka.registry import DatasetRef, Registry
from tadka.registry.environment import environment
from tadka.registry.registry import TrackedRun
from tadka.storage.publish import publish_file
from tadka.stream import Report, Stage, Train
from tadka.stream import read as read_rows
from tadka.stream import write as write_rows

_CONFIG, _FIT = "config.json", "fit.json"
_FOLDER = "folder"  # of a run, among what the registry keeps of its environment
_DATA = "data"  # prepared parts, beside the folders of runs, which share them


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
        resume: Folder of a run that was stopped, to go on from its last checkpoint.
        progress: As `Flow.run` has it.

    Returns:
        Run, metrics and where the model lies.

    Raises:
        ConfigError: The configuration is wrong.
        NotFound: A file, a run or a checkpoint is missing.
        DataError: The data do not suit the model: all findings are listed.
        Unreachable: The tracking server does not answer.
        StageError: A function of the model raised.
    """
    begun_s = time.monotonic()
    if overrides or not isinstance(config, Config):
        config = read(config.to_dict() if isinstance(config, Config) else config, overrides)
    model = config.model
    registry = _registry(config)
    before = None if start is None else read_trained(locate(start, registry))
    data = prepare(config.data, Path(config.tracking.folder) / _DATA)
    report = check(data, model.inputs, task=model.task, config=config.check)
    if not report.is_ok:
        raise DataError(str(report))
    folder = _folder_of(config, resume)
    model = _bind(model, data, folder / MODEL / STATE, before)
    tracked = registry.begin(
        model.name,
        params=config.to_dict(),
        dataset=_dataset_of(config, data),
        code=code_of(type(model)),
        environment={**environment(), _FOLDER: str(folder)},
        parent=None if before is None else before.record.get("run"),
        directory=folder,
    )
    try:
        done = _fit(config, model, data, tracked, before, resume, progress)
        trained = read_trained(folder)
        part = next((p for p in ("test", "valid") if data.num_rows(p)), None)
        metrics = {} if part is None else metrics_of(trained, data, part)
    except BaseException:
        _tell_history(tracked, folder)
        tracked.finish(status="failed")
        raise
    history = _tell_history(tracked, folder)
    seconds = time.monotonic() - begun_s
    fit = Fit(
        run=tracked.id,
        folder=folder,
        metrics=metrics,
        history=history,
        seconds=seconds,
        report=done,
    )
    _write_fit(fit)
    record = {"model.json": folder / MODEL / "model.json", _CONFIG: folder / _CONFIG}
    tracked.finish(metrics={**metrics, "seconds": seconds}, artifacts=record)
    if tracked.is_sent and not config.tracking.offline:  # else `tadka model send` brings it
        registry.publish(tracked.id, model.name, signature_of(trained))
    return fit


def evaluate(
    run: str | Path,
    data: Any = None,
    *,
    part: str = "test",
    tracking: str | None = None,
) -> dict[str, float]:
    """Metrics of a trained model.

    Args:
        run: Id, alias (`fm@champion`), or folder.
        data: A `DataConfig` of other data; None for those that the run was trained on.
        part: Of the data.
        tracking: URI of the registry, where `run` is no folder.

    Raises:
        NotFound: There is no such run.
        DataError: The data do not suit the model, or the part has no rows.
    """
    folder = locate(run, None if Path(run).is_dir() else Registry(tracking))
    trained = read_trained(folder)
    config = read(json.loads((folder / _CONFIG).read_text(encoding="utf-8")))
    found = prepare(data or config.data, Path(config.tracking.folder) / _DATA)
    if not found.num_rows(part):
        raise DataError(f"The data have no rows in the part {part!r}; choose another, or a split.")
    return metrics_of(trained, found, part)


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
    folder = locate(run, None if Path(run).is_dir() else Registry(tracking))
    trained = read_trained(folder)
    config = read(json.loads((folder / _CONFIG).read_text(encoding="utf-8")))
    inputs = [column for column in trained.model.inputs if column.role != "label"]
    kept = [c.name for c in inputs if not c.is_list] if keep is None else list(keep)
    columns = list(dict.fromkeys([*(column.name for column in inputs), *kept]))
    flow = read_rows(rows, columns=columns, batch_rows=config.model.batch_rows)
    for stage in trained.stages(tuple(kept), config.stream):
        flow |= stage
    return (flow | write_rows(out, overwrite=overwrite)).run(
        on=config.stream.on, directory=folder / "predict", progress=progress
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


def locate(run: str | Path, registry: Registry | None) -> Path:
    """The folder of a run.

    Args:
        run: Folder, or id, its beginning, or an alias.
        registry: Where ids and aliases are looked up.

    Raises:
        NotFound: There is no such run, or its folder is gone.
    """
    if Path(run).is_dir() or registry is None:
        return Path(run).absolute()
    record = registry.run(str(run))
    folder = Path(record.environment.get(_FOLDER, ""))
    if not folder.name or not folder.is_dir():
        raise NotFound(
            f"Run {record.id[:8]} has its files in {str(folder)!r}, which is not on this machine."
        )
    return folder


# -- training -------------------------------------------------------------------------------------


def _registry(config: Config) -> Registry:
    tracking = config.tracking
    return Registry(tracking.uri, experiment=tracking.experiment, offline=tracking.offline)


def _folder_of(config: Config, resume: str | Path | None) -> Path:
    if resume is not None:
        folder = Path(resume).absolute()
        if not (folder / _CONFIG).exists():
            raise NotFound(
                f"Folder {str(resume)!r} is that of no run. `tadka model runs` shows all."
            )
        return folder
    name = f"{config.model.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder = Path(config.tracking.folder).absolute() / name
    folder.mkdir(parents=True)
    with publish_file(str(folder / _CONFIG)) as file:
        file.write(json.dumps(config.to_dict(), indent=1, default=str).encode())
    return folder


def _bind(model: Model, data: Data, folder: Path, before: Trained | None) -> Model:
    """The model with its state: vocabularies of the training part, and what it prepares."""
    columns = {c.name: c.vocabulary_name for c in model.inputs if c.vocabulary}
    if (folder / "state.json").exists():  # a run that goes on
        return model.bound(State(folder))
    aside = folder.with_name(f"{folder.name}.{os.getpid()}.aside")
    state = State.create(aside, columns)
    if before is not None:
        if before.model.name != model.name:
            raise ConfigError(
                f"Training starts from a model {before.model.name!r}, and this one is "
                f"{model.name!r}; both must be the same."
            )
        state.copy_vocabularies(before.model.state)
    names = list(columns)
    if names:
        for rows in data.fitting("vocabularies").scan("train", names):
            for name in names:
                values = rows[name]
                flat = values.flatten() if hasattr(values, "flatten") else values
                state.vocabulary(name).add(flat, commit=False)
        for name in dict.fromkeys(columns.values()):
            state.vocabulary(name).commit()
    bound = model.bound(state)
    state.put(bound.prepare(data.fitting(f"prepare() of {model.name!r}")))
    if before is not None:
        state.put(grown_pairs(bound, data.fitting("rows that are new"), before.model.state))
    for by, parts in data.fitted.items():
        if "test" in parts:
            raise DataError(
                f"The test part was read for {by}, so what it is judged by is in what it knows. "
                'Read only "train" there: data.read("train").'
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside.rename(folder)
    return model.bound(State(folder))


def _fit(
    config: Config,
    model: Model,
    data: Data,
    tracked: TrackedRun,
    before: Trained | None,
    resume: str | Path | None,
    progress: Mode,
) -> Report:
    stream, folder = config.stream, tracked.directory
    columns = [column.name for column in model.inputs]
    flow = (
        read_rows(
            data.uris("train"),
            columns=columns,
            batch_rows=model.batch_rows,
            shuffle=True,
            seed=model.seed,
        )
        | Stage(
            model.train_preprocess,
            name="preprocess",
            replicas=stream.preprocess.replicas,
            cpu=stream.preprocess.cpu,
            memory=stream.preprocess.memory,
        )
        | Train(
            partial(
                _train,
                model=model,
                data=data if data.num_rows("valid") else None,
                folder=folder,
                start=None if before is None else before.folder / WEIGHTS,
                module=config.module,
                run_id=tracked.id,
            ),
            name="train",
            epochs=model.epochs,
            ranks=stream.train.ranks,
            cpu=stream.train.cpu,
            memory=stream.train.memory,
            gpu=stream.train.gpu,
        )
    )
    return flow.run(
        on=stream.on, directory=folder, resume=True if resume else None, progress=progress
    )


def _train(
    batches: Any,
    stream: Any,
    *,
    model: Model,
    data: Data | None,
    folder: Path,
    start: Path | None,
    module: str | None,
    run_id: str,
) -> None:
    """What a rank does."""
    validate = None if data is None else partial(_validate, data)
    run = ModelRun(model, stream, folder, validate, start)
    learnt = model.train(batches, run)
    if run.rank == 0:
        write_trained(folder / MODEL, model, learnt, module, run_id)


@dataclass(frozen=True)
class _Candidate:
    """A model in the making."""

    model: Model
    learnt: Any


def _validate(data: Data, model: Model, learnt: Any) -> Mapping[str, float]:
    return metrics_of(_Candidate(model, learnt), data, "valid")


def _tell_history(tracked: TrackedRun, folder: Path) -> list[dict[str, float]]:
    """Every epoch's numbers, from the file that the training wrote."""
    epochs: dict[int, dict[str, float]] = {}
    path = folder / HISTORY
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        numbers = json.loads(line)
        epochs.setdefault(numbers.pop("epoch"), {}).update(
            {name: np.nan if value is None else value for name, value in numbers.items()}
        )
    for epoch, numbers in epochs.items():
        tracked.log(numbers, step=epoch)
    return [{"epoch": epoch, **numbers} for epoch, numbers in epochs.items()]


def _write_fit(fit: Fit) -> None:
    told = {
        "run": fit.run,
        "metrics": dict(fit.metrics),
        "seconds": fit.seconds,
        "rows": fit.report.rows_out,
        "steps": fit.report.steps,
        "bottleneck": fit.report.bottleneck,
    }
    with publish_file(str(fit.folder / _FIT)) as file:
        file.write(json.dumps(told, indent=1).encode())


def _dataset_of(config: Config, data: Data) -> DatasetRef:
    return DatasetRef(
        name=config.data.source or Path(str(config.data.train)).name,
        uri=str(config.data.folder or config.data.train),
        fingerprint=data.fingerprint,
        version=data.origin.get("version"),
        num_rows=data.num_rows("train"),
    )


def signature_of(trained: Trained) -> dict[str, Any]:
    """What a model takes in, as the registry keeps it.

    Args:
        trained: The model.
    """
    return {
        "inputs": {column.name: column.dtype for column in trained.model.inputs},
        "task": trained.model.task,
    }
