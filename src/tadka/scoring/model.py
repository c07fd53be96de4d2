"""What every model is: parameters of one kind, fed by one feature class."""

import base64
import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.features.definition import Definition
from tadka.features.features import Features, plan_of
from tadka.features.sparse import SparseRows
from tadka.scoring.backend import make_scorer
from tadka.scoring.calibration import CALIBRATIONS, Calibration
from tadka.scoring.example import Examples
from tadka.scoring.metric import auc, calibration_ratio, log_loss
from tadka.scoring.precision import to_precision
from tadka.scoring.record import CALIBRATION, PROTO, write
from tadka.scoring.training import Epoch

Array = npt.NDArray[Any]


class Model:
    """A trained model, or one that `fit` will train.

    Args:
        features: The class that makes its rows; None for a model of plain `SparseRows`.
        group: The group of the class's features that it uses; None for all.
    """

    kind: ClassVar[str]
    """Name of the kind in a model directory and in a configuration."""

    def __init__(self, features: type[Features] | None = None, *, group: str | None = None) -> None:
        if group is not None and features is None:
            raise ConfigError(f"Group {group!r} was given without a feature class.")
        self.features = features
        self.group = group
        self.definition: Definition | None = features.definition(group) if features else None
        self.arrays: dict[str, Array] = {}
        self.calibration: Calibration | None = None
        self.metrics: dict[str, float] = {}
        self.curve: list[Epoch] = []
        self.example: bytes | None = None
        self._scorer: Any = None

    # What a kind says of itself.

    def settings(self) -> dict[str, Any]:
        """Values that its constructor takes besides features and group, for a model directory."""
        return {}

    def make_kernel(self) -> Any:
        """The forward pass over `self.arrays`: an object with `margins(rows)`."""
        raise NotImplementedError

    @property
    def num_slots(self) -> int:
        """S: slots that the parameters have."""
        raise NotImplementedError

    # What all have in common.

    @property
    def scorer(self) -> Any:
        """The whole way from a message to a score (`Scorer`); None before it has parameters."""
        return self._scorer

    def take(self, arrays: Mapping[str, Array]) -> Self:
        """Makes these the parameters.

        Args:
            arrays: By name, as the kind wants them; kept, not copied.

        Returns:
            Itself.

        Raises:
            DataError: A shape, type or value is wrong.
        """
        self.arrays = dict(arrays)
        kernel = self.make_kernel()
        if self.definition is not None:
            # A scorer of messages trusts these: what is checked here is not checked row by row.
            for what, mine, wanted in (
                ("slots", self.num_slots, self.definition.num_slots),
                ("features", kernel.num_features, self.definition.num_features),
            ):
                if mine != wanted and not (what == "features" and mine == 0):
                    raise DataError(
                        f"The parameters are for {mine:,} {what} and {self.definition.name!r} has "
                        f"{wanted:,}; they do not belong together."
                    )
        plan = plan_of(self.features, self.group) if self.features is not None else None
        self._scorer = make_scorer(kernel, plan, self.calibration)
        return self

    def calibrate(self, examples: Any, method: str = "platt", **columns: Any) -> Self:
        """Fits the last step, which turns margins into probabilities that come true.

        Args:
            examples: Examples that the model was not trained on, or a table of them.
            method: `"platt"` (two numbers; for hundreds of rows) or `"isotonic"` (a monotone
                curve; for many thousands).
            columns: `label` and `weight` of `Examples.read`, for a table.

        Returns:
            Itself.

        Raises:
            ConfigError: The method is unknown.
            DataError: The examples cannot be read, or have one class only.
        """
        if method not in CALIBRATIONS:
            raise ConfigError(
                f"Calibration {method!r} is unknown; it must be one of {', '.join(CALIBRATIONS)}."
            )
        judged = self.examples(examples, **columns)
        margins = self.margins(judged.rows)
        self.calibration = CALIBRATIONS[method].fit(margins, judged.labels, judged.weights)
        return self.take(self.arrays)

    def to_precision(self, precision: str) -> Self:
        """A copy whose parameters take half the memory; biases stay as they are.

        Args:
            precision: `"float32"`, `"float16"` (11 significant bits, up to 65504) or `"bfloat16"`
                (8 bits, the range of float32).

        Returns:
            A model of the same kind.

        Raises:
            ConfigError: The precision is unknown.
            DataError: A parameter is too large for it.
        """
        other = copy.copy(self)
        return other.take(
            {
                name: array if "bias" in name else to_precision(array, precision)
                for name, array in self.arrays.items()
            }
        )

    def examples(self, source: Any, **settings: Any) -> Examples:
        """Examples of this model's features.

        Args:
            source: Examples, which are given back, or what `Examples.read` takes.
            settings: As `Examples.read` takes them.

        Returns:
            The examples.

        Raises:
            ConfigError: It is a table, and the model has no feature class to read it with.
        """
        if isinstance(source, Examples):
            if settings:
                raise ConfigError(
                    f"{', '.join(settings)} name columns of a table, but Examples were given, "
                    "which have their labels already."
                )
            return source
        if self.features is None:
            raise ConfigError(
                "A table needs a feature class to be encoded. Give the model one, or pass Examples."
            )
        return Examples.read(source, self.features, group=self.group, **settings)

    def margins(self, rows: Any, *, first_row: int = 0) -> npt.NDArray[np.float64]:
        """Log-odds before the sigmoid and the calibration.

        Args:
            rows: As `predict` takes them.
            first_row: Number of the first row, for messages.

        Returns:
            Shape (B,).
        """
        margins: npt.NDArray[np.float64] = self._ready().margins(self._encoded(rows, first_row))
        return margins

    def predict(self, rows: Any, *, first_row: int = 0) -> npt.NDArray[np.float64]:
        """Probability of label 1 for each row.

        Args:
            rows: An Arrow table, a sequence of instances of the feature class or of messages, or
                SparseRows.
            first_row: Number of the first row, for messages.

        Returns:
            Shape (B,), each in [0, 1]. A row's score does not depend on the rows beside it.

        Raises:
            ConfigError: The model is not trained.
            DataError: A row cannot be encoded, or SparseRows are not of this model's width.
        """
        scores: npt.NDArray[np.float64] = self._ready().scores(
            self.margins(rows, first_row=first_row)
        )
        return scores

    def score(self, row: "Features | bytes") -> float:
        """Probability of label 1 for one row: the fast way for one request.

        Args:
            row: A message, or an instance of the feature class.

        Returns:
            Equal to the last bit to what `predict` gives for the row.

        Raises:
            ConfigError: The model is not trained, or has no feature class.
            DataError: The row cannot be encoded.
        """
        if self.features is None:
            raise ConfigError("The model has no feature class; use predict with SparseRows.")
        message = row if isinstance(row, bytes) else row.to_message()
        score: float = self._ready().score(message)
        return score

    def save(self, directory: str | Path, *, replace: bool = False) -> None:
        """Writes a model directory, which `load` reads; it appears complete or not at all.

        Args:
            directory: A local folder to make.
            replace: Whether one that exists may be replaced.

        Raises:
            ConfigError: The model is not trained.
            DataError: A parameter is not finite, the directory exists or cannot be written, or the
                example row cannot be scored.
        """
        self._ready()
        arrays = dict(self.arrays)
        record: dict[str, Any] = {
            "kind": self.kind,
            "settings": self.settings(),
            "features": None,
            "calibration": None,
            "metrics": self.metrics,
            "curve": [asdict(epoch) for epoch in self.curve],
            "example": None,
        }
        texts = {}
        if self.calibration is not None:
            record["calibration"] = self.calibration.method
            arrays[CALIBRATION] = self.calibration.to_array()
        if self.features is not None and self.definition is not None:
            texts[PROTO] = self.features.proto()
            record["example"] = scored_example(self, self.features)
            record["features"] = features_record(self.features, self.group)
        write(directory, record, arrays, texts, replace=replace)

    def evaluate(self, examples: Any, **columns: Any) -> dict[str, float]:
        """How good the scores are.

        Args:
            examples: Examples, or a table of them.
            columns: `label` and `weight` of `Examples.read`, for a table.

        Returns:
            `rows`, `log_loss`, `auc` and `calibration` (mean score over mean label; 1 is right).

        Raises:
            ConfigError: The model is not trained.
            DataError: The examples cannot be read.
        """
        judged = self.examples(examples, **columns)
        scores = self.predict(judged.rows)
        labels = np.asarray(judged.labels > 0, np.float64)
        return {
            "rows": len(judged),
            "log_loss": log_loss(labels, scores, judged.weights),
            "auc": auc(labels, scores, judged.weights),
            "calibration": calibration_ratio(labels, scores, judged.weights),
        }

    def _ready(self) -> Any:
        if self._scorer is None:
            raise ConfigError(f"This {type(self).__name__} has no parameters yet. Call fit first.")
        return self._scorer

    def _encoded(self, rows: Any, first_row: int) -> SparseRows:
        if not isinstance(rows, SparseRows):
            if self.features is None:
                raise ConfigError(
                    "The model has no feature class; it takes SparseRows only, not "
                    f"{type(rows).__name__!r}."
                )
            return plan_of(self.features, self.group).encode(rows, first_row=first_row)
        if rows.num_slots > self.num_slots:
            raise DataError(
                f"The rows have {rows.num_slots:,} slots and the model {self.num_slots:,}."
            )
        return rows


def features_record(features: type[Features], group: str | None) -> dict[str, Any]:
    """What `model.json` says of the feature class of a model.

    Args:
        features: The class.
        group: The group of its features that the model uses; None for all.
    """
    definition = features.definition(group)
    return {
        "class": f"{features.__module__}:{features.__qualname__}",
        "group": group,
        "version": definition.version,
        "hash": definition.hash,
        "definition": definition.to_dict(),
    }


def scored_example(model: Any, features: type[Features]) -> dict[str, str]:
    """A row with its score, by which loading and other programs check the whole path.

    Args:
        model: Anything with `example` and `score(message)`.
        features: Its feature class.

    Raises:
        DataError: The row cannot be scored.
    """
    message = model.example or b""
    try:
        score = model.score(message)
    except DataError as error:
        raise DataError(
            f"The example row of the model cannot be scored: {error} Set model.example to the "
            "message of a typical row."
        ) from error
    return {
        "message": base64.b64encode(message).decode(),
        "row": repr(features.from_message(message)),
        "score": score.hex(),
    }
