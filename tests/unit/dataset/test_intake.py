"""Tables are listed and looked at before any engine runs."""

import datetime as dt
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

from tadka.dataset import Dataset, Output, PartitionsExist, RowCount, session
from tadka.dataset.check.check import Check, CheckFailed, CheckResult, CheckWarning
from tadka.dataset.check.runner import Results
from tadka.dataset.intake import Cancelled, Intake
from tadka.dataset.source import database
from tadka.dataset.source.database import Database
from tadka.dataset.source.delta import Delta
from tadka.dataset.source.files import Files
from tadka.dataset.source.listing import STAGED_THREADS, Columns, InputFile, schema_of
from tadka.dataset.version.verify import verify_table
from tests.unit.dataset.shop import (
    FIRST,
    LAST,
    PERIOD,
    all_days,
    clicks,
    impressions,
    make_shop,
    shop_dataset,
    write,
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return make_shop(tmp_path / "shop")


def look(
    dataset: type[Dataset], checks: Sequence[Check] = (), **changed: Any
) -> tuple[Intake, Results]:
    intake = Intake(dataset.definition.bind(**{**PERIOD, **changed}), None)
    results = Results("Ctr")
    intake.check(checks, results)
    return intake, results


def of(results: Results, name: str) -> CheckResult:
    return next(result for result in results.all if result.name == name)


def test_only_partitions_of_the_period_are_read(shop: Path) -> None:
    write(shop / "imp/dt=2025-12-31/part.parquet", impressions(FIRST))
    write(shop / f"imp/dt={LAST}/part.parquet", impressions(LAST))

    intake, results = look(shop_dataset(shop))

    assert ["passed"] * 12 == [result.status for result in results.all]
    assert 3 == len(intake.inputs["Imp"].listing.files)
    assert 300 == intake.inputs["Imp"].num_rows == intake.most_rows
    # seven days before the first and two after the last
    assert len(all_days()) == len(intake.inputs["Click"].listing.files)
    assert ("recent", "clicked") == intake.inputs["Click"].aliases
    assert ("dt", "user", "ad", "price", "at") == intake.inputs["Imp"].columns
    assert ("id", "name") == intake.inputs["Ad"].columns


def test_listings_answer_first(shop: Path) -> None:
    _, results = look(shop_dataset(shop))

    assert ["Listed(Imp)", "Listed(User)", "Listed(Ad)", "Listed(Click)"] == [
        result.name for result in results.all[:4]
    ]
    assert {"footer"} == {result.stage for result in results.all}


def test_a_missing_day_is_named(shop: Path) -> None:
    shutil.rmtree(shop / "imp/dt=2026-01-02")
    shutil.rmtree(shop / "click/dt=2025-12-26")

    _, results = look(shop_dataset(shop))

    assert (
        "1 of 3 partitions are missing: dt=2026-01-02."
        == of(results, "PartitionsExist(Imp)").message
    )
    assert (
        "1 of 12 partitions are missing: dt=2025-12-26."
        == of(results, "PartitionsExist(Click)").message
    )
    with pytest.raises(CheckFailed, match="2 checks of dataset 'Ctr' failed"):
        results.raise_failures()


@pytest.mark.parametrize("content", ["rows", "files", "success"])
def test_an_empty_partition_is_named(shop: Path, content: str) -> None:
    folder = shop / "imp/dt=2026-01-02"
    (folder / "part.parquet").unlink()
    if content == "rows":
        write(folder / "part.parquet", impressions(FIRST, 0))
    elif content == "success":
        (folder / "_SUCCESS").touch()

    _, results = look(shop_dataset(shop))

    found = of(results, "PartitionsExist(Imp)")
    assert "failed" == found.status
    assert "dt=2026-01-02" in found.message


def test_a_missing_day_may_only_warn(shop: Path) -> None:
    shutil.rmtree(shop / "imp/dt=2026-01-02")
    checks = [PartitionsExist(), PartitionsExist("Imp", on_fail="warn")]

    with pytest.warns(CheckWarning, match="dt=2026-01-02"):
        _, results = look(shop_dataset(shop), checks)

    assert [] == results.failures


def test_a_table_that_is_not_there_is_one_failure_of_several(shop: Path) -> None:
    (shop / "user.parquet").unlink()
    write(shop / "ad.parquet", {"id": ["1"], "nam": ["a"]})

    _, results = look(shop_dataset(shop))

    assert ["Listed(User)", "AsDeclared(Ad)"] == [result.name for result in results.failures]
    assert "user.parquet" in results.failures[0].message
    assert "Column 'id' is string" in results.failures[1].message
    assert "Did you mean 'nam'?" in results.failures[1].message


def test_a_period_without_any_file_is_a_failure(shop: Path) -> None:
    year = dt.timedelta(days=365)

    _, results = look(shop_dataset(shop), start=FIRST + year, end=LAST + year,
                      extracted_at=dt.datetime(2027, 2, 1, tzinfo=dt.UTC))  # fmt: skip

    assert "failed" == of(results, "Listed(Imp)").status
    assert "in the partitions that are wanted" in of(results, "Listed(Imp)").message


def test_a_table_without_rows_is_a_failure(shop: Path) -> None:
    write(shop / "ad.parquet", {"id": pa.array([], pa.int64()), "name": pa.array([], pa.string())})

    _, results = look(shop_dataset(shop))

    assert "none of 1 files has a row." == of(results, "PartitionsExist(Ad)").message


def test_footers_tell_that_there_are_too_few_rows(shop: Path) -> None:
    _, results = look(shop_dataset(shop), [RowCount(min=301), RowCount(min=300)])

    assert ["RowCount"] == [result.name for result in results.failures]
    assert "at most 300 rows can come out; at least 301 must be there." in str(results.failures[0])
    assert "footer" == results.failures[0].stage


def test_a_damaged_file_is_named(shop: Path) -> None:
    (shop / "imp/dt=2026-01-02/part.parquet").write_bytes(b"PAR1 something else")

    _, results = look(shop_dataset(shop))

    assert "dt=2026-01-02/part.parquet" in of(results, "AsDeclared(Imp)").message


def test_text_is_made_parquet_where_there_is_a_folder_for_it(shop: Path, tmp_path: Path) -> None:
    (shop / "ad.csv").write_text("id,name\n0,a\n1,b\n", encoding="utf-8")
    dataset = shop_dataset(shop)
    table = dataset.definition.tables["Ad"]
    table.source = type(table.source)(str(shop / "ad.csv"))  # type: ignore[call-arg]

    plain, results = look(dataset)
    assert [] == results.failures
    assert plain.inputs["Ad"].num_rows is None

    folder = tmp_path / "staged"
    folder.mkdir()
    staged = Intake(dataset.definition.bind(**PERIOD), folder)
    staged.check((), Results("Ctr"))
    assert 2 == staged.inputs["Ad"].num_rows
    assert "content" == staged.inputs["Ad"].fingerprint("content").level

    (shop / "ad.csv").write_text("id,name\n0,a\nx,b\n", encoding="utf-8")
    results = Results("Ctr")
    Intake(dataset.definition.bind(**PERIOD), folder).check((), results)
    assert ["AsDeclared(Ad)"] == [result.name for result in results.failures]


@pytest.fixture
def staging(shop: Path, tmp_path: Path) -> tuple[type[Dataset], Path]:
    """The shop with its ads in a database and its clicks as text, and a folder for copies."""
    dataset = shop_dataset(shop)
    with sqlite3.connect(shop / "a.db") as connection:
        connection.execute("CREATE TABLE ads (id INTEGER, name TEXT)")
        connection.execute("INSERT INTO ads VALUES (0, 'a'), (1, 'b')")
    connection.close()
    for day in all_days():
        (shop / f"click/dt={day}/part.csv").write_text("user,at\n1,2026-01-01T00:00:00Z\n")
    tables = dataset.definition.tables
    tables["Ad"].source = Database(f"sqlite:///{shop}/a.db", "ads")
    tables["Click"].source = Files(f"{shop}/click/dt={{dt}}/*.csv")
    folder = tmp_path / "staged"
    folder.mkdir()
    return dataset, folder


def insert(shop: Path, number: int) -> None:
    with sqlite3.connect(shop / "a.db") as connection:
        connection.execute("INSERT INTO ads VALUES (?, 'new')", [number])
    connection.close()


def test_nothing_is_copied_where_footers_or_listings_say_enough(
    shop: Path, staging: tuple[type[Dataset], Path]
) -> None:
    dataset, folder = staging
    write(shop / "user.parquet", {"user": [1]})
    shutil.rmtree(shop / "click/dt=2025-12-26")
    results = Results("Ctr")

    Intake(dataset.definition.bind(**PERIOD), folder).check([RowCount(min=301)], results)

    assert ["AsDeclared(User)", "PartitionsExist(Click)", "RowCount"] == [
        result.name for result in results.failures
    ]
    assert [] == list(folder.iterdir())


def test_a_missing_day_of_text_is_told_once(
    shop: Path, staging: tuple[type[Dataset], Path]
) -> None:
    dataset, folder = staging
    shutil.rmtree(shop / "click/dt=2025-12-26")
    results = Results("Ctr", on_fail="warn")

    with pytest.warns(CheckWarning, match="dt=2025-12-26") as warned:
        Intake(dataset.definition.bind(**PERIOD), folder).check((), results)

    assert 1 == len(warned)
    names = [result.name for result in results.all]
    assert names.index("PartitionsExist(Click)") < names.index("AsDeclared(Click)")
    assert len(set(names)) == len(names)


def test_copying_ends_when_nobody_wants_to_know(
    staging: tuple[type[Dataset], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, folder = staging
    monkeypatch.setattr(database, "_ROWS_PER_BATCH", 1)
    read: list[Any] = []

    def batches(self: Database, *given: Any) -> Iterator[Any]:
        for batch in given_batches(self, *given):
            read.append(batch)
            yield batch

    given_batches = Database.batches
    monkeypatch.setattr(Database, "batches", batches)
    with pytest.raises(Cancelled):
        Intake(dataset.definition.bind(**PERIOD), folder).check(
            (), Results("Ctr"), is_cancelled=lambda: bool(read)
        )

    assert 1 == len(read)


def test_ctrl_c_while_rows_are_copied_leaves_nothing(
    staging: tuple[type[Dataset], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = staging
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    begun = threading.Barrier(STAGED_THREADS, lambda: os.kill(os.getpid(), signal.SIGINT))

    def endless(_: Files, __: InputFile, columns: Columns) -> Iterator[Any]:
        begun.wait(30)
        while True:
            yield pa.RecordBatch.from_pylist([], schema_of(columns))

    monkeypatch.setattr(Files, "batches", endless)
    with (
        pytest.raises(KeyboardInterrupt),
        session(dataset, scratch=scratch, **PERIOD),
    ):
        pytest.fail("the block does not run")

    assert [] == list(scratch.iterdir())


def test_what_was_copied_is_known_by_the_copy(
    shop: Path, staging: tuple[type[Dataset], Path]
) -> None:
    dataset, folder = staging
    intake = Intake(dataset.definition.bind(**PERIOD), folder)
    list_ads = intake.inputs["Ad"].resolve

    def listed() -> Any:
        found = list_ads()
        insert(shop, 2)  # after the rows are counted and before they are read
        return found

    intake.inputs["Ad"].resolve = listed  # type: ignore[method-assign]
    intake.check((), Results("Ctr"))
    ads = intake.inputs["Ad"]
    record = replace(ads.record, fingerprint=ads.fingerprint("content").to_dict())

    assert 3 == ads.num_rows
    assert [] == intake.changed_since_listed()
    for level, status in (("footer", "no difference seen"), ("content", "same")):
        assert status == verify_table(record, level).status
    insert(shop, 3)
    assert ads.fingerprint("content").to_dict() == record.fingerprint
    assert [] == intake.changed_since_listed()
    for level in ("footer", "content"):
        assert "changed" == verify_table(record, level).status


def test_a_new_snapshot_of_a_table_is_no_change_of_the_one_that_is_read(
    shop: Path, tmp_path: Path
) -> None:
    dataset = shop_dataset(shop)
    ads = pa.table({"id": [0, 1], "name": ["a", "b"]})
    deltalake.write_deltalake(tmp_path / "ads", ads)
    dataset.definition.tables["Ad"].source = Delta(str(tmp_path / "ads"))
    intake, _ = look(dataset)
    before = intake.inputs["Ad"].fingerprint("content")

    deltalake.write_deltalake(tmp_path / "ads", ads, mode="append")

    assert [] == intake.changed_since_listed()
    assert before == intake.inputs["Ad"].fingerprint("content")
    assert 1 == len(before.files)


def test_looking_ends_when_nobody_wants_to_know(shop: Path) -> None:
    intake = Intake(shop_dataset(shop).definition.bind(**PERIOD), None)
    results = Results("Ctr")
    answers = iter([False, False, True])

    with pytest.raises(Cancelled):
        intake.check((), results, is_cancelled=lambda: next(answers))

    assert 2 == len(results.all)


def test_changes_since_the_listing_are_told(shop: Path) -> None:
    intake, _ = look(shop_dataset(shop))
    assert [] == intake.changed_since_listed()

    write(shop / "click/dt=2026-01-01/late.parquet", clicks(FIRST, 3))

    assert ["table 'Click': File 'dt=2026-01-01/late.parquet' is new."] == (
        intake.changed_since_listed()
    )


def test_the_record_says_which_part_was_read(shop: Path) -> None:
    intake, _ = look(shop_dataset(shop, output=Output()))

    record = intake.inputs["Click"].record

    assert {"dt": "date"} == record.partitions
    assert {"user": "int64", "at": "utc"} == record.columns
    assert [("2025-12-25", "2026-01-04"), ("2026-01-01", "2026-01-06")] == [
        (span.start, span.end) for span in record.spans or ()
    ]
    assert () == intake.inputs["Ad"].record.spans
