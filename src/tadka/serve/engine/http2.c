#include "connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Older libraries lack these; newer ones of a distribution have them under an old version number. So the linker is asked. */
extern void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option *, uint64_t, uint64_t) __attribute__((weak));
extern void nghttp2_option_set_max_continuations(nghttp2_option *, size_t) __attribute__((weak));

enum {
    STREAM_WINDOW = 1 << 20,     /* bytes of one request that may be on their way */
    CONNECTION_WINDOW = 4 << 20, /* of all of a connection */
    MAX_TEXT_BYTES = 1024,       /* of a grpc-message; clients refuse long headers */
    PREFIX_BYTES = 5,            /* of a gRPC message: compressed or not, and its size, big endian */
    SETTING_NO_PRIORITIES = 9,   /* RFC 9218 */
};

static const uint8_t DRAIN_PING[8] = "tadka-dr";

#define NV_FLAGS (NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE)
#define NV(name, value) {(uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, NV_FLAGS}
/* A value that changes from answer to answer: copied, and kept out of the client's table. */
#define NV_VALUE(name, value, size) \
    {(uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, (size), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX}

static const nghttp2_nv GRPC_HEADERS[] = {NV(":status", "200"), NV("content-type", "application/grpc")};
static const nghttp2_nv GRPC_TRAILERS[] = {NV("grpc-status", "0")};

/* ---------------------------------------------------------------- floods */

static int flood(td_connection *connection) {
    connection->is_flood = 1;
    return NGHTTP2_ERR_CALLBACK_FAILURE; /* `td_http2_read` closes */
}

static int is_noisy(td_connection *connection) {
    return td_spend(&connection->noise, &connection->noise_ns, connection->transport->now, TD_NOISE_BURST, TD_NOISE_PER_S);
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *header, void *user) {
    td_connection *const connection = user;
    (void)session;
    if (header->type == NGHTTP2_HEADERS) {
        connection->num_continuations = 0;
        connection->block_bytes = 0;
    } else if (header->type == NGHTTP2_CONTINUATION) {
        if (++connection->num_continuations > TD_MAX_CONTINUATIONS) return flood(connection);
    } else if (header->type != NGHTTP2_DATA || !header->length) {
        if (is_noisy(connection)) return flood(connection);
    }
    return 0;
}

/* ---------------------------------------------------------------- answers */

static int fail(td_stream *stream) {
    td_http2_reset(stream, NGHTTP2_INTERNAL_ERROR);
    return -1;
}

void td_http2_reset(td_stream *stream, uint32_t error) {
    td_connection *const connection = stream->connection;
    stream->is_dropped = 1;
    td_stream_move(stream, TD_ANSWERING); /* until the library says that it is closed */
    if (nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, stream->id, error)) {
        connection->is_flood = 1; /* no memory for one frame: nothing can be saved */
        nghttp2_session_terminate_session(connection->session, NGHTTP2_INTERNAL_ERROR);
    }
    td_dirty(connection);
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t room, uint32_t *flags,
                           nghttp2_data_source *source, void *user) {
    td_stream *const stream = source->ptr;
    td_connection *const connection = user;
    const uint32_t left = stream->answer_size - stream->answer_sent;
    const size_t size = left < room ? left : room;
    memcpy(buffer, stream->answer + stream->answer_sent, size);
    stream->answer_sent += (uint32_t)size;
    if (connection->noise < TD_NOISE_BURST) connection->noise++; /* for the window update that it is worth */
    if (size < left) {
        td_stream_move(stream, TD_ANSWERING); /* the client takes its answer: the youngest now */
        return (ssize_t)size;
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->call.protocol == TD_GRPC) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, id, GRPC_TRAILERS, 1)) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)size;
}

static int submit(td_stream *stream, const nghttp2_nv *headers, size_t num_headers, int has_body) {
    td_connection *const connection = stream->connection;
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_answer};
    td_stream_move(stream, TD_ANSWERING);
    if (nghttp2_submit_response(connection->session, stream->id, headers, num_headers, has_body ? &provider : NULL))
        return fail(stream);
    td_dirty(connection);
    return 0;
}

