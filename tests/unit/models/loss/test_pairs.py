import numpy as np
import pytest

from tadka.core.error import DataError
from tadka.models.loss.pairs import (
    Csr,
    contains,
    items_of,
    lengths,
    nth_absent,
    num_below,
    num_without_row,
    to_csr,
)


@pytest.fixture
def csr() -> Csr:
    # user 0: none; user 1: 2, 5; user 2: 1, 2, 3, 4, 5, 6; user 3: 6
    users = [2, 1, 2, 2, 2, 2, 2, 1, 3, 3]
    items = [6, 5, 1, 2, 3, 4, 5, 2, 6, 6]
    return to_csr(users, items, 4)


def test_pairs_are_sorted_and_kept_once(csr: Csr) -> None:
    assert [0, 0, 2, 8, 9] == csr[0].tolist()
    assert [2, 5, 1, 2, 3, 4, 5, 6, 6] == csr[1].tolist()
    assert [0, 2, 6, 1] == lengths(csr).tolist()


def test_items_without_a_row_are_kept_as_often_as_they_are_given() -> None:
    assert [0, 0, 4] == to_csr([0, 0, 0, 0], [0, 4, 0, 4], 1)[1].tolist()
    assert [0, 4] == to_csr([0, 0, 0, 0], [0, 4, 0, 4], 1, first_item=0)[1].tolist()


def test_items_of_users_come_in_the_order_asked(csr: Csr) -> None:
    position, item = items_of(csr, np.array([3, 0, 1, 1]))

    assert [0, 2, 2, 3, 3] == position.tolist()
    assert [6, 2, 5, 2, 5] == item.tolist()


def test_questions_equal_those_of_python_sets(csr: Csr) -> None:
    users, items = (array.ravel() for array in np.meshgrid(np.arange(4), np.arange(9)))
    owned = [set(csr[1][csr[0][user] : csr[0][user + 1]].tolist()) for user in range(4)]

    assert [item in owned[user] for user, item in zip(users, items, strict=True)] == contains(
        csr, users, items
    ).tolist()
    assert [
        sum(one < item for one in owned[user]) for user, item in zip(users, items, strict=True)
    ] == num_below(csr, users, items).tolist()
    for first in (0, 1):
        for user in range(4):
            absent = [item for item in range(first, 12) if item not in owned[user]][:5]
            asked = np.full(5, user)
            assert absent == nth_absent(csr, asked, np.arange(5), first_item=first).tolist()


def test_no_pair_at_all() -> None:
    empty = to_csr([], [], 2)

    assert [False, False] == contains(empty, np.array([0, 1]), np.array([0, 3])).tolist()
    assert [1, 4] == nth_absent(empty, np.array([0, 1]), np.array([0, 3])).tolist()
    assert not len(items_of(empty, np.array([0, 1]))[0])


def test_memory_mapped_int32_pairs_answer_alike(csr: Csr, tmp_path: object) -> None:
    folder = str(tmp_path)
    np.save(f"{folder}/indptr.npy", csr[0])
    np.save(f"{folder}/indices.npy", csr[1].astype(np.int32))
    mapped = (
        np.load(f"{folder}/indptr.npy", mmap_mode="r"),
        np.load(f"{folder}/indices.npy", mmap_mode="r"),
    )
    users, items = np.repeat(np.arange(4), 8), np.tile(np.arange(8), 4)

    assert contains(csr, users, items).tolist() == contains(mapped, users, items).tolist()
    assert np.dtype(np.int64) == items_of(mapped, np.arange(4))[1].dtype


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([0, 4], [1, 1], r"User row 4 at position 1 must lie in \[0, 4\)"),
        ([0], [-1], "Item row -1 at position 0 must be at least 0"),
        ([0, 1], [1], "2 users and 1 items"),
    ],
)
def test_rows_out_of_range_are_refused(users: list[int], items: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        to_csr(users, items, 4)


def test_entries_without_a_row_are_counted() -> None:
    csr = to_csr([0, 0, 0, 2, 2, 3], [0, 0, 3, 1, 4, 0], 5)

    assert [2, 0, 0, 1, 0] == num_without_row(csr, np.arange(5), 1).tolist()
    assert [2, 0, 1, 1, 0] == num_without_row(csr, np.arange(5), 2).tolist()
    assert [0] * 5 == num_without_row(csr, np.arange(5), 0).tolist()
    assert [2, 4, 1, 2] == nth_absent(csr, np.array([0, 0, 3, 3]), np.array([1, 2, 0, 1])).tolist()
