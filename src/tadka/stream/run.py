"""The training loop's hold on the run: keeps model and position in the data together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tadka.core.error import ConfigError
from tadka.stream.checkpoint import Checkpoint, restore_into, save_checkpoint, to_state


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """What a training loop goes over, and from where.

    Args:
        world_size: Ranks in all.
        num_epochs: Passes over the data.
        directory: Where checkpoints go.
        plan: `Plan.describe()`.
        checkpoint: What to go on from.
    """

    world_size: int
    num_epochs: int
    directory: str
    plan: dict[str, Any]
    checkpoint: Checkpoint | None


class Feed(Protocol):
    """Where batches come from, as `Run` sees it.

    Its attributes say where the loop is: `epoch`, `step` over all epochs, `rounds` of this epoch,
    and the `weight` of the batch in hand. What is appended to `metrics` is kept in the report.
    """

    epoch: int
    step: int
    rounds: int
    weight: float
    metrics: list[dict[str, Any]]

    def position(self) -> dict[str, Any]:
        """Where the stream stands after the steps taken so far."""

    def tell_saved(self, path: Path) -> None:
        """A checkpoint has been written."""


def all_over(num_epochs: int) -> ConfigError:
    """What a loop is told that asks for one epoch more.

    Args:
        num_epochs: Passes over the data.
    """
    return ConfigError(
        f"The flow has {num_epochs} epochs and all are over. Loop with "
        "`for epoch in run.epochs`, or ask for more: Train(train, epochs=...)."
    )


class Run:
    """The training loop's hold on the run: who am I, log, save, restore.

    `rank` and `world_size` say who this process is among how many. `epochs` is the range of
    epochs to go over; it begins later after a resume. `directory` is where the run keeps files.
    """

    def __init__(self, order: RunOrder, rank: int, feed: Feed) -> None:
        start = order.checkpoint
        self.rank = rank
        self.world_size = order.world_size
        self.epochs = range(start.position.epoch if start else 0, order.num_epochs)
        self.directory = Path(order.directory)
        self._order = order
        self._feed = feed
        self._objects: dict[str, Any] = {}

    @property
    def step(self) -> int:
        """Optimizer steps this rank has begun, those before a resume included."""
        return self._feed.step

    @property
    def epoch(self) -> int:
        """The epoch of the batch in hand."""
        return self._feed.epoch

    @property
    def weight(self) -> float:
        """1.0, or 0.0 while the batch in hand is padding: multiply the loss by it."""
        return self._feed.weight

    def log(self, **metrics: float) -> None:
        """Note numbers for this step; rank 0's are kept in the report and drawn."""
        if self.rank == 0:
            numbers = {name: float(value) for name, value in metrics.items()}
            self._feed.metrics.append({"step": self.step, "epoch": self.epoch, **numbers})

    def save(self, model: Any, **more: Any) -> Path | None:
        """Store model and data position together, as of the steps taken so far.

        Call it after the optimizer's step, on every rank or on rank 0 alone; rank 0 writes.
        All ranks must have taken the same number of steps, as they have inside a loop that
        synchronises gradients.

        Args:
            model: Anything with ``state_dict()``, or anything that can be pickled.
            more: Further such objects by name, for example the optimizer.

        Returns:
            The checkpoint's directory; None on ranks other than 0.
        """
        self._objects = {"model": model, **more}
        if self.rank != 0:
            return None
        path = save_checkpoint(
            self.directory,
            state=to_state(self._objects),
            position=self._feed.position(),
            step=self.step,
            world_size=self.world_size,
            plan=self._order.plan,
        )
        self._feed.tell_saved(path)
        return path

    def restore(self, model: Any, **more: Any) -> bool:
        """Load what `save` stored, if the run resumes; call it on every rank before the loop.

        It also tells which objects make up the state, so that Ctrl-C can save them.

        Returns:
            Whether there was something to load.
        """
        self._objects = {"model": model, **more}
        checkpoint = self._order.checkpoint
        if checkpoint is None:
            return False
        restore_into(self._objects, checkpoint.load_state(), checkpoint.path)
        return True

    def save_on_stop(self) -> None:
        """Save what was last given to `save` or `restore`, if anything has been trained since."""
        if self._objects and self.rank == 0 and self._feed.rounds:
            self.save(
                self._objects["model"],
                **{name: value for name, value in self._objects.items() if name != "model"},
            )
