/* The 64-bit hash of categories; hash.py is the same in Python.
   Source: wyhash, final version 4.3, by Wang Yi (public domain), github.com/wangyi-fudan/wyhash. */
#ifndef TADKA_HASH_H
#define TADKA_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TD_SECRET_0 UINT64_C(0x2d358dccaa6c78a5)
#define TD_SECRET_1 UINT64_C(0x8bb84b93962eacc9)
#define TD_SECRET_2 UINT64_C(0x4b33a62ed433d4a3)
#define TD_SECRET_3 UINT64_C(0x4d5a2da51de1aa47)

uint64_t td_hash(const void *data, size_t size, uint64_t seed);

/* The low half of a product; the high one goes to *high. */
static inline uint64_t td_multiply(uint64_t a, uint64_t b, uint64_t *high) {
#if defined(__SIZEOF_INT128__)
    const unsigned __int128 product = (unsigned __int128)a * b;
    *high = (uint64_t)(product >> 64);
    return (uint64_t)product;
#else
    const uint64_t a1 = a >> 32, a0 = (uint32_t)a, b1 = b >> 32, b0 = (uint32_t)b;
    const uint64_t low = a0 * b0, left = a1 * b0, right = a0 * b1;
    const uint64_t middle = (low >> 32) + (uint32_t)left + (uint32_t)right;
    *high = a1 * b1 + (left >> 32) + (right >> 32) + (middle >> 32);
    return middle << 32 | (uint32_t)low;
#endif
}

static inline uint64_t td_mix(uint64_t a, uint64_t b) {
    uint64_t high;
    const uint64_t low = td_multiply(a, b, &high);
    return low ^ high;
}

static inline uint64_t td_read8(const uint8_t *from) {
    uint64_t word;
    memcpy(&word, from, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline uint64_t td_read4(const uint8_t *from) {
    uint32_t word;
    memcpy(&word, from, 4);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

/* The part of a hash that depends on the seed only, computed once for each feature. */
static inline uint64_t td_hash_state(uint64_t seed) { return seed ^ td_mix(seed ^ TD_SECRET_0, TD_SECRET_1); }

static inline uint64_t td_hash_end(uint64_t a, uint64_t b, size_t size, uint64_t state) {
    uint64_t high;
    const uint64_t low = td_multiply(a ^ TD_SECRET_1, b ^ state, &high);
    return td_mix(low ^ TD_SECRET_0 ^ size, high ^ TD_SECRET_1);
}

uint64_t td_hash_long(const uint8_t *at, size_t size, uint64_t state); /* size > 16 */

static inline uint64_t td_hash_from(const char *text, size_t size, uint64_t state) {
    const uint8_t *const at = (const uint8_t *)text;
    uint64_t a = 0, b = 0;
    if (size > 16) return td_hash_long(at, size, state);
    if (size >= 4) {
        const size_t step = size >> 3 << 2;
        a = td_read4(at) << 32 | td_read4(at + step);
        b = td_read4(at + size - 4) << 32 | td_read4(at + size - 4 - step);
    } else if (size) {
        a = (uint64_t)at[0] << 16 | (uint64_t)at[size >> 1] << 8 | at[size - 1];
    }
    return td_hash_end(a, b, size, state);
}

#endif
