import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tadka.core.error import MissingExtra
from tadka.core.extra import require


def test_module_is_returned_when_installed() -> None:
    assert require("json.decoder", extra="stream") is sys.modules["json.decoder"]


def test_a_library_of_tadka_itself_names_no_extra() -> None:
    with pytest.raises(MissingExtra, match=r"not installed\. Run: pip install tadka\.$"):
        require("tadka_no_such_library")


def test_absent_library_names_package_and_extra() -> None:
    with pytest.raises(MissingExtra) as caught:
        require("tadka_no_such_library.part", extra="mpi")

    assert (
        "This needs tadka_no_such_library, which is not installed. Run: pip install 'tadka[mpi]'."
        == str(caught.value)
    )
    assert "tadka_no_such_library" == caught.value.name


def test_broken_library_is_told_from_an_absent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tadka_broken_library.py").write_text("import tadka_no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(MissingExtra, match=r"is installed but cannot be imported .*no_such_depend"):
        require("tadka_broken_library", extra="torch")


def test_a_module_of_tadka_names_the_library_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "tadka.models.net.fm", raising=False)

    with pytest.raises(MissingExtra, match=r"needs torch, .*not installed.*tadka\[torch\]") as told:
        require("tadka.models.net.fm", extra="torch")

    assert "torch" == told.value.name


class TestOnDemand:
    """Public names of a package that are imported when first used."""

    @pytest.fixture
    def package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
        folder = tmp_path / "spices"
        folder.mkdir()
        homes = {"cumin": ["roast", "cumin"], "heat.pan": ["heat"]}
        text = "from tadka.core.extra import on_demand\n__all__ = ['cumin', 'heat', 'roast']\n"
        text += f"__getattr__, __dir__ = on_demand(__name__, {homes!r})\n"
        (folder / "__init__.py").write_text(text)
        (folder / "cumin.py").write_text("def roast(): ...\ndef cumin(): ...\n")
        (folder / "heat").mkdir()
        (folder / "heat" / "__init__.py").write_text("")
        (folder / "heat" / "pan.py").write_text("def heat(): ...\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        yield importlib.import_module("spices")
        for name in [name for name in sys.modules if name.partition(".")[0] == "spices"]:
            del sys.modules[name]

    def test_loads_no_more_than_the_home_of_a_name(self, package: ModuleType) -> None:
        assert "spices.cumin" not in sys.modules

        assert "roast" == package.roast.__name__
        assert "spices.cumin" in sys.modules
        assert "spices.heat" not in sys.modules
        assert package.roast is vars(package)["roast"]

    def test_a_name_wins_over_a_module_of_that_name(self, package: ModuleType) -> None:
        module = importlib.import_module("spices.heat.pan")
        importlib.import_module("spices.cumin")

        assert module.heat is package.heat
        assert "function" == type(package.cumin).__name__

    def test_lists_what_it_has_not_loaded(self, package: ModuleType) -> None:
        assert {"cumin", "heat", "roast", "__all__"} <= set(dir(package))

    def test_another_name_is_no_attribute(self, package: ModuleType) -> None:
        with pytest.raises(AttributeError, match="module 'spices' has no attribute 'salt'"):
            _ = package.salt
        with pytest.raises(ImportError, match="salt"):
            exec("from spices import salt")
