/* What memory.c, stream.c, loop.c, http1.c and http2.c share: connections, streams (one request each), and the memory they hold. */

#ifndef TADKA_SERVE_CONNECTION_H
#define TADKA_SERVE_CONNECTION_H

#include "transport.h"

#include <nghttp2/nghttp2.h>

typedef struct td_stream td_stream;
typedef struct td_connection td_connection;

enum {
    TD_INPUT_BYTES = 64 * 1024,   /* one read */
    TD_OUTPUT_BYTES = 64 * 1024,  /* frames gathered before one write */
    TD_UNSENT_BYTES = 256 * 1024, /* unsent by one connection: more, and nothing is read from it */
    TD_HEAD_BYTES = 320,          /* of a stream: path, content type, ids of common requests */
    TD_SMALL_BYTES = 576,         /* of a stream: bodies of common requests, then their answers */
};

/* Control frames (SETTINGS, PING, PRIORITY, empty DATA ...) and resets that a connection may send at once, and per second. Requests
   and answers make room for more. An honest client that cancels at short deadlines stays far below. */
enum { TD_NOISE_BURST = 10000, TD_NOISE_PER_S = 1000, TD_RESET_BURST = 10000, TD_RESET_PER_S = 1000 };
enum { TD_MAX_CONTINUATIONS = 8, TD_MAX_HEADERS = 100 };

/* The list of its connection that a stream is in; each list has the oldest `since_ns` first. */
enum { TD_RECEIVING, TD_CALLED, TD_ANSWERING, TD_NUM_LISTS };

struct td_stream {
    td_call call; /* the first member: a call is its stream */
    td_connection *connection; /* NULL once the client has gone */
    td_stream *before, *after; /* of the list; `after` of a free one is the next free one */
    uint64_t since_ns;         /* first byte; when it became a call; last byte of its answer taken */
    uint64_t timeout_ns;       /* of grpc-timeout; 0: none */
    struct td_kept *kept;      /* header values beyond `head` */
    char *body;                /* `small` or of the heap */
    char *answer;              /* as well */
    const char *refusal;       /* why it is answered by us when its headers are complete; NULL: not */
    uint32_t refusal_status;   /* of gRPC */
    uint32_t refusal_code;     /* of HTTP */
    uint32_t body_size, body_room;
    uint32_t answer_size, answer_sent;
    uint32_t message_size;     /* from the prefix of a gRPC message */
    uint32_t header_bytes;     /* decoded so far, names and values and 32 each */
    int32_t id;
    uint16_t head_size;
    uint8_t prefix[5];
    uint8_t prefix_size;
    uint8_t list;
    uint8_t is_live;    /* not in the free list */
    uint8_t is_waiting; /* in the queue */
    uint8_t is_headed;  /* its headers are complete */
    uint8_t is_ended;   /* END_STREAM has come */
    uint8_t is_head_request;
    uint8_t is_dropped; /* reset by us */
    char head[TD_HEAD_BYTES];
    char small[TD_SMALL_BYTES];
};

typedef struct {
    td_stream *first, *last;
} td_list;

typedef enum { TD_UNDECIDED, TD_HTTP1, TD_HTTP2 } td_kind;

struct td_connection {
    td_transport *transport;
    td_connection *before, *after; /* of all that are open */
    td_connection *next_ready;     /* to be read without waiting for an event */
    td_connection *next_dirty;     /* to be flushed */
    nghttp2_session *session;
    td_stream *current;            /* HTTP/2: of the last frame; HTTP/1.1: the request that is read or answered */
    td_list lists[TD_NUM_LISTS];
    char *in;                      /* bytes of an incomplete preface or HTTP/1.1 request */
    char *out;                     /* what the socket did not take yet */
    uint64_t since_ns;             /* adopted, or the last request complete */
    uint64_t taken_ns;             /* the socket took bytes */
    uint64_t closing_ns;           /* drain notice sent, or shut down for writing */
    uint64_t held;                 /* heap bytes of its streams and buffers */
    uint64_t noise_ns, resets_ns;  /* when the buckets were filled up */
    int32_t noise, resets;         /* left in the buckets */
    uint32_t in_size, in_room;
    uint32_t out_start, out_size, out_room;
    uint32_t num_streams;
    uint32_t num_continuations;
    uint32_t block_bytes;          /* of the header block that is read, decoded */
    uint32_t left;                 /* HTTP/1.1: bytes of the body or chunk to come */
    uint32_t scanned;              /* HTTP/1.1: of `in` without an end of the headers */
    uint32_t trailer_bytes;
    int descriptor;
    uint8_t kind;
    uint8_t step;        /* of http1.c */
    uint8_t is_ready, is_dirty;
    uint8_t is_blocked;  /* the socket is full */
    uint8_t is_hung;     /* the other side has shut down: read to the end */
    uint8_t is_paused;   /* there may be more to read; `td_resume` reads it */
    uint8_t is_final;    /* no more requests; closes when its answers are sent */
    uint8_t is_noticed;  /* HTTP/2: the drain notice is out */
    uint8_t is_flood;
    uint8_t is_shut;     /* shut down for writing; what comes is thrown away until the other side closes */
    uint8_t is_closed;   /* in the graveyard */
    uint8_t keeps_alive; /* HTTP/1.1: after this request */
};

typedef struct {
    int descriptor;
    int slot;
} td_watched;

