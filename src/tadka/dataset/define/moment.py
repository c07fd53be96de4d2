"""Times that are known before any row is read, compared as far as parameters allow."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.expression.expression import Call, Expression, Literal, Parameter, as_literal
from tadka.dataset.expression.kind import DATE, Kind

Values = Mapping[str, Literal[Any]]
"""Values of parameters by name."""

_MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Moment:
    """A point on one line of time, on which a date is its midnight and no clock has a zone.

    Args:
        origin: Name of the parameter that it is counted from; None for the first day of year 0.
        offset: From there.
    """

    origin: str | None
    offset: dt.timedelta

    def __add__(self, span: dt.timedelta) -> "Moment":
        return Moment(self.origin, self.offset + span)

    def since(self, other: "Moment") -> dt.timedelta | None:
        """How much later it is than another; None where that depends on parameters.

        Args:
            other: Of any origin.
        """
        return self.offset - other.offset if self.origin == other.origin else None


def is_constant(value: Expression[Any]) -> bool:
    """Whether a value is known before any row is: a constant, a parameter, one plus a duration.

    Args:
        value: Any expression.
    """
    if isinstance(value, Call) and value.operator == "shift":
        return is_constant(value.arguments[0])
    return isinstance(value, Literal | Parameter)


def value_of(expression: Expression[Any], values: Values) -> Literal[Any]:
    """The value of a constant, a parameter, or one of them plus a duration.

    Args:
        expression: Such a one.
        values: Of all parameters.

    Raises:
        ConfigError: It depends on rows, or lies outside the years 1 to 9999.
    """
    if isinstance(expression, Literal):
        return expression
    if isinstance(expression, Parameter):
        return values[expression.name]
    if isinstance(expression, Call) and expression.operator == "shift":
        moment = value_of(expression.arguments[0], values)
        try:
            return Literal(moment.value + span_of(expression), moment.kind)
        except OverflowError as error:
            raise ConfigError(
                f"{expression} is outside the years 1 to 9999, where {moment} is the first part."
            ) from error
    raise ConfigError(f"{expression} has no value before rows are read.")


def span_of(shift: Call[Any]) -> dt.timedelta:
    """The duration that a shift adds.

    Args:
        shift: A call of the operator `shift`.
    """
    count = shift.arguments[1]
    assert isinstance(count, Literal)
    return dt.timedelta(days=count.value) if shift.kind == DATE else count.value * _MICROSECOND


def moment_of(expression: Expression[Any], values: Values | None = None) -> Moment:
    """The moment of a constant date or time.

    Args:
        expression: A constant, a parameter, or one of them plus a duration.
        values: Of all parameters; None before they are known.
    """
    if values is not None:
        expression = value_of(expression, values)
    if isinstance(expression, Parameter):
        return Moment(expression.name, dt.timedelta(0))
    if isinstance(expression, Call):
        return moment_of(expression.arguments[0]) + span_of(expression)
    assert isinstance(expression, Literal)
    value = expression.value
    if not isinstance(value, dt.datetime):
        return Moment(None, dt.timedelta(days=value.toordinal()))
    midnight = dt.timedelta(days=value.toordinal())
    clock = dt.timedelta(
        hours=value.hour,
        minutes=value.minute,
        seconds=value.second,
        microseconds=value.microsecond,
    )
    return Moment(None, midnight + clock)


def in_kind(value: Literal[Any], kind: Kind, what: str) -> Literal[Any]:
    """A date or time as another kind: a day becomes its midnight.

    Args:
        value: A constant.
        kind: That is wanted.
        what: It is, for the message.
    """
    return value if value.kind == kind else as_literal(value.value, kind, what)
