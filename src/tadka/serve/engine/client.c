/* The loop of the client: connections, the schedule, time limits and the counts. */

#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client_core.h"

enum { CONNECTING, WARMING, MEASURING, DRAINING, DONE };
enum { NUM_EVENTS = 64 };

static const uint64_t SECOND = 1000000000ull, TICK = 20000000ull;
static const uint64_t FIRST_PAUSE = 10000000ull, LONGEST_PAUSE = 500000000ull;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

uint64_t td_client_now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* ---------------------------------------------------------------- outcomes */

static void flush_second(td_client *client) {
    td_results *results = &client->results;
    if (!results->num_seconds || !client->second.num) return;
    td_second *second = &results->seconds[results->num_seconds - 1];
    second->p50_ns = td_histogram_quantile(&client->second, 0.5);
    second->p99_ns = td_histogram_quantile(&client->second, 0.99);
    second->largest_ns = client->second.largest;
    td_histogram_clear(&client->second);
}

/* The current second of the run; NULL where there is no memory for it. */
static td_second *second_of(td_client *client) {
    td_results *results = &client->results;
    uint64_t index = (client->now_ns - results->begun_ns) / SECOND;
    if (index < results->num_seconds) return &results->seconds[results->num_seconds - 1];
    flush_second(client);
    if (index >= client->seconds_room) {
        uint32_t room = (uint32_t)index * 2 + 64;
        td_second *larger = realloc(results->seconds, room * sizeof *larger);
        if (!larger) return NULL;
        results->seconds = larger;
        client->seconds_room = room;
    }
    memset(&results->seconds[results->num_seconds], 0, (index + 1 - results->num_seconds) * sizeof(td_second));
    results->num_seconds = (uint32_t)index + 1;
    return &results->seconds[index];
}

static void complain(td_client *client, int status, const char *text, size_t size) {
    td_results *results = &client->results;
    if (size > TD_COMPLAINT_SIZE) size = TD_COMPLAINT_SIZE;
    for (uint32_t i = 0; i < results->num_complaints; i++) {
        td_complaint *known = &results->complaints[i];
        if (known->status == status && known->size == size && !memcmp(known->text, text, size)) {
            known->num++;
            return;
        }
    }
    if (results->num_complaints == TD_MAX_COMPLAINTS) return;
    td_complaint *added = &results->complaints[results->num_complaints++];
    added->status = status;
    added->size = (uint32_t)size;
    added->num = 1;
    memcpy(added->text, text, size);
}

static int varint(const uint8_t **at, const uint8_t *end, uint64_t *value) {
    *value = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return 0;
    }
    return -1;
}

/* One field of a protobuf message; length-delimited ones in `content` and `value` (their size). 1, 0 at the end, -1 damaged. */
static int field(const uint8_t **at, const uint8_t *end, uint32_t *number, const uint8_t **content, uint64_t *value) {
    uint64_t tag;
    if (*at == end) return 0;
    if (varint(at, end, &tag)) return -1;
    *number = (uint32_t)(tag >> 3);
    *content = NULL;
    *value = 0;
    uint64_t size = tag % 8 == 1 ? 8 : tag % 8 == 5 ? 4 : 0;
    if (tag % 8 == 0) return varint(at, end, value) ? -1 : 1;
    if (tag % 8 == 2) {
        if (varint(at, end, &size)) return -1;
        *content = *at;
        *value = size;
    } else if (!size) {
        return -1;
    }
    if (size > (uint64_t)(end - *at)) return -1;
    *at += size;
    return 1;
}

