import json
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.models.table import vocabulary as module
from tadka.models.table.index import RowIndex
from tadka.models.table.vocabulary import Vocabulary, agree
from tests.unit.models.table.program import started


@pytest.fixture
def empty(tmp_path: Path) -> Vocabulary:
    return Vocabulary.create(tmp_path / "user")


def test_rows_are_in_order_of_first_appearance(empty: Vocabulary) -> None:
    assert [1, 2, 1, 3] == empty.add(np.array([50, -7, 50, 0])).tolist()
    assert [2, 4, 4] == empty.add([-7, 8, 8]).tolist()
    assert (5, "int64") == (empty.size, empty.kind)
    assert [50, -7, 0, 8] == empty.values().tolist()
    assert [0, 8] == empty.values(3).tolist()
    assert [0, 1, 4] == empty.rows(np.array([99, 50, 8])).tolist()


def test_texts_work_as_integers_do(empty: Vocabulary) -> None:
    assert [1, 2, 0, 1, 3] == empty.add(["b", "a", None, "b", ""]).tolist()
    assert [3, 0, 2, 0] == empty.rows(pa.array(["", None, "a", "zz"])).tolist()
    assert [0, 3, 4] == empty.add(
        [None, "", "long enough to be folded twice, or three times"]
    ).tolist()
    again = Vocabulary.open(empty.folder)
    assert ["b", "a", ""] == again.values(1, 4).to_pylist()
    assert [1, 2, 4] == again.rows(["b", "a", again.values()[3].as_py()]).tolist()


def test_an_empty_vocabulary_knows_nothing(empty: Vocabulary) -> None:
    assert (1, 1, None) == (empty.size, len(empty), empty.kind)
    assert [0, 0] == empty.rows([1, 2]).tolist()
    assert [0] == empty.rows(["a"]).tolist()
    assert empty.add([]).tolist() == []
    assert empty.rows(np.empty(0, np.int64)).tolist() == []
    assert empty.values().tolist() == []


def test_many_keys_with_repeats_equal_a_dict(empty: Vocabulary) -> None:
    rng = np.random.default_rng(5)
    expected: dict[int, int] = {}
    for _ in range(6):  # through several sizes of the index
        keys = rng.integers(-4_000, 4_000, 5_000) << 40  # all alike in their low bits
        rows = [expected.setdefault(key, len(expected) + 1) for key in keys.tolist()]
        assert rows == empty.add(keys).tolist()
    again = Vocabulary.open(empty.folder)
    asked = np.arange(-5_000, 5_000) << 40
    assert [expected.get(key, 0) for key in asked.tolist()] == again.rows(asked).tolist()
    assert list(expected) == again.values().tolist()


def test_a_pickled_vocabulary_is_its_path_and_its_size_where_it_has_one(empty: Vocabulary) -> None:
    empty.add([7, 8, 9])
    assert [1, 3] == pickle.loads(pickle.dumps(empty)).rows([7, 9]).tolist()
    early = pickle.loads(pickle.dumps(Vocabulary.open(empty.folder, size=3)))
    assert [1, 2, 0] == early.rows([7, 8, 9]).tolist()
    assert [7, 8] == early.values().tolist()
    with pytest.raises(ConfigError, match="opened at size 3"):
        early.add([10])


def test_a_reader_sees_what_is_added_after_refresh(empty: Vocabulary) -> None:
    reader = Vocabulary.open(empty.folder)
    empty.add(range(5_000))  # the index is made anew several times
    assert [0] == reader.rows([17]).tolist()
    reader.refresh()
    assert [18] == reader.rows([17]).tolist()


def test_one_adds_at_a_time(empty: Vocabulary) -> None:
    other = Vocabulary.open(empty.folder)
    empty.add([1], commit=False)
    with pytest.raises(DataError, match="Another process is adding"):
        other.add([2])
    assert [0] == other.rows([1]).tolist()
    empty.commit()
    assert [2, 1] == other.add([2, 1]).tolist()
    assert [3] == empty.add([3]).tolist()


def test_a_block_commits_at_its_end_or_not_at_all(empty: Vocabulary) -> None:
    with empty:
        empty.add([1], commit=False)
        empty.add([2], commit=False)
    with pytest.raises(DataError, match="'float64'"), empty:
        empty.add([*empty.add([3], commit=False), 0.5])
    assert 3 == empty.size
    assert [3] == Vocabulary.open(empty.folder).add([4]).tolist()


@pytest.mark.parametrize("batches", [(["aa", "bb"],), (["aa"], ["bb"])], ids=["one", "two"])
def test_two_texts_with_one_hash_are_refused(
    batches: tuple[list[str], ...], empty: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "hash_texts", lambda array: np.full(len(array), 5))
    for values in batches[:-1]:
        empty.add(values)
    with pytest.raises(DataError, match="Keys 'bb' and 'aa' have the same 64-bit hash"):
        empty.add(batches[-1])
    empty.refresh()
    assert len(batches) == empty.size  # the batch of the second text left nothing
    assert [0] == empty.rows(["cc"]).tolist()  # nor is a third one taken for the first


def test_another_kind_of_keys_is_refused(empty: Vocabulary) -> None:
    empty.add([1])
    for call in (empty.add, empty.rows):
        with pytest.raises(DataError, match="of kind 'int64', and these are 'text'"):
            call(["1"])


