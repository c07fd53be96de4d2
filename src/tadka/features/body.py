"""What a property computes, as one canonical text that goes into the hash of a definition.

It is made from the syntax tree, so that comments, docstrings, layout, annotations and the version
of Python leave it as it is, and it includes what the property calls: other properties and methods
of its class, functions of its module and plain constants. What comes from installed libraries is
named only.
"""

import ast
import builtins
import hashlib
import inspect
import types
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from tadka.features.source import NotCompiled, read_source

_OPERATORS = {
    "Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "Pow": "**",
    "LShift": "<<", "RShift": ">>", "BitOr": "|", "BitXor": "^", "BitAnd": "&", "MatMult": "@",
    "Eq": "==", "NotEq": "!=", "Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Is": "is",
    "IsNot": "is not", "In": "in", "NotIn": "not in", "And": "and", "Or": "or", "Not": "not ",
    "USub": "-", "UAdd": "+", "Invert": "~",
}  # fmt: skip
_UNTOLD = {"ctx", "kind", "type_comment", "type_params", "decorator_list", "returns", "annotation"}
_PLAIN = (
    bool, bytes, complex, datetime, float, int, range, str, timedelta, timezone, type(None)
)  # fmt: skip


def body_of(cls: type, function: Callable[..., Any]) -> str:
    """Canonical text of a property's function.

    Args:
        cls: The class it is a property of.
        function: What the property calls.

    Returns:
        Equal for functions that say the same; never empty.
    """
    told: dict[str, str] = {}
    main = _tell(cls, function, told, has_self=True)
    return "; ".join([main, *(f"{name} = {text}" for name, text in sorted(told.items()) if text)])


def _tell(cls: type, function: Any, told: dict[str, str], *, has_self: bool) -> str:
    """Text of a function; the texts of what it names are added to `told`."""
    try:
        source = read_source(function)
    except NotCompiled:
        return _code(function.__code__)
    statements, args = source.body, source.parameters
    this = args[0] if args and has_self else ""
    for node in ast.walk(ast.Module(statements, [])):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == this:
                _tell_attribute(cls, node.attr, told)
            else:
                _tell_member(source.lookup(node.value.id), node.attr, told)
        elif isinstance(node, ast.Name) and node.id not in args:
            _tell_name(cls, node.id, function, told)
    head = "" if args == [this] else f"({', '.join(args[has_self:])}) "
    defaults = "".join(f"[{_text(node, this)}] " for node in source.args.defaults)
    return head + defaults + " ".join(_text(node, this) for node in statements)


def _tell_attribute(cls: type, name: str, told: dict[str, str]) -> None:
    found = inspect.getattr_static(cls, name, None)
    has_self = not isinstance(found, staticmethod)
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    if f"self.{name}" not in told and name not in getattr(cls, "__dataclass_fields__", {}):
        _tell_value(cls, f"self.{name}", found, told, has_self=has_self)


def _tell_member(owner: Any, name: str, told: dict[str, str]) -> None:
    """A constant of another module, which the compiler builds in."""
    if isinstance(owner, types.ModuleType):
        plain = _plain(getattr(owner, name, _plain))
        if plain is not None:
            told[f"{owner.__name__}.{name}"] = plain


def _tell_name(cls: type, name: str, function: Any, told: dict[str, str]) -> None:
    if name in told:
        return
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    if name in cells:
        try:
            _tell_value(cls, name, cells[name].cell_contents, told)
        except ValueError:  # the cell is still empty
            return
    elif name in function.__globals__:
        _tell_value(cls, name, function.__globals__[name], told)


def _tell_value(
    cls: type, name: str, value: Any, told: dict[str, str], *, has_self: bool = False
) -> None:
    told[name] = ""  # before the walk, which may come back here
    if isinstance(value, types.FunctionType):
        if value.__module__ == cls.__module__ or name.startswith("self."):
            told[name] = f"({_tell(cls, value, told, has_self=has_self)})"
        else:
            told[name] = f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, types.ModuleType | type | types.BuiltinFunctionType):
        told[name] = "" if hasattr(builtins, name) else f"<{_name(value)}>"
    else:
        plain = _plain(value)
        told[name] = "" if plain is None else plain


def _name(value: Any) -> str:
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or value.__name__
    return f"{module}.{name}" if module else str(name)


def _plain(value: Any) -> str | None:
    """Text of a constant; None for what is none."""
    if type(value) in _PLAIN:
        return ascii(value)
    if type(value) in (tuple, list):
        items = [_plain(item) for item in value]
        return None if None in items else f"[{', '.join(map(str, items))}]"
    if type(value) in (set, frozenset):
        items = [_plain(item) for item in value]
        return None if None in items else f"{{{', '.join(sorted(map(str, items)))}}}"
    if type(value) is dict:
        pairs = [(_plain(key), _plain(item)) for key, item in value.items()]
        if any(None in pair for pair in pairs):
            return None
        return f"{{{', '.join(f'{key}: {item}' for key, item in sorted(pairs, key=str))}}}"
    return None


def _code(code: types.CodeType) -> str:
    """A function without source: its bytecode, which another version of Python makes otherwise."""
    consts = [_code(c) if isinstance(c, types.CodeType) else ascii(c) for c in code.co_consts]
    parts = [code.co_code.hex(), *consts, *code.co_names, *code.co_varnames]
    return f"bytecode {hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


def _text(node: Any, this: str) -> str:
    """One line for a syntax tree, fully bracketed; `this` is what the function calls self."""

    def text(part: Any) -> str:
        return _text(part, this)

    def listed(parts: list[Any]) -> str:
        return ", ".join(text(part) for part in parts)

    match node:
        case ast.Constant(value=value):
            return ascii(value)
        case ast.Name(id=name):
            return "self" if name == this else name
        case ast.Attribute(value=value, attr=name):
            return f"{text(value)}.{name}"
        case ast.Return(value=value):
            return f"return {text(value)}"
        case ast.BinOp(left=left, op=op, right=right):
            return f"({text(left)} {_OPERATORS[type(op).__name__]} {text(right)})"
        case ast.UnaryOp(op=op, operand=operand):
            return f"({_OPERATORS[type(op).__name__]}{text(operand)})"
        case ast.BoolOp(op=op, values=values):
            return f"({f' {_OPERATORS[type(op).__name__]} '.join(text(v) for v in values)})"
        case ast.Compare(left=left, ops=ops, comparators=right):
            pairs = [
                f" {_OPERATORS[type(op).__name__]} {text(part)}"
                for op, part in zip(ops, right, strict=True)
            ]
            return f"({text(left)}{''.join(pairs)})"
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return f"({text(body)} if {text(test)} else {text(orelse)})"
        case ast.Call(func=function, args=args, keywords=[]):
            return f"{text(function)}({listed(args)})"
        case ast.Subscript(value=value, slice=index):
            return f"{text(value)}[{text(index)}]"
        case ast.JoinedStr(values=values):
            return f"f({listed(values)})"
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            return text(value)
        case ast.AST():
            parts = []
            for name, value in ast.iter_fields(node):
                if name not in _UNTOLD and value is not None and value != []:
                    parts.append(f"{name}={text(value)}")
            return f"{type(node).__name__}({', '.join(parts)})"
        case list():
            return f"[{listed(node)}]"
        case _:
            return ascii(node)