/* Prediction.scores[].version, counted; the last one. 0 where the message is damaged or names none. */
static uint32_t count_versions(td_client *client, const uint8_t *at, size_t size) {
    const uint8_t *end = at + size, *score, *inner;
    uint32_t number, version = 0;
    uint64_t length, value;
    int found;
    while ((found = field(&at, end, &number, &score, &length)) > 0) {
        if (number != 2 || !score) continue;
        const uint8_t *stop = score + length;
        int is_field;
        version = 0;
        while ((is_field = field(&score, stop, &number, &inner, &value)) > 0) {
            if (number == 2 && !inner) version = (uint32_t)value;
        }
        if (is_field < 0 || !version) return 0;
        td_results *results = &client->results;
        uint32_t i = results->num_versions;
        while (i && results->versions[i - 1].version != version) i--;
        if (!i) {
            if (results->num_versions == TD_MAX_VERSIONS) return 0;
            i = ++results->num_versions;
            results->versions[i - 1] = (td_version_count){version, 0};
        }
        results->versions[i - 1].num++;
    }
    return found < 0 ? 0 : version;
}

static void keep(td_client *client, uint32_t message, td_piece answer) {
    td_piece *kept = &client->answers[message];
    char *room = realloc((void *)kept->data, answer.size ? answer.size : 1);
    if (!room) return;
    memcpy(room, answer.data, answer.size);
    *kept = (td_piece){room, answer.size};
}

static int is_expected(const td_client *client, uint32_t message, uint32_t version, td_piece answer) {
    const td_target *target = &client->target;
    if (!target->expected) return 1;
    uint32_t set = target->num_sets > 1 ? version % target->num_sets : 0;
    const td_piece *wanted = &target->expected[(uint64_t)set * target->num_messages + message];
    return answer.size >= wanted->size && !memcmp(answer.data + answer.size - wanted->size, wanted->data, wanted->size);
}

/* Counts the outcome of an answer that is complete; whether it is a good one. */
static int judge(td_slot *slot, uint32_t reset_code) {
    td_client *client = slot->connection->client;
    td_results *results = &client->results;
    int is_grpc = client->target.protocol == TD_CLIENT_GRPC;
    td_piece answer = {slot->answer, slot->answer_size};
    if (reset_code && slot->grpc_status == TD_NO_STATUS) {
        results->resets[reset_code < 16 ? reset_code : 15]++;
        return 0;
    }
    if (slot->http_status != 200 && !(is_grpc && slot->grpc_status > 0)) {
        if (slot->http_status < 0 || slot->http_status >= 600) {
            results->malformed++;
            return 0;
        }
        results->http[slot->http_status]++;
        complain(client, slot->http_status, answer.data, answer.size);
        return 0;
    }
    if (is_grpc) {
        if (slot->grpc_status > 0) {
            results->grpc[slot->grpc_status < 17 ? slot->grpc_status : 2]++; /* others are UNKNOWN */
            complain(client, slot->grpc_status, slot->text, slot->text_size);
            return 0;
        }
        const uint8_t *prefix = (const uint8_t *)answer.data;
        uint64_t size = answer.size < 5 ? 0
                                        : ((uint64_t)prefix[1] << 24 | (uint64_t)prefix[2] << 16 |
                                           (uint64_t)prefix[3] << 8 | (uint64_t)prefix[4]) + 5;
        if (slot->grpc_status || !slot->is_grpc || slot->is_broken || size != answer.size || !size || prefix[0]) {
            results->malformed++;
            return 0;
        }
        answer.data += 5;
        answer.size -= 5;
    } else if (slot->is_broken) {
        results->malformed++;
        return 0;
    }
    uint32_t version = 0;
    if (client->target.reads_versions && !(version = count_versions(client, (const uint8_t *)answer.data, answer.size))) {
        results->malformed++;
        return 0;
    }
    if (client->target.keeps_answers) keep(client, slot->message, answer);
    if (!is_expected(client, slot->message, version, answer)) {
        results->wrong++;
        return 0;
    }
    if (is_grpc) {
        results->grpc[0]++;
    } else {
        results->http[200]++;
    }
    results->ok++;
    return 1;
}

