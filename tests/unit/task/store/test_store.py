import contextlib
import errno
import json
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.hashing import digest_file
from tadka.task.store.index_sqlite import SqliteIndex
from tadka.task.store.lock import FileLocks, LeaseLocks
from tadka.task.store.objects import Damaged
from tadka.task.store.row import Entry, Execution, Output, RunRow
from tadka.task.store.store import Store
from tests.rows import digest, entry

FORK = get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "ws")
    yield made
    made.close()


def put(store: Store, data: bytes, suffix: str = ".bin") -> Output:
    aside = store.begin(suffix)
    aside.write_bytes(data)
    return store.put(aside)


def put_folder(store: Store, **files: bytes) -> Output:
    aside = store.begin(is_folder=True)
    for name, data in files.items():
        aside.joinpath(name).write_bytes(data)
    return store.put(aside)


def result(store: Store, number: int, data: bytes | None = None, **others: Any) -> Entry:
    return entry(number, put(store, data or f"bytes {number}".encode()), **others)


def check(folder: Path) -> int:
    """Number of entries of a workspace, each of whose objects is whole."""
    found = SqliteIndex(folder / "index.sqlite")
    entries = list(found.entries())
    found.close()
    for one in entries:
        for output in one.outputs:
            path = folder / "objects" / output.content[0] / output.content
            if output.is_folder:
                assert path.with_name(f"{path.name}.d").is_dir()
            else:
                assert output.content == digest_file(path)
    return len(entries)


# ---------------------------------------------------------------- what it does


def test_what_is_committed_is_a_hit_in_another_process(store: Store, tmp_path: Path) -> None:
    given = entry(1, put(store, b"a").named("x"), put_folder(store, f=b"b").named("y", {"n": 1}))
    assert store.hit(given.key) is None

    assert {given.key} == store.commit([given], [Execution("r1", "t", "i", "ran", 1.0, 2.0)])

    other = Store(tmp_path / "ws")
    found = other.hit(given.key)
    assert given == found
    assert found is not None
    assert [b"a", b"b"] == [
        other.path(found.outputs[0]).read_bytes(),
        other.path(found.outputs[1]).joinpath("f").read_bytes(),
    ]
    assert 1 == len(other.index.executions("r1"))
    assert other.hit(digest("none")) is None
    other.close()


def test_a_result_that_is_not_committed_can_be_read_and_is_no_hit(store: Store) -> None:
    given = result(store, 1)

    assert b"bytes 1" == store.read(given.outputs[0], Path.read_bytes)
    assert store.hit(given.key) is None

    store.commit([given])
    assert b"bytes 1" == store.read(given.outputs[0], Path.read_bytes)


@pytest.mark.parametrize("error", [FileNotFoundError, NotFound, DataError, ValueError])
def test_a_result_that_is_committed_while_it_is_read_is_read_again(
    store: Store, error: type[Exception]
) -> None:
    given = result(store, 1)
    reads: list[Path] = []

    def read(path: Path) -> bytes:
        if not reads:
            store.commit([given])
        reads.append(path)
        try:
            return path.read_bytes()
        except FileNotFoundError:  # as readers of formats say it
            raise error("gone") from None

    assert b"bytes 1" == store.read(given.outputs[0], read)
    assert 2 == len(reads)


def test_a_folder_that_is_committed_while_it_is_read_is_read_again(store: Store) -> None:
    given = entry(1, put_folder(store, a=b"1", b=b"2"))
    double = entry(2, put_folder(store, a=b"1", b=b"2"))
    commits = [given, double]

    def names(path: Path) -> list[str]:
        store.commit([commits.pop(0)] if commits else [])
        return sorted(file.name for file in path.glob("*"))

    assert ["a", "b"] == store.read(given.outputs[0], names)
    assert ["a", "b"] == store.read(double.outputs[0], names)


def test_a_folder_is_removed_at_once_for_who_reads_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = put_folder(store, a=b"1")
    seen: list[bool] = []
    monkeypatch.setattr("shutil.rmtree", lambda path: seen.append(Path(str(output.aside)).exists()))

    store.discard([output])

    assert [False] == seen


