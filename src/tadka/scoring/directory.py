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
import math
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tadka.core.error import ConfigError, DataError, NotFound, TadkaError
from tadka.core.hashing import digest_file
from tadka.features.definition import Definition
from tadka.features.features import Features
from tadka.features.locate import find_class
from tadka.scoring.calibration import CALIBRATIONS
from tadka.scoring.dense import Dense
from tadka.scoring.learner import Ffm, Fm, Linear
from tadka.scoring.model import Array, Model
from tadka.scoring.precision import check_finite, name_precision
from tadka.scoring.report import render
from tadka.scoring.training import Epoch
from tadka.scoring.trees import Trees
from tadka.storage.publish import publish_directory

FORMAT = 1
KINDS: dict[str, type[Model]] = {kind.kind: kind for kind in (Linear, Fm, Ffm, Dense, Trees)}

_MODEL, _PROTO, _REPORT = "model.json", "features.proto", "report.html"
_CALIBRATION = "calibration"
# Another C library may round exp differently in the last bit, and no further.
_TOLERANCE = 1e-9


def save(model: Model, directory: str | Path, *, replace: bool = False) -> None:
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
        arrays[_CALIBRATION] = model.calibration.to_array()
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
        (place / _MODEL).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load(directory: str | Path, features: type[Features] | None = None) -> Model:
    """A model from its directory; its parameters stay in the files, mapped read-only.

    Args:
        directory: What `save` wrote.
        features: The feature class; without it the class is imported by the name that was saved.

    Returns:
        A model ready to predict.

    Raises:
        NotFound: There is no such directory, or no model in it.
        ConfigError: The feature class cannot be imported, or is not the one the model was made
            with; the message says what differs.
        DataError: A file is missing, truncated or changed, of a newer format, or the model gives
            the example another score than it did when saved.
    """
    place = Path(directory)
    record = read_record(place)
    model_class = KINDS.get(record["kind"])
    if model_class is None:
        raise DataError(
            f"Model {str(place)!r} is of kind {record['kind']!r}; this tadka knows: "
            f"{', '.join(KINDS)}."
        )
    arrays = {
        name.removesuffix(".npy"): _open_array(place / name, expected)
        for name, expected in record["files"].items()
    }
    calibration = arrays.pop(_CALIBRATION, None)
    saved = record["features"]
    group = None
    if saved is None:
        features = None
    else:
        group = saved["group"]
        features = features or _find_class(place, saved["class"])
        _check_definition(place, saved, features)
    model = model_class(features, group=group, **record["settings"])
    if record["calibration"] is not None:
        if calibration is None:
            raise DataError(f"Model {str(place)!r} lacks the file {_CALIBRATION}.npy.")
        model.calibration = CALIBRATIONS[record["calibration"]].from_array(calibration)
    model.metrics = record["metrics"]
    model.curve = [Epoch(**epoch) for epoch in record["curve"]]
    try:
        model.take(arrays)
    except (KeyError, DataError) as error:
        raise DataError(f"Model {str(place)!r} is damaged: {error}") from error
    _check_example(place, model, record["example"])
    return model


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
    file = Path(directory) / _MODEL
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"{str(directory)!r} is no model directory: it has no {_MODEL}. "
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


def _open_array(file: Path, expected: dict[str, Any]) -> Array:
    try:
        array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise NotFound(f"File {str(file)!r} of the model is missing. Copy it again.") from error
    except (OSError, ValueError) as error:
        # NumPy's words for a file that is shorter than its header says vary.
        raise DataError(
            f"File {str(file)!r} is truncated or no array ({error}). Copy the model again."
        ) from error
    seen = (name_precision(array, expected["precision"]), list(array.shape))
    if seen != (expected["precision"], expected["shape"]):
        raise DataError(
            f"File {str(file)!r} holds {seen[0]} of shape {seen[1]}; the model was saved with "
            f"{expected['precision']} of shape {expected['shape']}. Copy the model again."
        )
    if digest_file(file) != expected["sha256"]:
        raise DataError(
            f"File {str(file)!r} is not what was saved: its SHA-256 differs. Copy the model again."
        )
    return array


def _find_class(place: Path, name: str) -> type[Features]:
    """The class that was saved with the model."""
    try:
        return find_class(name)
    except (ConfigError, NotFound) as error:
        raise ConfigError(
            f"Model {str(place)!r} needs its feature class {name!r}: {error} Start where the "
            "module can be found, or pass the class."
        ) from error


def _check_definition(place: Path, saved: dict[str, Any], features: type[Features]) -> None:
    mine, theirs = features.definition(saved["group"]), Definition.from_dict(saved["definition"])
    if theirs.hash != saved["hash"]:
        raise DataError(f"The definition in {str(place / _MODEL)!r} is damaged: its hash differs.")
    if mine.hash != theirs.hash:
        differences = "; ".join(mine.differences(theirs))
        raise ConfigError(
            f"Model {str(place)!r} was made with another {theirs.name!r} than "
            f"{features.__module__}:{features.__qualname__}: {differences} (here: the class, "
            "there: the model). Train it again, or use the class it was made with."
        )


def _example(model: Model) -> dict[str, Any] | None:
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


def _check_example(place: Path, model: Model, example: dict[str, Any] | None) -> None:
    if example is None:
        return
    model.example = base64.b64decode(example["message"])
    expected, score = float.fromhex(example["score"]), model.score(model.example)
    if not math.isclose(expected, score, rel_tol=_TOLERANCE, abs_tol=0.0):
        raise DataError(
            f"Model {str(place)!r} scores its example {score!r}; when saved it was {expected!r}. "
            "The model or this installation is damaged."
        )
