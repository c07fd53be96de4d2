"""A model that has been trained: its folder, prediction from it, its vectors.

RUN/model/model.json    name, parameters, columns and code; written last
RUN/model/state/        vocabularies and arrays
RUN/model/weights/      what `Model.save` wrote
"""

import dataclasses
import json
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tadka.core.config import load_config
from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.core.locate import user_module
from tadka.models.define.catalog import get
from tadka.models.define.model import Model, Rows
from tadka.models.define.state import State
from tadka.models.train.run import PredictRun
from tadka.storage.publish import publish_directory, publish_file
from tadka.stream.codec import num_rows
from tadka.stream.column import to_numpy
from tadka.stream.stage import Stage

if TYPE_CHECKING:
    from tadka.models.train.config import StreamConfig

MODEL, STATE, WEIGHTS, RECORD = "model", "state", "weights", "model.json"
_KEPT = "kept."


class Learnt(Protocol):
    """A model and what it has learnt: `Trained`, or one in the making."""

    @property
    def model(self) -> Model:
        """With its state."""

    @property
    def learnt(self) -> Any:
        """What its `train` has returned, or would now."""


class Trained:
    """A trained model, ready to predict.

    Args:
        folder: `RUN/model`.
        model: With its state.
        record: What `model.json` says.
    """

    def __init__(self, folder: Path, model: Model, record: Mapping[str, Any]) -> None:
        self.folder = folder
        self.model = model
        self.record = record
        self._learnt: Any = None

    def __reduce__(self) -> tuple[Any, ...]:  # what it has learnt is read again
        return Trained, (self.folder, self.model, self.record)

    @property
    def learnt(self) -> Any:
        """What `Model.train` returned, such as a network; read when it is first asked for."""
        if self._learnt is None:
            self._learnt = self.model.load(self.folder / WEIGHTS)
        return self._learnt

    def predict(self, rows: Any, *, batch_rows: int = 4096) -> Any:
        """Outputs for a table, in its order.

        Args:
            rows: An Arrow table, or columns by name; with the model's columns, labels apart.
            batch_rows: Rows that are worked at a time.

        Returns:
            An Arrow table with one row for each of `rows`: the model's outputs.

        Raises:
            DataError: A column is absent, or the model gave another number of rows.
        """
        pa = require("pyarrow", extra="arrow")
        table = rows if isinstance(rows, pa.Table) else pa.table(dict(rows))
        predict = Predictor(self)
        found = []
        for start in range(0, max(len(table), 1), batch_rows):
            part = table.slice(start, batch_rows)
            batch = {name: to_numpy(part[name]) for name in table.column_names}
            found.append(finish(self.model, predict(prepare(self.model, (), batch))))
        return pa.concat_tables(
            [pa.table({name: _to_arrow(pa, v) for name, v in each.items()}) for each in found]
        )

    def vectors(self) -> Mapping[str, np.ndarray]:
        """Vectors by vocabulary, shape (size, dim); row 0 stands for the unseen."""
        return self.model.vectors(self.learnt)

    def stages(self, keep: tuple[str, ...], resources: "StreamConfig") -> list[Stage]:
        """The three stages of a flow that predicts.

        Args:
            keep: Columns that go along with the outputs.
            resources: Of each.
        """
        return [
            Stage(
                partial(prepare, self.model, keep),
                name="preprocess",
                **resources.options("preprocess"),
            ),
            Stage(
                Predictor,
                init={"trained": self},
                name="predict",
                **resources.options("predict"),
            ),
            Stage(
                partial(finish, self.model), name="postprocess", **resources.options("postprocess")
            ),
        ]


def write_trained(folder: Path, model: Model, learnt: Any, origin: Mapping[str, Any]) -> None:
    """Writes what training has given; `load` finds it whole or not at all.

    Args:
        folder: `RUN/model`, with the state in it.
        model: With its state.
        learnt: What `Model.train` returned.
        origin: `run`, its id; `module`, where the model is registered; `code`, its hash.
    """
    with publish_directory(folder / WEIGHTS, replace=True) as aside:
        model.save(learnt, Path(aside))
    record = {
        "tadka": 1,
        **origin,
        "name": model.name,
        "task": model.task,
        "class": f"{type(model).__module__}:{type(model).__qualname__}",
        "params": model.params,
        "inputs": [dataclasses.asdict(column) for column in model.inputs],
    }
    with publish_file(str(folder / RECORD)) as file:
        file.write(json.dumps(record, indent=1, default=str).encode())