/* The text percent-encoded, at most MAX_TEXT_BYTES of it and no half character. The size. */
static size_t encode_text(td_bytes text, char *encoded) {
    static const char HEX[] = "0123456789ABCDEF";
    size_t size = 0;
    uint32_t end = text.size;
    if (end > MAX_TEXT_BYTES) {
        end = MAX_TEXT_BYTES;
        while (end && ((uint8_t)text.data[end] & 0xc0) == 0x80) end--;
    }
    for (uint32_t k = 0; k < end; k++) {
        const uint8_t byte = (uint8_t)text.data[k];
        /* A space at an end would not survive as a header value. */
        if (byte > 0x20 && byte < 0x7f && byte != '%') {
            encoded[size++] = (char)byte;
        } else if (byte == ' ' && k && k + 1 < end) {
            encoded[size++] = ' ';
        } else {
            encoded[size++] = '%';
            encoded[size++] = HEX[byte >> 4];
            encoded[size++] = HEX[byte & 15];
        }
    }
    return size;
}

static int answer_error(td_stream *stream, uint32_t status, td_bytes text) {
    char encoded[3 * MAX_TEXT_BYTES], number[12];
    const size_t size = encode_text(text, encoded);
    const int digits = snprintf(number, sizeof number, "%u", (unsigned)status);
    const nghttp2_nv headers[] = {GRPC_HEADERS[0], GRPC_HEADERS[1], NV_VALUE("grpc-status", number, (size_t)digits),
                                  NV_VALUE("grpc-message", encoded, size)};
    td_stream_drop_body(stream);
    return submit(stream, headers, size ? 4 : 3, 0);
}

int td_http2_answer_grpc(td_stream *stream, uint32_t status, td_bytes text, td_bytes message) {
    if (status) return answer_error(stream, status, text);
    char *const answer = td_stream_answer(stream, (size_t)message.size + PREFIX_BYTES);
    if (!answer) return fail(stream);
    if (message.size) memmove(answer + PREFIX_BYTES, message.data, message.size); /* it may be the request's own */
    answer[0] = 0;
    answer[1] = (char)(message.size >> 24);
    answer[2] = (char)(message.size >> 16);
    answer[3] = (char)(message.size >> 8);
    answer[4] = (char)message.size;
    td_stream_drop_body(stream);
    return submit(stream, GRPC_HEADERS, 2, 1);
}

int td_http2_answer_http(td_stream *stream, uint32_t code, td_bytes content_type, td_bytes body) {
    char status[12], length[12];
    const int status_size = snprintf(status, sizeof status, "%03u", (unsigned)(code % 1000));
    const int length_size = snprintf(length, sizeof length, "%u", (unsigned)body.size);
    const int has_content = code >= 200 && code != 204 && code != 304;
    const int has_body = has_content && body.size && !stream->is_head_request;
    const nghttp2_nv headers[] = {
        {(uint8_t *)":status", (uint8_t *)status, 7, (size_t)status_size, NGHTTP2_NV_FLAG_NO_COPY_NAME},
        NV_VALUE("content-length", length, (size_t)length_size),
        {(uint8_t *)"content-type", (uint8_t *)content_type.data, 12, content_type.size, NGHTTP2_NV_FLAG_NO_COPY_NAME},
    };
    if (has_body) {
        char *const answer = td_stream_answer(stream, body.size);
        if (!answer) return fail(stream);
        memmove(answer, body.data, body.size);
    }
    td_stream_drop_body(stream);
    return submit(stream, headers, has_content ? (content_type.size ? 3 : 2) : 1, has_body);
}

/* ---------------------------------------------------------------- requests */

