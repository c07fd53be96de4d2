from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.features.sparse import SparseRows
from tadka.scoring.forest import Forest
from tadka.scoring.kernel import Kernel

class Scorer:
    kernel: Kernel
    def __init__(
        self, kernel: Kernel, engine: Any, calibration: tuple[str, npt.NDArray[np.float64]] | None
    ) -> None: ...
    def margins(self, rows: SparseRows, threads: int = 1) -> npt.NDArray[np.float64]: ...
    def scores(self, margins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]: ...
    def score(self, message: bytes) -> float: ...

class TreesKernel(Kernel):
    def __init__(self, forest: Forest, layout: npt.NDArray[np.int32], num_slots: int) -> None: ...
