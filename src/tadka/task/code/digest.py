"""What a task's class does, as a hash: its code, and all code and constants that it reaches.

The walk goes over what lives (functions, classes, values) and takes the spelling of code from its
syntax tree, so that comments, docstrings, annotations and the names of locals do not count. Parts
have names, for a reason such as "function shop.helpers.clean changed".

Annotations do not count, but the classes of the project in them do: code calls the methods of its
arguments and of the fields of its class.

What cannot be seen: names made at run time (`globals()[name]`, `getattr` of a string on a class
that is not otherwise named), methods of values whose class no annotation names, environment
variables, files. `uses` and `files` name them. Code of other packages does not count; their
versions are for the caller to record.

A task's class has an attribute `__not_code__`: names of its attributes that are settings or fields,
which have their own place in a key or none. A task in a field has a key of its own, so of a class
that only an annotation names no more counts than the attributes that code takes from something:
after `self.clicks.total()`, what `Clicks` has under the name `total`.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property, partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from tadka.core.extra import require
from tadka.core.hashing import digest_file
from tadka.task.code.annotation import classes_in
from tadka.task.code.form import form_of_class, form_of_function
from tadka.task.code.normal import Chain, Form, Import, form_of, imports_of
from tadka.task.code.project import Project, loaded, module_name, origin
from tadka.task.code.source import source_of_module
from tadka.task.code.word import Part, Words, field_names, is_slot

_MISSING = object()
_CODE = (
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    partial,
    property,
    staticmethod,
    classmethod,
    cached_property,
    type(cache(len)),
)
# Facts about a module that its import made, or that differ between machines.
_OF_MODULES = frozenset(
    (
        "__name__",
        "__file__",
        "__doc__",
        "__spec__",
        "__loader__",
        "__package__",
        "__path__",
        "__cached__",
        "__builtins__",
        "__annotations__",
        "__dict__",
    )
)
_IMPORTS = (ast.Import, ast.ImportFrom)
_INERT_BASES = frozenset({"tadka", "typing_extensions"})


@dataclass(frozen=True)
class CodeHash:
    """The code of a class.

    Args:
        digest: Of all parts, 64 hexadecimal digits.
        parts: Kind and digest of each part by its qualified name:
            `{"shop.helpers.clean": "function:0f3a..."}`.
        opaque: Names of parts with a value that could not be looked into, such as a connection:
            their type counts, and the expression that made them.
    """

    digest: str
    parts: Mapping[str, str]
    opaque: tuple[str, ...] = ()


def code_of(
    cls: type,
    *,
    files: Sequence[str | Path] = (),
    uses: Sequence[object] = (),
    arguments: Sequence[str] = (),
) -> CodeHash:
    """The code that a class reaches within its project.

    The same in every process and on Python 3.11 to 3.13, where there is source; without, the
    minor version counts.

    Args:
        cls: The class.
        files: Files and folders whose content counts; relative ones stand beside the module of
            the class, or in the working directory for a notebook.
        uses: Functions, classes, modules and values that count, also of other packages.
        arguments: What its `run` receives, as only annotations say it.

    Raises:
        NotFound: There is no such file.
    """
    modules = [cls.__module__, *(name for item in uses if (name := _module_of(item)))]
    walk = _Walk(_project(modules))
    walk.follow(cls)
    for number, item in enumerate(uses):
        walk.named(f"uses[{number}]", item)
    walk.finish()
    if arguments:
        walk.signature(cls, arguments)
    home = getattr(sys.modules.get(cls.__module__), "__file__", None)
    for file in files:
        walk.file(Path(file), Path(home).parent if home else Path())
    return walk.result()


def differences(
    before: CodeHash | Mapping[str, str], now: CodeHash | Mapping[str, str]
) -> list[str]:
    """What changed from one code to another: `["function shop.helpers.clean changed"]`.

    Args:
        before: A hash or its stored parts.
        now: Likewise.
    """
    old = before.parts if isinstance(before, CodeHash) else before
    new = now.parts if isinstance(now, CodeHash) else now
    found: list[str] = []
    for name in sorted({*old, *new}):
        if old.get(name) == new.get(name):
            continue
        kind = (new.get(name) or old[name]).partition(":")[0]
        what = "is new" if name not in old else "is gone" if name not in new else "changed"
        found.append(f"{kind} {name.removeprefix('file:')} {what}")
    return found


def _module_of(item: object) -> str | None:
    if isinstance(item, ModuleType):
        return item.__name__
    if isinstance(item, FunctionType):
        return str(item.__globals__.get("__name__"))
    return item.__module__ if isinstance(item, type) else None


_projects: dict[tuple[tuple[str, object], ...], Project] = {}


def _project(modules: list[str]) -> Project:
    key = tuple((name, getattr(sys.modules.get(name), "__file__", None)) for name in modules)
    if key not in _projects:
        _projects[key] = Project(modules)
    return _projects[key]


# ---------------------------------------------------------------- the walk


class _Walk:
    """One walk from a class; each part is visited once, so cycles end."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._words = Words(project, self.follow)
        self._parts: dict[str, set[str]] = {}
        self._opaque: set[str] = set()
        self._seen: set[int] = set()
        self._names: dict[tuple[int, str], str] = {}  # words of globals
        self._pending: list[Part] = []
        self._attributes: set[str] = set()  # that code takes from anything
        self._tasks: list[tuple[str, type]] = []  # with the field, "" if it is an argument
        self._taken: set[tuple[type, str]] = set()
        self._changed: set[tuple[int, str]] = set()  # globals that parts change as they run
        self._late: list[Callable[[], object]] = []  # what to look at when all those are known

    def result(self) -> CodeHash:
        parts = {
            name: next(iter(found)) if len(found) == 1 else _joined(found)
            for name, found in sorted(self._parts.items())
        }
        digest = _hash(f"{name} {part}" for name, part in parts.items())
        return CodeHash(digest, parts, tuple(sorted(self._opaque)))

    def finish(self) -> None:
        """Visits what was met, until nothing new is."""
        while self._pending or self._late:
            if not self._pending:
                self._late.pop(0)()
            while self._pending:
                item = self._pending.pop()
                if isinstance(item, type):
                    self._class(item)
                elif isinstance(item, ModuleType):
                    self._module(item)
                else:
                    self._function(item)
            self._take_from_tasks()

    def follow(self, item: Part) -> None:
        """Makes a function or class of the project a part, or all that a module defines."""
        if id(item) not in self._seen:
            self._seen.add(id(item))
            self._pending.append(item)

    def file(self, path: Path, home: Path) -> None:
        """Makes a file a part, or all files of a folder."""
        found = home / path
        if found.is_dir():
            for inner in sorted(found.rglob("*")):
                if inner.is_file():
                    self._add(
                        "file", f"file:{path / inner.relative_to(found)}", [digest_file(inner)]
                    )
        else:
            self._add("file", f"file:{path}", [digest_file(found)])

    def signature(self, cls: type, arguments: Sequence[str]) -> None:
        """Makes what the `run` of a class receives a part."""
        self._add("signature", f"{self._words.label(cls)}.run()", arguments)

    def named(self, label: str, value: object) -> str:
        """The word for a value, which becomes a part under `label` unless it has a name."""
        word, blind = self._words.look(value)
        return word if self._words.is_plain(word) else self._part(label, value, word, blind)

    def _part(
        self,
        label: str,
        value: object,
        word: str,
        blind: Sequence[bool],
        made_by: Sequence[str] = (),
    ) -> str:
        if any(blind):
            self._opaque.add(label)
        self._add(_kind(value), label, [word, *made_by])
        return label

    def _add(self, kind: str, label: str, words: Iterable[str]) -> None:
        self._parts.setdefault(label, set()).add(f"{kind}:{_hash(words)[:32]}")

    def _function(self, function: FunctionType) -> None:
        namespace = function.__globals__
        form = form_of_function(function)
        self._attributes |= form.attributes
        for name in form.changed & namespace.keys():
            home, there = origin(namespace, name, self.project)
            self._changed.add((id(home), there))
        for cls in self._classes_in(function.__annotations__.values(), namespace):
            self._meet("", cls)
        words = [form.digest, *self._lookups(form, namespace)]
        if form.notes and any(self._is_foreign(chain, namespace) for chain in form.decorators):
            words += [form.notes.digest, *self._lookups(form.notes, namespace)]
        if self._words.is_at_home(function):
            words += self._words.state(function)
        self._add("function", self._words.label(function), words)

    def _class(self, cls: type) -> None:
        label = self._words.label(cls)
        namespace = _namespace_of(cls)
        form = form_of_class(cls)
        left_out = frozenset(getattr(cls, "__not_code__", ()))
        words = [self._words.word(base) for base in cls.__bases__ if base is not object]
        words.append(self._words.word(type(cls)))
        if form:
            header = form.header
            words += [header.digest, *self._lookups(header, namespace)]
            words.append(str([name for name in form.declared if name not in left_out]))
            if header.notes and self._reads_annotations(cls, header, namespace):
                words += [header.notes.digest, *self._lookups(header.notes, namespace)]
        else:
            words += self._words.declared(cls)
        if issubclass(cls, Enum):
            for member in cls.__members__.values():
                words.append(f"{member.name}={self._words.word(member._value_)}")
        source = source_of_module(namespace)
        later = source.set_on(cls.__qualname__) if source else []
        names = [*form.names, *later] if form else None
        for name in self._words.attributes(cls, names, left_out):
            made_by = form.values.get(name) if form else None
            words.append(f"{name}={self._attribute(cls, name, made_by, namespace)}")
        self._add("class", label, words)
        self._fields(cls)

    # ------------------------------------------------------------ classes of values

    def _fields(self, cls: type) -> None:
        """Meets the classes of the fields of a class, and of what tasks in them give."""
        is_task = _is_task(cls)
        for base in cls.__mro__ if is_task else (cls,):
            if not self.project.owns(base.__module__):
                continue
            for name, annotation in vars(base).get("__annotations__", {}).items():
                for found in self._classes_in([annotation], _namespace_of(base)):
                    self._meet(name if is_task else "", found)
                    if is_task and _is_task(found):
                        self._result(found)

    def _result(self, task: type) -> None:
        """Meets the classes of a task's result: `Task[Model]`, `def run(self) -> Model`."""
        for base in task.__mro__:
            if self.project.owns(base.__module__):
                run = vars(base).get("run")
                given = getattr(run, "__annotations__", {}).get("return")
                said = [*vars(base).get("__orig_bases__", ()), given]
                for found in self._classes_in(said, _namespace_of(base)):
                    if not _is_task(found):
                        self.follow(found)

    def _meet(self, field: str, cls: type) -> None:
        if not _is_task(cls):
            self.follow(cls)
        elif (field, cls) not in self._tasks:
            self._tasks.append((field, cls))

    def _take_from_tasks(self) -> None:
        """Makes parts of what code takes from the tasks of fields and arguments."""
        for field, cls in self._tasks:  # which grows by those of their fields
            if field and field not in self._attributes:
                continue
            for name in sorted(self._attributes.difference(getattr(cls, "__not_code__", ()))):
                base = next((base for base in cls.__mro__ if name in vars(base)), None)
                if base is None or (base, name) in self._taken:
                    continue
                self._taken.add((base, name))
                if self.project.owns(base.__module__):
                    form = form_of_class(base)
                    made_by = form.values.get(name) if form else None
                    self._attribute(base, name, made_by, _namespace_of(base))
            if (cls, "") not in self._taken:
                self._taken.add((cls, ""))
                self._fields(cls)

    def _classes_in(
        self, annotations: Iterable[object], namespace: dict[str, Any]
    ) -> Iterator[type]:
        def find(chain: Chain) -> object:
            return self._annotated(chain, namespace)

        for annotation in annotations:
            for found in classes_in(annotation, find):
                if self.project.owns(found.__module__):
                    yield found

    def _annotated(self, chain: Chain, namespace: dict[str, Any]) -> object:
        """What a name in an annotation stands for, be it imported for type checkers only."""
        name, *rest = chain
        value = namespace.get(name)
        source = source_of_module(namespace) if name not in namespace else None
        for node in source.statements(name) if source else ():
            wanted = imports_of(node).get(name) if isinstance(node, _IMPORTS) else None
            if wanted is not None:
                rest = [*wanted.chain, *rest]
                try:
                    value = self._module_of_import(wanted, namespace)
                except Exception:  # noqa: BLE001 - only type checkers know it
                    return None
                break
        for part in rest:
            value = getattr(value, part, None)
        return value

    def _attribute(
        self, cls: type, name: str, made_by: Form | None, namespace: dict[str, Any]
    ) -> str:
        """The word for an attribute of a class, with the expression of a field or opaque value."""
        label = f"{self._words.label(cls)}.{name}"
        value = vars(cls).get(name)
        word, blind = self._words.look(value)
        if self._words.is_plain(word) and not is_slot(value):
            return word
        words = []
        if made_by and (blind or is_slot(value) or name in field_names(cls)):
            words = [made_by.digest, *self._lookups(made_by, namespace)]
        return self._part(label, value, word, blind, words)

    def _module(self, module: ModuleType) -> None:
        """A module that is used as a whole: everything that it defines."""
        source = source_of_module(vars(module))
        names = source.names() if source else [n for n in vars(module) if not n.startswith("__")]
        for name in names:
            self._global(vars(module), name)

    # ------------------------------------------------------------ names

    def _lookups(self, form: Form, namespace: dict[str, Any]) -> list[str]:
        """A word for each name that a form reads, after making parts of what they stand for."""
        words = []
        for chain in form.reads:
            if chain[0] in namespace and chain[0] not in _OF_MODULES:
                words.append(f"{'.'.join(chain)}={self._chain(namespace, chain)}")
        for wanted in form.imports:
            words.append(f"{wanted}={self._import(wanted, namespace)}")
        return words

    def _chain(self, namespace: dict[str, Any], chain: Chain) -> str:
        name, *rest = chain
        value = namespace[name]
        while rest and isinstance(value, ModuleType) and self.project.owns(value.__name__):
            module, name = value, rest.pop(0)
            value = _attribute(module, name)
            if value is _MISSING:
                return "missing"
            namespace = vars(module)
        if name not in namespace:  # a module's __getattr__ made it
            return self.named(f"{module_name(str(namespace.get('__name__')))}.{name}", value)
        return self._global(namespace, name)

    def _global(self, namespace: dict[str, Any], name: str) -> str:
        key = (id(namespace), name)
        if key in self._names:
            return self._names[key]
        value = namespace[name]
        if isinstance(value, ModuleType):
            return self.named(name, value)
        if isinstance(value, FunctionType | BuiltinFunctionType | type):
            word = self._words.word(value)
            if self._words.is_plain(word):
                word += self._imported_from(namespace, name) if word.startswith("external ") else ""
                self._names[key] = word
                return word
        home, there = origin(namespace, name, self.project)
        source = source_of_module(home)
        label = self._names[key] = f"{module_name(str(home.get('__name__')))}.{there}"

        def look() -> None:
            # What the task's own code changes is a cache or a counter, which would be another for
            # each build: it counts as it was at first. What others set is a setting.
            is_changed = (id(home), there) in self._changed
            place = (id(source), there) if is_changed else None
            word, blind = self._words.look(value, first=place, keep=source)
            made_by: list[str] = []
            if source and blind:
                form = form_of(source.statements(there))
                made_by = [form.digest, *self._lookups(form, home)]
            self._part(label, value, word, blind, made_by)

        if source is not None and there in source.changed:
            self._late.append(look)
        else:
            look()
        return label

    def _imported_from(self, namespace: dict[str, Any], name: str) -> str:
        """The module that a statement takes a name from: a package may have several of a name."""
        home, there = origin(namespace, name, self.project)
        source = source_of_module(home)
        statements = source.statements(there) if source else []
        found = [node.module for node in statements if isinstance(node, ast.ImportFrom)]
        return f" from {found}" if found else ""

    def _import(self, wanted: Import, namespace: dict[str, Any]) -> str:
        """What a function imports when it runs; what is of the project is imported here, too."""
        try:
            module = self._module_of_import(wanted, namespace)
        except Exception:  # noqa: BLE001 - as an import fails, which is the function's to catch
            return "missing"
        return self._chain({"": module}, ("", *wanted.chain)) if module else "external"

    def _module_of_import(self, wanted: Import, namespace: dict[str, Any]) -> ModuleType | None:
        """The module of the project that an import names, None for one of others."""
        module = loaded(namespace, wanted.module, wanted.level)
        if module is None and (wanted.level or self.project.owns(wanted.module)):
            name = "." * wanted.level + wanted.module
            module = require(importlib.util.resolve_name(name, namespace.get("__package__")))
        return module if module is not None and self.project.owns(module.__name__) else None

    def _is_foreign(self, chain: Chain, namespace: dict[str, Any]) -> bool:
        """Whether a decorator is of another package, which may read annotations."""
        value = namespace.get(chain[0])
        name = (
            value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        )
        return isinstance(name, str) and self._is_other(name)

    def _is_other(self, module: str) -> bool:
        top = module.partition(".")[0]
        is_known = top in sys.stdlib_module_names or top in _INERT_BASES
        return not is_known and not self.project.owns(module)

    def _reads_annotations(self, cls: type, header: Form, namespace: dict[str, Any]) -> bool:
        return any(self._is_foreign(chain, namespace) for chain in header.decorators) or any(
            self._is_other(base.__module__) for base in (*cls.__mro__, type(cls))
        )


def _is_task(cls: type) -> bool:
    return hasattr(cls, "__not_code__")


def _namespace_of(cls: type) -> dict[str, Any]:
    return vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}


def _attribute(module: ModuleType, name: str) -> Any:
    """An attribute of a module, or a submodule that is not loaded yet."""
    try:
        return getattr(module, name)
    except Exception:  # noqa: BLE001 - a module's own __getattr__ may raise anything
        try:
            return require(f"{module.__name__}.{name}")
        except Exception:  # noqa: BLE001 - likewise, of the module's own code
            return _MISSING


def _kind(value: object) -> str:
    return (
        "class"
        if isinstance(value, type)
        else "function"
        if isinstance(value, _CODE)
        else "constant"
    )


def _joined(found: set[str]) -> str:
    """One part of several under one name, such as a function and what decorates it."""
    kinds = sorted({item.partition(":")[0] for item in found})
    return f"{kinds[-1]}:{_hash(sorted(found))[:32]}"


def _hash(words: Iterable[str]) -> str:
    text = "\n".join(f"{len(word)}:{word}" for word in words)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
