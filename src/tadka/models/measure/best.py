"""Which values of a metric are better than others, and which is the best one."""

import math
from collections.abc import Sequence

_LOW = ("loss", "rmse", "mae", "error", "seconds")
_COUNTS = ("num_", "epoch", "lr")


def best_of(name: str, values: Sequence[float | None]) -> int | None:
    """Index of the best value of a metric.

    Args:
        name: Of the metric: losses, errors and seconds are good where they are low, `calibration`
            near 1, all others where they are high.
        values: None or NaN where there is none.

    Returns:
        None where there are no two values, where all are equal, or where the name is that of a
        count.

    >>> best_of("valid_rmse", [0.95, 0.91, None])
    1
    >>> best_of("num_users", [3, 4]) is None
    True
    """
    known = {n: v for n, v in enumerate(values) if v is not None and not math.isnan(v)}
    if len(known) < 2 or len(set(known.values())) == 1 or name.startswith(_COUNTS):
        return None
    return min(known, key=lambda index: badness(name, known[index]))


def badness(name: str, value: float) -> float:
    """How bad a value is: the lower, the better the model.

    Args:
        name: Of the metric, as for `best_of`.
        value: Any; NaN stays NaN.

    >>> badness("valid_auc", 0.7) > badness("valid_auc", 0.8)
    True
    """
    if "calibration" in name:
        return abs(value - 1)
    return value if any(word in name for word in _LOW) else -value
