import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.stream.checkpoint import (
    Checkpoint,
    find_checkpoint,
    restore_into,
    save_checkpoint,
    to_state,
)
from tadka.stream.plan import Plan, Source
from tadka.stream.position import Position


def plan_of(folder: Path, **options: Any) -> Plan:
    defaults: dict[str, Any] = {
        "columns": None,
        "batch_rows": 10,
        "chunk_rows": None,
        "shuffle": False,
        "seed": 0,
        "batch_format": "numpy",
    }
    return Plan.make(Source.make(f"{folder}/*.parquet", **{**defaults, **options}), 2)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    folder = tmp_path / "rows"
    folder.mkdir()
    for name in "ab":
        pq.write_table(pa.table({"x": [1, 2, 3], "y": [1, 2, 3]}), folder / f"{name}.parquet")
    return folder


POSITION = Position(epoch=1, step=7, group=2, lane=1, lanes=((4, 3), (5, 0)))


def save(directory: Path, state: Any = None, position: Position = POSITION, **more: Any) -> Path:
    return save_checkpoint(
        directory,
        state={"model": 1} if state is None else state,
        position=position.to_dict(),
        step=more.get("step", 9),
        world_size=3,
        plan=more.get("plan", {}),
    )


# -- saving and finding ---------------------------------------------------------------------------


def test_position_and_state_come_back(tmp_path: Path, rows: Path) -> None:
    state = {"model": {"w": np.arange(3)}, "note": "x"}
    path = save(tmp_path / "run", state, plan=plan_of(rows).describe())

    for name in (tmp_path / "run", path, str(path)):
        found = find_checkpoint(name)

        assert (POSITION, 9, 3, path) == (
            found.position,
            found.step,
            found.world_size,
            found.path,
        )
        restored = found.load_state()
        np.testing.assert_array_equal(np.arange(3), restored["model"]["w"])
        assert "x" == restored["note"]
        found.check_plan(plan_of(rows))
    assert tmp_path / "run/checkpoints/epoch-0001-step-000000007" == path


WITHOUT_TORCH = """
import sys
from pathlib import Path
from tadka.stream.checkpoint import find_checkpoint, save_checkpoint
from tadka.stream.position import Position

assert "torch" not in sys.modules
save_checkpoint(Path(sys.argv[1]), state={"model": {"w": [1, 2]}}, position=Position().to_dict(),
                step=0, world_size=1, plan={})
found = find_checkpoint(sys.argv[1])
print(sorted(path.name for path in found.path.iterdir()), found.load_state())
assert "torch" not in sys.modules
"""


def test_loop_without_torch_needs_none(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )

    assert "['position.json', 'state.pkl'] {'model': {'w': [1, 2]}}\n" == done.stdout


