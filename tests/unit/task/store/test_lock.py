import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.storage.uri import resolve
from tadka.task.store import lock
from tadka.task.store.lock import FileLocks, LeaseLocks, Locks
from tests.rows import digest

KEY, OTHER = digest("key"), digest("other")
FORK = get_context("fork")


def in_child(act: Callable[[], bool]) -> bool:
    """Whether `act` is true in a child of fork."""
    if (child := os.fork()) == 0:
        try:
            os._exit(0 if act() else 1)
        finally:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, 1}
    return status == 0


def gives_back(locks: Locks) -> bool:
    locks.release(KEY)
    return True


@pytest.fixture(params=["file", "lease"])
def locks(request: pytest.FixtureRequest, tmp_path: Path) -> Locks:
    if request.param == "file":
        return FileLocks(tmp_path / "locks")
    return LeaseLocks(fsspec.filesystem("file"), str(tmp_path / "leases"))


# ---------------------------------------------------------------- both kinds


def test_a_lock_is_taken_and_given_back(locks: Locks) -> None:
    with locks.held(KEY) as is_taken:
        assert is_taken
        assert locks.is_held(KEY)
        assert not locks.is_held(OTHER)
    assert not locks.is_held(KEY)
    with locks.held(KEY, wait=False) as is_taken:
        assert is_taken


def test_a_lock_is_given_back_where_the_block_fails(locks: Locks) -> None:
    with pytest.raises(ZeroDivisionError), locks.held(KEY):
        raise ZeroDivisionError
    assert not locks.is_held(KEY)


def test_another_thread_does_not_get_it_meanwhile(locks: Locks) -> None:
    found = []

    def try_it() -> None:
        found.append((locks.acquire(KEY, wait=False), locks.acquire(OTHER, wait=False)))

    with locks.held(KEY):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()

    assert [(False, True)] == found
    locks.release(OTHER)  # any thread may


def test_another_process_does_not_get_it_meanwhile(locks: Locks) -> None:
    with locks.held(KEY):
        assert not in_child(lambda: locks.acquire(KEY, wait=False))
        assert in_child(lambda: locks.acquire(OTHER, wait=False) and not locks.is_held(KEY))
        assert locks.is_held(KEY)


def test_giving_back_what_is_not_held_changes_nothing(locks: Locks) -> None:
    with locks.held(KEY):
        assert in_child(lambda: not locks.is_held(KEY) and gives_back(locks))
        locks.release(OTHER)
        assert not in_child(lambda: locks.acquire(KEY, wait=False))


def test_who_waits_can_be_stopped(locks: Locks) -> None:
    asked = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) == 3

    with locks.held(KEY):
        assert not locks.acquire(KEY, should_stop=should_stop)
        assert not in_child(lambda: locks.acquire(KEY, should_stop=lambda: True))
    assert 3 == len(asked)


def test_who_waits_gets_it_when_it_is_given_back(locks: Locks) -> None:
    taken = threading.Event()
    locks.acquire(KEY)

    def wait() -> None:
        if locks.acquire(KEY):
            taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not taken.wait(0.05)

    locks.release(KEY)

    assert taken.wait(10)
    thread.join()
    locks.release(KEY)


def test_locks_can_be_sent_to_another_process(locks: Locks) -> None:
    other = pickle.loads(pickle.dumps(locks))
    with locks.held(KEY):
        assert not in_child(lambda: bool(other.acquire(KEY, wait=False)))


def _in_turn(locks: Locks, folder: str) -> None:
    with locks.held(KEY):
        inside = Path(folder, "inside")
        inside.mkdir()  # fails where another is inside
        with Path(folder, "log").open("a", encoding="utf-8") as file:
            file.write("x")
        inside.rmdir()


