/* Which version of each model scores a request, and the answer's bytes. The same rules stand in state.py and prediction.py. */

#ifndef TADKA_SERVE_ROUTE_H
#define TADKA_SERVE_ROUTE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "transport.h"

enum {
    TD_MAX_ARMS = TD_BOARD_ARMS,
    TD_MAX_ID = 128,
    TD_SCORE_BYTES = 2 + 2 + 48 + 6 + 9,                               /* one Score of a Prediction at most */
    TD_ANSWER_BYTES = 3 + TD_MAX_ID + TD_MAX_ARMS * TD_SCORE_BYTES,
    TD_SPLIT_BUCKETS = 10000,                                                /* of the hash of a key: hundredths of a percent */
};

uint64_t td_hash(const void *data, size_t size, uint64_t seed); /* features/engine/hash.c */

/* One version of a model. */
typedef struct {
    void *scorer;            /* a Scorer; NULL: a model that runs as Python */
    void *scratch;           /* the Scratch that only this arm uses */
    td_board_arm *counts;
    uint32_t version;
    uint32_t threshold;      /* buckets below it, and not below the arm's before, are its */
    uint32_t head_size;
    char head[TD_SCORE_BYTES];  /* its Score up to the number */
} td_arm;

/* One model: the arms that share its requests, then those that score beside them. */
typedef struct {
    td_bytes name;
    td_arm *arms;
    uint32_t num_arms;
    uint32_t num_shadows;    /* after the arms */
    uint32_t key;            /* number of the field whose value decides; 0: the whole message does */
    uint64_t seed;
} td_served;

static inline char *td_put_varint(char *at, uint32_t value) {
    for (; value > 127; value >>= 7) *at++ = (char)(value | 128);
    *at++ = (char)value;
    return at;
}

/* Makes the bytes of an arm's Score that do not change. */
static inline void td_arm_set_head(td_arm *arm, td_bytes name) {
    char body[TD_SCORE_BYTES], *at = body;
    *at++ = 0x0a;
    at = td_put_varint(at, name.size);
    memcpy(at, name.data, name.size);
    at += name.size;
    *at++ = 0x10;
    at = td_put_varint(at, arm->version);
    *at++ = 0x19;
    uint32_t size = (uint32_t)(at - body);
    char *head = arm->head;
    *head++ = 0x12;
    head = td_put_varint(head, size + 8);
    memcpy(head, body, size);
    arm->head_size = (uint32_t)(head - arm->head) + size;
}

static inline char *td_put_id(char *at, td_bytes id) {
    *at++ = 0x0a;
    at = td_put_varint(at, id.size);
    memcpy(at, id.data, id.size);
    return at + id.size;
}

static inline char *td_put_score(char *at, const td_arm *arm, double score) {
    uint64_t bits;
    memcpy(at, arm->head, arm->head_size);
    at += arm->head_size;
    memcpy(&bits, &score, 8);
    for (int byte = 0; byte < 8; byte++) at[byte] = (char)(bits >> 8 * byte);
    return at + 8;
}

/* A varint of at most `limit` bytes. */
static inline int td_read_varint(const uint8_t **at, const uint8_t *end, int limit, uint64_t *value) {
    *value = 0;
    for (int byte = 0; byte < limit && *at < end; byte++) {
        uint64_t bits = *(*at)++;
        *value |= byte < 9 ? (bits & 127) << 7 * byte : bits << 63;
        if (bits < 128) return 1;
    }
    return 0;
}

/* The raw bytes of the last value of a field; none where it is missing or the message is malformed, which decoding refuses. */
static inline td_bytes td_key_bytes(td_bytes message, uint32_t number) {
    enum { MAX_DEPTH = 64 }; /* of groups, as in features/engine/wire.c */
    static const td_bytes none = {"", 0};
    td_bytes found = none;
    uint64_t groups[MAX_DEPTH], tag, size;
    int depth = 0;
    const uint8_t *at = (const uint8_t *)message.data, *end = at + message.size;
    while (at < end) {
        if (!td_read_varint(&at, end, 5, &tag) || tag >> 32 || !(tag >> 3)) return none;
        const uint8_t *start = at;
        switch (tag & 7) {
        case 0:
            if (!td_read_varint(&at, end, 10, &size)) return none;
            size = (uint64_t)(at - start);
            at = start;
            break;
        case 1: size = 8; break;
        case 2:
            if (!td_read_varint(&at, end, 5, &size)) return none;
            break;
        case 3:
            if (depth == MAX_DEPTH) return none;
            groups[depth++] = tag >> 3;
            continue;
        case 4:
            if (!depth || groups[--depth] != tag >> 3) return none;
            continue;
        case 5: size = 4; break;
        default: return none;
        }
        if (size > (uint64_t)(end - at)) return none;
        if (tag >> 3 == number && !depth) {
            found.data = (const char *)at;
            found.size = (uint32_t)size;
        }
        at += size;
    }
    return depth ? none : found;
}

/* The arm that answers a message. */
static inline td_arm *td_choose(const td_served *served, td_bytes message) {
    if (served->num_arms == 1) return served->arms;
    td_bytes key = served->key ? td_key_bytes(message, served->key) : message;
    uint32_t bucket = (uint32_t)(td_hash(key.data, key.size, served->seed) % TD_SPLIT_BUCKETS), arm = 0;
    while (arm + 1 < served->num_arms && bucket >= served->arms[arm].threshold) arm++;
    return &served->arms[arm];
}

/* A request id of 16 hexadecimal digits. The finalizer of SplitMix64 (Steele, Lea and Flood 2014): a bijection, so ids of one
   worker differ until the counter has gone round. */
static inline td_bytes td_make_id(uint64_t *counter, char *text) {
    uint64_t z = (*counter)++ * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    for (int digit = 15; digit >= 0; digit--, z >>= 4) text[digit] = "0123456789abcdef"[z & 15];
    return (td_bytes){text, 16};
}

/* Rows that shadows score when there is nothing else to do: copies, for the requests are gone by then. */
enum { TD_MAX_SHADOWS = 1000, TD_SHADOW_BYTES = 1 << 20 };

typedef struct {
    td_arm *arm;
    td_bytes name;
    uint32_t at;             /* of the copy: the request id, then the message */
    uint32_t id_size;
    uint32_t message_size;
} td_shadow_row;

typedef struct {
    td_shadow_row rows[TD_MAX_SHADOWS];
    uint32_t num_rows;
    uint32_t used;
    char bytes[TD_SHADOW_BYTES];
} td_shadows;

static inline int td_shadows_put(td_shadows *shadows, td_arm *arm, td_bytes name, td_bytes id, td_bytes message) {
    if (shadows->num_rows == TD_MAX_SHADOWS) return 0;
    if (message.size > TD_SHADOW_BYTES || id.size + message.size > TD_SHADOW_BYTES - shadows->used) return 0;
    td_shadow_row *row = &shadows->rows[shadows->num_rows++];
    *row = (td_shadow_row){arm, name, shadows->used, id.size, message.size};
    memcpy(shadows->bytes + shadows->used, id.data, id.size);
    memcpy(shadows->bytes + shadows->used + id.size, message.data, message.size);
    shadows->used += id.size + message.size;
    return 1;
}

#endif
