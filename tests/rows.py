"""Rows of an index as tests need them."""

import hashlib
from typing import Any

from tadka.task.store.row import Entry, Output


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def entry(number: int, *outputs: Output, **others: Any) -> Entry:
    """An entry whose key, id and time follow from its number."""
    code = {f"shop.helpers.f{place}": digest(place) for place in range(10)}
    return Entry(
        **{
            "key": digest(number),
            "task": "shop.features.Features",
            "task_id": digest(-number)[:32],
            "parts": {"class": "shop.features.Features", "code": code, "fields": {"day": number}},
            "fields": {"day": number},
            "outputs": outputs or (Output("", digest(f"bytes {number}"), ".json", number),),
            "run": "r1",
            "created_at": 1_700_000_000.0 + number,
            "seconds": 0.5,
            **others,
        }
    )
