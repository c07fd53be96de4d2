from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tadka.core.error import DataError, NotFound
from tadka.demo.movielens import (
    FILES,
    GENRES,
    SCHEMA,
    generate_ratings,
    read_ratings,
    write_ratings,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two users, two items, three ratings to train and one to test."""
    (tmp_path / "u.user").write_text(
        "1|24|M|writer|85711\n7|53|F|other|94043\n", encoding="latin-1"
    )
    flags = ["0"] * len(GENRES)
    comedy = [*flags]
    comedy[GENRES.index("Comedy")] = comedy[GENRES.index("Drama")] = "1"
    items = [
        "1|Café Flesh (1982)|01-Jan-1982||http|" + "|".join(comedy),
        "2|unknown||||" + "|".join(flags),
    ]
    (tmp_path / "u.item").write_text("\n".join(items) + "\n\n", encoding="latin-1")
    (tmp_path / "u1.base").write_text("1\t1\t5\t0\n7\t1\t3\t0\n7\t2\t1\t0\n", encoding="latin-1")
    (tmp_path / "u1.test").write_text("1\t2\t4\t0\n", encoding="latin-1")
    return tmp_path


def test_ratings_are_joined_with_what_is_known_of_user_and_item(folder: Path) -> None:
    ratings = read_ratings(folder)

    assert SCHEMA == ratings.train.schema
    assert 3 == len(ratings.train)
    assert [
        {
            "user_id": 1,
            "item_id": 2,
            "rating": 4.0,
            "age": 24,
            "gender": "M",
            "occupation": "writer",
            "genres": "",
            "release_year": 0,
        }
    ] == ratings.test.to_pylist()
    assert ["Comedy|Drama", "Comedy|Drama", ""] == ratings.train["genres"].to_pylist()
    assert [1982, 1982, 0] == ratings.train["release_year"].to_pylist()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(NotFound, match=f"has no file '{name}'; it must hold u.user, u.item"):
        read_ratings(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere' has no file 'u\.user'"):
        read_ratings(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("u1.base", "1\t1\t5", "line 4, has 3 columns; it must have 4, separated by a tab"),
        ("u1.base", "1\t1\tfive\t0", "line 4, has rating 'five'; it must be a whole number"),
        ("u1.base", "1\t1\t6\t0", "line 4, has rating 6; it must be from 1 to 5"),
        ("u1.base", "1\t1\t-1\t0", "line 4, has rating '-1'; it must be a whole number from 0"),
        ("u1.base", "9\t1\t5\t0", "line 4, has user 9, which 'u.user' does not list"),
        ("u1.test", "1\t9\t5\t0", "line 2, has item 9, which 'u.item' does not list"),
        ("u1.test", "99999999999\t1\t5\t0", "line 2, has user '99999999999'; it must be"),
        ("u.user", "8|24|M|writer", "line 3, has 4 columns; it must have 5, separated by '|'"),
        ("u.user", "8|old|M|writer|0", "line 3, has age 'old'; it must be a whole number"),
        ("u.item", "3|A|01-Jan-1995||", "line 4, has 5 columns; it must have 24"),
        ("u.item", "3|A|?||" + "|0" * 19, "line 4, has release year '\\?'"),
        ("u.item", "3|A|||" + "|2" * 19, "line 4, has the genres '2|2"),
    ],
)
def test_a_malformed_line_is_named(folder: Path, name: str, line: str, message: str) -> None:
    with (folder / name).open("a", encoding="latin-1") as file:
        file.write(line + "\n")

    with pytest.raises(DataError, match=f"{name}', {message.replace('|', '[|]')}"):
        read_ratings(folder)


def test_an_empty_set_of_ratings_is_refused(folder: Path) -> None:
    (folder / "u1.test").write_text("\n", encoding="latin-1")

    with pytest.raises(DataError, match=r"u1\.test' has no ratings; it must have at least one"):
        read_ratings(folder)


def test_rows_are_written_as_several_files_of_several_row_groups(tmp_path: Path) -> None:
    generate_ratings(tmp_path, seed=1, num_users=30, num_items=20, num_ratings=200)
    train = read_ratings(tmp_path).train

    uris = write_ratings(train, str(tmp_path / "train"), num_files=3, group_rows=20, seed=4)

    files = [pq.ParquetFile(uri) for uri in uris]
    assert 3 == len(files)
    assert all(file.num_row_groups > 1 for file in files)
    assert sorted(map(str, train.to_pylist())) == sorted(
        str(row) for file in files for row in file.read().to_pylist()
    )


def test_without_a_seed_rows_keep_their_order(folder: Path, tmp_path: Path) -> None:
    train = read_ratings(folder).train

    uris = write_ratings(train, str(tmp_path / "out"), num_files=2, group_rows=1)

    assert train.to_pylist() == [row for uri in uris for row in pq.read_table(uri).to_pylist()]


def test_there_are_no_empty_files(folder: Path, tmp_path: Path) -> None:
    test = read_ratings(folder).test

    assert 1 == len(write_ratings(test, str(tmp_path / "out"), num_files=4, group_rows=8))


def test_generated_ratings_have_the_layout_and_every_pair_once(tmp_path: Path) -> None:
    generate_ratings(tmp_path, seed=1, num_users=50, num_items=40, num_ratings=500)

    ratings = read_ratings(tmp_path)
    pairs = [
        (row["user_id"], row["item_id"])
        for table in (ratings.train, ratings.test)
        for row in table.to_pylist()
    ]
    assert 500 == len(pairs) == len(set(pairs))
    assert 0.1 < len(ratings.test) / len(pairs) < 0.3


def test_the_same_seed_generates_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate_ratings(tmp_path / name, seed=seed, num_users=9, num_items=9, num_ratings=40)
    a, b, c = (
        [(tmp_path / name / file).read_bytes() for file in FILES] for name in ("a", "b", "c")
    )

    assert a == b
    assert a != c


@pytest.mark.needs_data("ml-100k")
def test_ml_100k_is_read_whole(data: Path) -> None:
    ratings = read_ratings(data / "ml-100k")

    assert (80_000, 20_000) == (len(ratings.train), len(ratings.test))
    assert 0 == ratings.train["user_id"].null_count
