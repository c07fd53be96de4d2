#include "connection.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- bytes that limits count */

void td_hold(td_transport *transport, td_connection *connection, int64_t bytes) {
    transport->held += (uint64_t)bytes;
    if (connection) connection->held += (uint64_t)bytes;
}

int td_reserve(td_connection *connection, char **buffer, uint32_t *room, uint64_t size) {
    if (size <= *room) return 0;
    if (size > UINT32_MAX / 2) return -1;
    uint64_t wanted = *room < 256 ? 256 : 2 * (uint64_t)*room;
    if (wanted < size) wanted = size;
    char *const grown = realloc(*buffer, wanted);
    if (!grown) return -1;
    td_hold(connection->transport, connection, (int64_t)(wanted - *room));
    *buffer = grown;
    *room = (uint32_t)wanted;
    return 0;
}

void td_release(td_connection *connection, char **buffer, uint32_t *room) {
    if (!*buffer) return;
    free(*buffer);
    td_hold(connection->transport, connection, -(int64_t)*room);
    *buffer = NULL;
    *room = 0;
}

/* ---------------------------------------------------------------- the pool of the library */

/* nghttp2 allocates about ten small pieces a request. The system's allocator keeps few of a size at hand and costs a tenth of all
   time; here every freed piece waits for the next request. */

enum { STEP = 64, HEADER = 16, LARGE = TD_POOL_CLASSES };

typedef struct td_piece {
    union {
        struct td_piece *next; /* of a free piece */
        size_t kind;           /* of a used one: its class */
    };
    size_t unused; /* what follows is aligned as malloc aligns */
} td_piece;

_Static_assert(sizeof(td_piece) == HEADER, "a piece's header keeps its alignment");

static void *pool_malloc(size_t size, void *user) {
    td_pool *const pool = user;
    const size_t kind = size ? (size - 1) / STEP : 0;
    td_piece *piece;
    if (kind >= LARGE) {
        if (size > SIZE_MAX - HEADER || !(piece = malloc(HEADER + size))) return NULL;
        piece->kind = LARGE;
        return piece + 1;
    }
    if (!pool->free[kind]) {
        const size_t bytes = HEADER + (kind + 1) * STEP;
        td_chunk *const chunk = malloc(sizeof *chunk + TD_POOL_BATCH * bytes);
        if (!chunk) return NULL;
        chunk->next = pool->chunks;
        pool->chunks = chunk;
        for (int k = TD_POOL_BATCH - 1; k >= 0; k--) {
            piece = (td_piece *)(chunk->bytes + (size_t)k * bytes);
            piece->next = pool->free[kind];
            pool->free[kind] = piece;
        }
    }
    piece = pool->free[kind];
    pool->free[kind] = piece->next;
    piece->kind = kind;
    return piece + 1;
}

static void pool_free(void *data, void *user) {
    td_pool *const pool = user;
    if (!data) return;
    td_piece *const piece = (td_piece *)data - 1;
    const size_t kind = piece->kind;
    if (kind == LARGE) {
        free(piece);
        return;
    }
    piece->next = pool->free[kind];
    pool->free[kind] = piece;
}

static void *pool_calloc(size_t num, size_t size, void *user) {
    if (size && num > SIZE_MAX / size) return NULL;
    void *const data = pool_malloc(num * size, user);
    return data ? memset(data, 0, num * size) : NULL;
}

static void *pool_realloc(void *data, size_t size, void *user) {
    if (!data) return pool_malloc(size, user);
    td_piece *piece = (td_piece *)data - 1;
    if (piece->kind == LARGE) {
        if (size > SIZE_MAX - HEADER || !(piece = realloc(piece, HEADER + size))) return NULL;
        return piece + 1;
    }
    const size_t room = (piece->kind + 1) * STEP;
    if (size <= room) return data;
    void *const moved = pool_malloc(size, user);
    if (!moved) return NULL;
    memcpy(moved, data, room);
    pool_free(data, user);
    return moved;
}

nghttp2_mem td_pool_functions(td_pool *pool) {
    return (nghttp2_mem){pool, pool_malloc, pool_free, pool_calloc, pool_realloc};
}

void td_pool_free(td_pool *pool) {
    while (pool->chunks) {
        td_chunk *const chunk = pool->chunks;
        pool->chunks = chunk->next;
        free(chunk);
    }
}
