"""Any Python object with a `predict` as a model: of scikit-learn, LightGBM, torch, or one's own.

The object gets many rows in one call, in the form that it was trained on. In a model directory it
is a pickle (`model.pkl`) whose hash is in the record. A pickle runs code when it is loaded: publish
only your own.
"""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import cloudpickle
import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError, MissingExtra, StageError
from tadka.core.extra import require
from tadka.features.definition import Definition
from tadka.features.features import Features, plan_of
from tadka.features.sparse import SparseRows
from tadka.scoring.directory import check_example, load, saved_class
from tadka.scoring.matrix import columns, to_matrix
from tadka.scoring.model import Model, features_record, scored_example
from tadka.scoring.record import PROTO, read_blob, read_record, write

KIND = "python"
PICKLE = "model.pkl"
Input = Literal["instances", "sparse", "dense"]
Scores = npt.NDArray[np.float64]

_TOLERANCE = 1e-4
"""Of the example's score: libraries add in an order that changes with the machine."""


class ModelError(StageError):
    """A user's model raises, or gives something that is no score."""


def error_text(error: BaseException) -> str:
    """What an exception says, as text that can be encoded, whatever the class of it does.

    Args:
        error: Of the user's code.
    """
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - its __str__ is the user's own code
        text = f"(its __str__ raises {type(broken).__name__})"
    return text.encode("utf-8", "backslashreplace").decode()


