"""What models are, for lists and help: read from files, so that no library is loaded for it."""

import ast
import dataclasses
import importlib.util
import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tadka.models.define.catalog import get, module_of, names
from tadka.models.define.model import Model

_ROOM = __name__.rpartition(".define.")[0]
_ENTRY = re.compile(r"(\w+): (.*)")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A model in one line.

    Args:
        name: As configurations call it.
        task: Which metrics it goes by, unless a parameter says otherwise.
        told: First line of its docstring.
    """

    name: str
    task: str
    told: str


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A key of the section `model`.

    Args:
        name: Of the key.
        kind: Its type.
        default: Unless given.
        told: What the docstring says of it.
    """

    name: str
    kind: str
    default: Any
    told: str


def summaries() -> list[Summary]:
    """All models, in the order of the alphabet; those that come with tadka are not imported."""
    return [found for name in names() if (found := _summary(name)) is not None]


def parameters_of(model: type[Model]) -> list[Parameter]:
    """Parameters of a model: its own first, then those of all models.

    Args:
        model: From `get`.
    """
    told: dict[str, str] = {}
    owner: dict[str, int] = {}
    for depth, cls in enumerate(model.__mro__):
        for name, text in _arguments(cls.__dict__.get("__doc__") or ""):
            told.setdefault(name, text)
        for name in inspect.get_annotations(cls):
            owner[name] = depth
    found = [
        Parameter(
            name=field.name,
            kind=_kind(field.type),
            default=None if field.default is dataclasses.MISSING else field.default,
            told=told.get(field.name, ""),
        )
        for field in dataclasses.fields(model)
    ]
    return sorted(found, key=lambda one: owner.get(one.name, 0))  # stable


def _summary(name: str) -> Summary | None:
    home = module_of(name)
    if home is None:
        cls = get(name)
        return Summary(name=name, task=cls.task, told=_first_line(cls.__doc__ or ""))
    tree = _tree(home)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and _registers(node, name):
            told = _first_line(ast.get_docstring(node) or "")
            return Summary(name=name, task=_task(tree, node.name), told=told)
    return None


def _tree(module: str) -> ast.Module:
    """A module as read; empty where there is no file of it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ast.Module([], [])
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _registers(node: ast.ClassDef, name: str) -> bool:
    calls = [one for one in node.decorator_list if isinstance(one, ast.Call)]
    return any(
        isinstance(call.args[0], ast.Constant) and call.args[0].value == name
        for call in calls
        if call.args
    )


def _task(tree: ast.Module, name: str) -> str:
    """What a class says of its task, or the class that it comes from."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for line in node.body:
                targets = line.targets if isinstance(line, ast.Assign) else []
                if isinstance(line, ast.Assign) and "task" in map(_name, targets):
                    return str(ast.literal_eval(line.value))
            return next((_task(tree, base) for base in map(_name, node.bases) if base), Model.task)
        if isinstance(node, ast.ImportFrom) and name in [one.name for one in node.names]:
            is_ours = str(node.module).startswith(_ROOM)
            return _task(_tree(str(node.module)), name) if is_ours else Model.task
    return Model.task


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _first_line(text: str) -> str:
    return inspect.cleandoc(text).partition("\n")[0]


def _arguments(doc: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the section Args of a docstring."""
    lines = inspect.cleandoc(doc).splitlines()
    if "Args:" not in lines:
        return
    name, text = "", ""
    for line in lines[lines.index("Args:") + 1 :]:
        if line and not line.startswith(" "):
            break
        is_head = line.startswith("    ") and not line.startswith("     ")
        entry = _ENTRY.fullmatch(line.strip()) if is_head else None
        if entry:
            if name:
                yield name, text
            name, text = entry[1], entry[2]
        elif line.strip():
            text = f"{text} {line.strip()}"
    if name:
        yield name, text


def _kind(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return " | ".join(map(str, typing.get_args(annotation)))
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.removeprefix("typing.")
