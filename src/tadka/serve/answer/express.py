"""The short way for the most frequent request: one row, by gRPC, for all models, none split.

It gives the bytes that the handler would give, and counts what it would count; whatever is unusual
it leaves to the handler. Under grpcio every call comes alone, and each step costs its share.
"""

import time
from collections.abc import Callable

from tadka.serve.answer.call import GRPC, OK, Call, Reply
from tadka.serve.prediction import pack_double, score_head, varint
from tadka.serve.store.live import Arm, Serving
from tadka.serve.tally import Tally

_Step = tuple[Arm, Callable[[bytes], float], int, bytes]
"""An arm, its score of a message, where it is counted, and the bytes before its score."""


class Express:
    """Answers one request of a certain kind.

    Args:
        tally: Of the worker.
        make_id: Gives a new request id.
        log: Takes time, arm, score, request id and message of every score; None for no log.
    """

    def __init__(
        self,
        tally: Tally,
        make_id: Callable[[], str],
        log: Callable[[int, Arm, float, str, bytes], None] | None,
    ) -> None:
        self._tally = tally
        self._make_id = make_id
        self._log = log
        self._steps: list[_Step] = []

    def follow(self, serving: Serving) -> None:
        """Learns what is served from now on.

        Args:
            serving: With splits, shadows or Python models nothing can take the short way.
        """
        self._steps = []
        if all(len(model.arms) == 1 and not model.shadow for model in serving.models):
            arms = [model.arms[0] for model in serving.models]
            if not any(arm.is_python for arm in arms):
                self._steps = [
                    (
                        arm,
                        arm.scorer.score,
                        self._tally.arm(arm.model, arm.version),
                        score_head(arm.model, arm.version),
                    )
                    for arm in arms
                ]

    def answer(self, call: Call) -> Reply | None:
        """The reply to a call of the method that predicts; None where it must go the long way.

        Args:
            call: Without a choice of models.
        """
        start = time.monotonic_ns()
        if not self._steps or 0 < call.deadline_ns <= start:
            return None
        message = call.body
        try:
            scores = [score(message) for _, score, _, _ in self._steps]
        except Exception:  # noqa: BLE001 - the long way meets it again, and says so
            return None
        end = time.monotonic_ns()
        request_id = call.request_id or self._make_id()
        name = request_id.encode()
        parts = [b"\x0a", varint(len(name)), name]
        tally = self._tally
        span_ns, busy_ns = end - call.arrived_ns, (end - start) // len(scores)
        for (_, _, _, head), score in zip(self._steps, scores, strict=True):
            if not 0.0 <= score <= 1.0:
                return None
            parts += (head, pack_double(score))
        for (_, _, at, _), score in zip(self._steps, scores, strict=True):
            tally.whole(at, score, busy_ns, span_ns)
        tally.answer(GRPC, OK, span_ns)
        if self._log is not None:
            time_us = time.time_ns() // 1000
            for (arm, _, _, _), score in zip(self._steps, scores, strict=True):
                self._log(time_us, arm, score, request_id, message)
        return Reply(OK, b"".join(parts))
