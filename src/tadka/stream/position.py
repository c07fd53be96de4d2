"""Where in the stream a model has been trained to: a handful of integers."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Position:
    """What has been trained, and hence what comes next.

    Args:
        epoch: The epoch in work, from 0.
        step: Steps of it that are trained, counted over all ranks.
        group: Its current group of chunks; -1 before the first.
        lane: The lane whose turn it is.
        lanes: (chunk, next batch) of each chunk of the group that is not exhausted.
    """

    epoch: int = 0
    step: int = 0
    group: int = -1
    lane: int = 0
    lanes: tuple[tuple[int, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Position":
        """The position that `to_dict` gave."""
        lanes = tuple((int(chunk), int(first)) for chunk, first in values["lanes"])
        return cls(**{**values, "lanes": lanes})
