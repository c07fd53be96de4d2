"""What models of classes share: one score a class, and how many classes there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tadka.models.define.model import Prepared
from tadka.models.train.torch import TorchModel


@dataclass(frozen=True, kw_only=True)
class Classifier(TorchModel):
    """A model whose label is the number of a class, from 0, in the column `label`."""

    task = "class"
    default_loss = "ce"

    def prepare(self, data: Prepared) -> Mapping[str, Any]:
        """How many classes there are, as `num_classes`."""
        return {"num_classes": int(np.max(data.read("train", ["label"])["label"])) + 1}
