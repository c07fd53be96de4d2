"""Tables are listed and looked at before any engine runs."""

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tadka.dataset import Dataset, Output, PartitionsExist, RowCount
from tadka.dataset.check.check import Check, CheckFailed, CheckResult, CheckWarning
from tadka.dataset.check.runner import Results
from tadka.dataset.intake import Cancelled, Intake
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
