"""How a feature becomes slots of a sparse row. Written in an annotation: `Annotated[float, Log()]`.

A missing value (None, and for numbers NaN) has a slot of its own under every encoding, so that a
model can learn what its absence means.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tadka.core.error import ConfigError, NotFound

MAX_SLOTS = 2**31 - 1


@dataclass(frozen=True)
class Hashed:
    """A category: the text of the value is hashed. The default of str, int and bool.

    Args:
        size: Slots of this feature alone; None for the table that the class's hashed features
            share, whose size is the class's.
    """

    size: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.size <= MAX_SLOTS:
            raise ConfigError(f"Hashed size is {self.size}; it must be from 1 to 2**31 - 1.")

    def __str__(self) -> str:
        return "Hashed()" if self.size is None else f"Hashed({self.size})"


@dataclass(frozen=True)
class Vocabulary:
    """A category of known values: each has a slot, all others share one.

    Args:
        words: The text of each value, as `str()` gives it; no word twice.
        file: A UTF-8 file with a word a line instead.
    """

    words: Sequence[str] = ()
    file: str | Path | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = tuple(self.words)
        if self.file is not None:
            if words:
                raise ConfigError("Vocabulary has both words and a file; give one of them.")
            try:
                # not splitlines, which also splits at U+2028 and others that a word may hold
                text = Path(self.file).read_text(encoding="utf-8")
                words = tuple(text.removesuffix("\n").split("\n")) if text else ()
            except FileNotFoundError as error:
                raise NotFound(f"Vocabulary file {str(self.file)!r} does not exist.") from error
            except (OSError, UnicodeError) as error:
                raise ConfigError(
                    f"Vocabulary file {str(self.file)!r} cannot be read: {error}."
                ) from error
        if not words:
            raise ConfigError("Vocabulary has no words; give at least one.")
        seen: set[str] = set()
        for word in words:
            if not isinstance(word, str):
                raise ConfigError(f"Vocabulary word {word!r} is no text; give str(value).")
            if word in seen:
                raise ConfigError(f"Vocabulary has the word {word!r} twice; give each once.")
            seen.add(word)
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "file", None)


@dataclass(frozen=True)
class Number:
    """The number itself, as (x - shift) / scale. The default of float.

    Args:
        shift: Such as the mean of the training data.
        scale: Such as their standard deviation; not 0.
    """

    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.shift) and math.isfinite(self.scale) and self.scale):
            raise ConfigError(f"{self} needs a finite shift and a finite scale that is not 0.")


@dataclass(frozen=True)
class Log:
    """A number of wide range: sign(x) * log(1 + |x|)."""


@dataclass(frozen=True)
class Buckets:
    """A number as a category: the interval it falls in.

    Args:
        edges: Increasing; bucket i is [edges[i - 1], edges[i]), the first and last are open ended.
    """

    edges: Sequence[float]

    def __post_init__(self) -> None:
        edges = tuple(float(edge) for edge in self.edges)
        if not edges or any(math.isnan(edge) for edge in edges):
            raise ConfigError(f"Buckets has the edges {edges}; give at least one number, no NaN.")
        if any(high <= low for low, high in itertools.pairwise(edges)):
            raise ConfigError(f"Buckets has the edges {edges}; each must be above the one before.")
        object.__setattr__(self, "edges", edges)


@dataclass(frozen=True)
class Skip:
    """No feature: a field or property that only other properties use."""


Encoding = Hashed | Vocabulary | Number | Log | Buckets


def num_slots(encoding: Encoding) -> int:
    """Slots that a feature has to itself; 0 for one that hashes into the shared table.

    The last of them is the missing value's, except under Hashed, where the missing value is hashed
    like any other.
    """
    match encoding:
        case Hashed(size):
            return size or 0
        case Vocabulary(words):
            return len(words) + 2  # the words, unknown, missing
        case Buckets(edges):
            return len(edges) + 2  # the intervals, missing
        case Number() | Log():
            return 2  # the value, missing
