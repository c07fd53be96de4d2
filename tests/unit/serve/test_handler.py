import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import DataError
from tadka.features.hash import hash_text
from tadka.serve.answer.call import Call, Refused, Reply
from tadka.serve.answer.handler import MAX_SHADOWS, RequestIds
from tadka.serve.config import ServeConfig
from tadka.serve.log.ring import SERVED, SHADOW, Ring
from tadka.serve.prediction import Prediction
from tadka.serve.store.custom import PythonModel
from tests.unit.serve.rows import (
    GOOD,
    Halves,
    Served,
    Visit,
    grpc_call,
    hostile_rows,
    http_call,
    make_model,
)

MESSAGE = GOOD.to_message()
FAULTY = b"\x0a\x06faulty"
INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED = 3, 5, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 12, 13, 14


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def prediction_of(reply: Reply) -> Prediction:
    assert reply.status == 0, reply.message
    return Prediction.from_message(reply.body)


def test_all_models_answer_with_the_scores_of_the_training_side(served: Served) -> None:
    for row in hostile_rows():
        (reply,) = served.ask(grpc_call(row.to_message()))

        prediction = prediction_of(reply)
        assert [s.model for s in prediction.scores] == ["ctr", "cvr"]
        assert [s.version for s in prediction.scores] == [1, 1]
        for name, model in served.models.items():
            assert prediction[name] == model.score(row)


def test_a_batch_is_answered_in_order_and_each_failure_is_its_own(served: Served) -> None:
    rows = hostile_rows()[:5]
    calls = [grpc_call(row.to_message()) for row in rows]
    calls[1:1] = [grpc_call(b"\x0a\x01\xff"), grpc_call(FAULTY), grpc_call(b"", "/no/such")]

    replies = served.ask(*calls)

    assert [r.status for r in replies[1:4]] == [INVALID_ARGUMENT, INTERNAL, UNIMPLEMENTED]
    assert "field 'user' is not UTF-8" in replies[1].message
    assert replies[1].message.startswith("The message is no Visit")
    assert "property 'initials' raised RuntimeError: a property that fails" in replies[2].message
    assert "/no/such" in replies[3].message
    for row, reply in zip(rows, [replies[0], *replies[4:]], strict=True):
        assert prediction_of(reply)["ctr"] == served.models["ctr"].score(row)
    assert all(reply.body == b"" for reply in replies[1:4])


def test_a_large_batch_gives_the_same_as_single_calls(served: Served) -> None:
    rows = hostile_rows()
    messages = [row.to_message() for row in rows]
    messages[7:7] = [b"\xff", FAULTY]

    replies = served.ask(*map(grpc_call, messages))

    assert [r.status for r in replies[7:9]] == [INVALID_ARGUMENT, INTERNAL]
    for row, reply in zip(rows, replies[:7] + replies[9:], strict=True):
        assert prediction_of(reply)["cvr"] == served.models["cvr"].score(row)
    assert "Row" not in replies[7].message


def test_models_are_chosen_by_name_in_the_order_asked(served: Served) -> None:
    replies = served.ask(
        grpc_call(MESSAGE, models="cvr,ctr"),
        grpc_call(MESSAGE, models=" cvr "),
        grpc_call(MESSAGE, models="ctrr"),
        grpc_call(MESSAGE, models="ctr,"),
        grpc_call(MESSAGE, models="ctr,ctr"),
    )

    assert [s.model for s in prediction_of(replies[0]).scores] == ["cvr", "ctr"]
    assert [s.model for s in prediction_of(replies[1]).scores] == ["cvr"]
    assert [r.status for r in replies[2:]] == [NOT_FOUND, NOT_FOUND, INVALID_ARGUMENT]
    assert "'ctrr' is not served. Did you mean 'ctr'? There are: ctr, cvr." in replies[2].message


def test_a_request_id_is_the_clients_or_16_digits_that_do_not_repeat(served: Served) -> None:
    replies = served.ask(grpc_call(MESSAGE, request_id="mine"), *[grpc_call(MESSAGE)] * 50)

    ids = [prediction_of(reply).request_id for reply in replies]
    assert ids[0] == "mine"
    assert len(set(ids)) == 51
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in ids[1:])
    assert RequestIds().next() != RequestIds().next()


