#include "value.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- arena */

#define FIRST_BLOCK 4096u
#define KEPT_BLOCK (1u << 20) /* a larger one is given back at the next reset */

void td_arena_init(td_arena *arena, size_t limit) {
    arena->first = arena->now = NULL;
    arena->given = 0;
    arena->limit = limit;
}

void *td_arena_take_block(td_arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 4) return NULL;
    const size_t rounded = (bytes + 7) & ~(size_t)7;
    if (rounded > arena->limit - arena->given) return NULL;
    size_t size = arena->now ? 2 * arena->now->size : FIRST_BLOCK;
    if (size > KEPT_BLOCK) size = KEPT_BLOCK;
    if (size < rounded) size = rounded;
    td_block *const block = malloc(sizeof *block + size);
    if (!block) return NULL;
    block->next = NULL;
    block->used = rounded;
    block->size = size;
    if (arena->now)
        arena->now->next = block;
    else
        arena->first = block;
    arena->now = block;
    arena->given += rounded;
    return block->bytes;
}

static void free_blocks(td_block *block) {
    while (block) {
        td_block *const next = block->next;
        free(block);
        block = next;
    }
}

void td_arena_reset(td_arena *arena) {
    td_block *const last = arena->now;
    arena->given = 0;
    if (!last) return;
    if (last != arena->first || last->size > KEPT_BLOCK) {
        /* Rows of one source are alike: keep the newest block, which is the largest that is not too large. */
        td_block *block = arena->first, *kept = NULL;
        while (block) {
            td_block *const next = block->next;
            if (block->size <= KEPT_BLOCK && (!kept || block->size >= kept->size)) {
                free(kept);
                kept = block;
            } else {
                free(block);
            }
            block = next;
        }
        arena->first = arena->now = kept;
        if (!kept) return;
        kept->next = NULL;
    }
    arena->now->used = 0;
}

void td_arena_free(td_arena *arena) {
    free_blocks(arena->first);
    arena->first = arena->now = NULL;
    arena->given = 0;
}

/* ---------------------------------------------------------------- text */

size_t td_write_int(int64_t i, char *to) {
    char digits[TD_INT_TEXT];
    char *at = digits + sizeof digits;
    uint64_t rest = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (i < 0) *--at = '-';
    const size_t size = (size_t)(digits + sizeof digits - at);
    memcpy(to, at, size);
    return size;
}

#define HIGH_BITS UINT64_C(0x8080808080808080)

static int is_utf8_slowly(const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        const uint8_t first = *at++;
        if (first < 0x80) continue;
        /* The second byte's range tells overlong forms, surrogates and what is too large from the rest. */
        uint8_t low = 0x80, high = 0xbf;
        int more;
        if (first >= 0xc2 && first <= 0xdf) {
            more = 1;
        } else if (first >= 0xe0 && first <= 0xef) {
            more = 2;
            if (first == 0xe0) low = 0xa0;
            if (first == 0xed) high = 0x9f;
        } else if (first >= 0xf0 && first <= 0xf4) {
            more = 3;
            if (first == 0xf0) low = 0x90;
            if (first == 0xf4) high = 0x8f;
        } else {
            return 0;
        }
        if (end - at < more || at[0] < low || at[0] > high) return 0;
        for (int k = 1; k < more; k++)
            if ((at[k] & 0xc0) != 0x80) return 0;
        at += more;
    }
    return 1;
}

int td_is_utf8(const char *text, size_t size) {
    const uint8_t *const at = (const uint8_t *)text;
    uint64_t seen = 0;
    if (size >= 8) {
        uint64_t word;
        for (size_t k = 0; k + 8 <= size; k += 8) {
            memcpy(&word, at + k, 8);
            seen |= word;
        }
        memcpy(&word, at + size - 8, 8);
        seen |= word;
    } else if (size >= 4) {
        uint32_t head, tail;
        memcpy(&head, at, 4);
        memcpy(&tail, at + size - 4, 4);
        seen = head | tail;
    } else {
        for (size_t k = 0; k < size; k++) seen |= at[k];
    }
    return !(seen & HIGH_BITS) || is_utf8_slowly(at, at + size);
}
