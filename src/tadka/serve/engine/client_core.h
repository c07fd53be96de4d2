/* What the parts of the client know of each other: client.c has the loop, client_http1.c and client_http2.c the protocols. */

#ifndef TADKA_SERVE_CLIENT_CORE_H
#define TADKA_SERVE_CLIENT_CORE_H

#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <stddef.h>

#include "client.h"

enum {
    TD_OUT_BYTES = 192 << 10,
    TD_IN_BYTES = 256 << 10,
    TD_MAX_ANSWER_BYTES = 64 << 20,
    TD_SMALL_ANSWER = 192,
    TD_MAX_ATTEMPTS = 5,
    TD_NO_STATUS = -1
};

typedef struct td_connection td_connection;

/* One request in flight. */
typedef struct td_slot {
    struct td_slot *next;        /* in flight, oldest first; or free ones of the connection */
    struct td_slot *previous;
    td_connection *connection;
    uint64_t due_ns;             /* latency counts from here */
    uint64_t sent_ns;            /* the time limit, from here */
    uint32_t message;
    uint32_t num_sent;           /* bytes of the body given away */
    int32_t stream;
    int16_t http_status;
    int16_t grpc_status;
    uint8_t num_attempts;
    uint8_t is_busy;
    uint8_t is_settled;          /* its outcome is counted; only the stream is left to close */
    uint8_t is_counted;          /* due after the warm-up */
    uint8_t is_grpc;             /* by its content type */
    uint8_t is_broken;           /* the answer is too long */
    uint16_t text_size;
    uint32_t answer_size;
    uint32_t answer_room;
    char *answer;                /* `small`, or memory of its own */
    char text[TD_COMPLAINT_SIZE];
    char small[TD_SMALL_ANSWER];
} td_slot;

enum { TD_CLOSED, TD_CONNECTING, TD_OPEN };

struct td_connection {
    td_client *client;
    int descriptor;
    int state;
    uint8_t is_usable;           /* open, and not going away: its free slots may be used */
    uint8_t is_dirty;            /* listed: has something to send */
    uint8_t is_blocked;          /* the socket took no more: EPOLLOUT is watched */
    uint8_t is_dead;             /* to be closed once nobody works on it */
    uint64_t retry_at_ns;        /* when closed */
    uint64_t opened_ns;          /* of the attempt */
    uint64_t pause_ns;           /* before the next attempt */
    td_slot *slots;
    td_slot *free;
    uint32_t num_free;
    uint32_t num_busy;
    char *out;
    uint32_t out_start;
    uint32_t out_end;
    nghttp2_session *session;
    td_slot *last;               /* of the last frame */
    int32_t last_stream;
    struct td_http1 *http1;
};

typedef struct {
    uint64_t due_ns;
    uint32_t message;
    uint8_t num_attempts;
    uint8_t is_counted;
} td_again;

struct td_client {
    td_target target;
    struct sockaddr_storage address;
    socklen_t address_size;
    int epoll;
    int has_fine_wait;
    td_connection *connections;
    td_connection **dirty;
    uint32_t num_dirty;
    uint32_t cursor;             /* open loop: the connection that is asked next */
    uint64_t num_free;           /* slots of usable connections */
    uint32_t num_usable;
    td_slot *oldest;             /* in flight */
    td_slot *newest;
    uint64_t num_in_flight;
    td_again *again;             /* to be sent again */
    uint32_t num_again;
    uint32_t next_message;
    char *in;
    td_piece *answers;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *options;
    nghttp2_nv *headers;
    size_t num_headers;
    char *http1_head;
    uint32_t http1_head_size;
    /* the run */
    td_schedule schedule;
    int phase;
    uint64_t now_ns;
    double due_at_ns;            /* open loop: the next request; fractions add up at high rates */
    uint64_t origin_ns;
    uint64_t started;
    uint64_t random;
    uint64_t end_ns;             /* nothing is due after it */
    uint64_t cpu_begun_ns;
    uint64_t last_answer_ns;
    uint64_t next_tick_ns;
    td_results results;
    td_histogram second;         /* of the current second */
    uint32_t seconds_room;
};

/* client.c */
void td_settle(td_slot *slot, uint32_t reset_code);       /* the stream has closed: counts it, frees the slot, goes on */
void td_lose(td_slot *slot);                              /* the same where the connection ended */
int td_try_again(td_slot *slot);                          /* the server did no work on it; 0: too often */
void td_answer_add(td_slot *slot, const char *data, size_t size);
void td_set_usable(td_connection *connection, int is_usable);
void td_mark_dirty(td_connection *connection);

/* Of each protocol: 0, or -1 where the connection is to be closed. `fill` puts what is to be sent behind out_end. */
int td_http2_open(td_connection *connection);
void td_http2_close(td_connection *connection);
int td_http2_start(td_connection *connection, td_slot *slot);
int td_http2_read(td_connection *connection, const char *data, size_t size);
int td_http2_fill(td_connection *connection);
int td_http2_is_over(td_connection *connection);          /* nothing more to read or send: a broken protocol, or GOAWAY */
void td_http2_cancel(td_connection *connection, td_slot *slot);
int td_http2_prepare(td_client *client);                  /* once; -1: no memory */

int td_http1_open(td_connection *connection);
void td_http1_close(td_connection *connection);
int td_http1_start(td_connection *connection, td_slot *slot);
int td_http1_read(td_connection *connection, const char *data, size_t size);
int td_http1_fill(td_connection *connection);
void td_http1_end(td_connection *connection);             /* the server closed: an answer without a length is complete */
int td_http1_prepare(td_client *client);

#endif
