"""The three data sets as Arrow tables: training rows and test rows, each with a column `label`."""

import datetime as dt
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

SEED = 0
Split = tuple[pa.Table, pa.Table]


def read_frappe(data: Path) -> Split:
    """As published in two files; the one called train is its validation part."""
    return _frappe(data / "frappe" / "train.libfm"), _frappe(data / "frappe" / "test.libfm")


def _frappe(file: Path) -> pa.Table:
    names = [
        "user",
        "item",
        "daytime",
        "weekday",
        "is_weekend",
        "homework",
        "cost",
        "weather",
        "country",
        "city",
    ]
    lines = [line.split() for line in file.read_text().splitlines()]
    columns = {
        name: pa.array([int(line[place].partition(":")[0]) for line in lines])
        for place, name in enumerate(names, start=1)
    }
    return pa.table({**columns, "label": pa.array([int(line[0]) > 0 for line in lines])})


def read_adult(data: Path) -> Split:
    """One file; a fifth of the rows, chosen at random, is for the test."""
    table = csv.read_csv(data / "adult" / "adult.data")
    label = pa.array([income.strip() == ">50K" for income in table["income"].to_pylist()])
    return _split(table.drop_columns(["income", "fnlwgt"]).append_column("label", label))


def read_movielens(data: Path) -> Split:
    """The ratings of u1.base and u1.test, with what is known of persons and films."""
    folder = data / "ml-100k"
    people = {}
    for line in (folder / "u.user").read_text().splitlines():
        user, age, sex, occupation, _ = line.split("|")
        people[int(user)] = (int(age), sex, occupation)
    genre_names = [
        line.partition("|")[0] for line in (folder / "u.genre").read_text().splitlines() if line
    ]
    films = {}
    for line in (folder / "u.item").read_text("latin-1").splitlines():
        film, title, _, _, _, *flags = line.split("|")
        year = re.search(r"\((\d{4})\)", title)
        genres = [name for name, flag in zip(genre_names, flags, strict=True) if flag == "1"]
        films[int(film)] = (int(year[1]) if year else None, genres)

    def ratings(file: Path) -> pa.Table:
        rows = []
        for line in file.read_text().splitlines():
            user, film, stars, seconds = map(int, line.split())
            age, sex, occupation = people[user]
            year, genres = films[film]
            rows.append(
                {
                    "time": dt.datetime.fromtimestamp(seconds, dt.UTC),
                    "user": user,
                    "film": film,
                    "age": age,
                    "sex": sex,
                    "occupation": occupation,
                    "year": year,
                    "genres": genres,
                    "label": stars >= 4,
                }
            )
        return pa.Table.from_pylist(rows)

    return ratings(folder / "u1.base"), ratings(folder / "u1.test")


def _split(table: pa.Table, share: float = 0.2) -> Split:
    is_test = np.random.default_rng(SEED).random(table.num_rows) < share
    return table.filter(pa.array(~is_test)), table.filter(pa.array(is_test))


def hold_out(table: pa.Table, share: float = 0.1) -> Split:
    """Rows to learn from, and rows to stop by."""
    return _split(table, share)
