"""Versions for tests of what comes after the rows: small, and made by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.expression.kind import BOOL, FLOAT, INT, STRING, Kind
from tadka.dataset.measure.rowhash import RowHash
from tadka.dataset.version.manifest import FileRecord, Manifest, TableRecord

COLUMNS = (
    OutputColumn("user", INT, False, False, "feature"),
    OutputColumn("city", STRING, True, False, "feature"),
    OutputColumn("spent", FLOAT, True, False, "feature"),
    OutputColumn("label", BOOL, False, False, "label"),
    OutputColumn("split", STRING, False, False, "split"),
)


def rows(num_rows: int = 10, *, salt: int = 0) -> pa.Table:
    """Rows of `COLUMNS`, others for each salt."""
    return pa.table(
        {
            "user": pa.array(range(salt, salt + num_rows), pa.int64()),
            "city": pa.array(
                [None if i % 4 == 3 else f"c{i % 3}" for i in range(num_rows)], pa.string()
            ),
            "spent": pa.array([i / 8 for i in range(num_rows)], pa.float64()),
            "label": pa.array([i % 2 == 0 for i in range(num_rows)], pa.bool_()),
            "split": pa.array(
                ["valid" if i % 5 == 4 else "train" for i in range(num_rows)], pa.string()
            ),
        }
    )


def hash_of(table: pa.Table, columns: Sequence[OutputColumn] = COLUMNS) -> str:
    """The output hash of rows."""
    found = RowHash([(c.name, c.kind) for c in columns if not c.is_inexact])
    found.update(table)
    return found.hexdigest()


def manifest_of(sizes: Mapping[str, int] | None = None, /, **values: Any) -> Manifest:
    """A manifest; every value can be given, and numbers of bytes by path for `files`."""
    given = dict(sizes or {})
    files = [FileRecord(path=p, num_rows=0, num_bytes=n) for p, n in given.items()]
    made: dict[str, Any] = {
        "name": "CtrTrain",
        "definition": "name: CtrTrain\nrows: imp\n",
        "definition_digest": "d" * 64,
        "is_portable": True,
        "parameters": {"start": "2026-01-01", "end": "2026-02-01"},
        "engine": {"name": "duckdb", "version": "2.0.0", "options": {"TimeZone": "UTC"}},
        "tables": {},
        "columns": COLUMNS,
        "format": "parquet",
        "partition_by": (),
        "files": tuple(files),
        "num_rows": 0,
        "output_hash": "0" * 32,
        "statistics": {},
        "checks": (),
        "code": {"commit": None, "is_dirty": None, "module": None},
        "environment": {"python": "3.11.2", "packages": {}},
        "seconds": {"query": 1.5},
        "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    return Manifest(**{**made, **values})


def write(
    folder: Path,
    table: pa.Table,
    *,
    num_files: int = 2,
    tables: Mapping[str, TableRecord] | None = None,
    **values: Any,
) -> Manifest:
    """Parquet files of rows in a prepared folder, and the manifest for them."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    step = -(-table.num_rows // num_files) or 1
    files = []
    for index in range(num_files):
        path = folder / "data" / f"part-{index:05d}.parquet"
        part = table.slice(index * step, step)
        pq.write_table(part, path)
        files.append(
            FileRecord(
                path=f"data/{path.name}", num_rows=part.num_rows, num_bytes=path.stat().st_size
            )
        )
    pq.write_table(table.slice(0, 5), folder / "sample.parquet")
    columns = values.get("columns", COLUMNS)
    return replace(
        manifest_of(num_rows=table.num_rows, output_hash=hash_of(table, columns), **values),
        files=tuple(files),
        tables=dict(tables or {}),
    )


def column(name: str, kind: Kind = INT, role: Any = "feature", **flags: bool) -> OutputColumn:
    """One column of an output."""
    return OutputColumn(
        name, kind, flags.get("is_nullable", False), flags.get("is_inexact", False), role
    )
