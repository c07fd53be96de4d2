"""Tables of Delta Lake."""

import datetime as dt
import json
import struct
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from zmq.utils import z85

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import DATE, INT, STRING, UTC
from tadka.dataset.source.delta import Delta
from tadka.dataset.source.footer import check_columns, footers
from tadka.dataset.source.listing import Listing
from tadka.dataset.version.fingerprint import take, verify

COLUMNS: dict[str, Column[Any]] = {
    "dt": Column("dt", DATE, is_partition=True),
    "place": Column("place", STRING, is_partition=True),
    "x": Column("x", INT),
    "at": Column("at", UTC),
}


def write(uri: str, *xs: int, **options: Any) -> None:
    table = pa.table(
        {
            "dt": [dt.date(2026, 1, 1 + x % 2) for x in xs],
            "place": ["a b/c%" if x % 2 else None for x in xs],
            "x": list(xs),
            "at": pa.array(xs, pa.timestamp("us", "UTC")),
        }
    )
    deltalake.write_deltalake(uri, table, partition_by=["dt", "place"], **options)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    write(f"{tmp_path}/t", 0, 1, 2)
    write(f"{tmp_path}/t", 3, mode="append")
    return f"{tmp_path}/t"


def values_of(listing: Listing) -> list[int]:
    tables = (pq.read_table(file.uri, partitioning=None) for file in listing.files)
    return sorted(x for table in tables for x in table["x"].to_pylist())


def test_files_of_the_newest_version_with_their_partitions(uri: str) -> None:
    listing = Delta(uri).resolve(COLUMNS)
    assert (listing.snapshot, listing.root) == ("1", uri)
    assert values_of(listing) == [0, 1, 2, 3]
    assert {(dt.date(2026, 1, 1), None), (dt.date(2026, 1, 2), "a b/c%")} == set(
        listing.partitions()
    )
    assert all(file.num_bytes == Path(file.uri).stat().st_size for file in listing.files)
    for file in listing.files:
        (x, *_) = pq.read_table(file.uri, partitioning=None)["x"].to_pylist()
        assert file.values["dt"].day == 1 + x % 2
    assert check_columns(footers(listing.files), COLUMNS) == []


def test_an_older_version(uri: str) -> None:
    listing = Delta(uri, version=0).resolve(COLUMNS)
    assert (listing.snapshot, values_of(listing)) == ("0", [0, 1, 2])


def test_only_wanted_partitions(uri: str) -> None:
    found = Delta(uri).resolve(COLUMNS, lambda values: values["dt"].day == 2)
    assert values_of(found) == [1, 3]
    with pytest.raises(NotFound, match="there are dt=2026-01-01/place=__HIVE_DEFAULT"):
        Delta(uri).resolve(COLUMNS, lambda _: False)


def test_a_version_that_was_removed_is_unreadable(uri: str) -> None:
    source = Delta(uri, version=1)
    old = take(source.resolve(COLUMNS), "content")
    assert verify(old, source, COLUMNS, level="content").status == "same"
    write(uri, 9, mode="overwrite")
    assert verify(old, source, COLUMNS, level="content").status == "same"
    assert verify(old, Delta(uri), COLUMNS, level="content").status == "changed"
    deltalake.DeltaTable(uri).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert verify(old, source, COLUMNS, level="footer").status == "unreadable"


def test_tables_and_versions_that_are_not_there(uri: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is no Delta table"):
        Delta(f"{tmp_path}/no").resolve(COLUMNS)
    with pytest.raises(DataError, match="at version 7"):
        Delta(uri, version=7).resolve(COLUMNS)
    with pytest.raises(ConfigError, match="negative"):
        Delta(uri, version=-1)


def test_partitions_must_be_declared_as_what_they_are(uri: str) -> None:
    with pytest.raises(ConfigError, match="'dt' is a partition of Delta table"):
        Delta(uri).resolve({**COLUMNS, "dt": Column("dt", DATE)})
    with pytest.raises(ConfigError, match=r"'x' is none of Delta table .* has dt, place"):
        Delta(uri).resolve({**COLUMNS, "x": Column("x", INT, is_partition=True)})


def _log(uri: str, version: int, *actions: dict[str, Any]) -> None:
    path = Path(uri, "_delta_log", f"{version:020d}.json")
    path.write_text("\n".join(map(json.dumps, actions)))


def _first(uri: str, name: str) -> dict[str, Any]:
    lines = Path(uri, "_delta_log", f"{0:020d}.json").read_text().splitlines()
    return next(action[name] for line in lines if name in (action := json.loads(line)))


def test_deletion_vectors_are_refused(uri: str) -> None:
    # as Spark writes them: a roaring bitmap of one row, kept in the log
    bitmap = struct.pack("<IIHHIH", 12346, 1, 0, 0, 16, 0)
    packed = struct.pack("<IQI", 1681511377, 1, 0) + bitmap
    vector = {
        "storageType": "i",
        "pathOrInlineDv": z85.encode(packed + b"\0\0").decode(),
        "sizeInBytes": len(packed),
        "cardinality": 1,
    }
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, **features}
    _log(uri, 2, {"protocol": protocol})
    assert values_of(Delta(uri).resolve(COLUMNS)) == [0, 1, 2, 3]
    add = _first(uri, "add")
    _log(
        uri,
        3,
        {"remove": {"path": add["path"], "dataChange": True, "deletionTimestamp": 1}},
        {"add": {**add, "deletionVector": vector}},
    )
    with pytest.raises(DataError, match="has deletion vectors"):
        Delta(uri).resolve(COLUMNS)


def test_renamed_columns_are_refused(tmp_path: Path) -> None:
    uri = f"{tmp_path}/plain"
    deltalake.write_deltalake(uri, pa.table({"x": [1]}))
    meta = _first(uri, "metaData")
    meta["configuration"] = {"delta.columnMapping.mode": "name"}
    schema = json.loads(meta["schemaString"])
    schema["fields"][0]["metadata"] = {
        "delta.columnMapping.id": 1,
        "delta.columnMapping.physicalName": "col-1",
    }
    meta["schemaString"] = json.dumps(schema)
    _log(uri, 1, {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}}, {"metaData": meta})
    with pytest.raises(DataError, match="columns of other names"):
        Delta(uri).resolve({"x": COLUMNS["x"]})


def test_a_table_on_a_store(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")  # of the client that deltalake has
    options = {"conditional_put": "etag"}
    write(f"{bucket}/t", 0, 1, storage_options=options)
    listing = Delta(f"{bucket}/t").resolve(COLUMNS)
    assert [1, 1] == [footer.num_rows for footer in footers(listing.files)]
    found = take(listing, "footer")
    assert all(path.startswith("dt=2026-01-0") for path in found.files)
