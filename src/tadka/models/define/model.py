"""What every model is: five functions, the columns it takes in, and its parameters.

`register` puts a class into the catalog, by the name that configurations use.
"""

import copy
import dataclasses
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np

from tadka.core.error import ConfigError
from tadka.models.define.column import Column
from tadka.models.define.encode import encode
from tadka.models.define.example import example_rows
from tadka.models.define.state import State
from tadka.storage.publish import publish_file

Rows = Mapping[str, Any]
"""Columns of some rows: arrays of NumPy, and of Arrow for texts and lists; one entry a row."""

Task = Literal["binary", "rating", "class", "ranking"]


class Prepared(Protocol):
    """Data as `Model.prepare` sees them: see `tadka.models.data.Data`."""

    def num_rows(self, part: str) -> int:
        """Rows of a part, 0 where there is none."""

    def read(self, part: str, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """All rows of a part."""

    def scan(
        self, part: str, columns: Sequence[str] | None = None, batch_rows: int = 65536
    ) -> Iterator[dict[str, Any]]:
        """The same, by batches."""

    def table(self, name: str) -> Any:
        """A further table, as Arrow has it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A model: five functions over batches, of which three have a default.

    Annotated fields of a subclass are its parameters, and keys of the section `model` of a
    configuration. `self.state` has the vocabularies, and what `prepare` has made. `inputs` are the
    columns that it takes in, and `task` says which metrics it goes by; where it ranks,
    `user_column` and `item_column` say what for whom.

    Args:
        epochs: Passes over the training rows.
        batch_rows: Rows of a batch.
        seed: Of the order of rows and of everything random in the model.
    """

    name: ClassVar[str] = ""
    task: ClassVar[Task] = "binary"
    inputs: ClassVar[Sequence[Column]] = ()
    user_column: ClassVar[str] = "user"
    item_column: ClassVar[str] = "item"

    epochs: int = 10
    batch_rows: int = 1024
    seed: int = 0

    @property
    def state(self) -> State:
        """Vocabularies and arrays.

        Raises:
            ConfigError: The model has none yet: it has not been trained or loaded.
        """
        found = self.__dict__.get("_state")
        if found is None:
            raise ConfigError(
                f"Model {self.name!r} has no state yet: vocabularies are made by train(), and "
                "load() brings them back."
            )
        return found  # type: ignore[no-any-return]

    def bound(self, state: State) -> Self:
        """The same model with a state.

        Args:
            state: Vocabularies and arrays.
        """
        other = copy.copy(self)
        other.__dict__["_state"] = state
        return other

    @property
    def params(self) -> dict[str, Any]:
        """Its parameters by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def label_column(self) -> str | None:
        """Name of the column whose role is `label`; None where the model has none."""
        return next((column.name for column in self.inputs if column.role == "label"), None)

    # -- the five functions -------------------------------------------------------------------

    def train_preprocess(self, rows: Rows) -> Any:
        """Rows to a batch of training, in processes without the model's weights.

        A second parameter named `rng` is given a generator that depends on the seed and the batch
        alone.

        Args:
            rows: Columns of `inputs`.

        Returns:
            A batch, a list or generator of batches, or None to leave the rows out.
        """
        return encode(self.inputs, self.state, rows)

    def predict_preprocess(self, rows: Rows) -> Any:
        """Rows to a batch of prediction: as many rows, in the same order.

        Args:
            rows: Columns of `inputs`; those whose role is `label` may be absent.
        """
        return encode(self.inputs, self.state, rows)

    def train(self, batches: Any, run: Any) -> Any:
        """The training loop.

        Args:
            batches: From `train_preprocess`; iterated once an epoch.
            run: The epochs to go over, where to log and to keep checkpoints: `ModelRun`.

        Returns:
            What `predict` needs: `run.model` there.
        """
        raise NotImplementedError

    def predict(self, batches: Iterable[Rows], run: Any) -> Iterator[Rows]:
        """Outputs, one batch for each that comes in.

        Args:
            batches: From `predict_preprocess`.
            run: `run.model` is what `train` returned.
        """
        raise NotImplementedError

    def postprocess(self, rows: Rows) -> Rows:
        """Outputs as people want them, in processes of their own.

        Args:
            rows: From `predict`.
        """
        return rows

    # -- what some models need besides ----------------------------------------------------------

    def prepare(self, data: Prepared) -> Mapping[str, Any]:  # noqa: ARG002 - for subclasses
        """What is made of the training data once, before any process starts.

        Args:
            data: Training rows and further tables. Vocabularies are there already.

        Returns:
            Arrays, which every process finds as `self.state["name"]`, and plain facts, which go to
            `self.state.meta`.
        """
        return {}

    @classmethod
    def example(cls, num_rows: int, seed: int = 0) -> Mapping[str, Any]:
        """Made-up tables that the model can be trained on, for tests and for a first look.

        Args:
            num_rows: Of `train`.
            seed: Of all of it.

        Returns:
            Arrow tables by name: `train`, and further ones where `prepare` asks for them.
        """
        return {"train": example_rows(cls.inputs, num_rows, seed)}

    def vectors(self, model: Any) -> Mapping[str, np.ndarray]:  # noqa: ARG002 - for subclasses
        """Vectors of the rows of vocabularies, whose products rank.

        Args:
            model: What `train` returned.

        Returns:
            By name of the vocabulary, shape (size, dim); row 0 stands for the unseen. Empty where
            the model has none.
        """
        return {}

    def save(self, model: Any, folder: Path) -> None:
        """Writes what `train` returned.

        Args:
            model: It.
            folder: Empty, for its files.
        """
        with publish_file(str(folder / "model.pkl")) as file:
            pickle.dump(model, file, protocol=5)

    def load(self, folder: Path) -> Any:
        """Reads what `save` wrote: run only models that you trust.

        Args:
            folder: Of the files.
        """
        return pickle.loads((folder / "model.pkl").read_bytes())
