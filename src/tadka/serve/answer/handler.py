"""The one place that answers: both transports hand their requests to it, a batch at a time.

calls -> each is routed: a reply at once, or a question (rows that need scores)
      -> the rows of all questions go to each arm as one predict
      -> each question writes its reply; counters, request log, shadows
"""

import logging
import math
import os
import re
import time
from collections import deque
from collections.abc import Sequence

from tadka.core.error import DataError
from tadka.features.row import PropertyError
from tadka.serve.answer.call import (
    GRPC,
    HTTP,
    INTERNAL,
    INVALID_ARGUMENT,
    OIP,
    OK,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    Call,
    Refused,
    Reply,
)
from tadka.serve.answer.express import Express
from tadka.serve.answer.question import Question
from tadka.serve.answer.rest import write_json
from tadka.serve.answer.route import Router
from tadka.serve.board import Board
from tadka.serve.config import ServeConfig
from tadka.serve.log.ring import SERVED, SHADOW, Ring
from tadka.serve.prediction import method_path
from tadka.serve.store.custom import ModelError, error_text
from tadka.serve.store.live import Arm, Live, Serving
from tadka.serve.store.state import hash_text
from tadka.serve.tally import Tally

MAX_SHADOWS = 1_000
"""Rows that wait for shadows; more are dropped."""

TOO_LATE = "The request waited longer than its deadline: the server has too much to do."

_FEW_ROWS = 32  # up to here a row at a time is faster, where no Python scores
_MAX_TRIES = 16
_LOG_SEED = 0x10C
_QUIET_S = 60.0  # one traceback of a kind in this time
_AT_ROW = re.compile(r"^Row \d+: ")

_logger = logging.getLogger("tadka.serve")


