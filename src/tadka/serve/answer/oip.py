"""The door of the Open Inference Protocol V2, for clients of KServe and Triton: gRPC and REST.

Source: github.com/kserve/open-inference-protocol, specification/protocol.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tadka.serve.answer.open_inference as wire
from tadka.core.error import DataError, MissingExtra
from tadka.features.row import show
from tadka.serve.answer.call import (
    INVALID_ARGUMENT,
    NOT_FOUND,
    OK,
    UNIMPLEMENTED,
    Call,
    Refused,
    Reply,
    is_request_id,
)
from tadka.serve.answer.intake import Intake
from tadka.serve.answer.question import Question, find_model
from tadka.serve.answer.rest import check_num_rows, read_json, write_json
from tadka.serve.answer.tensor import Inference, Tensor, messages_of, metadata
from tadka.serve.store.live import Arm, Served, Serving

PLATFORM = "tadka"
OUTPUTS = ("score", "version")
_DATATYPES = {"score": "FP64", "version": "INT64"}


class Oip:
    """Answers requests of the protocol.

    Args:
        intake: Of the feature class.
        version: Of this server.
    """

    def __init__(self, intake: Intake, version: str) -> None:
        self._intake = intake
        self._server = {"name": "tadka", "version": version, "extensions": []}

    # ------------------------------------------------------------ gRPC

    def answer_message(self, call: Call, serving: Serving, *, is_ready: bool) -> Reply | Question:
        """Answers a call of `inference.GRPCInferenceService`.

        Args:
            call: Its path names the method.
            serving: What it is answered with.
            is_ready: Whether the server takes requests.

        Raises:
            Refused: It cannot be answered.
            DataError: A message or tensor is wrong.
        """
        method = call.path.rpartition("/")[2]
        try:
            match method:
                case "ModelInfer":
                    inference = wire.read_inference(call.body)
                    return self._question(call, serving, inference, _write_message)
                case "ServerLive":
                    return Reply(OK, wire.write_message("ServerLiveResponse", live=True))
                case "ServerReady":
                    is_ready = is_ready and bool(serving.models)
                    return Reply(OK, wire.write_message("ServerReadyResponse", ready=is_ready))
                case "ModelReady":
                    asked = wire.read_message("ModelReadyRequest", call.body)
                    _find(serving, asked.name, asked.version)
                    return Reply(OK, wire.write_message("ModelReadyResponse", ready=is_ready))
                case "ServerMetadata":
                    return Reply(OK, wire.write_message("ServerMetadataResponse", **self._server))
                case "ModelMetadata":
                    asked = wire.read_message("ModelMetadataRequest", call.body)
                    served, _ = _find(serving, asked.name, asked.version)
                    about = self._about(served)
                    return Reply(OK, wire.write_message("ModelMetadataResponse", **about))
        except MissingExtra as error:
            raise Refused(UNIMPLEMENTED, str(error)) from error
        raise Refused(UNIMPLEMENTED, f"The method {show(method)} of {wire.SERVICE} is not there.")

    # ------------------------------------------------------------ REST

    def answer_json(self, call: Call, serving: Serving, *, is_ready: bool) -> Reply | Question:
        """Answers a request to `/v2`.

        Args:
            call: Its path begins with `/v2`.
            serving: What it is answered with.
            is_ready: Whether the server takes requests.

        Raises:
            Refused: It cannot be answered.
            DataError: A tensor is wrong.
        """
        match call.path.strip("/").split("/")[1:]:
            case []:
                _must_be("GET", call)
                return write_json(self._server)
            case ["health", "live"]:
                _must_be("GET", call)
                return write_json({"live": True})
            case ["health", "ready"]:
                _must_be("GET", call)
                is_ready = is_ready and bool(serving.models)
                return write_json({"ready": is_ready}, 200 if is_ready else 503)
            case ["models", name, *rest]:
                version = ""
                if rest[:1] == ["versions"] and len(rest) > 1:
                    version, rest = rest[1], rest[2:]
                match rest:
                    case []:
                        _must_be("GET", call)
                        return write_json(self._about(_find(serving, name, version)[0]))
                    case ["ready"]:
                        _must_be("GET", call)
                        served, _ = _find(serving, name, version)
                        body = {"name": served.name, "ready": is_ready}
                        return write_json(body, 200 if is_ready else 503)
                    case ["infer"]:
                        _must_be("POST", call)
                        _find(serving, name, version)
                        inference = _read_inference(read_json(call, with_nan=True), name, version)
                        return self._question(call, serving, inference, _write_json)
        raise Refused(
            NOT_FOUND,
            f"The path {show(call.path)} is unknown; there are /v2, /v2/health/live, "
            "/v2/health/ready and /v2/models/NAME[/versions/VERSION][/ready|/infer].",
        )

    # ------------------------------------------------------------ both

    def _about(self, served: Served) -> dict[str, Any]:
        return {
            "name": served.name,
            "versions": [str(version) for version in sorted(served.versions)],
            "platform": PLATFORM,
            "inputs": metadata(self._intake.fields),
            "outputs": [
                {"name": name, "datatype": _DATATYPES[name], "shape": [-1]} for name in OUTPUTS
            ],
        }

    def _question(
        self,
        call: Call,
        serving: Serving,
        inference: Inference,
        write: Callable[[Inference, Question], Reply],
    ) -> Question:
        served, arm = _find(serving, inference.model, inference.version)
        for name in inference.outputs:
            if name not in OUTPUTS:
                raise DataError(f"output {show(name)} is unknown; there are: {', '.join(OUTPUTS)}.")
        if inference.tensors and inference.tensors[0].shape:
            check_num_rows(inference.tensors[0].shape[0])
        messages = messages_of(inference.tensors, self._intake)
        return Question(
            call,
            (served,),
            messages,
            lambda question: write(inference, question),
            inference.id if is_request_id(inference.id) else call.request_id,
            is_batch=len(messages) != 1,
            arm=arm,
        )


def _find(serving: Serving, name: str, version: str) -> tuple[Served, Arm | None]:
    """A model, and the version that was asked for."""
    served = find_model(serving, name)
    if not version:
        return served, None
    arm = served.versions.get(int(version)) if version.isdecimal() and len(version) < 11 else None
    if arm is None:
        known = ", ".join(map(str, sorted(served.versions)))
        raise Refused(
            NOT_FOUND,
            f"Version {show(version)} of model {name!r} is not served. There are: {known}.",
        )
    return served, arm


def _must_be(method: str, call: Call) -> None:
    if call.method != method:
        raise Refused(UNIMPLEMENTED, f"{call.path} takes {method}, not {show(call.method)}.", 405)


def _outputs(inference: Inference, question: Question) -> tuple[str, list[Tensor]]:
    """The version that answered all rows, or "", and the outputs that the client wants."""
    answers = [row[0] for row in question.answers]
    columns: Mapping[str, list[Any]] = {
        "score": [score for _, score in answers],
        "version": [arm.version for arm, _ in answers],
    }
    versions = set(columns["version"])
    tensors = [
        Tensor(name, _DATATYPES[name], (len(answers),), columns[name])
        for name in inference.outputs or OUTPUTS
    ]
    return str(versions.pop()) if len(versions) == 1 else "", tensors


def _write_message(inference: Inference, question: Question) -> Reply:
    version, tensors = _outputs(inference, question)
    name = question.models[0].name
    return Reply(OK, wire.write_inference(inference, name, version, question.request_id, tensors))


def _write_json(inference: Inference, question: Question) -> Reply:
    version, tensors = _outputs(inference, question)
    body: dict[str, Any] = {"model_name": question.models[0].name}
    if version:
        body["model_version"] = version
    if inference.id:
        body["id"] = inference.id
    body["parameters"] = {"request_id": question.request_id}
    body["outputs"] = [
        {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "datatype": tensor.datatype,
            "data": tensor.data,
        }
        for tensor in tensors
    ]
    return write_json(body)


# ---------------------------------------------------------------- requests in JSON


def _read_inference(data: Any, name: str, version: str) -> Inference:
    _check(data, dict, "The body", "an object")
    outputs = _check(data.get("outputs", []), list, "outputs", "a list")
    for index, output in enumerate(outputs):
        _check(output, dict, f"outputs[{index}]", "an object")
        _check(output.get("name"), str, f"outputs[{index}].name", "text")
    inputs = _check(data.get("inputs"), list, "inputs", "a list")
    return Inference(
        model=name,
        version=version,
        id=_check(data.get("id", ""), str, "id", "text"),
        tensors=tuple(_read_tensor(item, f"inputs[{i}]") for i, item in enumerate(inputs)),
        outputs=tuple(output["name"] for output in outputs),
    )


def _read_tensor(item: Any, where: str) -> Tensor:
    _check(item, dict, where, "an object")
    parameters = _check(item.get("parameters", {}), dict, f"{where}.parameters", "an object")
    if "binary_data_size" in parameters:
        raise Refused(
            INVALID_ARGUMENT, f"{where} comes as binary data, which is not taken; send JSON."
        )
    shape = _check(item.get("shape"), list, f"{where}.shape", "a list")
    for size in shape:
        if type(size) is not int:
            raise Refused(INVALID_ARGUMENT, f"{where}.shape is {show(shape)}; give integers.")
    data = _check(item.get("data"), list, f"{where}.data", "a list")
    return Tensor(
        _check(item.get("name"), str, f"{where}.name", "text"),
        _check(item.get("datatype"), str, f"{where}.datatype", "text"),
        tuple(shape),
        [value for part in data for value in part] if _is_nested(data) else data,
        is_base64=parameters.get("content_type") == "base64",
    )


def _is_nested(data: list[Any]) -> bool:
    return bool(data) and all(isinstance(part, list) for part in data)


def _check(value: Any, kind: type, where: str, wanted: str) -> Any:
    if not isinstance(value, kind):
        raise Refused(INVALID_ARGUMENT, f"{where} is {show(value)}; it must be {wanted}.")
    return value
