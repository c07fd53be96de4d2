/* HTTP/2 (nghttp2) and HTTP/1.1 over descriptors that somebody else accepted: complete requests come out, answers go in.

   One thread per transport, no locks. The caller repeats: poll, take and answer calls, flush.
   Requests wait in one queue in the order of their arrival, with the time of it, so that old ones can be refused.
   Memory is bounded by the limits: what would go beyond them is refused with a status, or its connection is closed. */

#ifndef TADKA_SERVE_TRANSPORT_H
#define TADKA_SERVE_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *data;
    uint32_t size;
} td_bytes;

enum { TD_GRPC, TD_HTTP };

/* Statuses of gRPC (grpc.github.io/grpc/core/md_doc_statuscodes.html) that the transport itself gives. */
enum { TD_STATUS_RESOURCE_EXHAUSTED = 8, TD_STATUS_UNIMPLEMENTED = 12, TD_STATUS_INTERNAL = 13 };

/* One complete request. Its bytes stay as they are until it is answered, also when its client has gone meanwhile. */
typedef struct td_call {
    struct td_call *next;  /* of the queue, or the caller's own list once taken */
    void *owner;           /* the transport's */
    td_bytes method;       /* HTTP: "GET", "POST", ... */
    td_bytes path;         /* without the query */
    td_bytes query;
    td_bytes content_type;
    td_bytes request_id;   /* x-request-id; empty where there is none or it is not 1 to 128 printable ASCII characters */
    td_bytes models;       /* tadka-models */
    td_bytes body;         /* gRPC: the message without its prefix of five bytes */
    uint64_t arrived_ns;   /* CLOCK_MONOTONIC, when its last byte was read */
    uint64_t deadline_ns;  /* absolute, from grpc-timeout, else from limits.deadline_ms */
    uint8_t protocol;      /* TD_GRPC or TD_HTTP */
    uint8_t is_gone;       /* the client has reset the stream or left: an answer goes nowhere */
} td_call;

typedef struct {
    uint32_t max_message_bytes;
    uint32_t max_header_bytes;      /* of one request, decoded */
    uint32_t max_connections;
    uint32_t max_streams;           /* of one connection */
    uint32_t max_queue;             /* calls waiting; more are refused with RESOURCE_EXHAUSTED (HTTP: 503) at once */
    uint64_t max_buffered_bytes;    /* request bodies and answers held for all clients; beyond it nothing more is read */
    uint32_t deadline_ms;           /* of requests that bring none */
    uint32_t request_s;             /* a request must be complete this long after its first byte, a preface after accept */
    uint32_t idle_s;                /* a connection without requests is closed after this (GOAWAY on HTTP/2) */
    uint32_t write_s;               /* a client that takes no byte of its answers for this long is closed */
} td_limits;

/* Counters of the transport; the first part of a worker's slot on the board (board.h), written by one thread. */
typedef struct {
    uint64_t opened;            /* connections */
    uint64_t closed;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t requests;          /* complete ones, refused ones too */
    uint64_t refused_size;      /* message or headers too large */
    uint64_t refused_queue;     /* the queue was full */
    uint64_t malformed;         /* no gRPC frame, no HTTP */
    uint64_t resets;            /* by clients, of streams whose answer was open */
    uint64_t floods;            /* connections closed for what they sent: resets, CONTINUATION, SETTINGS, PING ... */
    uint64_t idle;              /* connections closed for silence */
    uint64_t slow;              /* connections closed because a request did not end, or answers were not read */
} td_transport_counts;

typedef struct td_transport td_transport;

/* NULL with `why` set to a text where it cannot be made. `counts` stays the caller's. */
td_transport *td_transport_new(const td_limits *limits, td_transport_counts *counts, const char **why);
void td_transport_free(td_transport *transport);

/* Takes a connected, accepted socket; it is the transport's from now on, and made non-blocking. 0, or -1 where it was closed at once. */
int td_transport_adopt(td_transport *transport, int descriptor);

/* Watches another descriptor (control socket, wake-up): `td_transport_poll` tells when it is readable. One at a time per slot 0..3. */
int td_transport_watch(td_transport *transport, int descriptor, int slot);

/* Waits for at most timeout_ns (-1: without end; 0: not at all), reads what is there, queues complete requests, keeps time limits.
   A set of bits: bit s for a readable watched descriptor of slot s. Negative: -errno of epoll itself. */
int td_transport_poll(td_transport *transport, int64_t timeout_ns);

/* The oldest waiting call, or NULL. It must be answered once. */
td_call *td_transport_take(td_transport *transport);
uint32_t td_transport_num_waiting(const td_transport *transport);
uint32_t td_transport_num_taken(const td_transport *transport);   /* taken and not answered */
uint32_t td_transport_num_connections(const td_transport *transport);

/* Answers copy what they are given and release the call. Nothing is sent before `flush`.
   gRPC: with status 0 a message of `size` bytes; else no message, and `text` (UTF-8, percent-encoded by this) as grpc-message.
   Kind must fit the call's protocol. 0, or -1 where memory ran out (the stream is reset). */
int td_answer_grpc(td_transport *transport, td_call *call, uint32_t status, td_bytes text, td_bytes message);
int td_answer_http(td_transport *transport, td_call *call, uint32_t code, td_bytes content_type, td_bytes body);

/* Writes the answers of all connections that have some, as far as their sockets take them; `poll` sends the rest. */
void td_transport_flush(td_transport *transport);

/* No new requests: GOAWAY on HTTP/2 (the notice first, then with the last stream), Connection: close on HTTP/1.1; idle connections close.
   After it `num_connections` falls to 0 as answers are taken. */
void td_transport_drain(td_transport *transport);

uint64_t td_now_ns(void);   /* CLOCK_MONOTONIC */

#endif
