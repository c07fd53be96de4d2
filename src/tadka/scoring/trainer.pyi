from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]

def shuffle(order: npt.NDArray[np.int64], seed: int) -> None: ...
def fill(cells: Floats, seed: int, low: float, high: float) -> None: ...
def run(
    kind: int,
    starts: npt.NDArray[np.int64],
    slots: npt.NDArray[np.int32],
    values: Floats,
    features: npt.NDArray[np.uint16],
    bias: Doubles,
    linear: Floats | None,
    latent: Floats | None,
    *,
    first: int,
    last: int,
    longest: int,
    labels: Floats | None = None,
    weights: Floats | None = None,
    order: npt.NDArray[np.int64] | None = None,
    margins: Doubles | None = None,
    normalize: bool = False,
    rate: float = 0,
    l1: float = 0,
    l2: float = 0,
    beta: float = 0,
) -> float: ...
def count(text: bytes) -> tuple[int, int]: ...
def parse(
    text: bytes,
    starts: npt.NDArray[np.int64],
    slots: npt.NDArray[np.int32],
    values: Floats,
    features: npt.NDArray[np.uint16],
    labels: Floats,
    *,
    has_fields: bool,
) -> tuple[int, int, int, int, int]: ...
