import importlib
import itertools
import json
import linecache
import os
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tadka
from tadka.core.error import NotFound
from tadka.task.code.digest import CodeHash, code_of, differences

SOURCE = Path(tadka.__file__).parents[1]
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


# ---------------------------------------------------------------- the same everywhere

INTERPRETERS = {
    version: next(iter(sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))), None)
    for version in ("3.11", "3.12", "3.13")
}


@pytest.mark.parametrize("version", INTERPRETERS)
def test_the_digest_is_the_same_on_every_python(
    version: str, variants: dict[str, CodeHash], tmp_path: Path
) -> None:
    python = INTERPRETERS[version]
    if python is None:
        pytest.skip(f"no Python {version} below ~/.pyenv/versions")
    place = write(tmp_path / "variants", SHOP)

    (found,) = probe([(place, "shop.features:Features", {})], python=str(python), seed="7")

    assert [] == differences(variants[""], found)
    assert variants[""].digest == found.digest


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_digest_is_the_same_under_every_hash_seed(
    seed: str, variants: dict[str, CodeHash], tmp_path: Path
) -> None:
    place = write(tmp_path / "variants", SHOP)

    (found,) = probe([(place, "shop.features:Features", {})], seed=seed)

    assert variants[""].digest == found.digest


def test_only_what_cannot_be_looked_into_is_opaque(variants: dict[str, CodeHash]) -> None:
    assert ("shop.config.gate", "shop.config.lock") == variants[""].opaque


SHOWN = """
if __name__ == "__main__":
    from tadka.task.code.digest import code_of
    print(code_of(Features).digest)
"""


@pytest.mark.parametrize("how", [["-m", "shop.features"], ["shop/features.py"], ["alone.py"]])
def test_a_class_of_the_program_that_runs_is_as_if_imported(how: list[str], tmp_path: Path) -> None:
    alone = "from shop.helpers import clean\nclass Features:\n    def run(self): return clean(1)\n"
    files = {**SHOP, "alone.py": alone + SHOWN}
    files[FEATURES] += SHOWN
    place = write(tmp_path / "variants", files)
    module = "alone" if how == ["alone.py"] else "shop.features"

    done = subprocess.run(
        [sys.executable, *how],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{place}"},
    )
    (found,) = probe([(place, f"{module}:Features", {})])

    assert 0 == done.returncode, done.stderr
    assert found.digest == done.stdout.strip()


# ---------------------------------------------------------------- one process

Load = Callable[..., Any]
_numbers = itertools.count()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Writes a module and imports it: a package of the name `{package}` in the text."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def loaded(text: str, name: str = "project", **others: str) -> Any:
        for known in [n for n in sys.modules if n.partition(".")[0] in {name, *others}]:
            monkeypatch.delitem(sys.modules, known)
        write(
            tmp_path,
            {f"{key}.py": textwrap.dedent(body) for key, body in {**others, name: text}.items()},
        )
        importlib.invalidate_caches()
        return importlib.import_module(name)

    return loaded


def digest_of(module: Any, **given: Any) -> str:
    return code_of(module.T, **given).digest


def test_a_cache_that_fills_as_tasks_run_does_not_count(load: Load) -> None:
    module = load(
        """
        _memo = {}
        calls = 0
        def remembering(function):
            kept = {}
            def wrapper(x):
                kept[x] = function(x)
                return kept[x]
            return wrapper
        @remembering
        def double(x):
            global calls
            calls += 1
            return _memo.setdefault(x, 2 * x) + calls
        class T:
            def run(self): return double(3)
        """
    )
    before = digest_of(module)

    module.T().run()

    assert before == digest_of(module)


def test_a_register_that_fills_while_modules_are_imported_counts(load: Load) -> None:
    text = """
        known = {}
        def register(function):
            known[function.__name__] = function
            return function
        @register
        def one(): return 1
        class T:
            def run(self, name): return known[name]()
    """

    assert digest_of(load(text)) != digest_of(load(text.replace("return 1", "return 2")))


