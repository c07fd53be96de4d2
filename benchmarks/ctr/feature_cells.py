"""The methods of the benchmark `features`; each returns its figures."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ctr import plain, requests, timing

Figures = dict[str, Any]
# Rows whose scores are compared before the clock starts.
NUM_CHECKED = 2_000


def _told(us: float, **more: Any) -> Figures:
    return {"us": us, "headline": f"{us:.3f} us a row", **more}


def plan(directory: Path) -> Figures:
    """tadka, from a message to its score; then all messages in one call."""
    from ctr import tadka_features

    messages, model = requests.read_wire(directory), tadka_features.model()
    reference = plain.scorer(*tadka_features.hash_of_text(plain.FEATURES))
    apart = max(
        abs(model.score(message) - reference(message)) for message in messages[:NUM_CHECKED]
    )
    if apart > 1e-6:
        raise RuntimeError(f"Scores differ from those of plain Python by up to {apart}.")
    us = timing.us_per_call(model.score, messages, least=7)
    batch_us = timing.us_per_row(lambda: model.predict(messages), len(messages), least=7)
    repeated_us = timing.us_per_call(model.score, [messages[0]] * len(messages), seconds=0.3)
    return _told(
        us,
        batch_us=batch_us,
        repeated_us=repeated_us,
        apart=apart,
        num_python=tadka_features.num_python(),
    )


def plain_xxhash(directory: Path) -> Figures:
    """Plain Python with xxhash."""
    score = plain.scorer(*plain.xxhash_of_text())
    return _told(timing.us_per_call(score, requests.read_wire(directory)))


def plain_tadka_hash(directory: Path) -> Figures:
    """Plain Python with tadka's hash, so that the scores are the same."""
    from ctr import tadka_features

    score = plain.scorer(*tadka_features.hash_of_text(plain.FEATURES))
    return _told(timing.us_per_call(score, requests.read_wire(directory)))


def columns(directory: Path) -> Figures:
    """tadka, whole columns: with one thread on one core, then with all cores."""
    from ctr import tadka_features

    table = requests.read_columns(directory)
    mine = tadka_features.slots_of(table, 1)
    hashing = tadka_features.hash_of_text(plain.FEATURES)
    if not np.array_equal(mine, plain.columns_to_slots(table, *hashing)):
        raise RuntimeError("The slots differ from those of the loop.")
    us = timing.us_per_row(lambda: tadka_features.slots_of(table, 1), len(table), least=15)
    cores = os.cpu_count() or 1
    os.sched_setaffinity(0, range(cores))
    all_us = timing.us_per_row(lambda: tadka_features.slots_of(table, cores), len(table), least=15)
    return _told(us, all_us=all_us, num_python=tadka_features.num_python())


def loop_xxhash(directory: Path) -> Figures:
    """The loop over rows with xxhash."""
    table, hashing = requests.read_columns(directory), plain.xxhash_of_text()
    return _told(
        timing.us_per_row(lambda: plain.columns_to_slots(table, *hashing), len(table), least=4)
    )


def loop_tadka_hash(directory: Path) -> Figures:
    """The loop over rows with tadka's hash."""
    from ctr import tadka_features

    table, hashing = requests.read_columns(directory), tadka_features.hash_of_text(plain.FEATURES)
    return _told(
        timing.us_per_row(lambda: plain.columns_to_slots(table, *hashing), len(table), least=4)
    )


def _hasher(directory: Path, way: str) -> Figures:
    from ctr import hasher

    table = requests.read_columns(directory)
    return _told(timing.us_per_row(lambda: hasher.WAYS[way](table), len(table), least=4))


def hasher_string(directory: Path) -> Figures:
    """FeatureHasher of "name=value" texts."""
    return _hasher(directory, "string")


def hasher_dict(directory: Path) -> Figures:
    """FeatureHasher of dicts."""
    return _hasher(directory, "dict")


def hasher_pair(directory: Path) -> Figures:
    """FeatureHasher of pairs."""
    return _hasher(directory, "pair")
