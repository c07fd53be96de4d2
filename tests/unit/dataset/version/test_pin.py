import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.source.files import Files
from tadka.dataset.version.manifest import Span, TableRecord
from tadka.dataset.version.store import Store
from tadka.dataset.version.version import Version
from tests.unit.dataset.made import rows, write
from tests.unit.dataset.version.test_verify import DAYS, day_file, edit, record_of


def pinnable(folder: Path, uri: str | None = None, **tables: TableRecord) -> Version:
    """A version of two tables: one in partitions, one in a single file."""
    for day in DAYS:
        day_file(folder / "imp", day, [1, 5, 9])
    day_file(folder / "x", "2026-01-01", [7])
    store = Store(uri or folder / "out")
    span = Span(column="dt", start=DAYS[0], end=DAYS[2])
    given = {
        "Imp": record_of(f"{folder}/imp/dt={{dt}}/*.parquet", "content", spans=(span,)),
        "log/ads": one_file(folder / "x" / "dt=2026-01-01" / "a.parquet"),
        **tables,
    }
    with store.prepare() as prepared:
        return store.publish(prepared, write(prepared, rows(10), tables=given))


def one_file(path: Path) -> TableRecord:
    from tadka.dataset.version.fingerprint import take

    found = take(Files(str(path)).resolve({}), "footer")
    return TableRecord(source=str(path), spans=(), fingerprint=found.to_dict())


def listed(path: str, record: TableRecord) -> list[dict[str, Any]]:
    files = Files(path).resolve(record.declared()).files
    return [{name: str(value) for name, value in file.values.items()} for file in files]


@pytest.mark.parametrize("place", ["local", "s3"])
def test_copies_are_found_by_their_paths(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    uri = None if place == "local" else request.getfixturevalue("bucket") + "/out"
    version = pinnable(tmp_path, uri)
    assert {} == version.pinned()

    paths = version.pin()

    assert paths == version.pinned() == version.pin()
    assert f"{version.path}/inputs/Imp/dt={{dt}}/*.parquet" == paths["Imp"]
    assert f"{version.path}/inputs/log%2Fads/a.parquet" == paths["log/ads"]
    tables = version.manifest.tables
    assert [{"dt": DAYS[0]}, {"dt": DAYS[1]}] == listed(paths["Imp"], tables["Imp"])
    assert [{}] == listed(paths["log/ads"], tables["log/ads"])


def test_copies_stay_when_the_inputs_go(tmp_path: Path) -> None:
    version = pinnable(tmp_path)
    version.pin()
    (tmp_path / "imp").rename(tmp_path / "gone")

    found = version.verify("content")
    assert "unreadable" == found.inputs["Imp"].status
    assert found.pinned is not None
    assert "same" == found.pinned.status
    assert "pinned inputs: same" in str(found)
    assert "no difference seen" == version.verify("listing").pinned.status  # type: ignore[union-attr]


def test_edited_copies_are_seen(tmp_path: Path) -> None:
    version = pinnable(tmp_path)
    version.pin()
    copies = [Path(version.path, "inputs", "Imp", f"dt={day}", "a.parquet") for day in DAYS[:2]]
    edit(copies[0])

    assert "no difference seen" == version.verify("footer").pinned.status  # type: ignore[union-attr]
    found = version.verify("content").pinned
    assert found is not None
    assert ("changed", ["inputs/Imp/dt=2026-01-01/a.parquet"]) == (found.status, list(found.files))
    assert found.reasons[0].endswith("has other content")

    copies[0].unlink()
    copies[1].write_bytes(b"x")
    found = version.verify("listing").pinned
    assert found is not None
    assert found.reasons[0].endswith("is gone")
    assert "has 1 bytes instead of" in found.reasons[1]


def test_inputs_that_changed_are_not_pinned(tmp_path: Path) -> None:
    version = pinnable(tmp_path)
    edit(tmp_path / "imp" / "dt=2026-01-01" / "a.parquet")

    with pytest.raises(DataError, match=r"Table 'Imp' is no longer what .*changed: dt=2026-01-01,"):
        version.pin()
    assert {} == version.pinned()
    (tmp_path / "imp").rename(tmp_path / "gone")
    with pytest.raises(NotFound, match="No file matches"):
        version.pin()


def test_half_a_copy_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = pinnable(tmp_path)
    import tadka.dataset.version.pin as pins

    copied = pins._copied

    def fails(version: Version, file: Any, path: str) -> dict[str, Any]:
        if "log" in path:
            raise DataError("the disk is full")
        return copied(version, file, path)

    with monkeypatch.context() as patch:
        patch.setattr(pins, "_copied", fails)
        with pytest.raises(DataError, match="the disk is full"):
            version.pin()
    assert {} == version.pinned()
    assert None is version.verify("listing").pinned
    store = Store(tmp_path / "out")
    half = f"versions/{version.id}/inputs"
    assert [half] == store.clean(older_than=timedelta(seconds=-60))
    assert 2 == len(version.pin())
    assert [] == store.clean(older_than=timedelta(seconds=-60))


def test_table_that_lies_in_no_files_cannot_be_pinned(tmp_path: Path) -> None:
    record = TableRecord(source={"kind": "catalog", "name": "db.imp"}, fingerprint={})
    version = pinnable(tmp_path, Other=record)

    with pytest.raises(ConfigError, match="Table 'Other' comes from Catalog; only tables in files"):
        version.pin()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format_version": 1}', '{"format_version": 1, "tables": {"a": {}}}']
)
def test_damaged_record_of_copies_is_named(tmp_path: Path, text: str) -> None:
    version = pinnable(tmp_path)
    Path(version.path, "inputs.json").write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=r"inputs\.json' is damaged\. Delete it and pin"):
        version.pinned()
    assert "unreadable" == version.verify("listing").status
    Path(version.path, "inputs.json").write_text(
        json.dumps({"format_version": 9}), encoding="utf-8"
    )
    with pytest.raises(DataError, match="by a newer tadka"):
        version.pin()
