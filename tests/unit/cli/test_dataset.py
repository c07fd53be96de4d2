import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tadka.dataset import to_yaml
from tests.command import TADKA, run_command
from tests.unit.dataset.shop import CHECKS, make_shop, shop_dataset

PERIOD = ("--start", "2026-01-01", "--end=2026-01-04", "--extracted-at", "2026-02-01T00:00:00Z")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a definition, its tables, and one version."""
    folder = tmp_path_factory.mktemp("dataset")
    dataset = shop_dataset(make_shop(folder / "shop"), checks=CHECKS)
    (folder / "ctr.yaml").write_text(to_yaml(dataset.definition))
    done = run(folder, "write", "ctr.yaml", "out", *PERIOD, "--tag", "first", "--json")
    assert done.returncode == 0, done.stderr
    (folder / "first.json").write_text(done.stdout)
    return folder


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    """Tables of a test's own, and a YAML file that says where they are."""
    shutil.copytree(place / "shop", tmp_path / "shop")
    overrides = {
        "tables": {
            "Imp": {"source": f"{tmp_path}/shop/imp/dt={{dt}}/*.parquet"},
            "Click": {"source": f"{tmp_path}/shop/click/dt={{dt}}/*.parquet"},
            "User": {"source": f"{tmp_path}/shop/user.parquet"},
            "Ad": {"source": f"{tmp_path}/shop/ad.parquet"},
        }
    }
    (tmp_path / "here.yaml").write_text(json.dumps(overrides))
    shutil.copy(place / "ctr.yaml", tmp_path)
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_command(folder, "dataset", *words, environment={"COLUMNS": "200"})


def test_write_says_what_it_wrote(place: Path) -> None:
    found = json.loads((place / "first.json").read_text())

    assert 300 == found["num_rows"]
    assert ["first"] == found["tags"]
    assert {"passed"} == set(found["checks"])
    assert Path(found["path"]).is_dir()

    again = run(place, "write", "ctr.yaml", "out", *PERIOD)
    assert again.returncode == 0, again.stderr
    assert f"version  {found['id']}  (first)" in again.stdout
    assert "passed   Unique(user, at)" in again.stdout


def test_a_terminal_has_each_result_once(place: Path) -> None:
    ours, theirs = os.openpty()
    words = [str(TADKA), "dataset", "check", "ctr.yaml", *PERIOD]
    with subprocess.Popen(words, cwd=place, stdin=theirs, stdout=theirs, stderr=theirs) as done:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # by which Linux says that it has ended
            while part := os.read(ours, 1 << 16):
                shown += part
        os.close(ours)

    assert 0 == done.returncode, shown
    assert 1 == shown.count(b"NoTies(user)")
    assert 1 == shown.count(b"Listed(Imp)")


def test_list_and_show(place: Path, tmp_path: Path) -> None:
    found = json.loads((place / "first.json").read_text())

    listed = run(place, "list", "out", "--json")
    assert [found] == json.loads(listed.stdout)
    assert found["id"] in run(place, "list", "out").stdout

    shown = run(place, "show", "out", "--version", found["id"][:6], "--page", f"{tmp_path}/p.html")
    assert shown.returncode == 0, shown.stderr
    assert found["output_hash"] in shown.stdout
    assert "<!doctype html>" in (tmp_path / "p.html").read_text().lower()
    manifest = json.loads(run(place, "show", "out", "--version", "first", "--json").stdout)
    assert found["id"] == manifest["id"]


def test_plan_starts_nothing_and_says_what_would_be_read(place: Path) -> None:
    plan = json.loads(run(place, "plan", "ctr.yaml", *PERIOD, "--json").stdout)

    tables = {table["name"]: table for table in plan["tables"]}
    assert 300 == tables["Imp"]["num_rows"]
    assert ["dt=2026-01-01", "dt=2026-01-02", "dt=2026-01-03"] == tables["Imp"]["partitions"]
    spark = run(place, "plan", "ctr.yaml", *PERIOD, "--engine", "spark")
    assert "TIMESTAMP_LTZ" in spark.stdout
    assert spark.returncode == 0


def test_verify_names_the_partition_that_changed(copy: Path) -> None:
    write = run(copy, "write", "ctr.yaml", "out", *PERIOD, "--with", "here.yaml")
    assert write.returncode == 0, write.stderr
    same = run(copy, "verify", "out")
    file = copy / "shop/imp/dt=2026-01-02/part.parquet"
    table = parquet.read_table(file)
    users = pa.array([9, *table["user"].to_pylist()[1:]], pa.int64())
    parquet.write_table(table.set_column(0, "user", users), file)

    changed = run(copy, "verify", "out", "--json")

    refused = run(copy, "write", "ctr.yaml", "out", *PERIOD, "--with", "here.yaml")
    accepted = run(
        copy, "write", "ctr.yaml", "out", *PERIOD, "--with", "here.yaml", "--accept-changed"
    )
    assert (1, 0) == (refused.returncode, accepted.returncode), accepted.stderr
    assert "dt=2026-01-02" in refused.stderr

    assert (0, 1) == (same.returncode, changed.returncode), same.stdout
    assert "changed" == json.loads(changed.stdout)["status"]
    assert "dt=2026-01-02" in changed.stdout
    assert "dt=2026-01-01" not in changed.stdout


