"""What is settled before a run's first batch: its directory, its plan, and where it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tadka.core.error import ConfigError
from tadka.core.hashing import digest
from tadka.stream.checkpoint import Checkpoint, find_checkpoint
from tadka.stream.plan import Plan, Source
from tadka.stream.sink import Sink
from tadka.stream.stage import Stage, Train

# A constant: parts are named by plan, which must not depend on how many replicas there are.
_SINK_LANES = 4


@dataclass(frozen=True, kw_only=True)
class Begin:
    """The beginning of a run.

    Args:
        directory: Where checkpoints and dead letters go.
        plan: What is read, in which order.
        checkpoint: What to go on from; None at the beginning, and where the flow writes.
        is_resumed: Whether it was asked to go on.
    """

    directory: Path
    plan: Plan
    checkpoint: Checkpoint | None
    is_resumed: bool


def begin(
    source: Source,
    stages: Sequence[Stage],
    end: Train | Sink,
    directory: str | Path | None,
    resume: bool | str | Path | None,
) -> Begin:
    """Looks at footers and checkpoints.

    Args:
        source: Where rows come from.
        stages: Between source and end.
        end: What the flow ends with.
        directory: As `Flow.run` has it.
        resume: As `Flow.run` has it.

    Raises:
        NotFound: The input or the checkpoint does not exist.
        DataError: The input cannot be read, or differs from the checkpoint's.
        ConfigError: The checkpoint has all epochs behind it.
    """
    name = end.name if isinstance(end, Train) else "write"
    default = f"runs/{name}-{digest([list(source.uris), source.batch_rows, source.seed])[:8]}"
    folder = Path(directory or default).absolute()
    checkpoint = None
    if isinstance(end, Sink):
        plan = Plan.make(source, _SINK_LANES)
    elif resume:
        checkpoint = find_checkpoint(folder if resume is True else resume)
        if checkpoint.position.epoch >= end.epochs:
            raise ConfigError(
                f"Checkpoint {str(checkpoint.path)!r} has {checkpoint.position.epoch} epochs "
                f"behind it, and Train has epochs={end.epochs}. Ask for more epochs."
            )
        plan = Plan.make(source, checkpoint.plan["lanes"])
        checkpoint.check_plan(plan)
    else:
        plan = Plan.make(source, max((stage.resources.replicas for stage in stages), default=1))
    return Begin(directory=folder, plan=plan, checkpoint=checkpoint, is_resumed=bool(resume))
