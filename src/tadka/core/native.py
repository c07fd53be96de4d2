"""Compiled parts of rooms: whether they run, and the one warning where they were not built."""

import os
import warnings
from functools import cache


def use_native(module: object) -> bool:
    """Whether a compiled module is to be used: it was built, and `TADKA_NATIVE` is not 0.

    Where it is missing and nobody asked for that, a RuntimeWarning says so once per process.

    Args:
        module: The module, or None where importing it failed.

    Returns:
        Whether to use it; otherwise Python and NumPy do the same with equal results.
    """
    if os.environ.get("TADKA_NATIVE") == "0":
        return False
    if module is None:
        _warn()
    return module is not None


@cache
def _warn() -> None:
    warnings.warn(
        "The compiled parts of tadka are not installed: Python and NumPy encode, train and score "
        "with equal results, but some hundred times slower. Install a C compiler and the headers "
        "of Python and then tadka again, or a wheel. TADKA_NATIVE=0 turns this warning off.",
        RuntimeWarning,
        stacklevel=4,
    )
