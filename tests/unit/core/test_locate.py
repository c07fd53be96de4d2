"""Classes by their names, whatever they are a subclass of."""

import sys
from collections import UserDict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tadka.core.error import ConfigError, NotFound
from tadka.core.locate import locate

TEXT = """
from collections import UserDict

class Impression(UserDict):
    pass

class Outer:
    class Inner(Impression):
        pass

number = 5
"""


def find(name: str) -> type[UserDict[str, int]]:
    return locate(name, UserDict, "shop", "rows:Impression")


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

    found = find("rows_here:Impression")

    assert "Impression" == found.__name__
    assert found is find("rows_here.py:Impression")
    assert found is find(f"{folder}/rows_here.py:Impression")
    assert "Inner" == find("rows_here:Outer.Inner").__name__


def test_a_module_in_a_package_is_found_by_its_dotted_name(folder: Path) -> None:
    write(folder / "shop_x" / "__init__.py", "")
    write(folder / "shop_x" / "rows.py")

    assert "shop_x.rows" == find("shop_x.rows:Impression").__module__


def test_files_find_what_they_import_beside_them(folder: Path) -> None:
    write(folder / "deep" / "helper_x.py", "SIZE = 9")
    write(
        folder / "deep" / "rows_x.py",
        "from collections import UserDict\nfrom helper_x import SIZE\n"
        "class Row(UserDict):\n    size = SIZE\n",
    )

    assert 9 == vars(find("deep/rows_x.py:Row"))["size"]


def test_files_of_one_name_are_two_modules_and_of_a_library_s_name_leave_it_alone(
    folder: Path,
) -> None:
    write(folder / "one" / "rows_y.py")
    write(folder / "two" / "rows_y.py")
    write(folder / "one" / "json.py")
    write(folder / "my.rows.py")

    one, two = find("one/rows_y.py:Impression"), find("two/rows_y.py:Impression")

    assert one is not two
    assert one is find("one/rows_y.py:Impression")
    assert "json" != find("one/json.py:Impression").__module__
    assert "Impression" == find("my.rows.py:Impression").__name__


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows", "'rows' names no shop; write MODULE:CLASS"),
        (":Row", "names no shop"),
        ("rows_z:", "names no shop"),
        (
            "rows_z:Impresion",
            "no shop 'Impresion'. Did you mean 'Impression'. It has: Imp",
        ),
        ("rows_z:number", "no shop 'number'"),
        ("rows_z:UserDict", "no shop 'UserDict'"),
        ("json:Row", "It has: none"),
        ("broken.py:Row", r"'broken.py' cannot be imported: ZeroDivisionError.*broken.py, line 2"),
        ("broken:Row", "'broken' cannot be imported: ZeroDivisionError"),
        ("needs:Row", "'needs' cannot be imported: ModuleNotFoundError: No module named 'nothing_"),
        ("syntax.py:Row", "cannot be imported: SyntaxError"),
        ("wrong:Row", "'wrong' cannot be imported. It has no rows."),
    ],
)
def test_what_cannot_be_found_is_named(folder: Path, name: str, message: str) -> None:
    write(folder / "rows_z.py")
    write(folder / "broken.py", "x = 1\n1 / 0\n")
    write(folder / "needs.py", "import nothing_of_that_name\n")
    write(folder / "syntax.py", "def (\n")
    write(
        folder / "wrong.py",
        "from tadka.core.error import ConfigError\nraise ConfigError('It has no rows.')\n",
    )

    with pytest.raises(ConfigError, match=message):
        find(name)


@pytest.mark.parametrize("name", ["nothing_x:Row", "json.nothing:Row", "nothing.py:Row"])
def test_a_module_that_does_not_exist_is_not_found(name: str) -> None:
    with pytest.raises(NotFound, match=r"There is no module|does not exist"):
        find(name)
