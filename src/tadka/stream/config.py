"""How batches travel, and what is done when a process dies."""

from dataclasses import dataclass
from typing import Literal

from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.core.resource import parse_bytes

# The room's own extra. Asked for here, in the first module that `tadka.stream` imports, so that
# a bare installation is told what to install instead of which module is missing.
require("pyarrow", extra="stream")
require("zmq", extra="stream")

Transport = Literal["auto", "shm", "ipc", "tcp"]
_TRANSPORTS = ("auto", "shm", "ipc", "tcp")


@dataclass(frozen=True, repr=False)
class CurveKeys:
    """One key pair for a run: whoever holds it is one of us (CurveZMQ, Z85 text)."""

    public: bytes
    secret: bytes


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Settings of the way batches go from process to process.

    Args:
        transport: ``shm`` is shared memory on one host, ``ipc`` ZeroMQ over Unix sockets,
            ``tcp`` ZeroMQ over TCP. ``auto`` takes ``shm`` where there is enough of it, else
            ``ipc`` with one warning.
        num_credits: Batches a replica may have made that nobody has finished with, at least 1.
        credit_bytes: The same in bytes, as "256M" or a number. A lease always may have one
            batch in flight, so that a batch above this limit does not stop the flow.
        max_restarts: How often one stage may lose a process in a run.
        heartbeat_timeout_s: A process that is silent for longer is killed and replaced.
        coordinator_host: Address the coordinator binds under ``tcp``.
        worker_host: Address workers bind under ``tcp``.
        curve: Encrypt and authenticate ``tcp`` with a key pair made for the run.
        keys: Set by the run; leave it alone.

    Raises:
        ConfigError: A value is out of range.
    """

    transport: Transport = "auto"
    num_credits: int = 16
    credit_bytes: str | int = "256M"
    max_restarts: int = 10
    heartbeat_timeout_s: float = 60.0
    coordinator_host: str = "127.0.0.1"
    worker_host: str = "127.0.0.1"
    curve: bool = False
    keys: CurveKeys | None = None

    def __post_init__(self) -> None:
        if self.transport not in _TRANSPORTS:
            raise ConfigError(
                f"TransferConfig 'transport' is {self.transport!r}; it must be one of "
                f"{', '.join(_TRANSPORTS)}."
            )
        for name, least, kind in (
            ("num_credits", 1, int),
            ("max_restarts", 0, int),
            ("heartbeat_timeout_s", 1, int | float),
        ):
            value = getattr(self, name)
            # "not >=" refuses NaN, too
            if not isinstance(value, kind) or isinstance(value, bool) or not value >= least:
                what = "a whole number" if kind is int else "a number"
                raise ConfigError(
                    f"TransferConfig {name!r} is {value!r}; it must be {what} from {least}."
                )
        try:
            credit_limit_bytes = parse_bytes(self.credit_bytes)
        except ConfigError:
            credit_limit_bytes = 0
        if credit_limit_bytes < 1:
            raise ConfigError(
                f"TransferConfig 'credit_bytes' is {self.credit_bytes!r}; it must be a size such "
                "as '256M' or a number of bytes, above 0."
            )
        if self.curve and self.transport != "tcp":
            raise ConfigError(
                f"TransferConfig has curve=True and transport={self.transport!r}; only 'tcp' "
                "leaves the host and is encrypted. Set transport='tcp' or leave curve out."
            )

    @property
    def credit_limit_bytes(self) -> int:
        """`credit_bytes` as a number."""
        return parse_bytes(self.credit_bytes)