/* Answers a request that is no call. What its client still sends of it is thrown away. */
static void refuse(td_stream *stream, uint32_t status, uint32_t code, const char *why) {
    const td_bytes text = {why, (uint32_t)strlen(why)};
    char body[256];
    stream->refusal = why;
    if (stream->call.protocol == TD_GRPC) {
        (void)answer_error(stream, status, text);
        return;
    }
    const int size = snprintf(body, sizeof body, "{\"error\": \"%s\"}", why);
    (void)td_http2_answer_http(stream, code, TD_TEXT("application/json"), (td_bytes){body, (uint32_t)size});
}

static void refuse_early(td_stream *stream, uint32_t status, uint32_t code, const char *why) {
    stream->connection->transport->counts->requests++;
    refuse(stream, status, code, why);
}

static void refuse_malformed(td_stream *stream, uint32_t status, const char *why) {
    stream->connection->transport->counts->malformed++;
    refuse_early(stream, status, 400, why);
}

/* Kept in mind until the headers are complete. The first reason stands. */
static void mark(td_stream *stream, uint32_t status, uint32_t code, const char *why) {
    if (stream->refusal) return;
    stream->refusal = why;
    stream->refusal_status = status;
    stream->refusal_code = code;
}

static int is_grpc(const uint8_t *value, size_t size) {
    const size_t grpc = sizeof "application/grpc" - 1;
    if (size < grpc || memcmp(value, "application/grpc", grpc)) return 0;
    return size == grpc || value[grpc] == ';' || TD_IS(value + grpc, size - grpc, "+proto") ||
           (size > grpc + 7 && !memcmp(value + grpc, "+proto;", 7));
}

