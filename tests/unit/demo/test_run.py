import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import DataError, NotFound
from tadka.demo.movielens import generate_ratings
from tadka.demo.run import judge, run_movielens


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    generate_ratings(folder, seed=1, num_users=60, num_items=50, num_ratings=2000)
    return folder


@pytest.mark.timeout(240)
def test_both_flows_run_and_every_test_rating_is_predicted_once(
    ratings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    for _ in range(2):  # the second run makes the folder of the first anew
        result = run_movielens(out, ratings=ratings, epochs=2, replicas=1, progress="none")

    assert 2 * len((ratings / "u1.base").read_text().splitlines()) == result.rows_trained
    written = pa.concat_tables(
        [pq.read_table(file) for file in (out / "predictions").glob("*.parquet")]
    )
    asked = [
        tuple(map(int, line.split("\t")[:3]))
        for line in (ratings / "u1.test").read_text().splitlines()
    ]
    assert len(asked) == result.rows_predicted
    assert sorted(asked) == sorted(
        (row["user_id"], row["item_id"], row["rating"]) for row in written.to_pylist()
    )
    assert result.rmse_test < result.rmse_baseline
    assert "<h2>Prediction</h2>" in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "demo.json").read_text()) == json.loads(json.dumps(result.to_dict()))
    assert {"train", "predict"} == {stage["flow"] for stage in result.to_dict()["stages"]}


def test_bad_ratings_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        run_movielens(tmp_path / "out", ratings=tmp_path / "none", progress="none")

    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused_and_untouched(ratings: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no demo made it"):
        run_movielens(ratings, ratings=ratings, progress="none")

    assert ["u.item", "u.user", "u1.base", "u1.test"] == sorted(p.name for p in ratings.iterdir())


def test_a_file_in_the_place_of_the_folder_is_named(ratings: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")

    with pytest.raises(DataError, match="out' is a file; it must be a folder"):
        run_movielens(tmp_path / "out", ratings=ratings, progress="none")


def test_errors_are_root_mean_squares(tmp_path: Path) -> None:
    file = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"rating": [1.0, 5.0], "prediction": [2.0, 3.0]}), file)

    rmse, baseline, rows = judge([file], mean_rating=3.0)

    assert (2.5**0.5, 2.0, 2) == (rmse, baseline, rows)


def test_no_predictions_are_an_error() -> None:
    with pytest.raises(DataError, match="wrote no rows"):
        judge([], mean_rating=3.0)