class Handler:
    """Answers requests, from one thread at a time.

    Args:
        live: What is served.
        board: Counters of all workers.
        worker: Number of this one, from 0.
        log: Where sampled rows go; None for no log.
        config: Of the server.
        transport: What metrics say of it: `"native"` or `"grpcio"`.
        nghttp2: Version of the library, for metrics; "" without it.

    Attributes:
        is_draining: Set it when the server stops: health checks say so from then on.
    """

    def __init__(
        self,
        live: Live,
        board: Board,
        worker: int,
        log: Ring | None,
        config: ServeConfig,
        *,
        transport: str = "grpcio",
        nghttp2: str = "",
    ) -> None:
        self.live = live
        self.tally = Tally(board, worker)
        self._router = Router(live, board, transport=transport, nghttp2=nghttp2)
        self._serving: Serving | None = None
        self._method = ""
        self._log = log
        self._log_below = int(config.log_share * 2**32)
        self._ids = RequestIds()
        self._express = Express(
            self.tally, self._ids.next, None if log is None else self._write_served
        )
        self._shadows: deque[tuple[Arm, bytes, str]] = deque()
        self._last_logged: dict[str, float] = {}

    @property
    def is_draining(self) -> bool:
        """Whether the server stops."""
        return self._router.is_draining

    @is_draining.setter
    def is_draining(self, value: bool) -> None:
        self._router.is_draining = value

    @property
    def num_shadows(self) -> int:
        """Rows that wait for `run_shadows`."""
        return len(self._shadows)

    def answer(self, calls: Sequence[Call]) -> list[Reply]:
        """Answers a batch of requests: the rows of all go to each model together.

        Args:
            calls: In the order of their arrival.

        Returns:
            One reply of each, in the same order. What one call has wrong spoils no other.
        """
        serving = self.live.current
        if serving is not self._serving:
            self._serving = serving
            self.tally.forget()
            self._express.follow(serving)
            self._method = method_path(serving.features)
        if len(calls) == 1 and calls[0].path == self._method and not calls[0].models:
            reply = self._express.answer(calls[0]) if calls[0].protocol == "grpc" else None
            if reply is not None:
                return [reply]
        now = time.monotonic_ns()
        replies: list[Reply] = []
        questions: list[tuple[int, Question]] = []
        counted: list[tuple[int, int]] = []  # door and status of each call; -1: not counted
        for call in calls:
            door = _door(call)
            try:
                if 0 < call.deadline_ns <= now and self._router.is_for_scores(call, serving):
                    self.tally.add("shed")
                    raise Refused(RESOURCE_EXHAUSTED, TOO_LATE)
                routed = self._router.route(call, serving)
            except Exception as error:  # noqa: BLE001 - whatever one request has must not stop the server
                status, reply = self._refuse(call, error)
                replies.append(reply)
                counted.append((door, status))
                continue
            if isinstance(routed, Question):
                questions.append((len(replies), routed))
                replies.append(_NOTHING)
                counted.append((door, OK))
            else:
                replies.append(routed)
                counted.append((door, -1))
        if questions:
            self._score([question for _, question in questions])
            for place, question in questions:
                status, replies[place] = self._finish(question)
                counted[place] = (counted[place][0], status)
        end = time.monotonic_ns()
        for call, (door, status) in zip(calls, counted, strict=True):
            if status >= 0:
                self.tally.answer(door, status, end - call.arrived_ns)
        for _, question in questions:
            if question.is_answered:
                span_ns = end - question.call.arrived_ns
                for arm, _ in (pair for row in question.answers for pair in row):
                    self.tally.span(self.tally.arm(arm.model, arm.version), span_ns)
        return replies

    def run_shadows(self, max_rows: int) -> int:
        """Scores rows for shadows; for moments when no request waits.

        Args:
            max_rows: No more than these.

        Returns:
            How many were scored.
        """
        rows: dict[Arm, list[tuple[bytes, str]]] = {}
        for _ in range(min(max_rows, len(self._shadows))):
            arm, message, request_id = self._shadows.popleft()
            rows.setdefault(arm, []).append((message, request_id))
        time_us = time.time_ns() // 1000
        for arm, pairs in rows.items():
            at = self.tally.arm(arm.model, arm.version)
            for (message, request_id), score in zip(
                pairs, self._predict(arm, [message for message, _ in pairs]), strict=True
            ):
                if isinstance(score, Exception):
                    if _status_of(score) == INTERNAL:
                        self.tally.failure(at)
                        self.text_of(score)
                    continue
                self.tally.shadow(at)
                self._write_log(time_us, SHADOW, arm, score, request_id, message)
        return sum(map(len, rows.values()))

    def text_of(self, error: Exception) -> str:
        """What a client is told of an exception; one of ours goes to the log of the process, too.

        Args:
            error: From a feature class, a model or the server itself.

        Returns:
            Text that can be encoded.
        """
        text = error_text(error)
        if isinstance(error, Refused):
            return text
        if _status_of(error) == INVALID_ARGUMENT:
            text = _AT_ROW.sub("", text)
            return text[:1].upper() + text[1:]
        kind = type(error).__name__
        now = time.monotonic()
        if now - self._last_logged.get(kind, -_QUIET_S) >= _QUIET_S:
            self._last_logged[kind] = now
            _logger.error("A request failed: %s: %s", kind, text, exc_info=error)
        return f"{kind}: {text}"

    # ------------------------------------------------------------ scores

    def _score(self, questions: Sequence[Question]) -> None:
        """Lets each arm predict its rows of all questions at once."""
        rows: dict[Arm, list[tuple[Question, int, int]]] = {}
        for question in questions:
            if not question.request_id:
                question.request_id = self._ids.next()
            for row, message in enumerate(question.messages):
                if question.arm is not None:
                    arms = [question.arm]
                else:
                    arms = [served.choose(message) for served in question.models]
                for place, arm in enumerate(arms):
                    rows.setdefault(arm, []).append((question, row, place))
                question.answers.append([(arm, math.nan) for arm in arms])
        for arm, places in rows.items():
            scores = self._predict(arm, [question.messages[row] for question, row, _ in places])
            for (question, row, place), score in zip(places, scores, strict=True):
                if isinstance(score, Exception):
                    if question.error is None or row < question.error_row:
                        question.error, question.error_row = score, row
                    if _status_of(score) == INTERNAL:
                        self.tally.failure(self.tally.arm(arm.model, arm.version))
                else:
                    question.answers[row][place] = (arm, score)

    def _predict(self, arm: Arm, messages: list[bytes]) -> list[float | Exception]:
        start = time.monotonic_ns()
        if arm.is_python or len(messages) > _FEW_ROWS:
            scores = _ask(arm, messages)
            if arm.is_python:
                _halve(arm, messages, scores)
        else:
            scores = [_score(arm, message) for message in messages]
        busy_ns = time.monotonic_ns() - start
        self.tally.busy(self.tally.arm(arm.model, arm.version), busy_ns)
        return scores

    def _finish(self, question: Question) -> tuple[int, Reply]:
        """Status and reply of a question, whose scores are counted, logged and shadowed."""
        try:
            if question.error is not None:
                return self._refuse(question.call, question.error, question)
            reply = question.write(question)
        except Exception as error:  # noqa: BLE001 - one request must not stop the server
            return self._refuse(question.call, error)
        question.is_answered = True
        time_us = time.time_ns() // 1000
        for row, message in enumerate(question.messages):
            request_id = question.row_id(row)
            for arm, score in question.answers[row]:
                self.tally.score(self.tally.arm(arm.model, arm.version), score)
                self._write_served(time_us, arm, score, request_id, message)
            if question.arm is None:
                for served in question.models:
                    for arm in served.shadow:
                        self._keep_shadow(arm, message, request_id)
        return OK, reply

    def _refuse(
        self, call: Call, error: Exception, question: Question | None = None
    ) -> tuple[int, Reply]:
        status = _status_of(error)
        text = self.text_of(error)
        if question is not None and question.is_batch:
            text = f"rows[{question.error_row}]: {text}"
        if call.protocol == "grpc":
            return status, Reply(status, b"", "", text)
        refused = error if isinstance(error, Refused) else Refused(status, text)
        return status, write_json({"error": text}, refused.code)

    # ------------------------------------------------------------ shadows and log

    def _keep_shadow(self, arm: Arm, message: bytes, request_id: str) -> None:
        if len(self._shadows) >= MAX_SHADOWS:
            self.tally.add("shadow_dropped")
        else:
            self._shadows.append((arm, message, request_id))

    def _write_log(
        self, time_us: int, role: int, arm: Arm, score: float, request_id: str, message: bytes
    ) -> None:
        if self._log is None:
            return
        # By the id: all scores of a request are logged, or none.
        if hash_text(request_id.encode(), _LOG_SEED) % 2**32 >= self._log_below:
            return
        is_there = self._log.put(time_us, role, arm.version, score, arm.model, request_id, message)
        self.tally.add("log_written" if is_there else "log_dropped")

    def _write_served(
        self, time_us: int, arm: Arm, score: float, request_id: str, message: bytes
    ) -> None:
        self._write_log(time_us, SERVED, arm, score, request_id, message)


