"""Properties written at random."""

import random
from collections.abc import Callable


class Writer:
    """Writes expressions at random; most of them are of fitting types."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def any(self, depth: int) -> str:
        kinds: list[Callable[[int], str]] = [self.text, self.number, self.truth, self.time]
        return self.chance.choice(kinds)(depth)

    def text(self, depth: int) -> str:
        simple = ["self.site", "self.user", "'a'", "'日本'", "'.com'", "NAME", "self.tags[0]"]
        if depth <= 0:
            return self.chance.choice(simple)
        t, n = self.text(depth - 1), self.number(depth - 1)
        return self.chance.choice(
            [
                f'f"{{{self.any(0)}}}-{{{self.whole(0)}}}"',
                f"str({self.whole(depth - 1)})",
                f"({t} + {self.text(depth - 1)})",
                f"({t} + '_' + {self.text(depth - 1)})",
                f"{t}.lower()",
                f"{t}.upper()",
                f"{t}.strip()",
                f"{t}.rstrip()",
                f"{t}[{self.bound()}:{self.bound()}]",
                f"{t}[{self.chance.choice([0, 1, -1, 5])}]",
                f"({t} if {self.truth(depth - 1)} else {self.text(depth - 1)})",
                f"({t} or {self.text(depth - 1)})",
                f"({t} and {self.text(depth - 1)})",
                f"min({t}, {self.text(depth - 1)})",
                f"','.join([{t}, {self.text(0)}])",
                f"band({n}, 2.5)",
                "self.other",
                f"str({self.any(depth - 1)})",
            ]
        )

    def bound(self) -> str:
        return self.chance.choice(["", "", "0", "1", "2", "3", "7", "-1", "-2", "-9", "100"])

    def whole(self, depth: int) -> str:
        if depth <= 0:
            return self.chance.choice(
                ["self.count", "self.category", "self.is_new", "LIMIT", "1", "0", "-3", "True",
                 "self.is_app", "self.ids[0]", "60*60", "9007199254740993"]
            )  # fmt: skip
        w, v = self.whole(depth - 1), self.whole(depth - 1)
        sign = self.chance.choice(["+", "-", "*", "//", "%", "&", "|", "^"])
        return self.chance.choice(
            [
                f"({w} {sign} {v})",
                f"({w} {sign} {v})",
                f"(-{w})",
                f"abs({w})",
                f"int({self.number(depth - 1)})",
                f"int({self.text(0)})",
                f"round({self.number(depth - 1)})",
                f"math.floor({self.number(depth - 1)})",
                f"math.ceil({self.number(depth - 1)})",
                f"len({self.text(depth - 1)})",
                f"len({self.chance.choice(['self.tags', 'self.ids'])})",
                f"{self.time(depth - 1)}.{self.part()}",
                f"{self.time(depth - 1)}.{self.chance.choice(['weekday()', 'isoweekday()'])}",
                f"{self.gap(depth - 1)}.{self.chance.choice(['days', 'seconds', 'microseconds'])}",
                f"({self.gap(depth - 1)} // {self.gap(0)})",
                f"({w} if {self.truth(depth - 1)} else {v})",
                f"({w} or {v})",
                f"max({w}, {v}, 3)",
                f"add_one({w})",
                f"({self.truth(depth - 1)} and {w})",
            ]
        )

    def part(self) -> str:
        return self.chance.choice(
            ["year", "month", "day", "hour", "minute", "second", "microsecond"]
        )

    def number(self, depth: int) -> str:
        if self.chance.random() < 0.4:
            return self.whole(depth)
        if depth <= 0:
            return self.chance.choice(
                ["self.price", "self.bid", "0.5", "1e300", "RATE", "self.sizes[0]", "-0.0", "2.5"]
            )
        n, m = self.number(depth - 1), self.number(depth - 1)
        sign = self.chance.choice(["+", "-", "*", "/", "//", "%"])
        return self.chance.choice(
            [
                f"({n} {sign} {m})",
                f"({n} {sign} {m})",
                f"(-{n})",
                f"abs({n})",
                f"float({n})",
                f"math.sqrt({n})",
                f"min({n}, {m})",
                f"max({n}, {m})",
                f"({n} or {m})",
                f"({n} if {self.truth(depth - 1)} else {m})",
                f"{self.gap(depth - 1)}.total_seconds()",
                f"({self.gap(depth - 1)} / {self.gap(0)})",
            ]
        )

    def time(self, depth: int) -> str:
        if depth <= 0:
            return self.chance.choice(["self.time", "self.seen", "LAUNCH", "self.time"])
        t = self.time(depth - 1)
        return self.chance.choice(
            [
                f"({t} + JST)",
                f"({t} - timedelta(days=366, microseconds=1))",
                f"(timedelta(seconds=-1) + {t})",
                f"({t} + {self.gap(depth - 1)})",
                f"({t} if {self.truth(depth - 1)} else {self.time(0)})",
                f"max({t}, {self.time(0)})",
                f"({t} or {self.time(0)})",
            ]
        )

    def gap(self, depth: int) -> str:
        gaps = ["JST", "timedelta(minutes=7)", "timedelta(0)"]
        if depth <= 0:
            return self.chance.choice(gaps)
        return f"({self.time(depth - 1)} - {self.time(depth - 1)})"

    def truth(self, depth: int) -> str:
        if depth <= 0:
            return self.chance.choice(["self.is_new", "self.is_app", "True", "self.tags"])
        kind = self.chance.choice([self.text, self.number, self.time, self.number, self.gap])
        a, b, c = (kind(depth - 1) for _ in range(3))
        sign = self.chance.choice(["<", "<=", ">", ">=", "==", "!="])
        return self.chance.choice(
            [
                f"({a} {sign} {b})",
                f"({a} {sign} {b})",
                f"({a} {sign} {b} < {c})",
                f"({self.any(depth - 1)} == {self.any(depth - 1)})",
                f"(not {self.any(depth - 1)})",
                f"bool({self.any(depth - 1)})",
                f"({self.any(depth - 1)} is None)",
                f"({self.any(depth - 1)} is not None)",
                f"({self.any(depth - 1)} in ('a', 1, 0.5, None, '日本'))",
                f"({self.text(depth - 1)} not in SITES)",
                f"({self.whole(depth - 1)} in CODES)",
                f"({self.text(depth - 1)} in {self.text(depth - 1)})",
                f"({self.text(0)} in self.tags)",
                f"({self.number(depth - 1)} in self.sizes)",
                f"{self.text(depth - 1)}.startswith('a')",
                f"{self.text(depth - 1)}.endswith(('b', '日', 'm'))",
                f"({self.truth(depth - 1)} and {self.truth(depth - 1)})",
                f"({self.truth(depth - 1)} or {self.truth(depth - 1)})",
                f"math.isnan({self.number(depth - 1)})",
                f"math.isfinite({self.number(depth - 1)})",
            ]
        )

    def body(self, depth: int) -> list[str]:
        """Statements of a function, each way with its own."""
        lines = [f"x = {self.any(depth)}", f"y = {self.whole(depth)}"]
        for _ in range(self.chance.randrange(3)):
            lines.append(f"if {self.truth(depth)}:")
            lines.append(
                self.chance.choice(
                    [f"    x = y or {self.any(1)}", f"    return {self.any(depth)}", "    y += 1"]
                )
            )
            if self.chance.random() < 0.4:
                lines += ["else:", f"    x = y if y else {self.any(1)}"]
        last = self.chance.choice(["x", "y", "f'{x}{y}'", "[y, y]", "x == y", self.any(depth)])
        return [*lines, f"return {last}"]

    def lines(self) -> list[str]:
        depth = self.chance.choice([1, 2, 2, 3])
        body = self.body(depth) if self.chance.random() < 0.5 else [f"return {self.any(depth + 1)}"]
        return [
            "class Made:",
            "    @property",
            "    def other(self) -> str:",
            f"        return {self.chance.choice(['self.user', 'self.site', 'str(self.count)'])}",
            "    @property",
            "    def value(self) -> str | None:",
            *(f"        {line}" for line in body),
        ]
