"""Expressions of a property, compiled. What the machine would do differently is refused."""

import ast
import builtins
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import FunctionType, ModuleType
from typing import Any

from tadka.features.assembly import Assembly, Value
from tadka.features.program import Code, Constant, Kind
from tadka.features.source import NOTHING, NotCompiled, Source, is_constant

_WHOLE = Kind.BOOL | Kind.INT
_NUMBER = _WHOLE | Kind.FLOAT
_TOLD = Kind.NONE | _WHOLE | Kind.TEXT  # whose str() the machine knows
_ORDERED = (_NUMBER, Kind.TEXT, Kind.TIME, Kind.DELTA)  # kinds that can be compared with each other

_TIME_PARTS = {
    "year": Code.YEAR,
    "month": Code.MONTH,
    "day": Code.DAY,
    "hour": Code.HOUR,
    "minute": Code.MINUTE,
    "second": Code.SECOND,
    "microsecond": Code.MICROSECOND,
}
_DELTA_PARTS = {"days": Code.DAYS, "seconds": Code.SECONDS, "microseconds": Code.MICROSECONDS}
_METHODS: dict[str, tuple[Code, Kind, Kind, int]] = {  # operation, of what, result, b
    "isoweekday": (Code.ISOWEEKDAY, Kind.TIME, Kind.INT, 0),
    "lower": (Code.LOWER, Kind.TEXT, Kind.TEXT, 0),
    "lstrip": (Code.STRIP, Kind.TEXT, Kind.TEXT, 1),
    "rstrip": (Code.STRIP, Kind.TEXT, Kind.TEXT, 2),
    "strip": (Code.STRIP, Kind.TEXT, Kind.TEXT, 3),
    "total_seconds": (Code.TOTAL_SECONDS, Kind.DELTA, Kind.FLOAT, 0),
    "upper": (Code.UPPER, Kind.TEXT, Kind.TEXT, 0),
    "weekday": (Code.WEEKDAY, Kind.TIME, Kind.INT, 0),
}
_FUNCTIONS: dict[Any, tuple[Code, Kind, Kind]] = {  # operation, of what, result
    bool: (Code.BOOL, ~Kind(0), Kind.BOOL),
    float: (Code.FLOAT, _NUMBER, Kind.FLOAT),
    int: (Code.INT, _NUMBER | Kind.TEXT, Kind.INT),
    len: (Code.LENGTH, Kind.TEXT | Kind.LIST, Kind.INT),
    math.ceil: (Code.CEIL, _NUMBER, Kind.INT),
    math.floor: (Code.FLOOR, _NUMBER, Kind.INT),
    math.sqrt: (Code.SQRT, _NUMBER, Kind.FLOAT),
    round: (Code.ROUND, _NUMBER, Kind.INT),
}
_ARITHMETIC: dict[type, tuple[Code, str, Callable[[Any, Any], Any]]] = {
    ast.Add: (Code.ADD, "+", operator.add),
    ast.Sub: (Code.SUBTRACT, "-", operator.sub),
    ast.Mult: (Code.MULTIPLY, "*", operator.mul),
    ast.Div: (Code.DIVIDE, "/", operator.truediv),
    ast.FloorDiv: (Code.FLOOR_DIVIDE, "//", operator.floordiv),
    ast.Mod: (Code.MODULO, "%", operator.mod),
}
_BITWISE: dict[type, tuple[Code, str]] = {
    ast.BitAnd: (Code.AND, "&"),
    ast.BitOr: (Code.OR, "|"),
    ast.BitXor: (Code.XOR, "^"),
}
_OTHER_OPERATORS: dict[type, str] = {
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.MatMult: "@",
}
_ORDER: dict[type, tuple[Code, bool]] = {  # operation, whether the sides are exchanged
    ast.Lt: (Code.LESS, False),
    ast.LtE: (Code.LESS_EQUAL, False),
    ast.Gt: (Code.LESS, True),
    ast.GtE: (Code.LESS_EQUAL, True),
}
_REFUSED: dict[type, str] = {
    ast.Await: "await",
    ast.Dict: "a dict",
    ast.DictComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.Lambda: "a lambda",
    ast.ListComp: "a loop",
    ast.NamedExpr: "an assignment within an expression",
    ast.Set: "a set as a value",
    ast.SetComp: "a loop",
    ast.Starred: "an unpacked list",
    ast.Tuple: "a tuple as a value",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
}
_MAX_DEPTH = 16  # of properties that read properties


