"""Model directories: everything that scoring needs, in files that other programs can read too.

    model.json      kind, settings, definition of the features, metrics, example, list of the files
    NAME.npy        one array of parameters each, to be mapped into memory
    NAME.pkl        what a kind keeps beside arrays (a Python object of the room serve)
    features.proto  the message that clients send, where the model has a feature class
    report.html     the learning curve and the metrics

A directory appears complete or not at all. Loading reads every byte once and checks it, so that a
damaged model is refused before it answers anything.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError, NotFound
from tadka.core.hashing import digest_file
from tadka.scoring.precision import check_finite, name_precision
from tadka.scoring.report import render
from tadka.storage.publish import publish_directory

Array = npt.NDArray[Any]

FORMAT = 1
RECORD = "model.json"
CALIBRATION = "calibration"
"""Name of the array of the last step, beside those of the parameters."""

PROTO, REPORT = "features.proto", "report.html"


def write(
    directory: str | Path,
    record: dict[str, Any],
    arrays: Mapping[str, Array],
    texts: Mapping[str, str],
    *,
    blobs: Mapping[str, bytes] | None = None,
    replace: bool,
) -> None:
    """Writes a model directory; it appears complete or not at all.

    Args:
        directory: A local folder to make.
        record: What `model.json` says; format, version and the list of the files are added.
        arrays: By name, with the array of the calibration where there is one.
        texts: Contents of other files by name; the report is added.
        blobs: Contents of binary files by name, which the record lists under `blobs`.
        replace: Whether a directory that exists may be replaced.

    Raises:
        DataError: An array is not finite, or the directory exists or cannot be written.
    """
    for name, array in arrays.items():
        check_finite(name, array)
    with publish_directory(directory, replace=replace) as place:
        files = {}
        for name, array in arrays.items():
            file = place / f"{name}.npy"
            np.save(file, array, allow_pickle=False)
            files[file.name] = {
                "precision": name_precision(array),
                "shape": list(array.shape),
                "sha256": digest_file(file),
            }
        whole = {"format": FORMAT, "tadka": version("tadka"), **record, "files": files}
        if blobs:
            for name, content in blobs.items():
                (place / name).write_bytes(content)
            whole["blobs"] = {
                name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in blobs.items()
            }
        texts = {
            **texts,
            REPORT: render(whole),
            RECORD: json.dumps(whole, indent=1) + "\n",
        }
        for name, text in texts.items():
            (place / name).write_text(text, encoding="utf-8")


def read_blob(directory: str | Path, name: str, expected: Mapping[str, Any]) -> bytes:
    """A binary file of a model directory, checked.

    Args:
        directory: A model directory.
        name: Of the file.
        expected: What the record says of it under `blobs`.

    Returns:
        Its content.

    Raises:
        NotFound: It is missing.
        DataError: It cannot be read, or is not what was saved.
    """
    file = Path(directory) / name
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"File {str(file)!r} of the model is missing. Copy it again.") from error
    except OSError as error:
        raise DataError(f"File {str(file)!r} cannot be read: {error}.") from error
    if len(content) != expected["bytes"]:
        raise DataError(
            f"File {str(file)!r} has {len(content):,} bytes; the model was saved with "
            f"{expected['bytes']:,}. Copy the model again."
        )
    if hashlib.sha256(content).hexdigest() != expected["sha256"]:
        raise DataError(
            f"File {str(file)!r} is not what was saved: its SHA-256 differs. Copy the model again."
        )
    return content


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
