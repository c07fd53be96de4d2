/* The request log on its way from one worker to the log writer: a ring of bytes in shared memory with one producer and one
   consumer. Neither waits for the other: where there is no room a row is dropped and counted. ring.py has the same layout.

   Positions only rise; a row lies at its position modulo the capacity, never across the end: what is left there is skipped.
   The producer publishes `head` after a row's bytes (release), the consumer `tail` after the rows are safe on the disk. */

#ifndef TADKA_SERVE_RING_H
#define TADKA_SERVE_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TD_RING_MAGIC UINT64_C(0x31676e6972646174) /* "tadring1" */

enum {
    TD_RING_HEADER = 4096,       /* bytes before the first row: a page, so that each ring can be mapped alone */
    TD_RING_ROW = 0x776f7201,    /* kinds of records */
    TD_RING_SKIP = 0x70696b02,
};

typedef struct {
    uint64_t magic;
    uint64_t capacity;           /* bytes for rows, a power of two from 4 KiB to 1 GiB */
    uint64_t identity;           /* random; tells this ring from those of other servers */
    char gap0[40];
    _Atomic uint64_t head;       /* of the producer: where the next row goes */
    char gap1[56];
    _Atomic uint64_t tail;       /* of the consumer: the first row that is not safe yet */
    _Atomic uint64_t damaged;    /* times that it met nonsense and went on at `head` */
    _Atomic uint64_t lost;       /* rows that it took and could not write */
    char gap2[40];
    _Atomic uint64_t written;    /* of the producer: rows */
    _Atomic uint64_t dropped;    /* rows for which there was no room */
    char gap3[48];
} td_ring;                       /* as it lies in the memory; the rows begin TD_RING_HEADER bytes behind its start */

typedef struct {
    uint32_t size;               /* of the whole record, a multiple of 8 */
    uint32_t kind;               /* a record that is skipped ends here */
    int64_t time_us;
    double score;
    uint32_t version;
    uint32_t message_size;
    uint16_t model_size;
    uint16_t id_size;
    uint8_t role;                /* 0 served, 1 shadow */
    uint8_t gap[3];
} td_ring_row;                   /* then the model, the request id and the message */

_Static_assert(sizeof(td_ring) == 256, "ring.py knows this layout");
_Static_assert(offsetof(td_ring, head) == 64, "ring.py knows this layout");
_Static_assert(offsetof(td_ring, tail) == 128, "ring.py knows this layout");
_Static_assert(offsetof(td_ring, written) == 192, "ring.py knows this layout");
_Static_assert(sizeof(td_ring_row) == 40, "ring.py knows this layout");

/* Finds ring number `index` in the memory of Ring.create; NULL where there is none. */
static inline td_ring *td_ring_open(void *memory, uint64_t memory_size, uint32_t index) {
    if (memory_size < TD_RING_HEADER) return NULL;
    uint64_t capacity = ((td_ring *)memory)->capacity;
    if (capacity < 4096 || capacity > (1 << 30) || (capacity & (capacity - 1))) return NULL;
    uint64_t stride = TD_RING_HEADER + capacity;
    if (index >= memory_size / stride) return NULL;
    td_ring *ring = (td_ring *)((char *)memory + index * stride);
    return ring->magic == TD_RING_MAGIC && ring->capacity == capacity ? ring : NULL;
}

/* Only the producer writes its counts, so a plain addition is enough. */
static inline void td_ring_count(_Atomic uint64_t *count) {
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Appends a row. Returns 1, or 0 where it was dropped: there is no room now, or it is longer than half the ring (which may
   never fit, as a row does not lie across the end). */
static inline int td_ring_put(td_ring *ring, int64_t time_us, uint8_t role, uint32_t version, double score,
                              const char *model, uint32_t model_size, const char *id, uint32_t id_size,
                              const char *message, uint32_t message_size) {
    uint64_t capacity = ring->capacity;
    char *rows = (char *)ring + TD_RING_HEADER;
    uint64_t head = (atomic_load_explicit(&ring->head, memory_order_relaxed) + 7) & ~UINT64_C(7);
    uint64_t used = head - atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint64_t size = (sizeof(td_ring_row) + (uint64_t)model_size + id_size + message_size + 7) & ~UINT64_C(7);
    uint64_t at = head & (capacity - 1), to_end = capacity - at;
    uint64_t skip = size > to_end ? to_end : 0;
    if (size > capacity / 2 || used > capacity || size + skip > capacity - used || model_size > UINT16_MAX ||
        id_size > UINT16_MAX) {
        td_ring_count(&ring->dropped);
        return 0;
    }
    if (skip) {
        uint32_t record[2] = {(uint32_t)skip, TD_RING_SKIP};
        memcpy(rows + at, record, sizeof record);
        at = 0;
    }
    td_ring_row row = {
        .size = (uint32_t)size,
        .kind = TD_RING_ROW,
        .time_us = time_us,
        .score = score,
        .version = version,
        .message_size = message_size,
        .model_size = (uint16_t)model_size,
        .id_size = (uint16_t)id_size,
        .role = role,
    };
    char *to = rows + at;
    memcpy(to, &row, sizeof row);
    to += sizeof row;
    if (model_size) memcpy(to, model, model_size);
    if (id_size) memcpy(to + model_size, id, id_size);
    if (message_size) memcpy(to + model_size + id_size, message, message_size);
    td_ring_count(&ring->written);
    atomic_store_explicit(&ring->head, head + skip + size, memory_order_release);
    return 1;
}

#endif
