"""Docstrings of public names: there is one, and its Args are the parameters of the signature."""

import importlib
import inspect
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

from tests import source

PUBLIC = [line for line in source.public_api().splitlines() if not line.endswith("__")]
ARGS_SECTION = re.compile(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)


def look_up(full_name: str) -> Any:
    module, name = full_name.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def documented_args(docstring: str) -> list[str]:
    """Parameter names of the Args section, in their order; `a, b: both` counts as two."""
    section = ARGS_SECTION.search(inspect.cleandoc(docstring) + "\n")
    if section is None:
        return []
    rows = [row for row in section.group(1).splitlines() if row.strip()]
    indent = min(len(row) - len(row.lstrip()) for row in rows)
    heads = [row.strip().split(":")[0] for row in rows if len(row) - len(row.lstrip()) == indent]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def functions_of(full_name: str) -> Iterator[tuple[str, Any]]:
    """The public name, and the public methods that it defines itself when it is a class."""
    thing = look_up(full_name)
    if inspect.isclass(thing) or inspect.isroutine(thing):  # a constant explains itself in place
        yield full_name, thing
    if inspect.isclass(thing):
        for name, member in vars(thing).items():
            if not name.startswith("_") and isinstance(
                member, FunctionType | classmethod | staticmethod | property
            ):
                yield f"{full_name}.{name}", getattr(thing, name)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_and_its_methods_have_docstrings(name: str) -> None:
    # getdoc: a method that fills a protocol's place has the protocol's words.
    assert [] == [part for part, function in functions_of(name) if not inspect.getdoc(function)]


@pytest.mark.parametrize("name", PUBLIC)
def test_args_are_the_parameters_in_their_order(name: str) -> None:
    for part, function in functions_of(name):
        documented = documented_args(inspect.getdoc(function) or "")
        if documented:
            assert parameters(function) == documented, part
