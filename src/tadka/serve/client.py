"""A client in Python: rows go in, predictions come out."""

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

from tadka.core.error import (
    ConfigError,
    DataError,
    NotFound,
    ServeError,
    TooLate,
    Unreachable,
)
from tadka.core.extra import require
from tadka.features.features import Features
from tadka.serve.answer.call import MODELS, REQUEST_ID, is_request_id
from tadka.serve.answer.health import SERVICE
from tadka.serve.prediction import Prediction, method_path
from tadka.serve.store.state import NAME

_HEALTH = f"/{SERVICE}/Check"
_IS_SERVING = b"\x08\x01"  # HealthCheckResponse of status SERVING
_IN_FLIGHT = 64  # calls of one connection; a server takes a few hundred

_WORDS: dict[str, type[Exception]] = {
    "INVALID_ARGUMENT": DataError,
    "NOT_FOUND": NotFound,
    "UNIMPLEMENTED": NotFound,
    "DEADLINE_EXCEEDED": TooLate,
    "UNAVAILABLE": Unreachable,
}


class Client:
    """A client of one server, for any number of threads.

    A connection belongs to one worker of the server, so it uses one core of it at most; a client
    that asks for more should open several.

    Args:
        target: `HOST:PORT`.
        timeout_s: After which a call is given up, unless the call says otherwise. The server gets
            it as its deadline.
        connections: How many are opened; calls take them in turn.

    Raises:
        ConfigError: A value is out of range.
        MissingExtra: grpcio is not installed.
    """

    def __init__(self, target: str, *, timeout_s: float = 5.0, connections: int = 1) -> None:
        if connections < 1:
            raise ConfigError(f"A client has {connections} connections; it needs at least 1.")
        self.target = target
        self.timeout_s = _checked_timeout(timeout_s)
        self._grpc: Any = require("grpc", extra="serve")
        options = [
            ("grpc.use_local_subchannel_pool", 1),  # else channels of one target share a connection
            ("grpc.max_receive_message_length", -1),
        ]
        self._channels = [
            self._grpc.insecure_channel(target, options=options) for _ in range(connections)
        ]
        self._turn = itertools.count()
        self._methods: dict[str, list[Any]] = {}

    def predict(
        self,
        instance: Features,
        *,
        models: Sequence[str] | None = None,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Prediction:
        """The scores of one row.

        Args:
            instance: The row.
            models: Names of those that are to answer, in this order; None for all.
            request_id: 1 to 128 printable ASCII characters, under which the request log keeps the
                row; None lets the server choose one.
            timeout_s: None for the client's.

        Returns:
            The answer, which bears the request id.

        Raises:
            DataError: The server refused the row; the message names the field.
            NotFound: It has no such model, or serves another feature class.
            ConfigError: A name, id or time is none.
            TooLate: It did not answer in time.
            Unreachable: Nobody answers, or the connection broke.
            ServeError: It failed, or has too much to do; `status` tells.
        """
        method = self._method(method_path(type(instance)))
        metadata = _metadata(models, request_id)
        try:
            message = method(
                instance.to_message(), metadata=metadata, timeout=self._time(timeout_s)
            )
        except self._grpc.RpcError as error:
            self._fail(error)
        return Prediction.from_message(message)

    def predict_many(
        self,
        instances: Iterable[Features],
        *,
        models: Sequence[str] | None = None,
        timeout_s: float | None = None,
    ) -> list[Prediction]:
        """The scores of many rows, which are sent side by side.

        Args:
            instances: The rows, taken as they are needed.
            models: As in `predict`.
            timeout_s: Of each row; None for the client's.

        Returns:
            The answers, in the order of the rows.

        Raises:
            DataError: As `predict` raises it, for the first row that fails; so do the others.
            NotFound: The same.
            ConfigError: The same.
            ServeError: The same, and its kinds `TooLate` and `Unreachable`.
        """
        metadata, seconds = _metadata(models, None), self._time(timeout_s)
        limit = _IN_FLIGHT * len(self._channels)
        waiting: deque[Any] = deque()
        answers: list[Prediction] = []

        def take() -> None:
            answers.append(Prediction.from_message(waiting.popleft().result()))

        try:
            for instance in instances:
                if len(waiting) >= limit:
                    take()
                method = self._method(method_path(type(instance)))
                call = method.future(instance.to_message(), metadata=metadata, timeout=seconds)
                waiting.append(call)
            while waiting:
                take()
        except self._grpc.RpcError as error:
            self._fail(error)
        finally:
            for call in waiting:
                call.cancel()
        return answers

    def is_ready(self, timeout_s: float | None = None) -> bool:
        """Whether the server answers and has models.

        Args:
            timeout_s: None for the client's.
        """
        method = self._method(_HEALTH)
        try:
            answer = method(b"", timeout=self._time(timeout_s))
        except self._grpc.RpcError:
            return False
        return bool(answer == _IS_SERVING)

    def close(self) -> None:
        """Closes the connections; calls in flight are given up."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _method(self, path: str) -> Any:
        """The method of the connection whose turn it is: bytes in, bytes out."""
        methods = self._methods.get(path)
        if methods is None:
            methods = self._methods[path] = [
                channel.unary_unary(path, request_serializer=None, response_deserializer=None)
                for channel in self._channels
            ]
        return methods[next(self._turn) % len(methods)]

    def _time(self, timeout_s: float | None) -> float:
        return self.timeout_s if timeout_s is None else _checked_timeout(timeout_s)

    def _fail(self, error: Any) -> NoReturn:
        """Raises what an error of gRPC means here."""
        status, text = error.code().name, error.details() or ""
        kind = _WORDS.get(status, ServeError)
        if kind is Unreachable:
            text = f"Server {self.target!r} cannot be reached, or left: {text}"
        elif kind is TooLate:
            text = f"Server {self.target!r} did not answer in time: {text}"
        elif kind is ServeError:
            text = f"Server {self.target!r} answered {status}: {text}"
        raise kind(text, status) if issubclass(kind, ServeError) else kind(text) from error


def _metadata(models: Sequence[str] | None, request_id: str | None) -> list[tuple[str, str]]:
    metadata = []
    if request_id is not None:
        if not is_request_id(request_id):
            raise ConfigError(
                f"Request id {request_id!r} must be 1 to 128 printable ASCII characters."
            )
        metadata.append((REQUEST_ID, request_id))
    if models is not None:
        if isinstance(models, str) or not models:
            raise ConfigError(
                f"Models {models!r} must be a list of names that is not empty, or None for all."
            )
        for name in models:
            if NAME.fullmatch(str(name)) is None:
                raise ConfigError(
                    f"Model {name!r} is no name of a model; it must match {NAME.pattern}. Those "
                    "that are served: tadka serve status."
                )
        metadata.append((MODELS, ",".join(models)))
    return metadata


def _checked_timeout(timeout_s: float) -> float:
    if not timeout_s > 0:
        raise ConfigError(f"Timeout {timeout_s!r} must be seconds above 0.")
    return timeout_s
