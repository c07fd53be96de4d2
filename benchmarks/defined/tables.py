"""Impressions, clicks, persons and ads: `python -m defined.tables DIRECTORY NUM_ROWS`.

The payload of impressions grows a hundredfold along the days, so that rows of equal number fill
files of very different size. Its characters are random: compression finds nothing in it.
"""

import datetime as dt
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START, END = dt.date(2026, 1, 1), dt.date(2026, 1, 31)
NUM_USERS, NUM_ADS = 100_000, 5_000
LEAST_BYTES, MOST_BYTES = 2, 200
US_PER_DAY = 86_400_000_000


def main(directory: str, num_rows: str) -> None:
    folder, random = Path(directory), np.random.default_rng(0)
    days = [START + dt.timedelta(days=n) for n in range(-8, (END - START).days + 3)]
    num_days = (END - START).days
    for day in days:
        place = (day - START).days
        if 0 <= place < num_days:
            width = LEAST_BYTES * (MOST_BYTES / LEAST_BYTES) ** (place / (num_days - 1))
            table = impressions(random, day, int(num_rows) // num_days, width)
            write(table, folder / "impression" / f"dt={day}")
        write(clicks(random, day, int(num_rows) // num_days // 10), folder / "click" / f"dt={day}")
    since = times(random, dt.date(2025, 1, 1), 2 * NUM_USERS, num_days=400)
    users = np.repeat(np.arange(NUM_USERS), 2)
    ages = pa.array(random.integers(10, 90, 2 * NUM_USERS).astype(np.int16))
    write(pa.table({"user": users, "age": ages, "since": since}), folder / "person")
    kinds = np.array([f"kind {n}" for n in range(50)])[random.integers(0, 50, NUM_ADS)]
    write(pa.table({"id": np.arange(NUM_ADS), "kind": kinds}), folder / "ad")


def impressions(random: np.random.Generator, day: dt.date, num: int, width: float) -> pa.Table:
    sizes = random.integers(1, round(2 * width) + 1, num)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    letters = random.integers(48, 112, offsets[-1], dtype=np.uint8)
    payload = pa.StringArray.from_buffers(num, pa.py_buffer(offsets), pa.py_buffer(letters))
    price = random.gamma(2.0, 10.0, num)
    return pa.table(
        {
            "user": random.integers(0, NUM_USERS, num),
            "ad": random.integers(0, NUM_ADS, num),
            "price": pa.array(price, mask=random.random(num) < 0.02),
            "payload": payload,
            "at": times(random, day, num),
        }
    )


def clicks(random: np.random.Generator, day: dt.date, num: int) -> pa.Table:
    return pa.table(
        {
            "user": random.integers(0, NUM_USERS, num),
            "ad": random.integers(0, NUM_ADS, num),
            "cost": random.integers(1, 1000, num),
            "at": times(random, day, num),
        }
    )


def times(random: np.random.Generator, day: dt.date, num: int, num_days: int = 1) -> pa.Array:
    start = (day - dt.date(1970, 1, 1)).days * US_PER_DAY
    # Odd steps through all microseconds: no two rows have one time.
    step = num_days * US_PER_DAY // num
    return pa.array(start + random.permutation(num) * step, pa.int64()).cast(
        pa.timestamp("us", tz="UTC")
    )


def write(table: pa.Table, folder: Path) -> None:
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-0.parquet", compression="zstd")


if __name__ == "__main__":
    main(*sys.argv[1:])