def test_a_call_whose_deadline_has_passed_is_shed_without_compute(served: Served) -> None:
    now = time.monotonic_ns()
    late: Any = {"deadline_ns": now - 1}

    replies = served.ask(
        grpc_call(FAULTY, **late),
        http_call("POST", "/v1/predict", b"{}", **late),
        http_call("POST", "/v2/models/ctr/infer", b"{}", **late),
        grpc_call(b"", "/inference.GRPCInferenceService/ModelInfer", **late),
        grpc_call(MESSAGE, deadline_ns=now + 10**12),
    )

    assert [reply.status for reply in replies] == [
        RESOURCE_EXHAUSTED,
        503,
        503,
        RESOURCE_EXHAUSTED,
        0,
    ]
    assert "longer than its deadline" in replies[0].message
    assert b"longer than its deadline" in replies[1].body
    assert served.slot["shed"] == 4
    assert served.slot["answers"][0][RESOURCE_EXHAUSTED] == 1
    assert served.arm("ctr")["failed"] == 0


def test_what_watches_the_server_is_answered_however_late(served: Served) -> None:
    late: Any = {"deadline_ns": time.monotonic_ns() - 1}
    pages = ("/healthz", "/metrics", "/proto", "/v2/health/ready")

    replies = served.ask(
        grpc_call(b"", "/grpc.health.v1.Health/Check", **late),
        *[http_call("GET", page, **late) for page in pages],
    )

    assert [reply.status for reply in replies] == [0, 200, 200, 200, 200]
    assert served.slot["shed"] == 0


def test_answers_and_scores_are_counted(served: Served) -> None:
    before = time.monotonic_ns() - 5_000_000
    calls = [grpc_call(MESSAGE)._replace(arrived_ns=before) for _ in range(3)]

    served.ask(*calls, grpc_call(b"\xff"), grpc_call(FAULTY), http_call("GET", "/nowhere"))
    served.ask(http_call("GET", "/healthz"), http_call("GET", "/metrics"))

    assert served.slot["answers"].tolist() == [
        [3, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0] * 17,
    ]
    assert served.slot["spans"].sum() == 6
    assert served.slot["span_ns"] > 15_000_000
    for name, model in served.models.items():
        arm, score = served.arm(name), model.score(MESSAGE)
        assert arm["served"] == 3
        assert arm["score_sum"] == pytest.approx(3 * score)
        assert arm["scores"][int(score * 20)] == 3
        assert arm["spans"].sum() == 3
        assert arm["spans"][13:].sum() == 3  # from arrival on
        assert arm["busy_ns"] > 0
    assert served.arm("ctr")["failed"] == 1  # a bad message is not the model's fault
    assert served.board.workers[0]["answers"].sum() == 0


def test_without_a_model_a_call_is_unavailable(tmp_path: Path) -> None:
    served = Served(tmp_path, {})

    replies = served.ask(grpc_call(MESSAGE), http_call("POST", "/v1/predict", b"{}"))

    assert [reply.status for reply in replies] == [UNAVAILABLE, 503]
    assert "No model is loaded" in replies[0].message
    assert served.ask(http_call("GET", "/healthz"))[0].status == 503


def test_a_model_that_fails_is_internal_and_spoils_no_other_row(tmp_path: Path) -> None:
    served = Served(tmp_path, {"own": PythonModel(Halves(), Visit)})
    bad = Visit(**{**vars(GOOD), "user": "bad"}).to_message()

    replies = served.ask(grpc_call(MESSAGE), grpc_call(bad), grpc_call(MESSAGE), grpc_call(b"\xff"))

    assert [reply.status for reply in replies] == [0, INTERNAL, 0, INVALID_ARGUMENT]
    assert prediction_of(replies[2])["own"] == 0.5
    assert "a model that fails" in replies[1].message
    assert served.arm("own")["failed"] == 1
    assert served.arm("own")["served"] == 2


def test_a_failure_of_ours_is_logged_once_a_minute_for_each_kind(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "tadka.serve"):
        for _ in range(3):
            served.ask(grpc_call(FAULTY), grpc_call(b"\xff"))

    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None
    assert "a property that fails" in caplog.text


