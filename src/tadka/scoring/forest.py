"""Gradient-boosted trees as plain arrays, whatever library has trained them.

Letters of shapes: B rows, F columns, T trees, P splits, L leaves, W words of category sets.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import tadka.scoring.forest_catboost as catboost_trees
import tadka.scoring.forest_lightgbm as lightgbm_trees
import tadka.scoring.forest_xgboost as xgboost_trees
from tadka.core.error import ConfigError, DataError, NotFound
from tadka.scoring.forest_catboost import hash_category
from tadka.scoring.forest_draft import (
    LIBRARIES,
    LINKS,
    MAX_DEPTH,
    MAX_WIDTH,
    MISSING_RIGHT,
    ZERO,
    ZERO_IS_MISSING,
    ForestDraft,
)

_KINDS: Final[dict[str, type[np.generic]]] = {
    "names": np.str_,
    "settings": np.str_,
    "constants": np.float64,
    "split_features": np.int32,
    "split_thresholds": np.float64,
    "split_missing": np.uint8,
    "split_sets": np.int64,
    "left": np.int32,
    "right": np.int32,
    "roots": np.int32,
    "depths": np.int32,
    "leaf_values": np.float64,
    "category_widths": np.int32,
    "sets": np.uint64,
    "key_starts": np.int64,
    "keys": np.uint32,
}


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees whose leaf values, added in order, give the margin of a row.

    A row is float64 of shape (F,): NaN is a missing value, a category is its code, an integer.

    A numeric split sends `x <= threshold` left. Where the library compares `x < t` in float32 (as
    XGBoost does) the row is rounded to float32 and the threshold is the next float32 below t, so
    one rule serves all. A categorical split sends the codes of a set left. The set has one bit a
    code, in words of 64; the last two bits that a column uses stand for a code that no split of
    this column knows, and for a missing one.

    A forest has either nodes (`left`, `right`, `roots`), split p being node p, or, for CatBoost's
    oblivious trees, `depths`: tree t asks depth questions of every row, the next splits in order;
    answer k (right is 1) is bit k of the leaf's number among the next 2**depth leaves.

    Args:
        names: Names of the columns, shape (F,).
        settings: `(library, link)`: one of `LIBRARIES`, which decides how a row is read, and of
            `LINKS`, which turns a margin into what the library predicts.
        constants: `(start, scale, divisor, shift)`: a margin is
            `(start + leaves) * scale / divisor + shift`.
        split_features: Column of each split, shape (P,).
        split_thresholds: Shape (P,); 0 for a categorical split.
        split_missing: `MISSING_RIGHT` and `ZERO_IS_MISSING` of each split, shape (P,).
        split_sets: First word of a categorical split's set, -1 for a numeric split, shape (P,).
        left: Left child of each node: a later node of the tree, or `-1 - leaf`; shape (P,) or (0,).
        right: The other child.
        roots: First node of each tree, or `-1 - leaf`; shape (T,) or (0,).
        depths: Depth of each oblivious tree, shape (T,) or (0,).
        leaf_values: Shape (L,).
        category_widths: Codes that splits of a column know: those in [0, width); 0 for a column
            without categorical splits; shape (F,).
        sets: The words of all sets, shape (W,).
        key_starts: For CatBoost, first key of each column, and at the end their number; shape
            (F + 1,), for others (0,).
        keys: For CatBoost, the hashes of the known categories, ascending in each column; code i
            of a split is the column's key i.
    """

    names: npt.NDArray[np.str_]
    settings: npt.NDArray[np.str_]
    constants: npt.NDArray[np.float64]
    split_features: npt.NDArray[np.int32]
    split_thresholds: npt.NDArray[np.float64]
    split_missing: npt.NDArray[np.uint8]
    split_sets: npt.NDArray[np.int64]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    roots: npt.NDArray[np.int32]
    depths: npt.NDArray[np.int32]
    leaf_values: npt.NDArray[np.float64]
    category_widths: npt.NDArray[np.int32]
    sets: npt.NDArray[np.uint64]
    key_starts: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint32]

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            array = np.asarray(getattr(self, name))
            if array.ndim != 1:
                raise DataError(f"{name!r} has {array.ndim} dimensions; it must have 1.")
            if kind is np.str_ and array.dtype.kind == "U":
                kind = array.dtype.type
            elif array.dtype != kind and not (len(array) == 0 and array.dtype.kind in "fiu"):
                raise DataError(f"{name!r} is {array.dtype}; it must be {kind.__name__}.")
            else:
                array = np.ascontiguousarray(array, dtype=kind)
            object.__setattr__(self, name, array)
        self._check_settings()
        self._check_splits()
        self._check_categories()
        if len(self.depths):
            self._check_depths()
        else:
            self._check_nodes()

    def _check_settings(self) -> None:
        for name, length in (("settings", 2), ("constants", 4)):
            if len(getattr(self, name)) != length:
                raise DataError(f"{name!r} has {len(getattr(self, name))} values, not {length}.")
        if self.library not in LIBRARIES or self.link not in LINKS:
            raise DataError(
                f"'settings' is {self.library!r}, {self.link!r}; the first must be one of "
                f"{', '.join(LIBRARIES)}, the second one of {', '.join(LINKS)}."
            )
        for name in ("constants", "leaf_values"):
            _check_finite(name, getattr(self, name))
        if self.constants[2] == 0:
            raise DataError("'constants' has the divisor 0.")
        if not len(self.names):
            raise DataError("'names' is empty; a forest needs a column.")

    def _check_splits(self) -> None:
        num_splits = len(self.split_features)
        for name in ("split_thresholds", "split_missing", "split_sets"):
            _check_length(name, getattr(self, name), num_splits, "as 'split_features'")
        _check_range("split_features", self.split_features, 0, self.num_features)
        _check_range("split_missing", self.split_missing, 0, 4)
        if np.isnan(self.split_thresholds).any():
            raise DataError("'split_thresholds' has NaN; a threshold must be a number.")

    def _check_categories(self) -> None:
        _check_length("category_widths", self.category_widths, self.num_features, "as 'names'")
        _check_range("category_widths", self.category_widths, 0, MAX_WIDTH + 1)
        _check_range("split_sets", self.split_sets, -1, max(len(self.sets), 0))
        categorical = self.split_sets >= 0
        columns = self.split_features[categorical]
        widths = self.category_widths[columns].astype(np.int64)
        if (widths == 0).any():
            raise DataError("'category_widths' is 0 for the column of a categorical split.")
        if (self.split_sets[categorical] + (widths + 65) // 64 > len(self.sets)).any():
            raise DataError("'split_sets' has a set that runs beyond the end of 'sets'.")
        if (self.category_widths[self.split_features[~categorical]] > 0).any():
            raise DataError("'split_sets' has a numeric split of a categorical column.")
        if self.library != "catboost":
            if len(self.key_starts) or len(self.keys):
                raise DataError(f"'keys' belong to CatBoost; this is a forest of {self.library}.")
            return
        _check_length("key_starts", self.key_starts, self.num_features + 1, "one more than 'names'")
        if self.key_starts[0] != 0 or self.key_starts[-1] != len(self.keys):
            raise DataError(f"'key_starts' must begin with 0 and end with {len(self.keys)}.")
        if not np.array_equal(np.diff(self.key_starts), self.category_widths):
            raise DataError("'key_starts' has other numbers of keys than 'category_widths'.")
        descends = self.keys[1:] <= self.keys[:-1]
        first = self.key_starts[(self.key_starts > 0) & (self.key_starts < len(self.keys))]
        descends[first - 1] = False
        if descends.any():
            raise DataError("'keys' must ascend within a column.")

    def _check_depths(self) -> None:
        if len(self.roots) or len(self.left) or len(self.right):
            raise DataError("'roots' and 'depths' are both given; a forest has nodes or levels.")
        _check_range("depths", self.depths, 0, MAX_DEPTH + 1)
        num_splits = int(self.depths.sum())
        _check_length("split_features", self.split_features, num_splits, "of 'depths'")
        num_leaves = int((1 << self.depths.astype(np.int64)).sum())
        _check_length("leaf_values", self.leaf_values, num_leaves, "of 'depths'")

    def _check_nodes(self) -> None:
        """Every node and leaf hangs from one place, and below a node are later ones only."""
        num_splits, num_leaves = len(self.split_features), len(self.leaf_values)
        for name in ("left", "right"):
            _check_length(name, getattr(self, name), num_splits, "as 'split_features'")
        for name in ("left", "right", "roots"):
            _check_range(name, getattr(self, name), -num_leaves, num_splits)
        nodes = np.arange(num_splits)
        for name in ("left", "right"):
            child = getattr(self, name)
            if ((child >= 0) & (child <= nodes)).any():
                raise DataError(f"{name!r} points back: a child must come after its parent.")
        hung = np.concatenate([self.left, self.right, self.roots]).astype(np.int64)
        times = np.bincount(hung + num_leaves, minlength=num_leaves + num_splits)
        if (times != 1).any():
            wrong = int(np.flatnonzero(times != 1)[0]) - num_leaves
            what = f"leaf {-1 - wrong}" if wrong < 0 else f"node {wrong}"
            count = int(times[times != 1][0])
            raise DataError(f"'left', 'right', 'roots' lead to {what} {count} times, not once.")

    @property
    def num_features(self) -> int:
        """F, columns of a row."""
        return len(self.names)

    @property
    def num_trees(self) -> int:
        """T."""
        return len(self.roots) + len(self.depths)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns, as the library has them."""
        return tuple(str(name) for name in self.names)

    @property
    def library(self) -> str:
        """Who has trained this: one of `LIBRARIES`."""
        return str(self.settings[0])

    @property
    def link(self) -> str:
        """What turns a margin into the library's prediction: one of `LINKS`."""
        return str(self.settings[1])

    @property
    def categorical(self) -> tuple[bool, ...]:
        """Of each column, whether its values are read as codes of categories."""
        return tuple(bool(width) for width in self.category_widths)

    @property
    def single_precision(self) -> tuple[bool, bool]:
        """Whether a row is rounded to float32, and whether leaves are added in float32."""
        return self.library != "lightgbm", self.library == "xgboost"

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything, as arrays that `numpy.save` writes without pickle."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "Forest":
        """The forest that `to_arrays` has written.

        Args:
            arrays: By name. Arrays of the right type are kept as they are (mapped files, too).

        Returns:
            A forest that was checked: children in range and without cycles, columns in range,
            leaves finite.

        Raises:
            DataError: An array is missing, unknown or damaged; the message names it.
        """
        for name in _KINDS:
            if name not in arrays:
                raise DataError(f"A forest needs the array {name!r}, which is missing.")
        for name in arrays:
            if name not in _KINDS:
                raise DataError(f"A forest has no array {name!r}. It has: {', '.join(_KINDS)}.")
        return cls(**{name: arrays[name] for name in _KINDS})  # type: ignore[arg-type]

    def margins(self, matrix_BF: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Margins of rows, as NumPy gives them; `ForestKernel` gives the same bits faster.

        Args:
            matrix_BF: Rows, shape (B, F); NaN is missing, a category is its code.

        Returns:
            float64 of shape (B,), what `flatten` promises.

        Raises:
            DataError: The matrix is not two-dimensional or has another number of columns.
        """
        matrix_BF = np.asarray(matrix_BF, dtype=np.float64)
        if matrix_BF.ndim != 2 or matrix_BF.shape[1] != self.num_features:
            raise DataError(
                f"The rows have shape {matrix_BF.shape}; "
                f"this forest needs (rows, {self.num_features})."
            )
        single_row, single_sum = self.single_precision
        kind = np.float32 if single_sum else np.float64
        values_BF = matrix_BF
        if single_row:
            with np.errstate(over="ignore", under="ignore"):
                values_BF = matrix_BF.astype(np.float32).astype(np.float64)
        # Of CatBoost's categories it is the text that counts, which rounding would change.
        codes_BF = self._codes(matrix_BF if self.library == "catboost" else values_BF)
        start, scale, divisor, shift = self.constants.tolist()
        total_B = np.full(len(matrix_BF), start, dtype=kind)
        walk = self._walk_levels if len(self.depths) else self._walk_nodes
        for tree in range(self.num_trees):
            leaf_B = walk(tree, values_BF, codes_BF)
            total_B = np.add(total_B, self.leaf_values[leaf_B], dtype=kind)
        margins_B: npt.NDArray[np.float64] = total_B.astype(np.float64) * scale / divisor + shift
        return margins_B

    def _walk_nodes(
        self, tree: int, values_BF: npt.NDArray[np.float64], codes_BF: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """The leaf of a tree that each row comes to."""
        node_B = np.full(len(values_BF), self.roots[tree], dtype=np.int64)
        row = np.flatnonzero(node_B >= 0)
        while len(row):
            node = node_B[row]
            right = self._goes_right(node, values_BF, codes_BF, row)
            node_B[row] = np.where(right, self.right[node], self.left[node])
            row = row[node_B[row] >= 0]
        return -1 - node_B

    def _walk_levels(
        self, tree: int, values_BF: npt.NDArray[np.float64], codes_BF: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """The same of an oblivious tree."""
        row = np.arange(len(values_BF))
        split = int(self.depths[:tree].sum())
        leaf_B = np.full(len(row), int((1 << self.depths[:tree].astype(np.int64)).sum()))
        for level in range(int(self.depths[tree])):
            question = np.full(len(row), split + level)
            leaf_B += self._goes_right(question, values_BF, codes_BF, row).astype(np.int64) << level
        return leaf_B

    def _goes_right(
        self,
        split: npt.NDArray[np.int64],
        values_BF: npt.NDArray[np.float64],
        codes_BF: npt.NDArray[np.int64],
        row: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.bool_]:
        column = self.split_features[split]
        value = values_BF[row, column]
        rule = self.split_missing[split]
        missing = np.isnan(value)
        missing |= ((rule & ZERO_IS_MISSING) != 0) & (np.abs(value) <= ZERO)
        right = np.where(
            missing, (rule & MISSING_RIGHT) != 0, ~(value <= self.split_thresholds[split])
        )
        first = self.split_sets[split]
        asks = first >= 0
        if asks.any():
            code = codes_BF[row[asks], column[asks]]
            word = self.sets[first[asks] + code // 64]
            right[asks] = (word >> (code % 64).astype(np.uint64)) & np.uint64(1) == 0
        return right

    def _codes(self, values_BF: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Positions in the sets of a row's categories; 0 in numeric columns."""
        codes_BF = np.zeros(values_BF.shape, dtype=np.int64)
        for column in np.flatnonzero(self.category_widths):
            width = int(self.category_widths[column])
            value_B = values_BF[:, column]
            if self.library == "catboost":
                keys = self.keys[self.key_starts[column] : self.key_starts[column + 1]]
                known = {int(key): code for code, key in enumerate(keys)}
                distinct, place_B = np.unique(value_B, return_inverse=True)
                found = [known.get(hash_category(x), width) for x in distinct.tolist()]
                codes_BF[:, column] = np.array(found, dtype=np.int64)[place_B]
                continue
            # LightGBM drops the fraction first (-0.5 is 0), XGBoost refuses what is below 0 first.
            lowest = -1.0 if self.library == "lightgbm" else -0.0
            inside = (value_B > lowest) & (value_B < width)
            if lowest == 0:
                inside |= value_B == 0
            code_B = np.full(len(value_B), width, dtype=np.int64)
            code_B[inside] = np.trunc(value_B[inside]).astype(np.int64)
            code_B[np.isnan(value_B)] = width + 1
            codes_BF[:, column] = code_B
        return codes_BF


def flatten(model: Any) -> Forest:
    """The trees of a model of LightGBM, XGBoost or CatBoost.

    As the library's own `predict` does, it stops at the best iteration of early stopping where
    there is one (XGBoost: an estimator does, a Booster does not).

    Args:
        model: A Booster, a fitted estimator, or the path of a file: LightGBM's text, XGBoost's
            `.json`, CatBoost's `save_model(file, format="json")`. A file is read without the
            library.

    Returns:
        A forest whose margins are the raw predictions of the library on the CPU, to the last bit.
        (Where LightGBM's raw prediction is not what its sigmoid is given, the margin is the latter:
        the mean of a random forest, and `sigmoid` times the sum.)

    Raises:
        ConfigError: The model has several outputs, or a part that is not supported; the message
            names it.
        DataError: The file is damaged or of another format.
        NotFound: There is no such file.
    """
    if isinstance(model, (str, os.PathLike)):
        draft = _read_file(Path(model))
    else:
        roots = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
        name = type(model).__name__
        if "lightgbm" in roots:
            draft = lightgbm_trees.read(lightgbm_trees.model_text(model), name)
        elif "xgboost" in roots:
            document, best = xgboost_trees.model_json(model)
            draft = xgboost_trees.read(document, name, best=best)
        elif roots & {"catboost", "_catboost"}:
            draft = catboost_trees.read(catboost_trees.model_json(model), name)
        else:
            raise ConfigError(
                f"Trees are read of models of LightGBM, XGBoost and CatBoost, or of their files, "
                f"not of a {name!r}."
            )
    return Forest.from_arrays(draft.arrays())


def _read_file(path: Path) -> ForestDraft:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"There is no model file {str(path)!r}.") from error
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}.") from error
    name = path.name
    if content.startswith((b"tree\n", b"tree\r\n")):
        return lightgbm_trees.read(content.decode("utf-8", "replace"), name)
    if content.lstrip()[:1] != b"{":
        raise DataError(f"{name!r} is no model that trees are read of. {_FORMATS}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name!r} is no JSON ({error}). {_FORMATS}") from error
    if "learner" in document:
        return xgboost_trees.read(document, name)
    if "features_info" in document:
        return catboost_trees.read(document, name)
    raise DataError(f"{name!r} is JSON, but of no model that trees are read of. {_FORMATS}")


_FORMATS: Final = (
    "Save LightGBM with save_model('model.txt'), XGBoost with save_model('model.json'), "
    "CatBoost with save_model('model.json', format='json')."
)


def _check_length(name: str, array: npt.NDArray[np.generic], length: int, why: str) -> None:
    if len(array) != length:
        raise DataError(f"{name!r} has {len(array)} values; it needs {length}, {why}.")


def _check_range(name: str, array: npt.NDArray[np.generic], low: int, high: int) -> None:
    if len(array) and not low <= int(array.min()) <= int(array.max()) < high:
        raise DataError(f"{name!r} has values outside [{low}, {high}).")


def _check_finite(name: str, array: npt.NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise DataError(f"{name!r} has {array[wrong[0]]} at {wrong[0]}; it must be finite.")
