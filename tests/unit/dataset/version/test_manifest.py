import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import DataError
from tadka.dataset.expression.kind import INT, Kind
from tadka.dataset.version.manifest import FORMAT, Manifest, Span, TableRecord, plain
from tests.unit.dataset.made import column, manifest_of


def again(manifest: Manifest) -> Manifest:
    return Manifest.from_json(manifest.to_json(), "manifest.json")


def table(**values: Any) -> TableRecord:
    made: dict[str, Any] = {
        "source": {"kind": "delta", "uri": "/x"},
        "partitions": {"dt": "date"},
        "columns": {"user": "int64"},
        "fingerprint": {"level": "listing", "partitions": {"dt=2026-01-01": "aa"}, "files": ""},
    }
    return TableRecord(**{**made, **values})


def test_manifest_survives_its_text() -> None:
    manifest = manifest_of(
        {"data/a.parquet": 7},
        tables={
            "Imp": table(spans=(Span(column="dt", start="2026-01-01", end=None),), num_rows=3),
            "Ad": TableRecord(source="/data/ads.parquet", snapshot="v7", num_bytes=2**40),
        },
        columns=(column("見る", Kind("list", INT), is_inexact=True), column("b", INT, "label")),
        parameters={"no": "on", "quote": 'a"\\\n\u2028', "none": None, "least": -(2**63)},
        checks=({"name": "RowCount", "status": "passed", "message": "3 rows", "seconds": 0.1},),
        partition_by=("b",),
    )

    assert manifest == again(manifest)
    assert manifest.id == again(manifest).id
    assert ("見る",) == again(manifest).inexact
    assert 7 == manifest.num_bytes


def test_parameters_have_one_form() -> None:
    given = manifest_of(parameters={"start": date(2026, 1, 1), "share": 0.5})
    read = manifest_of(parameters={"start": "2026-01-01", "share": 0.5})

    assert given.id == read.id == again(given).id


def test_id_is_of_the_content_alone() -> None:
    first = manifest_of({"data/a": 1}, num_rows=3)
    same = manifest_of(
        {"data/b": 2, "data/c": 4},
        num_rows=3,
        engine={"name": "spark"},
        created_at="2020-01-01T00:00:00+00:00",
        seconds={},
    )
    others = [
        manifest_of(num_rows=4),
        manifest_of(num_rows=3, output_hash="1" * 32),
        manifest_of(num_rows=3, definition_digest="e" * 64),
        manifest_of(num_rows=3, parameters={}),
        manifest_of(num_rows=3, columns=(column("user", Kind("int32")),)),
    ]

    assert first.id == same.id
    assert 16 == len(first.id)
    assert 6 == len({first.id, *(other.id for other in others)})


@pytest.mark.parametrize("length", [0, 1, 2, 100, -200, -2])
def test_text_cut_short_is_refused(length: int) -> None:
    text = manifest_of().to_json()

    with pytest.raises(DataError, match=r"'x/manifest.json' is damaged: .*Delete the folder it"):
        Manifest.from_json(text[:length], "x/manifest.json")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"num_rows": 0', '"num_rows": 1'),
        ('"python": "3.11.2"', '"python": "3.11.3"'),
        ('"seconds": {', '"second": {'),
        ('"TimeZone": "UTC"', '"TimeZone": "Asia/Tokyo"'),
    ],
)
def test_edited_text_is_refused(old: str, new: str) -> None:
    text = manifest_of().to_json()
    assert old in text

    with pytest.raises(DataError, match="its text was changed after it was written"):
        Manifest.from_json(text.replace(old, new, 1), "m")


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"format_version": null}', "\x00", "é"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="'m' is damaged"):
        Manifest.from_json(text, "m")
    with pytest.raises(DataError, match="'m' is damaged"):
        Manifest.from_json(b"\xff" + text.encode(), "m")


