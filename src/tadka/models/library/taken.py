"""Who has taken what, as a graph of items and users that is built out of core.

Item i is node i, and user u is node I + u. Letters of shapes: I items and U users, row 0 of both
for the unseen; E pairs, N rows.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError
from tadka.models.define.model import Model, Prepared
from tadka.models.define.state import State
from tadka.models.graph.build import build_graph
from tadka.models.graph.csr import Graph
from tadka.models.table.mapped import MappedTable
from tadka.models.table.neighbour import neighbour_mean
from tadka.models.table.table import Init
from tadka.models.train.grown import ITEMS, USERS

GRAPH = "graph"
_MEMORY = "512M"


def build_taken(data: Prepared, state: State, user: str, item: str) -> Graph:
    """The graph of the training pairs, each once, in the folder of the state.

    The edges are 8 bytes each (16 from 2^31 nodes on) in a file meanwhile, beside the graph and
    what `build_graph` needs; in memory are a batch and what that uses.

    Args:
        data: With the part `train`.
        state: With the vocabularies; it gets the folder `GRAPH`.
        user: Column of users.
        item: Column of items.

    Raises:
        DataError: The disk is full.
    """
    num_items, num_nodes = state.size(item), state.size(item) + state.size(user)
    kind = np.int32 if num_nodes <= 2**31 else np.int64
    with tempfile.TemporaryDirectory(prefix="edges-", dir=state.folder) as name:
        ends = [Path(name, end) for end in ("users", "items")]
        try:
            with ends[0].open("wb") as users, ends[1].open("wb") as items:
                for rows in data.scan("train", [user, item]):
                    (num_items + state.rows(user, rows[user])).astype(kind).tofile(users)
                    state.rows(item, rows[item]).astype(kind).tofile(items)
        except OSError as error:
            raise DataError(
                f"Edges cannot be written to {name!r}: {error}. Set tracking.folder to a disk with "
                "more space."
            ) from error
        src_E, dst_E = (_mapped(path, kind) for path in ends)
        return build_graph(
            (src_E, dst_E),
            state.folder / GRAPH,
            num_nodes=num_nodes,
            symmetric=True,
            unique=True,
            memory=_MEMORY,
        )


def near_vectors(model: Model, before: Path, column: str) -> Init:
    """First vectors of new rows of a table: means of those that they came with.

    Args:
        model: With its state, which knows the pairs with new rows.
        before: Folder of the tables of before, by column.
        column: Of the table.
    """
    users, items = model.state[USERS], model.state[ITEMS]
    is_user = column == model.user_column
    own_E, other_E = (users, items) if is_user else (items, users)
    other = model.item_column if is_user else model.user_column
    table = MappedTable.open(before / other, read_only=True)

    def init(rows_N: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        is_here_E = (own_E >= rows_N[0]) & (own_E <= rows_N[-1])
        is_here_E &= (other_E > 0) & (other_E < table.num_rows)
        near, place = np.unique(other_E[is_here_E], return_inverse=True)
        # row 0 is nobody's
        vectors = np.concatenate([np.zeros((1, table.dim), np.float32), table.pull(near)])
        pairs = (own_E[is_here_E], place + 1)
        return neighbour_mean(vectors, pairs, rows_N, seed=model.seed)

    return init


def _mapped(path: Path, kind: type[Any]) -> npt.NDArray[Any]:
    if not path.stat().st_size:  # an empty file cannot be mapped
        return np.empty(0, kind)
    return np.memmap(path, kind, "r").view(np.ndarray)
