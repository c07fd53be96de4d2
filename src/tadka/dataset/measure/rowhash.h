/* Digests of the rows of Arrow columns; rowhash_reference.py is the same in NumPy, and rowhash.py
   says what is computed. */
#ifndef TADKA_ROWHASH_H
#define TADKA_ROWHASH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../features/engine/hash.h"

/* Rows that are worked on at a time, so that their sums stay in the first cache. */
#define TD_BLOCK 1024

typedef enum { TD_ROW_BIT, TD_ROW_I8, TD_ROW_I16, TD_ROW_I32, TD_ROW_I64, TD_ROW_F32, TD_ROW_F64,
               TD_ROW_BYTES32, TD_ROW_BYTES64, TD_ROW_LIST32, TD_ROW_LIST64 } td_row_storage;

/* Of a column, or of the items of one that holds lists. */
typedef struct { uint64_t a, b, c, d, null_x, null_y; } td_row_keys;

/* A column as Arrow lays it out. */
typedef struct td_row_column {
    td_row_storage storage;
    int64_t start;               /* the array's own offset */
    const uint8_t *valid;        /* NULL: no nulls */
    const void *values, *offsets;
    const td_row_keys *keys;
    const struct td_row_column *items; /* of lists */
    const int32_t *codes;        /* of a dictionary, whose values' digests are: */
    const uint64_t *coded_x, *coded_y;
} td_row_column;

/* Registers of a HyperLogLog sketch: the greatest rank seen, by the first 12 bits of a number. */
enum { TD_REGISTER_BITS = 12, TD_REGISTERS = 1 << TD_REGISTER_BITS };

static inline bool td_bit(const uint8_t *bits, int64_t at) { return bits[at >> 3] >> (at & 7) & 1; }

static inline uint64_t td_word_f64(const void *values, int64_t at) {
    uint64_t word;
    memcpy(&word, (const uint8_t *)values + at * 8, 8);
    if (word << 1 == 0) word = 0;                                               /* -0.0 */
    if (word << 1 > UINT64_C(0xffe0000000000000)) word = UINT64_C(0x7ff8000000000000); /* NaN */
    return word;
}

static inline uint64_t td_word_f32(const void *values, int64_t at) {
    uint32_t word;
    memcpy(&word, (const uint8_t *)values + at * 4, 4);
    if (word << 1 == 0) word = 0;
    if (word << 1 > UINT32_C(0xff000000)) word = UINT32_C(0x7fc00000);
    return word;
}

#define TD_WORD_BIT(values, at) ((uint64_t)td_bit((const uint8_t *)(values), at))
#define TD_WORD_I8(values, at) ((uint64_t)(int64_t)((const int8_t *)(values))[at])
#define TD_WORD_I16(values, at) ((uint64_t)(int64_t)((const int16_t *)(values))[at])
#define TD_WORD_I32(values, at) ((uint64_t)(int64_t)((const int32_t *)(values))[at])
#define TD_WORD_I64(values, at) ((uint64_t)((const int64_t *)(values))[at])

/* One block of 16 bytes into the digest of a cell. */
static inline void td_fold(uint64_t low, uint64_t high, const td_row_keys *k, uint64_t *x, uint64_t *y) {
    *x = td_mix(low ^ k->a, high ^ *x);
    *y = td_mix(low ^ k->c, high ^ *y);
}

