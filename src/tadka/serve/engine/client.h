/* A client that loads a server: many requests in flight over few connections, one thread, every answer read to its end.

   Closed loop: an answered request is followed by the next at once. Open loop: requests have times on a schedule, and their
   latency counts from there, however late they could be sent. Each counted request has exactly one outcome.
   The caller repeats: begin a run, step until it has ended, look at the results. Connections stay open between runs. */

#ifndef TADKA_SERVE_CLIENT_H
#define TADKA_SERVE_CLIENT_H

#include <stdint.h>

#include "histogram.h"

/* TD_CLIENT_GRPC: unary calls. TD_CLIENT_HTTP2: POST of the bytes alone. TD_CLIENT_HTTP1: the same over HTTP/1.1. */
enum { TD_CLIENT_GRPC, TD_CLIENT_HTTP2, TD_CLIENT_HTTP1 };

typedef struct {
    const char *data;
    uint32_t size;
} td_piece;

typedef struct {
    td_piece name;
    td_piece value;
} td_header;

/* What is sent where. All pointers stay the caller's, and must outlive the client. */
typedef struct {
    int protocol;
    uint32_t num_connections;
    uint32_t num_streams;        /* requests in flight on each; HTTP/1.1: 1 */
    uint64_t timeout_ns;         /* a request that is not answered by then is given up */
    td_piece authority;
    td_piece path;
    const td_header *headers;    /* beside those of the protocol; the same for every request */
    uint32_t num_headers;
    const td_piece *messages;    /* sent in turn, again and again */
    uint32_t num_messages;
    const td_piece *expected;    /* NULL, or num_sets x num_messages ends of right answers */
    uint32_t num_sets;           /* more than one: the answer's version modulo num_sets chooses */
    int reads_versions;          /* answers are tadka's Prediction messages, and their versions are counted */
    int keeps_answers;           /* the last one of each message */
} td_target;

typedef struct {
    double rate;                 /* requests a second; 0: closed loop */
    int is_random;               /* exponential gaps instead of equal ones */
    uint64_t seed;
    uint64_t warmup_ns;          /* what is sent before does not count */
    uint64_t run_ns;             /* 0: without end, until `count` requests are sent */
    uint64_t count;              /* 0: without limit */
    uint64_t max_backlog;        /* requests that wait for a free stream; the oldest are dropped and counted */
} td_schedule;

typedef struct {
    uint64_t ok;                 /* within this second of the run */
    uint64_t failed;
    uint64_t p50_ns;             /* of those that are ok */
    uint64_t p99_ns;
    uint64_t largest_ns;
} td_second;

enum { TD_MAX_VERSIONS = 4096, TD_MAX_COMPLAINTS = 16, TD_COMPLAINT_SIZE = 200 };

typedef struct {
    int status;                  /* of gRPC or HTTP */
    uint32_t size;
    uint64_t num;
    char text[TD_COMPLAINT_SIZE];
} td_complaint;

typedef struct {
    uint32_t version;
    uint64_t num;
} td_version_count;

/* sent = ok + wrong + malformed + timeouts + lost + sum(resets) + sum(grpc[1..]) + sum(http without 200, grpc: of those) */
typedef struct {
    uint64_t sent;
    uint64_t ok;
    uint64_t wrong;              /* well-formed, but not what was expected */
    uint64_t malformed;          /* no status, no message, a wrong length, another content type, too long */
    uint64_t timeouts;
    uint64_t lost;               /* their connection ended before their answer */
    uint64_t dropped;            /* due on the schedule and never sent */
    uint64_t retried;            /* refused before any work (GOAWAY, REFUSED_STREAM) and sent again; they count once */
    uint64_t in_window;          /* ok answers between begun_ns and ended_ns, whenever sent */
    uint64_t grpc[17];           /* by grpc-status, 0 too */
    uint64_t http[600];          /* by HTTP status; of gRPC only where it is not 200 */
    uint64_t resets[16];         /* RST_STREAM by error code */
    uint64_t goaways;
    uint64_t reconnects;
    uint64_t connect_failures;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t begun_ns;           /* CLOCK_MONOTONIC: end of the warm-up */
    uint64_t ended_ns;
    uint64_t cpu_ns;             /* of this thread between the two */
    td_histogram latency;        /* of ok answers, from due time to the read that ended them */
    td_version_count versions[TD_MAX_VERSIONS];
    uint32_t num_versions;
    td_complaint complaints[TD_MAX_COMPLAINTS];
    uint32_t num_complaints;
    td_second *seconds;
    uint32_t num_seconds;
} td_results;

typedef struct td_client td_client;

/* `ip` is a numeric address. NULL with `why` set where it cannot be made. */
td_client *td_client_new(const td_target *target, const char *ip, int port, const char **why);
void td_client_free(td_client *client);

void td_client_begin(td_client *client, const td_schedule *schedule);

/* Works until the run has ended (0), until about `until_ns` (1), or until something is broken (-errno). */
int td_client_step(td_client *client, uint64_t until_ns);

const td_results *td_client_results(const td_client *client);

/* The last answer to a message: gRPC without the prefix of five bytes. Data is NULL where there is none. */
td_piece td_client_answer(const td_client *client, uint32_t message);

uint64_t td_client_now_ns(void);

#endif
