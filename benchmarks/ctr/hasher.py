"""The same columns through scikit-learn's FeatureHasher, all 30 features of each row.

The crosses are written a second time as Arrow expressions, which is the fastest way to feed it:
through the class's properties the same features would cost as much again as hashing them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ctr import requests


def features(columns: Any) -> dict[str, Any]:
    """The 30 features as Arrow columns of text, the ten properties computed column by column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def text(column: Any) -> Any:
        return pc.cast(column, pa.string())

    def cross(*names: str) -> Any:
        return pc.binary_join_element_wise(*(found[name] for name in names), "_")

    found = {name: columns[name] for name in requests.STRINGS}
    found["hour"] = text(pc.hour(columns["time"]))
    found["weekday"] = text(pc.day_of_week(columns["time"]))
    found["days_since"] = text(pc.cast(columns["recency"], pa.int64(), safe=False))
    found["user_media"] = cross("user_id", "media_id")
    found["user_campaign"] = cross("user_id", "campaign_id")
    found["media_creative"] = cross("media_id", "creative_id")
    found["campaign_hour"] = cross("campaign_id", "hour")
    found["slot_creative"] = cross("slot_id", "creative_id")
    found["device_os"] = cross("device", "os", "os_version")
    found["region_category"] = cross("region", "category")
    return found


def _hasher(input_type: str) -> Any:
    from sklearn.feature_extraction import FeatureHasher

    return FeatureHasher(
        requests.NUM_SLOTS, input_type=input_type, alternate_sign=False, dtype=np.float32
    )


def strings(columns: Any) -> Any:
    """A list of "name=value" for each row, joined in Arrow."""
    import pyarrow.compute as pc

    found = features(columns)
    texts = [
        pc.binary_join_element_wise(f"{name}=", column, "").to_pylist()
        for name, column in found.items()
    ]
    return _hasher("string").transform(zip(*texts, strict=True))


def dicts(columns: Any) -> Any:
    """A dict of name to value for each row."""
    found = features(columns)
    lists = [column.to_pylist() for column in found.values()]
    names = list(found)
    rows = (dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True))
    return _hasher("dict").transform(rows)


def pairs(columns: Any) -> Any:
    """Pairs of name and value for each row."""
    found = features(columns)
    lists = [column.to_pylist() for column in found.values()]
    names = list(found)
    return _hasher("pair").transform(zip(names, row) for row in zip(*lists, strict=True))  # noqa: B905


WAYS: dict[str, Callable[[Any], Any]] = {"string": strings, "dict": dicts, "pair": pairs}
