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


def test_a_feature_class_is_found_by_module_and_by_path(folder: Path) -> None:
    write(folder / "rows_here.py")

    found = find_class("rows_here:Impression")

    assert "Impression" == found.__name__
    assert found is find_class("rows_here.py:Impression")
    assert found is find_class(f"{folder}/rows_here.py:Impression")
    assert "Inner" == find_class("rows_here:Outer.Inner").__name__


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows", "'rows' names no feature class; write MODULE:CLASS, such as "),
        ("rows_z:Impresion", "no feature class 'Impresion'. Did you mean 'Impression'. It has: "),
        ("rows_z:Features", "no feature class 'Features'"),
        ("wrong:Row", "'wrong' cannot be imported. Field 'a' of 'Row' has the type bytes"),
    ],
)
def test_what_is_no_feature_class_is_named(folder: Path, name: str, message: str) -> None:
    write(folder / "rows_z.py")
    write(
        folder / "wrong.py",
        "from tadka.features import Features\nclass Row(Features):\n    a: bytes\n",
    )

    with pytest.raises(ConfigError, match=message):
        find_class(name)


def test_a_module_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(NotFound, match="There is no module"):
        find_class("nothing_x:Row")
