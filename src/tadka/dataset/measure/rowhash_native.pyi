from typing import Any

import numpy as np
import numpy.typing as npt

def hash_rows(
    batch: Any,
    keys: list[npt.NDArray[np.uint64]],
    row_keys: npt.NDArray[np.uint64],
    digests: npt.NDArray[np.uint64] | None = None,
    registers: npt.NDArray[np.uint8] | None = None,
) -> int: ...
