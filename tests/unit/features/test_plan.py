# ruff: noqa: DTZ001 - naive times are UTC in this room
import math
import os
import subprocess
import sys
from dataclasses import field
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError
from tadka.features import Features, Number, Skip, Vocabulary
from tadka.features import plan as plan_module
from tadka.features.plan import Plan, concatenate
from tests.unit.features.rows import Everything, entries, rows_of, table_of

HAS_NATIVE = plan_module.Engine is not None
ENGINES = [False, True] if HAS_NATIVE else [False]


def plan_for(cls: Any, *, native: bool, group: str | None = None) -> Plan:
    return Plan(cls, cls.definition(group), cls._declaration, native=native)


PLANS = {native: plan_for(Everything, native=native) for native in ENGINES}
UNKNOWN = bytes([0xF8, 0x7F, 0x05]) + bytes([0xFA, 0x7F, 0x02, 0x61, 0x62])


@settings(deadline=None, max_examples=60)
@given(st.lists(rows_of(), max_size=3))
def test_all_ways_give_the_same_bits_on_hostile_rows(rows: list[Any]) -> None:
    messages = [row.to_message() for row in rows]
    expected = entries(PLANS[False].encode(rows))

    for plan in PLANS.values():
        assert expected == entries(plan.encode(rows))
        assert expected == entries(plan.encode(messages))
        assert expected == entries(plan.encode([m + UNKNOWN for m in messages]))
        assert expected == entries(plan.encode(table_of(rows)))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=2))
def test_all_engines_refuse_the_same_messages(messages: list[bytes]) -> None:
    def outcome(plan: Plan) -> Any:
        try:
            return entries(plan.encode(messages))
        except DataError:
            return None

    assert 1 == len({outcome(plan) for plan in PLANS.values()})


@pytest.mark.parametrize("native", ENGINES)
def test_a_group_is_the_class_with_some_of_its_features(native: bool) -> None:
    row = Everything(datetime(2024, 1, 2, 3), None, "u", "s", 1, 2, 3.0, None, True, None)

    whole = Everything.definition()
    few = plan_for(Everything, native=native, group="few").encode([row])

    assert ["user", "price", "hour"] == [f.name for f in Everything.definition("few").features]
    assert [0, 1, 2] == few.features.tolist()
    every = plan_for(Everything, native=native).encode([row])
    user = [f.name for f in whole.features].index("user")
    assert every.slots[every.features == user] == few.slots[0]


@pytest.mark.parametrize("native", ENGINES)
@pytest.mark.parametrize("threads", [1, 3])
def test_many_rows_are_encoded_in_order_by_many_threads(native: bool, threads: int) -> None:
    class Small(Features):
        n: int
        tags: list[str] = field(default_factory=list)

        @property
        def parity(self) -> str:
            return "odd" if self.n % 2 else "even"

    numbers = np.arange(20_500 if native else 300)
    table = pa.table({"n": numbers, "tags": pa.array([["x"] * (n % 3) for n in numbers.tolist()])})
    table = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    messages = [Small(n, ["x"] * (n % 3)).to_message() for n in numbers.tolist()]
    plan = plan_for(Small, native=native)

    expected = concatenate(
        [plan.encode(messages[i : i + 1000]) for i in range(0, len(messages), 1000)],
        plan.definition,
    )

    assert entries(expected) == entries(plan.encode(messages, threads=threads))
    assert entries(expected) == entries(plan.encode(table, threads=threads))


@pytest.mark.parametrize("native", ENGINES)
def test_no_rows_are_no_entries(native: bool) -> None:
    nothing: list[Any] = [[], (), table_of([]), iter(())]
    for rows in nothing:
        found = PLANS[native].encode(rows)

        assert 0 == len(found)
        assert Everything.definition().num_slots == found.num_slots


class Ratio(Features):
    n: int
    text: str = ""

    @property
    def inverse(self) -> float:
        return 1 / self.n

    @property
    def looped(self) -> str:
        out = ""
        for part in self.text.split(","):
            out += part[0]
        return out


@pytest.mark.parametrize("native", ENGINES)
def test_a_property_that_raises_is_named_with_its_row_and_cause(native: bool) -> None:
    plan = plan_for(Ratio, native=native)
    rows = [Ratio(1, "a"), Ratio(2, "a"), Ratio(0, "a")]
    table = table_of(rows, Ratio)

    for data in (rows, [row.to_message() for row in rows], table):
        with pytest.raises(
            DataError, match=r"'inverse' raised ZeroDivisionError.* row 2"
        ) as caught:
            plan.encode(data)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(DataError, match=r"'looped' raised IndexError.* row 10"):
        plan.encode([Ratio(1)], first_row=10)


