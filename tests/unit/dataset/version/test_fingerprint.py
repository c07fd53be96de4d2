"""Fingerprints of inputs at three levels."""

import dataclasses
import datetime as dt
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import DATE, INT
from tadka.dataset.source.catalog import Catalog
from tadka.dataset.source.files import Files
from tadka.dataset.source.footer import footers
from tadka.dataset.source.listing import Columns, InputFile, Keep, Listing, Source
from tadka.dataset.thread import in_threads
from tadka.dataset.version import fingerprint
from tadka.dataset.version.fingerprint import LEVELS, Fingerprint, compare, take, verify

COLUMNS: dict[str, Column[Any]] = {
    "dt": Column("dt", DATE, is_partition=True),
    "x": Column("x", INT),
}


def write(folder: Path, day: int, *values: int, name: str = "a.parquet") -> Path:
    path = folder / f"dt=2026-01-0{day}" / name
    path.parent.mkdir(exist_ok=True)
    # without statistics or dictionary a value changes in place and leaves the footer as it is
    table = pa.table({"x": values})
    pq.write_table(table, path, write_statistics=False, use_dictionary=False, compression="none")
    return path


def source_of(folder: Path) -> Files:
    return Files(f"{folder}/dt={{dt}}/*")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, 1, 1, 2, 3)
    write(tmp_path, 2, 4, 5, 6)
    return tmp_path


def taken(folder: Path, level: str) -> Fingerprint:
    return take(source_of(folder).resolve(COLUMNS), level)


@pytest.mark.parametrize("level", LEVELS)
def test_inputs_that_did_not_change(folder: Path, level: str) -> None:
    found = compare(taken(folder, level), taken(folder, level))
    assert found.status == ("same" if level == "content" else "no difference seen")
    assert not found.is_changed
    assert (found.partitions, found.files, found.reasons) == ((), (), [])


def test_a_value_changed_in_place_is_seen_by_content_alone(folder: Path) -> None:
    old = {level: taken(folder, level) for level in LEVELS}
    path = folder / "dt=2026-01-02" / "a.parquet"
    was = path.stat()
    path.write_bytes(path.read_bytes().replace(b"\5\0\0\0\0\0\0\0", b"\7\0\0\0\0\0\0\0"))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert pq.read_table(path, partitioning=None)["x"].to_pylist() == [4, 7, 6]
    for level in ("listing", "footer"):
        assert compare(old[level], taken(folder, level)).status == "no difference seen"
    found = verify(old["content"], source_of(folder), COLUMNS, level="content")
    assert found.status == "changed"
    assert found.partitions == ["dt=2026-01-02"]
    assert found.files == ["dt=2026-01-02/a.parquet"]
    assert found.reasons == ["File 'dt=2026-01-02/a.parquet' is of other content."]


def test_a_late_file_and_one_that_has_gone(folder: Path) -> None:
    old = taken(folder, "content")
    write(folder, 1, 9, name="late.parquet")
    write(folder, 2, 4, 5, 6, name="b.parquet")
    (folder / "dt=2026-01-02" / "a.parquet").unlink()
    for level in LEVELS:
        found = verify(old, source_of(folder), COLUMNS, level=level)
        assert (found.status, found.level) == ("changed", level)
        assert found.partitions == ["dt=2026-01-01", "dt=2026-01-02"]
        assert found.reasons == [
            "File 'dt=2026-01-02/a.parquet' has gone.",
            "Files 'dt=2026-01-01/late.parquet', 'dt=2026-01-02/b.parquet' are new.",
        ]


def test_a_new_partition_is_no_change_unless_it_is_wanted(folder: Path) -> None:
    old = taken(folder, "footer")
    write(folder, 3, 1)
    keep: Keep = lambda values: values["dt"].day < 3  # noqa: E731
    found = verify(old, source_of(folder), COLUMNS, level="footer", keep=keep)
    assert found.status == "no difference seen"
    found = verify(old, source_of(folder), COLUMNS, level="footer")
    assert found.partitions == ["dt=2026-01-03"]