def test_a_constant_that_is_set_by_hand_counts(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("RATES = {'a': 1}\nclass T:\n    def run(self): return RATES\n")
    before = digest_of(module)

    module.RATES["a"] = 2

    assert before != digest_of(module)


def test_a_setting_that_other_code_of_the_module_sets_counts(load: Load) -> None:
    module = load(
        """
        CONFIG = {"rate": 1}
        level = 1
        def set_level(number):
            global level
            level = number
        def main(rate):
            CONFIG["rate"] = rate
            set_level(rate)
        def local():
            CONFIG = {}
            CONFIG["rate"] = 5
            return CONFIG
        class T:
            def run(self): return CONFIG["rate"], local()
        class Level:
            def run(self): return level
        """
    )
    before = digest_of(module), code_of(module.Level).digest

    module.main(2)
    after = digest_of(module), code_of(module.Level).digest
    module.main(1)

    assert before[0] != after[0]
    assert before[1] != after[1]
    assert before == (digest_of(module), code_of(module.Level).digest)


def test_a_file_that_was_only_edited_is_not_taken_for_what_runs(load: Load, tmp_path: Path) -> None:
    text = "class T:\n    def run(self): return {}\n"
    seen = load(text.format(1), "seen_before")
    unseen = load(text.format(1), "seen_after")
    before = digest_of(seen)
    for name in ("seen_before", "seen_after"):
        write(tmp_path, {f"{name}.py": text.format(22)})

    after = [digest_of(seen), digest_of(unseen)]

    assert before == after[0]
    assert after[1] != digest_of(load(text.format(22), "seen_after"))


def test_a_module_that_is_reloaded_is_read_again(load: Load, tmp_path: Path) -> None:
    module = load("LIMIT = 1\nclass T:\n    def run(self): return LIMIT + 1\n")
    before = digest_of(module)

    write(tmp_path, {"project.py": "LIMIT = 1\nclass T:\n    def run(self): return LIMIT + 2\n"})
    importlib.reload(module)

    assert before != digest_of(module)


def cell(number: int, text: str, names: dict[str, Any]) -> None:
    """Runs a cell as a notebook does: no file, but lines that a traceback can show."""
    file = f"<cell {number} of test_code>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), names)


def test_a_cell_of_a_notebook_is_seen_when_it_runs_again() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    text = "class T:\n    limit = 1\n    def run(self):\n        total = help_me(1); return total\n"
    cell(1, "def help_me(x):\n    return x + 1\n", names)
    cell(2, text, names)
    first = code_of(names["T"])
    cell(3, text.replace("total", "result").replace("limit", "# no\n    limit"), names)
    renamed = code_of(names["T"])
    cell(4, "def help_me(x):\n    return x + 2\n", names)
    helped = code_of(names["T"])

    assert first.digest == renamed.digest
    assert [line for line in differences(first, helped) if "help_me changed" in line]


def test_code_without_source_is_hashed_by_its_instructions() -> None:
    text = textwrap.dedent("""
        LIMIT = 5
        def scale(x, by=2):
            'Doc.'
            part = x * by
            return part if x in {{'a', 'b'}} else {}
        class T:
            def run(self): return scale(1)
    """)

    def made(text: str) -> str:
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(text, names)
        return digest_of(types.SimpleNamespace(**names))

    base = made(text.format("LIMIT"))

    assert base == made(text.format("LIMIT").replace("part", "piece").replace("Doc", "Other"))
    assert base != made(text.format("LIMIT + 1"))
    assert base != made(text.format("LIMIT").replace("by=2", "by=3"))
    assert base != made(text.format("LIMIT").replace("= 5", "= 6"))


def test_code_that_pytest_has_rewritten_has_a_hash_too() -> None:
    class T:
        def run(self, x: int) -> int:
            assert x > 0
            return x

    assert code_of(T) == code_of(T)
    assert () == code_of(T).opaque


def test_files_count(tmp_path: Path, load: Load) -> None:
    module = load("class T: pass\n")
    write(tmp_path, {"query.sql": "select 1", "more/a.sql": "select 2", "more/in/b.sql": "3"})
    given = {"files": ["query.sql", "more"]}
    before = code_of(module.T, **given)
    write(tmp_path, {"more/a.sql": "select 3"})
    after = code_of(module.T, **given)

    assert ["file:more/a.sql", "file:more/in/b.sql", "file:query.sql", "project.T"] == [
        *before.parts
    ]
    assert ["file more/a.sql changed"] == differences(before, after)
    with pytest.raises(NotFound, match=r"no\.sql"):
        code_of(module.T, files=["no.sql"])


def test_what_is_named_in_uses_counts(load: Load) -> None:
    text = """
        def one(): return 1
        def two(): return one() + 1
        class T:
            def run(self, name): return globals()[name]()
    """
    module = load(text)
    changed = load(text.replace("return 1", "return 5"))

    assert digest_of(module) == digest_of(changed)  # out of sight
    assert digest_of(module, uses=[module.two]) != digest_of(changed, uses=[changed.two])
    assert digest_of(module, uses=[module]) != digest_of(changed, uses=[changed])
    assert digest_of(module, uses=[1]) != digest_of(module, uses=[2])


def test_code_of_other_packages_does_not_count(tmp_path: Path, load: Load) -> None:
    library = {"site-packages/lib_of_others.py": "def work(x):\n    return x + {}\nRATE = {}\n"}
    sys.path.insert(0, str(tmp_path / "site-packages"))
    text = """
        import lib_of_others
        from lib_of_others import work
        class T:
            def run(self): return work(1) + lib_of_others.RATE
    """
    try:
        digests = []
        for value in (1, 2):
            sys.modules.pop("lib_of_others", None)
            write(tmp_path, {name: t.format(value, value) for name, t in library.items()})
            importlib.invalidate_caches()
            digests.append(digest_of(load(text)))
    finally:
        sys.path.remove(str(tmp_path / "site-packages"))
        sys.modules.pop("lib_of_others", None)

    assert digests[0] == digests[1]


def test_modules_beside_the_package_count_loaded_or_not(load: Load) -> None:
    text = """
        class T:
            def run(self):
                import beside_it
                return beside_it.work()
    """
    beside = "def work(): return {}\n"
    module = load(text, beside_it=beside.format(1))
    first = digest_of(module)
    assert "beside_it" in sys.modules

    assert first == digest_of(module)
    assert first != digest_of(load(text, beside_it=beside.format(2)))


@pytest.mark.parametrize(
    ("folder", "counts"), [("libs/common/src", True), ("venv/lib/site-packages", False)]
)
def test_modules_of_other_folders_count_unless_they_are_installed(
    folder: str, counts: bool, tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / folder))
    text = "from of_elsewhere import work\nclass T:\n    def run(self): return work()\n"
    digests = []
    for number in (1, 2):
        monkeypatch.delitem(sys.modules, "of_elsewhere", raising=False)
        write(tmp_path, {f"{folder}/of_elsewhere.py": f"def work(): return {number}\n"})
        importlib.invalidate_caches()
        digests.append(digest_of(load(text)))

    assert counts == (digests[0] != digests[1])


