import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tadka.core.error import ConfigError, DataError
from tadka.models import Trial, bench, register
from tests.models import Tiny, config, own_models


@pytest.fixture(autouse=True)
def failing() -> Iterator[None]:
    """A model that fails; other tests see nothing of it."""
    with own_models():

        @register("failing")
        class Failing(Tiny):
            """Fails."""

            def net(self) -> nn.Module:
                raise RuntimeError("out of luck")

        yield


def values(folder: Path, **models: Any) -> dict[str, Any]:
    found = config(folder, {"name": "tiny", "epochs": 1})
    return {**found, "models": models} if models else found


def test_a_model_that_fails_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    told: list[Trial] = []

    found = bench(values(tmp_path), ["failing", "tiny"], progress="none", on_trial=told.append)

    assert told == found
    failed, trained = found
    assert not failed.is_ok
    assert failed.reason.endswith("out of luck")
    assert trained.is_ok
    assert {"auc", "log_loss", "calibration"} == trained.metrics.keys()
    assert failed.data == trained.data != ""
    assert trained.rows_per_s > 0


def test_models_take_the_keys_that_they_have_and_their_own(tmp_path: Path) -> None:
    section = values(tmp_path, tiny={"dim": 2}, logistic={"epochs": 2})
    section["model"]["dim"] = 3

    tiny, logistic = bench(section, progress="none")

    assert ((), ("dim",)) == (tiny.left_out, logistic.left_out)
    runs = tmp_path / "runs"
    params = {
        file.parent.name.partition("-")[0]: json.loads(file.read_text())["model"]
        for file in runs.glob("*/config.json")
    }
    assert (2, 1) == (params["tiny"]["dim"], params["tiny"]["epochs"])
    assert (0.05, 2) == (params["logistic"]["lr"], params["logistic"]["epochs"])


def test_results_that_are_kept_are_not_made_again(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    (first,) = bench(values(tmp_path), ["tiny"], kept=kept, progress="none")

    again, failed = bench(values(tmp_path), ["tiny", "failing"], kept=kept, progress="none")
    (other,) = bench(values(tmp_path), ["tiny"], ["model.lr=0.01"], kept=kept, progress="none")

    assert first == again
    assert not failed.is_ok  # it is tried again the next time
    assert first.run != other.run
    assert 2 == len(kept.read_text().splitlines())


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").write_text('{"a": 1}\n')

    with pytest.raises(DataError, match=r"Line 1 of .*no result"):
        bench(values(tmp_path), ["tiny"], kept=tmp_path / "kept.jsonl", progress="none")


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([], "No models to compare"),
        (["tinny"], "Did you mean 'tiny'"),
        (["tiny"], "'model.dimm' is unknown"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(
    tmp_path: Path, models: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        bench(values(tmp_path), models, ["model.dimm=3"] if models == ["tiny"] else [])
    assert not (tmp_path / "runs").exists()


def test_the_reason_is_one_line() -> None:
    assert "" == Trial(model="a").reason
    report = "600 rows: 1 errors\nwarn: a\nerror: b\nerror: c"
    assert "error: b" == Trial(model="a", error=report).reason
    trace = "Stage failed: X\n\nTraceback (most recent call last):\n  File\nValueError: no\n"
    assert "ValueError: no" == Trial(model="a", error=trace).reason
