import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.models.loss.negatives import draw, draw_distinct, log_q, popularity
from tadka.models.loss.pairs import Csr, contains, to_csr


def some_pairs(num_users: int = 30, num_items: int = 40) -> Csr:
    rng = np.random.default_rng(3)
    users = rng.integers(0, num_users, 400)
    items = 1 + (rng.random(400) ** 2 * (num_items - 1)).astype(np.int64)
    return to_csr(users, items, num_users)


@pytest.mark.parametrize("power", [0.0, 0.75])
def test_draws_are_items_that_the_user_has_not_taken(power: float) -> None:
    seen = some_pairs()
    users = np.repeat(np.arange(30), 20)

    drawn = draw(np.random.default_rng(0), 40, users, *seen, num=5, power=power)

    assert (600, 5) == drawn.shape
    assert np.dtype(np.int64) == drawn.dtype
    assert drawn.min() >= 1
    assert drawn.max() < 40
    assert not contains(seen, np.repeat(users, 5), drawn.ravel()).any()


def test_uniform_draws_are_uniform_over_what_is_left() -> None:
    seen = to_csr([0, 0, 0], [1, 3, 7], 1)

    drawn = draw(np.random.default_rng(1), 8, np.zeros(40_000, dtype=int), *seen).ravel()

    counts = np.bincount(drawn, minlength=8)
    assert [0, 1, 3, 7] == np.flatnonzero(counts == 0).tolist()
    assert np.allclose(counts[[2, 4, 5, 6]] / 40_000, 0.25, atol=0.01)


def test_draws_by_popularity_follow_counts_to_the_power() -> None:
    seen = to_csr(np.r_[np.arange(16), [16]], np.r_[np.full(16, 2), [3]], 18)
    share = popularity(5, seen[1], 0.75)
    assert [0, 0, 8 / 9, 1 / 9, 0] == pytest.approx(share)  # 16^.75 = 8 against 1

    drawn = draw(np.random.default_rng(1), 5, np.full(40_000, 17), *seen, power=0.75).ravel()

    assert share == pytest.approx(np.bincount(drawn, minlength=5) / 40_000, abs=0.01)


def test_shares_given_are_the_shares_counted() -> None:
    seen = some_pairs()
    users = np.arange(30)
    counted = draw(np.random.default_rng(7), 40, users, *seen, num=3, power=0.75)
    share = popularity(40, seen[1], 0.75)

    assert np.array_equal(
        counted, draw(np.random.default_rng(7), 40, users, *seen, num=3, share=share)
    )


def test_power_0_draws_items_that_nobody_took() -> None:
    assert [0, 0.5, 0.5] == popularity(3, [1, 1], 0).tolist()
    assert [0.25, 0.5, 0.25] == popularity(3, [0, 1, 1, 2], 1, first_item=0).tolist()


def test_a_user_with_all_but_one_item_gets_that_one_although_it_is_rare() -> None:
    seen = to_csr(np.r_[np.zeros(8), np.ones(1)], [1, 2, 3, 4, 5, 6, 7, 8, 9], 2)
    share = np.array([0, 1e6, 1, 1, 1, 1, 1, 1, 1, 1e-9])

    for given in (None, share / share.sum()):
        drawn = draw(np.random.default_rng(0), 10, np.zeros(50, dtype=int), *seen, share=given)
        assert [9] == np.unique(drawn).tolist()


def test_a_user_with_all_items_gets_any_item() -> None:
    seen = to_csr([0, 0, 0], [1, 2, 3], 1)

    for power in (0.0, 1.0):
        drawn = draw(np.random.default_rng(0), 4, np.zeros(60, dtype=int), *seen, power=power)
        assert [1, 2, 3] == np.unique(drawn).tolist()


def test_draws_depend_on_the_generator_alone() -> None:
    seen = some_pairs()

    first, again, other = (
        draw(np.random.default_rng(seed), 40, np.arange(30), *seen, num=4) for seed in (5, 5, 6)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_rows_and_no_negatives() -> None:
    seen = some_pairs()

    assert (0, 3) == draw(np.random.default_rng(0), 40, [], *seen, num=3).shape
    assert (2, 0) == draw(np.random.default_rng(0), 40, [1, 2], *seen, num=0, power=1.0).shape


def test_log_q_is_the_log_of_the_expected_count() -> None:
    share = np.array([0, 0.25, 0.75, 0])

    assert np.log([2.5, 7.5]) == pytest.approx(log_q([1, 2], share, 10), rel=1e-6)
    assert np.log(0.25) == pytest.approx(float(log_q(3, share)))  # never drawn, yet finite
    assert np.dtype(np.float32) == log_q([[1], [2]], share).dtype


def test_distinct_draws_are_distinct_and_not_taken() -> None:
    seen = some_pairs()

    for share in (None, popularity(40, seen[1], 0.75)):
        position, item = draw_distinct(
            np.random.default_rng(0), 40, np.arange(30), seen, 8, share=share
        )
        assert [8] == np.unique(np.bincount(position, minlength=30)).tolist()
        assert 240 == len(np.unique(position * 40 + item))
        assert item.min() >= 1
        assert not contains(seen, position, item).any()


def test_distinct_draws_end_with_what_is_left() -> None:
    seen = to_csr([0, 0, 0, 0], [1, 2, 4, 5], 2)

    position, item = draw_distinct(np.random.default_rng(0), 6, [0, 1], seen, 100)

    assert [(0, 3), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)] == list(
        zip(position.tolist(), item.tolist(), strict=True)
    )


def test_bad_arguments_are_refused() -> None:
    rng, seen = np.random.default_rng(0), some_pairs()

    with pytest.raises(DataError, match=r"User row 30 at position 1 must lie in \[0, 30\)"):
        draw(rng, 40, [0, 30], *seen)
    with pytest.raises(DataError, match="3 shares for 40 items"):
        draw(rng, 40, [0], *seen, share=np.ones(3))
    with pytest.raises(DataError, match="No item was ever taken"):
        popularity(4, [], 0.75)
    with pytest.raises(ConfigError, match="no item to draw: 1 rows"):
        draw(rng, 1, [0], *seen)
    with pytest.raises(ConfigError, match="no item to draw: 1 rows"):
        popularity(1, [])
    with pytest.raises(ConfigError, match="number of negatives is -1"):
        draw(rng, 40, [0], *seen, num=-1)
    with pytest.raises(ConfigError, match="power of popularity is -1"):
        popularity(40, [1], -1)


@pytest.mark.parametrize(
    "share", [[0.0, 0.0, 0.0], [0.0, np.nan, 1.0], [0.5, 0.5, 0.0], [0.0, -1.0, 2.0]]
)
def test_shares_that_draw_no_item_are_refused(share: list[float]) -> None:
    rng, seen = np.random.default_rng(0), to_csr([], [], 1)
    with pytest.raises(DataError, match="Shares must be at least 0"):
        draw(rng, 3, [0], *seen, share=np.array(share))
    with pytest.raises(DataError, match="Shares must be at least 0"):
        draw_distinct(rng, 3, [0], seen, 1, share=np.array(share))


def test_log_q_needs_a_share() -> None:
    with pytest.raises(DataError, match="Every share is 0"):
        log_q([0], np.zeros(2))
