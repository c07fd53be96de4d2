"""What the registry is told of a training, while it goes on, at its end, or later."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tadka.core.error import TadkaError
from tadka.models.data.data import Data
from tadka.models.train.config import Config
from tadka.models.train.history import read_history
from tadka.models.train.trained import Trained, read_trained
from tadka.registry.kept import address_of, read_kept
from tadka.registry.record import DatasetRef, ModelVersion
from tadka.registry.registry import Registry, TrackedRun
from tadka.registry.spool import send as send_run

_PERIOD_S = 5.0


@contextmanager
def telling(tracked: TrackedRun) -> Iterator[None]:
    """Tells the numbers of epochs as the training writes them, and at its end those that are left.

    Args:
        tracked: The run, which is nobody else's within.

    Raises:
        DataError: The run's folder cannot be written.
    """
    is_over = threading.Event()
    told: set[tuple[int, str]] = set()

    def tell() -> None:
        for numbers in read_history(tracked.directory):
            epoch = int(numbers.pop("epoch"))
            new = {name: value for name, value in numbers.items() if (epoch, name) not in told}
            if new:
                tracked.log(new, step=epoch)
                told.update((epoch, name) for name in new)

    def go_on() -> None:
        with suppress(TadkaError):  # the end meets it again, where somebody hears of it
            while not is_over.wait(_PERIOD_S):
                tell()

    thread = threading.Thread(target=go_on, name="tracking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        tell()


def publish(registry: Registry, run: str, trained: Trained) -> None:
    """Gives the model of a run that has ended a version; a training is not lost where that fails.

    Args:
        registry: That has the run.
        run: Its id.
        trained: The model.
    """
    try:
        registry.publish(run, trained.model.name, _signature_of(trained))
    except TadkaError as error:
        warnings.warn(
            f"Run {run} has ended, and its model has no version yet: {error} Publish it by "
            f"`tadka model send {trained.folder.parent}`.",
            RuntimeWarning,
            stacklevel=3,
        )


def send(folder: str | Path, tracking: str | None = None) -> tuple[str, ModelVersion | None]:
    """Sends a run that was kept in its folder, and publishes its model if the run ended well.

    Args:
        folder: Of the run.
        tracking: URI of the registry; None for the one that the run was begun for.

    Returns:
        Id of the run, and the version of its model.

    Raises:
        NotFound: The folder is that of no run.
        Unreachable: The server does not answer; nothing is lost.
    """
    run = send_run(folder, tracking)
    if read_kept(folder).status != "finished":
        return run, None
    trained = read_trained(folder)
    registry = Registry(tracking or address_of(folder))
    return run, registry.publish(run, trained.model.name, _signature_of(trained))


def dataset_of(config: Config, data: Data) -> DatasetRef:
    """What a model is trained on.

    Args:
        config: Of the training.
        data: Its rows.
    """
    named = config.data.expanded()
    uris = named.uris("train")
    return DatasetRef(
        name=named.source or Path(uris[0]).name,
        uri=named.folder or ", ".join(uris),
        fingerprint=data.fingerprint,
        version=data.origin.get("version"),
        num_rows=data.num_rows("train"),
    )


def _signature_of(trained: Trained) -> dict[str, Any]:
    """What a model takes in."""
    return {
        "inputs": {column.name: column.dtype for column in trained.model.inputs},
        "task": trained.model.task,
    }
