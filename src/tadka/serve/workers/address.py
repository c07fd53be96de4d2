"""Ports of a server, held for it alone before it listens."""

import contextlib
import errno
import socket

from tadka.core.error import ConfigError

_BACKLOG = 4096  # the kernel lowers it to net.core.somaxconn


def hold(host: str, port: int, option: str) -> socket.socket:
    """A socket bound to an address that nobody else can bind to from now on.

    Args:
        host: Name or address; the first address of a name counts.
        port: 0 for any free one.
        option: Of the command line, for the message: `--port`.

    Returns:
        A socket that does not listen yet: clients are refused.

    Raises:
        ConfigError: The port is in use, or the host is no address of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:  # gaierror is one
        raise ConfigError(
            f"Host {host!r} cannot be listened at: {error.strerror}. Give an address of this "
            "machine, or 0.0.0.0 for all."
        ) from error
    family, _, _, _, address = found[0]
    with contextlib.ExitStack() as undo:
        held = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Connections of a server before us may linger for a minute; they are no reason to refuse.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(address)
        except OSError as error:
            raise _refused(error, host, port, option) from error
        # Taken back: another program that sets it could bind here until we listen.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        undo.pop_all()
    return held


def listen(held: socket.socket) -> None:
    """Lets clients connect to a held address; `accept` does not block."""
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.listen(_BACKLOG)
    held.setblocking(False)


def share(held: socket.socket) -> None:
    """Lets processes of this user that set SO_REUSEPORT bind to a held address."""
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def port_of(held: socket.socket) -> int:
    """The port of a held address."""
    port: int = held.getsockname()[1]
    return port


def _refused(error: OSError, host: str, port: int, option: str) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        text = f"is in use by another program; choose another {option}"
    elif error.errno == errno.EACCES:
        text = f"needs more rights than this user has; choose another {option}, above 1023"
    elif error.errno == errno.EADDRNOTAVAIL:
        text = "is no address of this machine; choose another --host, or 0.0.0.0 for all"
    else:
        text = f"cannot be listened at ({error.strerror}); choose another --host or {option}"
    return ConfigError(f"Port {port} of host {host!r} {text}.")
