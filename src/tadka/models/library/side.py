"""Side tables as features: what is known of users or items beside their ids.

Each column of a table becomes one group of features, by what it holds:
    text, or few whole numbers      one feature for each value
    many numbers                    one feature for each of `NUM_BINS` equal shares of the rows
    a list                          one feature for each value in it
Texts that nearly every row has alone (titles, postcodes) are left out. Values and shares are learnt
of the rows whose key train has, so that nothing of the test part is in them.

Shapes: N rows of a table, P places, B rows of a batch, G groups.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NUM_BINS = 10
MAX_VALUES = 30
"""Whole numbers with more values than these are binned."""
MAX_SHARE_DISTINCT = 0.25
"""Texts with more values than this share of the rows say who it is, not what."""


def learn(table: Any, key: str, is_known_N: np.ndarray) -> tuple[dict[str, np.ndarray], list[int]]:
    """Features of a table's rows.

    Args:
        table: With `key` and further columns.
        key: Column that rows are found by.
        is_known_N: Whether train has the row's key.

    Returns:
        `keys` (N,), ascending, and `codes` (N+1, P): numbers of features from 1, 0 for none, the
        last row for keys that the table has not; then the number of places of each group.
    """
    keys_N = _keys(table[key])
    order_N = np.argsort(keys_N, kind="stable")
    places: list[np.ndarray] = []
    sizes = []
    used = 0
    for name in table.column_names:
        column = table[name].combine_chunks()
        codes_NP = None if name == key else _codes(column, is_known_N)
        if codes_NP is None or not codes_NP.any():
            continue
        places.append(np.where(codes_NP > 0, codes_NP + used, 0))
        sizes.append(codes_NP.shape[1])
        used = int(places[-1].max())
    codes_NP = np.concatenate([np.zeros((len(keys_N), 0), np.int64), *places], axis=1)
    none_1P = np.zeros((1, codes_NP.shape[1]), np.int64)
    codes = np.concatenate([codes_NP[order_N], none_1P]).astype(np.int32)
    return {"keys": keys_N[order_N], "codes": codes}, sizes


def codes_of(side: Mapping[str, np.ndarray], values: Any) -> np.ndarray:
    """Features of some keys.

    Args:
        side: `keys` and `codes` as `learn` gave them.
        values: Keys, shape (B,).

    Returns:
        Numbers of features, int64, shape (B, P).
    """
    keys_N, value_B = side["keys"], _keys(values)
    place_B = np.searchsorted(keys_N, value_B)
    is_there_B = place_B < len(keys_N)
    is_there_B[is_there_B] = keys_N[place_B[is_there_B]] == value_B[is_there_B]
    row_B = np.where(is_there_B, place_B, len(keys_N))
    return np.asarray(side["codes"][row_B], np.int64)


def _keys(values: Any) -> np.ndarray:
    if isinstance(values, pa.ChunkedArray | pa.Array):
        values = values.to_numpy(zero_copy_only=False)
    return values.astype(str) if values.dtype == object else np.asarray(values)


def _codes(column: Any, is_known_N: np.ndarray) -> np.ndarray | None:
    """Numbers of a column's features from 1, shape (N, P); None where it is left out."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return _list_codes(column, is_known_N)
    known = column.filter(pa.array(is_known_N))
    values = known.drop_null().unique()
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not is_text and len(values) > MAX_VALUES:
        number_N = column.to_numpy(zero_copy_only=False).astype(np.float64)
        number_known = number_N[is_known_N & ~np.isnan(number_N)]
        edges = np.unique(np.quantile(number_known, np.arange(1, NUM_BINS) / NUM_BINS))
        code_N = np.searchsorted(edges, number_N, side="right") + 1
        return np.where(np.isnan(number_N), 0, code_N)[:, None]
    if is_text and len(values) > MAX_SHARE_DISTINCT * max(len(known), 1):
        return None
    return _index_of(column, values)[:, None]


def _list_codes(column: Any, is_known_N: np.ndarray) -> np.ndarray:
    lengths_N = np.asarray(column.value_lengths().fill_null(0))
    values = column.filter(pa.array(is_known_N)).flatten().drop_null().unique()
    width = max(1, int(lengths_N.max(initial=0)))
    codes_NP = np.zeros((len(column), width), np.int64)
    codes_NP[np.arange(width) < lengths_N[:, None]] = _index_of(column.flatten(), values)
    return codes_NP


def _index_of(values: Any, known: Any) -> np.ndarray:
    """Place of each value among the sorted known ones, from 1; 0 for others and for null."""
    ordered = known.take(pc.sort_indices(known))
    place = pc.index_in(values, value_set=ordered)
    return np.asarray(pc.fill_null(place, -1), np.int64) + 1
