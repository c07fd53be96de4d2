"""The hash, against vectors that the author's own program printed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.features.hash import feature_seed, hash_text, missing_hash, slot_of

try:
    from tadka.features import native
except ImportError:
    native = None  # type: ignore[assignment]

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "hash_vectors.json").read_text(encoding="utf-8")
)
BYTES = bytes((131 * i + 7 * (i // 8) + 17) % 256 for i in range(4096))

HASHES = [
    pytest.param(hash_text, id="python"),
    pytest.param(
        native.hash_text if native is not None else None,
        id="native",
        marks=pytest.mark.skipif(native is None, reason="the engine is not built"),
    ),
]


@pytest.mark.parametrize("function", HASHES)
def test_the_authors_own_words_hash_as_they_do_there(
    function: Callable[[bytes, int], int],
) -> None:
    for text, seed, expected in VECTORS["texts"]:
        assert expected == f"{function(text.encode(), seed):016x}"


@pytest.mark.parametrize("function", HASHES)
def test_every_size_hashes_as_in_the_vectors(function: Callable[[bytes, int], int]) -> None:
    seeds = [int(seed, 16) for seed in VECTORS["seeds"]]
    for size, *expected in VECTORS["sizes"]:
        assert expected == [f"{function(BYTES[:size], seed):016x}" for seed in seeds]


@pytest.mark.skipif(native is None, reason="the engine is not built")
@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(-(2**65), 2**65))
def test_both_hashes_are_equal_for_any_bytes_and_seed(data: bytes, seed: int) -> None:
    assert hash_text(data, seed) == native.hash_text(data, seed)


def test_a_feature_starts_from_the_hash_of_its_name() -> None:
    assert hash_text("größe".encode()) == feature_seed("größe")


def test_missing_is_not_the_empty_text() -> None:
    seed = feature_seed("user")

    assert hash_text(b"", seed) != missing_hash(seed)
    assert hash_text(b"", 0) == missing_hash(2**64 - 1)


def test_slots_fill_their_width() -> None:
    slots = [slot_of(hash_text(str(i).encode()), 100, 7) for i in range(7000)]

    counts = np.bincount(np.array(slots) - 100, minlength=7)
    assert 7 == len(counts)
    assert counts.min() > 850
    assert 100 == slot_of(0, 100, 7)
    assert 106 == slot_of(2**64 - 1, 100, 7)
