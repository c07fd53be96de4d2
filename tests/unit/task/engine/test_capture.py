"""What tasks print and log."""

import contextlib
import io
import logging
import sys
import threading

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


def test_each_thread_keeps_its_own_and_the_last_one_tidies_up() -> None:
    before = sys.stdout, sys.stderr, list(logging.root.handlers)
    both_are_open, first_is_done = threading.Barrier(2), threading.Event()
    kept: dict[str, str] = {}

    def say(name: str) -> None:
        print(name)
        logging.getLogger("shop").warning(name)

    def first() -> None:
        with Capture(is_shown=False) as capture:
            both_are_open.wait(10)
            say("first")
        kept["first"] = str(capture)
        first_is_done.set()

    def second() -> None:
        with Capture(is_shown=False) as capture:
            both_are_open.wait(10)
            assert first_is_done.wait(10)
            say("second")
        kept["second"] = str(capture)

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {name: f"{name}\nWARNING shop: {name}\n" for name in ("first", "second")} == kept
    assert before == (sys.stdout, sys.stderr, list(logging.root.handlers))


def test_what_a_thread_of_a_body_prints_is_kept() -> None:
    with Capture(is_shown=False) as capture:
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()

    assert "from a thread\n" == str(capture)


def test_a_block_within_a_block_shows_its_text_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Capture(is_shown=False) as outer:
        with Capture(is_shown=True) as inner:
            print("one")
        with Capture(is_shown=False):
            print("two")

    assert "one\n" == str(inner) == str(outer)
    assert "" == capsys.readouterr().out


def test_a_block_is_kept_where_the_output_is_redirected() -> None:
    with Capture(is_shown=False), contextlib.redirect_stdout(io.StringIO()) as file:
        with Capture(is_shown=True) as inner:
            print("one")
        print("two")

    assert "one\n" == str(inner)
    assert "one\ntwo\n" == file.getvalue()


def test_everything_is_as_before_afterwards() -> None:
    before = sys.stdout, sys.stderr, list(logging.root.handlers)

    with pytest.raises(ValueError, match="x"), Capture(is_shown=False), Capture(is_shown=False):
        raise ValueError("x")

    assert before == (sys.stdout, sys.stderr, list(logging.root.handlers))