@pytest.mark.parametrize("native", ENGINES)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": "1"}, "field 'count' is '1' .str.; it must be int"),
        ({"count": True}, "field 'count' is True .bool.; it must be int"),
        ({"count": 2**63}, "field 'count' is 9223372036854775808: an int must lie within 64 bits"),
        ({"count": None}, "field 'count' is None"),
        ({"user": 3}, "field 'user' is 3 .int.; it must be str | None"),
        ({"site": "\ud800"}, "field 'site'.*surrogate"),
        ({"flag": 1}, "field 'flag' is 1 .int.; it must be bool"),
        ({"price": "x"}, "field 'price'"),
        ({"price": True}, "field 'price'"),
        ({"price": 10**400}, "field 'price'.*beyond the largest float"),
        ({"count": 10**5000}, "field 'count' is a int: an int must lie"),
        ({"time": 5}, "field 'time' is 5"),
        ({"tags": "ab"}, "field 'tags' is 'ab'"),
        ({"tags": None}, "field 'tags' is None"),
        ({"tags": ["a", None]}, "field 'tags' is None"),
        ({"codes": [2**70]}, "field 'codes'.*64 bits"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(
    native: bool, changes: dict[str, Any], message: str
) -> None:
    good: dict[str, Any] = {"time": datetime(2024, 1, 1), "seen": None, "user": None, "site": "s"}
    good |= {"category": None, "count": 1, "price": 0.0, "bid": None, "flag": False, "answer": None}
    rows = [Everything(**good), Everything(**(good | changes))]

    with pytest.raises(DataError, match=f"^Row 1: {message}"):
        PLANS[native].encode(rows)
    with pytest.raises(DataError, match=f"^{message}"):
        rows[1].to_message()


@pytest.mark.parametrize("native", ENGINES)
def test_values_of_other_libraries_become_the_field_s_own_type(native: bool) -> None:
    class Row(Features):
        n: int
        x: float
        b: bool
        s: str
        t: datetime
        ns: list[int]

        @property
        def text(self) -> str:
            return f"{self.n} {self.x} {self.b} {self.s} {self.t}"

    pd = pytest.importorskip("pandas")
    aware = datetime(2024, 1, 1, 9, tzinfo=UTC)
    plain = Row(1, 2.0, True, "s", datetime(2024, 1, 1, 9), [1, 2])
    others = Row(
        np.int64(1),  # type: ignore[arg-type]
        2,
        np.bool_(True),  # type: ignore[arg-type]
        np.str_("s"),
        pd.Timestamp(aware),
        np.array([1, 2]),  # type: ignore[arg-type]
    )
    plan = plan_for(Row, native=native)

    assert entries(plan.encode([plain])) == entries(plan.encode([others]))
    assert plain.to_message() == others.to_message()


class Wrong(Features):
    n: int

    @property
    def text(self) -> str:
        return self.n  # type: ignore[return-value]

    @property
    def many(self) -> list[str]:
        return ["a", self.n]  # type: ignore[list-item]

    @property
    def maybe(self) -> str:
        return None  # type: ignore[return-value]

    @property
    def flag(self) -> int:
        return self.n == 1

    @property
    def bad(self) -> str:
        return chr(0xD800)

    @property
    def huge(self) -> int:
        return 10**5000


@pytest.mark.parametrize("native", ENGINES)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text", "'text' is annotated str but gave 1 .int."),
        ("many", "'many' is annotated list.str. but gave .*list of int and str"),
        ("maybe", "'maybe' is annotated str but gave None"),
        ("flag", "'flag' is annotated int but gave True .bool."),
        ("bad", "'bad'.*surrogate"),
        ("huge", "'huge'"),
    ],
)
def test_a_property_of_another_type_than_annotated_is_refused(
    native: bool, name: str, message: str
) -> None:
    plan = Plan(Wrong, Wrong.definition().only([name]), Wrong._declaration, native=native)

    for rows in ([Wrong(1)], [Wrong(1).to_message()], pa.table({"n": [1]})):
        with pytest.raises(DataError, match=message):
            plan.encode(rows)


@pytest.mark.parametrize("native", ENGINES)
def test_ints_beyond_64_bits_and_ints_for_floats_are_fine_in_properties(native: bool) -> None:
    class Big(Features):
        n: int

        @property
        def cube(self) -> int:
            return self.n**3

        @property
        def half(self) -> float:
            return self.n // 2

        @property
        def far(self) -> Annotated[int, Number()]:
            return 10**400

    rows = [Big(2**62), Big(-(2**62)), Big(0)]
    expected = plan_for(Big, native=False).encode(rows)
    found = plan_for(Big, native=native).encode([row.to_message() for row in rows])

    assert entries(expected) == entries(found)
    far = Big.definition().spans[3]
    assert [far.offset + 1] * 3 == expected.slots[expected.features == 3].tolist()


