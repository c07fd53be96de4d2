"""Rows as a model asks for them: columns renamed, side tables joined, labels made 0 and 1."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.models.data.source import Source

if TYPE_CHECKING:
    import pyarrow as pa


class Shaped:
    """Rows of a source in another shape, a batch at a time.

    Args:
        source: Of the rows.
        columns: New names, each with the source's; one of the source's may get several.
        sides: Columns to look up, each with a table that has it: every row gets the other columns
            of its match, null where there is none.
        label: Name of the label, once renamed.
        positive_from: Labels from here on become 1, others 0, missing ones stay missing.

    Raises:
        DataError: A column is missing or would stand there twice, or a side table has one value
            in two rows.
    """

    def __init__(
        self,
        source: Source,
        *,
        columns: Mapping[str, str] | None = None,
        sides: Sequence[tuple[str, str, "pa.Table"]] = (),
        label: str = "label",
        positive_from: float | None = None,
    ) -> None:
        self.source = source
        self._old = dict(columns or {})
        self._sides = [_Side(*one) for one in sides]
        self._label = label
        self._positive_from = positive_from
        names = source.schema.names
        for new, old in self._old.items():
            if old not in names:
                raise DataError(
                    f"The data has no column {old!r}, which data.columns.{new} names. Its columns "
                    f"are: {', '.join(names)}."
                )
            if new in names and new not in self._old.values():
                raise DataError(
                    f"The data has a column {new!r}; data.columns cannot give {old!r} that name. "
                    f"Rename the other one, too: {new}_old: {new}."
                )
        self._new: dict[str, list[str]] = {}
        for new, old in self._old.items():
            self._new.setdefault(old, []).append(new)
        self.schema: Any = self._shaped(source.schema.empty_table()).schema.remove_metadata()

    @property
    def num_rows(self) -> int | None:
        """How many there are; None where only reading tells."""
        return self.source.num_rows

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.Table]":
        """The rows, a batch at a time, each as a table.

        Args:
            columns: Names of those to read, none of side tables; all for None.

        Raises:
            DataError: A column is missing.
        """
        pa = require("pyarrow", extra="arrow")
        if columns is not None:
            for name in columns:
                if name not in self.schema.names:
                    raise DataError(
                        f"The data has no column {name!r}, which the split needs. Its columns are: "
                        f"{', '.join(self.schema.names)}."
                    )
            old = [self._old.get(name, name) for name in columns]
            for batch in self.source.batches(list(dict.fromkeys(old))):
                yield pa.table([batch.column(name) for name in old], names=list(columns))
            return
        for batch in self.source.batches(None):
            yield self._shaped(pa.Table.from_batches([batch])).cast(self.schema)

    def _shaped(self, table: "pa.Table") -> "pa.Table":
        pa = require("pyarrow", extra="arrow")
        named = [(new, old) for old in table.column_names for new in self._new.get(old, [old])]
        table = pa.table([table[old] for _, old in named], names=[new for new, _ in named])
        for side in self._sides:
            table = side.join(table)
        if self._positive_from is not None:
            table = self._with_truths(table)
        return table

    def _with_truths(self, table: "pa.Table") -> "pa.Table":
        pa = require("pyarrow", extra="arrow")
        compute = require("pyarrow.compute", extra="arrow")
        index = table.schema.get_field_index(self._label)
        if index < 0:
            raise DataError(
                f"The data has no column {self._label!r} to make 0 and 1 of, as data.positive_from "
                f"asks. Its columns are: {', '.join(table.column_names)}."
            )
        kind = table.schema.field(index).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise DataError(
                f"Label {self._label!r} is {kind}; data.positive_from compares numbers."
            )
        truths = compute.greater_equal(
            table.column(index).cast(pa.float64()), float(self._positive_from or 0.0)
        )
        # NaN >= x is false; it must stay missing, not become a negative
        is_missing = compute.is_null(table.column(index), nan_is_null=True)
        labels = compute.if_else(is_missing, None, truths.cast(pa.int64()))
        return table.set_column(index, self._label, labels)


class _Side:
    """A table whose columns rows get."""

    def __init__(self, name: str, key: str, table: "pa.Table") -> None:
        compute = require("pyarrow.compute", extra="arrow")
        self.name, self.key = name, key
        if key not in table.column_names:
            raise DataError(
                f"Table {name!r} has no column {key!r} to be joined by; its columns are: "
                f"{', '.join(table.column_names)}."
            )
        self.keys = _plain(table[key].combine_chunks())
        if len(compute.unique(self.keys)) < len(self.keys):
            counts = compute.value_counts(self.keys)
            twice = next(one for one in counts.to_pylist() if one["counts"] > 1)
            raise DataError(
                f"Table {name!r} has {twice['counts']} rows with {key} {twice['values']!r}; to be "
                "joined it must have one for each value."
            )
        self.rest = table.drop_columns([key]).combine_chunks()

    def join(self, table: "pa.Table") -> "pa.Table":
        """A table with the columns of the match of each row."""
        compute = require("pyarrow.compute", extra="arrow")
        pa = require("pyarrow", extra="arrow")
        if self.key not in table.column_names:
            raise DataError(
                f"The data has no column {self.key!r}, by which data.join takes table "
                f"{self.name!r}. Its columns are: {', '.join(table.column_names)}."
            )
        both = sorted(set(self.rest.column_names) & set(table.column_names))
        if both:
            raise DataError(
                f"Table {self.name!r} and the rows both have a column {both[0]!r}; rename one."
            )
        asked, keys = _plain(table[self.key]), self.keys
        try:
            if pa.types.is_integer(asked.type) and pa.types.is_integer(keys.type):
                asked, keys = asked.cast(pa.int64()), keys.cast(pa.int64())
            keys = keys.cast(asked.type)
        except pa.ArrowException as error:
            raise DataError(
                f"Column {self.key!r} is {asked.type} in the rows and {keys.type} in table "
                f"{self.name!r}."
            ) from error
        # a row without a key has no match, also where the table has a row without one
        found = self.rest.take(compute.index_in(asked, value_set=keys, skip_nulls=True))
        for name in found.column_names:
            table = table.append_column(name, found[name])
        return table


def _plain(column: Any) -> Any:
    """A column without a dictionary."""
    types = require("pyarrow", extra="arrow").types
    is_coded = types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_coded else column
