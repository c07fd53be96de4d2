/* HTTP/1.1 of the client: one request at a time on a connection that is kept; answers with a length, in chunks or to the end. */

#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client_core.h"

enum { HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILERS, TO_THE_END };
enum { MAX_HEAD_BYTES = 64 << 10 };

struct td_http1 {
    td_slot *slot;        /* the one in flight */
    int step;
    int is_last;          /* the server will close after this answer */
    uint64_t left;        /* of the body or chunk */
    uint32_t sent;        /* of head and body */
    uint32_t head_size;   /* of this request */
    char head[32];        /* its length, and the end of the head */
    char *held;           /* a part of a line or head that is not complete */
    size_t held_size;
    size_t held_room;
};

int td_http1_prepare(td_client *client) {
    const td_target *target = &client->target;
    size_t room = 256 + target->path.size + target->authority.size;
    for (uint32_t i = 0; i < target->num_headers; i++) {
        room += target->headers[i].name.size + target->headers[i].value.size + 4;
    }
    client->http1_head = malloc(room);
    if (!client->http1_head) return -1;
    int size = snprintf(client->http1_head, room, "POST %.*s HTTP/1.1\r\nHost: %.*s\r\n", (int)target->path.size,
                        target->path.data, (int)target->authority.size, target->authority.data);
    for (uint32_t i = 0; i < target->num_headers; i++) {
        const td_header *header = &target->headers[i];
        size += snprintf(client->http1_head + size, room - (size_t)size, "%.*s: %.*s\r\n", (int)header->name.size,
                         header->name.data, (int)header->value.size, header->value.data);
    }
    size += snprintf(client->http1_head + size, room - (size_t)size, "Content-Length: ");
    client->http1_head_size = (uint32_t)size;
    return 0;
}

int td_http1_open(td_connection *connection) {
    connection->http1 = calloc(1, sizeof *connection->http1);
    return connection->http1 ? 0 : -1;
}

void td_http1_close(td_connection *connection) {
    free(connection->http1->held);
    free(connection->http1);
    connection->http1 = NULL;
}

int td_http1_start(td_connection *connection, td_slot *slot) {
    struct td_http1 *state = connection->http1;
    uint32_t size = connection->client->target.messages[slot->message].size;
    state->slot = slot;
    state->step = HEAD;
    state->is_last = 0;
    state->sent = 0;
    state->head_size = (uint32_t)snprintf(state->head, sizeof state->head, "%u\r\n\r\n", size);
    return 0;
}

int td_http1_fill(td_connection *connection) {
    struct td_http1 *state = connection->http1;
    const td_client *client = connection->client;
    if (!state->slot) return 0;
    const td_piece *body = &client->target.messages[state->slot->message];
    const td_piece parts[3] = {
        {client->http1_head, client->http1_head_size}, {state->head, state->head_size}, {body->data, body->size}};
    uint32_t before = 0;
    for (int i = 0; i < 3; before += parts[i++].size) {
        if (state->sent >= before + parts[i].size) continue;
        uint32_t done = state->sent - before, left = parts[i].size - done;
        uint32_t room = TD_OUT_BYTES - connection->out_end, size = left < room ? left : room;
        memcpy(connection->out + connection->out_end, parts[i].data + done, size);
        connection->out_end += size;
        state->sent += size;
        if (size < left) break;
    }
    return 0;
}

/* ---- reading */

static int complete(td_connection *connection) {
    struct td_http1 *state = connection->http1;
    td_slot *slot = state->slot;
    int is_last = state->is_last;
    state->slot = NULL;
    state->step = HEAD;
    if (is_last) td_set_usable(connection, 0);
    td_settle(slot, 0); /* may start the next one */
    return is_last ? -1 : 0;
}

static int has_token(const char *value, size_t size, const char *token) {
    size_t length = strlen(token);
    for (size_t i = 0; i + length <= size; i++) {
        if (!strncasecmp(value + i, token, length)) return 1;
    }
    return 0;
}

