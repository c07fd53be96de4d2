"""The type of a task's result: found through bases, shown to people, compared."""

import types
import typing
from typing import Any, ForwardRef, TypeVar, Union


def result_of(cls: type, root: type) -> Any:
    """What a class puts in place of T where it inherits, however far up, from `root[T]`.

    Args:
        cls: A subclass of `root`.
        root: A generic class with one type variable.

    Returns:
        A type; a type variable where it is still open; Any where nothing is said.
    """
    found: Any = Any
    for base in getattr(cls, "__orig_bases__", cls.__bases__):
        origin = typing.get_origin(base) or base
        if not (isinstance(origin, type) and issubclass(origin, root)):
            continue
        arguments = typing.get_args(base)
        if origin is root:
            one: Any = arguments[0] if arguments else Any
        else:
            one = _put(result_of(origin, root), dict(zip(_open(origin), arguments, strict=False)))
        if found is Any or (isinstance(found, TypeVar) and one is not Any):
            found = one
    return found


def closed(result: Any) -> Any:
    """A type without type variables: their bounds in their place, or Any."""
    variables = _variables(result)
    return _put(result, {v: Any if v.__bound__ is None else v.__bound__ for v in variables})


def fits(found: Any, wanted: Any) -> bool:
    """Whether a result of one type is good where another is wanted; True where nobody can tell."""
    if found == wanted or _is_unknown(found) or _is_unknown(wanted):
        return True
    if _is_union(found):
        return all(fits(member, wanted) for member in typing.get_args(found))
    if _is_union(wanted):
        return any(fits(found, member) for member in typing.get_args(wanted))
    found_origin = typing.get_origin(found) or found
    wanted_origin = typing.get_origin(wanted) or wanted
    if not (isinstance(found_origin, type) and isinstance(wanted_origin, type)):
        return False
    if found_origin is int and wanted_origin is float:  # as type checkers have it
        return True
    try:
        if not issubclass(found_origin, wanted_origin):
            return False
    except TypeError:  # a protocol that only a type checker can judge
        return True
    pairs = list(zip(typing.get_args(found), typing.get_args(wanted), strict=False))
    return found_origin is not wanted_origin or all(
        first is Ellipsis or second is Ellipsis or fits(first, second) for first, second in pairs
    )


def shown(type_: Any) -> str:
    """A type as its user writes it, without modules."""
    if type_ is types.NoneType:
        return "None"
    if isinstance(type_, type) and not typing.get_args(type_):
        return type_.__name__
    if isinstance(type_, str | ForwardRef | TypeVar):
        return getattr(type_, "__forward_arg__", getattr(type_, "__name__", str(type_)))
    if _is_union(type_):
        return " | ".join(shown(member) for member in typing.get_args(type_))
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if isinstance(origin, type) and arguments:
        inner = ["..." if a is Ellipsis else shown(a) for a in arguments]
        return f"{origin.__name__}[{', '.join(inner)}]"
    return str(type_).removeprefix("typing.")


def _is_unknown(type_: Any) -> bool:
    return type_ is Any or type_ is object or isinstance(type_, TypeVar | ForwardRef | str)


def _is_union(type_: Any) -> bool:
    return typing.get_origin(type_) in {Union, types.UnionType}


def _open(cls: type) -> tuple[Any, ...]:
    return getattr(cls, "__parameters__", ())


def _variables(type_: Any) -> tuple[Any, ...]:
    return (type_,) if isinstance(type_, TypeVar) else getattr(type_, "__parameters__", ())


def _put(type_: Any, values: dict[Any, Any]) -> Any:
    """A type with type variables replaced; those without a value stay."""
    if isinstance(type_, TypeVar):
        return values.get(type_, type_)
    variables = getattr(type_, "__parameters__", ())
    if not variables or isinstance(type_, type):
        return type_
    return type_[tuple(values.get(variable, variable) for variable in variables)]
