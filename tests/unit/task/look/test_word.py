import math

import pytest

from tadka.task.look.word import (
    count,
    duration,
    fitted,
    many,
    moment,
    number,
    plain,
    printed,
    short_count,
    shown,
    size,
    width_of,
)


def test_nothing_is_hidden_in_a_plain_text() -> None:
    assert r"\u202ea\u0000\u001b[1m\n\t\ud800" == plain("\u202ea\0\x1b[1m\n\t\ud800")
    assert "a\nb\tc" == plain("a\nb\tc", has_lines=True)
    assert "مرحبا 東京 👨‍👩‍👧" == plain("مرحبا 東京 👨‍👩‍👧")
    assert "None" == plain(None)


def test_text_in_html_is_escaped_apart_and_cut() -> None:
    assert "<bdi>&lt;b&gt; &amp; &quot;</bdi>" == shown('<b> & "')
    cut = shown("<" * 300, 3)
    assert cut.endswith(">&lt;&lt;&lt;…</bdi>")
    assert 303 == cut.count("&lt;")
    assert len(shown("x" * 1_000_000)) < 3000


def test_what_was_printed_is_the_end_without_colours_and_overwritten_lines() -> None:
    text = "\x1b[32mone\x1b[0m\r\n 10 %\r100 %\nthree\x07\x1b]0;title\x07\n\n"

    assert ("one\n100 %\nthree\\u0007", 0) == printed(text, 5)
    assert ("100 %\nthree\\u0007", 1) == printed(text, 2)
    assert ("", 0) == printed("", 5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0, "<1 ms"), (0.0125, "12.5 ms"), (0.9996, "1 s"), (3.14159, "3.14 s"),
        (99.96, "1 min 40 s"), (125, "2 min 5 s"), (7500, "2 h 5 min"), (180_000, "2 d 2 h"),
        (math.nan, "-"), (math.inf, "-"),
    ],
)  # fmt: skip
def test_durations(value: float | None, text: str) -> None:
    assert text == duration(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (3 << 20, "3 MiB"),
     (1_048_575, "1 MiB"), (5 << 40, "5.0 TiB"), (3 << 60, "3,145,728.0 TiB")],
)  # fmt: skip
def test_sizes(value: int | None, text: str) -> None:
    assert text == size(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (12_500, "12.5k"), (1e300, "1e+300"), (-(10**400), "-huge"),
     (10**400, "huge"), (math.nan, "nan"), (True, "True"), ("x", "x"), (None, "None")],
)  # fmt: skip
def test_numbers(value: object, text: str) -> None:
    assert text == number(value)


def test_counts_and_moments() -> None:
    assert ("-", "1,200", "1,200", "12k") == (
        count(None), count(1200), short_count(1200), short_count(12_000)
    )  # fmt: skip
    assert ("1 class", "2,000 classes", "0 tasks") == (
        many(1, "class", "classes"), many(2000, "class", "classes"), many(0, "task")
    )  # fmt: skip
    assert "2026-09-21 14:13:20 UTC" == moment(1_790_000_000)
    assert ["-", "-", "-"] == [moment(None), moment(1e30), moment(math.nan)]


@pytest.mark.parametrize("text", ["Features", "x" * 99, "東" * 30, "👨‍👩‍👧" * 20, ""])
def test_a_fitted_text_is_no_wider_than_its_room(text: str) -> None:
    found = fitted(text, 12)

    assert width_of(found) <= 12.01
    assert found == text or found.endswith("…")
    assert text.startswith(found.removesuffix("…"))
