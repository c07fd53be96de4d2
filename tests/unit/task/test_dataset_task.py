"""A version of a dataset as a task: real builds on DuckDB."""

import datetime as dt
import shutil
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.dataset import CheckedOutput, Custom, Dataset, RowCount, Version
from tadka.task.code.digest import code_of
from tadka.task.dataset_task import DatasetTask
from tadka.task.define.task import Task
from tadka.task.engine.build import Build, build
from tadka.task.engine.report import BuildError, Report
from tadka.task.store.store import Store
from tests.unit.dataset.shop import (
    FIRST,
    PERIOD,
    clicks,
    impressions,
    make_shop,
    shop_dataset,
    write,
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return make_shop(tmp_path / "shop")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "workspace") as opened:
        yield opened


def rows_task(dataset: type[Dataset], **attributes: Any) -> Any:
    """The task that a user writes for the dataset of the shop."""

    class Rows(DatasetTask):
        definition = dataset
        start: date
        end: date
        extracted_at: datetime = PERIOD["extracted_at"]

    return type("Rows", (Rows,), {"__module__": __name__, **attributes}) if attributes else Rows


class Count(Task[int]):
    """What takes a version in."""

    rows: Task[Version]

    def run(self, rows: Version) -> int:
        return int(rows.read(["user"]).num_rows)


def run(task: Task[Any], store: Store) -> Report:
    report = Build([task], store=store).run()
    report.raise_failures()
    return report


def ran(report: Report) -> set[str]:
    return {type(r.task).__name__ for r in report.results.values() if r.status == "ran"}


def test_what_takes_it_in_gets_the_version(shop: Path, tmp_path: Path, store: Store) -> None:
    rows = rows_task(shop_dataset(shop))(start=FIRST, end=PERIOD["end"], store=str(tmp_path / "v"))
    count = Count(rows=rows)

    first = run(count, store)
    second = run(count, store)

    version = first.value(rows)
    assert 300 == first.value(count) == version.num_rows
    assert version == second.value(rows)
    assert {"Rows", "Count"} == ran(first)
    assert set() == ran(second)


