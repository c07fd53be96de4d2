"""Convolutions over the words of a text.

Letters of shapes: B texts, L words of the longest, F features of a word, K dimensions of a vector,
H channels, C classes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class TextNet(nn.Module):
    """Convolutions of several widths, the greatest value of each over the text, then classes.

    The vector of a word is the sum of those of its features. The mean of the words' vectors stands
    beside the convolutions, so that what no window holds together counts, too.

    Args:
        num_features: Numbers of features, 0 included, which is none.
        num_classes: C.
        dim: K.
        channels: H of each width.
        widths: Words that a convolution sees.
        dropout: Share of what goes into the last layer that is left out in training.
        word_dropout: Share of features left out in training.
        dim_dropout: Share of the vectors' dimensions left out in training.

    Source: Kim 2014, "Convolutional neural networks for sentence classification", arXiv:1408.5882,
        section 2 (CNN-rand); sums of features as in Bojanowski et al. 2017, "Enriching word vectors
        with subword information", arXiv:1607.04606, section 3.2; dropout of words as in Iyyer et
        al. 2015, "Deep unordered composition rivals syntactic methods for text classification".
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        dim: int = 32,
        channels: int = 64,
        widths: Sequence[int] = (1, 2),
        dropout: float = 0.5,
        word_dropout: float = 0.4,
        dim_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.vectors = nn.Parameter(torch.empty(num_features, dim))
        nn.init.normal_(self.vectors, std=0.02)  # small: a word not seen says little
        with torch.no_grad():
            self.vectors[0] = 0
        self.windows = nn.ModuleList(
            nn.Conv1d(dim, channels, width, padding=width // 2) for width in widths
        )
        self.drop_dim, self.drop = nn.Dropout(dim_dropout), nn.Dropout(dropout)
        self.last = nn.Linear(channels * len(widths) + dim, num_classes)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits, shape (B, C), of features `text`, shape (B, L, F)."""
        rows_BLF = batch["text"]
        num_texts, length, num_features = rows_BLF.shape
        is_word_BL = rows_BLF[..., 0] > 0
        if self.training and self.word_dropout:
            is_out = torch.rand(rows_BLF.shape, device=rows_BLF.device) < self.word_dropout
            rows_BLF = rows_BLF.masked_fill(is_out, 0)
        words_BLK = nn.functional.embedding_bag(
            rows_BLF.reshape(-1, num_features), self.vectors, mode="sum", padding_idx=0
        ).view(num_texts, length, self.vectors.shape[1])
        words_BLK = self.drop_dim(words_BLK)
        # A text's answer must not depend on the longest of its batch: what begins beyond its end
        # counts 0, as nothing below it can come out of relu.
        is_beyond_B1L = ~is_word_BL[:, None]
        found = [
            window(words_BLK.transpose(1, 2))[..., :length].relu().masked_fill(is_beyond_B1L, 0)
            for window in self.windows
        ]
        count_B1 = is_word_BL.sum(dim=1, keepdim=True).clamp(min=1)
        # over the root, as the spread of a sum grows with the root of the number of words
        mean_BK = words_BLK.sum(dim=1) / count_B1.sqrt()
        both = torch.cat([*(channel_BHL.amax(dim=2) for channel_BHL in found), mean_BK], dim=1)
        logits_BC: Tensor = self.last(self.drop(both))
        return logits_BC
