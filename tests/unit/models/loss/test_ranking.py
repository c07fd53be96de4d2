import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional

from tadka.core.error import ConfigError, DataError
from tadka.models.loss.negatives import log_q, popularity
from tadka.models.loss.pointwise import bce, ce
from tadka.models.loss.ranking import bpr, ccl, ce_neg, in_batch, warp


def scores(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def warp_of_20(positives: Tensor, negatives: Tensor, **given: Tensor | None) -> Tensor:
    return warp(positives, negatives, num_items=20, **given)  # type: ignore[arg-type]


WEIGHT = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64)
OF_NEGATIVES = [bpr, warp_of_20, ce_neg, ccl]


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("loss", OF_NEGATIVES)
def test_gradients(loss: Callable[..., Tensor], weight: Tensor | None) -> None:
    for negatives in (scores(5, 4, seed=1), scores(5, seed=1)):
        assert gradcheck(lambda p, n: loss(p, n, weight=weight), (scores(5), negatives))


def test_gradients_of_corrected_losses() -> None:
    share = scores(5, 4, seed=2).detach()
    hits = share > 1
    assert hits.any()
    assert gradcheck(
        lambda p, n: ce_neg(p, n, log_q=share, positive_log_q=share[:, 0], hits=hits),
        (scores(5), scores(5, 4, seed=1)),
    )
    items = torch.tensor([3, 1, 3, 2, 5])
    for users in (None, torch.tensor([1, 1, 2, 3, 4])):
        assert gradcheck(
            lambda s, u=users: in_batch(s, items, users=u, log_q=share[:, 0], weight=WEIGHT),
            scores(5, 5),
        )


def test_bpr_is_bce_of_the_difference_with_label_1() -> None:
    positives, negatives = scores(5), scores(5, seed=1)

    assert bce(positives - negatives, torch.ones(5)).item() == pytest.approx(
        bpr(positives, negatives).item(), rel=1e-14
    )
    assert functional.softplus(negatives - positives).mean().item() == pytest.approx(
        bpr(positives, negatives[:, None]).item(), rel=1e-14
    )


def test_ce_neg_with_every_other_item_is_the_full_softmax() -> None:
    every = scores(5, 7)
    labels = torch.tensor([0, 6, 3, 3, 1])
    is_own = functional.one_hot(labels, 7).bool()
    positives, others = every[is_own], every[~is_own].reshape(5, 6)

    full = ce(every, labels).item()

    assert full == pytest.approx(ce_neg(positives, others).item(), rel=1e-14)
    # All items as negatives, the positive itself told as a hit: the same.
    assert full == pytest.approx(ce_neg(positives, every, hits=is_own).item(), rel=1e-14)


def test_log_q_undoes_that_an_item_was_drawn_several_times() -> None:
    every, labels = scores(1, 4), torch.tensor([0])
    drawn = torch.tensor([[1, 1, 1, 2, 3, 3]])
    times = torch.tensor([[3, 3, 3, 1, 2, 2]])

    assert ce(every, labels).item() == pytest.approx(
        ce_neg(every[:, 0], every.gather(1, drawn), log_q=times.double().log()).item(), rel=1e-14
    )


def test_log_q_makes_draws_by_popularity_estimate_the_full_softmax() -> None:
    share = popularity(6, [1] * 8 + [2] * 4 + [3] * 2 + [4, 5], 1.0)
    every = torch.tensor([[0.0, 0.3, -0.2, 0.5, 1.0, -1.0]], dtype=torch.float64)
    drawn = torch.multinomial(
        torch.tensor(share), 200_000, replacement=True, generator=torch.Generator().manual_seed(0)
    )[None]
    expected = torch.tensor(log_q(drawn.numpy(), share, 200_000))

    corrected = ce_neg(every[:, 0], every.gather(1, drawn), log_q=expected)

    assert ce(every, torch.tensor([0])).item() == pytest.approx(corrected.item(), abs=0.01)


def test_in_batch_is_a_softmax_over_the_items_of_the_batch() -> None:
    square = scores(5, 5)

    assert ce(square, torch.arange(5)).item() == pytest.approx(
        in_batch(square, torch.tensor([3, 1, 4, 2, 5])).item(), rel=1e-14
    )


def test_in_batch_leaves_accidental_hits_out() -> None:
    square, items = scores(3, 3), torch.tensor([7, 8, 7])

    def by_hand(kept: list[list[int]]) -> float:
        rows = [
            torch.logsumexp(square[row, columns], 0) - square[row, row]
            for row, columns in enumerate(kept)
        ]
        return torch.stack(rows).mean().item()

    assert by_hand([[0, 1], [0, 1, 2], [1, 2]]) == pytest.approx(in_batch(square, items).item())
    assert by_hand([[0], [1, 2], [1, 2]]) == pytest.approx(
        in_batch(square, items, users=torch.tensor([4, 4, 5])).item()
    )
    hits = torch.tensor([[True, False, False], [False, False, True], [False, False, False]])
    assert by_hand([[0, 1], [0, 1], [1, 2]]) == pytest.approx(
        in_batch(square, items, hits=hits).item()
    )


def test_in_batch_log_q_is_subtracted_from_columns() -> None:
    square, share = scores(4, 4), scores(4, seed=3).detach()
    items = torch.arange(4)

    assert ce(square - share, items).item() == pytest.approx(
        in_batch(square, items, log_q=share).item(), rel=1e-14
    )
    # A correction that is the same for all items changes nothing.
    assert in_batch(square, items).item() == pytest.approx(
        in_batch(square, items, log_q=torch.full((4,), 2.5)).item(), rel=1e-12
    )