def test_state_pickled_without_torch_is_read_where_torch_is_loaded(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = save(tmp_path)
    (path / "state.pt").unlink()
    (path / "state.pkl").write_bytes(pickle.dumps({"model": 5}))

    assert {"model": 5} == find_checkpoint(tmp_path).load_state()


def test_torch_model_and_optimizer_come_back(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    def make() -> tuple[Any, Any]:
        model = torch.nn.Linear(3, 2)
        return model, torch.optim.Adam(model.parameters(), lr=0.1)

    model, optimizer = make()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save(tmp_path, to_state({"model": model, "optimizer": optimizer}))

    other, other_optimizer = make()
    checkpoint = find_checkpoint(tmp_path)
    state = checkpoint.load_state()
    restore_into({"model": other, "optimizer": other_optimizer}, state, checkpoint.path)

    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        expected, found = optimizer.state[one], other_optimizer.state[two]
        assert torch.equal(expected["exp_avg"], found["exp_avg"])
        assert torch.equal(expected["step"], found["step"])


def test_latest_checkpoint_of_a_run_is_found(tmp_path: Path) -> None:
    for epoch, step in ((0, 999), (2, 5), (10, 3), (2, 1000), (10, 20)):
        save(tmp_path, {"model": (epoch, step)}, Position(epoch=epoch, step=step))

    assert {"model": (10, 20)} == find_checkpoint(tmp_path).load_state()
    one = tmp_path / "checkpoints/epoch-0002-step-000000005"
    assert {"model": (2, 5)} == find_checkpoint(one).load_state()


def test_half_written_checkpoint_is_not_found(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self) -> Any:
            raise ValueError("no")

    save(tmp_path, {"model": "old"}, Position(step=1))
    with pytest.raises(ValueError, match="no"):
        save(tmp_path, {"model": Bad()}, Position(step=2))

    assert ["epoch-0000-step-000000001"] == [p.name for p in (tmp_path / "checkpoints").iterdir()]
    assert {"model": "old"} == find_checkpoint(tmp_path).load_state()


def test_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    for value in ("old", "new"):
        save(tmp_path, {"model": value})

    assert {"model": "new"} == find_checkpoint(tmp_path).load_state()


@pytest.mark.parametrize("make", [False, True])
def test_missing_checkpoint_is_told_with_what_to_do(tmp_path: Path, make: bool) -> None:
    if make:
        (tmp_path / "run" / "checkpoints" / "epoch-of-nothing").mkdir(parents=True)

    with pytest.raises(
        NotFound, match=r"no checkpoint in '.*run'\. Name the run's .* run\.save\(model\)\.$"
    ):
        find_checkpoint(tmp_path / "run")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"position": {}}', '{"position": {"lanes": [], "is": 1}, "step": 1}'],
)
def test_damaged_position_is_told(tmp_path: Path, text: str) -> None:
    path = save(tmp_path)
    (path / "position.json").write_text(text)

    with pytest.raises(DataError, match=r"^Checkpoint '.*step-000000007' cannot be read: "):
        find_checkpoint(tmp_path)


def test_missing_position_is_told(tmp_path: Path) -> None:
    (save(tmp_path) / "position.json").unlink()

    with pytest.raises(DataError, match="cannot be read: FileNotFoundError"):
        find_checkpoint(tmp_path)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [damage, empty, Path.unlink])
@pytest.mark.parametrize("name", ["state.pt", "state.pkl"])
def test_damaged_state_is_told(tmp_path: Path, harm: Any, name: str) -> None:
    pytest.importorskip("torch")
    path = save(tmp_path, {"model": list(range(100))})
    if name == "state.pkl":
        (path / "state.pt").unlink()
        (path / name).write_bytes(pickle.dumps({"model": list(range(100))}))
    harm(path / name)

    with pytest.raises(
        DataError, match=r"^Checkpoint '.*step-000000007' cannot be read: .* Resume from another"
    ):
        find_checkpoint(tmp_path).load_state()


def test_state_whose_class_is_gone_is_told(tmp_path: Path) -> None:
    path = save(tmp_path)
    for file in path.glob("state.*"):
        file.unlink()
    (path / "state.pkl").write_bytes(b"\x80\x04cgone_module\nModel\n.")

    with pytest.raises(DataError, match=r"cannot be read: ModuleNotFoundError.*gone_module"):
        find_checkpoint(tmp_path).load_state()


# -- other input ----------------------------------------------------------------------------------


def saved_with(plan: Plan, folder: Path) -> Checkpoint:
    save(folder, plan=plan.describe())
    return find_checkpoint(folder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 4}, "read seed was 0 and is 4"),
        ({"batch_rows": 5, "chunk_rows": 80}, "read batch_rows was 10 and is 5"),
        ({"columns": ["y"]}, r"read columns was \['x', 'y'\] and is \['y'\]"),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, rows: Path, options: dict[str, Any], words: str
) -> None:
    checkpoint = saved_with(plan_of(rows), tmp_path)

    with pytest.raises(
        DataError,
        match=rf"^Checkpoint '.*' belongs to other input: {words}\. Restore the input, or start",
    ):
        checkpoint.check_plan(plan_of(rows, **options))


