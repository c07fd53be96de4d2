# cython: binding=False
"""HTTP/2 and HTTP/1.1 over accepted sockets: complete requests come out, answers go in.

The work is done by engine/loop.c, http1.c and http2.c, the last on nghttp2. The serving loop calls
them without the interpreter, by the methods of transport.pxd; what stands here as Python is for
tests and for the code around the loop.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

import os

from tadka.core.error import ConfigError


cdef extern from "engine/transport.h" nogil:
    td_transport *td_transport_new(
        const td_limits *limits, td_transport_counts *counts, const char **why
    )
    void td_transport_free(td_transport *transport)
    int td_transport_adopt(td_transport *transport, int descriptor)
    int td_transport_watch(td_transport *transport, int descriptor, int slot)
    int td_transport_poll(td_transport *transport, int64_t timeout_ns)
    td_call *td_transport_take(td_transport *transport)
    uint32_t td_transport_num_waiting(const td_transport *transport)
    uint32_t td_transport_num_taken(const td_transport *transport)
    uint32_t td_transport_num_connections(const td_transport *transport)
    int td_answer_grpc(
        td_transport *transport, td_call *call, uint32_t status, td_bytes text, td_bytes message
    )
    int td_answer_http(
        td_transport *transport, td_call *call, uint32_t code, td_bytes content_type, td_bytes body
    )
    void td_transport_flush(td_transport *transport)
    void td_transport_drain(td_transport *transport)
    uint64_t td_now_ns()

cdef extern from "nghttp2/nghttp2.h" nogil:
    ctypedef struct nghttp2_info:
        const char *version_str

    nghttp2_info *nghttp2_version(int least_version)


LIMITS = {
    "max_message_bytes": 4 << 20,
    "max_header_bytes": 16 << 10,
    "max_connections": 10_000,
    "max_streams": 256,
    "max_queue": 16_384,
    "max_buffered_bytes": 1 << 30,
    "deadline_ms": 1000,
    "request_s": 10,
    "idle_s": 600,
    "write_s": 10,
}
"""Limits that are used where none is given."""


def library_version():
    """Version of the nghttp2 that is loaded.

    Returns:
        Such as `1.52.0`; a distribution may have mended more than the number says.
    """
    return nghttp2_version(0).version_str.decode()


def now_ns():
    """The clock of `arrived_ns` and `deadline_ns`: CLOCK_MONOTONIC in nanoseconds."""
    return td_now_ns()


cdef td_bytes bytes_of(bytes data) noexcept:
    cdef td_bytes result
    result.data = data
    result.size = <uint32_t>len(data)
    return result


cdef bytes to_bytes(td_bytes data):
    return data.data[:data.size] if data.size else b""


cdef str to_text(td_bytes data):
    # Paths and content types may hold any byte; nothing of it may raise.
    return data.data[:data.size].decode("utf-8", "backslashreplace") if data.size else ""


cdef class Transport:
    """Connections of one thread.

    Args:
        counts_buffer: A writable buffer whose first bytes become the counters (see engine/board.h);
            None: memory of its own.
        limits: Those of `LIMITS` that shall differ; engine/transport.h says what they mean.

    Raises:
        ConfigError: A limit is unknown, no whole number, zero or too large; or the buffer is too
            small.
    """

    def __cinit__(self, counts_buffer=None, **limits):
        cdef const char *why = NULL
        chosen = dict(LIMITS)
        for name, value in limits.items():
            if name not in chosen:
                raise ConfigError(f"There is no limit {name!r}. Choose from: {', '.join(LIMITS)}.")
            most = (1 << 63) - 1 if name == "max_buffered_bytes" else (1 << 31) - 1
            least = 0 if name == "deadline_ms" else 1
            if not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(
                    f"{name} is {value!r}. It must be a whole number from {least} to {most}."
                )
            chosen[name] = value
        if chosen["max_message_bytes"] > 1 << 30:
            raise ConfigError(
                f"max_message_bytes is {chosen['max_message_bytes']}. At most {1 << 30} can be."
            )
        self.limits = chosen
        memset(&self.own_counts, 0, sizeof(self.own_counts))
        self.counted = &self.own_counts
        if counts_buffer is not None:
            PyObject_GetBuffer(counts_buffer, &self.view, PyBUF_SIMPLE | PyBUF_WRITABLE)
            self.has_view = True
            if self.view.len < <Py_ssize_t>sizeof(td_transport_counts):
                raise ConfigError(
                    f"The buffer of the counters has {self.view.len} bytes. It must have"
                    f" {sizeof(td_transport_counts)} at least."
                )
            self.counted = <td_transport_counts *>self.view.buf
        self.c = td_transport_new(&self.limits, self.counted, &why)
        if self.c == NULL:
            raise ConfigError(f"The transport cannot start: {why.decode()}.")

    def __dealloc__(self):
        td_transport_free(self.c)
        if self.has_view:
            PyBuffer_Release(&self.view)

    # ------------------------------------------------------------------ for other extensions

    cdef int poll(self, int64_t timeout_ns) noexcept nogil:
        return td_transport_poll(self.c, timeout_ns)

    cdef td_call *take(self) noexcept nogil:
        return td_transport_take(self.c)

    cdef int answer_grpc(
        self, td_call *call, uint32_t status, td_bytes text, td_bytes message
    ) noexcept nogil:
        return td_answer_grpc(self.c, call, status, text, message)

    cdef int answer_http(
        self, td_call *call, uint32_t code, td_bytes content_type, td_bytes body
    ) noexcept nogil:
        return td_answer_http(self.c, call, code, content_type, body)

    cdef void flush(self) noexcept nogil:
        td_transport_flush(self.c)

    cdef void drain(self) noexcept nogil:
        td_transport_drain(self.c)

    cdef uint32_t num_waiting(self) noexcept nogil:
        return td_transport_num_waiting(self.c)

    cdef uint32_t num_taken(self) noexcept nogil:
        return td_transport_num_taken(self.c)

    cdef uint32_t num_connections(self) noexcept nogil:
        return td_transport_num_connections(self.c)

    cdef uint64_t now_ns(self) noexcept nogil:
        return td_now_ns()

    # ------------------------------------------------------------------ for Python

    def adopt(self, int descriptor):
        """Takes a connected socket, which is the transport's from now on.

        Args:
            descriptor: Of the socket; detach it from its Python object.

        Returns:
            False where it was closed at once: too many connections, or draining.
        """
        return td_transport_adopt(self.c, descriptor) == 0

    def watch(self, int descriptor, int slot):
        """Has `poll_once` tell when another descriptor is readable.

        Args:
            descriptor: Of a socket, pipe or event counter; -1 ends it.
            slot: 0 to 3, one descriptor each.

        Raises:
            ConfigError: The slot does not exist, or the descriptor cannot be watched.
        """
        if td_transport_watch(self.c, descriptor, slot):
            raise ConfigError(
                f"Descriptor {descriptor} cannot be watched in slot {slot}. Slots are 0 to 3, and"
                " files on a disk cannot be watched."
            )

    def poll_once(self, timeout_s=None):
        """Waits, reads and queues what is there.

        Args:
            timeout_s: None: without end. It may return earlier with nothing new.

        Returns:
            Bit s is set where the descriptor watched in slot s is readable.

        Raises:
            OSError: The system does not let us wait.
        """
        cdef int64_t timeout_ns = -1 if timeout_s is None else <int64_t>(timeout_s * 1e9)
        cdef int bits
        with nogil:
            bits = self.poll(timeout_ns)
        if bits < 0:
            raise OSError(-bits, os.strerror(-bits))
        return bits

    def take_call(self):
        """The oldest waiting request.

        Returns:
            A `RawCall`, or None.
        """
        cdef td_call *call = self.take()
        if call == NULL:
            return None
        return RawCall.of(self, call)

    def flush_all(self):
        """Sends the answers given since the last time."""
        with nogil:
            self.flush()

    def start_drain(self):
        """Takes no new connection, and closes each when its requests are answered."""
        with nogil:
            self.drain()

    def counts(self):
        """The counters.

        Returns:
            Number by name, names as in engine/transport.h.
        """
        return dict(self.counted[0])

    @property
    def waiting(self):
        """Requests that nobody has taken."""
        return self.num_waiting()

    @property
    def taken(self):
        """Requests that were taken and not answered."""
        return self.num_taken()

    @property
    def connections(self):
        """Open connections."""
        return self.num_connections()

    def echo(self, int slot):
        """Answers all requests with their own bodies, without the interpreter.

        It measures the transport alone, for benchmarks/serve.py and for tests.

        Args:
            slot: Ends when the descriptor that is watched in this slot is readable.

        Returns:
            How many requests were answered.
        """
        cdef int bits = 0
        cdef uint64_t num = 0
        cdef td_call *call
        cdef td_bytes none, type
        none.data, none.size = b"", 0
        type.data, type.size = b"application/octet-stream", 24
        with nogil:
            while bits >= 0 and not bits & (1 << slot):
                bits = self.poll(-1)
                while True:
                    call = self.take()
                    if call == NULL:
                        break
                    num += 1
                    if call.protocol == TD_GRPC:
                        self.answer_grpc(call, 0, none, call.body)
                    else:
                        self.answer_http(call, 200, type, call.body)
                self.flush()
        return num


cdef class RawCall:
    """One request, to be answered once. Dropped unanswered, it is answered as an internal error."""

    cdef Transport transport
    cdef td_call *c

    def __init__(self):
        raise TypeError("A RawCall is taken from a transport: call Transport.take_call().")

    @staticmethod
    cdef RawCall of(Transport transport, td_call *call):
        cdef RawCall made = RawCall.__new__(RawCall)
        made.transport = transport
        made.c = call
        return made

    def __dealloc__(self):
        cdef td_bytes none, text
        if self.c == NULL:
            return
        none.data, none.size = b"", 0
        text.data, text.size = b"the request was not answered", 28
        if self.c.protocol == TD_GRPC:
            self.transport.answer_grpc(self.c, TD_STATUS_INTERNAL, text, none)
        else:
            self.transport.answer_http(self.c, 500, none, none)

    cdef td_call *open(self) except NULL:
        if self.c == NULL:
            raise RuntimeError("This request was answered already.")
        return self.c

    @property
    def protocol(self):
        """`grpc` or `http`."""
        return "grpc" if self.open().protocol == TD_GRPC else "http"

    @property
    def method(self):
        """`GET`, `POST`, ..."""
        return to_text(self.open().method)

    @property
    def path(self):
        """Without the query."""
        return to_text(self.open().path)

    @property
    def query(self):
        """After the question mark."""
        return to_text(self.open().query)

    @property
    def content_type(self):
        """As the client sent it; empty where it sent none."""
        return to_text(self.open().content_type)

    @property
    def request_id(self):
        """x-request-id; empty where it is none of 1 to 128 printable ASCII characters."""
        return to_text(self.open().request_id)

    @property
    def models(self):
        """tadka-models; empty where it was not sent."""
        return to_text(self.open().models)

    @property
    def body(self):
        """The message, without the prefix of gRPC."""
        return to_bytes(self.open().body)

    @property
    def arrived_ns(self):
        """When its last byte was read, on the clock of `now_ns`."""
        return self.open().arrived_ns

    @property
    def deadline_ns(self):
        """When its client gives up, on the clock of `now_ns`; 0: never."""
        return self.open().deadline_ns

    @property
    def is_gone(self):
        """Whether its client has left."""
        return bool(self.open().is_gone)

    def answer_grpc(self, uint32_t status, str text="", bytes message=b""):
        """Answers a gRPC request.

        Args:
            status: Of gRPC; 0 is success.
            text: What went wrong; of another status than 0 only.
            message: The answer; of status 0 only.

        Raises:
            MemoryError: There is none; the stream was reset.
            RuntimeError: It was answered already, or is no gRPC request.
        """
        cdef td_call *call = self.open()
        cdef bytes encoded = text.encode("utf-8", "backslashreplace")
        if call.protocol != TD_GRPC:
            raise RuntimeError("This is an HTTP request: call answer_http.")
        self.c = NULL
        if self.transport.answer_grpc(call, status, bytes_of(encoded), bytes_of(message)):
            raise MemoryError

    def answer_http(self, uint32_t code, str content_type="", bytes body=b""):
        """Answers an HTTP request.

        Args:
            code: Of HTTP, 200 to 599.
            content_type: Of the body.
            body: Not sent where the method was HEAD.

        Raises:
            MemoryError: There is none; the connection was closed.
            RuntimeError: It was answered already, or is a gRPC request.
        """
        cdef td_call *call = self.open()
        cdef bytes encoded = content_type.encode("ascii")
        if call.protocol != TD_HTTP:
            raise RuntimeError("This is a gRPC request: call answer_grpc.")
        self.c = NULL
        if self.transport.answer_http(call, code, bytes_of(encoded), bytes_of(body)):
            raise MemoryError
