import gc
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tadka.core.error import ConfigError, DataError
from tadka.storage.format import load
from tadka.storage.uri import resolve
from tadka.stream.sink import Part, Sink, to_table

PLAN, OTHER_PLAN = "a" * 64, "b" * 64


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://folder"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest) -> str:
    """A directory that does not exist yet."""
    name = "tmp_path" if request.param == "local" else "memory"
    return f"{request.getfixturevalue(name)}/out"


def sink_at(uri: Any, suffix: str = ".parquet", *, overwrite: bool = False) -> Sink:
    return Sink(uri=str(uri), suffix=suffix, overwrite=overwrite)


def everything(uri: str) -> list[str]:
    """All names in a directory, hidden ones too."""
    files, path = resolve(uri)
    return sorted(str(name).rsplit("/", 1)[-1] for name in files.ls(path, detail=False))


def manifest(uri: str) -> dict[str, Any]:
    files, path = resolve(uri)
    return dict(json.loads(files.cat_file(f"{path}/_tadka.json")))


def put(uri: str, name: str, content: bytes = b"x") -> None:
    files, path = resolve(uri)
    files.makedirs(path, exist_ok=True)
    files.pipe_file(f"{path}/{name}", content)


def write_part(sink: Sink, chunk: int, *batches: Any, plan: str = PLAN) -> str:
    part = Part(sink, plan, chunk)
    for batch in batches:
        part.write(batch)
    part.publish()
    return sink.part(plan, chunk)


def numbers(*values: int) -> dict[str, Any]:
    return {"x": np.array(values)}


# -- claiming a directory -------------------------------------------------------------------------


def test_new_directory_is_claimed(folder: str) -> None:
    assert [] == sink_at(folder).prepare(PLAN, is_resumed=False)

    assert {"tadka": 1, "plan_hash": PLAN, "is_complete": False} == manifest(folder)


def test_empty_directory_is_claimed(tmp_path: Path) -> None:
    assert [] == sink_at(tmp_path).prepare(PLAN, is_resumed=False)


def test_hidden_and_underscored_names_do_not_make_a_directory_foreign(folder: str) -> None:
    put(folder, ".gitignore")
    put(folder, "_SUCCESS")

    assert [] == sink_at(folder).prepare(PLAN, is_resumed=False)
    assert {".gitignore", "_SUCCESS"} < set(everything(folder))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("is_resumed", [False, True])
def test_foreign_directory_is_refused_and_left_alone(
    folder: str, overwrite: bool, is_resumed: bool
) -> None:
    put(folder, "thesis.tex")
    put(folder, ".part-mine")

    with pytest.raises(
        DataError, match=r"out' holds 'thesis\.tex' and no _tadka\.json: it is not this library's"
    ):
        sink_at(folder, overwrite=overwrite).prepare(PLAN, is_resumed=is_resumed)

    assert [".part-mine", "thesis.tex"] == everything(folder)


def test_file_in_place_of_the_directory_is_named(folder: str) -> None:
    parent, name = folder.rsplit("/", 1)
    put(parent, name)

    with pytest.raises(DataError, match=r"^write\('.*out'\) names a file; parts need a directory"):
        sink_at(folder).prepare(PLAN, is_resumed=False)


@pytest.fixture
def unfinished(folder: str) -> str:
    """A directory with parts 0 and 2 of a run that did not end."""
    sink = sink_at(folder)
    sink.prepare(PLAN, is_resumed=False)
    for chunk in (0, 2):
        write_part(sink, chunk, numbers(chunk))
    return folder


@pytest.fixture
def complete(unfinished: str) -> str:
    sink_at(unfinished).finish(PLAN, 2)
    return unfinished


def test_unfinished_output_of_the_same_plan_is_kept_and_resume_is_proposed(unfinished: str) -> None:
    with pytest.raises(
        DataError,
        match=r"already holds the unfinished output of this very plan\. Go on with "
        r"run\(resume=True\), Write elsewhere, or replace it by write\(\.\.\., overwrite=True\)\.$",
    ):
        sink_at(unfinished).prepare(PLAN, is_resumed=False)


def test_complete_output_is_kept(complete: str) -> None:
    with pytest.raises(DataError, match=r"already holds the complete output of this very plan"):
        sink_at(complete).prepare(PLAN, is_resumed=False)


@pytest.mark.parametrize("is_resumed", [False, True])
def test_output_of_another_plan_is_kept(unfinished: str, is_resumed: bool) -> None:
    with pytest.raises(
        DataError,
        match=r"unfinished output of another plan \(aaaaaaaaaaaa, this one is bbbbbbbbbbbb\): the "
        r"input, the batch size or the seed differ\. Write elsewhere",
    ):
        sink_at(unfinished).prepare(OTHER_PLAN, is_resumed=is_resumed)

    assert 3 == len(everything(unfinished))


