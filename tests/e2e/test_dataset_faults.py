"""Writes of versions that end too early: killed, interrupted, on a full disk, two at once."""

import contextlib
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tadka.dataset import Store, Version, session
from tests.unit.dataset.shop import PERIOD, make_shop, shop_dataset

NO_AGE = timedelta(0)
"""For clean(): no process is at work any more."""

NUM_KILLS = 10
TIMEOUT_S = 100.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


def write(shop: Path, out: Path, **options: Any) -> Version:
    with session(shop_dataset(shop), **PERIOD) as s:
        return s.write(out, **options)


def inside(folder: Path) -> set[str]:
    """All files and folders below, hidden ones, too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def of_versions(versions: Sequence[Version]) -> set[str]:
    """What a store holds that has these versions and nothing else."""
    found = {"versions"}
    for version in versions:
        folder = f"versions/{version.id}"
        found |= {folder, f"{folder}/data"}
        names = ("manifest.json", "definition.yaml", "sample.parquet")
        found |= {f"{folder}/{name}" for name in names}
        found |= {f"{folder}/{file.path}" for file in version.manifest.files}
        found |= {part for tag in version.tags for part in ("tags", f"tags/{tag}.json")}
    return found


def python(program: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def line_of(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def go(child: "subprocess.Popen[str]") -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


# ---------------------------------------------------------------- kill -9

# Forks a process for each write, so that none has to import anything while it counts.
KILL = """
import os, random, select, signal, sys, time
from pathlib import Path
import duckdb, pyarrow.parquet
from tadka.dataset import session
from tests.unit.dataset.shop import PERIOD, shop_dataset

shop, root, num_kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
random.seed(seed)

def begun(number):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        scratch = root / f"scratch-{number}"
        scratch.mkdir()
        with session(shop_dataset(shop), scratch=scratch, **PERIOD) as s:
            os.write(theirs, b"x")
            s.write(root / f"{number}", tag="new")
            os.write(theirs, b"y")
        os._exit(0)
    os.close(theirs)
    assert os.read(ours, 1) == b"x"
    return child, ours

def ends(ours, wait_s):
    is_told = select.select([ours], [], [], wait_s)[0]
    return bool(is_told) and os.read(ours, 1) == b"y"

child, ours = begun("whole")
start = time.perf_counter()
assert ends(ours, 60)
whole_s = time.perf_counter() - start
os.waitpid(child, 0)
number = 0
while number < num_kills:
    child, ours = begun(number)
    is_done = ends(ours, random.uniform(0, whole_s))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ours)
    if is_done:  # it was faster: that is no kill
        os.rename(root / f"{number}", root / f"done-{time.monotonic_ns()}")
        os.rename(root / f"scratch-{number}", root / f"scratch-{time.monotonic_ns()}")
    else:
        number += 1
"""


def test_killed_at_any_moment_there_is_a_whole_version_or_none(
    shop: Path, tmp_path: Path, repository: Path
) -> None:
    whole = write(shop, tmp_path / "expected", tag="new")
    arguments = [str(shop), str(tmp_path), str(NUM_KILLS), "5"]
    subprocess.run(
        [sys.executable, "-c", KILL, *arguments], check=True, cwd=repository, timeout=TIMEOUT_S
    )

    for number in range(NUM_KILLS):
        out = tmp_path / f"{number}"
        store = Store(out)
        versions = store.versions()
        assert [whole.id] * len(versions) == [version.id for version in versions]
        assert all(version.verify().is_same for version in versions)
        named = {path.name for path in out.glob("versions/[!.]*")}
        assert {version.id for version in versions} == named

        again = write(shop, out, tag="new")
        store.clean(older_than=NO_AGE)

        assert whole.id == again.id == store.version("new").id
        assert again.verify().is_same
        assert of_versions([again]) == inside(out)


# ---------------------------------------------------------------- Ctrl-C

STOPPED = """
import sys
from pathlib import Path
from tadka.dataset import session
from tests.unit.dataset.shop import PERIOD, shop_dataset

