"""Runs that were stopped, wherever they were, and go on as if they had not been."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import DataError, StageError
from tadka.models import Fit, load, train
from tadka.models.train import loop, tracking
from tadka.models.train.folder import held
from tadka.models.train.trained import write_trained
from tadka.registry.journal import Journal
from tadka.registry.kept import read_kept
from tadka.stream.checkpoint import find_checkpoint, list_checkpoints
from tests import models
from tests.models import config, fit, weights

STEPS = 10  # of an epoch


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The loss of a step fails, once."""
    loss_of, steps = models.Tiny.loss_of, []

    def fails(self: Any, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == step:
            raise RuntimeError("out of luck")
        return loss_of(self, *arguments)

    monkeypatch.setattr(models.Tiny, "loss_of", fails)


def stop_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """All epochs are over, and the model cannot be written, once."""

    def fails(*_: Any) -> None:
        monkeypatch.setattr(loop, "write_trained", write_trained)
        raise RuntimeError("out of luck")

    monkeypatch.setattr(loop, "write_trained", fails)


def stopped(
    folder: Path, model: dict[str, Any], stream: dict[str, Any] | None = None, **options: Any
) -> tuple[Path, dict[str, Any]]:
    """Folder and configuration of a run that has failed."""
    values = config(folder, model, **({} if stream is None else {"stream": stream}))
    with pytest.raises(StageError, match="out of luck"):
        train(values, progress="none", **options)
    (run,) = (folder / "runs").glob("tiny-*")
    return run, values


def check_same(whole: Fit, done: Fit) -> None:
    assert all(weights(whole)[name].equal(value) for name, value in weights(done).items())
    assert whole.metrics == done.metrics
    assert whole.history == done.history
    lines = [(fit.folder / "history.jsonl").read_text() for fit in (whole, done)]
    merged = [_by_epoch(text) for text in lines]
    assert merged[0] == merged[1]


def _by_epoch(text: str) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for line in text.splitlines():
        numbers = json.loads(line)
        known = found.setdefault(numbers["epoch"], {})
        assert not (known.keys() & numbers.keys()) - {"epoch"}, "an epoch is there twice"
        known.update(numbers)
    return found


@pytest.mark.parametrize("step", [5, 2 * STEPS + 5], ids=["first epoch", "third epoch"])
def test_patience_and_average_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    model = {"name": "tiny", "epochs": 6, "lr": 0.3, "patience": 2, "average": 0.5}
    whole = fit(tmp_path / "whole", model)
    stop_at(monkeypatch, step)
    run, values = stopped(tmp_path / "stopped", model)

    check_same(whole, train(values, resume=run, progress="none"))


def test_a_checkpoint_within_an_epoch_is_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"name": "tiny", "epochs": 3, "average": 0.5}
    whole = fit(tmp_path / "whole", model)
    stop_at(monkeypatch, STEPS + 5)
    every_step = {"on": "here", "checkpoint_s": 1e-9}
    run, values = stopped(tmp_path / "stopped", model, stream=every_step)

    found = find_checkpoint(run)
    assert (1, STEPS + 4) == (found.position.epoch, found.step)
    check_same(whole, train(values, resume=run, progress="none"))


def test_a_run_whose_last_checkpoint_is_damaged_goes_on_from_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"name": "tiny", "epochs": 4}
    whole = fit(tmp_path / "whole", model)
    stop_at(monkeypatch, 2 * STEPS + 5)
    run, values = stopped(tmp_path / "stopped", model)
    before, last = list_checkpoints(run)
    (last / "state.pt").write_bytes(b"damaged")

    with pytest.raises(StageError, match=rf"{last.name}.* cannot be read.* another one"):
        train(values, resume=run, progress="none")

    check_same(whole, train(values, resume=before, progress="none"))


def test_a_run_has_each_number_once_though_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 2 * STEPS + 5)
    run, values = stopped(tmp_path, {"name": "tiny", "epochs": 4})
    before = [key for key, _ in Journal(run).numbers()]

    train(values, resume=run, progress="none")

    numbers = [key for key, _ in Journal(run).numbers()]
    assert before
    assert before == numbers[: len(before)]
    assert len(numbers) == len(set(numbers))
    assert {0, 1, 2, 3} == {epoch for epoch, name in numbers if name == "loss"}


def test_numbers_are_told_while_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_PERIOD_S", 0.001)
    loss_of, steps = models.Tiny.loss_of, []
    seen: list[tuple[int, str]] = []

    def waits(self: Any, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == STEPS + 1:
            (run,) = (tmp_path / "runs").glob("tiny-*")
            limit_s = time.monotonic() + 60
            while not seen and time.monotonic() < limit_s:
                seen.extend(key for key, _ in Journal(run).numbers())
        return loss_of(self, *arguments)

    monkeypatch.setattr(models.Tiny, "loss_of", waits)
    fit(tmp_path, {"name": "tiny", "epochs": 2})

    assert (0, "loss") in seen


def test_a_run_is_trained_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 5)
    run, values = stopped(tmp_path, {"name": "tiny"})

    with held(run), pytest.raises(DataError, match="is being trained by another process"):
        train(values, resume=run, progress="none")

    assert train(values, resume=run, progress="none").history


@pytest.mark.parametrize("patience", [0, 1], ids=["all epochs", "stopped early"])
def test_a_run_that_lacks_only_its_model_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    model = {"name": "tiny", "epochs": 4, "lr": 0.0 if patience else 0.05, "patience": patience}
    whole = fit(tmp_path / "whole", model)
    stop_at_the_end(monkeypatch)
    run, values = stopped(tmp_path / "stopped", model)

    check_same(whole, train(values, resume=run, progress="none"))
    assert len(whole.history) == (2 if patience else 4)


def test_what_a_run_began_from_is_known_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit(tmp_path / "first", {"name": "tiny", "epochs": 3})
    whole = fit(tmp_path / "whole", {"name": "tiny"}, start=first.folder)
    stop_at(monkeypatch, 5)
    run, values = stopped(tmp_path / "stopped", {"name": "tiny"}, start=first.folder)

    done = train(values, resume=run, progress="none")

    check_same(whole, done)
    assert first.run == read_kept(done.folder).parent


def test_a_line_that_was_broken_off_does_not_lose_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, STEPS + 5)
    run, values = stopped(tmp_path, {"name": "tiny", "epochs": 3})
    with (run / "history.jsonl").open("a") as file:
        file.write('{"epoch": 1, "lo')

    done = train(values, resume=run, progress="none")

    assert [0, 1, 2] == [numbers["epoch"] for numbers in done.history]
    assert all({"loss", "valid_auc"} <= numbers.keys() for numbers in done.history)


def test_checkpoints_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 3 * STEPS + 5)
    run, values = stopped(tmp_path, {"name": "tiny", "epochs": 5})
    assert 2 == len(list((run / "checkpoints").iterdir()))

    done = train(values, resume=run, progress="none")

    assert 2 == len(list((done.folder / "checkpoints").iterdir()))
    left = {path.name for path in (done.folder / "model").iterdir()}
    assert {"model.json", "state", "weights"} == left
    assert load(done.folder).record["run"] == done.run
