"""The folder of a run, and where it is found.

RUN/config.json      what was asked for, and the parameters that it came to
RUN/start.json       the trained model that it began from, if it did
RUN/history.jsonl    numbers of every epoch, as they come: see `history`
RUN/checkpoints/     model, optimizer and the place in the data: the last two
RUN/lock             held (flock) by the process that trains
RUN/model/           the trained model: see `trained`
RUN/fit.json         what came of it; written last
RUN/tracking.jsonl   what the registry is told: see `tadka.registry`
"""

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tadka.core.error import DataError, NotFound
from tadka.models.train.config import Config, read
from tadka.registry.registry import Registry
from tadka.storage.lock import lock_folder
from tadka.storage.publish import publish_file

CONFIG, CHECKPOINTS = "config.json", "checkpoints"
_START, _FIT = "start.json", "fit.json"


def new_folder(config: Config, start: Path | None) -> Path:
    """A folder for a run, with what was asked for.

    Args:
        config: Of the training.
        start: Folder of the trained model that it begins from.

    Raises:
        DataError: It cannot be written.
    """
    name = f"{config.model.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder = Path(config.tracking.folder).absolute() / name
    try:
        folder.mkdir(parents=True)
        if start is not None:
            _write(folder / _START, {"folder": str(start)})
        _write(folder / CONFIG, config.to_dict())
    except OSError as error:
        raise DataError(
            f"Folder {str(folder)!r} cannot be written: {error}. Set tracking.folder to another."
        ) from error
    return folder


def kept_folder(run: str | Path) -> tuple[Path, Path | None]:
    """The folder of a run that goes on, and that of the trained model that it began from.

    Args:
        run: Its folder, or one of its checkpoints.

    Raises:
        NotFound: There is no run.
    """
    folder = Path(run).absolute()
    if folder.parent.name == CHECKPOINTS and folder.is_dir():
        folder = folder.parent.parent
    if not (folder / CONFIG).exists():
        raise NotFound(f"Folder {str(run)!r} is that of no run. `tadka model runs` shows all.")
    if not (folder / _START).exists():
        return folder, None
    told = json.loads((folder / _START).read_text(encoding="utf-8"))
    return folder, Path(told["folder"])


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps other processes from training the same run.

    Args:
        folder: Of the run.

    Raises:
        DataError: Another process trains it.
    """
    descriptor = lock_folder(
        folder, f"Run {str(folder)!r} is being trained by another process. Wait for its end."
    )
    try:
        yield
    finally:
        os.close(descriptor)


def config_of(folder: Path) -> Config:
    """What was asked for.

    Args:
        folder: Of the run.

    Raises:
        NotFound: It is that of no run.
        ConfigError: The model is not known here.
    """
    try:
        text = (folder / CONFIG).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(
            f"Folder {str(folder)!r} is that of no run: it has no {CONFIG}. `tadka model runs` "
            "shows all."
        ) from error
    return read(json.loads(text))


def write_fit(folder: Path, told: Mapping[str, Any]) -> None:
    """Notes what came of a training.

    Args:
        folder: Of the run.
        told: Plain values.
    """
    _write(folder / _FIT, told)


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
    folder = Path(record.directory)
    if not folder.name or not folder.is_dir():
        raise NotFound(
            f"Run {record.id[:8]} has its files in {str(folder)!r}, which is not on this machine."
        )
    return folder


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with publish_file(str(path)) as file:
        file.write(json.dumps(values, indent=1, default=str).encode())
