"""Examples: encoded rows with what happened to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.core.progress import Progress, ProgressRow
from tadka.features.features import Features, plan_of
from tadka.features.plan import concatenate
from tadka.features.sparse import SparseRows
from tadka.scoring.libffm import read_rows, write_rows
from tadka.storage.format import read_piece, scan
from tadka.storage.uri import expand

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to learn from or to judge by.

    Args:
        rows: B encoded rows.
        labels: What happened: 1 or 0 (-1 counts as 0), shape (B,).
        weights: How much each row counts, shape (B,); None for all the same.
        first: Message of the first row, which becomes the example of a model trained on them.
    """

    rows: SparseRows
    labels: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32] | None = None
    first: bytes | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def read(
        cls,
        source: Any,
        features: type[Features],
        *,
        group: str | None = None,
        label: str = "label",
        weight: str | None = None,
        progress: Progress | None = None,
        name: str = "examples",
    ) -> "Examples":
        """Encodes a table.

        Args:
            source: Files, patterns or folders of any tabular format, or an Arrow table.
            features: The feature class; the table has a column for each of its fields.
            group: Which of its groups of features to encode; None for all.
            label: Column of labels: numbers or booleans.
            weight: Column of weights; None for none.
            progress: Shows the rows read, unless None.
            name: What the rows are, for the progress.

        Returns:
            The examples, in the order of the table.

        Raises:
            DataError: A column is missing, a row cannot be encoded, or a label is missing.
            NotFound: There is no such file.
        """
        plan = plan_of(features, group)
        fields = [field.name for field in plan.definition.fields]
        extra = [column for column in (label, weight) if column is not None]
        parts: list[SparseRows] = []
        labels: list[npt.NDArray[np.float32]] = []
        weights: list[npt.NDArray[np.float32]] = []
        first = None
        done = 0
        for table, total in tables(source, list(dict.fromkeys([*fields, *extra]))):
            if table.num_rows and first is None:
                _, row = next(plan.instances(table.slice(0, 1)))
                first = row.to_message()
            parts.append(plan.encode(table, first_row=done))
            labels.append(_numbers(table, label, done))
            if weight is not None:
                weights.append(_numbers(table, weight, done))
            done += table.num_rows
            if progress is not None:
                progress.show({name: ProgressRow(done=done, total=total)})
        if not done:
            raise DataError(f"The {name} have no rows; at least one is needed.")
        return cls(
            concatenate(parts, plan.definition),
            np.concatenate(labels),
            np.concatenate(weights) if weight is not None else None,
            first,
        )

    @classmethod
    def from_libffm(
        cls, path: str | Path, *, num_slots: int | None = None, num_features: int | None = None
    ) -> "Examples":
        """Rows of libffm's text: `label field:feature:value ...`.

        Args:
            path: The file; gzip if it ends in .gz.
            num_slots: S; None for what the file has. Entries beyond a given one are left out, so
                read validation rows with the numbers of the training rows.
            num_features: F (libffm says fields); likewise.

        Returns:
            The examples.

        Raises:
            NotFound: There is no such file.
            DataError: A line cannot be parsed; its number and the token are named.
        """
        rows, labels = read_rows(path, num_slots=num_slots, num_features=num_features)
        return cls(rows, labels)

    def to_libffm(self, path: str | Path) -> None:
        """Writes the rows and labels as libffm's text.

        Args:
            path: The file; gzip if it ends in .gz. An existing file is replaced.

        Raises:
            DataError: A value is not finite, or the file cannot be written.
        """
        write_rows(path, self.rows, self.labels)


def tables(source: Any, columns: list[str]) -> Iterator[tuple["pa.Table", int | None]]:
    """The pieces of a table, with the number of all its rows where it is known.

    Args:
        source: As `Examples.read` takes it.
        columns: Those to read; the tables of a table in memory keep all of theirs.

    Yields:
        Tables, in order.

    Raises:
        DataError: A column is missing or a file is damaged.
        NotFound: There is no such file.
    """
    pa = require("pyarrow", extra="arrow")
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if isinstance(source, pa.Table):
        missing = [column for column in columns if column not in source.column_names]
        if missing:
            raise DataError(
                f"The table has no column {missing[0]!r}; it has: {', '.join(source.column_names)}."
            )
        yield source, source.num_rows
        return
    if not isinstance(source, str | Path | list | tuple):
        raise DataError(
            f"Rows cannot be read from a {type(source).__name__!r}; give the address of a file, "
            "a pattern, a folder, a list of these, or an Arrow table."
        )
    scans = [scan(uri, columns) for uri in expand(source)]
    counts = [found.num_rows for found in scans]
    total = sum(n for n in counts if n is not None) if None not in counts else None
    for found in scans:
        for index in range(len(found.piece_rows)):
            yield read_piece(found, index), total


def _numbers(table: "pa.Table", column: str, before: int) -> npt.NDArray[np.float32]:
    """A column as float32, shape (B,); a missing value is an error that names its row."""
    pa = require("pyarrow", extra="arrow")
    values = table[column].combine_chunks()
    if values.null_count:
        row = before + values.is_null().index(True).as_py()
        raise DataError(f"Column {column!r} is missing in row {row}; fill it or leave the row out.")
    try:
        numbers = values.cast(pa.float32(), safe=False) if len(values) else pa.array([], "float32")
    except pa.ArrowException as error:
        raise DataError(
            f"Column {column!r} is {values.type}; it must be numbers or booleans."
        ) from error
    return np.frombuffer(numbers.buffers()[1] or b"", np.float32, len(numbers) + numbers.offset)[
        numbers.offset :
    ]
