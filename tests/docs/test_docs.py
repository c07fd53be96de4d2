"""The docs tell the truth: their code compiles, and no command and no public name is left out."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pyarrow import parquet

from tests import source
from tests.models import ratings

PAGES = sorted(
    [
        source.ROOT / "README.md",
        source.ROOT / "CONTRIBUTING.md",
        *(source.ROOT / "docs").rglob("*.md"),
    ]
)
ROOMS = source.rooms()
FENCE = re.compile(r"^( *)```python[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def code_blocks() -> Iterator[tuple[str, str]]:
    """(place, code) of every fenced Python block."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            indent = len(match.group(1))
            code = "\n".join(row[indent:] for row in match.group(2).splitlines())
            yield f"{page.relative_to(source.ROOT)}:{line}", code


def without_prompts(code: str) -> str:
    """The statements of a doctest, or the code itself."""
    if not code.lstrip().startswith(">>>"):
        return code
    return "\n".join(row[4:] for row in code.splitlines() if row.startswith((">>> ", "... ")))


@pytest.mark.parametrize(
    ("place", "code"), [pytest.param(*block, id=block[0]) for block in code_blocks()]
)
def test_code_in_the_docs_compiles(place: str, code: str) -> None:
    compile(without_prompts(code), place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_first_example_of_tasks_builds(tmp_path: Path) -> None:
    code = next(code for place, code in code_blocks() if place.startswith("docs/task.md:"))
    (tmp_path / "clicks.py").write_text(code, encoding="utf-8")
    (tmp_path / "log").mkdir()
    for day in (1, 2):
        rows = [f"{user},{user * day if user % 3 else ''}" for user in range(20)]
        text = "\n".join(["user,item", *rows])
        (tmp_path / "log" / f"2026-11-0{day}.csv").write_text(text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "clicks.py"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("Train")


def test_the_template_of_models_is_short_and_keeps_its_promises(tmp_path: Path) -> None:
    code = next(code for place, code in code_blocks() if place.startswith("docs/models.md:"))
    text = (source.ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 40
    (tmp_path / "my_models.py").write_text(code, encoding="utf-8")
    (tmp_path / "product.yaml").write_text(found[1], encoding="utf-8")
    for seed, part in enumerate(("train", "test")):
        parquet.write_table(ratings(2000, seed=seed), tmp_path / f"{part}.parquet")
    program = """
import my_models
from tadka.models import train
from tadka.testing import check_model

fit = train("product.yaml", ["stream.on=here", "tracking.offline=true"], progress="none")
assert fit.metrics["auc"] > 0.6, fit.metrics
print(len(check_model("product", elsewhere=False)))
"""

    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert 0 == done.returncode, done.stderr
    assert int(done.stdout) >= 10


def commands(command: Any, name: str) -> Iterator[str]:
    """Full names of every command below `command`, as typed.

    Any, because newer Typers carry a click of their own instead of the installed one.
    """
    below = getattr(command, "commands", None)
    if below is None:
        yield name
        return
    for child, subcommand in below.items():
        if not subcommand.hidden:
            yield from commands(subcommand, f"{name} {child}")


def test_every_command_stands_in_the_docs() -> None:
    app = importlib.import_module("tadka.cli.app").app
    text = " ".join(page.read_text(encoding="utf-8") for page in PAGES)

    known = list(commands(typer.main.get_command(app), "tadka"))

    assert [] == [name for name in known if not re.search(rf"\b{name}\b", text)]


def test_every_make_target_in_the_docs_exists() -> None:
    makefile = (source.ROOT / "Makefile").read_text(encoding="utf-8")
    text = " ".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)make ([a-z]+)\b", text, re.MULTILINE))

    assert set() == named - set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_every_public_name_stands_on_the_page_of_its_room(room: str) -> None:
    page = source.ROOT / "docs" / f"{room}.md"
    assert page.is_file(), f"docs/{room}.md is missing; a room and its page bear the same name"
    words = set(re.findall(r"\w+", page.read_text(encoding="utf-8")))

    assert [] == [name for name in source.public_names(ROOMS[room]) if name not in words]


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(source.ROOT)} -> {target}")

    assert [] == broken


def test_no_page_names_a_path_of_somebodys_machine() -> None:
    private = re.compile(r"(?<![\w.])/(?:root|home|work|opt)/\w+")

    assert [] == [
        f"{page.name}: {match}"
        for page in PAGES
        for match in private.findall(page.read_text(encoding="utf-8"))
    ]
