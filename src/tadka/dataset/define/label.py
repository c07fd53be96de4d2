"""What a model is to predict, and when it is known."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.define.moment import is_constant
from tadka.dataset.define.schema import check_name
from tadka.dataset.expression.expression import Expression, as_expression
from tadka.dataset.expression.kind import DATE

_NOTHING = dt.timedelta(0)


@dataclass(frozen=True, eq=False)
class Label:
    """The label of each row.

    A label of what happens later is either made of a window (`Click.next(hours(24), ...)`), or of
    columns that were filled in later: then `window` and `gap` say when. Its rows are used only if
    they had ripened when the tables were read: `matured_by`.

    Args:
        expression: The label; a condition or a number, usually.
        name: Of its column in the output.
        window: For columns that were filled in later: how long it takes until they are final.
        gap: How long after the row's time that begins.
        matured_by: When the tables were read; a label whose window ends later is not final yet.

    Raises:
        ConfigError: A value is not accepted.
    """

    expression: Expression[Any]
    name: str = field(default="label", kw_only=True)
    window: dt.timedelta | None = field(default=None, kw_only=True)
    gap: dt.timedelta = field(default=_NOTHING, kw_only=True)
    matured_by: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_name(self.name, "A label")
        if not isinstance(self.expression, Expression):
            raise ConfigError(
                f"The label {self.name!r} is {self.expression!r}; it must be a column or an "
                "expression, such as clicked.count() > 0."
            )
        is_duration = self.window is None or isinstance(self.window, dt.timedelta)
        if not is_duration or (self.window is not None and self.window <= _NOTHING):
            raise ConfigError(
                f"window of the label {self.name!r} is {self.window!r}; it must be a duration "
                "above 0, such as hours(24)."
            )
        if not isinstance(self.gap, dt.timedelta) or self.gap < _NOTHING:
            raise ConfigError(
                f"gap of the label {self.name!r} is {self.gap!r}; it must be a duration, not "
                "below 0."
            )
        if self.gap and self.window is None:
            raise ConfigError(
                f"The label {self.name!r} has a gap and no window; give window=, or the gap to "
                "next()."
            )
        if self.matured_by is not None:
            moment = as_expression(self.matured_by)
            is_time = moment.kind.is_time or moment.kind == DATE
            if not is_time or not is_constant(moment):
                raise ConfigError(
                    f"matured_by of the label {self.name!r} is {moment}; it must be a time or a "
                    "date: a parameter or a constant."
                )
            object.__setattr__(self, "matured_by", moment)
