import json
from pathlib import Path
from typing import Any

import pytest

from tadka.dataset.expression.kind import Kind
from tadka.dataset.measure.measure import ColumnStatistics
from tadka.dataset.version.diff import Difference, diff
from tadka.dataset.version.manifest import TableRecord
from tadka.dataset.version.version import Version
from tests.unit.dataset.made import COLUMNS, column, manifest_of
from tests.unit.dataset.version.test_verify import DAYS, day_file, edit, record_of


def differ(first: dict[str, Any], second: dict[str, Any]) -> Difference:
    a, b = (Version("/x", manifest_of(**values)) for values in (first, second))
    found = diff(a, b)
    json.dumps(found.to_dict(), allow_nan=False)
    return found


def test_equal_versions_are_same() -> None:
    found = differ({}, {"created_at": "2020-01-01T00:00:00+00:00", "seconds": {}})

    assert found.is_same
    assert f"{found.versions[0]} and {found.versions[1]} are the same." == str(found)


def test_every_part_that_differs_is_named() -> None:
    found = differ(
        {"num_rows": 1000},
        {
            "num_rows": 900,
            "name": "CtrTest",
            "definition": "name: CtrTrain\nrows: click\n",
            "parameters": {"start": "2026-01-01", "end": "2026-03-01", "new": 1},
            "engine": {"name": "spark", "version": "4.0.5", "options": {"TimeZone": "UTC"}},
            "columns": (*COLUMNS[1:], column("user", Kind("int32"), is_nullable=True), column("z")),
            "output_hash": "1" * 32,
            "code": {"commit": "abc", "is_dirty": False, "module": None},
        },
    )

    assert not found.is_same
    lines = str(found).splitlines()
    assert [
        f"{found.versions[0]} and {found.versions[1]} differ.",
        "dataset: CtrTrain -> CtrTest",
        "parameters: end 2026-02-01 -> 2026-03-01",
        "parameters: new none -> 1",
        "engine: name duckdb -> spark",
        "engine: version 2.0.0 -> 4.0.5",
        "code: commit none -> abc",
        "code: is_dirty none -> False",
        "columns: user int64 -> int32 or null",
        "columns: z none -> int64",
        "rows: 1,000 -> 900 (-10.0%)",
    ] == lines[:11]
    assert "-rows: imp" in lines
    assert "+rows: click" in lines


def test_same_rows_by_another_definition_are_said_to_be() -> None:
    found = differ({}, {"definition_digest": "e" * 64})

    assert not found.is_same
    assert "output hash: equal; the rows are the same" in str(found)


def test_statistics_that_differ_are_shown() -> None:
    first = {"user": ColumnStatistics(num_null=10, min=1, max=9, mean=4.5), "a": ColumnStatistics()}
    second = {"user": ColumnStatistics(num_null=12, min=1, max="2026", mean=None), "b": first["a"]}
    found = differ({"statistics": first}, {"statistics": second})

    assert {"num_null": (10, 12), "max": (9, "2026"), "mean": (4.5, None)} == found.statistics[
        "user"
    ]
    assert ["user"] == list(found.statistics)
    assert "column user: num_null 10 -> 12 (+20.0%), max 9 -> 2026, mean 4.5 -> none" in str(found)


def test_inputs_are_compared_by_their_fingerprints(tmp_path: Path) -> None:
    template = f"{tmp_path}/imp/dt={{dt}}/*.parquet"
    for day in DAYS:
        day_file(tmp_path / "imp", day, [1, 5, 9])
    before = record_of(template, "content")
    edit(tmp_path / "imp" / "dt=2026-01-02" / "a.parquet")
    for number in range(7):
        day_file(tmp_path / "imp", f"2026-02-0{number + 1}", [number])
    after = record_of(template, "content")

    found = differ(
        {"tables": {"Imp": before, "Same": before, "Old": before}},
        {"tables": {"Imp": after, "Same": before, "New": after}},
    )
    assert found.tables["Imp"] is not None
    assert "dt=2026-01-02" in found.tables["Imp"].partitions
    assert None is found.tables["Old"] is found.tables["New"]
    lines = str(found).splitlines()
    assert "input Imp: changed: dt=2026-01-02, dt=2026-02-01, dt=2026-02-02, dt=2026-02-03, " in (
        next(line for line in lines if "Imp" in line)
    )
    assert next(line for line in lines if "Imp" in line).endswith(" and 3 more")
    assert "input Same: same" in lines
    assert "input Old: only one of the two reads it" in lines


@pytest.mark.parametrize("fingerprint", [{}, {"level": "content"}])
def test_fingerprint_that_cannot_be_read_is_said(fingerprint: dict[str, Any]) -> None:
    record = TableRecord(source="/x", fingerprint=fingerprint)

    assert "input T: unreadable" in str(
        differ({"tables": {"T": record}}, {"tables": {"T": record}})
    )
