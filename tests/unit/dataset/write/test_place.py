"""Tests of tadka.dataset.write.place."""

from tadka.dataset.write.place import misfits
from tadka.dataset.write.sized import Written


def files(*sizes: int, folder: str = "") -> list[Written]:
    return [Written(f"{folder}{i}", folder, 1, size) for i, size in enumerate(sizes)]


def test_one_remainder_of_each_folder_is_no_misfit() -> None:
    assert {} == misfits([*files(95, 105, 7), *files(3, folder="a=1")], 100)


def test_several_remains_and_files_too_large_are_misfits() -> None:
    some = [*files(95, 80, 7), *files(111, folder="a=1"), *files(100, folder="a=2")]
    found = misfits(some, 100)
    assert ["", "a=1"] == list(found)
    assert [80, 7] == [file.num_bytes for file in found[""]]
