"""Numbers and names as people read them: for pages, pictures and the terminal."""

import datetime as dt
import math
import re
import unicodedata
from html import escape
from typing import Any

from tadka.core.chart import short_number

NOTHING = "-"
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# What would be invisible, turn the text around it, or be no character at all.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff"
    "\ud800-\udfff\ufffe\uffff]"
)
_NARROW, _WIDE = frozenset("iljIftr.,:;'|!()[]{}/\\ -"), frozenset("mwMW@%")


def plain(text: object, *, has_lines: bool = False) -> str:
    """A text in which nothing is hidden: controls and marks of direction by their number.

    Args:
        text: Any value; of what is no text its `str`.
        has_lines: Whether ends of lines and tabs stay.
    """
    found = _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", str(text))
    return found if has_lines else found.replace("\n", "\\n").replace("\t", "\\t")


def shown(text: object, longest: int = 200) -> str:
    """A text as HTML, apart from the direction of what stands beside it.

    Args:
        text: Any value.
        longest: Letters; what is longer is cut, and whole (up to 2,000) when pointed at.
    """
    found = plain(text)
    if len(found) <= longest:
        return f"<bdi>{escape(found)}</bdi>"
    whole = escape(found[:2000] + ("…" if len(found) > 2000 else ""))
    return f'<bdi title="{whole}">{escape(found[:longest])}…</bdi>'


def printed(text: str, num_lines: int) -> tuple[str, int]:
    """The last lines of what was printed, without colours and overwritten lines.

    Args:
        text: As it was captured.
        num_lines: How many are wanted.

    Returns:
        The lines, and how many stand before them.
    """
    lines = _ANSI.sub("", text).replace("\r\n", "\n").rstrip().split("\n")
    last = [plain(line.rstrip("\r").rpartition("\r")[2], has_lines=True) for line in lines]
    return "\n".join(last[-num_lines:]), max(0, len(last) - num_lines)


def first_line(error: str | None) -> str:
    """The type of an exception and the first line of what it says, as a sentence.

    Args:
        error: As a `Result` has it.
    """
    lines = [line for line in (error or "").splitlines() if line.strip()]
    # before the type of a SyntaxError stands where it is
    plain = [line for line in lines if not line.startswith((" ", 'File "'))] or lines
    if not plain:
        return ""
    text = plain[0].strip()
    return text if text[-1] in ".!?" else f"{text.rstrip(':')}."


def number(value: Any, digits: int = 4) -> str:
    """A number in few letters: `12.5k`; anything else as it is.

    Args:
        value: Any plain value.
        digits: Significant digits.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    try:
        found = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return "huge" if value > 0 else "-huge"
    if not math.isfinite(found):
        return str(found)
    return f"{found:.{digits}g}" if abs(found) >= 1e15 else short_number(value, digits)


def count(value: int | None) -> str:
    """A whole number with commas; `-` for None."""
    return NOTHING if value is None else f"{value:,}"


def short_count(value: int) -> str:
    """A whole number in few letters: `950`, `12.5k`, `3.2M`.

    Args:
        value: The number.
    """
    return short_number(value) if value >= 10_000 else f"{value:,}"


def many_rows(value: int) -> str:
    """A number of rows in few letters: `1 row`, `12.5k rows`.

    Args:
        value: The number.
    """
    return "1 row" if value == 1 else f"{short_count(value)} rows"


def duration(seconds: float | None) -> str:
    """A time for people: `12 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`; `-` for None.

    Args:
        seconds: That passed.
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms" if seconds >= 0.001 else "<1 ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(num_bytes: float | None) -> str:
    """A size for people, in units of 1,024; `-` for None.

    Args:
        num_bytes: The size.
    """
    if num_bytes is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1023.5:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.3g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.1f} TiB"


def moment(seconds: float | None) -> str:
    """A time of the clock in UTC, to the second; `-` for None.

    Args:
        seconds: Since 1970.
    """
    if seconds is None:
        return NOTHING
    try:
        return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return NOTHING


def many(number_of: int, word: str, several: str | None = None) -> str:
    """A count with its word: `1 task`, `1,200 tasks`.

    Args:
        number_of: How many.
        word: For one.
        several: For more; with an s where it is None.
    """
    return f"{number_of:,} {word if number_of == 1 else several or word + 's'}"


def width_of(text: str) -> float:
    """About how wide a text is, in the size of its letters."""
    return sum(map(_width, text))


def fitted(text: str, width: float) -> str:
    """A text cut to a width.

    Args:
        text: In one line.
        width: In the size of its letters.
    """
    if width_of(text) <= width:
        return text
    left = width - 1.0
    for place, letter in enumerate(text):
        left -= _width(letter)
        if left < 0:
            return text[:place].rstrip() + "…"
    return text


def _width(letter: str) -> float:
    if letter in _NARROW:
        return 0.38
    if letter in _WIDE:
        return 0.95
    if unicodedata.combining(letter):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.25 if ord(letter) > 0xFFFF else 1.02
    return 0.72 if letter.isupper() else 0.62
