"""Whether the values of valid and test are in the vocabularies that train gives."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tadka.core.extra import require
from tadka.models.data.findings import Findings, Part
from tadka.models.data.keys import KeySet, hash_column
from tadka.models.data.tally import Bad
from tadka.models.define.column import Column


@dataclass
class _Unseen:
    """Values of one column that train does not have.

    Args:
        num_values: How many.
        num_looked: Of how many that were looked at.
        bad: The rows.
    """

    num_values: int = 0
    num_looked: int = 0
    bad: Bad = field(default_factory=Bad)


class Coverage:
    """Hashes of the values of train, by vocabulary.

    Args:
        columns: What the model takes in.
        max_keys: Hashes kept of each vocabulary.
        max_unseen: Share of values that are not in train, above which it warns.
    """

    def __init__(self, columns: Sequence[Column], max_keys: int, max_unseen: float) -> None:
        names = {column.vocabulary_name for column in columns if column.vocabulary}
        self._keys = {name: KeySet(max_keys) for name in names}
        self._max_unseen = max_unseen

    def begin(self, part: Part) -> None:
        """Goes on with a part."""
        self._part = part
        self._unseen = {column: _Unseen() for column in part.columns if column.vocabulary}

    def add(self, batch: Any, start: int) -> None:
        """Looks at a batch whose first row has the number `start`."""
        compute = require("pyarrow.compute", extra="arrow")
        for column, unseen in self._unseen.items():
            values = batch.column(column.name)
            hashes = hash_column(compute.list_flatten(values) if column.is_list else values)
            keys = self._keys[column.vocabulary_name]
            if self._part.name == "train":
                keys.put(hashes)
                continue
            is_looked_at = keys.looks_at(hashes)
            is_unseen = is_looked_at & ~keys.contains(hashes)
            unseen.num_values += int(is_unseen.sum())
            unseen.num_looked += int(is_looked_at.sum())
            if column.is_list:
                parents = compute.list_parent_indices(values).to_numpy(zero_copy_only=False)
                rows = np.zeros(len(values), dtype=bool)
                rows[parents[is_unseen]] = True
            else:
                rows = is_unseen
            unseen.bad.add(rows, values, start)

    def judge(self, found: Findings) -> None:
        """Notes what is wrong in the part."""
        for column, unseen in self._unseen.items():
            if not unseen.num_looked:
                continue
            name = column.name
            found.ask("Coverage", name)
            share = unseen.num_values / unseen.num_looked
            covered = found.measured.setdefault("coverage", {}).setdefault(name, {})
            covered[self._part.name] = 1 - share
            if share <= self._max_unseen and share < 1:
                continue
            limit = (
                f"; at most {self._max_unseen:.2%} are accepted."
                if share < 1
                else ": none is. Is it the same column?"
            )
            found.find(
                "Coverage",
                f"{share:.2%} of the values are not in train's vocabulary{limit}",
                part=self._part.name,
                column=name,
                bad=unseen.bad,
                severity="warn" if share < 1 else "error",
            )
