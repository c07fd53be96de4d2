"""Expressions over columns: a small typed tree, made with Python's operators.

What an operator means is said once, here and on the page of the room, and holds on every engine:

- A comparison with NaN is false, `!=` included; any other with null is null.
- Whole numbers that overflow, and divisions by zero, are errors; they neither wrap nor become null,
  infinite or NaN. `//` and `%` round down, as in Python.
- Floating-point numbers may become infinite, and NaN where infinities are set off against each
  other; 0.0 and -0.0 are one value.
- Timestamps with and without a zone do not mix, and a timestamp in UTC has parts (a day, an hour)
  only in a zone that is named.
- Engines evaluate the parts of a condition in any order. A division that only some rows can bear
  belongs into `if_else`, of which each row evaluates the one branch that it takes.

Whatever the engines would do differently is refused when the expression is made.
"""

import datetime as dt
import keyword
import math
from collections.abc import Iterator, Sequence
from typing import Any, Generic, NoReturn, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tadka.core.error import ConfigError
from tadka.dataset.expression.kind import (
    BOOL,
    BYTES,
    DATE,
    FLOAT,
    INT,
    STRING,
    TIME,
    UTC,
    Kind,
    kind_of,
    named_kind,
)

T = TypeVar("T")

_MOST_DAYS = 3_652_058  # from year 1 to the end of year 9999


def days(count: float) -> dt.timedelta:
    """A duration of days."""
    return dt.timedelta(days=count)


def hours(count: float) -> dt.timedelta:
    """A duration of hours."""
    return dt.timedelta(hours=count)


def minutes(count: float) -> dt.timedelta:
    """A duration of minutes."""
    return dt.timedelta(minutes=count)


def seconds(count: float) -> dt.timedelta:
    """A duration of seconds."""
    return dt.timedelta(seconds=count)


class Relation:
    """Rows that columns are read from.

    Attributes:
        alias: Their name in the dataset: that of the attribute that holds them.
        is_window: Whether each row of the dataset has many of them, to be aggregated.
    """

    alias: str = ""
    is_window: bool = False


