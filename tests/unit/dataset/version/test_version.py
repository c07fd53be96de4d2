from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.expression.kind import BOOL, BYTES, DATE, FLOAT, INT, STRING, UTC, Kind
from tadka.dataset.version.manifest import FileRecord, Manifest
from tadka.dataset.version.page import labels_of
from tadka.dataset.version.store import Store
from tadka.dataset.version.version import Version
from tests.unit.dataset.made import COLUMNS, column, hash_of, manifest_of, rows, write


def version_of(folder: Path, table: pa.Table, tag: str | None = None, **values: Any) -> Version:
    store = Store(folder / "out")
    with store.prepare() as prepared:
        return store.publish(prepared, write(prepared, table, **values), tag)


def published(folder: Path, files: Mapping[str, bytes | pa.Table], manifest: Manifest) -> Version:
    store = Store(folder / "out")
    with store.prepare() as prepared:
        for name, content in files.items():
            path = prepared / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                pq.write_table(content, path)
        records = tuple(
            FileRecord(path=name, num_rows=0, num_bytes=(prepared / name).stat().st_size)
            for name in files
        )
        return store.publish(prepared, replace(manifest, files=records))


def test_rows_are_read_as_they_were(tmp_path: Path) -> None:
    table = rows(1000)
    version = version_of(tmp_path, table, num_files=7)

    assert table.equals(version.read())
    assert 7 == len(version.files())
    assert table.select(["label", "user"]).equals(version.read(["label", "user"]))
    assert table.equals(pa.Table.from_batches(version.batches()))
    assert rows(5).equals(pa.Table.from_batches(version_of(tmp_path, rows(5)).batches()))


def test_version_says_what_it_is(tmp_path: Path) -> None:
    version = version_of(
        tmp_path, rows(1234), "best", created_at="2026-01-02T03:04:05.000006+00:00"
    )

    assert f"CtrTrain {version.id} (best): 1,234 rows" == str(version)
    assert datetime.fromisoformat("2026-01-02T03:04:05.000006Z") == version.created_at
    assert 1234 == version.num_rows


def test_version_without_rows_is_read(tmp_path: Path) -> None:
    version = version_of(tmp_path, rows(0), num_files=1)

    assert rows(0).schema == version.read().schema
    assert 0 == version.read().num_rows
    assert "same" == version.verify().status
    assert "Columns" in version.page()


def test_partition_columns_come_from_the_folders(tmp_path: Path) -> None:
    columns = (column("x", INT), column("day", DATE, is_nullable=True), column("s", STRING))
    manifest = manifest_of(columns=columns, partition_by=("day", "s"))
    part = pa.table({"x": pa.array([1, 2], pa.int64())})
    version = published(
        tmp_path,
        {
            "data/day=2026-01-01/s=a%2Fb%20c/part-00000.parquet": part,
            "data/day=__HIVE_DEFAULT_PARTITION__/s=x/part-00000.parquet": part,
        },
        manifest,
    )

    found = version.read()
    assert [(c.name, c.kind.arrow) for c in columns] == [(f.name, f.type) for f in found.schema]
    assert [date(2026, 1, 1)] * 2 + [None] * 2 == found["day"].to_pylist()
    assert ["a/b c"] * 2 + ["x"] * 2 == found["s"].to_pylist()
    assert [2026, None] == [d and d.year for d in version.read(["day"])["day"].to_pylist()][1:3]


def test_text_formats_are_read(tmp_path: Path) -> None:
    table = rows(20)
    lines = "".join(
        f'{{"user":{u},"city":{"null" if c is None else f"{c!r}".replace(chr(39), chr(34))},'
        f'"spent":{s},"label":{str(y).lower()},"split":"{p}"}}\n'
        for u, c, s, y, p in zip(*table.to_pydict().values(), strict=True)
    )
    written = hash_of(table)
    manifest = manifest_of(num_rows=20, output_hash=written, format="jsonl")
    version = published(tmp_path / "a", {"data/part-00000.jsonl": lines.encode()}, manifest)
    assert table.equals(version.read())
    assert "same" == version.verify().output.status

    path = tmp_path / "a.csv"
    pc.write_csv(table, path)
    manifest = replace(manifest, format="csv")
    version = published(tmp_path / "b", {"data/part-00000.csv": path.read_bytes()}, manifest)
    assert table.equals(version.read())
    assert "same" == version.verify().output.status


