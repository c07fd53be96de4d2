from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]

def bpr(
    user: Floats,
    item: Floats,
    sum_user: Floats,
    sum_item: Floats,
    users: Rows,
    items: Rows,
    negatives: Rows,
    lr: float,
    l2: float,
    eps: float,
) -> float: ...
def fm(weight: Floats, rows: Rows, offsets: Rows, sums: Floats, scores: Floats) -> None: ...
def fm_back(
    weight: Floats, rows: Rows, offsets: Rows, sums: Floats, by_score: Floats, gradient: Floats
) -> None: ...
def find(keys: Rows, slots: npt.NDArray[np.uint32], log: Rows, size: int, rows: Rows) -> None: ...
def absent(
    users: Rows,
    indptr: Rows,
    indices: Rows,
    first_item: int,
    num_items: int,
    units: npt.NDArray[np.float64],
    items: Rows,
) -> int: ...
def number(
    nodes: npt.NDArray[np.integer],
    at: Rows,
    table: npt.NDArray[np.int32],
    count: int,
    new: Rows,
    numbers: npt.NDArray[np.int32],
) -> int: ...
def pick(start: Rows, degree: Rows, units: npt.NDArray[np.float64], out: Rows) -> None: ...
def ranges(start: Rows, count: Rows, out: Rows) -> None: ...
def owners(first: int, count: Rows, out: npt.NDArray[np.int32]) -> None: ...