def test_a_check_that_fails_ends_with_status_1_and_writes_nothing(copy: Path) -> None:
    (copy / "shop/imp/dt=2026-01-02/part.parquet").unlink()

    checked = run(copy, "check", "ctr.yaml", *PERIOD, "--with", "here.yaml")
    written = run(copy, "write", "ctr.yaml", "out", *PERIOD, "--with", "here.yaml")

    for done in (checked, written):
        assert 1 == done.returncode
        assert "dt=2026-01-02" in done.stderr
        assert "Traceback" not in done.stderr
    assert "failed   PartitionsExist(Imp)" in checked.stdout
    assert not (copy / "out/versions").exists() or not any((copy / "out/versions").iterdir())


def test_versions_differ(copy: Path) -> None:
    for end in ("2026-01-04", "2026-01-03"):
        words = ("--start=2026-01-01", f"--end={end}", "--extracted-at=2026-02-01T00:00:00Z")
        done = run(
            copy, "write", "ctr.yaml", "out", *words, "--with", "here.yaml", "--tag", f"to-{end}"
        )
        assert done.returncode == 0, done.stderr

    same = run(copy, "diff", "out", "to-2026-01-04", "to-2026-01-04")
    other = run(copy, "diff", "out", "to-2026-01-04", "latest", "--json")

    assert (0, 1) == (same.returncode, other.returncode)
    assert [300, 200] == json.loads(other.stdout)["num_rows"]
    pinned = run(copy, "pin", "out", "--version", "to-2026-01-03")
    assert pinned.returncode == 0, pinned.stderr
    assert any((copy / "out/versions").glob("*/inputs/**/*.parquet"))


def test_clean_removes_what_a_killed_write_left(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "out", tmp_path / "out")
    left = tmp_path / "out/versions/.prepared.1-aa.tmp"
    left.mkdir()
    shown = "versions/.prepared.1-aa.tmp"

    assert "nothing to remove\n" == run(tmp_path, "clean", "out").stdout  # it is young
    dry = run(tmp_path, "clean", "out", "--older-than", "0s", "--dry-run")
    assert f"would remove  {shown}\n" == dry.stdout
    assert left.is_dir()
    done = run(tmp_path, "clean", "out", "--older-than", "0s", "--json")
    assert {"removed": [shown], "dry_run": False} == json.loads(done.stdout)
    assert not left.exists()
    assert (
        run(place, "list", "out", "--json").stdout.replace(str(place), str(tmp_path))
        == run(tmp_path, "list", "out", "--json").stdout
    )


def test_yaml_becomes_python_and_yaml_again(place: Path, tmp_path: Path) -> None:
    python = run(place, "from-yaml", "ctr.yaml")
    (tmp_path / "ctr.py").write_text(python.stdout)

    yaml = run(tmp_path, "to-yaml", "ctr.py:Ctr", "--out", "again.yaml")

    assert yaml.returncode == 0, yaml.stderr
    assert (place / "ctr.yaml").read_text() == (tmp_path / "again.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check", "ctr.yaml"), "Parameter 'start' is missing"),
        (("check", "ctr.yaml", *PERIOD, "--ent", "2026-01-01"), "'ent' is not known"),
        (("check", "ctr.yaml", "start"), "'start' is not understood"),
        (("check", "ctr.yaml", "--start"), "--start has no value"),
        (("check", "ctr.yaml", *PERIOD, "--start", "2026-01-01"), "--start was given twice"),
        (("check", "ctr.yaml", *PERIOD, "--engine", "polars"), "polars"),
        (("check", "ctr.yml", *PERIOD), "ctr.yml"),
        (("check", "ctr", *PERIOD), "MODULE:CLASS"),
        (("show", "out", "--version", "last"), "'last'"),
        (("verify", "nowhere"), "nowhere"),
        (("clean", "out", "--older-than", "1 day"), "--older-than is '1 day'"),
        (("write", "ctr.yaml", "out", *PERIOD, "--tag", "../up"), "../up"),
    ],
)
def test_wrong_usage_is_one_line(place: Path, words: tuple[str, ...], message: str) -> None:
    done = run(place, *words)

    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert 1 == len(done.stderr.strip().splitlines())
