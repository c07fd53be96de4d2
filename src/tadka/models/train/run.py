"""What `Model.train` has in its hands: epochs, checkpoints, validation, where to log."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tadka.models.define.model import Model
from tadka.models.train.history import add_numbers, rewrite_history
from tadka.stream.checkpoint import list_checkpoints
from tadka.stream.run import Run

_NUM_CHECKPOINTS = 2  # the last one, and one more, should that be damaged

Validate = Callable[[Model, Any], Mapping[str, float]]


class ModelRun:
    """A training run, as the model's loop sees it.

    `rank` of `world_size` processes train together. `start` is the folder of a trained model to
    begin from, None to begin anew. `history` has one entry an epoch.

    Args:
        model: Its own, with its state.
        stream: Epochs, position in the data, checkpoints.
        folder: Of the run.
        validate: Metrics of what has been learnt so far on the validation part; None without one.
        start: The weights to begin from.
        checkpoint_s: After how many seconds `save_if_due` saves; 0 for never.
    """

    def __init__(
        self,
        model: Model,
        stream: Run,
        folder: Path,
        validate: Validate | None,
        start: Path | None = None,
        *,
        checkpoint_s: float = 0.0,
    ) -> None:
        self.rank = stream.rank
        self.world_size = stream.world_size
        self.start = start
        self.folder = folder
        self.history: list[dict[str, float]] = []
        self._model = model
        self._stream = stream
        self._validate = validate
        self._epoch = 0
        self.is_over = False  # whether the epoch in work is the last one
        self._checkpoint_s = checkpoint_s
        self._saved_s = time.monotonic()

    @property
    def weight(self) -> float:
        """1.0, or 0.0 while the batch in hand is padding: multiply the loss by it."""
        return self._stream.weight

    @property
    def step(self) -> int:
        """Steps begun, those before a resume included."""
        return self._stream.step

    @property
    def epochs(self) -> Iterator[int]:
        """Epochs to go over; they end early after `stop`."""
        for epoch in self._stream.epochs:
            if self.is_over or epoch >= self._model.epochs:
                return
            self._epoch = epoch
            yield epoch

    def stop(self) -> None:
        """This epoch was the last one."""
        self.is_over = True

    def log(self, **metrics: float) -> None:
        """Numbers of the epoch in work: kept in the run's folder at once, and in the registry.

        Args:
            metrics: By name; numbers that are not finite are kept too.
        """
        numbers = {name: float(value) for name, value in metrics.items()}
        if self.history and self.history[-1]["epoch"] == self._epoch:
            self.history[-1].update(numbers)
        else:
            self.history.append({"epoch": self._epoch, **numbers})
        if self.rank == 0:
            add_numbers(self.folder, self._epoch, numbers)
            self._stream.log(epoch=self._epoch, **numbers)

    def validate(self, learnt: Any) -> dict[str, float]:
        """Metrics on the validation part, by their name with `valid_` before it; they are logged.

        Args:
            learnt: What `Model.train` would return now.

        Returns:
            Nothing where there is no validation part, and on ranks other than 0.
        """
        if self._validate is None or self.rank != 0:
            return {}
        found = {
            f"valid_{name}": value for name, value in self._validate(self._model, learnt).items()
        }
        self.log(**found)
        return found

    @property
    def has_validation(self) -> bool:
        """Whether there is a part to validate on."""
        return self._validate is not None

    def save(self, learnt: Any, **more: Any) -> None:
        """A checkpoint: what has been learnt, and the place in the data; old ones are removed.

        Args:
            learnt: Anything with `state_dict()`, or that can be pickled.
            more: Further such objects, for example the optimizer.
        """
        self._stream.save(learnt, progress=_Progress(self), **more)
        self._saved_s = time.monotonic()
        if self.rank == 0:
            for old in list_checkpoints(self.folder)[:-_NUM_CHECKPOINTS]:
                shutil.rmtree(old, ignore_errors=True)

    def save_if_due(self, learnt: Any, **more: Any) -> None:
        """A checkpoint after a step, where the last one is `stream.checkpoint_s` seconds old.

        Args:
            learnt: As for `save`, which the end of an epoch calls.
            more: As there.
        """
        if self._checkpoint_s and time.monotonic() - self._saved_s >= self._checkpoint_s:
            self.save(learnt, **more)

    def restore(self, learnt: Any, **more: Any) -> bool:
        """Loads the checkpoint that the run goes on from, if it does.

        Args:
            learnt: What was given to `save`; it is changed.
            more: Further objects, as there.

        Returns:
            Whether there was one.
        """
        found = self._stream.restore(learnt, progress=_Progress(self), **more)
        if self.rank == 0:
            rewrite_history(self.folder, self.history)
        return found


class _Progress:
    """History, and whether that was all, as checkpoints keep them."""

    def __init__(self, run: ModelRun) -> None:
        self._run = run

    def state_dict(self) -> dict[str, Any]:
        return {"history": list(self._run.history), "is_over": self._run.is_over}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._run.history[:] = state["history"]
        self._run.is_over = state["is_over"]


class PredictRun:
    """What `Model.predict` has in its hands.

    Args:
        model: What `Model.train` returned.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
