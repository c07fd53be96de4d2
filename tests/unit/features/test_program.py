# ruff: noqa: DTZ001 - the times of a row are naive UTC

import random
import re
import struct
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.features import program as room
from tadka.features.program import MAX_REGISTERS, Code, Kind, Op, Program

native = pytest.importorskip("tadka.features.native")

ENGINE = Path(room.__file__).with_name("engine")
ROW: list[Any] = [datetime(2024, 5, 17, 13), "abc", 7, -2.5, True, None, ["x", "日本"]]


def made(*ops: Op, constants: tuple[Any, ...] = ()) -> Program:
    return Program(ops, constants, ("time", "site"))


def is_refused(program: Program) -> bool:
    try:
        native.run_program(program, ROW)
    except ConfigError:
        return True
    return False


def test_codes_are_those_of_the_machine() -> None:
    source = (ENGINE / "program.c").read_text(encoding="utf-8")

    codes = {name: int(number) for name, number in re.findall(r"TD_OP_(\w+) = (\d+)[,\n]", source)}

    assert {**{code.name: int(code) for code in Code}, "END": len(Code)} == codes


def test_kinds_are_those_of_the_machine() -> None:
    source = (ENGINE / "value.h").read_text(encoding="utf-8")
    source += (ENGINE / "program.c").read_text(encoding="utf-8")

    kinds = {
        name: int(number)
        for name, number in re.findall(r"TD_([A-Z]+)(?: =|) (\d)\b", source)
        if name in Kind.__members__
    }

    assert {kind.name: kind.number for kind in Kind} == kinds


def test_the_number_of_registers_is_that_of_the_machine() -> None:
    header = (ENGINE / "program.h").read_text(encoding="utf-8")

    assert f"#define TD_MAX_REGISTERS {MAX_REGISTERS}\n" in header


def test_an_operation_is_eight_bytes() -> None:
    program = made(Op(Code.IN, 1, 2, 3, -4), Op(Code.RETURN, a=1))

    expected = struct.pack("=BBBBi", 36, 1, 2, 3, -4) + struct.pack("=BBBBi", 0, 0, 1, 0, 0)
    assert expected == program.ops_bytes()


def test_the_fields_that_it_needs_are_known() -> None:
    program = made(Op(Code.FIELD, 0, imm=3), Op(Code.FIELD, 1, imm=1), Op(Code.RETURN))

    assert frozenset({1, 3}) == program.fields_read


def test_the_listing_says_every_operation_in_words() -> None:
    program = made(
        Op(Code.FIELD, 0),
        Op(Code.FIELD, 1, imm=2),
        Op(Code.CONSTANT, 2, imm=1),
        Op(Code.CONSTANT, 2, a=Kind.DELTA.number, imm=1),
        Op(Code.MOVE, 3, 2),
        Op(Code.REQUIRE, a=1, imm=Kind.TEXT | Kind.NONE),
        Op(Code.TEXT, 4, 0, 3),
        Op(Code.TEXT, 4, 0, 1),
        Op(Code.LIST, 4),
        Op(Code.IN, 5, 1, 2, 0),
        Op(Code.SLICE, 5, 1, imm=1),
        Op(Code.ITEM, 5, 1, imm=-1),
        Op(Code.STRIP, 5, 1, 3),
        Op(Code.ADD, 6, 1, 2),
        Op(Code.HOUR, 6, 0),
        Op(Code.JUMP_IF, a=6, imm=17),
        Op(Code.JUMP, imm=17),
        Op(Code.RETURN, a=6),
        constants=("a", 60, 70),
    )

    assert [
        " 0  r0 = field time",
        " 1  r1 = field number 2",
        " 2  r2 = 60",
        " 3  r2 = 60 as timedelta",
        " 4  r3 = r2",
        " 5  require r1 is str | None",
        " 6  r4 = text r0..r2",
        " 7  r4 = text r0",
        " 8  r4 = list nothing",
        " 9  r5 = in r1 ('a', 60)",
        "10  r5 = slice r1 from 60 to 70",
        "11  r5 = item r1 -1",
        "12  r5 = strip r1 both",
        "13  r6 = add r1 r2",
        "14  r6 = hour r0",
        "15  jump 17 if r6",
        "16  jump 17",
        "17  return r6",
    ] == str(program).splitlines()


FIELD, RETURN = Op(Code.FIELD), Op(Code.RETURN)


