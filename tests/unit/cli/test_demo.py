import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tadka.cli.app import app
from tadka.demo.movielens import generate_ratings

runner = CliRunner()


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    generate_ratings(folder, seed=1, num_users=60, num_items=50, num_ratings=2000)
    return folder


@pytest.mark.timeout(240)
def test_json_is_one_object_on_standard_output(ratings: Path, tmp_path: Path) -> None:
    words = ["demo", "--ratings", str(ratings), "--out", str(tmp_path / "out"), "--json"]

    result = runner.invoke(app, [*words, "--epochs", "1", "--replicas", "1", "--progress", "none"])

    assert 0 == result.exit_code, result.stderr
    found = json.loads(result.stdout)
    assert {
        "bottlenecks",
        "data",
        "epochs",
        "final_loss",
        "predictions",
        "report",
        "rmse_baseline",
        "rmse_test",
        "rows_predicted",
        "rows_trained",
        "seconds",
        "stages",
    } == set(found)
    assert "ml-100k directory" == found["data"]
    assert Path(found["report"]).is_file()


@pytest.mark.timeout(240)
def test_the_summary_names_stages_errors_and_files(ratings: Path, tmp_path: Path) -> None:
    words = ["demo", "--ratings", str(ratings), "--out", str(tmp_path / "out"), "--epochs", "1"]

    result = runner.invoke(app, words)

    assert 0 == result.exit_code, result.stderr
    for word in ("preprocess", "Predictor", "bottleneck", "RMSE on", "report.html"):
        assert word in result.stdout


def test_a_malformed_line_ends_with_one_line_and_status_1(ratings: Path, tmp_path: Path) -> None:
    with (ratings / "u1.base").open("a") as file:
        file.write("1\t1\n")

    result = runner.invoke(app, ["demo", "--ratings", str(ratings), "--out", str(tmp_path / "out")])

    assert 1 == result.exit_code
    assert 1 == result.stderr.count("\n")
    assert "has 2 columns; it must have 4" in result.stderr
    assert not (tmp_path / "out").exists()
