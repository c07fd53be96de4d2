"""The request of both sides: a time, a recency and 20 strings; some 314 bytes, each one distinct.

The parent of a benchmark writes the requests once, as messages and as Arrow columns, and every
cell reads what it needs.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

NUM_ROWS = 20_000
TABLE_BITS = 20
NUM_SLOTS = 1 << TABLE_BITS

# Of each string: how many values there are, and how one is written. The 20 names are the fields
# 3 to 22 of the message.
STRINGS = {
    "user_id": (1_000_000, "u-{:016x}"),
    "media_id": (5_000, "media-{:08d}"),
    "campaign_id": (2_000, "campaign-{:06d}"),
    "creative_id": (20_000, "creative-{:08d}"),
    "advertiser_id": (500, "advertiser-{:05d}"),
    "category": (300, "IAB{:d}"),
    "slot_id": (10_000, "slot-{:08d}"),
    "placement": (6, "position-{:d}"),
    "size": (20, "{:d}x250"),
    "device": (800, "model-SM-G{:04d}"),
    "os": (4, "android-{:d}"),
    "os_version": (60, "14.{:d}.1"),
    "browser": (40, "Chrome Mobile {:d}.0"),
    "language": (12, "ja-JP-{:d}"),
    "country": (30, "JP{:d}"),
    "region": (47, "prefecture-{:02d}"),
    "city": (1_700, "city-{:06d}"),
    "carrier": (25, "carrier-{:02d}"),
    "referrer": (30_000, "news{:05d}.example.com"),
    "segment": (900, "seg-{:04d}"),
}
FIELDS = ("time", "recency", *STRINGS)
_FIRST_US = 1_790_000_000_000_000  # September 2026
_SPAN_US = 7 * 86_400 * 1_000_000


def message_class() -> Any:
    """The protobuf class of the request; its parser is upb's, as with generated code."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = {"time": 3, "recency": 1}  # int64 of microseconds, double; all others are strings
    file = descriptor_pb2.FileDescriptorProto(name="impression.proto", syntax="proto3")
    message = file.message_type.add(name="Impression")
    for number, name in enumerate(FIELDS, start=1):
        message.field.add(name=name, number=number, type=kinds.get(name, 9), label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Impression"))


def write_requests(directory: Path, num_rows: int = NUM_ROWS, seed: int = 7) -> None:
    """Write ``wire.pickle`` (a list of bytes) and ``rows.arrow`` (the same rows as columns)."""
    import pyarrow as pa

    random = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {
        "time": (_FIRST_US + random.integers(0, _SPAN_US, num_rows)).tolist(),
        "recency": random.exponential(30.0, num_rows).tolist(),
    }
    for name, (count, pattern) in STRINGS.items():
        # Few values are frequent and many are rare, as in a log.
        picks = (count * random.random(num_rows) ** 2).astype(int)
        columns[name] = [pattern.format(pick) for pick in picks]
    message = message_class()
    wire = [
        message(**dict(zip(FIELDS, row, strict=True))).SerializeToString()
        for row in zip(*columns.values(), strict=True)
    ]
    (directory / "wire.pickle").write_bytes(pickle.dumps(wire))
    arrays = {
        "time": pa.array(columns["time"], pa.timestamp("us")),
        "recency": pa.array(columns["recency"], pa.float64()),
        **{name: pa.array(columns[name], pa.string()) for name in STRINGS},
    }
    table = pa.table(arrays)
    with pa.ipc.new_file(str(directory / "rows.arrow"), table.schema) as writer:
        writer.write_table(table)


def read_wire(directory: Path) -> list[bytes]:
    """The requests as messages."""
    found: list[bytes] = pickle.loads((directory / "wire.pickle").read_bytes())
    return found


def read_columns(directory: Path) -> Any:
    """The requests as one Arrow record batch, all of it in memory."""
    import pyarrow as pa

    with pa.OSFile(str(directory / "rows.arrow"), "rb") as source:
        return pa.ipc.open_file(source).read_all().combine_chunks()


def weights() -> np.ndarray[Any, np.dtype[np.float32]]:
    """One weight for each slot; the sum of 30 of them is a plausible margin."""
    random = np.random.default_rng(11)
    return random.normal(0.0, 0.2, NUM_SLOTS).astype(np.float32)
