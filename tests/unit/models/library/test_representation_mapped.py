"""The representation model with its vectors in mapped files."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tadka.core.error import ConfigError, StageError
from tadka.models import load, train
from tadka.models.graph import Graph
from tadka.models.library.representation import Representation
from tadka.models.library.taken import GRAPH
from tadka.models.net.representation import RepresentationNet
from tadka.models.net.tables import MappedEmbedding
from tadka.models.table.mapped import MappedTable
from tests import models
from tests.models import config
from tests.unit.models.library.test_representation import SMALL, taken

KILLED = """
import json, os, signal, sys
from tadka.models import train
from tadka.models.library.representation import Representation

loss_of, steps = Representation.loss_of, []

def killed(self, net, batch):
    steps.append(1)
    if len(steps) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return loss_of(self, net, batch)

Representation.loss_of = killed
train(json.loads(sys.argv[1]), progress="none")
"""


def values_of(folder: Path, rows: pa.Table | None = None, **model: Any) -> dict[str, Any]:
    values = config(folder, {"lr": 0.01, "epochs": 2, **SMALL, "tables": "mapped", **model})
    rows = taken(held_out=False) if rows is None else rows
    values["data"] = models.write(folder / "pairs", train=rows, test=taken(held_out=True))
    return values


def tables_of(folder: Path) -> dict[str, np.ndarray]:
    """Vectors of a trained run, by column."""
    opened = {
        name: MappedTable.open(folder / "model" / "weights" / "tables" / name, read_only=True)
        for name in ("user", "item")
    }
    return {name: table.pull(np.arange(table.num_rows)) for name, table in opened.items()}


def test_tables_in_files_and_in_memory_learn_the_same(tmp_path: Path) -> None:
    mapped = train(values_of(tmp_path / "mapped"), progress="none")
    memory = train(values_of(tmp_path / "memory", tables="memory"), progress="none")

    assert mapped.metrics == pytest.approx(memory.metrics, abs=1e-6)
    for epoch, other in zip(mapped.history, memory.history, strict=True):
        assert epoch == pytest.approx(other, rel=1e-6)
    found = tables_of(mapped.folder)
    net = load(memory.folder).learnt
    assert found["user"] == pytest.approx(net.user.values.numpy(), abs=1e-6)
    assert found["item"] == pytest.approx(net.item.values.numpy(), abs=1e-6)
    rows = taken(held_out=True).slice(0, 5)
    scores = [load(fit.folder).predict(rows)["score"].to_numpy() for fit in (mapped, memory)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole = train(values_of(tmp_path / "whole", epochs=3), progress="none")
    values = values_of(tmp_path / "killed", epochs=3)
    source = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(values), "16"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(source)])},
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    (run,) = (tmp_path / "killed" / "runs").glob("representation-*")
    assert list(run.glob("tables/user/[0-9]*"))  # of the first epoch

    again = train(values, resume=run, progress="none")

    assert again.history == whole.history
    for name, vectors in tables_of(whole.folder).items():
        assert (tables_of(again.folder)[name] == vectors).all()


def test_a_run_that_stopped_before_its_first_checkpoint_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss_of, steps = Representation.loss_of, []

    def fails(self: Any, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 4:
            raise RuntimeError("out of luck")
        return loss_of(self, *arguments)

    monkeypatch.setattr(Representation, "loss_of", fails)
    values = values_of(tmp_path)
    with pytest.raises(StageError, match="out of luck"):
        train(values, progress="none")
    (run,) = (tmp_path / "runs").glob("representation-*")

    again = train(values, resume=run, progress="none")
    whole = train(values_of(tmp_path / "whole"), progress="none")

    assert again.history == whole.history


def test_a_step_changes_the_rows_of_its_batch_alone(tmp_path: Path) -> None:
    model = load(train(values_of(tmp_path, epochs=0, fanouts=[1, 1], negatives=1)).folder).model
    tables = {
        name: MappedEmbedding.begin(
            tmp_path / name, model.state.size(name), 8, name, lr=0.3, scale=0.1, seed=0
        )
        for name in ("user", "item")
    }
    net = RepresentationNet(
        Graph.open(model.state.folder / GRAPH), tables["user"], tables["item"], 8
    ).train()
    rows = {name: taken(held_out=False)[name].to_numpy()[:2] for name in ("user", "item")}
    batch = model.train_preprocess(rows, np.random.default_rng(0))  # type: ignore[call-arg]
    around = batch["around"].to_tensors(torch.device("cpu"))
    before = _all(tables)
    net({"user": torch.tensor(batch["user"]), "around": around}).square().sum().backward()

    after = _all(tables)
    for name, touched in (("user", around.users), ("item", around.items)):
        changed = np.flatnonzero((after[name] != before[name]).any(axis=1))
        assert 0 < len(changed) < model.state.size(name) // 2
        assert set(changed) <= set(touched.tolist())


def _all(tables: dict[str, MappedEmbedding]) -> dict[str, np.ndarray]:
    return {name: each.table.pull(np.arange(each.table.num_rows)) for name, each in tables.items()}


def test_new_rows_begin_beside_their_neighbours_and_old_ones_stay(tmp_path: Path) -> None:
    old = taken(held_out=False)
    first = train(values_of(tmp_path / "first", old), progress="none")
    new = pa.table({"user": [9000, 9000], "item": old["item"][:2]})
    values = values_of(tmp_path / "next", pa.concat_tables([old, new]), epochs=0)
    second = train(values, start=first.folder, progress="none")

    before, after = tables_of(first.folder), tables_of(second.folder)
    assert (after["user"][: len(before["user"])] == before["user"]).all()
    items = second.load().model.state.rows("item", old["item"][:2])
    assert after["user"][-1] == pytest.approx(before["item"][items].mean(axis=0), abs=1e-6)


def test_what_is_kept_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises((ConfigError, StageError), match=r"model\.tables is 'mapped'"):
        train(values_of(tmp_path, average=0.9), progress="none")


def test_the_graph_is_in_the_state_and_disk_holds_one_table_at_the_end(tmp_path: Path) -> None:
    done = train(values_of(tmp_path), progress="none")

    assert (done.folder / "model" / "state" / GRAPH / "indices.bin").exists()
    segments = list(done.folder.rglob("*.segment"))
    assert len({path.stat().st_ino for path in segments}) == 2  # one of users, one of items
    assert not torch.load(done.folder / "model" / "weights" / "net.pt")["user._extra_state"]
