# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False
"""One worker's loop: takes requests off the transport, scores them, and answers.

    poll -> the calls that came are a batch -> compiled models score without the interpreter
                                            -> what is left goes to the Handler, once a batch
         -> flush -> shadows, when nothing waits

What scores without the interpreter gives the same bytes as `Handler` does.
"""

import os
import socket

from tadka.core.error import DataError
from tadka.features.row import PropertyError
from tadka.serve.board import WORKER
from tadka.serve.answer.call import Call
from tadka.serve.prediction import method_path
from tadka.serve.store.custom import ModelError

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from tadka.features.native cimport TD_OK, Scratch, td_status
from tadka.scoring.scorer cimport Scorer
from tadka.serve.transport cimport (
    TD_GRPC,
    TD_STATUS_INTERNAL,
    TD_STATUS_RESOURCE_EXHAUSTED,
    Transport,
    td_bytes,
    td_call,
)


cdef extern from "engine/board.h" nogil:
    enum:
        TD_BOARD_SPANS
        TD_BOARD_DOORS
        TD_BOARD_STATUSES

    ctypedef struct td_board_arm:
        uint64_t served
        uint64_t shadowed
        uint64_t failed
        uint64_t busy_ns
        uint64_t spans[28]

    ctypedef struct td_board_worker:
        int64_t pid
        uint64_t generation
        uint64_t swaps
        uint64_t busy_ns
        uint64_t wakes
        uint64_t shed
        uint64_t shadow_dropped
        uint64_t log_written
        uint64_t log_dropped
        uint64_t log_lost
        uint64_t answers[3][17]
        uint64_t span_ns
        uint64_t spans[28]
        td_board_arm arms[32]

    uint32_t td_board_span(uint64_t ns)
    void td_board_score(td_board_arm *arm, double score)


cdef extern from "engine/route.h" nogil:
    enum:
        TD_MAX_ARMS
        TD_MAX_ID
        TD_ANSWER_BYTES

    ctypedef struct td_arm:
        void *scorer
        void *scratch
        td_board_arm *counts
        uint32_t version
        uint32_t threshold
        uint32_t head_size

    ctypedef struct td_served:
        td_bytes name
        td_arm *arms
        uint32_t num_arms
        uint32_t num_shadows
        uint32_t key
        uint64_t seed

    ctypedef struct td_shadow_row:
        td_arm *arm
        td_bytes name
        uint32_t at
        uint32_t id_size
        uint32_t message_size

    ctypedef struct td_shadows:
        td_shadow_row *rows
        uint32_t num_rows
        uint32_t used
        char *bytes

    uint64_t td_hash(const void *data, size_t size, uint64_t seed)
    void td_arm_set_head(td_arm *arm, td_bytes name)
    char *td_put_id(char *at, td_bytes id)
    char *td_put_score(char *at, const td_arm *arm, double score)
    td_arm *td_choose(const td_served *served, td_bytes message)
    td_bytes td_make_id(uint64_t *counter, char *text)
    int td_shadows_put(td_shadows *shadows, td_arm *arm, td_bytes name, td_bytes id,
                       td_bytes message)


cdef extern from "engine/ring.h" nogil:
    ctypedef struct td_ring:
        pass

    int td_ring_put(td_ring *ring, int64_t time_us, uint8_t role, uint32_t version, double score,
                    const char *model, uint32_t model_size, const char *id, uint32_t id_size,
                    const char *message, uint32_t message_size)


cdef extern from "time.h" nogil:
    ctypedef long time_t

    struct timespec:
        time_t tv_sec
        long tv_nsec

    int CLOCK_REALTIME
    int clock_gettime(int clock, timespec *now)
    int nanosleep(const timespec *span, timespec *left)


cdef enum:
    BATCH = 256  # calls of one batch; between two of them the transport reads what has come
    FEW = 64  # rows that shadows score in the handler before the transport is looked at again
    SAMPLE = 16  # one of so many scores is timed; for a clock costs as much as a tenth of one
    OK = 0
    INVALID_ARGUMENT = 3
    GRPC_DOOR = 0
    SERVED = 0
    SHADOW = 1
    LOG_SEED = 0x10C
    CONTROL = 0  # the slot of the transport's watched descriptors