def read_trained(folder: str | Path) -> Trained:
    """A trained model from its folder.

    Args:
        folder: Of a run, or `RUN/model`.

    Raises:
        NotFound: There is none.
        DataError: It is damaged.
        ConfigError: Its class is not known here.
    """
    path = Path(folder).absolute()
    if not (path / RECORD).exists() and (path / MODEL).is_dir():
        path /= MODEL
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(
            f"Folder {str(folder)!r} holds no trained model: its training has not ended, or it is "
            "another folder. `tadka model runs` shows all."
        ) from error
    except ValueError as error:
        raise DataError(f"File {str(path / RECORD)!r} is damaged: {error}.") from error
    return Trained(path, _make(record).bound(State(path / STATE)), record)


def _make(record: Mapping[str, Any]) -> Model:
    if record["module"]:
        user_module(record["module"], "my_models.py")
    try:
        cls = get(record["name"])
    except ConfigError as error:
        raise ConfigError(
            f"The run's model {record['name']!r} is not known here; its class was "
            f"{record['class']!r}. Import that module first."
        ) from error
    return load_config(cls, record["params"], name=f"Model {record['name']!r}")


def prepare(model: Model, keep: tuple[str, ...], rows: Rows) -> dict[str, Any]:
    """The stage before prediction: `predict_preprocess`, and the columns that go along.

    Args:
        model: With its state.
        keep: Columns that go along.
        rows: Of the input.

    Raises:
        DataError: The function gave no dict.
    """
    encoded = model.predict_preprocess(rows)
    if not isinstance(encoded, dict):
        raise DataError(
            f"predict_preprocess of model {model.name!r} gave a {type(encoded).__name__}; it must "
            "give one dict of columns for each batch."
        )
    return {**encoded, **{_KEPT + name: rows[name] for name in keep}}


def finish(model: Model, rows: Rows) -> dict[str, Any]:
    """The stage after prediction: `postprocess`, and the columns that went along.

    Args:
        model: With its state.
        rows: From `Predictor`.
    """
    own = {name: value for name, value in rows.items() if not name.startswith(_KEPT)}
    kept = {name[len(_KEPT) :]: v for name, v in rows.items() if name.startswith(_KEPT)}
    return {**kept, **model.postprocess(own)}


class Predictor:
    """`Model.predict` as a function of one batch, though it is a generator over all of them.

    So a model may do before the first batch what it needs once.

    Args:
        trained: The model.
    """

    def __init__(self, trained: Learnt) -> None:
        self._name = trained.model.name
        self._inbox: deque[dict[str, Any]] = deque()
        self._outputs = iter(trained.model.predict(self._feed(), PredictRun(trained.learnt)))

    def _feed(self) -> Iterator[dict[str, Any]]:
        while self._inbox:
            yield self._inbox.popleft()
        raise DataError(
            f"predict of model {self._name!r} asked for a batch before it gave the outputs of the "
            "last one; it must yield once for each batch."
        )

    def __call__(self, batch: Rows) -> dict[str, Any]:
        """Outputs of a batch from `prepare`.

        Raises:
            DataError: They are not as many as its rows, or none.
        """
        wanted = num_rows(batch)
        kept = {name: value for name, value in batch.items() if name.startswith(_KEPT)}
        own = {name: value for name, value in batch.items() if name not in kept}
        self._inbox.append(own)
        found = next(self._outputs, None)
        if found is None:
            raise DataError(f"predict of model {self._name!r} ended before the last batch.")
        for name, value in found.items():
            if len(value) != wanted:
                raise DataError(
                    f"predict of model {self._name!r} gave {len(value)} entries of {name!r} for "
                    f"{wanted} rows; it must give one for each."
                )
        return {**found, **kept}


def _to_arrow(pa: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim == 2:
        flat = pa.array(np.ascontiguousarray(value).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, value.shape[1])
    return value
