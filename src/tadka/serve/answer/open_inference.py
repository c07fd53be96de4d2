"""Messages of the Open Inference Protocol V2, described in code: no generated files.

Source: open_inference_grpc.proto of KServe, specification/protocol in
github.com/kserve/open-inference-protocol.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.features.row import show
from tadka.serve.answer.tensor import Inference, Tensor, read_raw, write_raw

SERVICE = "inference.GRPCInferenceService"

_PARAMETERS = "map"
_TENSOR = {
    "name": (1, "string"),
    "datatype": (2, "string"),
    "shape": (3, "repeated int64"),
}
_DATA_TENSOR = {**_TENSOR, "parameters": (4, _PARAMETERS), "contents": (5, "InferTensorContents")}
_NAME_VERSION = {"name": (1, "string"), "version": (2, "string")}
_METADATA = "ModelMetadataResponse.TensorMetadata"
_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": _NAME_VERSION,
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {**_NAME_VERSION, "extensions": (3, "repeated string")},
    "ModelMetadataRequest": _NAME_VERSION,
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "repeated string"),
        "platform": (3, "string"),
        "inputs": (4, f"repeated {_METADATA}"),
        "outputs": (5, f"repeated {_METADATA}"),
    },
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, _PARAMETERS),
        "inputs": (5, "repeated ModelInferRequest.InferInputTensor"),
        "outputs": (6, "repeated ModelInferRequest.InferRequestedOutputTensor"),
        "raw_input_contents": (7, "repeated bytes"),
    },
    "ModelInferRequest.InferInputTensor": _DATA_TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": {
        "name": (1, "string"),
        "parameters": (2, _PARAMETERS),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, _PARAMETERS),
        "outputs": (5, "repeated ModelInferResponse.InferOutputTensor"),
        "raw_output_contents": (6, "repeated bytes"),
    },
    "ModelInferResponse.InferOutputTensor": _DATA_TENSOR,
    "InferParameter": {  # a oneof
        "bool_param": (1, "bool"),
        "int64_param": (2, "int64"),
        "string_param": (3, "string"),
        "double_param": (4, "double"),
        "uint64_param": (5, "uint64"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "repeated bool"),
        "int_contents": (2, "repeated int32"),
        "int64_contents": (3, "repeated int64"),
        "uint_contents": (4, "repeated uint32"),
        "uint64_contents": (5, "repeated uint64"),
        "fp32_contents": (6, "repeated float"),
        "fp64_contents": (7, "repeated double"),
        "bytes_contents": (8, "repeated bytes"),
    },
}

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the numbers of each type of data are."""


@functools.cache
def message_classes() -> Mapping[str, Any]:
    """The classes of all messages by name, such as `"ModelInferRequest"`.

    Raises:
        MissingExtra: The protobuf package is not there.
    """
    descriptors = require("google.protobuf.descriptor_pb2", extra="serve")
    # A pool of our own: a program that has a client's generated messages has these names, too.
    pool = require("google.protobuf.descriptor_pool", extra="serve").DescriptorPool()
    factory = require("google.protobuf.message_factory", extra="serve")
    pool.Add(_file(descriptors))
    return {
        name: factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}"))
        for name in _MESSAGES
    }


def _file(descriptors: Any) -> Any:
    """The descriptor of the whole `.proto` file."""
    file = descriptors.FileDescriptorProto(
        name="tadka/open_inference.proto", package="inference", syntax="proto3"
    )
    made: dict[str, Any] = {}
    for name, fields in _MESSAGES.items():
        outer, _, own = name.rpartition(".")
        message = made[outer].nested_type.add() if outer else file.message_type.add()
        message.name = own
        made[name] = message
        for field, (number, kind) in fields.items():
            if kind == _PARAMETERS:
                entry = message.nested_type.add(name="ParametersEntry")
                entry.options.map_entry = True
                _add_field(entry, "key", 1, "string")
                _add_field(entry, "value", 2, "InferParameter")
                _add_field(message, field, number, f"repeated {name}.ParametersEntry")
            else:
                _add_field(message, field, number, kind)
    made["InferParameter"].oneof_decl.add(name="parameter_choice")
    for field in made["InferParameter"].field:
        field.oneof_index = 0
    return file


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    repeated, _, kind = kind.rpartition(" ")
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    if kind[0].isupper():
        field.type = field.TYPE_MESSAGE
        field.type_name = f".inference.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")


