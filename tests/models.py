"""A small table of ratings, a tiny model, and a training without processes or a server."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from tadka.models import Column, Fit, TorchModel, register, train
from tadka.models.define import catalog
from tadka.models.table.embedding import embedding

NUM_USERS, NUM_ITEMS = 30, 20


@contextmanager
def own_models() -> Iterator[None]:
    """Models that are registered within are forgotten at its end.

    Those that come with tadka stay: they are registered once in a process, when first imported.
    """
    before = set(catalog._REGISTERED)
    try:
        yield
    finally:
        for name in catalog._REGISTERED.keys() - before - catalog._SHIPPED.keys():
            del catalog._REGISTERED[name]


def ratings(num_rows: int = 600, *, seed: int = 0) -> pa.Table:
    """Rows whose label, 0 or 1, follows from user and item, but for one in ten."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, NUM_USERS, num_rows), rng.integers(0, NUM_ITEMS, num_rows)
    label = ((user * 7 + 3) % 5 > (item * 3 + 1) % 5) ^ (rng.random(num_rows) < 0.1)
    return pa.table(
        {
            "user": pa.array(user + 1000),
            "item": pa.array(item + 5000),
            "label": pa.array(label.astype(np.float32)),
        }
    )


class TinyNet(nn.Module):
    """Two biases and a product."""

    def __init__(self, users: int, items: int, dim: int) -> None:
        super().__init__()
        self.user = embedding(users, dim, "user", scale=0.5)
        self.item = embedding(items, dim, "item", scale=0.5)
        self.drop = nn.Dropout(0.1)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        vectors: Tensor = self.drop(self.user(batch["user"])) * self.item(batch["item"])
        return vectors.sum(-1)


@register("tiny")
class Tiny(TorchModel):
    """A product of two vectors."""

    inputs = (
        Column("user", "int64", vocabulary=True),
        Column("item", "int64", vocabulary=True),
        Column("label", "float32", role="label", values=(0, 1)),
    )
    dim: int = 4

    def net(self) -> nn.Module:
        return TinyNet(self.state.size("user"), self.state.size("item"), self.dim)


def write(folder: Path, **parts: pa.Table) -> dict[str, str]:
    """Tables as Parquet files; the values of the section `data`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in parts.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=100)
    return {name: str(folder / f"{name}.parquet") for name in parts}


def config(folder: Path, model: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
    """A configuration over generated ratings, all of it below one folder."""
    found: dict[str, Any] = {
        "data": write(
            folder / "rows",
            train=ratings(),
            valid=ratings(200, seed=1),
            test=ratings(200, seed=2),
        ),
        "model": {"epochs": 2, "batch_rows": 64, "lr": 0.05, **model},
        "stream": {"on": "here"},
        "tracking": {"offline": True, "folder": str(folder / "runs")},
    }
    return {**found, **sections}


def fit(folder: Path, model: Mapping[str, Any], **options: Any) -> Fit:
    """A training in this process."""
    return train(config(folder, model), progress="none", **options)


def weights(trained: Fit) -> dict[str, Tensor]:
    """Of a torch model."""
    state: dict[str, Tensor] = torch.load(
        trained.folder / "model" / "weights" / "net.pt", weights_only=True
    )
    return state
