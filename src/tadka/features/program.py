"""A property as operations over registers, which engine/program.c runs without Python."""

import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

MAX_REGISTERS = 64
MAX_OPS = 4096

Constant = None | bool | int | float | str

_OP = struct.Struct("=BBBBi")  # td_op of engine/program.h


class Kind(IntFlag):
    """What a register can hold: a set. The bit of a kind is 1 << its td_kind of engine/value.h."""

    NONE = 1 << 0
    BOOL = 1 << 1
    INT = 1 << 2
    FLOAT = 1 << 3
    TIME = 1 << 4
    TEXT = 1 << 5
    LIST = 1 << 6
    DELTA = 1 << 7
    """A difference of times in microseconds; inside a program only, never its value."""

    @property
    def number(self) -> int:
        """The td_kind of a single kind."""
        return self.value.bit_length() - 1

    @property
    def words(self) -> str:
        """As a user writes the types: "int | None"."""
        return " | ".join(word for kind, word in _WORDS.items() if kind in self)


_WORDS = {
    Kind.BOOL: "bool",
    Kind.INT: "int",
    Kind.FLOAT: "float",
    Kind.TIME: "datetime",
    Kind.TEXT: "str",
    Kind.LIST: "list",
    Kind.DELTA: "timedelta",
    Kind.NONE: "None",
}


class Code(IntEnum):
    """What an operation does; the same numbers as td_code of engine/program.c.

    Unless said otherwise: dst = operation(a, b), a and b are registers. An operand of another kind
    than the operation knows makes the whole program answer TD_PYTHON.
    """

    RETURN = 0  # the program's value is a
    FIELD = 1  # dst = field imm of the row
    CONSTANT = 2  # dst = constant imm, an int taken as the kind a unless that is 0
    MOVE = 3
    JUMP = 4  # to operation imm; all jumps go forward
    JUMP_IF = 5  # to operation imm if a is true
    JUMP_UNLESS = 6
    REQUIRE = 7  # the kind of a is one of the set imm
    TEXT = 8  # the texts of b registers from a on, joined
    LIST = 9  # the list of b registers from a on
    IS_NONE = 10
    NOT = 11
    BOOL = 12
    INT = 13
    FLOAT = 14
    ROUND = 15
    FLOOR = 16
    CEIL = 17
    SQRT = 18
    NEGATIVE = 19
    ABSOLUTE = 20
    ADD = 21
    SUBTRACT = 22
    MULTIPLY = 23
    DIVIDE = 24
    FLOOR_DIVIDE = 25
    MODULO = 26
    AND = 27
    OR = 28
    XOR = 29
    MIN = 30
    MAX = 31
    EQUAL = 32
    NOT_EQUAL = 33
    LESS = 34
    LESS_EQUAL = 35
    IN = 36  # whether a equals one of b constants from imm on
    CONTAINS = 37  # whether a is in the text or list b
    STARTS = 38  # whether a starts with one of b constants from imm on
    ENDS = 39
    LENGTH = 40
    LOWER = 41
    UPPER = 42
    STRIP = 43  # b: 1 the left side, 2 the right, 3 both
    SLICE = 44  # code points of a from constant imm to constant imm + 1
    ITEM = 45  # item or code point imm of a
    YEAR = 46
    MONTH = 47
    DAY = 48
    HOUR = 49
    MINUTE = 50
    SECOND = 51
    MICROSECOND = 52
    WEEKDAY = 53
    ISOWEEKDAY = 54
    DAYS = 55  # of a delta, from here on
    SECONDS = 56
    MICROSECONDS = 57
    TOTAL_SECONDS = 58


@dataclass(frozen=True)
class Op:
    """One operation.

    Args:
        code: What it does, and what the others mean.
        dst: Register that takes the result.
        a: First operand.
        b: Second operand.
        imm: A number: of a field, constant or operation, or a set of kinds.
    """

    code: Code
    dst: int = 0
    a: int = 0
    b: int = 0
    imm: int = 0


@dataclass(frozen=True)
class Program:
    """A compiled property.

    Args:
        ops: In order; jumps go forward only, the last one returns.
        constants: What the operations refer to by number.
        fields: Names of the row's fields by number, for the listing.
    """

    ops: tuple[Op, ...]
    constants: tuple[Constant, ...]
    fields: tuple[str, ...] = field(default=(), compare=False)

    @property
    def fields_read(self) -> frozenset[int]:
        """Numbers of the fields that the program needs."""
        return frozenset(op.imm for op in self.ops if op.code is Code.FIELD)

    def ops_bytes(self) -> bytes:
        """The operations as C reads them: 8 bytes each, in the machine's byte order."""
        return b"".join(_OP.pack(op.code, op.dst, op.a, op.b, op.imm) for op in self.ops)

    def __str__(self) -> str:
        """One line an operation: what `tadka features check --explain` prints."""
        width = len(str(len(self.ops) - 1))
        return "\n".join(f"{i:{width}}  {self._line(op)}" for i, op in enumerate(self.ops))

    def _line(self, op: Op) -> str:
        code, name = op.code, op.code.name.lower()
        group = f"r{op.a}" + (f"..r{op.a + op.b - 1}" if op.b > 1 else "") if op.b else "nothing"
        several = ", ".join(map(repr, self.constants[op.imm : op.imm + op.b]))
        match code:
            case Code.RETURN:
                return f"return r{op.a}"
            case Code.FIELD:
                known = self.fields[op.imm] if op.imm < len(self.fields) else f"number {op.imm}"
                return f"r{op.dst} = field {known}"
            case Code.CONSTANT:
                kind = f" as {Kind(1 << op.a).words}" if op.a else ""
                return f"r{op.dst} = {self.constants[op.imm]!r}{kind}"
            case Code.MOVE:
                return f"r{op.dst} = r{op.a}"
            case Code.JUMP:
                return f"jump {op.imm}"
            case Code.JUMP_IF | Code.JUMP_UNLESS:
                return f"jump {op.imm} {name.removeprefix('jump_')} r{op.a}"
            case Code.REQUIRE:
                return f"require r{op.a} is {Kind(op.imm).words}"
            case Code.TEXT | Code.LIST:
                return f"r{op.dst} = {name} {group}"
            case Code.IN | Code.STARTS | Code.ENDS:
                return f"r{op.dst} = {name} r{op.a} ({several})"
            case Code.SLICE:
                start, stop = self.constants[op.imm : op.imm + 2]
                return f"r{op.dst} = slice r{op.a} from {start} to {stop}"
            case Code.ITEM:
                return f"r{op.dst} = item r{op.a} {op.imm}"
            case Code.STRIP:
                return f"r{op.dst} = strip r{op.a} {('', 'left', 'right', 'both')[op.b]}"
        if code in _OF_TWO:
            return f"r{op.dst} = {name} r{op.a} r{op.b}"
        return f"r{op.dst} = {name} r{op.a}"


_OF_TWO = frozenset(c for c in Code if Code.ADD <= c <= Code.LESS_EQUAL) | {Code.CONTAINS}
