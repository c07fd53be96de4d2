"""How a segment classifier is trained; apart from its net, so that torch is not needed for it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a segment classifier is trained; the same for both kinds of input.

    Args:
        hidden: Units of the hidden layer.
        dropout: Share of inputs and of hidden units left out in training.
        lr: Learning rate of Adam.
        weight_decay: Decoupled from the gradient (AdamW).
        batch_rows: Users of a batch.
        max_epochs: Passes at most.
        patience: Passes without a better validation loss after which training ends.
    """

    hidden: int = 64
    dropout: float = 0.3
    lr: float = 3e-3
    weight_decay: float = 0.05
    batch_rows: int = 128
    max_epochs: int = 100
    patience: int = 10
