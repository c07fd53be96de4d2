"""Lists that print as tables and become frames."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from tadka.core.extra import require
from tadka.task.look.word import plain

_MOST_ROWS = 20
_LONGEST = 40  # letters of a cell
_MOST_ITEMS = 5  # of a list or dict


class Tellable(Protocol):
    """A row of a table."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""

    def cells(self) -> dict[str, str]:
        """As text for people, by column."""


R = TypeVar("R", bound=Tellable)


class Table(list[R]):
    """A list whose text is a table of its first rows."""

    def __str__(self) -> str:
        if not self:
            return "Nothing."
        lines = aligned([row.cells() for row in self[:_MOST_ROWS]])
        if len(self) > _MOST_ROWS:
            lines.append(f"and {len(self) - _MOST_ROWS:,} more")
        return "\n".join(lines)

    def to_json(self) -> list[dict[str, Any]]:
        """As plain JSON."""
        return [row.to_json() for row in self]

    def to_pandas(self) -> Any:
        """As a frame of pandas: nested values have columns such as `fields.lr`, times are times.

        Raises:
            MissingExtra: pandas is not installed.
        """
        pandas = require("pandas", extra="pandas")
        return pandas.DataFrame([_flat(row.to_json()) for row in self])


def aligned(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Rows below a head of their columns; numbers to the right.

    Args:
        rows: Cells by column; what a row lacks is empty.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name, "")) for name in names] for row in rows]
    wide = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    is_right = [
        all(line[i][:1].isdigit() or line[i] in ("", "-") for line in cells) and i > 0
        for i in range(len(names))
    ]
    return [
        "  ".join(
            f"{cell:>{width}}" if right else f"{cell:{width}}"
            for cell, width, right in zip(line, wide, is_right, strict=True)
        ).rstrip()
        for line in [names, *cells]
    ]


def _cell(text: str) -> str:
    text = plain(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif not prefix and name.endswith("_at"):
            found[name] = None if value is None else dt.datetime.fromtimestamp(value, dt.UTC)
        else:
            found[prefix + name] = value
    return found


def shown_fields(fields: Mapping[str, Any]) -> str:
    """Fields in one line: `day=2026-01-31, window=7`; tasks by the beginning of their ids.

    Args:
        fields: As plain JSON.
    """
    return ", ".join(f"{name}={_shown(value)}" for name, value in fields.items())


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and isinstance(value.get("task"), str):
        part = f"[{value['part']}]" if "part" in value else ""
        return f"#{value['task'][:8]}{part}"
    if isinstance(value, Mapping | list):
        items = list(value.values()) if isinstance(value, Mapping) else value
        are_tasks = all(isinstance(item, Mapping) and "task" in item for item in items)
        if len(items) > 1 and (are_tasks or len(items) > _MOST_ITEMS):
            return f"[{len(items):,} {'tasks' if are_tasks else 'items'}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_shown(item)}' for key, item in value.items())}}}"
    return f"[{', '.join(map(_shown, value))}]" if isinstance(value, list) else str(value)


def num_rows_of(descriptions: Iterable[Mapping[str, Any]]) -> int | None:
    """Rows of outputs together; None where none has rows.

    Args:
        descriptions: Of outputs.
    """
    found = [description.get("num_rows") for description in descriptions]
    known = [number for number in found if isinstance(number, int)]
    return sum(known) if known else None
