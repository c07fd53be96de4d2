"""The folder of a graph: `graph.json` and the arrays as plain files, each checked before use."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tadka.core.error import DataError, NotFound

FORMAT = "tadka.graph.1"
MANIFEST = "graph.json"
_BLOCK = 1 << 22  # entries of a checksum's step


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """What `graph.json` of a folder says."""
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFound(f"There is no graph in {str(folder)!r}: it has no {MANIFEST}. Build it.")
    try:
        manifest: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
        if manifest["format"] != FORMAT:
            raise DataError(
                f"File {str(path)!r} has the format {manifest['format']!r}; this version of tadka "
                f"reads {FORMAT!r}. Build the graph again."
            )
        counts = [manifest["num_nodes"], manifest["num_edges"]]
        for file in manifest["files"].values():
            np.dtype(file["dtype"]), int(file["crc32"])
        if not {"indptr", "indices"} <= manifest["files"].keys() <= {"indptr", "indices", "weight"}:
            raise ValueError(f"it names the files {sorted(manifest['files'])}")
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise ValueError(f"it counts {counts}")
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"File {str(path)!r} is damaged ({error!r}). Build the graph again."
        ) from error
    return manifest


def mapped(path: Path, dtype: np.dtype[Any], length: int) -> Any:
    """A file as a read-only array of so many entries."""
    expected = dtype.itemsize * length
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise DataError(
            f"File {str(path)!r} of the graph is missing. Build the graph again."
        ) from None
    if size != expected:
        raise DataError(
            f"File {str(path)!r} has {size} bytes; the graph needs {expected}. It was cut or is of "
            "another graph; build it again."
        )
    if not length:  # an empty file cannot be mapped
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "r", shape=(length,))


def verify_file(path: Path, array: Any, crc32: int) -> None:
    """Refuses an array with another checksum."""
    found = 0
    for start in range(0, len(array), _BLOCK):
        block: Any = np.ascontiguousarray(array[start : start + _BLOCK])
        found = zlib.crc32(block, found)
    if found != crc32:
        raise DataError(
            f"File {str(path)!r} is damaged: its checksum is {found:08x} and was {crc32:08x} when "
            "it was written. Build the graph again."
        )
