"""A small feature class, models of it, and stores, for the tests of this folder."""

from dataclasses import field
from pathlib import Path

import numpy as np

from tadka.features import Features
from tadka.scoring import Linear
from tadka.serve.store.store import Published, Store


class Visit(Features, size=256, groups={"shops": ["shop", "user_shop"]}):
    """A user looks at a shop. `flaw` is a property that fails for one user."""

    user: str = ""
    shop: int = 0
    price: float = 0.0
    is_new: bool = False
    tags: list[str] = field(default_factory=list)

    @property
    def user_shop(self) -> str:
        return f"{self.user}_{self.shop}"

    @property
    def flaw(self) -> str:
        if self.user == "faulty":
            raise RuntimeError("a property that fails")
        return self.user[:1]


class Other(Features, size=256):
    """Another class."""

    user: str = ""


def linear(bias: float = 0.0, seed: int = 0, group: str | None = None) -> Linear:
    model = Linear(Visit, group=group)
    assert model.definition is not None
    weights = np.random.default_rng(seed).normal(size=model.definition.num_slots)
    return model.take({"bias": np.array([bias]), "linear": weights.astype(np.float32)})


def saved(folder: Path, bias: float = 0.0, seed: int = 0, group: str | None = None) -> Path:
    place = folder / f"model-{bias}-{seed}-{group}"
    linear(bias, seed, group).save(place, replace=True)
    return place


def publish(
    store: Store, folder: Path, bias: float = 0.0, alias: str = "production", model: str = "ctr"
) -> Published:
    return store.publish(saved(folder, bias), alias=alias, model=model, features=Visit)


def visits(num: int) -> list[Visit]:
    return [Visit(f"u{n}", n % 7, n / 3, n % 2 == 0, [f"t{n % 3}"]) for n in range(num)]


def everything(folder: Path) -> list[str]:
    """All names below a folder, hidden ones too."""
    return sorted(str(found.relative_to(folder)) for found in folder.rglob("*"))
