from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.config import load_config
from tadka.core.error import ConfigError, DataError, NotFound
from tadka.models.data import place
from tadka.models.data.config import Csv, DataConfig
from tadka.models.data.data import Data
from tadka.models.data.prepare import prepare
from tadka.models.data.split import Split


def write(path: Path, **columns: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return str(path)


def pairs(path: Path, num_rows: int = 20) -> str:
    numbers = list(range(num_rows))
    return write(
        path, user=numbers, item=[n % 5 for n in numbers], rating=[n % 5 + 1 for n in numbers]
    )


def users(data: Data) -> dict[str, list[int]]:
    return {part: data.read(part)["user"].tolist() for part in data.parts}


def test_files_that_are_as_asked_are_read_in_place(tmp_path: Path) -> None:
    config = DataConfig(
        train=pairs(tmp_path / "train.parquet"),
        test=pairs(tmp_path / "test.parquet", 4),
        tables={"items": write(tmp_path / "items.parquet", item=[1])},
    )

    data = prepare(config, tmp_path / "out")

    assert ("", [str(tmp_path / "train.parquet")]) == (data.folder, data.uris("train"))
    assert {"train": 20, "test": 4} == dict(data.counts)
    assert list(range(20)) == users(data)["train"]
    assert [1] == data.table("items")["item"].to_pylist()
    assert ["hashes.json"] == [path.name for path in (tmp_path / "out").iterdir()]


def test_prepared_rows_are_written_once_and_found_again(tmp_path: Path) -> None:
    config = DataConfig(
        train=pairs(tmp_path / "train.parquet"),
        split=Split(kind="random"),
        columns={"label": "rating"},
    )

    first = prepare(config, tmp_path / "out")
    written = Path(first.uris("train")[0]).stat().st_mtime_ns
    again = prepare(config, tmp_path / "out")

    assert first == again
    assert written == Path(again.uris("train")[0]).stat().st_mtime_ns
    assert {"train": 16, "test": 4} == dict(first.counts)
    assert list(range(20)) == sorted([*users(first)["train"], *users(first)["test"]])
    assert users(first)["test"] == sorted(users(first)["test"])
    assert users(first)["train"] != sorted(users(first)["train"])
    assert ["user", "item", "label"] == list(first.read("train"))
    assert 8 == pq.ParquetFile(first.uris("train")[0]).num_row_groups


def test_fingerprint_is_of_content_not_of_place(tmp_path: Path) -> None:
    split = Split(kind="random")
    a = prepare(DataConfig(train=pairs(tmp_path / "a" / "x.parquet"), split=split), tmp_path / "1")
    b = prepare(DataConfig(train=pairs(tmp_path / "b" / "x.parquet"), split=split), tmp_path / "2")
    c = prepare(
        DataConfig(train=pairs(tmp_path / "c" / "x.parquet", 21), split=split), tmp_path / "2"
    )
    other = Split(kind="random", seed=1)
    d = prepare(DataConfig(train=pairs(tmp_path / "b" / "x.parquet"), split=other), tmp_path / "2")

    assert a.fingerprint == b.fingerprint
    assert 3 == len({a.fingerprint, c.fingerprint, d.fingerprint})


def test_changed_file_of_the_same_name_is_prepared_anew(tmp_path: Path) -> None:
    config = DataConfig(train=str(tmp_path / "x.parquet"), split=Split(kind="random"))
    pairs(tmp_path / "x.parquet")
    before = prepare(config, tmp_path / "out")
    pairs(tmp_path / "x.parquet", 30)

    assert 30 == sum(prepare(config, tmp_path / "out").counts.values())
    assert before.folder != prepare(config, tmp_path / "out").folder


@pytest.mark.parametrize("damage", ["remove", "cut", "cut table", "record"])
def test_damaged_prepared_folder_is_written_again(tmp_path: Path, damage: str) -> None:
    config = DataConfig(
        train=pairs(tmp_path / "x.parquet"),
        split=Split(kind="random"),
        tables={"items": write(tmp_path / "items.parquet", item=[1])},
    )
    first = prepare(config, tmp_path / "out")
    file = Path(first.tables["items"] if damage == "cut table" else first.uris("train")[0])
    if damage == "remove":
        file.unlink()
    elif damage != "record":
        file.write_bytes(file.read_bytes()[:100])
    else:
        (Path(first.folder) / "data.json").write_text("{}")

    assert users(first) if damage == "record" else True
    again = prepare(config, tmp_path / "out")
    assert 16 == len(again.read("train")["user"])
    assert 1 == again.table("items").num_rows


def test_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    config = DataConfig(train=pairs(tmp_path / "x.parquet"), split=Split(kind="time"))

    with pytest.raises(DataError, match="no column 'time', which the split needs"):
        prepare(config, tmp_path / "out")

    assert ["hashes.json"] == [path.name for path in (tmp_path / "out").iterdir()]


def test_order_of_train_does_not_depend_on_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(train=pairs(tmp_path / "x.parquet", 1_000), split=Split(kind="random"))
    whole = users(prepare(config, tmp_path / "1"))
    monkeypatch.setattr(place, "_BUCKET_ROWS", 64)

    in_buckets = users(prepare(config, tmp_path / "2"))

    assert whole == in_buckets
    assert whole["train"] != sorted(whole["train"])
    files = [path.name for path in (tmp_path / "2").glob("*/*")]
    assert ["data.json", "test.parquet", "train.parquet"] == sorted(files)  # and no bucket


def test_buckets_are_beside_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_BUCKET_ROWS", 64)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))  # a full /tmp is no matter

    data = prepare(
        DataConfig(train=pairs(tmp_path / "x.parquet", 200), columns={"label": "rating"}),
        tmp_path / "out",
    )

    assert 200 == len(data.read("train")["label"])


def test_shuffle_may_be_left_out_and_groups_have_a_size(tmp_path: Path) -> None:
    config = DataConfig(
        train=pairs(tmp_path / "x.parquet", 100),
        split=Split(kind="random"),
        shuffle=False,
        group_rows=7,
    )

    data = prepare(config, tmp_path / "out")

    file = pq.ParquetFile(data.uris("train")[0])
    assert [7] * 11 + [3] == [file.metadata.row_group(i).num_rows for i in range(12)]
    assert users(data)["train"] == sorted(users(data)["train"])


def test_valid_is_cut_from_train_and_never_from_test(tmp_path: Path) -> None:
    config = DataConfig(
        train=pairs(tmp_path / "train.parquet"),
        test=pairs(tmp_path / "test.parquet", 4),
        valid=Split(kind="random", share=0.1),
    )

    data = prepare(config, tmp_path / "out")

    assert {"train": 18, "valid": 2, "test": 4} == dict(data.counts)
    assert [0, 1, 2, 3] == users(data)["test"]
    assert list(range(20)) == sorted([*users(data)["train"], *users(data)["valid"]])


def test_split_and_valid_by_time_follow_each_other(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", user=list(range(10)), time=[9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    config = DataConfig(train=path, split=Split(kind="time"), valid=Split(kind="time", share=0.25))

    data = prepare(config, tmp_path / "out")

    assert [0, 1] == users(data)["test"]
    assert [2, 3] == users(data)["valid"]
    assert [4, 5, 6, 7, 8, 9] == sorted(users(data)["train"])


def test_parts_may_be_named_by_a_column(tmp_path: Path) -> None:
    names = ["train", "test", "train", "valid"]
    path = write(tmp_path / "x.parquet", user=[0, 1, 2, 3], part=names)

    data = prepare(
        DataConfig(train=path, split=Split(column="part"), shuffle=False), tmp_path / "o"
    )

    assert {"train": [0, 2], "valid": [3], "test": [1]} == users(data)


def test_rows_get_the_columns_of_tables_and_labels_become_truths(tmp_path: Path) -> None:
    train = write(tmp_path / "t.parquet", user=[1, 2, 3], rating=[5.0, 3.0, float("nan")])
    config = DataConfig(
        train=train,
        columns={"label": "rating"},
        positive_from=4,
        join={"people": "user"},
        shuffle=False,
        tables={
            "people": write(
                tmp_path / "p.parquet", user=[2, 1], age=[20, 10], tags=[["a"], ["b", "c"]]
            )
        },
    )

    data = prepare(config, tmp_path / "out")
    rows = pq.read_table(data.uris("train")[0])

    assert [1, 0, None] == rows["label"].to_pylist()
    assert [10, 20, None] == rows["age"].to_pylist()
    assert [["b", "c"], ["a"], None] == rows["tags"].to_pylist()
    assert [2, 1] == data.table("people")["user"].to_pylist()


def test_texts_with_separators_are_read_with_names_and_encoding(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("1|Misérables\n2|\n".encode("latin-1"))
    config = DataConfig(
        train=str(tmp_path / "x.csv"),
        csv=Csv(separator="|", names=("user", "title"), encoding="latin-1"),
        shuffle=False,
    )

    data = prepare(config, tmp_path / "out")

    assert {"user": [1, 2], "title": ["Misérables", None]} == pq.read_table(
        data.uris("train")[0]
    ).to_pydict()


def test_damaged_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3\n")

    with pytest.raises(DataError, match="cannot be read as CSV"):
        prepare(DataConfig(train=str(tmp_path / "x.csv")), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": {"label": "stars"}}, "no column 'stars', which data.columns.label names"),
        ({"columns": {"user": "rating"}}, "has a column 'user'; data.columns cannot give 'rating'"),
        ({"positive_from": 4.0}, "no column 'label' to make 0 and 1 of"),
        ({"positive_from": 4.0, "label": "text"}, "compares numbers"),
    ],
)
def test_columns_that_do_not_go_together_are_told(
    tmp_path: Path, changes: Mapping[str, Any], said: str
) -> None:
    path = write(tmp_path / "x.parquet", user=[1], rating=[1], text=["a"])

    with pytest.raises(DataError, match=said):
        prepare(DataConfig(train=path, **changes), tmp_path / "out")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"who": [1]}, "Table 'side' has no column 'user'"),
        ({"user": [1, 1]}, "has 2 rows with user 1"),
        ({"user": [1], "rating": [1]}, "both have a column 'rating'"),
        ({"user": ["a"]}, "is int64 in the rows and string in table"),
    ],
)
def test_tables_that_cannot_be_joined_are_told(
    tmp_path: Path, columns: Mapping[str, Any], said: str
) -> None:
    path = pairs(tmp_path / "x.parquet")
    side = write(tmp_path / "side.parquet", **columns)

    with pytest.raises(DataError, match=said):
        prepare(
            DataConfig(train=path, tables={"side": side}, join={"side": "user"}), tmp_path / "o"
        )


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        (pa.array([1, None, 3], pa.int8()), pa.array([300, 1, None])),
        (pa.array(["a", None, "c"]).dictionary_encode(), pa.array(["b", "a", None])),
        (pa.array(["a", None, "c"]), pa.array(["b", "a", None]).dictionary_encode()),
    ],
)
def test_keys_of_any_width_are_joined_and_missing_ones_never(
    tmp_path: Path, asked: pa.Array, known: pa.Array
) -> None:
    config = DataConfig(
        train=write(tmp_path / "train.parquet", user=asked),
        tables={"users": write(tmp_path / "users.parquet", user=known, age=[1, 2, 3])},
        join={"users": "user"},
        shuffle=False,
    )

    ages = prepare(config, tmp_path / "out").read("train")["age"]

    assert np.array_equal([2, np.nan, np.nan], ages, equal_nan=True)