shop, out, scratch, engine = sys.argv[1:]
with session(shop_dataset(Path(shop)), engine=engine, scratch=scratch, **PERIOD) as s:
    print("ready", flush=True)
    s.write(out)
    for number in range(1_000_000):  # so that it is never too late
        s.write(f"{out}/{number}")
"""


@pytest.mark.parametrize("moment", range(3))
def test_ctrl_c_leaves_nothing(shop: Path, tmp_path: Path, repository: Path, moment: int) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()

    with python(
        STOPPED, shop, out, scratch, "duckdb", cwd=repository, stderr=subprocess.PIPE
    ) as child:
        assert "ready" == line_of(child)
        while not out.exists() or len(list(out.iterdir())) < moment:
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=TIMEOUT_S)

    assert -signal.SIGINT == child.returncode
    assert "KeyboardInterrupt" == told.splitlines()[-1]
    assert [] == list(scratch.iterdir())
    for folder in {path.parent for path in tmp_path.rglob("versions")}:
        versions = Store(folder).versions()
        assert all(version.verify().is_same for version in versions)
        Store(folder).clean(older_than=NO_AGE)  # where the signal came while it tidied up
        left = {path for path in inside(folder) if path.startswith("versions")}
        assert of_versions(versions) == left


LONG = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from tadka.dataset import *

place, scratch = map(Path, sys.argv[1:])
rows = pa.table({"key": pa.array(np.zeros(300_000, np.int64)),
                 "at": pa.array(np.arange(300_000), pa.timestamp("us", "UTC"))})
pq.write_table(rows, place / "rows.parquet")

class Event(Table, source=str(place / "rows.parquet"), time="at"):
    key: Column[int]
    at: Column[Utc]

class Endless(Dataset):
    '''Each row is joined with all before it: 45 billion pairs.'''
    event = Event.all()
    before = Event.all().last(days(1), on="key")
    rows = event
    features = {"n": before.count(), "last": before.at.max()}

with session(Endless, scratch=scratch) as s:
    print("ready", flush=True)
    s.write(place / "out")
"""


def test_ctrl_c_ends_a_query_that_takes_for_ever(tmp_path: Path, repository: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    with python(LONG, tmp_path, scratch, cwd=repository, stderr=subprocess.PIPE) as child:
        assert "ready" == line_of(child)
        while not list(tmp_path.glob("out/versions/.*/data/*")):  # the query runs, or is about to
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=TIMEOUT_S)

    assert -signal.SIGINT == child.returncode, told
    assert [] == list(scratch.iterdir())
    assert {"versions"} == inside(tmp_path / "out")


# ---------------------------------------------------------------- two at once

RACE = """
import sys
from pathlib import Path
from tadka.core.error import DataError
from tadka.dataset import session
from tests.unit.dataset.shop import PERIOD, shop_dataset

shop, out, kind, letter, num_turns = sys.argv[1:]
name = letter if kind == "different" else "a"
dataset = shop_dataset(Path(shop))
period = {**PERIOD, "end": PERIOD["end"].replace(day=3)} if name == "b" else PERIOD
with session(dataset, **period) as s:
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(int(num_turns)):
        try:
            print(s.write(f"{out}/{turn}", tag="t").id, flush=True)
        except DataError as error:
            assert "stands for version" in str(error), error
            print("taken", flush=True)
"""