def test_resume_does_not_overwrite_another_plan(unfinished: str) -> None:
    with pytest.raises(DataError, match=r"overwrite=True\) and a run that does not resume\.$"):
        sink_at(unfinished, overwrite=True).prepare(OTHER_PLAN, is_resumed=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_resume_lists_the_chunks_whose_parts_are_there(unfinished: str, overwrite: bool) -> None:
    sink = sink_at(unfinished, overwrite=overwrite)

    assert [0, 2] == sink.prepare(PLAN, is_resumed=True)


def test_resume_ignores_parts_of_another_format_or_plan(unfinished: str) -> None:
    write_part(sink_at(unfinished), 5, numbers(1), plan=OTHER_PLAN)
    write_part(sink_at(unfinished, ".csv"), 6, numbers(1))

    assert [0, 2] == sink_at(unfinished).prepare(PLAN, is_resumed=True)


@pytest.mark.parametrize("plan", [PLAN, OTHER_PLAN])
def test_overwrite_replaces_another_runs_output(complete: str, plan: str) -> None:
    assert [] == sink_at(complete, overwrite=True).prepare(plan, is_resumed=False)

    assert ["_tadka.json"] == everything(complete)
    assert (plan, False) == (manifest(complete)["plan_hash"], manifest(complete)["is_complete"])


@pytest.mark.parametrize("text", [b"{", b"[1]", b"5", b"null", b"\xff"])
def test_damaged_manifest_counts_as_another_plan(unfinished: str, text: bytes) -> None:
    put(unfinished, "_tadka.json", text)

    with pytest.raises(DataError, match=r"unfinished output of another plan \(unknown, this one"):
        sink_at(unfinished).prepare(PLAN, is_resumed=True)
    assert [] == sink_at(unfinished, overwrite=True).prepare(PLAN, is_resumed=False)


# -- what killed processes leave ------------------------------------------------------------------

LEFT = ".part-000001-aaaaaaaa.parquet.123-abcdef.tmp"


def test_leftovers_are_swept_by_a_resumed_run(unfinished: str) -> None:
    put(unfinished, LEFT)

    sink_at(unfinished).prepare(PLAN, is_resumed=True)

    assert LEFT not in everything(unfinished)


def test_leftovers_are_swept_at_the_end(unfinished: str) -> None:
    put(unfinished, LEFT)

    sink_at(unfinished).finish(PLAN, 2)

    assert LEFT not in everything(unfinished)


def test_refused_run_does_not_sweep_what_a_running_one_is_writing(unfinished: str) -> None:
    put(unfinished, LEFT)

    for plan in (PLAN, OTHER_PLAN):
        with pytest.raises(DataError):
            sink_at(unfinished).prepare(plan, is_resumed=False)

    assert LEFT in everything(unfinished)


# -- the end --------------------------------------------------------------------------------------


def test_end_is_recorded_with_rows_and_parts(unfinished: str) -> None:
    write_part(sink_at(unfinished), 1, numbers(1), plan=OTHER_PLAN)

    parts = sink_at(unfinished).finish(PLAN, 7)

    names = ["part-000000-aaaaaaaa.parquet", "part-000002-aaaaaaaa.parquet"]
    assert [f"{unfinished}/{name}" for name in names] == parts
    expected = {"tadka": 1, "plan_hash": PLAN, "is_complete": True, "rows": 7, "parts": names}
    assert expected == manifest(unfinished)


# -- parts ----------------------------------------------------------------------------------------


def test_part_appears_when_it_is_published(folder: str) -> None:
    sink = sink_at(folder)
    part = Part(sink, PLAN, 3)
    part.write(numbers(1, 2))
    part.write(numbers(3))
    assert 3 == part.num_rows
    assert "part-000003-aaaaaaaa.parquet" not in everything(folder)

    part.publish()

    assert ["part-000003-aaaaaaaa.parquet"] == everything(folder)
    assert [1, 2, 3] == load(sink.part(PLAN, 3))["x"].to_pylist()


def test_part_written_again_replaces_the_first(folder: str) -> None:
    sink = sink_at(folder)
    for values in ([1, 2, 3], [4]):
        write_part(sink, 0, numbers(*values))

    assert [4] == load(sink.part(PLAN, 0))["x"].to_pylist()


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".csv.gz", ".jsonl"])
def test_suffix_decides_the_format(tmp_path: Path, suffix: str) -> None:
    uri = write_part(sink_at(tmp_path, suffix), 0, numbers(1), numbers(2, 3))

    assert [1, 2, 3] == load(uri)["x"].to_pylist()


@pytest.mark.parametrize("suffix", ["parquet", ".xlsx", "", "."])
def test_suffix_of_no_format_is_refused_at_once(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ConfigError, match=rf"^write\(\) has suffix='{suffix}': .*\.parquet, "):
        sink_at(tmp_path, suffix)


def test_chunk_without_output_makes_no_part(folder: str) -> None:
    part = Part(sink_at(folder), PLAN, 0)
    part.publish()

    assert 0 == part.num_rows
    assert not resolve(folder)[0].exists(resolve(folder)[1])


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv.gz"])
def test_abandoned_part_leaves_nothing(folder: str, suffix: str) -> None:
    put(folder, "other")
    part = Part(sink_at(folder, suffix), PLAN, 0)
    part.write(numbers(1))

    part.abandon()
    part.abandon()

    gc.collect()
    assert ["other"] == everything(folder)


