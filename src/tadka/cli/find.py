"""Classes of a project found by reading its files, without running them.

Imports of a project may take seconds, and a shell that completes a word waits for them: names,
bases and annotations are read from the text instead. What is made while a module runs is not seen.
"""

import ast
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

_MOST_FILES = 3000
_MOST_BYTES = 1 << 20  # of a file; what is longer was not written by people
_NOT_OURS = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"})
_CLASS = re.compile(r"^class[ \t]+(\w+)[ \t]*(?:\[[^\]]*\])?[ \t]*\(([^)]*)\)", re.MULTILINE)
_MADE = re.compile(r"^(\w+)[ \t]*(?::[^=\n]+)?=[ \t]*(?:\w+\.)*(\w+)\(", re.MULTILINE)
_NESTED = re.compile(r"\[[^\[\]]*\]")
_DEEPEST = 4
"""Levels of tasks in tasks whose parameters are named."""


@dataclass(frozen=True)
class Parameter:
    """A field of a class, as its annotation shows it.

    Args:
        name: With the fields that hold its task before it: `"clicks.day"`.
        help: What its class says of it, else its annotation.
        values: What it may be, where these are few.
        is_flag: Whether it is true or false, so that it needs no value.
    """

    name: str
    help: str
    values: tuple[str, ...] = ()
    is_flag: bool = False


@dataclass(frozen=True, eq=False)
class Class:
    """The head of a class statement at the top of a module.

    Args:
        name: Of the class.
        bases: Last parts of the names of its bases.
        file: Where it stands.
    """

    name: str
    bases: tuple[str, ...]
    file: "Source"

    @cached_property
    def body(self) -> Sequence[ast.stmt]:
        """Its statements; none where the file is no Python."""
        for node in self.file.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == self.name:
                return node.body
        return ()


@dataclass(frozen=True, eq=False)
class Source:
    """A file of Python.

    Args:
        module: Its name, dotted, or its path as it was written.
        text: What is in it.
    """

    module: str
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        """The file as read; empty where it is no Python."""
        try:
            return ast.parse(self.text)
        except (SyntaxError, ValueError, RecursionError):
            return ast.Module([], [])

    @cached_property
    def classes(self) -> Sequence[Class]:
        """The classes at its top that have bases."""
        return [
            Class(found[1], _last_names(found[2]), self) for found in _CLASS.finditer(self.text)
        ]


