"""The rows of one call, while they wait for their scores."""

from collections.abc import Callable, Sequence

from tadka.serve.answer.call import Call, Reply
from tadka.serve.store.live import Arm, Served


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
