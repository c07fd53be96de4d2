# ruff: noqa: PTH208 - os.listdir names hidden files, shortly
# ruff: noqa: PT012, SIM117 - the block under test is a with statement of its own

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.measure.measure import ColumnStatistics
from tadka.dataset.version.fingerprint import FilePrint, Fingerprint
from tadka.dataset.version.manifest import TableRecord
from tadka.dataset.version.store import Store, find_version
from tadka.dataset.version.version import Version
from tadka.storage.uri import join, resolve
from tests.unit.dataset.made import COLUMNS, manifest_of, rows, write

NO_AGE = timedelta(seconds=-60)  # a file system's clock may be ahead of ours


def everything(uri: str) -> list[str]:
    """All files below a folder, hidden ones too."""
    file_system, path = resolve(uri)
    file_system.invalidate_cache()
    root = path.rstrip("/") + "/"
    return sorted(found.removeprefix(root) for found in file_system.find(path))


def publish(store: Store, table: pa.Table, tag: str | None = None, **values: Any) -> Version:
    with store.prepare() as folder:
        return store.publish(folder, write(folder, table, **values), tag)


def at(day: int) -> str:
    return datetime(2026, 1, day, tzinfo=UTC).isoformat(timespec="microseconds")


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, on each kind of file system in turn."""
    if request.param == "s3":
        uri = request.getfixturevalue("bucket") + "/out/ctr"
    else:
        uri = {"local": str(tmp_path / "out" / "ctr"), "memory": "memory://out/ctr"}[request.param]
    yield Store(uri)
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_published_version_is_found_by_every_name(store: Store) -> None:
    table = rows(10)
    written = publish(store, table, "2026-01")

    assert ("2026-01",) == written.tags
    assert table.num_rows == written.num_rows
    for name in ("latest", "2026-01", written.id, written.id[:1], written.id[:9]):
        assert written == store.version(name)
    assert [written] == store.versions()
    assert written == find_version(store.path)
    assert written == find_version(f"{store.path}@2026-01")
    for uri, file in zip(written.files(), written.manifest.files, strict=True):
        file_system, path = resolve(uri)
        assert file.num_bytes == file_system.size(path)
    file_system, path = resolve(join(written.path, "definition.yaml"))
    assert written.manifest.definition == file_system.cat_file(path).decode()
    assert rows(5).equals(written.sample())


def test_nothing_but_the_version_is_left(store: Store) -> None:
    version = publish(store, rows(10), "a+b.c_d-1")

    parent = store.path.rpartition("/")[0]
    left = [name.removeprefix("ctr/") for name in everything(parent)]
    data = [file.path for file in version.manifest.files]
    inside = ["definition.yaml", "manifest.json", "sample.parquet", *data]
    expected = ["tags/a+b.c_d-1.json", *(f"versions/{version.id}/{name}" for name in inside)]
    assert sorted(expected) == left
    assert [] == store.clean(older_than=NO_AGE)


def test_equal_content_is_the_same_version(store: Store) -> None:
    first = publish(store, rows(10), "one", created_at=at(1))
    before = everything(store.path)
    second = publish(store, rows(10), "two", created_at=at(2), num_files=3)

    assert first.id == second.id
    assert first.manifest == second.manifest
    assert ("one", "two") == second.tags
    assert sorted([*before, "tags/two.json"]) == everything(store.path)
    publish(store, rows(10), "one")  # a tag for what it stands for


def inputs(content: str) -> dict[str, TableRecord]:
    """A table of one file as it was when it had that content."""
    prints = {"a.parquet": FilePrint("", 7, "1", "f", content)}
    found = Fingerprint("content", {"": content}, prints)
    return {"Imp": TableRecord(source="/data/imp", fingerprint=found.to_dict())}


def test_equal_content_from_other_inputs_renews_the_record_of_the_inputs(store: Store) -> None:
    first = publish(store, rows(10), tables=inputs("a"), seconds={"query": 1.0})
    before = everything(store.path)
    second = publish(store, rows(10), tables=inputs("b"), seconds={"query": 2.0}, num_files=3)

    assert first.id == second.id
    assert second.manifest.renewed_at is not None
    assert second.written_at > first.written_at == second.created_at == first.created_at
    assert second.manifest == replace(
        first.manifest, tables=inputs("b"), renewed_at=second.manifest.renewed_at
    )
    assert before == everything(store.path)
    assert second == publish(store, rows(10), tables=inputs("b"))  # nothing new: nothing is written


def test_a_version_made_again_is_the_latest(store: Store) -> None:
    first = publish(store, rows(10), tables=inputs("a"))
    other = publish(store, rows(11), tables=inputs("b"))
    assert other == store.version()
    again = publish(store, rows(10), tables=inputs("a"))  # as the inputs were at first

    assert first.id == again.id == store.version().id
    assert inputs("a") == again.manifest.tables
    assert [other.id, first.id] == [version.id for version in store.versions()]


INEXACT = (*COLUMNS[:2], replace(COLUMNS[2], is_inexact=True), *COLUMNS[3:])


def publish_spent(store: Store, factor: float, **values: Any) -> Version:
    """A version whose column `spent` is in no hash."""
    table = rows(10)
    spent = pa.array([x * factor for x in table["spent"].to_pylist()])
    found = ColumnStatistics(min=0.0, max=9 / 8 * factor, mean=4.5 / 8 * factor)
    statistics = {"spent": found}
    table = table.set_column(2, "spent", spent)
    return publish(store, table, columns=INEXACT, statistics=statistics, **values)


def test_rows_with_other_last_digits_are_not_kept_nor_their_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = publish_spent(store, 1.0, tables=inputs("a"))
    second = publish_spent(store, 1 + 1e-12, tables=inputs("b"))

    assert inputs("b") == second.manifest.tables
    assert first.manifest.statistics == second.manifest.statistics
    spent = second.read(["spent"])["spent"]
    assert second.manifest.statistics["spent"].max == pc.max(spent).as_py() == 9 / 8
    assert second.sample()["spent"].equals(spent.slice(0, 5))


@pytest.mark.parametrize("factor", [1.01, -1.0, 1e300])
def test_other_values_outside_of_the_hash_are_not_passed_over(
    tmp_path: Path, factor: float
) -> None:
    store = Store(tmp_path)
    first = publish_spent(store, 1.0)

    with pytest.raises(DataError, match=f"{first.id!r} is there already with other values of 'spe"):
        publish_spent(store, factor)
    assert first == store.version()


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_version_that_is_damaged_is_not_given_for_equal_content(
    store: Store, content: bytes | None
) -> None:
    version = publish(store, rows(10))
    file_system, path = resolve(version.files()[0])
    if content is None:
        file_system.rm_file(path)
    else:
        file_system.pipe_file(path, content)

    with pytest.raises(DataError, match=f"{version.id!r} is there already and is damaged"):
        publish(store, rows(10))


def test_tag_of_other_content_is_refused_and_leaves_nothing(store: Store) -> None:
    first = publish(store, rows(10), "2026-01")
    before = everything(store.path)

    with pytest.raises(
        DataError, match=rf"Tag '2026-01' of store .* stands for version '{first.id}', whose conten"
    ):
        publish(store, rows(11), "2026-01")

    assert before == everything(store.path)
    assert first == store.version("2026-01")


def test_tag_can_be_given_later_and_taken_away(store: Store) -> None:
    first, second = publish(store, rows(10)), publish(store, rows(11))
    store.tag("best", first.id[:12])
    store.tag("best", first.id)

    assert first.id == store.version("best").id
    with pytest.raises(DataError, match="Choose another tag, or take this one away"):
        store.tag("best", second.id)
    store.untag("best")
    store.tag("best", second.id)
    assert ("best",) == store.version(second.id).tags
    store.untag("best")
    with pytest.raises(NotFound, match="has no tag 'best'"):
        store.untag("best")
    with pytest.raises(NotFound, match="has no version 'ffff'"):
        store.tag("other", "ffff")


@pytest.mark.parametrize(
    "tag",
    ["", "latest", "a/b", "../x", ".hidden", "a b", "é", "x" * 101, "0123456789abcdef", "a\n"],
)
def test_impossible_tag_is_refused(tmp_path: Path, tag: str) -> None:
    store = Store(tmp_path)
    with pytest.raises(ConfigError, match="is not possible; a tag has up to 100 letters"):
        publish(store, rows(3), tag)

    assert [] == store.versions()


def test_latest_is_the_newest(store: Store) -> None:
    middle = publish(store, rows(2), created_at=at(2))
    newest = publish(store, rows(3), created_at=at(3))
    oldest = publish(store, rows(1), created_at=at(1), name="Other")

    assert newest == store.version()
    assert [oldest, middle, newest] == store.versions()


def test_unknown_names_are_refused_with_what_there_is(store: Store) -> None:
    with pytest.raises(NotFound, match=r"has no version\. Write one first"):
        store.version()
    with pytest.raises(NotFound, match=r"no version '2026-02'; it has no tags\. Give a tag"):
        store.version("2026-02")
    publish(store, rows(3), "2026-01")
    for name in ("2026-02", "0123456789abcdef", "zz", "", "*", "../ctr"):
        with pytest.raises(NotFound, match=r"no version .*; its tags are 2026-01\."):
            store.version(name)
    assert [] == Store(join(store.path, "none")).versions()


def test_beginning_of_two_ids_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    versions = [publish(store, rows(n)) for n in range(17)]  # 17 ids, 16 digits: two begin alike
    first = sorted(version.id for version in versions)
    twice = next(a[0] for a, b in pairwise(first) if a[0] == b[0])
    same = [id_ for id_ in first if id_[0] == twice]

    with pytest.raises(
        ConfigError, match=f"{len(same)} versions .* begin with '{twice}': {same[0]}, "
    ):
        store.version(twice)

    # a tag wins over the beginning of an id
    store.tag(twice, first[0])
    assert first[0] == store.version(twice).id


def test_folder_without_manifest_is_no_version(store: Store) -> None:
    version = publish(store, rows(10), "t")
    file_system, path = resolve(join(version.path, "manifest.json"))
    file_system.rm(path)

    assert [] == store.versions()
    for name in ("t", version.id, version.id[:4], "latest"):
        with pytest.raises(NotFound):
            store.version(name)
    assert [] == store.clean()  # it may be a version in the making
    assert version.id == publish(store, rows(10)).id
    file_system.rm(path)
    assert [f"versions/{version.id}"] == store.clean(older_than=NO_AGE)
    assert ["tags/t.json"] == everything(store.path)


def test_damaged_manifest_is_named(store: Store) -> None:
    version = publish(store, rows(10))
    uri = join(version.path, "manifest.json")
    file_system, path = resolve(uri)
    text = file_system.cat_file(path)
    for damaged in (text[:-40], text.replace(b'"3.11.2"', b'"3.11.3"'), b"", b"\x00" * 100):
        file_system.pipe_file(path, damaged)
        for look in (store.versions, store.version, lambda: publish(store, rows(10))):
            with pytest.raises(DataError, match=r"manifest.json' is damaged: .* write the version"):
                look()
    assert [] == [p for p in everything(store.path) if "prepared" in p]


def test_damaged_tag_is_named(store: Store) -> None:
    publish(store, rows(10), "t")
    file_system, path = resolve(join(store.path, "tags/t.json"))
    for damaged in (b"", b"[]", b"{}", b"\xff"):
        file_system.pipe_file(path, damaged)
        with pytest.raises(DataError, match=r"t\.json' is damaged: it names no version"):
            store.version()


def test_renamed_folder_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    version = publish(store, rows(10))
    shutil.copytree(version.path, tmp_path / "versions" / ("0" * 16))

    with pytest.raises(DataError, match=rf"is the manifest of version '{version.id}', not of '000"):
        store.versions()


def test_file_that_the_manifest_names_must_be_there(store: Store) -> None:
    with store.prepare() as folder:
        with pytest.raises(DataError, match=r"File 'data/x\.parquet' of the manifest is not in"):
            store.publish(folder, manifest_of({"data/x.parquet": 3}))

    assert [] == store.versions()


def test_a_version_of_another_store_is_prepared_in_scratch(tmp_path: Path) -> None:
    with Store("memory://out/ctr").prepare(tmp_path) as folder:
        assert tmp_path == folder.parent
    assert [] == os.listdir(tmp_path)


def test_failed_preparation_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.prepare() as folder:
        write(folder, rows(10))
        raise KeyboardInterrupt

    assert ["versions"] == os.listdir(tmp_path)
    assert [] == os.listdir(tmp_path / "versions")


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "out")
    with pytest.raises(DataError, match=r"file/out' cannot be written: Not a directory"):
        with store.prepare():
            pytest.fail("the block must not run")
    assert [] == store.versions()


def test_folder_from_elsewhere_can_be_published(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    manifest = write(elsewhere, rows(10))
    version = Store(tmp_path / "out").publish(elsewhere, manifest)

    assert all(Path(uri).is_file() for uri in version.files())


def test_relative_store_has_absolute_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    version = publish(Store("out"), rows(3))

    assert f"{tmp_path}/out/versions/{version.id}" == version.path


@pytest.mark.parametrize("error", [FileExistsError("412"), KeyboardInterrupt()])
def test_a_manifest_whose_answer_is_lost_keeps_its_files(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """It was written; the client sends it again and is refused, or somebody presses Ctrl-C."""
    store = Store(f"memory://{secrets.token_hex(4)}/out")
    put = MemoryFileSystem.pipe_file

    def lose(self: MemoryFileSystem, path: str, value: bytes, mode: str = "overwrite") -> None:
        put(self, path, value, mode=mode)
        if mode == "create":
            raise error

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lose)
    with contextlib.suppress(KeyboardInterrupt):
        publish(store, rows(3))
    monkeypatch.undo()

    assert 3 == store.version().read().num_rows
    assert store.version().id == publish(store, rows(3)).id


def test_more_that_is_known_of_inputs_stays_and_less_does_not_take_its_place(store: Store) -> None:
    def at_level(level: str) -> dict[str, TableRecord]:
        (name, record), *_ = inputs("a").items()
        return {name: replace(record, fingerprint={**record.fingerprint, "level": level})}

    levels = []
    for level in ("listing", "content", "listing"):
        version = publish(store, rows(3), tables=at_level(level))
        levels += [record.fingerprint["level"] for record in version.manifest.tables.values()]

    assert ["listing", "content", "content"] == levels


def test_clean_spares_what_is_young(tmp_path: Path) -> None:
    store = Store(tmp_path)
    version = publish(store, rows(10), "t")
    aside = [tmp_path / "versions" / ".prepared.1-aa.tmp", tmp_path / "tags" / ".t.json.1-aa.tmp"]
    aside[0].joinpath("data").mkdir(parents=True)
    aside[0].joinpath("data", "part").touch()
    aside[1].touch()
    inside = Path(version.path, ".inputs.1-aa.tmp")
    inside.mkdir()
    (tmp_path / "versions" / "notes").mkdir()  # somebody else's

    assert [] == store.clean()
    long_ago = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    os.utime(aside[1], (long_ago, long_ago))
    assert ["tags/.t.json.1-aa.tmp"] == store.clean(is_dry=True)
    assert aside[1].exists()
    assert ["tags/.t.json.1-aa.tmp"] == store.clean()
    assert not aside[1].exists()
    assert sorted(
        [f"versions/{aside[0].name}", f"versions/{version.id}/{inside.name}"]
    ) == store.clean(older_than=NO_AGE)
    assert sorted(["notes", version.id]) == sorted(os.listdir(tmp_path / "versions"))
    assert version == store.version("t")


def test_clean_takes_files_that_no_manifest_names(bucket: str) -> None:
    store = Store(f"{bucket}/out")
    version = publish(store, rows(10))
    file_system, path = resolve(join(version.path, "data-00000000/part-00000.parquet"))
    file_system.pipe_file(path, b"of a writer that was killed")

    assert [] == store.clean()
    assert [f"versions/{version.id}/data-00000000"] == store.clean(older_than=NO_AGE)
    assert [version] == store.versions()
    assert all(resolve(uri)[0].exists(resolve(uri)[1]) for uri in version.files())


# ---------------------------------------------------------------- at once, and killed

RACE = """
import sys
from itertools import pairwise
from pathlib import Path
from tadka.core.error import DataError
from tadka.dataset.version.store import Store
from tests.unit.dataset.made import rows, write

