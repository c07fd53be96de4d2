"""Results that are committed together."""

import hashlib
import time
from pathlib import Path

import pytest

from tadka.core.error import DataError
from tadka.task.engine.group import Group, Item
from tadka.task.store.row import Entry, Execution
from tadka.task.store.store import Store


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def item(store: Store, number: int) -> Item:
    aside = store.begin(".txt")
    aside.write_text(str(number), encoding="utf-8")
    output = store.put(aside)
    key = key_of(number)
    entry = Entry(key, "t.T", f"id{number}", {}, {}, (output,), "r", time.time(), 0.0)
    assert store.locks.acquire(key, wait=False)
    row = Execution("r", "t.T", f"id{number}", "ran", time.time(), 0.0, key)
    return Item(row, entry, [(f"T/{number}.txt", output)], owner=number)


def settle(group: Group) -> list[object]:
    found = []
    while group.num_open:
        group.wait(10)
        found += [item.owner for settled in group.settled() for item in settled.items]
    return found


def test_what_is_settled_is_durable_and_its_lock_is_free(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        group = Group(store)
        for number in range(600):
            group.add(item(store, number))
        assert list(range(600)) == settle(group)
        group.close()

        assert 600 == len(list(store.index.entries()))
        assert not store.locks.is_held(key_of(5))
        assert "5" == (tmp_path / "T" / "5.txt").read_text(encoding="utf-8")


def test_nobody_has_to_ask_for_a_commit(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        group = Group(store)
        group.add(item(store, 1))
        until = time.monotonic() + 10
        while store.hit(key_of(1)) is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        group.close()


def test_a_commit_that_fails_is_told_and_frees_the_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DataError("the disk is full")

    with Store(tmp_path) as store:
        group = Group(store)
        waiting = item(store, 1)
        monkeypatch.setattr(store, "commit", refuse)
        group.add(waiting)
        group.wait(10)
        (settled,) = group.settled()
        group.close()

        assert isinstance(settled.error, DataError)
        assert not store.locks.is_held(key_of(1))
        assert not (tmp_path / "T").exists()


def test_closing_commits_what_is_left(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        group = Group(store)
        group.add(item(store, 1))
        group.close()

        assert store.hit(key_of(1)) is not None
        assert 1 == len(group.settled())
