"""What `scorer.pyx` does, in NumPy and Python: where the extension is missing, and to read."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.features.sparse import SparseRows
from tadka.scoring.calibration import Calibration
from tadka.scoring.forest import Forest
from tadka.scoring.matrix import to_matrix
from tadka.scoring.reference import Kernel, sigmoids

Floats = npt.NDArray[np.float64]


class Scorer:
    """Scores rows of one model.

    Args:
        kernel: Its forward pass.
        plan: What makes entries of messages; None for a model without a feature class.
        calibration: Its last step, or None.
    """

    def __init__(self, kernel: Any, plan: Any, calibration: Calibration | None) -> None:
        self.kernel = kernel
        self._plan = plan
        self._calibration = calibration

    def margins(self, rows: SparseRows, threads: int = 1) -> Floats:
        """Log-odds of encoded rows.

        Args:
            rows: B of them.
            threads: Taken as the compiled scorer takes it; NumPy works on one core.

        Returns:
            Shape (B,).
        """
        margins: Floats = self.kernel.margins(rows, threads)
        return margins

    def scores(self, margins: Floats) -> Floats:
        """Probabilities of margins, shape (B,)."""
        return sigmoids(margins) if self._calibration is None else self._calibration.apply(margins)

    def score(self, message: bytes) -> float:
        """Probability of one message."""
        return float(self.scores(self.margins(self._plan.encode([message])))[0])


class TreesKernel(Kernel):
    """Trees over encoded rows.

    Args:
        forest: A `Forest`.
        layout: What `tadka.scoring.matrix.columns` gives, shape (F, 3).
        num_slots: Slots of the rows.
    """

    def __init__(self, forest: Forest, layout: npt.NDArray[np.int32], num_slots: int) -> None:
        self._forest = forest
        self._layout = layout
        self.num_slots = num_slots
        self.num_features = len(layout)

    def _margins(self, rows: SparseRows) -> Floats:
        return self._forest.margins(to_matrix(rows, self._layout))
