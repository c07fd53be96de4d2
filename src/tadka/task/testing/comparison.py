"""Whether two frames hold the same, whatever the order of their rows and columns."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tadka.core.error import ConfigError
from tadka.task.define.declaration import closest
from tadka.task.output.column import kind_of
from tadka.task.output.frame import NAMES, collect, library_of

DifferenceKind = Literal["library", "column", "type", "twice", "row", "value"]
_MOST_SHOWN = 10

_NAN = object()  # NaN as a key, which equals itself


@dataclass(frozen=True)
class Difference:
    """One thing in which two frames differ.

    Args:
        kind: `"library"`: one is of pandas, say, and the other of polars. `"column"`: only one has
            it. `"type"`: of a column. `"twice"`: rows that cannot be told apart. `"row"`: only one
            has it. `"value"`: of a cell.
        column: Its name; None where a whole row is meant.
        row: What tells the row from others: its index in pandas, its values of `on`, or all its
            values; None where a whole column is meant.
        left: What the first frame has; None where it has nothing.
        right: What the second has.
    """

    kind: DifferenceKind
    column: Any = None
    row: Any = None
    left: Any = None
    right: Any = None

    def __str__(self) -> str:
        where = f"column {self.column!r}" if self.column is not None else "the frame"
        if self.kind == "library":
            return f"left is {self.left}, right is {self.right}"
        if self.kind == "twice":
            side = "left" if self.left else "right"
            what = "column" if self.row is None else "row"
            name = self.column if self.row is None else self.row
            return f"{what} {_short(name)} is there {self.left or self.right} times on the {side}"
        if self.kind == "type":
            return f"{where} is {self.left} on the left and {self.right} on the right"
        side = "left" if self.right is None else "right"
        if self.kind == "column":
            return f"{where} is only on the {side}"
        if self.kind == "row":
            times = self.left or self.right
            return f"row {_short(self.row)} is only on the {side}" + (
                f", {times} times" if times > 1 else ""
            )
        return f"{where}, row {_short(self.row)}: {_short(self.left)} and {_short(self.right)}"


def compare_frames(
    left: Any,
    right: Any,
    *,
    on: str | Sequence[str] | None = None,
    rel_tol: float = 1e-9,
    abs_tol: float = 0.0,
    check_types: bool = True,
) -> list[Difference]:
    """What two frames differ in; the order of rows and columns is no difference.

    Rows of pandas belong together by their index, which must tell them apart, and those of polars
    and Arrow by all their values, as often as they are there. With `on` they do by these columns.

    Args:
        left: A frame of pandas, polars or Arrow.
        right: Another, of the same library.
        on: Columns that tell rows apart.
        rel_tol: Floats that differ by no more than this part are equal, as in `math.isclose`.
        abs_tol: Floats that differ by no more than this are equal.
        check_types: Whether columns, and the index of pandas, must be of the same types.

    Returns:
        Nothing where they are equal.

    Raises:
        ConfigError: One is no frame, or has no column of `on`.
    """
    left, right = collect(left), collect(right)
    names = [_library(left, "left"), _library(right, "right")]
    if names[0] != names[1]:
        return [Difference("library", left=NAMES[names[0]], right=NAMES[names[1]])]
    is_pandas = names[0] == "pandas"
    make = _Pandas if is_pandas else _Flat
    first, second = make(left), make(right)
    twice = [*first.columns_twice("left"), *second.columns_twice("right")]
    if twice:
        return twice
    found = list(_columns(first, second, check_types=check_types))
    shared = [name for name in first.names if name in set(second.names)]
    same = _Same(rel_tol, abs_tol, is_nan_null=is_pandas)
    if on is not None:
        keys = [on] if isinstance(on, str) else list(on)
        for name in keys:
            if name not in shared:
                hint = closest(str(name), shared, "Columns of both are ")
                raise ConfigError(f"Rows are compared on {name!r}, which is no column.{hint}")
        others = [name for name in shared if name not in keys]
        return found + list(
            _by_key(first.keys(keys), second.keys(keys), first, second, others, same)
        )
    if isinstance(first, _Pandas) and isinstance(second, _Pandas):
        indexes = [side.indexed_by(with_types=False) for side in (first, second)]
        if indexes[0] == indexes[1] and check_types:
            indexes = [side.indexed_by(with_types=True) for side in (first, second)]
        if indexes[0] != indexes[1]:
            found.append(Difference("type", left=indexes[0], right=indexes[1]))
        return found + list(_by_key(first.index(), second.index(), first, second, shared, same))
    return found + list(_by_values(first, second, shared, same))


def assert_frames_equal(
    left: Any,
    right: Any,
    *,
    on: str | Sequence[str] | None = None,
    rel_tol: float = 1e-9,
    abs_tol: float = 0.0,
    check_types: bool = True,
) -> None:
    """Fails where two frames differ; the order of rows and columns is no difference.

    Args:
        left: As in `compare_frames`.
        right: As in `compare_frames`.
        on: As in `compare_frames`.
        rel_tol: As in `compare_frames`.
        abs_tol: As in `compare_frames`.
        check_types: As in `compare_frames`.

    Raises:
        AssertionError: They differ; the message names columns and rows.
        ConfigError: One is no frame, or has no column of `on`.
    """
    found = compare_frames(
        left, right, on=on, rel_tol=rel_tol, abs_tol=abs_tol, check_types=check_types
    )
    if found:
        lines = [f"  {difference}" for difference in found[:_MOST_SHOWN]]
        if len(found) > _MOST_SHOWN:
            lines.append(f"  ... and {len(found) - _MOST_SHOWN} more")
        count = "1 difference" if len(found) == 1 else f"{len(found)} differences"
        raise AssertionError("\n".join([f"The frames have {count}:", *lines]))


class _Flat:
    """A frame of polars or Arrow."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        schema = frame.schema
        is_arrow = library_of(type(frame)) == "arrow"
        self.names: list[Any] = list(frame.column_names if is_arrow else frame.columns)
        types = schema.types if is_arrow else schema.values()
        self.types = dict(zip(self.names, types, strict=True))

    def columns_twice(self, side: str) -> Iterator[Difference]:
        for name, count in Counter(self.names).items():
            if count > 1:
                yield Difference("twice", column=name, **{side: count})

    def values(self, name: Any) -> list[Any]:
        column = self._frame[name]
        found: list[Any] = column.to_pylist() if hasattr(column, "to_pylist") else column.to_list()
        return found  # values of Python, where the library has them

    def keys(self, names: Sequence[Any]) -> list[Any]:
        """What stands in the columns of each row; without a tuple where it is one column."""
        columns = [self.values(name) for name in names]
        return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


