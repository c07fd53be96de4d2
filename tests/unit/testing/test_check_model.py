"""What `check_model` finds in models that break a promise."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tadka.core.error import DataError
from tadka.models import register
from tadka.models.define.catalog import _SHIPPED, get
from tadka.models.define.model import Rows
from tadka.testing import check_model
from tests.models import Tiny, own_models

ALL = [
    "rows keep their number and order",
    "labels are not needed to predict",
    "one row is predicted as in a batch",
    "no rows are predicted as no rows",
    "float64 and int32 do as float32 and int64 do",
    "ids that were never seen get an answer",
    "the seed decides everything random",
    "saved and loaded predicts the same bits",
    "a run that was stopped goes on as if it had not been",
    "another training goes on from it, and grows",
    "bad rows are refused before training",
    "another process predicts the same",
]


def test_a_good_model_passes_all_checks() -> None:
    assert ALL == check_model(Tiny)


def changed(name: str, **functions: Any) -> type[Tiny]:
    """Tiny, with some functions replaced."""
    return register(name)(type(name.title(), (Tiny,), {"__module__": __name__, **functions}))


def reverse(_self: Tiny, rows: Rows) -> Rows:
    return {name: values[::-1] for name, values in rows.items()}


def first_ones(_self: Tiny, batches: Iterable[Rows], run: Any) -> Iterator[Rows]:
    for batch in batches:
        yield {"score": np.zeros(max(1, len(batch["user"])), np.float32)}


def by_batch(_self: Tiny, net: Any, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
    score = net(batch)
    return {"score": score - score.mean() if len(score) else score}


def by_label(_self: Tiny, rows: Rows) -> Any:
    if "label" not in rows:
        raise DataError("there is no label")
    return Tiny.predict_preprocess(_self, rows)


def no_nan(_self: Tiny, net: Any, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
    return {"score": torch.where(batch["user"] == 0, torch.nan, net(batch))}


def unseeded(self: Tiny) -> Any:
    torch.seed()
    return Tiny.net(self)


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ({"postprocess": reverse}, "rows keep their number and order"),
        ({"predict": first_ones}, "no rows are predicted as no rows"),
        ({"output_of": by_batch}, "one row is predicted as in a batch"),
        ({"predict_preprocess": by_label}, "labels are not needed"),
        ({"output_of": no_nan}, "ids that were never seen get an answer: score is not finite"),
        ({"net": unseeded}, "the seed decides everything random"),
    ],
    ids=["order", "none", "batch", "label", "unseen", "seed"],
)
def test_a_broken_promise_is_named(functions: dict[str, Any], words: str) -> None:
    name = f"broken_{next(iter(functions))}"
    with own_models(), pytest.raises(AssertionError, match=words):
        check_model(changed(name, **functions), elsewhere=False)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(_SHIPPED))
def test_every_model_of_the_library_passes(name: str) -> None:
    passed = check_model(name, getattr(get(name), "small", {}))

    assert ALL == passed


@pytest.mark.parametrize(
    "name", ["bpr", "deepfm", "fm", "gcn", "lightgcn", "resnet", "text_cnn", "two_tower"]
)
def test_a_model_is_at_most_forty_lines(name: str) -> None:
    """Of its class: decorator, parameters and functions; docstrings and empty lines apart."""
    module = Path(__file__).parents[3] / "src" / f"{_SHIPPED[name].replace('.', '/')}.py"
    tree = ast.parse(module.read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    for node in ast.walk(found):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            del node.body[0]

    assert len(ast.unparse(found).splitlines()) <= 40
