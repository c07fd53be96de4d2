"""Nearest neighbours by a graph (HNSW of faiss): approximate, and fast where there are millions.

Shapes: N vectors, Q queries, D dimensions, K neighbours of each.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError, NotFound
from tadka.core.extra import require

Metric = Literal["cosine", "product"]
METRICS: tuple[Metric, ...] = ("cosine", "product")

Vectors = npt.NDArray[Any]

_LINKS = 32  # of each vector in the graph; Malkov and Yashunin find 12 to 48 good for most data
_BUILD_WIDTH = 200
_SEARCH_WIDTH = 128


def build_index(blocks: Iterable[Vectors], dim: int, metric: Metric, path: str | Path) -> None:
    """Writes an index of vectors; the number of one is its place, from 0.

    Args:
        blocks: Vectors, (rows, D) each.
        dim: D.
        metric: `cosine`, or `product` of vectors whose lengths count.
        path: File to write.

    Raises:
        MissingExtra: faiss is not installed.

    Source: Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search
        using hierarchical navigable small world graphs", arXiv:1603.09320.
    """
    faiss = require("faiss", extra="vectors")
    index = faiss.IndexHNSWFlat(dim, _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _BUILD_WIDTH
    for block in blocks:
        index.add(as_metric(block, metric))
    faiss.write_index(index, str(path))


def open_index(path: str | Path) -> Any:
    """An index from its file.

    Args:
        path: As `build_index` wrote it.

    Raises:
        MissingExtra: faiss is not installed.
        NotFound: There is no such file.
        DataError: It is no index.
    """
    faiss = require("faiss", extra="vectors")
    if not Path(path).exists():
        raise NotFound(f"There is no index {str(path)!r}. Export the vectors with an index again.")
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise DataError(f"Index {str(path)!r} is damaged. Export the vectors again.") from error


def search(
    index: Any, query_QD: Vectors, k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The nearest vectors of some queries.

    Args:
        index: From `open_index`.
        query_QD: Through `as_metric`.
        k: K.

    Returns:
        Numbers (Q, K), -1 where there are no more, and scores (Q, K).
    """
    index.hnsw.efSearch = max(_SEARCH_WIDTH, 2 * k)
    score_QK, place_QK = index.search(np.ascontiguousarray(query_QD, np.float32), k)
    return place_QK, score_QK


def as_metric(vectors: Vectors, metric: Metric) -> npt.NDArray[np.float32]:
    """Vectors whose products are the metric: of length 1 for cosines.

    Args:
        vectors: Shape (N, D).
        metric: Which.
    """
    found = np.ascontiguousarray(vectors, dtype=np.float32)
    if metric == "cosine":
        length_N1 = np.linalg.norm(found, axis=1, keepdims=True)
        found = np.divide(found, np.where(length_N1 > 0, length_N1, 1), dtype=np.float32)
    return found
