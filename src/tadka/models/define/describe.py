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

from tadka.core.error import MissingExtra
from tadka.models.define.catalog import get, module_of, names
from tadka.models.define.model import Model

_BASES = {"Model", "TorchModel"}
_ENTRY = re.compile(r"(\w+): (.*)")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A model in one line.

    Args:
        name: As configurations call it.
        task: Which metrics it goes by; empty where that cannot be told.
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
    spec = importlib.util.find_spec(home)
    if spec is None or spec.origin is None:
        return None
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and _registers(node, name):
            told = _first_line(ast.get_docstring(node) or "")
            return Summary(name=name, task=_task(node, name), told=told)
    return None


def _registers(node: ast.ClassDef, name: str) -> bool:
    calls = [one for one in node.decorator_list if isinstance(one, ast.Call)]
    return any(
        isinstance(call.args[0], ast.Constant) and call.args[0].value == name
        for call in calls
        if call.args
    )


def _task(node: ast.ClassDef, name: str) -> str:
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else []
        named = [one.id for one in targets if isinstance(one, ast.Name)]
        if "task" in named and isinstance(line, ast.Assign):
            return str(ast.literal_eval(line.value))
    if all(isinstance(base, ast.Name) and base.id in _BASES for base in node.bases):
        return Model.task
    try:
        return get(name).task  # it has that of another model
    except MissingExtra:
        return ""


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
