#define _GNU_SOURCE
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull

enum { EVENTS = 256, NUM_WATCHED = 4 };

uint64_t td_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* ---------------------------------------------------------------- connections */

void td_dirty(td_connection *connection) {
    td_transport *const transport = connection->transport;
    if (connection->is_dirty || connection->is_closed) return;
    connection->is_dirty = 1;
    connection->next_dirty = transport->dirty;
    transport->dirty = connection;
}

static void make_ready(td_connection *connection) {
    td_transport *const transport = connection->transport;
    if (connection->is_ready || connection->is_closed) return;
    connection->is_ready = 1;
    connection->next_ready = transport->ready;
    transport->ready = connection;
}

void td_resume(td_connection *connection) {
    if (!connection->is_paused) return;
    connection->is_paused = 0;
    make_ready(connection);
}

int td_spend(int32_t *left, uint64_t *filled_ns, uint64_t now, int32_t burst, int32_t per_s) {
    if (*left > 0) {
        --*left;
        return 0;
    }
    /* Filled only when it is empty: the clock costs nothing on the way. */
    const uint64_t gained = (now - *filled_ns) / (SECOND / (uint64_t)per_s);
    if (!gained) return -1;
    *filled_ns = now;
    *left = (int32_t)(gained < (uint64_t)burst ? gained : (uint64_t)burst) - 1;
    return 0;
}

void td_close(td_connection *connection) {
    td_transport *const transport = connection->transport;
    if (connection->is_closed) return;
    for (td_stream *stream = connection->lists[TD_CALLED].first; stream; stream = stream->after)
        transport->counts->resets++;
    td_lists_abandon(connection);
    if (connection->session) nghttp2_session_del(connection->session);
    connection->session = NULL;
    td_release(connection, &connection->in, &connection->in_room);
    td_release(connection, &connection->out, &connection->out_room);
    /* Somebody else may hold the socket, such as a process that a model has forked. Closing it would then leave it in
       epoll, with a pointer to what is freed soon, and its client without an end. */
    (void)epoll_ctl(transport->epoll, EPOLL_CTL_DEL, connection->descriptor, NULL);
    (void)shutdown(connection->descriptor, SHUT_RDWR);
    close(connection->descriptor);
    connection->is_closed = 1;
    transport->counts->closed++;
    transport->num_connections--;
    *(connection->before ? &connection->before->after : &transport->connections) = connection->after;
    if (connection->after) connection->after->before = connection->before;
    td_hold(transport, connection, -(int64_t)sizeof *connection);
    /* Events and lists may still name it; `bury` frees it when they are done. */
    connection->after = transport->graveyard;
    transport->graveyard = connection;
}

/* Frees closed connections that no list names any more. */
static void bury(td_transport *transport) {
    td_connection **at = &transport->graveyard;
    while (*at) {
        td_connection *const connection = *at;
        if (connection->is_ready || connection->is_dirty) {
            at = &connection->after;
        } else {
            *at = connection->after;
            free(connection);
        }
    }
}

int td_transport_adopt(td_transport *transport, int descriptor) {
    const int flags = fcntl(descriptor, F_GETFL);
    const int on = 1;
    td_connection *connection = NULL;
    if (!transport->is_draining && transport->num_connections < transport->limits.max_connections && flags >= 0 &&
        fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0)
        connection = calloc(1, sizeof *connection);
    if (!connection) {
        close(descriptor);
        return -1;
    }
    /* A socket of another family has no such delay. */
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(transport->epoll, EPOLL_CTL_ADD, descriptor, &event)) {
        close(descriptor);
        free(connection);
        return -1;
    }
    connection->transport = transport;
    connection->descriptor = descriptor;
    connection->since_ns = connection->taken_ns = connection->noise_ns = connection->resets_ns = td_now_ns();
    connection->noise = TD_NOISE_BURST;
    connection->resets = TD_RESET_BURST;
    connection->after = transport->connections;
    if (connection->after) connection->after->before = connection;
    transport->connections = connection;
    transport->num_connections++;
    transport->counts->opened++;
    td_hold(transport, connection, sizeof *connection);
    return 0;
}

/* ---------------------------------------------------------------- writing */

