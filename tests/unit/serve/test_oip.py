"""The door of the Open Inference Protocol, asked as clients of KServe and Triton ask."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import MissingExtra
from tadka.features import Features
from tadka.features.wire import to_time
from tadka.serve.answer import open_inference
from tadka.serve.answer.call import Reply
from tadka.serve.answer.open_inference import message_classes
from tests.unit.serve.rows import (
    GOOD,
    Served,
    Visit,
    as_json,
    grpc_call,
    hostile_rows,
    http_call,
    make_model,
)

INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED = 3, 5, 12
DATATYPES = {"str": "BYTES", "int": "INT64", "float": "FP64", "bool": "BOOL", "datetime": "INT64"}
CONTENTS = {
    "BYTES": "bytes_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "BOOL": "bool_contents",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    served = Served(tmp_path_factory.mktemp("oip"))
    served.publish("ctr", make_model(5), "candidate")
    served.store.split({"production": 50.0, "candidate": 50.0}, model="ctr")
    served.follow()
    served.models["candidate"] = make_model(5)
    return served


def inputs_of(rows: Sequence[Visit]) -> list[dict[str, Any]]:
    """Name, datatype, shape and values of each field that all rows have."""
    found = []
    for field in Visit.definition().fields:
        values = [getattr(row, field.name) for row in rows]
        if None in values:
            assert len(values) == 1
            continue
        if field.type == "datetime":
            if field.is_list:
                values = [[to_time(item) for item in value] for value in values]
            else:
                values = [to_time(value) for value in values]
        shape = [len(rows)]
        if field.is_list:
            shape.append(len(values[0]))
            values = [item for value in values for item in value]
        found.append(
            {
                "name": field.name,
                "datatype": DATATYPES[field.type],
                "shape": shape,
                "data": values,
            }
        )
    return found


def request_of(
    inputs: Sequence[Mapping[str, Any]], *, model: str = "cvr", is_raw: bool = False, **more: Any
) -> Any:
    request = message_classes()["ModelInferRequest"](model_name=model, **more)
    for given in inputs:
        tensor = request.inputs.add(
            name=given["name"], datatype=given["datatype"], shape=given["shape"]
        )
        data = given["data"]
        if given["datatype"] == "BYTES":
            data = [item.encode() if isinstance(item, str) else item for item in data]
        if is_raw:
            request.raw_input_contents.append(raw_of(given["datatype"], data))
        else:
            getattr(tensor.contents, CONTENTS[given["datatype"]]).extend(data)
    return request


def raw_of(datatype: str, data: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(item)) + item for item in data)
    dtypes = {"INT64": "<i8", "INT32": "<i4", "FP64": "<f8", "FP32": "<f4", "FP16": "<f2"}
    return np.array(data, dtypes.get(datatype, "?")).tobytes()


def call(served: Served, method: str, body: bytes = b"", **values: Any) -> Reply:
    (reply,) = served.ask(grpc_call(body, f"/inference.GRPCInferenceService/{method}", **values))
    return reply


def infer(served: Served, request: Any, **values: Any) -> Any:
    reply = call(served, "ModelInfer", request.SerializeToString(), **values)
    assert reply.status == 0, reply.message
    return message_classes()["ModelInferResponse"].FromString(reply.body)


def refusal(served: Served, request: Any, status: int = INVALID_ARGUMENT) -> str:
    reply = call(served, "ModelInfer", request.SerializeToString())
    assert reply.status == status, reply.message
    return reply.message


def rest(served: Served, path: str, body: Any = None, method: str = "") -> tuple[int, Any]:
    data = b"" if body is None else json.dumps(body).encode()
    (reply,) = served.ask(http_call(method or ("POST" if data else "GET"), path, data))
    return reply.status, json.loads(reply.body)


# ---------------------------------------------------------------- scores


@pytest.mark.parametrize("is_raw", [False, True])
def test_every_row_scores_as_on_the_training_side_over_grpc(served: Served, is_raw: bool) -> None:
    for row in hostile_rows():
        response = infer(served, request_of(inputs_of([row]), is_raw=is_raw), request_id="mine")

        wanted = served.models["cvr"].score(row)
        assert [(o.name, o.datatype, list(o.shape)) for o in response.outputs] == [
            ("score", "FP64", [1]),
            ("version", "INT64", [1]),
        ]
        if is_raw:
            assert list(response.raw_output_contents) == [
                struct.pack("<d", wanted),
                struct.pack("<q", 1),
            ]
        else:
            assert list(response.outputs[0].contents.fp64_contents) == [wanted]
            assert list(response.outputs[1].contents.int64_contents) == [1]
        assert (response.model_name, response.model_version, response.id) == ("cvr", "1", "")
        assert response.parameters["request_id"].string_param == "mine"


def test_every_row_scores_as_on_the_training_side_over_rest(served: Served) -> None:
    for row in hostile_rows():
        inputs = inputs_of([row])
        for given in inputs:
            if given["datatype"] == "FP64":
                given["data"] = [as_json(row)[given["name"]]]

        code, found = rest(served, "/v2/models/cvr/infer", {"inputs": inputs, "id": "mine"})

        assert code == 200, found
        assert found["outputs"][0]["data"] == [served.models["cvr"].score(row)]
        assert found["outputs"][1] == {
            "name": "version",
            "shape": [1],
            "datatype": "INT64",
            "data": [1],
        }
        assert found["id"] == "mine"
        assert found["parameters"] == {"request_id": "mine"}


@pytest.mark.parametrize("is_raw", [False, True])
def test_whole_messages_may_be_sent(served: Served, is_raw: bool) -> None:
    rows = hostile_rows()
    messages = [row.to_message() for row in rows]
    whole = {"name": "message", "datatype": "BYTES", "shape": [len(rows)], "data": messages}

    response = infer(served, request_of([whole], is_raw=is_raw))

    wanted = [served.models["cvr"].score(row) for row in rows]
    found = (
        np.frombuffer(response.raw_output_contents[0]).tolist()
        if is_raw
        else list(response.outputs[0].contents.fp64_contents)
    )
    assert found == wanted


def test_whole_messages_may_be_sent_as_base64(served: Served) -> None:
    rows = hostile_rows()
    data = [base64.b64encode(row.to_message()).decode() for row in rows]
    whole = {"name": "message", "datatype": "BYTES", "shape": [len(rows), 1], "data": data}

    code, found = rest(served, "/v2/models/cvr/infer", {"inputs": [whole]})

    assert code == 200, found
    assert found["outputs"][0]["data"] == [served.models["cvr"].score(row) for row in rows]


def test_rows_are_batched_and_split_by_the_traffic(served: Served) -> None:
    filled = {"page": "p", "discount": 0.5, "age": 20, "is_member": True, "last": GOOD.time}
    lists: dict[str, Any] = {"tags": ["x"], "sizes": [1], "hits": []}
    rows = [Visit(**{**vars(row), **filled, **lists}) for row in hostile_rows()]

    response = infer(served, request_of(inputs_of(rows), model="ctr", id="batch"))

    scores, versions = (
        response.outputs[0].contents.fp64_contents,
        response.outputs[1].contents.int64_contents,
    )
    assert set(versions) == {1, 2}
    assert response.model_version == ""
    for row, score, version in zip(rows, scores, versions, strict=True):
        model = served.models["ctr" if version == 1 else "candidate"]
        assert score == model.score(row)


def test_a_version_may_be_named(served: Served) -> None:
    inputs = inputs_of([GOOD])
    for version, name in (("1", "ctr"), ("2", "candidate")):
        response = infer(served, request_of(inputs, model="ctr", model_version=version))

        assert response.model_version == version
        wanted = served.models[name].score(GOOD)
        assert list(response.outputs[0].contents.fp64_contents) == [wanted]
        path = f"/v2/models/ctr/versions/{version}/infer"
        assert rest(served, path, {"inputs": inputs})[1]["outputs"][0]["data"] == [wanted]
    message = refusal(served, request_of(inputs, model="ctr", model_version="7"), NOT_FOUND)
    assert message == "Version '7' of model 'ctr' is not served. There are: 1, 2."
    assert rest(served, "/v2/models/ctr/versions/x/infer", {"inputs": inputs})[0] == 404


def test_outputs_may_be_chosen(served: Served) -> None:
    request = request_of(inputs_of([GOOD]), outputs=[{"name": "version"}])

    assert [output.name for output in infer(served, request).outputs] == ["version"]
    body = {"inputs": inputs_of([GOOD]), "outputs": [{"name": "score"}]}
    found = rest(served, "/v2/models/cvr/infer", body)[1]
    assert [output["name"] for output in found["outputs"]] == ["score"]
    request = request_of(inputs_of([GOOD]), outputs=[{"name": "label"}])
    assert "output 'label' is unknown; there are: score, version." in refusal(
        served, request
    ).replace("Output", "output")


def test_other_datatypes_that_fit_are_taken(served: Served) -> None:
    row = Visit(**{**vars(GOOD), "price": 0.5, "discount": 0.25})
    wanted = served.models["cvr"].score(row)
    for is_raw in (False, True):
        inputs = {given["name"]: given for given in inputs_of([row])}
        inputs["price"]["datatype"] = "FP32"
        inputs["discount"]["datatype"] = "FP16" if is_raw else "FP32"
        inputs["count"]["datatype"] = "INT32"
        inputs["time"] |= {"datatype": "BYTES", "data": [row.time.isoformat()]}
        inputs["user"]["shape"] = [1, 1]

        response = infer(served, request_of(list(inputs.values()), is_raw=is_raw))

        (score,) = (
            np.frombuffer(response.raw_output_contents[0])
            if is_raw
            else response.outputs[0].contents.fp64_contents
        )
        assert score == wanted


def test_bare_nan_and_infinity_are_taken_as_tritons_client_writes_them(served: Served) -> None:
    for price in (float("nan"), float("inf"), -float("inf")):
        row = Visit(**{**vars(GOOD), "price": price})

        found = rest(served, "/v2/models/cvr/infer", {"inputs": inputs_of([row])})[1]

        assert found["outputs"][0]["data"] == [served.models["cvr"].score(row)]


def test_fp32_is_rounded_as_fp32_whatever_digits_come(served: Served) -> None:
    row = Visit(**{**vars(GOOD), "price": float(np.float32(0.1))})
    inputs = {given["name"]: given for given in inputs_of([row])}
    inputs["price"] |= {"datatype": "FP32", "data": [0.1]}

    by_rest = rest(served, "/v2/models/cvr/infer", {"inputs": list(inputs.values())})[1]
    by_grpc = infer(served, request_of(list(inputs.values())))

    wanted = served.models["cvr"].score(row)
    assert by_rest["outputs"][0]["data"] == [wanted]
    assert list(by_grpc.outputs[0].contents.fp64_contents) == [wanted]


def test_nested_data_of_json_is_taken(served: Served) -> None:
    inputs = inputs_of([GOOD])
    for given in inputs:
        if len(given["shape"]) == 2:
            given["data"] = [given["data"]]

    code, found = rest(served, "/v2/models/cvr/infer", {"inputs": inputs})

    assert code == 200, found
    assert found["outputs"][0]["data"] == [served.models["cvr"].score(GOOD)]


def test_a_null_in_json_is_a_missing_value(served: Served) -> None:
    inputs = [*inputs_of([GOOD]), {"name": "discount", "datatype": "FP64", "shape": [1]}]
    inputs[-1]["data"] = [None]

    found = rest(served, "/v2/models/cvr/infer", {"inputs": inputs})[1]

    assert found["outputs"][0]["data"] == [served.models["cvr"].score(GOOD)]


def test_answers_are_counted_by_their_door(tmp_path: Path) -> None:
    served = Served(tmp_path)

    infer(served, request_of(inputs_of([GOOD])))
    rest(served, "/v2/models/cvr/infer", {"inputs": inputs_of([GOOD])})
    refusal(served, request_of([]))

    counted = served.slot["answers"][2]
    assert (counted[0], counted[INVALID_ARGUMENT]) == (2, 1)
    assert served.arm("cvr")["served"] == 2


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "usr"}, "Input field 'usr' is unknown. Did you mean 'user'?"),
        ({"datatype": "INT64"}, "Input 'user' is 'INT64'; of a field of str it must be BYTES."),
        ({"datatype": "STRING"}, "'STRING'"),
        ({"shape": [2]}, "Input 'user' has the shape [2] and 1 values."),
        ({"shape": [-1]}, "Input 'user' has the shape [-1] and 1 values."),
        ({"shape": [1, 2]}, "Input 'user' has the shape [1, 2]; it must be [rows]."),
        ({"shape": []}, "Input 'user' has the shape []; it must be [rows]."),
        ({"shape": [2], "data": ["a", "b"]}, "2 rows and the one before it 1"),
    ],
)
def test_a_wrong_tensor_is_named(served: Served, change: dict[str, Any], words: str) -> None:
    inputs = inputs_of([GOOD])
    inputs.append(inputs.pop(0) | change)

    code, found = rest(served, "/v2/models/cvr/infer", {"inputs": inputs})

    assert code == 400
    assert words in found["error"]


def test_wrong_messages_are_refused_with_what_is_wrong(served: Served) -> None:
    good = inputs_of([GOOD])
    cases = [
        (request_of([]), "The request has no inputs."),
        (request_of(good[1:]), "Row 0: field 'user' is missing"),
        (request_of([*good, good[0]]), "Input 'user' is there twice."),
        (request_of([{**good[0], "data": [b"\xff"]}, *good[1:]]), "is not UTF-8"),
    ]
    both = request_of(good, is_raw=True)
    both.inputs[0].contents.bytes_contents.append(b"x")
    cases.append((both, "has both contents and raw_input_contents"))
    few = request_of(good, is_raw=True)
    few.raw_input_contents.pop()
    cases.append((few, "raw_input_contents; there must be one of each input"))
    wrong = request_of(good)
    wrong.inputs[0].contents.int64_contents.append(1)
    cases.append((wrong, "Input 'user' is BYTES and has int64_contents, bytes_contents; it must"))
    unknown = request_of(good)
    unknown.inputs[0].datatype = "BF16"
    cases.append((unknown, "has the datatype 'BF16', which is unknown"))
    cut = request_of(good, is_raw=True)
    cut.raw_input_contents[0] = b"\x05\0\0\0ab"
    cases.append((cut, "Input 'user': its raw bytes end inside item 0."))
    short = request_of(good, is_raw=True)
    short.raw_input_contents[0] = b"\x05"
    cases.append((short, "end inside item 0"))
    odd = request_of(good, is_raw=True)
    place = next(at for at, given in enumerate(good) if given["datatype"] == "FP64")
    odd.raw_input_contents[place] = b"abc"
    cases.append((odd, "has 3 bytes, no whole number of FP64"))
    whole = {"name": "message", "datatype": "BYTES", "shape": [1], "data": [b"\xff"]}
    cases.append((request_of([whole]), "The message is no Visit"))
    two = {**whole, "shape": [2], "data": [GOOD.to_message(), b"\xff"]}
    cases.append((request_of([two]), "rows[1]: The message is no Visit"))
    for request, words in cases:
        assert words in refusal(served, request)
    assert call(served, "ModelInfer", b"\x0a\x05").status == INVALID_ARGUMENT
    assert "'ltv' is not served. There are: ctr, cvr." in refusal(
        served, request_of(good, model="ltv"), NOT_FOUND
    )
    assert "Did you mean 'ctr'?" in refusal(served, request_of(good, model="ctrr"), NOT_FOUND)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "The body is []; it must be an object."),
        ({}, "inputs is None; it must be a list."),
        ({"inputs": [1]}, "inputs[0] is 1; it must be an object."),
        ({"inputs": [{"name": 1}]}, "inputs[0].shape is None; it must be a list."),
        ({"inputs": [{"shape": [True]}]}, "inputs[0].shape is [True]; give integers."),
        ({"inputs": [{"shape": [1]}]}, "inputs[0].data is None; it must be a list."),
        ({"inputs": [{"shape": [1], "data": []}]}, "inputs[0].name is None; it must be text."),
        ({"inputs": [], "outputs": ["score"]}, "outputs[0] is 'score'; it must be an object."),
        ({"inputs": [{"parameters": {"binary_data_size": 3}}]}, "binary data, which is not taken"),
        (
            {"inputs": [{"name": "message", "datatype": "BYTES", "shape": [1], "data": ["%"]}]},
            "Input 'message': '%' is no base64",
        ),
        (
            {"inputs": [{"name": "message", "datatype": "INT64", "shape": [1], "data": [1]}]},
            "Input 'message' is INT64; it must be BYTES.",
        ),
        (
            {"inputs": [{"name": "user", "datatype": "BYTES", "shape": [10001], "data": []}]},
            "10,001 rows; at most 10,000",
        ),
    ],
)
def test_json_that_is_no_request_says_where(served: Served, body: Any, words: str) -> None:
    code, found = rest(served, "/v2/models/cvr/infer", body, "POST")

    assert code in {400, 413}
    assert words in found["error"]


# ---------------------------------------------------------------- what is told


def test_servers_and_models_describe_themselves_over_grpc(served: Served) -> None:
    classes = message_classes()

    def ask(method: str, **fields: Any) -> Any:
        body = classes[f"{method}Request"](**fields).SerializeToString()
        reply = call(served, method, body)
        assert reply.status == 0, reply.message
        return classes[f"{method}Response"].FromString(reply.body)

    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert ask("ModelReady", name="ctr", version="2").ready
    assert ask("ServerMetadata").name == "tadka"
    about = ask("ModelMetadata", name="ctr")
    assert (about.name, list(about.versions), about.platform) == ("ctr", ["1", "2"], "tadka")
    fields = Visit.definition().fields
    assert [(t.name, t.datatype, list(t.shape)) for t in about.inputs] == [
        (field.name, DATATYPES[field.type], [-1, -1] if field.is_list else [-1]) for field in fields
    ]
    assert [(t.name, t.datatype) for t in about.outputs] == [
        ("score", "FP64"),
        ("version", "INT64"),
    ]
    unknown = classes["ModelReadyRequest"](name="ltv").SerializeToString()
    assert call(served, "ModelReady", unknown).status == NOT_FOUND
    assert call(served, "RepositoryIndex").status == UNIMPLEMENTED
    assert call(served, "ModelReady", b"\x0a\x05").status == INVALID_ARGUMENT


def test_servers_and_models_describe_themselves_over_rest(served: Served) -> None:
    assert rest(served, "/v2")[1]["name"] == "tadka"
    assert rest(served, "/v2/")[0] == 200
    assert rest(served, "/v2/health/live") == (200, {"live": True})
    assert rest(served, "/v2/health/ready") == (200, {"ready": True})
    assert rest(served, "/v2/models/ctr/ready") == (200, {"name": "ctr", "ready": True})
    assert rest(served, "/v2/models/ctr/versions/2/ready")[0] == 200
    assert rest(served, "/v2/models/ctr/versions/3")[0] == 404
    assert rest(served, "/v2/models/ctr")[1]["versions"] == ["1", "2"]
    assert rest(served, "/v2/models/ltv")[0] == 404
    assert rest(served, "/v2/models/ctr/infer")[0] == 405
    assert rest(served, "/v2/models/ctr", {"a": 1})[0] == 405
    assert rest(served, "/v2/models")[0] == 404
    assert rest(served, "/v2/repository/index", {"a": 1})[0] == 404


def test_a_server_that_drains_or_has_nothing_is_not_ready(tmp_path: Path) -> None:
    empty = Served(tmp_path / "empty", {})
    draining = Served(tmp_path / "draining")
    draining.handler.is_draining = True

    for served in (empty, draining):
        assert rest(served, "/v2/health/ready") == (503, {"ready": False})
        assert rest(served, "/v2/health/live") == (200, {"live": True})
        assert call(served, "ServerReady").body == b""  # the default, false
    assert rest(draining, "/v2/models/ctr/ready")[0] == 503


def test_a_class_with_a_field_named_message_takes_its_fields(tmp_path: Path) -> None:
    class Letter(Features):
        message: str

    from tadka.serve.answer.intake import Intake
    from tadka.serve.answer.tensor import Tensor, messages_of

    (found,) = messages_of([Tensor("message", "BYTES", (1,), [b"hello"])], Intake(Letter))

    assert Letter.from_message(found) == Letter("hello")


def test_without_protobuf_the_door_names_the_extra(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(module: str, *, extra: str) -> Any:
        raise MissingExtra(f"This needs protobuf. Run: pip install 'tadka[{extra}]'.", name=module)

    request = request_of([]).SerializeToString()  # which needs protobuf
    monkeypatch.setattr(open_inference, "require", absent)
    reply = call(served, "ModelInfer", request)

    assert reply.status == UNIMPLEMENTED
    assert "tadka[serve]" in reply.message


def field(number: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    assert len(body) < 128
    return bytes((number << 3 | 2, len(body))) + body


def test_the_numbers_of_the_fields_are_those_of_the_protocol(served: Served) -> None:
    message = GOOD.to_message()
    parameter = field(1, b"key"), field(2, field(3, b"value"))
    tensor = (
        field(1, b"message"),
        field(2, b"BYTES"),
        field(3, b"\x01"),
        field(4, *parameter),
        field(5, field(8, message)),
    )
    request = (
        field(1, b"cvr"),
        field(2, b"1"),
        field(3, b"id"),
        field(4, *parameter),
        field(5, *tensor),
        field(6, field(1, b"score"), field(2, *parameter)),
    )
    reply = call(served, "ModelInfer", b"".join(request))
    raw_tensor = field(5, *tensor[:3])
    raw = field(7, struct.pack("<I", len(message)), message)
    raw_reply = call(served, "ModelInfer", request[0] + raw_tensor + raw)

    score = struct.pack("<d", served.models["cvr"].score(GOOD))
    head = field(1, b"cvr"), field(2, b"1"), field(3, b"id")
    output = field(1, b"score"), field(2, b"FP64"), field(3, b"\x01")
    assert reply.body == b"".join(
        (
            *head,
            field(4, field(1, b"request_id"), field(2, field(3, b"id"))),
            field(5, *output, field(5, field(7, score))),
        )
    )
    assert field(5, *output) in raw_reply.body
    assert raw_reply.body.endswith(field(6, score) + field(6, struct.pack("<q", 1)))