def test_modules_that_a_link_installs_are_installed(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path, {"cache/linked_lib/__init__.py": "def work(): return 1\n", "site-packages/a": ""}
    )
    (tmp_path / "site-packages/linked_lib").symlink_to(tmp_path / "cache/linked_lib")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    monkeypatch.delitem(sys.modules, "linked_lib", raising=False)
    module = load("import linked_lib\nclass T:\n    def run(self): return linked_lib.work()\n")

    assert ["project.T", "project.T.run"] == [*code_of(module.T).parts]


def test_a_class_of_a_prompt_reaches_what_it_imports(tmp_path: Path) -> None:
    text = "from helpers_of_prompt import work\nclass T:\n    def run(self): return work()\n"
    text += "from tadka.task.code.digest import code_of\nprint(*code_of(T).parts)"
    write(tmp_path, {"helpers_of_prompt.py": "def work(): return 1\n"})

    done = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{tmp_path}"},
    )

    assert "__main__.T __main__.T.run helpers_of_prompt.work" == done.stdout.strip()


def test_annotations_count_where_another_package_may_read_them(load: Load) -> None:
    model = "import pydantic\nclass Row(pydantic.BaseModel):\n    x: {}\n"
    model += "class T:\n    def run(self): return Row(x=1)\n"
    call = "import pydantic\n@pydantic.validate_call\ndef work(x: {}): return x\n"
    call += "class T:\n    def run(self): return work(1)\n"
    plain = "class Row:\n    x: {}\nclass T:\n    def run(self, y: {}) -> {}: return Row()\n"

    for text in (model, call):
        assert digest_of(load(text.format("int"))) != digest_of(load(text.format("str")))
    assert digest_of(load(plain.format(*["int"] * 3))) == digest_of(
        load(plain.format(*["str"] * 3))
    )


