"""Look-alikes: the values whose vectors are nearest to those of others.

Shapes: N vectors, Q queries, D dimensions, K neighbours of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, NotFound
from tadka.core.extra import require
from tadka.models.measure.ranking import NOTHING, best
from tadka.models.train.flow import load
from tadka.models.train.trained import Trained
from tadka.models.vector.export import MANIFEST, chosen, read_manifest
from tadka.models.vector.index import METRICS, Metric, as_metric, open_index, search

_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class Neighbour:
    """A value near to another.

    Args:
        key: The value.
        score: Cosine, or product of the vectors.
    """

    key: Any
    score: float


class _Vectors(Protocol):
    """Vectors of one vocabulary, by place: row - 1."""

    keys: Any

    def take(self, place_Q: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Vectors at places, (Q, D), through `as_metric`."""

    def nearest(
        self, query_QD: npt.NDArray[np.float32], k: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Places, -1 where there are no more, and scores, both (Q, K)."""


def neighbours(
    source: Trained | str | Path,
    keys: Sequence[Any],
    k: int = 10,
    *,
    vocabulary: str = "",
    metric: Metric | None = None,
    together: bool = False,
    exact: bool = False,
    tracking: str | None = None,
) -> list[tuple[Neighbour, ...]]:
    """The k values whose vectors are nearest to those of some keys, the keys themselves left out.

    An exported index is used where there is one; all vectors are compared where there is none, or
    `exact` asks for it.

    Args:
        source: A trained model; its run's id, alias or folder; or a folder of `export_vectors`.
        keys: Values of the vocabulary. Texts do for whole numbers, as a command line gives them.
        k: Neighbours of each, at least 1.
        vocabulary: Of the keys; that of items unless given, or the only one.
        metric: `cosine` or `product`; that of the export, else cosines.
        together: Whether to look for what is near to all keys: to the mean of their vectors.
        exact: Whether to compare all vectors although there is an index.
        tracking: URI of the registry, where `source` is a run's id or alias.

    Returns:
        One entry a key, or one for all `together`; the nearest first, of equal ones the one that
        came first into the vocabulary. Fewer than k where there are no more.

    Raises:
        ConfigError: There is no such vocabulary, or an argument is wrong.
        NotFound: There is no such run or folder, or a key is unknown.
    """
    if k < 1 or metric not in (None, *METRICS) or not len(keys):
        raise ConfigError(
            f"{len(keys)} keys, k={k} and metric={metric!r} are given; there must be a key, k at "
            f"least 1, and the metric one of {', '.join(METRICS)}."
        )
    vectors = _open(source, vocabulary, metric, tracking, is_exact=exact)
    place_Q = _places(vectors.keys, keys)
    query_QD = vectors.take(place_Q)
    if together:
        query_QD = query_QD.mean(axis=0, keepdims=True)
        left_out = [set(place_Q.tolist())]
    else:
        left_out = [{place} for place in place_Q.tolist()]
    more = max(map(len, left_out))
    place_QK, score_QK = vectors.nearest(query_QD, min(k + more, len(vectors.keys)))
    found = []
    for places, scores, without in zip(place_QK.tolist(), score_QK.tolist(), left_out, strict=True):
        near = [
            Neighbour(_value(vectors.keys, place), score)
            for place, score in zip(places, scores, strict=True)
            if place != NOTHING and place not in without
        ]
        found.append(tuple(near[:k]))
    return found


class _InMemory:
    """All vectors are compared.

    Args:
        keys: Values in order of their rows.
        vectors: One each, (N, D).
        metric: Which.
    """

    def __init__(self, keys: Any, vectors: npt.NDArray[Any], metric: Metric) -> None:
        self.keys = keys
        self._vectors = vectors
        self._metric = metric

    def take(self, place_Q: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return as_metric(self._vectors[place_Q], self._metric)

    def nearest(
        self, query_QD: npt.NDArray[np.float32], k: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        place_QK = np.empty((len(query_QD), 0), np.int64)
        score_QK = np.empty((len(query_QD), 0), np.float32)
        for start in range(0, len(self._vectors), _BLOCK_ROWS):
            block = as_metric(self._vectors[start : start + _BLOCK_ROWS], self._metric)
            # those kept so far come first, so that of equal scores the smaller row wins
            score_QN = np.concatenate([score_QK, query_QD @ block.T], axis=1)
            rows = np.arange(start, start + len(block))
            place_QN = np.concatenate(
                [place_QK, np.broadcast_to(rows, (len(query_QD), len(rows)))], axis=1
            )
            kept_QK = best(score_QN, min(k, score_QN.shape[1]))
            score_QK = np.take_along_axis(score_QN, kept_QK, axis=1)
            place_QK = np.take_along_axis(place_QN, kept_QK, axis=1)
        return place_QK, score_QK


class _Indexed:
    """An index is asked.

    Args:
        keys: Values in order of their rows.
        index: From `open_index`.
    """

    def __init__(self, keys: Any, index: Any) -> None:
        self.keys = keys
        self._index = index

    def take(self, place_Q: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return np.stack([self._index.reconstruct(place) for place in place_Q.tolist()])

    def nearest(
        self, query_QD: npt.NDArray[np.float32], k: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        return search(self._index, query_QD, k)


def _open(
    source: Trained | str | Path,
    vocabulary: str,
    metric: Metric | None,
    tracking: str | None,
    *,
    is_exact: bool,
) -> _Vectors:
    if not isinstance(source, Trained) and (Path(source) / MANIFEST).exists():
        return _exported(Path(source), vocabulary, metric, is_exact=is_exact)
    trained = source if isinstance(source, Trained) else load(source, tracking=tracking)
    model = trained.model
    found = chosen(trained)
    item = model.state.vocabularies.get(model.item_column)
    name = _vocabulary(vocabulary, list(found), item)
    return _InMemory(model.state.vocabulary(name).values(), found[name][1:], metric or "cosine")


def _exported(folder: Path, vocabulary: str, metric: Metric | None, *, is_exact: bool) -> _Vectors:
    pa, pq = (require(module, extra="arrow") for module in ("pyarrow", "pyarrow.parquet"))
    manifest = read_manifest(folder)
    name = _vocabulary(vocabulary, list(manifest["vocabularies"]), manifest["item"])
    told = manifest["vocabularies"][name]
    is_indexed = told["index"] and not is_exact and metric in (None, manifest["metric"])
    columns = ["key"] if is_indexed else ["key", "vector"]
    tables = [pq.read_table(folder / part, columns=columns) for part in told["parts"]]
    table = pa.concat_tables(tables) if tables else pa.table({name: [] for name in columns})
    keys = table["key"].combine_chunks()
    if told["key"] == "int64":
        keys = keys.to_numpy()
    if is_indexed:
        return _Indexed(keys, open_index(folder / told["index"]))
    vectors = [chunk.flatten().to_numpy() for chunk in table["vector"].chunks]
    flat = np.concatenate([np.empty(0, np.float32), *vectors])
    return _InMemory(keys, flat.reshape(-1, told["dim"]), metric or manifest["metric"])


def _vocabulary(asked: str, known: Sequence[str], item: str | None) -> str:
    name = asked or (item if item in known else known[0] if len(known) == 1 else "")
    if name not in known:
        told = f"There are no vectors of {asked!r}" if asked else "It is not clear whose vectors"
        raise ConfigError(f"{told}; there are those of {', '.join(known) or 'nothing'}. Name one.")
    return str(name)


def _places(keys: Any, asked: Sequence[Any]) -> npt.NDArray[np.int64]:
    pa, pc = (require(module, extra="arrow") for module in ("pyarrow", "pyarrow.compute"))
    known = pa.array(keys)
    try:
        values = [int(key) for key in asked] if pa.types.is_integer(known.type) else list(asked)
        place = pc.index_in(pa.array(values, known.type), value_set=known)
    except (ValueError, TypeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kind = "whole numbers" if pa.types.is_integer(known.type) else "texts"
        raise NotFound(f"Keys {list(asked)!r} are not known: the vocabulary has {kind}.") from error
    missing = [repr(key) for key, at in zip(asked, place.to_pylist(), strict=True) if at is None]
    if missing:
        raise NotFound(
            f"There are no vectors of {', '.join(missing[:5])}"
            f"{f' and {len(missing) - 5} more' if len(missing) > 5 else ''}: the vocabulary has "
            f"{len(known):,} other values."
        )
    return np.asarray(place.to_numpy(zero_copy_only=False), np.int64)


def _value(keys: Any, place: int) -> Any:
    value = keys[place]
    return value.as_py() if hasattr(value, "as_py") else value.item()
