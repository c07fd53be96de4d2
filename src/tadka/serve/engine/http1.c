#define _GNU_SOURCE
#include "connection.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* HTTP/1.1 as RFC 9112 has it, and nothing beside it: what two servers could read in two ways is refused. */

/* What is read next. */
enum { HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILERS };

enum { MAX_CHUNK_LINE = 128, MAX_METHOD = 32, MAX_CHUNK_DIGITS = 8 };

typedef struct {
    uint32_t code;   /* 0: all is well */
    const char *why;
} td_fault;

static const td_fault FINE = {0, NULL};

typedef struct {
    uint32_t length;
    uint32_t num_headers, num_hosts, num_lengths, num_codings;
    uint8_t is_old; /* HTTP/1.0 */
    uint8_t is_chunked, expects, closes, keeps;
} td_head;

static const char *reason_of(uint32_t code) {
    switch (code) {
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Answer";
    }
}

/* ---------------------------------------------------------------- answers */

/* Room behind what is unsent. What was sent before it is given up when that is worth the move. */
static int make_room(td_connection *connection, uint64_t size) {
    if (connection->out_start && connection->out_start >= connection->out_size) {
        memmove(connection->out, connection->out + connection->out_start, connection->out_size);
        connection->out_start = 0;
    }
    const uint64_t end = (uint64_t)connection->out_start + connection->out_size;
    return td_reserve(connection, &connection->out, &connection->out_room, end + size);
}

static int put(td_connection *connection, const void *data, size_t size) {
    if (make_room(connection, size)) return -1;
    memcpy(connection->out + connection->out_start + connection->out_size, data, size);
    connection->out_size += (uint32_t)size;
    td_dirty(connection);
    return 0;
}

static int put_answer(td_connection *connection, uint32_t code, td_bytes type, td_bytes body, int is_head_request) {
    char head[512];
    const int has_content = code >= 200 && code != 204 && code != 304;
    int size = snprintf(head, sizeof head, "HTTP/1.1 %03u %s\r\n", (unsigned)(code % 1000), reason_of(code));
    if (has_content && type.size && type.size < 256)
        size += snprintf(head + size, sizeof head - (size_t)size, "Content-Type: %.*s\r\n", (int)type.size, type.data);
    if (has_content)
        size += snprintf(head + size, sizeof head - (size_t)size, "Content-Length: %u\r\n", (unsigned)body.size);
    if (connection->is_final)
        size += snprintf(head + size, sizeof head - (size_t)size, "Connection: close\r\n");
    else if (connection->keeps_alive == 2)
        size += snprintf(head + size, sizeof head - (size_t)size, "Connection: keep-alive\r\n");
    size += snprintf(head + size, sizeof head - (size_t)size, "\r\n");
    const uint32_t body_size = has_content && !is_head_request ? body.size : 0;
    /* Room for all at once: an answer is there as a whole or not at all. */
    if (make_room(connection, (uint64_t)size + body_size)) return -1;
    (void)put(connection, head, (size_t)size);
    if (body_size) (void)put(connection, body.data, body_size);
    return 0;
}

int td_http1_answer(td_stream *stream, uint32_t code, td_bytes content_type, td_bytes body) {
    td_connection *const connection = stream->connection;
    if (!connection->keeps_alive || connection->transport->is_draining) connection->is_final = 1;
    const int failed = put_answer(connection, code, content_type, body, stream->is_head_request);
    td_stream_release(stream);
    connection->since_ns = connection->transport->now;
    if (failed) td_close(connection);
    return failed;
}

void td_http1_refuse(td_connection *connection, uint32_t code, const char *why) {
    char text[256];
    const int size = snprintf(text, sizeof text, "{\"error\": \"%s\"}", why);
    td_stream *const stream = connection->current;
    const int is_head_request = stream && stream->is_head_request;
    connection->is_final = 1;
    if (put_answer(connection, code, TD_TEXT("application/json"), (td_bytes){text, (uint32_t)size}, is_head_request))
        td_close(connection);
}

/* ---------------------------------------------------------------- the head of a request */

