import numpy as np
import numpy.typing as npt

from tadka.scoring.forest import Forest

class ForestKernel:
    forest: Forest
    def __init__(self, forest: Forest) -> None: ...
    def margin_row(self, row: npt.NDArray[np.float64]) -> float: ...
    def margins(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]: ...