def test_a_column_may_have_several_names(tmp_path: Path) -> None:
    config = DataConfig(
        train=pairs(tmp_path / "train.parquet"),
        columns={"label": "rating", "rating": "rating", "time": "item"},
        split=Split(kind="leave_last", user="rating", column="label"),
    )

    data = prepare(config, tmp_path / "out")

    assert ["user", "time", "label", "rating"] == data.schema().names
    assert data.read("train")["label"].tolist() == data.read("train")["rating"].tolist()


def test_join_of_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.join names table 'people'"):
        prepare(DataConfig(train=pairs(tmp_path / "x.parquet"), join={"people": "user"}), tmp_path)


def test_files_of_one_part_must_have_the_same_columns(tmp_path: Path) -> None:
    pairs(tmp_path / "d" / "a.parquet")
    write(tmp_path / "d" / "b.parquet", user=[1.5])

    with pytest.raises(DataError, match="Files of one part must have the same"):
        prepare(DataConfig(train=str(tmp_path / "d")), tmp_path / "out")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "neither source nor train"),
        ({"source": "mr", "folder": "x", "train": "y"}, "both source and train"),
        ({"source": "mr"}, "no folder"),
        ({"train": "a", "test": "b", "split": {"kind": "random"}}, "leave one of them out"),
        ({"train": "a", "valid": {"kind": "given"}}, "valid is a given split"),
        ({"train": "a", "group_rows": 0}, "at least 1"),
        ({"train": "a", "csv": {"separator": ";;"}}, "must be one ASCII character"),
        ({"train": "a", "csv": {"encoding": "latin-uno"}}, "'latin-uno', which is not known"),
        ({"train": "a", "tables": {"../items": "b"}}, "names a table '../items'"),
        ({"train": "a", "split": {"kind": "randon"}}, "key 'split.kind' is 'randon'"),
        ({"train": "a", "splt": {}}, "Did you mean 'split'"),
        ({"train": "a", "split": {"share": 2.0}}, "above 0 and below 1"),
        ({"train": "a", "valid": {"kind": "random", "shar": 0.1}}, "'valid.shar' is unknown"),
    ],
)
def test_wrong_configurations_are_told_with_their_keys(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(DataConfig, given)


def test_configuration_takes_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(tmp_path / "x.parquet")
    monkeypatch.setenv("PLACE", str(tmp_path))
    config = load_config(DataConfig, {"train": "${PLACE}/${NAME_NOT_SET:-x}.parquet"})

    assert 20 == prepare(config, tmp_path / "out").num_rows("train")
    with pytest.raises(ConfigError, match=r"data\.train needs the environment variable NOT_SET"):
        prepare(DataConfig(train="${NOT_SET}"), tmp_path / "out")


def test_data_names_what_it_lacks(tmp_path: Path) -> None:
    data = prepare(DataConfig(train=pairs(tmp_path / "x.parquet")), tmp_path / "out")

    assert 0 == data.num_rows("test")
    with pytest.raises(NotFound, match="no part 'test'; it has train"):
        data.read("test")
    with pytest.raises(NotFound, match="no table 'items'; it has none"):
        data.table("items")
    with pytest.raises(DataError, match=r"no column 'usr'\. Did you mean 'user'"):
        next(data.scan("train", ["usr"]))


def test_a_column_that_is_not_there_is_told_when_all_is_read(tmp_path: Path) -> None:
    data = prepare(DataConfig(train=pairs(tmp_path / "train.parquet")), tmp_path / "out")
    with pytest.raises(DataError, match=r"no column 'users'\. Did you mean 'user'"):
        data.read("train", ["users"])


def test_rows_come_in_batches_of_the_size_that_is_asked_for(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.parquet",
        a=[1, None, 3],
        t=["x", "y", None],
        b=[True, False, None],
        l=[[1], [], [2]],
    )
    data = prepare(DataConfig(train=path), tmp_path / "out")

    batches = list(data.scan("train", batch_rows=2))

    assert [2, 1] == [len(batch["a"]) for batch in batches]
    assert np.isnan(batches[0]["a"][1])
    assert isinstance(batches[0]["t"], pa.Array)
    assert [[1], []] == batches[0]["l"].to_pylist()
    assert ["t", "a"] == list(data.read("train", ["t", "a"]))
    assert np.isnan(data.read("train")["b"][2])


@pytest.mark.needs_data("ml-100k")
def test_ml_100k_is_prepared_with_its_given_split_and_a_valid_part(
    tmp_path: Path, data: Path
) -> None:
    config = DataConfig(
        source="ml-100k",
        folder=str(data / "ml-100k"),
        columns={"label": "rating"},
        valid=Split(kind="random", share=0.1),
        join={"users": "user"},
    )

    found = prepare(config, tmp_path)

    assert {"train": 72_000, "valid": 8_000, "test": 20_000} == dict(found.counts)
    assert 1_682 == found.table("items").num_rows
    assert 8 == pq.ParquetFile(found.uris("train")[0]).num_row_groups
    assert (
        53 == found.read("test", ["age"])["age"][-1] or found.read("test", ["age"])["age"].min() > 0
    )


@pytest.mark.needs_data("lastfm", "mr")
def test_published_parts_are_one_where_another_split_is_asked_for(
    tmp_path: Path, data: Path
) -> None:
    lastfm = DataConfig(source="lastfm", folder=str(data / "lastfm"), split=Split(kind="random"))
    mr = DataConfig(source="mr", folder=str(data / "mr"), split=Split(kind="fold", fold=3))

    assert 42_135 + 10_533 == sum(prepare(lastfm, tmp_path).counts.values())
    assert (9_596, 1_066) == tuple(prepare(mr, tmp_path).counts.values())
    with pytest.raises(ConfigError, match="'mr' has no published parts"):
        prepare(DataConfig(source="mr", folder=str(data / "mr")), tmp_path)
