"""Vectors of a model as files that others read: Parquet, and an index of nearest neighbours.

    OUT/vectors.json               the manifest: run, vocabularies, files
    OUT/NAME/part-00000.parquet    key, row in the vocabulary, vector (float32, fixed length)
    OUT/NAME/index.faiss           where one was asked for: vector of row r has number r - 1

The folder appears whole or not at all.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.models.train.flow import load
from tadka.models.train.trained import Trained
from tadka.models.vector.index import METRICS, Metric, build_index
from tadka.storage.publish import publish_directory

MANIFEST = "vectors.json"
_GROUP_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Args:
        folder: With the manifest.
        num_vectors: By vocabulary.
        num_bytes: Of all files.
        seconds: Of all of it.
    """

    folder: Path
    num_vectors: Mapping[str, int]
    num_bytes: int
    seconds: float


def export_vectors(
    run: Trained | str | Path,
    out: str | Path,
    *,
    vocabularies: Sequence[str] = (),
    index: bool = False,
    metric: Metric = "cosine",
    part_rows: int = 1 << 20,
    overwrite: bool = False,
    tracking: str | None = None,
) -> Exported:
    """Writes the vectors of a trained model to a folder, one file of a part at a time.

    Args:
        run: A trained model; or its id, alias or folder.
        out: Local folder to make.
        vocabularies: Whose vectors; all that the model has, unless given.
        index: Whether to write an index of nearest neighbours (extra `vectors`).
        metric: Of the index, and of queries unless they say another.
        part_rows: Vectors of one file, at least 1.
        overwrite: Whether `out` may be replaced.
        tracking: URI of the registry, where `run` is no folder.

    Raises:
        ConfigError: The model has no such vectors, or an argument is wrong.
        NotFound: There is no such run.
        DataError: `out` exists, the vectors do not fit the vocabulary, or cannot be written.
        MissingExtra: faiss is not installed, and an index is asked for.
    """
    begun_s = time.monotonic()
    if metric not in METRICS or part_rows < 1:
        raise ConfigError(
            f"metric is {metric!r} and part_rows {part_rows}; it must be one of "
            f"{', '.join(METRICS)}, and at least 1."
        )
    if index:
        require("faiss", extra="vectors")  # before any work
    trained = run if isinstance(run, Trained) else load(run, tracking=tracking)
    vectors = chosen(trained, vocabularies)
    told: dict[str, Any] = {}
    with publish_directory(out, replace=overwrite) as aside:
        for name, vectors_ND in vectors.items():
            told[name] = {
                **_write_parts(aside / name, trained, name, vectors_ND, part_rows),
                "index": None,
            }
            if index:
                blocks = (vectors_ND[start:stop] for start, stop in _ranges(vectors_ND, part_rows))
                build_index(blocks, vectors_ND.shape[1], metric, aside / name / "index.faiss")
                told[name]["index"] = f"{name}/index.faiss"
        manifest = {
            "tadka": 1,
            "run": trained.record.get("run"),
            "model": trained.model.name,
            "item": trained.model.state.vocabularies.get(trained.model.item_column),
            "metric": metric,
            "vocabularies": told,
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        files = [file for file in aside.rglob("*") if file.is_file()]
        num_bytes = sum(file.stat().st_size for file in files)
    return Exported(
        folder=Path(out),
        num_vectors={name: one["num_vectors"] for name, one in told.items()},
        num_bytes=num_bytes,
        seconds=time.monotonic() - begun_s,
    )


def chosen(trained: Trained, vocabularies: Sequence[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """Vectors of a model, one for each row of its vocabularies.

    Args:
        trained: The model.
        vocabularies: Whose; all that it has, unless given.

    Raises:
        ConfigError: It has none, or not of these.
        DataError: They are not one for each row.
    """
    found = trained.vectors()
    wanted = list(vocabularies or found)
    missing = [name for name in wanted if name not in found]
    if missing or not wanted:
        told = f"of {', '.join(map(repr, missing))}" if missing else "at all"
        raise ConfigError(
            f"Model {trained.model.name!r} has no vectors {told}; it has "
            f"{', '.join(found) or 'none'}. A model gives them by vectors()."
        )
    for name in wanted:
        size = trained.model.state.size(name)
        if found[name].ndim != 2 or len(found[name]) != size:
            raise DataError(
                f"Vectors of {name!r} have the shape {found[name].shape}; they must be one for "
                f"each of {size:,} rows."
            )
    return {name: found[name] for name in wanted}


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What an export says of itself.

    Args:
        folder: As `export_vectors` wrote it.

    Raises:
        NotFound: It is no such folder.
        DataError: The manifest is damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["vocabularies"].items()
    except FileNotFoundError as error:
        raise NotFound(f"Folder {str(folder)!r} holds no exported vectors.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"Manifest {str(path)!r} is damaged: {error}. Export again.") from error
    return found


def _write_parts(
    folder: Path, trained: Trained, name: str, vectors_ND: npt.NDArray[Any], part_rows: int
) -> dict[str, Any]:
    """Files of one vocabulary; what the manifest says of it."""
    pa, pq = (require(module, extra="arrow") for module in ("pyarrow", "pyarrow.parquet"))
    folder.mkdir(parents=True)
    vocabulary = trained.model.state.vocabulary(name)
    dim = vectors_ND.shape[1]
    is_text = vocabulary.size > 1 and not isinstance(vocabulary.values(1, 2), np.ndarray)
    schema = pa.schema(
        [
            pa.field("key", pa.large_string() if is_text else pa.int64(), nullable=False),
            pa.field("row", pa.int64(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )
    parts: list[str] = []
    for start, stop in _ranges(vectors_ND, part_rows):
        parts.append(f"{name}/part-{len(parts):05}.parquet")
        with pq.ParquetWriter(folder / Path(parts[-1]).name, schema) as writer:
            for first in range(start, stop, _GROUP_ROWS):
                last = min(first + _GROUP_ROWS, stop)
                flat = np.ascontiguousarray(vectors_ND[first:last], np.float32).reshape(-1)
                columns = [
                    pa.array(vocabulary.values(first, last)),
                    pa.array(np.arange(first, last)),
                    pa.FixedSizeListArray.from_arrays(pa.array(flat), dim),
                ]
                writer.write_table(pa.table(columns, schema=schema))
    return {
        "num_vectors": len(vectors_ND) - 1,
        "dim": dim,
        "key": "text" if is_text else "int64",
        "parts": parts,
        "unseen": np.asarray(vectors_ND[0], np.float64).tolist(),
    }


def _ranges(vectors_ND: npt.NDArray[Any], part_rows: int) -> Iterator[tuple[int, int]]:
    """Rows of each part; row 0 has no key."""
    size = len(vectors_ND)
    return ((start, min(start + part_rows, size)) for start in range(1, size, part_rows))
