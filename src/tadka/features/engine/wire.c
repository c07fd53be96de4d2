#include "wire.h"

#include "hash.h" /* td_read8 */

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, GROUP = 3, END_GROUP = 4, FIXED32 = 5 };

/* Actions: a kind alone for one value, plus ITEM for one item of a list, plus PACKED for a run of them. */
enum { SKIP = 0, ITEM = 8, PACKED = 16 };

/* ---------------------------------------------------------------- schema */

static uint32_t wire_type(uint32_t kind) { return kind == TD_TEXT ? BYTES : kind == TD_FLOAT ? FIXED64 : VARINT; }

static int compare_tags(const void *a, const void *b) {
    const uint32_t x = ((const td_tag *)a)->tag, y = ((const td_tag *)b)->tag;
    return (x > y) - (x < y);
}

static void add_tag(td_schema *schema, uint32_t tag, uint32_t field, uint8_t action) {
    const td_tag entry = {tag, (uint16_t)field, action};
    if (tag < TD_NEAR_TAGS)
        schema->near[tag] = entry;
    else
        schema->far[schema->num_far++] = entry;
}

static int is_taken(const td_schema *schema, uint32_t field) {
    for (uint32_t other = 0; other < field; other++)
        if (schema->fields[other].number == schema->fields[field].number) return 1;
    return 0;
}

static td_value default_of(const td_field *field) {
    td_value value = {.i = 0, .size = 0, .kind = field->kind};
    if (field->is_list) {
        value.kind = TD_LIST;
        value.items = NULL;
    } else if (field->is_optional) {
        value.kind = TD_NONE;
    } else if (field->kind == TD_TEXT) {
        value.text = "";
    } else if (field->kind == TD_FLOAT) {
        value.f = 0.0;
    }
    return value;
}

int td_schema_init(td_schema *schema, const td_field *fields, uint32_t num_fields) {
    memset(schema, 0, sizeof *schema);
    if (num_fields > TD_MAX_FIELDS) return 2;
    schema->num_fields = num_fields;
    const size_t room = (size_t)num_fields + 1;
    schema->fields = calloc(room, sizeof *schema->fields);
    schema->defaults = calloc(room, sizeof *schema->defaults);
    schema->times = calloc(room, sizeof *schema->times);
    schema->far = calloc(2 * room, sizeof *schema->far);
    if (!schema->fields || !schema->defaults || !schema->times || !schema->far) {
        td_schema_free(schema);
        return 1;
    }
    for (uint32_t f = 0; f < num_fields; f++) {
        const td_field *const field = &fields[f];
        const uint32_t type = wire_type(field->kind);
        schema->fields[f] = *field;
        if (field->number < 1 || field->number > TD_MAX_NUMBER || field->kind < TD_BOOL || field->kind > TD_TEXT ||
            (field->is_list && field->is_optional) || is_taken(schema, f)) {
            td_schema_free(schema);
            return 2;
        }
        schema->defaults[f] = default_of(field);
        if (field->kind == TD_TIME) schema->times[schema->num_times++] = f;
        add_tag(schema, field->number << 3 | type, f, (uint8_t)(field->kind + (field->is_list ? ITEM : 0)));
        if (field->is_list && type != BYTES)
            add_tag(schema, field->number << 3 | BYTES, f, (uint8_t)(field->kind + PACKED));
    }
    qsort(schema->far, schema->num_far, sizeof *schema->far, compare_tags);
    return 0;
}

void td_schema_free(td_schema *schema) {
    free(schema->fields);
    free(schema->defaults);
    free(schema->times);
    free(schema->far);
    memset(schema, 0, sizeof *schema);
}

static td_tag find_tag(const td_schema *schema, uint32_t tag) {
    uint32_t low = 0, high = schema->num_far;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (schema->far[middle].tag < tag)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < schema->num_far && schema->far[low].tag == tag) return schema->far[low];
    const td_tag none = {tag, 0, SKIP};
    return none;
}

/* ---------------------------------------------------------------- message */

typedef struct {
    const uint8_t *at, *end;
} td_reader;

