"""Checks of the values of one column, of the output or of the rows that it is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.check.check import Check, Ground, Measure, Scope, Verdict, share, verdict
from tadka.dataset.expression.expression import Column, Expression


@dataclass(frozen=True)
class _OfColumn(Check):
    """A rule for the values of one column: the rows that break it are counted."""

    column: str

    @property
    def name(self) -> str:
        return f"{type(self).__name__}({self.column})"

    def mistakes(self, scope: Scope) -> list[str]:
        return scope.missing([self.column])

    def is_of_inputs(self, scope: Scope) -> bool:
        place = scope.place([self.column])
        return place is not None and bool(place[0])

    def bad(self, ground: Ground) -> Expression[bool]:
        """The condition of rows that break the rule."""
        raise NotImplementedError

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        source = ground.source(self.column)
        bad = self.bad(ground)
        return {
            "rows": Measure("count(*)", source),
            "bad": Measure(ground.count(bad), source),
            "least": Measure(self._extreme("min", bad, ground), source),
            "most": Measure(self._extreme("max", bad, ground), source),
        }

    def _extreme(self, function: str, bad: Expression[bool], ground: Ground) -> str:
        column = ground.column(self.column)
        if column.kind.item is not None or column.kind.name in ("bool", "bytes"):
            return f"{function}(NULL)"
        return f"{function}({ground.sql(column)}) FILTER (WHERE {ground.sql(bad)})"

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:  # noqa: ARG002
        if not found["rows"]:
            return Verdict("skipped", "there are no rows.")
        return self.verdict(found)

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        """What the rows that break it mean."""
        raise NotImplementedError


def _part(count: int, of: int) -> str:
    return f"{count:,} of {of:,} rows"


@dataclass(frozen=True)
class NullShare(_OfColumn):
    """Which share of a column is null. NaN is no null.

    Args:
        column: Its name.
        on_fail: `"raise"` or `"warn"`.
        max: The largest share that is accepted.
    """

    max: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self.name, "max", self.max)

    def bad(self, ground: Ground) -> Expression[bool]:
        return ground.column(self.column).is_null()

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows, bad = found["rows"], found["bad"]
        message = f"{_part(bad, rows)} ({bad / rows:.2%}) are null"
        is_fine = bad / rows <= self.max
        return verdict(
            is_fine=is_fine,
            message=message + ("." if is_fine else f"; at most {self.max:.2%} are accepted."),
        )


@dataclass(frozen=True)
class NoNan(_OfColumn):
    """No value of a column is NaN.

    Args:
        column: Its name; of floating-point numbers.
        on_fail: `"raise"` or `"warn"`.
    """

    def mistakes(self, scope: Scope) -> list[str]:
        place = scope.place([self.column])
        if place is not None and not place[1][self.column].is_float:
            return [f"column {self.column!r} is {place[1][self.column]}, which has no NaN."]
        return super().mistakes(scope)

    def bad(self, ground: Ground) -> Expression[bool]:
        return ground.column(self.column).is_nan()

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows, bad = found["rows"], found["bad"]
        return verdict(is_fine=not bad, message=f"{_part(bad, rows)} are NaN in {self.column!r}.")


@dataclass(frozen=True)
class InRange(_OfColumn):
    """All values of a column lie between two bounds, both included. Null passes, NaN does not.

    Args:
        column: Its name.
        on_fail: `"raise"` or `"warn"`.
        min: The least value that is accepted; no bound where none is given.
        max: The greatest value that is accepted.
    """

    min: Any = field(default=None, kw_only=True)
    max: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min is None and self.max is None:
            raise ConfigError(f"{self.name} has no bounds; give min=, max= or both.")

    def mistakes(self, scope: Scope) -> list[str]:
        return super().mistakes(scope) or _unfit(self, scope)

    def bad(self, ground: Ground) -> Expression[bool]:
        column = ground.column(self.column)
        bounds: list[Expression[bool]] = []
        if self.min is not None:
            bounds.append(column >= self.min)
        if self.max is not None:
            bounds.append(column <= self.max)
        # every comparison with NaN is false, so NaN is outside; one with null is null: not counted
        return ~(bounds[0] & bounds[-1])

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows, bad = found["rows"], found["bad"]
        if not bad:
            return Verdict("passed", f"{rows:,} rows are in the range.")
        low = "" if self.min is None else f" from {self.min}"
        high = "" if self.max is None else f" to {self.max}"
        return Verdict(
            "failed",
            f"{_part(bad, rows)} are outside the range{low}{high}: from {found['least']} to "
            f"{found['most']}.",
        )


@dataclass(frozen=True)
class OneOf(_OfColumn):
    """All values of a column are among those that are listed. Null passes, NaN does not.

    Args:
        column: Its name.
        values: That are accepted.
        on_fail: `"raise"` or `"warn"`.
    """

    values: Sequence[Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise ConfigError(f"{self.name} accepts no values; give at least one.")

    def mistakes(self, scope: Scope) -> list[str]:
        return super().mistakes(scope) or _unfit(self, scope)

    def bad(self, ground: Ground) -> Expression[bool]:
        is_known = ground.column(self.column).is_in(self.values)
        return ~is_known

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows, bad = found["rows"], found["bad"]
        if not bad:
            return Verdict("passed", f"{rows:,} rows have one of {len(self.values)} values.")
        examples = " and ".join(
            dict.fromkeys(
                repr(value) for value in (found["least"], found["most"]) if value is not None
            )
        )
        shown = f", such as {examples}" if examples else ""
        return Verdict("failed", f"{_part(bad, rows)} have another value{shown}.")


def _unfit(check: InRange | OneOf, scope: Scope) -> list[str]:
    """Why the constants of a check do not go with its column."""
    place = scope.place([check.column])
    assert place is not None
    column: Column[Any] = Column(check.column, place[1][check.column])
    try:
        if isinstance(check, OneOf):
            column.is_in(check.values)
        else:
            for bound in (check.min, check.max):
                _ = bound is None or column <= bound
    except ConfigError as error:
        text = str(error)
        return [text[0].lower() + text[1:]]
    return []