/* Numbers: one block (word, 0). Nulls are chosen without a branch. */
#define TD_NUMBERS(NAME, WORD)                                                                     \
    static void NAME(const td_row_column *column, int64_t at, int64_t count, uint64_t *restrict x, \
                     uint64_t *restrict y) {                                                       \
        const td_row_keys k = *column->keys;                                                       \
        const void *const values = column->values;                                                 \
        const uint8_t *const valid = column->valid;                                                \
        if (valid == NULL) {                                                                       \
            for (int64_t i = 0; i < count; i++) {                                                  \
                const uint64_t word = WORD(values, at + i);                                        \
                x[i] += td_mix(word ^ k.a, k.b);                                                   \
                y[i] += td_mix(word ^ k.c, k.d);                                                   \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < count; i++) {                                                      \
            const uint64_t word = WORD(values, at + i);                                            \
            const uint64_t mask = -(uint64_t)td_bit(valid, at + i);                                \
            x[i] += k.null_x ^ ((td_mix(word ^ k.a, k.b) ^ k.null_x) & mask);                      \
            y[i] += k.null_y ^ ((td_mix(word ^ k.c, k.d) ^ k.null_y) & mask);                      \
        }                                                                                          \
    }

TD_NUMBERS(td_add_bit, TD_WORD_BIT)
TD_NUMBERS(td_add_i8, TD_WORD_I8)
TD_NUMBERS(td_add_i16, TD_WORD_I16)
TD_NUMBERS(td_add_i32, TD_WORD_I32)
TD_NUMBERS(td_add_i64, TD_WORD_I64)
TD_NUMBERS(td_add_f32, td_word_f32)
TD_NUMBERS(td_add_f64, td_word_f64)

static inline int64_t td_offset(const td_row_column *column, int64_t at) {
    const bool is_wide = column->storage == TD_ROW_BYTES64 || column->storage == TD_ROW_LIST64;
    return is_wide ? ((const int64_t *)column->offsets)[at] : ((const int32_t *)column->offsets)[at];
}

/* The first `size` bytes, 0 to 8, of those at `at`, none of which lie at or behind `end`. */
static inline uint64_t td_part(const uint8_t *at, int64_t size, const uint8_t *end) {
    uint64_t word = 0;
    if (size <= 0) return 0;
    if (end - at >= 8) return td_read8(at) & (~UINT64_C(0) >> (64 - 8 * size));
    for (int64_t i = 0; i < size; i++) word |= (uint64_t)at[i] << 8 * i;
    return word;
}

/* Texts: their bytes, a byte 1, and zeros up to a multiple of 16. */
static void td_add_bytes(const td_row_column *column, int64_t at, int64_t count, uint64_t *restrict x,
                         uint64_t *restrict y) {
    const td_row_keys k = *column->keys;
    const uint8_t *const bytes = column->values;
    const int64_t last = td_offset(column, at + count);
    const uint8_t *const end = bytes == NULL ? NULL : bytes + last;
    int64_t to = td_offset(column, at);
    for (int64_t i = 0; i < count; i++) {
        const int64_t from = to;
        to = td_offset(column, at + i + 1);
        if (column->valid != NULL && !td_bit(column->valid, at + i)) {
            x[i] += k.null_x;
            y[i] += k.null_y;
            continue;
        }
        const uint8_t *p = bytes == NULL ? NULL : bytes + from;
        int64_t size = to - from;
        uint64_t u = k.b, v = k.d, low, high;
        for (; size >= 16; p += 16, size -= 16) td_fold(td_read8(p), td_read8(p + 8), &k, &u, &v);
        const uint64_t mark = UINT64_C(1) << 8 * (size & 7);
        if (size < 8) {
            low = td_part(p, size, end) | mark;
            high = 0;
        } else {
            low = td_read8(p);
            high = td_part(p + 8, size - 8, end) | mark;
        }
        td_fold(low, high, &k, &u, &v);
        x[i] += u;
        y[i] += v;
    }
}

static void td_add_cells(const td_row_column *column, int64_t from, int64_t count, uint64_t *x, uint64_t *y);

/* Lists: a block (number of items, 0), then the digest of each item as a block. */
static void td_add_lists(const td_row_column *column, int64_t at, int64_t count, uint64_t *x, uint64_t *y) {
    const td_row_keys k = *column->keys;
    uint64_t item_x[TD_BLOCK], item_y[TD_BLOCK];
    const int64_t last = td_offset(column, at + count);
    int64_t first = 0, ready = 0; /* the items whose digests are there */
    for (int64_t i = 0; i < count; i++) {
        if (column->valid != NULL && !td_bit(column->valid, at + i)) {
            x[i] += k.null_x;
            y[i] += k.null_y;
            continue;
        }
        const int64_t from = td_offset(column, at + i), to = td_offset(column, at + i + 1);
        uint64_t u = k.b, v = k.d;
        td_fold((uint64_t)(to - from), 0, &k, &u, &v);
        for (int64_t item = from; item < to; item++) {
            if (item >= ready) {
                first = item;
                ready = last - first < TD_BLOCK ? last : first + TD_BLOCK;
                memset(item_x, 0, sizeof item_x);
                memset(item_y, 0, sizeof item_y);
                td_add_cells(column->items, first, ready - first, item_x, item_y);
            }
            td_fold(item_x[item - first], item_y[item - first], &k, &u, &v);
        }
        x[i] += u;
        y[i] += v;
    }
}

static void td_add_codes(const td_row_column *column, int64_t at, int64_t count, uint64_t *restrict x,
                         uint64_t *restrict y) {
    const td_row_keys *const k = column->keys;
    for (int64_t i = 0; i < count; i++) {
        const bool is_valid = column->valid == NULL || td_bit(column->valid, at + i);
        const int32_t code = column->codes[at + i];
        x[i] += is_valid ? column->coded_x[code] : k->null_x;
        y[i] += is_valid ? column->coded_y[code] : k->null_y;
    }
}

/* Adds the digests of cells `from` to `from + count` to x and y. */
static void td_add_cells(const td_row_column *column, int64_t from, int64_t count, uint64_t *x, uint64_t *y) {
    const int64_t at = column->start + from;
    if (count == 0) return; /* then buffers may be missing */
    if (column->codes != NULL) {
        td_add_codes(column, at, count, x, y);
        return;
    }
    switch (column->storage) {
    case TD_ROW_BIT: td_add_bit(column, at, count, x, y); break;
    case TD_ROW_I8: td_add_i8(column, at, count, x, y); break;
    case TD_ROW_I16: td_add_i16(column, at, count, x, y); break;
    case TD_ROW_I32: td_add_i32(column, at, count, x, y); break;
    case TD_ROW_I64: td_add_i64(column, at, count, x, y); break;
    case TD_ROW_F32: td_add_f32(column, at, count, x, y); break;
    case TD_ROW_F64: td_add_f64(column, at, count, x, y); break;
    case TD_ROW_BYTES32:
    case TD_ROW_BYTES64: td_add_bytes(column, at, count, x, y); break;
    case TD_ROW_LIST32:
    case TD_ROW_LIST64: td_add_lists(column, at, count, x, y); break;
    }
}

/* The number that stands for a value's digest goes into a sketch of distinct values. */
static inline void td_sketch(uint8_t *registers, const uint64_t *row_keys, uint64_t x, uint64_t y) {
    const uint64_t number = td_mix(x ^ row_keys[8], y ^ row_keys[9]);
    const uint64_t rest = number << TD_REGISTER_BITS | UINT64_C(1) << (TD_REGISTER_BITS - 1);
    const uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);
    uint8_t *const greatest = &registers[number >> (64 - TD_REGISTER_BITS)];
    if (*greatest < rank) *greatest = rank;
}

