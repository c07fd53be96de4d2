"""A version is tried before it answers: every page read, requests scored."""

import mmap
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tadka.core.error import DataError
from tadka.scoring.model import Model
from tadka.serve.store.custom import PythonModel, error_text, score_each

_FEW = 16
"""Requests after which the other threads of a worker get their turn."""

_CHUNK_BYTES = 1 << 20
_POPULATE_READ = 22
"""Advice of Linux 5.14 and later that makes all pages of a range ready to be read."""


def replay(model: Model | PythonModel, messages: Sequence[bytes], where: str) -> None:
    """Scores requests, so that what is wrong shows before a client sees it.

    Args:
        model: Any model with a feature class.
        messages: Requests.
        where: They come from, for the message.

    Raises:
        DataError: One has no score in [0, 1]; the message names it.
    """
    for first in range(0, len(messages), _FEW):
        for place, found in enumerate(score_each(model, messages[first : first + _FEW]), first):
            if isinstance(found, Exception):
                raise DataError(
                    f"Request {place} of {where} has no score: {error_text(found)}"
                ) from found
        time.sleep(0)  # a thread that answers requests may be waiting for the interpreter


def touch(model: Model | PythonModel) -> None:
    """Reads every page of mapped parameters, so that no request waits for the disk.

    Args:
        model: Any; one without mapped arrays is ready as it is.
    """
    arrays = model.arrays.values() if isinstance(model, Model) else ()
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap):
            _touch(base)


def _touch(mapped: mmap.mmap) -> None:
    pages = np.frombuffer(mapped, np.uint8)[:: mmap.PAGESIZE]
    can_populate = True
    for start in range(0, len(mapped), _CHUNK_BYTES):
        length = min(_CHUNK_BYTES, len(mapped) - start)
        if can_populate:
            try:
                mapped.madvise(_POPULATE_READ, start, length)
            except OSError:  # an older kernel
                can_populate = False
        if not can_populate:
            pages[start // mmap.PAGESIZE : (start + length) // mmap.PAGESIZE + 1].max(initial=0)
        time.sleep(0)  # madvise keeps the interpreter; others get it after every chunk