def test_16_processes_have_it_one_after_the_other(locks: Locks, tmp_path: Path) -> None:
    processes = [FORK.Process(target=_in_turn, args=(locks, str(tmp_path))) for _ in range(16)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [0] * 16 == [process.exitcode for process in processes]
    assert "x" * 16 == (tmp_path / "log").read_text(encoding="utf-8")


# ---------------------------------------------------------------- one machine


def start_holder(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of KEY until it is killed."""
    code = (
        "import sys; from tadka.task.store.lock import FileLocks\n"
        f"FileLocks({str(tmp_path / 'locks')!r}).acquire({KEY!r})\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert "held\n" == holder.stdout.readline()
    return holder


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path / "locks")
    holder = start_holder(tmp_path)
    assert not locks.acquire(KEY, wait=False)

    holder.kill()
    holder.communicate()

    assert locks.acquire(KEY, wait=False)
    locks.release(KEY)


def test_who_waits_for_a_process_that_is_killed_gets_it_soon(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path / "locks")
    holder = start_holder(tmp_path)
    waited: list[float] = []

    def wait() -> None:
        if locks.acquire(KEY):
            waited.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()

    killed_at = time.monotonic()
    holder.kill()
    thread.join(10)

    assert 1 == len(waited)
    assert waited[0] - killed_at < 5.0  # 0.05 s without load
    holder.communicate()
    locks.release(KEY)


def test_opening_the_locks_again_keeps_what_is_held(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path / "locks")
    with locks.held(KEY):
        again = FileLocks(tmp_path / "locks")
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "locks")
        also = FileLocks(link)
        assert again.is_held(KEY)
        assert not also.acquire(KEY, wait=False)
        del again, also
        assert not in_child(lambda: FileLocks(tmp_path / "locks").acquire(KEY, wait=False))


def test_a_child_holds_nothing_of_its_parent_and_the_parent_keeps_it(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path / "locks")
    with locks.held(KEY):
        assert in_child(lambda: not locks.is_held(KEY) and not locks.acquire(KEY, wait=False))
        assert not in_child(lambda: FileLocks(tmp_path / "locks").acquire(KEY, wait=False))
        with locks._file.guard:  # as a thread of the parent may have it at that moment
            assert in_child(lambda: locks.acquire(OTHER))


def test_keys_that_share_a_byte_wait_for_each_other(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path / "locks")
    first, second = KEY, KEY[:15] + "0" * 49

    with locks.held(first):
        assert not locks.acquire(second, wait=False)
        assert not in_child(lambda: locks.acquire(second, wait=False))


def test_a_lock_file_that_was_deleted_is_closed_when_nothing_is_held(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path / "locks")
    identity = (tmp_path / "locks").stat().st_dev, (tmp_path / "locks").stat().st_ino
    locks.acquire(KEY)
    (tmp_path / "locks").unlink()

    FileLocks(tmp_path / "others")
    assert identity in lock._FILES
    locks.release(KEY)
    FileLocks(tmp_path / "others")
    assert identity not in lock._FILES


def test_a_key_is_hex_digits(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'no key' cannot be locked; it must be hex digits"):
        FileLocks(tmp_path / "locks").acquire("no key")


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none" / "locks"):
        with pytest.raises(DataError, match="cannot be opened for writing"):
            FileLocks(path)


def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.raises(DataError, match=r"No locks available. Put the workspace on a local disk"):
        FileLocks(tmp_path / "locks").acquire(KEY)


# ---------------------------------------------------------------- object stores


@pytest.fixture(params=["memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, str]:
    if request.param == "s3":
        return resolve(f"{request.getfixturevalue('bucket')}/leases")
    return resolve(f"memory://{tmp_path}")


def test_a_lease_is_for_one_of_two_machines(place: tuple[Any, str]) -> None:
    here, there = LeaseLocks(*place), LeaseLocks(*place)

    assert here.acquire(KEY)
    assert not there.acquire(KEY, wait=False)
    assert there.acquire(OTHER, wait=False)
    here.release(KEY)
    assert there.acquire(KEY, wait=False)

    assert not here.is_held(KEY)
    assert there.is_held(KEY)
    for key in (KEY, OTHER):
        there.release(key)


def test_of_many_machines_one_gets_a_free_lease(place: tuple[Any, str]) -> None:
    machines = [LeaseLocks(*place) for _ in range(6)]
    taken = []
    start = threading.Barrier(6)

    def take(machine: LeaseLocks) -> None:
        start.wait()
        if machine.acquire(KEY, wait=False):
            taken.append(machine)

    threads = [threading.Thread(target=take, args=(machine,)) for machine in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == len(taken)
    taken[0].release(KEY)


def test_the_token_grows_with_each_holder(place: tuple[Any, str]) -> None:
    tokens = []
    for _ in range(3):
        machine = LeaseLocks(*place)
        with machine.held(KEY):
            tokens.append(machine.token(KEY))
        assert machine.token(KEY) is None

    assert [1, 2, 3] == tokens
    file_system, folder = place
    file_system.invalidate_cache()
    assert 1 == len(file_system.ls(f"{folder}/{KEY}"))


def test_a_lease_without_a_sign_of_life_is_taken_and_its_holder_learns_it(
    place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = LeaseLocks(*place, seconds=0.3)
    monkeypatch.setattr(dead, "_beat", lambda stop: None)
    assert dead.acquire(KEY)
    alive = LeaseLocks(*place, seconds=0.3)

    assert alive.acquire(KEY)

    assert not dead.is_held(KEY)
    assert alive.is_held(KEY)
    dead.release(KEY)  # too late: changes nothing
    assert alive.is_held(KEY)
    assert not LeaseLocks(*place).acquire(KEY, wait=False)
    alive.release(KEY)


def test_who_tries_again_and_again_takes_the_lease_of_a_dead_holder(
    place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, alive = LeaseLocks(*place), LeaseLocks(*place)
    monkeypatch.setattr(dead, "_beat", lambda stop: None)
    dead.acquire(KEY)
    now = 1000.0
    monkeypatch.setattr("tadka.task.store.lock.time.monotonic", lambda: now)

    assert not alive.acquire(KEY, wait=False)
    now = 1029.9
    assert not alive.acquire(KEY, wait=False)
    now = 1030.0
    assert alive.acquire(KEY, wait=False)
    alive.release(KEY)


def test_a_lease_that_is_old_by_any_clock_is_taken_at_the_first_look(
    place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = LeaseLocks(*place)
    monkeypatch.setattr(dead, "_beat", lambda stop: None)
    dead.acquire(KEY)
    now = time.time()

    monkeypatch.setattr("tadka.task.store.lock.time.time", lambda: now + 620.0)
    assert not LeaseLocks(*place).acquire(KEY, wait=False)
    monkeypatch.setattr("tadka.task.store.lock.time.time", lambda: now + 640.0)
    alive = LeaseLocks(*place)
    assert alive.acquire(KEY, wait=False)
    alive.release(KEY)


def test_a_holder_that_gives_signs_keeps_its_lease(tmp_path: Path) -> None:
    place = fsspec.filesystem("file"), str(tmp_path)
    holder = LeaseLocks(*place, seconds=1.0)
    holder.acquire(KEY)
    begun = time.monotonic()

    other = LeaseLocks(*place, seconds=1.0)
    assert not other.acquire(KEY, should_stop=lambda: time.monotonic() - begun > 2.5)

    assert holder.is_held(KEY)
    assert json.loads((tmp_path / KEY / "00000001.json").read_text())["beats"] >= 2
    holder.release(KEY)


def test_a_holder_that_lost_its_lease_gives_no_more_signs(
    place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = LeaseLocks(*place, seconds=0.2)
    beat, beats = dead._beat, threading.Event()
    monkeypatch.setattr(dead, "_beat", lambda stop: None)
    dead.acquire(KEY)
    lease = dead._mine[KEY]
    assert lease is not None
    alive = LeaseLocks(*place, seconds=0.2)
    alive.acquire(KEY)

    dead._beat_one((KEY, lease))

    assert lease.is_over
    assert 0 == lease.beats
    beats.set()
    beat(beats)  # ends at once where there is nothing to say
    alive.release(KEY)


def test_a_store_that_does_not_answer_does_not_end_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = LeaseLocks(fsspec.filesystem("file"), str(tmp_path))
    holder.acquire(KEY)
    lease = holder._mine[KEY]
    assert lease is not None

    def fail(*given: Any) -> None:
        raise DataError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(lock, "names_in", fail)
        holder._beat_one((KEY, lease))
        with pytest.raises(DataError, match="no answer"):
            holder.is_held(KEY)

    assert holder.is_held(KEY)
    holder.release(KEY)


def test_a_lease_whose_making_fails_is_free_for_other_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = LeaseLocks(fsspec.filesystem("file"), str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(lock, "names_in", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            locks.acquire(KEY)

    assert locks.acquire(KEY, wait=False)
    locks.release(KEY)


def test_a_damaged_lease_ends_when_it_is_too_old(tmp_path: Path) -> None:
    (tmp_path / KEY).mkdir()
    (tmp_path / KEY / "00000007.json").write_bytes(b"{")
    locks = LeaseLocks(fsspec.filesystem("file"), str(tmp_path), seconds=0.1)

    assert not locks.acquire(KEY, wait=False)
    assert locks.acquire(KEY)

    assert 8 == locks.token(KEY)
    locks.release(KEY)


def test_no_thread_stays_when_nothing_is_held(tmp_path: Path) -> None:
    locks = LeaseLocks(fsspec.filesystem("file"), str(tmp_path))
    with locks.held(KEY):
        beating = [thread for thread in threading.enumerate() if thread.name == "tadka-lease"]
        assert 1 == len(beating)
    beating[0].join(10)
    assert not beating[0].is_alive()


def test_seconds_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Leases of 0 seconds"):
        LeaseLocks(fsspec.filesystem("file"), str(tmp_path), seconds=0)


def test_a_lease_holder_killed_frees_it_after_its_seconds(tmp_path: Path) -> None:
    if (child := os.fork()) == 0:
        try:
            LeaseLocks(fsspec.filesystem("file"), str(tmp_path), seconds=0.5).acquire(KEY)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(2)
    os.waitpid(child, 0)
    locks = LeaseLocks(fsspec.filesystem("file"), str(tmp_path), seconds=0.5)

    assert not locks.acquire(KEY, wait=False)
    assert locks.acquire(KEY)

    locks.release(KEY)