@dataclass(eq=False)
class Frame:
    """A function while it is compiled into a program: the property itself or one that it reads.

    Args:
        source: The function.
        this: What it calls self; None for a function of the module.
        registers: Where its local names are.
        result: Register for its value; None for the property itself, which returns.
        outer: The frame that reads it.
    """

    source: Source
    this: str | None
    registers: dict[str, int] = field(default_factory=dict)
    result: int | None = None
    outer: "Frame | None" = None
    known: dict[str, Value] | None = field(default_factory=dict)
    """Local names that have a value here; None where nothing gets."""
    exits: list[int] = field(default_factory=list)
    """Jumps to its end."""
    gives: list[Value] = field(default_factory=list)
    """What its returns leave."""

    def chain(self) -> Iterator["Frame"]:
        """This frame and those around it."""
        yield self
        if self.outer is not None:
            yield from self.outer.chain()


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a text that is put together: a text, or an expression of some frame."""

    content: str | ast.expr
    frame: Frame
    must_be_text: bool = False


class Expressions:
    """Compiles expressions.

    Args:
        fields: Kinds of the row's fields and of their items, by name, in their order.
        properties: Functions of the properties, by name.
    """

    def __init__(
        self, fields: dict[str, tuple[Kind, Kind]], properties: dict[str, Callable[[], Source]]
    ) -> None:
        self.fields = fields
        self.numbers = {name: number for number, name in enumerate(fields)}
        self.properties = properties
        self.out = Assembly(tuple(fields))
        self.frame: Frame

    def inline(self, source: Source, args: list[Value], dst: int, *, is_method: bool) -> Value:
        """Compiles a function's body in place."""
        raise NotImplementedError

    @contextmanager
    def inside(self, frame: Frame) -> Iterator[None]:
        """Names mean what they mean in this frame."""
        outer, self.frame = self.frame, frame
        try:
            yield
        finally:
            self.frame = outer

    # ------------------------------------------------------------ constants and names

    def lookup(self, node: ast.expr) -> Any:
        """What a name, or a name of a module, stands for; NOTHING for all that is not fixed."""
        if isinstance(node, ast.Name):
            frame = self.frame
            is_local = node.id in frame.registers or node.id == frame.this
            return NOTHING if is_local else frame.source.lookup(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.lookup(node.value)
            if isinstance(owner, ModuleType):
                return getattr(owner, node.attr, NOTHING)
        return NOTHING

    def fold(self, node: ast.expr) -> Any:
        """The value of an expression that is the same for all rows; NOTHING for others."""
        match node:
            case ast.Constant(value=value):
                return value if is_constant(value) else NOTHING
            case ast.Name() | ast.Attribute():
                value = self.lookup(node)
                return value if is_constant(value) else NOTHING
            case ast.Tuple(elts=nodes):
                values = [self.fold(item) for item in nodes]
                return NOTHING if NOTHING in values else tuple(values)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self.fold(operand)
                return -value if type(value) in (int, float, timedelta) else NOTHING
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._fold_arithmetic(op, self.fold(left), self.fold(right))
            case ast.Call(func=function, args=args, keywords=keywords):
                called = self.lookup(function)
                if called is not timedelta and called is not datetime:
                    return NOTHING
                given = [self.fold(arg) for arg in args]
                named = {str(keyword.arg): self.fold(keyword.value) for keyword in keywords}
                try:
                    return called(*given, **named)
                except (TypeError, ValueError, OverflowError):
                    return NOTHING
        return NOTHING

    @staticmethod
    def _fold_arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
        numbers = (bool, int, float, datetime, timedelta)  # texts are joined elsewhere
        if type(left) not in numbers or type(right) not in numbers:
            return NOTHING
        try:
            value = _ARITHMETIC[type(op)][2](left, right)
        except (ArithmeticError, TypeError):
            return NOTHING
        # Kept small: a product of products would grow without bound.
        return NOTHING if isinstance(value, int) and value.bit_length() > 256 else value

    # ------------------------------------------------------------ expressions

    def value(self, node: ast.expr, dst: int | None = None) -> Value:
        """Compiles an expression.

        Args:
            node: The expression.
            dst: Register that its value must be in; None for any, also a local name's own.
        """
        if dst is None:
            if isinstance(node, ast.Name) and node.id in self.frame.registers:
                return self._local(node.id)
            dst = self.out.take()
        mark = self.out.top
        try:
            value = self._value(node, dst)
        except NotCompiled as error:
            if error.line is None:
                error.line = getattr(node, "lineno", None)
            raise
        self.out.top = mark
        return value

    def _value(self, node: ast.expr, dst: int) -> Value:
        constant = self.fold(node)
        if constant is not NOTHING and not isinstance(constant, tuple | frozenset):
            return self.out.load(constant, dst)
        match node:
            case ast.Name(id=name):
                return self._name(name, dst)
            case ast.Attribute():
                return self._attribute(node, dst)
            case ast.Call():
                return self._call(node, dst)
            case ast.JoinedStr():
                return self._text(self._parts(node), dst)
            case ast.BinOp():
                return self._binary(node, dst)
            case ast.UnaryOp():
                return self._unary(node, dst)
            case ast.BoolOp():
                return self._choice(node, dst)
            case ast.Compare():
                return self._compare(node, dst)
            case ast.IfExp():
                return self._conditional(node, dst)
            case ast.Subscript():
                return self._subscript(node, dst)
            case ast.List(elts=nodes):
                return self._list(nodes, dst)
            case ast.Constant(value=value):
                raise NotCompiled(f"a constant of type {type(value).__name__}")
        raise NotCompiled(_REFUSED.get(type(node), f"a {type(node).__name__}"))

    def _apply(self, code: Code, dst: int, value: Value, kinds: Kind, *, b: int = 0) -> Value:
        self.out.emit(code, dst, value.register, b)
        return Value(dst, kinds)

    def _local(self, name: str) -> Value:
        known = self.frame.known
        if known is None or name not in known:
            raise NotCompiled(f"{name!r}, which may have no value yet")
        return known[name]

    def _name(self, name: str, dst: int) -> Value:
        if name in self.frame.registers:
            local = self._local(name)
            self.out.emit(Code.MOVE, dst, local.register)
            return local._replace(register=dst)
        if name == self.frame.this:
            raise NotCompiled("self as a value")
        found = self.frame.source.lookup(name)
        if found is NOTHING:
            raise NotCompiled(f"{name!r}, which is not defined")
        if isinstance(found, tuple | frozenset):
            raise NotCompiled("a tuple as a value")
        if isinstance(found, dict | list | set):
            raise NotCompiled(f"{name!r}, a {type(found).__name__}, which can change")
        raise NotCompiled(f"{name!r}, a {type(found).__name__}")

    def _attribute(self, node: ast.Attribute, dst: int) -> Value:
        name = node.attr
        if isinstance(node.value, ast.Name) and node.value.id == self.frame.this:
            if name in self.fields:
                self.out.emit(Code.FIELD, dst, imm=self.numbers[name])
                return Value(dst, *self.fields[name])
            if name in self.properties:
                return self.inline(self.properties[name](), [], dst, is_method=True)
            raise NotCompiled(f"{name!r}, neither a field nor a property")
        if isinstance(self.lookup(node.value), ModuleType):
            raise NotCompiled(f"{ast.unparse(node)}, no constant that can be built in")
        parts = _TIME_PARTS if name in _TIME_PARTS else _DELTA_PARTS
        if name not in parts:
            raise NotCompiled(f"the attribute {name!r}")
        of = Kind.TIME if parts is _TIME_PARTS else Kind.DELTA
        value = self.value(node.value)
        self._expect(value, of, f"{name!r} of")
        return self._apply(parts[name], dst, value, Kind.INT)

    def _expect(self, value: Value, kinds: Kind, doing: str) -> None:
        if not value.kinds & kinds:
            raise NotCompiled(f"{doing} {value.kinds.words}")

    def _list(self, nodes: Sequence[ast.expr], dst: int) -> Value:
        first, items = self.out.top, Kind(0)
        for node in nodes:
            item = self.value(node, self.out.take())
            if item.kinds & (Kind.LIST | Kind.DELTA):
                raise NotCompiled(f"a list of {item.kinds.words}")
            items |= item.kinds
        self.out.emit(Code.LIST, dst, first if nodes else 0, len(nodes))
        return Value(dst, Kind.LIST, items)

    def _unary(self, node: ast.UnaryOp, dst: int) -> Value:
        if isinstance(node.op, ast.Not):
            return self._apply(Code.NOT, dst, self.value(node.operand), Kind.BOOL)
        if isinstance(node.op, ast.USub):
            value = self.value(node.operand)
            return self._signed(Code.NEGATIVE, value, dst, "- of")
        raise NotCompiled("~" if isinstance(node.op, ast.Invert) else "the sign +")

    def _signed(self, code: Code, value: Value, dst: int, doing: str) -> Value:
        self._expect(value, _NUMBER, doing)
        kinds = (Kind.INT if value.kinds & _WHOLE else Kind(0)) | value.kinds & Kind.FLOAT
        return self._apply(code, dst, value, kinds)

    def _choice(self, node: ast.BoolOp, dst: int) -> Value:
        """`and`, `or`: the last operand that was looked at."""
        is_or = isinstance(node.op, ast.Or)
        jumps: list[int] = []
        kinds, items = Kind(0), Kind(0)
        for operand in node.values:
            value = self.value(operand, dst)
            is_last = operand is node.values[-1]
            # What is never true cannot be given by `or`, nor what is never false by `and`.
            never = Kind(0) if is_last else Kind.NONE if is_or else Kind.TIME
            kinds |= value.kinds & ~never
            items |= value.items
            if not is_last:
                jumps.append(self.out.emit(Code.JUMP_IF if is_or else Code.JUMP_UNLESS, a=dst))
        self.out.land(jumps)
        return Value(dst, kinds, items)

    def _conditional(self, node: ast.IfExp, dst: int) -> Value:
        mark = self.out.top
        test = self.value(node.test)
        self.out.top = mark
        skip = self.out.emit(Code.JUMP_UNLESS, a=test.register)
        left = self.value(node.body, dst)
        end = self.out.emit(Code.JUMP)
        self.out.land([skip])
        right = self.value(node.orelse, dst)
        self.out.land([end])
        return Value(dst, left.kinds | right.kinds, left.items | right.items)

    # ------------------------------------------------------------ comparisons

    def _compare(self, node: ast.Compare, dst: int) -> Value:
        left: Value | None = self.value(node.left)
        jumps: list[int] = []
        for op, right in zip(node.ops, node.comparators, strict=True):
            if left is None:
                raise NotCompiled("a chain of comparisons with a constant in the middle")
            left = self._compare_two(op, left, right, dst)
            if right is not node.comparators[-1]:  # the next one is looked at if this one is true
                jumps.append(self.out.emit(Code.JUMP_UNLESS, a=dst))
        self.out.land(jumps)
        return Value(dst, Kind.BOOL)

    def _compare_two(self, op: ast.cmpop, left: Value, node: ast.expr, dst: int) -> Value | None:
        """Compares; gives the right side's value, None where it has no register."""
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(node, ast.Constant) and node.value is None):
                raise NotCompiled("`is` with another than None")
            self.out.emit(Code.IS_NONE, dst, left.register)
            if isinstance(op, ast.IsNot):
                self.out.emit(Code.NOT, dst, dst)
            return None
        if isinstance(op, ast.In | ast.NotIn):
            right = self._contains(left, node, dst)
            if isinstance(op, ast.NotIn):
                self.out.emit(Code.NOT, dst, dst)
            return right
        right = self.value(node)
        if isinstance(op, ast.Eq | ast.NotEq):
            if left.kinds == right.kinds == Kind.LIST:
                raise NotCompiled("a comparison of lists")
            code = Code.EQUAL if isinstance(op, ast.Eq) else Code.NOT_EQUAL
            self.out.emit(code, dst, left.register, right.register)
            return right
        if not any(left.kinds & group and right.kinds & group for group in _ORDERED):
            raise NotCompiled(f"a comparison of {left.kinds.words} with {right.kinds.words}")
        code, is_exchanged = _ORDER[type(op)]
        first, second = (right, left) if is_exchanged else (left, right)
        self.out.emit(code, dst, first.register, second.register)
        return right

    def _contains(self, left: Value, node: ast.expr, dst: int) -> Value | None:
        values = self._collection(node)
        if values is None:
            right = self.value(node)
            self._expect(right, Kind.TEXT | Kind.LIST, "`in` of")
            self.out.emit(Code.CONTAINS, dst, left.register, right.register)
            return right
        self._one_of(Code.IN, left, values, dst)
        return None

    def _collection(self, node: ast.expr) -> list[Constant] | None:
        """Items of a constant tuple, list or set; None for anything else."""
        if isinstance(node, ast.List | ast.Set):
            node = ast.Tuple(node.elts, ast.Load())
        values = self.fold(node)
        if isinstance(node, ast.Tuple) and values is NOTHING:
            raise NotCompiled("`in` of values that are no constants")
        match node:
            case ast.Call(func=function, args=[arg], keywords=[]) if any(
                self.lookup(function) is kind for kind in (frozenset, list, set, tuple)
            ):
                return self._collection(arg)
        if not isinstance(values, tuple | frozenset):
            return None
        for item in values:
            # `in` of a tuple looks at identity first, which matters for NaN.
            is_nan = isinstance(item, float) and math.isnan(item)
            if not isinstance(item, bool | int | float | str | None) or is_nan:
                raise NotCompiled(f"`in` of a constant that holds {item!r}")
        # The order of a frozenset changes from process to process.
        return sorted(values, key=repr) if isinstance(values, frozenset) else list(values)

    def _one_of(self, code: Code, left: Value, values: Sequence[Constant], dst: int) -> None:
        """Whether one of any number of constants fits; an operation takes 255."""
        jumps = []
        for begin in range(0, max(len(values), 1), 255):
            chunk = values[begin : begin + 255]
            first = self.out.constants(chunk) if chunk else 0
            self.out.emit(code, dst, left.register, len(chunk), first)
            if begin + 255 < len(values):
                jumps.append(self.out.emit(Code.JUMP_IF, a=dst))
        self.out.land(jumps)

    # ------------------------------------------------------------ operators

    def _binary(self, node: ast.BinOp, dst: int) -> Value:
        op = type(node.op)
        if op in _OTHER_OPERATORS:
            raise NotCompiled(_OTHER_OPERATORS[op])
        if op is ast.Add and self._is_text(node):
            return self._text(self._parts(node), dst)
        if op is ast.Mod and self._is_text(node.left):
            raise NotCompiled("a format with %")
        left, right = self.value(node.left), self.value(node.right)
        if op in _BITWISE:
            code, sign = _BITWISE[op]
            kinds = left.kinds | right.kinds
            if not (left.kinds & _WHOLE and right.kinds & _WHOLE):
                raise NotCompiled(f"{left.kinds.words} {sign} {right.kinds.words}")
            self.out.emit(code, dst, left.register, right.register)
            return Value(dst, kinds & _WHOLE)
        code, sign, _ = _ARITHMETIC[op]
        kinds = _result_of(code, left.kinds, right.kinds)
        if op is ast.Add and left.kinds & right.kinds & Kind.TEXT:
            if kinds:
                raise NotCompiled("a + of texts or numbers")
            first = self.out.top
            for value in (left, right):
                self._require(value, Kind.TEXT)
                self.out.emit(Code.MOVE, self.out.take(), value.register)
            self.out.emit(Code.TEXT, dst, first, 2)
            return Value(dst, Kind.TEXT)
        if not kinds:
            raise NotCompiled(f"{left.kinds.words} {sign} {right.kinds.words}")
        self.out.emit(code, dst, left.register, right.register)
        return Value(dst, kinds)

    def _require(self, value: Value, kinds: Kind) -> None:
        if value.kinds & ~kinds:
            self.out.emit(Code.REQUIRE, a=value.register, imm=int(kinds))

    def _subscript(self, node: ast.Subscript, dst: int) -> Value:
        value = self.value(node.value)
        if isinstance(node.slice, ast.Slice):
            if node.slice.step is not None:
                raise NotCompiled("a slice with a step")
            self._expect(value, Kind.TEXT, "a slice of")
            start = self._bound(node.slice.lower, 0)
            stop = self._bound(node.slice.upper, 2**62)
            self.out.emit(Code.SLICE, dst, value.register, imm=self.out.constants([start, stop]))
            return Value(dst, Kind.TEXT)
        self._expect(value, Kind.TEXT | Kind.LIST, "an item of")
        at = self.fold(node.slice)
        if type(at) is not int or not -(2**31) <= at < 2**31:
            raise NotCompiled("an item whose number is no constant")
        self.out.emit(Code.ITEM, dst, value.register, imm=at)
        return Value(dst, value.kinds & Kind.TEXT | value.items)

    def _bound(self, node: ast.expr | None, absent: int) -> int:
        bound = absent if node is None else self.fold(node)
        if type(bound) is not int:
            raise NotCompiled("a slice whose bounds are no constants")
        return max(-(2**62), min(bound, 2**62))

    # ------------------------------------------------------------ texts

    def _is_text(self, node: ast.expr) -> bool:
        """Whether an expression is written so that it can only be a text."""
        match node:
            case ast.JoinedStr():
                return True
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._is_text(left) or self._is_text(right)
            case ast.Call(func=ast.Attribute(attr="join", value=value)):
                return self._is_text(value)
            case ast.Call(func=function, args=[_], keywords=[]):
                return self.lookup(function) is str
        return isinstance(self.fold(node), str)

    def _parts(self, node: ast.expr, *, must_be_text: bool = False) -> list[_Part]:
        """What str(node) is put together from, so that the whole is written once."""
        constant = self.fold(node)
        if isinstance(constant, str) or (
            not must_be_text and type(constant) in (bool, int, float, type(None))
        ):
            return [_Part(str(constant), self.frame)]
        parts = []
        match node:
            case ast.JoinedStr(values=values):
                for value in values:
                    if isinstance(value, ast.FormattedValue):
                        parts += self._parts(self._unformatted(value))
                    else:
                        parts += self._parts(value)
                return parts
            case ast.BinOp(left=left, op=ast.Add(), right=right) if self._is_text(node):
                return [
                    *self._parts(left, must_be_text=True),
                    *self._parts(right, must_be_text=True),
                ]
            case ast.Call(func=function, args=[arg], keywords=[]) if self.lookup(function) is str:
                return self._parts(arg)
            case ast.Attribute(value=ast.Name(id=name), attr=read) if (
                name == self.frame.this and read not in self.fields and read in self.properties
            ):
                source = self.properties[read]()
                if len(source.body) == 1 and isinstance(source.body[0], ast.Return):
                    returned = source.body[0].value
                    if returned is not None and (
                        not must_be_text or self._is_text_of(source, returned)
                    ):
                        with self.inside(self.enter(source, is_method=True)):
                            return self._parts(returned)
        return [_Part(node, self.frame, must_be_text)]

    def _is_text_of(self, source: Source, node: ast.expr) -> bool:
        with self.inside(self.enter(source, is_method=True)):
            return self._is_text(node)

    def enter(self, source: Source, *, is_method: bool) -> Frame:
        """A frame for a function that the present one reads."""
        chain = list(self.frame.chain())
        if any(frame.source.function.__code__ is source.function.__code__ for frame in chain):
            raise NotCompiled(f"{source.name!r}, which reads itself")
        if len(chain) == _MAX_DEPTH:
            raise NotCompiled(f"more than {_MAX_DEPTH} properties that read each other")
        parameters = source.parameters
        return Frame(source, parameters[0] if is_method and parameters else None, outer=self.frame)

    def _unformatted(self, node: ast.FormattedValue) -> ast.expr:
        if node.format_spec is not None and getattr(node.format_spec, "values", None):
            raise NotCompiled("a format specification")
        if node.conversion not in (-1, ord("s")):
            raise NotCompiled(f"the conversion !{chr(node.conversion)}")
        return node.value

    def _text(self, parts: list[_Part], dst: int) -> Value:
        joined: list[_Part] = []
        for part in parts:
            last = joined[-1].content if joined else None
            if isinstance(part.content, str) and isinstance(last, str):
                joined[-1] = _Part(last + part.content, part.frame)
            elif part.content != "":
                joined.append(part)
        if not joined:
            return self.out.load("", dst)
        first = self.out.top
        for part in joined:
            register = self.out.take()
            if isinstance(part.content, str):
                self.out.load(part.content, register)
                continue
            with self.inside(part.frame):
                value = self.value(part.content, register)
                self._told(value, must_be_text=part.must_be_text)
        self.out.emit(Code.TEXT, dst, first, len(joined))
        return Value(dst, Kind.TEXT)

    def _told(self, value: Value, *, must_be_text: bool) -> None:
        """Refuses what has another text in Python than the machine would write."""
        if must_be_text:
            self._expect(value, Kind.TEXT, "a text +")
            self._require(value, Kind.TEXT)
        elif value.kinds & ~_TOLD:
            raise NotCompiled(f"{(value.kinds & ~_TOLD).words} in text")

    # ------------------------------------------------------------ calls

    def _call(self, node: ast.Call, dst: int) -> Value:
        called = self.lookup(node.func)
        if called is NOTHING and isinstance(node.func, ast.Attribute):
            return self._call_method(node, node.func, dst)
        told = f"a call of {ast.unparse(node.func)}"
        if called is datetime or called is timedelta:
            raise NotCompiled(f"a {called.__name__} of values that are no constants")
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            raise NotCompiled(f"{told} with named or unpacked arguments")
        if isinstance(called, FunctionType):
            if called.__globals__ is not self.frame.source.function.__globals__:
                raise NotCompiled(told)
            return self._call_function(called, node.args, dst)
        try:
            hash(called)
        except TypeError:
            raise NotCompiled(told) from None
        if called is str and len(node.args) == 1:
            return self._text(self._parts(node), dst)
        if called in (min, max) and len(node.args) > 1:
            return self._extreme(Code.MIN if called is min else Code.MAX, node.args, dst)
        if called is math.isnan and len(node.args) == 1:
            value = self._number(node.args[0], told)  # NaN alone differs from itself
            self.out.emit(Code.NOT_EQUAL, dst, value.register, value.register)
            return Value(dst, Kind.BOOL)
        if called is math.isfinite and len(node.args) == 1:
            value = self._number(node.args[0], told)  # the others have no difference to themselves
            self.out.emit(Code.SUBTRACT, value.register, value.register, value.register)
            self.out.emit(Code.EQUAL, dst, value.register, value.register)
            return Value(dst, Kind.BOOL)
        if len(node.args) == 1 and called is abs:
            return self._signed(Code.ABSOLUTE, self.value(node.args[0]), dst, "abs of")
        if len(node.args) == 1 and called in _FUNCTIONS:
            code, of, kinds = _FUNCTIONS[called]
            value = self.value(node.args[0])
            self._expect(value, of, f"{told} with")
            return self._apply(code, dst, value, kinds)
        is_known = called in _FUNCTIONS or called in (builtins.abs, str, min, max)
        raise NotCompiled(f"{told} with {len(node.args)} arguments" if is_known else told)

    def _number(self, node: ast.expr, told: str) -> Value:
        """The value as a float in a register of its own."""
        register = self.out.take()
        value = self.value(node)
        self._expect(value, _NUMBER, f"{told} with")
        return self._apply(Code.FLOAT, register, value, Kind.FLOAT)

    def _extreme(self, code: Code, nodes: Sequence[ast.expr], dst: int) -> Value:
        best = self.value(nodes[0], self.out.take())
        for node in nodes[1:]:
            mark = self.out.top
            value = self.value(node)
            self.out.top = mark
            if not any(best.kinds & group and value.kinds & group for group in _ORDERED):
                raise NotCompiled(f"a comparison of {best.kinds.words} with {value.kinds.words}")
            comparable = _NUMBER | Kind.TEXT | Kind.TIME | Kind.DELTA
            kinds = (best.kinds | value.kinds) & comparable
            self.out.emit(code, best.register, best.register, value.register)
            best = Value(best.register, kinds)
        self.out.emit(Code.MOVE, dst, best.register)
        return best._replace(register=dst)

    def _call_method(self, node: ast.Call, function: ast.Attribute, dst: int) -> Value:
        name = function.attr
        told = f"a call of {ast.unparse(function)}"
        if isinstance(function.value, ast.Name) and function.value.id == self.frame.this:
            raise NotCompiled(told)
        if node.keywords:
            raise NotCompiled(f"{told} with named arguments")
        if name in _METHODS and not node.args:
            code, of, kinds, b = _METHODS[name]
            value = self.value(function.value)
            self._expect(value, of, f".{name}() of")
            return self._apply(code, dst, value, kinds, b=b)
        if name in ("startswith", "endswith") and len(node.args) == 1:
            value = self.value(function.value)
            self._expect(value, Kind.TEXT, f".{name}() of")
            ends = self.fold(node.args[0])
            given = ends if isinstance(ends, tuple) else (ends,)
            if not all(isinstance(end, str) for end in given):
                raise NotCompiled(f".{name}() of what is no constant text")
            self._one_of(Code.STARTS if name == "startswith" else Code.ENDS, value, given, dst)
            return Value(dst, Kind.BOOL)
        if (
            name == "join"
            and len(node.args) == 1
            and isinstance(node.args[0], ast.List | ast.Tuple)
        ):
            glue = self.fold(function.value)
            items = node.args[0].elts
            if isinstance(glue, str) and not any(isinstance(i, ast.Starred) for i in items):
                parts: list[_Part] = []
                for i, item in enumerate(items):
                    parts += [_Part(glue, self.frame)] if i else []
                    parts += self._parts(item, must_be_text=True)
                return self._text(parts, dst)
        raise NotCompiled(told)

    def _call_function(self, called: FunctionType, nodes: Sequence[ast.expr], dst: int) -> Value:
        source = self.source_of(called)
        if len(nodes) != len(source.parameters):
            raise NotCompiled(f"a call of {called.__name__} with {len(nodes)} arguments")
        args = [self.value(node, self.out.take()) for node in nodes]
        return self.inline(source, args, dst, is_method=False)

    def source_of(self, function: FunctionType) -> Source:
        """The source of a function of the module."""
        raise NotImplementedError


def _result_of(code: Code, left: Kind, right: Kind) -> Kind:
    """Kinds that arithmetic gives; none where it raises for all that the operands can be."""
    kinds = Kind(0)
    if left & _WHOLE and right & _WHOLE:
        kinds |= Kind.FLOAT if code is Code.DIVIDE else Kind.INT
    if (left & Kind.FLOAT and right & _NUMBER) or (right & Kind.FLOAT and left & _NUMBER):
        kinds |= Kind.FLOAT
    if left & Kind.TIME and right & Kind.DELTA and code in (Code.ADD, Code.SUBTRACT):
        kinds |= Kind.TIME
    if left & Kind.DELTA and right & Kind.TIME and code is Code.ADD:
        kinds |= Kind.TIME
    if left & right & Kind.TIME and code is Code.SUBTRACT:
        kinds |= Kind.DELTA
    if left & right & Kind.DELTA and code in (Code.DIVIDE, Code.FLOOR_DIVIDE):
        kinds |= Kind.FLOAT if code is Code.DIVIDE else Kind.INT
    return kinds
