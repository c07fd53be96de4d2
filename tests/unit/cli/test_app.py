import subprocess
import sys
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner

from tadka.cli.app import app
from tadka.core.error import ConfigError, DataError, StageError

runner = CliRunner()


def app_that_raises(error: BaseException) -> typer.Typer:
    """The real main command with one more noun, which fails."""
    broken = typer.Typer(cls=app.info.cls, pretty_exceptions_enable=False)
    broken.callback()(lambda: None)

    @broken.command("fail")
    def fail() -> None:
        raise error

    return broken


def test_the_version_is_printed() -> None:
    result = runner.invoke(app, ["--version"])

    assert 0 == result.exit_code
    assert result.stdout.startswith("tadka 0.")


def test_help_names_every_command_and_shows_examples() -> None:
    result = runner.invoke(app, ["--help"])

    assert 0 == result.exit_code
    shown = " ".join(result.stdout.split())
    for noun in ("demo Train a Factorization", "features Look at", "score Train, apply"):
        assert noun in shown
    assert "Examples:\n    tadka demo\n" in result.stdout


def test_help_says_of_each_noun_what_the_noun_says() -> None:
    group = typer.main.get_command(app)
    context = group.make_context("tadka", ["--version"], resilient_parsing=True)
    shown = " ".join(group.get_help(context).split())

    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert f"{name} {command.get_short_help_str(1000)}" in shown


def test_a_noun_is_imported_when_it_is_asked_for() -> None:
    code = """
import sys
from tadka.cli.app import app
for words in (["--help"], ["score", "--help"]):
    app(words, standalone_mode=False)
    print(sorted(name for name in sys.modules if name.startswith("tadka.cli.")), file=sys.stderr)
"""
    always = ["tadka.cli.app", "tadka.cli.complete", "tadka.cli.find"]
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stderr.splitlines()

    assert str([*always, "tadka.cli.start"]) == told[0]
    assert str([*always, "tadka.cli.option", "tadka.cli.score", "tadka.cli.start"]) == told[1]


def test_no_command_is_wrong_usage_and_shows_the_help() -> None:
    result = runner.invoke(app, [])

    assert 2 == result.exit_code
    assert "Usage: tadka" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dmo"], "No such command 'dmo'"),
        (["demo", "--epochs", "0"], "'--epochs'"),
        (["demo", "--epochs", "many"], "'--epochs'"),
        (["demo", "--ratings", "no such folder"], "does not exist"),
        (["demo", "--progress", "loud"], "'--progress'"),
        (["demo", "--colour"], "--colour"),
        (["demo", "extra"], "extra"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(words: list[str], message: str) -> None:
    result = runner.invoke(app, words)

    assert 2 == result.exit_code
    assert 1 == result.stderr.count("\n")
    assert result.stderr.startswith("tadka: ")
    assert message in result.stderr
    assert result.stderr.endswith("--help\n")
    assert "" == result.stdout


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("File 'a' is\nbroken."), 1, "File 'a' is broken."),
        (ConfigError("Wrong."), 2, "Wrong."),
        (OSError(28, "No space left on device"), 1, "[Errno 28] No space left on device."),
        (KeyError("x"), 1, "Unexpected KeyError: 'x'. Run it again with --debug"),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_failed_work_is_one_line_without_a_traceback(
    error: BaseException, status: int, message: str
) -> None:
    result = runner.invoke(app_that_raises(error), ["fail"])

    assert status == result.exit_code
    assert 1 == result.stderr.count("\n")
    assert result.stderr.startswith(f"tadka: {message}")


@pytest.mark.parametrize("words", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_the_traceback_before_the_line(words: list[str]) -> None:
    result = runner.invoke(app_that_raises(DataError("Broken.")), words)

    assert 1 == result.exit_code
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("tadka: Broken.\n")


def test_the_users_own_traceback_is_always_shown_whole() -> None:
    message = "Stage 'preprocess' failed:\n  File user.py, line 3\nZeroDivisionError"

    result = runner.invoke(app_that_raises(StageError(message)), ["fail"])

    assert 1 == result.exit_code
    assert f"tadka: {message}\n" == result.stderr


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_installed_command_ends_with_the_status() -> None:
    done = run_python("import sys; sys.argv[1:] = ['nonsense']; from tadka.cli import main; main()")

    assert 2 == done.returncode
    assert "tadka: No such command 'nonsense'" in done.stderr


def test_help_loads_no_library_of_an_extra() -> None:
    done = run_python(
        "import sys; sys.argv[1:] = ['demo', '--help']; from tadka.cli import main\n"
        "try: main()\n"
        "except SystemExit: print({'pyarrow', 'zmq', 'torch'} & set(sys.modules))"
    )

    assert done.stdout.endswith("set()\n")


def test_what_a_command_returns_is_no_status() -> None:
    odd = typer.Typer(cls=app.info.cls)
    odd.callback()(lambda: None)
    answer: Callable[[], str] = lambda: "text"  # noqa: E731 - a command that returns something
    odd.command("answer")(answer)

    assert 0 == runner.invoke(odd, ["answer"]).exit_code
