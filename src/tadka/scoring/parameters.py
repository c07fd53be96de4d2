"""Names, shapes and types that the parameters of each kind of kernel must have.

Shapes: S slots, F features, k latent dimensions ("dim"), h outputs of a layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.features.sparse import SparseRows
from tadka.scoring.precision import from_precision

Array = npt.NDArray[Any]
Parameters = Mapping[str, Array]

MAX_WIDTH = 4096
"""Outputs of a hidden layer; the kernel keeps two layers' outputs on the stack."""

_MAX_FEATURES = 2**16
_STORED = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.uint16))


def check_linear(parameters: Parameters) -> int:
    """Number of slots of a linear model's parameters.

    Args:
        parameters: `bias` (1,) in float64 and `linear` (S,).

    Returns:
        S.

    Raises:
        DataError: An array is missing, not known, or of a wrong type or shape.
    """
    _check_names(parameters, ("bias", "linear"))
    _check_bias(parameters)
    (num_slots,) = _check(parameters, "linear", (None,))
    return num_slots


def check_fm(parameters: Parameters) -> tuple[int, int]:
    """Sizes of a factorization machine's parameters.

    Args:
        parameters: `bias` (1,) in float64, `linear` (S,) and `latent` (S, k).

    Returns:
        S and k.

    Raises:
        DataError: An array is missing, not known, or of a wrong type or shape.
    """
    _check_names(parameters, ("bias", "linear", "latent"))
    _check_bias(parameters)
    (num_slots,) = _check(parameters, "linear", (None,))
    _, dim = _check(parameters, "latent", (num_slots, None))
    return num_slots, dim


def check_ffm(parameters: Parameters) -> tuple[int, int, int]:
    """Sizes of a field-aware factorization machine's parameters.

    Args:
        parameters: `bias` (1,) in float64, `linear` (S,) and `latent` (S, F, k).

    Returns:
        S, F and k.

    Raises:
        DataError: An array is missing, not known, or of a wrong type or shape.
    """
    _check_names(parameters, ("bias", "linear", "latent"))
    _check_bias(parameters)
    (num_slots,) = _check(parameters, "linear", (None,))
    _, num_features, dim = _check(parameters, "latent", (num_slots, None, None))
    if num_features > _MAX_FEATURES:
        raise DataError(f"'latent' has {num_features:,} features; at most {_MAX_FEATURES:,} fit.")
    return num_slots, num_features, dim


def check_dense(parameters: Parameters) -> tuple[int, list[int]]:
    """Sizes of a dense network's parameters.

    Args:
        parameters: `weights_0` (S, h1), `bias_0` (h1,), `weights_1` (h1, h2) and so on.

    Returns:
        S, and the outputs of each layer, the last of which has 1.

    Raises:
        DataError: An array is missing, not known, or of a wrong type or shape, or a layer has more
            than `MAX_WIDTH` outputs.
    """
    num_layers = max(1, sum(name.startswith("weights_") for name in parameters))
    numbers = range(num_layers)
    _check_names(
        parameters, [f"{kind}_{number}" for number in numbers for kind in ("weights", "bias")]
    )
    num_slots, width = _check(parameters, "weights_0", (None, None))
    widths = [width]
    for number in numbers[1:]:
        _, width = _check(parameters, f"weights_{number}", (widths[-1], None))
        widths.append(width)
    for number, width in enumerate(widths):
        _check(parameters, f"bias_{number}", (width,))
        if width > MAX_WIDTH:
            raise DataError(
                f"'weights_{number}' has {width:,} outputs; a layer may have at most {MAX_WIDTH:,}."
            )
    if widths[-1] != 1:
        raise DataError(
            f"'weights_{num_layers - 1}' has {widths[-1]:,} outputs; the last layer must have 1, "
            "which is the margin."
        )
    return num_slots, widths


def check_rows(rows: SparseRows, num_slots: int, num_features: int) -> None:
    """Asks whether parameters cover the rows; each entry was held against the rows' own sizes.

    Args:
        rows: Their width is what counts, not which slots occur.
        num_slots: Of the parameters.
        num_features: Of the parameters; 0 where they have none.

    Raises:
        DataError: They are no SparseRows, or have slots or features that the parameters lack.
    """
    if not isinstance(rows, SparseRows):
        raise DataError(f"Rows are of type {type(rows).__name__!r}; a kernel takes SparseRows.")
    if rows.num_slots > num_slots:
        raise DataError(
            f"The rows have {rows.num_slots:,} slots and the parameters {num_slots:,}; encode the "
            "rows with the features that the model was made with."
        )
    if num_features and rows.num_features > num_features:
        raise DataError(
            f"The rows have {rows.num_features:,} features and the parameters {num_features:,}; "
            "encode the rows with the features that the model was made with."
        )


def no_row(index: int, num_rows: int) -> str:
    """The message for a row that is asked for and does not exist.

    Args:
        index: What was asked for.
        num_rows: How many there are.

    Returns:
        A sentence.
    """
    return f"There is no row {index}; the {num_rows} rows are numbered from 0."


def check_threads(threads: int) -> None:
    """Asks for a count.

    Args:
        threads: As a caller passed it.

    Raises:
        ConfigError: It is no whole number, or below 1.
    """
    if not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads is {threads!r}; it must be a whole number of at least 1.")


def widen(array: Array) -> npt.NDArray[np.float64]:
    """The same numbers in double.

    Args:
        array: float64, float32, float16, or bfloat16 as uint16.

    Returns:
        float64, of the same shape.
    """
    with np.errstate(invalid="ignore"):  # one kind of NaN, which bits of any kind may be
        return from_precision(array).astype(np.float64)


def _check_names(parameters: Parameters, names: Sequence[str]) -> None:
    for name in names:
        if name not in parameters:
            raise DataError(
                f"The parameters lack {name!r}; they have: {', '.join(sorted(parameters))}."
            )
    for name in parameters:
        if name not in names:
            raise DataError(
                f"The parameters have {name!r}, which is not known here; expected are: "
                f"{', '.join(names)}."
            )


def _check_bias(parameters: Parameters) -> None:
    array = parameters["bias"]
    if not isinstance(array, np.ndarray) or array.dtype != np.float64 or array.shape != (1,):
        raise DataError(f"'bias' is {_describe(array)}; it must be float64 of shape (1,).")


def _check(parameters: Parameters, name: str, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """The shape of an array that a kernel can read where it is; None in `shape` is any size."""
    array = parameters[name]
    is_bias = name.startswith("bias")
    stored = (*_STORED, np.dtype(np.float64)) if is_bias else _STORED
    if not isinstance(array, np.ndarray) or array.dtype not in stored:
        raise DataError(
            f"{name!r} is {_describe(array)}; it must be an array of float32, float16, or bfloat16 "
            "as uint16, in the byte order of this machine."
        )
    if len(array.shape) != len(shape) or any(
        wanted not in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise DataError(f"{name!r} has shape {array.shape}; it must be ({wanted}).")
    if 0 in array.shape[1:]:
        raise DataError(f"{name!r} has shape {array.shape}; only the slots may be 0 in number.")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise DataError(
            f"{name!r} is not contiguous in memory (C order, aligned); pass "
            "numpy.ascontiguousarray(array)."
        )
    return tuple(array.shape)


def _describe(array: object) -> str:
    if isinstance(array, np.ndarray):
        return f"an array of {array.dtype.str} and shape {array.shape}"
    return f"of type {type(array).__name__!r}"
