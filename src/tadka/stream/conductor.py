"""Runs a flow: starts its processes, carries the messages of `Transfer`, watches and reports."""

import json
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import zmq

from tadka.core.error import ConfigError, LaunchError, NotFound, StageError
from tadka.core.progress import Mode, Progress, ProgressRow
from tadka.launch.launcher import Exit, ProcessSpec
from tadka.launch.local import LocalLauncher, LocalProcess
from tadka.launch.memory import available_bytes
from tadka.stream.arena import Arena
from tadka.stream.begin import begin
from tadka.stream.checkpoint import find_checkpoint
from tadka.stream.config import CurveKeys, TransferConfig
from tadka.stream.counters import Counters
from tadka.stream.link import LinkOrder, authenticate, pack_identity, unpack_identity
from tadka.stream.plan import Source
from tadka.stream.rank import RankOrder, environment, run_rank
from tadka.stream.report import Report, StageReport, find_bottleneck
from tadka.stream.sink import Sink
from tadka.stream.stage import Stage, Train
from tadka.stream.transfer import Transfer
from tadka.stream.wire import Kind, pack, receive, set_up, unpack
from tadka.stream.worker import WorkerOrder, run_worker

_POLL_MS = 100
_SAMPLE_S = 0.25
_CHECK_S = 0.1
_FAREWELL_S = 2.0
_INTERRUPT_S = 1.5
_LEAST_SHARED_BYTES = 64 << 20
_ARENA_FACTOR = 2  # memory that is credited but still looked into has room, too
_MOST_SAMPLES = 2000


