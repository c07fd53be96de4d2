"""Encoded rows: what a feature class makes and a scorer reads.

Shapes: B rows, E entries (non-zero elements of all rows together), S slots, F features.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Rows of a sparse matrix (CSR) that also knows which feature each entry comes from.

    Args:
        starts: Entry at which each row starts, and at the end E; int64, shape (B + 1,).
        slots: Column of each entry, in [0, num_slots); int32, shape (E,). libffm says feature.
        values: float32, shape (E,).
        features: Number of the feature each entry comes from, in [0, num_features); uint16,
            shape (E,). libffm says field.
        num_slots: S, width of the matrix.
        num_features: F.
    """

    starts: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    features: npt.NDArray[np.uint16]
    num_slots: int
    num_features: int

    def __post_init__(self) -> None:
        kinds = {"starts": np.int64, "slots": np.int32, "values": np.float32, "features": np.uint16}
        for name, kind in kinds.items():
            array = np.ascontiguousarray(getattr(self, name), dtype=kind)
            if array.ndim != 1:
                raise DataError(f"{name!r} has {array.ndim} dimensions; it must have 1.")
            object.__setattr__(self, name, array)
        num_entries = len(self.slots)
        if not len(self.starts) or self.starts[0] != 0 or self.starts[-1] != num_entries:
            raise DataError(f"'starts' must begin with 0 and end with the {num_entries} entries.")
        if np.any(self.starts[1:] < self.starts[:-1]):
            raise DataError("'starts' decreases; a row cannot have fewer than no entries.")
        if not len(self.values) == len(self.features) == num_entries:
            raise DataError("'slots', 'values' and 'features' differ in length.")
        for name, bound in (("slots", self.num_slots), ("features", self.num_features)):
            array = getattr(self, name)
            if num_entries and not 0 <= int(array.min()) <= int(array.max()) < bound:
                raise DataError(f"{name!r} has values outside [0, {bound}).")

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, rows: slice) -> "SparseRows":
        """The rows of a slice with step 1; their entries are views."""
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise DataError(f"Rows can be taken with step 1 only, not {step}.")
        last = max(first, last)
        begin, end = int(self.starts[first]), int(self.starts[last])
        return SparseRows(
            self.starts[first : last + 1] - begin,
            self.slots[begin:end],
            self.values[begin:end],
            self.features[begin:end],
            self.num_slots,
            self.num_features,
        )
