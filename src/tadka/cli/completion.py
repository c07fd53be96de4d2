"""`tadka completion`: what the shell needs to complete commands, tasks and their parameters.

The script that a shell loads asks this command what may follow the line typed so far. Commands and
options are those of the commands themselves; tasks are found by reading the files of the project.
"""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tadka.cli.find import Parameter, Project

_SCRIPTS = Path(__file__).parent / "template"
_BASES = {"dataset": "Dataset", "features": "Features", "task": "Task"}
"""What the classes that a noun takes as MODULE:NAME come from."""

_CLASSES = frozenset({"--force", "--ignore"})
"""Options whose values are names of classes."""

_NAMES = frozenset({"--keep"})
"""Options whose values are MODULE:NAME."""

app = typer.Typer(name="completion", rich_markup_mode=None, add_completion=False)


class Shell(StrEnum):
    """A shell that completes words."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def candidates(root: Any, line: str, folder: Path) -> list[tuple[str, str]]:
    """What the last word of a line may be.

    Args:
        root: The main command, as typer has it.
        line: The line up to the cursor; its first word is the command.
        folder: The working directory.

    Returns:
        Words with what is said of them; none where only a file can follow.
    """
    words = [word for word in _split(line)[1:] if word != "--debug"]
    current = words.pop() if words else ""
    command, path = root, []
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        try:
            command = command.commands[words[0]]
        except KeyError:
            return []
        path.append(words.pop(0))
    base = _BASES.get(path[0]) if path else None
    found = _Leaf(command, words, folder, base).candidates(current)
    return [(value, help_) for value, help_ in found if value.startswith(current)]


class _Leaf:
    """The command that a line has come to, and what was typed behind it."""

    def __init__(self, command: Any, words: Sequence[str], folder: Path, base: str | None) -> None:
        self._command = command
        self._context = typer.Context(command, resilient_parsing=True)
        parameters = command.get_params(self._context)
        self._options = {
            name: one
            for one in parameters
            if one.param_type_name == "option" and not one.hidden
            for name in (*one.opts, *one.secondary_opts)
        }
        self._arguments = [one for one in parameters if one.param_type_name == "argument"]
        self._folder, self._base = folder, base
        self._project: Project | None = None
        self._of_class: dict[str, Parameter] | None = None
        self._words = words
        self._positional: list[str] = []

    def candidates(self, current: str) -> Iterable[tuple[str, str]]:
        """What may come next, whatever was typed of it."""
        is_own = True  # after "--" options are those of the class
        waiting = None
        for word in self._words:
            if waiting is not None:
                waiting = None
            elif word == "--":
                is_own = False
            elif word.startswith("-") and len(word) > 1:
                waiting = word if self._needs_value(word, is_own=is_own) else None
            else:
                self._positional.append(word)
        if waiting is not None:
            return self._values(waiting, current, is_own=is_own)
        name, equals, text = current.partition("=")
        if equals and name.startswith("--"):
            found = self._values(name, text, is_own=is_own)
            return [(f"{name}={value}", help_) for value, help_ in found]
        if hasattr(self._command, "commands") and not current.startswith("-"):
            return _commands(self._command)
        if current.startswith("-"):
            return self._names(is_own=is_own)
        return self._next_argument(current)

    def _needs_value(self, word: str, *, is_own: bool) -> bool:
        if "=" in word:
            return False
        if is_own and word in self._options:
            option = self._options[word]
            return not (option.is_flag or option.count)
        found = self._parameters().get(_dashed(word))
        return found is None or not found.is_flag

    def _values(self, word: str, current: str, *, is_own: bool) -> Iterable[tuple[str, str]]:
        if is_own and word in self._options:
            if word in _CLASSES:
                return [(name, "") for name in self._of_project().class_names()]
            if word in _NAMES:
                return [(name, "") for name in self._of_project().names(current)]
            items = self._options[word].shell_complete(self._context, "")
            return [(str(item.value), item.help or "") for item in items if item.type == "plain"]
        found = self._parameters().get(_dashed(word))
        return [] if found is None else [(value, "") for value in found.values]

    def _names(self, *, is_own: bool) -> Iterator[tuple[str, str]]:
        for name, one in self._parameters().items():
            yield name, one.help
        if is_own:
            for name, option in self._options.items():
                if name.startswith("--"):
                    yield name, option.help or ""

    def _next_argument(self, current: str) -> Iterable[tuple[str, str]]:
        index = min(len(self._positional), len(self._arguments) - 1)
        if index < 0 or (index < len(self._positional) and self._arguments[index].nargs != -1):
            return []
        argument = self._arguments[index]
        if (argument.metavar or "").startswith("MODULE:"):
            return [(name, "") for name in self._of_project().names(current)]
        items = argument.shell_complete(self._context, "")
        return [(str(item.value), item.help or "") for item in items if item.type == "plain"]

    def _of_project(self) -> Project:
        if self._project is None:
            self._project = Project(self._folder, self._base or "")
        return self._project

    def _parameters(self) -> dict[str, Parameter]:
        """Parameters of the class that was named, by option, where the command takes any."""
        if self._of_class is None:
            self._of_class = {}
            if self._base is not None and self._command.context_settings.get(
                "ignore_unknown_options"
            ):
                named = next((word for word in self._words if ":" in word), None)
                if named is not None:
                    found = self._of_project().parameters(named)
                    self._of_class = {_dashed(f"--{one.name}"): one for one in found}
        return self._of_class


def _dashed(option: str) -> str:
    return option.replace("_", "-")


def _commands(group: Any) -> Iterator[tuple[str, str]]:
    """Commands with what the help says of them; nouns are not imported for that."""
    told = getattr(group, "told", {})
    for name in group.commands:
        command = None if name in told else group.commands[name]
        if command is None or not command.hidden:
            text = told[name] if command is None else command.get_short_help_str(80)
            yield name, text


def _split(line: str) -> list[str]:
    """Words as a shell makes them; the last one may be open, or empty."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:  # a quote is open
        return [*words, lexer.token]
    is_open = bool(line) and not line[-1].isspace()
    return words if is_open or line.endswith("\\ ") else [*words, ""]


@app.command(
    epilog="""\b
    Examples:
      eval "$(tadka completion bash)"           # in ~/.bashrc
      eval "$(tadka completion zsh)"            # in ~/.zshrc
      tadka completion fish | source            # in ~/.config/fish/config.fish"""
)
def completion(
    context: typer.Context,
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
    for value, told in candidates(context.find_root().command, line, Path.cwd()):
        sys.stdout.write(f"{value}\t{' '.join(told.split())}\n")
