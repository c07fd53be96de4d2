"""A small residual network for pictures, with a linear or an angular last layer.

Letters of shapes: B pictures of S x S pixels, H channels, C classes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tadka.models.loss.pointwise import unit


class ResidualBlock(nn.Module):
    """Two convolutions, whose sum with their input goes on.

    Args:
        before: Channels of the input.
        channels: Of the output.
        stride: 2 halves the picture's sides.

    Source: He et al. 2016, "Deep residual learning for image recognition", arXiv:1512.03385, figure
        2 and eq. 2 (a product of 1 x 1 where the shapes differ).
    """

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.around: nn.Module = nn.Identity()
        if before != channels or stride > 1:
            self.around = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x_BHSS: Tensor) -> Tensor:
        """Shape (B, channels, S/stride, S/stride)."""
        found: Tensor = (self.body(x_BHSS) + self.around(x_BHSS)).relu()
        return found


class ArcFaceHead(nn.Module):
    """Cosines of a vector's angles with a direction for each class: what `loss.arcface` takes.

    Args:
        size: Of the vector.
        num_classes: C.

    Source: Deng et al. 2019, "ArcFace", arXiv:1801.07698, eq. 2.
    """

    def __init__(self, size: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, size))
        nn.init.xavier_normal_(self.weight)

    def forward(self, x_BH: Tensor) -> Tensor:
        """Cosines, shape (B, C)."""
        return unit(x_BH) @ unit(self.weight).T


class ResNet(nn.Module):
    """A stem, residual blocks in stages of half the side and twice the channels, the mean, a head.

    Args:
        num_classes: C.
        width: Channels of the first stage.
        blocks: Of each stage.
        stride: Of the stem: 2 costs a quarter of the time and little accuracy at 32 pixels.
        is_angular: Whether it ends in an `ArcFaceHead` instead of logits.

    Source: He et al. 2016, arXiv:1512.03385, section 4.2, with fewer blocks.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 32,
        blocks: Sequence[int] = (1, 1, 1),
        stride: int = 2,
        is_angular: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        channels = width
        for stage, count in enumerate(blocks):
            for place in range(count):
                first = stage > 0 and place == 0
                layers.append(ResidualBlock(channels, width << stage, 2 if first else 1))
                channels = width << stage
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        head = ArcFaceHead if is_angular else nn.Linear
        self.head = head(channels, num_classes)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits, or cosines, shape (B, C), of bytes `image`, shape (B, 3, S, S)."""
        x_B3SS = batch["image"].float() / 127.5 - 1  # the bytes travel, a quarter of the floats
        found: Tensor = self.head(self.body(x_B3SS))
        return found
