"""Every door gives the scores of the training side bit for bit, and the request log keeps them."""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow.compute as pc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from tadka.core.error import DataError, NotFound, ServeError
from tadka.serve.client import Client
from tadka.serve.log.writer import read_log
from tadka.serve.prediction import service_proto
from tadka.serve.server import Server
from tadka.serve.store.store import Store
from tests.clients import GrpcClient, Row, ask, json_row, make_rows, metric, scores_of
from tests.conftest import ROOT
from tests.serving import MODELS, Impression, Transport, make_model, make_store, save_model, serving

ROWS = make_rows(100)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  times in a row are naive and UTC
OIP = "/inference.GRPCInferenceService"


def micros(row: Row) -> int:
    return (row.impression.time - EPOCH) // timedelta(microseconds=1)


def compile_proto(file: Path, folder: Path) -> Mapping[str, Any]:
    """Message classes of a `.proto` file by full name, as protoc understands it."""
    described = folder / f"{file.stem}.pb"
    command = ["protoc", f"-I{file.parent}", f"--descriptor_set_out={described}", str(file)]
    assert protoc.main(command) == 0
    files = descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for description in files.file:
        pool.Add(description)
    return {
        f"{description.package}.{message.name}": message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{description.package}.{message.name}")
        )
        for description in files.file
        for message in description.message_type
    }