/* A varint of at most `bytes` bytes, modulo 2^64. */
static td_status read_long(td_reader *reader, int bytes, uint64_t *value) {
    const uint8_t *at = reader->at;
    uint64_t sum = 0;
    for (int k = 0; k < bytes; k++) {
        if (at == reader->end) return TD_TRUNCATED;
        const uint64_t byte = *at++;
        sum |= (byte & 0x7f) << (7 * k);
        if (byte < 0x80) {
            reader->at = at;
            *value = sum;
            return TD_OK;
        }
    }
    return TD_MALFORMED;
}

static inline td_status read_varint(td_reader *reader, uint64_t *value) {
    if (reader->at < reader->end && *reader->at < 0x80) {
        *value = *reader->at++;
        return TD_OK;
    }
    return read_long(reader, 10, value);
}

static inline td_status read_tag(td_reader *reader, uint32_t *tag) {
    uint64_t value = *reader->at; /* the caller saw that there is a byte */
    if (value < 0x80) {
        reader->at++;
    } else {
        const td_status status = read_long(reader, 5, &value);
        if (status != TD_OK) return status;
        if (value >> 32) return TD_MALFORMED;
    }
    *tag = (uint32_t)value;
    return value >> 3 ? TD_OK : TD_MALFORMED;
}

/* The size of a field's bytes, all of which are there. */
static inline td_status read_size(td_reader *reader, size_t *size) {
    uint64_t value;
    if (reader->at < reader->end && *reader->at < 0x80) {
        value = *reader->at++;
    } else {
        const td_status status = read_long(reader, 5, &value);
        if (status != TD_OK) return status;
    }
    if (value > (size_t)(reader->end - reader->at)) return TD_TRUNCATED;
    if (value > TD_MAX_TEXT) return TD_MALFORMED;
    *size = (size_t)value;
    return TD_OK;
}

static inline td_status read_scalar(td_reader *reader, uint32_t kind, td_value *value) {
    uint64_t word;
    if (kind == TD_FLOAT) {
        if (reader->end - reader->at < 8) return TD_TRUNCATED;
        word = td_read8(reader->at);
        memcpy(&value->f, &word, 8);
        reader->at += 8;
    } else {
        const td_status status = read_varint(reader, &word);
        if (status != TD_OK) return status;
        if (kind == TD_BOOL) word = word != 0;
        memcpy(&value->i, &word, 8); /* two's complement */
    }
    value->size = 0;
    value->kind = kind;
    return TD_OK;
}

static inline td_status read_text(td_reader *reader, td_value *value) {
    size_t size;
    const td_status status = read_size(reader, &size);
    if (status != TD_OK) return status;
    value->text = (const char *)reader->at;
    value->size = (uint32_t)size;
    value->kind = TD_TEXT;
    reader->at += size;
    return td_is_utf8(value->text, size) ? TD_OK : TD_NOT_UTF8;
}

static td_status skip(td_reader *reader, uint32_t tag) {
    uint32_t open[MAX_DEPTH]; /* numbers of the groups we are in */
    int depth = 0;
    uint64_t word;
    size_t size;
    td_status status;
    for (;;) {
        switch (tag & 7) {
        case VARINT:
            status = read_varint(reader, &word);
            if (status != TD_OK) return status;
            break;
        case FIXED64:
        case FIXED32:
            size = (tag & 7) == FIXED64 ? 8 : 4;
            if ((size_t)(reader->end - reader->at) < size) return TD_TRUNCATED;
            reader->at += size;
            break;
        case BYTES:
            status = read_size(reader, &size);
            if (status != TD_OK) return status;
            reader->at += size;
            break;
        case GROUP:
            if (depth == MAX_DEPTH) return TD_MALFORMED;
            open[depth++] = tag >> 3;
            break;
        case END_GROUP:
            if (!depth || open[--depth] != tag >> 3) return TD_MALFORMED;
            break;
        default:
            return TD_MALFORMED;
        }
        if (!depth) return TD_OK;
        if (reader->at == reader->end) return TD_TRUNCATED;
        status = read_tag(reader, &tag);
        if (status != TD_OK) return status;
    }
}