@pytest.mark.parametrize("kind", ["same", "different"])
def test_two_processes_that_write_at_once(
    shop: Path, tmp_path: Path, repository: Path, kind: str
) -> None:
    num_turns = 5
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(python(RACE, shop, tmp_path, kind, name, num_turns, cwd=repository))
            for name in "ab"
        ]
        assert ["ready", "ready"] == [line_of(child) for child in children]
        for child in children:
            go(child)
        told = [child.communicate(timeout=TIMEOUT_S)[0].split() for child in children]

    assert [0, 0] == [child.returncode for child in children]
    for turn, ids in enumerate(zip(*told, strict=True)):
        store = Store(tmp_path / f"{turn}")
        versions = store.versions()
        assert all(version.verify().is_same for version in versions)
        tagged = store.version("t").id
        if kind == "same":
            assert (tagged, tagged) == ids
            assert [tagged] == [version.id for version in versions]
        else:
            assert {tagged, "taken"} == set(ids)  # the tag has one winner, and it says who
            assert tagged in [version.id for version in versions]
        assert of_versions(versions) == inside(tmp_path / f"{turn}")


# ---------------------------------------------------------------- full disks

# Leaves ever more room on the disk until a write finds enough.
FULL = """
import json, os, sys, warnings
from pathlib import Path
from tadka.core.error import TadkaError
from tadka.dataset import NullShare, Output, Store, Unique, session
from tests.unit.dataset.shop import PERIOD, shop_dataset

shop, disk = map(Path, sys.argv[1:3])
where, engine, step = *sys.argv[3:5], int(sys.argv[5])
place = {"out": disk / "out", "scratch": disk.parent / "out"}[where]
scratch = {"out": disk.parent / "scratch", "scratch": disk}[where]
checks = [NullShare("price", max=0.5), Unique("user", "at")]
# what is no Parquet is made that for the checks, aside
output = Output(format={"out": "parquet", "scratch": "csv"}[where])
dataset = shop_dataset(shop, checks=checks, output=output)
ballast = disk / "ballast"
with open(ballast, "wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass
told = []
with session(dataset, engine=engine, scratch=scratch, **PERIOD) as s:
    while True:
        try:
            version = s.write(place, tag="a")
        except TadkaError as error:
            told.append([type(error).__name__, str(error)])
        except BaseException as error:
            told.append(["not ours", repr(error)])
        else:
            break
        versions = Store(place).versions()
        left = [str(p) for p in place.rglob("*") if p.is_file()]
        if versions:  # there was no room for its tag
            assert not versions[0].tags and versions[0].verify().is_same
            left = [path for path in left if versions[0].id not in path]
        assert not left, left
        os.truncate(ballast, max(0, os.path.getsize(ballast) - step))
assert version.verify().is_same
print(json.dumps(told))
"""


def on_full_disk(
    shop: Path, tmp_path: Path, repository: Path, *, where: str, engine: str, step: int
) -> list[tuple[str, str]]:
    """What is said with ever more room, for the version or aside, until there is enough."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "scratch").mkdir()
    arguments = [str(shop), str(disk), where, engine, str(step)]
    program = shlex.join([sys.executable, "-c", FULL, *arguments])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c",
         f"mount -t tmpfs -o size=2m none {shlex.quote(str(disk))} && exec {program}"],
        capture_output=True, text=True, check=False, cwd=repository, timeout=280,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return [(kind, text) for kind, text in json.loads(done.stdout.splitlines()[-1])]


@pytest.mark.needs_root
@pytest.mark.parametrize(("where", "least"), [("out", 3), ("scratch", 1)])
def test_a_full_disk_is_named_and_leaves_nothing(
    shop: Path, tmp_path: Path, repository: Path, where: str, least: int
) -> None:
    told = on_full_disk(shop, tmp_path, repository, where=where, engine="duckdb", step=4096)

    assert len(told) >= least
    for kind, text in told:
        assert "DataError" == kind, text
        assert str(tmp_path / "disk") in text


@pytest.mark.needs_root
@pytest.mark.needs_spark
@pytest.mark.timeout(300)
def test_a_full_disk_is_named_and_leaves_nothing_on_spark(
    shop: Path, tmp_path: Path, repository: Path
) -> None:
    told = on_full_disk(shop, tmp_path, repository, where="out", engine="spark", step=1 << 15)

    assert told
    for kind, text in told:
        assert "DataError" == kind, text
        assert str(tmp_path / "disk") in text
