import contextlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.features import Features
from tadka.serve.prediction import Prediction, Score, method_path, service_name, service_proto


class Impression(Features):
    user: str


class MyHTTPRow(Features):
    user: str


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Classes that protoc makes of the printed file."""
    folder = tmp_path_factory.mktemp("proto")
    (folder / "impression.proto").write_text(service_proto(Impression), encoding="utf-8")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", "--include_imports"]
    command += [f"--descriptor_set_out={folder / 'set'}", str(folder / "impression.proto")]
    subprocess.run(command, check=True, timeout=60)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((folder / "set").read_bytes()).file:
        pool.Add(file)

    def find(name: str) -> Any:
        found = pool.FindMessageTypeByName(f"tadka.impression.{name}")
        return message_factory.GetMessageClass(found)

    return find


SCORES = (Score("ctr", 3, 0.25), Score("cvr", 2**32 - 1, 5e-324), Score("", 0, 0.0))


def test_protobuf_reads_what_is_written(google: Callable[[str], Any]) -> None:
    prediction = Prediction("9f0c", SCORES)

    theirs = google("Prediction").FromString(prediction.to_message())

    assert theirs.request_id == "9f0c"
    assert [(s.model, s.version, s.score) for s in theirs.scores] == [
        (s.model, s.version, s.score) for s in SCORES
    ]


def test_what_protobuf_writes_is_read(google: Callable[[str], Any]) -> None:
    theirs = google("Prediction")(request_id="é")
    for score in SCORES:
        theirs.scores.add(model=score.model, version=score.version, score=score.score)

    assert Prediction("é", SCORES) == Prediction.from_message(theirs.SerializeToString())


def test_defaults_are_written_too() -> None:
    message = Prediction("", (Score("", 0, 0.0),)).to_message()

    assert message == b"\x0a\x00\x12\x0d\x0a\x00\x10\x00\x19" + bytes(8)


@given(
    st.text(max_size=200),
    st.lists(
        st.tuples(st.text(max_size=200), st.integers(0, 2**32 - 1), st.floats(allow_nan=False))
    ),
)
def test_every_prediction_survives_its_message(
    request_id: str, scores: list[tuple[str, int, float]]
) -> None:
    prediction = Prediction(request_id, tuple(Score(*score) for score in scores))

    assert prediction == Prediction.from_message(prediction.to_message())


def test_fields_of_later_versions_are_skipped() -> None:
    unknown = b"\x18\x05" + b"\x25abcd" + b"\x29abcdefgh" + b"\x32\x02hi" + b"\x08\x01"
    message = unknown + Prediction("a", SCORES).to_message() + unknown

    assert Prediction("a", SCORES) == Prediction.from_message(message)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_prediction_or_a_data_error(message: bytes) -> None:
    with contextlib.suppress(DataError):
        assert isinstance(Prediction.from_message(message), Prediction)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\x0a\x05ab", "ends inside field 1"),
        (b"\x0a", "ends inside a varint"),
        (b"\x80" * 11, "ends inside a varint"),
        (b"\x00\x01", "number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x0f", "wire type 7"),
        (b"\x0a\x01\xff", "not UTF-8"),
        (b"\x12\x02\x0a\x05", "ends inside field 1"),
    ],
)
def test_a_damaged_message_says_how(message: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Prediction.from_message(message)


def test_a_score_is_found_by_its_model() -> None:
    prediction = Prediction("a", SCORES)

    assert prediction["ctr"] == 0.25
    with pytest.raises(NotFound, match="no score of model 'ltv'; it has: 'ctr', 'cvr', ''"):
        prediction["ltv"]
    with pytest.raises(NotFound, match="has 3 scores, not one"):
        _ = prediction.score
    assert Prediction("a", SCORES[:1]).score == 0.25


def test_the_service_bears_the_name_of_the_class() -> None:
    assert service_name(MyHTTPRow) == "tadka.my_http_row.Predictor"
    assert method_path(Impression) == "/tadka.impression.Predictor/Predict"
    assert "rpc Predict (Impression) returns (Prediction);" in service_proto(Impression)


@pytest.mark.parametrize("name", ["Prediction", "Score", "Predictor"])
def test_a_class_named_like_a_message_of_the_service_is_refused(name: str) -> None:
    cls = type(name, (Features,), {"__annotations__": {"user": str}})

    with pytest.raises(ConfigError, match=f"named '{name}' cannot be served"):
        service_proto(cls)
