"""A flow in the calling process: for a debugger, for tests, for tables that are small.

The order of batches, the random numbers of stages and the checkpoints are those of the processes;
what is missing is other cores, memory limits, and ranks beside the first.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

from tadka.core.error import ConfigError, StageError
from tadka.stream.begin import Begin
from tadka.stream.codec import Batch, num_rows
from tadka.stream.function import Function, UserError, cause_of, traceback_of
from tadka.stream.plan import ChunkReader, Plan
from tadka.stream.position import Position
from tadka.stream.report import Report, StageReport, find_bottleneck
from tadka.stream.run import Run, RunOrder, all_over
from tadka.stream.sink import Part, Sink
from tadka.stream.stage import Stage, Train


@dataclass(slots=True)
class _Meter:
    """What came out of a stage; its time includes that of the stages before it."""

    rows: int = 0
    batches: int = 0
    whole_ns: int = 0


class Line:
    """The stages of a flow, one behind the other.

    Args:
        plan: What is read.
        stages: Functions.
    """

    def __init__(self, plan: Plan, stages: tuple[Stage, ...]) -> None:
        self.plan = plan
        self.meters = [_Meter() for _ in range(len(stages) + 1)]
        self._stages = stages
        self._functions: list[Function] = []

    def __enter__(self) -> Self:
        for stage in self._stages:
            self._functions.append(Function(stage.function, stage.name, stage.init))
        return self

    def __exit__(self, *_: object) -> None:
        for function in self._functions:
            function.close()

    def batches(self, epoch: int, chunk: int) -> Iterator[Batch]:
        """What the last stage makes of a chunk.

        Raises:
            StageError: A stage's function raised; the cause is its own exception.
        """
        # A reader for each chunk in work: it remembers one piece, and lanes alternate.
        found = _metered(ChunkReader(self.plan).batches(epoch, chunk), self.meters[0])
        key = (self.plan.source.seed, epoch, chunk)
        for number, function in enumerate(self._functions):
            found = _metered(_through(function, found, key, number), self.meters[number + 1])
        try:
            yield from found
        except UserError as error:
            cause = cause_of(error)
            raise StageError(
                f"A stage of the flow failed at {self.plan.where(epoch, chunk)}: "
                f"{type(cause).__name__}: {cause}\n\n{traceback_of(error)}"
            ) from cause

    def reports(self, end: _Meter, name: str, kind: Any, seconds: float) -> list[StageReport]:
        """Of all stages and of what came after them."""
        meters = [*self.meters, end]
        names = ["read", *(stage.name for stage in self._stages), name]
        before_ns, found = 0, []
        for meter, of in zip(meters, names, strict=True):
            own_s = (meter.whole_ns - before_ns) / 1e9
            before_ns = meter.whole_ns
            share = min(1.0, own_s / seconds) if seconds else 0.0
            found.append(
                StageReport(
                    name=of,
                    kind=kind if meter is end else "stage",
                    replicas=1,
                    rows=meter.rows,
                    batches=meter.batches,
                    rows_per_s=meter.rows / seconds if seconds else 0.0,
                    busy_share=share,
                    wait_input_share=1 - share,
                )
            )
        return found


def run_here(begin: Begin, stages: tuple[Stage, ...], end: Train | Sink) -> Report:
    """Runs a flow to its end.

    Args:
        begin: Directory, plan, checkpoint.
        stages: Between source and end.
        end: A loop of one rank, or where to write.

    Raises:
        ConfigError: The loop has several ranks.
        StageError: A function raised; the cause is its own exception.
        DataError: The input cannot be read, or the output not be written.
    """
    called_s = time.monotonic()
    if isinstance(end, Train) and end.ranks > 1:
        raise ConfigError(
            f"Train has ranks={end.ranks}, and run(on='here') has one process. Run it on='local'."
        )
    with Line(begin.plan, stages) as line:
        started_s = time.monotonic()
        if isinstance(end, Sink):
            meter, outputs = _write(begin, line, end)
            name, result, feed = "write", None, None
        else:
            feed = HereBatches(begin, line, end.epochs)
            result, meter, outputs, name = _train(begin, feed, end), feed.meter, [], end.name
        seconds = time.monotonic() - started_s
        meter.whole_ns = int(seconds * 1e9)
        kind = "write" if feed is None else "train"
        reports = line.reports(meter, name, kind, seconds)
    return Report(
        seconds=seconds,
        startup_s=started_s - called_s,
        first_batch_s=None,
        rows_read=line.meters[0].rows,
        rows_out=meter.rows,
        steps=0 if feed is None else feed.step,
        epochs=1 if feed is None else feed.num_epochs,
        padded_steps=0,
        bottleneck=find_bottleneck(reports),
        stages=reports,
        samples=[],
        metrics=[] if feed is None else feed.metrics,
        checkpoints=[] if feed is None else feed.checkpoints,
        dead_letters=None,
        outputs=outputs,
        reissued_chunks=0,
        plan_hash=begin.plan.hash,
        transport="here",
        memory_limits={},
        result=result,
    )


class HereBatches:
    """What `Batches` is to a rank's loop.

    Args:
        begin: Plan and checkpoint.
        line: The stages.
        num_epochs: Passes over the data.
    """

    def __init__(self, begin: Begin, line: Line, num_epochs: int) -> None:
        start = begin.checkpoint
        self._at = start.position if start else Position()
        self.epoch = self._at.epoch
        self.step = start.step if start else 0
        self.rounds = 0
        self.weight = 1.0
        self.metrics: list[dict[str, Any]] = []
        self.checkpoints: list[str] = []
        self.num_epochs = num_epochs
        self.meter = _Meter()
        self._line = line
        self._running: Iterator[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self.epoch >= self.num_epochs:
            raise all_over(self.num_epochs)
        if self._running is None:
            self._running = self._epoch_batches()
        for batch in self._running:
            self.rounds += 1
            self.step += 1
            self.meter.rows += num_rows(batch)
            self.meter.batches += 1
            yield batch
        self._running = None
        self.epoch += 1
        self.rounds = 0
        self._at = Position(epoch=self.epoch)

    def position(self) -> dict[str, Any]:
        """Where the stream stands after the steps taken so far."""
        return self._at.to_dict()

    def tell_saved(self, path: Path) -> None:
        """A checkpoint has been written."""
        self.checkpoints.append(str(path))

    def _epoch_batches(self) -> Iterator[Batch]:
        """The rest of the epoch: a group's chunks alternate, as in `Transfer`."""
        at, plan, epoch = self._at, self._line.plan, self.epoch
        step, group, turn = at.step, at.group, at.lane
        lanes = [self._lane(chunk, first) for chunk, first in at.lanes]
        num_chunks = len(plan.chunks(epoch))
        while True:
            if not lanes:
                first = (group + 1) * plan.num_lanes
                if first >= num_chunks:
                    return
                group, turn = group + 1, 0
                last = min(first + plan.num_lanes, num_chunks)
                lanes = [self._lane(chunk, 0) for chunk in range(first, last)]
            lane = lanes[turn]
            batch = next(lane.batches, None)
            if batch is None:
                del lanes[turn]
                turn = turn % len(lanes) if lanes else 0
                continue
            lane.first += 1
            turn = (turn + 1) % len(lanes)
            step += 1
            self._at = Position(
                epoch=epoch,
                step=step,
                group=group,
                lane=turn,
                lanes=tuple((each.chunk, each.first) for each in lanes),
            )
            yield batch

    def _lane(self, chunk: int, first: int) -> "_Lane":
        return _Lane(chunk, first, islice(self._line.batches(self.epoch, chunk), first, None))


