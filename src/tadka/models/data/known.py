"""Known data sets: read from their published files into tables, their traps honoured.

Each is read in place from a folder that holds the files under their published names. Nothing of a
set is kept here: most may not be redistributed, see `Known.licence`.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tadka.core.error import DataError, NotFound
from tadka.core.extra import require

if TYPE_CHECKING:
    import pyarrow as pa

Tables = Mapping[str, "pa.Table"]


@dataclass(frozen=True)
class Known:
    """A data set that can be named in a configuration.

    Args:
        name: In configurations.
        read: From its folder to tables. `train`, `valid` and `test` are its published parts, `all`
            what has none.
        files: That must be there, below the folder.
        help: What it is, one sentence.
        licence: What its owners allow.
    """

    name: str
    read: Callable[[Path], Tables]
    files: tuple[str, ...]
    help: str
    licence: str


def known(name: str, folder: str | Path) -> dict[str, "pa.Table"]:
    """The tables of a known data set.

    Args:
        name: One of `KNOWN`.
        folder: That holds its files.

    Returns:
        Tables by name: `train` and `test`, or `all` where no split is published, and further ones
        such as `users`, `items`, `nodes`, `edges`.

    Raises:
        NotFound: No data set has this name, or a file is not in the folder.
        DataError: A file is not what was published.
    """
    found = find(name)
    place = Path(folder).expanduser()
    for file in found.files:
        if not (place / file).exists():
            raise NotFound(
                f"Data set {name!r} needs {file!r} in {str(place)!r}, where it is not. Set "
                "data.folder to the folder that holds "
                f"{', '.join(found.files)}."
            )
    return dict(found.read(place))


def find(name: str) -> Known:
    """A known data set by its name.

    Args:
        name: One of `KNOWN`.

    Raises:
        NotFound: There is none of this name; the nearest is suggested.
    """
    if name in KNOWN:
        return KNOWN[name]
    close = difflib.get_close_matches(name, KNOWN, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(KNOWN)}."
    raise NotFound(
        f"No data set is known as {name!r}. {hint} Files of your own are named by data.train."
    )


def lines_of(path: Path, *, encoding: str = "utf-8") -> list[str]:
    """Lines of a text file, at line feeds alone: Latin-1 text has bytes that Python splits at.

    Args:
        path: Of the file.
        encoding: Of its text.

    Raises:
        DataError: It is not text of this encoding.
    """
    try:
        text = path.read_bytes().decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"File {str(path)!r} is not {encoding} text: {error}.") from error
    return text.removesuffix("\n").split("\n") if text else []


def whole_numbers(path: Path, names: Sequence[str], *, separator: str | None = None) -> "pa.Table":
    """The first columns of a file of whole numbers; further ones are not looked at.

    Args:
        path: Of the file, one row a line.
        names: Of the columns.
        separator: Between them; blanks and tabs where none is given.

    Raises:
        DataError: A line has too few columns, or no whole number where one should be.
    """
    pa = require("pyarrow", extra="arrow")
    rows = []
    for number, line in enumerate(lines_of(path), start=1):
        cells = line.split(separator)[: len(names)]
        try:
            values = [int(cell) for cell in cells]
        except ValueError:
            values = []
        if len(values) < len(names):
            raise DataError(
                f"File {str(path)!r}, line {number} is {line[:80]!r}; it must begin with "
                f"{len(names)} whole numbers: {', '.join(names)}."
            )
        rows.append(values)
    columns = np.array(rows, dtype=np.int64).reshape(-1, len(names)).T
    return pa.table({name: pa.array(column) for name, column in zip(names, columns, strict=True)})


def _ml_100k(folder: Path) -> Tables:
    """Ratings 1..5 with seconds since 1970, split u1, and what is known of users and items."""
    pa = require("pyarrow", extra="arrow")
    names = ("user", "item", "rating", "time")
    genres = [line.split("|")[0] for line in lines_of(folder / "u.genre") if line]
    users = [line.split("|") for line in lines_of(folder / "u.user")]
    # u.item is Latin-1: titles such as "Misérables, Les"
    items = [line.split("|") for line in lines_of(folder / "u.item", encoding="latin-1")]
    first_genre = len(items[0]) - len(genres)
    return {
        "train": whole_numbers(folder / "u1.base", names),
        "test": whole_numbers(folder / "u1.test", names),
        "all": whole_numbers(folder / "u.data", names),
        "users": pa.table(
            {
                "user": pa.array([int(row[0]) for row in users], pa.int64()),
                "age": pa.array([int(row[1]) for row in users], pa.int64()),
                "gender": [row[2] for row in users],
                "occupation": [row[3] for row in users],
                "zip": [row[4] for row in users],
            }
        ),
        "items": pa.table(
            {
                "item": pa.array([int(row[0]) for row in items], pa.int64()),
                "title": [row[1] for row in items],
                "year": pa.array([_year(row[2]) for row in items], pa.int64()),
                "genres": pa.array(
                    [
                        [g for g, has in zip(genres, row[first_genre:], strict=True) if has == "1"]
                        for row in items
                    ],
                    pa.list_(pa.string()),
                ),
            }
        ),
    }


def _year(date: str) -> int:
    """Year of `01-Jan-1995`; 0 of the one item without a date."""
    return int(date[-4:]) if date else 0


def _lastfm(folder: Path) -> Tables:
    """Artists that users listened to. The third column, a count, has `3.2466e+05` among it."""
    return {
        part: whole_numbers(folder / f"{part}.txt", ("user", "item")) for part in ("train", "test")
    }


def _cora(folder: Path) -> Tables:
    """A citation graph: words of each paper, its class, links in both directions."""
    pa = require("pyarrow", extra="arrow")
    with np.load(folder / "cora.npz") as arrays:
        found = {name: arrays[name] for name in arrays.files}
    labels = found["labels"].astype(np.int64)
    words = pa.ListArray.from_arrays(
        pa.array(found["indptr"].astype(np.int32)), pa.array(found["indices"].astype(np.int64))
    )
    nodes = np.arange(len(labels), dtype=np.int64)

    def part(name: str) -> Any:
        chosen = found[name].astype(np.int64)
        return pa.table({"node": pa.array(chosen), "label": pa.array(labels[chosen])})

    return {
        "train": part("train"),
        "valid": part("val"),
        "test": part("test"),
        # every value is 1, so the list of words is the row; models normalise it
        "nodes": pa.table({"node": pa.array(nodes), "words": words, "label": pa.array(labels)}),
        # both directions are there already: not to be made symmetric again
        "edges": pa.table(
            {
                "source": pa.array(found["edges"][:, 0].astype(np.int64)),
                "target": pa.array(found["edges"][:, 1].astype(np.int64)),
            }
        ),
    }


def _mr(folder: Path) -> Tables:
    """Sentences of film reviews, 1 positive and 0 negative; in folds (`split.kind: fold`)."""
    pa = require("pyarrow", extra="arrow")
    texts: list[str] = []
    labels: list[int] = []
    for suffix, label in (("pos", 1), ("neg", 0)):
        # Latin-1, with the byte 0x85 in it, which str.splitlines takes for the end of a line
        lines = lines_of(folder / f"rt-polarity.{suffix}", encoding="latin-1")
        texts += [line.strip() for line in lines]
        labels += [label] * len(lines)
    return {"all": pa.table({"text": texts, "label": pa.array(labels, pa.int64())})}


def _cifar10_small(folder: Path) -> Tables:
    """Pictures of 32 x 32 pixels as the bytes of their JPEG files, in ten classes."""
    pa = require("pyarrow", extra="arrow")
    names = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    tables = {}
    for part in ("train", "test"):
        files = [
            (label, path)
            for label, name in enumerate(names)
            for path in sorted((folder / part / name).glob("*.jpg"))
        ]
        tables[part] = pa.table(
            {
                "image": pa.array([path.read_bytes() for _, path in files], pa.binary()),
                "label": pa.array([label for label, _ in files], pa.int64()),
                "file": pa.array([f"{path.parent.name}/{path.name}" for _, path in files]),
            }
        )
    label = pa.array(range(len(names)), pa.int64())
    return {**tables, "classes": pa.table({"label": label, "class": names})}


_ADULT_TEXTS = (
    "type_employer", "education", "marital", "occupation", "relationship", "race", "sex", "country",
)  # fmt: skip


def _adult(folder: Path) -> Tables:
    """People of the 1994 census; label 1 for an income above 50,000 dollars a year."""
    pa = require("pyarrow", extra="arrow")
    header, *lines = lines_of(folder / "adult.data")
    names = header.split(",")
    # 23 rows stand there twice; one of a pair in train and one in test would be known beforehand
    rows = [line.split(",") for line in dict.fromkeys(lines) if line]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise DataError(
                f"File {str(folder / 'adult.data')!r}: row {number} has {len(row)} values; the "
                f"header names {len(names)}."
            )
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    income = columns.pop("income")
    table = {
        name: pa.array(values)
        if name in _ADULT_TEXTS
        else pa.array([int(value) for value in values], pa.int64())
        for name, values in columns.items()
    }
    return {"all": pa.table({**table, "label": pa.array([int(i == ">50K") for i in income])})}


FRAPPE = (
    "user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country",
    "city",
)  # fmt: skip
"""Fields of frappe: libFM's format has none, but each row has all ten, in this order."""


