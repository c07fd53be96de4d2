"""`tadka new`: a project that works, to change into one's own."""

import contextlib
import keyword
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from tadka.core.error import ConfigError, DataError

_TEMPLATE = Path(__file__).parent / "template"
_FILES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "tadka.toml": "tadka.toml",
    "@package@/__init__.py": "init.py",
    "@package@/tasks.py": "tasks.py",
    "tests/test_tasks.py": "test_tasks.py",
    "Dockerfile": "Dockerfile",
    ".dockerignore": "dockerignore",
    ".gitignore": "gitignore",
    ".github/workflows/ci.yml": "ci.yml",
}
"""Each file of a project, and what it is made of: a text in the folder `template`."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([._-][A-Za-z0-9]+)*")
_TAKEN = frozenset({"tadka", "tests", "test", "workspace", "numpy", "pytest", "build", "dist"})

app = typer.Typer(name="new", rich_markup_mode=None, add_completion=False)


def names_of(folder: Path) -> tuple[str, str]:
    """The names of the project and of the package in a folder.

    Args:
        folder: Of the project.

    Raises:
        ConfigError: Its name cannot be that of a package.
    """
    project = folder.name
    package = re.sub(r"[^a-z0-9]+", "_", project.lower())
    if _NAME.fullmatch(project) is None:
        raise ConfigError(
            f"Project {project!r} cannot be the name of a package; it must begin with a letter "
            "and have letters, digits, '-', '_' and '.' between them, such as 'shop-features'."
        )
    if keyword.iskeyword(package) or package in _TAKEN | sys.stdlib_module_names:
        raise ConfigError(
            f"Project {project!r} would have a package {package!r}, and an import of that name "
            f"means something else. Choose another, such as '{project}-tasks'."
        )
    return project, package


def write_project(folder: Path) -> list[Path]:
    """Writes a new project.

    Args:
        folder: Made here; one that exists must be empty.

    Returns:
        Its files.

    Raises:
        ConfigError: The folder is not empty, or its name cannot be that of a package.
        DataError: It cannot be written; nothing is left there.
    """
    folder = folder.expanduser().absolute().resolve()
    project, package = names_of(folder)
    written: list[Path] = []
    made: list[Path] = []
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            state = "is not empty" if folder.is_dir() else "is a file"
            raise ConfigError(f"{str(folder)!r} {state}; a new project needs a folder of its own.")
        for name, template in _FILES.items():
            text = (_TEMPLATE / f"{template}.txt").read_text(encoding="utf-8")
            file = folder / name.replace("@package@", package)
            _make(file.parent, made)
            written.append(file)
            filled = text.replace("@package@", package).replace("@project@", project)
            file.write_text(filled, encoding="utf-8")
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise DataError(
            f"Project {str(folder)!r} cannot be written: {error.strerror or error}."
        ) from error
    return written


def _make(folder: Path, made: list[Path]) -> None:
    """Makes a folder and those above it, and remembers which."""
    if not folder.is_dir():
        _make(folder.parent, made)
        folder.mkdir()
        made.append(folder)


@app.command(
    epilog="""\b
    Examples:
      tadka new shop
      cd shop && tadka task run shop.tasks:Report"""
)
def new(
    project: Annotated[Path, typer.Argument(help="Its folder; its name is that of the project.")],
) -> None:
    """Write a project: tasks on made-up data, tests, settings, Dockerfile and CI workflow."""
    files = write_project(project)
    package = files[3].parent.name
    folder = project.expanduser().absolute().resolve()
    for file in files:
        typer.echo(f"wrote    {project / file.relative_to(folder)}")
    enter = "" if folder == Path.cwd() else f"cd {project} && "
    typer.echo(f"next     {enter}tadka task run {package}.tasks:Report")
