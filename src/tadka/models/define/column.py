"""Columns that a model takes in: what the data checker and the encoder go by."""

import difflib
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

from tadka.core.error import ConfigError

Role = Literal["feature", "label", "id", "time"]
ROLES: tuple[str, ...] = get_args(Role)

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
_FLOATS = ("float16", "float32", "float64")
_SCALARS = ("bool", "int32", "int64", "float32", "float64", "string", "bytes", "key")
DTYPES = (*_SCALARS, "list[int64]", "list[float32]", "list[string]")
"""Types that a column may ask for. `key` is an int64 or a string, whichever the data has."""

_TAKES: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "int32": ("int8", "int16", "int32", "uint8", "uint16", "bool"),
    "int64": (*_INTEGERS, "bool"),
    "float32": (*_INTEGERS, *_FLOATS, "bool"),
    "float64": (*_INTEGERS, *_FLOATS, "bool"),
    "string": ("string",),
    "bytes": ("bytes", "string"),
    "key": (*_INTEGERS, "string"),
}
"""Types of data that do for the type asked for; what may lose something is not among them."""


@dataclass(frozen=True)
class Column:
    """One column of the rows that a model takes in.

    Args:
        name: Of the column.
        dtype: One of `DTYPES`. Data of a narrower type will do: whole numbers where floats are
            asked for, but neither text nor floats where whole numbers are.
        vocabulary: True where the values are encoded to rows of a vocabulary of the column's own
            name; a name, where several columns share one vocabulary (`item` and `history`).
        role: `label` is what training learns from and predict does without; `id` goes with a row
            and is no feature; `time` orders the rows.
        low: The least value that is accepted; None for no bound.
        high: The greatest value that is accepted.
        values: All that are accepted; any where it is empty.
        null_share: The greatest share of rows, from 0 to 1, whose value may be missing: null, or
            NaN.
        help: What it is, one sentence.

    Raises:
        ConfigError: An argument is wrong, or two do not go together.

    >>> Column("user", "int64", vocabulary=True).vocabulary_name
    'user'
    >>> Column("age", "int64").accepts("string")
    False
    """

    name: str
    dtype: str = "float32"
    _: KW_ONLY
    vocabulary: bool | str = False
    role: Role = "feature"
    low: float | None = None
    high: float | None = None
    values: tuple[Any, ...] = ()
    null_share: float = 0.0
    help: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"A column's name is {self.name!r}; it must be a text, not empty.")
        if self.dtype not in DTYPES:
            close = difflib.get_close_matches(str(self.dtype), DTYPES, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known types: {', '.join(DTYPES)}."
            raise ConfigError(f"Column {self.name!r} has the type {self.dtype!r}. {hint}")
        if self.role not in ROLES:
            raise self._wrong("role", f"one of {', '.join(ROLES)}")
        object.__setattr__(self, "values", tuple(self.values))
        if self.vocabulary != "" and not isinstance(self.vocabulary, bool | str):
            raise self._wrong("vocabulary", "true, false or the name of a vocabulary")
        if self.vocabulary and self.item in _FLOATS:
            raise ConfigError(
                f"Column {self.name!r} is {self.dtype} and has a vocabulary, which holds whole "
                "numbers or texts. Give it the type int64, string or key."
            )
        share = self.null_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise self._wrong("null_share", "a share from 0 to 1")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ConfigError(
                f"Column {self.name!r} accepts values from {self.low} to {self.high}, which are "
                "none. Exchange low and high."
            )

    @property
    def vocabulary_name(self) -> str:
        """Name of its vocabulary; empty where it has none."""
        return self.vocabulary if isinstance(self.vocabulary, str) else self.name * self.vocabulary

    @property
    def is_list(self) -> bool:
        """Whether a value is a list of values."""
        return self.dtype.startswith("list[")

    @property
    def item(self) -> str:
        """Type of a value, or of the items of its lists."""
        return self.dtype.removeprefix("list[").removesuffix("]")

    def accepts(self, dtype: str) -> bool:
        """Whether data of a type will do.

        Args:
            dtype: Of the data, in the words of `DTYPES`, all widths of numbers included.
        """
        is_list = dtype.startswith("list[")
        item = dtype.removeprefix("list[").removesuffix("]")
        return is_list == self.is_list and item in _TAKES[self.item]

    def _wrong(self, key: str, accepted: str) -> ConfigError:
        return ConfigError(
            f"Column {self.name!r} has {key}={getattr(self, key)!r}; it must be {accepted}."
        )
