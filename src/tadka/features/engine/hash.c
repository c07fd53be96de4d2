#include "hash.h"

uint64_t td_hash_long(const uint8_t *at, size_t size, uint64_t state) {
    size_t left = size;
    if (left >= 48) {
        uint64_t second = state, third = state;
        do {
            state = td_mix(td_read8(at) ^ TD_SECRET_1, td_read8(at + 8) ^ state);
            second = td_mix(td_read8(at + 16) ^ TD_SECRET_2, td_read8(at + 24) ^ second);
            third = td_mix(td_read8(at + 32) ^ TD_SECRET_3, td_read8(at + 40) ^ third);
            at += 48;
            left -= 48;
        } while (left >= 48);
        state ^= second ^ third;
    }
    while (left > 16) {
        state = td_mix(td_read8(at) ^ TD_SECRET_1, td_read8(at + 8) ^ state);
        at += 16;
        left -= 16;
    }
    /* The last 16 bytes; some of them may have been read before. */
    return td_hash_end(td_read8(at + left - 16), td_read8(at + left - 8), size, state);
}

uint64_t td_hash(const void *data, size_t size, uint64_t seed) {
    return td_hash_from(data, size, td_hash_state(seed));
}