class Expression(Generic[T]):
    """A value of each row, of a known kind; never changed.

    Attributes:
        kind: The type of the value.
    """

    kind: Kind

    @property
    def parts(self) -> "tuple[Expression[Any], ...]":
        """What it is made of, in order."""
        return ()

    def walk(self) -> "Iterator[Expression[Any]]":
        """It and all it is made of, from the outside in."""
        yield self
        for part in self.parts:
            yield from part.walk()

    # ------------------------------------------------------------ comparisons

    def __eq__(self, other: object) -> "Expression[bool]":  # type: ignore[override]
        return _comparison("==", self, other)

    def __ne__(self, other: object) -> "Expression[bool]":  # type: ignore[override]
        return _comparison("!=", self, other)

    def __lt__(self, other: object) -> "Expression[bool]":
        return _comparison("<", self, other)

    def __le__(self, other: object) -> "Expression[bool]":
        return _comparison("<=", self, other)

    def __gt__(self, other: object) -> "Expression[bool]":
        return _comparison(">", self, other)

    def __ge__(self, other: object) -> "Expression[bool]":
        return _comparison(">=", self, other)

    __hash__ = None  # type: ignore[assignment]

    def is_in(self, values: Sequence[object]) -> "Expression[bool]":
        """Whether the value is one of several; null where it is null.

        Args:
            values: Constants of its kind; at least one, none of them None.
        """
        items = [_compared(self, value, "is_in") for value in values]
        if not items:
            raise ConfigError(f"is_in of {self} has no values; give at least one.")
        for item in items:
            if not isinstance(item, Literal):
                raise ConfigError(
                    f"is_in of {self} takes constants; compare columns with == and |."
                )
            if item.kind.is_int != self.kind.is_int:
                _refuse("is_in", item, f"takes values of the type of {self}, {self.kind}")
            _refuse_nan("is_in", item)
        return Call("is_in", (self, *items), BOOL)

    def between(self, low: object, high: object) -> "Expression[bool]":
        """Whether the value lies in the half-open interval [low, high).

        Args:
            low: The first value inside.
            high: The first value that is not inside any more.
        """
        return (self >= low) & (self < high)

    def is_null(self) -> "Expression[bool]":
        """Whether there is no value; NaN is a value."""
        return Call("is_null", (self,), BOOL)

    def is_not_null(self) -> "Expression[bool]":
        """Whether there is a value; NaN is one."""
        return ~self.is_null()

    def is_nan(self) -> "Expression[bool]":
        """Whether the value is NaN; null where it is null."""
        if not self.kind.is_float:
            _refuse("is_nan", self, "takes floating-point numbers")
        return Call("is_nan", (self,), BOOL)

    # ------------------------------------------------------------ logic

    def __and__(self, other: object) -> "Expression[bool]":
        return _logic("&", self, other)

    def __rand__(self, other: object) -> "Expression[bool]":
        return _logic("&", as_expression(other), self)

    def __or__(self, other: object) -> "Expression[bool]":
        return _logic("|", self, other)

    def __ror__(self, other: object) -> "Expression[bool]":
        return _logic("|", as_expression(other), self)

    def __invert__(self) -> "Expression[bool]":
        if self.kind != BOOL:
            _refuse("~", self, "takes conditions")
        return Call("~", (self,), BOOL)

    def __bool__(self) -> bool:
        raise ConfigError(
            f"The expression {self} has no truth value of its own; it has one for each row. "
            "Combine conditions with &, | and ~, in parentheses, not with and, or and not; "
            "a chain such as 1 < x < 5 is x.between(1, 5)."
        )

    # ------------------------------------------------------------ arithmetic

    def __add__(self, other: object) -> "Expression[Any]":
        if isinstance(other, dt.timedelta):
            return _shifted(self, other)
        return _arithmetic("+", self, other)

    def __radd__(self, other: object) -> "Expression[Any]":
        if isinstance(other, dt.timedelta):
            return _shifted(self, other)
        return _arithmetic("+", as_expression(other), self)

    def __sub__(self, other: object) -> "Expression[Any]":
        if isinstance(other, dt.timedelta):
            return _shifted(self, other, sign=-1)
        return _arithmetic("-", self, other)

    def __rsub__(self, other: object) -> "Expression[Any]":
        return _arithmetic("-", as_expression(other), self)

    def __mul__(self, other: object) -> "Expression[Any]":
        return _arithmetic("*", self, other)

    def __rmul__(self, other: object) -> "Expression[Any]":
        return _arithmetic("*", as_expression(other), self)

    def __truediv__(self, other: object) -> "Expression[float]":
        return _arithmetic("/", self, other)

    def __rtruediv__(self, other: object) -> "Expression[float]":
        return _arithmetic("/", as_expression(other), self)

    def __floordiv__(self, other: object) -> "Expression[int]":
        return _arithmetic("//", self, other)

    def __rfloordiv__(self, other: object) -> "Expression[int]":
        return _arithmetic("//", as_expression(other), self)

    def __mod__(self, other: object) -> "Expression[int]":
        return _arithmetic("%", self, other)

    def __rmod__(self, other: object) -> "Expression[int]":
        return _arithmetic("%", as_expression(other), self)

    def __neg__(self) -> "Expression[Any]":
        return 0 - self

    # ------------------------------------------------------------ times

    def year(self) -> "Expression[int]":
        """Year of a date or a time without zone."""
        return _part("year", self)

    def month(self) -> "Expression[int]":
        """Month, 1 to 12."""
        return _part("month", self)

    def day(self) -> "Expression[int]":
        """Day of the month, 1 to 31."""
        return _part("day", self)

    def weekday(self) -> "Expression[int]":
        """Day of the week: Monday is 0, Sunday is 6, as in Python."""
        return _part("weekday", self)

    def hour(self) -> "Expression[int]":
        """Hour of a time without zone, 0 to 23."""
        return _part("hour", self, is_time=True)

    def minute(self) -> "Expression[int]":
        """Minute, 0 to 59."""
        return _part("minute", self, is_time=True)

    def date(self) -> "Expression[dt.date]":
        """The day of a time without zone."""
        return _part("date", self, is_time=True, kind=DATE)

    def in_zone(self, zone: str) -> "Expression[dt.datetime]":
        """What clocks in a zone show at a point in time: a time without zone.

        Args:
            zone: Name in the IANA data base, `"Asia/Tokyo"`.
        """
        hint = "; it must be 'UTC' or an area and a place, such as 'Asia/Tokyo'."
        if zone != "UTC" and (zone.startswith(("posix/", "right/")) or "/" not in zone):
            # engines know EST, Factory and their like each in its way, or not at all
            raise ConfigError(f"Time zone {zone!r} is not the same for every engine{hint}")
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(f"Time zone {zone!r} is not known{hint}") from error
        if self.kind != UTC:
            _refuse("in_zone", self, "takes timestamps in UTC (Column[Utc])")
        return Call("in_zone", (self, Literal(zone, STRING)), TIME)

    def seconds_since(self, earlier: object) -> "Expression[float]":
        """Seconds from an earlier time to this one; negative where it is later.

        Args:
            earlier: Of the same kind.
        """
        if not self.kind.is_time:
            _refuse("seconds_since", self, "takes timestamps")
        return Call("seconds_since", (self, _compared(self, earlier, "seconds_since")), FLOAT)

    # ------------------------------------------------------------ texts

    def starts_with(self, text: str) -> "Expression[bool]":
        """Whether a text begins with another, byte for byte."""
        return _text("starts_with", self, text)

    def contains(self, text: str) -> "Expression[bool]":
        """Whether a text holds another, byte for byte."""
        return _text("contains", self, text)

    # ------------------------------------------------------------ aggregates

    def sum(self, *, nan: str | None = None) -> "Aggregate[T]":
        """Sum over the rows of a window; null without rows. Inexact for floats.

        Args:
            nan: `"drop"` leaves NaN out; else a NaN is an error.
        """
        return _aggregate("sum", self, nan)

    def mean(self, *, nan: str | None = None) -> "Aggregate[float]":
        """Mean over the rows of a window; null without rows. Inexact for floats.

        Args:
            nan: `"drop"` leaves NaN out; else a NaN is an error.
        """
        return _aggregate("mean", self, nan)

    def min(self, *, nan: str | None = None) -> "Aggregate[T]":
        """Least value in a window; null without rows.

        Args:
            nan: `"drop"` leaves NaN out; else a NaN is an error.
        """
        return _aggregate("min", self, nan)

    def max(self, *, nan: str | None = None) -> "Aggregate[T]":
        """Greatest value in a window; null without rows.

        Args:
            nan: `"drop"` leaves NaN out; else a NaN is an error.
        """
        return _aggregate("max", self, nan)

    def count(self) -> "Aggregate[int]":
        """How many rows of a window have a value; 0 without rows."""
        return _aggregate("count", self, None)

    def count_distinct(self) -> "Aggregate[int]":
        """How many different values a window has, null not counted; 0 without rows."""
        return _aggregate("count_distinct", self, None)

    # ------------------------------------------------------------ other

    def coalesce(self, *others: object) -> "Expression[T]":
        """The first that is not null of this value and others.

        Args:
            *others: Of the same kind; the last one usually a constant.
        """
        if not others:
            raise ConfigError(f"coalesce of {self} has no second value; give at least one.")
        found = [_compared(self, other, "coalesce") for other in others]
        return Call("coalesce", (self, *found), _common([self, *found], "coalesce"))

    def to(self, type_: Any) -> "Expression[Any]":
        """The value as another type.

        Numbers become whole numbers by cutting off the fraction; one that does not fit, NaN and
        infinities are errors. Whole numbers and booleans become text as Python writes them; no
        float does, and no text becomes a number or a time.

        Args:
            type_: `int`, `float`, `str` or one of numpy's widths, or a kind's name: `"int32"`.
        """
        where = f"to() of {self}"
        kind = named_kind(type_, where) if isinstance(type_, str) else kind_of(type_, where)[0]
        is_fine = (self.kind.is_number or self.kind == BOOL) and (
            kind.is_number or (kind == STRING and not self.kind.is_float)
        )
        if not is_fine and kind != self.kind:
            _refuse("to", self, f"cannot be made {kind} in the same way by every engine")
        return self if kind == self.kind else Call("to", (self,), kind)