def test_a_file_that_a_reader_misses_itself_is_its_own_error(store: Store) -> None:
    given = result(store, 1)
    store.commit([given])
    reads: list[Path] = []

    def read(path: Path) -> None:
        reads.append(path)
        raise FileNotFoundError("mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        store.read(given.outputs[0], read)
    assert 1 == len(reads)


def test_stored_bytes_can_be_approved_for_another_key(store: Store) -> None:
    given = result(store, 1)
    store.commit([given])
    found = store.hit(given.key)
    assert found is not None

    store.commit([entry(2, *found.outputs, approved_from=found.key)])

    approved = store.hit(digest(2))
    assert approved is not None
    assert found.outputs == approved.outputs
    assert found.key == approved.approved_from


def test_a_row_without_its_object_is_no_hit_and_is_made_again(store: Store) -> None:
    store.commit([given := result(store, 1)])
    store.path(given.outputs[0]).unlink()

    assert store.hit(given.key) is None

    store.commit([result(store, 1)])
    assert store.hit(given.key) is not None


@pytest.mark.parametrize("data", [b"", b"bytes", b"bytes 1 and more"])
def test_another_size_is_no_hit_and_goes_to_the_quarantine(
    store: Store, tmp_path: Path, data: bytes
) -> None:
    store.commit([given := result(store, 1)])
    path = store.path(given.outputs[0])
    path.chmod(0o644)
    path.write_bytes(data)

    assert store.hit(given.key) is None

    assert 1 == len(list((tmp_path / "ws/quarantine").iterdir()))
    store.commit([result(store, 1)])
    assert store.hit(given.key) is not None


def flip(store: Store, output: Output, *, keeps_time: bool = True) -> None:
    """Changes one bit of an object, and nothing by which that could be seen from outside."""
    path = store._objects.path(output)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    if keeps_time:
        os.utime(path, ns=(output.mtime_ns, output.mtime_ns))


def test_one_bit_is_found_when_it_is_loaded_and_mended_by_the_next_run(
    store: Store, tmp_path: Path
) -> None:
    store.commit([given := result(store, 1)])
    flip(store, given.outputs[0])
    other = Store(tmp_path / "ws")
    found = other.hit(given.key)
    assert found is not None

    with pytest.raises(Damaged, match="has other bytes"):
        other.path(found.outputs[0])

    assert other.hit(given.key) is None
    other.commit([result(other, 1)])
    assert b"bytes 1" == other.read(found.outputs[0], Path.read_bytes)
    other.close()


def test_bytes_are_compared_once_in_a_process(store: Store, tmp_path: Path) -> None:
    store.commit([given := result(store, 1)])
    found = store.index.find(given.key)
    assert found is not None
    for verify, is_found in (("load", False), ("always", True)):
        with Store(tmp_path / "ws", verify=verify) as other:  # type: ignore[arg-type]
            other.path(found.outputs[0])
            flip(other, found.outputs[0])
            with pytest.raises(Damaged) if is_found else contextlib.nullcontext():
                other.path(found.outputs[0])
        if not is_found:
            flip(store, found.outputs[0])  # back


def test_never_compares_only_what_was_touched(store: Store, tmp_path: Path) -> None:
    store.commit([given := result(store, 1)])
    found = store.index.find(given.key)
    assert found is not None
    flip(store, found.outputs[0])
    with Store(tmp_path / "ws", verify="never") as other:
        other.path(found.outputs[0])
    os.utime(store._objects.path(found.outputs[0]))
    with Store(tmp_path / "ws", verify="never") as other, pytest.raises(Damaged):
        other.path(found.outputs[0])


def test_a_copied_workspace_is_read_although_its_times_differ(store: Store, tmp_path: Path) -> None:
    store.commit([given := result(store, 1)])
    os.utime(store._objects.path(given.outputs[0]), ns=(5, 5))

    with Store(tmp_path / "ws") as other:
        found = other.hit(given.key)
        assert found is not None
        assert b"bytes 1" == other.path(found.outputs[0]).read_bytes()


def test_an_entry_whose_lock_was_lost_is_left_out(store: Store) -> None:
    entries = [result(store, number) for number in range(3)]
    lost = entries[1].key

    published = store.commit(entries, is_held=lambda key: key != lost)

    assert {entries[0].key, entries[2].key} == published
    assert store.hit(lost) is None


def test_what_is_discarded_leaves_nothing(store: Store, tmp_path: Path) -> None:
    given = result(store, 1)
    store.discard(given.outputs)

    assert [] == list(tmp_path.glob("ws/objects/.aside/*/*"))


def test_links_name_objects_for_people(store: Store, tmp_path: Path) -> None:
    first, second = result(store, 1), result(store, 2)
    store.commit([first, second])

    for _ in range(2):
        link = store.link("Features/1a2b.bin", first.outputs[0])
    assert link == tmp_path / "ws/Features/1a2b.bin"
    assert b"bytes 1" == link.read_bytes()
    assert not link.readlink().is_absolute()

    store.link("Features/1a2b.bin", second.outputs[0])
    assert b"bytes 2" == link.read_bytes()
    assert [link] == list(link.parent.iterdir())


@pytest.mark.parametrize("name", ["objects/x", "index.sqlite", "../x", "/x", "", "a/../../x"])
def test_links_that_would_disturb_the_workspace_are_refused(store: Store, name: str) -> None:
    output = put(store, b"x")
    with pytest.raises(ConfigError, match="is not possible"):
        store.link(name, output)


def test_a_link_replaces_no_file_of_somebody_else(store: Store, tmp_path: Path) -> None:
    store.commit([given := result(store, 1)])
    (tmp_path / "ws/mine").write_text("mine", encoding="utf-8")

    with pytest.raises(DataError, match="Move away what has its name"):
        store.link("mine", given.outputs[0])
    assert "mine" == (tmp_path / "ws/mine").read_text(encoding="utf-8")


def test_sweeping_removes_what_no_entry_names(store: Store) -> None:
    store.commit([kept := result(store, 1), gone := result(store, 2)])
    store.index.remove([gone.key])
    waiting = result(store, 3)
    unnamed = store._objects.path(gone.outputs[0])

    assert [unnamed] == store.sweep(is_dry=True)
    assert [unnamed] == store.sweep()

    assert [] == store.sweep()
    assert store.hit(kept.key) is not None
    store.commit([waiting])
    assert store.hit(waiting.key) is not None


def test_a_store_sent_to_a_worker_writes_for_its_sender(store: Store, tmp_path: Path) -> None:
    worker = pickle.loads(pickle.dumps(store))
    output = pickle.loads(pickle.dumps(put(worker, b"data")))
    worker.close()

    store.commit([entry(1, output)])

    assert b"data" == store.read(output, Path.read_bytes)
    assert 1 == check(tmp_path / "ws")


def test_nothing_is_made_by_naming_a_workspace(tmp_path: Path) -> None:
    store = Store(tmp_path / "ws")
    assert not store.exists
    store.close()

    assert [] == list(tmp_path.iterdir())


def test_its_locks_are_of_its_place(store: Store, bucket: str, tmp_path: Path) -> None:
    assert isinstance(store.locks, FileLocks)
    assert isinstance(Store(bucket, cache=tmp_path / "c").locks, LeaseLocks)


def test_an_unknown_way_to_verify_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"verify='sometimes' is unknown; .* load, never, always"):
        Store(tmp_path, verify="sometimes")  # type: ignore[arg-type]


