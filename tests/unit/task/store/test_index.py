"""What every kind of index does: SQLite, PostgreSQL, and JSON in a file system or object store."""

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError, NotFound
from tadka.task.store.index import Index, open_index
from tadka.task.store.index_sql import SqlIndex
from tadka.task.store.row import Execution, Output, RunRow
from tests.rows import digest, entry

KINDS = [
    "sqlite",
    "file",
    "memory",
    pytest.param("postgresql", marks=pytest.mark.needs_postgresql),
    "s3",
]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/index.sqlite"
    elif request.param == "file":
        yield f"file://{tmp_path}/index"
    elif request.param == "memory":
        yield f"memory://{tmp_path}/index"
    elif request.param == "s3":
        yield f"{request.getfixturevalue('bucket')}/index"
    else:
        found: str = request.getfixturevalue("postgresql")
        yield found
        drop_tables(found)


def drop_tables(url: str) -> None:
    index = SqlIndex(url)
    for name in ("version", "entry", "detail", "run", "execution", "environment"):
        index._rows(f"DROP TABLE tadka_{name}")
    index.close()


@pytest.fixture
def index(url: str) -> Iterator[Index]:
    opened = open_index(url)
    yield opened
    opened.close()


def execution(run: str, number: int, **others: Any) -> Execution:
    return Execution(run, "shop.Features", digest(number)[:32], "ran", 1.5, 0.5, **others)


def test_an_entry_comes_back_as_it_was_given(index: Index) -> None:
    folder = Output("model", digest("m"), "", 7, {"files": [1, None, "ä\ud800"]}, True, 0)
    frame = Output("frame", digest("f"), ".parquet", 10**12, {}, False, 1_700_000_000_123_456_789)
    given = entry(
        1, frame, folder, peak_bytes=0, seed=2**100, environment="e", approved_from=digest(2)
    )

    index.add([given, entry(2)])

    found = index.find(given.key)
    assert found is not None
    assert given == found
    assert given.parts == dict(found.parts)
    assert index.find(digest("none")) is None


def test_an_entry_of_an_index_can_be_pickled(index: Index) -> None:
    index.add([entry(1)])

    assert entry(1) == pickle.loads(pickle.dumps(index.find(digest(1))))


@pytest.mark.parametrize("url", [k for k in KINDS if k != "memory"], indirect=True)
def test_an_index_can_be_sent_to_another_process(index: Index) -> None:
    index.add([entry(1)])

    other = pickle.loads(pickle.dumps(index))

    assert entry(1) == other.find(digest(1))
    other.close()


def test_a_key_that_is_added_again_gets_the_new_entry(index: Index) -> None:
    index.add([entry(1), entry(2)])

    added = index.add([entry(1, run="r2", created_at=3.0)])

    assert {digest(1)} == added
    found = index.find(digest(1))
    assert found is not None
    assert ("r2", 3.0) == (found.run, found.created_at)
    assert 2 == len(list(index.entries()))


@pytest.mark.parametrize("url", [k for k in KINDS if k != "sqlite"], indirect=True)
def test_an_entry_of_another_run_stays_where_a_lock_was_lost(index: Index) -> None:
    index.add([entry(1, run="faster", created_at=100.0), entry(2, run="old", created_at=10.0)])

    index.add([entry(4, run="faster", created_at=100.0)])
    since = {digest(1): 50.0, digest(2): 50.0, digest(3): 50.0, digest(4): 100.5}

    added = index.add([entry(n, run="slow", created_at=101.0) for n in (1, 2, 3, 4)], since=since)

    assert {digest(2), digest(3), digest(4)} == added
    runs = [found.run for n in (1, 2, 3, 4) if (found := index.find(digest(n))) is not None]
    assert ["faster", "slow", "slow", "slow"] == runs


def test_the_newest_entry_of_a_task_is_found_by_its_time(index: Index) -> None:
    same = digest("id")[:32]
    index.add([entry(number, task_id=same) for number in (1, 3, 2)])

    found = index.newest(same)

    assert found is not None
    assert digest(3) == found.key
    assert index.newest(digest("none")[:32]) is None
    index.remove([digest(3)])
    found = index.newest(same)
    assert found is not None
    assert digest(2) == found.key


