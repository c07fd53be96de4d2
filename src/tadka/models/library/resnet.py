"""Classes of pictures by a small residual network."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

import tadka.models.library.pictures as pictures
from tadka.core.error import ConfigError
from tadka.models.define.catalog import register
from tadka.models.define.column import Column
from tadka.models.define.model import Rows
from tadka.models.library.classifier import Classifier
from tadka.models.loss.catalog import get as get_loss
from tadka.models.net.image import ResNet


@register("resnet")
class ResNetClassifier(Classifier):
    """Residual network (He et al. 2016) with a softmax or an ArcFace head (Deng et al. 2019).

    Args:
        size: Pixels of a side; pictures of others are scaled.
        width: Channels of the first stage.
        blocks: Residual blocks of each stage.
        shift: Most pixels that a picture is moved by in training.
        head: What comes last.
        margin: Radians that the right class must win by, of ArcFace.
        scale: What the cosines are multiplied with, of ArcFace.
    """

    inputs = (Column("image", "bytes"), Column("label", "int64", role="label", low=0))
    size: int = 32
    width: int = 32
    blocks: tuple[int, ...] = (1, 1, 1)
    shift: int = 4
    head: Literal["softmax", "arcface"] = "softmax"
    margin: float = 0.2
    scale: float = 16.0

    def __post_init__(self) -> None:
        if self.loss and self.head == "arcface":
            raise ConfigError(
                f"model.loss is {self.loss!r}, and model.head is 'arcface', which has a loss of "
                "its own. Leave one of them out."
            )

    def train_preprocess(self, rows: Rows, rng: np.random.Generator) -> Rows:  # type: ignore[override]
        found = pictures.varied(pictures.decoded(rows["image"], self.size), rng, self.shift)
        return {"image": found, "label": np.asarray(rows["label"], np.int64)}

    def predict_preprocess(self, rows: Rows) -> Rows:
        return {"image": pictures.decoded(rows["image"], self.size)}

    def net(self) -> nn.Module:
        is_angular, num_classes = self.head == "arcface", self.state.meta["num_classes"]
        return ResNet(num_classes, width=self.width, blocks=self.blocks, is_angular=is_angular)

    def loss_of(self, net: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        if self.head != "arcface":
            return super().loss_of(net, batch)
        arcface = get_loss("arcface", scale=self.scale, margin=self.margin)
        return arcface(net(batch), batch["label"])

    @classmethod
    def example(cls, num_rows: int, seed: int = 0) -> Mapping[str, Any]:
        return pictures.example(num_rows, seed)
