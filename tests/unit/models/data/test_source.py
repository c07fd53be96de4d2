import gzip
import types
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import DataError, NotFound
from tadka.dataset import Column, Dataset, Label, Output, Table, Version, by_hash, session
from tadka.models.data.config import Csv, DataConfig
from tadka.models.data.prepare import prepare
from tadka.models.data.source import FileSource, TableSource, identity, parquet_batches, version_at
from tadka.models.data.split import Split


def rows_of(source: Any) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.to_pylist()]


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz", ".jsonl", ".arrow", ".parquet"])
def test_files_of_every_format_give_the_same_rows(tmp_path: Path, suffix: str) -> None:
    table = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    path = tmp_path / f"x{suffix}"
    if suffix == ".csv":
        path.write_text("a,b\n1,x\n2,y\n3,z\n")
    elif suffix == ".tsv.gz":
        path.write_bytes(gzip.compress(b"a\tb\n1\tx\n2\ty\n3\tz\n"))
    elif suffix == ".jsonl":
        path.write_text("".join(f'{{"a": {n}, "b": "{t}"}}\n' for n, t in zip((1, 2, 3), "xyz")))  # noqa: B905
    elif suffix == ".arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table, path)
    source = FileSource([str(path)])

    assert rows_of(TableSource(table)) == rows_of(source)
    assert ["b"] == next(iter(source.batches(["b"]))).schema.names
    with pytest.raises(DataError, match="no column 'c'"):
        next(iter(source.batches(["c"])))


def test_texts_of_several_files_have_the_types_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1.5\n")
    (tmp_path / "b.csv").write_text("2\n\n")

    source = FileSource([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], Csv(names=("x",)))

    assert [{"x": 1.5}, {"x": 2.0}] == rows_of(source)
    assert None is source.num_rows


@pytest.mark.parametrize("other", ["a\n2\n", "a,b,c\n2,3,4\n"])
def test_texts_of_several_files_have_the_same_columns_in_any_order(
    tmp_path: Path, other: str
) -> None:
    for name, text in (("a", "a,b\n1,x\n"), ("b", "b,a\ny,2\n"), ("c", other)):
        (tmp_path / f"{name}.csv").write_text(text)
    files = [str(tmp_path / f"{name}.csv") for name in "abc"]

    assert [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}] == rows_of(FileSource(files[:2]))
    with pytest.raises(DataError, match=r"c\.csv' has the columns"):
        FileSource(files)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Empty CSV file"),
        (b"a,a\n1,2\n", "more than one column 'a'"),
        (b"a\ncaf\xe9\n", "'a' is not utf-8 text. Name its encoding at data.csv.encoding"),
    ],
)
def test_texts_that_cannot_be_read_right_are_told(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        FileSource([str(tmp_path / "a.csv")])


def test_quoted_texts_may_have_several_lines_wherever_a_block_ends(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,t\n" + "".join(f'{n},"a {n}\nb"\n' for n in range(200_000)))

    found = [batch.column("t") for batch in FileSource([str(tmp_path / "a.csv")]).batches()]

    assert 200_000 == sum(map(len, found))
    assert "a 199999\nb" == found[-1][-1].as_py()


def test_a_large_row_group_is_not_loaded_whole(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).random(1_000_000)
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table({f"c{i}": numbers for i in range(4)}), path, row_group_size=1_000_000)
    before = pa.total_allocated_bytes()

    most = max(pa.total_allocated_bytes() - before for _ in parquet_batches(path, None, 4_096))

    assert most < 16 << 20  # of 32 MB


def test_identity_is_of_bytes_and_is_kept_while_a_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    source = FileSource([str(path)])
    first = identity(source, tmp_path)
    written = (tmp_path / "hashes.json").stat()
    monkeypatch.setattr("tadka.models.data.source.file_hash", lambda _uri: "read again")

    assert first == identity(source, tmp_path)
    assert written.st_ino == (tmp_path / "hashes.json").stat().st_ino  # nothing new to write
    assert ["read again"] == list(identity(source).values())
    (tmp_path / "hashes.json").write_text("[")
    assert ["read again"] == list(identity(source, tmp_path).values())


# ---------------------------------------------------------------- versions of datasets


def dataset(folder: Path, **attributes: Any) -> type[Dataset]:
    """Ratings of 100 users, split by user."""
    users = np.arange(300) % 100
    rows = pa.table({"user": users, "item": np.arange(300) // 100, "stars": np.arange(300) % 5})
    pq.write_table(rows, folder / "ratings.parquet")

    class Rating(Table, source=str(folder / "ratings.parquet")):
        user: Column[int]
        item: Column[int]
        stars: Column[int]

    rating = Rating.all()
    body = {
        "__module__": __name__,
        "rating": rating,
        "rows": rating,
        "features": {"user": rating.user, "item": rating.item},
        "label": Label(rating.stars > 2),
        "split": by_hash(rating.user, train=0.8, valid=0.2, salt="v1"),
        **attributes,
    }
    return types.new_class("Rated", (Dataset,), exec_body=lambda space: space.update(body))


def written(folder: Path, **attributes: Any) -> Version:
    with session(dataset(folder, **attributes), scratch=folder, progress="none") as opened:
        return opened.write(str(folder / "out"), tag="first")


def test_version_is_found_by_folder_store_and_tag(tmp_path: Path) -> None:
    version = written(tmp_path)

    found = [
        version_at(text) for text in (version.path, f"{tmp_path}/out", f"{tmp_path}/out@first")
    ]

    assert [version.id] * 3 == [one.id for one in found if one is not None]
    assert None is version_at(str(tmp_path))
    assert None is version_at(str(tmp_path / "ratings.parquet"))
    with pytest.raises(NotFound, match="second"):
        version_at(f"{tmp_path}/out@second")


def test_version_is_read_in_place_and_its_hash_is_the_fingerprint(tmp_path: Path) -> None:
    version = written(tmp_path, output=Output(target_file_bytes="1MiB"))

    data = prepare(DataConfig(train=version.path), tmp_path / "prepared")

    assert version.files() == data.uris("train")
    assert {"version": version.id, "output_hash": version.manifest.output_hash} == data.origin[
        "train"
    ]
    assert 300 == data.num_rows("train")
    other = prepare(DataConfig(train=f"{tmp_path}/out@first"), tmp_path / "prepared")
    assert other.fingerprint == data.fingerprint


@pytest.mark.parametrize("partition_by", [[], ["split"]])
def test_version_has_its_parts_in_the_column_of_its_split(
    tmp_path: Path, partition_by: list[str]
) -> None:
    version = written(tmp_path, output=Output(target_file_bytes="1MiB", partition_by=partition_by))

    data = prepare(
        DataConfig(train=version.path, split=Split(column="split")), tmp_path / "prepared"
    )

    assert 300 == sum(data.counts.values())
    train, valid = (set(data.read(part)["user"].tolist()) for part in ("train", "valid"))
    assert 100 == len(train | valid)
    assert not train & valid
    again = prepare(
        DataConfig(train=version.path, split=Split(column="split")), tmp_path / "prepared"
    )
    assert again == data