/* Sends and counts. The bytes that were taken; -1: closed. */
static int64_t send_bytes(td_connection *connection, const void *data, size_t size) {
    td_transport *const transport = connection->transport;
    ssize_t sent;
    do sent = send(connection->descriptor, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            td_close(connection);
            return -1;
        }
        sent = 0;
    }
    if (sent > 0) connection->taken_ns = transport->now;
    connection->is_blocked = (size_t)sent < size;
    transport->counts->bytes_out += (uint64_t)sent;
    return sent;
}

/* What is left in `out`. 1: all sent, 0: not, -1: closed. */
static int send_rest(td_connection *connection) {
    while (connection->out_size) {
        const int64_t sent = send_bytes(connection, connection->out + connection->out_start, connection->out_size);
        if (sent < 0) return -1;
        connection->out_start += (uint32_t)sent;
        connection->out_size -= (uint32_t)sent;
        if (connection->is_blocked) return 0;
    }
    connection->out_start = 0;
    td_release(connection, &connection->out, &connection->out_room);
    return 1;
}

/* Ends the connection after all was sent: the client reads it to the end only if we do not close on bytes of its own. */
static void shut(td_connection *connection) {
    if (connection->is_shut) return;
    connection->is_shut = 1;
    connection->closing_ns = connection->transport->now;
    td_lists_abandon(connection);
    if (connection->session) nghttp2_session_del(connection->session);
    connection->session = NULL;
    td_release(connection, &connection->in, &connection->in_room);
    connection->in_size = 0;
    if (shutdown(connection->descriptor, SHUT_WR)) {
        td_close(connection);
        return;
    }
    connection->is_paused = 0;
    make_ready(connection); /* the other side may have closed long ago */
}

static void flush_connection(td_connection *connection) {
    td_transport *const transport = connection->transport;
    if (connection->is_closed || connection->is_shut || connection->is_blocked) return;
    if (send_rest(connection) != 1) return;
    while (connection->kind == TD_HTTP2 && connection->session) {
        const int64_t size = td_http2_gather(connection, transport->output);
        if (size < 0) {
            td_close(connection);
            return;
        }
        if (!size) break;
        const int64_t sent = send_bytes(connection, transport->output, (size_t)size);
        if (sent < 0) return;
        if (sent < size) {
            const uint32_t left = (uint32_t)(size - sent);
            if (td_reserve(connection, &connection->out, &connection->out_room, left)) {
                td_close(connection);
                return;
            }
            memcpy(connection->out, transport->output + sent, left);
            connection->out_start = 0;
            connection->out_size = left;
            return;
        }
        if (size < TD_OUTPUT_BYTES) break;
    }
    if (connection->kind == TD_HTTP2 ? td_http2_is_over(connection)
                                     : connection->is_final && !connection->lists[TD_CALLED].first)
        shut(connection);
    else
        td_resume(connection);
}

static void flush_all(td_transport *transport) {
    while (transport->dirty) {
        td_connection *const connection = transport->dirty;
        transport->dirty = connection->next_dirty;
        connection->is_dirty = 0;
        flush_connection(connection);
    }
}

void td_transport_flush(td_transport *transport) {
    flush_all(transport);
    if (transport->graveyard) bury(transport);
}

/* ---------------------------------------------------------------- reading */

static const char PREFACE[] = NGHTTP2_CLIENT_MAGIC;

/* HTTP/2 or HTTP/1.1, as soon as the first bytes tell. */
static void decide(td_connection *connection, const uint8_t *data, size_t size) {
    const size_t known = connection->in_size;
    size_t common = 0;
    while (common < size && known + common < NGHTTP2_CLIENT_MAGIC_LEN && (uint8_t)PREFACE[known + common] == data[common])
        common++;
    if (known + common == NGHTTP2_CLIENT_MAGIC_LEN) {
        connection->kind = TD_HTTP2;
        connection->in_size = 0;
        td_release(connection, &connection->in, &connection->in_room);
        if (td_http2_start(connection)) {
            td_close(connection);
            return;
        }
        td_http2_read(connection, (const uint8_t *)PREFACE, NGHTTP2_CLIENT_MAGIC_LEN);
        if (!connection->is_closed && size > common) td_http2_read(connection, data + common, size - common);
    } else if (common < size) {
        connection->kind = TD_HTTP1;
        td_http1_read(connection, (const char *)data, size);
    } else if (td_reserve(connection, &connection->in, &connection->in_room, known + size)) {
        td_close(connection);
    } else {
        memcpy(connection->in + known, data, size);
        connection->in_size = (uint32_t)(known + size);
    }
}

