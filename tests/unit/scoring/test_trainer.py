from typing import Any

import numpy as np
import pytest

from tadka.scoring import trainer_reference as reference

trainer = pytest.importorskip("tadka.scoring.trainer", reason="the extension is not built")


@pytest.mark.parametrize("num_rows", [0, 1, 2, 1000])
@pytest.mark.parametrize("seed", [0, 7, (1 << 64) - 1])
def test_orders_are_equal_and_hold_every_row_once(num_rows: int, seed: int) -> None:
    ours, theirs = np.full(num_rows, -1), np.full(num_rows, -1)
    trainer.shuffle(ours, seed)
    reference.shuffle(theirs, seed)

    np.testing.assert_array_equal(theirs, ours)
    np.testing.assert_array_equal(np.arange(num_rows), np.sort(ours))


def test_an_order_is_the_same_on_every_machine_and_in_every_version() -> None:
    order = np.empty(8, np.int64)
    reference.shuffle(order, 1)

    assert [4, 3, 2, 7, 5, 6, 0, 1] == order.tolist()


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.5), (-0.1, 0.1)])
@pytest.mark.parametrize("k", [1, 4, 7])
def test_latent_parameters_start_equal_and_within_bounds(k: int, low: float, high: float) -> None:
    ours, theirs = np.empty((500, 2, k), np.float32), np.empty((500, 2, k), np.float32)
    trainer.fill(ours, 3, low, high)
    reference.fill(theirs, 3, low, high)

    np.testing.assert_array_equal(theirs, ours)
    assert np.all(ours[:, 1] == 1)
    assert low <= ours[:, 0].min() < ours[:, 0].max() <= high
    assert ours[:, 0].mean() == pytest.approx((low + high) / 2, abs=(high - low) / 20)


def rows(seed: int, num_rows: int, *, repeats: bool) -> dict[str, Any]:
    """Rows of up to 7 entries over 20 slots and 9 features; with `repeats` in one row, too."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 8, num_rows)
    slots = [generator.choice(20, n, replace=repeats) for n in lengths]
    features = [generator.choice(9, n, replace=repeats) for n in lengths]
    return {
        "starts": np.r_[0, np.cumsum(lengths)].astype(np.int64),
        "slots": np.concatenate(slots).astype(np.int32),
        "values": generator.normal(size=int(lengths.sum())).astype(np.float32),
        "features": np.concatenate(features).astype(np.uint16),
    }


def state(kind: int, k: int) -> dict[str, Any]:
    is_ftrl = kind == reference.FTRL
    linear = np.zeros((20, 2), np.float32)
    linear[:, 1] = 0 if is_ftrl else 1
    latent = None
    if kind in {reference.FM, reference.FFM}:
        latent = np.empty((20, 9 if kind == reference.FFM else 1, 2, k), np.float32)
        reference.fill(latent.reshape(-1, 2, k), 5, -0.5, 0.5)
    return {"bias": np.array([0.0, 0 if is_ftrl else 1]), "linear": linear, "latent": latent}


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize(
    ("kind", "k", "settings"),
    [
        (0, 0, {"rate": 0.2, "l2": 0.01}),
        (reference.FTRL, 0, {"rate": 0.2, "l1": 0.05, "l2": 0.01, "beta": 1.0}),
        *[(reference.FM, k, {"rate": 0.2, "l2": 0.01}) for k in (1, 3, 4, 5, 8, 9)],
        *[
            (reference.FFM, k, {"rate": 0.2, "l2": 0.01, "normalize": k != 5})
            for k in (1, 3, 4, 5, 8, 9)
        ],
    ],
)
def test_compiled_loops_learn_and_score_to_the_same_bits(
    kind: int, k: int, settings: dict[str, Any], is_weighted: bool, repeats: bool
) -> None:
    generator = np.random.default_rng(k)
    num_rows = 150
    given: dict[str, Any] = rows(k, num_rows, repeats=repeats) | {
        "labels": generator.integers(0, 2, num_rows).astype(np.float32),
        "weights": generator.random(num_rows).astype(np.float32) if is_weighted else None,
        "order": generator.permutation(num_rows),
        "longest": 7,
    }
    states = state(kind, k), state(kind, k)
    losses = [
        [loops.run(kind, **given, **kept, first=10, last=140, **settings) for _ in range(2)]
        for loops, kept in zip((trainer, reference), states, strict=True)
    ]
    margins = np.zeros(num_rows), np.zeros(num_rows)
    for loops, kept, out in zip((trainer, reference), states, margins, strict=True):
        loops.run(
            kind, **given | {"order": None}, **kept, first=0, last=100, margins=out, **settings
        )

    assert losses[1] == losses[0]
    assert losses[0][1] < losses[0][0]
    for name, array in states[1].items():
        np.testing.assert_array_equal(array, states[0][name])
    np.testing.assert_array_equal(margins[1], margins[0])
    assert not margins[0][100:].any()


@pytest.mark.parametrize("kind", [0, reference.FTRL, reference.FM, reference.FFM])
def test_rows_without_entries_move_only_the_bias(kind: int) -> None:
    for loops in (trainer, reference):
        kept = state(kind, 4)
        before = state(kind, 4)
        loops.run(
            kind,
            np.zeros(11, np.int64),
            np.empty(0, np.int32),
            np.empty(0, np.float32),
            np.empty(0, np.uint16),
            **kept,
            first=0,
            last=10,
            longest=0,
            labels=np.ones(10, np.float32),
            normalize=True,
            rate=0.1,
            beta=float(kind == reference.FTRL),
        )

        assert kept["bias"][0] > 0
        np.testing.assert_array_equal(before["linear"], kept["linear"])


def test_a_margin_of_nan_ends_the_loop() -> None:
    for loops in (trainer, reference):
        kept = state(0, 0)
        kept["linear"][3, 0] = np.nan
        loss = loops.run(
            0,
            np.array([0, 1, 2]),
            np.array([3, 4], np.int32),
            np.ones(2, np.float32),
            np.zeros(2, np.uint16),
            **kept,
            first=0,
            last=2,
            longest=1,
            labels=np.ones(2, np.float32),
            rate=0.1,
        )

        assert np.isnan(loss)
        assert kept["linear"][4, 0] == 0
