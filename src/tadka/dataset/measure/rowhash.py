r"""A hash of rows that does not depend on their order or on how files hold them.

It finds changes, and equal content in other files; it is no defence against forgers. All numbers
are unsigned, of 64 bits where nothing else is said, and wrap around.

- `mix(a, b)` is the product of a and b in 128 bits, its halves folded: `low ^ high`.
- A column has keys a, b, c, d and nulls p, q: the first six little-endian numbers in BLAKE2b (64
  bytes) of `"tadka.rowhash.1\0column\0" + name + "\0" + kind`, b and d with their last bit set.
  The items of a list have those of `name + "[]"` and the kind of the items. Rows have keys r0 to
  r7 alike from `"tadka.rowhash.1\0row"`, those with odd numbers with their last bit set.
- A value is a sequence of blocks of two numbers (u, v). x begins as b and y as d, and each block
  makes them `mix(u ^ a, v ^ x)` and `mix(u ^ c, v ^ y)`. A null is x = p, y = q.
    - bool: (0, 0) or (1, 0). Whole numbers, dates in days, times in microseconds since 1970:
      (their two's complement in 64 bits, 0).
    - float64 and float32: (the bits, 0), of 0.0 for -0.0 and of the one quiet NaN 0x7ff8 and
      zeros (0x7fc0 and zeros) for all.
    - string, bytes: its bytes (UTF-8), a byte 1, and zeros up to a multiple of 16; each 16 bytes
      are two little-endian numbers.
    - list: (number of items, 0), then of each item its own (x, y).
- A row is the sum of its cells, x and y apart; then `y ^= mix(x ^ r0, r1)`, `x ^= mix(y ^ r2, r3)`,
  `y ^= mix(x ^ r4, r5)`, `x ^= mix(y ^ r6, r7)`. Its digest is `x * 2**64 + y`.
- The hash of a table is the sum of the digests of its rows modulo 2**128, and of a number that
  stands for its columns: the first 16 bytes, little-endian, of BLAKE2b of
  `"tadka.rowhash.1\0table"` followed by `"\0" + name + "\0" + kind` of each column, by name.

Equal rows count each time they occur: a sum, where an exclusive-or would cancel pairs.
"""

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import tadka.dataset.measure.rowhash_reference as plain
from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.core.native import use_native
from tadka.dataset.expression.kind import Kind

if TYPE_CHECKING:
    import pyarrow as pa

try:
    import tadka.dataset.measure.rowhash_native as native
except ImportError:  # built without a compiler
    native = None  # type: ignore[assignment]

_VERSION = b"tadka.rowhash.1"


class RowHash:
    """The hash of a table, made of parts of it in any order.

    Args:
        columns: Names and kinds of the columns that count; others are left out. Their order does
            not matter.

    Attributes:
        num_rows: How many rows were added.
        total: The sum of their digests modulo 2**128.

    Raises:
        ConfigError: Two columns have one name.
    """

    def __init__(self, columns: Sequence[tuple[str, Kind]]) -> None:
        self.columns = tuple(sorted(columns, key=lambda column: column[0]))
        names = [name for name, _ in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"Column {twice[0]!r} is given twice; a hash takes each once.")
        self.num_rows = 0
        self.total = 0
        self._keys = [column_keys(name, kind) for name, kind in self.columns]

    def update(self, batch: "pa.RecordBatch | pa.Table") -> None:
        """Adds rows.

        Args:
            batch: With all columns, in any order. How they are laid out (dictionaries, large
                strings, narrower numbers, pieces of larger arrays) makes no difference.

        Raises:
            DataError: A column is missing, or holds what its kind cannot; nothing was added then.
        """
        total, num_rows = 0, 0
        for piece in normalised(batch, self.columns):
            total += digest_piece(piece, self._keys)
            num_rows += piece.num_rows
        self.add(total, num_rows)

    def add(self, total: int, num_rows: int) -> None:
        """Adds rows whose digests are known.

        Args:
            total: The sum of their digests.
            num_rows: How many they are.
        """
        self.total = (self.total + total) % 2**128
        self.num_rows += num_rows

    def merge(self, other: "RowHash") -> None:
        """Adds the rows of another hash over the same columns.

        Args:
            other: Of other rows.

        Raises:
            ConfigError: It is over other columns.
        """
        if self.columns != other.columns:
            shown = [", ".join(f"{n}: {k}" for n, k in h.columns) for h in (self, other)]
            raise ConfigError(f"Hashes over ({shown[0]}) and ({shown[1]}) do not add up.")
        self.add(other.total, other.num_rows)

    def hexdigest(self) -> str:
        """The hash so far, as 32 hexadecimal digits; rows may be added afterwards."""
        text = b"".join(f"\0{name}\0{kind}".encode() for name, kind in self.columns)
        start = _numbers(b"table" + text)[:2].tobytes()
        return f"{(self.total + int.from_bytes(start, 'little')) % 2**128:032x}"