def test_part_that_was_never_begun_can_be_abandoned(folder: str) -> None:
    Part(sink_at(folder), PLAN, 0).abandon()


def test_batch_of_other_columns_is_refused_and_nothing_is_left(folder: str) -> None:
    put(folder, "other")
    part = Part(sink_at(folder), PLAN, 0)
    part.write(numbers(1))

    with pytest.raises(DataError, match=r"has the columns y \(int64\); the file has x \(int64\)"):
        part.write({"y": np.array([1])})

    gc.collect()
    assert ["other"] == everything(folder)


@pytest.mark.parametrize("batch", [[1, 2], "x", np.arange(3), (numbers(1),), 5])
def test_batch_that_is_no_table_is_refused(tmp_path: Path, batch: Any) -> None:
    with pytest.raises(
        DataError,
        match=rf"^write\(\) was given a {type(batch).__name__}; it needs a dict of arrays or an",
    ):
        Part(sink_at(tmp_path), PLAN, 0).write(batch)


@pytest.mark.parametrize(
    "batch",
    [
        {"x": np.zeros(2), "y": np.zeros(3)},
        {"x": np.array(5)},
        {"x": np.array([1j, 2j])},
        {"x": object()},
        {1: np.zeros(2)},
    ],
)
def test_columns_that_make_no_table_are_refused(batch: Any) -> None:
    with pytest.raises(DataError, match=r"^write\(\) cannot make a table of the batch: .*\.$"):
        to_table(batch)


def test_arrays_of_several_dimensions_become_lists_of_fixed_size(tmp_path: Path) -> None:
    column = np.arange(24, dtype="f4").reshape(2, 3, 4)
    uri = write_part(sink_at(tmp_path), 0, {"v": column, "w": column[:, ::2, 1]})

    table = pq.read_table(uri)

    assert pa.list_(pa.list_(pa.float32(), 4), 3) == table["v"].type
    assert column.tolist() == table["v"].to_pylist()
    assert column[:, ::2, 1].tolist() == table["w"].to_pylist()


@pytest.mark.parametrize(
    "column",
    [
        np.array([1, 2], ">i4"),
        np.array([[1.5, 2], [3, 4]], ">f8"),
        np.array(["a", "bc"]),
        np.array([True, False]),
        np.arange(10)[::-5],
        np.array(["2026-01-01", "NaT"], "M8[s]"),
        np.zeros((0, 3)),
        pa.array(["a", None]),
        pa.chunked_array([["a"], ["b"]]),
        [1, 2],
    ],
)
def test_columns_of_many_kinds_are_written(column: Any) -> None:
    table = to_table({"x": column})

    expected = column.tolist() if isinstance(column, np.ndarray) else pa.array(column).to_pylist()
    assert expected == table["x"].to_pylist()


def test_tables_and_record_batches_are_written_as_they_are(tmp_path: Path) -> None:
    table = pa.table({"x": [1, 2]})

    uri = write_part(sink_at(tmp_path), 0, table, table.to_batches()[0])

    assert [1, 2, 1, 2] == pq.read_table(uri)["x"].to_pylist()


FULL_DISK = """
import gc, os, sys
import numpy as np
from tadka.core.error import DataError
from tadka.stream.sink import Part, Sink

folder, suffix, when = sys.argv[1:]
sink = Sink(uri=folder, suffix=suffix, overwrite=False)
sink.prepare("a" * 64, is_resumed=False)
kept = Part(sink, "a" * 64, 0)
kept.write({"x": np.zeros(10)})
kept.publish()
part = Part(sink, "a" * 64, 1)
noise = np.random.default_rng(0).random(40_000)  # 320 kB, more than there is
try:
    if when == "close":  # small enough for the buffers, so that only the end reaches the disk
        with open(folder + "/ballast", "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass
        part.write({"x": noise[:100]})
    else:
        while True:
            part.write({"x": noise})
    part.publish()
except DataError as error:
    print(error)
gc.collect()
print(sorted(os.listdir(folder)))
"""


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("suffix", "when"),
    [(".parquet", "write"), (".parquet", "close"), (".arrow", "write"), (".csv", "close")],
)
def test_full_disk_is_told_with_the_parts_name_and_leaves_nothing(
    tmp_path: Path, suffix: str, when: str
) -> None:
    call = shlex.join([sys.executable, "-c", FULL_DISK, f"{tmp_path}", suffix, when])
    mounted = f"mount -t tmpfs -o size=256k tadka {shlex.quote(str(tmp_path))} && {call}"

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    told, left = done.stdout.splitlines()
    assert told.startswith(f"'{tmp_path}/part-000001-aaaaaaaa{suffix}' cannot be written: the disk")
    assert "is full" in told
    names = ["_tadka.json", f"part-000000-aaaaaaaa{suffix}"]
    assert str(names[:1] + ["ballast"] * (when == "close") + names[1:]) == left
    assert "" == done.stderr
