"""The stream of a training: rows, `train_preprocess`, and the loop in its ranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tadka.core.error import NotFound
from tadka.core.progress import Mode
from tadka.models.data.data import Data
from tadka.models.define.model import Model
from tadka.models.train.config import StreamConfig
from tadka.models.train.evaluate import metrics_of
from tadka.models.train.run import ModelRun
from tadka.models.train.trained import MODEL, write_trained
from tadka.stream.checkpoint import Checkpoint, find_checkpoint
from tadka.stream.flow import read as read_rows
from tadka.stream.report import Report
from tadka.stream.run import Run
from tadka.stream.stage import Stage, Train


def run_loop(
    model: Model,
    data: Data,
    stream: StreamConfig,
    folder: Path,
    *,
    start: Path | None,
    origin: Mapping[str, Any],
    resume: Path | None,
    progress: Mode,
) -> Report:
    """Trains a model; it lies in `RUN/model` afterwards.

    Args:
        model: With its state.
        data: Train, and valid if there is any.
        stream: Resources.
        folder: Of the run.
        start: Folder of weights to begin from.
        origin: What is noted in `model.json`.
        resume: The run's folder, to go on from its last checkpoint or from the start where there
            is none; or a checkpoint; None for a new run.
        progress: As `Flow.run` has it.

    Raises:
        DataError: The checkpoint belongs to other rows.
        StageError: A function of the model raised.
    """
    checkpoint = None if resume is None else _checkpoint(resume)
    rows = read_rows(
        data.uris("train"),
        columns=[column.name for column in model.inputs],
        batch_rows=model.batch_rows,
        shuffle=True,
        seed=model.seed,
    )
    preprocess = Stage(model.train_preprocess, name="preprocess", **stream.options("preprocess"))
    loop = Train(
        partial(
            _train,
            model=model,
            data=data if data.num_rows("valid") else None,
            folder=folder,
            start=start,
            checkpoint_s=stream.checkpoint_s,
            origin=origin,
        ),
        name="train",
        # One more where all are over: the loop is entered once again, for the model it returns.
        epochs=max(model.epochs, 1 + (0 if checkpoint is None else checkpoint.position.epoch)),
        ranks=stream.train.ranks,
        cpu=stream.train.cpu,
        memory=stream.train.memory,
        gpu=stream.train.gpu,
    )
    return (rows | preprocess | loop).run(
        on=stream.on,
        directory=folder,
        resume=None if checkpoint is None else checkpoint.path,
        progress=progress,
    )


def _checkpoint(resume: Path) -> Checkpoint | None:
    """The last one of a run, or the one that is named; None where the run has none."""
    try:
        return find_checkpoint(resume)
    except NotFound:
        return None


def _train(
    batches: Any,
    stream: Run,
    *,
    model: Model,
    data: Data | None,
    folder: Path,
    start: Path | None,
    checkpoint_s: float,
    origin: Mapping[str, Any],
) -> None:
    """What a rank does."""
    validate = None if data is None else partial(_validate, data)
    run = ModelRun(model, stream, folder, validate, start, checkpoint_s=checkpoint_s)
    learnt = model.train(batches, run)
    if run.rank == 0:
        write_trained(folder / MODEL, model, learnt, origin)


@dataclass(frozen=True)
class _Candidate:
    """A model in the making."""

    model: Model
    learnt: Any


def _validate(data: Data, model: Model, learnt: Any) -> Mapping[str, float]:
    return metrics_of(_Candidate(model, learnt), data, "valid")
