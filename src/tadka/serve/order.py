"""What a child of a server is told to do; the child reads it before it loads anything else."""

from dataclasses import dataclass
from typing import Literal

from tadka.features.features import Features
from tadka.features.locate import find_class
from tadka.serve.config import ServeConfig
from tadka.serve.store.store import Store


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

    def feature_class(self) -> type[Features]:
        """The class of the requests: the caller's, else that of the settings, else the store's.

        Raises:
            ConfigError: It cannot be imported.
            NotFound: There is no such module, or the store serves nothing.
            DataError: A file of the store is damaged.
        """
        if self.features is not None:
            return self.features
        if self.config.features is not None:
            return find_class(self.config.features)
        return Store(self.config.store).features()