def test_warp_by_hand() -> None:
    positives = torch.tensor([2.0, 0.5, 1.0])
    negatives = torch.tensor([[0.0, 1.5, 3.0], [0.2, 0.0, 0.0], [-1.0, -2.0, 0.0]])
    # Of 11 items. Row 0: the second trial violates, rank 10 // 2 = 5, by 1 + 1.5 - 2 = 0.5.
    # Row 1: the first does, rank 10, by 0.7. Row 2: none does; 0 is just not above 1 - 1.
    harmonic_5, harmonic_10 = 137 / 60, 7381 / 2520

    assert (harmonic_5 * 0.5 + harmonic_10 * 0.7) / 3 == pytest.approx(
        warp(positives, negatives, num_items=11).item(), rel=1e-6
    )


def test_warp_without_violator_is_0_and_has_no_gradient() -> None:
    positives = torch.full((3,), 9.0).requires_grad_()

    loss = warp(positives, torch.zeros(3, 4), num_items=100)
    (gradient,) = torch.autograd.grad(loss, positives)

    assert 0 == loss.item()
    assert 0 == gradient.abs().sum()


def test_warp_of_more_trials_than_items_has_rank_1() -> None:
    trials = torch.tensor([[-9.0, -9.0, -9.0, -9.0, 0.5]])

    assert 1.5 == pytest.approx(warp(torch.zeros(1), trials, num_items=3).item())


def test_ccl_of_far_negatives_is_the_positive_part_alone() -> None:
    positives = torch.tensor([0.9, 0.2, -0.4])

    assert (0.1 + 0.8 + 1.4) / 3 == pytest.approx(
        ccl(positives, torch.full((3, 4), 0.3), margin=0.3, negative_weight=50).item()
    )


def test_ccl_by_hand() -> None:
    loss = ccl(
        torch.tensor([0.9]), torch.tensor([[0.7, 0.5, 0.1, -1.0]]), margin=0.4, negative_weight=8
    )

    assert 0.1 + 8 * (0.3 + 0.1) / 4 == pytest.approx(loss.item())


@pytest.mark.parametrize("loss", OF_NEGATIVES)
def test_no_rows_cost_nothing(loss: Callable[..., Tensor]) -> None:
    assert 0 == loss(torch.zeros(0), torch.zeros(0, 3)).item()
    assert 0 == loss(torch.zeros(0), torch.zeros(0)).item()


def test_no_negatives() -> None:
    positives, none = torch.tensor([0.5, 1.0]), torch.zeros(2, 0)

    for loss in (bpr, warp_of_20, ce_neg):
        assert 0 == loss(positives, none).item()
    assert 0.25 == ccl(positives, none).item()
    assert 0 == in_batch(torch.zeros(0, 0), torch.zeros(0)).item()
    assert 0 == in_batch(torch.tensor([[3.0]]), torch.tensor([1])).item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", OF_NEGATIVES)
def test_half_precision_is_widened(loss: Callable[..., Tensor], dtype: torch.dtype) -> None:
    positives, negatives = scores(5).to(dtype), scores(5, 4, seed=1).to(dtype)

    assert torch.float32 == loss(positives, negatives).dtype
    assert loss(positives.float(), negatives.float()) == loss(positives, negatives)


def test_extreme_scores_are_finite() -> None:
    far, near = torch.full((2,), -1e30), torch.full((2, 3), 1e30)

    for loss in (bpr, ce_neg):
        assert math.isfinite(loss(far, near).item())
        assert 0 == loss(-far, -near).item()


@pytest.mark.parametrize("loss", OF_NEGATIVES)
def test_shapes_that_do_not_fit_are_refused(loss: Callable[..., Tensor]) -> None:
    with pytest.raises(DataError, match=r"shape \(5,\), of negatives \(4, 5\)"):
        loss(scores(5), scores(4, 5))
    with pytest.raises(DataError, match=r"shape \(5, 1\), of negatives \(5, 5\)"):
        loss(scores(5, 1), scores(5, 5))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"log_q \(4,\)"):
        ce_neg(scores(5), scores(5, 4), log_q=torch.zeros(4))
    with pytest.raises(DataError, match=r"hits \(4,\)"):
        ce_neg(scores(5), scores(5, 4), hits=torch.zeros(4, dtype=torch.bool))
    with pytest.raises(DataError, match=r"positive_log_q \(4,\)"):
        ce_neg(scores(5), scores(5, 4), positive_log_q=torch.zeros(4))
    with pytest.raises(DataError, match=r"shape \(5, 4\), items \(5,\)"):
        in_batch(scores(5, 4), torch.arange(5))
    for given in ({"users": torch.arange(4)}, {"log_q": torch.zeros(4)}):
        with pytest.raises(DataError, match=rf"{next(iter(given))} \(4,\)"):
            in_batch(scores(5, 5), torch.arange(5), **given)
    with pytest.raises(DataError, match=r"hits \(5,\)"):
        in_batch(scores(5, 5), torch.arange(5), hits=torch.zeros(5, dtype=torch.bool))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: warp(scores(5), scores(5, 4), num_items=1), "num_items of the WARP loss is 1"),
        (lambda: warp(scores(5), scores(5, 4), num_items=9, margin=0), "margin of the WARP loss"),
        (lambda: ccl(scores(5), scores(5, 4), margin=2), "margin of the cosine contrastive"),
        (lambda: ccl(scores(5), scores(5, 4), negative_weight=-1), "negative_weight .* is -1"),
    ],
)
def test_parameters_out_of_range_are_refused(call: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()