class Unspeakable(Exception):
    """Cannot say what is wrong."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_every_exception_has_a_text_that_can_be_sent(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # whoever logs here may not be able to say it
    monkeypatch.setattr(logging.getLogger("tadka.serve"), "disabled", True)
    text_of = served.handler.text_of

    assert text_of(Unspeakable()) == "Unspeakable: (its __str__ raises RuntimeError)"
    assert text_of(ValueError("\ud800")) == "ValueError: \\ud800"
    assert text_of(DataError("field \udcff")) == "Field \\udcff"
    assert text_of(Refused(NOT_FOUND, "no \udcff")) == "no \\udcff"


def test_a_model_that_raises_past_all_guards_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(tmp_path, {"own": PythonModel(Halves(), Visit)})

    def fail(*_: Any) -> Any:
        raise OverflowError("past all guards")

    monkeypatch.setattr("tadka.serve.store.live.score_each", fail)

    replies = served.ask(*[grpc_call(MESSAGE)] * 3, http_call("GET", "/healthz"))

    assert [reply.status for reply in replies] == [INTERNAL, INTERNAL, INTERNAL, 200]
    assert replies[0].message == "OverflowError: past all guards"


def test_an_error_in_handling_is_internal_and_the_next_call_is_answered(served: Served) -> None:
    wrong: Any = 7  # what no transport sends
    replies = served.ask(
        Call("grpc", "POST", "/tadka.visit.Predictor/Predict", models=wrong), grpc_call(MESSAGE)
    )

    assert [reply.status for reply in replies] == [INTERNAL, 0]
    assert replies[0].message.startswith("AttributeError: ")


def test_a_call_alone_gets_the_bytes_and_counts_of_one_among_others(tmp_path: Path) -> None:
    alone, among = Served(tmp_path / "alone"), Served(tmp_path / "among")
    for row in hostile_rows():
        call = grpc_call(row.to_message(), request_id="same")

        (first,) = alone.ask(call)
        second, _ = among.ask(call, grpc_call(b"\xff"))

        assert first == second
    for name in alone.models:
        for count in ("served", "shadowed", "failed", "score_sum"):
            assert alone.arm(name)[count] == among.arm(name)[count]
        assert alone.arm(name)["scores"].tolist() == among.arm(name)["scores"].tolist()
        assert alone.arm(name)["spans"].sum() == among.arm(name)["spans"].sum()
    assert alone.slot["answers"][0][0] == among.slot["answers"][0][0] == len(hostile_rows())


def test_a_call_alone_is_logged_too(tmp_path: Path) -> None:
    ring = Ring(Ring.create(1))
    config = ServeConfig(log=str(tmp_path / "log"), log_share=1.0)
    served = Served(tmp_path, config=config, ring=ring)

    served.ask(grpc_call(MESSAGE, request_id="r"))

    assert [(row.model, row.request_id, row.score) for row in ring.take(9)] == [
        (name, "r", model.score(GOOD)) for name, model in served.models.items()
    ]


def test_a_model_whose_numbers_overflow_is_internal(tmp_path: Path) -> None:
    served = Served(tmp_path)
    model: Any = served.live.current.models[0].arms[0].scorer
    model.take({**model.arrays, "bias": np.array([np.nan])})

    replies = [*served.ask(grpc_call(MESSAGE)), *served.ask(*[grpc_call(MESSAGE)] * 2)]

    assert [reply.status for reply in replies] == [INTERNAL] * 3
    assert "Model 'ctr' gives nan" in replies[0].message


# ---------------------------------------------------------------- traffic


def test_a_split_sends_each_key_to_one_version(served: Served) -> None:
    second = make_model(9)
    assert served.publish("ctr", second, "candidate") == 2
    served.store.split({"production": 50.0, "candidate": 50.0}, model="ctr", key="user")
    served.follow()
    rows = hostile_rows()

    replies = served.ask(*[grpc_call(row.to_message(), models="ctr") for row in rows * 2])

    versions: dict[str, set[int]] = {}
    for row, reply in zip(rows * 2, replies, strict=True):
        (score,) = prediction_of(reply).scores
        model = served.models["ctr"] if score.version == 1 else second
        assert score.score == model.score(row)
        versions.setdefault(row.user, set()).add(score.version)
    assert all(len(found) == 1 for found in versions.values())
    assert set.union(*versions.values()) == {1, 2}
    assert served.arm("ctr", 1)["served"] + served.arm("ctr", 2)["served"] == len(rows) * 2


@pytest.fixture
def shadowed(tmp_path: Path) -> Served:
    config = ServeConfig(log=str(tmp_path / "log"), log_share=1.0)
    served = Served(tmp_path, {"ctr": make_model(1)}, config, Ring(Ring.create(1)))
    served.publish("ctr", make_model(2), "candidate")
    served.store.shadow(["candidate"], model="ctr")
    served.follow()
    return served


def test_a_shadow_scores_later_and_is_logged_but_not_answered(shadowed: Served) -> None:
    ring = shadowed.ring
    assert ring is not None

    (reply,) = shadowed.ask(grpc_call(MESSAGE, request_id="r1"))

    assert [s.version for s in prediction_of(reply).scores] == [1]
    assert [row.role for row in ring.take(10)] == [SERVED]
    assert shadowed.handler.num_shadows == 1
    assert shadowed.handler.run_shadows(10) == 1
    (row,) = ring.take(10)
    assert (row.role, row.version, row.model, row.request_id) == (SHADOW, 2, "ctr", "r1")
    assert row.score == make_model(2).score(MESSAGE)
    assert row.message == MESSAGE
    assert shadowed.arm("ctr", 2)["shadowed"] == 1
    assert shadowed.arm("ctr", 2)["served"] == 0


def test_shadows_beyond_the_limit_are_dropped_and_counted(shadowed: Served) -> None:
    for _ in range(MAX_SHADOWS + 5):
        shadowed.ask(grpc_call(MESSAGE))

    assert shadowed.handler.num_shadows == MAX_SHADOWS
    assert shadowed.slot["shadow_dropped"] == 5
    assert shadowed.handler.run_shadows(300) == 300
    assert shadowed.handler.num_shadows == MAX_SHADOWS - 300


def test_a_shadow_that_fails_is_counted_and_hurts_nobody(tmp_path: Path) -> None:
    served = Served(tmp_path, {"ctr": make_model(1)})
    served.publish("ctr", PythonModel(Halves(), Visit), "candidate")
    served.store.shadow(["candidate"], model="ctr")
    served.follow()
    bad = Visit(**{**vars(GOOD), "user": "bad"}).to_message()

    replies = served.ask(grpc_call(bad), grpc_call(MESSAGE), grpc_call(b"\xff"))

    assert [reply.status for reply in replies] == [0, 0, INVALID_ARGUMENT]
    assert served.handler.run_shadows(10) == 2  # of those that were answered
    assert served.arm("ctr", 2)["shadowed"] == 1
    assert served.arm("ctr", 2)["failed"] == 1
    assert served.arm("ctr", 2)["served"] == 0


# ---------------------------------------------------------------- request log


def test_every_score_of_a_sampled_request_is_logged(tmp_path: Path) -> None:
    ring = Ring(Ring.create(1))
    config = ServeConfig(log=str(tmp_path / "log"), log_share=0.5)
    served = Served(tmp_path, config=config, ring=ring)
    before = time.time_ns() // 1000

    served.ask(*[grpc_call(MESSAGE, request_id=f"id-{number}") for number in range(200)])

    rows = ring.take(1000)
    sampled = {
        name
        for name in (f"id-{number}" for number in range(200))
        if hash_text(name.encode(), 0x10C) % 2**32 < 2**31
    }
    assert 50 < len(sampled) < 150
    assert {row.request_id for row in rows} == sampled
    assert len(rows) == 2 * len(sampled)
    assert {row.model for row in rows} == {"ctr", "cvr"}
    assert all(row.message == MESSAGE and row.role == SERVED for row in rows)
    assert all(before <= row.time_us <= time.time_ns() // 1000 for row in rows)
    assert served.slot["log_written"] == len(rows)


def test_a_full_log_drops_rows_and_answers_all_the_same(tmp_path: Path) -> None:
    ring = Ring(Ring.create(1, 4096))
    config = ServeConfig(log=str(tmp_path / "log"), log_share=1.0)
    served = Served(tmp_path, {"ctr": make_model(1)}, config, ring)

    replies = served.ask(*[grpc_call(MESSAGE)] * 100)

    assert all(reply.status == 0 for reply in replies)
    assert served.slot["log_dropped"] == ring.dropped > 0
    assert served.slot["log_written"] + ring.dropped == 100


# ---------------------------------------------------------------- health


def test_health_says_whether_requests_are_answered(served: Served) -> None:
    path = "/grpc.health.v1.Health/Check"
    service = b"tadka.visit.Predictor"

    replies = served.ask(
        grpc_call(b"", path),
        grpc_call(b"\x0a" + bytes((len(service),)) + service, path),
        grpc_call(b"\x0a\x05other", path),
        grpc_call(b"\x0a\xff", path),
        grpc_call(b"", "/grpc.health.v1.Health/Watch"),
    )

    assert [reply.body for reply in replies[:2]] == [b"\x08\x01"] * 2
    assert [reply.status for reply in replies] == [0, 0, NOT_FOUND, INVALID_ARGUMENT, UNIMPLEMENTED]
    assert "'other' is unknown; there is 'tadka.visit.Predictor'" in replies[2].message
    served.handler.is_draining = True
    assert served.ask(grpc_call(b"", path))[0].body == b"\x08\x02"
    assert served.ask(grpc_call(MESSAGE))[0].status == 0  # what is there is still answered
