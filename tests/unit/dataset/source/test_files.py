"""Files by a template, on local disks, in memory and on S3."""

import datetime as dt
import gzip
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import DATE, FLOAT, INT, STRING
from tadka.dataset.source.files import Files
from tadka.dataset.source.listing import Listing

DAY: Column[Any] = Column("dt", DATE, is_partition=True)
HOUR: Column[Any] = Column("hour", INT, is_partition=True)
USER: Column[Any] = Column("user", INT)
COLUMNS = {"dt": DAY, "user": USER}


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request: pytest.FixtureRequest) -> str:
    name = {"local": "tmp_path", "memory": "memory", "s3": "bucket"}[request.param]
    return f"{request.getfixturevalue(name)}"


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://folder"
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


def put(folder: str, *paths: str) -> None:
    for path in paths:
        with fsspec.open(f"{folder}/{path}", "wb", auto_mkdir=True) as file:
            file.write(path.encode())


def names(listing: Listing) -> list[str]:
    return [file.uri.removeprefix(listing.root).lstrip("/") for file in listing.files]


def test_files_of_partitions_with_their_values(folder: str) -> None:
    put(folder, "log/dt=2026-01-02/b.parquet", "log/dt=2026-01-01/a.parquet")
    put(folder, "log/dt=2026-01-01/_SUCCESS", "log/dt=2026-01-01/.a.parquet.crc")
    put(folder, "log/_tmp/dt=2026-01-03/a.parquet", "log/readme.txt", "log/other/a.parquet")
    listing = Files(f"{folder}/log/dt={{dt}}/*.parquet").resolve(COLUMNS)
    assert names(listing) == ["dt=2026-01-01/a.parquet", "dt=2026-01-02/b.parquet"]
    assert [file.values for file in listing.files] == [
        {"dt": dt.date(2026, 1, 1)},
        {"dt": dt.date(2026, 1, 2)},
    ]
    assert [len("dt=2026-01-01/a.parquet") + 4] * 2 == [f.num_bytes for f in listing.files]
    assert all(file.modified for file in listing.files)
    assert [(dt.date(2026, 1, 1),), (dt.date(2026, 1, 2),)] == list(listing.partitions())
    with fsspec.open(listing.files[0].uri) as file:
        assert file.read() == b"log/dt=2026-01-01/a.parquet"


