"""Parts of the output: for training, validation, test."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.define.moment import is_constant
from tadka.dataset.define.schema import check_name, twins
from tadka.dataset.expression.expression import Expression, as_literal
from tadka.dataset.expression.kind import DATE

COLUMN = "split"
"""Name of the column that says which part a row belongs to."""

NUM_BUCKETS = 2**32


@dataclass(frozen=True, eq=False)
class HashSplit:
    """Parts by the hash of a key: all rows of one key are in one part, on every engine.

    Args:
        key: Of each row.
        salt: Text that goes into the hash; another salt gives another split.
        shares: Of all keys, by part; together 1.
    """

    key: Expression[Any]
    salt: str
    shares: Mapping[str, float]

    @property
    def parts(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self.shares)

    @property
    def ends(self) -> dict[str, int]:
        """By part, the first of the 2**32 buckets that is not in it any more."""
        sums = itertools.accumulate(self.shares.values())
        ends = dict(zip(self.shares, (round(sum_ * NUM_BUCKETS) for sum_ in sums), strict=True))
        return {**ends, self.parts[-1]: NUM_BUCKETS}


@dataclass(frozen=True, eq=False)
class TimeSplit:
    """Parts by time: each ends where the next one begins.

    Args:
        column: Date or time of each row.
        ends: By part, the first date or time that is not in it any more; None for the last part
            means that it has no end.
    """

    column: Expression[Any]
    ends: Mapping[str, Expression[Any] | None]

    @property
    def parts(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self.ends)


Split = HashSplit | TimeSplit


def by_hash(key: Expression[Any], *, salt: str, **shares: float) -> HashSplit:
    """Parts by the hash of a key, such as the user.

    Args:
        key: Column or expression; neither float nor list, and never null.
        salt: Text that goes into the hash; another salt gives another split.
        **shares: Of all keys, by part: `train=0.8, valid=0.2`; together 1.

    Raises:
        ConfigError: A value is not accepted.
    """
    _check_parts("by_hash", key, tuple(shares))
    if key.kind.is_float or key.kind.item is not None:
        raise ConfigError(
            f"by_hash takes a key that is equal on every engine; {key} is {key.kind}. Accepted are "
            "whole numbers, texts, bytes, conditions, dates and times."
        )
    if not isinstance(salt, str):
        raise ConfigError(f"salt of by_hash is {salt!r}; it must be a text.")
    for name, share in shares.items():
        is_number = isinstance(share, int | float) and not isinstance(share, bool)
        if not is_number or not 0 < share <= 1:
            raise ConfigError(
                f"Share of part {name!r} is {share!r}; it must be a number above 0, at most 1."
            )
    if not math.isclose(math.fsum(shares.values()), 1, abs_tol=1e-9):
        raise ConfigError(
            f"Shares of by_hash are {math.fsum(shares.values()):g} together "
            f"({', '.join(f'{name} {share:g}' for name, share in shares.items())}); they must be 1."
        )
    return HashSplit(key, salt, {name: float(share) for name, share in shares.items()})


def by_time(column: Expression[Any], **ends: Any) -> TimeSplit:
    """Parts by time: the first holds what is before its end, the next what is before its own.

    Args:
        column: Date or time of each row.
        **ends: By part, a constant or parameter: `train=t1, valid=t2, test=None`. Only the last
            may be None: it has no end.

    Raises:
        ConfigError: A value is not accepted.
    """
    _check_parts("by_time", column, tuple(ends))
    if not column.kind.is_time and column.kind != DATE:
        raise ConfigError(f"by_time takes a date or a time; {column} is {column.kind}.")
    found: dict[str, Expression[Any] | None] = {}
    for name, end in ends.items():
        where = f"End of part {name!r}"
        if end is None:
            if name != list(ends)[-1]:
                raise ConfigError(f"{where} is None; only the last part may have no end.")
            found[name] = None
        elif not isinstance(end, Expression):
            found[name] = as_literal(end, column.kind, where)
        elif not is_constant(end) or end.kind not in (column.kind, DATE):
            raise ConfigError(
                f"{where} is {end} of type {end.kind}; it must be a constant or parameter of type "
                f"{column.kind}, as {column} is."
            )
        else:
            found[name] = end
    return TimeSplit(column, found)


def _check_parts(function: str, key: object, names: tuple[str, ...]) -> None:
    if not isinstance(key, Expression):
        raise ConfigError(f"{function} takes a column first, such as imp.user; it was {key!r}.")
    if not names:
        raise ConfigError(f"{function} has no parts; name them, as in train=..., valid=....")
    for name in names:
        check_name(name, "A part")
    for one, two in twins(names):
        raise ConfigError(f"Parts {one!r} and {two!r} differ in case only.")
