"""The state of files that tasks read, and what it does to keys."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tadka.core import ConfigError, NotFound
from tadka.task.define.task import Task
from tadka.task.key import KeyParts, code_of_tasks, differences, parts_of
from tadka.task.outside import state_of


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


class TestState:
    def test_is_the_same_until_a_byte_changes(self, tmp_path: Path) -> None:
        file = write(tmp_path, "a.csv", "1,2")
        before = state_of(file)
        os.utime(file, ns=(1, 1))
        same = state_of(file)
        write(tmp_path, "a.csv", "1,3")

        assert before == same
        assert before != state_of(file)

    def test_is_the_same_in_another_place(self, tmp_path: Path) -> None:
        for root in ("here", "there/deep"):
            write(tmp_path, f"{root}/a.csv", "a")
            write(tmp_path, f"{root}/b/b.csv", "b")

        assert state_of(tmp_path / "here") == state_of(tmp_path / "there" / "deep")

    def test_names_count(self, tmp_path: Path) -> None:
        write(tmp_path, "one/a.csv", "a")
        write(tmp_path, "two/b.csv", "a")

        assert state_of(tmp_path / "one") != state_of(tmp_path / "two")

    def test_what_stands_in_which_file_counts(self, tmp_path: Path) -> None:
        for root, first, second in (("one", "a", "b"), ("two", "b", "a")):
            write(tmp_path, f"{root}/1.csv", first)
            write(tmp_path, f"{root}/2.csv", second)

        assert state_of(tmp_path / "one") != state_of(tmp_path / "two")

    def test_files_with_a_common_beginning_are_no_folder(self, tmp_path: Path) -> None:
        files = [write(tmp_path, name, name) for name in ("day=1/a", "day=2/a")]
        elsewhere = [
            write(tmp_path / "x", name, f"day={name[4]}/a") for name in ("day=1/a", "day=2/a")
        ]

        assert state_of(files) == state_of(elsewhere)

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"gone\.csv"):
            state_of(tmp_path / "gone.csv")

    def test_files_elsewhere_are_known_by_what_their_store_says(self) -> None:
        import fsspec

        memory = fsspec.filesystem("memory")
        memory.pipe("/outside/a.csv", b"a")
        before = state_of("memory://outside/a.csv")
        memory.pipe("/outside/a.csv", b"abc")

        assert before != state_of("memory://outside/a.csv")


class Ratings(Task[str]):
    file: Path

    def fingerprint(self) -> Mapping[str, str]:
        return {"ratings": state_of(self.file)}

    def run(self) -> str:
        return self.file.read_text()


class Wrong(Task[str]):
    def fingerprint(self) -> Mapping[str, str]:
        return ["x"]  # type: ignore[return-value]

    def run(self) -> str:
        return ""


def parts(task: Task[str]) -> KeyParts:
    return parts_of(task, code_of_tasks(type(task)), {})


def test_another_state_is_another_key_and_is_told_by_name(tmp_path: Path) -> None:
    task = Ratings(file=write(tmp_path, "a.csv", "a"))
    before = parts(task)
    write(tmp_path, "a.csv", "ab")
    now = parts(task)

    assert before.key != now.key
    assert ["ratings, which no task made, changed"] == differences(before, now)
    assert now == KeyParts.from_json(now.to_json())


def test_what_is_no_text_by_name_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"Wrong.fingerprint returned \['x'\]; it must return text"
    ):
        parts(Wrong())
