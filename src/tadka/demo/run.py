"""The demo: ratings to Parquet, a training flow, a prediction flow, and what came of it."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tadka.core.error import DataError
from tadka.core.progress import Mode
from tadka.demo.fm import Predictor, Settings, learn_vocabulary, postprocess, preprocess, train
from tadka.demo.movielens import Ratings, generate_ratings, read_ratings, write_ratings
from tadka.storage.format import load, save
from tadka.storage.publish import publish_file
from tadka.stream.flow import read, write
from tadka.stream.page import render_all
from tadka.stream.report import Report
from tadka.stream.stage import Stage, Train

BATCH_ROWS = 512
GROUP_ROWS = 8 * BATCH_ROWS
_MARK = "demo.json"  # says that a folder is this demo's, which may be made anew
_MADE_HERE = ("generated", "ratings", "runs", "predictions")


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo found.

    Args:
        rmse_test: Root mean squared error of the predictions written, on `u1.test`.
        rmse_baseline: The same if every prediction were the mean of the training ratings.
        rows_trained: Rows trained, over all epochs.
        rows_predicted: Predictions written.
        final_loss: Mean squared error in training over the last epoch.
        epochs: Passes over the training rows.
        seconds: Of everything, from reading the text files to the page.
        data: `"ml-100k directory"` or `"generated"`.
        predictions: Folder of Parquet files.
        report: The page with both flows' charts.
        training, prediction: The flows' reports.
    """

    rmse_test: float
    rmse_baseline: float
    rows_trained: int
    rows_predicted: int
    final_loss: float
    epochs: int
    seconds: float
    data: str
    predictions: str
    report: str
    training: Report
    prediction: Report

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON has it; of the reports, the stages."""
        stages = [
            {"flow": flow, **stage}
            for flow, report in (("train", self.training), ("predict", self.prediction))
            for stage in report.to_dict()["stages"]
        ]
        return {
            "rmse_test": self.rmse_test,
            "rmse_baseline": self.rmse_baseline,
            "rows_trained": self.rows_trained,
            "rows_predicted": self.rows_predicted,
            "final_loss": self.final_loss,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "data": self.data,
            "predictions": self.predictions,
            "report": self.report,
            "bottlenecks": {
                "train": self.training.bottleneck,
                "predict": self.prediction.bottleneck,
            },
            "stages": stages,
        }


def run_movielens(
    out: str | Path,
    *,
    ratings: str | Path | None = None,
    epochs: int = 8,
    replicas: int = 2,
    seed: int = 0,
    progress: Mode = "auto",
    say: Callable[[str], None] = lambda _: None,
) -> DemoResult:
    """Trains a Factorization Machine on film ratings in one flow and predicts in a second.

    Args:
        out: Local folder for everything made; one that an earlier demo made is made anew.
        ratings: Folder in the layout of ml-100k; None generates ratings.
        epochs: Passes over the training rows, at least 1.
        replicas: Processes of the stage `preprocess`, at least 1.
        seed: Of the order, the first weights, and the generated ratings.
        progress: As for `Flow.run`.
        say: Is told in one sentence what happens next.

    Returns:
        Errors, rows, times, and where the predictions and the page are.

    Raises:
        NotFound: The ratings folder or one of its files is missing.
        DataError: The ratings are malformed, or `out` holds something else.
        StageError: A stage failed.
    """
    start_s = time.monotonic()
    folder = Path(out)
    found = None if ratings is None else read_ratings(ratings)  # before anything is written
    _claim(folder)
    if found is None:
        generate_ratings(folder / "generated", seed=seed)
        found = read_ratings(folder / "generated")
        say(f"No ratings folder was named: made up ratings in {folder / 'generated'}.")
    train_uri, test_uri = str(folder / "ratings" / "train"), str(folder / "ratings" / "test")
    write_ratings(found.train, train_uri, num_files=4, group_rows=GROUP_ROWS, seed=seed)
    write_ratings(found.test, test_uri, num_files=2, group_rows=GROUP_ROWS)
    vocabulary = learn_vocabulary(found.train, seed=seed)
    encode = Stage(partial(preprocess, vocabulary=vocabulary), replicas=replicas)
    model_uri = str(folder / "runs" / "train" / "machine.pt")

    say(f"Training on {len(found.train):,} ratings, {epochs} epochs.")
    fit = partial(train, vocabulary=vocabulary, settings=Settings(seed=seed), model_uri=model_uri)
    training = (
        read(train_uri, batch_rows=BATCH_ROWS, shuffle=True, seed=seed)
        | encode
        | Train(fit, epochs=epochs)
    ).run(directory=folder / "runs" / "train", progress=progress)

    say(f"Predicting {len(found.test):,} ratings.")
    prediction = (
        read(test_uri, batch_rows=BATCH_ROWS, seed=seed)
        | encode
        | Stage(Predictor, init={"model_uri": model_uri})
        | Stage(postprocess)
        | write(folder / "predictions")
    ).run(directory=folder / "runs" / "predict", progress=progress)

    rmse, baseline, rows = judge(prediction.outputs, vocabulary.mean_rating)
    result = DemoResult(
        rmse_test=rmse,
        rmse_baseline=baseline,
        rows_trained=training.rows_out,
        rows_predicted=rows,
        final_loss=float(training.result["final_loss"]),
        epochs=epochs,
        seconds=time.monotonic() - start_s,
        data="generated" if ratings is None else "ml-100k directory",
        predictions=str(folder / "predictions"),
        report=str(folder / "report.html"),
        training=training,
        prediction=prediction,
    )
    page = render_all(
        {"Training": training.to_dict(), "Prediction": prediction.to_dict()},
        title="tadka demo: film ratings",
        facts=_facts(result, found),
    )
    with publish_file(result.report) as file:
        file.write(page.encode())
    save(result.to_dict(), str(folder / _MARK))
    return result


def judge(outputs: list[str], mean_rating: float) -> tuple[float, float, int]:
    """Errors of written predictions.

    Args:
        outputs: Parquet files with `rating` and `prediction`.
        mean_rating: The prediction of the baseline.

    Returns:
        Root mean squared error of the predictions, of the baseline, and the number of rows.

    Raises:
        DataError: There is no prediction.
    """
    tables = [load(uri) for uri in outputs]
    columns = [
        np.concatenate([table[name].to_numpy() for table in tables]) if tables else np.empty(0)
        for name in ("rating", "prediction")
    ]
    rating_N, prediction_N = (column.astype(np.float64) for column in columns)
    if not len(rating_N):
        raise DataError("The prediction flow wrote no rows; there is nothing to judge. Run again.")
    return (
        float(np.sqrt(np.mean((prediction_N - rating_N) ** 2))),
        float(np.sqrt(np.mean((mean_rating - rating_N) ** 2))),
        len(rating_N),
    )


def _claim(folder: Path) -> None:
    """Makes the folder ready; what an earlier demo left in it is removed, nothing else ever."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"Output {str(folder)!r} is a file; it must be a folder. Name another.")
    if not folder.is_dir() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
    elif not (folder / _MARK).is_file():
        first = min(path.name for path in folder.iterdir())
        raise DataError(
            f"Output folder {str(folder)!r} holds {first!r} and no {_MARK}, so no demo made it. "
            "Name an empty or a new folder."
        )
    for name in _MADE_HERE:
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "report.html").unlink(missing_ok=True)
    (folder / _MARK).write_text(json.dumps({"is_complete": False}), encoding="utf-8")


def _facts(result: DemoResult, ratings: Ratings) -> dict[str, str]:
    return {
        "RMSE on the test ratings": f"{result.rmse_test:.4f}",
        "RMSE of the mean rating": f"{result.rmse_baseline:.4f}",
        "training ratings": f"{len(ratings.train):,}",
        "test ratings": f"{len(ratings.test):,}",
        "data": result.data,
        "time of everything": f"{result.seconds:.1f} s",
    }
