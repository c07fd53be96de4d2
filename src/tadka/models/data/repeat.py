"""Rows that stand there twice, within a part or in two parts, and pairs that are in two parts."""

from collections.abc import Sequence
from typing import Any

from tadka.models.data.findings import Findings, Part, share_of
from tadka.models.data.keys import KeySet, hash_columns
from tadka.models.data.tally import Bad

_LOG_SHARE = 0.01  # of pairs of train that repeat, from which it is a log of events


class Repeats:
    """Hashes of the rows and pairs of the first part, which the others are compared with.

    Args:
        pair: Columns that make an event.
        max_keys: Hashes kept of each kind.
        max_duplicates: Share of equal rows, above which it warns.
    """

    def __init__(self, pair: Sequence[str], max_keys: int, max_duplicates: float) -> None:
        self._asked_pair = tuple(pair)
        self._max_keys, self._max_duplicates = max_keys, max_duplicates
        self._rows, self._pairs = KeySet(max_keys), KeySet(max_keys)
        self._is_log = False

    def begin(self, part: Part) -> None:
        """Goes on with a part."""
        self._part = part
        has_pair = all(name in part.schema.names for name in self._asked_pair)
        self._pair = self._asked_pair if has_pair else ()
        self._own = self._rows if part.is_first else KeySet(self._max_keys)
        self._equal, self._known_rows, self._known_pairs = Bad(), Bad(), Bad()
        self._num_repeated_pairs = 0

    def add(self, batch: Any, start: int) -> None:
        """Looks at a batch whose first row has the number `start`."""
        hashes = hash_columns(batch.columns)
        self._equal.add(self._own.add(hashes), _Whole(batch), start)
        if not self._part.is_first:
            self._known_rows.add(self._rows.contains(hashes), _Whole(batch), start)
        if not self._pair:
            return
        chosen = batch.select(list(self._pair))
        hashes = hash_columns(chosen.columns)
        if self._part.is_first:
            self._num_repeated_pairs += int(self._pairs.add(hashes).sum())
        else:
            self._known_pairs.add(self._pairs.contains(hashes), _Whole(chosen), start)

    def judge(self, found: Findings) -> None:
        """Notes what is wrong in the part."""
        part, rows = self._part.name, self._part.num_rows
        found.ask("NoDuplicates")
        if self._equal.count / rows > self._max_duplicates:
            share = self._own.share
            estimate = "" if share == 1 else f" (by {share:.2%} of the rows)"
            found.find(
                "NoDuplicates",
                f"{self._told(self._equal, self._own)} are equal to an earlier one{estimate}.",
                part=part,
                bad=self._equal,
                severity="warn",
            )
        if not self._part.is_first:
            self._judge_overlap(found)
        elif self._pair:
            repeated = self._num_repeated_pairs / rows
            found.measured["repeated_pairs"] = repeated
            # a log of events has a pair again and again: then it is no leak by itself
            self._is_log = repeated > _LOG_SHARE

    def _judge_overlap(self, found: Findings) -> None:
        part, name = self._part.name, ", ".join(self._asked_pair)
        if self._pair:
            found.ask("NoOverlap", name)
        elif self._asked_pair:
            missing = next(n for n in self._asked_pair if n not in self._part.schema.names)
            found.skipped[f"NoOverlap({name})"] = f"there is no column {missing!r}."
        if self._known_pairs.count:
            also = "; pairs occur more than once there, too" if self._is_log else ""
            found.find(
                "NoOverlap",
                f"{self._told(self._known_pairs, self._pairs)} have a pair ({name}) that is in "
                f"train{also}.",
                part=part,
                column=name,
                bad=self._known_pairs,
                severity="warn" if self._is_log else "error",
            )
        found.ask("NoOverlap")
        if self._known_rows.count:
            found.find(
                "NoOverlap",
                f"{self._told(self._known_rows, self._rows)} are equal to a row of train in all "
                "columns.",
                part=part,
                bad=self._known_rows,
                severity="warn",
            )

    def _told(self, bad: Bad, keys: KeySet) -> str:
        """How many of all rows it is, estimated from those that a set looks at."""
        rows = self._part.num_rows
        return share_of(min(rows, round(bad.count / keys.share)), rows)


class _Whole:
    """Values of a row as `Bad` takes them of a column."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getitem__(self, row: int) -> "_Whole":
        return _Whole(self._batch.slice(row, 1))

    def as_py(self) -> str:
        """The first row, its first columns."""
        names = self._batch.schema.names[:4]
        values = [f"{n}={self._batch.column(n)[0].as_py()!r}"[:40] for n in names]
        return " ".join(values)
