"""A function's syntax tree, and what the names in it stand for."""

import ast
import builtins
import functools
import inspect
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

NOTHING: Any = object()
"""What a name stands for that stands for nothing."""

_SCALARS = (bool, datetime, float, int, str, timedelta, type(None))


class NotCompiled(Exception):
    """What the compiler does not recognise.

    Args:
        reason: A noun: "a loop".
        line: Of the file; None where there is none.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, eq=False)
class Source:
    """A function as it was written.

    Args:
        function: The function itself.
        args: Its parameters.
        body: Its statements without the docstring; line numbers are those of the file.
    """

    function: types.FunctionType
    args: ast.arguments
    body: list[ast.stmt]

    @property
    def name(self) -> str:
        """As it was defined."""
        return self.function.__code__.co_name

    @property
    def line(self) -> int:
        """Of the file, where it begins."""
        return self.function.__code__.co_firstlineno

    @property
    def parameters(self) -> list[str]:
        """Names of the positional parameters."""
        return [arg.arg for arg in (*self.args.posonlyargs, *self.args.args)]

    @property
    def assigned(self) -> list[str]:
        """Names that are local, each once; a parameter only if it is assigned again."""
        stored = (
            node.id
            for statement in self.body
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )
        code = self.function.__code__  # knows imports, functions and so on, too
        local = (n for n in (*code.co_varnames, *code.co_cellvars) if n not in self.parameters)
        return list(dict.fromkeys((*stored, *local)))

    def lookup(self, name: str) -> Any:
        """What a name that is not local stands for now; NOTHING if it is unknown."""
        function = self.function
        if name in function.__code__.co_freevars:
            cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
            try:
                return cell.cell_contents
            except ValueError:  # not assigned yet
                return NOTHING
        if name.startswith("__") and not name.endswith("__"):
            return NOTHING  # another name within a class
        if name in function.__globals__:
            return function.__globals__[name]
        return vars(builtins).get(name, NOTHING)


def read_source(function: Any) -> Source:
    """The source of a function.

    Args:
        function: As found in the class: a function or a property.

    Raises:
        NotCompiled: There is none, or it is not what runs.
    """
    if isinstance(function, property):
        function = function.fget
    if not isinstance(function, types.FunctionType):
        raise NotCompiled("its source is not available")
    code = function.__code__  # not what functools.wraps says that it wraps
    if code.co_name == "<lambda>":
        raise NotCompiled("a lambda", code.co_firstlineno)
    try:
        trees, codes = _read_file("".join(inspect.findsource(code)[0]))
    except (OSError, TypeError, SyntaxError, ValueError, IndexError):
        raise NotCompiled("its source is not available") from None
    tree = trees.get((code.co_name, code.co_firstlineno))
    if tree is None or _contents(code) not in map(_contents, codes.get(code.co_qualname, [])):
        raise NotCompiled("its source has changed since it was imported", code.co_firstlineno)
    if isinstance(tree, ast.AsyncFunctionDef):
        raise NotCompiled("an async function", code.co_firstlineno)
    is_told = ast.get_docstring(tree, clean=False) is not None
    return Source(function, tree.args, tree.body[1:] if is_told else tree.body)


_Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.lru_cache(maxsize=32)
def _read_file(
    text: str,
) -> tuple[dict[tuple[str, int], _Function], dict[str, list[types.CodeType]]]:
    """Functions of a file by name and first line, and what they compile to, by qualified name.

    The file is compiled as a whole, because the code of a function depends on what is around it.
    """
    # A cell of a notebook may wait at its top level.
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when it was imported
        tree = compile(text, "<source>", "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        made = compile(text, "<source>", "exec", flags, dont_inherit=True)
    trees = {
        (node.name, min(part.lineno for part in (node, *node.decorator_list))): node
        for node in ast.walk(tree)
        if isinstance(node, _Function)
    }
    codes: dict[str, list[types.CodeType]] = {}
    for code in _codes(made):
        codes.setdefault(code.co_qualname, []).append(code)
    return trees, codes


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield const
            yield from _codes(const)


def _contents(code: types.CodeType) -> tuple[Any, ...]:
    return (
        code.co_firstlineno,
        code.co_code,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        _plain(code.co_consts),
    )


def _plain(value: Any) -> Any:
    """Equal for equal constants of one type; a function inside is only noted."""
    if isinstance(value, types.CodeType):
        return "code"
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, frozenset):
        return frozenset(_plain(item) for item in value)
    return type(value), repr(value)


def is_constant(value: Any) -> bool:
    """Whether a value that a name stands for can be built into a program: it cannot change.

    Args:
        value: Any. A subclass, such as an Enum, is none: its text may be another one.
    """
    if type(value) in (tuple, frozenset):
        return all(is_constant(item) for item in value)
    return type(value) in _SCALARS