def test_a_relative_store_is_found_from_everywhere(
    shop: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = rows_task(shop_dataset(shop))(start=FIRST, end=PERIOD["end"], store="versions")

    report = run(rows, store)
    monkeypatch.chdir("/")

    assert 300 == report.value(rows).num_rows


class TestRerun:
    """What makes a new version, and what does not."""

    @pytest.fixture
    def rows(self, shop: Path, tmp_path: Path) -> Any:
        return rows_task(shop_dataset(shop))

    @pytest.fixture
    def count(self, rows: Any, tmp_path: Path, store: Store) -> Count:
        task = Count(rows=rows(start=FIRST, end=PERIOD["end"], store=str(tmp_path / "v")))
        run(task, store)
        return task

    def test_changed_rows_run_all_again(self, shop: Path, store: Store, count: Count) -> None:
        write(shop / f"imp/dt={FIRST}/part.parquet", impressions(FIRST, 99))

        report = run(count, store)

        assert {"Rows", "Count"} == ran(report)
        assert 299 == report.value(count)
        (result,) = [r for r in report.results.values() if type(r.task).__name__ == "Rows"]
        assert "table Imp" in " ".join(result.reasons)

    def test_equal_rows_of_changed_inputs_end_there(
        self, shop: Path, store: Store, count: Count
    ) -> None:
        data = clicks(FIRST)
        write(shop / f"click/dt={FIRST}/part.parquet", {n: v[::-1] for n, v in data.items()})

        assert {"Rows"} == ran(run(count, store))

    def test_files_that_were_only_copied_are_the_same(
        self, shop: Path, store: Store, count: Count
    ) -> None:
        shutil.copytree(shop, shop.parent / "copy")
        shutil.rmtree(shop)
        (shop.parent / "copy").rename(shop)

        assert set() == ran(run(count, store))

    def test_files_outside_of_the_parameters_do_not_count(
        self, shop: Path, store: Store, count: Count
    ) -> None:
        late = PERIOD["end"] + dt.timedelta(days=30)
        write(shop / f"imp/dt={late}/part.parquet", impressions(late))

        assert set() == ran(run(count, store))

    def test_another_definition_runs_it_again(
        self, shop: Path, tmp_path: Path, store: Store, count: Count
    ) -> None:
        other = rows_task(shop_dataset(shop, checks=[RowCount(min=10)]))
        again = other(start=FIRST, end=PERIOD["end"], store=str(tmp_path / "v"))

        assert again.id == count.rows.id
        assert {"Rows", "Count"} == ran(run(Count(rows=again), store))

    def test_the_engine_is_no_part_of_the_key(
        self, rows: Any, tmp_path: Path, store: Store, count: Count
    ) -> None:
        spark = rows(start=FIRST, end=PERIOD["end"], store=str(tmp_path / "v"), engine="spark")

        assert set() == ran(run(Count(rows=spark), store))

    def test_a_version_that_is_gone_is_told(
        self, tmp_path: Path, store: Store, count: Count
    ) -> None:
        shutil.rmtree(tmp_path / "v")

        report = Build([count], store=store, force=[Count]).run()

        with pytest.raises(
            BuildError, match=r"Version '\w+' of 'Ctr' at .* is gone\. Make it again"
        ):
            report.raise_failures()


def test_bytes_that_change_in_place_are_seen_at_the_level_of_content(
    shop: Path, tmp_path: Path, store: Store
) -> None:
    task = rows_task(shop_dataset(shop), level="content")
    rows = task(start=FIRST, end=PERIOD["end"], store=str(tmp_path / "v"))
    run(rows, store)
    file = shop / f"click/dt={FIRST}/part.parquet"
    data = bytearray(file.read_bytes())
    before = rows.fingerprint()
    data[40] ^= 1
    file.write_bytes(data)

    now = rows.fingerprint()

    assert before.keys() == now.keys()
    assert ["table Click"] == [name for name in now if now[name] != before[name]]


def test_a_table_that_is_missing_fails_the_task(shop: Path, tmp_path: Path, store: Store) -> None:
    rows = rows_task(shop_dataset(shop))(start=FIRST, end=PERIOD["end"], store=str(tmp_path / "v"))
    (shop / "ad.parquet").unlink()

    with pytest.raises(BuildError, match=r"ad\.parquet"):
        run(rows, store)
    assert not (tmp_path / "v").exists()


def test_a_failed_check_keeps_nothing(shop: Path, tmp_path: Path, store: Store) -> None:
    task = rows_task(shop_dataset(shop, checks=[RowCount(min=10_000)]))
    rows = task(start=FIRST, end=PERIOD["end"], store=str(tmp_path / "v"))

    with pytest.raises(BuildError, match="10,000"):
        run(rows, store)
    with pytest.raises(BuildError):
        build(rows, workspace=store)


def has_users(output: CheckedOutput) -> str | None:
    return None


def test_functions_of_checks_are_code_and_the_definition_is_not(shop: Path) -> None:
    plain = rows_task(shop_dataset(shop))
    checked = rows_task(shop_dataset(shop, checks=[Custom(has_users)]))

    assert [f"{__name__}.has_users"] == [
        p for p in code_of(checked, uses=checked.uses).parts if "users" in p
    ]
    assert not [part for part in code_of(plain).parts if "Ctr" in part or "shop" in part]


class TestMistakes:
    """All of them before anything runs."""

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> type[Dataset]:
        return shop_dataset(tmp_path)

    def test_a_field_that_is_no_parameter(self, dataset: type[Dataset]) -> None:
        with pytest.raises(ConfigError, match="Rows has a field 'begin', and dataset 'Ctr' has no"):
            type(
                "Rows", (DatasetTask,), {"definition": dataset, "__annotations__": {"begin": date}}
            )

    def test_a_parameter_without_a_field(self, dataset: type[Dataset]) -> None:
        with pytest.raises(ConfigError, match=r"Rows lacks a field 'end', .* write end: date\."):
            type(
                "Rows", (DatasetTask,), {"definition": dataset, "__annotations__": {"start": date}}
            )

    def test_no_definition(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="DatasetTask has no definition"):
            DatasetTask(store=str(tmp_path))

    @pytest.mark.parametrize("definition", [3, int])
    def test_a_definition_that_is_none(self, definition: Any) -> None:
        with pytest.raises(ConfigError, match="must be a class of datasets"):
            type("Rows", (DatasetTask,), {"definition": definition})

    def test_a_level_that_is_none(self) -> None:
        with pytest.raises(ConfigError, match="level is 'all'; it must be one of listing"):
            type("Rows", (DatasetTask,), {"level": "all"})

    def test_an_end_before_the_start(self, dataset: type[Dataset], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="the start must be before the end"):
            rows_task(dataset)(start=PERIOD["end"], end=FIRST, store=str(tmp_path))
