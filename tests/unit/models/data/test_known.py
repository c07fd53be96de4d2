"""Every trap of the data sets at hand is a test here; the rows themselves stay where they are."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from tadka.core.error import DataError, NotFound
from tadka.models.data.known import FRAPPE, KNOWN, known


@pytest.mark.needs_data("ml-100k")
def test_ml_100k_has_split_u1_and_latin_1_titles(data: Path) -> None:
    tables = known("ml-100k", data / "ml-100k")

    rows = {name: tables[name].num_rows for name in tables}
    assert {"train": 80_000, "test": 20_000, "all": 100_000, "users": 943, "items": 1_682} == rows
    assert {1, 2, 3, 4, 5} == set(tables["all"]["rating"].to_pylist())
    assert "Misérables, Les (1995)" in tables["items"]["title"].to_pylist()
    assert 273 == tables["users"]["gender"].to_pylist().count("F")
    assert ["Animation", "Children's", "Comedy"] == tables["items"]["genres"][0].as_py()
    assert [0] == [year for year in tables["items"]["year"].to_pylist() if year < 1900]


@pytest.mark.needs_data("ml-100k")
def test_u1_is_no_split_by_time_and_has_unseen_users(data: Path) -> None:
    tables = known("ml-100k", data / "ml-100k")
    train, test = tables["train"], tables["test"]

    assert 893_286_638 == np.max(train["time"].to_numpy())
    assert 874_724_710 == np.min(test["time"].to_numpy())
    assert 459 == len(np.unique(test["user"].to_numpy()))
    unseen = np.setdiff1d(test["item"].to_numpy(), train["item"].to_numpy())
    assert 32 == len(unseen)


@pytest.mark.needs_data("lastfm")
def test_lastfm_has_weights_that_are_no_whole_numbers_and_are_not_read(data: Path) -> None:
    tables = known("lastfm", data / "lastfm")
    train, test = (tables[part].to_pandas() for part in ("train", "test"))

    assert (42_135, 10_533) == (len(train), len(test))
    assert ["user", "item"] == tables["train"].column_names
    assert not set(zip(train.user, train.item)) & set(zip(test.user, test.item))  # noqa: B905
    users = set(train.user) | set(test.user)
    assert (1_880, 1, 1_892) == (len(users), min(users), max(users))
    assert 4_489 == len(set(train.item) | set(test.item))
    assert (1_858, 2, 13) == (
        test.user.nunique(),
        len(set(test.user) - set(train.user)),
        len(set(test.item) - set(train.item)),
    )
    assert (1_868, 492) in set(zip(train.user, train.item))  # noqa: B905 - of weight 3.2466e+05


@pytest.mark.needs_data("cora")
def test_cora_has_both_directions_of_each_edge_already(data: Path) -> None:
    tables = known("cora", data / "cora")
    source, target = (tables["edges"][name].to_numpy() for name in ("source", "target"))
    pairs = set(zip(source.tolist(), target.tolist(), strict=True))

    assert (140, 500, 1_000) == tuple(tables[p].num_rows for p in ("train", "valid", "test"))
    assert 2_708 == tables["nodes"].num_rows
    assert 10_556 == len(source) == len(pairs)
    assert not [a for a, b in pairs if a == b or (b, a) not in pairs]
    assert 168 == np.bincount(source).max()
    words = tables["nodes"]["words"].combine_chunks()
    assert (49_216, 1_432) == (len(words.values), np.max(words.values.to_numpy()))
    assert set(range(7)) == set(tables["nodes"]["label"].to_pylist())


@pytest.mark.needs_data("mr")
def test_mr_is_latin_1_and_has_lines_with_a_byte_that_looks_like_a_line_end(data: Path) -> None:
    found = known("mr", data / "mr")["all"]
    texts = found["text"].to_pylist()
    lengths = [len(text.split()) for text in texts]

    assert (10_662, 5_331) == (len(texts), sum(found["label"].to_pylist()))
    assert any("\x85" in text for text in texts)
    assert any("é" in text for text in texts)
    assert 59 >= max(lengths)
    assert 21 == round(sum(lengths) / len(lengths))


@pytest.mark.needs_data("cifar10-small")
def test_cifar10_small_keeps_the_bytes_of_its_files(data: Path) -> None:
    tables = known("cifar10-small", data / "cifar10-small")

    assert [200] * 10 == np.bincount(tables["train"]["label"].to_numpy()).tolist()
    assert [50] * 10 == np.bincount(tables["test"]["label"].to_numpy()).tolist()
    assert b"\xff\xd8" == tables["train"]["image"][0].as_py()[:2]
    assert "airplane" == tables["classes"]["class"][0].as_py()


@pytest.mark.needs_data("adult")
def test_adult_loses_the_rows_that_stand_there_twice(data: Path) -> None:
    found = known("adult", data / "adult")["all"]

    assert 30_162 - 23 == found.num_rows
    assert found.num_rows == found.group_by(found.column_names).aggregate([]).num_rows
    assert (15, "int64", "string") == (
        found.num_columns,
        str(found["age"].type),
        str(found["sex"].type),
    )
    assert 0.24 < np.mean(found["label"].to_numpy()) < 0.26


@pytest.mark.needs_data("frappe")
def test_frappe_has_fields_by_position_whose_indices_do_not_overlap(data: Path) -> None:
    tables = known("frappe", data / "frappe")
    train, test = tables["train"], tables["test"]

    assert (57_722, 28_860) == (train.num_rows, test.num_rows)
    assert (19_063, 9_536) == tuple(int(np.sum(t["label"].to_numpy())) for t in (train, test))
    spans = [
        (min(np.min(t[f].to_numpy()) for t in (train, test)),
         max(np.max(t[f].to_numpy()) for t in (train, test)))
        for f in FRAPPE
    ]  # fmt: skip
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(spans))
    assert (0, 5_381) == (spans[0][0], spans[-1][1])
    seen = np.unique(np.concatenate([train[f].to_numpy() for f in FRAPPE]))
    of_test = np.stack([test[f].to_numpy() for f in FRAPPE], axis=1)
    unseen = ~np.isin(of_test, seen)
    assert (36, 53) == (len(np.unique(of_test[unseen])), int(unseen.any(axis=1).sum()))


def test_unknown_names_and_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Did you mean 'ml-100k'"):
        known("ml-100", tmp_path)
    with pytest.raises(NotFound, match="Known are ml-100k, lastfm"):
        known("zzz", tmp_path)
    with pytest.raises(NotFound, match=r"needs 'train\.txt' in .*Set data\.folder"):
        known("lastfm", tmp_path)


def test_lines_that_are_not_as_published_are_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"{part}.txt").write_text("1 2 3.5e5\n1 x 2\n")
        (tmp_path / f"{part}.libfm").write_text("1 3:1\n")
    (tmp_path / "adult.data").write_text("age,income\n1\n")

    with pytest.raises(DataError, match=r"train\.txt', line 2 is '1 x 2'"):
        known("lastfm", tmp_path)
    with pytest.raises(DataError, match="10 times 'index:1'"):
        known("frappe", tmp_path)
    with pytest.raises(DataError, match="row 2 has 1 values; the header names 2"):
        known("adult", tmp_path)


def test_text_of_another_encoding_is_told(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"{part}.txt").write_bytes(b"1 2 \xe9\n")

    with pytest.raises(DataError, match="is not utf-8 text"):
        known("lastfm", tmp_path)


def test_every_set_says_what_it_is_and_what_its_owners_allow() -> None:
    assert all(one.help and one.licence and one.files for one in KNOWN.values())
