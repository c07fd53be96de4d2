import json
from dataclasses import field
from pathlib import Path
from typing import Any

import pytest

from tadka.features import Features
from tadka.serve.answer.call import Reply
from tadka.serve.answer.intake import Intake
from tadka.serve.prediction import service_proto
from tests.unit.serve.rows import GOOD, Served, Visit, as_json, hostile_rows, http_call

ROW = as_json(GOOD)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(tmp_path_factory.mktemp("rest"))


def post(served: Served, body: Any, path: str = "/v1/predict", **values: Any) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    (reply,) = served.ask(http_call("POST", path, data, **values))
    return reply


def get(served: Served, path: str, method: str = "GET") -> Reply:
    (reply,) = served.ask(http_call(method, path))
    return reply


def error_of(reply: Reply, status: int = 400) -> str:
    assert reply.status == status, reply.body
    assert reply.content_type == "application/json"
    error: str = json.loads(reply.body)["error"]
    return error


def test_a_row_scores_as_on_the_training_side_bit_for_bit(served: Served) -> None:
    for row in hostile_rows():
        reply = post(served, as_json(row), request_id="mine")

        assert reply.status == 200, reply.body
        found = json.loads(reply.body)
        assert found["request_id"] == "mine"
        assert found["scores"] == {
            name: {"score": model.score(row), "version": 1} for name, model in served.models.items()
        }


def test_many_rows_are_answered_in_order_with_an_id_each(served: Served) -> None:
    rows = hostile_rows()

    found = json.loads(post(served, {"rows": [as_json(row) for row in rows]}).body)

    name = found["request_id"]
    assert len(name) == 16
    for at, (row, answer) in enumerate(zip(rows, found["predictions"], strict=True)):
        assert answer["request_id"] == f"{name}/{at}"
        assert answer["scores"]["ctr"]["score"] == served.models["ctr"].score(row)


def test_no_rows_are_no_predictions(served: Served) -> None:
    assert json.loads(post(served, {"rows": []}).body)["predictions"] == []


def test_models_are_chosen_by_header_or_query(served: Served) -> None:
    by_header = json.loads(post(served, ROW, models="cvr").body)
    by_query = json.loads(post(served, ROW, "/v1/predict?models=cvr,ctr").body)

    assert list(by_header["scores"]) == ["cvr"]
    assert list(by_query["scores"]) == ["cvr", "ctr"]
    assert "'ltv' is not served" in error_of(post(served, ROW, "/v1/predict?models=ltv"), 404)
    assert "'model' of the query is unknown" in error_of(post(served, ROW, "/v1/predict?model=ctr"))
    assert "comes twice" in error_of(post(served, ROW, "/v1/predict?models=ctr&models=cvr"))


def test_what_is_optional_may_be_null_or_left_out(served: Served) -> None:
    names = ("page", "discount", "age", "is_member", "last")
    as_null = ROW | dict.fromkeys(names)
    left_out = {name: value for name, value in ROW.items() if name not in names}

    assert post(served, as_null).status == 200
    first, second = (json.loads(post(served, row).body)["scores"] for row in (as_null, left_out))
    assert first == second


def test_a_field_that_is_left_out_takes_the_default_of_the_class(served: Served) -> None:
    row = {name: value for name, value in ROW.items() if name != "country"}

    assert json.loads(post(served, row).body)["scores"]["ctr"]["score"] == served.models[
        "ctr"
    ].score(GOOD)


def test_defaults_are_made_anew_for_every_row() -> None:
    class Basket(Features):
        items: list[str] = field(default_factory=list)
        price: float | None = 1.5

    intake = Intake(Basket)

    assert Basket.from_message(intake.message({})) == Basket()
    assert Basket.from_message(intake.message({"price": None})) == Basket(price=None)


