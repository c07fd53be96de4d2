"""Stars that people give films: MovieLens 100k, from ratings to an error on films not seen."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tadka.task import Out, Run, Task, check, param, state_of

RATING = {"user": int, "film": int, "stars": int, "at": int}


def read_ratings(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, sep="\t", names=list(RATING))


class Ratings(Task[pd.DataFrame]):
    """One published half of the ratings: who gave which film how many stars, and when."""

    half: str
    folder: Path = param(default=Path("ml-100k"), significant=False, help="Where MovieLens lies.")
    out = Out("parquet", columns=RATING, min_rows=1_000)

    def fingerprint(self) -> Mapping[str, str]:
        return {"ratings": state_of(self.folder / f"u1.{self.half}")}

    def run(self) -> pd.DataFrame:
        return read_ratings(self.folder / f"u1.{self.half}")

    @check
    def has_stars_of_one_to_five(self, frame: pd.DataFrame) -> bool:
        return bool(frame["stars"].between(1, 5).all())


class Films(Task[pd.DataFrame]):
    """Title, year and genres of each film."""

    folder: Path = param(default=Path("ml-100k"), significant=False, help="Where MovieLens lies.")
    out = Out("parquet", columns={"film": int, "title": str, "year": float | None}, min_rows=100)

    def fingerprint(self) -> Mapping[str, str]:
        return {"films": state_of([self.folder / "u.item", self.folder / "u.genre"])}

    def run(self) -> pd.DataFrame:
        lines = (self.folder / "u.genre").read_text("latin-1").split()
        genres = [line.partition("|")[0] for line in lines]
        names = ["film", "title", "released", "video", "url", *genres]
        items = pd.read_csv(self.folder / "u.item", sep="|", names=names, encoding="latin-1")
        year = items["released"].str[-4:].astype(float)
        return items[["film", "title", *genres]].assign(year=year)


class Tendencies(Task[pd.DataFrame]):
    """How much more than the mean each person, or each film, gives or gets; shrunk to 0 by few."""

    ratings: Ratings
    of: str
    strength: float = 5.0
    out = Out("parquet", columns={"count": int, "tendency": float}, min_rows=10)

    def run(self, ratings: pd.DataFrame) -> pd.DataFrame:
        above = ratings["stars"] - ratings["stars"].mean()
        by = above.groupby(ratings[self.of])
        tendency = by.sum() / (by.size() + self.strength)
        return pd.DataFrame({"count": by.size(), "tendency": tendency}).reset_index()


class Features(Task[pd.DataFrame]):
    """One row a rating: what is known of the person and of the film, and the stars."""

    ratings: Ratings
    films: Films
    people: Tendencies
    liked: Tendencies
    out = Out("parquet", min_rows=1_000)

    def run(
        self,
        ratings: pd.DataFrame,
        films: pd.DataFrame,
        people: pd.DataFrame,
        liked: pd.DataFrame,
    ) -> pd.DataFrame:
        of_person = people.set_index("user").add_prefix("person_")
        of_film = liked.set_index("film").add_prefix("film_")
        rows = (
            ratings[["user", "film", "stars"]]
            .join(of_person, on="user")
            .join(of_film, on="film")
            .merge(films.drop(columns="title"), "left", "film")
        )
        year = rows["year"].fillna(rows["year"].median()) - 1990
        rows = rows.assign(year=year / 10, both=rows["person_tendency"] * rows["film_tendency"])
        return rows.fillna(0.0)


class Weights(Task[np.ndarray]):
    """Ridge regression of the stars."""

    features: Features
    penalty: float = 10.0
    out = Out("npy")

    def run(self, features: pd.DataFrame, run: Run) -> np.ndarray:
        x, y = matrix(features)
        ridge = self.penalty * np.eye(x.shape[1])
        ridge[0, 0] = 0.0
        weights = np.linalg.solve(x.T @ x + ridge, x.T @ y)
        run.log(rmse=float(np.sqrt(np.mean((x @ weights - y) ** 2))))
        return weights


class FilmReport(Task[dict[str, float]]):
    """How far predictions are from the stars of the other half."""

    weights: Weights
    test: Features
    out = Out("json", path="reports/films.json")

    def run(self, weights: np.ndarray, test: pd.DataFrame, run: Run) -> dict[str, float]:
        x, y = matrix(test)
        found = np.clip(x @ weights, 1, 5)
        rmse = float(np.sqrt(np.mean((found - y) ** 2)))
        mean_alone = float(np.sqrt(np.mean((weights[0] - y) ** 2)))
        run.log(rmse=rmse)
        print(f"rmse {rmse:.4f} on {len(y):,} ratings")
        return {"rmse": rmse, "rmse_of_mean": mean_alone}

    @check(severity="warn")
    def is_better_than_the_mean(self, report: dict[str, float]) -> bool:
        return report["rmse"] < report["rmse_of_mean"]


def matrix(features: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    known = features.drop(columns=["user", "film", "stars"])
    x = np.column_stack([np.ones(len(known)), known.to_numpy(dtype=float)])
    return x, features["stars"].to_numpy(dtype=float)


def film_report(folder: Path, penalty: float = 10.0) -> FilmReport:
    """The whole graph: both halves see what people and films are like in the first."""
    base = Ratings(half="base", folder=folder)
    films = Films(folder=folder)
    people = Tendencies(ratings=base, of="user")
    liked = Tendencies(ratings=base, of="film")
    train = Features(ratings=base, films=films, people=people, liked=liked)
    test = Features(
        ratings=Ratings(half="test", folder=folder), films=films, people=people, liked=liked
    )
    return FilmReport(weights=Weights(features=train, penalty=penalty), test=test)
