"""Prepared rows: parts to learn from and to judge by, as Parquet files, and further tables."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tadka.core.error import DataError, NotFound
from tadka.core.extra import require
from tadka.models.data.source import parquet_batches
from tadka.models.data.split import Split
from tadka.storage.format import load, scan
from tadka.storage.tabular import project

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("train", "valid", "test")
Arrays = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Rows of a model, by part.

    Args:
        parts: Files of each part: `train`, and `valid` and `test` where they exist.
        counts: Number of rows of each part.
        tables: Files of the further tables, by name.
        fingerprint: Hash of the content: equal rows from equal sources have the same.
        split: How the parts came about.
        origin: Where the rows come from: names and hashes of files, or a version of a dataset.
        folder: That the files are in; empty where they are read in place.
        by: Who reads, see `fitting`.
        fitted: Which parts were read for statistics, by what they are for; see `fitting`.
    """

    parts: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int]
    tables: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    split: Split = field(default_factory=Split)
    origin: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    by: str = field(default="", compare=False)
    fitted: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def uris(self, part: str) -> list[str]:
        """Files of a part; what `tadka.stream.read` takes.

        Args:
            part: `train`, `valid` or `test`.

        Raises:
            NotFound: There is no such part.
        """
        if part not in self.parts:
            raise NotFound(
                f"The data has no part {part!r}; it has {', '.join(self.parts)}. Name files for it "
                f"at data.{part}, or a split."
            )
        return list(self.parts[part])

    def num_rows(self, part: str) -> int:
        """Rows of a part, 0 where it does not exist.

        Args:
            part: `train`, `valid` or `test`.
        """
        return self.counts.get(part, 0)

    def schema(self, part: str = "train") -> "pa.Schema":
        """Columns of a part with their types.

        Args:
            part: `train`, `valid` or `test`.
        """
        return scan(self.uris(part)[0]).schema

    def fitting(self, by: str) -> "Data":
        """The same data, which notes the parts that are read in `fitted`.

        Vocabularies, averages and whatever else is learned from rows is read through it; `check`
        then refuses what was learned from test.

        Args:
            by: What the rows are read for, such as `"vocabulary user"`.
        """
        return replace(self, by=by)  # `fitted` is one note of both

    def batches(
        self, part: str, columns: Sequence[str] | None = None, batch_rows: int = 65_536
    ) -> "Iterator[pa.RecordBatch]":
        """Rows of a part, in order, as Arrow has them.

        Args:
            part: `train`, `valid` or `test`.
            columns: Names of those to read; all for None.
            batch_rows: The most rows of a batch.

        Raises:
            NotFound: There is no such part, or a file is gone.
            DataError: A file is damaged, or a column is missing.
        """
        uris = self.uris(part)
        if self.by:
            before = self.fitted.get(self.by, ())
            self.fitted[self.by] = tuple(p for p in PARTS if p in before or p == part)
        for uri in uris:
            yield from parquet_batches(uri, columns, batch_rows)

    def scan(
        self, part: str, columns: Sequence[str] | None = None, batch_rows: int = 65_536
    ) -> Iterator[Arrays]:
        """Rows of a part, in order: a dict of arrays for each batch.

        Numbers, truths and times are numpy arrays (whole numbers with nulls among them are floats
        with NaN); texts, bytes and lists are Arrow arrays.

        Args:
            part: `train`, `valid` or `test`.
            columns: Names of those to read; all for None.
            batch_rows: The most rows of a batch.

        Raises:
            NotFound: There is no such part, or a file is gone.
            DataError: A file is damaged, or a column is missing.
        """
        for batch in self.batches(part, columns, batch_rows):
            yield {
                name: as_array(column)
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }

    def read(self, part: str, columns: Sequence[str] | None = None) -> Arrays:
        """All rows of a part in memory, as one of `scan`'s dicts.

        Args:
            part: `train`, `valid` or `test`.
            columns: Names of those to read; all for None.

        Raises:
            NotFound: There is no such part, or a file is gone.
            DataError: A file is damaged, or a column is missing.
        """
        pa = require("pyarrow", extra="arrow")
        schema = project(self.uris(part)[0], self.schema(part), columns)
        found = pa.Table.from_batches(self.batches(part, columns), schema)
        return {name: as_array(found[name].combine_chunks()) for name in found.column_names}

    def table(self, name: str) -> "pa.Table":
        """A further table, in memory.

        Args:
            name: Such as `items`.

        Raises:
            NotFound: There is none of this name.
            DataError: Its file is damaged.
        """
        if name not in self.tables:
            known = ", ".join(self.tables) or "none"
            raise NotFound(
                f"The data has no table {name!r}; it has {known}. Name its file at "
                f"data.tables.{name}."
            )
        return load(self.tables[name])

    def to_json(self) -> str:
        """Text that `from_json` reads back; paths below `folder` are kept relative to it."""
        below = f"{self.folder}/"
        return json.dumps(
            {
                "parts": {
                    name: [uri.removeprefix(below) for uri in uris]
                    for name, uris in self.parts.items()
                },
                "counts": dict(self.counts),
                "tables": {name: uri.removeprefix(below) for name, uri in self.tables.items()},
                "fingerprint": self.fingerprint,
                "split": asdict(self.split),
                "origin": dict(self.origin),
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str, folder: str | Path = "") -> "Data":
        """Data as `to_json` wrote it.

        Args:
            text: JSON.
            folder: That the files are in; empty where their paths are whole.

        Raises:
            DataError: It is something else.
        """
        try:
            found = json.loads(text)

            def placed(path: str) -> str:
                return f"{folder}/{path}" if str(folder) else path

            return cls(
                parts={n: tuple(placed(u) for u in uris) for n, uris in found["parts"].items()},
                counts={name: int(count) for name, count in found["counts"].items()},
                tables={name: placed(uri) for name, uri in found["tables"].items()},
                fingerprint=str(found["fingerprint"]),
                split=Split(**found["split"]),
                origin=dict(found["origin"]),
                folder=str(folder),
            )
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise DataError(
                f"The record of prepared data in {str(folder)!r} is damaged ({error}). Delete the "
                "folder and prepare it again."
            ) from error


def as_array(column: Any) -> Any:
    """A column as models have it: numpy for numbers, truths and times, Arrow for all else.

    Args:
        column: An Arrow array.
    """
    pa = require("pyarrow", extra="arrow")
    kind = column.type
    types = pa.types
    if types.is_dictionary(kind):
        return as_array(column.dictionary_decode())
    if types.is_boolean(kind) and column.null_count:
        return column.cast(pa.float32()).to_numpy(zero_copy_only=False)
    is_plain = (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_temporal(kind)
    )
    return np.asarray(column.to_numpy(zero_copy_only=False)) if is_plain else column