enum { TD_POOL_CLASSES = 8, TD_POOL_BATCH = 32 };

typedef struct td_chunk {
    struct td_chunk *next;
    size_t unused; /* keeps the alignment */
    char bytes[];
} td_chunk;

/* Pieces of memory for nghttp2: free ones by size, in steps of 64 bytes. It grows to what was needed at most. */
typedef struct {
    struct td_piece *free[TD_POOL_CLASSES];
    td_chunk *chunks;
} td_pool;

struct td_transport {
    td_limits limits;
    td_transport_counts *counts;
    int epoll;
    uint64_t now; /* read once a poll */
    td_call *first_waiting, **last_waiting;
    uint32_t num_waiting, num_taken, num_connections;
    uint8_t is_draining;
    td_connection *connections;
    td_connection *ready, *dirty, *graveyard;
    td_stream *free_streams;
    struct td_slab *slabs;
    uint64_t held_most;   /* of one connection: one client must not take what all share */
    uint64_t held;        /* heap bytes of all connections, and those of streams whose client has gone */
    uint64_t sweep_ns, next_sweep_ns;
    td_pool pool;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    td_watched watched[4];
    uint8_t *input;       /* of TD_INPUT_BYTES */
    uint8_t *output;      /* of 2 * TD_OUTPUT_BYTES */
};

#define TD_TEXT(literal) ((td_bytes){(literal), sizeof(literal) - 1})

/* Whether `size` bytes are the literal: lengths first. */
#define TD_IS(data, size, literal) ((size) == sizeof(literal) - 1 && !memcmp(data, literal, sizeof(literal) - 1))

/* ---------------------------------------------------------------- memory.c */

/* Counts bytes that a connection holds, or a call whose client has gone (NULL). */
void td_hold(td_transport *transport, td_connection *connection, int64_t bytes);
/* Grows or makes a buffer of the connection, at most doubling what is needed. 0, or -1: no memory. */
int td_reserve(td_connection *connection, char **buffer, uint32_t *room, uint64_t size);
void td_release(td_connection *connection, char **buffer, uint32_t *room);

nghttp2_mem td_pool_functions(td_pool *pool);
void td_pool_free(td_pool *pool);

/* ---------------------------------------------------------------- stream.c */

/* A stream in the list of those that are received; NULL: no memory. */
td_stream *td_stream_new(td_connection *connection);
/* Out of its connection and all memory; a waiting or taken call's stream only after it was answered. */
void td_stream_release(td_stream *stream);
/* Its client takes no answer any more. */
void td_stream_abandon(td_stream *stream);
void td_stream_move(td_stream *stream, uint8_t list);
/* A copy that lives as long as the stream. 0, or -1: no memory. */
int td_stream_keep(td_stream *stream, td_bytes *kept, const void *data, size_t size);
/* 0, or -1: no memory, or more than this connection may hold. */
int td_stream_append(td_stream *stream, const void *data, size_t size);
/* Room for an answer of `size` bytes; `call.body` may stay in use. NULL: no memory. */
char *td_stream_answer(td_stream *stream, size_t size);
void td_stream_drop_body(td_stream *stream);
/* Queues it as a call. 0, or -1: the queue is full, nothing was done. */
int td_stream_complete(td_stream *stream);
/* Keeps x-request-id where it is a good one. */
int td_stream_keep_id(td_stream *stream, const void *data, size_t size);
void td_lists_abandon(td_connection *connection);
void td_streams_free(td_transport *transport);

/* ---------------------------------------------------------------- loop.c */

void td_dirty(td_connection *connection);     /* something is to be sent */
void td_resume(td_connection *connection);    /* read where a pause or a call in progress stopped it */
void td_close(td_connection *connection);     /* at once; its calls go nowhere */
/* One token of a bucket; -1: it is empty. */
int td_spend(int32_t *left, uint64_t *filled_ns, uint64_t now, int32_t burst, int32_t per_s);

/* ---------------------------------------------------------------- http1.c and http2.c */

/* New bytes, or none: then what is in `in`. */
void td_http1_read(td_connection *connection, const char *data, size_t size);
int td_http1_answer(td_stream *stream, uint32_t code, td_bytes content_type, td_bytes body);
/* Answers with an error and closes. */
void td_http1_refuse(td_connection *connection, uint32_t code, const char *why);
void td_http1_end(td_connection *connection); /* the client sends no more */

/* 0, or -1: the library cannot do it, `why` set. */
int td_http2_init(td_transport *transport, const char **why);
void td_http2_free(td_transport *transport);
int td_http2_start(td_connection *connection);
void td_http2_read(td_connection *connection, const uint8_t *data, size_t size);
/* Frames for at most about TD_OUTPUT_BYTES; 0: none left. Negative: the connection is broken. */
int64_t td_http2_gather(td_connection *connection, uint8_t *output);
int td_http2_is_over(td_connection *connection);
int td_http2_answer_grpc(td_stream *stream, uint32_t status, td_bytes text, td_bytes message);
int td_http2_answer_http(td_stream *stream, uint32_t code, td_bytes content_type, td_bytes body);
void td_http2_reset(td_stream *stream, uint32_t error);
void td_http2_goaway(td_connection *connection, uint32_t error); /* the final one; open streams go on */
void td_http2_notice(td_connection *connection);                 /* the first one of a drain */

#endif