@pytest.mark.parametrize(
    "program",
    [
        made(),
        made(FIELD),
        made(RETURN),
        made(Op(Code.FIELD, imm=-1), RETURN),
        made(Op(Code.FIELD, imm=len(ROW)), RETURN),
        made(Op(Code.FIELD, dst=64), RETURN),
        made(FIELD, Op(Code.RETURN, a=1)),
        made(FIELD, Op(Code.RETURN, a=64)),
        made(FIELD, Op(Code.ADD, 0, 0, 1), RETURN),
        made(FIELD, Op(Code.ADD, 0, 0, 255), RETURN),
        made(FIELD, Op(Code.TEXT, 0, 0, 2), RETURN),
        made(FIELD, Op(Code.TEXT, 0, 60, 5), RETURN),
        made(FIELD, Op(Code.TEXT, 0, 0, 255), RETURN),
        made(Op(Code.CONSTANT), RETURN),
        made(Op(Code.CONSTANT, imm=-1), RETURN, constants=("a",)),
        made(Op(Code.CONSTANT, a=Kind.TIME.number), RETURN, constants=("a",)),
        made(Op(Code.CONSTANT, a=Kind.LIST.number), RETURN, constants=(1,)),
        made(FIELD, Op(Code.STARTS, 0, 0, 1), RETURN, constants=(1,)),
        made(FIELD, Op(Code.IN, 0, 0, 2), RETURN, constants=(1,)),
        made(FIELD, Op(Code.IN, 0, 0, 1, 2**31 - 1), RETURN, constants=(1,)),
        made(FIELD, Op(Code.SLICE), RETURN, constants=(1,)),
        made(FIELD, Op(Code.SLICE), RETURN, constants=(1, "a")),
        made(FIELD, Op(Code.STRIP, b=4), RETURN),
        made(FIELD, Op(Code.STRIP, b=0), RETURN),
        made(FIELD, Op(Code.JUMP, imm=1), RETURN),
        made(FIELD, Op(Code.JUMP, imm=0), RETURN),
        made(FIELD, Op(Code.JUMP, imm=3), RETURN),
        made(FIELD, Op(Code.JUMP, imm=-1), RETURN),
        made(FIELD, Op(Code.JUMP_IF, imm=3), Op(Code.FIELD, 1), Op(Code.RETURN, a=1)),
        made(FIELD, RETURN, Op(Code.FIELD, imm=99), RETURN),
    ],
)
def test_a_program_out_of_bounds_is_refused(program: Program) -> None:
    assert is_refused(program)


def test_a_register_that_only_one_way_sets_cannot_be_read() -> None:
    skip = Op(Code.JUMP_IF, imm=3)

    assert is_refused(made(FIELD, skip, Op(Code.FIELD, 1), Op(Code.RETURN, a=1)))
    assert not is_refused(made(FIELD, skip, Op(Code.FIELD, 1), RETURN))


def test_a_difference_of_times_never_leaves_a_program() -> None:
    as_delta = Op(Code.CONSTANT, a=Kind.DELTA.number)

    assert (False, None) == native.run_program(made(as_delta, RETURN, constants=(5,)), ROW)
    listed = made(as_delta, Op(Code.LIST, 0, 0, 1), RETURN, constants=(5,))
    assert (False, None) == native.run_program(listed, ROW)


def test_every_day_has_the_date_that_python_gives() -> None:
    parts = (Code.YEAR, Code.MONTH, Code.DAY, Code.WEEKDAY)
    ops = [Op(code, i + 1, 0) for i, code in enumerate(parts)]
    program = made(FIELD, *ops, Op(Code.LIST, 0, 1, len(parts)), RETURN)
    chance = random.Random(1)
    days = [0, 59, 60, 365, 730_484, 730_485, 3_652_058, *chance.choices(range(3_652_059), k=3000)]

    for day in days:
        time = datetime(1, 1, 1) + timedelta(days=day, seconds=chance.randrange(86400))
        expected = [time.year, time.month, time.day, time.weekday()]
        assert (True, expected) == native.run_program(program, [time])


def test_a_random_program_is_refused_or_ends() -> None:
    chance = random.Random(2)
    num_run = 0

    for _ in range(5000):
        set_before = [Op(Code.FIELD, i, imm=i % len(ROW)) for i in range(8)]
        ops = [
            Op(
                chance.choice(list(Code)),
                chance.randrange(8),
                chance.randrange(8),
                chance.randrange(4),
                chance.choice([0, 1, 2, 10, 11, 12, 13, 14]),
            )
            for _ in range(chance.randrange(1, 8))
        ]
        program = made(*set_before, *ops, RETURN, constants=(1, 2, "a", -1, None, 0.5))
        num_run += not is_refused(program)

    assert num_run > 100
