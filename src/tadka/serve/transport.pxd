"""What a loop needs to take calls and answer them without the interpreter. See engine/transport.h.

The C functions stand in transport.so alone; other extensions reach them by the methods here.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "engine/transport.h" nogil:
    ctypedef struct td_bytes:
        const char *data
        uint32_t size

    enum:
        TD_GRPC
        TD_HTTP

    enum:
        TD_STATUS_RESOURCE_EXHAUSTED
        TD_STATUS_UNIMPLEMENTED
        TD_STATUS_INTERNAL

    ctypedef struct td_call:
        td_call *next
        void *owner
        td_bytes method
        td_bytes path
        td_bytes query
        td_bytes content_type
        td_bytes request_id
        td_bytes models
        td_bytes body
        uint64_t arrived_ns
        uint64_t deadline_ns
        uint8_t protocol
        uint8_t is_gone

    ctypedef struct td_limits:
        uint32_t max_message_bytes
        uint32_t max_header_bytes
        uint32_t max_connections
        uint32_t max_streams
        uint32_t max_queue
        uint64_t max_buffered_bytes
        uint32_t deadline_ms
        uint32_t request_s
        uint32_t idle_s
        uint32_t write_s

    ctypedef struct td_transport_counts:
        uint64_t opened
        uint64_t closed
        uint64_t bytes_in
        uint64_t bytes_out
        uint64_t requests
        uint64_t refused_size
        uint64_t refused_queue
        uint64_t malformed
        uint64_t resets
        uint64_t floods
        uint64_t idle
        uint64_t slow

    ctypedef struct td_transport:
        pass


cdef class Transport:
    cdef td_transport *c
    cdef td_limits limits
    cdef td_transport_counts own_counts
    cdef td_transport_counts *counted  # own_counts, or the memory of `view`
    cdef Py_buffer view  # of the buffer that was given
    cdef bint has_view

    # Each is the function of transport.h with the same name; all without the GIL.
    cdef int poll(self, int64_t timeout_ns) noexcept nogil
    cdef td_call *take(self) noexcept nogil
    cdef int answer_grpc(
        self, td_call *call, uint32_t status, td_bytes text, td_bytes message
    ) noexcept nogil
    cdef int answer_http(
        self, td_call *call, uint32_t code, td_bytes content_type, td_bytes body
    ) noexcept nogil
    cdef void flush(self) noexcept nogil
    cdef void drain(self) noexcept nogil
    cdef uint32_t num_waiting(self) noexcept nogil
    cdef uint32_t num_taken(self) noexcept nogil
    cdef uint32_t num_connections(self) noexcept nogil
    cdef uint64_t now_ns(self) noexcept nogil