class PythonModel:
    """A Python object as a model of a feature class.

    Args:
        object: Anything with the method; it must be possible to pickle it.
        features: The class that makes its rows.
        group: The group of the class's features that it sees; None for all.
        input: What the method gets of B rows: `"instances"`, a list of them; `"sparse"`, a
            `scipy.sparse.csr_array` of shape (B, S) with a column for each slot; `"dense"`, float64
            of shape (B, F) with a column for each feature, as `tadka.scoring.feature_matrix` makes
            it: the number of a Number or Log feature, otherwise the category's code, and NaN where
            it is missing.
        method: Its name; None takes `predict_proba` where the object has it (its `predict` would
            give labels), else `predict`. It gives a probability for each row, shape (B,); of a
            result of shape (B, 2), as `predict_proba` gives it, the second column counts.

    Raises:
        ConfigError: There is no such method, input or group.
    """

    kind = KIND

    def __init__(
        self,
        object: Any,  # noqa: A002 - the word for what it is
        features: type[Features],
        *,
        group: str | None = None,
        input: Input = "instances",  # noqa: A002 - the same
        method: str | None = None,
    ) -> None:
        if input not in get_args(Input):
            raise ConfigError(
                f"Input {input!r} is unknown; it must be one of {', '.join(get_args(Input))}."
            )
        if method is None:
            method = "predict_proba" if hasattr(object, "predict_proba") else "predict"
        self._call = _method_of(object, method)
        self.object = object
        self.features = features
        self.group = group
        self.input = input
        self.method = method
        self.definition: Definition = features.definition(group)
        self.metrics: dict[str, float] = {}
        self.example: bytes | None = None
        self._layout = columns(self.definition) if input == "dense" else None
        if input == "sparse":
            _scipy()

    def inputs(self, rows: Any) -> Any:
        """What the method gets of these rows: to train the object on what serving will see.

        Args:
            rows: An Arrow table, or a sequence of instances or of messages.

        Raises:
            DataError: A row cannot be read.
        """
        if self.input == "instances":
            return self._instances(rows)
        entries = plan_of(self.features, self.group).encode(rows)
        if self._layout is None:
            return _to_csr(entries)
        return to_matrix(entries, self._layout, [f.name for f in self.definition.features])

    def predict(self, rows: Any) -> Scores:
        """Probability of label 1 for each row, by one call of the method.

        Args:
            rows: As `inputs` takes them.

        Returns:
            Shape (B,), each in [0, 1].

        Raises:
            DataError: A row cannot be read.
            ModelError: The method raises, or gives something that is no score of a row.
        """
        scores = self._predict(self.inputs(rows))
        wrong = _wrong(scores)
        if len(wrong):
            raise self._no_score(scores[wrong[0]], f"row {wrong[0]}")
        return scores

    def score(self, row: Features | bytes) -> float:
        """Probability of label 1 for one row.

        Args:
            row: A message, or an instance of the feature class.

        Raises:
            DataError: The row cannot be read.
            ModelError: The method raises, or gives something that is no score.
        """
        return float(self.predict([row])[0])

    def predict_each(self, messages: Sequence[bytes]) -> list[float | Exception]:
        """A score for each message, or why it has none; still one call of the method.

        Args:
            messages: Rows, of which some may be wrong.

        Returns:
            As many scores and errors as there are messages. DataError is about the message, any
            other error about the model.
        """
        errors: dict[int, Exception] = {}
        try:
            inputs = self.inputs(messages)
        except Exception:  # noqa: BLE001 - a property of the user's class may raise anything
            errors = self._unreadable(messages)
            kept = [row for place, row in enumerate(messages) if place not in errors]
            try:
                inputs = self.inputs(kept)
            except Exception as error:  # noqa: BLE001 - such as a property that fails by chance
                return [error] * len(messages)
        num_good = len(messages) - len(errors)
        answers: list[float | Exception] = []
        if num_good:
            try:
                scores = self._predict(inputs)
            except ModelError as error:
                answers = [error] * num_good
            else:
                answers = scores.tolist()
                for place in _wrong(scores):
                    answers[place] = self._no_score(scores[place], "the row")
        good = iter(answers)
        return [errors[n] if n in errors else next(good) for n in range(len(messages))]

    def _unreadable(self, messages: Sequence[bytes]) -> dict[int, Exception]:
        """What is wrong with which message, read one by one."""
        errors: dict[int, Exception] = {}
        for place, message in enumerate(messages):
            try:
                self.inputs([message])
            except Exception as error:  # noqa: BLE001 - a property of the user's class may raise
                errors[place] = error
        return errors

    def _instances(self, rows: Any) -> list[Features]:
        if isinstance(rows, list | tuple):
            return [
                self.features.from_message(row) if isinstance(row, bytes) else row for row in rows
            ]
        return [row for _, row in plan_of(self.features, self.group).instances(rows)]

    def _predict(self, inputs: Any) -> Scores:
        """What the method gives, as float64 of shape (B,)."""
        num_rows = len(inputs) if self.input != "sparse" else inputs.shape[0]
        try:
            result = self._call(inputs)
            if hasattr(result, "detach"):  # a tensor that knows its gradient is no array
                result = result.detach().cpu()  # where what failed on a GPU shows
        except Exception as error:  # the user's own code, of any kind
            raise ModelError(
                f"{self} raises {type(error).__name__}: {error_text(error)}"
            ) from error
        try:
            scores: Scores = np.asarray(result, np.float64)
        except Exception as error:  # the result's own __array__, of any kind
            raise ModelError(
                f"{self} gives {type(result).__name__!r}, which is no array of numbers: "
                f"{error_text(error)}."
            ) from error
        if scores.shape in {(num_rows, 2), (num_rows, 1)}:
            scores = scores[:, -1]
        if scores.shape != (num_rows,):
            raise ModelError(
                f"{self} gives shape {scores.shape} for {num_rows} rows; it must give "
                f"({num_rows},), or ({num_rows}, 2) with the probability in the second column."
            )
        return scores

    def _no_score(self, value: float, row: str) -> ModelError:
        return ModelError(f"{self} gives {float(value)!r} for {row}; it must be from 0 to 1.")

    def __str__(self) -> str:
        """Method and class of the object, for messages."""
        return f"Method {self.method!r} of {type(self.object).__name__!r}"

    def save(self, directory: str | Path, *, replace: bool = False) -> None:
        """Writes a model directory, which `tadka serve` publishes and `load_any` reads.

        Args:
            directory: A local folder to make.
            replace: Whether one that exists may be replaced.

        Raises:
            DataError: The object cannot be pickled, the example row cannot be scored, or the
                directory exists or cannot be written.
            ModelError: The method fails for the example row.
        """
        try:
            pickled = cloudpickle.dumps(self.object)
        except Exception as error:  # __getstate__ of the user's class may raise anything
            raise DataError(
                f"The model's object, a {type(self.object).__name__!r}, cannot be pickled: "
                f"{type(error).__name__}: {error_text(error)}. Keep open files, locks and "
                "connections out of it, or give its class a __getstate__ that leaves them out."
            ) from error
        record: dict[str, Any] = {
            "kind": KIND,
            "settings": {"input": self.input, "method": self.method},
            "features": features_record(self.features, self.group),
            "calibration": None,
            "metrics": self.metrics,
            "curve": [],
            "example": scored_example(self, self.features),
        }
        texts = {PROTO: self.features.proto()}
        write(directory, record, {}, texts, blobs={PICKLE: pickled}, replace=replace)


