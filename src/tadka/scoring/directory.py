"""Loading models: every file is checked before a model answers anything; record.py writes them."""

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.hashing import digest_file
from tadka.features.definition import Definition
from tadka.features.features import Features
from tadka.features.locate import find_class
from tadka.scoring.calibration import CALIBRATIONS
from tadka.scoring.dense import Dense
from tadka.scoring.learner import Ffm, Fm, Linear
from tadka.scoring.model import Array, Model
from tadka.scoring.precision import name_precision
from tadka.scoring.record import CALIBRATION, RECORD, read_record
from tadka.scoring.training import Epoch
from tadka.scoring.trees import Trees

KINDS: dict[str, type[Model]] = {kind.kind: kind for kind in (Linear, Fm, Ffm, Dense, Trees)}

# Another C library may round exp differently in the last bit, and no further.
_TOLERANCE = 1e-9


def load(directory: str | Path, features: type[Features] | None = None) -> Model:
    """A model from its directory; its parameters stay in the files, mapped read-only.

    Args:
        directory: What `Model.save` wrote.
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
    calibration = arrays.pop(CALIBRATION, None)
    saved = record["features"]
    group = None
    if saved is None:
        features = None
    else:
        group = saved["group"]
        features = saved_class(place, saved, features)
    model = model_class(features, group=group, **record["settings"])
    if record["calibration"] is not None:
        if calibration is None:
            raise DataError(f"Model {str(place)!r} lacks the file {CALIBRATION}.npy.")
        model.calibration = CALIBRATIONS[record["calibration"]].from_array(calibration)
    model.metrics = record["metrics"]
    model.curve = [Epoch(**epoch) for epoch in record["curve"]]
    try:
        model.take(arrays)
    except (KeyError, DataError) as error:
        raise DataError(f"Model {str(place)!r} is damaged: {error}") from error
    check_example(place, model, record["example"])
    return model


def saved_class(
    place: Path, saved: dict[str, Any], features: type[Features] | None
) -> type[Features]:
    """The feature class of a model directory.

    Args:
        place: The directory.
        saved: What its record says under `features`.
        features: The class, where the caller has it; None imports it by name.

    Raises:
        ConfigError: The class cannot be imported, or is not the one the model was made with.
        DataError: The definition in the record is damaged.
    """
    features = features or _find_class(place, saved["class"])
    _check_definition(place, saved, features)
    return features


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
            "module can be found, or give the class (features=, or --features)."
        ) from error


def _check_definition(place: Path, saved: dict[str, Any], features: type[Features]) -> None:
    mine, theirs = features.definition(saved["group"]), Definition.from_dict(saved["definition"])
    if theirs.hash != saved["hash"]:
        raise DataError(f"The definition in {str(place / RECORD)!r} is damaged: its hash differs.")
    if mine.hash != theirs.hash:
        differences = "; ".join(mine.differences(theirs))
        raise ConfigError(
            f"Model {str(place)!r} was made with another {theirs.name!r} than "
            f"{features.__module__}:{features.__qualname__}: {differences} (here: the class, "
            "there: the model). Train it again, or use the class it was made with."
        )


def check_example(
    place: Path, model: Any, example: dict[str, Any] | None, *, tolerance: float = _TOLERANCE
) -> None:
    """Gives a model its example, and checks that it has the score it had when saved.

    Args:
        place: The model's directory.
        model: Anything with `example` and `score(message)`.
        example: What the record says of it; None for a model without.
        tolerance: Relative difference of the scores that is no damage.

    Raises:
        DataError: The score is another.
    """
    if example is None:
        return
    model.example = base64.b64decode(example["message"])
    expected, score = float.fromhex(example["score"]), model.score(model.example)
    if not math.isclose(expected, score, rel_tol=tolerance, abs_tol=0.0):
        raise DataError(
            f"Model {str(place)!r} scores its example {score!r}; when saved it was {expected!r}. "
            "The model or this installation is damaged."
        )