static void handle_end(td_connection *connection) {
    if (connection->kind == TD_HTTP1 && !connection->is_shut)
        td_http1_end(connection);
    else
        td_close(connection);
}

static void read_connection(td_connection *connection) {
    td_transport *const transport = connection->transport;
    if (connection->is_closed) return;
    /* Too much is held: first those wait who hold it, and all only where that was not enough. */
    if (transport->held > transport->limits.max_buffered_bytes &&
        (connection->held > TD_UNSENT_BYTES || transport->held / 2 > transport->limits.max_buffered_bytes)) {
        make_ready(connection);
        return;
    }
    if (connection->kind == TD_HTTP1 && !connection->is_shut) {
        /* One request at a time; what came behind it stands in `in`. */
        if (connection->in_size && !connection->lists[TD_CALLED].first && connection->out_size < TD_UNSENT_BYTES)
            td_http1_read(connection, NULL, 0);
        if (connection->is_closed || connection->is_shut) return;
        if (connection->lists[TD_CALLED].first || connection->out_size >= TD_UNSENT_BYTES) {
            connection->is_paused = 1;
            return;
        }
    } else if (connection->is_blocked && connection->held > TD_UNSENT_BYTES) {
        connection->is_paused = 1;
        return;
    }
    ssize_t size;
    do size = recv(connection->descriptor, transport->input, TD_INPUT_BYTES, 0);
    while (size < 0 && errno == EINTR);
    if (size <= 0) {
        if (size == 0)
            handle_end(connection);
        else if (errno != EAGAIN && errno != EWOULDBLOCK)
            td_close(connection);
        return;
    }
    transport->counts->bytes_in += (uint64_t)size;
    /* A short read has emptied the socket: epoll tells of what comes later. */
    if (size == TD_INPUT_BYTES || connection->is_hung) make_ready(connection);
    if (connection->is_shut) return;
    if (connection->kind == TD_HTTP2)
        td_http2_read(connection, transport->input, (size_t)size);
    else if (connection->kind == TD_HTTP1)
        td_http1_read(connection, (const char *)transport->input, (size_t)size);
    else
        decide(connection, transport->input, (size_t)size);
}

static void read_ready(td_transport *transport) {
    td_connection *ready = transport->ready;
    transport->ready = NULL;
    while (ready) {
        td_connection *const connection = ready;
        ready = connection->next_ready;
        connection->is_ready = 0;
        read_connection(connection);
    }
}

/* ---------------------------------------------------------------- time limits */

static int is_older(const td_transport *transport, uint64_t since_ns, uint64_t seconds) {
    return transport->now > since_ns && transport->now - since_ns > seconds * SECOND;
}

static void sweep_connection(td_connection *connection) {
    td_transport *const transport = connection->transport;
    const td_limits *const limits = &transport->limits;
    td_transport_counts *const counts = transport->counts;
    td_stream *stream;
    if (connection->is_shut) {
        if (is_older(transport, connection->closing_ns, 2)) td_close(connection);
        return;
    }
    if (connection->is_blocked && is_older(transport, connection->taken_ns, limits->write_s)) {
        counts->slow++;
        td_close(connection);
        return;
    }
    if (connection->kind != TD_HTTP2) {
        if (connection->lists[TD_CALLED].first || connection->out_size) return;
        stream = connection->lists[TD_RECEIVING].first;
        if (stream && is_older(transport, stream->since_ns, limits->request_s)) {
            counts->slow++;
            td_http1_refuse(connection, 408, "the request did not end in time");
        } else if (!stream && (connection->kind == TD_UNDECIDED || connection->in_size)) {
            if (!is_older(transport, connection->since_ns, limits->request_s)) return;
            counts->slow += connection->in_size > 0;
            counts->idle += connection->in_size == 0;
            td_close(connection);
        } else if (!stream && is_older(transport, connection->since_ns, limits->idle_s)) {
            counts->idle++;
            td_close(connection);
        }
        return;
    }
    while ((stream = connection->lists[TD_RECEIVING].first) && is_older(transport, stream->since_ns, limits->request_s)) {
        counts->slow++;
        if (!stream->is_headed) { /* no other stream can send before its headers end */
            td_http2_goaway(connection, NGHTTP2_ENHANCE_YOUR_CALM);
            flush_connection(connection);
            td_close(connection);
            return;
        }
        td_http2_reset(stream, NGHTTP2_CANCEL);
    }
    while ((stream = connection->lists[TD_ANSWERING].first) && is_older(transport, stream->since_ns, limits->write_s)) {
        counts->slow++;
        td_http2_reset(stream, NGHTTP2_CANCEL);
    }
    if (connection->is_noticed && !connection->is_final && is_older(transport, connection->closing_ns, 1))
        td_http2_goaway(connection, NGHTTP2_NO_ERROR);
    if (!connection->num_streams && !connection->is_final && is_older(transport, connection->since_ns, limits->idle_s)) {
        counts->idle++;
        td_http2_goaway(connection, NGHTTP2_NO_ERROR);
    }
    td_dirty(connection);
}

