"""Labels: what they may be made of."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.define.label import Label
from tadka.dataset.define.table import Table
from tadka.dataset.expression.expression import Column, Parameter, days, hours
from tadka.dataset.expression.kind import Utc


class Event(Table, source="event.parquet", time="at"):
    click: Column[bool]
    at: Column[Utc]


EVENT = Event.all()


def test_label_keeps_what_it_is_given() -> None:
    label = Label(EVENT.click, name="y", window=hours(24), gap=hours(1), matured_by=Parameter(Utc))
    assert ("y", hours(24), hours(1)) == (label.name, label.window, label.gap)
    assert isinstance(label.matured_by, Parameter)


def test_matured_by_may_be_a_constant_or_a_shifted_parameter() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert "utc('2026-01-01T00:00:00+00:00')" == str(
        Label(EVENT.click, matured_by=moment).matured_by
    )
    assert Label(EVENT.click, matured_by=Parameter(date) + days(1)).matured_by is not None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"expression": 5}, "The label 'label' is 5; it must be a column or an expression"),
        ({"name": ""}, "A label has the name ''"),
        ({"window": 24}, "window of the label 'label' is 24; it must be a duration above 0"),
        ({"window": hours(0)}, "it must be a duration above 0"),
        ({"window": hours(1), "gap": -hours(1)}, "it must be a duration, not below 0"),
        ({"gap": 1, "window": hours(1)}, "gap of the label 'label' is 1"),
        ({"gap": hours(1)}, "has a gap and no window"),
        ({"matured_by": 5}, "it must be a time or a date"),
        ({"matured_by": EVENT.at}, "it must be a time or a date: a parameter or a constant"),
        ({"matured_by": "soon"}, "it must be a time or a date"),
    ],
)
def test_refuses(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Label(**{"expression": EVENT.click, **values})
    assert expected in str(caught.value)
