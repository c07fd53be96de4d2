import sys
from pathlib import Path

import pytest

from tadka.core.error import MissingExtra
from tadka.core.extra import require


def test_module_is_returned_when_installed() -> None:
    assert require("json.decoder", extra="stream") is sys.modules["json.decoder"]


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
