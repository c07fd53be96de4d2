"""Random expressions over hostile rows: each engine answers as Python does."""

import operator
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.expression.expression import Expression, hours, if_else
from tadka.dataset.expression.kind import BOOL, DATE, FLOAT, INT, STRING, TIME, UTC, Kind
from tests.unit.dataset.sql.engines import TestEngine
from tests.unit.dataset.sql.hostile import COLUMNS, VALUES, differences

_Made = Expression[Any]
_FLOATING = [operator.add, operator.sub, operator.mul, operator.truediv]


class Maker:
    """Expressions of a wanted kind, no deeper than asked."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def make(self, kind: Kind, depth: int) -> _Made:
        """An expression of a kind."""
        while True:
            try:
                return self._made(kind, depth)
            except ConfigError:
                continue  # what is refused: 1 // 0, an int64 beside a float, x == nan

    def _made(self, kind: Kind, depth: int) -> _Made:
        choices: list[Callable[[], _Made]] = [lambda: self._column(kind)]
        if depth > 0:
            choices = [*self._calls(kind, depth - 1), *choices]
        return self.random.choice(choices)()

    def _column(self, kind: Kind) -> _Made:
        fitting = [column for column in COLUMNS.values() if column.kind == kind]
        return self.random.choice(fitting)

    def _constant(self, kind: Kind) -> Any:
        """A constant of Python of a number's kind or a text."""
        name = next(name for name, (own, _) in VALUES.items() if own == kind)
        return self.random.choice([value for value in VALUES[name][1] if value is not None])

    def _calls(self, kind: Kind, depth: int) -> list[Callable[[], _Made]]:
        def make(kind: Kind) -> _Made:
            return self.make(kind, depth)

        def other(kind: Kind) -> Any:
            return self._constant(kind) if self.random.random() < 0.3 else make(kind)

        pick = self.random.choice
        found: list[Callable[[], _Made]] = [
            lambda: make(kind).coalesce(make(kind)),
            lambda: if_else(make(BOOL), make(kind), make(kind)),
        ]
        if kind == BOOL:
            number = pick([INT, FLOAT, STRING])
            single = pick([INT, FLOAT, STRING, DATE, TIME, UTC])
            found += [
                lambda: pick([operator.and_, operator.or_])(make(BOOL), make(BOOL)),
                lambda: ~make(BOOL),
                lambda: pick([operator.eq, operator.ne, operator.lt])(make(number), other(number)),
                lambda: make(single) >= make(single),
                lambda: make(single).is_null(),
                lambda: make(FLOAT).is_nan(),
                lambda: make(number).is_in([self._constant(number) for _ in range(3)]),
                lambda: make(STRING).contains(self._constant(STRING)),
            ]
        if kind == INT:
            whole = [*_FLOATING[:3], operator.floordiv, operator.mod]
            found += [
                lambda: pick(whole)(make(INT), other(INT)),
                lambda: make(pick([BOOL, FLOAT, Kind("int8")])).to(int),
                lambda: make(pick([TIME, DATE])).weekday(),
                lambda: make(TIME).hour(),
            ]
        if kind == FLOAT:
            found += [
                lambda: pick(_FLOATING)(make(FLOAT), other(pick([FLOAT, INT]))),
                lambda: make(INT).to(float),
                lambda: make(TIME).seconds_since(make(TIME)),
            ]
        if kind == DATE:
            found += [lambda: make(TIME).date()]
        if kind == TIME:
            found += [
                lambda: make(UTC).in_zone(pick(["Asia/Tokyo", "America/New_York"])),
                lambda: make(TIME) + hours(pick([-1, 25, 10_000])),
            ]
        return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(4))
def test_random_expressions(engine: TestEngine, hostile: Path, seed: int) -> None:
    maker = Maker(seed)
    kinds = [BOOL, BOOL, INT, FLOAT, TIME, DATE]
    expressions = [maker.make(kind, 3) for kind in kinds * 10]

    assert [] == differences(engine, hostile, expressions)
