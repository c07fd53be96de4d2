"""`tadka completion`: what the shell needs to complete commands, tasks and their parameters.

The script that a shell loads asks `tadka completion SHELL --line LINE` what may follow the line
typed so far, which tadka.cli.start answers before typer is loaded.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tadka.cli.complete import Described
from tadka.cli.start import tell
from tadka.core.extra import require

_SCRIPTS = Path(__file__).parent / "template"
app = typer.Typer(name="completion", rich_markup_mode=None, add_completion=False)


class Shell(StrEnum):
    """A shell that completes words."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def describe(name: str) -> Described | None:
    """A command below the main one, with all below it, as plain JSON.

    Args:
        name: Of it; `""` for the main one, of which the commands below are named only.

    Returns:
        None where there is no such command.
    """
    root: Any = typer.main.get_command(require("tadka.cli.app").app)
    if not name:
        below = {noun: {"help": told} for noun, told in root.told.items()}
        return {**_described(root, with_commands=False), "commands": below}
    return _described(root.commands[name]) if name in root.commands else None


def _described(command: Any, *, with_commands: bool = True) -> dict[str, Any]:
    context = typer.Context(command, resilient_parsing=True)
    parameters = command.get_params(context)
    found: dict[str, Any] = {
        "help": command.get_short_help_str(80),
        "takes_more": bool(command.context_settings.get("ignore_unknown_options")),
        "options": [
            {
                "names": [*one.opts, *one.secondary_opts],
                "help": one.help or "",
                "is_flag": bool(one.is_flag or one.count),
                "values": _values(one, context),
            }
            for one in parameters
            if one.param_type_name == "option" and not one.hidden
        ],
        "arguments": [
            {
                "metavar": one.metavar or "",
                "is_many": one.nargs == -1,
                "values": _values(one, context),
            }
            for one in parameters
            if one.param_type_name == "argument"
        ],
    }
    if with_commands and hasattr(command, "commands"):
        below = {name: one for name, one in command.commands.items() if not one.hidden}
        found["commands"] = {name: _described(one) for name, one in below.items()}
    return found


def _values(parameter: Any, context: Any) -> list[tuple[str, str]]:
    items = parameter.shell_complete(context, "")
    return [(str(item.value), item.help or "") for item in items if item.type == "plain"]


@app.command(
    epilog="""\b
    Examples:
      eval "$(tadka completion bash)"           # in ~/.bashrc
      eval "$(tadka completion zsh)"            # in ~/.zshrc
      tadka completion fish | source            # in ~/.config/fish/config.fish"""
)
def completion(
    shell: Annotated[Shell, typer.Argument(help="Which shell.", show_default=False)],
    *,
    line: Annotated[
        str | None,
        typer.Option(help="Say what may follow this line; for the script.", hidden=True),
    ] = None,
) -> None:
    """Print the script that completes commands, tasks and parameters in a shell."""
    if line is None:
        script = (_SCRIPTS / f"completion.{shell.value}").read_text(encoding="utf-8")
        typer.echo(script, nl=False)
        return
    tell(line)