def test_only_wanted_folders_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in ("2026-01-01", "2026-01-02"):
        for hour in range(2):
            put(str(tmp_path), f"dt={day}/hour={hour}/a.parquet")
    seen: list[str] = []
    scan = os.scandir

    def scandir(path: str) -> Any:
        seen.append(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = Files(f"{tmp_path}/dt={{dt}}/hour={{hour}}/*").resolve(
        {"dt": DAY, "hour": HOUR},
        lambda values: values["dt"] == dt.date(2026, 1, 2) and values["hour"] == 1,
    )
    assert names(listing) == ["dt=2026-01-02/hour=1/a.parquet"]
    assert sorted(path.removeprefix(str(tmp_path)) for path in seen) == [
        "",
        "/dt=2026-01-02",
        "/dt=2026-01-02/hour=1",
    ]


def test_a_condition_on_the_lower_partition_alone(tmp_path: Path) -> None:
    put(str(tmp_path), "dt=2026-01-01/hour=0/a.parquet", "dt=2026-01-01/hour=1/a.parquet")
    listing = Files(f"{tmp_path}/dt={{dt}}/hour={{hour}}/*").resolve(
        {"dt": DAY, "hour": HOUR}, lambda values: values["hour"] == 1
    )
    assert names(listing) == ["dt=2026-01-01/hour=1/a.parquet"]


def test_a_key_error_of_the_condition_itself_is_raised(tmp_path: Path) -> None:
    put(str(tmp_path), "dt=2026-01-01/a.parquet")
    with pytest.raises(KeyError, match="day"):
        Files(f"{tmp_path}/dt={{dt}}/*").resolve(COLUMNS, lambda values: values["day"])


@pytest.mark.parametrize(
    "path", ["log/{dt:%Y/%m/%d}/*.parquet", "log/{dt:%Y}/{dt:%m}/{dt:%d}/*", "log/{dt:%Y/%m/%d}"]
)
def test_a_date_in_pieces(folder: str, path: str) -> None:
    put(folder, "log/2026/01/31/a.parquet", "log/2026/02/01/b.parquet", "log/2026/_x/01/b.parquet")
    listing = Files(f"{folder}/{path}").resolve(COLUMNS)
    assert [dt.date(2026, 1, 31), dt.date(2026, 2, 1)] == [f.values["dt"] for f in listing.files]


def test_a_folder_stands_for_all_files_below_it(folder: str) -> None:
    put(folder, "t/a.parquet", "t/deep/er/b.parquet", "t/_x/c.parquet", "t/deep/.d.parquet")
    assert names(Files(f"{folder}/t").resolve({"user": USER})) == [
        "a.parquet",
        "deep/er/b.parquet",
    ]


def test_two_stars_are_any_depth(folder: str) -> None:
    put(folder, "t/a.parquet", "t/b/c/d.parquet", "t/b/e.csv", "t/_x/f.parquet")
    found = Files(f"{folder}/t/**/*.parquet").resolve({"user": USER})
    assert names(found) == ["a.parquet", "b/c/d.parquet"]
    assert len(Files(f"{folder}/t/**").resolve({"user": USER}).files) == 3


def test_one_file_by_its_name(folder: str) -> None:
    put(folder, "ads.parquet", "dt=2026-01-01/ads.parquet", "dt=2026-01-02/other.parquet")
    assert len(Files(f"{folder}/ads.parquet").resolve({"user": USER}).files) == 1
    listing = Files(f"{folder}/dt={{dt}}/ads.parquet").resolve(COLUMNS)
    assert names(listing) == ["dt=2026-01-01/ads.parquet"]


def test_a_hidden_name_that_is_spelt(tmp_path: Path) -> None:
    put(str(tmp_path), "_t/.a.parquet")
    assert len(Files(f"{tmp_path}/_t/.*").resolve({"user": USER}).files) == 1


@pytest.mark.parametrize(
    ("path", "messages"),
    [
        ("{0}/log/day={dt}/*", ["/log' has no 'day={{dt}}'", "in it are 'dt=2026-01-01'"]),
        ("{0}/lag/dt={dt}/*", ["has no 'lag'", "in it are 'log'"]),
        ("{0}/lag/more/a.parquet", ["has no 'lag'", "in it are 'log'"]),
        ("{0}/log/dt={dt}/*.csv", ["/dt=2026-01-01' has no '*.csv'", "'a.parquet'"]),
    ],
)
def test_a_template_that_matches_nothing_says_where_it_ends(
    folder: str, path: str, messages: list[str]
) -> None:
    put(folder, "log/dt=2026-01-01/a.parquet")
    columns = COLUMNS if "{dt}" in path else {"user": USER}
    with pytest.raises(NotFound) as caught:
        Files(path.replace("{0}", folder)).resolve(columns)
    for message in messages:
        assert message.replace("{{", "{").replace("}}", "}") in str(caught.value)


def test_no_wanted_partition_names_those_there_are(folder: str) -> None:
    put(folder, *(f"log/dt=2026-01-0{day}/a.parquet" for day in range(1, 9)))
    with pytest.raises(NotFound, match=r"there are 'dt=2026-01-01', .* and 3 more"):
        Files(f"{folder}/log/dt={{dt}}/*").resolve(COLUMNS, lambda _: False)


def test_a_value_of_another_type_names_the_folder(folder: str) -> None:
    put(folder, "log/dt=old/a.parquet", "log/dt=2026-01-01/a.parquet")
    with pytest.raises(DataError, match="'dt=old' does not hold a value of dt"):
        Files(f"{folder}/log/dt={{dt}}/*").resolve(COLUMNS)


def test_formats_come_from_suffixes(tmp_path: Path) -> None:
    put(str(tmp_path), "a.parquet", "b.csv.gz", "c.ndjson", "d.JSON", "e.tsv")
    found = Files(str(tmp_path)).resolve({"user": USER}).files
    assert [file.format for file in found] == ["parquet", "csv", "jsonl", "jsonl", "tsv"]
    given = Files(str(tmp_path), format="csv").resolve({"user": USER}).files
    assert {file.format for file in given} == {"csv"}
    put(str(tmp_path), "f.txt")
    with pytest.raises(DataError, match=r"'f\.txt' has no suffix that tells its format"):
        Files(str(tmp_path)).resolve({"user": USER})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Files("a", format="avro"), "Format 'avro'"),
        (lambda: Files(""), "must be a path"),
        (lambda: Files("zip://*.csv::s3://b/a.zip"), "must be a path or one URI"),
        (lambda: Files("a/{b"), "braces"),
    ],
)
def test_files_that_cannot_be_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_partition_names_in_order() -> None:
    assert Files("s3://b/hour={hour}/{dt:%Y}/*").partition_names == ("hour", "dt")


