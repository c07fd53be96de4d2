import errno
import fcntl
import os
import pickle
import signal
import stat
import threading
from pathlib import Path

import pytest

from tadka.core.error import DataError
from tadka.core.hashing import digest_file
from tadka.task.store import objects
from tadka.task.store.objects import Damaged, Objects
from tadka.task.store.row import Output
from tests.rows import digest


@pytest.fixture
def store(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "ws")


def file(store: Objects, data: bytes = b"data", suffix: str = ".bin") -> Output:
    aside = store.begin(suffix)
    aside.write_bytes(data)
    return store.put(aside)


def folder(store: Objects, **files: bytes) -> Output:
    aside = store.begin(is_folder=True)
    for name, data in files.items():
        path = aside / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return store.put(aside)


def names(place: Path) -> list[str]:
    """Names of objects."""
    return sorted(path.name for path in place.glob("ws/objects/[0-9a-f]*/*"))


def left(place: Path) -> list[Path]:
    """What waits aside."""
    return list(place.glob("ws/objects/.aside/*/*"))


def test_a_file_lies_under_the_hash_of_its_bytes(store: Objects, tmp_path: Path) -> None:
    output = file(store, b"abc")

    assert 3 == output.num_bytes
    assert ".bin" == output.suffix
    assert [] == names(tmp_path)
    store.publish([output])

    assert [output.content] == names(tmp_path)
    path = store.path(output)
    assert output.content == digest_file(path)
    assert path.parent.name == output.content[0]
    assert 0o444 == stat.S_IMODE(path.stat().st_mode)
    assert path.stat().st_mtime_ns == output.mtime_ns
    assert [] == left(tmp_path)


def test_equal_bytes_are_stored_once(store: Objects, tmp_path: Path) -> None:
    store.publish([file(store), file(store, suffix=".txt"), file(store, b"others")])
    inode = store.path(file(store)).stat().st_ino
    store.publish([file(store)])

    assert 2 == len(names(tmp_path))
    assert inode == store.path(file(store)).stat().st_ino


def test_a_folder_is_an_object(store: Objects, tmp_path: Path) -> None:
    output = folder(store, a=b"1", sub__b=b"22")
    (store.begin(is_folder=True)).joinpath("empty").mkdir()

    store.publish([output])
    store.publish([folder(store, sub__b=b"22", a=b"1")])

    assert output.is_folder
    assert 3 == output.num_bytes
    assert [f"{output.content}.d"] == names(tmp_path)
    assert b"22" == store.path(output).joinpath("sub/b").read_bytes()
    store.verify(output)


def test_folders_differ_by_names_bytes_and_empty_folders(store: Objects) -> None:
    with_empty = store.begin(is_folder=True)
    with_empty.joinpath("a").write_bytes(b"1")
    with_empty.joinpath("sub").mkdir()
    made = [
        store.put(with_empty),
        folder(store, a=b"1"),
        folder(store, b=b"1"),
        folder(store, a=b"2"),
        folder(store, sub__a=b"1"),
        folder(store),
    ]

    assert 6 == len({output.content for output in made})


def test_links_in_a_folder_are_refused(store: Objects) -> None:
    aside = store.begin(is_folder=True)
    aside.joinpath("link").symlink_to("/etc/passwd")

    with pytest.raises(DataError, match="'link' of a folder is neither a file nor a folder"):
        store.put(aside)


def test_nothing_or_something_strange_is_refused(store: Objects) -> None:
    with pytest.raises(DataError, match="Nothing was written to"):
        store.put(store.begin(".txt"))
    aside = store.begin()
    aside.symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        store.put(aside)


