import subprocess
import sys

import pytest

from tadka.models.define import catalog
from tadka.models.define.describe import parameters_of, summaries
from tests.models import Tiny


def test_models_are_told_as_their_classes_are(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {}
    for name in catalog._SHIPPED:
        cls = catalog.get(name)
        expected[name] = (cls.task, (cls.__doc__ or "").partition("\n")[0])
    monkeypatch.setattr(catalog, "_REGISTERED", {})  # as if none was imported

    found = {one.name: (one.task, one.told) for one in summaries()}

    assert expected == found


def test_a_model_of_ones_own_is_told_too() -> None:
    assert Tiny.name == "tiny"
    assert ("tiny", "binary", "A product of two vectors.") in {
        (one.name, one.task, one.told) for one in summaries()
    }


def test_the_list_loads_no_library() -> None:
    code = (
        "import sys; from tadka.models.define.describe import summaries; assert summaries(); "
        "sys.exit(','.join({'torch', 'lightgbm', 'mlflow'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert "" == done.stderr.strip()


def test_parameters_come_with_their_defaults_and_docs() -> None:
    found = parameters_of(Tiny)

    assert ("dim", "int", 4) == (found[0].name, found[0].kind, found[0].default)
    by_name = {one.name: one for one in found}
    assert "adam | adamw | adagrad | sgd | rows" == by_name["optimizer"].kind
    assert by_name["patience"].told.startswith("Epochs without")
    assert by_name["patience"].told.endswith("keeps the last.")  # over several lines
    names = [one.name for one in found]
    assert names.index("dim") < names.index("lr") < names.index("epochs")
