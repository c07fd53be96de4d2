"""A server: worker processes that answer, and one thread of this process that looks after them."""

import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self

from tadka.core.error import ConfigError, LaunchError
from tadka.features.features import Features
from tadka.launch.guard import wait_readable
from tadka.serve.config import ServeConfig
from tadka.serve.log.writer import check_log_directory
from tadka.serve.store.store import Store, publish_command
from tadka.serve.workers.address import hold, port_of, share
from tadka.serve.workers.backend import choose_transport
from tadka.serve.workers.signals import Signals
from tadka.serve.workers.supervisor import Supervisor

# A shell reports a process that a signal ended by this plus the signal's number.
_SIGNAL_STATUS = 128


class Server:
    """A server of the models of a store.

    It starts one process for each core and gives every connection to the one that holds the fewest.
    A process that dies is replaced; the others go on.

    Args:
        config: Settings; None for the defaults.
        features: The feature class, where it cannot be imported by the name that was saved with the
            models: one that was defined in a notebook or in the program itself.

    >>> with Server(ServeConfig(store="serving")) as server:  # doctest: +SKIP
    ...     server.wait()
    """

    def __init__(
        self, config: ServeConfig | None = None, features: type[Features] | None = None
    ) -> None:
        self.config = config or ServeConfig()
        self._features = features
        self._supervisor: Supervisor | None = None
        self._prepared: tuple[Literal["native", "grpcio"], list[socket.socket]] | None = None

    def prepare(self) -> None:
        """Takes the ports, and checks what can be checked before any process runs.

        `start` and `run` do it themselves. A program calls it where something shall be done only
        by a server that can start, such as publishing a model. Clients are refused until `start`;
        `stop` gives the ports back. A second call does nothing.

        Raises:
            ConfigError: A port is in use, or the log's folder cannot be written.
            MissingExtra: Neither the compiled server nor grpcio is installed.
        """
        if self._prepared is not None or self._supervisor is not None:
            return
        transport = choose_transport(self.config)
        if self.config.log is not None:
            check_log_directory(self.config.log)
        held = _hold(self.config)
        if transport == "grpcio":
            for sock in held:
                share(sock)
        self.config = replace(
            self.config,
            port=port_of(held[0]),
            http_port=port_of(held[1]),
            workers=self.config.num_workers,
            transport=transport,
        )
        self._prepared = transport, held

    def start(self) -> None:
        """Starts all processes; returns when every one of them is ready to answer.

        Raises:
            ConfigError: A port is in use, the store serves nothing, the log's folder cannot be
                written, or the feature class is not the one of the models. No process is left.
            DataError: A model of the store is damaged.
            NotFound: A file of a model is missing, or the module of the feature class.
            MissingExtra: Neither the compiled server nor grpcio is installed.
            LaunchError: A process did not start, or the server has been started before.
        """
        self.prepare()
        supervisor = self._launch()
        try:
            supervisor.begun.wait()
        except BaseException:  # a signal's
            self.stop(0)
            raise
        if not supervisor.is_ready:
            supervisor.join()
            raise supervisor.error or LaunchError("The server was stopped as it started.")

    @property
    def port(self) -> int:
        """Of gRPC; the one that was found where the configuration says 0."""
        return self.config.port

    @property
    def http_port(self) -> int:
        """Of HTTP; the one that was found where the configuration leaves it open."""
        return self.config.wanted_http_port

    @property
    def num_refused(self) -> int:
        """Connections that were closed at once because every worker was full."""
        return self._started().pool.num_refused

    def stop(self, grace_s: float | None = None) -> None:
        """Ends the server: calls in flight are answered, new ones are refused.

        Of a server that is only prepared it gives the ports back.

        Args:
            grace_s: After this time processes are killed; None takes it from the configuration. A
                second call may make it shorter.
        """
        if self._supervisor is not None:
            self._supervisor.ask_to_stop(self.config.grace_s if grace_s is None else grace_s)
            self._supervisor.join()
        self._release()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until the server has ended.

        Args:
            timeout_s: The longest wait; None for no limit.

        Returns:
            Whether it has ended.

        Raises:
            LaunchError: It ended because no worker could be kept alive, or was never started.
        """
        supervisor = self._started()
        has_ended = supervisor.join(timeout_s)
        if has_ended and supervisor.error is not None:
            raise supervisor.error
        return has_ended

    def run(self, on_ready: "Callable[[Server], object] | None" = None) -> int:
        """Serves until SIGTERM or SIGINT: what a program does that is nothing but a server.

        The first signal lets calls in flight finish, a second one ends everything at once. To be
        called from the main thread.

        Args:
            on_ready: Called with this server when it answers.

        Returns:
            Exit status: 0 after a stop that was asked for; 128 plus the signal's number after the
            second signal.

        Raises:
            ConfigError: As `start` raises it; so do the others.
            LaunchError: No worker is left.
        """
        came: list[int] = []
        has_told = False
        with Signals(signal.SIGTERM, signal.SIGINT) as signals:
            self.prepare()
            supervisor = self._launch()
            try:
                while not supervisor.ended.is_set():
                    wait_readable([signals.fileno(), supervisor.news], None)
                    supervisor.read_news()
                    for number in signals.take():
                        came.append(number)
                        supervisor.ask_to_stop(self.config.grace_s if len(came) == 1 else 0)
                    if supervisor.is_ready and not has_told:
                        has_told = True
                        if on_ready is not None:
                            on_ready(self)
            finally:
                self.stop(0)
        self.wait()
        return 0 if len(came) < 2 else _SIGNAL_STATUS + came[-1]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self) -> Supervisor:
        """Starts all processes of a prepared server; where it cannot, the ports are free again."""
        if self._supervisor is not None:
            raise LaunchError("A server starts once only. Make a new one.")
        assert self._prepared is not None
        transport, held = self._prepared
        try:
            if not Store(self.config.store).state().models:
                raise ConfigError(
                    f"Store {self.config.store!r} serves no model. Publish one: "
                    f"{publish_command(self.config.store)}."
                )
            supervisor = Supervisor(self.config, transport, self._features, held)
        except BaseException:
            self._release()
            raise
        self._supervisor, self._prepared = supervisor, None  # it closes the sockets at its end
        supervisor.start()
        return supervisor

    def _release(self) -> None:
        """Gives back ports of a server that does not start."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            for sock in prepared[1]:
                sock.close()

    def _started(self) -> Supervisor:
        if self._supervisor is None:
            raise LaunchError("The server has not been started. Call start first.")
        return self._supervisor


def _hold(config: ServeConfig) -> list[socket.socket]:
    """The ports of gRPC and of HTTP, in this order."""
    first = hold(config.host, config.port, "--port")
    try:
        return [first, hold(config.host, config.wanted_http_port, "--http-port")]
    except BaseException:
        first.close()
        raise
