"""Features of the words of texts, as numbers without a vocabulary: hashes.

Each word has four: itself, itself and the next one, its first letters, its last letters. The
beginnings and endings say something of words that training has not seen.

Letters of shapes: B texts, L words of the longest, F features of a word.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

PARTS = (0.25, 0.5, 0.125, 0.125)
"""Share of the numbers for words, pairs of words, beginnings, endings."""
_HEAD, _TAIL = 4, 3


def hashed(texts: Any, buckets: int, max_words: int) -> npt.NDArray[np.int64]:
    """Numbers of the features of all words, which are what stands between blanks, in lower case.

    Args:
        texts: Arrow array or sequence of B texts; null is an empty one.
        buckets: Numbers there are, from 1; at least 8.
        max_words: Of a text, the first.

    Returns:
        Shape (B, L, F), L at least 1; 0 beyond the end of a text.

    Source: Weinberger et al. 2009, "Feature hashing for large scale multitask learning",
        arXiv:0902.2206, without its signs.
    """
    lists = [(str(text or "")).lower().split()[:max_words] for text in _values(texts)]
    width = max(1, max(map(len, lists), default=0))
    found = np.zeros((len(lists), width, len(PARTS)), np.int64)
    known: dict[str, int] = {}  # of this call: a word is hashed once
    sizes = [int(share * buckets) for share in PARTS]
    firsts = [1 + sum(sizes[:place]) for place in range(len(sizes))]
    for row, words in enumerate(lists):
        for place, features in enumerate(_features(words)):
            for kind, feature in enumerate(features):
                number = known.get(feature)
                if number is None:
                    number = firsts[kind] + zlib.crc32(feature.encode()) % sizes[kind]
                    known[feature] = number
                found[row, place, kind] = number
    return found


def _values(texts: Any) -> Any:
    return texts.to_pylist() if hasattr(texts, "to_pylist") else texts


def _features(words: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """Texts that differ by kind, too: what is between two blanks has none in it."""
    # an empty text has no last word, which the line's end would follow
    for word, following in zip(words, [*words[1:], "\n"], strict=False):
        yield word, f"{word} {following}", f"{word[:_HEAD]}  ", f"  {word[-_TAIL:]}"
