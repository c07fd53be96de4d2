"""Classes of texts by convolutions over their words."""

import numpy as np
from torch import nn

from tadka.models.define.catalog import register
from tadka.models.define.column import Column
from tadka.models.define.model import Rows
from tadka.models.library.classifier import Classifier
from tadka.models.library.words import hashed
from tadka.models.net.text import TextNet


@register("text_cnn")
class TextCNN(Classifier):
    """Convolutions over the words of a text (Kim 2014), with random vectors at first.

    Args:
        dim: Dimensions of a word's vector.
        channels: Of the convolutions of each width.
        widths: Words that a convolution sees.
        buckets: Numbers for words, pairs of words, beginnings and endings, by hash.
        max_words: Of a text; the rest is not read.
        dropout: Share of what goes into the last layer that is left out in training.
        word_dropout: Share of features left out in training.
    """

    inputs = (Column("text", "string"), Column("label", "int64", role="label", low=0))
    dim: int = 32
    channels: int = 64
    widths: tuple[int, ...] = (1, 2)
    buckets: int = 131_072
    max_words: int = 60
    dropout: float = 0.5
    word_dropout: float = 0.4

    def train_preprocess(self, rows: Rows) -> Rows:
        return {**self.predict_preprocess(rows), "label": np.asarray(rows["label"], np.int64)}

    def predict_preprocess(self, rows: Rows) -> Rows:
        return {"text": hashed(rows["text"], self.buckets, self.max_words)}

    def net(self) -> nn.Module:
        return TextNet(
            self.buckets + 1,
            self.state.meta["num_classes"],
            dim=self.dim,
            channels=self.channels,
            widths=self.widths,
            dropout=self.dropout,
            word_dropout=self.word_dropout,
        )
