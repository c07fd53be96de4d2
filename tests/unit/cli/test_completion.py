import os
import pty
import select
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from tadka.cli.complete import Known, candidates
from tadka.cli.completion import describe
from tadka.cli.find import Project
from tests.command import TADKA, run_command

TASKS = """
from datetime import date
from enum import Enum
from typing import ClassVar, Literal

from tadka.task import Task as Root, Task, param


class Mode(Enum):
    FAST = 1
    SLOW = 2


class Clicks(Task[dict[str, tuple[int, int]]]):
    day: date = param(help="Of the log.")
    mode: Mode = Mode.FAST
    _hidden: ClassVar[int] = 1


class Base(
    Task[int],  # of several
):
    kind: Literal["a", "b c"] = "a"


class Features(Base):
    clicks: Clicks
    is_deep: bool = False
    LIMIT: "ClassVar[int]" = 3


class _Private(Task[int]):
    pass


class Plain(dict[str, int]):
    pass


month = Features(clicks=Clicks(day=date(2026, 1, 1)))
number = int("3")
"""
MORE = (
    "import tadka\nfrom shop.tasks import Features\n\n\nclass Wide(Features):\n    size: int = 1\n"
)


DESCRIBED = cache(describe)  # once for all lines that are tried here


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project whose modules would not import."""
    folder = tmp_path_factory.mktemp("completion")
    for name, text in {
        "shop/__init__.py": "raise SystemExit",
        "shop/tasks.py": TASKS,
        "src/more/wide.py": MORE,
        "broken.py": "from tadka.task import Task\nclass Broken(Task[int]:\n",
        "other.py": "import luigi\nclass Alien(luigi.Task):\n    pass\n",
        "env/pyvenv.cfg": "",
        "env/lib.py": TASKS,
        ".hidden/lib.py": TASKS,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "binary.py").write_bytes(b"\xff\xfe\x00class X(Task):")
    (folder / "a folder").mkdir()
    return folder


def complete(line: str, folder: Path) -> list[str]:
    found = candidates(DESCRIBED, line, folder)
    return [value for value, _ in found]


# ---------------------------------------------------------------- what is found


def test_tasks_are_found_without_running_the_project(place: Path) -> None:
    assert [
        "more.wide:Wide",
        "shop.tasks:Base",
        "shop.tasks:Clicks",
        "shop.tasks:Features",
        "shop.tasks:month",
    ] == sorted(Project(place, "Task").names())
    assert ["shop/tasks.py:Clicks"] == Project(place, "Task").names("shop/tasks.py:C")
    assert [] == Project(place, "Task").names("gone.py:")


def test_parameters_are_those_of_bases_and_of_tasks_that_are_needed(place: Path) -> None:
    found = Project(place, "Task").parameters("more.wide:Wide")

    assert ["kind", "clicks", "is_deep", "size", "clicks.day", "clicks.mode"] == [
        one.name for one in found
    ]
    by_name = {one.name: one for one in found}
    assert ("a", "b c") == by_name["kind"].values
    assert ("FAST", "SLOW") == by_name["clicks.mode"].values
    assert "Of the log." == by_name["clicks.day"].help
    assert by_name["is_deep"].is_flag
    assert [] == Project(place, "Task").parameters("shop.tasks:Plain")
    month = Project(place, "Task").parameters("shop.tasks:month")
    assert "clicks.day" in [one.name for one in month]


def test_a_task_that_needs_its_own_class_ends(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(
        "from tadka.task import Task\n"
        "class A(B): x: int\n"
        "class B(A): pass\n"
        "class Link(Task[int]):\n    before: 'Link | None' = None\n    n: int = 1\n"
        "class C(Link, C): pass\n"
    )

    names = [one.name for one in Project(tmp_path, "Task").parameters("loop:Link")]

    assert 8 == len(names)
    assert "before.before.before.n" in names


# ---------------------------------------------------------------- what may follow a line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tadka da", ["dataset"]),
        ("/usr/bin/tadka --debug da", ["dataset"]),
        ("tadka dataset wri", ["write"]),
        ("tadka nothing ", []),
        ("tadka completion ", ["bash", "zsh", "fish"]),
        ("tadka completion bash ", []),
        ("tadka dataset write x out --engine ", ["duckdb", "spark"]),
        ("tadka dataset write x out --engine=s", ["--engine=spark"]),
        ("tadka dataset write x out --engine spark --acc", ["--accept-changed"]),
        ("tadka dataset write 'a b", []),
        ("tadka new ", []),
        ("tadka --ver", ["--version"]),
        ("tadka task run shop.tasks:F", ["shop.tasks:Features"]),
        ("tadka task why shop/tasks.py:F", ["shop/tasks.py:Features"]),
        ("tadka task run shop.tasks:Features --cl", ["--clicks", "--clicks.day", "--clicks.mode"]),
        ("tadka task run shop.tasks:Features --clicks.mode ", ["FAST", "SLOW"]),
        ("tadka task run shop.tasks:Features --clicks.mode=S", ["--clicks.mode=SLOW"]),
        ("tadka task run shop.tasks:Features --is-deep --kind ", ["a", "b c"]),
        ("tadka task run shop.tasks:Features --is_deep --is", ["--is-deep"]),
        ("tadka task run shop.tasks:Features -- --wor", []),
        ("tadka task run shop.tasks:Features --day x --wor", ["--workspace", "--workers"]),
        ("tadka task run x --force Fea", ["Features"]),
        ("tadka task run x --on-code-change w", ["warn"]),
        ("tadka task gc --keep shop.tasks:m", ["shop.tasks:month"]),
        ("tadka task runs ", ["list", "show", "diff"]),
        ("tadka task ls ", []),
    ],
)
def test_commands_options_and_choices(place: Path, line: str, expected: list[str]) -> None:
    assert expected == complete(line, place)


def test_every_noun_is_told_with_its_help() -> None:
    found = dict(candidates(DESCRIBED, "tadka ", Path()))

    assert {"dataset", "demo", "new"} < set(found)
    assert "Train, apply and look at models without a framework." == found["score"]


def test_hidden_options_are_not_told(place: Path) -> None:
    assert ["--help"] == complete("tadka completion bash --", place)


def test_an_unknown_shell_is_wrong_usage(place: Path) -> None:
    done = run_command(place, "completion", "tcsh")

    assert 2 == done.returncode
    assert "tcsh" in done.stderr


# ---------------------------------------------------------------- what is kept


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of descriptions."""
    monkeypatch.setenv("TADKA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "completion.json"


def test_commands_are_described_once(kept: Path) -> None:
    asked: list[str] = []

    def tell(name: str) -> dict[str, str] | None:
        asked.append(name)
        return None if name == "gone" else {"help": name}

    for _ in range(2):
        known = Known(tell)
        assert [{"help": "a"}, {"help": "b"}, None] == [known("a"), known("b"), known("gone")]
    assert ["a", "b", "gone", "gone"] == asked

    kept.write_text(kept.read_text().replace('"stamp": "', '"stamp": "another '))
    Known(tell)("a")
    assert 5 == len(asked)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"stamp": 1}', "\x00"])
