"""Dividing rows: which of the rows of train a part has."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tadka.core.extra import require
from tadka.models.data.data import PARTS, as_array
from tadka.models.data.shape import Shaped
from tadka.models.data.split import Split, given_split

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Part:
    """Rows of a part.

    Args:
        rows: Of this part and maybe of others.
        parts: The number of each row's part, shape (N,); None where all are of this one.
        number: Of this part.
    """

    rows: Shaped
    parts: npt.NDArray[np.int8] | None = None
    number: int = 0

    def count(self) -> int:
        """How many rows it has."""
        if self.parts is not None:
            return int(np.count_nonzero(self.parts == self.number))
        return _count(self.rows)

    def tables(self) -> "Iterator[pa.Table]":
        """Its rows, a batch at a time."""
        pa = require("pyarrow", extra="arrow")
        at = 0
        for table in self.rows.batches():
            if self.parts is not None:
                mask = self.parts[at : at + table.num_rows] == self.number
                at += table.num_rows
                table = table.filter(pa.array(mask))
            if table.num_rows:
                yield table


def divided(shaped: Mapping[str, Shaped], test: Split, valid: object) -> dict[str, Part]:
    """Rows of each part, those of train divided as it is asked.

    Args:
        shaped: Rows that are given, by part.
        test: How test comes about.
        valid: How valid does; anything but a split where it is given, or not there.

    Raises:
        DataError: The rows cannot be divided so.
    """
    first = shaped["train"]
    found = {name: Part(rows) for name, rows in shaped.items()}
    cuts = {"test": test, **({"valid": valid} if isinstance(valid, Split) else {})}
    needed = [column for split in cuts.values() for column in split.columns]
    if not needed and all(split.kind == "given" for split in cuts.values()):
        return {part: found[part] for part in PARTS if part in found}
    columns, num_rows = _read_columns(first, list(dict.fromkeys(needed)))
    parts = np.zeros(num_rows, dtype=np.int8)
    if test.kind == "given" and test.column:
        for name, rows in given_split(columns[test.column]).items():
            parts[rows] = PARTS.index(name)
            found[name] = Part(first, parts, PARTS.index(name))
    for name, split in cuts.items():
        if split.kind != "given":
            rows = np.flatnonzero(parts == 0)
            taken = {column: columns[column][rows] for column in split.columns}
            _, judged = split.divide(len(rows), taken)
            parts[rows[judged]] = PARTS.index(name)
            found[name] = Part(first, parts, PARTS.index(name))
    found["train"] = Part(first, parts, 0)
    return {part: found[part] for part in PARTS if part in found}


def _read_columns(rows: Shaped, names: Sequence[str]) -> tuple[dict[str, Any], int]:
    """Columns that divide rows, and how many rows there are."""
    pieces: dict[str, list[Any]] = {name: [] for name in names}
    if not names:
        return {}, _count(rows)
    num_rows = 0
    for table in rows.batches(names):
        num_rows += table.num_rows
        for name in names:
            column = as_array(table[name].combine_chunks())
            pieces[name].append(
                column if isinstance(column, np.ndarray) else column.to_numpy(zero_copy_only=False)
            )
    return {name: np.concatenate([np.empty(0, p[0].dtype), *p]) if p else np.empty(0)
            for name, p in pieces.items()}, num_rows  # fmt: skip


def _count(rows: Shaped) -> int:
    if rows.num_rows is not None:
        return rows.num_rows
    return sum(int(batch.num_rows) for batch in rows.batches(rows.schema.names[:1]))
