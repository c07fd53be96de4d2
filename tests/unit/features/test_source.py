import ast
import functools
import linecache
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from tadka.features.source import NOTHING, NotCompiled, is_constant, read_source
from tests.unit.features.sample import from_source

LIMIT = 3


def text_of(function: Any) -> str:
    return "; ".join(map(ast.unparse, read_source(function).body))


def refusal_of(function: Any) -> str:
    with pytest.raises(NotCompiled) as caught:
        read_source(function)
    return caught.value.reason


class Plain:
    @property
    def value(self) -> str:
        """A docstring."""
        return """
not indented"""

    class Inner:
        @property
        def value(self) -> str:
            return "inner"


def make(width: int) -> type:
    class Local:
        @property
        def value(self) -> int:
            return width + LIMIT

        @property
        def later(self) -> int:
            return unset

        @property
        def mangled(self) -> int:
            return self.__width  # type: ignore[attr-defined, no-any-return]

    if width < 0:
        unset = 1
    return Local


def traced(function: Callable[[Any], str]) -> Callable[[Any], str]:
    @functools.wraps(function)
    def wrapper(self: Any) -> str:
        return function(self) + "!"

    return wrapper


def registered(function: Callable[[Any], str]) -> Callable[[Any], str]:
    return function


class Decorated:
    @property
    @traced
    def wrapped(self) -> str:
        return "inner"

    @property
    @registered
    @registered
    def same(self) -> str:
        return "inner"


def test_a_property_is_read_without_its_docstring() -> None:
    assert "return '\\nnot indented'" == text_of(Plain.value)
    assert "return 'inner'" == text_of(Plain.Inner.value)


def test_lines_are_those_of_the_file() -> None:
    source = read_source(Plain.Inner.value)

    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert '            return "inner"' == lines[source.body[0].lineno - 1]
    assert "        @property" == lines[source.line - 1]
    assert "value" == source.name


def test_names_are_looked_up_as_the_function_does() -> None:
    local: Any = make(7)
    source = read_source(local.value)

    assert "return width + LIMIT" == text_of(local.value)
    assert [7, LIMIT, len] == [source.lookup(name) for name in ("width", "LIMIT", "len")]
    assert NOTHING is source.lookup("missing")
    assert NOTHING is read_source(local.later).lookup("unset")
    assert "return self.__width" == text_of(local.mangled)


def test_what_runs_is_read_not_what_it_says_it_wraps() -> None:
    assert "return function(self) + '!'" == text_of(Decorated.wrapped)
    assert "return 'inner'" == text_of(Decorated.same)


def test_a_function_without_source_is_refused() -> None:
    scope: dict[str, Any] = {}
    exec("def f(self): return 1", scope)

    assert "its source is not available" == refusal_of(scope["f"])
    assert "its source is not available" == refusal_of(len)
    assert "its source is not available" == refusal_of(functools.partial(text_of))
    assert "a lambda" == refusal_of(lambda self: self)


def test_an_edited_file_is_noticed() -> None:
    made: Any = from_source(
        ["class Made:", "    @property", "    def value(self):", "        return 1"]
    )
    file = made.value.fget.__code__.co_filename
    assert "return 1" == text_of(made.value)

    for line in ("        return 2\n", "        return 1.0\n", "        return (1\n", "\n"):
        size, mtime, lines, name = linecache.cache[file]  # type: ignore[misc]
        linecache.cache[file] = (size, mtime, [*lines[:3], line], name)
        assert refusal_of(made.value) in {
            "its source has changed since it was imported",
            "its source is not available",
        }


def test_an_async_function_is_refused() -> None:
    made: Any = from_source(["class Made:", "    async def value(self):", "        return 1"])

    assert "an async function" == refusal_of(made.value)


def test_a_class_from_a_pickle_is_read_where_its_file_is(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import cloudpickle, sys\n"
        "class Row:\n"
        "    @property\n"
        "    def value(self):\n"
        "        return 5\n"
        "if len(sys.argv) > 1:\n"
        "    open(sys.argv[1], 'wb').write(cloudpickle.dumps(Row))\n"
        "else:\n"
        "    from tadka.features.source import read_source\n"
        "    print(len(read_source(Row.value).body))\n",
        encoding="utf-8",
    )
    run = functools.partial(subprocess.run, check=True, capture_output=True, text=True)
    assert "1\n" == run([sys.executable, str(script)]).stdout
    run([sys.executable, str(script), str(tmp_path / "row.pickle")])
    row = pickle.loads((tmp_path / "row.pickle").read_bytes())

    assert cloudpickle
    assert "return 5" == text_of(row.value)
    script.unlink()
    linecache.checkcache()
    assert "its source is not available" == refusal_of(row.value)


def test_a_module_in_a_zip_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as file:
        file.writestr("zipped_rows.py", "def value(self):\n    return 5\n")
    monkeypatch.syspath_prepend(tmp_path / "rows.zip")

    module: Any = __import__("zipped_rows")

    assert "return 5" == text_of(module.value)


def test_what_can_change_is_no_constant() -> None:
    assert all(map(is_constant, (None, True, 1, 0.5, "a", (1, ("b",)), frozenset({1}))))
    assert not any(
        map(is_constant, ([1], {1}, {}, (1, [2]), b"a", 1j, object(), type("I", (int,), {})(1)))
    )