/* A whole head, blank line included. */
static int take_head(td_connection *connection, const char *data, size_t size) {
    struct td_http1 *state = connection->http1;
    td_slot *slot = state->slot;
    const char *end = data + size;
    if (size < 13 || memcmp(data, "HTTP/1.", 7) || data[8] != ' ') return -1;
    int status = 0;
    for (int i = 9; i < 12; i++) {
        if (!isdigit((unsigned char)data[i])) return -1;
        status = status * 10 + (data[i] - '0');
    }
    if (status >= 100 && status < 200) return 0; /* an interim answer: the real one follows */
    slot->http_status = (int16_t)status;
    state->is_last = data[7] == '0';
    int has_length = 0, is_chunked = 0;
    for (const char *line = memchr(data, '\n', size); line && ++line < end; line = memchr(line, '\n', (size_t)(end - line))) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const char *colon = stop ? memchr(line, ':', (size_t)(stop - line)) : NULL;
        if (!colon) continue;
        size_t name_size = (size_t)(colon - line);
        const char *value = colon + 1;
        while (value < stop && (*value == ' ' || *value == '\t')) value++;
        size_t value_size = (size_t)(stop - value);
        if (name_size == 14 && !strncasecmp(line, "content-length", 14)) {
            has_length = 1;
            state->left = 0;
            for (const char *at = value; at < stop && isdigit((unsigned char)*at); at++) {
                if (state->left > TD_MAX_ANSWER_BYTES) return -1;
                state->left = state->left * 10 + (uint64_t)(*at - '0');
            }
        } else if (name_size == 17 && !strncasecmp(line, "transfer-encoding", 17)) {
            is_chunked = has_token(value, value_size, "chunked");
        } else if (name_size == 10 && !strncasecmp(line, "connection", 10)) {
            if (has_token(value, value_size, "close")) state->is_last = 1;
            if (has_token(value, value_size, "keep-alive")) state->is_last = 0;
        }
    }
    if (is_chunked) {
        state->step = CHUNK_SIZE;
    } else if (has_length || status == 204 || status == 304) {
        state->step = BODY;
        if (!has_length || status == 204 || status == 304) state->left = 0;
    } else {
        state->is_last = 1;
        state->step = TO_THE_END;
    }
    return 0;
}

/* Up to and with the next line feed, or the blank line after a head: its size, or 0 where it is not complete. */
static size_t line_size(const struct td_http1 *state, const char *data, size_t size) {
    if (state->step == HEAD) {
        const char *end = memmem(data, size, "\r\n\r\n", 4);
        return end ? (size_t)(end - data) + 4 : 0;
    }
    const char *end = memchr(data, '\n', size);
    return end ? (size_t)(end - data) + 1 : 0;
}

static int hexadecimal(const char *data, size_t size, uint64_t *value) {
    size_t i = 0;
    *value = 0;
    for (; i < size && isxdigit((unsigned char)data[i]); i++) {
        if (*value > TD_MAX_ANSWER_BYTES) return -1;
        int c = tolower((unsigned char)data[i]);
        *value = *value * 16 + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return i ? 0 : -1;
}

/* Bytes used, or -1. Uses less than `size` only where a line is not complete. */
static ssize_t parse(td_connection *connection, const char *data, size_t size) {
    struct td_http1 *state = connection->http1;
    size_t at = 0;
    /* A body of 0 bytes ends without any further byte. */
    while (at < size || (state->slot && state->step == BODY && !state->left)) {
        if (!state->slot) return -1; /* an answer nobody asked for */
        if (state->step == BODY || state->step == CHUNK || state->step == TO_THE_END) {
            size_t part = size - at;
            if (state->step != TO_THE_END && part > state->left) part = (size_t)state->left;
            td_answer_add(state->slot, data + at, part);
            at += part;
            if (state->step == TO_THE_END) continue;
            state->left -= part;
            if (state->left) continue;
            if (state->step == CHUNK) {
                state->step = CHUNK_END;
            } else if (complete(connection)) {
                return -1;
            }
            continue;
        }
        size_t line = line_size(state, data + at, size - at);
        if (!line) return size - at > MAX_HEAD_BYTES ? -1 : (ssize_t)at;
        if (state->step == HEAD) {
            if (take_head(connection, data + at, line)) return -1;
        } else if (state->step == CHUNK_SIZE) {
            if (hexadecimal(data + at, line, &state->left)) return -1;
            state->step = state->left ? CHUNK : TRAILERS;
        } else if (state->step == CHUNK_END) {
            if (line > 2) return -1;
            state->step = CHUNK_SIZE;
        } else if (line <= 2 && complete(connection)) { /* TRAILERS: the blank line */
            return -1;
        }
        at += line;
    }
    return (ssize_t)at;
}

static int hold(struct td_http1 *state, const char *data, size_t size) {
    if (!size) return 0;
    if (state->held_size + size > state->held_room) {
        size_t room = 2 * (state->held_size + size);
        char *larger = realloc(state->held, room);
        if (!larger) return -1;
        state->held = larger;
        state->held_room = room;
    }
    memcpy(state->held + state->held_size, data, size);
    state->held_size += size;
    return 0;
}

int td_http1_read(td_connection *connection, const char *data, size_t size) {
    struct td_http1 *state = connection->http1;
    if (!state->held_size) {
        ssize_t used = parse(connection, data, size);
        if (used < 0) return -1;
        return hold(state, data + used, size - (size_t)used);
    }
    if (hold(state, data, size)) return -1;
    ssize_t used = parse(connection, state->held, state->held_size);
    if (used < 0) return -1;
    state->held_size -= (size_t)used;
    memmove(state->held, state->held + used, state->held_size);
    return 0;
}

void td_http1_end(td_connection *connection) {
    if (connection->http1->slot && connection->http1->step == TO_THE_END) complete(connection);
}
