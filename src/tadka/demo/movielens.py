"""The MovieLens 100k layout: reading it, and generating a set of ratings in the same layout.

Four files of text in Latin-1, as GroupLens publishes them::

    u.user     user | age | gender | occupation | zip code
    u.item     item | title | release date | video date | address | 19 genres, each 0 or 1
    u1.base    user, item, rating, time, separated by tabs: for training
    u1.test    the same, held back for the test
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tadka.core.error import DataError, NotFound
from tadka.storage.format import open_writer
from tadka.storage.publish import publish_file
from tadka.storage.uri import join

FILES = ("u.user", "u.item", "u1.base", "u1.test")
GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
OCCUPATIONS = ("artist", "doctor", "educator", "engineer", "executive", "student", "writer")
LOWEST, HIGHEST = 1, 5
SCHEMA = pa.schema(
    {
        "user_id": pa.int32(),
        "item_id": pa.int32(),
        "rating": pa.float32(),
        "age": pa.int32(),
        "gender": pa.string(),
        "occupation": pa.string(),
        "genres": pa.string(),
        "release_year": pa.int32(),
    }
)

_ITEM_COLUMNS = 5 + len(GENRES)
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Ratings:
    """Ratings joined with what is known of their user and item.

    Args:
        train: Rows of `u1.base`: ids, rating from 1 to 5, age, gender, occupation, genres joined
            by `|`, release year (0 where it is not known).
        test: The same of `u1.test`.
    """

    train: pa.Table
    test: pa.Table


@dataclass(frozen=True)
class _Users:
    age: dict[int, int]
    gender: dict[int, str]
    occupation: dict[int, str]


@dataclass(frozen=True)
class _Items:
    genres: dict[int, str]
    release_year: dict[int, int]


def read_ratings(directory: str | Path) -> Ratings:
    """Ratings of a folder in the layout of ml-100k.

    Args:
        directory: Holds `u.user`, `u.item`, `u1.base` and `u1.test`.

    Returns:
        Training and test rows in the order of their files.

    Raises:
        NotFound: The folder or one of its files is missing.
        DataError: A line is malformed; the message names file and line.
    """
    folder = Path(directory)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise NotFound(
            f"Ratings folder {str(folder)!r} has no file {missing[0]!r}; it must hold "
            f"{', '.join(FILES)} as ml-100k does. Name that folder, or none to generate ratings."
        )
    users = _read_users(folder / "u.user")
    items = _read_items(folder / "u.item")
    return Ratings(
        train=_read_split(folder / "u1.base", users, items),
        test=_read_split(folder / "u1.test", users, items),
    )


def write_ratings(
    table: pa.Table, directory: str, *, num_files: int, group_rows: int, seed: int | None = None
) -> list[str]:
    """Ratings as Parquet files of several row groups, the unit in which a flow reads them.

    Args:
        table: Rows to write.
        directory: Where to; the files are named `part-0.parquet` and so on.
        num_files: How many files, at least 1; fewer where there are fewer rows.
        group_rows: Rows of a row group; the last one of a file may have fewer.
        seed: Mixes the rows, so that each row group resembles the whole. None keeps their order.

    Returns:
        URIs of the files.
    """
    if seed is not None:
        table = table.take(pa.array(np.random.default_rng(seed).permutation(len(table))))
    file_rows = -(-len(table) // num_files)
    uris = []
    for number in range(num_files):
        part = table.slice(number * file_rows, file_rows)
        if not len(part):
            break  # fewer rows than files
        uri = join(directory, f"part-{number}.parquet")
        with publish_file(uri) as file:
            writer = open_writer(file, ".parquet", part.schema)
            for start in range(0, len(part), group_rows):
                writer.write(part.slice(start, group_rows))
            writer.close()
        uris.append(uri)
    return uris


def generate_ratings(
    directory: str | Path,
    *,
    seed: int,
    num_users: int = 943,
    num_items: int = 1682,
    num_ratings: int = 100_000,
) -> None:
    """Writes made-up ratings in the layout of ml-100k, the size of ml-100k unless told otherwise.

    Users and items have side features, tastes and a popularity; a rating follows from them with
    noise, so that there is something to learn and a limit to what can be learnt.

    Args:
        directory: Where the four files go.
        seed: Same seed, same files.
        num_users: Users, at least 1.
        num_items: Items, at least 1.
        num_ratings: Ratings, or as many as there are pairs. One in five is
            for the test.
    """
    rng = np.random.default_rng(seed)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)

    ages = rng.integers(10, 70, num_users)
    genders = rng.integers(0, 2, num_users)
    jobs = rng.integers(0, len(OCCUPATIONS), num_users)
    years = np.minimum(1998, 1999 - rng.geometric(0.12, num_items))
    genres = rng.random((num_items, len(GENRES))) < 0.08
    genres[:, 0] = ~genres[:, 1:].any(axis=1)  # "unknown" is the genre of those without one

    num_tastes = 6
    by_job = rng.normal(0, 0.5, (len(OCCUPATIONS), num_tastes))
    by_gender = rng.normal(0, 0.4, (2, num_tastes))
    by_genre = rng.normal(0, 0.5, (len(GENRES), num_tastes))
    tastes_of_user = by_job[jobs] + by_gender[genders] + rng.normal(0, 0.4, (num_users, num_tastes))
    tastes_of_item = genres @ by_genre + rng.normal(0, 0.4, (num_items, num_tastes))

    activity = rng.pareto(1.5, num_users) + 0.3
    popularity = rng.pareto(1.2, num_items) + 0.1
    # The largest of log weight + Gumbel noise are a weighted sample without repeats: nobody
    # rates a film twice.
    keys = np.log(activity)[:, None] + np.log(popularity) + rng.gumbel(size=(num_users, num_items))
    chosen = np.argsort(-keys, axis=None, kind="stable")[:num_ratings]
    user, item = np.divmod(rng.permutation(chosen), num_items)
    score = (
        3.5
        + rng.normal(0, 0.4, num_users)[user]
        + rng.normal(0, 0.5, num_items)[item]
        + 0.5 * np.einsum("nk,nk->n", tastes_of_user[user], tastes_of_item[item])
        + rng.normal(0, 0.8, len(user))
    )
    rating = np.clip(np.rint(score), LOWEST, HIGHEST).astype(int)

    _write(
        folder / "u.user",
        (
            f"{n + 1}|{ages[n]}|{'MF'[genders[n]]}|{OCCUPATIONS[jobs[n]]}|00000"
            for n in range(num_users)
        ),
    )
    _write(
        folder / "u.item",
        (
            f"{n + 1}|Film {n + 1} ({years[n]})|01-Jan-{years[n]}|||"
            + "|".join("01"[int(flag)] for flag in genres[n])
            for n in range(num_items)
        ),
    )
    is_test = rng.random(len(user)) < 0.2
    is_test[:2] = [False, True]  # neither is empty, however few ratings there are
    for name, is_here in (("u1.base", ~is_test), ("u1.test", is_test)):
        columns = zip(user[is_here] + 1, item[is_here] + 1, rating[is_here], strict=True)
        _write(folder / name, (f"{u}\t{i}\t{r}\t880000000" for u, i, r in columns))


def _write(path: Path, lines: Iterator[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="latin-1")


def _lines(path: Path, separator: str, columns: int) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each line that is not blank."""
    shown = "a tab" if separator == "\t" else repr(separator)
    with path.open(encoding="latin-1") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            fields = line.rstrip("\r\n").split(separator)
            if len(fields) != columns:
                raise DataError(
                    f"{_at(path, number)} has {len(fields)} columns; it must have {columns}, "
                    f"separated by {shown}. Correct the line."
                )
            yield number, fields


