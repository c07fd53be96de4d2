import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tadka.core.error import ConfigError, NotFound
from tadka.features.locate import find_class

TEXT = """
from tadka.features import Features

class Impression(Features):
    n: int

class Outer:
    class Inner(Impression):
        pass

number = 5
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        # those of this folder only: a library that is loaded twice has every class twice
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path: Path, text: str = TEXT) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_class_is_found_by_module_by_path_and_inside_a_class(folder: Path) -> None:
    write(folder / "rows_here.py")

    found = find_class("rows_here:Impression")

    assert "Impression" == found.__name__
    assert found is find_class("rows_here.py:Impression")
    assert found is find_class(f"{folder}/rows_here.py:Impression")
    assert "Inner" == find_class("rows_here:Outer.Inner").__name__


def test_a_module_in_a_package_is_found_by_its_dotted_name(folder: Path) -> None:
    write(folder / "shop_x" / "__init__.py", "")
    write(folder / "shop_x" / "rows.py")

    assert "shop_x.rows" == find_class("shop_x.rows:Impression").__module__


def test_files_find_what_they_import_beside_them(folder: Path) -> None:
    write(folder / "deep" / "helper_x.py", "SIZE = 9")
    write(
        folder / "deep" / "rows_x.py",
        "from helper_x import SIZE\nfrom tadka.features import Features\n"
        "class Row(Features, size=SIZE):\n    n: int\n",
    )

    assert 9 == find_class("deep/rows_x.py:Row").definition().size


def test_files_of_one_name_are_two_modules_and_of_a_library_s_name_leave_it_alone(
    folder: Path,
) -> None:
    write(folder / "one" / "rows_y.py")
    write(folder / "two" / "rows_y.py")
    write(folder / "one" / "json.py")
    write(folder / "my.rows.py")

    one, two = find_class("one/rows_y.py:Impression"), find_class("two/rows_y.py:Impression")

    assert one is not two
    assert one is find_class("one/rows_y.py:Impression")
    assert "json" != find_class("one/json.py:Impression").__module__
    assert "Impression" == find_class("my.rows.py:Impression").__name__


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows", "'rows' names no feature class; write MODULE:CLASS"),
        (":Row", "names no feature class"),
        ("rows_z:", "names no feature class"),
        (
            "rows_z:Impresion",
            "no feature class 'Impresion'. Did you mean 'Impression'. It has: Imp",
        ),
        ("rows_z:number", "no feature class 'number'"),
        ("rows_z:Features", "no feature class 'Features'"),
        ("json:Row", "It has: none"),
        ("broken.py:Row", r"'broken.py' cannot be imported: ZeroDivisionError.*broken.py, line 2"),
        ("broken:Row", "'broken' cannot be imported: ZeroDivisionError"),
        ("needs:Row", "'needs' cannot be imported: ModuleNotFoundError: No module named 'nothing_"),
        ("syntax.py:Row", "cannot be imported: SyntaxError"),
        ("wrong:Row", "'wrong' cannot be imported. Field 'a' of 'Row' has the type bytes"),
    ],
)
def test_what_cannot_be_found_is_named(folder: Path, name: str, message: str) -> None:
    write(folder / "rows_z.py")
    write(folder / "broken.py", "x = 1\n1 / 0\n")
    write(folder / "needs.py", "import nothing_of_that_name\n")
    write(folder / "syntax.py", "def (\n")
    write(
        folder / "wrong.py",
        "from tadka.features import Features\nclass Row(Features):\n    a: bytes\n",
    )

    with pytest.raises(ConfigError, match=message):
        find_class(name)


@pytest.mark.parametrize("name", ["nothing_x:Row", "json.nothing:Row", "nothing.py:Row"])
def test_a_module_that_does_not_exist_is_not_found(name: str) -> None:
    with pytest.raises(NotFound, match=r"There is no module|does not exist"):
        find_class(name)