def test_other_files_are_refused_by_name(tmp_path: Path, rows: Path) -> None:
    checkpoint = saved_with(plan_of(rows), tmp_path)
    (rows / "a.parquet").rename(rows / "c.parquet")

    with pytest.raises(
        DataError, match=r"input: file '.*/a\.parquet' is gone; file '.*/c\.parquet' is new\. Rest"
    ):
        checkpoint.check_plan(plan_of(rows))


def test_only_five_of_many_changes_are_told(tmp_path: Path, rows: Path) -> None:
    checkpoint = saved_with(plan_of(rows), tmp_path)
    for number in range(9):
        pq.write_table(pa.table({"x": [1], "y": [1]}), rows / f"{number}.parquet")

    with pytest.raises(DataError, match=r"4\.parquet' is new and 4 more changes\. Restore"):
        checkpoint.check_plan(plan_of(rows))


# -- objects --------------------------------------------------------------------------------------


class Model:
    """A model of attributes."""

    def __init__(self, weight: float) -> None:
        self.weight = weight


class Slots:
    __slots__ = ("x",)


def restored(value: Any, saved: Any) -> Any:
    restore_into({"model": value}, json_like({"model": saved}), Path("runs/x"))
    return value


def json_like(state: dict[str, Any]) -> dict[str, Any]:
    """What comes back from a file: equal, not the same."""
    copied: dict[str, Any] = pickle.loads(pickle.dumps(to_state(state)))
    return copied


def test_dict_is_restored_in_place() -> None:
    assert {"a": 1} == restored({"a": 9, "b": 9}, {"a": 1})


def test_object_is_restored_by_its_attributes() -> None:
    assert 0.5 == restored(Model(9.0), Model(0.5)).weight


def test_array_is_restored_in_place() -> None:
    array = np.zeros((2, 2))
    view = array[1]

    restored(array, np.arange(4.0).reshape(2, 2))

    assert [2.0, 3.0] == view.tolist()


def test_bare_tensor_is_restored_in_place() -> None:
    torch = pytest.importorskip("torch")
    weight = torch.zeros(3, requires_grad=True)

    restored(weight, torch.arange(3.0, requires_grad=True))

    assert [0.0, 1.0, 2.0] == weight.tolist()
    assert weight.requires_grad


def test_what_has_state_dict_is_saved_by_it() -> None:
    class Counter:
        count = 0

        def state_dict(self) -> dict[str, int]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.count = state["count"]

    one, other = Counter(), Counter()
    one.count = 5
    assert {"model": {"count": 5}} == to_state({"model": one})

    assert 5 == restored(other, one).count


def test_name_that_was_not_saved_is_told_with_those_that_were() -> None:
    with pytest.raises(
        ConfigError, match=r"^Checkpoint 'runs/x' holds 'model', 'extra' and no 'optimizer'\. Give"
    ):
        restore_into({"optimizer": {}}, {"model": {}, "extra": {}}, Path("runs/x"))


@pytest.mark.parametrize(("value", "saved"), [(Model(1), {"w": 1}), ({}, Model(1)), (Model(1), 5)])
def test_object_of_another_kind_is_told(value: Any, saved: Any) -> None:
    expected = rf"given a {type(value).__name__} as 'model', and .* holds a {type(saved).__name__}"
    with pytest.raises(ConfigError, match=expected):
        restored(value, saved)


@pytest.mark.parametrize("value", [5, "x", [1], (1,), Slots()])
def test_object_that_cannot_be_written_into_is_told(value: Any) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"cannot write into 'model', a {type(value).__name__}; give an object with load",
    ):
        restore_into({"model": value}, {"model": value}, Path("runs/x"))


def test_position_file_is_plain_json(tmp_path: Path) -> None:
    record = json.loads((save(tmp_path) / "position.json").read_text())

    assert 1 == record["tadka"]
    assert POSITION == Position.from_dict(record["position"])
