"""Gradient-boosted trees of other libraries, scored without them."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.features.features import Features
from tadka.scoring.backend import make_forest_kernel, make_matrix_kernel
from tadka.scoring.forest import Forest, flatten
from tadka.scoring.matrix import NUMBER, columns
from tadka.scoring.model import Model


class Trees(Model):
    """A forest that LightGBM, XGBoost or CatBoost has grown, as flat arrays.

    Train the library on `feature_matrix(Impression, table)`, then `Trees.from_library(booster,
    Impression)`. Without a feature class it takes rows of an input matrix only.

    Args:
        features: The class that makes its rows; None for a model of plain matrices.
        group: The group of the class's features that it uses; None for all.
    """

    kind: ClassVar[str] = "trees"

    @classmethod
    def from_library(
        cls,
        model: Any,
        features: type[Features] | None = None,
        *,
        group: str | None = None,
    ) -> "Trees":
        """The trees of a trained model.

        Args:
            model: A LightGBM, XGBoost or CatBoost model, or the path of a file that one saved
                (LightGBM text, XGBoost JSON, CatBoost JSON).
            features: The feature class whose matrix it was trained on.
            group: The group of the class's features.

        Returns:
            A model ready to predict.

        Raises:
            ConfigError: The model does something that flat trees cannot, or was trained on other
                columns than the features of the class.
            DataError: The file is damaged.
        """
        forest = flatten(model)
        if forest.link != "logistic":
            raise ConfigError(
                f"The trees predict by the link {forest.link!r}; scores are probabilities, so "
                "train them with a binary log loss."
            )
        trees = cls(features, group=group)
        if trees.definition is not None:
            names = [feature.name for feature in trees.definition.features]
            if forest.num_features != len(names):
                raise ConfigError(
                    f"The trees were grown on {forest.num_features} columns; "
                    f"{trees.definition.name!r} has {len(names)} features."
                )
            given = [str(name) for name in forest.names]
            # A library that was given a plain matrix makes up names of its own; those say nothing.
            if set(given) & set(names) and given != names:
                wrong = next(n for n in range(len(names)) if given[n] != names[n])
                raise ConfigError(
                    f"Column {wrong} of the trees is {given[wrong]!r}; feature {wrong} of "
                    f"{trees.definition.name!r} is {names[wrong]!r}. Train on feature_matrix."
                )
        return trees.take(forest.to_arrays())

    def make_kernel(self) -> Any:
        """The forward pass over `self.arrays`."""
        self.forest = Forest.from_arrays(self.arrays)
        if self.definition is None:
            num_columns = self.forest.num_features
            layout = [(NUMBER, column, -1) for column in range(num_columns)]
            return make_forest_kernel(self.forest, np.array(layout, np.int32), num_columns)
        return make_forest_kernel(self.forest, columns(self.definition), self.num_slots)

    @property
    def num_slots(self) -> int:
        """S: slots of the features; without a feature class, columns of the matrix."""
        if self.definition is not None:
            return self.definition.num_slots
        return self.forest.num_features

    def margins(self, rows: Any, *, first_row: int = 0) -> npt.NDArray[np.float64]:
        """Log-odds before the sigmoid and the calibration.

        Args:
            rows: As `predict` takes them; also the matrix itself, float64 of shape (B, F).
            first_row: Number of the first row, for messages.

        Returns:
            Shape (B,).
        """
        if isinstance(rows, np.ndarray):
            self._ready()
            matrix = np.ascontiguousarray(rows, np.float64)
            if matrix.ndim != 2 or matrix.shape[1] != self.forest.num_features:
                raise DataError(
                    f"The matrix has shape {matrix.shape}; the trees want "
                    f"(rows, {self.forest.num_features})."
                )
            margins: npt.NDArray[np.float64] = make_matrix_kernel(self.forest).margins(matrix)
            return margins
        return super().margins(rows, first_row=first_row)