@dataclass(slots=True)
class _Lane:
    """A chunk in work, and the number of its next batch."""

    chunk: int
    first: int
    batches: Iterator[Batch]


def _train(begin: Begin, feed: HereBatches, train: Train) -> Any:
    order = RunOrder(
        world_size=1,
        num_epochs=train.epochs,
        directory=str(begin.directory),
        plan=begin.plan.describe(),
        checkpoint=begin.checkpoint,
    )
    run = Run(order, 0, feed)
    try:
        return train.function(feed, run)
    except KeyboardInterrupt:
        run.save_on_stop()
        raise
    except StageError:
        raise
    except Exception as error:  # the user's function, of any kind
        raise StageError(
            f"Stage {train.name!r} failed at step {feed.step} of epoch {feed.epoch}: "
            f"{type(error).__name__}: {error}\n\n{traceback_of(error)}"
        ) from error


def _write(begin: Begin, line: Line, sink: Sink) -> tuple[_Meter, list[str]]:
    plan, meter = begin.plan, _Meter()
    done = set(sink.prepare(plan.hash, is_resumed=begin.is_resumed))
    try:
        for chunk in range(len(plan.chunks(0))):
            if chunk in done:
                continue
            part = Part(sink, plan.hash, chunk)
            try:
                for batch in line.batches(0, chunk):
                    part.write(batch)
                    meter.batches += 1
                part.publish()
            except BaseException:
                part.abandon()
                raise
            meter.rows += part.num_rows
    finally:
        sink.sweep()
    return meter, sink.finish(plan.hash, meter.rows)


def _through(
    function: Function, batches: Iterator[Batch], chunk: tuple[int, ...], stage: int
) -> Iterator[Batch]:
    """One stage's batches for a chunk, with the random numbers that a process would draw."""
    for index, batch in enumerate(batches):
        yield from function(batch, (*chunk, index, stage))


def _metered(batches: Iterator[Batch], meter: _Meter) -> Iterator[Batch]:
    while True:
        start_ns = time.monotonic_ns()
        batch = next(batches, None)
        meter.whole_ns += time.monotonic_ns() - start_ns
        if batch is None:
            return
        meter.rows += num_rows(batch)
        meter.batches += 1
        yield batch
