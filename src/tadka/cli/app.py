"""The main command: its nouns, and how it ends.

A noun is imported when it is asked for: what the others need is no part of its start.

Status 0 is success, 1 failed work, 2 wrong usage, 130 an interrupt. What went wrong is one line on
standard error; the message of a StageError holds the user's own traceback and is shown whole.
"""

import sys
import traceback
from collections import UserDict
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tadka.core.error import ConfigError, StageError, TadkaError
from tadka.core.extra import require

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
_DEBUG = "--debug"

# typer has had its own copy of click since 0.25, so that what BadParameter derives from is the one
# way to name the class of all usage errors in every version.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


_NOUNS = {
    "demo": "Train a Factorization Machine on film ratings, predict, and write a report.",
    "dataset": "Write training data by definition, and look at what was written.",
    "features": "Look at a feature class, prove it on data, write its .proto file.",
    "score": "Train, apply and look at models without a framework.",
    "model": "Train, judge and apply models, check their data, and look at runs and versions.",
    "serve": "Answer live requests. Without a command: run.",
    "task": "Build tasks whose results are kept, say why they run, and look at what is stored.",
    "new": "Write a project: tasks on made-up data, tests, settings, Dockerfile and CI workflow.",
    "completion": "Print the script that completes commands, tasks and parameters in a shell.",
}
"""Modules beside this one, each with its `app`, and what the help says of them."""


class _Commands(UserDict[str, Any]):
    """Commands by name; those of nouns are None until they are asked for."""

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            module = require(f"tadka.cli.{name}", extra="all")
            self.data[name] = typer.main.get_command(module.app)
        return self.data[name]


class _Root(TyperGroup):
    """Imports nouns late, and turns errors into one line and a status."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands({**dict.fromkeys(_NOUNS), **self.commands})
        self.told = _NOUNS

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - of typer
        """Writes the nouns into the help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_NOUNS.items()))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        is_debug = _DEBUG in words  # before or after the noun: both are natural
        words = [word for word in words if word != _DEBUG]
        try:
            status = super().main(
                words,
                prog_name or "tadka",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except Exception as error:  # noqa: BLE001 - the shell's border: errors become a status
            if is_debug:
                traceback.print_exception(error)
            status = _report(error, is_debug=is_debug)
        else:
            if status == INTERRUPTED:  # typer has made a status of Ctrl-C already
                _print("Interrupted.")
        if not standalone_mode:
            return status
        sys.exit(status if isinstance(status, int) else 0)


def _report(error: Exception, *, is_debug: bool) -> int:
    """Prints the one line, and gives the status."""
    if isinstance(error, _UsageError):
        if type(error).__name__ == "NoArgsIsHelpError":  # a noun without its verb: its message
            typer.echo(error.format_message(), err=True)  # type: ignore[attr-defined]
            return WRONG_USAGE
        message = _one_line(error.format_message())  # type: ignore[attr-defined]
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "tadka"
        end = "" if message.endswith("?") else "."
        _print(f"{message.rstrip('.')}{end} Try: {command} --help")
        return WRONG_USAGE
    if isinstance(error, typer.Abort | KeyboardInterrupt):
        _print("Interrupted.")
        return INTERRUPTED
    if isinstance(error, StageError):
        _print(str(error))
        return FAILED
    if isinstance(error, TadkaError):
        _print(_one_line(str(error)))
        return WRONG_USAGE if isinstance(error, ConfigError) else FAILED
    if isinstance(error, OSError):
        _print(_one_line(f"{error}."))
        return FAILED
    hint = "" if is_debug else f" Run it again with {_DEBUG} for the traceback, and report it."
    _print(_one_line(f"Unexpected {type(error).__name__}: {error}.{hint}"))
    return FAILED


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _print(text: str) -> None:
    typer.echo(f"tadka: {text}", err=True)


app = typer.Typer(
    name="tadka",
    cls=_Root,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    invoke_without_command=True,
    epilog="""\b
    Examples:
      tadka demo
      tadka demo --help""",
)
def root(
    context: typer.Context,
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(_DEBUG, help="Show tracebacks; may also follow the command.")
    ] = False,
) -> None:
    """Tables in, a model that answers live traffic out."""
    del debug  # taken out of the words by _Root.main; declared here for the help
    if show_version:
        typer.echo(f"tadka {version('tadka')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(WRONG_USAGE)


def main() -> None:
    """Runs the command line with the arguments of this process, and exits with its status."""
    app()
