"""Who earns more than 50,000 dollars: the adult census, with a search for the best penalty."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd

from tadka.task import Out, Part, Run, Task, check, param, state_of

NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hr_per_week")
WORDS = ("type_employer", "marital", "occupation", "relationship", "race", "sex")


class Census(Task[pd.DataFrame]):
    """People as they were asked."""

    folder: Path = param(default=Path("adult"), significant=False, help="Where the census lies.")
    out = Out("parquet", columns={**dict.fromkeys(NUMBERS, int), "income": str}, min_rows=1_000)

    def fingerprint(self) -> Mapping[str, str]:
        return {"census": state_of(self.folder / "adult.data")}

    def run(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "adult.data")[[*NUMBERS, *WORDS, "income"]]


class Encoded(TypedDict):
    """Numbers for the regression, in three parts of the people."""

    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame


class Encode(Task[Encoded]):
    """Numbers scaled and words as columns of 0 and 1; people fall into the parts at random."""

    census: Census
    out = {"train": Out("parquet"), "valid": Out("parquet"), "test": Out("parquet")}

    def run(self, census: pd.DataFrame, run: Run) -> Encoded:
        numbers = np.log1p(census[list(NUMBERS)])
        numbers = (numbers - numbers.mean()) / numbers.std()
        words = pd.get_dummies(census[list(WORDS)], dtype=float)
        rows = pd.concat([numbers, words], axis=1).assign(
            income=(census["income"] == ">50K").astype(float)
        )
        place = np.random.default_rng(run.seed).random(len(rows))
        return {
            "train": rows[place < 0.6].reset_index(drop=True),
            "valid": rows[(place >= 0.6) & (place < 0.8)].reset_index(drop=True),
            "test": rows[place >= 0.8].reset_index(drop=True),
        }


class Regression(Task[np.ndarray]):
    """Logistic regression by Newton's method."""

    rows: Part[pd.DataFrame]
    penalty: float
    num_steps: int = 12
    out = Out("npy")

    def run(self, rows: pd.DataFrame) -> np.ndarray:
        x, y = matrix(rows)
        weights = np.zeros(x.shape[1])
        for _ in range(self.num_steps):
            p = probability(x, weights)
            gradient = x.T @ (p - y) + self.penalty * weights
            curvature = (x * (p * (1 - p))[:, None]).T @ x + self.penalty * np.eye(len(weights))
            weights = weights - np.linalg.solve(curvature, gradient)
        return weights


class Chosen(TypedDict):
    penalty: float
    log_loss: float
    accuracy: float


class CensusReport(Task[Chosen]):
    """The penalty that is best for people held out, and what it is worth for others."""

    tried: Sequence[Regression]
    valid: Part[pd.DataFrame]
    test: Part[pd.DataFrame]
    out = Out("json", path="reports/census.json")

    def run(
        self, tried: list[np.ndarray], valid: pd.DataFrame, test: pd.DataFrame, run: Run
    ) -> Chosen:
        losses = [log_loss(valid, weights) for weights in tried]
        best = int(np.argmin(losses))
        penalties = [task.penalty for task in self.tried]
        run.plot(pd.DataFrame({"penalty": penalties, "loss": losses}), x="penalty", y="loss")
        x, y = matrix(test)
        right = (probability(x, tried[best]) > 0.5) == (y > 0.5)
        found = Chosen(
            penalty=penalties[best],
            log_loss=log_loss(test, tried[best]),
            accuracy=float(right.mean()),
        )
        run.log(log_loss=found["log_loss"], accuracy=found["accuracy"])
        print(f"penalty {found['penalty']:g}: log loss {found['log_loss']:.4f}")
        return found

    @check
    def is_better_than_a_guess(self, report: Chosen) -> bool:
        return report["accuracy"] > 0.76


def matrix(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    x = rows.drop(columns="income").to_numpy()
    return np.column_stack([np.ones(len(x)), x]), rows["income"].to_numpy()


def probability(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))


def log_loss(rows: pd.DataFrame, weights: np.ndarray) -> float:
    x, y = matrix(rows)
    p = np.clip(probability(x, weights), 1e-12, 1 - 1e-12)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


def census_report(
    folder: Path, penalties: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0)
) -> CensusReport:
    """The whole graph: one regression for each penalty."""
    parts = Encode(census=Census(folder=folder))
    tried = [Regression(rows=parts["train"], penalty=penalty) for penalty in penalties]
    return CensusReport(tried=tried, valid=parts["valid"], test=parts["test"])