static int is_token(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

static int is_same(td_bytes text, const char *lower, size_t size) {
    return text.size == size && !strncasecmp(text.data, lower, size);
}
#define IS_SAME(text, literal) is_same(text, literal, sizeof(literal) - 1)

static td_bytes trim(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t')) at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t')) end--;
    return (td_bytes){at, (uint32_t)(end - at)};
}

/* Whether a comma-separated value has the word. */
static int has_word(td_bytes value, const char *word, size_t size) {
    const char *at = value.data, *const end = value.data + value.size;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        if (!comma) comma = end;
        if (is_same(trim(at, comma), word, size)) return 1;
        at = comma + 1;
    }
    return 0;
}

static td_fault parse_target(td_stream *stream, const char *at, const char *end) {
    td_call *const call = &stream->call;
    for (const char *byte = at; byte < end; byte++)
        if ((uint8_t)*byte <= 0x20 || (uint8_t)*byte >= 0x7f) return (td_fault){400, "the target of the request is malformed"};
    if (end - at > 7 && !strncasecmp(at, "http://", 7)) { /* as proxies get it */
        at = memchr(at + 7, '/', (size_t)(end - at - 7));
        if (!at) return (td_fault){400, "the target of the request has no path"};
    }
    if (at == end || (*at != '/' && !(*at == '*' && end - at == 1)))
        return (td_fault){400, "the target of the request is malformed"};
    const char *const mark = memchr(at, '?', (size_t)(end - at));
    if (td_stream_keep(stream, &call->path, at, (size_t)((mark ? mark : end) - at)) ||
        (mark && td_stream_keep(stream, &call->query, mark + 1, (size_t)(end - mark - 1))))
        return (td_fault){500, "out of memory"};
    return FINE;
}

static td_fault parse_first_line(td_stream *stream, td_head *head, const char *at, const char *end) {
    const char *const space = memchr(at, ' ', (size_t)(end - at));
    const char *const last = memrchr(at, ' ', (size_t)(end - at));
    const td_fault bad = {400, "the first line of the request is malformed"};
    if (!space || space == last || space == at || space - at > MAX_METHOD) return bad;
    for (const char *byte = at; byte < space; byte++)
        if (!is_token(*byte)) return bad;
    if (end - last - 1 != 8 || memcmp(last + 1, "HTTP/", 5) || last[6] < '0' || last[6] > '9' || last[7] != '.' ||
        last[8] < '0' || last[8] > '9')
        return bad;
    if (last[6] != '1') return (td_fault){505, "HTTP/1.1, HTTP/1.0 and HTTP/2 are spoken here"};
    head->is_old = last[8] == '0';
    if (td_stream_keep(stream, &stream->call.method, at, (size_t)(space - at))) return (td_fault){500, "out of memory"};
    stream->is_head_request = TD_IS(at, (size_t)(space - at), "HEAD");
    return parse_target(stream, space + 1, last);
}

static td_fault parse_length(td_head *head, td_bytes value, uint32_t most) {
    uint64_t length = 0;
    if (head->num_lengths++) return (td_fault){400, "there is more than one Content-Length"};
    if (!value.size || value.size > 18) return (td_fault){400, "Content-Length is no number"};
    for (uint32_t k = 0; k < value.size; k++) {
        if (value.data[k] < '0' || value.data[k] > '9') return (td_fault){400, "Content-Length is no number"};
        length = 10 * length + (uint64_t)(value.data[k] - '0');
    }
    if (length > most) return (td_fault){413, "the body is larger than the server accepts"};
    head->length = (uint32_t)length;
    return FINE;
}

