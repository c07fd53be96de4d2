"""The error tree. Each error is also the builtin exception that a caller would expect.

TadkaError
├── ConfigError   (ValueError)     a setting or argument is wrong; nothing has started
├── DataError     (ValueError)     a file, column or row is wrong, or a file cannot be written
├── NotFound      (LookupError)    a file, pattern or registered name does not exist
├── StageError    (RuntimeError)   user code failed inside a running stage
├── LaunchError   (RuntimeError)   a process could not be started, or died
└── MissingExtra  (ImportError)    an optional library is not installed
"""


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


class MissingExtra(TadkaError, ImportError):
    """An optional library is not installed; the message names the extra to install."""