def test_an_index_may_be_elsewhere(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/rows.db"
    with Store(tmp_path / "ws", url) as store:
        store.commit([given := result(store, 1)])
    index = SqliteIndex(tmp_path / "rows.db")
    with Store(tmp_path / "ws", index) as store:
        assert store.hit(given.key) is not None
    assert index.find(given.key) is not None  # closed by who opened it
    index.close()
    assert not (tmp_path / "ws/index.sqlite").exists()


# ---------------------------------------------------------------- what goes wrong


def test_a_row_that_cannot_be_written_publishes_nothing_and_is_written_next_time(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [result(store, number) for number in range(3)]

    def fail(*given: Any, **others: Any) -> None:
        raise DataError("no rows")

    with monkeypatch.context() as patched:
        patched.setattr(store.index, "add", fail)
        with pytest.raises(DataError, match="no rows"):
            store.commit(entries)
    assert 0 == check(tmp_path / "ws")

    store.commit(entries)
    assert 3 == check(tmp_path / "ws")


@pytest.mark.parametrize("size", [40_000, 200_000])
def test_a_full_disk_publishes_nothing_and_the_next_run_recovers(tmp_path: Path, size: int) -> None:
    """No file may become larger than `size`: an object, or the index, hits that."""
    folder = tmp_path / "ws"
    with Store(folder) as store:
        store.commit([result(store, 0)])
    if (child := os.fork()) == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            limited = Store(folder)
            if size < 100_000:
                with contextlib.suppress(OSError):
                    put(limited, b"x" * 100_000)
                    os._exit(1)
            parts = {"long": [digest(n) for n in range(100)]}
            group = [result(limited, n, parts={"p": parts, "n": [n] * 99}) for n in range(1, 400)]
            try:
                limited.commit(group)
            except DataError as error:
                os._exit(0 if "Free some space" in str(error) else 3)
            os._exit(4)
        finally:
            os._exit(2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert 1 == check(folder)
    with Store(folder) as store:
        store.commit([result(store, number) for number in range(1, 400)])
        assert [] == [
            p for p in folder.glob("objects/.aside/*") if p.name != store._objects.session
        ]
    assert 400 == check(folder)


@pytest.mark.needs_root
def test_a_disk_without_space_publishes_nothing_and_the_next_run_recovers(tmp_path: Path) -> None:
    code = """
from tests.unit.task.store.test_store import *
store = Store("/mnt/ws")
store.commit([result(store, 0)])
try:
    for number in range(1, 10_000):
        store.commit([result(store, number, os.urandom(50_000))])
except (DataError, OSError) as error:
    print(error)
else:
    raise SystemExit("never full")
num_committed = number
assert num_committed == check(Path("/mnt/ws")), num_committed
for path in Path("/mnt/ws/objects").glob("[0-9a-f]*/*"):
    if path.stat().st_size == 50_000 and num_committed > 1:
        path.unlink()
store.close()
store = Store("/mnt/ws")
store.commit([result(store, number, os.urandom(50_000)) for number in range(1, 4)])
assert all(store.hit(digest(number)) for number in range(4))
store.close()
"""
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c",
         'mount -t tmpfs -o size=3m none /mnt && exec "$0" -c "$1"', sys.executable, code],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["src", ".", *sys.path[1:]])},
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    assert "No space left on device" in done.stdout or "is full" in done.stdout