def row_digests(
    batch: "pa.RecordBatch | pa.Table", columns: Sequence[tuple[str, Kind]]
) -> npt.NDArray[np.uint64]:
    """The digest of each row.

    Args:
        batch: Rows.
        columns: Names and kinds of the columns that count.

    Returns:
        uint64, shape (N, 2), the more significant half first.

    Raises:
        ConfigError: Two columns have one name.
        DataError: A column is missing, or holds what its kind cannot.
    """
    made = RowHash(columns)
    digests_N2 = np.empty((batch.num_rows, 2), np.uint64)
    at = 0
    for piece in normalised(batch, made.columns):
        to = digests_N2[at : at + piece.num_rows]
        digest_piece(piece, made._keys, to)  # noqa: SLF001
        at += piece.num_rows
    return digests_N2


def digest_piece(
    piece: "pa.RecordBatch",
    keys: list[npt.NDArray[np.uint64]],
    digests: npt.NDArray[np.uint64] | None = None,
    registers: npt.NDArray[np.uint8] | None = None,
) -> int:
    """All that can be learnt from a batch in one go.

    Args:
        piece: One that `normalised` gave.
        keys: Of each of its columns, as `column_keys` gives them.
        digests: Where the digests of rows go, shape (N, 2); None for nowhere.
        registers: Of a sketch of the distinct values of each column, shape (columns, 4096); see
            `tadka.dataset.measure.statistic.estimate_distinct`.

    Returns:
        The sum of the digests modulo 2**128.
    """
    total: int = _backend().hash_rows(piece, keys, _ROW_KEYS, digests, registers)
    return total


def column_keys(name: str, kind: Kind) -> npt.NDArray[np.uint64]:
    """The keys of a column, and of its items.

    Args:
        name: Of the column.
        kind: Its type.

    Returns:
        uint64, shape (depth, 6): a, b, c, d, p and q of the column, then of its items.
    """
    keys = []
    level: Kind | None = kind
    while level is not None:
        numbers = _numbers(f"column\0{name}\0{level}".encode())[:6]
        numbers[[1, 3]] |= np.uint64(1)
        keys.append(numbers)
        name, level = f"{name}[]", level.item
    return np.array(keys)


def normalised(
    batch: "pa.RecordBatch | pa.Table", columns: Sequence[tuple[str, Kind]]
) -> "Iterator[pa.RecordBatch]":
    """The columns of a table in pieces of the types that digests are made of.

    Args:
        batch: Rows.
        columns: Names and kinds of columns that it has, among others.

    Raises:
        DataError: A column is missing, there twice, or holds what its kind cannot.
    """
    pa = require("pyarrow", extra="dataset")
    table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    arrays = [_fitted(_column(table, name), name, kind) for name, kind in columns]
    if not arrays:  # rows without columns are still rows
        yield pa.RecordBatch.from_struct_array(pa.array([{}] * table.num_rows, pa.struct([])))
        return
    made = pa.Table.from_arrays(arrays, [name for name, _ in columns])
    yield from made.to_batches()


