# ruff: noqa: DTZ001 - the times of a row are naive UTC

import random
from datetime import datetime
from typing import Any

import pytest

from tadka.features.compiler import Refusal, compile_property
from tadka.features.program import Program
from tests.unit.features.sample import (
    FIELDS,
    NAMES,
    ROWS,
    USUAL,
    check,
    forever,
    from_source,
    native,
    properties_of,
    takes_any,
)
from tests.unit.features.writer import Writer

NAN = float("nan")

# Properties that must compile, and that the machine must answer for the usual row.
Compiled = from_source(
    r'''
class Made:
    """Properties that must compile, and that the machine must answer for the usual row."""

    @property
    def hour(self) -> str:
        return str(self.time.hour)

    @property
    def category_hour(self) -> str:
        return f"{self.category}_{self.hour}"

    @property
    def category_hour_site(self) -> str:
        """A docstring."""
        return f"{self.category_hour}/{self.site!s}"

    @property
    def whole_row(self) -> str:
        return (
            f"{self.user}{self.is_new}{self.is_app}{self.category}{{x}}{None}{True}{1}{0.5}{LIMIT}"
        )

    @property
    def joined(self) -> str:
        return self.site + "_" + str(self.count) + "_" + self.hour

    @property
    def sum_of_texts(self) -> str:
        return self.site + self.site + self.user

    @property
    def joined_by(self) -> str:
        return "-".join([self.site, self.hour, "日"])

    @property
    def spoken(self) -> str:
        return str(f"{self.site}") + str("") + f"" + str(self.user)

    @property
    def shifted_hour(self) -> int:
        return (self.time + JST).hour

    @property
    def shifted_back(self) -> str:
        return str((self.time - timedelta(days=1, hours=2)).day)

    @property
    def shifted_twice(self) -> int:
        return (timedelta(minutes=30) + self.time + 2 * JST).minute

    @property
    def year(self) -> int:
        return self.time.year

    @property
    def date_number(self) -> int:
        return self.time.year * 10000 + self.time.month * 100 + self.time.day

    @property
    def clock(self) -> int:
        return (self.time.hour * 60 + self.time.minute) * 60 + self.time.second

    @property
    def microsecond(self) -> int:
        return self.time.microsecond

    @property
    def is_weekend(self) -> bool:
        return self.time.weekday() >= 5

    @property
    def iso(self) -> int:
        return self.time.isoweekday()

    @property
    def seen_hour(self) -> int | None:
        return self.seen.hour if self.seen else None

    @property
    def gap_hours(self) -> int | None:
        if self.seen is None:
            return None
        return (self.time - self.seen) // timedelta(hours=1)

    @property
    def gap_s(self) -> float:
        return (self.time - self.seen).total_seconds()

    @property
    def gap_parts(self) -> list[int]:
        gap = self.time - self.seen
        return [gap.days, gap.seconds, gap.microseconds]

    @property
    def gap_ratio(self) -> float:
        return (self.time - LAUNCH) / timedelta(days=7)

    @property
    def is_recent(self) -> bool:
        return self.time - self.seen < timedelta(days=2) and self.seen < self.time

    @property
    def is_after(self) -> bool:
        return self.time >= LAUNCH and self.time != datetime(2024, 2, 2)

    @property
    def later(self) -> datetime:
        return max(self.time, self.seen)

    @property
    def sums(self) -> list[int]:
        return [self.count + LIMIT, self.count - 7, self.count * 3, -self.count, abs(self.count)]

    @property
    def quotients(self) -> list[int]:
        return [self.count // 7, self.count % 7, self.count // -7, self.count % -7]

    @property
    def by_count(self) -> list[int]:
        return [LIMIT // self.count, 11 % self.count, -11 // self.count, -11 % self.count]

    @property
    def true_quotient(self) -> float:
        return self.count / 3

    @property
    def by_category(self) -> float:
        return self.count / self.category

    @property
    def float_sums(self) -> list[float]:
        return [self.price + RATE, self.price - 1, self.price * 0.1, self.price / 3, -self.price]

    @property
    def float_quotients(self) -> list[float]:
        return [self.price // 0.3, self.price % 0.3, self.price // -7, self.price % -7]

    @property
    def float_by_float(self) -> list[float]:
        return [self.price // self.bid, self.price % self.bid, self.price / self.bid]

    @property
    def mixed(self) -> list[float]:
        return [self.price + self.count, self.count * self.price, self.count - 0.5, 1 / self.price]

    @property
    def bool_sum(self) -> int:
        return self.is_new + self.is_new + (self.count > 3) + abs(self.is_new) - -self.is_new

    @property
    def flags(self) -> int:
        return self.count & 6 | 1 ^ self.is_new

    @property
    def both(self) -> bool:
        return self.is_new & (self.price > 0)

    @property
    def whole_price(self) -> int:
        return int(self.price)

    @property
    def rounded(self) -> list[int]:
        return [round(self.price), math.floor(self.price), math.ceil(self.price), round(self.count)]

    @property
    def number_of_text(self) -> int:
        return int(self.hour) + int(self.user[1:])

    @property
    def number_of_user(self) -> int:
        return int(self.user) if self.user == "12" else 0

    @property
    def number_of_site(self) -> int | None:
        return None if self.site == "Example.com" else int(self.site)

    @property
    def as_float(self) -> list[float]:
        return [float(self.count), float(self.is_new), float(self.price)]

    @property
    def root(self) -> float:
        return math.sqrt(self.price)

    @property
    def truths(self) -> list[bool]:
        return [
            bool(self.site),
            bool(self.count),
            bool(self.price),
            bool(self.tags),
            not self.user,
            not self.is_app,
            bool(self.seen),
            bool(self.time - self.time),
        ]

    @property
    def is_odd_float(self) -> list[bool]:
        return [math.isnan(self.price), math.isfinite(self.price), self.price != self.price]

    @property
    def user_or(self) -> str:
        return self.user or "anonymous"

    @property
    def user_or_site(self) -> str:
        return self.user and self.site or self.tags[0] if self.tags else ""

    @property
    def price_or(self) -> float:
        return self.bid or self.price or 1

    @property
    def orders(self) -> list[bool]:
        return [
            self.count < 10,
            self.count <= self.price,
            self.count > self.bid,
            self.count >= 2.5,
            self.site < "b",
            self.site <= self.user,
            self.user > NAME,
            1 < self.count < 100 <= 1000,
            self.price < 1 < self.count,
        ]

    @property
    def equalities(self) -> list[bool]:
        return [
            self.count == 42,
            self.count == self.price,
            self.count == self.is_new,
            self.site == self.user,
            self.user != None,
            self.user is None,
            self.user is not None,
            self.site == 3,
            self.time == self.seen,
            self.seen == "x",
            self.category == self.bid == None,
            self.tags == "x",
        ]

    @property
    def members(self) -> list[bool]:
        return [
            self.site in SITES,
            self.site not in ("a", "b"),
            self.count in CODES,
            self.category in [1, 2, None],
            self.price in {0, 1, 2.5, True},
            self.user in MANY,
            self.site in frozenset(("a", "site")),
            self.count in (),
            "a" in self.tags,
            self.count in self.ids,
            2.5 in self.ids,
            self.price in self.sizes,
            self.user not in self.tags,
        ]

    @property
    def inside(self) -> list[bool]:
        return ["am" in self.site, "" in self.site, NAME in self.site, "本語" not in self.user]

    @property
    def ends(self) -> list[bool]:
        return [
            self.site.startswith("Ex"),
            self.site.endswith((".com", "ト", "")),
            self.site.startswith(SITES),
            self.user.endswith("2"),
            self.user.startswith(()),
        ]

    @property
    def cases(self) -> list[str]:
        return [self.site.lower(), self.site.upper(), self.user.upper().lower()]

    @property
    def stripped(self) -> list[str]:
        return [self.site.strip(), self.site.lstrip(), self.site.rstrip()]

    @property
    def stripped_space(self) -> str:
        return self.site.strip()

    @property
    def slices(self) -> list[str]:
        s = self.site
        return [s[:3], s[2:], s[1:4], s[-2:], s[:-1], s[-3:-1], s[:], s[2:2], s[3:1], s[-100:100]]

    @property
    def letters(self) -> list[str]:
        return [self.site[0], self.site[-1], self.user[1]]

    @property
    def lengths(self) -> list[int]:
        return [len(self.site), len(self.user), len(self.tags), len(self.sizes), len("日本")]

    @property
    def first_tag(self) -> str | None:
        return self.tags[0] if self.tags else None

    @property
    def last_id(self) -> str:
        return f"id{self.ids[-1]}"

    @property
    def tag_list(self) -> list[str]:
        return self.tags

    @property
    def no_list(self) -> list[str]:
        return []

    @property
    def extremes(self) -> list[float]:
        return [min(self.price, 1), max(self.price, self.count, 2.5), max(self.bid, self.price)]

    @property
    def extreme_ints(self) -> list[int]:
        return [min(self.count, LIMIT), max(self.count, self.is_new), max(0, min(self.count, 5))]

    @property
    def extreme_text(self) -> str:
        return max(self.site, self.user, "b")

    @property
    def level(self) -> str:
        level = "low"
        if self.price > 10:
            level = "high"
        elif self.price > 5:
            level = "mid"
        return level

    @property
    def many_returns(self) -> str | None:
        if self.user is None:
            return None
        if self.count > 100:
            if self.price > 1:
                return "a"
            pass
        else:
            return f"b{self.count}"
        return "c"

    @property
    def falls_off(self) -> str | None:
        if self.price > 100:
            return "dear"

    @property
    def local_names(self) -> int:
        x: int = self.count % 10
        y = x
        x += 2
        x = y if x > 5 else (x and y or x)
        return x * 10 + y

    @property
    def of_band(self) -> str:
        return band(self.price, 2.0) + band(self.count, 5)

    @property
    def through(self) -> str:
        return f"{band(self.price, 2.0)}:{self.level}:{add_one(self.count)}"

    @property
    def by_module(self) -> int:
        return (
            (self.time + dt.timedelta(hours=1)).hour if self.time > dt.datetime(2000, 1, 1) else 0
        )

    @property
    def folded(self) -> list[float]:
        return [60 * 60 * 24, -LIMIT, 2 * 0.1, 7 // -2, BELOW_ZERO, -(-3), LIMIT % 3 / 2]

    @property
    def odd_constants(self) -> list[float]:
        return [1e999, -0.0, 0.0, -1e999, True, 1, 1.0]

    @property
    def nothing(self) -> str | None:
        return None

    @property
    def _private(self) -> str:
        return "p" + self.site

    @property
    def of_private(self) -> str:
        return self._private + "q"

    @property
    def user_of_any(self) -> str:
        return self.user + "_x"

    @property
    def of_optional_property(self) -> str:
        return f"{self.first_tag}|{self.falls_off}|{self.seen_hour}"

    @property
    def required_property(self) -> str:
        return self.first_tag + "!"

    @property
    def other_self(this) -> str:
        return this.site

    @property
    def long_text(self) -> str:
        return f"{self.site}{self.site}{self.site}{self.site}{self.site}{self.site}{self.site}"
'''.splitlines()
)

