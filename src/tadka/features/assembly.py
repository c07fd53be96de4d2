"""A program while it is written: its registers, constants and jumps."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tadka.features.program import MAX_OPS, MAX_REGISTERS, Code, Constant, Kind, Op, Program
from tadka.features.source import NotCompiled

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (a row's times are naive UTC)
MICROSECOND = timedelta(microseconds=1)

_KINDS: dict[type, Kind] = {
    bool: Kind.BOOL,
    datetime: Kind.TIME,
    float: Kind.FLOAT,
    int: Kind.INT,
    str: Kind.TEXT,
    timedelta: Kind.DELTA,
    type(None): Kind.NONE,
}


class Value(NamedTuple):
    """A value that an expression leaves.

    Args:
        register: Where it is.
        kinds: What it can be.
        items: What its items can be where it is a list.
    """

    register: int
    kinds: Kind
    items: Kind = Kind(0)


class Assembly:
    """Operations in order. Registers are taken and released like a stack.

    Args:
        fields: Names of the row's fields, for the listing.
    """

    def __init__(self, fields: tuple[str, ...]) -> None:
        self._fields = fields
        self._ops: list[Op] = []
        self._constants: list[Constant] = []
        self._known: dict[tuple[type, str], int] = {}
        self.top = 0

    @property
    def here(self) -> int:
        """Number of the next operation."""
        return len(self._ops)

    def take(self) -> int:
        """A register; given back by setting `top` to what it was before."""
        if self.top == MAX_REGISTERS:
            raise NotCompiled(f"more than {MAX_REGISTERS} values at a time")
        self.top += 1
        return self.top - 1

    def emit(self, code: Code, dst: int = 0, a: int = 0, b: int = 0, imm: int = 0) -> int:
        """Appends an operation; gives its number."""
        if self.here == MAX_OPS:
            raise NotCompiled(f"more than {MAX_OPS} operations")
        self._ops.append(Op(code, dst, a, b, imm))
        return self.here - 1

    def land(self, jumps: list[int]) -> None:
        """Lets jumps that had no goal go to the next operation."""
        for jump in jumps:
            op = self._ops[jump]
            self._ops[jump] = Op(op.code, op.dst, op.a, op.b, self.here)

    def land_after(self, jumps: list[int]) -> None:
        """As `land`, without the last jump where it would go to the operation after it."""
        if jumps and jumps[-1] == self.here - 1:
            self._ops.pop()
            jumps = jumps[:-1]
        self.land(jumps)

    def constant(self, value: Constant) -> int:
        """Number of a constant."""
        key = (type(value), repr(value))  # tells -0.0 from 0.0 and True from 1
        if key not in self._known:
            self._known[key] = self.constants([value])
        return self._known[key]

    def constants(self, values: Sequence[Constant]) -> int:
        """Number of the first of constants that lie side by side."""
        for value in values:
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise NotCompiled("an integer beyond 64 bits")
            if isinstance(value, str):
                try:
                    value.encode()
                except UnicodeEncodeError:
                    raise NotCompiled("a text that is not UTF-8") from None
        self._constants.extend(values)
        return len(self._constants) - len(values)

    def load(self, value: Any, dst: int) -> Value:
        """Puts a constant into a register.

        Args:
            value: None, bool, int, float, str, datetime or timedelta.
            dst: The register.
        """
        kind = _KINDS[type(value)]
        if isinstance(value, datetime):
            if value.tzinfo is not None:
                raise NotCompiled("a time with a time zone")
            value -= EPOCH
        if isinstance(value, timedelta):
            number = self.constant(value // MICROSECOND)
            self.emit(Code.CONSTANT, dst, a=kind.number, imm=number)
        else:
            self.emit(Code.CONSTANT, dst, imm=self.constant(value))
        return Value(dst, kind)

    def finish(self) -> Program:
        """The program."""
        return Program(tuple(self._ops), tuple(self._constants), self._fields)
