"""The syntax tree of a function or class that lives, from the file or notebook cell it came from.

A file may have been edited since it was imported. So a tree is given only for code that compiling
the text gives again, to the last byte; else what runs and what is hashed would not be the same.
"""

import ast
import linecache
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_DEEPEST = 50_000
_CHANGING = frozenset(
    (
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "setdefault",
        "update",
    )
)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Source:
    """One text, with its tree and the code that it compiles to.

    Args:
        text: Of a module or a notebook cell.
        file: What compiling calls it.

    Raises:
        SyntaxError: The text is not Python, or not that of this version.
    """

    def __init__(self, text: str | bytes, file: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were shown when the text was imported
            self.tree = ast.parse(text, file)
            compiled = compile(text, file, "exec", dont_inherit=True)
        self._codes: dict[tuple[str, int], list[CodeType]] = defaultdict(list)
        for code in _codes_in(compiled):
            self._codes[code.co_qualname, code.co_firstlineno].append(code)
        self._functions: dict[tuple[str, int], list[FunctionNode]] = defaultdict(list)
        for node in ast.walk(self.tree):
            if isinstance(node, FunctionNode):
                self._functions[_name_and_line(node)].append(node)
        self._classes: dict[str, list[ast.ClassDef]] = defaultdict(list)
        self._index_classes(self.tree, "")
        self._statements: dict[str, list[ast.stmt]] = {}
        for statement in top_level(self.tree):
            for name in bound_by(statement):
                self._statements.setdefault(name, []).append(statement)
        self._set_on: dict[str, list[str]] = defaultdict(list)
        for statement in top_level(self.tree):
            for target in statement.targets if isinstance(statement, ast.Assign) else ():
                if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                    self._set_on[target.value.id].append(target.attr)

    @cached_property
    def changed(self) -> frozenset[str]:
        """Names of the module whose values its functions change: caches, registers, counters."""
        functions = (n for n in ast.walk(self.tree) if isinstance(n, FunctionNode))
        return frozenset().union(*(changed_by(n) for n in functions)) & self._statements.keys()

    def function(self, code: CodeType) -> FunctionNode | None:
        """The definition of a function, None if this text does not compile to `code`."""
        if code not in self._codes.get((code.co_qualname, code.co_firstlineno), ()):
            return None
        nodes = self._functions.get((code.co_name, code.co_firstlineno), [])
        if len(nodes) < 2:
            return nodes[0] if nodes else None
        # Several lambdas in a line: the widest span of the code is the body of one of them.
        spans = {span for span in code.co_positions() if None not in span}
        found = [node for node in nodes if isinstance(node, ast.Lambda) and _span(node) in spans]
        return max(found, key=lambda node: _span(node)[3], default=None)

    def definition(self, cls: type) -> ast.ClassDef | None:
        """The definition of a class: of several under one name, that which has its methods."""
        nodes = self._classes.get(cls.__qualname__, [])
        codes = [code for code in codes_of(cls) if code.co_qualname.startswith(cls.__qualname__)]
        if not codes:
            return nodes[-1] if nodes else None
        for node in nodes:
            inside = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if any(code.co_firstlineno in inside and self.function(code) for code in codes):
                return node
        return None

    def statements(self, name: str) -> list[ast.stmt]:
        """The statements of the module that bind a name, imports among them."""
        return self._statements.get(name, [])

    def set_on(self, name: str) -> list[str]:
        """The attributes that statements of the module set: `Model.limit = 3`."""
        return self._set_on.get(name, [])

    def names(self) -> list[str]:
        """What the module defines: functions, classes and constants, but not what it imports."""
        imports = (ast.Import, ast.ImportFrom)
        return [n for n, found in self._statements.items() if not isinstance(found[-1], imports)]

    def _index_classes(self, parent: ast.AST, prefix: str) -> None:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.ClassDef):
                self._classes[prefix + node.name].append(node)
            inner = prefix
            if isinstance(node, _SCOPES):
                inner += node.name + ("." if isinstance(node, ast.ClassDef) else ".<locals>.")
            if not isinstance(node, ast.expr):
                self._index_classes(node, inner)


