import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tadka.task import code
from tadka.task.code import CodeHash, differences

SOURCE = Path(code.__file__).parents[2]
PROBE = Path(__file__).with_name("code_probe.py")

# ---------------------------------------------------------------- a small project, and its edits

SHOP = {
    "shop/__init__.py": "",
    "shop/base.py": '''
        """What tasks share."""
        class Task:
            def load(self, name):
                return name

        class Mixin:
            scale = 10
            def scaled(self, x):
                return x * self.scale
    ''',
    "shop/config.py": """
        import enum
        import re
        import threading
        from dataclasses import dataclass, field
        from decimal import Decimal
        from pathlib import Path

        LIMIT = 5
        HERE = Path(__file__).parent
        WORDS = {"alpha", "beta", "gamma", "delta"}
        ORDER = {"first": 1, "second": 2}
        PATTERN = re.compile("a+")
        PRICE = Decimal("1.50")
        lock = threading.Lock()
        gate = threading.Semaphore(4)
        UNUSED = 1

        class Cfg:
            def __init__(self, rate):
                self.rate = rate

        CFG = Cfg(1)

        @dataclass
        class Setting:
            depth: int = 3
            names: list = field(default_factory=list)
            weight: float = field(default=1.0, compare=False)

        SETTING = Setting(depth=4)

        class Mode(enum.Enum):
            FAST = "fast"
            SLOW = "slow"
            def cost(self):
                return 1 if self is Mode.FAST else 10

        MODE = Mode.FAST
    """,
    "shop/deco.py": """
        import functools

        def timed(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                before = 1
                return function(*args, **kwargs)
            return wrapper

        def times(count):
            def decorate(function):
                @functools.wraps(function)
                def wrapper(*args, **kwargs):
                    return [function(*args, **kwargs) for _ in range(count)]
                return wrapper
            return decorate

        def marked(cls):
            cls.mark = 1
            return cls
    """,
    "shop/helpers.py": """
        import functools
        import math
        import os.path
        from shop import config
        from shop.deco import timed

        def clean(x):
            # a comment
            return strip(x) + config.LIMIT

        def strip(x):
            total = 0
            for item in [x]:
                total += item
            return total

        def even(n):
            return n == 0 or odd(n - 1)

        def odd(n):
            return n != 0 and even(n - 1)

        def power(x, exponent=2, *, offset=1):
            return x ** exponent + offset

        def adder(n):
            def add(x):
                return x + n
            return add

        add_three = adder(3)
        double = lambda x: x * 2
        halve = functools.partial(power, exponent=0.5)
        sort_key = lambda row: row[0]; other_key = lambda row: row[1]

        @functools.lru_cache(maxsize=None)
        def cached(x):
            return math.floor(x)

        @timed
        def slow(x):
            return x - 1

        @functools.singledispatch
        def show(x):
            return "any"

        @show.register
        def _(x: int):
            return "int"

        def unused(x):
            return 1
    """,
    "shop/lazy.py": """
        def late(x):
            return x + 100

        def other(x):
            return x
    """,
    "shop/star.py": """
        __all__ = ["starred", "STAR"]
        STAR = 1
        def starred(x):
            return x
    """,
    "shop/strategies.py": """
        def plus(x):
            return x + 1

        def minus(x):
            return x - 1
    """,
    "shop/features.py": '''
        """Features of a day."""
        import json
        import shop.helpers
        from shop import helpers as h
        from shop import strategies
        from shop.base import Mixin, Task
        from shop.config import (
            CFG, HERE, MODE, ORDER, PATTERN, PRICE, SETTING, WORDS, gate, lock,
        )
        from shop.config import LIMIT as TOP
        from shop.deco import marked, times
        from shop.helpers import clean as tidy
        from shop.star import *

        try:
            import a_library_that_is_not_there as fast
        except ImportError:
            fast = None

        RATE = TOP * 2

        @marked
        class Features(Mixin, Task):
            """Doc of the class."""
            window = 7
            default_rate = 0.5

            def run(self, clicks: int, *, days: list = ()) -> int:
                """Doc of run."""
                import shop.lazy as lazy
                total = tidy(clicks) + h.even(3) + shop.helpers.add_three(1)
                total += h.double(total) + h.halve(2) + h.cached(2) + h.slow(3)
                total += h.sort_key([1]) + lazy.late(1) + starred(2) + STAR
                if total in {"one", "two", "three", "four"} or total in WORDS:
                    return CFG.rate + SETTING.depth + RATE + PRICE
                with lock, gate:
                    found = [item for item in days if PATTERN.match(str(item))]
                return sum(found) + self.scaled(1) + MODE.cost() + len(ORDER) + missing_yet(h.show)

            @property
            def size(self):
                return 1

            @size.setter
            def size(self, value):
                self.given = value

            @staticmethod
            def of(x):
                return x

            @times(2)
            def twice(self):
                return json.dumps(1)

            def pick(self, name):
                return getattr(strategies, name)(HERE)

            class Inner:
                depth = 1
                def go(self):
                    return self.depth

            def last(self):
                small = 1
                big = small + 1
                return big
    ''',
    "shop/query.sql": "select 1",
    "shop/sql/a.sql": "select 2",
}
SHOP = {name: textwrap.dedent(text).lstrip("\n") for name, text in SHOP.items()}


