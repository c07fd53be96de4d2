"""MovieLens 100k as a company's tables: ratings by day, people and films as they are known."""

import datetime as dt
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RATING = pa.schema(
    [
        ("user", pa.int64()),
        ("film", pa.int64()),
        ("stars", pa.int8()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)


def write_tables(data: Path, out: Path) -> int:
    """Write the tables below a folder: `ratings/day=.../part-0.parquet`, and two single files.

    Args:
        data: The folder of ml-100k.
        out: Where they go.

    Returns:
        How many days have ratings.
    """
    days: dict[dt.date, list[tuple[int, int, int, dt.datetime]]] = defaultdict(list)
    for line in (data / "u.data").read_text().splitlines():
        user, film, stars, seconds = map(int, line.split())
        at = dt.datetime.fromtimestamp(seconds, dt.UTC)
        days[at.date()].append((user, film, stars, at))
    for day, rows in days.items():
        folder = out / "ratings" / f"day={day}"
        folder.mkdir(parents=True)
        columns = zip(*rows, strict=True)
        table = pa.table([pa.array(c) for c in columns], names=RATING.names).cast(RATING)
        pq.write_table(table, folder / "part-0.parquet", compression="zstd")

    people = [line.split("|") for line in (data / "u.user").read_text().splitlines()]
    pq.write_table(
        pa.table(
            {
                "user": pa.array([int(person[0]) for person in people]),
                "age": pa.array(np.array([int(person[1]) for person in people], np.int8)),
                "sex": pa.array([person[2] for person in people]),
                "occupation": pa.array([person[3] for person in people]),
            }
        ),
        out / "people.parquet",
    )
    films = [line.split("|") for line in (data / "u.item").read_text("latin-1").splitlines()]
    years = [re.search(r"\((\d{4})\)", film[1]) for film in films]
    pq.write_table(
        pa.table(
            {
                "film": pa.array([int(film[0]) for film in films]),
                "year": pa.array([int(year[1]) if year else None for year in years], pa.int16()),
            }
        ),
        out / "films.parquet",
    )
    return len(days)