def test_text_that_only_looks_right_is_refused() -> None:
    from tadka.dataset.version.manifest import _digest

    def changed(**values: Any) -> str:
        body = json.loads(manifest_of(tables={"T": table()}).to_json())
        del body["digest"]
        body = {name: value for name, value in {**body, **values}.items() if value is not ...}
        return json.dumps({**body, "digest": _digest(body)})

    assert Manifest.from_json(changed(), "m").tables == {"T": table()}
    for values, message in (
        ({"files": ...}, "it lacks what a manifest has"),
        ({"tables": {"T": {}}}, "it lacks what a manifest has"),
        ({"tables": []}, "it lacks what a manifest has"),
        ({"columns": [{"name": "a", "kind": "money"}]}, "it lacks what a manifest has"),
        ({"id": "0" * 16}, "its id is not that of its content"),
    ):
        with pytest.raises(DataError, match=message):
            Manifest.from_json(changed(**values), "m")


def test_what_a_newer_tadka_wrote_is_refused() -> None:
    text = manifest_of().to_json().replace(f'"format_version": {FORMAT}', '"format_version": 99')

    with pytest.raises(DataError, match=r"by a newer tadka \(format 99; .* up to 1\)\. Run: pip"):
        Manifest.from_json(text, "m")


def test_formatting_of_the_text_does_not_matter() -> None:
    manifest = manifest_of(tables={"T": table()})
    text = json.dumps(dict(reversed(json.loads(manifest.to_json()).items())))

    assert manifest == Manifest.from_json(text, "m")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2026, 1, 31), "2026-01-31"),
        (datetime.fromisoformat("2026-01-31T01:02:03.000004"), "2026-01-31T01:02:03.000004"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00+00:00"),
        (b"\x00\xff", "00ff"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (np.float32(0.5), 0.5),
        (np.int64(-3), -3),
        (np.bool_(True), True),
        ((1, [date(2026, 1, 1), None]), [1, ["2026-01-01", None]]),
        ("text", "text"),
        (None, None),
        (True, True),
    ],
)
def test_values_become_plain(value: Any, expected: Any) -> None:
    found = plain(value)

    assert expected == found
    assert type(expected) is type(found)
    json.dumps(found, allow_nan=False)


def test_spans_say_which_partitions_belong() -> None:
    record = table(
        spans=(
            Span(column="dt", start="2026-01-01", end="2026-01-03"),
            Span(column="dt", start="2026-03-01", end=None),
        )
    )
    kept = [day for day in (date(2025, 12, 31) + timedelta(days=i) for i in range(100))
            if record.keeps({"dt": day})]  # fmt: skip

    assert [date(2026, 1, 1), date(2026, 1, 2)] == kept[:2]
    assert date(2026, 3, 1) == kept[2]
    assert not record.keeps({"dt": None})
    with pytest.raises(KeyError):
        record.keeps({"hour": 3})


def test_times_with_and_without_fraction_order_as_they_do() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    span = Span(column="at", start=plain(start), end=plain(start + timedelta(seconds=1)))
    for micros, expected in ((-1, False), (0, True), (1, True), (999_999, True), (10**6, False)):
        assert expected == span.holds({"at": start + timedelta(microseconds=micros)})


def test_without_spans_the_partitions_known_by_name_belong() -> None:
    assert table().keeps({"dt": date(2026, 1, 1)})
    assert not table().keeps({"dt": date(2026, 1, 2)})
    assert table(spans=()).keeps({"dt": date(2026, 1, 2)})
    with pytest.raises(KeyError):
        table().keeps({})


def test_sources_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = (
        "a/dt={dt}/*.csv",
        {"kind": "files", "path": "a", "format": "csv"},
        "s3://b/k",
        "/a//b",
    )
    found = [table(source=source).source for source in given]

    root = Path.cwd()
    path = {"kind": "files", "path": f"{root}/a", "format": "csv"}
    assert [f"{root}/a/dt={{dt}}/*.csv", path, "s3://b/k", "/a/b"] == found


def test_declared_columns_know_their_partitions() -> None:
    found = table().declared()

    assert {"user": False, "dt": True} == {n: c.is_partition for n, c in found.items()}
    assert "date" == str(found["dt"].kind)