static void count(td_slot *slot, uint32_t reset_code) {
    td_client *client = slot->connection->client;
    int is_in_run = client->phase == MEASURING || client->phase == DRAINING;
    if (!slot->is_counted) {
        /* Sent in the warm-up; an answer within the window is work done in it all the same. */
        int is_good = client->target.protocol == TD_CLIENT_GRPC ? !slot->grpc_status : slot->http_status == 200;
        if (client->phase == MEASURING && is_good) client->results.in_window++;
        return;
    }
    if (!is_in_run) return;
    int is_ok = judge(slot, reset_code);
    td_second *second = second_of(client);
    if (!is_ok) {
        if (second) second->failed++;
        return;
    }
    uint64_t latency = client->now_ns > slot->due_ns ? client->now_ns - slot->due_ns : 0;
    td_histogram_add(&client->results.latency, latency);
    td_histogram_add(&client->second, latency);
    if (second) second->ok++;
    if (client->now_ns <= client->end_ns) client->results.in_window++;
}

static void fail(td_slot *slot, uint64_t *counter) {
    td_client *client = slot->connection->client;
    if (!slot->is_counted) return;
    ++*counter;
    td_second *second = second_of(client);
    if (second) second->failed++;
}

/* ---------------------------------------------------------------- requests in flight */

static void unlink_slot(td_slot *slot) {
    td_client *client = slot->connection->client;
    *(slot->previous ? &slot->previous->next : &client->oldest) = slot->next;
    *(slot->next ? &slot->next->previous : &client->newest) = slot->previous;
    client->num_in_flight--;
}

static void release(td_slot *slot) {
    td_connection *connection = slot->connection;
    if (!slot->is_settled) unlink_slot(slot);
    if (slot->answer != slot->small) {
        free(slot->answer);
        slot->answer = slot->small;
        slot->answer_room = TD_SMALL_ANSWER;
    }
    slot->is_busy = 0;
    slot->next = connection->free;
    connection->free = slot;
    connection->num_free++;
    connection->num_busy--;
    if (connection->is_usable) connection->client->num_free++;
}

static double gap_ns(td_client *client) {
    double mean = (double)SECOND / client->schedule.rate;
    if (!client->schedule.is_random) return mean;
    uint64_t mixed = client->random += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebull;
    mixed ^= mixed >> 31;
    return -mean * log(((double)(mixed >> 11) + 0.5) * 0x1p-53);
}

static int is_open_loop(const td_client *client) { return client->schedule.rate > 0; }

static uint64_t due_ns(const td_client *client) { return client->origin_ns + (uint64_t)client->due_at_ns; }

/* Whether the schedule has another request at or before now. */
static int is_due(const td_client *client) {
    if (client->phase == CONNECTING || client->phase == DONE) return 0;
    if (client->schedule.count && client->started >= client->schedule.count) return 0;
    if (!is_open_loop(client)) return client->phase != DRAINING;
    uint64_t due = due_ns(client);
    return due <= client->now_ns && due < client->end_ns;
}

/* The next request to send. 0: nothing yet. */
static int next_request(td_client *client, td_again *request) {
    if (client->num_again) {
        *request = client->again[--client->num_again];
        return 1;
    }
    if (!is_due(client)) return 0;
    request->due_ns = is_open_loop(client) ? due_ns(client) : client->now_ns;
    request->is_counted = client->phase != WARMING && request->due_ns >= client->results.begun_ns;
    request->num_attempts = 0;
    request->message = client->next_message;
    if (++client->next_message == client->target.num_messages) client->next_message = 0;
    if (is_open_loop(client)) client->due_at_ns += gap_ns(client);
    if (request->is_counted) {
        client->started++;
        client->results.sent++;
    }
    return 1;
}