class _Pandas(_Flat):
    """A frame of pandas; its rows have names."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.names = list(frame.columns)
        self.types = dict(zip(self.names, frame.dtypes, strict=True))

    def indexed_by(self, *, with_types: bool) -> str:
        """The names of the index, and the types of its levels."""
        index = self._frame.index
        names = [name for name in index.names if name is not None]
        types = [repr(level.dtype) for level in getattr(index, "levels", [index])]
        shown = f"indexed by {', '.join(map(repr, names)) or 'no name'}"
        return f"{shown} ({', '.join(types)})" if with_types else shown

    def index(self) -> list[Any]:
        found: list[Any] = self._frame.index.tolist()
        return found


def _library(frame: Any, side: str) -> str:
    library = library_of(type(frame))
    if library is None:
        raise ConfigError(
            f"The frame on the {side} is {type(frame).__name__!r}; it must be a DataFrame of "
            "pandas or polars, or a Table of Arrow."
        )
    return library


def _columns(left: _Flat, right: _Flat, *, check_types: bool) -> Iterator[Difference]:
    for name in left.names:
        if name not in right.types:
            yield Difference("column", name, left=name)
        elif check_types and left.types[name] != right.types[name]:
            shown = [str(side.types[name]) for side in (left, right)]
            if shown[0] == shown[1]:  # category, of different categories
                shown = [repr(side.types[name]) for side in (left, right)]
            yield Difference("type", name, left=shown[0], right=shown[1])
    for name in right.names:
        if name not in left.types:
            yield Difference("column", name, right=name)


@dataclass(frozen=True)
class _Same:
    """Whether two cells hold the same."""

    rel_tol: float
    abs_tol: float
    is_nan_null: bool

    def __call__(self, left: Any, right: Any) -> bool:
        left, right = _plain(left), _plain(right)
        if left is right:
            return True
        if self._is_null(left) or self._is_null(right):
            return self._is_null(left) and self._is_null(right)
        if isinstance(left, float) or isinstance(right, float):
            try:
                if math.isnan(left) or math.isnan(right):
                    return math.isnan(left) and math.isnan(right)
                return math.isclose(left, right, rel_tol=self.rel_tol, abs_tol=self.abs_tol)
            except (TypeError, OverflowError):
                return False
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            return left.keys() == right.keys() and all(self(left[k], right[k]) for k in left)
        if _is_list(left) and _is_list(right):
            return len(left) == len(right) and all(map(self, left, right))
        try:
            return bool(left == right)
        except (TypeError, ValueError):
            return False

    def _is_null(self, value: Any) -> bool:
        if value is None:
            return True
        if not self.is_nan_null:
            return False
        # NaN, NaT and NA of pandas, whose comparison with itself is not true
        return type(value).__name__ in {"NAType", "NaTType"} or (
            isinstance(value, float) and math.isnan(value)
        )


def _plain(value: Any) -> Any:
    """The number that a scalar of numpy is, such as an item of an array; others as they are."""
    is_scalar = hasattr(value, "dtype") and getattr(value, "shape", None) == ()
    return value.item() if is_scalar and value.dtype.kind in "biufc" else value


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (
        hasattr(value, "tolist") and getattr(value, "shape", ()) != ()
    )


def _by_key(
    left_keys: Sequence[Any],
    right_keys: Sequence[Any],
    left: _Flat,
    right: _Flat,
    names: Sequence[Any],
    same: _Same,
) -> Iterator[Difference]:
    """Differences of rows that bear the same key."""
    lefts, rights = _places(left_keys), _places(right_keys)
    twice = [
        Difference("twice", row=left_keys[at[0]], left=len(at))
        for at in lefts.values()
        if len(at) > 1
    ] + [
        Difference("twice", row=right_keys[at[0]], right=len(at))
        for at in rights.values()
        if len(at) > 1
    ]
    if twice:
        yield from twice
        return
    for key, at in lefts.items():
        if key not in rights:
            yield Difference("row", row=left_keys[at[0]], left=1)
    for key, at in rights.items():
        if key not in lefts:
            yield Difference("row", row=right_keys[at[0]], right=1)
    pairs = [(at[0], rights[key][0]) for key, at in lefts.items() if key in rights]
    for name in names:
        one, other = left.values(name), right.values(name)
        for i, j in pairs:
            if not same(one[i], other[j]):
                yield Difference("value", name, left_keys[i], one[i], other[j])


def _by_values(
    left: _Flat, right: _Flat, names: Sequence[Any], same: _Same
) -> Iterator[Difference]:
    """Differences of rows that bear no key: what is equal is taken away, the rest is paired."""
    # floats last, so that rows which differ a little only in these lie beside each other
    names = sorted(names, key=lambda name: _is_float(left.types[name]))
    lefts, rights = _rows(left, names), _rows(right, names)
    one, other = _places(lefts), _places(rights)
    rest_left = [i for key, at in one.items() for i in at[len(other.get(key, ())) :]]
    rest_right = [j for key, at in other.items() for j in at[len(one.get(key, ())) :]]
    rest_left.sort(key=lambda i: _order(lefts[i]))
    rest_right.sort(key=lambda j: _order(rights[j]))
    rest_left, rest_right = _without_close(lefts, rights, rest_left, rest_right, same)
    if len(rest_left) != len(rest_right):
        for i in rest_left:
            yield Difference("row", row=dict(zip(names, lefts[i], strict=True)), left=1)
        for j in rest_right:
            yield Difference("row", row=dict(zip(names, rights[j], strict=True)), right=1)
        return
    for i, j in zip(rest_left, rest_right, strict=True):
        for name, value, wanted in zip(names, lefts[i], rights[j], strict=True):
            if not same(value, wanted):
                row = dict(zip(names, lefts[i], strict=True))
                yield Difference("value", name, row, value, wanted)


def _without_close(
    lefts: Sequence[Any],
    rights: Sequence[Any],
    rest_left: Sequence[int],
    rest_right: Sequence[int],
    same: _Same,
) -> tuple[list[int], list[int]]:
    """What stays of two sorted rests when rows that are equal but for rounding are taken away."""
    # both sides are in order, so a row that has no equal is passed by the smaller one
    kept_left: list[int] = []
    kept_right: list[int] = []
    i = j = 0
    while i < len(rest_left) and j < len(rest_right):
        one, other = lefts[rest_left[i]], rights[rest_right[j]]
        if all(map(same, one, other)):
            i, j = i + 1, j + 1
        elif _order(one) < _order(other):
            kept_left.append(rest_left[i])
            i += 1
        else:
            kept_right.append(rest_right[j])
            j += 1
    return kept_left + list(rest_left[i:]), kept_right + list(rest_right[j:])


def _is_float(type_: Any) -> bool:
    kind = kind_of(type_)
    return kind is not None and kind.family == "float"


def _rows(frame: _Flat, names: Sequence[Any]) -> list[tuple[Any, ...]]:
    columns = [frame.values(name) for name in names]
    return list(zip(*columns, strict=True))


def _places(keys: Iterable[Any]) -> dict[Any, list[int]]:
    """Where each key stands; those that cannot be hashed by what they show."""
    places: dict[Any, list[int]] = {}
    for i, key in enumerate(keys):
        places.setdefault(_hashable(key), []).append(i)
    return places


def _hashable(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple([_hashable(item) for item in value])
    if isinstance(value, float):
        return _NAN if math.isnan(value) else value
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def _order(row: Sequence[Any]) -> tuple[Any, ...]:
    """Puts rows of any values in order: numbers by size, others by what they show."""
    return tuple(
        [
            (0, value, "")
            if isinstance(value, int | float) and value == value  # noqa: PLR0124 - no NaN
            else (1, 0, f"{type(value).__name__} {value!r}")
            for value in row
        ]
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
