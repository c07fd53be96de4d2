"""Nets of recommendation and click models against the formulas written out."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from tadka.models.net.factors import LightGCNNet
from tadka.models.net.fm import FMNet, pairs
from tadka.models.net.gcmc import GCMCNet
from tadka.models.net.groups import Groups
from tadka.models.net.pairs import Histories

# user 1 has items 1 and 2, user 2 has item 2, user 3 none; row 0 is the unseen
INDPTR, ITEMS = np.array([0, 0, 2, 3, 3]), np.array([1, 2, 2])
DENSE = torch.tensor([[0, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=torch.float32)


def test_pairs_of_groups_are_those_of_the_definition() -> None:
    vectors_BGK = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))

    expected = sum(
        (vectors_BGK[:, i] * vectors_BGK[:, j]).sum(1) for i, j in combinations(range(5), 2)
    )
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(pairs(vectors_BGK), expected)


def test_histories_leave_the_own_row_out() -> None:
    histories = Histories(INDPTR, ITEMS, 3, 2)
    items, users = histories.of_user.weight.detach(), histories.of_item.weight.detach()

    found = histories(torch.tensor([1, 1, 3]), torch.tensor([2, 2, 2]), torch.tensor([1.0, 0, 0]))

    of_user, of_item = found.detach()[:, 0], found.detach()[:, 1]
    torch.testing.assert_close(of_user[0], items[1])  # item 2 is the row itself
    torch.testing.assert_close(of_user[1], (items[1] + items[2]) / 2**0.5)
    torch.testing.assert_close(of_user[2], torch.zeros(2))
    torch.testing.assert_close(of_item[0], users[2])
    torch.testing.assert_close(of_item[1], (users[1] + users[2]) / 2**0.5)


def test_sums_that_are_kept_for_prediction_follow_the_weights() -> None:
    histories = Histories(INDPTR, ITEMS, 3, 2).eval()
    row, own = torch.tensor([1]), torch.zeros(1)
    with torch.no_grad():
        before = histories(row, row, own)
        histories.train()
        histories.of_user.weight *= 2
        after = histories.eval()(row, row, own)

    torch.testing.assert_close(after[:, 0], 2 * before[:, 0])


def test_gradients_reach_all_of_a_machine() -> None:
    torch.manual_seed(0)
    histories = Histories(INDPTR, ITEMS, 3, 3)
    groups = Groups(
        {"user": 4, "item": 3},
        2,
        numbers=1,
        bags={"word": 5},
        side=[1, 2],
        num_side=6,
        histories=histories,
    )
    batch = {
        "fields": torch.tensor([[1, 2], [2, 1]]),
        "numbers": torch.tensor([[0.5], [2.0]]),
        "bag.word": torch.tensor([[1, 2], [3, 0]]),
        "side": torch.tensor([[1, 2, 3], [1, 0, 0]]),
        "own": torch.ones(2),
    }
    net = FMNet(groups, 3.5)
    assert (2, 8, 3) == groups(batch).shape
    assert 8 == groups.num_groups

    net(batch).sum().backward()

    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_an_unseen_row_says_nothing() -> None:
    net = FMNet(Groups({"user": 4, "item": 3}, 2), 3.5)

    assert [3.5] == net({"fields": torch.zeros(1, 2, dtype=torch.int64)}).tolist()


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_lightgcn_is_a_mean_of_powers_of_the_normalised_matrix(layers: int) -> None:
    net = LightGCNNet(INDPTR, ITEMS, 3, 2, layers=layers)
    matrix = torch.cat(
        [
            torch.cat([torch.zeros(4, 4), DENSE], dim=1),
            torch.cat([DENSE.T, torch.zeros(3, 3)], dim=1),
        ]
    )
    root = matrix.sum(1).clamp(min=1).rsqrt()
    hop = torch.cat([net.user.weight, net.item.weight]).detach()
    total = hop.clone()
    for _ in range(layers):
        hop = (root[:, None] * matrix * root) @ hop
        total += hop

    users, items = net.tables()

    torch.testing.assert_close(torch.cat([users, items]).detach(), total / (layers + 1))
    rows = torch.tensor([1, 2])
    score = net({"user": rows, "item": rows})
    torch.testing.assert_close(score, (users[1:3] * items[1:3]).sum(1))


def test_penalty_is_half_the_squared_length_per_row() -> None:
    net = LightGCNNet(INDPTR, ITEMS, 3, 2)
    with torch.no_grad():
        net.user.weight.fill_(1)
        net.item.weight.fill_(2)
    batch = {"user": torch.tensor([1, 2]), "item": torch.tensor([[1, 2], [2, 1]])}

    assert (2 + 2 * 8) / 2 == net.penalty(batch).item()  # one user, two items a row


def test_messages_of_gcmc_go_along_ratings_of_their_level() -> None:
    torch.manual_seed(0)
    net = GCMCNet([1, 1, 2], [1, 2, 2], [0, 1, 1], [1.0, 5.0], 4, 3, hidden=3, dim=2, dropout=0)
    item_IRH = net.items.weight.detach().view(3, 2, 3).cumsum(1)
    message = item_IRH[1, 0] / 2**0.5 + item_IRH[2, 1] / 2  # degrees: 2 and 1, 2 and 2
    user_UK, _ = net.make()

    torch.testing.assert_close(user_UK[1].detach(), (net.user_out(message.relu())).detach())
    assert (2, 2) == net({"user": torch.tensor([1, 0]), "item": torch.tensor([2, 0])}).shape