static void start(td_connection *connection, const td_again *request) {
    td_client *client = connection->client;
    td_slot *slot = connection->free;
    connection->free = slot->next;
    connection->num_free--;
    connection->num_busy++;
    client->num_free--;
    slot->next = NULL;
    slot->previous = client->newest;
    *(client->newest ? &client->newest->next : &client->oldest) = slot;
    client->newest = slot;
    client->num_in_flight++;
    slot->due_ns = request->due_ns;
    slot->sent_ns = client->now_ns;
    slot->message = request->message;
    slot->num_attempts = request->num_attempts;
    slot->is_counted = request->is_counted;
    slot->num_sent = 0;
    slot->http_status = slot->grpc_status = TD_NO_STATUS;
    slot->is_busy = 1;
    slot->is_settled = slot->is_grpc = slot->is_broken = 0;
    slot->text_size = 0;
    slot->answer_size = 0;
    int failed = client->target.protocol == TD_CLIENT_HTTP1 ? td_http1_start(connection, slot)
                                                            : td_http2_start(connection, slot);
    if (failed) connection->is_dead = 1;
    td_mark_dirty(connection);
}

static void go_on(td_connection *connection) {
    td_again request;
    while (connection->is_usable && connection->num_free && !connection->is_dead &&
           next_request(connection->client, &request)) {
        start(connection, &request);
    }
}

void td_settle(td_slot *slot, uint32_t reset_code) {
    td_connection *connection = slot->connection;
    if (!slot->is_settled) {
        count(slot, reset_code);
        connection->client->last_answer_ns = connection->client->now_ns;
        connection->pause_ns = 0;
    }
    release(slot);
    go_on(connection);
    if (!connection->is_usable && !connection->num_busy) {
        connection->is_dead = 1; /* it was going away, and this was its last one */
        td_mark_dirty(connection);
    }
}

void td_lose(td_slot *slot) {
    if (!slot->is_settled) fail(slot, &slot->connection->client->results.lost);
    release(slot);
}

int td_try_again(td_slot *slot) {
    td_connection *connection = slot->connection;
    td_client *client = connection->client;
    if (slot->num_attempts + 1 >= TD_MAX_ATTEMPTS) return 0;
    client->again[client->num_again++] =
        (td_again){slot->due_ns, slot->message, (uint8_t)(slot->num_attempts + 1), slot->is_counted};
    if (slot->is_counted) client->results.retried++;
    release(slot);
    if (connection->is_usable || connection->num_busy) return 1;
    connection->is_dead = 1;
    td_mark_dirty(connection);
    return 1;
}

void td_answer_add(td_slot *slot, const char *data, size_t size) {
    if (slot->answer_size + size > slot->answer_room) {
        size_t room = 2 * (slot->answer_size + size);
        char *larger = room <= TD_MAX_ANSWER_BYTES ? malloc(room) : NULL;
        if (!larger) {
            slot->is_broken = 1;
            return;
        }
        memcpy(larger, slot->answer, slot->answer_size);
        if (slot->answer != slot->small) free(slot->answer);
        slot->answer = larger;
        slot->answer_room = (uint32_t)room;
    }
    memcpy(slot->answer + slot->answer_size, data, size);
    slot->answer_size += (uint32_t)size;
}

/* ---------------------------------------------------------------- connections */

void td_set_usable(td_connection *connection, int is_usable) {
    if (connection->is_usable == is_usable) return;
    td_client *client = connection->client;
    connection->is_usable = (uint8_t)is_usable;
    if (is_usable) {
        client->num_free += connection->num_free;
        client->num_usable++;
        return;
    }
    client->num_free -= connection->num_free;
    client->num_usable--;
    if (!connection->num_busy) { /* nothing to wait for */
        connection->is_dead = 1;
        td_mark_dirty(connection);
    }
}

void td_mark_dirty(td_connection *connection) {
    if (connection->is_dirty) return;
    connection->is_dirty = 1;
    connection->client->dirty[connection->client->num_dirty++] = connection;
}

static void watch(td_connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(connection->client->epoll, operation, connection->descriptor, &event);
}