def _frappe(folder: Path) -> Tables:
    """Apps that were used or not, in ten fields whose indices do not overlap (0..5381)."""
    return {part: _libfm(folder / f"{part}.libfm") for part in ("train", "test")}


def _libfm(path: Path) -> "pa.Table":
    pa = require("pyarrow", extra="arrow")
    line_of = re.compile(r"(-?1)" + r" (\d+):1" * len(FRAPPE) + r"\s*")
    rows = []
    for number, line in enumerate(lines_of(path), start=1):
        match = line_of.fullmatch(line)
        if match is None:
            raise DataError(
                f"File {str(path)!r}, line {number} is {line[:80]!r}; it must be 1 or -1 and "
                f"{len(FRAPPE)} times 'index:1'."
            )
        rows.append([int(cell) for cell in match.groups()])
    columns = np.array(rows, dtype=np.int64).reshape(-1, len(FRAPPE) + 1).T
    fields = {name: pa.array(column) for name, column in zip(FRAPPE, columns[1:], strict=True)}
    return pa.table({**fields, "label": pa.array((columns[0] > 0).astype(np.int64))})


def _sets(*found: Known) -> dict[str, Any]:
    return {one.name: one for one in found}


KNOWN: dict[str, Known] = _sets(
    Known(
        "ml-100k",
        _ml_100k,
        ("u.data", "u.user", "u.item", "u.genre", "u1.base", "u1.test"),
        "100,000 ratings of 1,682 films by 943 people, with the split u1",
        "GroupLens: research only, no redistribution",
    ),
    Known(
        "lastfm",
        _lastfm,
        ("train.txt", "test.txt"),
        "52,668 pairs of 1,880 listeners and 4,489 artists",
        "HetRec 2011: non-commercial",
    ),
    Known(
        "cora",
        _cora,
        ("cora.npz",),
        "2,708 papers of seven fields with words and citations; 140 labels to learn from",
        "MIT",
    ),
    Known(
        "mr",
        _mr,
        ("rt-polarity.pos", "rt-polarity.neg"),
        "10,662 sentences of film reviews, half of them positive",
        "Pang and Lee 2005; none stated",
    ),
    Known(
        "cifar10-small",
        _cifar10_small,
        ("train", "test"),
        "2,000 and 500 pictures in ten classes",
        "cite Krizhevsky 2009; none stated",
    ),
    Known(
        "adult",
        _adult,
        ("adult.data",),
        "30,139 different rows of a census, a quarter of them with a high income",
        "UCI",
    ),
    Known(
        "frappe",
        _frappe,
        ("train.libfm", "test.libfm"),
        "86,582 uses of apps in context; train is the published validation part",
        "research use",
    ),
)
"""All known data sets by name."""
