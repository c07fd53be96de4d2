"""What may follow a line that is being typed, from what is known of the commands.

A shell waits for this at each tab: no command is imported here. What they take is described once by
`tadka.cli.completion` and kept in a file; tasks are found by reading the files of the project.
"""

import contextlib
import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tadka.cli.find import Parameter, Project

Described = Mapping[str, Any]
"""A command as plain JSON; `describe` of tadka.cli.completion makes it."""

_BASES = {"dataset": "Dataset", "features": "Features", "task": "Task"}
"""What the classes that a noun takes as MODULE:NAME come from."""

_CLASSES = frozenset({"--force", "--ignore"})
"""Options whose values are names of classes."""

_NAMES = frozenset({"--keep"})
"""Options whose values are MODULE:NAME."""


def candidates(
    noun: Callable[[str], Described | None], line: str, folder: Path
) -> list[tuple[str, str]]:
    """What the last word of a line may be.

    Args:
        noun: Describes a command below the main one by its name, and the main one, without those
            below it, by `""`; None where there is no such command.
        line: The line up to the cursor; its first word is the command.
        folder: The working directory.

    Returns:
        Words with what is said of them; none where only a file can follow.
    """
    words = [word for word in _split(line)[1:] if word != "--debug"]
    current = words.pop() if words else ""
    name = words[0] if words and not words[0].startswith("-") else ""
    command = noun(name)
    words = words[1:] if name else words
    while command is not None and words and "commands" in command and words[0][:1] != "-":
        command = command["commands"].get(words.pop(0))
    if command is None:
        return []
    found = _Leaf(command, words, folder, _BASES.get(name)).candidates(current)
    return [(value, help_) for value, help_ in found if value.startswith(current)]


class Known:
    """Descriptions of commands, kept in a file as long as the commands are the same.

    Args:
        describe: Describes a command; called for what is not in the file.
    """

    def __init__(self, describe: Callable[[str], Described | None]) -> None:
        self._describe = describe
        base = Path(os.environ.get("TADKA_CACHE") or "~/.cache/tadka").expanduser()
        self._file = base / "completion.json"
        self._stamp = f"{_changed_ns()} {Path(__file__).parent}"
        self._known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
            found = json.loads(self._file.read_text(encoding="utf-8"))
            if found.get("stamp") == self._stamp:
                self._known = dict(found["commands"])

    def __call__(self, name: str) -> Described | None:
        """The description of a command by its name; None where there is none."""
        if name not in self._known:
            found = self._describe(name)
            if found is None:
                return None
            self._known[name] = found
            self._keep()
        described: Described = self._known[name]
        return described

    def _keep(self) -> None:
        """Writes the file; where that is not possible, the next tab takes as long as this one."""
        aside = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"stamp": self._stamp, "commands": self._known})
            aside.write_text(text, encoding="utf-8")
            aside.replace(self._file)


def _changed_ns() -> int:
    """When one of the commands was changed last."""
    with os.scandir(Path(__file__).parent) as files:
        return max(file.stat().st_mtime_ns for file in files if file.name.endswith(".py"))


class _Leaf:
    """The command that a line has come to, and what was typed behind it."""

    def __init__(
        self, command: Described, words: Sequence[str], folder: Path, base: str | None
    ) -> None:
        self._command = command
        self._options: dict[str, Described] = {
            name: one for one in command["options"] for name in one["names"]
        }
        self._arguments: Sequence[Described] = command["arguments"]
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
        if "commands" in self._command and not current.startswith("-"):
            below = self._command["commands"]
            return [(name, one["help"]) for name, one in below.items()]
        if current.startswith("-"):
            return self._names(is_own=is_own)
        return self._next_argument(current)

    def _needs_value(self, word: str, *, is_own: bool) -> bool:
        if "=" in word:
            return False
        if is_own and word in self._options:
            return not self._options[word]["is_flag"]
        found = self._parameters().get(_dashed(word))
        return found is None or not found.is_flag

    def _values(self, word: str, current: str, *, is_own: bool) -> Iterable[tuple[str, str]]:
        if is_own and word in self._options:
            if word in _CLASSES:
                return [(name, "") for name in self._of_project().class_names()]
            if word in _NAMES:
                return [(name, "") for name in self._of_project().names(current)]
            return [(value, help_) for value, help_ in self._options[word]["values"]]
        found = self._parameters().get(_dashed(word))
        return [] if found is None else [(value, "") for value in found.values]

    def _names(self, *, is_own: bool) -> Iterator[tuple[str, str]]:
        for name, one in self._parameters().items():
            yield name, one.help
        if is_own:
            for name, option in self._options.items():
                if name.startswith("--"):
                    yield name, option["help"]

    def _next_argument(self, current: str) -> Iterable[tuple[str, str]]:
        index = min(len(self._positional), len(self._arguments) - 1)
        if index < 0 or (index < len(self._positional) and not self._arguments[index]["is_many"]):
            return []
        argument = self._arguments[index]
        if argument["metavar"].startswith("MODULE:"):
            return [(name, "") for name in self._of_project().names(current)]
        return [(value, help_) for value, help_ in argument["values"]]

    def _of_project(self) -> Project:
        if self._project is None:
            self._project = Project(self._folder, self._base or "")
        return self._project

    def _parameters(self) -> dict[str, Parameter]:
        """Parameters of the class that was named, by option, where the command takes any."""
        if self._of_class is None:
            self._of_class = {}
            if self._base is not None and self._command["takes_more"]:
                named = next((word for word in self._words if ":" in word), None)
                if named is not None:
                    found = self._of_project().parameters(named)
                    self._of_class = {_dashed(f"--{one.name}"): one for one in found}
        return self._of_class


def _dashed(option: str) -> str:
    return option.replace("_", "-")


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
