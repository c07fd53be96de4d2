"""Which request goes where, and the answers that need no model."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from tadka.features.features import Features
from tadka.features.row import show
from tadka.serve.answer.call import (
    INVALID_ARGUMENT,
    NOT_FOUND,
    UNAVAILABLE,
    UNIMPLEMENTED,
    Call,
    Refused,
    Reply,
)
from tadka.serve.answer.health import SERVICE as HEALTH_SERVICE
from tadka.serve.answer.health import answer_health
from tadka.serve.answer.intake import Intake
from tadka.serve.answer.metrics import render
from tadka.serve.answer.oip import Oip
from tadka.serve.answer.open_inference import SERVICE as OIP_SERVICE
from tadka.serve.answer.question import Question, find_model
from tadka.serve.answer.rest import query_of, read_question, write_json
from tadka.serve.board import Board
from tadka.serve.prediction import prediction_message, service_name, service_proto
from tadka.serve.store.live import Live, Served, Serving

TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"

_INDEX = {
    "POST /v1/predict": 'scores of a row, or of {"rows": [...]}',
    "GET /proto": "the service as a .proto file, for gRPC",
    "GET /healthz": "200 while requests are answered",
    "GET /metrics": "counters for Prometheus",
    "GET /v2": "Open Inference Protocol",
}


class Router:
    """Finds what answers a request.

    Args:
        live: What is served.
        board: Counters of all workers.
        transport: What metrics say of it: `"native"` or `"grpcio"`.
        nghttp2: Version of the library, for metrics; "" without it.

    Attributes:
        is_draining: Whether the server stops.
    """

    def __init__(self, live: Live, board: Board, *, transport: str, nghttp2: str) -> None:
        self.is_draining = False
        self._live = live
        self._board = board
        self._build = {"transport": transport, "nghttp2": nghttp2, "version": version("tadka")}
        self._features: type[Features] | None = None
        self._models: tuple[Serving, dict[str, Sequence[Served]]] | None = None
        self._pages: Mapping[str, tuple[str, Callable[[Call, Serving], Reply | Question]]] = {
            "/": ("GET", self._index),
            "/healthz": ("GET", self._healthz),
            "/metrics": ("GET", self._metrics),
            "/proto": ("GET", self._proto),
            "/v1/predict": ("POST", self._predict_json),
        }

    def is_for_scores(self, call: Call, serving: Serving) -> bool:
        """Whether a request is one for scores, which an overloaded server may refuse unread.

        Args:
            call: The request.
            serving: What it is answered with.
        """
        if serving.features is not self._features:
            self._learn(serving.features)
        if call.protocol == "grpc":
            return call.path in (self._path, f"/{OIP_SERVICE}/ModelInfer")
        is_oip = call.path.startswith("/v2/") and call.path.endswith("/infer")
        return is_oip or call.path == "/v1/predict"

    def route(self, call: Call, serving: Serving) -> Reply | Question:
        """What answers a request: a reply at once, or its rows.

        Args:
            call: The request.
            serving: What it is answered with.

        Raises:
            Refused: It cannot be answered.
            TadkaError: Its rows are wrong.
        """
        if serving.features is not self._features:
            self._learn(serving.features)
        if call.protocol != "grpc":
            return self._route_http(call, serving)
        if call.path == self._path:
            return Question(
                call,
                self._wanted(call.models, serving),
                [call.body],
                _write_message,
                call.request_id,
            )
        service = call.path.rpartition("/")[0]
        if service == "/" + HEALTH_SERVICE:
            is_serving = not self.is_draining and bool(serving.models)
            return answer_health(call, self._service, is_serving=is_serving)
        if service == "/" + OIP_SERVICE:
            return self._oip.answer_message(call, serving, is_ready=not self.is_draining)
        raise Refused(
            UNIMPLEMENTED,
            f"The method {show(call.path)} is unknown; this server has {self._path}.",
        )

    def _learn(self, features: type[Features]) -> None:
        self._features = features
        self._service = service_name(features)
        self._path = f"/{self._service}/Predict"
        self._intake = Intake(features)
        self._oip = Oip(self._intake, self._build["version"])

    def _wanted(self, names: str, serving: Serving) -> Sequence[Served]:
        """The models of `a,b`, in this order; all of them for ""."""
        if not serving.models:
            raise Refused(
                UNAVAILABLE, "No model is loaded yet. Run: tadka serve publish MODEL_DIR."
            )
        if not names:
            return serving.models
        if self._models is None or self._models[0] is not serving or len(self._models[1]) > 1000:
            self._models = (serving, {})
        known = self._models[1]
        if names not in known:
            found = [find_model(serving, name.strip()) for name in names.split(",")]
            if len(set(found)) < len(found):
                raise Refused(INVALID_ARGUMENT, f"The models {show(names)} name one of them twice.")
            known[names] = found
        return known[names]

    # ------------------------------------------------------------ HTTP

    def _route_http(self, call: Call, serving: Serving) -> Reply | Question:
        if call.path == "/v2" or call.path.startswith("/v2/"):
            return self._oip.answer_json(call, serving, is_ready=not self.is_draining)
        if call.path not in self._pages:
            raise Refused(
                NOT_FOUND,
                f"The path {show(call.path)} is unknown; there are: {', '.join(self._pages)}, /v2.",
            )
        method, answer = self._pages[call.path]
        if call.method != method:
            raise Refused(
                UNIMPLEMENTED, f"{call.path} takes {method}, not {show(call.method)}.", 405
            )
        return answer(call, serving)

    def _predict_json(self, call: Call, serving: Serving) -> Question:
        names = query_of(call, "models").get("models", "") or call.models
        return read_question(call, self._intake, self._wanted(names, serving))

    def _index(self, _: Call, serving: Serving) -> Reply:
        models = {
            served.name: sorted({arm.version for arm in served.arms}) for served in serving.models
        }
        return write_json(
            {
                "name": "tadka",
                "version": self._build["version"],
                "grpc": self._path,
                "models": models,
                "routes": _INDEX,
            }
        )

    def _healthz(self, _: Call, serving: Serving) -> Reply:
        if self.is_draining:
            return Reply(503, b"draining\n", TEXT)
        if not serving.models:
            return Reply(503, b"no model is loaded\n", TEXT)
        return Reply(200, b"ok\n", TEXT)

    def _metrics(self, _: Call, _serving: Serving) -> Reply:
        text = render(self._board, failure=self._live.failure, **self._build)
        return Reply(200, text.encode(), METRICS)

    def _proto(self, _: Call, serving: Serving) -> Reply:
        return Reply(200, service_proto(serving.features).encode(), TEXT)


def _write_message(question: Question) -> Reply:
    scores = [(arm.model, arm.version, score) for arm, score in question.answers[0]]
    return Reply(0, prediction_message(question.request_id, scores))