uri, kind, letter, num_turns = sys.argv[1:]
store = Store(uri)
print("ready", flush=True)
sys.stdin.readline()
won = []
for turn in range(int(num_turns)):
    num_rows = 20 + turn if kind == "same" else 20 + 2 * turn + (letter == "b")
    with store.prepare() as folder:
        table = rows(num_rows)
        if letter == "b":
            table = table.take(list(reversed(range(num_rows))))  # the other order
        try:
            version = store.publish(folder, write(folder, table), f"t{turn}")
        except DataError as error:
            assert "stands for version" in str(error), error
            continue
        won.append(f"{turn}:{version.id}")
print(*won, flush=True)
"""


@pytest.mark.parametrize("kind", ["same", "different"])
@pytest.mark.parametrize(("place", "num_turns"), [("local", 12), ("s3", 4)])
def test_two_processes_at_once_leave_whole_versions(
    kind: str,
    place: str,
    num_turns: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    repository: Path,
) -> None:
    uri = str(tmp_path / "out") if place == "local" else request.getfixturevalue("bucket") + "/out"
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", RACE, uri, kind, letter, str(num_turns)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=repository,
                )
            )
            for letter in "ab"
        ]  # fmt: skip
        for child in children:
            assert child.stdout is not None
            assert "ready\n" == child.stdout.readline()
        for child in children:  # both wait by now
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        won = [child.communicate()[0].split() for child in children]

    assert [0, 0] == [child.returncode for child in children]
    store = Store(uri)
    turns = [{w.partition(":")[0] for w in one} for one in won]
    assert {str(turn) for turn in range(num_turns)} == turns[0] | turns[1]
    versions = store.versions()
    if kind == "same":
        assert won[0] == won[1]
        assert num_turns == len(versions)
    else:
        assert set() == turns[0] & turns[1]  # a tag has one winner
        assert num_turns <= len(versions) <= 2 * num_turns
    for version in versions:
        assert "same" == version.verify("content").output.status
    winners = {w.partition(":")[0]: w.partition(":")[2] for w in (*won[0], *won[1])}
    assert winners == {turn: store.version(f"t{turn}").id for turn in winners}
    store.clean(older_than=NO_AGE)
    used = {f"versions/{v.id}/{file.path}" for v in versions for file in v.manifest.files}
    assert used == {path for path in everything(uri) if "/data" in path}


KILL = """
import os, signal, sys
from pathlib import Path
from tadka.dataset.version.store import Store
from tests.unit.dataset.made import rows, write
from tests.unit.dataset.version.test_store import inputs

