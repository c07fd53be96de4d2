"""The feature class of tadka, and what the cells call of it. The class is that of plain.py."""

import os
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import numpy as np

from ctr import requests
from tadka.features import Features, Skip


class Impression(Features, size=requests.NUM_SLOTS):
    """A request, and the crosses computed from it."""

    time: datetime
    recency: Annotated[float, Skip()]
    user_id: str
    media_id: str
    campaign_id: str
    creative_id: str
    advertiser_id: str
    category: str
    slot_id: str
    placement: str
    size: str
    device: str
    os: str
    os_version: str
    browser: str
    language: str
    country: str
    region: str
    city: str
    carrier: str
    referrer: str
    segment: str

    @property
    def hour(self) -> str:
        return str(self.time.hour)

    @property
    def weekday(self) -> str:
        return str(self.time.weekday())

    @property
    def days_since(self) -> str:
        return str(int(self.recency))

    @property
    def user_media(self) -> str:
        return f"{self.user_id}_{self.media_id}"

    @property
    def user_campaign(self) -> str:
        return f"{self.user_id}_{self.campaign_id}"

    @property
    def media_creative(self) -> str:
        return f"{self.media_id}_{self.creative_id}"

    @property
    def campaign_hour(self) -> str:
        return f"{self.campaign_id}_{self.hour}"

    @property
    def slot_creative(self) -> str:
        return f"{self.slot_id}_{self.creative_id}"

    @property
    def device_os(self) -> str:
        return f"{self.device}_{self.os}_{self.os_version}"

    @property
    def region_category(self) -> str:
        return f"{self.region}_{self.category}"


def hash_of_text(names: tuple[str, ...]) -> tuple[Callable[[Any, int], int], list[int]]:
    """tadka's hash, called from Python for each feature, and the seeds of its features."""
    from tadka.features.native import hash_text

    return hash_text, [hash_text(name.encode(), 0) for name in names]


def model() -> Any:
    """A trained model, as far as its weights go."""
    from tadka.scoring import Linear

    arrays = {"bias": np.zeros(1), "linear": requests.weights()}
    return Linear(Impression).take(arrays)


def slots_of(columns: Any, threads: int) -> Any:
    """Whole Arrow columns to slots, shape (rows, features)."""
    return Impression.encode(columns, threads=threads).slots.reshape(len(columns), -1)


def num_python() -> int:
    """Features that are not compiled; the figures are no claim unless it is 0."""
    if os.environ.get("TADKA_NATIVE") == "0":
        return len(Impression.explain())
    return sum(not explained.is_compiled for explained in Impression.explain())
