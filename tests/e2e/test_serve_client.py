"""The client in Python against both servers."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tadka.core.error import (
    ConfigError,
    DataError,
    NotFound,
    ServeError,
    TooLate,
    Unreachable,
)
from tadka.features import Features
from tadka.serve.client import Client
from tadka.serve.server import Server
from tests.conftest import ROOT
from tests.serving import (
    DEADLINE_S,
    MODELS,
    Impression,
    Transport,
    eventually,
    impressions,
    make_gated_store,
    make_model,
    serving,
)


@pytest.fixture
def server(store: Path, transport: Transport) -> Iterator[Server]:
    with serving(store, transport) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(f"127.0.0.1:{server.port}", timeout_s=DEADLINE_S) as client:
        yield client


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def test_every_model_answers_with_its_version(client: Client) -> None:
    (row,) = impressions(1)

    prediction = client.predict(row, request_id="auction 7")

    assert "auction 7" == prediction.request_id
    assert [(name, 1, make_model(name).score(row)) for name in MODELS] == [
        (score.model, score.version, score.score) for score in prediction.scores
    ]


def test_the_server_makes_an_id_that_is_not_used_twice(client: Client) -> None:
    ids = [prediction.request_id for prediction in client.predict_many(impressions(100))]

    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)
    assert 100 == len(set(ids))


def test_the_models_that_are_asked_for_answer_in_that_order(client: Client) -> None:
    (row,) = impressions(1)

    both = client.predict(row, models=["cvr", "ctr"])
    one = client.predict(row, models=["cvr"])

    assert ["cvr", "ctr"] == [score.model for score in both.scores]
    assert both["cvr"] == one.score


def test_an_unknown_model_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="'ctrr'"):
        client.predict(impressions(1)[0], models=["ctrr"])


def test_a_class_that_is_not_served_is_not_found(client: Client) -> None:
    class Visit(Features):
        page: str

    with pytest.raises(NotFound):
        client.predict(Visit("a"))


def test_a_value_that_the_server_refuses_is_named(client: Client) -> None:
    class Other(Features):  # the same message with another type
        user: str
        site: str
        price: float
        time: int

    Other.__name__ = Impression.__name__

    with pytest.raises(DataError, match="'time'"):
        client.predict(Other("a", "b", 0.5, 2**62))


def test_many_rows_come_back_in_their_order(client: Client) -> None:
    rows = impressions(500)  # more than are sent at a time

    predictions = client.predict_many(iter(rows), models=["ctr"])

    expected = make_model("ctr").predict(rows).tolist()
    assert expected == [prediction.score for prediction in predictions]
    assert [] == client.predict_many([])


def test_of_many_rows_one_that_fails_is_raised(client: Client) -> None:
    rows = impressions(200)
    rows[100] = Impression(user="faulty")

    with pytest.raises(ServeError, match="a property that fails"):
        client.predict_many(rows)
    assert client.predict(rows[0]).scores


def test_threads_share_a_client(client: Client) -> None:
    rows = impressions(40)
    expected = make_model("ctr").predict(rows).tolist()
    seen: dict[int, list[float]] = {}

    def ask(number: int) -> None:
        seen[number] = [client.predict(row)["ctr"] for row in rows]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [expected] * 4 == list(seen.values())


def test_several_connections_reach_several_workers(store: Path, native: Transport) -> None:
    with (
        serving(store, native, workers=2) as server,
        Client(f"127.0.0.1:{server.port}", timeout_s=DEADLINE_S, connections=2) as client,
    ):
        client.predict_many(impressions(10))

        assert server._supervisor is not None
        slots = server._supervisor.board.workers
        assert [1, 1] == slots["opened"].tolist()
        assert eventually(lambda: slots["requests"].tolist() == [5, 5])


def test_a_server_is_ready_when_it_answers(client: Client, nobody: str) -> None:
    assert client.is_ready()
    with Client(nobody) as other:
        assert not other.is_ready(timeout_s=0.5)


def test_nobody_at_the_address_is_unreachable(nobody: str) -> None:
    with (
        Client(nobody) as client,
        pytest.raises(Unreachable, match=f"'{nobody}' cannot be reached") as caught,
    ):
        client.predict(impressions(1)[0])
    assert "UNAVAILABLE" == caught.value.status
    assert isinstance(caught.value, ConnectionError)


def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path, transport: Transport) -> None:
    store, gate = make_gated_store(tmp_path)
    with (
        serving(store, transport) as server,
        Client(f"127.0.0.1:{server.port}", timeout_s=0.2) as client,
    ):
        gate.close()
        (row,) = impressions(1)
        with pytest.raises(TooLate, match="did not answer in time") as caught:
            client.predict(row)
        gate.open()

        assert isinstance(caught.value, TimeoutError)
        assert 0.5 == client.predict(row, timeout_s=DEADLINE_S).score


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan")])
def test_a_timeout_must_be_above_0(nobody: str, timeout_s: float) -> None:
    with pytest.raises(ConfigError, match=r"Timeout .* must be seconds above 0"):
        Client(nobody, timeout_s=timeout_s)
    with Client(nobody) as client, pytest.raises(ConfigError, match="Timeout"):
        client.predict(impressions(1)[0], timeout_s=timeout_s)


@pytest.mark.parametrize("request_id", ["", "x" * 129, "tab\there", "äh"])
def test_a_request_id_must_be_printable_and_short(nobody: str, request_id: str) -> None:
    with Client(nobody) as client, pytest.raises(ConfigError, match="Request id"):
        client.predict(impressions(1)[0], request_id=request_id)


@pytest.mark.parametrize("models", ["ctr", []])
def test_models_must_be_a_list_of_names(nobody: str, models: list[str]) -> None:
    with Client(nobody) as client, pytest.raises(ConfigError, match="list of names"):
        client.predict(impressions(1)[0], models=models)


@pytest.mark.parametrize("name", ["ä", "", "CTR", "ctr,cvr", "m" * 49])
def test_a_model_is_asked_for_by_what_may_be_a_name(nobody: str, name: str) -> None:
    with (
        Client(nobody) as client,
        pytest.raises(ConfigError, match=f"Model '{name}' is no name of a model; it must match"),
    ):
        client.predict(impressions(1)[0], models=["ctr", name])


def test_a_client_has_at_least_one_connection(nobody: str) -> None:
    with pytest.raises(ConfigError, match="0 connections; it needs at least 1"):
        Client(nobody, connections=0)


def test_without_grpcio_a_client_names_the_extra() -> None:
    code = """
import sys
sys.modules["grpc"] = None
from tadka.core.error import MissingExtra
from tadka.serve.client import Client
try:
    Client("localhost:1")
except MissingExtra as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "pip install 'tadka[serve]'" in ran.stdout
