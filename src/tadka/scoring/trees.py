"""Gradient-boosted trees of other libraries, scored without them."""

from typing import Any, ClassVar

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.features.features import Features
from tadka.scoring.backend import make_forest_kernel
from tadka.scoring.forest import Forest, flatten
from tadka.scoring.matrix import columns
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
        trees = cls(features, group=group)
        if trees.definition is not None:
            names = [feature.name for feature in trees.definition.features]
            if forest.num_features != len(names):
                raise ConfigError(
                    f"The trees were grown on {forest.num_features} columns; "
                    f"{trees.definition.name!r} has {len(names)} features."
                )
            given = list(forest.feature_names)
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
        layout = columns(self.definition) if self.definition is not None else None
        return make_forest_kernel(Forest.from_arrays(self.arrays), layout)

    @property
    def num_slots(self) -> int:
        """S: slots of the features; without a feature class, columns of the matrix."""
        if self.definition is not None:
            return self.definition.num_slots
        return Forest.from_arrays(self.arrays).num_features
