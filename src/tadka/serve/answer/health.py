"""The health checking protocol of gRPC: whether this worker answers.

Source: grpc.health.v1, github.com/grpc/grpc/blob/master/doc/health-checking.md. Its two messages
have one field each, so that they are read and written here, without the protobuf package.
"""

from tadka.core.error import DataError
from tadka.features.wire import BYTES
from tadka.serve.answer.call import INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, Call, Refused, Reply
from tadka.serve.prediction import read_fields

SERVICE = "grpc.health.v1.Health"
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"


def answer_health(call: Call, service: str, *, is_serving: bool) -> Reply:
    """What a health check is told.

    Args:
        call: To a method of `SERVICE`.
        service: Full name of the service that predicts; its health is that of the server, "".
        is_serving: Whether requests are answered.

    Raises:
        Refused: The method or the service is unknown, or the message is none.
    """
    method = call.path.rpartition("/")[2]
    if method != "Check":
        raise Refused(UNIMPLEMENTED, f"The method {method!r} of {SERVICE} is not there; use Check.")
    asked = ""
    try:
        for number, kind, value in read_fields(call.body):
            if number == 1 and kind == BYTES:
                assert isinstance(value, bytes)
                asked = value.decode()
    except (DataError, UnicodeDecodeError) as error:
        raise Refused(
            INVALID_ARGUMENT, f"The message is no HealthCheckRequest: {error}."
        ) from error
    if asked not in ("", service):
        raise Refused(NOT_FOUND, f"The service {asked!r} is unknown; there is {service!r}.")
    return Reply(0, _SERVING if is_serving else _NOT_SERVING)