def test_objects_are_flushed_before_they_get_their_names_and_folders_after(
    store: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    rename = os.rename
    outputs = [file(store, b"1"), folder(store, x=b"2")]

    def flushed(paths: list[str]) -> None:
        done.extend(f"flush {Path(path).name}" for path in paths)

    def renamed(path: str, target: str) -> None:
        done.append(f"rename {Path(path).name}")
        rename(path, target)

    monkeypatch.setattr(store._disk, "flush", flushed)
    monkeypatch.setattr(os, "rename", renamed)

    store.publish(outputs)

    one, two = (Path(str(output.aside)).name for output in outputs)
    assert [f"flush {one}", "flush x", f"flush {two}", f"rename {one}", f"rename {two}"] == done[:5]
    assert sorted(f"flush {output.content[0]}" for output in outputs) == done[5:]


def test_the_folder_of_an_object_that_is_there_is_flushed_too(
    store: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish([file(store)])
    flushed: list[str] = []
    monkeypatch.setattr(store._disk, "flush", flushed.extend)

    store.publish([output := file(store)])

    assert [str(store.path(output).parent)] == flushed


def test_a_disk_that_refuses_publishes_nothing_and_is_not_asked_again(
    store: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = file(store)

    def refuse(paths: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(store._disk, "flush", refuse)
        with pytest.raises(DataError, match="cannot be written: Input/output error"):
            store.publish([output])

    assert [] == names(tmp_path)
    with pytest.raises(DataError, match="is gone before it was published"):
        store.publish([output])
    store.publish([file(store)])
    assert 1 == len(names(tmp_path))


def test_publishing_twice_is_publishing_once(store: Objects, tmp_path: Path) -> None:
    outputs = [file(store), folder(store, a=b"1")]
    store.publish(outputs)
    store.publish(outputs)

    assert 2 == len(names(tmp_path))


def test_a_worker_writes_for_the_session(store: Objects, tmp_path: Path) -> None:
    store.open()
    worker = Objects(store.root, store.session)
    output = pickle.loads(pickle.dumps(file(worker)))

    worker.close()
    store.publish([output])

    assert [output.content] == names(tmp_path)


@pytest.mark.parametrize("is_folder", [False, True])
def test_other_bytes_are_found_and_moved_to_the_quarantine(
    store: Objects, tmp_path: Path, is_folder: bool, caplog: pytest.LogCaptureFixture
) -> None:
    output = folder(store, a=b"data") if is_folder else file(store)
    store.publish([output])
    store.verify(output)
    path = store.path(output) / "a" if is_folder else store.path(output)
    path.chmod(0o644)
    path.write_bytes(b"dat4")

    assert store.has(output)
    with pytest.raises(Damaged, match=r"has other bytes than were written.* runs again") as caught:
        store.verify(output)

    assert output.content == caught.value.content
    assert [] == names(tmp_path)
    moved = list((tmp_path / "ws" / "quarantine").iterdir())
    assert 1 == len(moved)
    assert str(moved[0]) in caplog.text
    assert output.content == pickle.loads(pickle.dumps(caught.value)).content
    again = folder(store, a=b"data") if is_folder else file(store)
    store.publish([again])
    store.verify(output)


@pytest.mark.parametrize("data", [b"", b"dat", b"data and more"])
def test_another_size_is_found_without_reading(store: Objects, tmp_path: Path, data: bytes) -> None:
    output = file(store)
    store.publish([output])
    store.path(output).chmod(0o644)
    store.path(output).write_bytes(data)

    assert not store.check_size(output)

    assert [] == names(tmp_path)
    assert 1 == len(list((tmp_path / "ws" / "quarantine").iterdir()))
    assert not store.check_size(output)


def test_a_folder_that_lost_a_file_is_replaced(store: Objects, tmp_path: Path) -> None:
    output = folder(store, a=b"1", b=b"2")
    store.publish([output])
    store.path(output).joinpath("a").unlink()

    store.publish([folder(store, a=b"1", b=b"2")])

    store.verify(output)
    assert 1 == len(list((tmp_path / "ws" / "quarantine").iterdir()))


def test_an_object_that_is_gone_is_damage(store: Objects) -> None:
    output = file(store)
    store.publish([output])
    store.path(output).unlink()

    assert not store.check_size(output)
    with pytest.raises(Damaged, match="it is gone"):
        store.verify(output)


def test_what_another_process_has_mended_stays(store: Objects, tmp_path: Path) -> None:
    output = file(store)
    store.publish([output])

    store.quarantine(output, "seen before it was mended")

    assert [output.content] == names(tmp_path)


def test_a_file_that_was_touched_is_known(store: Objects) -> None:
    output = file(store)
    store.publish([output])
    assert not store.is_touched(output)
    os.utime(store.path(output), ns=(0, output.mtime_ns + 1))
    assert store.is_touched(output)


def test_what_is_discarded_is_gone(store: Objects, tmp_path: Path) -> None:
    outputs = [file(store), folder(store, a=b"1")]
    store.discard(outputs)
    store.discard(outputs)

    assert [] == left(tmp_path)


def test_closing_removes_what_was_not_published(store: Objects, tmp_path: Path) -> None:
    file(store)
    store.close()
    store.close()

    assert [] == list((tmp_path / "ws/objects/.aside").iterdir())
    store.publish([file(store)])  # a new session
    assert 1 == len(names(tmp_path))


def test_a_child_of_fork_does_not_end_the_session(store: Objects, tmp_path: Path) -> None:
    output = file(store)
    if (child := os.fork()) == 0:
        try:
            store.close()
            os._exit(0)
        finally:
            os._exit(2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    store.publish([output])
    assert [output.content] == names(tmp_path)


def test_what_a_killed_process_left_is_removed_by_the_next(store: Objects, tmp_path: Path) -> None:
    if (child := os.fork()) == 0:
        try:
            file(store)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(2)
    os.waitpid(child, 0)
    assert 1 == len(left(tmp_path))
    alive = Objects(store.root)
    kept = file(alive)

    assert [kept.aside] == [str(path) for path in left(tmp_path)]
    store.open()
    assert [kept.aside] == [str(path) for path in left(tmp_path)]


def test_a_session_that_is_swept_while_it_begins_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    calls: list[int] = []

    def swept(descriptor: int, kind: int) -> None:
        calls.append(kind)
        if len(calls) == 1:
            for folder in tmp_path.iterdir():
                folder.rmdir()
        if len(calls) == 2:
            raise BlockingIOError
        flock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", swept)
    name, descriptor = objects._begin_session(tmp_path)

    assert 3 == len(calls)
    assert (tmp_path / name).is_dir()
    os.close(descriptor)


def test_nobody_removes_while_somebody_publishes(store: Objects) -> None:
    alone = threading.Event()

    def remove() -> None:
        with store.alone():
            alone.set()

    with store.sharing(), store.sharing():
        thread = threading.Thread(target=remove)
        thread.start()
        assert not alone.wait(0.1)
    assert alone.wait(10)
    thread.join()


def test_all_objects_are_listed(store: Objects) -> None:
    outputs = [file(store), folder(store, a=b"1")]
    store.publish(outputs)

    found = dict(store.contents())

    assert {output.content: store.path(output) for output in outputs} == found


def test_a_workspace_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ws").write_bytes(b"")

    with pytest.raises(DataError, match=r"Workspace '.*/ws' cannot be written: Not a directory"):
        Objects(tmp_path / "ws").begin()


def test_an_output_that_nobody_stored_is_not_there(store: Objects) -> None:
    assert not store.has(Output("", digest("x"), "", 1))
