"""Gradient-boosted trees.

Letters of shapes: B rows of a batch, F features.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.models.define.catalog import register
from tadka.models.define.column import Column
from tadka.models.define.encode import encode
from tadka.models.define.model import Model, Rows
from tadka.models.library.boost import Table, boosted, searched, settings
from tadka.models.train.run import ModelRun, PredictRun
from tadka.storage.publish import publish_file

_FILE = "trees.txt"


@register("trees")
class Trees(Model):
    """Gradient-boosted trees by LightGBM (Ke et al. 2017), their parameters searched by Optuna.

    Training holds all rows in memory, and goes over them once.

    Args:
        target: `binary` for labels 0 and 1, `rating` for numbers.
        fields: Columns that name something: texts or whole numbers.
        numbers: Columns of numbers; one that is missing is a value like others.
        trials: Sets of parameters to try on a part of the rows; 0 takes the given ones.
        share: Of the rows, to judge trials by; all rows are learnt from in the end.
        trees: How many at most.
        learning_rate: What each counts; where the search begins.
        leaves: The most of each; where the search begins.
        threads: Of LightGBM.
    """

    inputs = (
        Column("user", "key", vocabulary=True),
        Column("item", "key", vocabulary=True),
        Column("label", "float32", role="label", values=(0, 1)),
    )
    epochs: int = 1
    target: Literal["binary", "rating"] = "binary"
    fields: tuple[str, ...] = ("user", "item")
    numbers: tuple[str, ...] = ()
    trials: int = 20
    share: float = 0.2
    trees: int = 500
    learning_rate: float = 0.1
    leaves: int = 31
    threads: int = 1

    def __post_init__(self) -> None:
        if not (self.fields or self.numbers):
            raise ConfigError("model.fields and model.numbers are empty; name at least one column.")
        if not 0 < self.share < 1:
            raise ConfigError(f"model.share is {self.share}; it must be above 0 and below 1.")
        fields = (Column(name, "key", vocabulary=True) for name in self.fields)
        numbers = (Column(name, "float64", null_share=1.0) for name in self.numbers)
        values = (0, 1) if self.target == "binary" else ()
        label = Column("label", "float32", role="label", values=values)
        object.__setattr__(self, "inputs", (*fields, *numbers, label))
        object.__setattr__(self, "task", self.target)

    def predict_preprocess(self, rows: Rows) -> Rows:
        """Features, shape (B, F): rows of vocabularies, then numbers."""
        features = [column for column in self.inputs if column.role != "label"]
        encoded = encode(features, self.state, rows)
        return {"x": np.stack([np.asarray(encoded[c.name], np.float64) for c in features], axis=1)}

    def train_preprocess(self, rows: Rows) -> Rows:
        """Features and labels."""
        label_B = np.asarray(rows["label"], np.float32)
        return {**self.predict_preprocess(rows), "label": label_B}

    def train(self, batches: Iterable[Rows], run: ModelRun) -> Any:
        """Searches and boosts, once all rows are there."""
        if run.world_size > 1:
            raise ConfigError(
                f"stream.train.ranks is {run.world_size}; trees are trained by one process. Give "
                "it more model.threads."
            )
        booster: Any = None
        for _ in run.epochs:
            parts = list(batches)
            if booster is not None or not parts:
                continue
            table = Table(
                features=np.concatenate([part["x"] for part in parts]),
                labels=np.concatenate([part["label"] for part in parts]),
                categories=tuple(range(len(self.fields))),
            )
            given, trees = self._settings(), self.trees
            if self.trials:
                given, trees, best = searched(
                    table, given, trials=self.trials, trees=trees, share=self.share
                )
                run.log(**{f"searched_{given['metric']}": best}, trees=trees)
            before = None if run.start is None else run.start / _FILE
            booster = boosted(table, given, trees, before)
            run.validate(booster)
        if booster is None:
            raise DataError("There are no rows to learn trees from.")
        return booster

    def predict(self, batches: Iterable[Rows], run: PredictRun) -> Iterator[Rows]:
        """Scores, and probabilities of a binary target."""
        for rows in batches:
            num_rows = len(rows["x"])
            score_B = run.model.predict(rows["x"], raw_score=True) if num_rows else np.zeros(0)
            if self.target == "rating":
                yield {"score": score_B}
            else:
                chance_B = 0.5 * (1 + np.tanh(score_B / 2))
                yield {"score": score_B, "probability": chance_B}

    def save(self, model: Any, folder: Path) -> None:
        """Writes the trees in LightGBM's text format."""
        with publish_file(str(folder / _FILE)) as file:
            file.write(model.model_to_string().encode())

    def load(self, folder: Path) -> Any:
        """Reads them.

        Raises:
            DataError: They are damaged.
        """
        lightgbm = require("lightgbm", extra="trees")
        try:
            return lightgbm.Booster(model_str=(folder / _FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, lightgbm.basic.LightGBMError) as error:
            raise DataError(
                f"Trees {str(folder / _FILE)!r} cannot be loaded: {error}. Train again."
            ) from error

    def _settings(self) -> dict[str, Any]:
        return settings(
            target=self.target,
            seed=self.seed,
            threads=self.threads,
            learning_rate=self.learning_rate,
            num_leaves=self.leaves,
        )
