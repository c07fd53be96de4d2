"""Tables of SQLite and PostgreSQL."""

import datetime as dt
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import BOOL, BYTES, DATE, FLOAT, INT, STRING, TIME, UTC, Kind
from tadka.dataset.source import database
from tadka.dataset.source.database import Database

NOON = dt.datetime(2026, 1, 31, 12, 0, 0, 5)  # noqa: DTZ001 - without a zone


def columns(**kinds: Kind) -> dict[str, Column[Any]]:
    return {name: Column(name, kind) for name, kind in kinds.items()}


def rows_of(source: Database, declared: dict[str, Column[Any]]) -> list[dict[str, Any]]:
    (file,) = source.resolve(declared).files
    return [row for batch in source.batches(file, declared) for row in batch.to_pylist()]


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE users (id INTEGER, age SMALLINT, price REAL, name TEXT, ok BOOLEAN,"
            " day DATE, at DATETIME, raw BLOB, cost DECIMAL(10, 2))"
        )
        connection.execute(
            "INSERT INTO users VALUES (1, 30, 0.5, '東京', 1, '2026-01-31',"
            " '2026-01-31 12:00:00.000005', x'00ff', 12.25)"
        )
        connection.execute("INSERT INTO users (id) VALUES (2)")
        connection.execute("CREATE VIEW adults AS SELECT id FROM users WHERE age >= 18")
    connection.close()
    return f"sqlite:///{path}"


ALL = columns(
    id=INT,
    age=Kind("int16"),
    price=FLOAT,
    name=STRING,
    ok=BOOL,
    day=DATE,
    at=TIME,
    raw=BYTES,
    cost=FLOAT,
)


def test_rows_of_sqlite_have_the_declared_types(sqlite: str) -> None:
    first, second = rows_of(Database(sqlite, "users"), ALL)
    assert first == {
        "id": 1,
        "age": 30,
        "price": 0.5,
        "name": "東京",
        "ok": True,
        "day": NOON.date(),
        "at": NOON,
        "raw": b"\0\xff",
        "cost": 12.25,
    }
    assert second == dict.fromkeys(ALL) | {"id": 2}


def test_a_view_is_a_table(sqlite: str) -> None:
    assert rows_of(Database(sqlite, "adults"), columns(id=INT)) == [{"id": 1}]


def test_a_table_is_one_piece_that_is_staged(sqlite: str, tmp_path: Path) -> None:
    source = Database(sqlite, "users")
    listing = source.resolve(ALL)
    (file,) = listing.files
    assert (file.uri, file.format, file.modified) == (f"{sqlite}#users", "database", "2 rows")
    (staged,) = source.stage(listing, ALL, tmp_path).files
    read = pq.read_table(staged.uri)
    assert read.schema.field("at").type == TIME.arrow
    assert read["id"].to_pylist() == [1, 2]