def test_attributes_named_as_no_code_do_not_count(load: Load) -> None:
    text = """
        class Base:
            __not_code__ = frozenset()
            def __init_subclass__(cls):
                cls.__not_code__ = frozenset({"retries", "window", "made"})
                cls.made = {"by": "the base"}
        class T(Base):
            window: int = 7
            retries = 2
            limit = 1
    """
    base = digest_of(load(text))

    assert base == digest_of(load(text.replace("retries = 2", "retries = 3")))
    assert base == digest_of(load(text.replace("window: int = 7", "window: int")))
    assert base != digest_of(load(text.replace("limit = 1", "limit = 2")))


@pytest.mark.parametrize(
    "text",
    [
        "TABLE = {'a': held}\nclass T:\n    def run(self): return TABLE['a'].work()\n",
        "class T:\n    back = held\n    def run(self): return self.back.work()\n",
        "def f(m=held): return m.work()\nclass T:\n    def run(self): return f()\n",
        "def f(m): return m.work()\nclass T:\n    def run(self): return f(held)\n",
        (
            "def make():\n    m = held\n    return lambda: m.work()\n"
            "f = make()\nclass T:\n    def run(self): return f()\n"
        ),
    ],
    ids=["dict", "class", "default", "argument", "closure"],
)
def test_a_module_that_is_held_as_a_value_counts_as_a_whole(text: str, load: Load) -> None:
    module = load("import held\n" + text, held="def work(): return 1\n")
    before = digest_of(module)

    assert before != digest_of(load("import held\n" + text, held="def work(): return 2\n"))


