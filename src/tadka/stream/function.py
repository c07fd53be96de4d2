"""Calling a user's function: one batch in, batches out, and what went wrong in her words."""

import copy
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from tadka.core.error import DataError
from tadka.stream.codec import Batch, aligned_bytes, encode
from tadka.stream.plan import random_generator

_SCALARS = (bool, int, float, complex, str, bytes, np.generic)


class UserError(Exception):
    """Carries what the user's function raised through our own generators."""


class Function:
    """The user's function or object, called the same way."""

    def __init__(
        self, function: Callable[..., Any] | None, name: str, init: dict[str, Any]
    ) -> None:
        self._name = name
        built: Any = function(**init) if inspect.isclass(function) else function
        self._function: Callable[..., Any] | None = built
        self._takes_rng = self._function is not None and takes_rng(self._function)

    def __call__(self, batch: Batch, key: tuple[int, ...]) -> Iterator[Batch]:
        """Results for a batch, one by one.

        Args:
            batch: What the stage before made.
            key: Of the batch's own random generator.
        """
        function = self._function
        if function is None:
            yield batch
            return
        try:
            # By name: other parameters may stand between the two.
            extra = {"rng": random_generator(*key)} if self._takes_rng else {}
            result = function(batch, **extra)
        except Exception as error:  # of any kind: it is the user's
            raise UserError from error
        if result is None:
            return
        if isinstance(result, dict | pa.RecordBatch | pa.Table):
            yield result
        elif isinstance(result, list | Iterator):
            yield from self._each(result)
        else:
            yield self._checked(result)

    def twice(self, batch: Batch, key: tuple[int, ...]) -> Iterator[Batch]:
        """The same, done twice and compared.

        Args:
            batch: What the stage before made. The first time, a copy of it is worked, because
                the function may change what it is given.
            key: Of the batch's own random generator.

        Raises:
            DataError: The results differ.
        """
        # As bytes at once: a generator may fill the same arrays again for its next result.
        before = [_bytes(result) for result in self(copy.deepcopy(batch), key)]
        count = 0
        for result in self(batch, key):
            if count >= len(before) or _bytes(result) != before[count]:
                raise self._differs()
            count += 1
            yield result
        if count != len(before):
            raise self._differs()

    def _differs(self) -> DataError:
        return DataError(
            f"Stage {self._name!r} gave two different results for one batch, so a restart "
            "or a resumed run would not give the same stream. Draw random numbers from the "
            "second parameter, def f(batch, rng), not from a global generator or the clock."
        )

    def close(self) -> None:
        """Let an object with a `close` method finish."""
        close = getattr(self._function, "close", None)
        if callable(close) and not inspect.isfunction(self._function):
            close()

    def _each(self, results: Iterable[Any]) -> Iterator[Batch]:
        iterator = iter(results)
        while True:
            try:
                result = next(iterator)
            except StopIteration:
                return
            except Exception as error:  # of any kind: it is the user's
                raise UserError from error
            if result is not None:
                yield self._checked(result)

    def _checked(self, result: Any) -> Batch:
        if isinstance(result, _SCALARS):
            raise DataError(
                f"Stage {self._name!r} returned a {type(result).__name__} ({result!r:.40}); it "
                "must return a batch (a dict of arrays, an Arrow table), an iterable of batches, "
                "or None to drop the batch."
            )
        return result


def takes_rng(function: Callable[..., Any]) -> bool:
    """Whether a stage's function has a parameter named ``rng``."""
    try:
        return "rng" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some C functions have no signature
        return False


def _bytes(batch: Batch) -> bytes:
    encoded = encode(batch)
    memory = aligned_bytes(encoded.size_bytes)
    memory[:] = 0
    encoded.write_to(memory)
    return memory.tobytes()


def cause_of(error: BaseException) -> BaseException:
    """The user's own exception."""
    if isinstance(error, UserError) and error.__cause__ is not None:
        return error.__cause__
    return error


def traceback_of(error: BaseException) -> str:
    """The traceback as the user's code sees it: without our frames above it."""
    cause = cause_of(error)
    frames: TracebackType | None = cause.__traceback__
    here = str(Path(__file__).parent)
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(here):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(cause), cause, frames))