/* Room for items of a list is 8, then the next power of two, so that its size tells how much there is. */
static size_t room_of(size_t size) {
    size_t room = size ? 8 : 0;
    while (room < size) room *= 2;
    return room;
}

/* Makes room for more items and gives the place of the first. */
static td_value *extend(td_value *list, size_t more, td_arena *arena) {
    const size_t before = list->size, after = before + more;
    if (after > UINT32_MAX / sizeof *list) return NULL;
    const size_t room = room_of(after);
    td_value *items = (td_value *)list->items; /* the arena's */
    if (room > room_of(before)) {
        items = td_arena_take(arena, room * sizeof *items);
        if (!items) return NULL;
        if (before) memcpy(items, list->items, before * sizeof *items);
        list->items = items;
    }
    list->size = (uint32_t)after;
    return items + before;
}

static td_status read_packed(td_reader *reader, uint32_t kind, td_value *list, td_arena *arena) {
    size_t size, count = 0;
    td_status status = read_size(reader, &size);
    if (status != TD_OK) return status;
    td_reader inner = {reader->at, reader->at + size};
    reader->at += size;
    if (kind == TD_FLOAT) {
        if (size % 8) return TD_TRUNCATED;
        count = size / 8;
    } else {
        for (size_t k = 0; k < size; k++) count += inner.at[k] < 0x80;
        if (size && inner.at[size - 1] >= 0x80) return TD_TRUNCATED;
    }
    if (!count) return TD_OK;
    td_value *item = extend(list, count, arena);
    if (!item) return TD_NO_MEMORY;
    for (; inner.at < inner.end; item++) {
        status = read_scalar(&inner, kind, item);
        if (status != TD_OK) return status;
    }
    return TD_OK;
}

static int is_time(int64_t i) { return i >= TD_FIRST_TIME && i <= TD_LAST_TIME; }

/* Only what a time is in the end counts: of a field that comes several times the last one. */
static td_status check_times(const td_schema *schema, const td_value *out, uint32_t *field) {
    for (uint32_t t = 0; t < schema->num_times; t++) {
        const td_value *const value = &out[schema->times[t]];
        *field = schema->times[t];
        if (value->kind == TD_TIME && !is_time(value->i)) return TD_RANGE;
        if (value->kind == TD_LIST)
            for (uint32_t k = 0; k < value->size; k++)
                if (!is_time(value->items[k].i)) return TD_RANGE;
    }
    *field = TD_NO_FIELD;
    return TD_OK;
}

td_status td_schema_decode(const td_schema *schema, const char *data, size_t size, td_arena *arena, td_value *out,
                           uint32_t *field) {
    static const char nothing[1];
    if (!data) data = nothing;
    td_reader reader = {(const uint8_t *)data, (const uint8_t *)data + size};
    td_status status;
    *field = TD_NO_FIELD;
    memcpy(out, schema->defaults, schema->num_fields * sizeof *out);
    while (reader.at < reader.end) {
        uint32_t tag;
        status = read_tag(&reader, &tag);
        if (status != TD_OK) return status;
        const td_tag known = tag < TD_NEAR_TAGS ? schema->near[tag] : find_tag(schema, tag);
        td_value *const value = &out[known.field];
        if (known.action == TD_TEXT) {
            status = read_text(&reader, value);
        } else if (known.action == SKIP) {
            status = skip(&reader, tag);
            if (status != TD_OK) return status;
        } else if (known.action < ITEM) {
            status = read_scalar(&reader, known.action, value);
        } else if (known.action < PACKED) {
            td_value *const item = extend(value, 1, arena);
            if (!item)
                status = TD_NO_MEMORY;
            else if (known.action == ITEM + TD_TEXT)
                status = read_text(&reader, item);
            else
                status = read_scalar(&reader, known.action - ITEM, item);
        } else {
            status = read_packed(&reader, known.action - PACKED, value, arena);
        }
        if (status != TD_OK) {
            *field = known.field;
            return status;
        }
    }
    return schema->num_times ? check_times(schema, out, field) : TD_OK;
}
