"""What a child of a server is told to do; the child reads it before it loads anything else."""

from dataclasses import dataclass
from typing import Literal

from tadka.features.features import Features
from tadka.serve.config import ServeConfig


@dataclass(frozen=True, kw_only=True)
class Order:
    """Of one worker, or of the log writer.

    Args:
        config: The settings, with the ports that were found.
        transport: Which of the two servers runs.
        features: The feature class where the caller gave one; it travels by value where it was
            defined in a notebook or in the program itself.
        index: Of the worker, from 0.
        board: Descriptor of the memory of counters.
        rings: Descriptor of the memory of the request log; None for no log.
    """

    config: ServeConfig
    transport: Literal["native", "grpcio"]
    features: type[Features] | None
    index: int
    board: int
    rings: int | None
