import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError, DataError, MissingExtra
from tadka.task.store.index_sql import SqlIndex
from tests.rows import digest, entry
from tests.unit.task.store.test_index import drop_tables


@pytest.fixture
def index(postgresql: str) -> Iterator[SqlIndex]:
    opened = SqlIndex(postgresql)
    yield opened
    drop_tables(postgresql)
    opened.close()


@pytest.mark.needs_postgresql
def test_parts_that_entries_share_are_stored_once(index: SqlIndex) -> None:
    index.add([entry(number) for number in range(100)])

    assert 1 == index._rows("SELECT count(*) FROM tadka_detail")[0][0]


@pytest.mark.needs_postgresql
@pytest.mark.parametrize(("version", "cure"), [(99, "Update tadka"), (0, "drop the tables")])
def test_another_version_is_refused_with_what_to_do(
    index: SqlIndex, postgresql: str, version: int, cure: str
) -> None:
    index._rows("UPDATE tadka_version SET version=:version", version=version)

    with pytest.raises(DataError, match=rf"has version {version}; this tadka reads 1.*{cure}"):
        SqlIndex(postgresql)

    index._rows("UPDATE tadka_version SET version=1")


@pytest.mark.needs_postgresql
def test_a_group_that_cannot_be_written_leaves_nothing_of_it(index: SqlIndex) -> None:
    index.add([entry(1)])

    with pytest.raises(DataError, match=r"cannot be used: .*null value"):
        index.add([entry(2), entry(3, created_at=None)])

    assert [1] == [found.fields["day"] for found in index.entries()]


@pytest.mark.needs_postgresql
def test_a_transaction_that_the_server_gives_up_is_tried_again(index: SqlIndex) -> None:
    index._rows("CREATE TABLE IF NOT EXISTS tadka_pair(id INTEGER, x INTEGER)")
    index._rows("DELETE FROM tadka_pair")
    index._rows("INSERT INTO tadka_pair VALUES(1, 0), (2, 0)")
    text = index._sqlalchemy.text
    both = threading.Barrier(2)
    attempts: list[int] = []

    def add(first: int, second: int) -> None:
        def act(connection: Any) -> None:
            attempts.append(first)
            connection.execute(text("UPDATE tadka_pair SET x=x+1 WHERE id=:id"), {"id": first})
            if len(attempts) <= 2:
                both.wait(10)
            connection.execute(text("UPDATE tadka_pair SET x=x+1 WHERE id=:id"), {"id": second})

        index._transaction(act)

    threads = [threading.Thread(target=add, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [(2,), (2,)] == [tuple(row) for row in index._rows("SELECT x FROM tadka_pair")]
    assert 3 == len(attempts)
    index._rows("DROP TABLE tadka_pair")


@pytest.mark.needs_postgresql
def test_many_make_the_tables_at_once(postgresql: str) -> None:
    found: list[SqlIndex] = []
    threads = [
        threading.Thread(target=lambda: found.append(SqlIndex(postgresql))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 6 == len(found)
    for index in found:
        index.close()
    drop_tables(postgresql)


@pytest.mark.needs_postgresql
def test_a_child_of_fork_opens_its_own(index: SqlIndex) -> None:
    index.add([entry(1)])
    if (child := os.fork()) == 0:
        try:
            index.add([entry(2)])
            os._exit(0 if index.find(digest(1)) == entry(1) else 1)
        finally:
            os._exit(2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert entry(2) == index.find(digest(2))


@pytest.mark.needs_postgresql
def test_a_password_comes_from_the_environment_and_is_not_shown(
    index: SqlIndex, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADKA_TEST_PASSWORD", "a%41@b:c/$d?e#f")
    url = f"postgresql://t:$TADKA_TEST_PASSWORD@{postgresql.partition('@')[2]}"

    found = SqlIndex(url)

    assert "a%41@b:c/$d?e#f" == found._target.password
    assert "a%41" not in repr(found)
    found.close()
    monkeypatch.delenv("TADKA_TEST_PASSWORD")
    with pytest.raises(ConfigError, match="'TADKA_TEST_PASSWORD', which is not set"):
        SqlIndex(url)


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be used: .*Check that the server runs"):
        SqlIndex(f"postgresql://t:secret@/db?host={tmp_path}")


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not understood"):
        SqlIndex("postgresql://host:port/db")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(MissingExtra, match=r"tadka\[database\]"):
        SqlIndex("postgresql://host/db")