/* At most 8 digits and a unit. 0 where it is neither; more than 10,000 years cannot be. */
static uint64_t parse_timeout(const uint8_t *value, size_t size) {
    uint64_t number = 0, unit;
    if (size < 2 || size > 9) return 0;
    for (size_t k = 0; k + 1 < size; k++) {
        if (value[k] < '0' || value[k] > '9') return 0;
        number = 10 * number + (uint64_t)(value[k] - '0');
    }
    switch (value[size - 1]) {
    case 'H': unit = 3600000000000; break;
    case 'M': unit = 60000000000; break;
    case 'S': unit = 1000000000; break;
    case 'm': unit = 1000000; break;
    case 'u': unit = 1000; break;
    case 'n': unit = 1; break;
    default: return 0;
    }
    const uint64_t most = UINT64_MAX / 4;
    if (number > most / unit) return most;
    return number ? number * unit : 1; /* a deadline that has passed */
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    td_connection *const connection = user;
    connection->current = NULL; /* trailers are read for nobody */
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    td_stream *const stream = td_stream_new(connection);
    if (!stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    stream->id = frame->hd.stream_id;
    connection->current = stream;
    return nghttp2_session_set_stream_user_data(session, stream->id, stream);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t size, uint8_t flags, void *user) {
    td_connection *const connection = user;
    td_stream *const stream = connection->current;
    const uint32_t most = connection->transport->limits.max_header_bytes;
    int failed = 0;
    (void)session, (void)frame, (void)flags;
    connection->block_bytes += (uint32_t)(name_size + size + 32);
    if (connection->block_bytes > most) {
        /* The table of the client makes one byte to thousands: that has an end too. */
        if (connection->block_bytes / 8 > most) return flood(connection);
        if (!stream) return 0;
        if (!stream->refusal) connection->transport->counts->refused_size++;
        mark(stream, TD_STATUS_RESOURCE_EXHAUSTED, 431, "the headers are larger than the server accepts");
    }
    if (!stream) return 0;
    td_call *const call = &stream->call;
    if (name_size == 12) {
        if (!memcmp(name, "content-type", 12)) {
            if (TD_IS(value, size, "application/grpc"))
                call->content_type = TD_TEXT("application/grpc");
            else if (connection->block_bytes <= most || is_grpc(value, size))
                failed = td_stream_keep(stream, &call->content_type, value, size);
        } else if (connection->block_bytes > most) {
            return 0;
        } else if (!memcmp(name, "grpc-timeout", 12)) {
            if (!(stream->timeout_ns = parse_timeout(value, size)))
                mark(stream, TD_STATUS_INTERNAL, 400, "grpc-timeout must be 1 to 8 digits and one of H M S m u n");
        } else if (!memcmp(name, "x-request-id", 12)) {
            failed = td_stream_keep_id(stream, value, size);
        } else if (!memcmp(name, "tadka-models", 12)) {
            failed = td_stream_keep(stream, &call->models, value, size);
        }
    } else if (connection->block_bytes > most) {
        return 0;
    } else if (name_size == 5 && !memcmp(name, ":path", 5)) {
        failed = td_stream_keep(stream, &call->path, value, size);
    } else if (name_size == 7 && !memcmp(name, ":method", 7)) {
        if (TD_IS(value, size, "POST"))
            call->method = TD_TEXT("POST");
        else
            failed = td_stream_keep(stream, &call->method, value, size);
    }
    return failed ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static void split_query(td_call *call) {
    const char *const mark = call->path.size ? memchr(call->path.data, '?', call->path.size) : NULL;
    if (!mark) return;
    const uint32_t path_size = (uint32_t)(mark - call->path.data);
    call->query = (td_bytes){mark + 1, call->path.size - path_size - 1};
    call->path.size = path_size;
}

static void headers_complete(td_stream *stream) {
    td_call *const call = &stream->call;
    stream->is_headed = 1;
    call->protocol = is_grpc((const uint8_t *)call->content_type.data, call->content_type.size) &&
                             (TD_IS(call->method.data, call->method.size, "POST") || stream->refusal)
                         ? TD_GRPC
                         : TD_HTTP;
    if (stream->timeout_ns) call->deadline_ns = stream->connection->transport->now + stream->timeout_ns;
    stream->is_head_request = TD_IS(call->method.data, call->method.size, "HEAD");
    if (call->protocol == TD_HTTP) split_query(call);
    if (stream->refusal) refuse_early(stream, stream->refusal_status, stream->refusal_code, stream->refusal);
}

static int refuse_size(td_stream *stream, const char *why) {
    stream->connection->transport->counts->refused_size++;
    refuse_early(stream, TD_STATUS_RESOURCE_EXHAUSTED, 413, why);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t size, void *user) {
    td_connection *const connection = user;
    td_stream *stream = connection->current;
    const uint32_t most = connection->transport->limits.max_message_bytes;
    (void)flags;
    if (!stream || stream->id != id) stream = nghttp2_session_get_stream_user_data(session, id);
    if (!stream || stream->list != TD_RECEIVING) return 0;
    connection->current = stream;
    if (stream->call.protocol == TD_HTTP) {
        if (size > most - stream->body_size) return refuse_size(stream, "the body is larger than the server accepts");
    } else {
        while (size && stream->prefix_size < PREFIX_BYTES) {
            stream->prefix[stream->prefix_size++] = *data++;
            size--;
            if (stream->prefix_size < PREFIX_BYTES) continue;
            const uint8_t *const prefix = stream->prefix;
            if (prefix[0]) {
                if (prefix[0] > 1)
                    refuse_malformed(stream, TD_STATUS_INTERNAL, "the body is no gRPC message: its first byte is neither 0 nor 1");
                else
                    refuse_early(stream, TD_STATUS_UNIMPLEMENTED, 415,
                                 "compressed messages are not accepted: send them with grpc-encoding identity");
                return 0;
            }
            stream->message_size = (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 | (uint32_t)prefix[3] << 8 | prefix[4];
            if (stream->message_size > most) return refuse_size(stream, "the message is larger than the server accepts");
        }
        if (size > stream->message_size - stream->body_size) {
            refuse_malformed(stream, TD_STATUS_UNIMPLEMENTED, "the body is longer than its message: a call takes exactly one message");
            return 0;
        }
    }
    if (size && td_stream_append(stream, data, size))
        return refuse_size(stream, "too many unfinished requests are held");
    return 0;
}

static void request_complete(td_stream *stream) {
    stream->is_ended = 1;
    if (stream->list != TD_RECEIVING) return; /* refused before */
    if (stream->call.protocol == TD_GRPC && (stream->prefix_size < PREFIX_BYTES || stream->body_size < stream->message_size)) {
        if (!stream->prefix_size)
            refuse_malformed(stream, TD_STATUS_UNIMPLEMENTED, "there is no message: a call takes exactly one message");
        else
            refuse_malformed(stream, TD_STATUS_INTERNAL, "the body ends within its message");
        return;
    }
    if (td_stream_complete(stream)) refuse(stream, TD_STATUS_RESOURCE_EXHAUSTED, 503, "the queue of the server is full");
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    td_connection *const connection = user;
    td_stream *stream;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            if (!(stream = connection->current)) return 0;
            headers_complete(stream);
        } else {
            stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        }
        break;
    case NGHTTP2_DATA:
        stream = connection->current;
        if (!stream || stream->id != frame->hd.stream_id)
            stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK && connection->is_noticed && !connection->is_final &&
            !memcmp(frame->ping.opaque_data, DRAIN_PING, sizeof DRAIN_PING))
            td_http2_goaway(connection, NGHTTP2_NO_ERROR);
        return 0;
    default: return 0;
    }
    if (stream && frame->hd.flags & NGHTTP2_FLAG_END_STREAM) request_complete(stream);
    return 0;
}