def test_staging_makes_parquet_of_what_is_not(tmp_path: Path) -> None:
    lines = tmp_path / "in" / "dt=2026-01-01"
    lines.mkdir(parents=True)
    pq.write_table(pa.table({"user": [1]}), lines / "a.parquet")
    (lines / "b.csv.gz").write_bytes(gzip.compress(b"name,user\nx,2\n,3\n"))
    (lines / "c.jsonl").write_text('{"user": 4}\n\n{"user": null, "more": 1}\n')
    source = Files(f"{tmp_path}/in/dt={{dt}}/*")
    columns: Mapping[str, Column[Any]] = COLUMNS
    listing = source.resolve(columns)
    out = tmp_path / "out"
    out.mkdir()
    staged = source.stage(listing, columns, out)
    assert staged.files[0] is listing.files[0]
    assert {"parquet"} == {file.format for file in staged.files}
    assert [f.values for f in listing.files] == [f.values for f in staged.files]
    read = [pq.read_table(file.uri, partitioning=None) for file in staged.files]
    assert [[1], [2, 3], [4, None]] == [table["user"].to_pylist() for table in read]
    assert read[1].schema == pa.schema([("user", pa.int64())])


def test_staging_parquet_alone_changes_nothing(tmp_path: Path) -> None:
    put(str(tmp_path), "a.parquet")
    source = Files(str(tmp_path))
    listing = source.resolve({"user": USER})
    assert source.stage(listing, {"user": USER}, tmp_path) is listing


def test_staged_files_hold_no_bounds_of_floats(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,s\n1,a\nnan,b\n")
    columns: dict[str, Column[Any]] = {
        "x": Column("x", FLOAT),
        "s": Column("s", STRING),
    }
    source = Files(str(tmp_path / "a.csv"))
    staged = source.stage(source.resolve(columns), columns, tmp_path)
    group = pq.read_metadata(staged.files[0].uri).row_group(0)
    assert [None, True] == [(s := group.column(i).statistics) and s.has_min_max for i in range(2)]


def test_a_link_that_points_nowhere_is_no_empty_folder(tmp_path: Path) -> None:
    put(str(tmp_path), "a.parquet")
    (tmp_path / "b.parquet").symlink_to("gone")
    with pytest.raises(NotFound, match=r"b\.parquet' points to no file"):
        Files(f"{tmp_path}/*.parquet").resolve({"user": USER})


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    put(str(tmp_path), "store/a.parquet")
    (tmp_path / "dt=2026-01-01").symlink_to("store")
    assert names(Files(f"{tmp_path}/dt={{dt}}/*").resolve(COLUMNS)) == ["dt=2026-01-01/a.parquet"]