class Literal(Expression[T]):
    """A constant.

    Args:
        value: Of Python.
        kind: Its type.
    """

    def __init__(self, value: Any, kind: Kind) -> None:
        self.value = value
        self.kind = kind

    def __str__(self) -> str:
        value = self.value
        if isinstance(value, dt.datetime):
            return f"{'time' if value.tzinfo is None else 'utc'}({value.isoformat()!r})"
        if isinstance(value, dt.date):
            return f"date({value.isoformat()!r})"
        if isinstance(value, float) and not math.isfinite(value):
            return f"float({str(value)!r})"
        return repr(value)


class Parameter(Expression[T]):
    """A value that is given when a session begins, such as the first day.

    Args:
        type_: `date`, `datetime`, `Utc`, `int`, `float`, `str` or `bool`.
        default: Taken where none is given.

    Attributes:
        name: That of the dataset's attribute.
    """

    def __init__(self, type_: type[T], *, default: T | None = None) -> None:
        self.kind, _ = kind_of(type_, "A parameter")
        if self.kind.item is not None or self.kind == BYTES:
            raise ConfigError("A parameter is a number, a text, a condition, a date or a time.")
        self.default = None if default is None else as_literal(default, self.kind, "A default")
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"parameters.{self.name}"


class Column(Expression[T]):
    """A column of a table; annotates one: `price: Column[float | None]`.

    Args:
        name: Of the column.
        kind: Its type.
        is_nullable: Whether nulls are expected.
        relation: The rows that it is read from; None in a condition on the table itself.
        is_partition: Whether its value comes from the path.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        *,
        is_nullable: bool = False,
        relation: Relation | None = None,
        is_partition: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.is_nullable = is_nullable
        self.relation = relation
        self.is_partition = is_partition

    def of(self, relation: Relation) -> "Column[T]":
        """The same column, read from certain rows."""
        return type(self)(
            self.name,
            self.kind,
            is_nullable=self.is_nullable,
            relation=relation,
            is_partition=self.is_partition,
        )

    def __str__(self) -> str:
        is_plain = self.name.isidentifier() and not keyword.iskeyword(self.name)
        if self.relation is None:
            return self.name if is_plain else f"column({self.name!r})"
        return (
            f"{self.relation.alias}.{self.name}"
            if is_plain
            else f"{self.relation.alias}[{self.name!r}]"
        )


class Call(Expression[T]):
    """An operator with its operands.

    Args:
        operator: Its name: `"=="`, `"coalesce"`; the dialects know them all.
        arguments: Operands, of kinds that the operator takes.
        kind: Of the result.
    """

    def __init__(self, operator: str, arguments: "tuple[Expression[Any], ...]", kind: Kind) -> None:
        self.operator = operator
        self.arguments = arguments
        self.kind = kind

    @property
    def parts(self) -> "tuple[Expression[Any], ...]":
        """Its operands."""
        return self.arguments

    def __str__(self) -> str:
        first, *rest = self.arguments
        if self.operator == "~":
            return f"~{_operand(first)}"
        if self.operator in _INFIX:
            return f"{_operand(first)} {self.operator} {_operand(rest[0])}"
        if self.operator == "shift":
            return f"{_operand(first)} + {_span(self)}"
        if self.operator == "to":
            return f"{_operand(first)}.to({str(self.kind)!r})"
        if self.operator == "if_else":
            return f"if_else({', '.join(map(str, self.arguments))})"
        shown = ", ".join(map(str, rest))
        if self.operator == "is_in":
            shown = f"[{shown}]"
        return f"{_operand(first)}.{self.operator}({shown})"


class Aggregate(Expression[T]):
    """One value of all rows in a window.

    Args:
        function: `"count"`, `"sum"`, `"mean"`, `"min"`, `"max"` or `"count_distinct"`.
        relation: The window.
        operand: What is taken of each row; None counts rows.
        kind: Of the result.
        drops_nan: Whether NaN is left out; else a NaN is an error.
    """

    def __init__(
        self,
        function: str,
        relation: Relation,
        operand: Expression[Any] | None,
        kind: Kind,
        *,
        drops_nan: bool = False,
    ) -> None:
        self.function = function
        self.relation = relation
        self.operand = operand
        self.kind = kind
        self.drops_nan = drops_nan

    @property
    def parts(self) -> tuple[Expression[Any], ...]:
        """The operand."""
        return () if self.operand is None else (self.operand,)

    @property
    def is_inexact(self) -> bool:
        """Whether the result depends on the order in which an engine adds up."""
        return self.function in ("sum", "mean") and self.kind.is_float

    def __str__(self) -> str:
        if self.operand is None:
            return f"{self.relation.alias}.count()"
        option = "nan='drop'" if self.drops_nan else ""
        return f"{_operand(self.operand)}.{self.function}({option})"


class Sql(Expression[T]):
    """Raw SQL, by engine: what the operators here cannot say.

    Its version is marked as not portable: nobody promises that engines agree. Columns are named as
    in `imp.price`, parameters are not available.

    Args:
        type_: Of the result, as in an annotation.
        duckdb: For DuckDB; None where it is not meant to run there.
        spark: For Spark.
    """

    def __init__(self, type_: Any, *, duckdb: str | None = None, spark: str | None = None) -> None:
        if duckdb is None and spark is None:
            raise ConfigError("Sql() has no text; give duckdb=, spark= or both.")
        named = isinstance(type_, str)
        self.kind = named_kind(type_, "Sql()") if named else kind_of(type_, "Sql()")[0]
        self.texts = {
            name: text for name, text in (("duckdb", duckdb), ("spark", spark)) if text is not None
        }

    def __str__(self) -> str:
        texts = "".join(f", {name}={text!r}" for name, text in self.texts.items())
        return f"sql({str(self.kind)!r}{texts})"


def if_else(condition: Expression[bool], yes: object, no: object) -> Expression[Any]:
    """One value where a condition holds, another where it does not or is null.

    Args:
        condition: Of each row.
        yes: An expression or a constant.
        no: Of the same kind; one of the two must be an expression, or both constants of one type.
    """
    condition = as_expression(condition)
    if condition.kind != BOOL:
        _refuse("if_else", condition, "takes a condition first")
    if isinstance(no, Expression):  # a constant follows the type of the other branch
        second: Expression[Any] = no
        first = _compared(second, yes, "if_else")
    else:
        first = as_expression(yes)
        second = _compared(first, no, "if_else")
    return Call("if_else", (condition, first, second), _common([first, second], "if_else"))


# ---------------------------------------------------------------- rules of types

_INFIX = frozenset({"==", "!=", "<", "<=", ">", ">=", "&", "|", "+", "-", "*", "/", "//", "%"})


def as_expression(value: object) -> Expression[Any]:
    """An expression as it is, any other value as a constant.

    Raises:
        ConfigError: The value is no constant that a column could hold.
    """
    if isinstance(value, Expression):
        return value
    kinds: list[tuple[type, Kind]] = [
        (bool, BOOL),
        (int, INT),
        (float, FLOAT),
        (str, STRING),
        (bytes, BYTES),
        (dt.datetime, TIME),
        (dt.date, DATE),
    ]
    for type_, kind in kinds:
        if isinstance(value, type_):
            if isinstance(value, dt.datetime) and value.tzinfo is not None:
                kind = UTC
            return as_literal(value, kind, "A constant")
    raise ConfigError(
        f"{value!r} is no constant of an expression; accepted are bool, int, float, str, bytes, "
        "date and datetime. For null use is_null()."
    )


def as_literal(value: Any, kind: Kind, what: str) -> Literal[Any]:
    """A constant of a certain kind.

    Args:
        value: Of Python; a whole number is taken for a float, a date and a text in ISO form for a
            time, a datetime with any zone for one in UTC.
        kind: That is wanted.
        what: It is, for the message.

    Raises:
        ConfigError: The value is not of that kind.
    """
    found = _converted(value, kind)
    if found is None:
        hint = ""
        if isinstance(value, dt.datetime) and kind in (TIME, UTC):
            hint = " Give it a zone, such as UTC." if kind == UTC else " It must have no zone."
        raise ConfigError(f"{what} is {value!r}; it must be of type {kind}.{hint}")
    return Literal(found, kind)


def _converted(value: Any, kind: Kind) -> Any:
    try:
        if isinstance(value, str) and kind in (DATE, TIME, UTC):
            value = (dt.date if kind == DATE else dt.datetime).fromisoformat(value)
    except ValueError:
        return None
    if kind.is_int:
        limit = 2 ** (kind.num_bits - 1)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return int(value) if is_whole and -limit <= value < limit else None
    if kind.is_float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        try:
            found = float(value) if is_number else None
        except OverflowError:
            return None
        is_exact = isinstance(value, float) or found == value
        return found if is_exact else None
    if kind in (TIME, UTC):
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001
            return value.replace(tzinfo=dt.UTC) if kind == UTC else value
        if not isinstance(value, dt.datetime) or (value.tzinfo is None) != (kind == TIME):
            return None
        return value if kind == TIME else value.astimezone(dt.UTC)
    if kind == DATE:
        return value if isinstance(value, dt.date) and not isinstance(value, dt.datetime) else None
    if kind == STRING and isinstance(value, str):
        # half of a surrogate pair is no text, and cannot be written as UTF-8
        return None if any("\ud800" <= letter <= "\udfff" for letter in value) else value
    wanted = {"bool": bool, "bytes": bytes}.get(kind.name)
    return value if wanted is not None and isinstance(value, wanted) else None


def _compared(mine: Expression[Any], other: object, operator: str) -> Expression[Any]:
    """The other side, a constant made to fit; refuses what does not go together."""
    if not isinstance(other, Expression):
        if other is None:
            raise ConfigError(
                f"{mine} {operator} None is null for every row; use is_null() or is_not_null()."
            )
        # 5.5 against a column of whole numbers is a float; 5 against floats is one, too
        kind = FLOAT if isinstance(other, float) and mine.kind.is_int else mine.kind
        wide = INT if kind.is_int else FLOAT if kind.is_float else kind
        return as_literal(other, wide, f"What stands beside {mine} in {operator}")
    if mine.kind != other.kind and not (mine.kind.is_number and other.kind.is_number):
        hint = ""
        if {mine.kind, other.kind} == {TIME, UTC}:
            hint = " Say in which zone: .in_zone('Asia/Tokyo') makes a time without zone."
        elif DATE in (mine.kind, other.kind) and (mine.kind.is_time or other.kind.is_time):
            hint = " The day of a time is .date(), that of one in UTC .in_zone('UTC').date()."
        raise ConfigError(
            f"{mine} is {mine.kind} and {other} is {other.kind}; {operator} takes two of one type."
            + hint
        )
    return other


def _comparison(operator: str, left: Expression[Any], right: object) -> Expression[bool]:
    other = _compared(left, right, operator)
    if left.kind.item is not None:
        _refuse(operator, left, "does not compare lists")
    if left.kind in (BOOL, BYTES) and operator not in ("==", "!="):
        _refuse(operator, left, "does not order such values")
    _refuse_nan(operator, left)
    _refuse_nan(operator, other)
    if left.kind.is_int != other.kind.is_int:
        # 2**53 + 1 is no float: engines round before they compare, each in its way
        wide = left if left.kind.is_int else other
        if wide.kind.num_bits > 32 and not isinstance(wide, Literal):
            _refuse(
                operator,
                wide,
                "compares it with a float; make one of them the other's type with .to()",
            )
    return Call(operator, (left, other), BOOL)


def _logic(operator: str, left: Expression[Any], right: object) -> Expression[bool]:
    other = as_expression(right)
    for side in (left, other):
        if side.kind != BOOL:
            _refuse(operator, side, "takes conditions; comparisons beside it need parentheses")
    return Call(operator, (left, other), BOOL)


def _arithmetic(operator: str, left: Expression[Any], right: object) -> Expression[Any]:
    other = as_expression(right)
    for side in (left, other):
        if not side.kind.is_number:
            hint = "takes numbers"
            if left.kind.is_time and other.kind.is_time:
                hint = "takes numbers; the time between two is a.seconds_since(b)"
            _refuse(operator, side, hint)
    if operator in ("//", "%") and not (left.kind.is_int and other.kind.is_int):
        _refuse(operator, left if left.kind.is_float else other, "takes whole numbers")
    if operator in ("/", "//", "%") and isinstance(other, Literal) and other.value == 0:
        _refuse(operator, other, "divides by no zero")
    if operator == "/":
        return Call(operator, (left, other), FLOAT)
    return Call(operator, (left, other), INT if left.kind.is_int and other.kind.is_int else FLOAT)


def _shifted(moment: Expression[Any], span: dt.timedelta, *, sign: int = 1) -> Expression[Any]:
    if not (moment.kind.is_time or moment.kind == DATE):
        _refuse("+", moment, "adds durations to dates and times only")
    if abs(span.days) > _MOST_DAYS:
        _refuse("+", moment, f"adds at most {_MOST_DAYS} days, not {span}")
    amount = span // dt.timedelta(microseconds=1)
    if moment.kind == DATE:
        if span % dt.timedelta(days=1):
            _refuse("+", moment, f"adds whole days to a date, not {span}")
        amount = span.days
    return Call("shift", (moment, Literal(sign * amount, INT)), moment.kind)


def _part(
    name: str, moment: Expression[Any], *, is_time: bool = False, kind: Kind = INT
) -> Expression[Any]:
    if moment.kind == UTC:
        _refuse(name, moment, "is a question of the zone; ask .in_zone('Asia/Tokyo') first")
    if not (moment.kind == TIME or (moment.kind == DATE and not is_time)):
        _refuse(name, moment, "takes a time" if is_time else "takes a date or a time")
    return Call(name, (moment,), kind)


def _text(name: str, text: Expression[Any], part: str) -> Expression[bool]:
    if text.kind != STRING or not isinstance(part, str):
        _refuse(name, text, f"takes a text and a constant text, not {part!r}")
    return Call(name, (text, Literal(part, STRING)), BOOL)


def _common(values: Sequence[Expression[Any]], operator: str) -> Kind:
    kinds = [value.kind for value in values]
    if all(kind == kinds[0] for kind in kinds):
        return kinds[0]
    if all(kind.is_int for kind in kinds):
        return INT
    if not all(kind.is_float for kind in kinds):
        _refuse(operator, values[0], "takes values of one type; make them so with .to()")
    return FLOAT


def _aggregate(function: str, operand: Expression[Any], nan: str | None) -> Aggregate[Any]:
    if nan not in (None, "drop"):
        raise ConfigError(f"nan={nan!r} of {function}() is not known; 'drop' leaves NaN out.")
    parts = list(operand.walk())
    if any(isinstance(part, Aggregate) for part in parts):
        raise ConfigError(f"{function}() of {operand}: an aggregate of aggregates is not possible.")
    windows = {id(p.relation): p.relation for p in parts if isinstance(p, Column)}
    relation = next(iter(windows.values()), None)
    if len(windows) != 1 or relation is None or not relation.is_window:
        raise ConfigError(
            f"{function}() takes columns of one window, such as clicks = Click.last(days(7), ...) "
            f"in clicks.price.{function}(); {operand} is none."
        )
    kind = operand.kind
    if nan is not None and not kind.is_float:
        _refuse(function, operand, f"takes nan={nan!r} for floating-point numbers only")
    if function in ("sum", "mean"):
        if not kind.is_number:
            _refuse(function, operand, "takes numbers")
        kind = INT if kind.is_int and function == "sum" else FLOAT
    elif function in ("min", "max"):
        if kind.item is not None or kind in (BOOL, BYTES):
            _refuse(function, operand, "takes numbers, texts, dates and times")
    else:
        if kind.item is not None and function == "count_distinct":
            _refuse(function, operand, "does not compare lists")
        kind = INT
    return Aggregate(function, relation, operand, kind, drops_nan=nan == "drop")


def _span(shift: Call[Any]) -> str:
    """A duration in the largest unit that it has whole."""
    count: int = shift.arguments[1].value  # type: ignore[attr-defined]
    if shift.kind == DATE:
        return f"days({count})"
    for unit, size in (("days", 86_400_000_000), ("hours", 3_600_000_000), ("seconds", 1_000_000)):
        if count % size == 0:
            return f"{unit}({count // size})"
    return f"microseconds({count})"


def _refuse_nan(operator: str, value: Expression[Any]) -> None:
    if isinstance(value, Literal) and value.kind.is_float and math.isnan(value.value):
        _refuse(operator, value, "is false beside NaN for every row; use is_nan()")


def _operand(part: Expression[Any]) -> str:
    is_open = isinstance(part, Call) and part.operator in (*_INFIX, "shift", "~")
    return f"({part})" if is_open else str(part)


def _refuse(operator: str, value: Expression[Any], why: str) -> NoReturn:
    raise ConfigError(f"{operator!r} {why}; {value} is {value.kind}.")
