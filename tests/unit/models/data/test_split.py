from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.models.data.known import known
from tadka.models.data.split import (
    Split,
    fold_split,
    given_split,
    leave_last_split,
    random_split,
    time_split,
)


def lists(parts: Sequence[Any]) -> list[list[int]]:
    return [part.tolist() for part in parts]


@pytest.mark.parametrize(
    ("num_rows", "share", "expected"), [(10, 0.2, 2), (3, 0.01, 1), (2, 0.99, 1)]
)
def test_random_split_has_the_share_and_leaves_rows_on_both_sides(
    num_rows: int, share: float, expected: int
) -> None:
    train, test = random_split(num_rows, share, seed=3)

    assert expected == len(test)
    assert list(range(num_rows)) == sorted([*train, *test])
    assert lists((train, test)) == lists(random_split(num_rows, share, seed=3))


@pytest.mark.parametrize("num_rows", [0, 1])
def test_too_few_rows_are_all_of_train(num_rows: int) -> None:
    assert [list(range(num_rows)), []] == lists(random_split(num_rows, 0.5))


def test_another_seed_is_another_draw() -> None:
    assert lists(random_split(100, 0.2, 0)) != lists(random_split(100, 0.2, 1))


def test_folds_are_all_rows_and_none_twice() -> None:
    tests = [fold_split(11, 3, fold, seed=5)[1] for fold in range(3)]

    assert list(range(11)) == sorted(np.concatenate(tests).tolist())
    assert [4, 4, 3] == [len(test) for test in tests]


def test_time_split_takes_the_last_rows_and_never_divides_a_time() -> None:
    times = np.array([5, 1, 4, 4, 2])

    assert [[1, 4], [0, 2, 3]] == lists(time_split(times, share=0.4))
    assert [[1, 2, 3, 4], [0]] == lists(time_split(times, share=0.2))
    assert [[1, 4], [0, 2, 3]] == lists(time_split(times, at=3))


def test_ties_at_the_first_time_are_learned_from() -> None:
    assert [[0, 1, 2], [3]] == lists(time_split(np.array([1, 1, 1, 2]), share=0.75))


def test_time_split_takes_dates_and_seconds_to_cut_at() -> None:
    times = np.array(["2026-01-01", "2026-01-03"], "datetime64[us]")

    assert [[0], [1]] == lists(time_split(times, share=0.5))
    assert [[0], [1]] == lists(time_split(times, at=1_767_312_000))  # 2026-01-02T00:00Z


@pytest.mark.parametrize(
    ("times", "at", "said"),
    [
        ([1, 1], None, "All rows are of one time"),
        ([], None, "All rows are of one time"),
        ([1, 2], 3, "All rows are before 3: times go from 1 to 2"),
        ([1, 2], 1, "All rows are from 1"),
        ([1.0, float("nan")], None, "time of row 1 is missing"),
        (["2026-01-01", None], None, "time of row 1 is missing"),
        (["2026-01-01", "2026-01-02"], 5, "no numbers and no dates"),
    ],
)
def test_times_that_do_not_divide_are_told(times: list[Any], at: float | None, said: str) -> None:
    with pytest.raises(DataError, match=said):
        time_split(np.array(times), at=at)


def test_leave_last_takes_one_row_of_each_user_with_two() -> None:
    users = np.array([7, 8, 7, 9, 8, 7])
    times = np.array([3, 1, 3, 5, 0, 2])

    # of user 7 rows 0 and 2 are of one time, and the later row is the last; 9 has one row
    assert [[0, 3, 4, 5], [1, 2]] == lists(leave_last_split(users, times))


def test_leave_last_takes_texts_for_users_and_needs_two_rows_of_one() -> None:
    assert [[0], [1]] == lists(leave_last_split(np.array(["a", "a"]), np.array([1, 2])))
    with pytest.raises(DataError, match="No user has two rows"):
        leave_last_split(np.array([1, 2]), np.array([1, 2]))
    with pytest.raises(DataError, match="No user has two rows"):
        leave_last_split(np.array([], int), np.array([], int))


@pytest.mark.parametrize("users", [["a", None, None], [1.0, np.nan, np.nan]])
def test_rows_of_nobody_are_not_those_of_one_user(users: list[Any]) -> None:
    with pytest.raises(DataError, match="user of row 1 is missing"):
        leave_last_split(np.array(users), np.array([1, 2, 3]))


def test_given_split_is_by_names() -> None:
    found = given_split(np.array(["test", "train", "train", "valid"]))

    assert {"test": [0], "train": [1, 2], "valid": [3]} == {k: v.tolist() for k, v in found.items()}
    with pytest.raises(DataError, match="has 'dev', 'train'; it must have 'train'"):
        given_split(np.array(["dev", "train"]))
    with pytest.raises(DataError, match="it must have 'train'"):
        given_split(np.array(["test"]))


@pytest.mark.parametrize(
    ("split", "columns"),
    [
        (Split(), ()),
        (Split(column="part"), ("part",)),
        (Split(kind="random"), ()),
        (Split(kind="time"), ("time",)),
        (Split(kind="time", column="at"), ("at",)),
        (Split(kind="leave_last", user="who"), ("who", "time")),
    ],
)
def test_split_names_the_columns_it_needs(split: Split, columns: tuple[str, ...]) -> None:
    assert columns == split.columns


@pytest.mark.parametrize("kind", ["random", "time", "leave_last", "fold"])
def test_split_divides_as_its_function_does(kind: Any) -> None:
    columns = {"user": np.array([1, 1, 2, 2]), "time": np.array([1, 2, 3, 4])}
    split = Split(kind=kind, share=0.5, folds=2)

    train, test = split.divide(4, columns)

    assert 2 == len(test)
    assert [0, 1, 2, 3] == sorted([*train, *test])


@pytest.mark.parametrize(
    "given",
    [
        {"share": 0.0},
        {"share": 1.0},
        {"share": float("nan")},
        {"seed": -1},
        {"folds": 1},
        {"fold": 10},
    ],
)
def test_split_out_of_range_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        Split(**given)


@pytest.mark.needs_data("ml-100k")
def test_last_fifth_of_ml_100k_is_mostly_of_users_never_seen(data: Path) -> None:
    rows = known("ml-100k", data / "ml-100k")["all"]
    user, item = rows["user"].to_numpy(), rows["item"].to_numpy()

    train, test = time_split(rows["time"].to_numpy(), share=0.2)

    cold = np.setdiff1d(user[test], user[train])
    assert (301, 192) == (len(np.unique(user[test])), len(cold))
    assert 66 == len(np.setdiff1d(item[test], item[train]))
    assert 0.85 == round(float(np.isin(user[test], cold).mean()), 2)