root, what = Path(sys.argv[1]), sys.argv[2]
changes = {"tables": inputs("b")} if what == "renewed" else {}
tables = [rows(10), rows(10 if what == "renewed" else 11)]
num_left = -1
CHANGES = {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir"}

def hook(event, arguments):
    global num_left
    if event in CHANGES:
        num_left -= 1
        if num_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
killed = 0
while True:
    store = Store(root / f"{killed:03d}")
    with store.prepare() as folder:
        store.publish(folder, write(folder, tables[0], tables=inputs("a")), "old")
    child = os.fork()
    if child == 0:
        num_left = killed + 1
        with store.prepare() as folder:
            store.publish(folder, write(folder, tables[1], **changes), "new")
        os._exit(0)
    if os.WIFEXITED(os.waitpid(child, 0)[1]):
        break
    killed += 1
print(killed)
"""


def test_killed_at_every_change_it_leaves_a_whole_version_or_none(
    tmp_path: Path, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(tmp_path), "new"],
        capture_output=True, text=True, check=False, cwd=repository, timeout=100,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    num_killed = int(done.stdout)
    assert num_killed > 15

    seen = set()
    for number in range(num_killed):
        store = Store(tmp_path / f"{number:03d}")
        versions = store.versions()
        seen.add(len(versions))
        assert {10, 11} >= {version.num_rows for version in versions}
        assert 10 == store.version("old").num_rows
        for version in versions:
            assert "same" == version.verify("content").output.status
        store.clean(older_than=NO_AGE)
        left = everything(store.path)
        whole = {f"versions/{version.id}" for version in versions}
        assert whole == {"/".join(path.split("/")[:2]) for path in left if "versions" in path}
        assert not [path for path in left if ".tmp" in path]
        with store.prepare() as folder:  # and it goes on as if nothing had been
            written = store.publish(folder, write(folder, rows(11)), "new")
        assert 11 == store.version("new").num_rows == written.num_rows
    assert {1, 2} == seen


def test_killed_at_every_change_it_has_the_old_inputs_or_the_new(
    tmp_path: Path, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(tmp_path), "renewed"],
        capture_output=True, text=True, check=False, cwd=repository, timeout=100,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    num_killed = int(done.stdout)

    seen = []
    for number in range(num_killed):
        store = Store(tmp_path / f"{number:03d}")
        (version,) = store.versions()
        is_new = inputs("b") == version.manifest.tables
        assert is_new or inputs("a") == version.manifest.tables
        assert is_new == (version.manifest.renewed_at is not None)
        assert "same" == version.verify("content").output.status
        seen.append(is_new)
        store.clean(older_than=NO_AGE)
        assert not [path for path in everything(store.path) if ".tmp" in path]
    assert {False, True} == set(seen)
    assert sorted(seen) == seen  # at one moment, and for good