def score_each(model: Model | PythonModel, messages: Sequence[bytes]) -> list[float | Exception]:
    """A score for each message, or why it has none: one wrong message does not spoil the others.

    Args:
        model: Of any kind, with a feature class.
        messages: Rows as clients send them.

    Returns:
        As many scores and errors as there are messages, in their order. PropertyError and
        ModelError are about the model, any other DataError is about the message.
    """
    if isinstance(model, PythonModel):
        return model.predict_each(messages)
    try:
        results: list[float | Exception] = model.predict(list(messages)).tolist()
    except Exception as error:  # noqa: BLE001 - a property of the user's class may raise anything
        results = [error] if len(messages) == 1 else [_score(model, row) for row in messages]
    for place, found in enumerate(results):
        if isinstance(found, float) and not 0.0 <= found <= 1.0:
            results[place] = ModelError(
                f"The {model.kind} model gives {found!r}; its parameters are too large."
            )
    return results


def _score(model: Model, message: bytes) -> float | Exception:
    try:
        return model.score(message)
    except Exception as error:  # noqa: BLE001 - a property of the user's class may raise anything
        return error


def load_any(directory: str | Path, features: type[Features] | None = None) -> Model | PythonModel:
    """A model of any kind from its directory.

    Args:
        directory: What `Model.save` or `PythonModel.save` wrote.
        features: The feature class; without it the class is imported by the name that was saved.

    Returns:
        A model ready to predict.

    Raises:
        NotFound: There is no such directory, no model in it, or a file is missing.
        ConfigError: The feature class cannot be imported or is another one, or a library that the
            object needs is not installed.
        DataError: A file is damaged, or the example has another score than when it was saved.
    """
    place = Path(directory)
    record = read_record(place)
    if record["kind"] != KIND:
        return load(place, features)
    features = saved_class(place, record["features"], features)
    blobs = record.get("blobs", {})
    if PICKLE not in blobs:
        raise DataError(f"Model {str(place)!r} lists no file {PICKLE!r}. Save it again.")
    loaded = _unpickle(place, read_blob(place, PICKLE, blobs[PICKLE]))
    model = PythonModel(loaded, features, group=record["features"]["group"], **record["settings"])
    model.metrics = record["metrics"]
    try:
        check_example(place, model, record["example"], tolerance=_TOLERANCE)
    except ModelError as error:
        raise DataError(f"Model {str(place)!r} cannot score its example: {error}") from error
    return model


def _unpickle(place: Path, content: bytes) -> Any:
    try:
        return pickle.loads(content)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"Model {str(place)!r} needs the module {error.name!r}, which is not installed here. "
            "Install it, or start where it can be found."
        ) from error
    except Exception as error:  # whatever the code in the pickle does
        raise DataError(
            f"File {str(place / PICKLE)!r} cannot be unpickled: {type(error).__name__}: "
            f"{error_text(error)}. Install the versions of the libraries that it was saved with, "
            "or save it again."
        ) from error


def _method_of(found: Any, method: str) -> Callable[[Any], Any]:
    call = getattr(found, method, None)
    if not callable(call):
        known = [
            name
            for name in ("predict_proba", "predict", "score", "__call__")
            if callable(getattr(found, name, None))
        ]
        raise ConfigError(
            f"The model's object, a {type(found).__name__!r}, has no method {method!r}. It has: "
            f"{', '.join(known) or 'none of the usual ones'}. Name one with method=."
        )
    checked: Callable[[Any], Any] = call
    return checked


def _scipy() -> Any:
    try:
        return require("scipy.sparse", extra="serve")
    except MissingExtra as error:
        raise ConfigError(
            "Input 'sparse' needs scipy, which cannot be imported. Run: pip install scipy."
        ) from error


def _to_csr(entries: SparseRows) -> Any:
    """Entries as scipy's matrix; two of a row in one slot are added, as every model here does."""
    matrix = _scipy().csr_array(
        (entries.values, entries.slots, entries.starts), shape=(len(entries), entries.num_slots)
    )
    matrix.sum_duplicates()
    return matrix


def _wrong(scores: Scores) -> npt.NDArray[np.int64]:
    """Rows whose score is none; NaN is not within the bounds either."""
    return np.flatnonzero(~((scores >= 0.0) & (scores <= 1.0)))