def _at(path: Path, number: int) -> str:
    return f"File {str(path)!r}, line {number},"


def _whole(path: Path, number: int, name: str, text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= _LARGEST:
        return int(text)
    raise DataError(
        f"{_at(path, number)} has {name} {text!r}; it must be a whole number from 0 to {_LARGEST}. "
        "Correct the line."
    )


def _read_users(path: Path) -> _Users:
    users = _Users({}, {}, {})
    for number, (user_text, age, gender, occupation, _) in _lines(path, "|", 5):
        user = _whole(path, number, "user", user_text)
        users.age[user] = _whole(path, number, "age", age)
        users.gender[user] = gender
        users.occupation[user] = occupation
    return users


def _read_items(path: Path) -> _Items:
    items = _Items({}, {})
    for number, fields in _lines(path, "|", _ITEM_COLUMNS):
        item = _whole(path, number, "item", fields[0])
        year = fields[2].rpartition("-")[2]  # "01-Jan-1995", or nothing
        items.release_year[item] = _whole(path, number, "release year", year) if year else 0
        flags = fields[5:]
        if not {"0", "1"}.issuperset(flags):
            raise DataError(
                f"{_at(path, number)} has the genres {'|'.join(flags)!r}; each must be 0 or 1. "
                "Correct the line."
            )
        items.genres[item] = "|".join(
            genre for genre, flag in zip(GENRES, flags, strict=True) if flag == "1"
        )
    return items


def _read_split(path: Path, users: _Users, items: _Items) -> pa.Table:
    rows: list[tuple[int, int, int]] = []
    for number, fields in _lines(path, "\t", 4):
        names = ("user", "item", "rating")
        user, item, rating = (
            _whole(path, number, name, text) for name, text in zip(names, fields, strict=False)
        )
        if user not in users.age or item not in items.genres:
            name, value = ("user", user) if user not in users.age else ("item", item)
            raise DataError(
                f"{_at(path, number)} has {name} {value}, which 'u.{name}' does not list. "
                f"Add it there, or remove the line."
            )
        if not LOWEST <= rating <= HIGHEST:
            raise DataError(
                f"{_at(path, number)} has rating {rating}; it must be from {LOWEST} to {HIGHEST}. "
                "Correct the line."
            )
        rows.append((user, item, rating))
    if not rows:
        raise DataError(
            f"File {str(path)!r} has no ratings; it must have at least one. Check that it is whole."
        )
    user_ids, item_ids, ratings = zip(*rows, strict=True)
    return pa.table(
        [
            user_ids,
            item_ids,
            ratings,
            [users.age[user] for user in user_ids],
            [users.gender[user] for user in user_ids],
            [users.occupation[user] for user in user_ids],
            [items.genres[item] for item in item_ids],
            [items.release_year[item] for item in item_ids],
        ],
        schema=SCHEMA,
    )