@dataclass
class Edit:
    """An edit of the project; `part` is what is to be named, None for an edit of no meaning."""

    name: str
    file: str
    old: str
    new: str
    part: str | None


def stale(name: str, file: str, old: str, new: str, part: str) -> Edit:
    return Edit(name, file, old, new, part)


def same(name: str, file: str, old: str, new: str) -> Edit:
    return Edit(name, file, old, new, None)


FEATURES, HELPERS, CONFIG = "shop/features.py", "shop/helpers.py", "shop/config.py"
RUN = "function shop.features.Features.run"
STALE = [
    stale("body", FEATURES, "sum(found)", "max(found)", RUN),
    stale("constant in a body", FEATURES, "h.even(3)", "h.even(4)", RUN),
    stale("set literal", FEATURES, '"one", "two"', '"one", "TWO"', RUN),
    stale("helper", HELPERS, "strip(x) +", "strip(x) -", "function shop.helpers.clean"),
    stale("nested helper", HELPERS, "total = 0", "total = 1", "function shop.helpers.strip"),
    stale("recursion", HELPERS, "n != 0 and", "n > 0 and", "function shop.helpers.odd"),
    stale("module constant", CONFIG, "LIMIT = 5", "LIMIT = 6", "constant shop.config.LIMIT"),
    stale("constant of the module", FEATURES, "TOP * 2", "TOP * 3", "constant shop.features.RATE"),
    stale("class constant", FEATURES, "window = 7", "window = 8", "Features.window"),
    stale("default", HELPERS, "exponent=2", "exponent=3", "function shop.helpers.power"),
    stale("keyword-only default", HELPERS, "offset=1", "offset=2", "function shop.helpers.power"),
    stale("argument renamed", HELPERS, "def strip(x)", "def strip(y)", "shop.helpers.strip"),
    stale("decorator body", "shop/deco.py", "before = 1", "before = 2", "timed.<locals>.wrapper"),
    stale("decorator argument", FEATURES, "@times(2)", "@times(3)", "Features.twice"),
    stale("decorator of the class", "shop/deco.py", "mark = 1", "mark = 2", "Features.mark"),
    stale("decorated helper", HELPERS, "x - 1", "x - 2", "function shop.helpers.slow"),
    stale("decorator taken off", HELPERS, "@timed\n", "\n", "function shop.helpers.slow"),
    stale("object", CONFIG, "CFG = Cfg(1)", "CFG = Cfg(2)", "constant shop.config.CFG"),
    stale("class of an object", CONFIG, "= rate", "= rate + 1", "shop.config.Cfg.__init__"),
    stale("dataclass object", CONFIG, "depth=4", "depth=5", "constant shop.config.SETTING"),
    stale("dataclass default", CONFIG, "depth: int = 3", "depth: int = 2", "Setting.depth"),
    stale("dataclass factory", CONFIG, "factory=list", "factory=tuple", "Setting.names"),
    stale("dataclass field", CONFIG, "compare=False", "compare=True", "Setting.weight"),
    stale("new field", CONFIG, "depth: int = 3", "depth: int = 3; more: int = 0", "Setting"),
    stale("dataclass argument", CONFIG, "@dataclass\n", "@dataclass(order=True)\n", "Setting"),
    stale("enum member", CONFIG, "MODE = Mode.FAST", "MODE = Mode.SLOW", "shop.config.MODE"),
    stale("enum value", CONFIG, '"slow"', '"slower"', "class shop.config.Mode"),
    stale("enum method", CONFIG, "else 10", "else 11", "shop.config.Mode.cost"),
    stale("set", CONFIG, '"beta"', '"BETA"', "constant shop.config.WORDS"),
    stale(
        "order of a dict",
        CONFIG,
        '"first": 1, "second": 2',
        '"second": 2, "first": 1',
        "shop.config.ORDER",
    ),
    stale("pattern", CONFIG, '"a+"', '"b+"', "constant shop.config.PATTERN"),
    stale("decimal", CONFIG, "1.50", "1.51", "constant shop.config.PRICE"),
    stale("opaque, its expression", CONFIG, "Semaphore(4)", "Semaphore(5)", "shop.config.gate"),
    stale("closure", HELPERS, "adder(3)", "adder(4)", "shop.helpers.add_three"),
    stale("code of a closure", HELPERS, "x + n", "x - n", "adder.<locals>.add"),
    stale("lambda", HELPERS, "x * 2", "x * 3", "function shop.helpers.double"),
    stale("lambda of two in a line", HELPERS, "row[0]", "row[2]", "shop.helpers.sort_key"),
    stale("partial", HELPERS, "exponent=0.5", "exponent=0.7", "function shop.helpers.halve"),
    stale("cached helper", HELPERS, "math.floor", "math.ceil", "function shop.helpers.cached"),
    stale("singledispatch", HELPERS, '"int"', '"whole"', "function shop.helpers._"),
    stale("singledispatch type", HELPERS, "x: int", "x: float", "function shop.helpers.show"),
    stale("base", "shop/base.py", "return name", "return name + 1", "shop.base.Task.load"),
    stale("mixin", "shop/base.py", "x * self", "x + self", "shop.base.Mixin.scaled"),
    stale("constant of a mixin", "shop/base.py", "scale = 10", "scale = 11", "Mixin.scale"),
    stale("other base", FEATURES, "(Mixin, Task)", "(Task, Mixin)", "class shop.features.Features"),
    stale("property", FEATURES, "return 1\n", "return 2\n", "shop.features.Features.size"),
    stale("setter", FEATURES, "given = value", "given = [value]", "shop.features.Features.size"),
    stale("static method", FEATURES, "return x\n", "return [x]\n", "Features.of"),
    stale("kind of method", FEATURES, "@staticmethod", "@classmethod", "Features.of"),
    stale("nested class", FEATURES, "depth = 1", "depth = 2", "Features.Inner.depth"),
    stale("import in a function", "shop/lazy.py", "100", "101", "function shop.lazy.late"),
    stale("other import in it", FEATURES, "shop.lazy as", "shop.star as", RUN),
    stale("star import", "shop/star.py", "return x", "return -x", "function shop.star.starred"),
    stale("constant by star", "shop/star.py", "STAR = 1", "STAR = 2", "constant shop.star.STAR"),
    stale("import as", FEATURES, "clean as tidy", "strip as tidy", RUN),
    stale("third-party name", HELPERS, "import math", "import cmath as math", "cached"),
    stale("module as a whole", "shop/strategies.py", "x - 1", "x - 2", "strategies.minus"),
    stale("name that comes", FEATURES, "RATE =", "missing_yet = 1\nRATE =", "missing_yet"),
    stale("builtin hidden", FEATURES, "RATE =", "def sum(x): return 1\nRATE =", "sum"),
    stale("conditional import", FEATURES, "fast = None", "fast = None\n    TOP = 9", "RATE"),
    stale("default order", FEATURES, "small + 1", "1 + small", "Features.last"),
    stale("locals swapped", FEATURES, "return big", "return small", "Features.last"),
]
NEEDLESS = [
    same("comment", HELPERS, "# a comment", "# another one"),
    same("white space", HELPERS, "strip(x) + config.LIMIT", " (strip( x )\n +   config.LIMIT )"),
    same("docstring of the module", FEATURES, "Features of a day", "Something else"),
    same("docstring of the class", FEATURES, '"""Doc of the class."""', '"""Another."""'),
    same("docstring of a method", FEATURES, '"""Doc of run."""', '"""Other."""'),
    same("docstring gone", FEATURES, '"""Doc of run."""', ""),
    same("docstring comes", HELPERS, "return math.floor", '"""Doc."""\n    return math.floor'),
    same("annotation", FEATURES, "clicks: int", "clicks: float"),
    same("annotation gone", FEATURES, ") -> int:", "):"),
    same("annotation of a local", FEATURES, "small = 1", "small: int = 1"),
    same("annotation of a field", CONFIG, "depth: int", "depth: float"),
    same("local renamed", HELPERS, "total", "result"),
    same("locals renamed", FEATURES, "found", "kept"),
    same(
        "variable of a loop renamed",
        FEATURES,
        "item for item in days if PATTERN.match(str(item))",
        "x for x in days if PATTERN.match(str(x))",
    ),
    same("local import renamed", FEATURES, "lazy.late", "lazy . late"),
    same("local of a decorator renamed", "shop/deco.py", "before", "start"),
    same("order of a set", FEATURES, '{"one", "two",', '{"two", "one",'),
    same("order of a set constant", CONFIG, '"alpha", "beta"', '"beta", "alpha"'),
    same("code that is not used", HELPERS, "return 1\n", "return 2\n"),
    same("constant that is not used", CONFIG, "UNUSED = 1", "UNUSED = 2"),
    same("not used in a lazy module", "shop/lazy.py", "return x\n", "return [x]\n"),
    same("global annotated", CONFIG, "LIMIT = 5", "LIMIT: int = 5"),
    same("value spelt otherwise", CONFIG, "LIMIT = 5", "LIMIT = 2 + 3"),
    same("function moved", HELPERS, "def even", "def first(): pass\n\ndef even"),
    same("quotes", CONFIG, '"fast"', "'fast'"),
    same("pass", HELPERS, "total = 0", "total = 0; pass"),
    same("type checking import", HELPERS, "import math", "import math\nimport typing"),
]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def edited(edit: Edit) -> dict[str, str]:
    text = SHOP[edit.file]
    assert edit.old in text, f"{edit.name!r}: {edit.file} has no {edit.old!r}"
    return {**SHOP, edit.file: text.replace(edit.old, edit.new)}


