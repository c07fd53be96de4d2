"""Which classes an annotation names, written as code or as text."""

import ast
import typing
from collections.abc import Callable, Iterator
from functools import cache

from tadka.task.code.normal import Chain, form_of


def classes_in(annotation: object, find: Callable[[Chain], object]) -> Iterator[type]:
    """The classes in an annotation: `Sequence["Clicks"]` has two.

    Args:
        annotation: It, which is not evaluated.
        find: What a name of a text stands for, with the attributes taken from it.
    """
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        for chain in _names_in(annotation):
            if not isinstance(found := find(chain), str):
                yield from classes_in(found, find)
        return
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return
    if isinstance(origin or annotation, type):
        yield origin or annotation  # type: ignore[misc]
    parts = typing.get_args(annotation)
    for part in parts[:1] if origin is typing.Annotated else parts:
        yield from classes_in(part, find)
    if (alias := getattr(annotation, "__value__", None)) is not None and origin is None:
        yield from classes_in(alias, find)  # of a statement `type Name = ...`


@cache
def _names_in(text: str) -> tuple[Chain, ...]:
    try:
        return form_of([ast.parse(text.strip(), mode="eval").body]).reads
    except (SyntaxError, ValueError):
        return ()
