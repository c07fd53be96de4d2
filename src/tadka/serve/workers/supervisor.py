"""The thread of a server that starts its processes, watches them, and accepts connections.

One thread does all of it, so that nothing needs a lock: it waits for descriptors, and calls what
belongs to each. Children live no longer than this thread: the kernel sees to it.
"""

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from tadka.core.error import LaunchError, TadkaError
from tadka.features.features import Features
from tadka.serve.board import Board
from tadka.serve.config import ServeConfig
from tadka.serve.log.ring import Ring
from tadka.serve.order import Order
from tadka.serve.process import DRAIN, LEAVES, READY, Process
from tadka.serve.workers.address import listen
from tadka.serve.workers.pool import MAX_QUICK_ENDS, Pool, Restarts, Slot

_log = logging.getLogger("tadka.serve")

_ACCEPTS = 64  # at one time, so that ends of processes are seen under a flood of connections
_PAUSE_S = 0.1  # without descriptors nothing can be accepted; some may be free soon
_KILL_S = 1.0  # until what was killed and still is not dead is killed again
_LOG_END_S = 30.0  # for the log writer to publish what it has


class Supervisor:
    """All processes of a server.

    Args:
        config: With the ports that are held.
        transport: Which of the two servers runs.
        features: The feature class, or None.
        held: Sockets bound to the ports, closed at the end. With the native transport they listen
            when all workers are ready; with grpcio they keep the ports for the workers.
    """

    def __init__(
        self,
        config: ServeConfig,
        transport: Literal["native", "grpcio"],
        features: type[Features] | None,
        held: Sequence[socket.socket],
    ) -> None:
        self.begun = threading.Event()
        """Set when every worker is ready, or when none ever will be."""
        self.ended = threading.Event()
        """Set when no process is left."""
        self.news = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """A descriptor that is readable after either has been set, until `read_news`."""
        self.error: TadkaError | None = None
        """Why the server cannot go on."""
        self.is_ready = False
        self._config = _from_anywhere(config)
        self._transport = transport
        self._features = features
        self._held = held
        self._listeners = list(held) if transport == "native" else []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Not when the thread ends: somebody may ask it to stop even then.
        for descriptor in (self._wake, self.news):
            weakref.finalize(self, os.close, descriptor)
        self._asked: list[float] = []
        self._drain_until_s: float | None = None
        self._accept_at_s: float | None = None  # when the listeners are to be watched again
        self._is_accepting = False
        self._has_warned = False
        self._selector = selectors.DefaultSelector()
        self._writer: Process | None = None
        self._writer_is_ready = config.log is None
        self._writer_restarts = Restarts()
        self._writer_due_s: float | None = None
        self._is_last_writer = False  # which is not replaced
        self._board_fd = Board.create(self._config.num_workers)
        self._rings_fd = None
        if self._config.log is not None:
            self._rings_fd = Ring.create(self._config.num_workers)
        self.board = Board(self._config.num_workers, self._board_fd)
        self.pool = Pool(self.board, self._config.num_workers, self._config.max_connections)
        self._thread = threading.Thread(target=self._run, name="tadka-serve", daemon=True)

    def start(self) -> None:
        """Begins; `begun` tells how it went."""
        self._thread.start()

    def ask_to_stop(self, grace_s: float) -> None:
        """Ends the server soon: a signal handler may call it, and any thread.

        Args:
            grace_s: How long calls in flight may take; what is asked later may only be sooner.
        """
        self._asked.append(grace_s)
        os.eventfd_write(self._wake, 1)

    def read_news(self) -> None:
        """Makes `news` unreadable until there are some."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.news)

    def join(self, timeout_s: float | None = None) -> bool:
        """Whether all has ended, after waiting for it."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            self._watch(self._wake, self._hear)
            if self._rings_fd is not None:
                self._start_writer()
            for slot in self.pool:
                self._start_worker(slot)
            while self._drain_until_s is None or self.pool.processes:
                self._turn()
            self._end_writer()
        except TadkaError as error:
            self._fail(error)
        # Whatever it is, the caller's thread has to hear of it.
        except Exception as error:  # noqa: BLE001
            failure = LaunchError(f"The server failed: {type(error).__name__}: {error}.")
            failure.__cause__ = error
            self._fail(failure)
        finally:
            self._close()

    def _turn(self) -> None:
        """Waits for something to do, and does it."""
        self._turn_once(self._wait_s())
        now = time.monotonic()
        if self._drain_until_s is not None:
            if now >= self._drain_until_s:
                for process in self.pool.processes:
                    process.kill()
                self._drain_until_s = now + _KILL_S
            return
        for slot in self.pool:
            if slot.due_s is not None and now >= slot.due_s:
                self._start_worker(slot)
        if self._writer_due_s is not None and now >= self._writer_due_s:
            self._start_writer()
        self._accept_or_not(now)

    def _turn_once(self, wait_s: float | None) -> None:
        for key, _ in self._selector.select(wait_s):
            # One event may undo the next: a process that is buried says no more.
            if key.fd in self._selector.get_map():
                key.data()

    def _wait_s(self) -> float | None:
        times = [self._drain_until_s]
        if self._drain_until_s is None:
            times += [slot.due_s for slot in self.pool]
            times += [self._writer_due_s, self._accept_at_s if self.pool.takers() else None]
        known = [moment for moment in times if moment is not None]
        return max(0.0, min(known) - time.monotonic()) if known else None

    def _watch(self, descriptor: int, call: Callable[[], None]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, call)

    def _forget(self, descriptor: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)

    def _hear(self) -> None:
        """Somebody asked to stop."""
        os.eventfd_read(self._wake)
        if self._asked:
            self._drain(min(self._asked))

    # ------------------------------------------------------------ workers

    def _start_worker(self, slot: Slot) -> None:
        try:
            process = slot.fill(self._make_worker)
        except LaunchError as error:
            if not self.is_ready:
                raise
            self._restart_worker(slot, str(error))
            return
        self._watch(process.pidfd, partial(self._bury_worker, slot))
        self._watch(process.control.fileno(), partial(self._listen_to, slot))

    def _make_worker(self, slot: Slot) -> Process:
        return self._make(slot.name, "tadka.serve.workers.worker", slot.index)

    def _make(self, name: str, entry: str, index: int) -> Process:
        descriptors = [self._board_fd]
        if self._rings_fd is not None:
            descriptors.append(self._rings_fd)
        order = Order(
            config=self._config,
            transport=self._transport,
            features=self._features,
            index=index,
            board=self._board_fd,
            rings=self._rings_fd,
        )
        return Process(name, entry, order, descriptors)

    def _listen_to(self, slot: Slot) -> None:
        assert slot.process is not None
        said = slot.process.receive()
        if said == b"":
            self._forget(slot.process.control.fileno())
        elif said == READY:
            slot.ready()
            self._begin_if_ready()
        elif said == LEAVES:
            slot.is_leaving = True
            slot.process.send(DRAIN)

    def _bury_worker(self, slot: Slot) -> None:
        assert slot.process is not None
        self._forget(slot.process.pidfd)
        self._forget(slot.process.control.fileno())
        was_leaving = slot.is_leaving
        pid, end = slot.process.pid, slot.empty()
        if self._drain_until_s is not None:
            return
        if not self.is_ready:
            raise end.failure or LaunchError(
                f"Worker {slot.index} {end} before it was ready. Its last words stand on standard "
                "error."
            )
        if was_leaving and end.status == 0:
            _log.info("Worker %d (process %d) was told to end.", slot.index, pid)
            slot.due_s = time.monotonic()
            return
        self._restart_worker(slot, f"Worker {slot.index} (process {pid}): {end}")

    def _restart_worker(self, slot: Slot, why: str) -> None:
        """Sees to it that somebody is in a slot again, unless that is hopeless."""
        pause_s = slot.restarts.end()
        if slot.restarts.num_quick < MAX_QUICK_ENDS:
            slot.due_s = time.monotonic() + pause_s
            _log.warning("%s. It is started again.", why.rstrip("."))
            return
        _log.error(
            "%s. It ended at once %d times and is not started again.",
            why.rstrip("."),
            MAX_QUICK_ENDS,
        )
        if all(other.is_lost for other in self.pool):
            raise LaunchError(
                f"No worker is left: each ended at once {MAX_QUICK_ENDS} times, the last one so: "
                f"{why}"
            )

    # ------------------------------------------------------------ connections

    def _begin_if_ready(self) -> None:
        """Lets clients come when all are ready."""
        is_time = self.pool.is_ready and self._writer_is_ready and self._drain_until_s is None
        if self.is_ready or not is_time:
            return
        for listener in self._listeners:
            listen(listener)
        self.is_ready = True
        self._tell(self.begun)

    def _accept_or_not(self, now: float) -> None:
        """Accepts while somebody takes connections; otherwise they wait in the kernel."""
        if self._accept_at_s is not None and now >= self._accept_at_s:
            self._accept_at_s = None
        wants = self.is_ready and self._accept_at_s is None and bool(self.pool.takers())
        if wants and not self._is_accepting:
            for listener in self._listeners:
                self._watch(listener.fileno(), partial(self._accept, listener))
        elif self._is_accepting and not wants:
            for listener in self._listeners:
                self._forget(listener.fileno())
        self._is_accepting = wants

    def _accept(self, listener: socket.socket) -> None:
        accepted: list[socket.socket] = []
        try:
            while len(accepted) < _ACCEPTS:
                accepted.append(listener.accept()[0])
        except BlockingIOError:
            pass
        except ConnectionError:  # the client left before
            pass
        except OSError as error:  # no descriptors or no memory: both may be there again soon
            self._accept_at_s = time.monotonic() + _PAUSE_S
            if not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "No connections can be accepted at present (%s). Raise the limit of open "
                    "files: ulimit -n.",
                    error.strerror,
                )
        self.pool.hand_over(accepted)

    # ------------------------------------------------------------ the log writer

    def _start_writer(self) -> None:
        self._writer_due_s = None
        try:
            writer = self._make("tadka-serve-log", "tadka.serve.log.writer", 0)
        except LaunchError as error:
            if not self.is_ready and self._drain_until_s is None:
                raise
            self._restart_writer(str(error))
            return
        self._writer = writer
        self._watch(writer.pidfd, self._bury_writer)
        self._watch(writer.control.fileno(), self._listen_to_writer)

    def _listen_to_writer(self) -> None:
        assert self._writer is not None
        said = self._writer.receive()
        if said == b"":
            self._forget(self._writer.control.fileno())
        elif said == READY:
            self._writer_is_ready = True
            self._writer_restarts.ready()
            self._begin_if_ready()

    def _bury_writer(self) -> None:
        assert self._writer is not None
        self._forget(self._writer.pidfd)
        self._forget(self._writer.control.fileno())
        pid, end = self._writer.pid, self._writer.close()
        self._writer = None
        if not self.is_ready and self._drain_until_s is None:
            raise end.failure or LaunchError(f"The log writer {end} before it was ready.")
        if self._drain_until_s is not None and end.status == 0:
            return
        self._restart_writer(f"The log writer (process {pid}): {end}")

    def _restart_writer(self, why: str) -> None:
        """Sees to it that rows are written again, unless the server ends."""
        if self._is_last_writer:
            _log.error("%s. What it had not written of the log is lost.", why.rstrip("."))
            return
        # Without end, as rows that nobody writes are dropped and counted, and answers go on.
        self._writer_due_s = time.monotonic() + self._writer_restarts.end()
        _log.warning("%s. It is started again.", why.rstrip("."))

    def _end_writer(self) -> None:
        """Lets the log writer write what the workers left, and publish it."""
        if self._rings_fd is None:
            return
        self._is_last_writer = True
        if self._writer is None:
            self._start_writer()
        if self._writer is not None:
            self._writer.send(DRAIN)
        until = time.monotonic() + _LOG_END_S
        is_late = False
        while self._writer is not None:
            now = time.monotonic()
            # Who asked first asked for the calls; who asks again does not want to wait for this.
            until = min([until, *(now + grace_s for grace_s in self._asked[1:])])
            if now >= until:
                if not is_late:
                    is_late = True
                    _log.warning("The log writer is still at work and is killed.")
                self._writer.kill()
            self._turn_once(_KILL_S if now >= until else until - now)

    # ------------------------------------------------------------ the end

    def _drain(self, grace_s: float) -> None:
        """No new connections; workers finish their calls."""
        until = time.monotonic() + grace_s
        if self._drain_until_s is not None:
            self._drain_until_s = min(self._drain_until_s, until)
            return
        self._drain_until_s = until
        self._close_listeners()
        for slot in self.pool:
            slot.due_s = None
            if slot.process is not None and not (slot.is_ready and slot.process.send(DRAIN)):
                slot.process.kill()

    def _fail(self, error: TadkaError) -> None:
        """Ends everything at once because of an error."""
        self.error = error
        self._drain(0.0)
        for process in self.pool.processes:
            process.kill()
        for slot in self.pool:
            if slot.process is not None:
                slot.empty()
        if self._writer is not None:
            self._writer.kill()
            self._writer.close()
            self._writer = None

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            self._forget(listener.fileno())
            listener.close()
        self._listeners.clear()

    def _close(self) -> None:
        self._close_listeners()
        for held in self._held:
            held.close()
        self._selector.close()
        os.close(self._board_fd)
        if self._rings_fd is not None:
            os.close(self._rings_fd)
        self.begun.set()
        self._tell(self.ended)

    def _tell(self, event: threading.Event) -> None:
        event.set()
        os.eventfd_write(self.news, 1)


def _from_anywhere(config: ServeConfig) -> ServeConfig:
    """The same settings for processes that start later, when this one may be in another folder."""
    features = config.features
    if features is not None:
        module, colon, name = features.rpartition(":")
        if module.endswith(".py"):
            features = f"{Path(module).absolute()}{colon}{name}"
    return replace(
        config,
        store=str(Path(config.store).absolute()),
        log=None if config.log is None else str(Path(config.log).absolute()),
        features=features,
    )
