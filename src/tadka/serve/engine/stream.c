#include "connection.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { SLAB_STREAMS = 64 };

typedef struct td_slab {
    struct td_slab *next;
    td_stream streams[SLAB_STREAMS];
} td_slab;

struct td_kept {
    struct td_kept *next;
    uint32_t size;
    char data[];
};

static void list_remove(td_stream *stream) {
    td_list *const list = &stream->connection->lists[stream->list];
    *(stream->before ? &stream->before->after : &list->first) = stream->after;
    *(stream->after ? &stream->after->before : &list->last) = stream->before;
}

static void list_append(td_stream *stream, uint8_t which) {
    td_connection *const connection = stream->connection;
    td_list *const list = &connection->lists[which];
    stream->list = which;
    stream->since_ns = connection->transport->now;
    stream->before = list->last;
    stream->after = NULL;
    *(list->last ? &list->last->after : &list->first) = stream;
    list->last = stream;
}

void td_stream_move(td_stream *stream, uint8_t list) {
    list_remove(stream);
    list_append(stream, list);
}

static td_stream *take_free(td_transport *transport) {
    if (!transport->free_streams) {
        td_slab *const slab = malloc(sizeof *slab);
        if (!slab) return NULL;
        slab->next = transport->slabs;
        transport->slabs = slab;
        for (int k = SLAB_STREAMS - 1; k >= 0; k--) {
            slab->streams[k].is_live = 0;
            slab->streams[k].after = transport->free_streams;
            transport->free_streams = &slab->streams[k];
        }
    }
    td_stream *const stream = transport->free_streams;
    transport->free_streams = stream->after;
    return stream;
}

td_stream *td_stream_new(td_connection *connection) {
    td_stream *const stream = take_free(connection->transport);
    if (!stream) return NULL;
    memset(stream, 0, offsetof(td_stream, head));
    stream->is_live = 1;
    stream->call.owner = connection->transport;
    stream->connection = connection;
    stream->body = stream->small;
    stream->body_room = TD_SMALL_BYTES;
    stream->answer = stream->small;
    connection->num_streams++;
    td_hold(connection->transport, connection, sizeof *stream);
    list_append(stream, TD_RECEIVING);
    return stream;
}

static void stream_clear(td_stream *stream) {
    td_transport *const transport = stream->call.owner;
    while (stream->kept) {
        struct td_kept *const kept = stream->kept;
        stream->kept = kept->next;
        td_hold(transport, stream->connection, -(int64_t)kept->size);
        free(kept);
    }
    td_stream_drop_body(stream);
    if (stream->answer != stream->small) {
        free(stream->answer);
        td_hold(transport, stream->connection, -(int64_t)stream->answer_size);
    }
    stream->answer = NULL;
    stream->is_live = 0;
}

void td_stream_release(td_stream *stream) {
    td_transport *const transport = stream->call.owner;
    td_connection *const connection = stream->connection;
    stream_clear(stream);
    td_hold(transport, connection, -(int64_t)sizeof *stream);
    if (connection) {
        list_remove(stream);
        connection->num_streams--;
        if (connection->current == stream) connection->current = NULL;
    }
    stream->after = transport->free_streams;
    transport->free_streams = stream;
}

/* A call that nobody has answered yet stays, without its connection; anything else is released. */
void td_stream_abandon(td_stream *stream) {
    if (stream->list != TD_CALLED) {
        td_stream_release(stream);
        return;
    }
    td_connection *const connection = stream->connection;
    uint64_t bytes = sizeof *stream;
    if (stream->body != stream->small) bytes += stream->body_room;
    for (struct td_kept *kept = stream->kept; kept; kept = kept->next) bytes += kept->size;
    connection->held -= bytes;
    list_remove(stream);
    connection->num_streams--;
    if (connection->current == stream) connection->current = NULL;
    stream->connection = NULL;
    stream->call.is_gone = 1;
}

int td_stream_keep(td_stream *stream, td_bytes *kept, const void *data, size_t size) {
    char *place;
    if (size <= (size_t)(TD_HEAD_BYTES - stream->head_size)) {
        place = stream->head + stream->head_size;
        stream->head_size = (uint16_t)(stream->head_size + size);
    } else {
        struct td_kept *const more = malloc(sizeof *more + size);
        if (!more) return -1;
        more->next = stream->kept;
        more->size = (uint32_t)(sizeof *more + size);
        stream->kept = more;
        td_hold(stream->call.owner, stream->connection, more->size);
        place = more->data;
    }
    memcpy(place, data, size);
    *kept = (td_bytes){place, (uint32_t)size};
    return 0;
}