def read_message(name: str, body: bytes) -> Any:
    """A message that a client sent.

    Args:
        name: Of the message, such as `"ModelReadyRequest"`.
        body: Its bytes.

    Raises:
        DataError: It is no such message.
        MissingExtra: The protobuf package is not there.
    """
    decode_error = require("google.protobuf.message", extra="serve").DecodeError
    try:
        return message_classes()[name].FromString(body)
    except decode_error as error:
        raise DataError(f"The message is no {name}.") from error


def write_message(kind: str, /, **fields: Any) -> bytes:
    """The bytes of a message.

    Args:
        kind: Name of the message.
        fields: Its values; of messages inside it as dicts.
    """
    body: bytes = message_classes()[kind](**fields).SerializeToString()
    return body


def read_inference(body: bytes) -> Inference:
    """A request for scores.

    Args:
        body: A ModelInferRequest.

    Raises:
        DataError: It is no such message, or its tensors are not as they say.
        MissingExtra: The protobuf package is not there.
    """
    request = read_message("ModelInferRequest", body)
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise DataError(
            f"The request has {len(request.inputs)} inputs and {len(raw)} raw_input_contents; "
            "there must be one of each input, or none."
        )
    return Inference(
        model=request.model_name,
        version=request.model_version,
        id=request.id,
        tensors=tuple(_tensors(request)),
        outputs=tuple(output.name for output in request.outputs),
        is_raw=bool(raw),
    )


def _tensors(request: Any) -> Iterator[Tensor]:
    raw = request.raw_input_contents
    for index, given in enumerate(request.inputs):
        where = f"input {show(given.name)}"
        if given.datatype not in _CONTENTS and not (raw and given.datatype == "FP16"):
            raise DataError(
                f"{where} has the datatype {show(given.datatype)}, which is unknown; there are: "
                f"{', '.join(_CONTENTS)}, and FP16 in raw_input_contents."
            )
        filled = [field.name for field, _ in given.contents.ListFields()]
        if raw:
            if filled:
                raise DataError(f"{where} has both contents and raw_input_contents; send one.")
            data = read_raw(raw[index], given.datatype, where)
        else:
            wanted = _CONTENTS[given.datatype]
            if any(name != wanted for name in filled):
                raise DataError(
                    f"{where} is {given.datatype} and has {', '.join(filled)}; it must have "
                    f"{wanted}."
                )
            data = list(getattr(given.contents, wanted))
        yield Tensor(given.name, given.datatype, tuple(given.shape), data)


def write_inference(
    inference: Inference, model: str, version: str, request_id: str, outputs: list[Tensor]
) -> bytes:
    """The answer to a request for scores, raw where the request was.

    Args:
        inference: The request.
        model: That answered.
        version: Of the model; "" where rows were answered by several.
        request_id: As in the request log.
        outputs: The scores.
    """
    tensors: list[dict[str, Any]] = []
    for output in outputs:
        tensor: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": output.shape,
        }
        if not inference.is_raw:
            tensor["contents"] = {_CONTENTS[output.datatype]: output.data}
        tensors.append(tensor)
    return write_message(
        "ModelInferResponse",
        model_name=model,
        model_version=version,
        id=inference.id,
        parameters={"request_id": {"string_param": request_id}},
        outputs=tensors,
        raw_output_contents=(
            [write_raw(output.data, output.datatype) for output in outputs]
            if inference.is_raw
            else []
        ),
    )
