# cython: boundscheck=False, wraparound=False
"""The load generator: one thread that keeps many requests in flight and reads every answer.

The work is done in engine/client.c without the interpreter; there is no second one in Python.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint32_t, uint64_t

import errno
import os
import socket

from tadka.core.error import ConfigError, NotFound

cdef extern from "engine/client.h" nogil:
    ctypedef struct td_piece:
        const char *data
        uint32_t size
    ctypedef struct td_header:
        td_piece name
        td_piece value
    ctypedef struct td_target:
        int protocol
        uint32_t num_connections
        uint32_t num_streams
        uint64_t timeout_ns
        td_piece authority
        td_piece path
        const td_header *headers
        uint32_t num_headers
        const td_piece *messages
        uint32_t num_messages
        const td_piece *expected
        uint32_t num_sets
        int reads_versions
        int keeps_answers
    ctypedef struct td_schedule:
        double rate
        int is_random
        uint64_t seed
        uint64_t warmup_ns
        uint64_t run_ns
        uint64_t count
        uint64_t max_backlog
    ctypedef struct td_histogram:
        uint64_t num
        uint64_t total
        uint64_t smallest
        uint64_t largest
    ctypedef struct td_second:
        uint64_t ok
        uint64_t failed
        uint64_t p50_ns
        uint64_t p99_ns
        uint64_t largest_ns
    ctypedef struct td_complaint:
        int status
        uint32_t size
        uint64_t num
        char text[200]
    ctypedef struct td_version_count:
        uint32_t version
        uint64_t num
    ctypedef struct td_results:
        uint64_t sent, ok, wrong, malformed, timeouts, lost, dropped, retried, in_window
        uint64_t grpc[17]
        uint64_t http[600]
        uint64_t resets[16]
        uint64_t goaways, reconnects, connect_failures, bytes_in, bytes_out
        uint64_t begun_ns, ended_ns, cpu_ns
        td_histogram latency
        td_version_count versions[4096]
        uint32_t num_versions
        td_complaint complaints[16]
        uint32_t num_complaints
        td_second *seconds
        uint32_t num_seconds
    ctypedef struct td_client:
        pass
    td_client *td_client_new(const td_target *target, const char *ip, int port, const char **why)
    void td_client_free(td_client *client)
    void td_client_begin(td_client *client, const td_schedule *schedule)
    int td_client_step(td_client *client, uint64_t until_ns)
    const td_results *td_client_results(const td_client *client)
    td_piece td_client_answer(const td_client *client, uint32_t message)
    uint64_t td_client_now_ns()
    uint64_t td_histogram_quantile(const td_histogram *histogram, double share)

PROTOCOLS = {"grpc": 0, "h2-bytes": 1, "http1-json": 2}
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
# Between two looks at Ctrl-C.
cdef uint64_t STEP_NS = 100_000_000


cdef td_piece _piece(bytes data) except *:
    return td_piece(<const char *>data, <uint32_t>len(data))


cdef td_piece *_pieces(list items) except NULL:
    cdef td_piece *found = <td_piece *>PyMem_Calloc(len(items) + 1, sizeof(td_piece))
    cdef Py_ssize_t i
    if found == NULL:
        raise MemoryError
    for i in range(len(items)):
        found[i] = _piece(items[i])
    return found


def _numeric_address(str host, int port, double timeout_s):
    """The first address of a host that takes a connection."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as probe:
            return probe.getpeername()[0]
    except OSError as error:
        raise NotFound(
            f"Nothing answers at {host}:{port}: {error}. Start the server first, or name another "
            "target."
        ) from error


