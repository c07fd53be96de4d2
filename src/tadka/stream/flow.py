"""What a user writes: ``read(...) | Stage(...) | Train(...)`` and ``... | write(...)``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from tadka.core.error import ConfigError
from tadka.core.progress import Mode
from tadka.stream.begin import begin
from tadka.stream.codec import Batch
from tadka.stream.conductor import Conductor
from tadka.stream.config import TransferConfig
from tadka.stream.here import Line, run_here
from tadka.stream.plan import BatchFormat, Plan, Source
from tadka.stream.report import Report
from tadka.stream.sink import Sink
from tadka.stream.stage import Stage, Train


@dataclass(frozen=True)
class Flow:
    """Rows on their way from storage through stages to training or to storage.

    Made by `read`, put together with ``|``, started by `run`. A flow is a value: putting a stage
    behind it gives a new one.
    """

    source: Source
    stages: tuple[Stage, ...] = ()
    end: Train | Sink | None = None

    def __or__(self, other: Any) -> "Flow":
        if self.end is not None:
            raise ConfigError(
                f"The flow ends with {_word(self.end)}; nothing can follow. "
                "Put stages before it, or begin a second flow that reads what this one writes."
            )
        if isinstance(other, Stage):
            names = {stage.name for stage in self.stages}
            name, count = other.name, 1
            while name in names:
                count += 1
                name = f"{other.name}-{count}"
            return replace(self, stages=(*self.stages, other.renamed(name)))
        if isinstance(other, Train | Sink):
            return replace(self, end=other)
        raise ConfigError(
            f"A flow cannot go on with {other!r:.80}. Use Stage(function), Train(function) or "
            "write(directory)."
        )

    def run(
        self,
        *,
        on: Literal["local", "here"] = "local",
        directory: str | Path | None = None,
        resume: bool | str | Path | None = None,
        progress: Mode = "auto",
        transfer: TransferConfig | None = None,
        check: float = 0.0,
    ) -> Report:
        """Run the flow to its end.

        Args:
            on: Where; ``local`` is processes on this machine, ``here`` the calling process alone,
                for a debugger or a small table: the same batches in the same order as with
                one process a stage, and no memory limits.
            directory: Where checkpoints and dead letters go; ``runs/NAME-HASH`` unless given.
            resume: True goes on from the latest checkpoint of `directory` (or with the missing
                parts of a sink); a path names a run's directory or a single checkpoint.
            progress: ``auto`` draws on a terminal only; ``bars``, ``json`` or ``none``.
            transfer: How batches travel.
            check: Share of chunks (0 to 1) that every stage works twice, to find functions that
                do not give the same result again.

        Returns:
            What was done, how fast, and who waited for whom.

        Raises:
            ConfigError: The flow cannot be run as it is.
            NotFound: The input or the checkpoint does not exist.
            DataError: The input cannot be read, or differs from the checkpoint's.
            LaunchError: A process cannot be started, or died too often.
            StageError: A user's function raised.
            KeyboardInterrupt: Ctrl-C; the state is saved where `run.restore` or `run.save`
                was called.
        """
        if on not in ("local", "here"):
            raise ConfigError(f"run(on={on!r}) is not known; it must be 'local' or 'here'.")
        if self.end is None:
            raise ConfigError(
                "The flow has no end, so nothing would happen to its rows. "
                "Add `| Train(function)` or `| write(directory)`, or look with flow.take(3)."
            )
        if not 0 <= check <= 1:
            raise ConfigError(f"run(check={check!r}) must be a share between 0 and 1.")
        if on == "here":
            return run_here(
                begin(self.source, self.stages, self.end, directory, resume), self.stages, self.end
            )
        config = transfer or TransferConfig()
        conductor = Conductor(
            source=self.source,
            stages=self.stages or (Stage(None, name="read"),),
            end=self.end,
            config=config,
            directory=directory,
            resume=resume,
            progress=progress,
            check_share=check,
        )
        return conductor.run()

    def take(self, num_batches: int = 1) -> list[Batch]:
        """The first batches after the last stage, made in this process: for a look, or a test.

        Args:
            num_batches: How many; fewer come where there are fewer. Training and writing are
                left out.

        Raises:
            StageError: A stage's function raised; the cause is its own exception.
        """
        lanes = max((stage.resources.replicas for stage in self.stages), default=1)
        with Line(Plan.make(self.source, lanes), self.stages) as line:
            chunks = range(len(line.plan.chunks(0)))
            batches = (batch for chunk in chunks for batch in line.batches(0, chunk))
            return list(islice(batches, num_batches))


class HasFiles(Protocol):
    """What knows its own files, such as a version of a dataset."""

    def files(self) -> Sequence[str]:
        """URIs; they are read in the order of their names."""


def read(
    uris: str | Path | Sequence[str | Path] | HasFiles,
    *,
    columns: Sequence[str] | None = None,
    batch_rows: int = 4096,
    chunk_rows: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
    batch_format: BatchFormat = "numpy",
) -> Flow:
    """Begin a flow with the rows of files.

    Args:
        uris: File, directory or glob, or several; any file system that fsspec knows. Parquet,
            Arrow, CSV, JSON lines and npy by suffix. Or what has a method `files`: a version of a
            dataset.
        columns: Columns to read; all unless given.
        batch_rows: Rows of a batch, at least 1. The last batch of a chunk may have fewer.
        chunk_rows: Rows that are read and shuffled together, at least; 8 batches unless given.
        shuffle: Whether to permute the chunks, and the rows within each, anew in every epoch.
            The order depends on `seed` and the epoch alone.
        seed: Of the shuffle and of the generators that stages are given.
        batch_format: ``numpy``: a dict of arrays (columns of strings and lists stay Arrow
            arrays). ``arrow``: Arrow tables.

    Raises:
        ConfigError: A number is out of range.
    """
    if not isinstance(uris, str | Path | Sequence):
        uris = uris.files()
    many = [str(uris)] if isinstance(uris, str | Path) else [str(uri) for uri in uris]
    return Flow(
        Source.make(
            many,
            columns=columns,
            batch_rows=batch_rows,
            chunk_rows=chunk_rows,
            shuffle=shuffle,
            seed=seed,
            batch_format=batch_format,
        )
    )


def write(uri: str | Path, *, suffix: str = ".parquet", overwrite: bool = False) -> Sink:
    """End a flow by writing its rows: one part per chunk, each row once.

    Args:
        uri: Directory for the parts; any file system that fsspec knows.
        suffix: Format of the parts, by suffix.
        overwrite: Replace what another run has written there; other files are never removed.

    Raises:
        ConfigError: No format has that suffix.
    """
    return Sink(uri=str(uri), suffix=suffix, overwrite=overwrite)


def _word(end: Train | Sink) -> str:
    return f"write({end.uri!r})" if isinstance(end, Sink) else f"Train({end.name})"
