"""What tasks print and log."""

import logging
import sys

import pytest

from tadka.task.engine.capture import MOST_CHARACTERS, Capture


def test_output_errors_and_records_are_kept_in_their_order() -> None:
    with Capture(is_shown=False) as capture:
        print("one")
        print("two", file=sys.stderr)
        logging.getLogger("shop").warning("three")

    assert "one\ntwo\nWARNING shop: three\n" == str(capture)


def test_it_is_shown_where_that_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with Capture(is_shown=False):
        print("hidden")
    with Capture(is_shown=True):
        print("shown")

    assert "shown\n" == capsys.readouterr().out


def test_the_end_of_a_long_text_is_kept() -> None:
    with Capture(is_shown=False) as capture:
        for number in range(100_000):
            print(number)

    text = str(capture)
    assert text.endswith("99999\n")
    assert text.startswith("[the beginning was left out]\n")
    assert len(text) < MOST_CHARACTERS + 100


def test_everything_is_as_before_afterwards() -> None:
    before = sys.stdout, sys.stderr, list(logging.root.handlers)

    with pytest.raises(ValueError, match="x"), Capture(is_shown=False), Capture(is_shown=False):
        raise ValueError("x")

    assert before == (sys.stdout, sys.stderr, list(logging.root.handlers))
