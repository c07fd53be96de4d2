"""Ports that a server holds before it listens."""

import socket
from collections.abc import Iterator

import pytest

from tadka.core.error import ConfigError
from tadka.serve.workers.address import hold, listen, port_of, share

HOST = "127.0.0.1"


@pytest.fixture
def held() -> Iterator[socket.socket]:
    with hold(HOST, 0, "--port") as held:
        yield held


def test_a_held_port_refuses_clients_until_it_listens(held: socket.socket) -> None:
    address = (HOST, port_of(held))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)

    listen(held)

    with socket.create_connection(address):
        held.accept()[0].close()
    with pytest.raises(BlockingIOError):
        held.accept()


def test_nobody_else_can_bind_to_a_held_port(held: socket.socket) -> None:
    for option in (None, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        with socket.socket() as other:
            if option is not None:
                other.setsockopt(socket.SOL_SOCKET, option, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind((HOST, port_of(held)))
    with pytest.raises(ConfigError, match="in use by another program; choose another --port"):
        hold(HOST, port_of(held), "--port")


def test_a_shared_port_is_free_for_workers_and_for_nobody_else(held: socket.socket) -> None:
    share(held)

    with socket.socket() as worker:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind((HOST, port_of(held)))
        worker.listen()
        socket.create_connection((HOST, port_of(held))).close()
    with pytest.raises(ConfigError, match="in use"):
        hold(HOST, port_of(held), "--port")


def test_a_port_can_be_held_again_while_old_connections_linger() -> None:
    with hold(HOST, 0, "--port") as first:
        port = port_of(first)
        listen(first)
        with socket.create_connection((HOST, port)) as client:
            first.accept()[0].close()  # this end closes first, and lingers
            assert b"" == client.recv(1)

    with hold(HOST, port, "--port") as second:
        listen(second)
        socket.create_connection((HOST, port)).close()


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("192.0.2.1", "is no address of this machine; choose another --host"),
        ("no such host.invalid", "Host 'no such host.invalid' cannot be listened at"),
        ("fe80::1", r"cannot be listened at \(.*choose another --host"),
    ],
)
def test_a_host_that_cannot_be_listened_at_is_named(host: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        hold(host, 0, "--port")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_all_addresses_of_both_families_are_one_port() -> None:
    with hold("::", 0, "--port") as held:
        listen(held)

        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port_of(held))):
                pass
