import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.dataset import Column, Dataset, Table, Utc, days, session

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
UTC = pa.timestamp("us", "UTC")


def messages(folder: Path) -> tuple[type[Table], type[Table]]:
    """Users with a time each, and messages from one user to another; one has no time."""
    at = [NOON - dt.timedelta(hours=n) for n in (1, 2, 3)]
    pq.write_table(
        pa.table({"user": [1, 2], "at": pa.array([NOON, NOON], UTC)}), folder / "user.parquet"
    )
    columns = {
        "sender": [1, 1, 2, 1],
        "receiver": [1, 2, 2, 1],
        "size": [1, 10, 100, 1000],
        "at": pa.array([*at, None], UTC),
    }
    pq.write_table(pa.table(columns), folder / "message.parquet")

    class User(Table, source=str(folder / "user.parquet"), time="at"):
        user: Column[int]
        at: Column[Utc]

    class Message(Table, source=str(folder / "message.parquet"), time="at"):
        sender: Column[int]
        receiver: Column[int]
        size: Column[int]
        at: Column[Utc]

    return User, Message


@pytest.mark.parametrize("engine", ["duckdb", pytest.param("spark", marks=pytest.mark.needs_spark)])
def test_two_keys_of_one_column_are_both_asked(
    engine: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Messages to oneself only; and one without a time belongs to no window."""
    user_table, message_table = messages(tmp_path)
    user = user_table.all()
    on = {"sender": user["user"], "receiver": user["user"]}

    class Own(Dataset):
        row = user
        sent = message_table.last(days(1), on=on)
        newest = message_table.as_of(on=on)
        features = {
            "user": row["user"],
            "sum": sent["size"].sum(),
            "newest": newest["size"],
        }

    spark = request.getfixturevalue("spark") if engine == "spark" else None
    with session(Own, engine=engine, spark=spark, progress="none", on_fail="warn") as opened:
        found = opened.to_arrow().sort_by("user").to_pydict()

    assert {"user": [1, 2], "sum": [1, 100], "newest": [1, 100]} == found
