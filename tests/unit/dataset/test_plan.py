"""A plan says what would be read, without an engine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tadka.core.error import ConfigError
from tadka.dataset import CheckFailed, CheckWarning
from tadka.dataset.plan import plan
from tests.unit.dataset.shop import PERIOD, make_shop, shop_dataset


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return make_shop(tmp_path / "shop")


def test_a_plan_counts_partitions_files_rows_and_bytes(shop: Path) -> None:
    found = plan(shop_dataset(shop), **PERIOD)

    click = next(table for table in found.tables if table.name == "Click")
    assert (12, 12, 360) == (len(click.partitions), click.num_files, click.num_rows)
    assert ("dt=2025-12-25", "dt=2026-01-05") == (click.partitions[0], click.partitions[-1])
    assert sum(path.stat().st_size for path in shop.glob("click/*/*")) == click.num_bytes
    assert ("recent", "clicked") == click.aliases
    assert {"start": "2026-01-01", "end": "2026-01-04"}.items() <= found.parameters.items()
    assert {"user": "int64", "label": "bool", "split": "string"}.items() <= found.columns.items()
    assert 300 == found.most_rows
    assert "dt=2026-01-01" == json.loads(json.dumps(found.to_dict()))["tables"][0]["partitions"][0]


def test_each_engine_has_its_sql(shop: Path) -> None:
    dataset = shop_dataset(shop)

    texts = {
        "duckdb": plan(dataset, **PERIOD).sql,
        "spark": plan(dataset, engine="spark", **PERIOD).sql,
    }

    assert '"Imp"' in texts["duckdb"]
    assert "`Imp`" in texts["spark"]
    with pytest.raises(ConfigError, match="Engine 'polars' is not known"):
        plan(shop_dataset(shop), engine="polars", **PERIOD)  # type: ignore[arg-type]


def test_a_missing_day_is_a_warning_and_a_missing_table_an_error(shop: Path) -> None:
    shutil.rmtree(shop / "imp/dt=2026-01-02")
    with pytest.warns(CheckWarning, match="dt=2026-01-02"):
        found = plan(shop_dataset(shop), **PERIOD)
    assert 200 == found.most_rows

    (shop / "ad.parquet").unlink()
    with (
        pytest.warns(CheckWarning, match="dt=2026-01-02"),
        pytest.raises(CheckFailed, match=r"Listed\(Ad\)"),
    ):
        plan(shop_dataset(shop), **PERIOD)


def test_a_plan_starts_no_engine(shop: Path, repository: Path) -> None:
    text = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tadka.dataset.plan import plan\n"
        "from tests.unit.dataset.shop import PERIOD, shop_dataset\n"
        "plan(shop_dataset(Path(sys.argv[1])), engine='spark', **PERIOD)\n"
        "assert not {'duckdb', 'pyspark'} & set(sys.modules), 'an engine was imported'\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", text, str(shop)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