def test_batches_are_bounded(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_ROWS_PER_BATCH", 1)
    source = Database(sqlite, "users")
    (file,) = source.resolve(ALL).files
    assert [1, 1] == [batch.num_rows for batch in source.batches(file, ALL)]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("name", INT, "'name' of 'users' is '東京' in row 1"),
        ("price", INT, "is 0.5 in row 1"),
        ("id", STRING, "is 1 in row 1"),
        ("id", BOOL, "is 1 in row 1"),
        ("ok", INT, "is True in row 1"),
        ("ok", FLOAT, "is True in row 1"),
        ("at", UTC, "it has no zone"),
        ("at", DATE, "in row 1"),
        ("day", TIME, "in row 1"),
        ("name", BYTES, "in row 1"),
        ("cost", INT, "12.25"),
        ("id", Kind("list", INT), "is 1 in row 1"),
    ],
)
def test_a_value_of_another_type_is_named(sqlite: str, name: str, kind: Kind, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows_of(Database(sqlite, "users"), columns(**{name: kind}))


def test_a_number_that_does_not_fit(sqlite: str) -> None:
    with sqlite3.connect(sqlite.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE users SET id = 300 WHERE id = 2")
    connection.close()
    with pytest.raises(DataError, match="is 300 in row 2 as read; the table declares int8"):
        rows_of(Database(sqlite, "users"), columns(id=Kind("int8")))


def test_names_that_are_not_there(sqlite: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no table 'user'. Did you mean 'users'.*adults, users"):
        Database(sqlite, "user").resolve({})
    with pytest.raises(DataError, match=r"no column 'nme'. Did you mean 'name'"):
        Database(sqlite, "users").resolve(columns(nme=STRING))
    with pytest.raises(DataError, match="cannot be read: unable to open"):
        Database(f"sqlite:///{tmp_path}/no/a.db", "users").resolve({})
    with pytest.raises(ConfigError, match="declared as a partition"):
        Database(sqlite, "users").resolve({"id": Column("id", INT, is_partition=True)})


@pytest.mark.parametrize(
    ("url", "table", "message"),
    [
        ("a.db", "t", "not understood"),
        ("sqlite:///a.db", "", "needs the name"),
        ("postgresql://u:secret@host/db", "t", "holds a password"),
        ("postgresql://host/db?user=u&password=secret@", "t", "'password' in the URL"),
        ("postgresql://host/db?sslpassword=secret@", "t", "'sslpassword' in the URL"),
    ],
)
def test_databases_that_cannot_be_are_refused(url: str, table: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Database(url, table)
    assert "secret@" not in str(caught.value)


@pytest.mark.needs_postgresql
def test_a_password_may_hold_what_urls_are_made_of(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setenv("TADKA_TEST_PASSWORD", "a%41@b:c/$d?e#f")
    host = postgresql.partition("@")[2]
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS numbers")
        connection.execute("CREATE TABLE numbers AS SELECT 1::bigint AS id")

    source = Database(f"postgresql://t:$TADKA_TEST_PASSWORD@{host}", "numbers")

    assert [{"id": 1}] == rows_of(source, columns(id=INT))


def test_a_variable_that_is_not_set() -> None:
    source = Database("postgresql://u:$TADKA_NO_SUCH@host/db", "t")
    with pytest.raises(ConfigError, match="'TADKA_NO_SUCH', which is not set"):
        source.resolve({})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://host/db", "nosuch"),
        ("postgresql://host:port/db", "'port'"),
        ("mysql+nosuch://host/db", "nosuch"),
    ],
)
def test_an_unknown_driver_or_port(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"is not understood: .*{message}"):
        Database(url, "t").resolve({})


@pytest.mark.parametrize("name", ["password", "sslpassword"])
def test_a_secret_in_the_query_is_a_whole_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADKA_TEST_PASSWORD", "very&secret=x#y %41")
    url = f"postgresql://u@127.0.0.1:1/db?{name}=$TADKA_TEST_PASSWORD"
    with pytest.raises(DataError, match="Connection refused") as caught:
        Database(url, "t").resolve({})
    assert "secret=" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def users(postgresql: str) -> Iterator[str]:
    import psycopg

    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA s")
        connection.execute(
            "CREATE TABLE s.users (id bigint, age smallint, price double precision, name text,"
            " ok boolean, day date, at timestamp, seen timestamptz, raw bytea,"
            " cost numeric(10, 2), tags integer[], key uuid)"
        )
        connection.execute(
            "INSERT INTO s.users VALUES (9223372036854775807, -1, 'NaN', '東京', true,"
            " '2026-01-31', '2026-01-31 12:00:00.000005', '2026-01-31 21:00:00.000005+09',"
            " '\\x00ff', 12.25, '{1,NULL}', '00000000-0000-0000-0000-000000000001')"
        )
        connection.execute("INSERT INTO s.users (id) VALUES (2)")
    yield postgresql
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("DROP SCHEMA s CASCADE")


@pytest.mark.needs_postgresql
def test_rows_of_postgresql_have_the_declared_types(
    users: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADKA_TEST_USER", "t")
    url = users.replace("t@", "$TADKA_TEST_USER@")
    declared = ALL | columns(seen=UTC, tags=Kind("list", INT), key=STRING)
    source = Database(url, "s.users")
    assert "$TADKA_TEST_USER" in source.resolve(declared).files[0].uri
    first, second = rows_of(source, declared)
    assert first.pop("price") != first.get("price", 0)
    assert first == {
        "id": 2**63 - 1,
        "age": -1,
        "name": "東京",
        "ok": True,
        "day": NOON.date(),
        "at": NOON,
        "seen": NOON.replace(tzinfo=dt.UTC),
        "raw": b"\0\xff",
        "cost": 12.25,
        "tags": [1, None],
        "key": "00000000-0000-0000-0000-000000000001",
    }
    assert second == dict.fromkeys(declared) | {"id": 2}


@pytest.mark.needs_postgresql
def test_times_with_and_without_zone_are_two_types(users: str) -> None:
    with pytest.raises(DataError, match="it has a zone"):
        rows_of(Database(users, "s.users"), columns(seen=TIME))
    with pytest.raises(DataError, match="it has no zone"):
        rows_of(Database(users, "s.users"), columns(at=UTC))


@pytest.mark.needs_postgresql
def test_a_server_that_does_not_answer(users: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match=r"no table 's.user'. Did you mean 'users'"):
        Database(users, "s.user").resolve({})
    monkeypatch.setenv("TADKA_TEST_PASSWORD", "very-secret")
    url = "postgresql://t:$TADKA_TEST_PASSWORD@/db?host=/no/such/folder"
    with pytest.raises(DataError, match=r"cannot be read: .*/no/such/folder") as caught:
        Database(url, "s.users").resolve({})
    assert "very-secret" not in str(caught.value)
