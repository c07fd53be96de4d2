"""The counters of one worker, counted without a NumPy scalar for every number."""

from typing import Any

import numpy as np

from tadka.serve.board import (
    ARM,
    NUM_ARMS,
    NUM_SCORES,
    NUM_STATUSES,
    WORKER,
    Board,
    span_of,
)


def _word(kind: Any, name: str) -> int:
    """Where a field lies, in words of 8 bytes."""
    return int(kind.fields[name][1]) // 8


_ANSWERS, _SPAN_NS, _SPANS = (_word(WORKER, name) for name in ("answers", "span_ns", "spans"))
_PLACES = {name: _word(WORKER, name) for name in WORKER.fields or {}}
_ARMS = _word(WORKER, "arms")
_SERVED, _SHADOWED, _FAILED, _SUM, _SCORES, _BUSY_NS, _ARM_SPANS = (
    _word(ARM, name)
    for name in ("served", "shadowed", "failed", "score_sum", "scores", "busy_ns", "spans")
)


class Tally:
    """Counts for one worker, from one thread.

    Args:
        board: With the worker's slot.
        worker: Its number, from 0.
    """

    def __init__(self, board: Board, worker: int) -> None:
        self._counts = board.counts(worker)
        slot: Any = board.workers[worker : worker + 1]
        self._words = memoryview(slot.view(np.uint64))
        self._floats: Any = memoryview(slot.view(np.float64))
        self._arms: dict[tuple[str, int], int] = {}

    def add(self, name: str, number: int = 1) -> None:
        """Adds to a counter of the worker.

        Args:
            name: Such as `"shed"`, a field of `tadka.serve.board.WORKER`.
            number: How much.
        """
        self._words[_PLACES[name]] += number

    def set(self, name: str, value: int) -> None:
        """Sets a number of the worker, such as its generation."""
        self._words[_PLACES[name]] = value

    def answer(self, door: int, status: int, span_ns: int) -> None:
        """Counts one answer.

        Args:
            door: Index in `tadka.serve.board.DOORS`.
            status: Of gRPC, 0 to 16.
            span_ns: From arrival to answer.
        """
        words = self._words
        words[_ANSWERS + door * NUM_STATUSES + status] += 1
        words[_SPAN_NS] += max(span_ns, 0)
        words[_SPANS + span_of(span_ns)] += 1

    def arm(self, model: str, version: int) -> int:
        """Where the numbers of one version of one model begin; valid until `forget`.

        Args:
            model: Its name.
            version: From 1.
        """
        at = self._arms.get((model, version))
        if at is None:
            if len(self._arms) >= NUM_ARMS:  # the slot of one of them is about to be another's
                self._arms.clear()
            index = self._counts.arm_index(model, version)
            at = self._arms[model, version] = _ARMS + index * (ARM.itemsize // 8)
        return at

    def forget(self) -> None:
        """Looks every arm up anew: what is served has changed, and long unused ones give way."""
        self._arms.clear()

    def score(self, arm: int, score: float) -> None:
        """Counts a score that was answered.

        Args:
            arm: What `arm` gives.
            score: In [0, 1].
        """
        self._words[arm + _SERVED] += 1
        self._floats[arm + _SUM] += score
        self._words[arm + _SCORES + min(int(score * NUM_SCORES), NUM_SCORES - 1)] += 1

    def whole(self, arm: int, score: float, busy_ns: int, span_ns: int) -> None:
        """Counts a score that was answered, with its times: `score`, `busy` and `span` in one.

        Args:
            arm: What `arm` gives.
            score: In [0, 1].
            busy_ns: That the score took.
            span_ns: From arrival to answer.
        """
        words = self._words
        words[arm + _SERVED] += 1
        self._floats[arm + _SUM] += score
        at = int(score * NUM_SCORES)
        words[arm + _SCORES + (at if at < NUM_SCORES else NUM_SCORES - 1)] += 1
        words[arm + _BUSY_NS] += busy_ns
        words[arm + _ARM_SPANS + span_of(span_ns)] += 1

    def shadow(self, arm: int) -> None:
        """Counts a score that was logged only."""
        self._words[arm + _SHADOWED] += 1

    def failure(self, arm: int) -> None:
        """Counts a row at which the model or a property failed."""
        self._words[arm + _FAILED] += 1

    def busy(self, arm: int, busy_ns: int) -> None:
        """Counts the time that an arm took for scores."""
        self._words[arm + _BUSY_NS] += busy_ns

    def span(self, arm: int, span_ns: int) -> None:
        """Counts the time from arrival to answer of a row that an arm scored."""
        self._words[arm + _ARM_SPANS + span_of(span_ns)] += 1
