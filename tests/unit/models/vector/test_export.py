"""Vectors as files."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.models import Trained
from tadka.models.vector.export import export_vectors, read_manifest
from tests.models import fit as fit_tiny
from tests.unit.models.vectors import NUM_ITEMS, NUM_USERS, fit, pairs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return fit(tmp_path_factory.mktemp("run"), pairs(), epochs=2).load()


def test_every_value_has_its_vector_in_order_of_its_row(trained: Trained, tmp_path: Path) -> None:
    done = export_vectors(trained, tmp_path / "out", part_rows=10)

    assert {"user": NUM_USERS, "item": NUM_ITEMS} == dict(done.num_vectors)
    manifest = read_manifest(tmp_path / "out")
    assert [f"user/part-0000{n}.parquet" for n in range(3)] == manifest["vocabularies"]["user"][
        "parts"
    ]
    tables = [
        pq.read_table(tmp_path / "out" / part) for part in manifest["vocabularies"]["user"]["parts"]
    ]
    assert [10, 10, 4] == [len(table) for table in tables]
    assert pa.list_(pa.float32(), 8) == tables[0].schema.field("vector").type
    vectors = trained.vectors()["user"]
    keys = np.concatenate([table["key"].to_numpy() for table in tables])
    assert trained.model.state.vocabulary("user").values().tolist() == keys.tolist()
    assert list(range(1, NUM_USERS + 1)) == [
        row for table in tables for row in table["row"].to_pylist()
    ]
    assert vectors[1:].tolist() == [
        vector for table in tables for vector in table["vector"].to_pylist()
    ]
    assert vectors[0].tolist() == manifest["vocabularies"]["user"]["unseen"]
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert done.num_bytes == sum(file.stat().st_size for file in files)


def test_texts_stay_texts_and_one_vocabulary_may_be_chosen(
    trained: Trained, tmp_path: Path
) -> None:
    export_vectors(trained.folder.parent, tmp_path / "out", vocabularies=["item"])

    (part,) = (tmp_path / "out").rglob("*.parquet")
    table = pq.read_table(part)
    assert trained.model.state.vocabulary("item").values().to_pylist() == table["key"].to_pylist()
    assert ["item"] == list(read_manifest(tmp_path / "out")["vocabularies"])


def test_what_is_there_is_replaced_only_if_asked(trained: Trained, tmp_path: Path) -> None:
    export_vectors(trained, tmp_path / "out", part_rows=4)
    with pytest.raises(DataError, match="exists"):
        export_vectors(trained, tmp_path / "out")
    assert 6 == len(list((tmp_path / "out" / "user").iterdir()))

    export_vectors(trained, tmp_path / "out", overwrite=True)
    assert 1 == len(list((tmp_path / "out" / "user").iterdir()))


def test_an_export_that_fails_leaves_what_was_there(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_vectors(trained, tmp_path / "out")
    before = (tmp_path / "out" / "vectors.json").read_text()

    def fails(*arguments: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fails)
    with pytest.raises(OSError, match="no"):
        export_vectors(trained, tmp_path / "out", overwrite=True)

    assert before == (tmp_path / "out" / "vectors.json").read_text()
    assert ["out"] == [path.name for path in tmp_path.iterdir()]


def test_wrong_arguments_are_told(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="no vectors of 'shop'; it has user, item"):
        export_vectors(trained, out, vocabularies=["shop"])
    with pytest.raises(ConfigError, match="metric is 'l2' and part_rows 1"):
        export_vectors(trained, out, metric="l2", part_rows=1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="part_rows 0"):
        export_vectors(trained, out, part_rows=0)
    tiny = fit_tiny(tmp_path / "tiny", {"name": "tiny", "epochs": 1})
    with pytest.raises(ConfigError, match="has no vectors at all"):
        export_vectors(tiny.folder, out)
    assert not out.exists()
    with pytest.raises(NotFound, match="holds no exported vectors"):
        read_manifest(tmp_path)
    (tmp_path / "vectors.json").write_text(json.dumps([1]))
    with pytest.raises(DataError, match="damaged"):
        read_manifest(tmp_path)


def test_vectors_must_be_one_for_each_row(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(trained), "vectors", lambda self: {"user": np.zeros((3, 2))})
    with pytest.raises(DataError, match=r"shape \(3, 2\); they must be one for each of 25 rows"):
        export_vectors(trained, tmp_path / "out")