def test_a_file_written_anew_with_the_same_bytes(folder: Path) -> None:
    old = taken(folder, "content")
    path = folder / "dt=2026-01-01" / "a.parquet"
    content = path.read_bytes()
    path.unlink()
    (folder / "other").write_text("takes the inode")
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))
    assert verify(old, source_of(folder), COLUMNS, level="listing").status == "changed"
    assert verify(old, source_of(folder), COLUMNS, level="footer").status == "no difference seen"
    assert verify(old, source_of(folder), COLUMNS, level="content").status == "same"


def test_the_lower_of_two_levels_is_compared(folder: Path) -> None:
    found = compare(taken(folder, "content"), taken(folder, "footer"))
    assert (found.status, found.level) == ("no difference seen", "footer")
    assert verify(taken(folder, "listing"), source_of(folder), COLUMNS, level="content").level == (
        "listing"
    )


def test_inputs_that_cannot_be_read(folder: Path) -> None:
    old = taken(folder, "footer")
    (folder / "dt=2026-01-01" / "a.parquet").write_bytes(b"no Parquet at all")
    found = verify(old, source_of(folder), COLUMNS, level="footer")
    assert (found.status, found.is_changed) == ("unreadable", True)
    assert "not a Parquet file" in found.reasons[0]
    found = verify(old, Files(f"{folder}/gone/dt={{dt}}/*"), COLUMNS, level="footer")
    assert found.status == "unreadable"


@pytest.mark.parametrize("level", LEVELS)
def test_round_trip_through_json(folder: Path, level: str) -> None:
    found = taken(folder, level)
    back = Fingerprint.from_dict(json.loads(json.dumps(found.to_dict())))
    assert found == back
    assert list(found.partitions) == ["dt=2026-01-01", "dt=2026-01-02"]


@pytest.mark.parametrize(
    "damage", [{"files": "AAAA"}, {"files": "eJyLjgUAARUAuQ=="}, {"partitions": {}}]
)
def test_a_damaged_fingerprint(folder: Path, damage: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="fingerprint is damaged"):
        Fingerprint.from_dict(taken(folder, "footer").to_dict() | damage)


def test_many_files_are_packed(folder: Path) -> None:
    file = taken(folder, "footer").files["dt=2026-01-01/a.parquet"]
    files = {f"dt=2026-01-01/part-{i:05d}.parquet": file for i in range(10_000)}
    found = Fingerprint("footer", {"dt=2026-01-01": "x"}, files)
    assert len(json.dumps(found.to_dict())) < 40 * 10_000


def test_footers_that_were_read_already(folder: Path) -> None:
    listing = source_of(folder).resolve(COLUMNS)
    read = footers(listing.files)
    assert take(listing, "footer", footers=read) == take(listing, "footer")
    assert take(listing, "footer", footers=read[:1]) == take(listing, "footer")
    given = [dataclasses.replace(read[0], digest="x"), dataclasses.replace(read[1], uri="staged")]
    found = take(listing, "footer", footers=given).files
    assert ["x", read[1].digest] == [file.footer for file in found.values()]


def test_both_ends_of_text_files_stand_for_a_footer(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    columns: dict[str, Column[Any]] = {"x": Column("x", INT)}
    path.write_text("x\n" + "1\n" * 100_000)
    old = take(Files(str(path)).resolve(columns), "content")
    text = path.read_text()
    path.write_text(text[:100_000] + "2" + text[100_001:])
    assert verify(old, Files(str(path)), columns, level="footer").status == "no difference seen"
    assert verify(old, Files(str(path)), columns, level="content").status == "changed"
    path.write_text(text[:-2] + "3\n")
    assert verify(old, Files(str(path)), columns, level="footer").status == "changed"


def test_files_on_a_store(bucket: str) -> None:
    columns: dict[str, Column[Any]] = {"x": Column("x", INT)}
    for name, x in (("a", 1), ("b", 2)):
        with fsspec.open(f"{bucket}/t/{name}.parquet", "wb") as file:
            pq.write_table(pa.table({"x": [x]}), file)
    source = Files(f"{bucket}/t/*.parquet")
    old = take(source.resolve(columns), "content")
    assert list(old.files) == ["a.parquet", "b.parquet"]
    assert verify(old, source, columns, level="content").status == "same"
    with fsspec.open(f"{bucket}/t/b.parquet", "wb") as file:
        pq.write_table(pa.table({"x": [3]}), file)
    for level in LEVELS:
        assert verify(old, source, columns, level=level).files == ["b.parquet"]


class Lines(Source):
    """Stands for a database: rows without files."""

    def __init__(self, *values: int) -> None:
        self.values = values

    def resolve(self, columns: Columns, keep: Keep | None = None) -> Listing:
        return Listing([InputFile("db://t", {}, 0, f"{len(self.values)} rows", "database")])

    def batches(self, file: InputFile, columns: Columns) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"x": pa.array(self.values, pa.int64())})