def codes_of(cls: type) -> list[CodeType]:
    """The code of the functions that stand in a class, decorated by the standard library or not."""
    values = [getattr(value, "__func__", value) for value in vars(cls).values()]
    values = [value.fget if isinstance(value, property) else value for value in values]
    return [value.__code__ for value in values if isinstance(value, FunctionType)]


def top_level(parent: ast.AST) -> Iterator[ast.stmt]:
    """The statements that run when a module or class body runs, those under `if` and `try` too."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, (*_SCOPES, ast.expr)):
            yield from top_level(node)


def bound_by(node: ast.stmt) -> list[str]:
    """The names that a statement binds itself, not those of the statements inside of it."""
    if isinstance(node, _SCOPES):
        return [node.name]
    if isinstance(node, ast.Import):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    parts: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr | ast.withitem):
            parts.append(child)
    return [
        name.id
        for part in parts
        for name in ast.walk(part)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    ]


def changed_by(function: FunctionNode) -> frozenset[str]:
    """Names from outside that a function gives another value, or whose value it changes in place.

    Those of its locals are among them, which do not matter: no one else has them.
    """
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Global | ast.Nonlocal):
            found.update(node.names)
        elif isinstance(node, ast.Subscript | ast.Attribute):
            is_changed = not isinstance(node.ctx, ast.Load) or (
                isinstance(node, ast.Attribute) and node.attr in _CHANGING
            )
            if is_changed and isinstance(node.value, ast.Name):
                found.add(node.value.id)
    return frozenset(found)


# ---------------------------------------------------------------- texts, read once


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Room for trees as deep as Python compiles, however deep the caller is: one form in any case.

    A sum of a thousand terms is a thousand deep, and a walk takes some frames for each.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


_read: dict[str, tuple[object, Source | None]] = {}


def source_of(file: str, namespace: dict[str, Any]) -> Source | None:
    """The text that a file or notebook cell has now, None where there is none.

    Args:
        file: As code objects name it.
        namespace: The globals of the code, which know how a module in a zip file is read.
    """
    text: str | bytes = ""
    try:
        status = Path(file).stat()
        stamp: object = (status.st_mtime_ns, status.st_size, status.st_ino)
    except (OSError, ValueError):
        stamp = text = "".join(linecache.getlines(file, namespace))
    known = _read.get(file)
    if known is not None and known[0] == stamp:
        return known[1]
    try:
        text = text if stamp is text else Path(file).read_bytes()
        with deep_recursion():
            found = Source(text, file) if text else None
    except (OSError, SyntaxError, ValueError):
        found = None
    _read[file] = (stamp, found)
    return found


def source_of_module(namespace: dict[str, Any]) -> Source | None:
    """The text of the module that has these globals."""
    file = namespace.get("__file__")
    return source_of(file, namespace) if isinstance(file, str) else None


def function_node(function: FunctionType) -> FunctionNode | None:
    """The definition of a function, None where its text is not to be had or was changed since."""
    file = function.__code__.co_filename
    source = source_of(file, function.__globals__)
    return source.function(function.__code__) if source else None


def class_node(cls: type) -> ast.ClassDef | None:
    """The definition of a class, None where its text is not to be had or was changed since."""
    module = sys.modules.get(cls.__module__)
    namespace = vars(module) if module else {}
    files = {code.co_filename: None for code in codes_of(cls)}  # of a notebook's cell
    if isinstance(file := namespace.get("__file__"), str):
        files = {file: None, **files}
    for name in files:
        source = source_of(name, namespace)
        if source and (node := source.definition(cls)):
            return node
    return None


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_in(constant)


def _name_and_line(node: FunctionNode) -> tuple[str, int]:
    if isinstance(node, ast.Lambda):
        return "<lambda>", node.lineno
    return node.name, min([node.lineno, *(item.lineno for item in node.decorator_list)])


def _span(node: ast.Lambda) -> tuple[int, int | None, int, int]:
    body = node.body
    return body.lineno, body.end_lineno, body.col_offset, body.end_col_offset or 0