def test_entries_are_listed_newest_first_and_by_class_and_time(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tadka.task.store.index_sqlite._PAGE", 2)
    monkeypatch.setattr("tadka.task.store.index_sql._PAGE", 2)
    others = {"task": "shop.raw.Clicks", "created_at": 1_700_000_002.0}
    index.add([*(entry(number) for number in range(5)), entry(7, **others)])

    def days(**asked: Any) -> list[int]:
        return [found.fields["day"] for found in index.entries(**asked)]

    assert [4, 3, 1, 0] == [day for day in days() if day not in {2, 7}]
    assert {2, 7} == set(days()[2:4])
    assert [7] == days(task="Clicks") == days(task="raw.Clicks") == days(task="shop.raw.Clicks")
    assert [] == days(task="licks")
    assert [4, 3] == days(since=1_700_000_003.0)
    assert [4, 3, 2] == days(task="Features", limit=3)
    assert [] == days(limit=0)


def test_entries_are_found_by_the_beginning_of_their_key_or_id(index: Index) -> None:
    given = [entry(1), entry(2, task_id=entry(1).task_id), entry(3)]
    index.add(given)

    assert [given[2]] == index.search(given[2].key[:12])
    assert [given[1], given[0]] == index.search(given[0].task_id[:8])
    assert [given[1]] == index.search(given[0].task_id[:8], limit=1)
    assert [given[0]] == index.search(given[0].key)
    assert [] == index.search(f"{given[0].key}0")
    assert 3 == len(index.search(""))


def test_what_entries_name_is_listed_for_who_removes_the_rest(index: Index) -> None:
    index.add([entry(1), entry(2, Output("a", "aa", "", 1), Output("b", "bb", "", 1))])

    assert {digest("bytes 1"), "aa", "bb"} == index.contents()
    index.remove([digest(2), digest("none")])
    assert {digest("bytes 1")} == index.contents()


def test_runs_and_what_they_did_are_kept(index: Index) -> None:
    first = RunRow("r1", "shop.Train", "id", 1.0, "e", details={"argv": ["a"]})
    index.begin_run(first)
    index.begin_run(RunRow("r2", "shop.Train", "id", 2.0))
    index.add([], [execution("r1", 1, error="ValueError: ä"), execution("r2", 2)])
    index.add([entry(1)], [execution("r1", 3, metrics={"auc": 0.7})])
    index.end_run("r1", "failed", 5.0, {"num_failed": 1})

    assert ["r2", "r1"] == [run.id for run in index.runs()]
    assert ["r2"] == [run.id for run in index.runs(limit=1)]
    ended = index.run("r1")
    assert ("failed", 5.0) == (ended.status, ended.ended_at)
    assert {"argv": ["a"], "num_failed": 1} == ended.details
    done = [execution("r1", 1, error="ValueError: ä"), execution("r1", 3, metrics={"auc": 0.7})]
    assert done == index.executions("r1")
    with pytest.raises(NotFound, match="no run 'r9'"):
        index.run("r9")


def test_equal_environments_are_one(index: Index) -> None:
    first = index.add_environment({"numpy": "2.0", "host": "a"})
    second = index.add_environment({"host": "a", "numpy": "2.0"})

    assert first == second
    assert {"numpy": "2.0", "host": "a"} == index.environment(first)
    with pytest.raises(NotFound, match="no environment 'x'"):
        index.environment("x")


def test_threads_add_to_one_index(index: Index) -> None:
    def add(place: int) -> None:
        # every thread adds keys that another adds, too, in another order
        numbers = list(range(place * 5, place * 5 + 10))
        index.add([entry(number) for number in (numbers if place % 2 else numbers[::-1])])

    threads = [threading.Thread(target=add, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(25)) == sorted(found.fields["day"] for found in index.entries())


@pytest.mark.parametrize("url", ["index.db", "sqlite://", "sqlite:///", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is not understood"):
        open_index(url)
