"""Which modules are a project's own, what they are called, and where a name in them comes from."""

import ast
import functools
import importlib.util
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from tadka.task.code.source import source_of_module

_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_MAIN = frozenset({"__main__", "__mp_main__"})
_ENGINE = "tadka"


def module_name(name: str) -> str:
    """The name under which a module is imported, also where it is the program that runs.

    `python shop/features.py` and `python -m shop.features` are `shop.features`, if there is a
    `shop/__init__.py`. A notebook stays `__main__`.
    """
    if name not in _MAIN or name not in sys.modules:
        return name
    main = sys.modules[name]
    if (spec := getattr(main, "__spec__", None)) is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return name if file is None else _name_of_file(file)


@functools.cache
def _name_of_file(file: str) -> str:
    path = Path(file).resolve()
    parts = [path.stem]
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        parts.append(folder.name)
    return ".".join(reversed(parts))


class Project:
    """The modules whose code counts: all but the standard library, installed packages and tadka.

    Installed is what lies below `site-packages` or `dist-packages`; a package that is installed
    for editing lies elsewhere, and counts.

    Args:
        modules: One module of each top-level package that belongs to the project.
    """

    def __init__(self, modules: list[str]) -> None:
        self._tops = frozenset(module_name(name).partition(".")[0] for name in modules)
        folders = (_folder(name) for name in modules)
        self.folders = tuple(dict.fromkeys(folder for folder in folders if folder))
        self._owned: dict[tuple[str, object], bool] = {}

    def owns(self, name: object, file: object = None) -> bool:
        """Whether a module is part of the project.

        Args:
            name: Of the module, which need not be loaded.
            file: Of the module, where importing its name would not find it.
        """
        if not isinstance(name, str):
            return False
        module = sys.modules.get(name)
        place = _place(module) or file
        if (name, place) not in self._owned:
            self._owned[name, place] = self._find(name, place)
        return self._owned[name, place]

    def relative(self, text: str) -> str | None:
        """A path without the folder of the project, which is another on each machine."""
        for folder in self.folders:
            if text == str(folder) or text.startswith(f"{folder}/"):
                return text[len(str(folder)) :]
        return None

    def _find(self, name: str, file: object) -> bool:
        top = name.partition(".")[0]
        if name in _MAIN or top in self._tops:
            return not name.startswith(f"{_ENGINE}.task.")
        if top == _ENGINE or top in sys.stdlib_module_names:
            return False
        file = file or _place_to_be(top)
        return isinstance(file, str) and not _is_library(file)


def _folder(name: str) -> Path | None:
    """The folder that holds the top-level package or script, None in an installed library."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return None
    if _is_library(file):
        return None
    path = Path(file).resolve()
    if path.name == "__init__.py":
        path = path.parent
    for _ in range(module_name(name).count(".")):
        path = path.parent
    return path.parent


def _place(module: ModuleType | None) -> str | None:
    """The file of a module, or the folder of a package that has none."""
    file = getattr(module, "__file__", None)
    return file or next(iter(getattr(module, "__path__", ())), None)


def _place_to_be(top: str) -> str | None:
    """Where importing a top-level module would find it."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # of one that was made by hand
        return None
    if spec is None:
        return None
    place = spec.origin if spec.has_location else None  # none of what is built in or frozen
    return place or next(iter(spec.submodule_search_locations or ()), None)


@functools.cache
def _is_library(file: str) -> bool:
    """Whether a file is of the standard library or installed, itself or by a link to elsewhere."""
    path = Path(file).resolve()
    return not _INSTALLED.isdisjoint((*Path(file).parts, *path.parts)) or any(
        path.is_relative_to(folder) for folder in _LIBRARIES
    )


def origin(namespace: dict[str, Any], name: str, project: Project) -> tuple[dict[str, Any], str]:
    """The module of the project that a name comes from, and its name there.

    Follows `from x import y as z` and `from x import *` while it is the same object.

    Args:
        namespace: The globals in which the name was found.
        name: It.
        project: Only its modules are looked into.
    """
    seen: set[tuple[int, str]] = set()
    while (id(namespace), name) not in seen:
        seen.add((id(namespace), name))
        found = _import_of(namespace, name, project)
        if found is None:
            break
        namespace, name = found
    return namespace, name


def _import_of(
    namespace: dict[str, Any], name: str, project: Project
) -> tuple[dict[str, Any], str] | None:
    source = source_of_module(namespace)
    if source is None:
        return None
    for node in [*source.statements(name), *source.statements("*")]:
        if not isinstance(node, ast.ImportFrom):
            continue
        module = loaded(namespace, node.module or "", node.level)
        for alias in node.names:
            if (alias.asname or alias.name) not in {name, "*"} or module is None:
                continue
            there = name if alias.name == "*" else alias.name
            found = vars(module).get(there)
            if found is namespace.get(name) and project.owns(module.__name__):
                return vars(module), there
    return None


def loaded(namespace: dict[str, Any], name: str, level: int) -> ModuleType | None:
    """The module that an import statement names, if it is loaded."""
    if level:
        package = namespace.get("__package__") or ""
        parts = package.split(".")[: len(package.split(".")) - level + 1]
        name = ".".join([*parts, name] if name else parts)
    return sys.modules.get(name)