def test_the_content_of_a_database_is_its_rows() -> None:
    columns: dict[str, Column[Any]] = {"x": Column("x", INT)}
    listing = Lines(1, 2).resolve(columns)
    old = take(listing, "content", source=Lines(1, 2), columns=columns)
    assert verify(old, Lines(2, 1), columns, level="content").status == "same"
    assert verify(old, Lines(1, 3), columns, level="content").status == "changed"
    assert verify(old, Lines(1, 3), columns, level="footer").status == "no difference seen"
    for level in ("listing", "footer"):
        assert verify(old, Lines(1), columns, level=level).status == "changed"
    with pytest.raises(ConfigError, match="needs source and columns"):
        take(listing, "content")


def test_what_no_file_holds_is_known_by_the_copy_that_was_used(tmp_path: Path) -> None:
    columns: dict[str, Column[Any]] = {"x": Column("x", INT)}
    source = Lines(1, 2)
    listing = source.resolve(columns)
    staged = source.stage(listing, columns, tmp_path)
    source.values = (1, 3)
    old = take(listing, "content", source=source, columns=columns, staged=staged)
    assert list(old.files) == ["db://t"]
    assert verify(old, Lines(2, 1), columns, level="content").status == "same"
    assert verify(old, source, columns, level="content").status == "changed"


def test_ctrl_c_ends_the_reading_of_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_CHUNK_BYTES", 4)
    for name in "abcdefgh":
        (tmp_path / f"{name}.csv").write_text("x\n" + "1\n" * 100)
    columns: dict[str, Column[Any]] = {"x": Column("x", INT)}
    listing = Files(f"{tmp_path}/*.csv").resolve(columns)
    numbers = iter(range(1_000_000))
    stops: list[threading.Event] = []

    def watched(work: Any, items: Any, threads: int, stop: threading.Event) -> list[str]:
        stops.append(stop)
        return in_threads(work, items, threads, stop)

    class Interrupting:
        def update(self, chunk: bytes) -> None:
            number = next(numbers)
            if number == 5:
                os.kill(os.getpid(), signal.SIGINT)
            assert number < 5 or stops[0].wait(30)

        def hexdigest(self) -> str:
            return ""

    monkeypatch.setattr(fingerprint, "in_threads", watched)
    monkeypatch.setattr(fingerprint, "hashlib", SimpleNamespace(sha256=Interrupting))
    monkeypatch.setattr(fingerprint, "_ends", lambda files, *_: [""] * len(files))
    with pytest.raises(KeyboardInterrupt):
        take(listing, "content", threads=2)
    assert next(numbers) < 10  # of about 400


def test_a_table_known_by_its_snapshot_alone() -> None:
    old, new = (take(Listing([], snapshot), "footer") for snapshot in ("1", "2"))
    assert compare(old, old).status == "no difference seen"
    assert compare(old, new).reasons == ["The table is at '2', not at '1' any more."]
    assert compare(old, new).status == "changed"


@pytest.mark.parametrize("level", LEVELS)
def test_of_a_table_in_a_catalog_nothing_is_claimed(level: str) -> None:
    source = Catalog("db.t")
    old = take(source.resolve(COLUMNS), level)
    found = verify(old, source, COLUMNS, level=level)
    assert found.status == "unreadable"
    assert "Nothing is recorded of 'db.t'" in found.reasons[0]


def test_an_unknown_level() -> None:
    with pytest.raises(ConfigError, match="Level 'all'"):
        take(Listing([]), "all")


def test_partitions_of_times_have_names(tmp_path: Path) -> None:
    values = {"at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}
    found = take(Listing([InputFile("/a/b", values, 1, "", "csv")], root="/a"), "listing")
    assert list(found.partitions) == ["at=2026-01-01T00:00:00+00:00"]