static td_fault parse_header(td_stream *stream, td_head *head, td_bytes name, td_bytes value) {
    const td_limits *const limits = &stream->connection->transport->limits;
    td_call *const call = &stream->call;
    int failed = 0;
    switch (name.size) {
    case 4:
        if (IS_SAME(name, "host")) head->num_hosts++;
        break;
    case 6:
        if (!IS_SAME(name, "expect")) break;
        if (!IS_SAME(value, "100-continue")) return (td_fault){417, "only 100-continue can be expected"};
        head->expects = 1;
        break;
    case 10:
        if (!IS_SAME(name, "connection")) break;
        head->closes |= has_word(value, "close", 5) != 0;
        head->keeps |= has_word(value, "keep-alive", 10) != 0;
        break;
    case 12:
        if (IS_SAME(name, "content-type"))
            failed = td_stream_keep(stream, &call->content_type, value.data, value.size);
        else if (IS_SAME(name, "x-request-id"))
            failed = td_stream_keep_id(stream, value.data, value.size);
        else if (IS_SAME(name, "tadka-models"))
            failed = td_stream_keep(stream, &call->models, value.data, value.size);
        break;
    case 14:
        if (IS_SAME(name, "content-length")) return parse_length(head, value, limits->max_message_bytes);
        break;
    case 17:
        if (!IS_SAME(name, "transfer-encoding")) break;
        if (head->num_codings++ || !IS_SAME(value, "chunked"))
            return (td_fault){501, "chunked is the only transfer coding here"};
        head->is_chunked = 1;
        break;
    default: break;
    }
    return failed ? (td_fault){500, "out of memory"} : FINE;
}

/* Lines that end with CR LF; the caller has seen to the line ends. */
static td_fault parse_head(td_stream *stream, td_head *head, const char *at, const char *end) {
    const char *line_end = memchr(at, '\r', (size_t)(end - at));
    td_fault fault = parse_first_line(stream, head, at, line_end);
    if (fault.code) return fault;
    for (at = line_end + 2; at < end; at = line_end + 2) {
        line_end = memchr(at, '\r', (size_t)(end - at));
        const char *const colon = memchr(at, ':', (size_t)(line_end - at));
        if (*at == ' ' || *at == '\t') return (td_fault){400, "a header goes on in the next line"};
        if (!colon || colon == at) return (td_fault){400, "a header has no name"};
        for (const char *byte = at; byte < colon; byte++)
            if (!is_token(*byte)) return (td_fault){400, "the name of a header is malformed"};
        for (const char *byte = colon + 1; byte < line_end; byte++)
            if (((uint8_t)*byte < 0x20 && *byte != '\t') || *byte == 0x7f)
                return (td_fault){400, "the value of a header is malformed"};
        if (++head->num_headers > TD_MAX_HEADERS) return (td_fault){431, "there are too many headers"};
        fault = parse_header(stream, head, (td_bytes){at, (uint32_t)(colon - at)}, trim(colon + 1, line_end));
        if (fault.code) return fault;
    }
    if (head->is_chunked && (head->num_lengths || head->is_old))
        return (td_fault){400, "Transfer-Encoding goes neither with Content-Length nor with HTTP/1.0"};
    if (head->num_hosts > 1 || (!head->num_hosts && !head->is_old)) return (td_fault){400, "there must be one Host"};
    return FINE;
}

/* ---------------------------------------------------------------- the bytes of a connection */

/* A step that needs more bytes than there are consumes none. */
typedef struct {
    const char *at, *end;
} td_rest;

static int refuse(td_connection *connection, td_fault fault) {
    td_transport_counts *const counts = connection->transport->counts;
    if (fault.code == 413 || fault.code == 431)
        counts->refused_size++;
    else
        counts->malformed++;
    counts->requests++;
    td_http1_refuse(connection, fault.code, fault.why);
    return 0;
}

/* 1 with the end of the head after its empty line; 0: more is needed. Line ends that are not CR LF are a fault. */
static int find_end(td_connection *connection, td_rest rest, const char **end, td_fault *fault) {
    const char *at = rest.at + connection->scanned;
    for (;;) {
        const char *const feed = memchr(at, '\n', (size_t)(rest.end - at));
        const char *const stop = feed ? feed : rest.end;
        /* A CR that no LF follows; at the very end it may still come. */
        const char *const lone = memchr(at, '\r', (size_t)(stop - at));
        if (feed ? (feed == rest.at || lone != feed - 1) : (lone && lone != rest.end - 1)) {
            *fault = (td_fault){400, "lines must end with CR LF"};
            return 0;
        }
        if (!feed) break;
        if (feed - rest.at >= 3 && feed[-2] == '\n') {
            *end = feed + 1;
            return 1;
        }
        at = feed + 1;
        connection->scanned = (uint32_t)(at - rest.at);
    }
    if ((uint64_t)(rest.end - rest.at) > connection->transport->limits.max_header_bytes)
        *fault = (td_fault){431, "the headers are larger than the server accepts"};
    return 0;
}