/* Errors that the library has answered for us. */
static int is_blame(uint32_t error) {
    return error != NGHTTP2_NO_ERROR && error != NGHTTP2_INTERNAL_ERROR && error != NGHTTP2_CANCEL &&
           error != NGHTTP2_REFUSED_STREAM && error != NGHTTP2_ENHANCE_YOUR_CALM;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    td_transport_counts *const counts = ((td_connection *)user)->transport->counts;
    if (frame->hd.type == NGHTTP2_GOAWAY) counts->malformed += (uint64_t)is_blame(frame->goaway.error_code);
    if (frame->hd.type == NGHTTP2_RST_STREAM) counts->malformed += (uint64_t)is_blame(frame->rst_stream.error_code);
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || frame->hd.type > NGHTTP2_HEADERS) return 0;
    /* A client that was answered before the end of its request should not send the rest (RFC 9113, 8.1). */
    const td_stream *const stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!stream || stream->is_ended) return 0;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user) {
    td_connection *const connection = user;
    td_stream *const stream = nghttp2_session_get_stream_user_data(session, id);
    if (!stream) return 0;
    const int is_reset = !stream->is_dropped && (error != NGHTTP2_NO_ERROR || stream->list != TD_ANSWERING);
    td_stream_abandon(stream);
    if (!is_reset) return 0;
    connection->transport->counts->resets++;
    if (td_spend(&connection->resets, &connection->resets_ns, connection->transport->now, TD_RESET_BURST, TD_RESET_PER_S))
        return flood(connection);
    return 0;
}

/* ---------------------------------------------------------------- connections */

int td_http2_init(td_transport *transport, const char **why) {
    *why = "out of memory";
    if (nghttp2_session_callbacks_new(&transport->callbacks) || nghttp2_option_new(&transport->option)) return -1;
    nghttp2_session_callbacks *const callbacks = transport->callbacks;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_closed_streams(transport->option, 1);
    /* Our own limits come first, so that floods are counted; the library's default would hit honest clients. */
    if (nghttp2_option_set_stream_reset_rate_limit)
        nghttp2_option_set_stream_reset_rate_limit(transport->option, 2 * TD_RESET_BURST, 2 * TD_RESET_PER_S);
    if (nghttp2_option_set_max_continuations) nghttp2_option_set_max_continuations(transport->option, TD_MAX_CONTINUATIONS + 1);
    return 0;
}