def probe(
    requests: Sequence[tuple[Path, str, dict[str, Any]]],
    *,
    python: str = sys.executable,
    seed: str = "0",
) -> list[CodeHash]:
    """The code hashes of packages, in one fresh process."""
    done = subprocess.run(
        [python, "-P", str(PROBE), str(SOURCE)],
        input=json.dumps([(str(folder), name, given) for folder, name, given in requests]),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": ""},
    )
    assert 0 == done.returncode, done.stderr
    rows = json.loads(done.stdout)
    return [CodeHash(row["digest"], row["parts"], tuple(row["opaque"])) for row in rows]


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CodeHash]:
    """The hash of every edited project by the name of the edit, all from one process."""
    home = tmp_path_factory.mktemp("variants")
    places = {"": write(home / "variants" / "none", SHOP)}
    for number, edit in enumerate([*STALE, *NEEDLESS]):
        places[edit.name] = write(home / "variants" / f"edit{number}", edited(edit))
    requests: list[tuple[Path, str, dict[str, Any]]] = [
        (place, "shop.features:Features", {}) for place in places.values()
    ]
    return dict(zip(places, probe(requests), strict=True))


def test_every_edit_has_a_name_of_its_own() -> None:
    names = [edit.name for edit in [*STALE, *NEEDLESS]]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("edit", STALE, ids=lambda edit: edit.name)
def test_an_edit_that_matters_is_seen_and_named(edit: Edit, variants: dict[str, CodeHash]) -> None:
    assert variants[""].digest != variants[edit.name].digest
    sentences = differences(variants[""], variants[edit.name])
    assert edit.part is not None
    assert [line for line in sentences if edit.part in line], sentences


@pytest.mark.parametrize("edit", NEEDLESS, ids=lambda edit: edit.name)
def test_an_edit_of_no_meaning_is_not_seen(edit: Edit, variants: dict[str, CodeHash]) -> None:
    assert [] == differences(variants[""], variants[edit.name])
    assert variants[""].digest == variants[edit.name].digest