class RequestIds:
    """Ids of requests whose clients send none: 16 hexadecimal digits, not used twice.

    A random start and an odd step through all 64-bit numbers: two workers would meet only where
    their starts are closer together than what both of them answer.
    """

    def __init__(self) -> None:
        self._at = int.from_bytes(os.urandom(8), "little")

    def next(self) -> str:
        """The next id."""
        self._at = self._at + 0x9E3779B97F4A7C15 & 0xFFFF_FFFF_FFFF_FFFF
        return f"{self._at:016x}"


def _ask(arm: Arm, messages: list[bytes]) -> list[float | Exception]:
    """What an arm predicts; where even that raises, the same error for each message."""
    try:
        return arm.predict(messages)
    except Exception as error:  # noqa: BLE001 - the user's object may do what nobody thought of
        return [error] * len(messages)


def _halve(arm: Arm, messages: list[bytes], scores: list[float | Exception]) -> None:
    """Finds the rows at which a user's model fails, so that they spoil no other request.

    The model may fail at every row: it is asked a few times, and what is not found by then fails.
    """
    tries = _MAX_TRIES
    parts = _shared(range(len(messages)), scores)
    while parts and tries > 0:
        places = parts.pop()
        middle = len(places) // 2
        for half in (places[:middle], places[middle:]):
            found = _ask(arm, [messages[place] for place in half])
            tries -= 1
            for place, score in zip(half, found, strict=True):
                scores[place] = score
            parts += _shared(half, found)


def _shared(places: Sequence[int], scores: Sequence[float | Exception]) -> list[list[int]]:
    """Places for which one and the same exception stands, where they are several."""
    groups: dict[int, list[int]] = {}
    for place, score in zip(places, scores, strict=True):
        if isinstance(score, Exception):
            groups.setdefault(id(score), []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def _score(arm: Arm, message: bytes) -> float | Exception:
    try:
        score = arm.scorer.score(message)
    except Exception as error:  # noqa: BLE001 - a property is the user's own code
        return error
    if 0.0 <= score <= 1.0:
        return score
    return ModelError(f"Model {arm.model!r} gives {score!r}; its parameters are too large.")


def _door(call: Call) -> int:
    if call.protocol == "grpc":
        return OIP if call.path.startswith("/inference.") else GRPC
    return OIP if call.path == "/v2" or call.path.startswith("/v2/") else HTTP


def _status_of(error: Exception) -> int:
    if isinstance(error, Refused):
        return error.status
    is_theirs = isinstance(error, DataError) and not isinstance(error, PropertyError)
    return INVALID_ARGUMENT if is_theirs else INTERNAL


_NOTHING = Reply(UNAVAILABLE, b"")