cdef extern from *:
    """
    static size_t shadows_size(void) { return sizeof(td_shadows); }
    """
    size_t shadows_size() nogil


cdef int64_t IDLE_NS = 100_000_000  # longest wait, so that time limits and new states are seen
cdef uint64_t SHADOW_NS = 1_000_000  # that shadows score before the transport is looked at again
cdef uint64_t CHECK_NS = 1_000_000_000  # between two looks at the store's own file


cdef td_bytes bytes_of(bytes text) noexcept:
    """What a bytes object holds, for as long as it lives."""
    return td_bytes(data=<const char *>text, size=<uint32_t>len(text))


cdef bint is_theirs(error):
    """Whether the client's row is at fault, and not a property or a model."""
    return isinstance(error, DataError) and not isinstance(error, PropertyError)


cdef size_t address_of(record) except 0:
    """Where a NumPy record lies."""
    return record.__array_interface__["data"][0]


cdef bytes to_bytes(td_bytes text):
    return text.data[:text.size]


_TOO_LATE = b"The request waited longer than its deadline: the server has too much to do."
cdef td_bytes TOO_LATE = bytes_of(_TOO_LATE)
cdef td_bytes NOTHING = td_bytes(data="", size=0)


cdef class Table:
    """What is served, as the loop reads it without the interpreter.

    Args:
        serving: A `Serving`.
        counts: A `Counts`, for the slots of its arms.
    """

    cdef td_served *models
    cdef uint32_t num_models
    cdef bint is_compiled  # no arm runs as Python
    cdef readonly object serving
    cdef list keep
    cdef td_bytes path  # of the method

    def __cinit__(self, serving, counts):
        cdef td_board_worker *board = <td_board_worker *>address_of(counts.slot)
        cdef td_served *served
        self.serving = serving
        self.keep = [counts]
        path = method_path(serving.features).encode()
        self.keep.append(path)
        self.path = bytes_of(path)
        self.num_models = len(serving.models)
        self.is_compiled = True
        self.models = <td_served *>calloc(self.num_models, sizeof(td_served))
        if self.models == NULL:
            raise MemoryError
        for index, model in enumerate(serving.models):
            served = &self.models[index]
            arms = [*model.arms, *model.shadow]
            name = model.name.encode()
            self.keep.append(name)
            served.name = bytes_of(name)
            served.num_arms = len(model.arms)
            served.num_shadows = len(model.shadow)
            served.key = model.key or 0
            served.seed = model.seed
            served.arms = <td_arm *>calloc(len(arms), sizeof(td_arm))
            if served.arms == NULL:
                raise MemoryError
            for place, arm in enumerate(arms):
                slot = counts.arm_index(arm.model, arm.version)
                served.arms[place].counts = &board.arms[<size_t>slot]
                served.arms[place].version = arm.version
                if place < served.num_arms:
                    served.arms[place].threshold = model.thresholds[place]
                td_arm_set_head(&served.arms[place], served.name)
                scorer = getattr(arm.scorer, "scorer", None)
                if isinstance(scorer, Scorer):
                    scratch = Scratch((<Scorer>scorer).engine)
                    self.keep.append((scorer, scratch))
                    served.arms[place].scorer = <PyObject *>scorer
                    served.arms[place].scratch = <PyObject *>scratch
                else:
                    self.is_compiled = False

    def choose(self, uint32_t model, bytes message not None):
        """Which arm answers a message: what `Served.choose` says.

        Args:
            model: Its number.
            message: Of a request.

        Returns:
            Number of the arm.
        """
        if model >= self.num_models:
            raise IndexError(model)
        return td_choose(&self.models[model], bytes_of(message)) - self.models[model].arms

    def __dealloc__(self):
        cdef uint32_t index
        if self.models != NULL:
            for index in range(self.num_models):
                free(self.models[index].arms)
            free(self.models)


cdef inline bint is_probability(double score) noexcept nogil:
    return 0.0 <= score <= 1.0  # NaN is none


cdef td_status score_with(const td_arm *arm, td_bytes message, double *score) noexcept nogil:
    return (<Scorer>arm.scorer).try_score(
        message.data, message.size, <Scratch>arm.scratch, score
    )


