"""The same feature class with properties that are not compiled: each calls a user's function.

The strings of the request itself need no code; the 10 properties run as Python, one by one.
"""

from ctr import requests, tadka_features


def joined(*parts: object) -> str:
    """A helper, as users write them."""
    return "_".join(map(str, parts))


class Impression(tadka_features.Impression, size=requests.NUM_SLOTS):
    """A request, and the crosses computed from it."""

    @property
    def hour(self) -> str:
        return joined(self.time.hour)

    @property
    def weekday(self) -> str:
        return joined(self.time.weekday())

    @property
    def days_since(self) -> str:
        return joined(int(self.recency))

    @property
    def user_media(self) -> str:
        return joined(self.user_id, self.media_id)

    @property
    def user_campaign(self) -> str:
        return joined(self.user_id, self.campaign_id)

    @property
    def media_creative(self) -> str:
        return joined(self.media_id, self.creative_id)

    @property
    def campaign_hour(self) -> str:
        return joined(self.campaign_id, self.hour)

    @property
    def slot_creative(self) -> str:
        return joined(self.slot_id, self.creative_id)

    @property
    def device_os(self) -> str:
        return joined(self.device, self.os, self.os_version)

    @property
    def region_category(self) -> str:
        return joined(self.region, self.category)


def num_python() -> int:
    """Features that run as Python; 10 if the class does what it is for."""
    return sum(not explained.is_compiled for explained in Impression.explain())
