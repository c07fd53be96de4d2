import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional

from tadka.core.error import ConfigError, DataError
from tadka.models.loss.pointwise import arcface, bce, ce, focal, mse, unit


def scores(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


BINARY = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
CLASSES = torch.tensor([0, 2, 1, 2, 0, 1, 1, 2])
WEIGHT = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0, 1.0, 1.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("loss", [bce, mse, focal, lambda *a, **k: focal(*a, gamma=0.5, **k)])
def test_gradients_of_losses_of_one_score(
    loss: Callable[..., Tensor], weight: Tensor | None
) -> None:
    assert gradcheck(lambda s: loss(s, BINARY, weight=weight), scores(8))


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_gradients_of_losses_of_classes(weight: Tensor | None) -> None:
    of_4 = None if weight is None else weight[:4]
    assert gradcheck(lambda s: ce(s, CLASSES, weight=weight), scores(8, 3))
    assert gradcheck(
        lambda x: arcface(
            unit(x) @ unit(scores(3, 3, seed=1)).T, CLASSES[:4], scale=4, weight=of_4
        ),
        scores(4, 3),
    )


def test_losses_equal_torch_s_own() -> None:
    one, many = scores(8), scores(8, 3)
    labels = BINARY.double()

    assert torch.equal(functional.binary_cross_entropy_with_logits(one, labels), bce(one, BINARY))
    assert functional.cross_entropy(many, CLASSES).item() == pytest.approx(
        ce(many, CLASSES).item(), rel=1e-14
    )
    assert functional.mse_loss(one, labels).item() == pytest.approx(
        mse(one, BINARY).item(), rel=1e-14
    )


def test_a_row_of_weight_2_counts_as_two_rows() -> None:
    one, labels = scores(3), torch.tensor([0, 1, 1])
    weight = torch.tensor([1, 2, 0])
    twice = torch.tensor([0, 1, 1])

    for loss in (bce, mse, focal):
        assert loss(one[twice], labels[twice]).item() == pytest.approx(
            loss(one, labels, weight=weight).item(), rel=1e-14
        )


def test_focal_is_bce_at_its_limits() -> None:
    one = scores(8)

    assert bce(one, BINARY).item() == pytest.approx(
        focal(one, BINARY, gamma=0, alpha=None).item(), rel=1e-14
    )
    assert bce(one, BINARY).item() / 2 == pytest.approx(
        focal(one, BINARY, gamma=0, alpha=0.5).item(), rel=1e-14
    )


def test_focal_by_hand() -> None:
    # p = 0.8 for a label 1: 0.25 * 0.2^2 * -ln 0.8; for a label 0: 0.75 * 0.8^2 * -ln 0.2.
    logit = torch.tensor([math.log(4)], dtype=torch.float64)

    assert 0.25 * 0.04 * -math.log(0.8) == pytest.approx(focal(logit, torch.tensor([1])).item())
    assert 0.75 * 0.64 * -math.log(0.2) == pytest.approx(focal(logit, torch.tensor([0])).item())


def test_focal_of_extreme_logits_is_finite() -> None:
    far = torch.tensor([-1e4, 1e4, 1e4, -1e4]).requires_grad_()

    loss = focal(far, torch.tensor([1, 0, 1, 0]), alpha=None)
    (gradient,) = torch.autograd.grad(loss, far)

    assert loss.item() == pytest.approx(5e3)
    assert torch.isfinite(gradient).all()


def test_arcface_without_margin_is_the_softmax_of_scaled_cosines() -> None:
    cosine = unit(scores(8, 5)) @ unit(scores(3, 5, seed=1)).T

    assert functional.cross_entropy(16 * cosine, CLASSES).item() == pytest.approx(
        arcface(cosine, CLASSES, scale=16, margin=0).item(), rel=1e-14
    )


def test_arcface_moves_the_angle_of_the_right_class() -> None:
    angles = torch.tensor([[0.3, 1.2, 2.0], [1.0, 0.7, 0.2]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    moved = angles.clone()
    moved[0, 0] += 0.5
    moved[1, 1] += 0.5

    assert functional.cross_entropy(8 * moved.cos(), labels).item() == pytest.approx(
        arcface(angles.cos(), labels, scale=8, margin=0.5).item(), rel=1e-12
    )


def test_arcface_still_falls_beyond_pi() -> None:
    # Where angle + margin passes pi a larger angle must still cost more.
    angles = torch.linspace(0.05, math.pi - 0.01, 60, dtype=torch.float64)
    other = torch.zeros(1, dtype=torch.float64)
    losses = [
        arcface(torch.stack([angle.cos(), other[0]])[None], torch.tensor([0]), scale=1).item()
        for angle in angles
    ]

    assert sorted(losses) == losses
    assert len(set(losses)) == len(losses)


def test_arcface_has_finite_gradients_at_cosines_of_1() -> None:
    cosine = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).requires_grad_()

    for labels in ([0, 1], [1, 0]):
        (gradient,) = torch.autograd.grad(arcface(cosine, torch.tensor(labels)), cosine)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    given = scores(8).detach().to(dtype)

    assert torch.float32 == bce(given, BINARY).dtype
    assert bce(given.float(), BINARY) == bce(given, BINARY)


@pytest.mark.parametrize("loss", [bce, mse, focal])
def test_no_rows_and_rows_without_weight_cost_nothing(loss: Callable[..., Tensor]) -> None:
    empty = torch.zeros(0, requires_grad=True)
    one = scores(8)

    assert 0 == loss(empty, torch.zeros(0)).item()
    nothing = loss(one, BINARY, weight=torch.zeros(8))
    (gradient,) = torch.autograd.grad(nothing, one)
    assert 0 == nothing.item()
    assert 0 == gradient.abs().sum()


def test_no_rows_of_classes_cost_nothing() -> None:
    for loss in (ce, arcface):
        assert 0 == loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).item()


def test_shapes_that_torch_would_broadcast_are_refused() -> None:
    for loss in (bce, mse, focal):
        with pytest.raises(DataError, match=r"shape \(8,\), labels \(8, 1\)"):
            loss(scores(8), BINARY[:, None])
    for loss in (ce, arcface):
        with pytest.raises(DataError, match=r"shape \(8, 3\), labels \(7,\)"):
            loss(scores(8, 3), CLASSES[:7])
    with pytest.raises(DataError, match=r"shape \(8,\), weights \(2,\)"):
        bce(scores(8), BINARY, weight=torch.ones(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: focal(scores(8), BINARY, gamma=-1), "gamma of the focal loss is -1"),
        (lambda: focal(scores(8), BINARY, alpha=2), "alpha of the focal loss is 2"),
        (lambda: arcface(scores(8, 3), CLASSES, scale=0), "scale of the ArcFace loss is 0"),
        (lambda: arcface(scores(8, 3), CLASSES, margin=4), "margin of the ArcFace loss is 4"),
    ],
)
def test_parameters_out_of_range_are_refused(call: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


def test_unit_of_a_vector_of_zeros_is_zero_with_finite_gradients() -> None:
    zero = torch.zeros(1, 3, requires_grad=True)

    result = unit(zero)
    (gradient,) = torch.autograd.grad(result.sum(), zero)

    assert [0, 0, 0] == result[0].tolist()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [ce, arcface])
@pytest.mark.parametrize("label", [-1, 3])
def test_labels_that_are_no_class_are_named(loss: Any, label: int) -> None:
    with pytest.raises(DataError, match=f"Label {label} is no class; classes are 0 to 2"):
        loss(torch.zeros(2, 3), torch.tensor([0, label]))