class Conductor:
    """One run of a flow.

    The loop runs in the calling thread. All decisions about batches are `Transfer`'s; this
    class knows processes, sockets and clocks.
    """

    def __init__(
        self,
        *,
        source: Source,
        stages: tuple[Stage, ...],
        end: Train | Sink,
        config: TransferConfig,
        directory: str | Path | None,
        resume: bool | str | Path | None,
        progress: Mode,
        check_share: float,
    ) -> None:
        self._called_s = time.monotonic()
        self._stages = stages
        self._end = end
        self._train = end if isinstance(end, Train) else None
        self._sink = end if isinstance(end, Sink) else None
        self._check_share = check_share
        self._progress = Progress(progress)
        self._begin = begin(source, stages, end, directory, resume)
        self._directory = self._begin.directory
        self._checkpoint = self._begin.checkpoint
        self._plan = self._begin.plan
        self._config = self._choose_transport(config)

        num_ranks = self._train.ranks if self._train else 0
        self._num_epochs = self._train.epochs if self._train else 1
        self._ranks_left = set(range(1, num_ranks + 1))
        self._next_worker = num_ranks + 1
        self._processes: dict[int, LocalProcess] = {}
        self._stage_of: dict[int, int] = {}
        self._replica_of: dict[int, int] = {}
        self._addresses: dict[int, str] = {}
        self._arenas: dict[int, Arena] = {}
        self._is_ready: set[int] = set()
        self._counters: dict[int, Counters] = {}
        self._restarts = [0] * len(stages)
        self._skipped = [0] * len(stages)
        self._saves: list[tuple[int, int, int]] = []
        self._has_dead_letters = False
        self._metrics: list[dict[str, Any]] = []
        self._checkpoints: list[str] = []
        self._samples: list[dict[str, Any]] = []
        self._sample_s = _SAMPLE_S
        self._next_sample_s = self._next_check_s = 0.0
        self._started_s = 0.0
        self._ended_s = 0.0
        self._result: Any = None
        self._limits: dict[str, str] = {}
        self._is_interrupted = False

    # -- before anything starts ---------------------------------------------------------------

    def _choose_transport(self, config: TransferConfig) -> TransferConfig:
        if config.curve:
            public, secret = zmq.curve_keypair()
            config = replace(config, keys=CurveKeys(public, secret))
        if config.transport != "auto":
            return config
        replicas = sum(stage.resources.replicas for stage in self._stages)
        free = available_bytes()
        try:
            Arena(1).close()
        except OSError as error:
            reason = f"this system makes no anonymous memory files ({error})"
        else:
            if free >= replicas * _LEAST_SHARED_BYTES:
                return replace(config, transport="shm")
            reason = (
                f"{free >> 20} MiB of memory are free, and {replicas} replicas would share "
                f"{_LEAST_SHARED_BYTES >> 20} MiB each"
            )
        warnings.warn(
            f"Batches go by ZeroMQ ipc, at about half the speed of shared memory: {reason}.",
            stacklevel=4,
        )
        return replace(config, transport="ipc")

    # -- the run ------------------------------------------------------------------------------

    def run(self) -> Report:
        """Start, carry on to the end, clean up whatever happens."""
        done_chunks: list[int] = []
        if self._sink is not None:
            done_chunks = self._sink.prepare(self._plan.hash, is_resumed=self._begin.is_resumed)
        self._transfer = Transfer(
            num_lanes=self._plan.num_lanes,
            num_replicas=[stage.resources.replicas for stage in self._stages],
            num_ranks=self._train.ranks if self._train else 0,
            num_epochs=self._num_epochs,
            num_chunks=lambda epoch: len(self._plan.chunks(epoch)),
            uneven=self._train.uneven if self._train else "pad",
            position=self._checkpoint.position if self._checkpoint else None,
            done_chunks=done_chunks,
        )
        context = zmq.Context()
        authenticator = authenticate(context, self._config.keys)
        self._socket = context.socket(zmq.ROUTER)
        set_up(self._socket, self._config, server=True)
        self._launcher = LocalLauncher()
        try:
            self._bind()
            with self._progress, self._ctrl_c():
                self._start_all()
                self._loop()
                self._farewell()
                return self._report()
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(self._how_to_go_on())
            raise
        finally:
            self._launcher.close()
            if self._sink is not None:
                self._sink.sweep()  # what killed workers were writing
            for arena in self._arenas.values():
                arena.close()
            if authenticator is not None:
                authenticator.stop()
            self._socket.close(linger=0)
            context.term()

    def _bind(self) -> None:
        address = f"ipc://{self._launcher.directory}/control"
        if self._config.transport == "tcp":
            address = f"tcp://{self._config.coordinator_host}:*"
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            raise ConfigError(
                f"The coordinator cannot listen at {address!r}: {error}. "
                "TransferConfig(coordinator_host=...) must be an address of this machine."
            ) from error
        self._control = self._socket.get_string(zmq.LAST_ENDPOINT)

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """Note Ctrl-C instead of raising at a random place; only the main thread gets it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(_signal: int, _frame: object) -> None:
            if self._is_interrupted:
                raise KeyboardInterrupt  # asked twice: at once
            self._is_interrupted = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _start_all(self) -> None:
        if self._train is not None:
            self._start_ranks(self._train)
        for stage, definition in enumerate(self._stages):
            for replica in range(definition.resources.replicas):
                self._start_worker(stage, replica)

    def _start_worker(self, stage: int, replica: int) -> None:
        worker = self._next_worker
        self._next_worker += 1
        definition = self._stages[stage]
        is_last = stage == len(self._stages) - 1
        arena = ""
        if self._config.transport == "shm" and not (is_last and self._sink):
            made = Arena(_ARENA_FACTOR * self._config.credit_limit_bytes)
            self._arenas[worker] = made
            arena = made.path
        tcp = f"tcp://{self._config.worker_host}:*"
        ipc = f"ipc://{self._launcher.directory}/batches-{worker}"
        order = WorkerOrder(
            link=self._link_order(worker),
            stage=stage,
            num_stages=len(self._stages),
            name=definition.name,
            replica=replica,
            function=definition.function,
            init=definition.init,
            on_error=definition.on_error,
            plan=self._plan,
            sink=self._sink,
            arena=arena,
            address=tcp if self._config.transport == "tcp" else ipc,
            check_share=self._check_share,
        )
        self._stage_of[worker] = stage
        self._replica_of[worker] = replica
        spec = ProcessSpec(
            name=f"{definition.name}-{replica}",
            entry=run_worker,
            args=(order,),
            resources=definition.resources,
        )
        self._watch(worker, self._launcher.start(spec))

    def _start_ranks(self, train: Train) -> None:
        port = _free_port()
        most_in_flight = self._config.num_credits * self._stages[-1].resources.replicas
        order = RankOrder(
            link=self._link_order(1),
            name=train.name,
            rank=-1,
            world_size=train.ranks,
            num_epochs=train.epochs,
            repeats=train.uneven == "repeat",
            # Half of what can be in flight: the other half keeps the rank busy meanwhile.
            ack_every=max(1, most_in_flight // (2 * train.ranks)),
            function=train.function,
            directory=str(self._directory),
            plan=self._plan.describe(),
            checkpoint=self._checkpoint,
        )
        for rank in range(train.ranks):
            self._stage_of[rank + 1] = len(self._stages)
            self._replica_of[rank + 1] = rank
        if train.start == "mpi":
            spec = ProcessSpec(
                name=train.name,
                entry=run_rank,
                args=(order,),
                resources=train.resources,
                env=environment(0, train.ranks, port, train.resources.gpu),
                num_ranks=train.ranks,
            )
            self._watch(1, self._launcher.start(spec))
            return
        for rank in range(train.ranks):
            spec = ProcessSpec(
                name=f"{train.name}-{rank}",
                entry=run_rank,
                args=(replace(order, rank=rank),),
                resources=train.resources,
                env=environment(rank, train.ranks, port, train.resources.gpu),
            )
            self._watch(rank + 1, self._launcher.start(spec))

    def _link_order(self, worker: int) -> LinkOrder:
        return LinkOrder(worker=worker, control=self._control, config=self._config)

    def _watch(self, worker: int, process: LocalProcess) -> None:
        self._processes[worker] = process
        if process.limit is not None:
            self._limits[process.name] = process.limit.mechanism

    def _loop(self) -> None:
        """Until every rank has said goodbye, or every part is written."""
        while not self._is_over():
            self._turn(_POLL_MS)
            if self._is_interrupted:
                self._interrupt()
        self._ended_s = time.monotonic()

    def _is_over(self) -> bool:
        if self._train is not None:
            return not self._ranks_left
        return self._transfer.is_delivered

    def _turn(self, timeout_ms: int) -> None:
        """Wait for something to happen, and deal with all that has."""
        now = time.monotonic()
        frames = receive(self._socket)
        if frames is None and self._socket.poll(timeout_ms):
            frames = receive(self._socket)
        while frames is not None:
            self._take_in(frames)
            frames = receive(self._socket)
        self._send_all()
        if now >= self._next_check_s:
            self._next_check_s = now + _CHECK_S
            self._check_processes()
            self._send_all()
        if now >= self._next_sample_s:
            self._next_sample_s = now + self._sample_s
            self._sample()

    # -- messages -----------------------------------------------------------------------------

    def _take_in(self, frames: list[bytes]) -> None:
        kind, *values = unpack(frames[1])
        text = frames[2].decode() if len(frames) > 2 else ""
        self._handle(unpack_identity(frames[0]), kind, values, text)

    def _handle(self, worker: int, kind: int, values: list[int], text: str) -> None:
        transfer = self._transfer
        if kind in (Kind.OUT, Kind.DONE, Kind.TAKEN, Kind.GONE) and worker not in self._is_ready:
            return  # its last words came after its death was noted
        if kind == Kind.OUT:
            transfer.on_out(worker, values)
        elif kind == Kind.ACK:
            transfer.on_ack(worker - 1, values[0], values[1])
            transfer.on_gone(values[2:])
        elif kind == Kind.GONE:
            transfer.on_gone(values)
        elif kind == Kind.TAKEN:
            transfer.on_taken(values)
        elif kind == Kind.DONE:
            transfer.on_done(worker, values[0], values[1], values[2], bool(values[3]))
        elif kind == Kind.STAT:
            self._counters[worker] = Counters(*values)
        elif kind == Kind.METRIC:
            self._metrics += json.loads(text)
        elif kind == Kind.READY:
            self._greet(worker, text)
        elif kind == Kind.SAVE:
            self._saves.append((worker, values[0], values[1]))
        elif kind == Kind.SAVED:
            self._checkpoints.append(text)
        elif kind == Kind.ERROR:
            self._take_error(worker, json.loads(text), is_skipped=bool(values[1]))
        elif kind == Kind.BYE:
            self._ranks_left.discard(worker)
            self._is_ready.discard(worker)
            if worker == 1 and self._train is not None:
                self._result = json.loads(text)

    def _greet(self, worker: int, address: str) -> None:
        self._is_ready.add(worker)
        self._addresses[worker] = address
        stage = self._stage_of[worker]
        if stage == len(self._stages):
            self._transfer.add_rank(worker, worker - 1)
        else:
            self._transfer.add_worker(worker, stage)
        # Nobody begins before all can: otherwise the first would be timed waiting for the rest.
        num_ranks = self._train.ranks if self._train else 0
        if not self._started_s and len(self._is_ready) == num_ranks + sum(
            stage.resources.replicas for stage in self._stages
        ):
            self._started_s = time.monotonic()
            self._transfer.start()

    def _take_error(self, worker: int, told: dict[str, Any], *, is_skipped: bool) -> None:
        stage = self._stage_of[worker]
        if is_skipped:
            self._skipped[stage] += 1
            self._has_dead_letters = True
            self._directory.mkdir(parents=True, exist_ok=True)
            with self._dead_letters.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")
            return
        if stage == len(self._stages):
            raise StageError(
                f"Training {told['stage']!r} failed on rank {told['replica']} at {told['where']}: "
                f"{told['error']}{self._last_checkpoint()}\n\n{told['traceback']}"
            )
        raise StageError(
            f"Stage {told['stage']!r}, replica {told['replica']}, failed on batch "
            f"{told['batch']} of {told['where']}: {told['error']}{self._last_checkpoint()}"
            f"\n\n{told['traceback']}"
        )

    @property
    def _dead_letters(self) -> Path:
        return self._directory / "dead-letters.jsonl"

    def _answer_saves(self) -> None:
        """Tell ranks that save where the stream stands, once their round has been dealt whole.

        Without a synchronising step rank 0 may be ahead of the others' batches.
        """
        for save in list(self._saves):
            worker, epoch, rounds = save
            position = self._transfer.position(epoch, rounds)
            if position is not None:
                self._saves.remove(save)
                self._send(worker, Kind.POSITION, text=json.dumps(position.to_dict()))

    def _send_all(self) -> None:
        if self._saves:
            self._answer_saves()
        for worker, messages in self._transfer.take_messages().items():
            for message in messages:
                if message.kind is Kind.RETIRE and message.values[0] == worker:
                    self._release_arena(worker)
                elif message.kind is Kind.PEER:
                    producer = message.values[0]
                    arena = self._arenas.get(producer)
                    told = {
                        "arena": arena.path if arena else "",
                        "address": self._addresses[producer],
                    }
                    self._send(worker, message.kind, message.values, json.dumps(told))
                else:
                    self._send(worker, message.kind, message.values)

    def _release_arena(self, worker: int) -> None:
        arena = self._arenas.pop(worker, None)
        if arena is not None:
            arena.close()

    def _send(
        self, worker: int, kind: Kind, values: list[int] | None = None, text: str | None = None
    ) -> None:
        frames = [pack_identity(worker), pack(kind, values or [])]
        if text is not None:
            frames.append(text.encode())
        self._socket.send_multipart(frames)

    # -- processes ----------------------------------------------------------------------------

    def _check_processes(self) -> None:
        for worker, process in list(self._processes.items()):
            ended = process.exit()
            if ended is None:
                if process.silence_s() > self._config.heartbeat_timeout_s:
                    process.kill("silent")
            else:
                del self._processes[worker]
                self._bury(worker, process.name, ended)

    def _bury(self, worker: int, name: str, ended: Exit) -> None:
        stage = self._stage_of[worker]
        if stage == len(self._stages):
            self._drain()  # it may have said goodbye, or why not, with its last words
            left = self._ranks_left if self._is_mpi else self._ranks_left & {worker}
            if left:
                raise LaunchError(
                    f"Rank {worker - 1 if not self._is_mpi else min(left) - 1} of {name!r} ended "
                    f"before its work was done: {ended}.{self._last_checkpoint()}"
                )
            return
        if ended.reason == "error":
            self._drain()
            raise StageError(
                f"Stage {self._stages[stage].name!r}, replica {self._replica_of[worker]}, could "
                f"not work: {ended}.{self._last_checkpoint()}\n\n{ended.detail}"
            )
        was_ready = worker in self._is_ready
        self._is_ready.discard(worker)
        if was_ready:
            chunks = self._transfer.on_death(worker)
        else:
            chunks = []
            self._release_arena(worker)
        self._restarts[stage] += 1
        if self._restarts[stage] > self._config.max_restarts:
            lost = [self._plan.where(chunk.epoch, chunk.index) for chunk in chunks]
            raise LaunchError(
                f"Stage {self._stages[stage].name!r} lost {self._restarts[stage]} processes, the "
                f"last one because it was {ended}. "
                f"It was working on {'; '.join(lost) or 'nothing yet'}. "
                f"TransferConfig(max_restarts={self._config.max_restarts}) allows no more."
                f"{self._last_checkpoint()}"
            )
        self._progress.line(f"{name} ended ({ended}); another takes its place.")
        self._start_worker(stage, self._replica_of[worker])

    @property
    def _is_mpi(self) -> bool:
        return self._train is not None and self._train.start == "mpi"

    def _drain(self) -> None:
        while self._socket.poll(50):
            self._take_in(self._socket.recv_multipart())

    def _farewell(self) -> None:
        """Stop the workers, and take in what they last have to say."""
        for worker in self._processes:
            self._send(worker, Kind.STOP, [0])
        until = time.monotonic() + _FAREWELL_S
        workers = {w for w in self._processes if self._stage_of[w] < len(self._stages)}
        while workers & self._is_ready and time.monotonic() < until:
            if self._socket.poll(_POLL_MS):
                frames = self._socket.recv_multipart()
                kind, *values = unpack(frames[1])
                if kind in (Kind.STAT, Kind.BYE):
                    self._handle(unpack_identity(frames[0]), kind, values, "null")
            elif all(self._processes[worker].exit() for worker in workers):
                return

    def _interrupt(self) -> None:
        """Ctrl-C: let rank 0 save, within a time a person is willing to wait."""
        for rank in sorted(self._ranks_left):
            self._send(rank, Kind.STOP, [1])
        until = time.monotonic() + _INTERRUPT_S
        while self._ranks_left and time.monotonic() < until:
            self._turn(_POLL_MS)
        raise KeyboardInterrupt

    def _last_checkpoint(self) -> str:
        if self._train is None:
            return ""
        try:
            return f" The last checkpoint is {str(find_checkpoint(self._directory).path)!r}."
        except NotFound:
            return " There is no checkpoint: run.save was not called."

    def _how_to_go_on(self) -> str:
        if self._sink is not None:
            return f"Parts in {self._sink.uri!r} are kept; go on with run(resume=True)."
        text = self._last_checkpoint()
        return text.strip() + (
            f" Go on with run(resume={str(self._directory)!r})."
            if "no checkpoint" not in text
            else ""
        )

    # -- what is seen of it -------------------------------------------------------------------

    def _totals(self, stage: int) -> Counters:
        total = Counters()
        for worker, counters in self._counters.items():
            if self._stage_of[worker] == stage:
                total.add(counters)
        return total

    def _names(self) -> list[str]:
        names = [stage.name for stage in self._stages]
        if self._train is not None:
            return [
                *names,
                f"{self._train.name}-train" if self._train.name in names else self._train.name,
            ]
        return [*names[:-1], f"{names[-1]} + write"]

    def _sample(self) -> None:
        if not self._started_s:
            return
        at_s = time.monotonic() - self._started_s
        rows_to_show: dict[str, ProgressRow] = {}
        stages: dict[str, dict[str, int]] = {}
        for stage, name in enumerate(self._names()):
            total = self._totals(stage)
            depth = self._transfer.depths[stage - 1] if stage else 0
            stages[name] = {"rows": total.rows_out, "queue": depth}
            busy, _, waits_out = _shares(total)
            note = f"busy {busy:.0%}"
            if stage:
                note += f", {depth} batches queued"
            elif waits_out > busy:
                note += ", held back"
            known = self._plan.num_rows if stage == 0 else None
            rows_to_show[name] = ProgressRow(
                done=total.rows_in if stage == 0 else total.rows_out,
                total=None if known is None else known * self._num_epochs,
                note=note,
            )
        self._samples.append({"t": round(at_s, 3), "stages": stages})
        if len(self._samples) > _MOST_SAMPLES:  # a run of days keeps a chart of the same size
            self._samples = self._samples[::2]
            self._sample_s *= 2
        self._progress.show(rows_to_show)

    def _report(self) -> Report:
        self._sample()
        seconds = self._ended_s - self._started_s
        reports = []
        for stage, name in enumerate(self._names()):
            total = self._totals(stage)
            busy, waits_in, waits_out = _shares(total)
            is_train = stage == len(self._stages)
            is_write = self._sink is not None and stage == len(self._stages) - 1
            reports.append(
                StageReport(
                    name=name,
                    kind="train" if is_train else "write" if is_write else "stage",
                    replicas=self._train.ranks
                    if is_train and self._train
                    else self._stages[stage].resources.replicas,
                    rows=total.rows_out,
                    batches=total.batches,
                    rows_per_s=total.rows_out / seconds if seconds else 0.0,
                    busy_share=busy,
                    wait_input_share=waits_in,
                    wait_output_share=waits_out,
                    cpu_s=total.cpu_ns / 1e9,
                    peak_memory_bytes=total.peak_memory_bytes,
                    restarts=0 if is_train else self._restarts[stage],
                    skipped_chunks=0 if is_train else self._skipped[stage],
                )
            )
        first_ns = self._totals(len(reports) - 1).first_batch_ns
        transfer = self._transfer
        outputs: list[str] = []
        if self._sink is not None:
            outputs = self._sink.finish(self._plan.hash, transfer.rows_written)
        return Report(
            seconds=seconds,
            startup_s=self._started_s - self._called_s,
            first_batch_s=first_ns / 1e9 - self._started_s if first_ns else None,
            rows_read=self._totals(0).rows_in,
            rows_out=reports[-1].rows if self._train else transfer.rows_written,
            steps=transfer.num_steps,
            epochs=self._num_epochs,
            padded_steps=transfer.num_padded,
            bottleneck=find_bottleneck(reports),
            stages=reports,
            samples=self._samples,
            metrics=self._metrics,
            checkpoints=self._checkpoints,
            dead_letters=str(self._dead_letters) if self._has_dead_letters else None,
            outputs=outputs,
            reissued_chunks=transfer.num_reissued,
            plan_hash=self._plan.hash,
            transport=self._config.transport,
            memory_limits=self._limits,
            result=self._result,
        )


def _shares(total: Counters) -> tuple[float, float, float]:
    """Busy, waiting for input, waiting for output: parts of the time, together 1."""
    whole = total.busy_ns + total.wait_input_ns + total.wait_output_ns
    if not whole:
        return 0.0, 0.0, 0.0
    return total.busy_ns / whole, total.wait_input_ns / whole, total.wait_output_ns / whole


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
