"""The rows that every method of benchmarks/models.py trains on, as arrays and as Parquet.

Shapes: B rows, F fields, E pairs of a user and an item.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 1024
EPOCHS = int(os.environ.get("BENCH_EPOCHS", "8"))
SLOW_EPOCHS = 3  # of peers whose epochs last seconds
FM_DIM = 16
DIM = 64
LAYERS = 3
LIGHTGCN_BATCH_ROWS = 2048  # the published loop's
# Frappe's 57,722 rows are over in hundredths of a second; an epoch that can be timed has more.
COPIES = 8
NUM_PAIRS, NUM_USERS, NUM_ITEMS = 500_000, 20_000, 10_000


@dataclass(frozen=True)
class Clicks:
    """Rows with a label.

    Args:
        fields: int64, shape (B, F); 0 to the field's size - 1.
        label: float32, shape (B,).
        sizes: Of each field.
    """

    fields: np.ndarray
    label: np.ndarray
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Pairs:
    """What users have taken, each pair once.

    Args:
        user: int64, shape (E,).
        item: int64, shape (E,).
    """

    user: np.ndarray
    item: np.ndarray

    @property
    def num_users(self) -> int:
        return int(self.user.max()) + 1

    @property
    def num_items(self) -> int:
        return int(self.item.max()) + 1


def write(directory: Path) -> None:
    """Makes all sets below a folder: NAME.npz, and NAME/train.parquet."""
    clicks = _frappe()
    fields = {f"f{place}": column for place, column in enumerate(clicks.fields.T)}
    _save(directory, "frappe", {**fields, "label": clicks.label})
    for name, pairs in (("lastfm", _lastfm()), ("pairs", _pairs())):
        _save(directory, name, {"user": pairs.user, "item": pairs.item})


def clicks(directory: str) -> Clicks:
    with np.load(Path(directory, "frappe.npz")) as found:
        fields_BF = np.stack([found[name] for name in found.files if name != "label"], axis=1)
        sizes = tuple(int(size) for size in fields_BF.max(axis=0) + 1)
        return Clicks(fields_BF, found["label"], sizes)


def pairs(directory: str, name: str) -> Pairs:
    with np.load(Path(directory, f"{name}.npz")) as found:
        return Pairs(found["user"], found["item"])


def _frappe() -> Clicks:
    from tadka.models.data.known import FRAPPE, known

    table = known("frappe", _folder("frappe"))["train"]
    columns = [table[name].to_numpy() for name in FRAPPE]
    codes = [np.unique(column, return_inverse=True)[1] for column in columns]
    fields_BF = np.tile(np.stack(codes, axis=1).astype(np.int64), (COPIES, 1))
    label_B = np.tile(table["label"].to_numpy().astype(np.float32), COPIES)
    order_B = np.random.default_rng(0).permutation(len(label_B))
    sizes = tuple(int(size) for size in fields_BF.max(axis=0) + 1)
    return Clicks(fields_BF[order_B], label_B[order_B], sizes)


def _lastfm() -> Pairs:
    from tadka.models.data.known import known

    table = known("lastfm", _folder("lastfm"))["train"]
    user_E, item_E = (
        np.unique(table[name].to_numpy(), return_inverse=True)[1] for name in ("user", "item")
    )
    return Pairs(user_E.astype(np.int64), item_E.astype(np.int64))


def _pairs() -> Pairs:
    """Users alike, items by a power law, in random order."""
    rng = np.random.default_rng(0)
    num = int(1.3 * NUM_PAIRS)
    user_E = rng.integers(0, NUM_USERS, num)
    item_E = (NUM_ITEMS * rng.random(num) ** 2.5).astype(np.int64)
    both_E = np.unique(user_E * NUM_ITEMS + item_E)
    both_E = rng.permutation(both_E)[:NUM_PAIRS]
    return Pairs(both_E // NUM_ITEMS, both_E % NUM_ITEMS)


def _folder(name: str) -> Path:
    below = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return Path(os.environ.get("TADKA_DATA", below)) / name


def _save(directory: Path, name: str, columns: dict[str, np.ndarray]) -> None:
    np.savez(directory / f"{name}.npz", **columns)
    (directory / name).mkdir()
    pq.write_table(pa.table(columns), directory / name / "train.parquet", row_group_size=65_536)
