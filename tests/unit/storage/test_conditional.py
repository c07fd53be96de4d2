import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tadka.core.error import DataError
from tadka.storage.conditional import create_file, names_in, read_file, remove_file, replace_file
from tadka.storage.uri import resolve


@pytest.fixture(params=["local", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, str]:
    if request.param == "s3":
        return resolve(f"{request.getfixturevalue('bucket')}/conditional")
    return resolve(tmp_path if request.param == "local" else f"memory://{tmp_path}")


def test_a_file_is_made_once(place: tuple[Any, str]) -> None:
    file_system, root = place
    path = f"{root}/a/b.json"

    assert create_file(file_system, path, b"first")
    assert not create_file(file_system, path, b"second")

    assert b"first" == read_file(file_system, path)
    assert ["b.json"] == names_in(file_system, f"{root}/a")


def test_of_many_who_try_at_once_one_makes_it(place: tuple[Any, str]) -> None:
    file_system, root = place
    made = []
    start = threading.Barrier(6)

    def make(number: int) -> None:
        start.wait()
        if create_file(file_system, f"{root}/x", str(number).encode()):
            made.append(number)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == len(made)
    assert str(made[0]).encode() == read_file(file_system, f"{root}/x")


def test_a_file_is_replaced_and_removed(place: tuple[Any, str]) -> None:
    file_system, root = place
    replace_file(file_system, f"{root}/a/x", b"1")
    replace_file(file_system, f"{root}/a/x", b"22")

    assert b"22" == read_file(file_system, f"{root}/a/x")
    remove_file(file_system, f"{root}/a/x")
    remove_file(file_system, f"{root}/a/x")
    assert read_file(file_system, f"{root}/a/x") is None
    assert [] == names_in(file_system, f"{root}/a")
    assert [] == names_in(file_system, f"{root}/none")


def test_a_request_that_meets_its_own_file_has_made_it(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_system, root = resolve(bucket)
    pipe = file_system.pipe_file

    def sent_twice(path: str, data: bytes, **options: Any) -> None:
        pipe(path, data, **options)
        pipe(path, data, **options)

    monkeypatch.setattr(file_system, "pipe_file", sent_twice)

    assert create_file(file_system, f"{root}/x", b"mine")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    local = fsspec.filesystem("file")
    path = str(tmp_path / "file" / "x")

    for write in (create_file, replace_file):
        with pytest.raises(DataError, match="file/x' cannot be written"):
            write(local, path, b"")
    with pytest.raises(DataError, match="cannot be read"):
        read_file(local, str(tmp_path))