def test_unknown_column_is_refused(tmp_path: Path) -> None:
    version = version_of(tmp_path, rows(3))
    for read in (version.read, lambda names: list(version.batches(names))):
        with pytest.raises(
            ConfigError, match=r"has no column 'cty'; its columns are user, city, sp"
        ):
            read(["user", "cty"])


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    version = version_of(tmp_path, rows(30))
    first = Path(version.files()[0])
    first.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"part-00000\.parquet"):
        version.read()
    first.unlink()
    with pytest.raises(NotFound, match=r"part-00000\.parquet"):
        version.read()
    Path(version.path, "sample.parquet").unlink()
    with pytest.raises(NotFound, match=r"sample\.parquet"):
        version.sample()


def test_page_counts_labels_by_split(tmp_path: Path) -> None:
    version = version_of(tmp_path, rows(100), "t")

    assert {"train": (80, 0.5), "valid": (20, 0.5)} == labels_of(version)
    version.save_page(tmp_path / "page.html")
    assert version.page() == (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array([1, 0, None, 1], pa.int8()), Kind("int8"), {"all": (4, 2 / 3)}),
        (pa.array([None] * 4, pa.bool_()), BOOL, {"all": (4, None)}),
        (pa.array([0.5, 1.5, None, 1.0]), FLOAT, {"all": (4, 1.0)}),
        (pa.array(["a", "b", "c", "d"]), STRING, None),
    ],
)
def test_labels_of_every_kind(tmp_path: Path, values: pa.Array, kind: Kind, expected: Any) -> None:
    version = version_of(
        tmp_path, pa.table({"y": values}), columns=(column("y", kind, "label", is_nullable=True),)
    )

    assert expected == labels_of(version)
    assert version.page()


def test_without_a_label_there_is_a_page_all_the_same(tmp_path: Path) -> None:
    version = version_of(tmp_path, rows(4), columns=COLUMNS[:3])

    assert "Label by split" not in version.page()


def test_mlflow_logs_it_as_an_input_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # others need more than mlflow-skinny
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    version = version_of(tmp_path, rows(10), "best")
    mlflow.set_tracking_uri(f"file://{tmp_path}/runs")
    with mlflow.start_run() as run:
        mlflow.log_input(version.to_mlflow(), context="training")

    inputs = mlflow.get_run(run.info.run_id).inputs
    assert inputs is not None
    (logged,) = inputs.dataset_inputs
    assert (version.name, version.id) == (logged.dataset.name, logged.dataset.digest)
    assert version.path == mlflow.data.get_source(logged).uri  # type: ignore[attr-defined]
    assert ["training"] == [tag.value for tag in logged.tags]


def test_mlflow_knows_schema_and_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    kinds = (
        BOOL,
        Kind("int8"),
        Kind("int32"),
        INT,
        Kind("float32"),
        FLOAT,
        STRING,
        BYTES,
        DATE,
        UTC,
    )
    columns = tuple(column(f"c{i}", kind) for i, kind in enumerate(kinds))
    table = pa.table({c.name: pa.array([], c.kind.arrow) for c in columns}).append_column(
        "l", pa.array([], pa.list_(pa.int64()))
    )
    version = version_of(
        tmp_path,
        table,
        "best",
        columns=(*columns, column("l", Kind("list", INT), is_nullable=True)),
    )
    dataset = version.to_mlflow()
    found = dataset.to_dict()

    assert ("CtrTrain", version.id) == (found["name"], found["digest"])
    assert version.path in found["source"]
    assert '"num_rows": 0' in found["profile"]
    assert version.manifest.output_hash in found["profile"]
    assert 11 == len(dataset.schema.inputs)
    assert not dataset.schema.inputs[-1].required
    assert found["profile"] == dataset._to_mlflow_entity().profile


def test_store_that_mlflow_does_not_know_is_named_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    found = Version("memory://out/versions/x", manifest_of()).to_mlflow().to_dict()

    assert "memory://out/versions/x" in found["source"]