cdef class Generator:
    """Connections to a server, and runs of load over them. They stay open between runs.

    Args:
        host: Name or address.
        port: Of the server.
        path: Of the method, such as `/pkg.Predictor/Predict`; of HTTP, the path.
        messages: Sent in turn, again and again; for gRPC without prefix.
        connections: How many.
        streams: Requests in flight on each; 1 for HTTP/1.1.
        protocol: `"grpc"`, `"h2-bytes"` (POST over HTTP/2) or `"http1-json"` (POST over HTTP/1.1).
        metadata: Headers sent with each request.
        timeout_s: A request without an answer by then is given up and counted.
        deadline_ms: Sent as grpc-timeout; 0 sends none.
        expected: How the right answer to each message ends, compared byte for byte; a list of such
            lists is chosen from by the answer's version modulo their number.
        versions: Answers are Prediction messages; counts the versions that they name.
        keep_answers: Keeps the last good answer to each message for `answers`.

    Raises:
        ConfigError: An argument is out of range.
        NotFound: Nothing takes connections there.
    """

    cdef td_client *client
    cdef td_target target
    cdef td_piece *messages
    cdef td_piece *expected
    cdef td_header *headers
    cdef list held  # owns every byte that the client reads
    cdef str where

    def __init__(
        self,
        str host,
        int port,
        str path,
        messages,
        *,
        int connections=4,
        int streams=8,
        str protocol="grpc",
        metadata=(),
        double timeout_s=10.0,
        int deadline_ms=0,
        expected=None,
        bint versions=False,
        bint keep_answers=False,
    ):
        cdef const char *why = NULL
        cdef Py_ssize_t i
        if self.client != NULL:
            raise RuntimeError("A Generator is made once.")
        if protocol not in PROTOCOLS:
            raise ConfigError(f"protocol is {protocol!r}; it must be one of {', '.join(PROTOCOLS)}.")
        if protocol == "http1-json" and streams != 1:
            raise ConfigError(f"streams is {streams}; HTTP/1.1 has 1 for each connection.")
        for name, value in (("connections", connections), ("streams", streams)):
            if not 1 <= value <= 65_536:
                raise ConfigError(f"{name} is {value}; it must be between 1 and 65,536.")
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s is {timeout_s}; it must be above 0.")
        sent = [bytes(message) for message in messages]
        if not sent:
            raise ConfigError("There are no messages to send; at least one is needed.")
        self.where = f"{host}:{port}"
        ip = _numeric_address(host, port, timeout_s)
        added = [(str(name).lower().encode(), str(value).encode()) for name, value in metadata]
        if protocol == "http1-json":
            added.append((b"content-type", b"application/json"))
        elif protocol == "grpc" and deadline_ms:
            added.append((b"grpc-timeout", b"%dm" % deadline_ms))
        authority = f"[{host}]:{port}" if ":" in host else self.where
        names = [authority.encode(), path.encode(), ip.encode()]
        self.held = [sent, added, names]
        self.messages = _pieces(sent)
        self.target.messages = self.messages
        self.target.num_messages = <uint32_t>len(sent)
        if expected is not None:
            sets = [expected] if expected and isinstance(expected[0], bytes) else list(expected)
            for ends in sets:
                if len(ends) != len(sent):
                    raise ConfigError(
                        f"There are {len(ends)} expected ends for {len(sent)} messages; there must "
                        "be one for each."
                    )
            flat = [bytes(end) for ends in sets for end in ends]
            self.held.append(flat)
            self.expected = _pieces(flat)
            self.target.expected = self.expected
            self.target.num_sets = <uint32_t>len(sets)
        self.headers = <td_header *>PyMem_Calloc(len(added) + 1, sizeof(td_header))
        if self.headers == NULL:
            raise MemoryError
        for i in range(len(added)):
            self.headers[i].name = _piece(added[i][0])
            self.headers[i].value = _piece(added[i][1])
        self.target.protocol = PROTOCOLS[protocol]
        self.target.num_connections = connections
        self.target.num_streams = streams
        self.target.timeout_ns = <uint64_t>(timeout_s * 1e9)
        self.target.authority = _piece(names[0])
        self.target.path = _piece(names[1])
        self.target.headers = self.headers
        self.target.num_headers = <uint32_t>len(added)
        self.target.reads_versions = versions
        self.target.keeps_answers = keep_answers
        self.client = td_client_new(&self.target, names[2], port, &why)
        if self.client == NULL:
            raise ConfigError(f"No load can be sent to {self.where}: {why.decode()}.")

    def __dealloc__(self):
        if self.client != NULL:
            td_client_free(self.client)
        PyMem_Free(self.messages)
        PyMem_Free(self.expected)
        PyMem_Free(self.headers)

    def run(
        self,
        *,
        double seconds=0.0,
        uint64_t count=0,
        double rate=0.0,
        bint poisson=False,
        uint64_t seed=1,
        double warmup_s=0.0,
        uint64_t max_backlog=10_000,
    ):
        """Sends load, and waits for what is in flight at the end.

        Args:
            seconds: Measured, after the warm-up; 0 for as long as `count` takes.
            count: Requests after the warm-up; 0 for no limit.
            rate: Requests a second on a schedule (open loop), latency counted from there; 0 sends
                the next one when an answer has come (closed loop).
            poisson: The gaps of the schedule are random, with the same mean.
            seed: Of the gaps.
            warmup_s: What is sent in this time before is not counted.
            max_backlog: Due requests that may wait for a free stream; older ones are dropped.

        Returns:
            Counts of each outcome (`sent = ok + failed`), latencies in milliseconds, CPU time of
            this thread, and a series by second.

        Raises:
            ConfigError: Neither `seconds` nor `count`, or a negative number.
            NotFound: No connection could be opened.
        """
        cdef td_schedule schedule
        cdef int status = 1
        if not seconds > 0 and not count:
            raise ConfigError("A run needs seconds or count.")
        if not rate >= 0 or not warmup_s >= 0:
            raise ConfigError(f"rate is {rate} and warmup_s {warmup_s}; neither may be below 0.")
        schedule.rate = rate
        schedule.is_random = poisson
        schedule.seed = seed
        schedule.warmup_ns = <uint64_t>(warmup_s * 1e9)
        schedule.run_ns = <uint64_t>(max(seconds, 0.0) * 1e9)
        schedule.count = count
        schedule.max_backlog = max_backlog
        with nogil:
            td_client_begin(self.client, &schedule)
        while status > 0:
            with nogil:
                status = td_client_step(self.client, td_client_now_ns() + STEP_NS)
            # The loop comes back into Python here, where Ctrl-C is raised.
        if status == -errno.ECONNREFUSED:
            raise NotFound(f"No connection to {self.where} could be opened again.")
        if status < 0:
            raise OSError(-status, f"{os.strerror(-status)}: sending to {self.where}")
        return self._results()

    def answers(self):
        """The last good answer to each message, None where there was none."""
        cdef td_piece piece
        cdef uint32_t i
        found = []
        for i in range(self.target.num_messages):
            piece = td_client_answer(self.client, i)
            found.append(None if piece.data == NULL else piece.data[:piece.size])
        return found

    cdef dict _results(self):
        cdef const td_results *r = td_client_results(self.client)
        cdef uint32_t i
        window_s = max(<int64_t>(r.ended_ns - r.begun_ns), 1) / 1e9
        latency = {
            name: td_histogram_quantile(&r.latency, share) / 1e6
            for name, share in _QUANTILES.items()
        }
        latency["max"] = r.latency.largest / 1e6
        latency["min"] = r.latency.smallest / 1e6
        latency["mean"] = r.latency.total / r.latency.num / 1e6 if r.latency.num else 0.0
        return {
            "sent": r.sent,
            "ok": r.ok,
            "failed": r.sent - r.ok,
            "dropped": r.dropped,
            "retried": r.retried,
            "wrong": r.wrong,
            "malformed": r.malformed,
            "timeouts": r.timeouts,
            "lost": r.lost,
            "qps": r.in_window / window_s,
            "seconds": window_s,
            "begun_ns": r.begun_ns,
            "cpu_s": r.cpu_ns / 1e9,
            "grpc": {i: r.grpc[i] for i in range(17) if r.grpc[i]},
            "http": {i: r.http[i] for i in range(600) if r.http[i]},
            "resets": {i: r.resets[i] for i in range(16) if r.resets[i]},
            "goaways": r.goaways,
            "reconnects": r.reconnects,
            "connect_failures": r.connect_failures,
            "bytes_in": r.bytes_in,
            "bytes_out": r.bytes_out,
            "latency_ms": latency,
            "versions": {r.versions[i].version: r.versions[i].num for i in range(r.num_versions)},
            "complaints": [
                {
                    "status": r.complaints[i].status,
                    "text": r.complaints[i].text[:r.complaints[i].size],
                    "num": r.complaints[i].num,
                }
                for i in range(r.num_complaints)
            ],
            "series": [
                {
                    "second": i,
                    "ok": r.seconds[i].ok,
                    "failed": r.seconds[i].failed,
                    "p50_ms": r.seconds[i].p50_ns / 1e6,
                    "p99_ms": r.seconds[i].p99_ns / 1e6,
                    "max_ms": r.seconds[i].largest_ns / 1e6,
                }
                for i in range(r.num_seconds)
            ],
        }
