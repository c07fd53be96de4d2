import numpy as np
import pytest
import torch

from tadka.core.error import ConfigError
from tadka.models.table.embedding import FieldEmbedding, SparseEmbedding, embedding
from tadka.models.table.table import MemoryTable


def test_a_size_gives_an_embedding_that_names_its_vocabulary() -> None:
    torch.manual_seed(0)
    module = embedding(500, 4, "user", scale=0.1)
    assert "user" == module.vocabulary
    assert (2, 3, 4) == tuple(module(torch.zeros(2, 3, dtype=torch.int64)).shape)
    weight = module.state_dict()["weight"]
    assert abs(weight.std().item() - 0.1) < 0.01


def test_several_vocabularies_share_a_matrix() -> None:
    module = embedding([3, 5], 4, ["user", "item"])
    assert isinstance(module, FieldEmbedding)
    assert (("user", "item"), (8, 4)) == (module.vocabulary, tuple(module.weight.shape))
    out = module(torch.tensor([[2, 0], [0, 4]]))
    assert torch.equal(module.weight[torch.tensor([[2, 3], [0, 7]])], out)


def test_backward_pushes_the_sum_of_a_rows_gradients() -> None:
    table, expected = MemoryTable(6, 3), MemoryTable(6, 3)
    module = embedding(table, 3, "user", lr=0.2)
    assert isinstance(module, SparseEmbedding)
    rows = torch.tensor([[4, 1], [4, 0]])
    weights = torch.arange(12.0).reshape(2, 2, 3)
    out = module(rows)
    assert np.array_equal(table.pull([4, 1, 4, 0]).reshape(2, 2, 3), out.detach().numpy())
    (out * weights).sum().backward()
    expected.push(rows.numpy().ravel(), weights.numpy().reshape(4, 3), 0.2)
    assert np.allclose(expected.pull(np.arange(6)), table.pull(np.arange(6)))
    assert not np.array_equal(MemoryTable(6, 3).pull([4]), table.pull([4]))


def test_nothing_is_pushed_where_nothing_is_trained() -> None:
    table = MemoryTable(6, 3)
    before = table.pull(np.arange(6))
    module = embedding(table, 3, "user")
    with torch.no_grad():
        assert not module(torch.tensor([1])).requires_grad
    assert not module.eval()(torch.tensor([1])).requires_grad
    assert {} == module.state_dict()
    assert np.array_equal(before, table.pull(np.arange(6)))


def test_a_net_learns_through_a_table_as_through_an_embedding() -> None:
    rng = np.random.default_rng(0)
    table = MemoryTable(20, 4, scale=0.3)
    module = embedding(table, 4, "user", lr=0.3)
    target = torch.from_numpy(rng.normal(size=20).astype(np.float32))
    losses = []
    for _ in range(200):
        rows = torch.from_numpy(rng.integers(0, 20, 32))
        loss = (module(rows).sum(dim=1) - target[rows]).square().mean()
        loss.backward()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match="dimension 3, and 4 is asked for"):
        embedding(MemoryTable(2, 3), 4, "user")
    with pytest.raises(ConfigError, match="do not fit"):
        embedding(3, 4, ["user"])
    with pytest.raises(ConfigError, match="1 sizes and 2 vocabularies"):
        embedding([3], 4, ["user", "item"])
