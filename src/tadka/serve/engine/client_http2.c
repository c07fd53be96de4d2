/* HTTP/2 of the client: nghttp2 does frames, HPACK and flow control. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client_core.h"

enum { FRAME_ROOM = 16384 + 9 + 24, PREFIX_BYTES = 5 };

static nghttp2_nv pair(const char *name, size_t name_size, const char *value, size_t value_size) {
    /* Names and values never move, so nghttp2 need not copy them. */
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, name_size, value_size,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

#define PAIR(name, value) pair(name, sizeof(name) - 1, value, sizeof(value) - 1)

static int is(const uint8_t *data, size_t size, const char *text) {
    return size == strlen(text) && !memcmp(data, text, size);
}

/* ---- what nghttp2 tells */

static td_slot *slot_of(td_connection *connection, int32_t stream) {
    if (stream != connection->last_stream) {
        connection->last = nghttp2_session_get_stream_user_data(connection->session, stream);
        connection->last_stream = stream;
    }
    return connection->last;
}

static int number(const uint8_t *data, size_t size) {
    int value = 0;
    if (!size || size > 3) return TD_NO_STATUS;
    for (size_t i = 0; i < size; i++) {
        if (data[i] < '0' || data[i] > '9') return TD_NO_STATUS;
        value = value * 10 + (data[i] - '0');
    }
    return value;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
    (void)session, (void)flags;
    td_slot *slot = slot_of(user, frame->hd.stream_id);
    if (!slot) return 0;
    switch (name_size) {
        case 7:
            if (is(name, name_size, ":status")) slot->http_status = (int16_t)number(value, value_size);
            break;
        case 11:
            if (is(name, name_size, "grpc-status")) slot->grpc_status = (int16_t)number(value, value_size);
            break;
        case 12:
            if (is(name, name_size, "content-type")) {
                slot->is_grpc = value_size >= 16 && !memcmp(value, "application/grpc", 16);
            } else if (is(name, name_size, "grpc-message")) {
                slot->text_size = (uint16_t)(value_size < TD_COMPLAINT_SIZE ? value_size : TD_COMPLAINT_SIZE);
                memcpy(slot->text, value, slot->text_size);
            }
            break;
        default: break;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
                   void *user) {
    (void)session, (void)flags;
    td_slot *slot = slot_of(user, stream);
    if (slot) td_answer_add(slot, (const char *)data, size);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user) {
    (void)session;
    td_connection *connection = user;
    td_slot *slot = slot_of(connection, stream);
    connection->last_stream = 0;
    connection->last = NULL;
    if (!slot) return 0;
    if (code == NGHTTP2_REFUSED_STREAM && !slot->is_settled && td_try_again(slot)) return 0;
    td_settle(slot, code);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)session;
    td_connection *connection = user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        connection->client->results.goaways++;
        td_set_usable(connection, 0);
    }
    return 0;
}

static ssize_t give_body(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
    (void)session, (void)stream, (void)user;
    td_slot *slot = source->ptr;
    const td_target *target = &slot->connection->client->target;
    const td_piece *message = &target->messages[slot->message];
    uint32_t prefix = target->protocol == TD_CLIENT_GRPC ? PREFIX_BYTES : 0;
    size_t at = 0;
    if (slot->num_sent < prefix) {
        if (room < prefix) return NGHTTP2_ERR_DEFERRED; /* not seen: a window of less than 5 bytes */
        buffer[0] = 0;
        for (int i = 0; i < 4; i++) buffer[1 + i] = (uint8_t)(message->size >> (24 - 8 * i));
        slot->num_sent = prefix;
        at = prefix;
    }
    size_t left = message->size - (slot->num_sent - prefix);
    size_t part = left < room - at ? left : room - at;
    if (part) memcpy(buffer + at, message->data + (slot->num_sent - prefix), part);
    slot->num_sent += (uint32_t)part;
    if (part == left) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)(at + part);
}

/* ---- once for all connections */

int td_http2_prepare(td_client *client) {
    const td_target *target = &client->target;
    if (nghttp2_session_callbacks_new(&client->callbacks) || nghttp2_option_new(&client->options)) return -1;
    nghttp2_session_callbacks_set_on_header_callback(client->callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(client->callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(client->callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(client->callbacks, on_frame);
    nghttp2_option_set_no_closed_streams(client->options, 1);
    client->headers = calloc(8 + target->num_headers, sizeof *client->headers);
    if (!client->headers) return -1;
    nghttp2_nv *next = client->headers;
    *next++ = PAIR(":method", "POST");
    *next++ = PAIR(":scheme", "http");
    *next++ = pair(":path", 5, target->path.data, target->path.size);
    *next++ = pair(":authority", 10, target->authority.data, target->authority.size);
    if (target->protocol == TD_CLIENT_GRPC) {
        *next++ = PAIR("content-type", "application/grpc");
        *next++ = PAIR("te", "trailers");
    }
    for (uint32_t i = 0; i < target->num_headers; i++) {
        const td_header *header = &target->headers[i];
        *next++ = pair(header->name.data, header->name.size, header->value.data, header->value.size);
    }
    client->num_headers = (size_t)(next - client->headers);
    return 0;
}

/* ---- one connection */

int td_http2_open(td_connection *connection) {
    td_client *client = connection->client;
    if (nghttp2_session_client_new2(&connection->session, client->callbacks, connection, client->options)) return -1;
    /* Windows so large that answers never wait for us. */
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                         {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24}};
    connection->last_stream = 0;
    connection->last = NULL;
    if (nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 2)) return -1;
    return nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, 1 << 30) ? -1 : 0;
}

void td_http2_close(td_connection *connection) {
    nghttp2_session_del(connection->session);
    connection->session = NULL;
}

int td_http2_start(td_connection *connection, td_slot *slot) {
    const td_client *client = connection->client;
    nghttp2_data_provider body = {.source.ptr = slot, .read_callback = give_body};
    slot->stream = nghttp2_submit_request(connection->session, NULL, client->headers, client->num_headers, &body, slot);
    return slot->stream < 0 ? -1 : 0;
}

int td_http2_read(td_connection *connection, const char *data, size_t size) {
    ssize_t taken = nghttp2_session_mem_recv(connection->session, (const uint8_t *)data, size);
    return taken < 0 || (size_t)taken != size ? -1 : 0;
}

int td_http2_fill(td_connection *connection) {
    while (TD_OUT_BYTES - connection->out_end >= FRAME_ROOM) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(connection->session, &data);
        if (size < 0) return -1;
        if (!size) break;
        memcpy(connection->out + connection->out_end, data, (size_t)size);
        connection->out_end += (uint32_t)size;
    }
    return 0;
}

int td_http2_is_over(td_connection *connection) {
    return !nghttp2_session_want_read(connection->session) && !nghttp2_session_want_write(connection->session);
}

void td_http2_cancel(td_connection *connection, td_slot *slot) {
    nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, slot->stream, NGHTTP2_CANCEL);
    td_mark_dirty(connection);
}
