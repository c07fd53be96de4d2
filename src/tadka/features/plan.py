"""How a class encodes rows: compiled where it can be, as plain Python elsewhere."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.core.native import use_native
from tadka.features.columns import Columns, is_arrow, read_batches
from tadka.features.compiler import Refusal, compile_property
from tadka.features.declaration import Declaration
from tadka.features.definition import Definition
from tadka.features.encoding import Encoding
from tadka.features.program import Program
from tadka.features.reference import Reference
from tadka.features.row import Rows, show, type_of
from tadka.features.sparse import SparseRows
from tadka.features.wire import Wire

try:  # an extension: not there without a C compiler
    from tadka.features.native import Engine as Engine
except ImportError:
    Engine = None  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_ROWS = 8192
"""Rows that are turned into Python values at a time, or that a thread gets at least."""

BATCH_ROWS = 2**18
"""Rows of columns that are cast and encoded at a time, so that memory stays bounded."""

LONG_ROWS = 20_000
"""From here on several threads are worth their start."""


@dataclass(frozen=True)
class Explanation:
    """How one feature is computed.

    Args:
        name: Of the field or property.
        is_property: Whether it is computed at all.
        encoding: How its value becomes slots.
        is_compiled: Whether it is computed without Python, where the compiled engine is there.
        reason: Why Python computes it: "a loop"; "" where it is compiled.
        line: Of the source that the reason speaks of; None where there is no such line.
    """

    name: str
    is_property: bool
    encoding: Encoding
    is_compiled: bool
    reason: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """One phrase: compiled, or Python with the reason and its line."""
        if self.is_compiled:
            return "compiled"
        return f"Python: {self.reason}" + ("" if self.line is None else f" (line {self.line})")


class Plan:
    """Encodes rows of one class, with all its features or those of a group.

    Args:
        cls: The feature class.
        definition: Of the class, with the features wanted.
        declaration: Of the class.
        native: Whether the compiled engine runs; None where it is there and `TADKA_NATIVE` is not
            0.
    """

    def __init__(
        self,
        cls: type,
        definition: Definition,
        declaration: Declaration,
        *,
        native: bool | None = None,
    ) -> None:
        self._cls = cls
        self.definition = definition
        self._rows = Rows(cls, declaration.fields)
        self._wire = Wire(definition.fields)
        self._columns = Columns(cls.__name__, declaration.fields)
        self._members = (*declaration.fields, *declaration.properties)
        self.reference = Reference(definition, self._members)
        self._hook = _hook(cls)
        self._programs = self._compile()
        is_wanted = use_native(Engine) if native is None else native
        self.engine: Any = self._make_engine() if is_wanted else None

    @property
    def is_native(self) -> bool:
        """Whether the compiled engine runs."""
        return self.engine is not None

    def _compile(self) -> list[Program | Refusal | None]:
        """For each feature its program, or why it has none; None for a field."""
        properties = {
            name: found
            for base in reversed(self._cls.__mro__)
            for name, found in vars(base).items()
            if isinstance(found, property)
        }
        programs: list[Program | Refusal | None] = []
        for member in self.reference.members:
            shape = member.shape
            if not member.is_property:
                programs.append(None)
            elif self._hook is not None:
                programs.append(Refusal(f"the class has its own {self._hook}"))
            else:
                programs.append(
                    compile_property(
                        properties[member.name],
                        self.definition.fields,
                        properties,
                        shape.type,
                        shape.is_optional,
                        is_list=shape.is_list,
                    )
                )
        return programs

    def _make_engine(self) -> Any:
        if Engine is None:
            return None
        places = {field.name: i for i, field in enumerate(self.definition.fields)}
        return Engine(
            self.definition,
            [places.get(member.name, -1) for member in self.reference.members],
            [p if isinstance(p, Program) else None for p in self._programs],
            self._rows,
            self.reference.members,
            is_plain=self._hook is None,
        )

    def encode(self, rows: Any, *, threads: int | None = None, first_row: int = 0) -> SparseRows:
        """Entries of rows.

        Args:
            rows: An Arrow object, or a sequence of messages or of instances.
            threads: To encode with; None takes as many as there are cores for long data.
            first_row: Number of the first row, for messages.

        Raises:
            DataError: A row cannot be encoded.
            ConfigError: `threads` is below 1.
        """
        if threads is not None and threads < 1:
            raise ConfigError(f"{threads} threads were asked for; it must be at least 1.")
        if is_arrow(rows):
            return self._encode_arrow(rows, threads, first_row)
        items = self._checked(rows)
        if items and isinstance(items[0], bytes | bytearray | memoryview):
            return self._encode_messages(items, threads, first_row)
        if self.engine is not None:
            return self._sparse(self.engine.encode_rows(items, first_row=first_row))
        return self.reference.encode(
            (i, self._rows.exact(item, i)[0]) for i, item in enumerate(items, first_row)
        )

    def _sparse(self, entries: Any) -> SparseRows:
        starts, slots, values, features = entries
        num_slots, num_features = self.definition.num_slots, self.definition.num_features
        return SparseRows(starts, slots, values, features, num_slots, num_features)

    def _checked(self, rows: Any) -> Sequence[Any]:
        name = self._cls.__name__
        if isinstance(rows, str | bytes | bytearray | memoryview | dict | self._cls):
            raise DataError(
                f"{type_of(rows)} is no set of rows; give a table, or a list of messages (bytes) "
                f"or of instances of {name}."
            )
        try:
            return rows if isinstance(rows, list | tuple) else list(rows)
        except TypeError as error:
            raise DataError(
                f"{show(rows)} ({type_of(rows)}) is no set of rows; give a table, or a list of "
                f"messages (bytes) or of instances of {name}."
            ) from error

    def _encode_messages(
        self, items: Sequence[Any], threads: int | None, first_row: int
    ) -> SparseRows:
        messages = []
        for i, item in enumerate(items, first_row):
            if not isinstance(item, bytes | bytearray | memoryview):
                raise DataError(
                    f"Row {i}: {show(item)} is no message but {type_of(item)}; give all rows as "
                    "messages (bytes) or as instances."
                )
            messages.append(item if type(item) is bytes else bytes(item))
        if self.engine is None:
            return self.reference.encode(self._from_messages(messages, first_row))
        threads = _num_threads(threads, len(messages))
        length = max(PIECE_ROWS, -(-len(messages) // threads))

        def encode(at: int) -> SparseRows:
            piece = messages[at : at + length]
            return self._sparse(self.engine.encode_messages(piece, first_row=first_row + at))

        starts = range(0, len(messages), length)
        if len(starts) <= 1:
            return self._sparse(self.engine.encode_messages(messages, first_row=first_row))
        with ThreadPoolExecutor(threads, thread_name_prefix="tadka-features") as pool:
            return concatenate(list(pool.map(encode, starts)), self.definition)

    def _from_messages(
        self, messages: Sequence[bytes], first_row: int
    ) -> Iterator[tuple[int, Any]]:
        for i, message in enumerate(messages, first_row):
            try:
                values = self._wire.decode(message)
            except DataError as error:
                raise DataError(
                    f"Row {i}: the message is no {self._cls.__name__}: {error}."
                ) from error
            yield i, self._made(values, i)

    def _made(self, values: Sequence[Any], row: int) -> Any:
        instance = self._rows.make(values, row)
        return instance if self._hook is None else self._rows.exact(instance, row)[0]

    def _encode_arrow(self, rows: Any, threads: int | None, first_row: int) -> SparseRows:
        parts = []
        for batch, row in self._pieces(rows, first_row):
            piece = self._columns.cast(batch, row)
            if self.engine is None:
                parts.append(self.reference.encode(self._from_columns(piece, row)))
            else:
                wanted = _num_threads(threads, piece.num_rows)
                parts.append(self._sparse(self.engine.encode_arrow(piece, wanted, first_row=row)))
        return parts[0] if len(parts) == 1 else concatenate(parts, self.definition)

    def _pieces(self, rows: Any, first_row: int) -> Iterator[tuple["pa.RecordBatch", int]]:
        """Batches that are not too long, and the number of their first row."""
        length = PIECE_ROWS if self.engine is None else BATCH_ROWS
        reader = read_batches(rows)
        self._columns.check(reader.schema)
        for batch in reader:
            for at in range(0, batch.num_rows, length):
                piece = batch.slice(at, length)
                yield piece, first_row
                first_row += piece.num_rows

    def _from_columns(self, batch: "pa.RecordBatch", row: int) -> Iterator[tuple[int, Any]]:
        for i, values in enumerate(zip(*self._columns.values(batch), strict=True), row):
            yield i, self._made(values, i)

    def instances(self, rows: Any, first_row: int = 0) -> Iterator[tuple[int, Any]]:
        """Numbers and instances of the rows of an Arrow object.

        Args:
            rows: An Arrow object.
            first_row: Number of its first row.

        Raises:
            DataError: A row cannot be read.
        """
        for batch, row in self._pieces(rows, first_row):
            yield from self._from_columns(self._columns.cast(batch, row), row)

    def explain(self) -> list[Explanation]:
        """How each feature is computed, in the order of the features."""
        explanations = []
        for feature, member, program in zip(
            self.definition.features, self.reference.members, self._programs, strict=True
        ):
            reason, line = "", None
            if isinstance(program, Refusal):
                reason, line = program.reason, program.line
            elif self._hook is not None:
                reason = f"the class has its own {self._hook}"
            explanations.append(
                Explanation(
                    feature.name, member.is_property, feature.encoding, not reason, reason, line
                )
            )
        return explanations


def _num_threads(wanted: int | None, num_rows: int) -> int:
    if wanted is None:
        return (os.cpu_count() or 1) if num_rows > LONG_ROWS else 1
    return wanted


def _hook(cls: type) -> str | None:
    """A method by which a class changes what its fields are; None where it has none."""
    for name in ("__post_init__", "__getattribute__", "__setattr__"):
        if getattr(cls, name, None) is not getattr(object, name, None):
            return name
    return None


def concatenate(parts: Sequence[SparseRows], definition: Definition) -> SparseRows:
    """The rows of several parts, one after the other.

    Args:
        parts: Of one definition.
        definition: For the widths where there are no parts.
    """
    starts, end = [np.zeros(1, np.int64)], 0
    for part in parts:
        starts.append(part.starts[1:] + end)
        end += int(part.starts[-1])

    def joined(name: str, kind: type) -> Any:
        return np.concatenate([np.empty(0, kind), *(getattr(part, name) for part in parts)])

    return SparseRows(
        np.concatenate(starts),
        joined("slots", np.int32),
        joined("values", np.float32),
        joined("features", np.uint16),
        definition.num_slots,
        definition.num_features,
    )