static void sweep(td_transport *transport) {
    td_connection *after;
    for (td_connection *connection = transport->connections; connection; connection = after) {
        after = connection->after;
        sweep_connection(connection);
    }
    transport->next_sweep_ns = transport->now + transport->sweep_ns;
}

/* ---------------------------------------------------------------- the caller's side */

static int wait_ms(const td_transport *transport, int64_t timeout_ns) {
    if (transport->num_waiting) return 0;
    if (transport->ready && transport->held <= transport->limits.max_buffered_bytes) return 0;
    if (transport->num_connections) {
        const uint64_t now = td_now_ns();
        const int64_t sweep_ns = transport->next_sweep_ns > now ? (int64_t)(transport->next_sweep_ns - now) : 0;
        if (timeout_ns < 0 || timeout_ns > sweep_ns) timeout_ns = sweep_ns;
    }
    if (timeout_ns < 0) return -1;
    const int64_t ms = (timeout_ns + 999999) / 1000000;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

int td_transport_poll(td_transport *transport, int64_t timeout_ns) {
    struct epoll_event events[EVENTS];
    int bits = 0;
    flush_all(transport);
    const int num = epoll_wait(transport->epoll, events, EVENTS, timeout_ns ? wait_ms(transport, timeout_ns) : 0);
    const uint64_t before = transport->now;
    transport->now = td_now_ns();
    if (num < 0 && errno != EINTR) return -errno;
    /* After a long time without polling, what clients sent meanwhile is read before they are judged. */
    if (transport->now - before > 2 * transport->sweep_ns) transport->next_sweep_ns = transport->now + 1;
    if (transport->ready) read_ready(transport);
    for (int k = 0; k < num; k++) {
        const uint32_t what = events[k].events;
        if ((uintptr_t)events[k].data.ptr >= (uintptr_t)transport->watched &&
            (uintptr_t)events[k].data.ptr < (uintptr_t)(transport->watched + NUM_WATCHED)) {
            bits |= 1 << ((td_watched *)events[k].data.ptr)->slot;
            continue;
        }
        td_connection *const connection = events[k].data.ptr;
        if (connection->is_closed) continue;
        if (what & (EPOLLERR | EPOLLHUP)) {
            /* Both directions are gone: no answer will arrive. */
            if (what & EPOLLERR || connection->kind != TD_HTTP2) {
                td_close(connection);
                continue;
            }
        }
        if (what & (EPOLLRDHUP | EPOLLHUP)) connection->is_hung = 1;
        if (what & EPOLLOUT && connection->is_blocked) {
            connection->is_blocked = 0;
            td_dirty(connection);
        }
        if (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP) && !connection->is_ready) read_connection(connection);
    }
    if (transport->now >= transport->next_sweep_ns) sweep(transport);
    if (transport->graveyard) bury(transport);
    return bits;
}

int td_transport_watch(td_transport *transport, int descriptor, int slot) {
    if (slot < 0 || slot >= NUM_WATCHED) return -1;
    td_watched *const watched = &transport->watched[slot];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = watched};
    if (watched->descriptor >= 0) (void)epoll_ctl(transport->epoll, EPOLL_CTL_DEL, watched->descriptor, NULL);
    watched->descriptor = -1;
    if (descriptor < 0) return 0;
    if (epoll_ctl(transport->epoll, EPOLL_CTL_ADD, descriptor, &event)) return -1;
    watched->descriptor = descriptor;
    return 0;
}

td_call *td_transport_take(td_transport *transport) {
    for (;;) {
        td_call *const call = transport->first_waiting;
        if (!call) return NULL;
        transport->first_waiting = call->next;
        if (!call->next) transport->last_waiting = &transport->first_waiting;
        transport->num_waiting--;
        ((td_stream *)call)->is_waiting = 0;
        if (!call->is_gone) {
            call->next = NULL;
            transport->num_taken++;
            return call;
        }
        td_stream_release((td_stream *)call);
    }
}