def test_a_workspace_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    if (child := os.fork()) == 0:
        try:
            if os.geteuid() == 0:
                for parent in tmp_path.parents[:2]:
                    parent.chmod(0o755)
                os.setgid(65534)
                os.setuid(65534)
            else:
                folder.chmod(0o555)
            found = 0
            for act in (
                lambda: Store(folder / "ws").begin(),
                lambda: Store(folder / "ws").index,
                lambda: Store(folder).locks,
                lambda: Store(folder).index,
                lambda: Store(folder).begin(),
            ):
                try:
                    act()
                except DataError as error:
                    found += "choose another" in str(error)
            os._exit(0 if found == 5 else 10 + found)
        finally:
            os._exit(2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_damaged_index_is_refused_with_what_to_do(store: Store, tmp_path: Path) -> None:
    store.commit([result(store, 1)])
    store.close()
    (tmp_path / "ws/index.sqlite").write_bytes(b"x" * 8192)

    with pytest.raises(DataError, match=r"is damaged.*Move it away"):
        Store(tmp_path / "ws").hit(digest(1))


def _commit_same(folder: str, start: Any) -> None:
    with Store(folder) as store:
        entries = [
            result(store, 1),
            result(store, os.getpid(), b"same bytes"),
            entry(2, put_folder(store, a=b"1", b=b"2")),
        ]
        start.wait()
        store.commit(entries)


def test_processes_commit_the_same_content_and_key_at_once(tmp_path: Path) -> None:
    start = FORK.Barrier(4)
    folder = str(tmp_path / "ws")
    processes = [FORK.Process(target=_commit_same, args=(folder, start)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [0] * 4 == [process.exitcode for process in processes]
    assert 6 == check(tmp_path / "ws")
    assert 3 == len(list(tmp_path.glob("ws/objects/[0-9a-f]*/*")))
    assert [] == list(tmp_path.glob("ws/objects/.aside/*"))


def _commit_for_ever(folder: str, seed: int) -> None:
    """Groups of files and folders, some of them equal, until it is killed."""
    chance = random.Random(seed)
    store = Store(folder)
    number = seed * 1_000_000
    while True:
        group = []
        for _ in range(chance.randrange(1, 20)):
            number += 1
            data = chance.choice([b"same", os.urandom(chance.choice([10, 20_000]))])
            outputs = [put(store, data).named("a"), put_folder(store, x=data).named("b")]
            group.append(entry(number, *outputs))
        store.commit(group)


def test_killed_at_any_point_it_leaves_no_row_without_its_object(tmp_path: Path) -> None:
    num_kills = int(os.environ.get("TADKA_TEST_KILLS", "10"))
    folder = tmp_path / "ws"
    Store(folder).index.close()
    chance = random.Random(1)
    counts = []
    for seed in range(num_kills):
        process = FORK.Process(target=_commit_for_ever, args=(str(folder), seed))
        process.start()
        time.sleep(chance.uniform(0.02, 0.25))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert -signal.SIGKILL == process.exitcode
        counts.append(check(folder))

    assert sorted(counts) == counts
    assert counts[-1] > 0
    with Store(folder) as store:
        for found in store.index.entries():
            for output in found.outputs:
                store.path(output)
        store.commit([result(store, 1)])
        assert [store._objects.session] == [p.name for p in folder.glob("objects/.aside/*")]
        store.sweep()
        named = store.index.contents()
        assert named == {content for content, _ in store._objects.contents()}


def test_a_reader_meets_whole_results_only_while_others_write(tmp_path: Path) -> None:
    folder = tmp_path / "ws"
    Store(folder).index.close()
    process = FORK.Process(target=_commit_for_ever, args=(str(folder), 1))
    process.start()
    seen = 0
    with Store(folder) as store:
        deadline = time.monotonic() + 60
        while seen < 30 and time.monotonic() < deadline:
            found = store.hit(digest(1_000_001 + seen))
            if found is not None:
                seen += 1
                for output in found.outputs:
                    store.path(output)
    process.kill()
    process.join()
    assert 30 == seen


def test_threads_use_one_store(store: Store, tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(place: int) -> None:
        try:
            for number in range(place * 100, place * 100 + 5):
                store.commit([given := result(store, number), result(store, 7)])
                assert store.hit(given.key) == given
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == errors
    assert 21 == check(tmp_path / "ws")


# ---------------------------------------------------------------- object stores


@pytest.fixture(params=["memory", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/ws"
    return f"memory://{tmp_path}/ws"


def test_what_one_machine_commits_another_one_reads(remote: str, tmp_path: Path) -> None:
    with Store(remote, cache=tmp_path / "here") as here:
        assert here.is_remote
        assert not here.exists
        given = entry(
            1, put(here, b"a" * 100).named("x"), put_folder(here, f=b"b", g=b"c").named("y")
        )
        assert b"a" * 100 == here.read(given.outputs[0], Path.read_bytes)
        assert {given.key} == here.commit([given])
        assert b"a" * 100 == here.read(given.outputs[0], Path.read_bytes)
        assert here.link("a/b", given.outputs[0]) is None
        assert here.exists

    with Store(remote, cache=tmp_path / "there") as there:
        found = there.hit(given.key)
        assert given == found
        for _ in range(2):
            assert b"a" * 100 == there.read(given.outputs[0], Path.read_bytes)
            folder = there.path(given.outputs[1])
            assert ["f", "g"] == sorted(path.name for path in folder.iterdir())


def test_objects_are_there_before_the_row(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(remote, cache=tmp_path / "here") as store:
        given = result(store, 1)
        add = store.index.add
        seen = []

        def added(entries: Any, *others: Any, **named: Any) -> set[str]:
            assert store._remote is not None
            seen.append(store._remote.has(given.outputs[0]))
            return add(entries, *others, **named)

        monkeypatch.setattr(store.index, "add", added)
        store.commit([given])
        assert [True] == seen


def test_equal_bytes_are_uploaded_once(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(remote, cache=tmp_path / "here") as store:
        store.commit([result(store, 1, b"same")])
        opened: list[str] = []
        monkeypatch.setattr("tadka.task.store.remote.publish_file", opened.append)
        store.commit([result(store, 2, b"same")])
        assert [] == opened
        assert store.hit(digest(2)) is not None


def test_damage_in_an_object_store_is_found_and_mended(remote: str, tmp_path: Path) -> None:
    with Store(remote, cache=tmp_path / "here") as here:
        here.commit([given := result(here, 1, b"data")])
        assert here._remote is not None
        path = here._remote._path(given.outputs[0])
        here._file_system.pipe_file(path, b"dat4")

    with Store(remote, cache=tmp_path / "there") as there:
        assert there.hit(given.key) is not None
        with pytest.raises(Damaged, match="has other bytes than were written; it is now"):
            there.path(given.outputs[0])
        assert there.hit(given.key) is None
        with pytest.raises(Damaged, match="is gone"):
            there.path(given.outputs[0].named("again"))
        there.commit([result(there, 1, b"data")])
        assert b"data" == there.read(given.outputs[0], Path.read_bytes)


def test_half_a_folder_in_an_object_store_is_damage(remote: str, tmp_path: Path) -> None:
    with Store(remote, cache=tmp_path / "here") as here:
        here.commit([given := entry(1, put_folder(here, a=b"1" * 5000))])
        assert here._remote is not None
        path = here._remote._path(given.outputs[0])
        here._file_system.pipe_file(path, here._file_system.cat_file(path)[:2000])

    with Store(remote, cache=tmp_path / "there") as there, pytest.raises(Damaged):
        there.path(given.outputs[0])


def test_a_damaged_copy_is_fetched_again(remote: str, tmp_path: Path) -> None:
    with Store(remote, cache=tmp_path / "here") as here:
        here.commit([given := result(here, 1, b"data")])
        here.path(given.outputs[0])
    with Store(remote, cache=tmp_path / "here") as here:
        found = here.hit(given.key)
        assert found is not None
        flip(here, found.outputs[0])
        assert b"data" == here.path(found.outputs[0]).read_bytes()


def test_who_lost_the_lease_publishes_nothing(remote: str, tmp_path: Path) -> None:
    dead, alive = Store(remote, cache=tmp_path / "a"), Store(remote, cache=tmp_path / "b")
    locks = LeaseLocks(dead._file_system, f"{dead._root}/leases", seconds=0.2)
    locks._beat = lambda stop: None  # type: ignore[method-assign]
    others = LeaseLocks(alive._file_system, f"{alive._root}/leases", seconds=0.2)
    assert locks.acquire(digest(1))
    assert others.acquire(digest(1))
    now = time.time()

    late = result(dead, 1, b"late", run="dead", created_at=now)
    assert set() == dead.commit([late], is_held=locks.is_held)
    assert alive.hit(digest(1)) is None
    winner = result(alive, 1, b"winner", run="alive", created_at=now)
    assert {digest(1)} == alive.commit([winner], is_held=others.is_held)

    # even one who believes to have it does not take the place of what came meanwhile
    late = result(dead, 1, b"late", run="dead", created_at=now + 0.1)
    assert set() == dead.commit([late], is_held=lambda key: True)
    found = alive.hit(digest(1))
    assert found is not None
    assert "alive" == found.run
    others.release(digest(1))
    for store in (dead, alive):
        store.close()


def test_what_is_forced_is_not_lost_beside_what_began_before(remote: str, tmp_path: Path) -> None:
    with Store(remote, cache=tmp_path / "a") as store:
        store.commit([result(store, 1, b"old", run="old", created_at=100.0)])
        slow = result(store, 2, run="r", created_at=110.0, seconds=20.0)
        forced = result(store, 1, b"new", run="r", created_at=110.0, seconds=5.0)

        keys = store.commit([slow, forced], is_held=lambda key: True)

        assert {digest(1), digest(2)} == keys


def test_a_store_that_does_not_answer_publishes_nothing(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(remote, cache=tmp_path / "here") as store:
        entries = [result(store, 1), result(store, 2)]
        file_system = store._file_system

        def refuse(*given: Any, **named: Any) -> None:
            raise OSError(errno.ECONNRESET, "Connection reset by peer")

        with monkeypatch.context() as patched:
            patched.setattr(file_system, "open", refuse)
            with pytest.raises(DataError, match=r"cannot be written: .*Connection reset"):
                store.commit(entries)
        assert store.hit(digest(1)) is None

        store.commit(entries)
        assert store.hit(digest(1)) is not None


def test_copies_lie_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADKA_CACHE", str(tmp_path))
    first, second = Store("memory://a/ws"), Store("memory://b/ws")

    assert tmp_path / "task" == first.folder.parent == second.folder.parent
    assert first.folder != second.folder


# ---------------------------------------------------------------- what it costs


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, tadka.task.store.store\n"
        "heavy = {'sqlalchemy', 'pandas', 'polars', 'pyarrow', 's3fs', 'psycopg'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import json\n{code}"], capture_output=True, text=True, check=True
    )
    assert [] == json.loads(done.stdout)


def test_a_group_costs_few_flushes_and_one_transaction(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [result(store, number) for number in range(256)]
    assert isinstance(store.index, SqliteIndex)
    statements: list[str] = []
    store.index._connection().set_trace_callback(statements.append)
    flushes: list[int] = []
    disk: Any = store._objects._disk
    flush = disk.flush

    def counted(paths: list[str]) -> None:
        flushes.append(len(paths))
        flush(paths)

    monkeypatch.setattr(disk, "flush", counted)

    store.commit(entries)

    assert 2 == len(flushes)
    assert 256 == flushes[0]
    assert 1 == statements.count("COMMIT")


# ---------------------------------------------------------------- runs and removal


def test_runs_that_go_on_are_told_to_who_removes(store: Store, tmp_path: Path) -> None:
    run = RunRow("r1", "shop.Train", "id", 1.0)
    with store.using(run):
        assert run == store.index.run("r1")
        with Store(tmp_path / "ws") as other, other.removing() as running:
            assert [run] == running

    with store.removing() as running:  # nobody said how it ended: it was killed
        assert [] == running


def test_a_killed_run_in_an_object_store_ends(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, alive = Store(remote, cache=tmp_path / "a"), Store(remote, cache=tmp_path / "b")
    monkeypatch.setattr(dead.locks, "_beat", lambda stop: None)
    run = RunRow("r1", "t", "i", 1.0)
    with dead.using(run):
        assert alive.is_running(run)
        now = time.time() + 3600
        monkeypatch.setattr("tadka.task.store.lock.time.time", lambda: now)
        assert not alive.is_running(run)
        assert not Store(remote, cache=tmp_path / "b").is_running(run)


def test_a_run_that_ended_leaves_no_lease(remote: str, tmp_path: Path) -> None:
    with Store(remote, cache=tmp_path / "a") as store:
        for number in range(3):
            with store.using(RunRow(f"r{number}", "t", "i", 1.0)):
                pass

        store._file_system.invalidate_cache()
        assert 1 == len(store._file_system.find(f"{store._root}/leases"))  # that of removals


def test_a_run_begins_when_a_removal_is_done(store: Store) -> None:
    begun: list[str] = []

    def begin() -> None:
        with store.using(RunRow("r1", "shop.Train", "id", 1.0)):
            begun.append("r1")

    thread = threading.Thread(target=begin)
    with store.removing() as running:
        assert [] == running
        thread.start()
        thread.join(0.2)
        assert [] == begun
    thread.join(30)
    assert ["r1"] == begun


def test_bytes_that_were_good_once_are_looked_at_again_when_they_cannot_be_read(
    store: Store,
) -> None:
    given = result(store, 1)
    store.commit([given])
    assert b"bytes 1" == store.read(given.outputs[0], Path.read_bytes)
    path = store.path(given.outputs[0])
    path.chmod(0o644)
    path.write_bytes(b"bytes X")

    def read(path: Path) -> bytes:
        raise ValueError(path.read_bytes())

    with pytest.raises(Damaged):
        store.read(given.outputs[0], read)


def test_few_bytes_wait_in_memory_and_many_in_a_file(tmp_path: Path) -> None:
    few, many = b"few", b"m" * 20_000
    with Store(tmp_path) as store:
        kept, spilled = store.keep(few, ".txt"), store.keep(many, ".txt")
        assert (few, None) == (kept.data, kept.aside)
        assert spilled.data is None
        assert many == Path(str(spilled.aside)).read_bytes()
        store.commit([entry(1, kept), entry(2, spilled)])

    with Store(tmp_path) as store:
        for number, data in ((1, few), (2, many)):
            found = store.hit(digest(number))
            assert found is not None
            assert data == store.read(found.outputs[0], Path.read_bytes)
            assert not store.path(found.outputs[0]).stat().st_mode & 0o222
    assert [] == list((tmp_path / "objects" / ".aside").iterdir())


def test_what_waits_in_memory_leaves_nothing_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Store(tmp_path) as store:
        kept = [store.keep(b"%d" % number, ".txt") for number in range(3)]
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(DataError, match="No space left"):
            store.commit([entry(number, output) for number, output in enumerate(kept)])
        monkeypatch.undo()

        assert [] == list((tmp_path / "objects").rglob("*.txt"))
        assert store.hit(digest(0)) is None
        store.commit([entry(0, kept[0])])
        assert store.hit(digest(0)) is not None
