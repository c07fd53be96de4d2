"""How often the right class is found.

Shapes: B rows, C classes.
"""

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError

IntArray = npt.NDArray[np.int64]


def accuracy(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Share of rows whose class is predicted right.

    Args:
        labels: Numbers of the right classes, at least 0, shape (B,).
        predicted: Numbers of the predicted classes, shape (B,); or scores, shape (B, C), of which
            the largest counts, and of equal ones the first.

    Returns:
        From 0 to 1.

    Raises:
        DataError: There are no rows, the lengths differ, a class is below 0, or a score is NaN.
    """
    label_B, class_B = _checked(labels, predicted)
    return float(np.mean(label_B == class_B))


def macro_f1(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean over classes of the harmonic mean of precision and recall: rare classes count as much.

    Args:
        labels: As for `accuracy`.
        predicted: As for `accuracy`.

    Returns:
        From 0 to 1. The mean runs over classes that are among the labels or the predictions; one
        that is never right has 0.

    Raises:
        DataError: As for `accuracy`.

    Source: F1 = 2 TP / (2 TP + FP + FN) (van Rijsbergen 1979), averaged as scikit-learn's
        `f1_score(average="macro")` does.
    """
    label_B, class_B = _checked(labels, predicted)
    # numbered anew: classes may be large numbers, such as ids
    _, codes = np.unique(np.concatenate([label_B, class_B]), return_inverse=True)
    label_B, class_B = codes[: len(label_B)], codes[len(label_B) :]
    size = int(codes.max()) + 1
    num_labels_C = np.bincount(label_B, minlength=size)
    num_classes_C = np.bincount(class_B, minlength=size)
    num_right_C = np.bincount(label_B[label_B == class_B], minlength=size)
    total_C = num_labels_C + num_classes_C  # 2 TP + FP + FN
    present = total_C > 0
    return float(np.mean(2 * num_right_C[present] / total_C[present]))


def _checked(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    label_B, given = np.asarray(labels), np.asarray(predicted)
    if label_B.ndim != 1 or given.ndim not in {1, 2} or len(label_B) != len(given):
        raise DataError(
            f"Labels have the shape {label_B.shape}, predictions {given.shape}; expected are "
            "(rows,) and (rows,), or (rows, classes) for scores."
        )
    if not len(label_B):
        raise DataError("There are no rows to judge predictions by.")
    for array in (label_B, given):
        if array.dtype.kind not in "biuf":
            raise DataError(f"Classes are of type {array.dtype}; they must be numbers.")
    if given.ndim == 2:
        if not given.shape[1]:
            raise DataError("There are scores of no class.")
        is_bad_B = np.isnan(given).any(axis=1)
        if is_bad_B.any():
            raise DataError(
                f"A score of row {int(np.argmax(is_bad_B)):,} is NaN: the model has diverged."
            )
        given = np.argmax(given, axis=1)
    for what, classes in (("label", label_B), ("predicted class", given)):
        is_bad_B = ~np.equal(np.mod(classes, 1), 0) | (classes < 0)
        if is_bad_B.any():
            row = int(np.argmax(is_bad_B))
            raise DataError(
                f"The {what} of row {row:,} is {classes[row]}; it must be a whole number from 0 on."
            )
    return label_B.astype(np.int64), given.astype(np.int64)