static void close_connection(td_connection *connection) {
    td_client *client = connection->client;
    if (connection->state == TD_CLOSED) return;
    if (connection->state == TD_CONNECTING) client->results.connect_failures++;
    int was_open = connection->state == TD_OPEN;
    connection->state = TD_CLOSED;
    td_set_usable(connection, 0);
    close(connection->descriptor);
    connection->descriptor = -1;
    if (was_open) (client->target.protocol == TD_CLIENT_HTTP1 ? td_http1_close : td_http2_close)(connection);
    for (uint32_t i = 0; i < client->target.num_streams; i++) {
        if (connection->slots[i].is_busy) td_lose(&connection->slots[i]);
    }
    connection->is_dead = connection->is_blocked = 0;
    connection->out_start = connection->out_end = 0;
    connection->retry_at_ns = client->now_ns + connection->pause_ns;
    uint64_t longer = connection->pause_ns ? 2 * connection->pause_ns : FIRST_PAUSE;
    connection->pause_ns = longer < LONGEST_PAUSE ? longer : LONGEST_PAUSE;
    client->next_tick_ns = client->now_ns;
}

static void opened(td_connection *connection) {
    td_client *client = connection->client;
    connection->state = TD_OPEN;
    watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    if (client->phase != CONNECTING) client->results.reconnects++;
    if ((client->target.protocol == TD_CLIENT_HTTP1 ? td_http1_open : td_http2_open)(connection)) {
        connection->is_dead = 1;
    } else {
        td_set_usable(connection, 1);
        go_on(connection);
    }
    td_mark_dirty(connection);
}

