"""What an expression is worth for one row, by Python: the judge of what engines answer.

Dates are days and times are microseconds since 1970, as Arrow holds them: Python's own end at the
year 9999.
"""

import datetime as dt
import math
import operator
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tadka.dataset.expression.expression import Call, Column, Expression, Literal, Parameter
from tadka.dataset.expression.kind import FLOAT, INT, Kind

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001
_MICROSECOND = dt.timedelta(microseconds=1)
_DAY_MICROS = 86_400_000_000
_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Wrong(Exception):
    """The engine must raise an error."""


class Unsure(Exception):
    """Whether the engine raises an error depends on what it evaluates first."""


def raw(value: Any) -> Any:
    """A constant of Python as Arrow holds it."""
    if isinstance(value, dt.datetime):
        return (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND
    if isinstance(value, dt.date):
        return (value - _EPOCH.date()).days
    return value


def value_of(
    expression: Expression[Any],
    row: Mapping[str, Any],
    parameters: Mapping[str, Literal[Any]] | None = None,
) -> Any:
    """The value of an expression for a row of raw values by column."""
    match expression:
        case Literal():
            return _fitted(raw(expression.value), expression.kind)
        case Parameter():
            assert parameters is not None
            return value_of(parameters[expression.name], row)
        case Column():
            return row[expression.name]
    assert isinstance(expression, Call)
    name, arguments = expression.operator, expression.arguments
    if name == "if_else":
        taken = arguments[1] if value_of(arguments[0], row, parameters) else arguments[2]
        return _fitted(value_of(taken, row, parameters), expression.kind)
    found, num_wrong = [], 0
    for argument in arguments:
        try:
            found.append(value_of(argument, row, parameters))
        except Wrong:
            num_wrong += 1
    if num_wrong:
        # an engine may stop at a null, and at a false beside &
        certain = name not in ("&", "|", "coalesce") and all(x is not None for x in found)
        raise Wrong if certain else Unsure
    return _call(expression, found)


def _call(call: Call[Any], found: list[Any]) -> Any:
    name, first = call.operator, found[0]
    kind = call.arguments[0].kind
    match name:
        case "&":
            return False if False in found else None if None in found else True
        case "|":
            return True if True in found else None if None in found else False
        case "is_null":
            return first is None
        case "coalesce":
            return next((_fitted(x, call.kind) for x in found if x is not None), None)
    if name in ("/", "//", "%") and found[1] == 0:
        raise Wrong
    if name in _COMPARE and any(isinstance(x, float) and math.isnan(x) for x in found):
        return False
    if first is None or None in found[1:]:
        return None
    if name in _COMPARE:
        if isinstance(first, str):
            found = [x.encode() for x in found]
        return _COMPARE[name](*found)
    match name:
        case "is_in":
            return first in found[1:]
        case "is_nan":
            return math.isnan(first)
        case "~":
            return not first
        case "+" | "-" | "*":
            function = {"+": operator.add, "-": operator.sub, "*": operator.mul}[name]
            return _fitted(function(*(_fitted(x, call.kind) for x in found)), call.kind)
        case "/":
            return float(first) / float(found[1])
        case "//":
            return _fitted(first // found[1], INT)
        case "%":
            return first % found[1]
        case "shift":
            return first + found[1]
        case "year" | "month" | "day" | "weekday" | "hour" | "minute" | "date":
            return _part(name, first, kind)
        case "in_zone":
            return first + _offset(first, ZoneInfo(found[1]))
        case "seconds_since":
            return float(first - found[1]) / 1e6
        case "starts_with":
            return first.startswith(found[1])
        case "contains":
            return found[1] in first
        case "to":
            return _converted(first, kind, call.kind)
    raise AssertionError(name)


def _fitted(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind.is_int:
        if not -(2 ** (kind.num_bits - 1)) <= value < 2 ** (kind.num_bits - 1):
            raise Wrong
        return int(value)
    if kind.name == "float32":
        with np.errstate(over="ignore"):
            return float(np.float32(value))
    return float(value) if kind == FLOAT else value


def _converted(value: Any, kind: Kind, wanted: Kind) -> Any:
    if wanted.name == "string":
        return str(value)
    if wanted.is_int:
        if kind.is_float and not math.isfinite(value):
            raise Wrong
        return _fitted(math.trunc(value), wanted)
    found = _fitted(value, wanted)
    if math.isinf(found) and not math.isinf(value):
        raise Wrong
    return found


def _part(name: str, value: int, kind: Kind) -> int:
    num_days = value if kind.name == "date" else value // _DAY_MICROS
    moment = np.datetime64(num_days, "D")
    match name:
        case "date":
            return num_days
        case "weekday":
            return (num_days + 3) % 7
        case "year":
            return 1970 + int(moment.astype("datetime64[Y]").astype(int))
        case "month":
            return int(moment.astype("datetime64[M]").astype(int)) % 12 + 1
        case "day":
            return int((moment - moment.astype("datetime64[M]")).astype(int)) + 1
    seconds = value % _DAY_MICROS // 1_000_000
    return seconds // 3600 if name == "hour" else seconds % 3600 // 60


def _offset(value: int, zone: ZoneInfo) -> int:
    """Microseconds by which clocks are ahead; at the ends of Python's time as two days inside."""
    ends = (dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29))  # noqa: DTZ001
    low, high = (raw(end) for end in ends)
    inside = dt.timedelta(microseconds=min(max(value, low), high))
    offset = (_EPOCH + inside).replace(tzinfo=dt.UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // _MICROSECOND
