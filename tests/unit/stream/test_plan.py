import json
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.stream.plan import ChunkReader, Plan, Source, plan_differences, random_generator

Pieces = dict[str, list[int]]


def source(uris: Any, **options: Any) -> Source:
    defaults: dict[str, Any] = {
        "columns": None,
        "batch_rows": 10,
        "chunk_rows": None,
        "shuffle": False,
        "seed": 0,
        "batch_format": "numpy",
    }
    return Source.make(str(uris) if isinstance(uris, Path) else uris, **{**defaults, **options})


def plan_of(uris: Any, lanes: int = 1, **options: Any) -> Plan:
    return Plan.make(source(uris, **options), lanes)


def fill(folder: Path, pieces: Pieces) -> Path:
    """Parquet files of numbered rows, with row groups of these sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    at = 0
    for name, sizes in pieces.items():
        with pq.ParquetWriter(folder / f"{name}.parquet", pa.schema([("id", pa.int64())])) as file:
            for rows in sizes:
                file.write_table(pa.table({"id": np.arange(at, at + rows)}))
                at += rows
    return folder


def batches(plan: Plan, epoch: int = 0) -> list[list[Any]]:
    """Batches of each chunk of an epoch."""
    reader = ChunkReader(plan)
    return [list(reader.batches(epoch, chunk)) for chunk in range(len(plan.chunks(epoch)))]


def ids(plan: Plan, epoch: int = 0) -> list[int]:
    return [int(i) for chunk in batches(plan, epoch) for batch in chunk for i in batch["id"]]


def one(folder: Path, table: pa.Table, **options: Any) -> list[Any]:
    """Batches of one file that holds a table."""
    pq.write_table(table, folder / "t.parquet")
    return [batch for chunk in batches(plan_of(folder, **options)) for batch in chunk]


# -- what is read ---------------------------------------------------------------------------------


def test_glob_directory_and_list_name_the_same_files(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [5], "b": [5]})
    (tmp_path / "_SUCCESS").touch()
    names = [f"{tmp_path}/b.parquet", f"{tmp_path}/a.parquet"]

    plans = [plan_of(uris) for uris in (tmp_path, f"{tmp_path}/*.parquet", names)]

    assert [list(range(10))] * 3 == [ids(plan) for plan in plans]
    assert 1 == len({plan.hash for plan in plans})


def test_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"No file matches '.*/x\*\.parquet'"):
        plan_of(f"{tmp_path}/x*.parquet")


def test_files_without_rows_are_named(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [], "b": [0]})
    with pytest.raises(DataError, match=r"no rows in 2 files\. Check that the job"):
        plan_of(tmp_path)


def test_files_without_rows_do_not_matter_beside_others(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [], "b": [3], "c": [0]})

    assert [0, 1, 2] == ids(plan_of(tmp_path))


def test_only_the_columns_asked_for_are_read_in_their_order(tmp_path: Path) -> None:
    table = pa.table({"a": [1], "b": [2], "c": [3]})

    assert ["c", "a"] == list(one(tmp_path, table, columns=["c", "a"])[0])


def test_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [1]})
    with pytest.raises(DataError, match=r"idd.*Did you mean 'id'"):
        plan_of(tmp_path, columns=["idd"])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"a": [1]}, r"'b' is missing"),
        ({"a": [1], "b": ["x"], "c": [1]}, r"'c' is extra"),
        ({"a": [1.5], "b": ["x"]}, r"'a' is double instead of int64"),
        ({"b": ["x"], "a": [1]}, r"the columns come in another order"),
        ({"a": ["y"], "c": [1]}, r"'b' is missing, 'c' is extra, 'a' is string instead of int64"),
    ],
)
def test_file_of_another_schema_is_named_with_what_differs(
    tmp_path: Path, other: dict[str, Any], words: str
) -> None:
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table(other), tmp_path / "2.parquet")

    with pytest.raises(
        DataError,
        match=rf"2\.parquet' has another schema than '.*1\.parquet': {words}\. Read them sep",
    ):
        plan_of(tmp_path)


def test_common_columns_of_different_files_can_be_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [0], "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"c": [1], "id": [1]}), tmp_path / "2.parquet")

    assert [0, 1] == ids(plan_of(tmp_path, columns=["id"]))


def test_schemas_may_differ_in_metadata_and_nullability(tmp_path: Path) -> None:
    field = pa.field("id", pa.int64(), nullable=False)
    pq.write_table(pa.table({"id": [0]}), tmp_path / "1.parquet")
    table = pa.table({"id": [1]}, pa.schema([field], {"made": "elsewhere"}))
    pq.write_table(table, tmp_path / "2.parquet")

    for batch_format in ("numpy", "arrow"):
        read = batches(plan_of(tmp_path, chunk_rows=100, batch_format=batch_format))
        assert 2 == sum(len(batch["id"]) for chunk in read for batch in chunk)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_rows": 0}, r"batch_rows=0; it must be a whole number from 1"),
        ({"batch_rows": 2.5}, r"batch_rows=2\.5; it must be a whole number from 1"),
        ({"batch_rows": "9"}, r"batch_rows='9'; it must be a whole number from 1"),
        ({"batch_rows": True}, r"batch_rows=True; it must be a whole number from 1"),
        ({"chunk_rows": -1}, r"chunk_rows=-1; it must be a whole number from 1"),
        ({"seed": -1}, r"seed=-1; it must be a whole number from 0"),
        ({"seed": None}, r"seed=None; it must be a whole number from 0"),
        ({"batch_format": "pandas"}, r"batch_format='pandas'; it must be 'numpy' or 'arrow'"),
        ({"columns": "id"}, r"columns='id'; it must be a list of at least one name"),
        ({"columns": []}, r"columns=\[\]; it must be a list of at least one name"),
    ],
)
def test_setting_out_of_range_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^read\(\) has {words}"):
        source("x.parquet", **options)


# -- chunks ---------------------------------------------------------------------------------------


def sizes(plan: Plan, epoch: int = 0) -> list[list[int | None]]:
    return [[span.num_rows for span in chunk] for chunk in plan.chunks(epoch)]


def test_small_pieces_are_read_together_until_a_chunk_is_full(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [10] * 5, "b": [10] * 3})

    assert [[10, 10, 10], [10, 10, 10], [10, 10]] == sizes(plan_of(tmp_path, chunk_rows=25))


def test_chunk_has_eight_batches_unless_told(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [10] * 20})

    assert [8, 8, 4] == [len(chunk) for chunk in plan_of(tmp_path).chunks(0)]


def test_one_large_piece_is_cut_so_that_all_lanes_have_work(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [1_000]})

    plan = plan_of(tmp_path, lanes=2, chunk_rows=20)

    assert [[130]] * 7 + [[90]] == sizes(plan)  # multiples of a batch, but the last
    assert list(range(1_000)) == ids(plan)


def test_piece_is_not_cut_below_the_rows_of_a_chunk(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [1_000]})

    assert [[400], [400], [200]] == sizes(plan_of(tmp_path, lanes=8, chunk_rows=400))


def test_many_pieces_are_not_cut(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [1_000] * 4})

    assert [[1_000]] * 4 == sizes(plan_of(tmp_path, chunk_rows=50))


def test_batches_are_full_but_for_the_last_of_a_chunk(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [23, 9, 30]})

    read = batches(plan_of(tmp_path, chunk_rows=30))

    assert [[10, 10, 10, 2], [10, 10, 10]] == [[len(b["id"]) for b in chunk] for chunk in read]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    files=st.lists(st.lists(st.integers(0, 60), max_size=4), min_size=1, max_size=4),
    lanes=st.integers(1, 5),
    batch_rows=st.integers(1, 40),
    chunk_rows=st.none() | st.integers(1, 90),
    shuffle=st.booleans(),
)
def test_every_row_comes_once(
    tmp_path: Path,
    files: list[list[int]],
    lanes: int,
    batch_rows: int,
    chunk_rows: int | None,
    shuffle: bool,
) -> None:
    total = sum(map(sum, files))
    if not total:
        files, total = [[1]], 1
    folder = fill(
        Path(tempfile.mkdtemp(dir=tmp_path)), {f"{i:03}": rows for i, rows in enumerate(files)}
    )
    options = {"batch_rows": batch_rows, "chunk_rows": chunk_rows, "shuffle": shuffle}
    plan = plan_of(folder, lanes, **options)

    assert total == plan.num_rows
    for epoch in (0, 3):
        read = ids(plan, epoch)
        assert list(range(total)) == (sorted(read) if shuffle else read)
        for chunk in batches(plan, epoch):
            assert all(batch_rows == len(batch["id"]) for batch in chunk[:-1])


# -- shuffle --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path, {"a": [50] * 4, "b": [50] * 4})


def test_order_is_a_function_of_seed_and_epoch_alone(folder: Path) -> None:
    orders = {}
    for seed in (0, 1):
        plan = plan_of(folder, shuffle=True, seed=seed, chunk_rows=100)
        for epoch in (1, 0, 2):  # in whatever order it is asked
            orders[seed, epoch] = ids(plan, epoch)
            again = plan_of(folder, shuffle=True, seed=seed, chunk_rows=100)
            assert ids(again, epoch) == orders[seed, epoch]

    assert 6 == len({tuple(order) for order in orders.values()})
    assert all(list(range(400)) == sorted(order) for order in orders.values())


def test_order_of_a_seed_stays_from_version_to_version(folder: Path) -> None:
    plan = plan_of(folder, shuffle=True, seed=5, chunk_rows=100)

    # Checkpoints rely on it: a change here needs a line in CHANGELOG.md.
    assert [[5, 7], [2, 6], [0, 3], [1, 4]] == [
        sorted(span.file * 4 + span.piece for span in chunk) for chunk in plan.chunks(2)
    ]


def test_rows_are_shuffled_within_their_chunk(folder: Path) -> None:
    plan = plan_of(folder, shuffle=True, chunk_rows=100)

    for chunk, spans in zip(batches(plan), plan.chunks(0), strict=True):
        read = [int(i) for batch in chunk for i in batch["id"]]
        starts = [200 * span.file + 50 * span.piece for span in spans]
        assert read != sorted(read)
        assert sorted(read) == sorted(i for start in starts for i in range(start, start + 50))


def test_one_chunk_can_be_read_alone(folder: Path) -> None:
    plan = plan_of(folder, shuffle=True, chunk_rows=100)
    alone = [int(i) for batch in ChunkReader(plan).batches(0, 2) for i in batch["id"]]

    assert alone == [int(i) for batch in batches(plan)[2] for i in batch["id"]]


def test_without_shuffle_every_epoch_is_the_same(folder: Path) -> None:
    assert ids(plan_of(folder), 0) == ids(plan_of(folder), 9) == list(range(400))


def test_all_columns_are_shuffled_alike(tmp_path: Path) -> None:
    numbers = list(range(100))
    table = pa.table({"i": numbers, "s": [str(i) for i in numbers], "v": [[i] for i in numbers]})

    for batch_format in ("numpy", "arrow"):
        for batch in one(tmp_path, table, shuffle=True, batch_format=batch_format):
            i = [int(value) for value in batch["i"]]
            assert [str(n) for n in i] == batch["s"].to_pylist()
            assert [[n] for n in i] == batch["v"].to_pylist()


def test_random_numbers_depend_on_the_whole_key() -> None:
    keys = [(0, 1, 2, 3, 0), (0, 1, 2, 3, 1), (0, 1, 2, 4, 0), (1, 1, 2, 3, 0), (0, 1, 2, 3, 0, 0)]
    drawn = [random_generator(*key).random() for key in keys]

    assert 5 == len(set(drawn))
    assert drawn == [random_generator(*key).random() for key in keys]


# -- where ----------------------------------------------------------------------------------------


def test_where_tells_file_and_rows_of_a_chunk_and_of_a_batch(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [10, 25], "b": [20]})
    plan = plan_of(tmp_path, chunk_rows=40, batch_rows=20)
    a, b = f"'{tmp_path}/a.parquet'", f"'{tmp_path}/b.parquet'"

    assert f"{a} rows 0 to 9, {a} rows 10 to 34, {b} rows 0 to 19" == plan.where(0, 0)
    assert f"{a} rows 0 to 9, {a} rows 10 to 19" == plan.where(0, 0, 0)
    assert f"{a} rows 20 to 34, {b} rows 0 to 4" == plan.where(0, 0, 1)
    assert f"{b} rows 5 to 19" == plan.where(0, 0, 2)


def test_where_counts_rows_from_the_start_of_the_file(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [1_000]})
    plan = plan_of(tmp_path, lanes=2, chunk_rows=20)

    assert f"'{tmp_path}/a.parquet' rows 130 to 259" == plan.where(0, 1)
    assert f"'{tmp_path}/a.parquet' rows 140 to 149" == plan.where(0, 1, 1)


def test_where_names_all_rows_of_a_shuffled_chunk(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [30]})
    plan = plan_of(tmp_path, shuffle=True)

    assert plan.where(0, 0) == plan.where(0, 0, 1)


def test_where_names_three_places_and_counts_the_rest(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [10] * 6})
    words = plan_of(tmp_path, chunk_rows=60).where(0, 0)

    assert words.endswith("rows 20 to 29 and 3 more")


def test_where_knows_no_end_of_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n" + "\n".join(map(str, range(50))))
    plan = plan_of(tmp_path)

    assert f"'{tmp_path}/a.csv' rows 0 to the end" == plan.where(0, 0)
    assert f"'{tmp_path}/a.csv' rows 20 to 29" == plan.where(0, 0, 2)


def test_where_knows_no_end_of_a_text_file_behind_another_file(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [5]})
    (tmp_path / "b.csv").write_text("id\n7\n8\n")
    plan = plan_of(tmp_path)

    expected = f"'{tmp_path}/a.parquet' rows 0 to 4, '{tmp_path}/b.csv' rows 0 to the end"
    assert expected == plan.where(0, 0)
    assert f"'{tmp_path}/b.csv' rows 5 to 14" == plan.where(0, 0, 1)
    assert [0, 1, 2, 3, 4, 7, 8] == ids(plan)


# -- hash, differences, pickle --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_rows": 20}, "read batch_rows was 10 and is 20"),
        ({"chunk_rows": 60}, "read chunk_rows was 80 and is 60"),
        ({"shuffle": True}, "read shuffle was False and is True"),
        ({"seed": 1}, "read seed was 0 and is 1"),
        ({"batch_format": "arrow"}, "read batch_format was 'numpy' and is 'arrow'"),
        ({"columns": ["x"]}, r"read columns was ['id', 'x'] and is ['x']"),
        ({"lanes": 3}, "lanes was 1 and is 3"),
    ],
)
def test_each_setting_changes_the_hash_and_is_told(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    pq.write_table(pa.table({"id": [1, 2], "x": [1, 2]}), tmp_path / "a.parquet")
    base = {"chunk_rows": 80}
    old, new = plan_of(tmp_path, **base), plan_of(tmp_path, **{**base, **change})

    assert old.hash != new.hash
    assert words in plan_differences(json.loads(json.dumps(old.describe())), new.describe())


def test_naming_all_columns_is_the_same_plan_as_naming_none(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [5]})

    assert plan_of(tmp_path).hash == plan_of(tmp_path, columns=["id"]).hash


def rewrite(folder: Path) -> None:
    fill(folder, {"b": [6]})


def touch(folder: Path) -> None:
    os.utime(folder / "b.parquet", ns=(1, 1))


def add(folder: Path) -> None:
    (folder / "c.parquet").write_bytes((folder / "b.parquet").read_bytes())


def remove(folder: Path) -> None:
    (folder / "b.parquet").unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rewrite, r"^file '.*/b\.parquet' has other (bytes and )?version and rows$"),
        (touch, r"^file '.*/b\.parquet' has other version$"),
        (add, r"^file '.*/c\.parquet' is new$"),
        (remove, r"^file '.*/b\.parquet' is gone$"),
    ],
)
def test_change_of_the_files_changes_the_hash_and_is_told(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    fill(tmp_path, {"a": [5], "b": [5]})
    old = plan_of(tmp_path)
    change(tmp_path)
    new = plan_of(tmp_path)

    assert old.hash != new.hash
    (told,) = plan_differences(json.loads(json.dumps(old.describe())), new.describe())
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(told)


def test_equal_plans_do_not_differ(folder: Path) -> None:
    old = json.loads(json.dumps(plan_of(folder, columns=["id"]).describe()))

    assert [] == plan_differences(old, plan_of(folder, columns=["id"]).describe())
    assert plan_of(folder).hash == plan_of(folder).hash


def test_other_order_of_the_files_is_told(folder: Path) -> None:
    old = plan_of(folder).describe()
    new = {**old, "files": old["files"][::-1]}

    assert ["the order of the files"] == plan_differences(old, new)


def test_plan_survives_pickling(folder: Path) -> None:
    plan = plan_of(folder, lanes=3, shuffle=True, seed=4, columns=["id"])
    expected = ids(plan, 1)  # so that it is not empty-handed when pickled

    other = pickle.loads(pickle.dumps(plan))

    assert plan.hash == other.hash
    assert plan.describe() == other.describe()
    assert expected == ids(other, 1)


def test_file_that_lost_rows_since_it_was_planned_is_named(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [50]})
    plan = plan_of(tmp_path)
    fill(tmp_path, {"a": [49]})

    with pytest.raises(DataError, match=r"a\.parquet' has changed since it was planned: .* 50 row"):
        batches(plan)


# -- columns --------------------------------------------------------------------------------------

TIME = np.array(["2026-01-01T10:00:00", "2026-01-02T11:30:00"], "M8[ms]")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, 2], pa.int8()), np.array([1, 2], "i1")),
        (pa.array([1, 2], pa.uint64()), np.array([1, 2], "u8")),
        (pa.array([True, False]), np.array([True, False])),
        (pa.array([1.5, None]), np.array([1.5, np.nan])),
        (pa.array([1.5, None], pa.float32()), np.array([1.5, np.nan], "f4")),
        (pa.array(np.array([1.5, 2], "f2")), np.array([1.5, 2], "f2")),
        (pa.array(TIME), TIME),
        (pa.array([TIME[0], None], pa.timestamp("ms")), np.array([TIME[0], "NaT"], "M8[ms]")),
        (pa.array(TIME).cast(pa.timestamp("ms", "Asia/Tokyo")), TIME),
        (pa.array([3, None], pa.duration("ms")), np.array([3, "NaT"], "m8[ms]")),
        (pa.array([3, None], pa.date32()), np.array(["1970-01-04", "NaT"], "M8[D]")),
        (pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2)), np.array([[1, 2], [3, 4]], "i4")),
        (
            pa.array([[1.0, None], [3, 4]], pa.list_(pa.float64(), 2)),
            np.array([[1.0, np.nan], [3, 4]]),
        ),
        (
            pa.array([[[1], [2]], [[3], [4]]], pa.list_(pa.list_(pa.int32(), 1), 2)),
            np.array([[[1], [2]], [[3], [4]]], "i4"),
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_column_of_fixed_width_becomes_an_array(
    tmp_path: Path, column: pa.Array, expected: np.ndarray[Any, Any], shuffle: bool
) -> None:
    table = pa.table({"i": [0, 1], "x": column})

    (batch,) = one(tmp_path, table, shuffle=shuffle)

    assert isinstance(batch["x"], np.ndarray)
    assert expected.dtype == batch["x"].dtype
    np.testing.assert_array_equal(expected[batch["i"]], batch["x"])


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "🦄"]),
        pa.array([b"a", None, b""]),
        pa.array([[1], None, [2, 3]]),
        pa.array([{"a": 1}, None, {"a": 2}]),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([1, 2, None], pa.decimal128(5, 1)),
        pa.array([1, 2, None], pa.time64("us")),
        pa.array([["a", "b"], ["c", "d"], ["e", None]], pa.list_(pa.string(), 2)),
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)),
        pa.nulls(3),
    ],
    ids=lambda column: str(column.type),
)
def test_other_column_stays_arrow(tmp_path: Path, column: pa.Array) -> None:
    first, second = one(tmp_path, pa.table({"x": column}), batch_rows=2)

    assert isinstance(first["x"], pa.Array)
    assert column.to_pylist() == first["x"].to_pylist() + second["x"].to_pylist()


@pytest.mark.parametrize(
    ("column", "kind"), [([1, None], "int64"), ([True, None], "bool"), ([[1, None]] * 2, "int64")]
)
def test_null_that_numpy_has_no_place_for_is_refused(
    tmp_path: Path, column: list[Any], kind: str
) -> None:
    if isinstance(column[0], list):
        table = pa.table({"clicks": pa.array(column, pa.list_(pa.int64(), 2))})
    else:
        table = pa.table({"clicks": column})

    with pytest.raises(
        DataError,
        match=rf"^Column 'clicks' of '.*t\.parquet' rows 0 to 1 holds \d nulls, and NumPy has no "
        rf"null for {kind}\. Fill them .*batch_format='arrow'",
    ):
        one(tmp_path, table)


def test_column_over_two_row_groups_becomes_one_array(tmp_path: Path) -> None:
    table = pa.table({"x": [1.0, None, 3.0], "s": ["a", "b", None], "v": [[1, 2]] * 3})
    table = table.set_column(2, "v", table["v"].cast(pa.list_(pa.int64(), 2)))
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1)

    ((batch,),) = batches(plan_of(tmp_path))

    np.testing.assert_array_equal([1, np.nan, 3], batch["x"])
    assert ["a", "b", None] == batch["s"].to_pylist()
    assert (3, 2) == batch["v"].shape


def test_stage_may_change_a_batch_and_no_other_batch_changes(tmp_path: Path) -> None:
    fill(tmp_path, {"a": [40]})
    seen = []
    for batch in ChunkReader(plan_of(tmp_path)).batches(0, 0):
        seen += batch["id"].tolist()
        batch["id"] *= 0

    assert list(range(40)) == seen


def test_arrow_batches_are_tables(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([1, None, 3]), "s": ["a", None, "c"]})

    read = one(tmp_path, table, batch_format="arrow", batch_rows=2)

    assert [2, 1] == [len(batch) for batch in read]
    assert table.equals(pa.concat_tables(read))
    (shuffled,) = one(tmp_path, table, batch_format="arrow", shuffle=True)
    assert table.sort_by("s").equals(shuffled.sort_by("s").combine_chunks())


def test_text_files_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n" + "".join(f"{i},n{i}\n" for i in range(25)))
    (tmp_path / "b.csv").write_text("id,name\n" + "".join(f"{i},n{i}\n" for i in range(25, 30)))
    plan = plan_of(f"{tmp_path}/*.csv", lanes=4)

    assert plan.num_rows is None
    assert [[None], [None]] == sizes(plan)
    assert list(range(30)) == ids(plan)
    assert ["n0", "n1"] == batches(plan)[0][0]["name"].to_pylist()[:2]


def test_text_file_without_rows_gives_no_batch(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n")

    assert [[]] == batches(plan_of(tmp_path))
    assert [[]] == batches(plan_of(tmp_path, shuffle=True))


def test_json_lines_are_read(tmp_path: Path) -> None:
    lines = [json.dumps({"id": i, "tags": ["x"] * (i % 3)}) for i in range(25)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))

    read = batches(plan_of(tmp_path))

    assert [10, 10, 5] == [len(batch["id"]) for batch in read[0]]
    assert [[], ["x"], ["x", "x"]] == read[0][0]["tags"].to_pylist()[:3]
