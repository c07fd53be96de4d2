from pathlib import Path

import numpy as np
import pytest

from tadka.launch.payload import PayloadStore, read_payload


def read(files: list[Path]) -> object:
    return read_payload(list(map(str, files)))


def test_a_value_is_read_as_it_was_written(tmp_path: Path) -> None:
    factor = 3
    store = PayloadStore(tmp_path)

    files = store.write("a", (lambda x: factor * x, (14,)))

    function, args = read_payload(list(map(str, files)))
    assert 42 == function(*args)


def test_replicas_share_the_file_of_a_large_array(tmp_path: Path) -> None:
    table = np.arange(1 << 20)
    store = PayloadStore(tmp_path)

    first = store.write("a", {"replica": 0, "table": table})
    second = store.write("b", {"replica": 1, "table": table})

    assert first[0] != second[0]
    assert first[1:] == second[1:]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1.01 * table.nbytes
    np.testing.assert_array_equal(table, read(second)["table"])  # type: ignore[index]


def test_writing_to_a_large_array_changes_nobody_elses(tmp_path: Path) -> None:
    files = PayloadStore(tmp_path).write("a", np.zeros(1 << 18))
    mine, other = read(files), read(files)
    assert isinstance(mine, np.ndarray)
    assert isinstance(other, np.ndarray)

    mine[:] = 1

    assert 0 == other.max()
    assert 0 == read(files).max()  # type: ignore[attr-defined]


def test_a_shared_file_stays_until_its_last_user_is_gone(tmp_path: Path) -> None:
    table = np.zeros(1 << 18)
    store = PayloadStore(tmp_path)
    first, second = store.write("a", [table, table.copy()]), store.write("b", table)

    store.remove(first)
    assert {file.name for file in second} == {file.name for file in tmp_path.iterdir()}

    store.remove(second)
    assert [] == list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path / "absent")

    with pytest.raises(FileNotFoundError):
        store.write("a", np.zeros(1 << 18))
    (tmp_path / "absent").mkdir()
    files = store.write("a", np.zeros(1 << 18))

    assert len(files) == len(list((tmp_path / "absent").iterdir()))