def test_times_are_text_or_microseconds(served: Served) -> None:
    wanted = served.models["ctr"].score(GOOD)
    microseconds = 1_704_099_600_000_000
    for time in ("2024-01-01T09:00:00", "2024-01-01T18:00:00+09:00", "20240101T09Z", microseconds):
        scores = json.loads(post(served, ROW | {"time": time}).body)["scores"]
        assert scores["ctr"]["score"] == wanted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"usr": 1}, "Field 'usr' is unknown. Did you mean 'user'? Visit has: user, page,"),
        ({"user": None}, "Field 'user' is None (None); it must be str."),
        ({"user": 3}, "Field 'user' is 3 (int); it must be str."),
        ({"user": ["a"]}, "Field 'user' is ['a'] (list); it must be str."),
        ({"user": "\ud800"}, "Field 'user' is '\\ud800': a lone surrogate cannot be UTF-8."),
        ({"count": 1.0}, "Field 'count' is 1.0 (float); it must be int."),
        ({"count": "1"}, "Field 'count' is '1' (str); it must be int."),
        ({"count": True}, "Field 'count' is True (bool); it must be int."),
        ({"count": 2**63}, "an int must lie within 64 bits"),
        ({"price": "2.5"}, "Field 'price' is '2.5' (str); it must be float."),
        ({"price": None}, "Field 'price' is None (None); it must be float."),
        ({"price": 10**400}, "beyond the largest float"),
        ({"is_new": 1}, "Field 'is_new' is 1 (int); it must be bool."),
        ({"time": "yesterday"}, "Field 'time' is 'yesterday'; a time is ISO 8601"),
        ({"time": 2**60}, "Field 'time': the time 1152921504606846976 us is outside the years"),
        ({"time": "0001-01-01T00:00:00+09:00"}, "outside the years 1 to 9999 in UTC"),
        ({"time": True}, "Field 'time' is True (bool); it must be datetime."),
        ({"time": 1.5}, "Field 'time' is 1.5 (float); it must be datetime."),
        ({"tags": "a"}, "Field 'tags' is 'a' (str); it must be list[str]."),
        ({"tags": None}, "Field 'tags' is None (None); it must be list[str]."),
        ({"tags": [1]}, "Field 'tags' is 1 (int); it must be list[str]."),
        ({"hits": ["x"]}, "Field 'hits' is 'x'; a time is ISO 8601"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_field(
    served: Served, change: dict[str, Any], words: str
) -> None:
    assert words in error_of(post(served, ROW | change))


def test_a_missing_field_is_named(served: Served) -> None:
    row = {name: value for name, value in ROW.items() if name != "price"}

    assert error_of(post(served, row)) == "Field 'price' is missing; it must be float."
    assert "Field 'user' is missing" in error_of(post(served, {}))


def test_a_wrong_row_among_many_is_named_by_its_place(served: Served) -> None:
    rows = [ROW, ROW | {"count": "x"}]

    assert "rows[1]: field 'count' is 'x'" in error_of(post(served, {"rows": rows}))
    assert "rows[0]: 3 (int) is no row" in error_of(post(served, {"rows": [3]}))
    faulty = [ROW, ROW, ROW | {"user": "faulty"}]
    reply = post(served, {"rows": faulty})
    assert "rows[2]: PropertyError: property 'initials'" in error_of(reply, 500)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is no JSON"),
        (b"{", "The body is no JSON"),
        (b"\xff\xfe", "The body is no JSON"),
        (b"[" * 100_000, "The body is no JSON"),
        (b"1" * 5000, "The body is no JSON"),
        (b"[1]", "The body is [1]; it must be an object"),
        (b'{"price": NaN}', 'The body has NaN, which is no JSON; write it as text: "NaN".'),
        (b'{"price": -Infinity}', 'write it as text: "-Infinity"'),
        (b'{"price": 1e999}', "The number '1e999' is beyond the largest float."),
        (b'{"user": "a", "user": "b"}', "The body has the key 'user' twice in one object."),
    ],
)
def test_a_body_that_is_no_row_says_why(served: Served, body: bytes, words: str) -> None:
    assert words in error_of(post(served, body))


def test_more_rows_than_are_taken_are_refused(served: Served) -> None:
    assert "10,001 rows; at most 10,000" in error_of(post(served, {"rows": [{}] * 10_001}), 413)


def test_a_field_may_be_called_rows(tmp_path: Path) -> None:
    class Table(Features):
        rows: list[str]

    intake = Intake(Table)

    assert Table(["a"]) == Table.from_message(intake.message({"rows": ["a"]}))


@pytest.mark.parametrize("kind", ["text/csv", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(served: Served, kind: str) -> None:
    assert "content-type: application/json" in error_of(post(served, ROW, content_type=kind), 415)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", ""])
def test_json_is_taken_however_it_is_written(served: Served, kind: str) -> None:
    assert post(served, ROW, content_type=kind).status == 200


def test_pages_are_there(served: Served) -> None:
    index = json.loads(get(served, "/").body)

    assert index["models"] == {"ctr": [1], "cvr": [1]}
    assert index["grpc"] == "/tadka.visit.Predictor/Predict"
    assert get(served, "/proto").body.decode() == service_proto(Visit)
    assert get(served, "/healthz").body == b"ok\n"
    assert get(served, "/metrics").content_type.startswith("text/plain; version=0.0.4")


def test_unknown_paths_and_methods_are_refused(served: Served) -> None:
    assert "'/nowhere' is unknown; there are: /, " in error_of(get(served, "/nowhere"), 404)
    assert "takes POST, not 'GET'" in error_of(get(served, "/v1/predict"), 405)
    assert "takes GET, not 'DELETE'" in error_of(get(served, "/proto", "DELETE"), 405)


def test_a_draining_server_is_not_healthy(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.handler.is_draining = True

    assert get(served, "/healthz") == Reply(503, b"draining\n", "text/plain; charset=utf-8")
    assert get(served, "/v2/health/ready").status == 503
    assert post(served, ROW).status == 200