cdef class Loop:
    """One worker's loop.

    Args:
        transport: Where requests come from.
        live: What is served; the loop looks whether it changed before each batch.
        handler: What answers all that is not a request for scores of compiled models.
        counts: The worker's `Counts`.
        ring: The worker's `Ring` of the request log, or None.
        config: A `ServeConfig`.
    """

    cdef Transport transport
    cdef object live, handler, counts
    cdef Table table
    cdef object next_table  # made by the thread that loaded it; taken before a batch
    cdef volatile bint has_next
    cdef td_board_worker *board
    cdef td_ring *log
    cdef object log_memory
    cdef Py_ssize_t num_python_shadows  # that wait in the handler
    cdef uint32_t log_share  # of 2**32
    cdef uint64_t ids
    cdef td_shadows *shadows
    cdef uint32_t shadow_at  # the first row that is not scored
    cdef const volatile uint64_t *word
    cdef uint64_t no_word  # for a store without one: its file is looked at once a second
    cdef uint64_t seen
    cdef object word_memory
    cdef bint is_draining
    cdef bint is_over
    cdef object control
    cdef uint32_t calls_since  # a timed one
    cdef uint64_t coalesce_ns
    # Of the batch: what was answered without the interpreter, to be counted at its end.
    cdef uint64_t arrivals[BATCH]
    cdef uint32_t num_arrivals
    cdef td_board_arm *arms_used[BATCH * TD_MAX_ARMS]
    cdef uint64_t arms_arrived[BATCH * TD_MAX_ARMS]
    cdef uint32_t num_arms_used
    cdef td_call *later[BATCH]
    cdef uint32_t num_later
    cdef int64_t time_us

    def __cinit__(self, Transport transport not None, live, handler, counts, ring, config):
        self.transport = transport
        self.live, self.handler, self.counts = live, handler, counts
        if sizeof(td_board_worker) != WORKER.itemsize:
            raise AssertionError("board.h and board.py differ")
        self.board = <td_board_worker *>address_of(counts.slot)
        self.shadows = <td_shadows *>calloc(1, shadows_size())
        if self.shadows == NULL:
            raise MemoryError
        cdef uint8_t[::1] memory
        if ring is not None:
            self.log_memory = memory = ring.memory
            self.log = <td_ring *>&memory[0]
            self.log_share = min(int(config.log_share * 2**32), 2**32 - 1)
        self.coalesce_ns = config.coalesce_us * 1000
        self.ids = int.from_bytes(os.urandom(8), "little")
        self._map_word()
        self.seen = self.word[0]
        self.table = Table(live.current, counts)
        self.board.generation = live.current.generation
        live.on_swap = self._on_swap

    def __dealloc__(self):
        free(self.shadows)

    def _on_swap(self, serving):
        """Called by whatever thread has a new Serving ready."""
        self.next_table = Table(serving, self.counts)
        self.has_next = True

    def run(self, control):
        """Serves until it is told to drain and all connections have gone, or its parent is dead.

        Args:
            control: The worker's end of a SOCK_SEQPACKET socket: `b"c"` with descriptors of new
                connections, `b"d"` to drain; its end is the parent's.
        """
        cdef uint64_t now, woke, checked = 0
        cdef int ready
        cdef int64_t wait
        cdef bint is_batch
        self.control = control
        control.setblocking(False)
        self.transport.watch(control.fileno(), CONTROL)
        with nogil:
            while not self.is_over:
                wait = IDLE_NS
                if self.transport.num_waiting() or self._has_shadows():
                    wait = 0
                ready = self.transport.poll(wait)
                woke = self.transport.now_ns()
                if ready < 0:
                    with gil:
                        raise OSError(-ready, os.strerror(-ready))
                if self.word[0] != self.seen or woke - checked > CHECK_NS:
                    checked = woke
                    with gil:
                        self._look()
                if self.has_next:
                    with gil:
                        self._swap()
                if ready & 1 << CONTROL:
                    with gil:
                        self._obey()
                is_batch = self.transport.num_waiting() > 0
                if is_batch:
                    self._serve(woke)
                elif self._has_shadows():
                    self._score_shadows()
                self.transport.flush()
                now = self.transport.now_ns()
                self.board.wakes += 1
                self.board.busy_ns += now - woke
                if self.is_draining:
                    self.is_over = self.is_over or self.transport.num_connections() == 0
                elif is_batch and now - woke < self.coalesce_ns and not self.transport.num_waiting():
                    if self._has_shadows():
                        self._score_shadows()
                        now = self.transport.now_ns()
                    if now - woke < self.coalesce_ns:
                        self._rest(self.coalesce_ns - (now - woke))

    cdef void _rest(self, uint64_t span_ns) noexcept nogil:
        """Lets requests gather; at most 100 ms, so nothing else is kept waiting for long."""
        cdef timespec span
        span.tv_sec, span.tv_nsec = 0, <long>span_ns
        nanosleep(&span, NULL)

    cdef int _map_word(self) except -1:
        cdef const uint64_t[::1] word
        self.word_memory = self.live.word
        if self.word_memory is None:
            self.word = &self.no_word
        else:
            word = self.word_memory
            self.word = &word[0]
        return 0

    cdef int _look(self) except -1:
        """Whether there is a new state; one whose models are loaded is there when this returns."""
        self.live.check_file()
        self._map_word()
        self.seen = self.word[0]
        if self.live.wants_refresh():
            self.live.refresh()
        return 0

    cdef int _swap(self) except -1:
        self._score_shadows()
        # What is left goes: its arms are of the old table.
        self.board.shadow_dropped += self.shadows.num_rows - self.shadow_at
        self.shadows.num_rows = self.shadows.used = self.shadow_at = 0
        self.has_next = False
        self.table = self.next_table
        self.board.generation = self.table.serving.generation
        self.board.swaps += 1
        return 0

    cdef int _obey(self) except -1:
        """What the parent says."""
        while True:
            try:
                said, descriptors, _, _ = socket.recv_fds(self.control, 64, 64)
            except BlockingIOError:
                return 0
            except ConnectionError:
                said, descriptors = b"", []
            for descriptor in descriptors:
                self.transport.adopt(descriptor)
            if not said:  # the parent is dead
                self.is_over = True
                return 0
            if said[:1] == b"d" and not self.is_draining:
                self.is_draining = True
                self.handler.is_draining = True
                self.transport.drain()

    cdef int _serve(self, uint64_t now) except -1 nogil:
        """One batch."""
        cdef td_call *call
        cdef uint32_t taken = 0, index
        cdef uint64_t end
        cdef timespec clock
        clock_gettime(CLOCK_REALTIME, &clock)
        self.time_us = <int64_t>clock.tv_sec * 1_000_000 + clock.tv_nsec // 1000
        self.num_arrivals = self.num_arms_used = self.num_later = 0
        while taken < BATCH:
            call = self.transport.take()
            if call == NULL:
                break
            taken += 1
            if self._is_for_scores(call):
                if call.deadline_ns and now >= call.deadline_ns:
                    self._shed(call)
                    continue
                if self._predict(call):
                    continue
            self.later[self.num_later] = call
            self.num_later += 1
        if self.num_later:
            with gil:
                self._serve_later()
        end = self.transport.now_ns()
        for index in range(self.num_arrivals):
            self._count_span(end - self.arrivals[index])
        for index in range(self.num_arms_used):
            self.arms_used[index].spans[td_board_span(end - self.arms_arrived[index])] += 1
        return 0

    cdef void _count_span(self, uint64_t span) noexcept nogil:
        self.board.span_ns += span
        self.board.spans[td_board_span(span)] += 1

    cdef bint _is_for_scores(self, const td_call *call) noexcept nogil:
        """Whether a call asks for the scores of all models, by gRPC."""
        return (
            call.protocol == TD_GRPC
            and call.models.size == 0
            and self.table.num_models > 0
            and call.path.size == self.table.path.size
            and memcmp(call.path.data, self.table.path.data, call.path.size) == 0
        )

    cdef void _shed(self, td_call *call) noexcept nogil:
        """Refuses a request that waited too long: nobody wants its answer any more."""
        self.board.shed += 1
        self.board.answers[GRPC_DOOR][<int>TD_STATUS_RESOURCE_EXHAUSTED] += 1
        self.arrivals[self.num_arrivals] = call.arrived_ns
        self.num_arrivals += 1
        self.transport.answer_grpc(call, TD_STATUS_RESOURCE_EXHAUSTED, TOO_LATE, NOTHING)

    cdef bint _predict(self, td_call *call) noexcept nogil:
        """Answers a call if all of its models are compiled and the row is good; else False."""
        cdef td_arm *chosen[TD_MAX_ARMS]
        cdef double scores[TD_MAX_ARMS]
        cdef uint32_t index
        cdef uint64_t start = 0
        cdef bint is_timed
        self.calls_since += 1
        is_timed = self.calls_since % SAMPLE == 0
        for index in range(self.table.num_models):
            chosen[index] = td_choose(&self.table.models[index], call.body)
            if chosen[index].scorer == NULL:
                return False
            if is_timed:
                start = self.transport.now_ns()
            if score_with(chosen[index], call.body, &scores[index]) != TD_OK:
                return False
            if is_timed:
                chosen[index].counts.busy_ns += SAMPLE * (self.transport.now_ns() - start)
            if not is_probability(scores[index]):
                return False
        self._answer(call, chosen, scores)
        return True

    cdef void _answer(self, td_call *call, td_arm **chosen, const double *scores) noexcept nogil:
        """Sends the scores, counts and logs them, and keeps the row for shadows."""
        cdef char buffer[TD_ANSWER_BYTES]
        cdef char digits[16]
        cdef char *answer = buffer
        cdef char *at
        cdef td_bytes request_id = call.request_id
        cdef td_served *served
        cdef uint32_t index, place
        cdef bint is_logged = False
        if request_id.size == 0:
            request_id = td_make_id(&self.ids, digits)
        if self.log != NULL:
            is_logged = <uint32_t>td_hash(request_id.data, request_id.size, LOG_SEED) < self.log_share
        at = td_put_id(answer, request_id)
        for index in range(self.table.num_models):
            served = &self.table.models[index]
            at = td_put_score(at, chosen[index], scores[index])
            td_board_score(chosen[index].counts, scores[index])
            self.arms_used[self.num_arms_used] = chosen[index].counts
            self.arms_arrived[self.num_arms_used] = call.arrived_ns
            self.num_arms_used += 1
            if is_logged:
                self._log(SERVED, served.name, chosen[index].version, scores[index], request_id,
                          call.body)
            for place in range(served.num_shadows):
                if not td_shadows_put(self.shadows, &served.arms[served.num_arms + place],
                                      served.name, request_id, call.body):
                    self.board.shadow_dropped += 1
        self.board.answers[GRPC_DOOR][OK] += 1
        self.arrivals[self.num_arrivals] = call.arrived_ns
        self.num_arrivals += 1
        self.transport.answer_grpc(
            call, OK, NOTHING, td_bytes(data=answer, size=<uint32_t>(at - answer))
        )

    cdef void _log(self, uint8_t role, td_bytes model, uint32_t version, double score,
                   td_bytes request_id, td_bytes message) noexcept nogil:
        if td_ring_put(self.log, self.time_us, role, version, score, model.data, model.size,
                       request_id.data, request_id.size, message.data, message.size):
            self.board.log_written += 1
        else:
            self.board.log_dropped += 1

    cdef int _serve_later(self) except -1:
        """What needs the interpreter."""
        cdef td_call *call
        cdef uint32_t index, left = 0
        for index in range(self.num_later):
            call = self.later[index]
            if self.table.is_compiled and self._is_for_scores(call):
                self._predict_in_python(call)
            else:
                self.later[left] = call
                left += 1
        if not left:
            return 0
        calls = [self._call(self.later[index]) for index in range(left)]
        replies = self.handler.answer(calls)
        self.num_python_shadows = self.handler.num_shadows
        for index in range(left):
            call = self.later[index]
            reply = replies[index]
            if call.protocol == TD_GRPC:
                self._reply_grpc(call, reply.status, reply.message, reply.body)
            else:
                self.transport.answer_http(
                    call, reply.status, bytes_of(reply.content_type.encode()), bytes_of(reply.body)
                )
        return 0

    cdef object _call(self, const td_call *call):
        return Call(
            "grpc" if call.protocol == TD_GRPC else "http",
            to_bytes(call.method).decode("latin-1"),
            to_bytes(call.path).decode("latin-1"),
            to_bytes(call.query).decode("latin-1"),
            to_bytes(call.content_type).decode("latin-1"),
            to_bytes(call.request_id).decode("latin-1"),
            to_bytes(call.models).decode("latin-1"),
            to_bytes(call.body),
            call.arrived_ns,
            call.deadline_ns,
        )

    cdef int _reply_grpc(self, td_call *call, uint32_t status, str message, bytes body) except -1:
        # A text of the user's own may hold what is no UTF-8.
        text = message.encode("utf-8", "backslashreplace")
        self.transport.answer_grpc(call, status, bytes_of(text), bytes_of(body))
        return 0

    cdef int _predict_in_python(self, td_call *call) except -1:
        """Answers a call some of whose properties run as Python, or whose row is bad."""
        cdef td_arm *chosen[TD_MAX_ARMS]
        cdef double scores[TD_MAX_ARMS]
        cdef uint32_t index = 0, status
        cdef uint64_t start
        cdef td_status read
        try:
            for index in range(self.table.num_models):
                chosen[index] = td_choose(&self.table.models[index], call.body)
                start = self.transport.now_ns()
                read = score_with(chosen[index], call.body, &scores[index])
                if read != TD_OK:
                    scores[index] = (<Scorer>chosen[index].scorer).finish(
                        <Scratch>chosen[index].scratch, read
                    )
                chosen[index].counts.busy_ns += self.transport.now_ns() - start
                if not is_probability(scores[index]):
                    name = to_bytes(self.table.models[index].name).decode()
                    raise ModelError(
                        f"Model {name!r} gives {scores[index]!r}, which is no probability."
                    )
        except Exception as error:
            status = INVALID_ARGUMENT if is_theirs(error) else TD_STATUS_INTERNAL
            if status == <uint32_t>TD_STATUS_INTERNAL:
                chosen[index].counts.failed += 1
            self.board.answers[GRPC_DOOR][status] += 1
            self._count_span(self.transport.now_ns() - call.arrived_ns)
            self._reply_grpc(call, status, self.handler.text_of(error), b"")
            return 0
        self._answer(call, chosen, scores)
        return 0

    cdef int _score_shadows(self) except -1 nogil:
        """Scores what shadows are to score, and sends it nowhere but to the log and the board.

        Not all at once: requests that come meanwhile should not notice.
        """
        cdef td_shadow_row *row
        cdef td_bytes request_id, message
        cdef double score = 0
        cdef uint64_t until = self.transport.now_ns() + SHADOW_NS
        cdef bint is_good
        while self.shadow_at < self.shadows.num_rows and self.transport.now_ns() < until:
            row = &self.shadows.rows[self.shadow_at]
            self.shadow_at += 1
            request_id = td_bytes(data=self.shadows.bytes + row.at, size=row.id_size)
            message = td_bytes(
                data=self.shadows.bytes + row.at + row.id_size, size=row.message_size
            )
            is_good = (
                row.arm.scorer != NULL
                and score_with(row.arm, message, &score) == TD_OK
                and is_probability(score)
            )
            if not is_good:
                with gil:
                    is_good = self._shadow_in_python(row, message, &score)
            if not is_good:
                continue
            row.arm.counts.shadowed += 1
            if self.log != NULL and (
                <uint32_t>td_hash(request_id.data, request_id.size, LOG_SEED) < self.log_share
            ):
                self._log(SHADOW, row.name, row.arm.version, score, request_id, message)
        if self.shadow_at == self.shadows.num_rows:
            self.shadows.num_rows = self.shadows.used = self.shadow_at = 0
        if self.num_python_shadows:
            with gil:
                self.handler.run_shadows(FEW)
                self.num_python_shadows = self.handler.num_shadows
        return 0

    cdef bint _has_shadows(self) noexcept nogil:
        return self.shadows.num_rows or self.num_python_shadows

    cdef bint _shadow_in_python(self, td_shadow_row *row, td_bytes message, double *score) except -1:
        name, version = to_bytes(row.name).decode(), row.arm.version
        for arm in self.table.serving.by_name[name].shadow:
            if arm.version == version:
                (result,) = arm.predict([to_bytes(message)])
                if isinstance(result, Exception):
                    if not is_theirs(result):
                        row.arm.counts.failed += 1
                        self.handler.text_of(result)  # which logs it
                    return False
                score[0] = result
                return True
        return False
