"""The error tree. Each error is also the builtin exception that a caller would expect.

TadkaError
├── ConfigError   (ValueError)     a setting or argument is wrong; nothing has started
├── DataError     (ValueError)     a file, column or row is wrong, or a file cannot be written
├── NotFound      (LookupError)    a file, pattern or registered name does not exist
├── StageError    (RuntimeError)   user code failed inside a running stage
├── LaunchError   (RuntimeError)   a process could not be started, or died
├── ServeError    (RuntimeError)   a server did not answer a request
│   ├── Unreachable   (ConnectionError)   nobody answers at its address
│   └── TooLate       (TimeoutError)      it did not answer in time
└── MissingExtra  (ImportError)    an optional library is not installed
"""

from typing import Any


class TadkaError(Exception):
    """Root of every error that tadka raises on purpose."""


class ConfigError(TadkaError, ValueError):
    """A setting or an argument is wrong."""


class DataError(TadkaError, ValueError):
    """Data cannot be read or written as asked."""


class NotFound(TadkaError, LookupError):
    """What was named does not exist."""


class StageError(TadkaError, RuntimeError):
    """User code failed inside a stage."""


class LaunchError(TadkaError, RuntimeError):
    """A process could not be started, or died."""


class ServeError(TadkaError, RuntimeError):
    """A server did not answer a request.

    Args:
        message: What is wrong.
        status: The status of gRPC by name, such as `"RESOURCE_EXHAUSTED"`.
    """

    def __init__(self, message: str, status: str = "UNKNOWN") -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.status)


class Unreachable(ServeError, ConnectionError):
    """Nobody answers at the address of a server."""


class TooLate(ServeError, TimeoutError):
    """A server did not answer in time."""


class MissingExtra(TadkaError, ImportError):
    """An optional library is not installed; the message names the extra to install."""
