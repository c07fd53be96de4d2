"""A request as it came from a client and what goes back, the same for every transport."""

from typing import NamedTuple

OK, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED = 0, 3, 5, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 12, 13, 14

STATUSES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""Of gRPC, by number."""

GRPC, HTTP, OIP = range(3)
"""Doors by which a request comes; indexes in `tadka.serve.board.DOORS`."""

JSON = "application/json"

REQUEST_ID, MODELS = "x-request-id", "tadka-models"
"""Headers of a request: the id that its log rows bear, and the models that are to answer."""

MAX_ID_CHARS = 128
"""Of a request id that a client chooses."""

_CODES = {
    OK: 200,
    INVALID_ARGUMENT: 400,
    NOT_FOUND: 404,
    RESOURCE_EXHAUSTED: 503,
    UNIMPLEMENTED: 501,
    INTERNAL: 500,
    UNAVAILABLE: 503,
}


class Call(NamedTuple):
    """One complete request. A tuple, because one is made for every request.

    Args:
        protocol: `"grpc"` or `"http"`.
        method: Of HTTP, such as `"GET"`.
        path: Without the query.
        query: What follows the `?`.
        content_type: As the client sent it.
        request_id: The client's; "" where it sent none that may be used.
        models: Names that the client asked for, with commas between them; "" for all.
        body: Of gRPC, the message.
        arrived_ns: Of the monotonic clock.
        deadline_ns: Of the monotonic clock; 0 for none.
    """

    protocol: str
    method: str
    path: str
    query: str = ""
    content_type: str = ""
    request_id: str = ""
    models: str = ""
    body: bytes = b""
    arrived_ns: int = 0
    deadline_ns: int = 0


class Reply(NamedTuple):
    """What a client gets.

    Args:
        status: Of gRPC, 0 to 16; or the code of HTTP.
        body: Of gRPC, the message; empty unless the status is 0.
        content_type: Of HTTP.
        message: Of gRPC, what is wrong.
    """

    status: int
    body: bytes
    content_type: str = ""
    message: str = ""


class Refused(Exception):
    """A request gets a status instead of an answer.

    Args:
        status: Of gRPC.
        message: What is wrong, for the client.
        code: Of HTTP; None for the one that goes with the status.
    """

    def __init__(self, status: int, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = _CODES[status] if code is None else code


def is_request_id(text: str) -> bool:
    """Whether a text may be a request id: 1 to 128 printable ASCII characters."""
    return 0 < len(text) <= MAX_ID_CHARS and text.isascii() and text.isprintable()