def _backend() -> Any:
    return native if use_native(native) else plain


def _numbers(text: bytes) -> npt.NDArray[np.uint64]:
    digest = hashlib.blake2b(_VERSION + b"\0" + text).digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def _row_keys() -> npt.NDArray[np.uint64]:
    """r0 to r7, and two more for the numbers that stand for values."""
    keys = np.concatenate([_numbers(b"row"), _numbers(b"value")[:2]])
    keys[1:8:2] |= np.uint64(1)
    return keys


_ROW_KEYS = _row_keys()


def _column(table: "pa.Table", name: str) -> "pa.ChunkedArray":
    found = table.schema.get_all_field_indices(name)
    if len(found) == 1:
        return table.column(found[0])
    if found:
        raise DataError(f"The rows have {len(found)} columns named {name!r}; they must have one.")
    near = difflib.get_close_matches(name, table.schema.names, 1)
    hint = f"Did you mean {near[0]!r}?" if near else f"They have {table.schema.names}."
    raise DataError(f"The rows have no column {name!r}. {hint}")


def _fitted(column: "pa.ChunkedArray", name: str, kind: Kind) -> "pa.ChunkedArray":
    """The column in the type of its kind, or in one that is read as that."""
    pa = require("pyarrow", extra="dataset")
    if _is_read(column.type, kind):
        is_small = True
        if pa.types.is_dictionary(column.type):  # of a slice, say
            is_small = all(
                len(c.dictionary) <= len(c) and not c.dictionary.null_count for c in column.chunks
            )
        if is_small:
            return column
    if not _is_near(column.type, kind):
        raise DataError(f"Column {name!r} has the Arrow type {column.type}; it must be {kind}.")
    try:
        return column.cast(kind.arrow)
    except pa.ArrowInvalid as error:
        raise DataError(f"Column {name!r} does not fit {kind}: {error}.") from error


def _is_read(given: "pa.DataType", kind: Kind) -> bool:
    """Whether the digests of a type are those of a kind as it stands."""
    pa = require("pyarrow", extra="dataset")
    types = pa.types
    if kind.item is not None:
        is_list = types.is_list(given) or types.is_large_list(given)
        return is_list and not _is_coded(given) and _is_read(given.value_type, kind.item)
    if types.is_dictionary(given):
        return given.index_type == pa.int32() and _is_read(given.value_type, kind)
    if kind.name == "utc":
        return types.is_timestamp(given) and given.unit == "us" and given.tz is not None
    wide = {"string": pa.large_string(), "bytes": pa.large_binary()}
    return given in (kind.arrow, wide.get(kind.name))


def _is_coded(given: "pa.DataType") -> bool:
    """Whether the items of a list are of a dictionary."""
    types = require("pyarrow", extra="dataset").types
    while types.is_list(given) or types.is_large_list(given):
        given = given.value_type
    return bool(types.is_dictionary(given))


def _is_near(given: "pa.DataType", kind: Kind) -> bool:
    """Whether values of a type may be values of a kind, if a cast finds no fault."""
    types = require("pyarrow", extra="dataset").types
    if types.is_null(given):
        return True
    if types.is_dictionary(given):
        return _is_near(given.value_type, kind)
    if kind.item is not None:
        # not list views, whose nulls pyarrow 26 casts into offsets that are too few
        lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
        return any(test(given) for test in lists) and _is_near(given.value_type, kind.item)
    if kind.is_int:
        return bool(types.is_integer(given))
    if kind.is_float:
        return bool(types.is_floating(given)) and given.bit_width <= kind.arrow.bit_width
    if kind.is_time:
        return bool(types.is_timestamp(given)) and (given.tz is None) == (kind.name == "time")
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    tests = {
        "bool": (types.is_boolean,),
        "date": (types.is_date,),
        "string": texts,
        "bytes": (*binary, types.is_binary_view),
    }
    return any(test(given) for test in tests[kind.name])
