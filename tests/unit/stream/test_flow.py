import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound, StageError
from tadka.stream.flow import Flow, read, write
from tadka.stream.plan import random_generator
from tadka.stream.stage import Stage, Train


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """100 numbered rows in two files of one piece each."""
    for part, ids in enumerate(np.split(np.arange(100), 2)):
        pq.write_table(pa.table({"id": ids}), tmp_path / f"{part}.parquet")
    return f"{tmp_path}/*.parquet"


def work(batch: Any) -> Any:
    return batch


def train(batches: Any, run: Any) -> None: ...


def negate(batch: Any) -> Any:
    return {"id": -batch["id"]}


def halves(batch: Any) -> Iterator[Any]:
    for half in np.array_split(batch["id"], 2):
        yield {"id": half}


def only_even(batch: Any) -> Any:
    return None if batch["id"][0] % 20 else batch


def ids(batches: list[Any]) -> list[list[int]]:
    return [batch["id"].tolist() for batch in batches]


# -- putting together -----------------------------------------------------------------------------


def test_flow_is_a_value() -> None:
    start = read("x.parquet")
    one = start | Stage(work)
    two = one | Stage(negate) | Train(train)

    assert [(), ("work",), ("work", "negate")] == [
        tuple(stage.name for stage in flow.stages) for flow in (start, one, two)
    ]
    assert [None, None, "train"] == [flow.end and flow.end.name for flow in (start, one, two)]  # type: ignore[union-attr]


def test_stages_of_one_name_are_numbered() -> None:
    flow = read("x.parquet") | Stage(work) | Stage(negate) | Stage(work) | Stage(work)

    assert ["work", "negate", "work-2", "work-3"] == [stage.name for stage in flow.stages]


def test_stage_may_stand_in_two_flows() -> None:
    stage = Stage(work)
    first, second = read("x.parquet") | stage | stage, read("y.parquet") | stage

    assert ["work", "work-2"] == [stage.name for stage in first.stages]
    assert ["work"] == [stage.name for stage in second.stages]


@pytest.mark.parametrize(
    ("end", "words"),
    [(Train(train), "The flow ends with Train(train);"), (write("out"), "ends with write('out');")],
)
@pytest.mark.parametrize("after", [Stage(work), Train(train), write("else"), 5])
def test_nothing_follows_the_end(end: Any, words: str, after: Any) -> None:
    flow = read("x.parquet") | end
    with pytest.raises(ConfigError, match=re.escape(words) + r".* nothing can follow\. Put stages"):
        flow | after


@pytest.mark.parametrize("other", [work, None, "out", {"x": 1}, read("y.parquet")])
def test_other_things_are_no_part_of_a_flow(other: Any) -> None:
    with pytest.raises(
        ConfigError,
        match=r"^A flow cannot go on with .*\. Use Stage\(function\), Train\(function\) or write\(",
    ):
        read("x.parquet") | other


def test_reading_looks_at_no_file_before_the_flow_runs() -> None:
    assert isinstance(read(["/nowhere/a.parquet", Path("/nowhere/b")]), Flow)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_rows": 0}, r"^read\(\) has batch_rows=0; it must be a whole number from 1\."),
        ({"columns": "id"}, r"^read\(\) has columns='id'; it must be a list"),
        ({"batch_format": "torch"}, r"^read\(\) has batch_format='torch'; it must be 'numpy' or"),
    ],
)
def test_wrong_setting_of_read_is_named_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read("x.parquet", **options)


def test_wrong_suffix_of_write_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"^write\(\) has suffix='\.txt': .*\.parquet"):
        write("out", suffix=".txt")


# -- running --------------------------------------------------------------------------------------


