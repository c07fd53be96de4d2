import sys
from pathlib import Path

import pytest

from tests.models import own_models
from tests.unit.cli.test_model import PRODUCT, tadka, told


def test_list_names_models_without_importing_them(tmp_path: Path) -> None:
    done = tadka(tmp_path, "list")

    assert 0 == done.returncode, done.stderr
    assert "fm" in {line.split()[0] for line in done.stdout.splitlines()}


def test_list_shows_what_a_model_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "product.py").write_text(PRODUCT)

    with own_models():
        done = tadka(tmp_path, "list", "product", "--module", "product.py")
        found = told(tmp_path, "list", "product", "--module", "product.py")

    assert 0 == done.returncode, done.stderr
    for words in ("product (binary): A product", "user", "Length of a vector.", "adam | adamw"):
        assert words in done.stdout, words
    assert "dim" == found["parameters"][0]["name"]  # its own first
    assert ["user", "item", "label"] == [column["name"] for column in found["inputs"]]


def test_list_of_an_unknown_model_suggests_another(tmp_path: Path) -> None:
    done = tadka(tmp_path, "list", "lightgnc")

    assert 2 == done.returncode
    assert "Did you mean 'lightgcn'" in done.stderr