/* The sum of rows: four rounds of a Feistel network over (x, y), so that no two sums of cells give
   one digest. */
static inline void td_end_row(const uint64_t *r, uint64_t *x, uint64_t *y) {
    *y ^= td_mix(*x ^ r[0], r[1]);
    *x ^= td_mix(*y ^ r[2], r[3]);
    *y ^= td_mix(*x ^ r[4], r[5]);
    *x ^= td_mix(*y ^ r[6], r[7]);
}

/* Adds the digests of `num_rows` rows to sum[0] * 2^64 + sum[1], and puts them into `digests`, shape
   (num_rows, 2), unless it is NULL; the values of each column into its `registers`, unless NULL. */
static void td_hash_rows(const td_row_column *columns, int64_t num_columns, int64_t num_rows,
                         const uint64_t *row_keys, uint64_t *sum, uint64_t *digests,
                         uint8_t *registers) {
    uint64_t x[TD_BLOCK], y[TD_BLOCK], cell_x[TD_BLOCK], cell_y[TD_BLOCK];
    for (int64_t from = 0; from < num_rows; from += TD_BLOCK) {
        const int64_t count = num_rows - from < TD_BLOCK ? num_rows - from : TD_BLOCK;
        memset(x, 0, sizeof x);
        memset(y, 0, sizeof y);
        for (int64_t c = 0; c < num_columns; c++) {
            if (registers == NULL) {
                td_add_cells(&columns[c], from, count, x, y);
                continue;
            }
            const td_row_keys *const keys = columns[c].keys;
            uint8_t *const to = registers + c * TD_REGISTERS;
            memset(cell_x, 0, sizeof cell_x);
            memset(cell_y, 0, sizeof cell_y);
            td_add_cells(&columns[c], from, count, cell_x, cell_y);
            for (int64_t i = 0; i < count; i++) {
                x[i] += cell_x[i];
                y[i] += cell_y[i];
                if (cell_x[i] != keys->null_x || cell_y[i] != keys->null_y)
                    td_sketch(to, row_keys, cell_x[i], cell_y[i]);
            }
        }
        for (int64_t i = 0; i < count; i++) {
            td_end_row(row_keys, &x[i], &y[i]);
            sum[1] += y[i];
            sum[0] += x[i] + (sum[1] < y[i]);
        }
        if (digests == NULL) continue;
        for (int64_t i = 0; i < count; i++) {
            digests[2 * (from + i)] = x[i];
            digests[2 * (from + i) + 1] = y[i];
        }
    }
}

#endif