class Project:
    """The classes of a folder that come from one class of tadka.

    Args:
        folder: The working directory.
        base: Name of the class of tadka: `"Task"`.
    """

    def __init__(self, folder: Path, base: str) -> None:
        self.folder = folder
        self.base = base
        self._sources = list(_sources(folder))

    def names(self, start: str = "") -> list[str]:
        """What `MODULE:NAME` may be: classes, and what modules make of them.

        Args:
            start: The beginning as far as it was typed. With a path in it, the names in that file.

        Returns:
            In the order of files and lines.
        """
        path, colon, _ = start.rpartition(":")
        if colon and path.endswith(".py"):
            source = _read(self.folder / path, path)
            self._sources = [s for s in self._sources if s.text != source.text] + [source]
            sources = [source]
        else:
            sources = self._sources
        found = []
        for source in sources:
            names = [one.name for one in source.classes if one in self._found]
            names += [m[1] for m in _MADE.finditer(source.text) if m[2] in self._by_name]
            found += [f"{source.module}:{n}" for n in names if not n.startswith("_")]
        return [name for name in found if name.startswith(start)]

    def class_names(self) -> list[str]:
        """The names of the classes alone, each once."""
        return sorted({one.name for one in self._found if not one.name.startswith("_")})

    def parameters(self, name: str) -> list[Parameter]:
        """The parameters of a class.

        Args:
            name: `MODULE:NAME`, of a class or of something that is made of one.

        Returns:
            Those of its bases first, then those of the tasks that it needs, with dots.
        """
        self.names(name)
        module, _, last = name.rpartition(":")
        for source in self._sources:
            if source.module != module:
                continue
            made = {m[1]: m[2] for m in _MADE.finditer(source.text)}
            found = self._class(made.get(last, last), source)
            return [] if found is None else list(self._parameters(found, "", _DEEPEST))
        return []

    @cached_property
    def _found(self) -> Sequence[Class]:
        every = [one for source in self._sources for one in source.classes]
        ours = {id(source) for source in self._sources if "tadka" in source.text}
        found = [one for one in every if self.base in one.bases and id(one.file) in ours]
        names = {one.name for one in found}
        while True:
            more = [one for one in every if one not in found and names & {*one.bases}]
            if not more:
                return found
            found += more
            names |= {one.name for one in more}

    @cached_property
    def _by_name(self) -> Mapping[str, Class]:
        return {one.name: one for one in reversed(self._found)}

    def _class(self, name: str, source: Source) -> Class | None:
        """A class by the name that a module knows it by."""
        own = (one for one in self._found if one.name == name and one.file is source)
        return next(own, self._by_name.get(name))

    def _parameters(self, cls: Class, place: str, depth: int) -> Iterator[Parameter]:
        declared: dict[str, tuple[ast.AnnAssign, Class]] = {}
        for base in self._with_bases(cls, ()):
            for node in base.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    annotation = ast.unparse(node.annotation)
                    is_constant = re.match(r"['\"]?(\w+\.)?(ClassVar|Final)\b", annotation)
                    if not is_constant and not node.target.id.startswith("_"):
                        declared[node.target.id] = (node, base)
        below: list[Parameter] = []
        for name, (node, owner) in declared.items():
            annotation = ast.unparse(node.annotation).strip("'\"")
            told = _help_of(node)
            values = self._values(annotation, owner)
            is_flag = annotation == "bool"
            yield Parameter(f"{place}{name}", told or annotation, values, is_flag)
            words = {word for word in re.findall(r"\w+", annotation) if word != "None"}
            needed = self._class(next(iter(words)), owner.file) if len(words) == 1 else None
            if needed is not None and depth > 1:
                below += self._parameters(needed, f"{place}{name}.", depth - 1)
        yield from below

    def _with_bases(self, cls: Class, seen: tuple[Class, ...]) -> Iterator[Class]:
        """The bases of a class, then itself."""
        for name in reversed(cls.bases):
            base = self._class(name, cls.file)
            if base is not None and base is not cls and base not in seen:
                yield from self._with_bases(base, (*seen, cls))
        yield cls

    def _values(self, annotation: str, owner: Class) -> tuple[str, ...]:
        bare = annotation.replace("| None", "").strip()
        if bare == "bool":
            return ("true", "false")
        if re.match(r"(\w+\.)*Literal\[", bare):
            found = re.findall(
                r"'((?:[^'\\]|\\.)*)'|\"([^\"]*)\"|([\w.-]+)", bare.partition("[")[2]
            )
            return tuple(one or two or three for one, two, three in found)
        sources = sorted(self._sources, key=lambda source: source is not owner.file)
        for source in sources:
            for one in source.classes:
                if one.name == bare and any(base.endswith("Enum") for base in one.bases):
                    return tuple(
                        target.id
                        for node in one.body
                        if isinstance(node, ast.Assign)
                        for target in node.targets
                        if isinstance(target, ast.Name) and not target.id.startswith("_")
                    )
        return ()


def _sources(folder: Path) -> Iterator[Source]:
    """The files of a folder that may be imported from there, or from its folder `src`."""
    num_left = _MOST_FILES
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name.isidentifier()
            and name not in _NOT_OURS
            and not Path(place, name, "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            if name.endswith(".py") and name[:-3].isidentifier():
                num_left -= 1
                if num_left < 0:
                    return
                path = Path(place, name)
                parts = list(path.relative_to(folder).with_suffix("").parts)
                parts = parts[1:] if parts[0] == "src" and len(parts) > 1 else parts
                parts = parts[:-1] if parts[-1] == "__init__" else parts
                if parts:
                    yield _read(path, ".".join(parts))


def _read(path: Path, module: str) -> Source:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError:
        return Source(module, "")
    return Source(module, "" if len(data) > _MOST_BYTES else data.decode("utf-8", "replace"))


def _last_names(bases: str) -> tuple[str, ...]:
    """Of `task.Task[dict[str, int]], Mixin`: Task and Mixin."""
    bases = re.sub(r"#[^\n]*", "", bases)
    while _NESTED.search(bases):
        bases = _NESTED.sub("", bases)
    names = (base.strip().rpartition(".")[2] for base in bases.split(",") if "=" not in base)
    return tuple(name for name in names if name)


def _help_of(node: ast.AnnAssign) -> str:
    """What `param(help=...)` says."""
    for keyword in node.value.keywords if isinstance(node.value, ast.Call) else ():
        if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""
