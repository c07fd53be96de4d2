"""Which code a model is: a hash that a comment does not change."""

import ast
import hashlib
import inspect
import sys
from pathlib import Path

from tadka.models.define.model import Model

_ROOM = __name__.rpartition(".train.")[0]
_FRAME = (f"{_ROOM}.define", f"{_ROOM}.train")


def code_of(cls: type[Model]) -> str:
    """Hash of the modules that define a model and the classes it builds on, tadka's frame apart.

    Args:
        cls: Of the model.

    Returns:
        32 hexadecimal digits; comments, docstrings and positions do not count. Where there is no
        source, as at a prompt, the hash of the class's name.
    """
    found = hashlib.sha256()
    modules = {base.__module__ for base in cls.__mro__ if issubclass(base, Model)}
    for name in sorted(modules):
        if name.startswith(_FRAME):
            continue
        found.update(name.encode())
        found.update(_text(name, cls).encode())
    return found.hexdigest()[:32]


def _text(module: str, cls: type[Model]) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        source = Path(file).read_text(encoding="utf-8") if file else inspect.getsource(cls)
        tree = ast.parse(inspect.cleandoc(source) if not file else source)
    except (OSError, TypeError, SyntaxError):
        return cls.__qualname__
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body[0] = ast.Pass()
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