@pytest.mark.parametrize("native", ENGINES)
def test_a_post_init_runs_for_every_row_of_every_kind(native: bool) -> None:
    class Clean(Features):
        user: str

        def __post_init__(self) -> None:
            self.user = self.user.strip().lower()

        @property
        def twice(self) -> str:
            return self.user * 2

    class Bare(Features):
        user: str

        @property
        def twice(self) -> str:
            return self.user * 2

    message = Bare(" Ü ").to_message()
    plan = plan_for(Clean, native=native)

    expected = Bare.encode([Bare("ü")]).slots.tolist()

    assert expected == plan.encode([message]).slots.tolist()
    assert expected == plan.encode([Clean(" Ü ")]).slots.tolist()
    assert expected == plan.encode(pa.table({"user": [" Ü "]})).slots.tolist()
    assert ["the class has its own __post_init__"] * 2 == [e.reason for e in plan.explain()]


@pytest.mark.parametrize("native", ENGINES)
@pytest.mark.parametrize("rows", [b"abc", "abc", {"a": 1}, 5, None, Ratio(1)])
def test_what_is_no_set_of_rows_is_refused(native: bool, rows: Any) -> None:
    with pytest.raises(DataError, match="is no set of rows; give a table, or a list of messages"):
        plan_for(Ratio, native=native).encode(rows)


@pytest.mark.parametrize("native", ENGINES)
def test_rows_of_two_kinds_or_of_another_class_are_refused(native: bool) -> None:
    class Other(Ratio):
        pass

    plan = plan_for(Ratio, native=native)
    with pytest.raises(DataError, match=r"Row 1: Ratio.* is no message but Ratio"):
        plan.encode([b"", Ratio(1)])
    with pytest.raises(DataError, match="Row 1: b'' is no Ratio but bytes"):
        plan.encode([Ratio(1, "a"), b""])
    with pytest.raises(DataError, match=r"Row 0: .* is no Ratio but Other"):
        plan.encode([Other(1, "a")])


def test_threads_must_be_at_least_one() -> None:
    with pytest.raises(ConfigError, match="0 threads were asked for"):
        Ratio.encode([], threads=0)


def test_messages_may_be_any_bytes() -> None:
    message = Ratio(1, "a").to_message()

    found = Ratio.encode([message, bytearray(message), memoryview(message)])

    assert 3 == len(found)
    assert 1 == len(set(map(tuple, found.slots.reshape(3, -1).tolist())))


def test_the_reasons_for_python_are_told() -> None:
    told = {e.name: e for e in Ratio.explain()}

    assert "compiled" == str(told["n"])
    assert told["inverse"].is_compiled
    assert not told["looped"].is_compiled
    assert "Python: a loop (line " in str(told["looped"])


def test_without_the_extension_the_result_is_equal_and_a_warning_says_so_once() -> None:
    code = """
import sys, warnings
if sys.argv[1] == "missing":
    sys.modules["tadka.features.native"] = None
from tests.unit.features.test_plan import Ratio
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = Ratio.encode([Ratio(3, "ü,b").to_message()])
    Ratio.definition(); Ratio._cache.plans.clear()
    Ratio.encode([Ratio(3, "ü,b")])
print([w.category.__name__ for w in caught if "compiled parts" in str(w.message)])
print(Ratio._cache.plans[None].is_native, found.slots.tolist(), found.values.tolist())
"""

    def run(how: str, **env: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, how],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "TADKA_NATIVE": "1", **env},
        )
        return done.stdout.splitlines()

    missing, off, normal = run("missing"), run("", TADKA_NATIVE="0"), run("")

    assert "['RuntimeWarning']" == missing[0]
    assert "[]" == off[0]
    assert missing[1] == off[1]
    assert missing[1].startswith("False ")
    if HAS_NATIVE:
        assert missing[1].removeprefix("False") == normal[1].removeprefix("True")


def test_the_environment_switches_the_engine_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADKA_NATIVE", "0")

    assert not Plan(Ratio, Ratio.definition(), Ratio._declaration).is_native


def test_numbers_that_float32_cannot_hold_are_missing() -> None:
    class Numbers(Features):
        x: float | None
        word: Annotated[int, Vocabulary(["1", "2"])] = 1
        unused: Annotated[float, Skip()] = 0.0

    rows = [Numbers(x) for x in (1.5, None, math.nan, 1e39, -math.inf, -0.0, 1e-46)]
    found = Numbers.encode(rows)

    assert [0, 1, 1, 1, 1, 0, 0] == found.slots[found.features == 0].tolist()
    values = found.values[found.features == 0]
    assert [1.5, 1, 1, 1, 1, -0.0, 0.0] == values.tolist()
    assert np.signbit(values[5])
    assert [2] * 7 == found.slots[found.features == 1].tolist()