@pytest.mark.parametrize(
    ("made", "old", "new"),
    [
        ("shutil.ignore_patterns('a')", "'a'", "'b'"),
        ("[shutil.ignore_patterns('a')]", "'a'", "'b'"),
        ("np.array([1, 2]).view(Array)", "2", "3"),
        ("Price('1.1')", "1.1", "1.2"),
        ("Day(2020, 1, 1)", "2020", "2021"),
        ("Wrong('a')", "'a'", "'b'"),
        ("pd.DataFrame({'a': [1]}).pipe(Frame)", "[1]", "[2]"),
        ("deque([1], maxlen=5)", "maxlen=5", "maxlen=6"),
        ("defaultdict(lambda: 1)", "lambda: 1", "lambda: 2"),
        ("defaultdict(Made)", "class Made: x = 1", "class Made: x = 2"),
        ("Held.half", "return x / 2", "return x / 3"),
        ("Held.half", "otypes=[float]", "otypes=[int]"),
    ],
)
def test_values_of_other_packages_count_by_what_they_hold(
    made: str, old: str, new: str, load: Load
) -> None:
    text = f"""
        import shutil
        from collections import defaultdict, deque
        from datetime import date
        from decimal import Decimal
        from functools import partial
        import numpy as np
        import pandas as pd
        class Array(np.ndarray): pass
        class Price(Decimal): pass
        class Day(date): pass
        class Wrong(Exception): pass
        class Frame(pd.DataFrame): pass
        class Made: x = 1
        class Held:
            @partial(np.vectorize, otypes=[float])
            def half(x): return x / 2
        VALUE = {made}
        class T:
            def run(self): return VALUE, Held
    """
    assert old in text
    first = digest_of(load(text))

    assert first == digest_of(load(text))
    assert first != digest_of(load(text.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from xml.etree.ElementTree import parse", "from xml.dom.minidom import parse"),
        ("work.rate = 2", "work.rate = 3"),
        ("return 7", "return 8"),
        ("Held._rate = 3", "Held._rate = 4"),
        ("['a', 'b']", "['b', 'a']"),
    ],
)
def test_what_is_set_or_taken_by_statements_of_the_module_counts(
    old: str, new: str, load: Load
) -> None:
    text = """
        from dataclasses import make_dataclass
        from xml.etree.ElementTree import parse
        Pair = make_dataclass('Pair', ['a', 'b'])
        def work(x):
            work.calls += 1
            return x * work.rate
        work.calls = 0
        work.rate = 2
        def called(self): return 7
        class Held: pass
        Held.__call__ = called
        Held._rate = 3
        class T:
            def run(self): return parse('a'), work(1), Held()(), Pair(1, 2).a
    """
    module = load(text)
    before = digest_of(module)
    module.work(1)

    assert before == digest_of(module)
    assert before != digest_of(load(text.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"), [("[1, 2]", "[1, 3]"), ("b: int; c: int", "c: int; b: int"), ("= 5", "= 6")]
)
def test_a_dataclass_without_source_counts_by_its_fields(old: str, new: str) -> None:
    text = "from dataclasses import dataclass, field\n@dataclass\nclass Held:\n"
    text += "    b: int; c: int; d: int = 5\n"
    text += "    rows: list = field(default_factory=lambda: [1, 2])\n"
    text += "class T:\n    def run(self): return Held(1, 2)\n"

    def made(text: str) -> str:
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(text, names)
        return digest_of(types.SimpleNamespace(**names))

    assert made(text) == made(text)
    assert made(text) != made(text.replace(old, new))


def test_an_argument_of_a_lambda_in_a_default_hides_no_global(load: Load) -> None:
    text = """
        SCALE = {}
        def work(x, key=lambda SCALE: SCALE): return x * SCALE
        class T:
            def run(self): return work(1)
    """

    assert digest_of(load(text.format(1))) != digest_of(load(text.format(2)))


def test_constants_may_hold_themselves_and_functions_each_other(load: Load) -> None:
    text = """
        class Node:
            def __init__(self): self.me, self.items = self, [self]
        NODE = Node()
        LOOP = [1]
        LOOP.append(LOOP)
        def make():
            def down(n): return up(n - 1) if n else {}
            def up(n): return down(n)
            return down
        walk = make()
        class T:
            def run(self): return NODE, LOOP, walk(3), T
    """

    assert digest_of(load(text.format(0))) != digest_of(load(text.format(1)))


def test_functions_may_be_of_any_size(load: Load) -> None:
    long = " + ".join(f"x{n % 7}" for n in range(900))
    text = f"def work(x0, x1, x2, x3, x4, x5, x6): return {long}\n"
    chain = (
        "".join(f"def f{n}(): return f{n + 1}()\n" for n in range(1500)) + "def f1500(): return 1\n"
    )
    body = "class T:\n    def run(self): return work(*range(7)) + f0()\n"
    module = load(text + chain + body)
    base = digest_of(module)

    assert base != digest_of(load(text + chain.replace("return 1", "return 2") + body))
    renamed = (text + chain + body).replace("return x0", "part = 1; del part; return x0")
    named = renamed.replace("part", "piece")
    assert digest_of(load(renamed)) == digest_of(load(named))  # by its tree, at this depth too


def test_two_functions_under_one_name_are_told_apart(load: Load) -> None:
    text = """
        def adder(n):
            return lambda x: x + n
        def timed(f):
            def wrapper(x): return f(x)
            return wrapper
        def a(x): return 1
        def b(x): return 2
        first, second = adder({}), adder({})
        a, b = timed({}), timed({})
        class T:
            def run(self): return first(1), second(1), a(1), b(1)
    """
    base = digest_of(load(text.format(1, 2, "a", "b")))

    assert base != digest_of(load(text.format(2, 1, "a", "b")))
    assert base != digest_of(load(text.format(1, 2, "b", "a")))


def test_differences_name_what_is_new_and_what_is_gone() -> None:
    before = {"a.f": "function:1", "a.X": "constant:1", "a.T": "class:1"}
    now = CodeHash("", {"a.f": "function:2", "a.T": "class:1", "a.Y": "constant:1"})

    assert ["constant a.X is gone", "constant a.Y is new", "function a.f changed"] == (
        differences(before, now)
    )
    assert [] == differences(now, now)


def test_a_hash_takes_less_than_a_millisecond_after_the_first(load: Load) -> None:
    module = load(
        """
        LIMIT = 5
        def clean(x): return strip(x) + LIMIT
        def strip(x):
            total = 0
            for item in [x]:
                total += item
            return total
        def scale(x, by=2): return x * by
        class T:
            window = 7
            rate = 0.5
            def run(self, rows):
                found = []
                for row in rows:
                    if row["user"] is None:
                        continue
                    value = clean(row["x"]) * self.rate
                    if value > self.window:
                        value = self.window
                    found.append({"user": row["user"], "value": value, "other": scale(row["y"])})
                return self.in_order(found)
            def in_order(self, rows):
                return sorted(rows, key=lambda row: (row["user"], -row["value"]))
            def names(self, rows):
                seen = {row["user"] for row in rows}
                if not seen:
                    raise ValueError("no rows")
                return sorted(seen)
            def is_sane(self, rows):
                total = sum(row["value"] for row in rows)
                return 0 < total < 100
        """
    )
    code_of(module.T)

    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        code_of(module.T)
        seconds.append(time.perf_counter() - began)

    assert min(seconds) < 1e-3
