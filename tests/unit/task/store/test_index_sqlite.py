import os
import signal
import sqlite3
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from tadka.core.error import DataError
from tadka.task.store.index_sqlite import SqliteIndex
from tests.rows import digest, entry


def test_the_file_is_written_ahead_and_synced(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db")

    connection = index._connection()

    assert ("wal",) == connection.execute("PRAGMA journal_mode").fetchone()
    assert (2,) == connection.execute("PRAGMA synchronous").fetchone()
    index.close()


def test_parts_that_entries_share_are_stored_once(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db")

    index.add([entry(number) for number in range(100)])
    index.add([entry(number) for number in range(50, 150)])

    assert (1,) == index._connection().execute("SELECT count(*) FROM detail").fetchone()
    found = index.find(digest(120))
    assert found is not None
    assert entry(120).parts == dict(found.parts)
    index.close()


def test_a_group_that_cannot_be_written_leaves_nothing_of_it(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db")
    index.add([entry(1)])

    with pytest.raises(TypeError, match="'object' is no plain JSON"):
        index.add([entry(2), entry(3, fields={"x": object()})])
    with pytest.raises(DataError):
        index.add([entry(2), entry(3, created_at=None)])

    assert [1] == [found.fields["day"] for found in index.entries()]
    index.add([entry(2)])
    assert 2 == len(list(index.entries()))
    index.close()


def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(DataError, match=r"is damaged.*Move it away"):
        SqliteIndex(path)
    assert b"no database" * 1000 == path.read_bytes()


def test_a_file_that_lost_its_end_is_refused(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db")
    index.add([entry(number) for number in range(500)])
    index.close()
    data = (tmp_path / "i.db").read_bytes()
    (tmp_path / "i.db").write_bytes(data[: len(data) // 2])

    with pytest.raises(DataError, match=r"is damaged.*Move it away"):
        list(SqliteIndex(tmp_path / "i.db").entries())


def test_a_row_that_holds_something_else_is_damage(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db")
    index.add([entry(1)])
    index._connection().execute("UPDATE entry SET body='{'")

    with pytest.raises(DataError, match="is damaged"):
        index.find(digest(1))
    index.close()


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "i.db")
    connection.execute("CREATE TABLE theirs(x)")
    connection.close()
    before = (tmp_path / "i.db").read_bytes()

    with pytest.raises(DataError, match="of another program"):
        SqliteIndex(tmp_path / "i.db")

    assert before == (tmp_path / "i.db").read_bytes()


@pytest.mark.parametrize(("version", "cure"), [(99, "Update tadka"), (-1, "Move the file away")])
def test_another_version_is_refused_with_what_to_do(
    tmp_path: Path, version: int, cure: str
) -> None:
    SqliteIndex(tmp_path / "i.db").close()
    connection = sqlite3.connect(tmp_path / "i.db")
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()

    with pytest.raises(DataError, match=rf"has version {version}; this tadka reads 1\. {cure}"):
        SqliteIndex(tmp_path / "i.db")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened for writing"):
        SqliteIndex(tmp_path / "none" / "i.db")


def test_who_waits_for_another_writer_is_told(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db", timeout_s=0.05)
    other = sqlite3.connect(tmp_path / "i.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(DataError, match="locked by another process"):
        index.add([entry(1)])

    other.execute("ROLLBACK")
    other.close()
    index.add([entry(1)])
    index.close()


def test_each_thread_has_a_connection_that_ends_with_it(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db")
    index.add([entry(1)])
    found = []
    thread = threading.Thread(target=lambda: found.append(index.find(digest(1))))
    thread.start()
    thread.join()
    del thread

    assert [entry(1)] == found
    assert 1 == len(index._all)
    index.close()


def test_a_child_of_fork_opens_its_own(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db")
    index.add([entry(1)])
    if (child := os.fork()) == 0:
        try:
            index.add([entry(2)])
            os._exit(0 if index.find(digest(1)) == entry(1) else 1)
        finally:
            os._exit(2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    index.add([entry(3)])

    assert 3 == len(list(index.entries()))
    index.close()


def _make(path: str, number: int) -> None:
    index = SqliteIndex(path)
    index.add([entry(number), entry(99)])
    index.close()


def test_processes_make_the_file_at_once(tmp_path: Path) -> None:
    context = get_context("fork")
    processes = [
        context.Process(target=_make, args=(str(tmp_path / "i.db"), number)) for number in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [0] * 8 == [process.exitcode for process in processes]
    index = SqliteIndex(tmp_path / "i.db")
    assert [*range(8), 99] == sorted(found.fields["day"] for found in index.entries())
    index.close()


def test_a_writer_killed_in_a_transaction_leaves_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    SqliteIndex(path).close()
    if (child := os.fork()) == 0:
        try:
            index = SqliteIndex(path)
            connection = index._connection()
            connection.execute("PRAGMA cache_size=1")  # so that pages reach the file before the end
            connection.execute("BEGIN IMMEDIATE")
            rows = ((digest(n), *"tir", 1.0, "b" * 1000, "p") for n in range(1000))
            connection.executemany("INSERT INTO entry VALUES(?,?,?,?,?,?,?)", rows)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(2)
    assert -signal.SIGKILL == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    index = SqliteIndex(path)

    assert [] == list(index.entries())
    index.add([entry(1)])
    index.close()


def test_a_full_disk_adds_nothing(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db")
    index.add([entry(1)])
    index._connection().execute("PRAGMA max_page_count=30")

    with pytest.raises(DataError, match="Free some space"):
        index.add([entry(number) for number in range(2, 500)])

    assert 1 == len(list(index.entries()))
    index.close()


def test_many_entries_are_added_in_one_transaction_and_found_quickly(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "i.db")
    entries = [entry(number) for number in range(20_000)]
    begun = time.process_time()
    index.add(entries)
    added_us = (time.process_time() - begun) / len(entries) * 1e6

    begun = time.process_time()
    assert all(index.find(found.key) is not None for found in entries)
    found_us = (time.process_time() - begun) / len(entries) * 1e6

    index.close()
    # without load 12 and 9 us; on a shared machine up to three times as much
    assert added_us < 60.0
    assert found_us < 50.0
