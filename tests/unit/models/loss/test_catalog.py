import inspect

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from tadka.core.error import ConfigError, NotFound
from tadka.models.loss import catalog
from tadka.models.loss.catalog import LOSSES, get, mixed, register_loss
from tadka.models.loss.pointwise import bce, focal, mse

SCORES = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
LABELS = torch.tensor([1, 0, 0])


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> dict[str, catalog.Loss]:
    copied = dict(LOSSES)
    monkeypatch.setattr(catalog, "LOSSES", copied)
    return copied


def test_every_loss_of_the_issue_is_there_under_its_name() -> None:
    assert sorted(LOSSES) == [
        "arcface",
        "bce",
        "bpr",
        "ccl",
        "ce",
        "ce_neg",
        "focal",
        "in_batch",
        "mixed",
        "mse",
        "warp",
    ]
    for name, loss in LOSSES.items():
        assert name == loss.__name__
        assert loss is get(name)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_takes_weights_and_cites_its_source(name: str) -> None:
    parameters = list(inspect.signature(LOSSES[name]).parameters.values())

    assert inspect.Parameter.KEYWORD_ONLY == {p.name: p for p in parameters}["weight"].kind
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters[2:])
    assert "Source: " in (LOSSES[name].__doc__ or "")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("focl", "There is no loss 'focl'. Did you mean 'focal'?"),
        ("bcee", "There is no loss 'bcee'. Did you mean 'bce'?"),
        ("zzz", "There is no loss 'zzz'. There are: arcface, bce, bpr,"),
    ],
)
def test_an_unknown_loss_is_answered_with_the_nearest_name(asked: str, message: str) -> None:
    with pytest.raises(NotFound) as caught:
        get(asked)
    assert str(caught.value).startswith(message)


def test_parameters_are_fixed_and_checked() -> None:
    assert focal(SCORES, LABELS, gamma=1.0) == get("focal", gamma=1.0)(SCORES, LABELS)
    with pytest.raises(ConfigError, match=r"'focal' has no parameter 'gama'. Did you mean 'gamma'"):
        get("focal", gama=1.0)


def test_mixed_is_the_weighted_sum() -> None:
    weight = torch.tensor([1, 0, 2])
    expected = 0.5 * bce(SCORES, LABELS, weight=weight) + 2 * mse(SCORES, LABELS, weight=weight)

    assert torch.equal(
        expected, mixed(SCORES, LABELS, weights={"bce": 0.5, "mse": 2}, weight=weight)
    )
    assert torch.equal(bce(SCORES, LABELS), mixed(SCORES, LABELS, weights={"bce": 1.0}))
    assert gradcheck(
        lambda s: mixed(s, LABELS, weights={"bce": 0.5, "focal": 1}),
        SCORES.clone().requires_grad_(),
    )


def test_mixed_passes_parameters_on() -> None:
    assert torch.equal(
        3 * focal(SCORES, LABELS, gamma=0.5),
        mixed(SCORES, LABELS, weights={"focal": 3}, parameters={"focal": {"gamma": 0.5}}),
    )
    with pytest.raises(ConfigError, match="given for 'bce', which is not in the mixture"):
        mixed(SCORES, LABELS, weights={"focal": 3}, parameters={"bce": {}})
    with pytest.raises(ConfigError, match="at least one loss"):
        mixed(SCORES, LABELS, weights={})


def test_a_sum_is_read_from_text() -> None:
    expected = mixed(SCORES, LABELS, weights={"bce": 0.7, "mse": 1, "focal": 1e-3})

    assert torch.equal(expected, get("0.7*bce + mse+1e-3 * focal")(SCORES, LABELS))
    assert torch.equal(2 * bce(SCORES, LABELS), get("2*bce")(SCORES, LABELS))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bce + ", "cannot be read at ''"),
        ("0.7.1*bce", r"cannot be read at '0.7.1\*bce'"),
        ("bce*0.7", r"cannot be read at 'bce\*0.7'"),
        ("bce + 2*bce", "names 'bce' twice"),
    ],
)
def test_a_sum_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get(text)


def test_a_sum_with_an_unknown_loss_or_parameters_is_refused() -> None:
    with pytest.raises(NotFound, match="no loss 'mes'"):
        get("bce + mes")
    with pytest.raises(ConfigError, match="takes no parameter 'gamma'"):
        get("bce + focal", gamma=1.0)


def test_a_new_loss_is_found_by_its_name(losses: dict[str, catalog.Loss]) -> None:
    @register_loss("hinge")
    def hinge(scores: Tensor, labels: Tensor, *, weight: Tensor | None = None) -> Tensor:
        return (1 - scores * (2 * labels - 1)).clamp(min=0).mean()

    assert hinge is get("hinge")
    assert hinge is register_loss("hinge")(hinge)  # a module imported again
    assert "hinge" not in LOSSES


def test_a_loss_without_weight_or_of_a_taken_name_is_refused(
    losses: dict[str, catalog.Loss],
) -> None:
    def bare(scores: Tensor, labels: Tensor) -> Tensor:
        return scores.sum()

    with pytest.raises(ConfigError, match="takes no 'weight'"):
        register_loss("bare")(bare)
    with pytest.raises(ConfigError, match="a loss 'bce' already"):
        register_loss("bce")(bare)
    with pytest.raises(ConfigError, match="cannot be named 'a-b'"):
        register_loss("a-b")(bare)
    assert sorted(losses) == sorted(LOSSES)