def test_wrong_folders_are_named(tmp_path: Path, empty: Vocabulary) -> None:
    with pytest.raises(NotFound, match="no manifest"):
        Vocabulary.open(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="already"):
        Vocabulary.create(empty.folder)
    with pytest.raises(DataError, match="has 1 rows, and 2 are asked for"):
        Vocabulary.open(empty.folder, size=2)
    empty.add([1, 2])
    (empty.folder / "keys.log").write_bytes(bytes(16))
    with pytest.raises(DataError, match="does not hold 3 entries"):
        Vocabulary.open(empty.folder)
    (empty.folder / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(DataError, match="format 1"):
        Vocabulary.open(empty.folder)
    (empty.folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        Vocabulary.open(empty.folder)


# ---------------------------------------------------------------- crashes

KILL = """
import os, signal, sys
from tadka.models.table import vocabulary as module
from tadka.models.table.vocabulary import Vocabulary

vocabulary = Vocabulary.open(sys.argv[1])
vocabulary.add([10, 11] if sys.argv[2] == "int64" else ["10", "11"])
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "commit":
    module._write_manifest = die
else:
    module.RowIndex.add = die
vocabulary.add(range(20, 3000) if sys.argv[2] == "int64" else [str(i) for i in range(20, 3000)])
"""

RUN = """
import sys
from tadka.models.table.vocabulary import Vocabulary

vocabulary = Vocabulary.open(sys.argv[1])
for start in range(0, 10_000_000, 1000):
    vocabulary.add(range(start, start + 1000))
    print(vocabulary.size, flush=True)
"""


@pytest.mark.parametrize("at", ["index", "commit"])
@pytest.mark.parametrize("kind", ["int64", "text"])
def test_a_kill_between_append_and_commit_leaves_the_last_commit(
    kind: str, at: str, empty: Vocabulary
) -> None:
    with started(KILL, str(empty.folder), kind, at) as process:
        assert -signal.SIGKILL == process.wait()
    again = Vocabulary.open(empty.folder)
    values = [10, 11, 20, 21] if kind == "int64" else ["10", "11", "20", "21"]
    assert (3, [1, 2, 0, 0]) == (again.size, again.rows(values).tolist())
    assert [3, 1, 4] == again.add([values[2], values[0], values[3]]).tolist()
    assert [1, 2, 3, 4] == Vocabulary.open(empty.folder).rows(values).tolist()


def test_a_kill_at_any_moment_leaves_whole_commits(empty: Vocabulary) -> None:
    with started(RUN, str(empty.folder)) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(5)][-1]
        process.kill()
    again = Vocabulary.open(empty.folder)
    assert again.size >= told
    assert 1 == again.size % 1000
    keys = np.arange(again.size - 1)
    assert np.array_equal(keys, again.values())
    assert np.array_equal(keys + 1, again.rows(keys))
    assert [len(keys) + 1] == again.add([-1]).tolist()


def test_an_index_that_a_power_failure_may_have_hurt_is_made_anew(
    empty: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.add([5, 6, 7])
    path = empty.folder / "rows.index"
    words = np.memmap(path, np.uint32, "r+")
    words[1024:] = 0  # pages that never reached the disk
    words[4:8] = 1  # marked by another start of the machine
    words.flush()
    assert RowIndex.open(path, write=False) is None
    assert [1, 2, 3] == Vocabulary.open(empty.folder).rows([5, 6, 7]).tolist()
    assert [4, 2] == empty.add([8, 6]).tolist()
    assert RowIndex.open(path, write=False) is not None
    path.unlink()
    assert [4] == Vocabulary.open(empty.folder).rows([8]).tolist()


class Counted:
    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows

    def truncate(self, num_rows: int) -> None:
        self.num_rows = num_rows


def test_after_a_crash_vocabulary_and_tables_agree(empty: Vocabulary) -> None:
    empty.add([10, 11, 12, 13])
    tables = Counted(4), Counted(6)
    assert 1 == agree(empty, *tables)
    assert (4, 4, 4) == (empty.size, tables[0].num_rows, tables[1].num_rows)
    assert [3, 0] == empty.rows([12, 13]).tolist()
    assert [4, 5, 3] == empty.add([14, 13, 12]).tolist()
    assert [10, 11, 12, 14, 13] == Vocabulary.open(empty.folder).values().tolist()
    assert 0 == agree(empty)


def test_truncate_refuses_sizes_that_it_does_not_have(empty: Vocabulary) -> None:
    empty.add([1])
    for size in (0, 3):
        with pytest.raises(ConfigError, match="give 1 to 2"):
            empty.truncate(size)


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(
    empty: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    empty.add([7])
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="cannot be written: No space left"):
        empty.add(np.arange(10_000))
    monkeypatch.undo()
    assert (2, [1, 0]) == (empty.size, empty.rows([7, 8]).tolist())
    assert not list(empty.folder.glob("*.new"))
    assert 2 == empty.add([8])[0]


@pytest.mark.parametrize("size", [-1, 0, "2", None, 2.5])
def test_a_size_that_is_none_is_told(empty: Vocabulary, size: object) -> None:
    manifest = {"format": 1, "kind": "int64", "size": size}
    (empty.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="format 1"):
        Vocabulary.open(empty.folder)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        Vocabulary.create(tmp_path / "file" / "user")
