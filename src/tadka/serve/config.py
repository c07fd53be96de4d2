"""Settings of a server."""

import math
import os
from dataclasses import dataclass
from typing import Literal

from tadka.core.error import ConfigError

TRANSPORTS = ("auto", "native", "grpcio")
_MAX_PORT = 65535
_WHOLE = {  # field -> least, most
    "port": (0, _MAX_PORT),
    "http_port": (0, _MAX_PORT),
    "workers": (1, 1024),
    "deadline_ms": (1, 24 * 3600 * 1000),
    "max_message_bytes": (1, 1 << 30),
    "max_connections": (1, 1_000_000),
    "max_streams": (1, 100_000),
    "max_queue": (1, 10_000_000),
    "coalesce_us": (0, 100_000),
    "log_rotate_bytes": (1 << 10, 1 << 40),
}
_SECONDS = ("header_s", "idle_s", "log_rotate_s")
_MAY_BE_NONE = ("http_port", "workers")


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """What `tadka serve` reads.

    Args:
        store: Folder of the model store.
        host: Address to listen at; `"0.0.0.0"` for all of IPv4, `"::"` for all.
        port: Of gRPC; 0 takes any free one.
        http_port: Of HTTP; None is the next one after `port`. The native transport answers both
            protocols at both ports.
        workers: Worker processes; None is one for each core this process may use.
        deadline_ms: How long a call of a client that sends no deadline may wait.
        max_message_bytes: Longest request; longer ones are refused.
        max_connections: Open connections of one worker; more are closed at once.
        max_streams: Calls that one connection may have open.
        max_queue: Calls that may wait in one worker; more are refused.
        coalesce_us: Least time between the starts of two batches, as network cards have it for
            interrupts: requests that come in between wait and are answered together. It saves the
            cost of waking up at the price of latency; 0 answers everything at once. Of the native
            transport only.
        header_s: A request must be complete within this time of its first byte.
        idle_s: A connection without requests is closed after this time.
        grace_s: How long calls in flight may take to finish when the server stops.
        log: Folder of the request log; None for no log.
        log_share: Share of the requests that are logged, in [0, 1].
        log_rotate_s: A log file is published after this time.
        log_rotate_bytes: A log file is published when it is this long.
        transport: `"native"` is the compiled server, `"grpcio"` a slower one, and `"auto"` the
            native one where it was built.
        features: The feature class as MODULE:CLASS; None takes the one saved with the models.

    Raises:
        ConfigError: A value is out of range.
    """

    store: str = "serving"
    host: str = "127.0.0.1"
    port: int = 50051
    http_port: int | None = None
    workers: int | None = None
    deadline_ms: int = 1000
    max_message_bytes: int = 4 << 20
    max_connections: int = 10_000
    max_streams: int = 256
    max_queue: int = 16_384
    coalesce_us: int = 0
    header_s: float = 10
    idle_s: float = 600
    grace_s: float = 10
    log: str | None = None
    log_share: float = 0.01
    log_rotate_s: float = 60
    log_rotate_bytes: int = 128 << 20
    transport: Literal["auto", "native", "grpcio"] = "auto"
    features: str | None = None

    def __post_init__(self) -> None:
        for name, (least, most) in _WHOLE.items():
            value = getattr(self, name)
            is_fine = is_whole(value) and least <= value <= most
            if not is_fine and not (value is None and name in _MAY_BE_NONE):
                self._refuse(name, f"a whole number from {least:,} to {most:,}")
        for name in _SECONDS:
            if not (is_number(getattr(self, name)) and getattr(self, name) > 0):
                self._refuse(name, "seconds above 0")
        if not (is_number(self.grace_s) and self.grace_s >= 0):
            self._refuse("grace_s", "seconds, at least 0")
        if not (is_number(self.log_share) and 0 <= self.log_share <= 1):
            self._refuse("log_share", "a share from 0 to 1")
        for name in ("store", "host"):
            if not (isinstance(getattr(self, name), str) and getattr(self, name).strip()):
                self._refuse(name, "text that is not empty")
        for name in ("log", "features"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.strip()):
                self._refuse(name, "text that is not empty, or None")
        if self.transport not in TRANSPORTS:
            self._refuse("transport", f"one of {', '.join(TRANSPORTS)}")
        if self.port == self.http_port and self.port != 0:
            raise ConfigError(
                f"'port' and 'http_port' are both {self.port}; they must differ. The native "
                "transport answers gRPC and HTTP at both."
            )
        if self.http_port is None and self.port == _MAX_PORT:
            raise ConfigError(f"There is no port after {self.port} for HTTP; choose 'http_port'.")

    @property
    def num_workers(self) -> int:
        """Worker processes that are started."""
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def wanted_http_port(self) -> int:
        """The port for HTTP; 0 for any free one."""
        if self.http_port is not None:
            return self.http_port
        return self.port + 1 if self.port else 0

    def _refuse(self, name: str, accepted: str) -> None:
        raise ConfigError(f"Setting {name!r} is {getattr(self, name)!r}; it must be {accepted}.")


def is_whole(value: object) -> bool:
    """Whether a setting is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a setting is a number, and neither endless nor NaN; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
