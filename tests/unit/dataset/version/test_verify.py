import os
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError
from tadka.dataset.expression.kind import FLOAT
from tadka.dataset.source.files import Files
from tadka.dataset.version.fingerprint import take
from tadka.dataset.version.manifest import Span, TableRecord
from tadka.dataset.version.store import Store
from tadka.dataset.version.version import Version
from tests.unit.dataset.made import COLUMNS, column, rows, write

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")


def day_file(folder: Path, day: str, values: list[int], name: str = "a") -> Path:
    path = folder / f"dt={day}" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"user": pa.array(values, pa.int64())}), path)
    return path


def record_of(template: str, level: str, **values: Any) -> TableRecord:
    """What a session writes down of a table."""
    made = TableRecord(
        source=template, partitions={"dt": "date"}, columns={"user": "int64"}, **values
    )
    listing = Files(template).resolve(made.declared(), made.keeps if made.spans else None)
    return TableRecord(
        source=template,
        partitions=made.partitions,
        columns=made.columns,
        fingerprint=take(listing, level).to_dict(),
        **values,
    )


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A table of three days, two files each."""
    for day in DAYS:
        for name in "ab":
            day_file(tmp_path / "imp", day, [1, 5, 9], name)
    return tmp_path / "imp"


def version_of(inputs: Path, level: str = "content", **values: Any) -> Version:
    store = Store(inputs.parent / "out")
    template = f"{inputs}/dt={{dt}}/*.parquet"
    spans = values.pop("spans", (Span(column="dt", start=DAYS[0], end="2026-01-04"),))
    with store.prepare() as folder:
        tables = {"Imp": record_of(template, level, spans=spans)}
        return store.publish(folder, write(folder, rows(10), tables=tables, **values))


def edit(path: Path) -> None:
    """One value changed; size, statistics and times stay."""
    stat = path.stat()
    pq.write_table(pa.table({"user": pa.array([1, 4, 9], pa.int64())}), path)
    assert stat.st_size == path.stat().st_size
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_nothing_changed_is_same_only_where_all_was_read(inputs: Path) -> None:
    version = version_of(inputs)

    for level, expected in (
        ("listing", "no difference seen"),
        ("footer", "no difference seen"),
        ("content", "same"),
    ):
        found = version.verify(level)
        assert expected == found.status == found.inputs["Imp"].status == found.output.status
        assert (expected == "same") == found.is_same
        assert found.is_unchanged
    assert "same (level content)\ninput Imp: same\noutput: same" == str(version.verify())


@pytest.mark.parametrize("level", ["listing", "footer"])
def test_what_was_recorded_limits_what_is_said(inputs: Path, level: str) -> None:
    found = version_of(inputs, level).verify("content")

    assert "no difference seen" == found.inputs["Imp"].status == found.status
    assert "same" == found.output.status


def test_value_changed_in_place_is_seen_in_the_content_only(inputs: Path) -> None:
    version = version_of(inputs)
    edit(inputs / "dt=2026-01-02" / "a.parquet")

    found = version.verify("content")
    assert "changed" == found.status
    assert not found.is_unchanged
    assert ["dt=2026-01-02"] == list(found.inputs["Imp"].partitions)
    assert "input Imp: changed: dt=2026-01-02" in str(found)
    assert "no difference seen" == version.verify("footer").status


@pytest.mark.parametrize(
    ("act", "day"),
    [
        (lambda p: day_file(p, DAYS[1], [1], "late"), DAYS[1]),
        (lambda p: day_file(p, DAYS[2], [1, 2, 3, 4]), DAYS[2]),
        (lambda p: (p / f"dt={DAYS[0]}" / "b.parquet").unlink(), DAYS[0]),
    ],
)
@pytest.mark.parametrize("level", ["listing", "footer", "content"])
def test_late_resized_and_removed_files_are_seen_at_every_level(
    inputs: Path, act: Any, day: str, level: str
) -> None:
    version = version_of(inputs)
    act(inputs)

    found = version.verify(level).inputs["Imp"]
    assert "changed" == found.status
    assert [f"dt={day}"] == list(found.partitions)


def test_new_partitions_count_where_they_would_have_been_read(inputs: Path) -> None:
    spans = (Span(column="dt", start="2026-01-02", end="2026-01-10"),)
    version = version_of(inputs, spans=spans)
    day_file(inputs, "2026-01-10", [1])
    edit(inputs / "dt=2026-01-01" / "a.parquet")
    assert "same" == version.verify().status

    day_file(inputs, "2026-01-09", [1])
    assert ["dt=2026-01-09"] == list(version.verify().inputs["Imp"].partitions)


def test_without_spans_only_the_partitions_of_then_are_looked_at(inputs: Path) -> None:
    version = version_of(inputs, spans=None)
    day_file(inputs, "2026-01-10", [1])

    assert "same" == version.verify().status
    assert not version.manifest.tables["Imp"].keeps({"dt": date(2026, 1, 10)})


def test_inputs_that_are_gone_are_unreadable(inputs: Path) -> None:
    version = version_of(inputs)
    inputs.rename(inputs.parent / "moved")

    found = version.verify("listing")
    assert "unreadable" == found.status
    assert "No file matches" in found.inputs["Imp"].reasons[0]
    assert "  No file matches" in str(found)


def test_damaged_fingerprint_or_unknown_source_is_unreadable(inputs: Path) -> None:
    good = version_of(inputs).manifest.tables["Imp"]
    bad = {
        "A": TableRecord(source=good.source, fingerprint={**good.fingerprint, "files": "!"}),
        "B": TableRecord(source={"kind": "tape", "path": "/x"}, fingerprint=good.fingerprint),
    }
    store = Store(inputs.parent / "other")
    with store.prepare() as folder:
        version = store.publish(folder, write(folder, rows(3), tables=bad))

    found = version.verify()
    assert {"unreadable"} == {table.status for table in found.inputs.values()}
    assert "unreadable" == found.status


@pytest.mark.parametrize("level", ["listing", "footer", "content"])
def test_output_that_lacks_a_file_or_bytes_has_changed(inputs: Path, level: str) -> None:
    version = version_of(inputs)
    first, second = map(Path, version.files())
    first.unlink()
    second.write_bytes(second.read_bytes() + b"x")

    found = version.verify(level)
    assert "changed" == found.status == found.output.status
    assert [file.path for file in version.manifest.files] == list(found.output.files)
    assert "has gone" in found.output.reasons[0]
    assert "bytes instead of" in found.output.reasons[1]


def test_output_with_another_value_has_changed(inputs: Path) -> None:
    version = version_of(inputs)
    path = Path(version.files()[0])
    size = path.stat().st_size
    table = pq.read_table(path)
    users = table["user"].to_pylist()
    changed = pa.array([users[0], users[1], users[3], users[2], users[4]], pa.int64())
    pq.write_table(table.set_column(0, "user", changed), path)
    assert size == path.stat().st_size

    found = version.verify("content").output
    assert ("changed", ["The rows have another hash."]) == (found.status, list(found.reasons))
    assert "no difference seen" == version.verify("footer").output.status


def test_output_that_cannot_be_read_is_unreadable(inputs: Path) -> None:
    version = version_of(inputs)
    path = Path(version.files()[0])
    path.write_bytes(b"x" * path.stat().st_size)

    assert "unreadable" == version.verify("content").output.status


def test_columns_out_of_the_hash_are_not_called_same(inputs: Path) -> None:
    columns = (*COLUMNS[:2], column("spent", FLOAT, is_inexact=True), *COLUMNS[3:])
    found = version_of(inputs, columns=columns).verify("content").output

    assert "no difference seen" == found.status
    assert ["'spent' cannot be compared: not exact."] == list(found.reasons)


def test_unknown_level_is_refused(inputs: Path) -> None:
    with pytest.raises(ConfigError, match="Level 'deep' is not known; it must be one of listing, "):
        version_of(inputs).verify("deep")


def test_result_is_plain(inputs: Path) -> None:
    found = version_of(inputs).verify("listing").to_dict()

    assert "no difference seen" == found["status"] == found["inputs"]["Imp"]["status"]
    assert None is found["pinned"]
