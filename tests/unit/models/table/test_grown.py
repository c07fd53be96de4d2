from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tadka.core.error import ConfigError, DataError
from tadka.models.table.embedding import embedding
from tadka.models.table.grown import Part, grown_optimizer, grown_state


class Net(nn.Module):
    user: Any
    both: Any
    out: Any
    head: Any

    def __init__(self, users: int, items: int, dim: int = 2) -> None:
        super().__init__()
        self.user = embedding(users, dim, "user")
        self.both = embedding([users, items], dim, ["user", "item"])
        self.bias = nn.Parameter(torch.zeros(()))
        self.out = nn.Linear(dim, items)
        self.out.vocabulary = "item"
        self.head = nn.Linear(dim, 1)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        both = self.both(torch.stack([user, item], dim=1)).sum(dim=1)
        hidden = self.user(user) + both
        score: torch.Tensor = self.head(hidden)[:, 0] + self.out(hidden).logsumexp(dim=1)
        return score + self.bias


def test_old_rows_are_copied_and_scores_stay() -> None:
    old, new = Net(3, 4), Net(5, 9)
    rows = torch.tensor([0, 1, 2]), torch.tensor([3, 0, 1])
    state = grown_state(old.state_dict(), new)
    new.load_state_dict(state)
    assert torch.equal(old.user(rows[0]), new.user(rows[0]))
    assert torch.equal(old.both(torch.stack(rows, 1)), new.both(torch.stack(rows, 1)))
    assert torch.equal(old.out.weight, new.out.weight[:4])
    assert torch.equal(old.out.bias, new.out.bias[:4])
    assert torch.equal(old.head.weight, new.head.weight)
    assert [0, 5, 14] == new.both.offsets.tolist()
    assert (new.user.weight[3:] != 0).all()
    assert new.user.weight[3:].abs().max() < 0.06
    assert state["user.weight"].data_ptr() != old.user.weight.data_ptr()


def test_new_rows_come_from_init_or_from_the_seed() -> None:
    old = Net(3, 4)
    seen: list[tuple[str, str, list[int], int]] = []

    def init(part: Part, rows: np.ndarray) -> np.ndarray | None:
        seen.append((part.key, part.vocabulary, rows.tolist(), len(part.old)))
        if part.vocabulary == "item":
            return None
        return np.tile(part.old[1:].mean(axis=0), (len(rows), 1))

    first, second = (grown_state(old.state_dict(), Net(5, 5), init, seed=1) for _ in range(2))
    assert [
        ("user.weight", "user", [3, 4], 3),
        ("both.weight", "user", [3, 4], 3),
        ("both.weight", "item", [4], 4),
        ("out.weight", "item", [4], 4),
        ("out.bias", "item", [4], 4),
    ] == seen[:5]
    mean = old.user.weight[1:].mean(dim=0)
    assert torch.allclose(mean, first["user.weight"][3:])
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = grown_state(old.state_dict(), Net(5, 5), init, seed=2)
    assert not torch.equal(first["out.weight"], other["out.weight"])


@pytest.mark.parametrize("name", ["Adam", "Adagrad", "SGD"])
def test_optimizer_states_grow_in_step(name: str) -> None:
    def step(net: Net, optimizer: Any) -> None:
        optimizer.zero_grad()
        net(torch.tensor([1, 2]), torch.tensor([0, 3])).square().sum().backward()
        optimizer.step()

    settings = {"lr": 0.1} | ({"momentum": 0.9} if name == "SGD" else {})
    old, new = Net(3, 4), Net(5, 4)
    before = getattr(torch.optim, name)(old.parameters(), **settings)
    for _ in range(3):
        step(old, before)
    after = getattr(torch.optim, name)(new.parameters(), **settings)
    after.load_state_dict(grown_optimizer(before.state_dict(), old.state_dict(), new))
    new.load_state_dict(grown_state(old.state_dict(), new))
    for net, optimizer in ((old, before), (new, after)):
        step(net, optimizer)
    # the items are the same, so both nets took the same step, and rows without gradient none
    assert torch.allclose(old.user.weight, new.user.weight[:3], atol=1e-6)
    assert torch.allclose(old.both.weight, new.both.weight[[0, 1, 2, 5, 6, 7, 8]], atol=1e-6)
    assert torch.allclose(old.bias, new.bias, atol=1e-6)


def test_what_cannot_have_grown_is_refused() -> None:
    old = Net(3, 4)
    with pytest.raises(ConfigError, match=r"'user' had 3 rows in 'user\.weight' and has 2 now"):
        grown_state(old.state_dict(), Net(2, 4))
    with pytest.raises(ConfigError, match=r"'user.weight' had shape \(3, 2\) and has \(3, 5\)"):
        grown_state(old.state_dict(), Net(3, 4, dim=5))
    with pytest.raises(ConfigError, match="no 'bias'"):
        grown_state({}, Net(3, 4))
    for wrong in (np.zeros((1, 2)), np.full((2, 2), np.nan)):
        with pytest.raises(DataError, match=r"they must have \(2, 2\)"):
            grown_state(old.state_dict(), Net(5, 4), lambda part, rows, wrong=wrong: wrong)  # type: ignore[misc]
    optimizer = torch.optim.Adam(old.head.parameters())
    with pytest.raises(ConfigError, match="has 2 parameters, and the net has 7"):
        grown_optimizer(optimizer.state_dict(), old.state_dict(), old)


def test_fields_must_be_the_same() -> None:
    old, new = embedding([2, 3], 2, ["a", "b"]), embedding([2, 3, 4], 2, ["a", "b", "c"])
    with pytest.raises(ConfigError, match="made for 2 vocabularies and is for 3"):
        grown_state(old.state_dict(), new)


def test_rows_of_other_vocabularies_stand_beside_those_that_grow() -> None:
    old = Net(3, 4)
    others: dict[tuple[str, str], dict[str, Any]] = {}

    def init(part: Part, rows: np.ndarray) -> None:
        others[part.key, part.vocabulary] = dict(part.others)

    grown_state(old.state_dict(), Net(5, 5), init)

    both = old.both.weight.detach().numpy()
    assert both[3:].tolist() == others["both.weight", "user"]["item"].tolist()
    assert both[:3].tolist() == others["both.weight", "item"]["user"].tolist()
    # the first of this form for users, and the first for items that is no part of its matrix
    assert both[3:].tolist() == others["user.weight", "user"]["item"].tolist()
    assert {} == others["out.bias", "item"]