int td_stream_keep_id(td_stream *stream, const void *data, size_t size) {
    const uint8_t *const bytes = data;
    if (size < 1 || size > 128) return 0;
    for (size_t k = 0; k < size; k++)
        if (bytes[k] < 0x20 || bytes[k] > 0x7e) return 0;
    return td_stream_keep(stream, &stream->call.request_id, data, size);
}

/* Whether a connection may not hold so many bytes more. Where much is held in all, each may hold little: the unfinished requests of
   some must not keep the others waiting. */
static int is_greedy(const td_connection *connection, uint64_t more) {
    const td_transport *const transport = connection->transport;
    const uint64_t all = transport->held + more, most_of_all = transport->limits.max_buffered_bytes;
    const uint64_t most = all > most_of_all / 2 ? TD_UNSENT_BYTES : transport->held_most;
    return connection->held + more > most || all > most_of_all;
}

int td_stream_append(td_stream *stream, const void *data, size_t size) {
    const uint64_t needed = (uint64_t)stream->body_size + size;
    if (needed > stream->body_room) {
        td_connection *const connection = stream->connection;
        const td_limits *const limits = &connection->transport->limits;
        uint64_t room = 2 * (uint64_t)stream->body_room;
        if (room < needed) room = needed;
        if (room > limits->max_message_bytes && needed <= limits->max_message_bytes) room = limits->max_message_bytes;
        if (is_greedy(connection, room - stream->body_room)) return -1;
        char *grown;
        if (stream->body == stream->small) {
            if (!(grown = malloc(room))) return -1;
            memcpy(grown, stream->small, stream->body_size);
            td_hold(connection->transport, connection, (int64_t)room);
        } else {
            if (!(grown = realloc(stream->body, room))) return -1;
            td_hold(connection->transport, connection, (int64_t)(room - stream->body_room));
        }
        stream->body = grown;
        stream->body_room = (uint32_t)room;
    }
    memcpy(stream->body + stream->body_size, data, size);
    stream->body_size = (uint32_t)needed;
    return 0;
}

void td_stream_drop_body(td_stream *stream) {
    if (stream->body != stream->small) {
        free(stream->body);
        td_hold(stream->call.owner, stream->connection, -(int64_t)stream->body_room);
    }
    stream->body = stream->small;
    stream->body_size = 0;
    stream->body_room = TD_SMALL_BYTES;
}

char *td_stream_answer(td_stream *stream, size_t size) {
    if (size > UINT32_MAX) return NULL;
    if (size > TD_SMALL_BYTES) {
        char *const answer = malloc(size);
        if (!answer) return NULL;
        stream->answer = answer;
        td_hold(stream->call.owner, stream->connection, (int64_t)size);
    }
    stream->answer_size = (uint32_t)size;
    return stream->answer;
}

int td_stream_complete(td_stream *stream) {
    td_connection *const connection = stream->connection;
    td_transport *const transport = connection->transport;
    td_call *const call = &stream->call;
    transport->counts->requests++;
    connection->since_ns = transport->now;
    if (connection->noise < TD_NOISE_BURST - 8) connection->noise += 8;
    if (transport->num_waiting >= transport->limits.max_queue) {
        transport->counts->refused_queue++;
        return -1;
    }
    call->body = (td_bytes){stream->body, stream->body_size};
    call->arrived_ns = transport->now;
    const uint64_t default_ns = (uint64_t)transport->limits.deadline_ms * 1000000;
    if (!call->deadline_ns) call->deadline_ns = default_ns ? call->arrived_ns + default_ns : 0;
    td_stream_move(stream, TD_CALLED);
    stream->is_waiting = 1;
    call->next = NULL;
    *transport->last_waiting = call;
    transport->last_waiting = &call->next;
    transport->num_waiting++;
    return 0;
}

void td_lists_abandon(td_connection *connection) {
    for (int list = 0; list < TD_NUM_LISTS; list++)
        while (connection->lists[list].first) td_stream_abandon(connection->lists[list].first);
}

/* Those too that were taken and never answered. */
void td_streams_free(td_transport *transport) {
    while (transport->slabs) {
        td_slab *const slab = transport->slabs;
        for (int k = 0; k < SLAB_STREAMS; k++)
            if (slab->streams[k].is_live) stream_clear(&slab->streams[k]);
        transport->slabs = slab->next;
        free(slab);
    }
}
