/* One value of a row, and the memory that a row's made-up values live in. No Python here. */
#ifndef TADKA_VALUE_H
#define TADKA_VALUE_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    TD_NONE = 0,  /* missing */
    TD_BOOL = 1,  /* i is 0 or 1 */
    TD_INT = 2,   /* i */
    TD_FLOAT = 3, /* f */
    TD_TIME = 4,  /* i: microseconds since 1970-01-01 00:00 UTC */
    TD_TEXT = 5,  /* text[0..size), valid UTF-8, not ended by a zero byte */
    TD_LIST = 6   /* items[0..size), none of them a list */
} td_kind;

typedef struct td_value {
    union {
        int64_t i;
        double f;
        const char *text;
        const struct td_value *items;
    };
    uint32_t size;
    uint32_t kind; /* td_kind */
} td_value;

/* What became of one row. Everything but TD_OK leaves no entry behind. */
typedef enum {
    TD_OK = 0,
    TD_PYTHON = 1,    /* the case is unusual: Python has to evaluate this property for this row */
    TD_NO_MEMORY = 2,
    TD_TRUNCATED = 3, /* the message ends inside a field */
    TD_MALFORMED = 4, /* a varint of over 10 bytes, field number 0, a group that does not end, ... */
    TD_NOT_UTF8 = 5,  /* a string field is not UTF-8 */
    TD_RANGE = 6,     /* a value that its type cannot hold, such as a time beyond year 9999 */
    TD_MISSING = 7    /* a null in a column where none may be */
} td_status;

#define TD_FIRST_TIME INT64_C(-62135596800000000) /* 0001-01-01 00:00 */
#define TD_LAST_TIME INT64_C(253402300799999999)  /* 9999-12-31 23:59:59.999999 */
#define TD_MAX_TEXT 0x7fffffffu                   /* bytes of one text */

/* Grows in blocks, so that what was given out stays where it is until td_arena_reset. */
typedef struct td_block {
    struct td_block *next;
    size_t used, size;
    char bytes[];
} td_block;

typedef struct {
    td_block *first, *now;
    size_t given, limit; /* bytes since the last reset, and how many there may be */
} td_arena;

void td_arena_init(td_arena *arena, size_t limit);
void *td_arena_take_block(td_arena *arena, size_t bytes); /* the slow half of td_arena_take */
void td_arena_reset(td_arena *arena);                     /* keeps one block */
void td_arena_free(td_arena *arena);

/* Memory aligned to 8; NULL past the limit. */
static inline void *td_arena_take(td_arena *arena, size_t bytes) {
    td_block *const now = arena->now;
    if (now && bytes <= now->size - now->used) { /* both are multiples of 8 */
        const size_t rounded = (bytes + 7) & ~(size_t)7;
        if (rounded <= arena->limit - arena->given) {
            void *const place = now->bytes + now->used;
            now->used += rounded;
            arena->given += rounded;
            return place;
        }
    }
    return td_arena_take_block(arena, bytes);
}

#define TD_INT_TEXT 20 /* bytes of the longest int64 */

/* Writes an integer as Python's str() does, and gives the number of bytes. */
size_t td_write_int(int64_t i, char *to);

/* Whether bytes are UTF-8 as Python and protobuf see it: no overlong form, no surrogate, nothing above U+10FFFF. */
int td_is_utf8(const char *text, size_t size);

#endif
