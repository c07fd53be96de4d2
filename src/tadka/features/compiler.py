"""Properties compiled to programs, or the reason why Python has to evaluate them."""

import ast
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tadka.features.assembly import Value
from tadka.features.definition import Field
from tadka.features.expression import Expressions, Frame
from tadka.features.program import Code, Kind, Program
from tadka.features.source import NotCompiled, Source, read_source

_TYPES = {
    "bool": Kind.BOOL,
    "datetime": Kind.TIME,
    "float": Kind.FLOAT,
    "int": Kind.INT,
    "str": Kind.TEXT,
}
_REFUSED: dict[type, str] = {
    ast.Assert: "assert",
    ast.AsyncFor: "a loop",
    ast.AsyncFunctionDef: "a function inside",
    ast.AsyncWith: "with",
    ast.ClassDef: "a class inside",
    ast.Delete: "del",
    ast.For: "a loop",
    ast.FunctionDef: "a function inside",
    ast.Global: "global",
    ast.Import: "an import",
    ast.ImportFrom: "an import",
    ast.Match: "match",
    ast.Nonlocal: "nonlocal",
    ast.Raise: "raise",
    ast.Try: "try",
    ast.TryStar: "try",
    ast.While: "a loop",
    ast.With: "with",
}


@dataclass(frozen=True)
class Refusal:
    """Why a property is not compiled.

    Args:
        reason: A noun: "a loop", "a call of json.loads".
        line: Of the file; None where it is no single one.
    """

    reason: str
    line: int | None = None

    def __str__(self) -> str:
        return self.reason if self.line is None else f"{self.reason} (line {self.line})"


def compile_property(
    getter: Any,
    fields: tuple[Field, ...],
    properties: Mapping[str, Any],
    returns: str,
    is_optional: bool,
    *,
    is_list: bool = False,
) -> Program | Refusal:
    """The program that gives what a property gives.

    Constants of modules are built in with the value that they have now.

    Args:
        getter: The property, or its function.
        fields: Of the row, in the order in which the machine is given their values.
        properties: Properties of the class, or their functions, by name: private ones, too.
        returns: Declared type of the value, or of its items.
        is_optional: Whether it may be None.
        is_list: Whether it is a list.

    Returns:
        For a row of which the machine says TD_PYTHON, the property has to be evaluated in Python.
        A refusal also if the value can never be of the declared type: Python finds out for which
        row.
    """
    try:
        compiler = _Compiler(fields, properties)
        value = compiler.compile(read_source(getter))
    except NotCompiled as error:
        return Refusal(error.reason, error.line)
    except RecursionError:
        return Refusal("an expression that is nested too deeply")
    declared = Kind.LIST if is_list else _TYPES[returns]
    accepted = declared | (Kind.NONE if is_optional else Kind(0))
    if declared is Kind.FLOAT:
        accepted |= Kind.INT
    if not value.kinds & accepted:
        return Refusal(f"its value is {value.kinds.words}, not {accepted.words}")
    return compiler.out.finish()


def _field_kinds(field: Field) -> tuple[Kind, Kind]:
    kind = _TYPES[field.type]
    if field.is_list:
        return Kind.LIST, kind
    return (kind | Kind.NONE if field.is_optional else kind), Kind(0)