static void open_connection(td_connection *connection) {
    td_client *client = connection->client;
    int yes = 1;
    connection->opened_ns = client->now_ns;
    connection->descriptor = socket(client->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->descriptor < 0) {
        client->results.connect_failures++;
        connection->retry_at_ns = client->now_ns + LONGEST_PAUSE;
        return;
    }
    setsockopt(connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    connection->state = TD_CONNECTING;
    int status = connect(connection->descriptor, (struct sockaddr *)&client->address, client->address_size);
    watch(connection, EPOLL_CTL_ADD, EPOLLOUT);
    if (!status) {
        opened(connection);
    } else if (errno != EINPROGRESS) {
        close_connection(connection);
    }
}

static void send_all(td_connection *connection) {
    td_client *client = connection->client;
    if (connection->state != TD_OPEN) return;
    int (*fill)(td_connection *) = client->target.protocol == TD_CLIENT_HTTP1 ? td_http1_fill : td_http2_fill;
    while (!connection->is_dead) {
        if (fill(connection)) break;
        if (connection->out_start == connection->out_end) {
            connection->out_start = connection->out_end = 0;
            if (connection->is_blocked) watch(connection, EPOLL_CTL_MOD, EPOLLIN);
            connection->is_blocked = 0;
            int is_http2 = client->target.protocol != TD_CLIENT_HTTP1;
            if (connection->is_dead || (is_http2 && td_http2_is_over(connection))) break;
            return;
        }
        ssize_t sent = send(connection->descriptor, connection->out + connection->out_start,
                            connection->out_end - connection->out_start, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (!connection->is_blocked) watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            connection->is_blocked = 1;
            return;
        }
        if (sent < 0) break;
        client->results.bytes_out += (uint64_t)sent;
        connection->out_start += (uint32_t)sent;
        if (connection->out_start == connection->out_end) connection->out_start = connection->out_end = 0;
    }
    close_connection(connection);
}

static void receive(td_connection *connection) {
    td_client *client = connection->client;
    int is_http1 = client->target.protocol == TD_CLIENT_HTTP1;
    for (;;) {
        ssize_t size = recv(connection->descriptor, client->in, TD_IN_BYTES, 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        client->now_ns = td_client_now_ns();
        if (!size && is_http1) td_http1_end(connection);
        if (size <= 0) break;
        client->results.bytes_in += (uint64_t)size;
        if ((is_http1 ? td_http1_read : td_http2_read)(connection, client->in, (size_t)size)) break;
        td_mark_dirty(connection); /* also for acknowledgements and window updates */
        if (size < TD_IN_BYTES) return;
    }
    close_connection(connection);
}

static void on_event(td_connection *connection, uint32_t events) {
    if (connection->state == TD_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(connection->descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error || !(events & EPOLLOUT)) {
            close_connection(connection);
        } else {
            opened(connection);
        }
        return;
    }
    if (connection->state == TD_OPEN && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(connection);
    if (events & EPOLLOUT) td_mark_dirty(connection);
}

/* ---------------------------------------------------------------- the loop */

static void send_dirty(td_client *client) {
    while (client->num_dirty) {
        td_connection *connection = client->dirty[--client->num_dirty];
        connection->is_dirty = 0;
        send_all(connection);
    }
}

/* Open loop, and what is to be sent again: the connections take turns. */
static void send_due(td_client *client) {
    td_again request;
    while (client->num_free && (client->num_again || is_due(client))) {
        td_connection *connection;
        do {
            connection = &client->connections[client->cursor];
            if (++client->cursor == client->target.num_connections) client->cursor = 0;
        } while (!connection->is_usable || !connection->num_free);
        if (connection->is_dead || !next_request(client, &request)) return;
        start(connection, &request);
    }
    if (!is_open_loop(client)) return;
    double most = (double)client->schedule.max_backlog * (double)SECOND / client->schedule.rate;
    while (is_due(client) && (double)(client->now_ns - due_ns(client)) > most) {
        if (due_ns(client) >= client->results.begun_ns && client->phase != WARMING) {
            client->results.dropped++;
            client->started++;
        }
        client->due_at_ns += gap_ns(client);
    }
}

static void tick(td_client *client) {
    uint64_t timeout = client->target.timeout_ns;
    client->next_tick_ns = client->now_ns + TICK;
    while (client->oldest && client->oldest->sent_ns + timeout <= client->now_ns) {
        td_slot *slot = client->oldest;
        td_connection *connection = slot->connection;
        fail(slot, &client->results.timeouts);
        unlink_slot(slot);
        slot->is_settled = 1;
        if (client->target.protocol == TD_CLIENT_HTTP1 || connection->is_blocked) {
            connection->is_dead = 1;
            td_mark_dirty(connection);
        } else {
            td_http2_cancel(connection, slot);
        }
    }
    for (uint32_t i = 0; i < client->target.num_connections; i++) {
        td_connection *connection = &client->connections[i];
        if (connection->state == TD_CLOSED && connection->retry_at_ns <= client->now_ns) open_connection(connection);
        if (connection->state == TD_CONNECTING && connection->opened_ns + timeout <= client->now_ns) {
            close_connection(connection);
        }
    }
}

static void begin_measuring(td_client *client) {
    client->phase = MEASURING;
    client->results.begun_ns = client->origin_ns + client->schedule.warmup_ns;
    client->cpu_begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    client->results.bytes_in = client->results.bytes_out = 0;
}

static void begin_draining(td_client *client) {
    client->phase = DRAINING;
    client->results.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - client->cpu_begun_ns;
    if (client->end_ns > client->now_ns) client->end_ns = client->now_ns;
    client->results.ended_ns = client->end_ns;
}

/* Counts what the schedule still has and nobody will send. */
static void drop_rest(td_client *client) {
    while (client->num_again) {
        if (client->again[--client->num_again].is_counted) client->results.lost++;
    }
    if (client->schedule.count && client->started < client->schedule.count) {
        client->results.dropped += client->schedule.count - client->started;
    } else if (is_open_loop(client)) {
        for (; due_ns(client) < client->end_ns; client->due_at_ns += gap_ns(client)) client->results.dropped++;
    }
}

/* Moves the run on by the clock. -errno where no connection could be made at all. */
static int advance(td_client *client) {
    const td_schedule *schedule = &client->schedule;
    uint64_t timeout = client->target.timeout_ns;
    if (client->phase == CONNECTING) {
        int is_late = client->now_ns > client->origin_ns + timeout;
        if (client->num_usable < client->target.num_connections && !is_late) return 0;
        if (!client->num_usable) return -ECONNREFUSED;
        client->origin_ns = client->last_answer_ns = client->now_ns;
        client->end_ns = schedule->run_ns ? client->origin_ns + schedule->warmup_ns + schedule->run_ns : UINT64_MAX;
        client->phase = WARMING;
        if (!schedule->warmup_ns) begin_measuring(client);
        for (uint32_t i = 0; i < client->target.num_connections && !is_open_loop(client); i++) {
            go_on(&client->connections[i]);
        }
    }
    if (client->phase == WARMING && client->now_ns >= client->origin_ns + schedule->warmup_ns) begin_measuring(client);
    if (client->phase == MEASURING) {
        int is_all = schedule->count && client->started >= schedule->count && !client->num_in_flight && !client->num_again;
        /* A server that answers nothing any more: without an end of its own the run would last very long. */
        int is_stuck = !schedule->run_ns && client->now_ns > client->last_answer_ns + 2 * timeout + SECOND;
        if (is_all || is_stuck || client->now_ns >= client->end_ns) begin_draining(client);
    }
    if (client->phase == DRAINING) {
        int is_late = client->now_ns > client->end_ns + timeout;
        if (!is_late && (client->num_in_flight || client->num_again || is_due(client))) return 0;
        while (client->oldest) { /* sent in the last moment before */
            td_slot *slot = client->oldest;
            fail(slot, &client->results.timeouts);
            unlink_slot(slot);
            slot->is_settled = 1;
            slot->connection->is_dead = 1;
            td_mark_dirty(slot->connection);
        }
        drop_rest(client);
        flush_second(client);
        client->phase = DONE;
    }
    return 0;
}

static int wait_for(td_client *client, struct epoll_event *events, uint64_t until_ns) {
    uint64_t next = until_ns < client->next_tick_ns ? until_ns : client->next_tick_ns;
    if (client->end_ns < next && client->phase != DRAINING) next = client->end_ns;
    if (is_open_loop(client) && client->num_free && client->phase != CONNECTING && due_ns(client) < next &&
        due_ns(client) < client->end_ns) {
        next = due_ns(client);
    }
    uint64_t now = td_client_now_ns(), left = next > now ? next - now : 0;
    struct timespec span = {(time_t)(left / SECOND), (long)(left % SECOND)};
#ifdef SYS_epoll_pwait2
    if (client->has_fine_wait) {
        long found = syscall(SYS_epoll_pwait2, client->epoll, events, NUM_EVENTS, &span, NULL, (size_t)0);
        if (found >= 0 || errno != ENOSYS) return (int)found;
        client->has_fine_wait = 0;
    }
#endif
    /* epoll_wait itself knows milliseconds only. */
    struct pollfd descriptor = {client->epoll, POLLIN, 0};
    int ready = ppoll(&descriptor, 1, &span, NULL);
    return ready <= 0 ? ready : epoll_wait(client->epoll, events, NUM_EVENTS, 0);
}

static int work(td_client *client, uint64_t until_ns) {
    struct epoll_event events[NUM_EVENTS];
    for (;;) {
        client->now_ns = td_client_now_ns();
        int status = advance(client);
        if (status) return status;
        if (client->phase == DONE) {
            send_dirty(client);
            return 0;
        }
        if (client->now_ns >= until_ns) return 1;
        if (client->now_ns >= client->next_tick_ns) tick(client);
        if (is_open_loop(client) || client->num_again) send_due(client);
        send_dirty(client);
        int num = wait_for(client, events, until_ns);
        if (num < 0 && errno != EINTR) return -errno;
        client->now_ns = td_client_now_ns();
        for (int i = 0; i < num; i++) on_event(events[i].data.ptr, events[i].events);
        send_dirty(client);
    }
}

int td_client_step(td_client *client, uint64_t until_ns) {
    if (client->phase == DONE) return 0;
    /* Timers of a thread are late by 50 microseconds unless it asks for better. */
    int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    int status = work(client, until_ns);
    prctl(PR_SET_TIMERSLACK, slack > 0 ? slack : 0, 0, 0, 0);
    return status;
}

void td_client_begin(td_client *client, const td_schedule *schedule) {
    td_second *seconds = client->results.seconds;
    memset(&client->results, 0, sizeof client->results);
    memset(&client->second, 0, sizeof client->second);
    client->results.seconds = seconds;
    client->schedule = *schedule;
    client->phase = CONNECTING;
    client->now_ns = client->origin_ns = client->next_tick_ns = td_client_now_ns();
    client->end_ns = UINT64_MAX;
    client->started = 0;
    client->num_again = 0;
    client->due_at_ns = 0;
    client->random = schedule->seed;
    /* Connections that were closed since the last run are opened again first. */
    struct epoll_event events[NUM_EVENTS];
    int num = epoll_wait(client->epoll, events, NUM_EVENTS, 0);
    for (int i = 0; i < num; i++) on_event(events[i].data.ptr, events[i].events);
    send_dirty(client);
}

/* ---------------------------------------------------------------- its life */

static int prepare(td_client *client) {
    const td_target *target = &client->target;
    uint64_t num_slots = (uint64_t)target->num_connections * target->num_streams;
    client->connections = calloc(target->num_connections, sizeof *client->connections);
    client->dirty = calloc(target->num_connections, sizeof(td_connection *));
    client->again = calloc(num_slots, sizeof *client->again);
    client->in = malloc(TD_IN_BYTES);
    if (!client->connections || !client->dirty || !client->again || !client->in) return -1;
    for (uint32_t i = 0; i < target->num_connections; i++) client->connections[i].descriptor = -1;
    if (target->keeps_answers && !(client->answers = calloc(target->num_messages, sizeof(td_piece)))) return -1;
    for (uint32_t i = 0; i < target->num_connections; i++) {
        td_connection *connection = &client->connections[i];
        connection->client = client;
        connection->out = malloc(TD_OUT_BYTES);
        connection->slots = calloc(target->num_streams, sizeof(td_slot));
        if (!connection->out || !connection->slots) return -1;
        for (uint32_t j = 0; j < target->num_streams; j++) {
            td_slot *slot = &connection->slots[j];
            slot->connection = connection;
            slot->answer = slot->small;
            slot->answer_room = TD_SMALL_ANSWER;
            slot->next = connection->free;
            connection->free = slot;
        }
        connection->num_free = target->num_streams;
    }
    return (target->protocol == TD_CLIENT_HTTP1 ? td_http1_prepare : td_http2_prepare)(client);
}

td_client *td_client_new(const td_target *target, const char *ip, int port, const char **why) {
    td_client *client = calloc(1, sizeof *client);
    *why = "no memory";
    if (!client) return NULL;
    client->target = *target;
    client->phase = DONE;
    client->has_fine_wait = 1;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&client->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&client->address;
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (client->epoll < 0 || prepare(client)) {
        td_client_free(client);
        return NULL;
    }
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        client->address_size = sizeof *v4;
    } else if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        client->address_size = sizeof *v6;
    } else {
        *why = "not a numeric address";
        td_client_free(client);
        return NULL;
    }
    return client;
}

void td_client_free(td_client *client) {
    const td_target *target = &client->target;
    client->phase = DONE;
    client->now_ns = td_client_now_ns();
    for (uint32_t i = 0; client->connections && i < target->num_connections; i++) {
        td_connection *connection = &client->connections[i];
        if (connection->slots) close_connection(connection);
        free(connection->slots);
        free(connection->out);
    }
    for (uint32_t i = 0; client->answers && i < target->num_messages; i++) free((void *)client->answers[i].data);
    nghttp2_session_callbacks_del(client->callbacks);
    nghttp2_option_del(client->options);
    free(client->connections);
    free(client->dirty);
    free(client->again);
    free(client->in);
    free(client->answers);
    free(client->headers);
    free(client->http1_head);
    free(client->results.seconds);
    if (client->epoll >= 0) close(client->epoll);
    free(client);
}

const td_results *td_client_results(const td_client *client) { return &client->results; }

td_piece td_client_answer(const td_client *client, uint32_t message) {
    return client->answers ? client->answers[message] : (td_piece){NULL, 0};
}