uint32_t td_transport_num_waiting(const td_transport *transport) { return transport->num_waiting; }
uint32_t td_transport_num_taken(const td_transport *transport) { return transport->num_taken; }
uint32_t td_transport_num_connections(const td_transport *transport) { return transport->num_connections; }

int td_answer_grpc(td_transport *transport, td_call *call, uint32_t status, td_bytes text, td_bytes message) {
    td_stream *const stream = (td_stream *)call;
    transport->num_taken--;
    if (!stream->connection) {
        td_stream_release(stream);
        return 0;
    }
    return td_http2_answer_grpc(stream, status, text, message);
}

int td_answer_http(td_transport *transport, td_call *call, uint32_t code, td_bytes content_type, td_bytes body) {
    td_stream *const stream = (td_stream *)call;
    transport->num_taken--;
    if (!stream->connection) {
        td_stream_release(stream);
        return 0;
    }
    if (stream->connection->kind == TD_HTTP1) return td_http1_answer(stream, code, content_type, body);
    return td_http2_answer_http(stream, code, content_type, body);
}

void td_transport_drain(td_transport *transport) {
    td_connection *after;
    if (transport->is_draining) return;
    transport->is_draining = 1;
    transport->now = td_now_ns();
    for (td_connection *connection = transport->connections; connection; connection = after) {
        after = connection->after;
        if (connection->is_shut) continue;
        if (connection->kind == TD_HTTP2) {
            td_http2_notice(connection);
        } else if (!connection->num_streams && !connection->in_size) {
            /* Between two requests. What is already in the socket is lost; its client sees a closed connection, and repeats it. */
            connection->is_final = 1;
            td_dirty(connection);
        }
    }
    td_transport_flush(transport);
}

/* ---------------------------------------------------------------- birth and death */

static int is_good(const td_limits *limits) {
    return limits->max_message_bytes > 0 && limits->max_message_bytes <= (1u << 30) && limits->max_header_bytes > 0 &&
           limits->max_connections > 0 && limits->max_streams > 0 && limits->max_queue > 0 &&
           limits->max_buffered_bytes > 0 && limits->request_s > 0 && limits->idle_s > 0 && limits->write_s > 0;
}

td_transport *td_transport_new(const td_limits *limits, td_transport_counts *counts, const char **why) {
    td_transport *const transport = calloc(1, sizeof *transport);
    *why = "out of memory";
    if (!transport) return NULL;
    transport->epoll = -1;
    transport->limits = *limits;
    transport->counts = counts;
    const uint64_t least = (uint64_t)limits->max_message_bytes + (1 << 20); /* one of the largest, and what it hangs on */
    transport->held_most = limits->max_buffered_bytes / 4 > least ? limits->max_buffered_bytes / 4 : least;
    transport->last_waiting = &transport->first_waiting;
    transport->input = malloc(TD_INPUT_BYTES);
    transport->output = malloc(2 * TD_OUTPUT_BYTES);
    for (int slot = 0; slot < NUM_WATCHED; slot++) transport->watched[slot] = (td_watched){-1, slot};
    uint64_t shortest = limits->request_s < limits->idle_s ? limits->request_s : limits->idle_s;
    if (limits->write_s < shortest) shortest = limits->write_s;
    transport->sweep_ns = shortest >= 4 ? SECOND : shortest * SECOND / 4;
    transport->now = td_now_ns();
    transport->next_sweep_ns = transport->now + transport->sweep_ns;
    if (!is_good(limits)) {
        *why = "a limit is zero or too large";
    } else if (!transport->input || !transport->output) {
        *why = "out of memory";
    } else if ((transport->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        *why = strerror(errno);
    } else if (td_http2_init(transport, why) == 0) {
        *why = NULL;
        return transport;
    }
    td_transport_free(transport);
    return NULL;
}

void td_transport_free(td_transport *transport) {
    if (!transport) return;
    while (transport->connections) td_close(transport->connections);
    for (td_connection *connection = transport->graveyard; connection;) {
        td_connection *const after = connection->after;
        free(connection);
        connection = after;
    }
    td_streams_free(transport);
    td_http2_free(transport);
    td_pool_free(&transport->pool);
    if (transport->epoll >= 0) close(transport->epoll);
    free(transport->input);
    free(transport->output);
    free(transport);
}