def test_flow_without_an_end_is_not_run(rows: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^The flow has no end, .* Add `\| Train\(function\)` or `\| write\("
    ):
        (read(rows) | Stage(work)).run()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on": "mars"}, r"^run\(on='mars'\) is not known; it must be 'local' or 'here'"),
        ({"check": 1.5}, r"^run\(check=1\.5\) must be a share between 0 and 1\."),
        ({"check": -1}, r"^run\(check=-1\) must be a share between 0 and 1\."),
        ({"check": float("nan")}, r"^run\(check=nan\) must be a share"),
        ({"progress": "loud"}, r"loud"),
    ],
)
def test_wrong_setting_of_run_is_named(rows: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        (read(rows) | Train(train)).run(**options)


@pytest.mark.parametrize("end", [Train(train), write("memory://nowhere")])
def test_missing_input_is_told_before_anything_starts(tmp_path: Path, end: Any) -> None:
    with pytest.raises(NotFound, match=r"No file matches '.*none\.parquet'"):
        (read(tmp_path / "none.parquet") | end).run(directory=tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_missing_checkpoint_is_told_before_anything_starts(rows: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"There is no checkpoint in '.*run'"):
        (read(rows) | Train(train)).run(directory=tmp_path / "run", resume=True)
    with pytest.raises(NotFound, match=r"There is no checkpoint in '.*other'"):
        (read(rows) | Train(train)).run(directory=tmp_path / "run", resume=tmp_path / "other")


def test_foreign_output_directory_is_refused_before_anything_starts(
    rows: str, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").touch()

    with pytest.raises(DataError, match=r"out' holds 'thesis\.tex' and no _tadka\.json"):
        (read(rows) | write(tmp_path / "out")).run(directory=tmp_path / "run")


# -- take -----------------------------------------------------------------------------------------


def test_what_knows_its_files_is_read(rows: str) -> None:
    class Version:
        def files(self) -> list[str]:
            return [rows.replace("*", part) for part in "10"]

    # in the order of their names, as all files are
    expected = [list(range(50)), list(range(50, 100))]
    assert expected == ids(read(Version(), batch_rows=50).take(3))


def test_first_batches_are_taken(rows: str) -> None:
    flow = read(rows, batch_rows=10)

    assert [list(range(10))] == ids(flow.take())
    assert [list(range(10)), list(range(10, 20))] == ids(flow.take(2))
    assert [] == flow.take(0)
    assert 10 == len(flow.take(1000))


def test_stages_are_applied_and_the_end_is_not(rows: str, tmp_path: Path) -> None:
    flow = read(rows, batch_rows=10) | Stage(only_even) | Stage(halves) | Stage(negate)

    expected = [[0, -1, -2, -3, -4], [-5, -6, -7, -8, -9], [-20, -21, -22, -23, -24]]
    assert expected == ids(flow.take(3))
    assert expected == ids((flow | Train(train)).take(3))
    assert expected == ids((flow | write(tmp_path / "out")).take(3))
    assert not (tmp_path / "out").exists()


def test_only_what_is_asked_for_is_made(rows: str) -> None:
    made = []

    def note(batch: Any) -> Any:
        made.append(1)
        return batch

    (read(rows, batch_rows=10) | Stage(note)).take(2)

    assert 2 == len(made)


def test_random_numbers_are_those_of_a_run(rows: str) -> None:
    def noise(batch: Any, rng: np.random.Generator) -> Any:
        return {"id": np.array([rng.integers(1 << 40)])}

    def more(batch: Any, rng: np.random.Generator) -> Any:
        return {"id": np.append(batch["id"], rng.integers(1 << 40))}

    flow = read(rows, batch_rows=10, seed=3) | Stage(halves) | Stage(noise) | Stage(more)
    found = ids(flow.take(4))

    # (seed, epoch, chunk, batch that came in, stage), as workers count them
    for batch, numbers in enumerate(found):
        expected = [random_generator(3, 0, 0, batch, stage).integers(1 << 40) for stage in (1, 2)]
        assert expected == numbers


def test_shuffled_flow_takes_shuffled_rows(rows: str) -> None:
    flow = read(rows, batch_rows=10, shuffle=True, seed=1)

    found = [i for batch in ids(flow.take(100)) for i in batch]

    assert list(range(100)) == sorted(found) != found


def test_objects_are_built_and_closed(rows: str) -> None:
    log: list[str] = []

    class Model:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def __call__(self, batch: Any) -> Any:
            return {"id": self.factor * batch["id"]}

        def close(self) -> None:
            log.append("closed")

    flow = read(rows, batch_rows=3) | Stage(Model, init={"factor": 5})

    assert [[0, 5, 10]] == ids(flow.take())
    assert ["closed"] == log


def test_error_of_a_function_is_the_cause(rows: str) -> None:
    def fail(batch: Any) -> Any:
        raise KeyError("clicks")

    with pytest.raises(StageError, match=r"rows 0 to 49: KeyError: 'clicks'") as caught:
        (read(rows) | Stage(fail)).take()

    assert isinstance(caught.value.__cause__, KeyError)


def test_wrong_result_is_told(rows: str) -> None:
    with pytest.raises(DataError, match=r"^Stage 'five' returned a int \(5\)"):
        (read(rows) | Stage(lambda batch: 5, name="five")).take()


def test_missing_input_of_take_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No file matches"):
        read(tmp_path / "*.parquet").take()