COMPILED = properties_of(Compiled)


def returns_of(getter: property) -> tuple[str, bool, bool]:
    """Declared type, whether it is optional, whether it is a list."""
    assert getter.fget is not None
    told = getter.fget.__annotations__["return"]
    words = told.__name__ if isinstance(told, type) and told.__module__ == "builtins" else str(told)
    if words == "<class 'datetime.datetime'>":
        words = "datetime"
    if str(told).startswith("list["):
        return str(told)[5:-1], False, True
    return words.split(" ")[0], words.endswith("None"), False


def compiled(cls: type, name: str) -> Program | Refusal:
    properties = properties_of(cls)
    returns, is_optional, is_list = returns_of(properties[name])
    return compile_property(
        properties[name], FIELDS, properties, returns, is_optional, is_list=is_list
    )


@pytest.mark.parametrize("name", COMPILED)
def test_a_program_gives_what_python_gives_or_leaves_the_row_to_it(name: str) -> None:
    program = compiled(Compiled, name)

    assert isinstance(program, Program), program
    assert check(program, Compiled, name, USUAL)
    for values in ROWS:
        check(program, Compiled, name, values)


LEFT_TO_PYTHON: list[tuple[str, dict[str, Any]]] = [
    ("seen_hour", {}),
    ("whole_price", {"price": NAN}),
    ("whole_price", {"price": 2.0**63}),
    ("sums", {"count": 2**63 - 1}),
    ("sums", {"count": -(2**63)}),
    ("by_count", {"count": 0}),
    ("true_quotient", {"count": 2**53 + 1}),
    ("by_category", {"category": 0}),
    ("mixed", {"price": 0.0}),
    ("equalities", {"count": 2**53 + 1}),
    ("cases", {"site": "É"}),
    ("stripped", {"site": "\u3000a"}),
    ("stripped", {"site": "a\u00a0"}),
    ("shifted_hour", {"time": datetime(9999, 12, 31, 23)}),
    ("shifted_back", {"time": datetime(1, 1, 1)}),
    ("user_of_any", {"user": None}),
    ("letters", {"site": ""}),
    ("number_of_text", {"user": "u1_0"}),
    ("number_of_text", {"user": "u٣"}),
    ("number_of_text", {"user": "u "}),
    ("members", {"price": NAN}),
    ("root", {"price": -1.0}),
    ("orders", {"user": None}),
    ("inside", {"user": None}),
    ("gap_s", {"time": datetime(9999, 1, 1), "seen": datetime(2, 1, 1)}),
]


