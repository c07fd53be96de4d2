"""A small dense network over sparse rows."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError
from tadka.features.features import Features
from tadka.scoring.backend import make_kernel
from tadka.scoring.model import Model


class Dense(Model):
    """A network of fully connected layers with ReLU between them; the last gives the margin.

    The first layer has a row of weights for every slot, so that categories and numbers enter alike
    and only the slots of a row cost anything. It is trained elsewhere; see `from_layers`.

    Args:
        features: The class that makes its rows; None for a model of plain `SparseRows`.
        group: The group of the class's features that it uses; None for all.
    """

    kind: ClassVar[str] = "dense"

    @classmethod
    def from_layers(
        cls,
        layers: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
        features: type[Features] | None = None,
        *,
        group: str | None = None,
    ) -> "Dense":
        """A network from the weights of one trained elsewhere.

        Args:
            layers: (weights, bias) of each, weights of shape (inputs, outputs): the first has S
                inputs, the last one output. scikit-learn's `zip(mlp.coefs_, mlp.intercepts_)` has
                this form; torch's `Linear.weight` is its transpose.
            features: The class that makes its rows; None for a model of plain `SparseRows`.
            group: The group of the class's features that it uses.

        Returns:
            A model ready to predict.

        Raises:
            DataError: There is no layer, or the shapes do not fit one another.
        """
        if not layers:
            raise DataError("A network needs at least one layer; none was given.")
        arrays: dict[str, npt.NDArray[Any]] = {}
        for number, (weights, bias) in enumerate(layers):
            arrays[f"weights_{number}"] = np.ascontiguousarray(weights, np.float32)
            arrays[f"bias_{number}"] = np.ascontiguousarray(bias, np.float32).reshape(-1)
        return cls(features, group=group).take(arrays)

    def make_kernel(self) -> Any:
        """The forward pass over `self.arrays`."""
        return make_kernel(self.kind, self.arrays)

    @property
    def num_slots(self) -> int:
        """S: inputs of the first layer."""
        return len(self.arrays["weights_0"])