void td_http2_free(td_transport *transport) {
    nghttp2_session_callbacks_del(transport->callbacks);
    nghttp2_option_del(transport->option);
}

int td_http2_start(td_connection *connection) {
    td_transport *const transport = connection->transport;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, transport->limits.max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, transport->limits.max_header_bytes},
        {SETTING_NO_PRIORITIES, 1},
    };
    nghttp2_mem memory = td_pool_functions(&transport->pool);
    if (nghttp2_session_server_new3(&connection->session, transport->callbacks, connection, transport->option, &memory))
        return -1;
    if (nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) ||
        nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW))
        return -1;
    if (transport->is_draining) td_http2_notice(connection);
    td_dirty(connection);
    return 0;
}

/* The library gives up after some errors; so the last frame is ours. */
static void stop(td_connection *connection, uint32_t error) {
    const int32_t id = nghttp2_session_get_last_proc_stream_id(connection->session);
    const uint8_t goaway[] = {0, 0, 8, NGHTTP2_GOAWAY, 0, 0, 0, 0, 0, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
                              (uint8_t)id, 0, 0, 0, (uint8_t)error};
    const uint64_t end = (uint64_t)connection->out_start + connection->out_size;
    if (td_reserve(connection, &connection->out, &connection->out_room, end + sizeof goaway)) {
        td_close(connection);
        return;
    }
    memcpy(connection->out + end, goaway, sizeof goaway);
    connection->out_size += sizeof goaway;
    connection->is_final = 1;
    td_lists_abandon(connection);
    nghttp2_session_del(connection->session);
    connection->session = NULL;
    td_dirty(connection);
}

void td_http2_read(td_connection *connection, const uint8_t *data, size_t size) {
    td_transport_counts *const counts = connection->transport->counts;
    if (!connection->session) return;
    const ssize_t done = nghttp2_session_mem_recv(connection->session, data, size);
    if (done < 0) {
        /* Beside our own limits: too many settings in a frame, and answers to PING or SETTINGS that the client does not read. */
        if (connection->is_flood || done == NGHTTP2_ERR_FLOODED || done == NGHTTP2_ERR_TOO_MANY_SETTINGS) {
            counts->floods++;
            stop(connection, NGHTTP2_ENHANCE_YOUR_CALM);
        } else {
            counts->malformed++;
            stop(connection, NGHTTP2_PROTOCOL_ERROR);
        }
        return;
    }
    if (nghttp2_session_want_write(connection->session) || !nghttp2_session_want_read(connection->session)) td_dirty(connection);
}

int64_t td_http2_gather(td_connection *connection, uint8_t *output) {
    int64_t size = 0;
    while (size < TD_OUTPUT_BYTES) {
        const uint8_t *frame;
        const ssize_t frame_size = nghttp2_session_mem_send(connection->session, &frame);
        if (frame_size < 0 || frame_size > TD_OUTPUT_BYTES) {
            connection->transport->counts->floods += connection->is_flood;
            return -1;
        }
        if (!frame_size) break;
        memcpy(output + size, frame, (size_t)frame_size);
        size += frame_size;
    }
    return size;
}

int td_http2_is_over(td_connection *connection) {
    return !connection->session ||
           (!nghttp2_session_want_read(connection->session) && !nghttp2_session_want_write(connection->session));
}

void td_http2_goaway(td_connection *connection, uint32_t error) {
    connection->is_final = 1;
    if (!connection->session) return;
    (void)nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(connection->session), error, NULL, 0);
    td_dirty(connection);
}

void td_http2_notice(td_connection *connection) {
    if (connection->is_noticed || !connection->session) return;
    connection->is_noticed = 1;
    connection->closing_ns = connection->transport->now;
    (void)nghttp2_submit_shutdown_notice(connection->session);
    (void)nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, DRAIN_PING);
    td_dirty(connection);
}