def test_a_damaged_file_of_descriptions_is_written_anew(kept: Path, text: str) -> None:
    kept.parent.mkdir()
    kept.write_text(text)

    assert {"help": "a"} == Known(lambda name: {"help": name})("a")
    assert "stamp" in kept.read_text()


def test_a_folder_that_cannot_be_written_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TADKA_CACHE", str(tmp_path / "file" / "cache"))

    assert {"help": "a"} == Known(lambda name: {"help": name})("a")


def test_the_second_tab_loads_no_command(place: Path, kept: Path) -> None:
    code = (
        "import sys; from tadka.cli import main; main()\n"
        "print(*sorted({'typer', 'pydantic', 'rich', 'numpy', 'yaml'} & set(sys.modules)))"
    )
    words = ["-c", code, "completion", "bash", "--line", "tadka task run shop.tasks:Cl"]
    told = [
        subprocess.run(
            [sys.executable, *words],
            cwd=place,
            env=environment_in(kept.parent.parent),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for _ in range(2)
    ]

    assert "shop.tasks:Clicks\t" == told[0][0]
    assert ["shop.tasks:Clicks\t", ""] == told[1]


# ---------------------------------------------------------------- shells


def environment_in(home: Path) -> dict[str, str]:
    """Of a shell that finds `tadka` as these tests do."""
    return {
        **os.environ,
        "PATH": f"{TADKA.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(str(Path(one).resolve()) for one in sys.path if one),
        "HOME": str(home),
        "ZDOTDIR": str(home),
        "TERM": "dumb",
    }


def completed(words: list[str], line: str, folder: Path, last: str) -> str:
    """A line as a shell has it after a tab: it is typed behind `printf` and sent off.

    Args:
        words: Of the shell.
        line: As typed.
        folder: Where the shell runs.
        last: The word that the tab is to give; nothing is typed until it is shown, because shells
            drop what is typed while they complete.
    """
    environment = environment_in(folder)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(words[0], words, environment)
    shown = b""

    def read_until(text: str, seconds: float) -> None:
        nonlocal shown
        end = time.monotonic() + seconds
        while text.encode() not in shown and (left := end - time.monotonic()) > 0:
            if select.select([terminal], [], [], left)[0]:
                shown += os.read(terminal, 1 << 16)

    try:
        read_until("READY", 60)
        os.write(terminal, f"{line}\t".encode())
        read_until(last.rpartition(" ")[2], 20)
        os.write(terminal, b"\x01printf '[%s]' \x05 '' END; exit\n")
        read_until("[END]", 60)
    except OSError:  # by which Linux says that it has ended
        pass
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    return shown.decode(errors="replace")


def words_of(shown: str) -> list[str]:
    return shown[shown.rindex("[tadka]") :].partition("[]")[0].strip("[]/").split("][")


BASH = """
eval "$(tadka completion bash)"
PS1=READY; bind 'set enable-bracketed-paste off'
"""
ZSH = """
autoload -Uz compinit && compinit -u
eval "$(tadka completion zsh)"
PS1=READY; unsetopt zle_bracketed_paste prompt_cr prompt_sp; bindkey -e
"""
CASES = [
    ("tadka datas", ["tadka", "dataset"]),
    ("tadka dataset check shop.tables:Tr", ["tadka", "dataset", "check", "shop.tables:Train"]),
    ("tadka dataset check x --engine=sp", ["tadka", "dataset", "check", "x", "--engine=spark"]),
    ("tadka task run shop.ja", ["tadka", "task", "run", "shop.jam:Jam"]),
    ("tadka task run shop.jam:Jam --su", ["tadka", "task", "run", "shop.jam:Jam", "--sugar"]),
    ("tadka new a", ["tadka", "new", "a folder"]),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "rc").write_text(BASH)
    (folder / ".zshrc").write_text(ZSH)
    (folder / "shop").mkdir()
    (folder / "shop" / "tables.py").write_text(
        "from tadka.dataset import Dataset\nclass Train(Dataset):\n    pass\n"
    )
    (folder / "shop" / "jam.py").write_text(
        "from tadka.task import Task\nclass Jam(Task[int]):\n    sugar: int = 1\n"
    )
    (folder / "a folder").mkdir()
    return folder


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash_completes(home: Path, line: str, expected: list[str]) -> None:
    shown = completed(["bash", "--rcfile", "rc", "-i"], line, home, expected[-1])

    assert expected == words_of(shown)


@pytest.mark.needs_shells
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_zsh_completes(home: Path, line: str, expected: list[str]) -> None:
    shown = completed(["zsh", "-d", "-i"], line, home, expected[-1])

    assert expected == words_of(shown)


@pytest.mark.needs_shells
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_fish_completes(home: Path, line: str, expected: list[str]) -> None:
    fish = shutil.which("fish") or "/usr/bin/fish"
    code = f"tadka completion fish | source; complete --do-complete '{line}'"
    done = subprocess.run(
        [fish, "--no-config", "--command", code],
        cwd=home,
        env=environment_in(home),
        capture_output=True,
        text=True,
        check=True,
    )

    assert expected[-1].replace(" ", "\\ ") in done.stdout or expected[-1] in done.stdout