@pytest.fixture(scope="module")
def inference(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return compile_proto(ROOT / "tests" / "inference.proto", tmp_path_factory.mktemp("proto"))


# ---------------------------------------------------------------- gRPC and JSON


def test_the_python_client_gets_the_scores_of_the_training_side(server: Server) -> None:
    with Client(f"127.0.0.1:{server.port}") as client:
        for row in ROWS[:20]:
            assert scores_of(client.predict(row.impression)) == row.scores
        many = client.predict_many([row.impression for row in ROWS])
        assert [scores_of(prediction) for prediction in many] == [row.scores for row in ROWS]
        one = client.predict(ROWS[0].impression, models=["cvr"], request_id="imp-1")
        assert (one.request_id, one.score) == ("imp-1", ROWS[0].scores["cvr"])
        with pytest.raises(NotFound, match="ltv"):
            client.predict(ROWS[0].impression, models=["ltv"])
        with pytest.raises(ServeError, match="initials"):
            client.predict(Impression(user="faulty"))


def test_messages_of_protoc_classes_get_the_same_scores(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "impression.proto"
    file.write_text(service_proto(Impression), encoding="utf-8")
    classes = compile_proto(file, tmp_path)
    package = next(name.rpartition(".")[0] for name in classes)
    with GrpcClient(server.port) as client:
        for row in ROWS[:20]:
            sent = classes[f"{package}.Impression"](
                user=row.impression.user,
                site=row.impression.site,
                price=row.impression.price,
                time=micros(row),
                tags=row.impression.tags,
            )
            reply = client.send(sent.SerializeToString())
            answer = classes[f"{package}.Prediction"].FromString(reply)
            assert {score.model: score.score for score in answer.scores} == row.scores
            assert {score.version for score in answer.scores} == {1}


def test_json_gives_the_same_scores_for_one_row_and_for_many(server: Server) -> None:
    for row in ROWS[:10]:
        for time in (row.impression.time.isoformat(), micros(row)):
            code, reply = ask(
                server.http_port, "/v1/predict", json_row(row.impression) | {"time": time}
            )
            assert code == 200
            assert reply["request_id"]
            assert {name: answer["score"] for name, answer in reply["scores"].items()} == row.scores
    code, reply = ask(
        server.http_port, "/v1/predict", {"rows": [json_row(row.impression) for row in ROWS]}
    )
    assert code == 200
    for row, prediction in zip(ROWS, reply["predictions"], strict=True):
        scores = prediction["scores"]
        assert {name: scores[name]["score"] for name in scores} == row.scores
        assert {scores[name]["version"] for name in scores} == {1}


def test_a_wrong_row_among_many_is_named(server: Server) -> None:
    rows = [json_row(row.impression) for row in ROWS[:3]]
    rows[1]["price"] = "dear"
    code, reply = ask(server.http_port, "/v1/predict", {"rows": rows})
    assert code == 400
    assert "rows[1]" in reply["error"]
    assert "price" in reply["error"]


# ---------------------------------------------------------------- Open Inference Protocol


def rest_inputs(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows whose lists have one length, as tensors in JSON."""
    num, num_tags = len(rows), len(rows[0].impression.tags)
    users = [row.impression.user for row in rows]
    sites = [row.impression.site for row in rows]
    prices = [row.impression.price for row in rows]
    tags = [tag for row in rows for tag in row.impression.tags]
    return [
        {"name": "user", "datatype": "BYTES", "shape": [num], "data": users},
        {"name": "site", "datatype": "BYTES", "shape": [num], "data": sites},
        {"name": "price", "datatype": "FP64", "shape": [num], "data": prices},
        {"name": "time", "datatype": "INT64", "shape": [num], "data": [micros(r) for r in rows]},
        {"name": "tags", "datatype": "BYTES", "shape": [num, num_tags], "data": tags},
    ]


def by_num_tags(rows: Sequence[Row]) -> list[list[Row]]:
    """Groups of rows that fit one tensor."""
    lengths = sorted({len(row.impression.tags) for row in rows})
    return [[row for row in rows if len(row.impression.tags) == length] for length in lengths]


@pytest.mark.parametrize("name", ["ctr", "cvr"])
def test_oip_over_rest_gives_the_same_scores(server: Server, name: str) -> None:
    for place in (f"/v2/models/{name}/infer", f"/v2/models/{name}/versions/1/infer"):
        for rows in by_num_tags(ROWS):
            request = {"id": "imp-7", "inputs": rest_inputs(rows)}
            code, reply = ask(server.http_port, place, request)
            assert code == 200, reply
            assert (reply["model_name"], reply["model_version"]) == (name, "1")
            assert reply["id"] == "imp-7"
            outputs = {output["name"]: output for output in reply["outputs"]}
            assert outputs["score"]["datatype"] == "FP64"
            assert outputs["score"]["shape"] == [len(rows)]
            assert outputs["score"]["data"] == [row.scores[name] for row in rows]
            assert outputs["version"]["data"] == [1] * len(rows)


def test_oip_over_rest_says_what_is_there_and_what_is_wrong(server: Server) -> None:
    port = server.http_port
    assert ask(port, "/v2/health/live")[0] == 200
    assert ask(port, "/v2/health/ready")[0] == 200
    assert ask(port, "/v2/models/ctr/ready")[0] == 200
    assert ask(port, "/v2/models/ctr/versions/1/ready")[0] == 200
    code, about = ask(port, "/v2/models/ctr")
    assert code == 200
    assert about["name"] == "ctr"
    assert about["versions"] == ["1"]
    assert {tensor["name"] for tensor in about["inputs"]} >= {"user", "site", "price", "time"}
    assert ask(port, "/v2/models/ltv/ready")[0] == 404
    inputs = rest_inputs(ROWS[:1])
    assert ask(port, "/v2/models/ltv/infer", {"inputs": inputs})[0] == 404
    assert ask(port, "/v2/models/ctr/versions/9/infer", {"inputs": inputs})[0] == 404
    code, reply = ask(port, "/v2/models/ctr/infer", {"inputs": inputs[1:]})
    assert code == 400
    assert "user" in reply["error"]
    inputs[2]["datatype"] = "INT32"
    code, reply = ask(port, "/v2/models/ctr/infer", {"inputs": inputs})
    assert code == 400
    assert "price" in reply["error"]


def infer(
    server: Server, inference: Mapping[str, Any], request: Any
) -> tuple[Any, list[float], list[int]]:
    """The answer to ModelInfer, with its scores and versions."""
    with GrpcClient(server.port, f"{OIP}/ModelInfer") as client:
        reply = client.send(request.SerializeToString())
    answer = inference["inference.ModelInferResponse"].FromString(reply)
    columns: dict[str, list[Any]] = {}
    for at, output in enumerate(answer.outputs):
        if answer.raw_output_contents:
            format_ = f"<{len(answer.raw_output_contents[at]) // 8}" + "dq"[output.name != "score"]
            columns[output.name] = list(struct.unpack(format_, answer.raw_output_contents[at]))
        elif output.name == "score":
            columns[output.name] = list(output.contents.fp64_contents)
        else:
            columns[output.name] = list(output.contents.int64_contents)
    return answer, columns["score"], columns["version"]


CONTENTS = {"BYTES": "bytes_contents", "FP64": "fp64_contents", "INT64": "int64_contents"}


def raw_of(tensor: Mapping[str, Any]) -> bytes:
    """The values of a tensor as raw contents."""
    data = tensor["data"]
    if tensor["datatype"] == "BYTES":
        texts = [text.encode() for text in data]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack(f"<{len(data)}" + {"FP64": "d", "INT64": "q"}[tensor["datatype"]], *data)


@pytest.mark.parametrize("contents", ["typed", "raw", "whole messages"])
def test_oip_over_grpc_gives_the_same_scores(
    server: Server, inference: Mapping[str, Any], contents: str
) -> None:
    for rows in by_num_tags(ROWS):
        request = inference["inference.ModelInferRequest"](model_name="cvr", id="imp-8")
        tensors = rest_inputs(rows)
        if contents == "whole messages":
            tensors = [{"name": "message", "datatype": "BYTES", "shape": [len(rows)], "data": []}]
        for tensor in tensors:
            sent = request.inputs.add(
                name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"]
            )
            values = tensor["data"]
            if tensor["name"] == "message":
                sent.contents.bytes_contents.extend(row.message for row in rows)
            elif contents == "raw":
                request.raw_input_contents.append(raw_of(tensor))
            else:
                is_text = tensor["datatype"] == "BYTES"
                getattr(sent.contents, CONTENTS[tensor["datatype"]]).extend(
                    [value.encode() for value in values] if is_text else values
                )
        answer, scores, versions = infer(server, inference, request)
        assert (answer.model_name, answer.model_version, answer.id) == ("cvr", "1", "imp-8")
        assert scores == [row.scores["cvr"] for row in rows]
        assert versions == [1] * len(rows)


def test_oip_over_grpc_says_what_is_there(server: Server, inference: Mapping[str, Any]) -> None:
    def call(method: str, **fields: Any) -> Any:
        with GrpcClient(server.port, f"{OIP}/{method}") as client:
            reply = client.send(
                inference[f"inference.{method}Request"](**fields).SerializeToString()
            )
        return inference[f"inference.{method}Response"].FromString(reply)

    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ModelReady", name="ctr").ready
    about = call("ModelMetadata", name="ctr")
    assert (about.name, list(about.versions)) == ("ctr", ["1"])
    assert {tensor.name for tensor in about.outputs} == {"score", "version"}
    request = inference["inference.ModelInferRequest"](model_name="ltv")
    with GrpcClient(server.port, f"{OIP}/ModelInfer") as client:
        assert client.failure(request.SerializeToString())[0] is grpc.StatusCode.NOT_FOUND
        assert client.failure(b"\xff")[0] is grpc.StatusCode.INVALID_ARGUMENT
    with GrpcClient(server.port, f"{OIP}/RepositoryIndex") as client:
        assert client.failure(b"")[0] is grpc.StatusCode.UNIMPLEMENTED


# ---------------------------------------------------------------- the request log


def test_the_log_keeps_every_request_with_its_features_and_scores(
    transport: Transport, tmp_path: Path
) -> None:
    store, log = make_store(tmp_path), tmp_path / "log"
    with serving(store.path, transport, Impression, log=str(log), log_share=1.0) as server:
        with GrpcClient(server.port) as client:
            for at, row in enumerate(ROWS):
                client.predict(row.message, [("x-request-id", f"imp-{at}")])
            client.failure(ROWS[0].message[:-1])  # not scored, so not logged
        code, reply = ask(server.http_port, "/v1/predict", json_row(ROWS[0].impression))
        assert code == 200
    table = read_log(log)
    for name in MODELS:  # it is training data
        rows = table.filter(pc.equal(table["log.model"], name))
        assert make_model(name).predict(rows).tolist() == rows["log.score"].to_pylist()
    logged = table.to_pylist()
    assert len(logged) == 2 * (len(ROWS) + 1)
    by_id = {(entry["log.request_id"], entry["log.model"]): entry for entry in logged}
    assert len(by_id) == len(logged)
    for at, row in enumerate(ROWS):
        for name in ("ctr", "cvr"):
            entry = by_id[f"imp-{at}", name]
            assert entry["log.score"] == row.scores[name]
            assert (entry["log.version"], entry["log.role"]) == (1, "served")
            assert entry["log.message"] == row.message
            for field in ("user", "site", "price", "tags"):
                assert entry[field] == getattr(row.impression, field)
            assert entry["time"].replace(tzinfo=None) == row.impression.time
            assert entry["feature.hour"] == row.impression.hour
            assert entry["feature.user_site"] == row.impression.user_site
    assert by_id[reply["request_id"], "ctr"]["log.score"] == ROWS[0].scores["ctr"]
    assert not [file for file in log.iterdir() if file.suffix != ".arrow"]  # nothing unfinished


def test_a_share_of_the_log_holds_whole_requests(transport: Transport, tmp_path: Path) -> None:
    store, log = make_store(tmp_path), tmp_path / "log"
    with (
        serving(store.path, transport, Impression, log=str(log), log_share=0.3) as server,
        GrpcClient(server.port) as client,
    ):
        for _ in range(5):
            for row in ROWS:
                client.predict(row.message)
    ids = Counter(read_log(log)["log.request_id"].to_pylist())
    assert set(ids.values()) == {2}  # both models of each
    assert 80 <= len(ids) <= 230  # 150 expected


def test_split_and_shadow_show_in_answers_log_and_metrics(
    transport: Transport, tmp_path: Path
) -> None:
    store, log = make_store(tmp_path), tmp_path / "log"
    store.publish(save_model(tmp_path, "ctr", 1), alias="candidate", model="ctr")
    store.publish(save_model(tmp_path, "ctr", 2), alias="trial", model="ctr")
    store.split({"production": 70, "candidate": 30}, model="ctr", key="user")
    store.shadow(["trial"], model="ctr")
    scores = {version: make_rows(100, version_seed=version - 1) for version in (1, 2, 3)}
    served: dict[str, tuple[int, float]] = {}
    with serving(store.path, transport, Impression, log=str(log), log_share=1.0) as server:
        with GrpcClient(server.port) as client:
            for repeat in range(3):
                for at, row in enumerate(ROWS):
                    sent = [("x-request-id", f"{repeat}-{at}")]
                    ctr = client.predict(row.message, sent).scores[0]
                    assert ctr.score == scores[ctr.version][at].scores["ctr"]
                    served[f"{repeat}-{at}"] = (ctr.version, ctr.score)
        text = ask(server.http_port, "/metrics")[1]
    versions = Counter(version for version, _ in served.values())
    assert set(versions) == {1, 2}
    assert 30 <= versions[2] <= 160  # 90 expected of 300
    for at in range(len(ROWS)):  # one user always meets the same version
        assert len({served[f"{repeat}-{at}"] for repeat in range(3)}) == 1
    entries = [entry for entry in read_log(log).to_pylist() if entry["log.model"] == "ctr"]
    logged = {
        entry["log.request_id"]: (entry["log.version"], entry["log.score"])
        for entry in entries
        if entry["log.role"] == "served"
    }
    assert logged == served
    shadows = [entry for entry in entries if entry["log.role"] == "shadow"]
    assert {entry["log.version"] for entry in shadows} == {3}
    dropped = metric(text, "tadka_shadow_dropped_total")
    assert len(shadows) + dropped >= 0.9 * len(served)  # those of the last calls may still wait
    for entry in shadows:
        at = int(entry["log.request_id"].partition("-")[2])
        assert entry["log.score"] == scores[3][at].scores["ctr"]
    for version in (1, 2):
        counted = metric(
            text, "tadka_scores_total", model="ctr", version=str(version), role="served"
        )
        assert counted == versions[version]


def test_a_model_of_another_class_or_damaged_is_refused_and_the_old_one_goes_on(
    transport: Transport, tmp_path: Path
) -> None:
    store = make_store(tmp_path)
    with serving(store.path, transport, Impression) as server, GrpcClient(server.port) as client:
        damaged = save_model(tmp_path, "ctr", 1)
        weights = damaged / "linear.npy"
        weights.write_bytes(weights.read_bytes()[:-100])
        before = store.state()
        with pytest.raises(DataError, match=r"linear\.npy"):
            Store(store.path).publish(damaged, model="ctr")
        assert store.state() == before
        assert scores_of(client.predict(ROWS[0].message)) == ROWS[0].scores