class _Compiler(Expressions):
    """Statements, and functions compiled in place."""

    def __init__(self, fields: tuple[Field, ...], properties: Mapping[str, Any]) -> None:
        self.source_of = functools.cache(read_source)  # type: ignore[method-assign]
        readers: dict[str, Callable[[], Source]] = {
            name: functools.partial(self.source_of, getter) for name, getter in properties.items()
        }
        super().__init__({field.name: _field_kinds(field) for field in fields}, readers)

    def compile(self, source: Source) -> Value:
        """Compiles the property itself; gives what it can be."""
        self._check_parameters(source, 1)
        self.frame = Frame(source, source.parameters[0])
        self._body(self.frame)
        return _merged(self.frame.gives)

    def inline(self, source: Source, args: list[Value], dst: int, *, is_method: bool) -> Value:
        self._check_parameters(source, len(args) + is_method)
        frame = self.enter(source, is_method=is_method)
        frame.result = dst
        names = source.parameters[is_method:]
        frame.registers = {name: arg.register for name, arg in zip(names, args, strict=True)}
        frame.known = dict(zip(names, args, strict=True))
        mark = self.out.top
        with self.inside(frame):
            self._body(frame)
        self.out.top = mark
        self.out.land_after(frame.exits)
        return _merged(frame.gives)._replace(register=dst)

    def _check_parameters(self, source: Source, count: int) -> None:
        if source.function.__code__.co_flags & inspect.CO_GENERATOR:
            raise NotCompiled("yield", source.line)
        given = source.args
        if given.vararg or given.kwarg or given.kwonlyargs or len(source.parameters) != count:
            raise NotCompiled(f"the parameters of {source.name}", source.line)

    def _body(self, frame: Frame) -> None:
        for name in frame.source.assigned:
            if name == frame.this:
                raise NotCompiled(f"an assignment to {name}", frame.source.line)
            if name not in frame.registers:
                frame.registers[name] = self.out.take()
        self._block(frame.source.body)
        if frame.known is not None:  # the end without a return
            self._return(None)

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self.frame.known is None:
                return  # nothing gets here
            mark = self.out.top
            try:
                self._statement(statement)
            except NotCompiled as error:
                if error.line is None:
                    error.line = statement.lineno
                raise
            self.out.top = mark

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Return(value=value):
                self._return(value)
            case ast.If():
                self._if(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._assign(name, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._assign(name, value)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                read = ast.copy_location(ast.Name(name, ast.Load()), node)
                self._assign(name, ast.copy_location(ast.BinOp(read, op, value), node))
            case ast.Assign() | ast.AugAssign() | ast.AnnAssign():
                raise NotCompiled("an assignment to more than one name")
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr(value=ast.Call(func=function)):
                raise NotCompiled(f"a call of {ast.unparse(function)}")
            case ast.Expr(value=value):
                self.value(value)
            case _:
                raise NotCompiled(_REFUSED.get(type(node), f"a {type(node).__name__}"))

    def _assign(self, name: str, node: ast.expr) -> None:
        register = self.frame.registers[name]
        if any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node)):
            value = self.value(node, self.out.take())  # written there too early, it would be lost
            self.out.emit(Code.MOVE, register, value.register)
        else:
            value = self.value(node, register)
        if self.frame.known is not None:
            self.frame.known[name] = value._replace(register=register)

    def _return(self, node: ast.expr | None) -> None:
        frame = self.frame
        given = ast.Constant(None) if node is None else node
        value = self.value(given, frame.result)
        frame.gives.append(value)
        frame.known = None
        if frame.result is None:
            self.out.emit(Code.RETURN, a=value.register)
        else:
            frame.exits.append(self.out.emit(Code.JUMP))

    def _if(self, node: ast.If) -> None:
        frame = self.frame
        mark = self.out.top
        test = self.value(node.test)
        self.out.top = mark
        skip = self.out.emit(Code.JUMP_UNLESS, a=test.register)
        before = dict(frame.known or {})
        self._block(node.body)
        after_body, frame.known = frame.known, before
        end = [self.out.emit(Code.JUMP)] if after_body is not None and node.orelse else []
        self.out.land([skip])
        self._block(node.orelse)
        self.out.land(end)
        frame.known = _either(after_body, frame.known)


def _either(
    left: dict[str, Value] | None, right: dict[str, Value] | None
) -> dict[str, Value] | None:
    """What is known where two ways meet."""
    if left is None or right is None:
        return right if left is None else left
    return {name: _merged([left[name], right[name]]) for name in left if name in right}


def _merged(values: list[Value]) -> Value:
    kinds, items = Kind(0), Kind(0)
    for value in values:
        kinds |= value.kinds
        items |= value.items
    return Value(values[0].register, kinds, items)
