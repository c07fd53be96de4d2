"""Whether the parts of a split by time follow each other."""

from typing import Any

import numpy as np

from tadka.core.extra import require
from tadka.models.data.findings import Findings, Part
from tadka.models.data.split import Split
from tadka.models.data.tally import Bad

Moment = tuple[Any, int]
"""A time and the number of its row."""


class Order:
    """First and last time of each part.

    Args:
        split: How the parts came about; only a split by time has an order.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._spans: dict[str, tuple[Moment, Moment]] = {}

    def begin(self, part: Part) -> None:
        """Goes on with a part."""
        types = require("pyarrow", extra="arrow").types
        self._part = part.name
        self._column = ""
        index = part.schema.get_field_index(self._split.times)
        if self._split.kind == "time" and index >= 0:
            kind = part.schema.field(index).type
            if types.is_temporal(kind) or types.is_primitive(kind):
                self._column = self._split.times

    def add(self, batch: Any, start: int) -> None:
        """Looks at a batch whose first row has the number `start`."""
        if not self._column:
            return
        column = batch.column(self._column)
        where = np.flatnonzero(~column.is_null().to_numpy(zero_copy_only=False))
        if not len(where):
            return
        times = column.drop_null().to_numpy(zero_copy_only=False)
        low, high = int(np.argmin(times)), int(np.argmax(times))
        first = (times[low], start + int(where[low]))
        last = (times[high], start + int(where[high]))
        if self._part in self._spans:
            first = min(self._spans[self._part][0], first)
            last = max(self._spans[self._part][1], last, key=lambda moment: moment[0])
        self._spans[self._part] = (first, last)

    def judge(self, found: Findings) -> None:
        """Notes which parts do not follow each other."""
        if self._split.kind != "time":
            found.skipped["TimeOrder"] = f"the split is {self._split.kind}, not by time."
            return
        if len(self._spans) < 2:
            found.skipped["TimeOrder"] = f"fewer than two parts have column {self._split.times!r}."
            return
        found.ask("TimeOrder")
        parts = list(self._spans)
        for number, part in enumerate(parts):
            for later in parts[number + 1 :]:
                most, most_row = self._spans[part][1]
                least, least_row = self._spans[later][0]
                if most > least:
                    found.find(
                        "TimeOrder",
                        f"the last row of {part} is of {most} (row {most_row}), after the first "
                        f"of {later}, of {least}; a split by time has no row of {later} before "
                        f"one of {part}.",
                        part=later,
                        column=self._split.times,
                        bad=Bad(1, [(least_row, least)]),
                    )
