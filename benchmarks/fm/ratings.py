"""Data and preprocess that every method of stream_fm runs, unchanged. Loads no torch.

Shapes: B rows of a batch, F fields (8), U users, I items.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUM_ROWS = 1_000_000
NUM_FILES = 8
GROUP_ROWS = 32_768
BATCH_ROWS = 4096

# Sizes of MovieLens-1M; genre is a film's first, hour that of the rating.
FIELDS = {
    "user": 6040,
    "item": 3706,
    "gender": 2,
    "age": 7,
    "occupation": 21,
    "genre": 18,
    "year": 81,
    "hour": 24,
}
_OFFSETS_F = np.cumsum([0, *FIELDS.values()])[:-1].astype(np.int64)

# Extra work per batch: passes of tanh over B x F float32. From the environment, because it then
# reaches the workers of every method in the same way.
PASSES = int(os.environ.get("FM_PASSES", "0"))


def write_ratings(directory: Path, num_rows: int = NUM_ROWS) -> None:
    """Write synthetic ratings: users and films have attributes and a hidden taste of 4 numbers."""
    rng = np.random.default_rng(7)
    users, items = FIELDS["user"], FIELDS["item"]
    of_user = {name: rng.integers(FIELDS[name], size=users) for name in ("gender", "age")}
    of_user["occupation"] = rng.integers(FIELDS["occupation"], size=users)
    of_item = {name: rng.integers(FIELDS[name], size=items) for name in ("genre", "year")}
    taste_U, taste_I = rng.normal(0, 0.4, (users, 4)), rng.normal(0, 0.4, (items, 4))
    mean_U, mean_I = rng.normal(0, 0.4, users), rng.normal(0, 0.4, items)
    for number in range(NUM_FILES):
        size = num_rows // NUM_FILES
        user = rng.integers(users, size=size)
        # Few films get most ratings, as in the real set.
        item = (items * rng.random(size) ** 2).astype(np.int64)
        score = 3.58 + mean_U[user] + mean_I[item] + (taste_U[user] * taste_I[item]).sum(axis=1)
        columns = {
            "user": user.astype(np.int32),
            "item": item.astype(np.int32),
            **{name: values[user].astype(np.int8) for name, values in of_user.items()},
            **{name: values[item].astype(np.int8) for name, values in of_item.items()},
            "time": rng.integers(956_703_932, 1_046_454_590, size=size),
            "rating": np.clip(score + rng.normal(0, 0.8, size), 1, 5).round().astype(np.float32),
        }
        path = directory / f"ratings-{number}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=GROUP_ROWS)


def row_groups(files: Iterable[str]) -> list[tuple[str, int]]:
    """Every (file, row group): the pieces that workers share out."""
    return [(path, n) for path in files for n in range(pq.read_metadata(path).num_row_groups)]


def as_numpy(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """Columns by name, without a copy."""
    return {name: batch.column(name).to_numpy() for name in batch.schema.names}


def preprocess(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Raw columns -> ids of features, their values, and the label."""
    ids_BF = np.empty((len(batch["user"]), len(FIELDS)), dtype=np.int64)
    for field, name in enumerate(FIELDS):
        raw_B = batch["time"] // 3600 % 24 if name == "hour" else batch[name]
        ids_BF[:, field] = raw_B
    ids_BF += _OFFSETS_F
    work_BF = np.sin(ids_BF, dtype=np.float32)
    for _ in range(PASSES):
        work_BF = np.tanh(work_BF)
    values_BF = 1 + np.float32(0.01) * work_BF
    return {"ids": ids_BF, "values": values_BF, "label": batch["rating"]}


def warm_up() -> None:
    """What a started worker has behind it: the imports, and one call of each library."""
    rows = np.zeros(16, dtype=np.int32)
    table = pa.table({**dict.fromkeys(FIELDS, rows), "time": rows, "rating": rows})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    for batch in pq.ParquetFile(pa.BufferReader(sink.getvalue())).iter_batches():
        preprocess(as_numpy(batch))
