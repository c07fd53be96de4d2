"""Trees while they are read: what the readers of the libraries write into."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError

MISSING_RIGHT: Final = 1
"""Bit of `split_missing`: a missing value goes right; without it, left."""
ZERO_IS_MISSING: Final = 2
"""Bit of `split_missing`: a value of at most 1e-35 in size counts as missing."""

ZERO: Final = float(np.float32(1e-35))  # LightGBM's kZeroThreshold
LIBRARIES: Final = ("lightgbm", "xgboost", "catboost")
LINKS: Final = ("identity", "logistic", "exp")
MAX_DEPTH: Final = 16  # of an oblivious tree; CatBoost allows no more
MAX_WIDTH: Final = 1 << 24  # categories of one column; XGBoost allows no more
_MAX_WORDS: Final = 1 << 24  # of all sets: 128 MiB


@dataclass(frozen=True, slots=True)
class Split:
    """A question and the places of its two answers in the list of the tree's nodes.

    Args:
        feature: Column.
        threshold: At most this goes left.
        missing: `MISSING_RIGHT` and `ZERO_IS_MISSING`.
        left: Where the left child stands; not used in oblivious trees.
        right: Where the right child stands.
        codes: Of a categorical split the listed codes; None for a numeric one.
        listed_left: Whether listed codes go left, and others right; or the other way round.
    """

    feature: int
    threshold: float = 0.0
    missing: int = 0
    left: int = -1
    right: int = -1
    codes: Sequence[int] | None = None
    listed_left: bool = True


class ForestDraft:
    """The arrays of a forest, growing tree by tree.

    Args:
        library: One of `LIBRARIES`.
        source: What is read, for messages.
        names: Names of the columns.
    """

    def __init__(self, library: str, source: str, names: Sequence[str]) -> None:
        self.library = library
        self.source = source
        self.names = list(names)
        self.link = "identity"
        self.start, self.scale, self.divisor, self.shift = 0.0, 1.0, 1.0, 0.0
        self.keys: dict[int, list[int]] = {}
        self._splits: list[Split] = []
        self._left: list[int] = []
        self._right: list[int] = []
        self._roots: list[int] = []
        self._depths: list[int] = []
        self._leaves: list[float] = []

    @property
    def num_trees(self) -> int:
        """Trees so far."""
        return len(self._roots) + len(self._depths)

    def add_tree(self, nodes: Sequence[Split | float]) -> None:
        """Appends a tree of splits and leaf values; the first node is the root.

        Args:
            nodes: In any order; those that the root does not lead to are left out.

        Raises:
            DataError: A child does not exist, or two splits lead to one node.
        """
        if not nodes:
            raise self.damaged("has no nodes")
        root = nodes[0]
        if not isinstance(root, Split):
            self._leaves.append(root)
            self._roots.append(-len(self._leaves))
            return
        first = len(self._splits)
        self._roots.append(first)
        self._splits.append(root)
        reached = {0}
        at = first
        while at < len(self._splits):  # level by level, so a child comes after its parent
            for children, place in (
                (self._left, self._splits[at].left),
                (self._right, self._splits[at].right),
            ):
                if not 0 <= place < len(nodes) or place in reached:
                    raise self.damaged(f"leads to node {place} twice, or it does not exist")
                reached.add(place)
                child = nodes[place]
                if isinstance(child, Split):
                    children.append(len(self._splits))
                    self._splits.append(child)
                else:
                    self._leaves.append(child)
                    children.append(-len(self._leaves))
            at += 1

    def add_levels(self, levels: Sequence[Split], leaves: Sequence[float]) -> None:
        """Appends an oblivious tree.

        Args:
            levels: Question k gives bit k of the leaf's number.
            leaves: Values, 2**len(levels).

        Raises:
            DataError: There are too many levels, or another number of leaves.
        """
        if len(levels) > MAX_DEPTH or len(leaves) != 1 << len(levels):
            raise self.damaged(f"has {len(levels)} levels and {len(leaves)} leaves")
        self._depths.append(len(levels))
        self._splits.extend(levels)
        self._leaves.extend(leaves)

    def damaged(self, what: str) -> DataError:
        """The error that says what is wrong with the tree that would come next.

        Args:
            what: Completes "tree 3 of 'model.txt' ...".

        Returns:
            An error to raise.
        """
        return DataError(
            f"Tree {self.num_trees} of {self.source!r} {what}; the file is damaged. Save it again."
        )

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays of `Forest`, by name; `Forest.from_arrays` checks them.

        Returns:
            Arrays.

        Raises:
            DataError: A column or category is out of range.
        """
        num_features = len(self.names)
        if any(not 0 <= split.feature < num_features for split in self._splits):
            raise DataError(f"{self.source!r} splits columns beyond the {num_features} it names.")
        features = np.array([split.feature for split in self._splits], dtype=np.int32)
        widths = self._widths()
        places, sets = self._sets(widths)
        key_starts = np.zeros(0, dtype=np.int64)
        keys = [key for column in range(num_features) for key in self.keys.get(column, ())]
        if self.library == "catboost":
            key_starts = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
        return {
            "names": np.array(self.names, dtype=np.str_),
            "settings": np.array([self.library, self.link], dtype=np.str_),
            "constants": np.array([self.start, self.scale, self.divisor, self.shift]),
            "split_features": features,
            "split_thresholds": np.array([s.threshold for s in self._splits], dtype=np.float64),
            "split_missing": np.array([s.missing for s in self._splits], dtype=np.uint8),
            "split_sets": places,
            "left": np.array(self._left, dtype=np.int32),
            "right": np.array(self._right, dtype=np.int32),
            "roots": np.array(self._roots, dtype=np.int32),
            "depths": np.array(self._depths, dtype=np.int32),
            "leaf_values": np.array(self._leaves, dtype=np.float64),
            "category_widths": widths,
            "sets": sets,
            "key_starts": key_starts,
            "keys": np.array(keys, dtype=np.uint32),
        }

    def _widths(self) -> npt.NDArray[np.int32]:
        """Codes that each column's splits know, at least 1 where it is categorical."""
        widths = np.zeros(len(self.names), dtype=np.int32)
        for column, keys in self.keys.items():
            widths[column] = len(keys)
        for split in self._splits:
            if split.codes is None:
                continue
            if len(split.codes) and not 0 <= min(split.codes) <= max(split.codes) < MAX_WIDTH:
                raise DataError(
                    f"{self.source!r} splits column {self.names[split.feature]!r} by categories "
                    f"outside [0, {MAX_WIDTH}). Number the categories from 0 and train again."
                )
            widths[split.feature] = max(widths[split.feature], 1, max(split.codes, default=-1) + 1)
        return widths

    def _sets(
        self, widths: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """First word of each split's set, -1 for numeric splits, and the words."""
        places = np.full(len(self._splits), -1, dtype=np.int64)
        words: list[npt.NDArray[np.uint64]] = []
        known: dict[tuple[int, bytes], int] = {}  # the same question is often asked again
        num_words = 0
        for number, split in enumerate(self._splits):
            if split.codes is None:
                continue
            width = int(widths[split.feature])
            bits = np.zeros((width + 65) // 64 * 64, dtype=np.uint8)
            bits[: width + 1] = not split.listed_left  # unknown codes are not listed
            bits[np.asarray(split.codes, dtype=np.int64)] = split.listed_left
            bits[width + 1] = not split.missing & MISSING_RIGHT
            packed = np.packbits(bits, bitorder="little")
            identity = (width, packed.tobytes())
            if identity not in known:
                known[identity] = num_words
                words.append(packed.view("<u8").astype(np.uint64))
                num_words += len(words[-1])
                if num_words > _MAX_WORDS:
                    raise DataError(
                        f"The category sets of {self.source!r} take more than "
                        f"{_MAX_WORDS * 8 >> 20} MiB. Number the categories from 0 without gaps."
                    )
            places[number] = known[identity]
        return places, np.concatenate(words) if words else np.zeros(0, dtype=np.uint64)
