"""Model directories: everything that scoring needs, in files that other programs can read too.

    model.json      kind, settings, definition of the features, metrics, example, list of the files
    NAME.npy        one array of parameters each, to be mapped into memory
    features.proto  the message that clients send, where the model has a feature class
    report.html     the learning curve and the metrics

A directory appears complete or not at all. Loading reads every byte once and checks it, so that a
damaged model is refused before it answers anything.
"""

import base64
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tadka.core.error import ConfigError, DataError, NotFound, TadkaError
from tadka.core.hashing import digest_file
from tadka.scoring.precision import check_finite, name_precision
from tadka.scoring.report import render
from tadka.storage.publish import publish_directory

if TYPE_CHECKING:
    from tadka.scoring.model import Model

FORMAT = 1
RECORD = "model.json"
CALIBRATION = "calibration"
"""Name of the array of the last step, beside those of the parameters."""

_PROTO, _REPORT = "features.proto", "report.html"


def write(model: "Model", directory: str | Path, *, replace: bool = False) -> None:
    """Writes a model; the directory appears complete or not at all.

    Args:
        model: A trained model.
        directory: A local folder to make.
        replace: Whether one that exists may be replaced.

    Raises:
        ConfigError: The model is not trained.
        DataError: A parameter is not finite, the directory exists or cannot be written, or the
            example row cannot be scored.
    """
    if not model.arrays:
        raise ConfigError(f"This {type(model).__name__} has no parameters yet. Call fit first.")
    for name, array in model.arrays.items():
        check_finite(name, array)
    arrays = dict(model.arrays)
    if model.calibration is not None:
        arrays[CALIBRATION] = model.calibration.to_array()
    record: dict[str, Any] = {
        "format": FORMAT,
        "tadka": version("tadka"),
        "kind": model.kind,
        "settings": model.settings(),
        "features": None,
        "calibration": model.calibration.method if model.calibration is not None else None,
        "metrics": model.metrics,
        "curve": [asdict(epoch) for epoch in model.curve],
        "example": _example(model),
        "files": {},
    }
    if model.features is not None and model.definition is not None:
        record["features"] = {
            "class": f"{model.features.__module__}:{model.features.__qualname__}",
            "group": model.group,
            "version": model.definition.version,
            "hash": model.definition.hash,
            "definition": model.definition.to_dict(),
        }
    with publish_directory(directory, replace=replace) as place:
        for name, array in arrays.items():
            file = place / f"{name}.npy"
            np.save(file, array, allow_pickle=False)
            record["files"][file.name] = {
                "precision": name_precision(array),
                "shape": list(array.shape),
                "sha256": digest_file(file),
            }
        if model.features is not None:
            (place / _PROTO).write_text(model.features.proto(), encoding="utf-8")
        (place / _REPORT).write_text(render(model, record), encoding="utf-8")
        (place / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_record(directory: str | Path) -> dict[str, Any]:
    """What `model.json` says, unchecked but for its form.

    Args:
        directory: A model directory.

    Returns:
        The record, with every key that `save` writes.

    Raises:
        NotFound: There is no such directory, or no model in it.
        DataError: The record is damaged or of another format.
    """
    file = Path(directory) / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"{str(directory)!r} is no model directory: it has no {RECORD}. "
            "Check the path; tadka score fit writes one."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"File {str(file)!r} cannot be read: {error}.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        seen = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise DataError(f"File {str(file)!r} has format {seen!r}; this tadka reads {FORMAT}.")
    wanted = ("kind", "settings", "features", "calibration", "metrics", "curve", "example", "files")
    missing = [key for key in wanted if key not in record]
    if missing:
        raise DataError(f"File {str(file)!r} lacks the key {missing[0]!r}. Save the model again.")
    return record


def _example(model: "Model") -> dict[str, Any] | None:
    """A row with its score, by which loading and other programs can check the whole path."""
    if model.features is None:
        return None
    message = model.example or b""
    try:
        score = model.score(message)
    except TadkaError as error:
        raise DataError(
            f"The example row of the model cannot be scored: {error} Set model.example to the "
            "message of a typical row."
        ) from error
    values = repr(model.features.from_message(message))
    return {"message": base64.b64encode(message).decode(), "row": values, "score": score.hex()}