@pytest.mark.parametrize(("name", "changes"), LEFT_TO_PYTHON[1:])
def test_what_is_unusual_is_left_to_python(name: str, changes: dict[str, Any]) -> None:
    values = [changes.get(key, value) for key, value in zip(NAMES, USUAL, strict=True)]

    program = compiled(Compiled, name)

    assert isinstance(program, Program)
    assert (False, None) == native.run_program(program, values)


def test_a_text_over_its_limit_is_left_to_python() -> None:
    program = compiled(Compiled, "long_text")
    values = list(USUAL)
    values[NAMES.index("site")] = "x" * (2**31 // 7 + 1)

    assert isinstance(program, Program)
    assert (False, None) == native.run_program(program, values)


DECLARED = ("str", "int", "float", "bool", "datetime")


def compile_made(made: type) -> Program | Refusal:
    """The program of `value`, whatever type fits it."""
    properties = properties_of(made)
    tried: Program | Refusal = Refusal("")
    for returns in DECLARED:
        tried = compile_property(properties["value"], FIELDS, properties, returns, True)
        if isinstance(tried, Program) or not tried.reason.startswith("its value is"):
            return tried
    return compile_property(properties["value"], FIELDS, properties, "int", False, is_list=True)


def test_random_properties_give_what_python_gives() -> None:
    num_programs = num_answers = 0

    for seed in range(200):
        made = from_source(Writer(seed).lines())
        program = compile_made(made)
        if isinstance(program, Program):
            num_programs += 1
            chance = random.Random(seed)
            for values in chance.sample(ROWS, 6):
                num_answers += check(program, made, "value", values)

    assert num_programs > 100
    assert num_answers > 400


# Properties that Python evaluates.
Refused = from_source(
    r'''
class Made:
    """Properties that Python evaluates."""

    def method(self) -> str:
        return "x"

    @property
    def loop(self) -> str:
        for tag in self.tags:
            return tag
        return ""

    @property
    def comprehension(self) -> list[str]:
        return [tag for tag in self.tags]

    @property
    def format_specification(self) -> str:
        return f"{self.count:03d}"

    @property
    def conversion(self) -> str:
        return f"{self.site!r}"

    @property
    def float_in_text(self) -> str:
        return f"{self.price}"

    @property
    def time_in_text(self) -> str:
        return str(self.time)

    @property
    def json_call(self) -> str:
        return linecache.getline(self.site, 1)

    @property
    def own_method(self) -> str:
        return self.method()

    @property
    def unknown_field(self) -> str:
        return self.sight

    @property
    def text_and_number(self) -> str:
        return self.site + self.count

    @property
    def text_and_text(self) -> str:
        return self.count + "x"

    @property
    def hour_of_text(self) -> int:
        return self.site.hour

    @property
    def power(self) -> int:
        return self.count**2

    @property
    def percent(self) -> str:
        return "%s" % self.site

    @property
    def raises(self) -> str:
        raise ValueError(self.site)

    @property
    def tries(self) -> str:
        try:
            return self.site
        except ValueError:
            return ""

    @property
    def reads_itself(self) -> str:
        return self.reads_itself

    @property
    def reads_a(self) -> str:
        return f"{self.reads_b}"

    @property
    def reads_b(self) -> str:
        return f"{self.reads_a}"

    @property
    def recursion(self) -> str:
        return forever(self.site)

    @property
    def unset(self) -> str:
        if self.count:
            x = "a"
        return x

    @property
    def changing(self) -> bool:
        return self.site in CHANGING

    @property
    def setting(self) -> int:
        return SETTINGS.limit

    @property
    def big(self) -> int:
        return self.count + 2**63

    @property
    def very_big(self) -> int:
        return self.count + 9223372036854775808

    @property
    def surrogate(self) -> str:
        return self.site + "\ud800"

    @property
    def zone(self) -> bool:
        return self.time > AWARE

    @property
    def computed_delta(self) -> int:
        return (self.time + timedelta(hours=self.count)).hour

    @property
    def timestamp(self) -> float:
        return self.time.timestamp()

    @property
    def now(self) -> bool:
        return self.time < datetime.now()

    @property
    def stepped(self) -> str:
        return self.site[::2]

    @property
    def computed_bound(self) -> str:
        return self.site[: self.count]

    @property
    def walrus(self) -> str:
        return (x := self.site) + x

    @property
    def mapping(self) -> str:
        return {1: "a"}[self.count]

    @property
    def wrong_type(self) -> str:
        return self.count

    @property
    def gap(self) -> int:
        return self.time - self.seen

    @property
    def nan_member(self) -> bool:
        return self.price in (math.nan, 1.0)

    @property
    def wide(self) -> str:
        return f"{self.a}"

    @property
    def is_true(self) -> bool:
        return self.is_app is True

    @property
    def prints(self) -> str:
        print(self.site)
        return ""

    @property
    def unpacks(self) -> str:
        a, b = self.site, self.user
        return a + b

    @property
    def lists(self) -> bool:
        return self.tags == self.ids

    @property
    def sorted_first(self) -> str:
        return min(self.tags)

    @property
    def rounded_to(self) -> float:
        return round(self.price, 2)

    @property
    def itself(self) -> str:
        return str(self)

    @property
    def reassigned(self) -> str:
        self = self.site
        return self

    @property
    def undefined(self) -> str:
        return does_not_exist

    __hidden = "x"

    @property
    def generates(self) -> str:
        return self.site
        yield

    @property
    def bytes_constant(self) -> int:
        return len(b"ab")

    @property
    def imported_too_late(self) -> int:
        return LIMIT
        import os as LIMIT

    @property
    def chain(self) -> bool:
        return self.user in ("a",) != None

    @property
    def many_values(self) -> list[int]:
        return [
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
            self.count, self.count, self.count, self.count, self.count, self.count, self.count,
        ]

    @property
    def part_of_number(self) -> str:
        return self.category.name

    @property
    def part_of_module(self) -> str:
        return math.floor

    @property
    def a_function(self) -> str:
        return band

    @property
    def a_tuple(self) -> str:
        return SITES

    @property
    def order_of_kinds(self) -> bool:
        return self.site < 3

    @property
    def list_of_lists(self) -> list[str]:
        return [self.tags]

    @property
    def signs(self) -> list[int]:
        return [+self.count]

    @property
    def inverted(self) -> int:
        return ~self.count

    @property
    def members_that_vary(self) -> bool:
        return self.site in (self.user, "a")

    @property
    def bits_of_float(self) -> int:
        return self.price & 1

    @property
    def texts_or_numbers(self) -> str:
        return (self.site if self.is_new else self.count) + (self.user if self.is_new else 1)

    @property
    def varying_item(self) -> str:
        return self.tags[self.count]

    @property
    def named(self) -> str:
        return band(x=self.price, width=1)

    @property
    def other_module(self) -> str:
        return dt_module_function(self.site)

    @property
    def uncallable(self) -> str:
        return CHANGING(self.site)

    @property
    def extreme_kinds(self) -> str:
        return max(self.site, self.count)

    @property
    def named_method(self) -> str:
        return self.site.encode(encoding="utf-8")

    @property
    def varying_end(self) -> bool:
        return self.site.startswith(self.user)

    @property
    def too_few(self) -> str:
        return band(self.price)

    @property
    def called_with_list(self) -> str:
        return band(*self.sizes)

    @property
    def varied(self) -> str:
        return takes_any(self.site)

    @property
    def asserts(self) -> str:
        assert self.site
        return self.site

    @property
    def length_of_number(self) -> int:
        return len(self.count)

    @property
    def method_of_number(self) -> str:
        return self.count.strip()

    @property
    def unpacked(self) -> list[str]:
        return [*self.tags]

    @property
    def mangled(self) -> str:
        return self.__hidden
'''.splitlines()
)

REASONS = {
    "loop": "a loop",
    "comprehension": "a loop",
    "format_specification": "a format specification",
    "conversion": "the conversion !r",
    "float_in_text": "float in text",
    "time_in_text": "datetime in text",
    "json_call": "a call of linecache.getline",
    "own_method": "a call of self.method",
    "unknown_field": "'sight', neither a field nor a property",
    "text_and_number": "str + int",
    "text_and_text": "a text + int",
    "hour_of_text": "'hour' of str",
    "power": "**",
    "percent": "a format with %",
    "raises": "raise",
    "tries": "try",
    "reads_itself": "'reads_itself', which reads itself",
    "reads_a": "'reads_a', which reads itself",
    "computed_delta": "a timedelta of values that are no constants",
    "reads_b": "'reads_b', which reads itself",
    "recursion": "'forever', which reads itself",
    "unset": "'x', which may have no value yet",
    "changing": "'CHANGING', a list, which can change",
    "setting": "the attribute 'limit'",
    "very_big": "an integer beyond 64 bits",
    "big": "**",
    "surrogate": "a text that is not UTF-8",
    "zone": "a time with a time zone",
    "timestamp": "a call of self.time.timestamp",
    "now": "a call of datetime.now",
    "stepped": "a slice with a step",
    "computed_bound": "a slice whose bounds are no constants",
    "walrus": "an assignment within an expression",
    "mapping": "a dict",
    "wrong_type": "its value is int, not str",
    "gap": "its value is timedelta, not int",
    "nan_member": "`in` of a constant that holds nan",
    "wide": "'a', neither a field nor a property",
    "is_true": "`is` with another than None",
    "prints": "a call of print",
    "unpacks": "an assignment to more than one name",
    "lists": "a comparison of lists",
    "sorted_first": "a call of min with 1 arguments",
    "rounded_to": "a call of round with 2 arguments",
    "itself": "self as a value",
    "reassigned": "an assignment to self",
    "undefined": "'does_not_exist', which is not defined",
    "generates": "yield",
    "bytes_constant": "a constant of type bytes",
    "imported_too_late": "'LIMIT', which may have no value yet",
    "chain": "a chain of comparisons with a constant in the middle",
    "many_values": "more than 64 values at a time",
    "part_of_number": "the attribute 'name'",
    "part_of_module": "math.floor, no constant that can be built in",
    "a_function": "'band', a function",
    "a_tuple": "a tuple as a value",
    "order_of_kinds": "a comparison of str with int",
    "list_of_lists": "a list of list",
    "signs": "the sign +",
    "inverted": "~",
    "members_that_vary": "`in` of values that are no constants",
    "bits_of_float": "float & int",
    "texts_or_numbers": "a + of texts or numbers",
    "varying_item": "an item whose number is no constant",
    "named": "a call of band with named or unpacked arguments",
    "other_module": "a call of dt_module_function",
    "uncallable": "a call of CHANGING",
    "extreme_kinds": "a comparison of str with int",
    "named_method": "a call of self.site.encode with named arguments",
    "varying_end": ".startswith() of what is no constant text",
    "too_few": "a call of band with 1 arguments",
    "called_with_list": "a call of band with named or unpacked arguments",
    "varied": "the parameters of takes_any",
    "asserts": "assert",
    "length_of_number": "a call of len with int",
    "method_of_number": ".strip() of int",
    "unpacked": "an unpacked list",
    "mangled": "'__hidden', neither a field nor a property",
}


@pytest.mark.parametrize("name", properties_of(Refused))
def test_a_refusal_says_why_and_where(name: str) -> None:
    refusal = compiled(Refused, name)

    assert isinstance(refusal, Refusal), refusal
    assert REASONS[name] == refusal.reason
    if not refusal.reason.startswith("its value is"):
        code = Refused.__dict__[name].fget.__code__
        if name == "varied":
            code = takes_any.__code__
        assert refusal.line is not None
        function = forever.__code__ if name == "recursion" else code
        near = range(function.co_firstlineno, function.co_firstlineno + 250)
        assert refusal.line in near or name in ("reads_a", "reads_b")


def test_properties_that_read_too_many_others_are_refused() -> None:
    lines = ["class Made:", "    @property", "    def p0(self) -> str:", "        return self.site"]
    for i in range(1, 20):
        lines += ["    @property", f"    def p{i}(self) -> str:", f"        return self.p{i - 1}"]
    made = from_source(lines)

    assert isinstance(compiled(made, "p15"), Program)
    refusal = compiled(made, "p16")
    assert isinstance(refusal, Refusal)
    assert "more than 16 properties that read each other" == refusal.reason


def test_a_property_of_too_many_operations_is_refused() -> None:
    body = ["        x = self.count", *(["        x = -x"] * 2100), "        return x"]
    made = from_source(["class Made:", "    @property", "    def p(self) -> int:", *body])

    refusal = compiled(made, "p")

    assert isinstance(refusal, Refusal)
    assert "more than 4096 operations" == refusal.reason


def test_an_expression_that_is_nested_too_deeply_is_refused() -> None:
    source = f"        return {' + '.join(['self.count'] * 2000)}"
    made = from_source(["class Made:", "    @property", "    def p(self) -> int:", source])

    assert isinstance(compiled(made, "p"), Refusal)


def test_a_refusal_reads_well() -> None:
    assert "a loop (line 7)" == str(Refusal("a loop", 7))
    assert "a loop" == str(Refusal("a loop"))
