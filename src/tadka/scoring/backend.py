"""Which forward pass runs: the compiled one or NumPy's. Both give equal bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import tadka.scoring.reference as plain_kernels
import tadka.scoring.scorer_reference as plain_scorer
from tadka.core.error import ConfigError, DataError
from tadka.core.native import use_native
from tadka.features.plan import Plan
from tadka.scoring.calibration import Calibration
from tadka.scoring.forest import Forest
from tadka.scoring.parameters import Parameters

try:
    import tadka.scoring.kernel as native_kernels
    import tadka.scoring.scorer as native_scorer
    import tadka.scoring.tree as native_trees
except ImportError:  # built without a compiler
    native_kernels = native_scorer = native_trees = None  # type: ignore[assignment]

KINDS = ("linear", "fm", "ffm", "dense")


def make_kernel(
    kind: str, parameters: Parameters, *, dim: int | None = None, normalize: bool = False
) -> Any:
    """The forward pass of a model over its parameters, which are kept and not copied.

    Args:
        kind: `"linear"`, `"fm"`, `"ffm"` or `"dense"`.
        parameters: Arrays by name; see `tadka.scoring.reference`.
        dim: Latent dimensions that `latent` must have (fm and ffm); None for any.
        normalize: Whether ffm divides the pairs of a row by the sum of its squared values.

    Returns:
        A kernel with `margins(rows, threads)`, `bind(rows)`, `num_slots` and `num_features`.

    Raises:
        ConfigError: The kind is not known.
        DataError: An array is missing, not known, or of a wrong type or shape.
    """
    kernels: Any = native_kernels if use_native(native_kernels) else plain_kernels
    makers: dict[str, Callable[[], Any]] = {
        "linear": lambda: kernels.LinearKernel(parameters),
        "fm": lambda: kernels.FmKernel(parameters),
        "ffm": lambda: kernels.FfmKernel(parameters, normalize=normalize),
        "dense": lambda: kernels.DenseKernel(parameters),
    }
    if kind not in makers:
        raise ConfigError(f"Kind {kind!r} is not known; it must be one of {', '.join(KINDS)}.")
    made = makers[kind]()
    if dim is not None and kind in {"fm", "ffm"} and parameters["latent"].shape[-1] != dim:
        raise DataError(
            f"'latent' has {parameters['latent'].shape[-1]} dimensions and the model {dim}; they "
            "do not belong together."
        )
    return made


def make_forest_kernel(forest: Forest, layout: npt.NDArray[np.int32], num_slots: int) -> Any:
    """Trees over encoded rows.

    Args:
        forest: The trees.
        layout: What `tadka.scoring.matrix.columns` gives, shape (F, 3).
        num_slots: Slots of the rows.

    Returns:
        A kernel, as `make_kernel` gives.
    """
    kernels: Any = native_scorer if use_native(native_kernels) else plain_scorer
    return kernels.TreesKernel(forest, layout, num_slots)


def make_matrix_kernel(forest: Forest) -> Any:
    """Trees over the matrix they were grown on: an object with `margins(matrix_BF)`."""
    return native_trees.ForestKernel(forest) if use_native(native_kernels) else forest


def make_scorer(forward: Any, plan: Plan | None, calibration: Calibration | None) -> Any:
    """The whole way from rows to scores.

    Args:
        forward: What `make_kernel` or `make_forest_kernel` gives.
        plan: What makes entries of messages; None for a model without a feature class.
        calibration: The last step; None for none.

    Returns:
        An object with `margins(rows, threads)`, `scores(margins)` and `score(message)`.
    """
    engine = plan.engine if plan is not None else None
    if use_native(native_kernels) and (plan is None or engine is not None):
        step = None if calibration is None else (calibration.method, calibration.to_array())
        return native_scorer.Scorer(forward, engine, step)
    return plain_scorer.Scorer(forward, plan, calibration)
