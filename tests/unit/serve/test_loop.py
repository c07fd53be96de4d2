"""The compiled loop against the Python that says the same: which arm, and what bytes go back.

What it does before real clients is in tests/e2e.
"""

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadka.serve.answer.call import Call
from tadka.serve.answer.handler import Handler
from tadka.serve.board import Board
from tadka.serve.config import ServeConfig
from tadka.serve.prediction import method_path
from tadka.serve.store.live import Arm, Live, Served, Serving
from tadka.serve.store.state import model_seed
from tadka.serve.store.store import Store
from tests.serving import Impression, impressions, make_model, make_store, save_model, serving

native = pytest.importorskip("tadka.serve.loop")

MODEL = make_model("ctr")
NUMBERS = {field.name: field.number for field in Impression.definition().fields}


def served(key: int | None, thresholds: tuple[int, ...]) -> Served:
    arms = tuple(Arm("ctr", f"arm-{i}", i + 1, MODEL) for i in range(len(thresholds)))
    return Served("ctr", arms, thresholds, key, model_seed("ctr"))


def choices(model: Served, messages: list[bytes]) -> tuple[list[int], list[int]]:
    """Numbers of the arms that Python and the loop choose."""
    table = native.Table(Serving(1, (model,), Impression), Board(1).counts(0))
    return (
        [model.arms.index(model.choose(message)) for message in messages],
        [table.choose(0, message) for message in messages],
    )


@pytest.mark.parametrize("key", [None, *NUMBERS])
def test_the_loop_chooses_the_arm_that_python_chooses(key: str | None) -> None:
    number = None if key is None else NUMBERS[key]
    messages = [row.to_message() for row in impressions(2000)]

    python, compiled = choices(served(number, (3000, 3333, 10_000)), messages)

    assert python == compiled
    if key in {None, "user", "time", "price"}:
        shares = np.bincount(compiled) / len(messages)
        assert np.allclose(shares, [0.3, 0.0333, 0.6667], atol=0.04)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def tagged(number: int, kind: int, payload: bytes) -> bytes:
    return varint(number << 3 | kind) + payload


numbers = st.integers(1, 5) | st.integers(1, 2**29 - 1)
fields: st.SearchStrategy[bytes] = st.deferred(
    lambda: st.one_of(
        st.builds(lambda n, v: tagged(n, 0, varint(v)), numbers, st.integers(0, 2**64 - 1)),
        st.builds(lambda n, v: tagged(n, 1, v), numbers, st.binary(min_size=8, max_size=8)),
        st.builds(lambda n, v: tagged(n, 2, varint(len(v)) + v), numbers, st.binary(max_size=200)),
        st.builds(lambda n, v: tagged(n, 5, v), numbers, st.binary(min_size=4, max_size=4)),
        st.builds(
            lambda n, inside: tagged(n, 3, b"".join(inside) + tagged(n, 4, b"")),
            numbers,
            st.lists(fields, max_size=3),
        ),
    )
)
messages = st.lists(fields, max_size=8).map(b"".join)


@given(messages | st.binary(max_size=60), st.integers(1, 5))
def test_any_bytes_fall_to_the_same_arm(message: bytes, key: int) -> None:
    python, compiled = choices(served(key, tuple(range(500, 10_001, 500))), [message])

    assert python == compiled


@given(messages, st.integers(1, 5), st.data())
def test_a_message_that_was_cut_falls_to_the_same_arm(
    message: bytes, key: int, data: st.DataObject
) -> None:
    cut = message[: data.draw(st.integers(0, len(message)))]

    python, compiled = choices(served(key, tuple(range(500, 10_001, 500))), [cut])

    assert python == compiled


@pytest.fixture
def two_versions(tmp_path: Path) -> Store:
    """ctr is split between two versions; cvr has one."""
    store = make_store(tmp_path)
    store.publish(save_model(tmp_path, "ctr", 1), model="ctr", alias="candidate")
    store.split({"production": 50, "candidate": 50}, model="ctr")
    return store


@pytest.fixture
def handler(two_versions: Store) -> Iterator[Handler]:
    live = Live(two_versions, Impression)
    yield Handler(live, Board(1), 0, None, ServeConfig(store=str(two_versions.path)))
    live.close()


def test_the_bytes_of_an_answer_are_those_of_the_handler(
    two_versions: Store, handler: Handler
) -> None:
    path = method_path(Impression)
    with (
        serving(two_versions.path, "native", Impression) as server,
        grpc.insecure_channel(f"localhost:{server.port}") as channel,
    ):
        ask = channel.unary_unary(path)
        for number, row in enumerate(impressions(200)):
            message, request_id = row.to_message(), f"request-{number}"
            answer = ask(message, metadata=[("x-request-id", request_id)], timeout=10)
            (reply,) = handler.answer(
                [Call("grpc", "POST", path, request_id=request_id, body=message)]
            )
            assert reply.body == answer
