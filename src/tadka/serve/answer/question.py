"""The rows of one call, while they wait for their scores."""

import difflib
from collections.abc import Callable, Sequence

from tadka.features.row import show
from tadka.serve.answer.call import NOT_FOUND, Call, Refused, Reply
from tadka.serve.store.live import Arm, Served, Serving


class Question:
    """The rows of one call, to be scored together with those of others.

    Args:
        call: That they came with.
        models: That are asked, in the order of the answer.
        messages: One of each row.
        write: Makes the reply when the scores are there.
        request_id: "" where the client gave none.
        is_batch: Whether the rows bear ids of their own.
        arm: The version that the client named; None for what the traffic says.
    """

    __slots__ = (
        "answers",
        "arm",
        "call",
        "error",
        "error_row",
        "is_answered",
        "is_batch",
        "messages",
        "models",
        "request_id",
        "write",
    )

    def __init__(
        self,
        call: Call,
        models: Sequence[Served],
        messages: list[bytes],
        write: "Callable[[Question], Reply]",
        request_id: str = "",
        *,
        is_batch: bool = False,
        arm: Arm | None = None,
    ) -> None:
        self.call = call
        self.models = models
        self.messages = messages
        self.write = write
        self.request_id = request_id
        self.is_batch = is_batch
        self.arm = arm
        self.answers: list[list[tuple[Arm, float]]] = []
        """Of each row, an arm and its score for each model."""
        self.error: Exception | None = None
        """Of the first row that failed."""
        self.error_row = 0
        self.is_answered = False

    def row_id(self, row: int) -> str:
        """What the request log calls a row."""
        return f"{self.request_id}/{row}" if self.is_batch else self.request_id


def find_model(serving: Serving, name: str) -> Served:
    """The model that a client asks for.

    Args:
        serving: All that is served.
        name: As the client wrote it.

    Raises:
        Refused: It is not served; the message names one that is close.
    """
    served = serving.by_name.get(name)
    if served is None:
        close = difflib.get_close_matches(name, serving.by_name, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        known = ", ".join(serving.by_name) or "none"
        raise Refused(NOT_FOUND, f"Model {show(name)} is not served.{hint} There are: {known}.")
    return served
