from collections.abc import Iterator

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from tadka.stream.config import CurveKeys, TransferConfig
from tadka.stream.wire import Kind, pack, set_up, unpack

INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40)


@given(kind=st.sampled_from(Kind), values=INTEGERS)
def test_integers_come_back_behind_their_kind(kind: Kind, values: list[int]) -> None:
    assert (kind, *values) == unpack(pack(kind, values))
    assert 8 * (1 + len(values)) == len(pack(kind, values))


def test_every_kind_has_its_own_number() -> None:
    assert len(Kind) == len(Kind.__members__)


@pytest.fixture
def sockets() -> "Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]":
    context = zmq.Context()
    server, client = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    yield server, client
    context.destroy(linger=0)


Sockets = tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]


def connect(
    sockets: Sockets, server_config: TransferConfig, client_config: TransferConfig
) -> list[bytes] | None:
    """What the server has of the client's message."""
    server, client = sockets
    set_up(server, server_config, server=True)
    set_up(client, client_config, server=False)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    client.connect(f"tcp://127.0.0.1:{port}")
    client.send(pack(Kind.READY))
    return (
        server.recv_multipart()
        if server.poll(1500 if server_config.keys is None else 700)
        else None
    )


def keyed() -> TransferConfig:
    return TransferConfig(transport="tcp", curve=True, keys=CurveKeys(*zmq.curve_keypair()))


def test_no_message_is_held_back_by_a_high_water_mark(sockets: Sockets) -> None:
    found = connect(sockets, TransferConfig(), TransferConfig())

    assert found is not None
    assert pack(Kind.READY) == found[1]
    assert [0, 0, 0, 0] == [s.get(o) for s in sockets for o in (zmq.SNDHWM, zmq.RCVHWM)]
    assert [2000, 2000] == [socket.linger for socket in sockets]


def test_who_holds_the_key_is_let_in(sockets: Sockets) -> None:
    config = keyed()

    assert connect(sockets, config, config) is not None


@pytest.mark.parametrize("config", [TransferConfig(transport="tcp"), keyed()])
def test_who_holds_no_key_or_another_is_not(sockets: Sockets, config: TransferConfig) -> None:
    assert connect(sockets, keyed(), config) is None