static void complete(td_connection *connection) {
    td_stream *const stream = connection->current;
    connection->step = HEAD;
    stream->is_ended = 1;
    if (!td_stream_complete(stream)) return;
    connection->is_final |= !connection->keeps_alive || connection->transport->is_draining;
    const td_bytes text = TD_TEXT("{\"error\": \"the queue of the server is full\"}");
    const int failed = put_answer(connection, 503, TD_TEXT("application/json"), text, stream->is_head_request);
    td_stream_release(stream);
    if (failed) td_close(connection);
}

/* Each step: 1 where it went on, 0 where it needs more bytes or the connection ends. */

static int read_head(td_connection *connection, td_rest *rest) {
    const char *end;
    td_fault fault = FINE;
    td_head head = {0};
    if (!connection->scanned && rest->end - rest->at >= 2 && !memcmp(rest->at, "\r\n", 2)) {
        rest->at += 2; /* some clients end a body with it (RFC 9112, 2.2) */
        return 1;
    }
    if (!find_end(connection, *rest, &end, &fault)) return fault.code ? refuse(connection, fault) : 0;
    connection->scanned = 0;
    if ((uint64_t)(end - rest->at) > connection->transport->limits.max_header_bytes)
        return refuse(connection, (td_fault){431, "the headers are larger than the server accepts"});
    td_stream *const stream = td_stream_new(connection);
    if (!stream) {
        td_close(connection);
        return 0;
    }
    connection->current = stream;
    stream->call.protocol = TD_HTTP;
    fault = parse_head(stream, &head, rest->at, end - 2);
    if (fault.code) return refuse(connection, fault);
    rest->at = end;
    stream->is_headed = 1;
    connection->keeps_alive = head.closes ? 0 : head.is_old ? (head.keeps ? 2 : 0) : 1;
    connection->left = head.length;
    connection->trailer_bytes = 0;
    if (head.is_chunked || head.length) {
        connection->step = head.is_chunked ? CHUNK_SIZE : BODY;
        static const char CONTINUE[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (head.expects && !head.is_old && rest->at == rest->end && put(connection, CONTINUE, sizeof CONTINUE - 1)) {
            td_close(connection);
            return 0;
        }
    } else {
        complete(connection);
    }
    return 1;
}

/* 1: all of what was left is there. */
static int read_left(td_connection *connection, td_rest *rest) {
    const size_t there = (size_t)(rest->end - rest->at);
    const uint32_t size = there < connection->left ? (uint32_t)there : connection->left;
    if (size && td_stream_append(connection->current, rest->at, size))
        return refuse(connection, (td_fault){413, "the server has no room for the body"});
    rest->at += size;
    connection->left -= size;
    return !connection->left;
}

static int hex_of(char byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

/* The end of a line of at most `most` bytes; NULL: more is needed, or the fault. */
static const char *line_end(td_rest rest, size_t most, td_fault *fault) {
    const char *const feed = memchr(rest.at, '\n', (size_t)(rest.end - rest.at));
    const size_t size = (size_t)((feed ? feed : rest.end) - rest.at);
    if (size > most || (feed && (feed == rest.at || feed[-1] != '\r')) || (feed && memchr(rest.at, '\r', size - 1))) {
        *fault = (td_fault){400, "a line of the chunked body is malformed"};
        return NULL;
    }
    return feed;
}

static int read_chunk_size(td_connection *connection, td_rest *rest) {
    td_fault fault = FINE;
    const char *const feed = line_end(*rest, MAX_CHUNK_LINE, &fault);
    uint64_t size = 0;
    uint32_t digits = 0;
    if (!feed) return fault.code ? refuse(connection, fault) : 0;
    while (digits <= MAX_CHUNK_DIGITS && hex_of(rest->at[digits]) >= 0) size = 16 * size + (uint64_t)hex_of(rest->at[digits++]);
    /* Extensions are allowed and mean nothing. */
    if (!digits || digits > MAX_CHUNK_DIGITS || (rest->at[digits] != '\r' && rest->at[digits] != ';'))
        return refuse(connection, (td_fault){400, "the size of a chunk is malformed"});
    if (size > connection->transport->limits.max_message_bytes - connection->current->body_size)
        return refuse(connection, (td_fault){413, "the body is larger than the server accepts"});
    rest->at = feed + 1;
    connection->left = (uint32_t)size;
    connection->step = size ? CHUNK : TRAILERS;
    return 1;
}

static int read_chunk_end(td_connection *connection, td_rest *rest) {
    const size_t left = (size_t)(rest->end - rest->at);
    if (memcmp(rest->at, "\r\n", left < 2 ? left : 2)) return refuse(connection, (td_fault){400, "a chunk is longer than its size"});
    if (left < 2) return 0;
    rest->at += 2;
    connection->step = CHUNK_SIZE;
    return 1;
}

static int read_trailers(td_connection *connection, td_rest *rest) {
    td_fault fault = FINE;
    const uint32_t most = connection->transport->limits.max_header_bytes;
    const char *const feed = line_end(*rest, most, &fault);
    if (!feed) return fault.code ? refuse(connection, fault) : 0;
    const uint32_t size = (uint32_t)(feed + 1 - rest->at);
    connection->trailer_bytes += size;
    if (connection->trailer_bytes > most)
        return refuse(connection, (td_fault){431, "the trailers are larger than the server accepts"});
    if (size > 2 && (!is_token(*rest->at) || !memchr(rest->at, ':', size)))
        return refuse(connection, (td_fault){400, "a trailer is malformed"});
    rest->at = feed + 1;
    if (size == 2) complete(connection);
    return 1;
}

static int read_step(td_connection *connection, td_rest *rest) {
    switch (connection->step) {
    case HEAD: return read_head(connection, rest);
    case BODY:
        if (!read_left(connection, rest)) return 0;
        complete(connection);
        return 1;
    case CHUNK_SIZE: return read_chunk_size(connection, rest);
    case CHUNK:
        if (!read_left(connection, rest)) return 0;
        connection->step = CHUNK_END;
        return 1;
    case CHUNK_END: return read_chunk_end(connection, rest);
    default: return read_trailers(connection, rest);
    }
}

void td_http1_read(td_connection *connection, const char *data, size_t size) {
    const uint32_t before = connection->in_size;
    td_rest rest = {data, data + size};
    if (connection->is_final) return;
    if (before || !size) {
        if (td_reserve(connection, &connection->in, &connection->in_room, (uint64_t)before + size)) {
            td_close(connection);
            return;
        }
        if (size) memcpy(connection->in + before, data, size);
        rest = (td_rest){connection->in, connection->in + before + size};
    }
    /* One request at a time: the answers come in order by themselves. */
    while (!connection->is_final && !connection->is_closed && !connection->lists[TD_CALLED].first &&
           connection->out_size < TD_UNSENT_BYTES && rest.at < rest.end)
        if (!read_step(connection, &rest)) break;
    if (connection->is_closed) return;
    const size_t left = connection->is_final ? 0 : (size_t)(rest.end - rest.at);
    if (!left) {
        connection->in_size = 0;
        td_release(connection, &connection->in, &connection->in_room);
    } else {
        if (connection->step == HEAD && (!before || rest.at != connection->in))
            connection->since_ns = connection->transport->now; /* the first byte of a request */
        if (before || !size) {
            memmove(connection->in, rest.at, left);
        } else if (td_reserve(connection, &connection->in, &connection->in_room, left)) {
            td_close(connection);
            return;
        } else {
            memcpy(connection->in, rest.at, left);
        }
        connection->in_size = (uint32_t)left;
    }
    /* The rest is read after the answer; the event that would tell of it has passed. */
    if (connection->in_size && (connection->lists[TD_CALLED].first || connection->out_size >= TD_UNSENT_BYTES))
        connection->is_paused = 1;
}

void td_http1_end(td_connection *connection) {
    if (connection->out_size) {
        connection->is_final = 1; /* it may still read its answers */
        td_dirty(connection);
    } else {
        td_close(connection);
    }
}
