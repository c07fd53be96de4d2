import io
import tarfile
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tadka.core.error import DataError, NotFound
from tadka.task.store.objects import Objects
from tadka.task.store.remote import Remote
from tadka.task.store.row import Output
from tests.rows import digest


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "cache")


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(f"memory://{tmp_path}", fsspec.filesystem("memory"), str(tmp_path))


def put_folder(objects: Objects) -> Output:
    aside = objects.begin(is_folder=True)
    for name in ("b", "a", "sub/c"):
        aside.joinpath(name).parent.mkdir(exist_ok=True)
        aside.joinpath(name).write_text(name, encoding="utf-8")
    aside.joinpath("empty").mkdir()
    return objects.put(aside)


def stored(remote: Remote, output: Output) -> bytes:
    data: bytes = remote._file_system.cat_file(remote._path(output))
    return data


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def test_a_folder_comes_back_as_it_was(objects: Objects, remote: Remote) -> None:
    output = put_folder(objects)
    assert not remote.has(output)
    remote.upload(output)

    assert remote.has(output)
    found = objects.put(remote.download(output, objects.begin))
    assert (output.content, output.num_bytes) == (found.content, found.num_bytes)


def test_a_folder_is_the_same_tar_whenever_it_is_packed(
    objects: Objects, remote: Remote, tmp_path: Path
) -> None:
    other = Remote("memory://other", fsspec.filesystem("memory"), "/other")
    first, second = put_folder(objects), put_folder(objects)
    Path(str(second.aside)).joinpath("a").touch()
    remote.upload(first)
    other.upload(second)

    assert stored(remote, first) == stored(other, second)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_a_tar_that_leaves_its_folder_is_refused(
    objects: Objects, remote: Remote, tmp_path: Path, name: str
) -> None:
    output = Output("", digest("x"), "", 0, {}, True)
    remote._file_system.pipe_file(remote._path(output), tar_of(name))

    with pytest.raises(DataError, match="which is not below its folder"):
        remote.download(output, objects.begin)
    assert not list(tmp_path.rglob("x"))


@pytest.mark.parametrize("data", [b"", b"no tar" * 1000])
def test_what_is_no_tar_has_another_hash(objects: Objects, remote: Remote, data: bytes) -> None:
    output = put_folder(objects)
    remote._file_system.pipe_file(remote._path(output), data)

    found = objects.put(remote.download(output, objects.begin))

    assert output.content != found.content


def test_what_is_gone_is_not_found(objects: Objects, remote: Remote) -> None:
    with pytest.raises(NotFound):
        remote.download(Output("", digest("x"), "", 1), objects.begin)


def test_another_size_is_not_there(objects: Objects, remote: Remote) -> None:
    aside = objects.begin()
    aside.write_bytes(b"data")
    output = objects.put(aside)
    remote._file_system.pipe_file(remote._path(output), b"dat")
    assert not remote.has(output)

    remote.upload(output)

    assert remote.has(output)
    assert b"data" == stored(remote, output)


def test_a_store_that_does_not_move_is_an_error(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(remote._file_system, "mv", refuse)
    with pytest.raises(DataError, match="cannot be moved away: no"):
        remote.quarantine(Output("", digest("x"), "", 1))
