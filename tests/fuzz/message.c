/* Fuzz target of the engine: any bytes as a message and as columns, read by plans that have every type of field,
   every encoding and properties of every sort. LLVMFuzzerTestOneInput is libFuzzer's interface; driver.c has it, too.

   What must hold beside memory safety: every entry lies in its feature's slots, features are in order, values are
   finite, as many entries as values; an error leaves no entry; a row gives the same entries again, from fresh memory,
   from columns of its own values, and from a block of them. */
#include "plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(truth)                                                                                                 \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #truth);                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)
#define LENGTH(array) (sizeof(array) / sizeof *(array))

#define MAX_SIZE 65536u /* longer inputs show nothing more */
#define MAX_FEATURES 64u

/* ---------------------------------------------------------------- fields */

enum {
    TIME, SEEN, USER, SITE, CATEGORY, COUNT, PRICE, BID, FLAG, ANSWER,
    TAGS, CODES, FLAGS, TIMES, WEIGHTS, OWN, WORD, SIZE, SCALED, LEVEL, UNUSED,
    NUM_FIELDS
};

#define ONE(number, kind) {number, kind, 0, 0, 1}
#define OPTIONAL(number, kind) {number, kind, 0, 1, 1}
#define LIST(number, kind) {number, kind, 1, 0, 1}

/* Those of class Everything in tests/unit/features/rows.py, so that its messages are seeds. */
static const td_field near_fields[NUM_FIELDS] = {
    ONE(1, TD_TIME), OPTIONAL(2, TD_TIME), OPTIONAL(3, TD_TEXT), ONE(4, TD_TEXT), OPTIONAL(5, TD_INT),
    ONE(6, TD_INT), ONE(7, TD_FLOAT), OPTIONAL(8, TD_FLOAT), ONE(9, TD_BOOL), OPTIONAL(10, TD_BOOL),
    LIST(11, TD_TEXT), LIST(12, TD_INT), LIST(13, TD_BOOL), LIST(14, TD_TIME), LIST(15, TD_FLOAT),
    ONE(16, TD_TEXT), OPTIONAL(17, TD_TEXT), ONE(18, TD_INT), OPTIONAL(19, TD_FLOAT), OPTIONAL(20, TD_INT),
    ONE(21, TD_TEXT),
};

/* The same with other numbers, most of them beyond the tags that are found by index. */
static const td_field far_fields[NUM_FIELDS] = {
    ONE(7, TD_TIME), OPTIONAL(128, TD_TIME), OPTIONAL(1, TD_TEXT), ONE(2047, TD_TEXT), OPTIONAL(3, TD_INT),
    ONE(2048, TD_INT), ONE(536870911, TD_FLOAT), OPTIONAL(129, TD_FLOAT), ONE(2, TD_BOOL), OPTIONAL(130, TD_BOOL),
    LIST(16, TD_TEXT), LIST(500, TD_INT), LIST(4, TD_BOOL), LIST(300000, TD_TIME), LIST(9, TD_FLOAT),
    ONE(11, TD_TEXT), OPTIONAL(131, TD_TEXT), ONE(12, TD_INT), OPTIONAL(8, TD_FLOAT), OPTIONAL(15, TD_INT),
    ONE(127, TD_TEXT),
};

/* ---------------------------------------------------------------- properties */

/* Of the same name in program.c; test_fuzz.py compares the numbers. */
enum {
    RETURN = 0, FIELD = 1, CONSTANT = 2, MOVE = 3, JUMP = 4, JUMP_IF = 5, JUMP_UNLESS = 6, REQUIRED = 7, TEXT = 8,
    ITEMS = 9, IS_NONE = 10, NOT = 11, INT = 13, ROUND = 15, FLOOR = 16, SQRT = 18, NEGATIVE = 19, ABSOLUTE = 20,
    ADD = 21, SUBTRACT = 22, MULTIPLY = 23, DIVIDE = 24, FLOOR_DIVIDE = 25, MODULO = 26, XOR = 29, MIN = 30, MAX = 31,
    EQUAL = 32, LESS = 34, LESS_EQUAL = 35, IN = 36, CONTAINS = 37, ENDS = 39, LENGTH_OF = 40, LOWER = 41,
    UPPER = 42, STRIP = 43, SLICE = 44, ITEM = 45, YEAR = 46, MONTH = 47, DAY = 48, HOUR = 49, WEEKDAY = 53, DAYS = 55,
    TOTAL_SECONDS = 58
};

#define TEXT_VALUE(words) {.text = words, .size = sizeof words - 1, .kind = TD_TEXT}
#define INT_VALUE(number) {.i = number, .kind = TD_INT}
#define NONE_VALUE {.i = 0, .kind = TD_NONE}

static const td_value constants[] = {
    INT_VALUE(0), INT_VALUE(3),                 /* 0: [:3] */
    INT_VALUE(1), INT_VALUE(-1),                /* 2: [1:-1] */
    TEXT_VALUE(".com"), TEXT_VALUE(".\u65e5"),  /* 4: endings */
    TEXT_VALUE("a"), TEXT_VALUE("b"),           /* 6: in ("a", "b") */
    TEXT_VALUE("_"), TEXT_VALUE("x"), NONE_VALUE, INT_VALUE(10), /* 8 */
    INT_VALUE(7), INT_VALUE(INT64_C(31622400000001)),            /* 12; 13 is 366 days and a microsecond */
    {.f = 2.5, .kind = TD_FLOAT},                                /* 14 */
};

#define PROGRAM(name, ...)                                                                                             \
    static const td_op name##_ops[] = {__VA_ARGS__};                                                                   \
    static const td_program name = {name##_ops, LENGTH(name##_ops), constants, LENGTH(constants), NUM_FIELDS}

/* Code, register of the result, operands, number. As the compiler writes them. */
PROGRAM(hour, {FIELD, 2, 0, 0, TIME}, {HOUR, 1, 2, 0, 0}, {TEXT, 0, 1, 1, 0}, {RETURN, 0, 0, 0, 0}); /* str(hour) */
PROGRAM(cross, {FIELD, 1, 0, 0, USER}, {CONSTANT, 2, 0, 0, 8}, {FIELD, 3, 0, 0, SITE}, {CONSTANT, 4, 0, 0, 8},
        {FIELD, 5, 0, 0, CATEGORY}, {TEXT, 0, 1, 5, 0}, {RETURN, 0, 0, 0, 0}); /* f"{user}_{site}_{category}" */
PROGRAM(price_int, {FIELD, 1, 0, 0, PRICE}, {INT, 0, 1, 0, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(site_int, {FIELD, 1, 0, 0, SITE}, {INT, 0, 1, 0, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(lower, {FIELD, 1, 0, 0, SITE}, {LOWER, 0, 1, 0, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(upper, {FIELD, 3, 0, 0, OWN}, {STRIP, 2, 3, 3, 0}, {UPPER, 1, 2, 0, 0}, {SLICE, 0, 1, 0, 2},
        {RETURN, 0, 0, 0, 0}); /* own.strip().upper()[1:-1] */
PROGRAM(head, {FIELD, 1, 0, 0, SITE}, {SLICE, 0, 1, 0, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(last, {FIELD, 1, 0, 0, SITE}, {ITEM, 0, 1, 0, -1}, {RETURN, 0, 0, 0, 0});
PROGRAM(is_known, {FIELD, 1, 0, 0, USER}, {IS_NONE, 0, 1, 0, 0}, {NOT, 0, 0, 0, 0}, {JUMP_UNLESS, 0, 0, 0, 8},
        {FIELD, 2, 0, 0, SITE}, {LENGTH_OF, 1, 2, 0, 0}, {CONSTANT, 2, 0, 0, 1}, {LESS, 0, 2, 1, 0},
        {RETURN, 0, 0, 0, 0}); /* user is not None and len(site) > 3 */
PROGRAM(age, {FIELD, 2, 0, 0, SEEN}, {IS_NONE, 1, 2, 0, 0}, {JUMP_UNLESS, 0, 1, 0, 5}, {CONSTANT, 0, 0, 0, 10},
        {JUMP, 0, 0, 0, 9}, {FIELD, 2, 0, 0, TIME}, {FIELD, 3, 0, 0, SEEN}, {SUBTRACT, 1, 2, 3, 0},
        {TOTAL_SECONDS, 0, 1, 0, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(later, {FIELD, 1, 0, 0, TIME}, {CONSTANT, 2, 7, 0, 13}, {ADD, 1, 1, 2, 0}, {WEEKDAY, 3, 1, 0, 0},
        {FIELD, 4, 0, 0, SEEN}, {REQUIRED, 0, 4, 0, 1 << TD_TIME}, {MAX, 1, 1, 4, 0}, {SUBTRACT, 1, 1, 4, 0},
        {DAYS, 1, 1, 0, 0}, {XOR, 0, 1, 3, 0}, {RETURN, 0, 0, 0, 0}); /* a delta of 366 days is added */
PROGRAM(first, {FIELD, 1, 0, 0, TAGS}, {JUMP_UNLESS, 0, 1, 0, 4}, {ITEM, 0, 1, 0, 0}, {JUMP, 0, 0, 0, 5},
        {CONSTANT, 0, 0, 0, 10}, {RETURN, 0, 0, 0, 0}); /* tags[0] if tags else None */
PROGRAM(second, {FIELD, 1, 0, 0, TAGS}, {ITEM, 0, 1, 0, 1}, {RETURN, 0, 0, 0, 0});
PROGRAM(cap, {FIELD, 3, 0, 0, COUNT}, {CONSTANT, 4, 0, 0, 11}, {MIN, 2, 3, 4, 0}, {CONSTANT, 3, 0, 0, 12},
        {MODULO, 1, 2, 3, 0}, {FIELD, 3, 0, 0, CODES}, {JUMP_UNLESS, 0, 3, 0, 9}, {ITEM, 2, 3, 0, -1},
        {JUMP, 0, 0, 0, 10}, {CONSTANT, 2, 0, 0, 0}, {ADD, 0, 1, 2, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(pairs, {FIELD, 1, 0, 0, SITE}, {FIELD, 3, 0, 0, COUNT}, {TEXT, 2, 3, 1, 0}, {ITEMS, 0, 1, 2, 0},
        {RETURN, 0, 0, 0, 0}); /* [site, str(count)] */
PROGRAM(tags_again, {FIELD, 0, 0, 0, TAGS}, {RETURN, 0, 0, 0, 0});
PROGRAM(ratio, {FIELD, 1, 0, 0, PRICE}, {FIELD, 2, 0, 0, COUNT}, {DIVIDE, 0, 1, 2, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(whole, {FIELD, 1, 0, 0, COUNT}, {FIELD, 2, 0, 0, SIZE}, {FLOOR_DIVIDE, 1, 1, 2, 0}, {NEGATIVE, 1, 1, 0, 0},
        {MULTIPLY, 0, 1, 2, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(rest, {FIELD, 1, 0, 0, PRICE}, {FIELD, 2, 0, 0, SCALED}, {MODULO, 3, 1, 2, 0}, {FLOOR_DIVIDE, 4, 1, 2, 0},
        {ADD, 0, 3, 4, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(com, {FIELD, 1, 0, 0, SITE}, {ENDS, 0, 1, 2, 4}, {JUMP_IF, 0, 0, 0, 6}, {IN, 0, 1, 2, 6}, {JUMP_IF, 0, 0, 0, 6},
        {CONTAINS, 0, 1, 1, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(tagged, {FIELD, 1, 0, 0, SITE}, {FIELD, 2, 0, 0, TAGS}, {CONTAINS, 3, 1, 2, 0}, {FIELD, 4, 0, 0, USER},
        {EQUAL, 5, 1, 4, 0}, {LESS_EQUAL, 0, 3, 5, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(day, {FIELD, 1, 0, 0, TIME}, {YEAR, 2, 1, 0, 0}, {MONTH, 3, 1, 0, 0}, {DAY, 4, 1, 0, 0},
        {TEXT, 0, 2, 3, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(root, {FIELD, 2, 0, 0, BID}, {IS_NONE, 1, 2, 0, 0}, {JUMP_UNLESS, 0, 1, 0, 7}, {FIELD, 2, 0, 0, PRICE},
        {ABSOLUTE, 1, 2, 0, 0}, {SQRT, 0, 1, 0, 0}, {RETURN, 0, 0, 0, 0}, {CONSTANT, 4, 0, 0, 14}, {DIVIDE, 2, 2, 4, 0},
        {FLOOR, 1, 2, 0, 0}, {FIELD, 3, 0, 0, PRICE}, {ROUND, 2, 3, 0, 0}, {ADD, 0, 1, 2, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(order, {FIELD, 1, 0, 0, SITE}, {FIELD, 2, 0, 0, OWN}, {MIN, 0, 1, 2, 0}, {RETURN, 0, 0, 0, 0});
PROGRAM(dearer, {FIELD, 1, 0, 0, COUNT}, {FIELD, 2, 0, 0, PRICE}, {LESS, 3, 1, 2, 0}, {EQUAL, 4, 1, 2, 0},
        {XOR, 3, 3, 4, 0}, {FIELD, 1, 0, 0, SIZE}, {FIELD, 2, 0, 0, LEVEL}, {EQUAL, 4, 1, 2, 0}, {XOR, 0, 3, 4, 0},
        {RETURN, 0, 0, 0, 0}); /* ((count < price) ^ (count == price)) ^ (size == level) */
PROGRAM(twice, {FIELD, 1, 0, 0, BID}, {FIELD, 2, 0, 0, SIZE}, {MULTIPLY, 3, 1, 2, 0}, {SUBTRACT, 0, 3, 1, 0},
        {RETURN, 0, 0, 0, 0});

/* ---------------------------------------------------------------- features */

static const double edges[] = {-1e9, -1.0, 0.0, 0.5, 9007199254740992.0};
static const td_value words[] = {TEXT_VALUE("a"), TEXT_VALUE("b"), TEXT_VALUE("\u00fc"), TEXT_VALUE("7")};

#define HASHED .encoding = TD_HASHED, .width = 97
#define VOCABULARY .encoding = TD_VOCABULARY, .width = LENGTH(words) + 2, .words = words, .num_words = LENGTH(words)
#define NUMBER .encoding = TD_NUMBER, .width = 2, .shift = 3.5, .scale = 0.25
#define LOG .encoding = TD_LOG, .width = 2
#define BUCKETS .encoding = TD_BUCKETS, .width = LENGTH(edges) + 2, .edges = edges, .num_edges = LENGTH(edges)
#define OF(field, type, ...) {.source = field, .kind = TD_##type, __VA_ARGS__}
#define MADE(name, type, ...) {.source = -1, .program = &name, .kind = TD_##type, __VA_ARGS__}
#define PYTHON(type, ...) {.source = -1, .kind = TD_##type, __VA_ARGS__}

/* Every row of these has as many entries as there are features. */
#define SCALARS                                                                                                        \
    OF(USER, TEXT, .is_optional = 1, HASHED), OF(SITE, TEXT, HASHED), OF(CATEGORY, INT, .is_optional = 1, HASHED),     \
        OF(COUNT, INT, VOCABULARY), OF(PRICE, FLOAT, NUMBER), OF(BID, FLOAT, .is_optional = 1, LOG),                   \
        OF(FLAG, BOOL, HASHED), OF(ANSWER, BOOL, .is_optional = 1, VOCABULARY), OF(OWN, TEXT, .width = 1),             \
        OF(WORD, TEXT, .is_optional = 1, VOCABULARY), OF(SIZE, INT, LOG),                                              \
        OF(SCALED, FLOAT, .is_optional = 1, BUCKETS), OF(LEVEL, INT, .is_optional = 1, BUCKETS),                       \
        OF(FLAG, BOOL, NUMBER), OF(CATEGORY, INT, .is_optional = 1, NUMBER), MADE(hour, TEXT, HASHED),                 \
        MADE(cross, TEXT, HASHED), MADE(price_int, INT, VOCABULARY), MADE(site_int, INT, NUMBER),                      \
        MADE(lower, TEXT, VOCABULARY), MADE(upper, TEXT, HASHED), MADE(head, TEXT, HASHED), MADE(last, TEXT, HASHED),  \
        MADE(is_known, BOOL, HASHED), MADE(age, FLOAT, .is_optional = 1, NUMBER), MADE(later, INT, BUCKETS),           \
        MADE(first, TEXT, .is_optional = 1, HASHED), MADE(cap, INT, HASHED), MADE(ratio, FLOAT, LOG),                  \
        MADE(whole, INT, HASHED), MADE(rest, FLOAT, NUMBER), MADE(com, BOOL, HASHED), MADE(tagged, BOOL, VOCABULARY),  \
        MADE(day, TEXT, HASHED), MADE(root, FLOAT, NUMBER), MADE(order, TEXT, VOCABULARY),                             \
        MADE(dearer, BOOL, HASHED), MADE(twice, FLOAT, LOG), MADE(second, TEXT, HASHED)

static const td_feature scalars[] = {SCALARS};

/* Lists, too, and properties that Python evaluates. */
static const td_feature mixture[] = {
    OF(TAGS, TEXT, .is_list = 1, HASHED),  OF(CODES, INT, .is_list = 1, VOCABULARY),
    SCALARS,                               OF(FLAGS, BOOL, .is_list = 1, HASHED),
    PYTHON(TEXT, HASHED),                  OF(WEIGHTS, FLOAT, .is_list = 1, BUCKETS),
    MADE(pairs, TEXT, .is_list = 1, HASHED), MADE(tags_again, TEXT, .is_list = 1, VOCABULARY),
    PYTHON(FLOAT, .is_list = 1, BUCKETS),
};

/* ---------------------------------------------------------------- plans */

typedef struct {
    const td_field *fields;
    const td_feature *features;
    uint32_t num_fields, num_features, is_shared; /* one table for all features */
    td_plan *plan;
    td_scratch scratch; /* of all inputs, as a server has it */
} subject;

static subject subjects[] = {
    {.fields = near_fields, .num_fields = NUM_FIELDS, .features = mixture, .num_features = LENGTH(mixture)},
    {.fields = far_fields, .num_fields = NUM_FIELDS, .features = scalars, .num_features = LENGTH(scalars),
     .is_shared = 1},
    {.num_fields = 0},
};

static void make_plan(subject *s) {
    static td_feature features[MAX_FEATURES];
    const char *why;
    uint32_t offset = 5;
    REQUIRE(s->num_features <= MAX_FEATURES);
    for (uint32_t j = 0; j < s->num_features; j++) {
        features[j] = s->features[j];
        features[j].offset = offset;
        features[j].seed = 1000 + j;
        if (!s->is_shared) offset += features[j].width;
    }
    s->plan = td_plan_new(s->fields, s->num_fields, features, s->num_features, &why);
    td_plan_free(td_plan_new(s->fields, s->num_fields, features, s->num_features, &why));
    if (!s->plan) fprintf(stderr, "no plan: %s\n", why);
    REQUIRE(s->plan && !td_scratch_init(&s->scratch, s->plan));
}

/* ---------------------------------------------------------------- what must hold */

/* By decoding every code point; the engine's own way is another. */
static int is_utf8(const char *text, size_t size) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (size_t k = 0; k < size;) {
        const uint8_t first = (uint8_t)text[k++];
        const size_t more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : first >> 3 == 30 ? 3 : 4;
        if (more == 4 || more > size - k) return 0;
        uint32_t point = more ? first & (0x3fu >> more) : first;
        for (size_t end = k + more; k < end; k++) {
            if (((uint8_t)text[k] & 0xc0) != 0x80) return 0;
            point = point << 6 | ((uint8_t)text[k] & 0x3f);
        }
        if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return 0;
    }
    return 1;
}

static void check_value(const td_value *value, uint32_t kind, int is_optional) {
    if (value->kind == TD_NONE && is_optional) return;
    REQUIRE(value->kind == kind);
    if (kind == TD_BOOL) REQUIRE(value->i == 0 || value->i == 1);
    if (kind == TD_TIME) REQUIRE(value->i >= TD_FIRST_TIME && value->i <= TD_LAST_TIME);
    if (kind == TD_TEXT) REQUIRE(is_utf8(value->text, value->size));
}

/* Fields of a row; gives the number of items in its lists. */
static size_t check_fields(const subject *s, const td_value *fields) {
    size_t num_items = 0;
    for (uint32_t f = 0; f < s->num_fields; f++) {
        const td_value *const value = &fields[f];
        if (!s->fields[f].is_list) {
            check_value(value, s->fields[f].kind, s->fields[f].is_optional);
            continue;
        }
        REQUIRE(value->kind == TD_LIST);
        for (uint32_t k = 0; k < value->size; k++) check_value(&value->items[k], s->fields[f].kind, 0);
        num_items += value->size;
    }
    return num_items;
}

static void check_entry(const td_feature *feature, int32_t slot, float x) {
    REQUIRE(slot >= 0 && (uint32_t)slot >= feature->offset && (uint32_t)slot - feature->offset < feature->width);
    REQUIRE(isfinite(x));
    if ((feature->encoding != TD_NUMBER && feature->encoding != TD_LOG) || (uint32_t)slot != feature->offset)
        REQUIRE(x == 1.0f);
}

static void check_entries(const subject *s, const td_scratch *scratch, size_t num_items) {
    const td_entries *const entries = &scratch->entries;
    size_t e = 0;
    REQUIRE(entries->count <= entries->capacity);
    for (uint32_t j = 0; j < s->num_features; j++) {
        const td_feature *const feature = &s->plan->steps[j].given;
        const size_t begin = e;
        for (; e < entries->count && entries->features[e] == j; e++)
            check_entry(feature, entries->slots[e], entries->values[e]);
        if (!feature->is_list)
            REQUIRE(e - begin == 1);
        else if (feature->source >= 0)
            REQUIRE(e - begin == scratch->fields[feature->source].size);
        else
            REQUIRE(e - begin <= num_items + TD_MAX_REGISTERS);
    }
    REQUIRE(e == entries->count);
}

static void check_equal(const td_entries *one, const td_entries *other) {
    REQUIRE(one->count == other->count);
    if (!one->count) return;
    REQUIRE(!memcmp(one->slots, other->slots, one->count * sizeof *one->slots));
    REQUIRE(!memcmp(one->values, other->values, one->count * sizeof *one->values));
    REQUIRE(!memcmp(one->features, other->features, one->count * sizeof *one->features));
}

/* ---------------------------------------------------------------- rows */

/* What Python gives for a property. */
static td_value answer_of(const td_feature *feature) {
    static const td_value some[] = {{.f = 0.25, .kind = TD_FLOAT}, {.f = NAN, .kind = TD_FLOAT}};
    static const td_value texts[] = {TEXT_VALUE("python"), TEXT_VALUE("")};
    td_value value = {.i = 1, .size = 0, .kind = feature->kind};
    if (feature->is_list) {
        value.items = feature->kind == TD_FLOAT ? some : texts;
        value.size = 2;
        value.kind = TD_LIST;
    } else if (feature->kind == TD_TEXT) {
        value = texts[0];
    } else if (feature->kind == TD_FLOAT) {
        value.f = -0.5;
    }
    return value;
}

/* Entries of the row in scratch->fields, with Python's part; asked[j] is set where feature j was left to Python. */
static void encode(const subject *s, td_scratch *scratch, uint8_t *asked) {
    uint32_t feature = UINT32_MAX;
    td_status status;
    memset(asked, 0, MAX_FEATURES);
    scratch->entries.count = 0;
    while ((status = td_plan_encode(s->plan, scratch, &feature)) != TD_OK) {
        REQUIRE(status == TD_PYTHON);
        REQUIRE(scratch->entries.count == 0);
        REQUIRE(feature < s->num_features && s->features[feature].source < 0);
        REQUIRE(!asked[feature]);
        asked[feature] = 1;
        const td_value value = answer_of(&s->features[feature]);
        td_plan_preset(scratch, feature, &value);
    }
    check_entries(s, scratch, check_fields(s, scratch->fields));
}

/* Memory of one input, aligned as malloc does and each piece apart, so that a read past its end is seen. */
static void *held[256];
static size_t num_held;

static void *hold(size_t bytes) {
    REQUIRE(num_held < LENGTH(held));
    void *const place = malloc(bytes);
    REQUIRE(place);
    held[num_held++] = place;
    return place;
}

static void release(void) {
    while (num_held) free(held[--num_held]);
}

/* A column of given values. */
static td_column column_of(const td_value *values, uint32_t count, uint32_t kind) {
    td_column column = {.length = count};
    uint8_t *const valid = hold(count / 8 + 1), *const bits = hold(count / 8 + 1);
    int64_t *const whole = hold(count * sizeof *whole + 1);
    int32_t *const offsets = hold((count + 1) * sizeof *offsets);
    size_t size = 0;
    memset(valid, 0, count / 8 + 1);
    memset(bits, 0, count / 8 + 1);
    for (uint32_t k = 0; k < count; k++) {
        offsets[k] = (int32_t)size;
        if (values[k].kind == TD_NONE) continue;
        valid[k / 8] |= (uint8_t)(1 << k % 8);
        if (kind == TD_TEXT) {
            size += values[k].size;
        } else {
            memcpy(&whole[k], &values[k].i, 8);
            if (kind == TD_BOOL) bits[k / 8] |= (uint8_t)(values[k].i << k % 8);
        }
    }
    offsets[count] = (int32_t)size;
    column.valid = valid;
    column.storage = kind == TD_TEXT ? TD_TEXT32 : kind == TD_BOOL ? TD_BITS : kind == TD_FLOAT ? TD_FLOAT64 : TD_INT64;
    column.values = kind == TD_BOOL ? (void *)bits : (void *)whole;
    if (kind == TD_TEXT) {
        char *const text = hold(size + 1);
        for (uint32_t k = 0; k < count; k++)
            if (values[k].kind == TD_TEXT && values[k].size) memcpy(text + offsets[k], values[k].text, values[k].size);
        column.values = text;
        column.offsets = offsets;
    }
    return column;
}

/* Rows of columns, each on its own and as a block. */
static void run_columns(const subject *s, const td_column *columns, int64_t at, uint32_t count, td_scratch *scratch,
                        const td_entries *expected) {
    static int32_t slots[TD_BLOCK * MAX_FEATURES];
    static float values[TD_BLOCK * MAX_FEATURES];
    static uint16_t numbers[TD_BLOCK * MAX_FEATURES];
    static td_open open[TD_BLOCK * MAX_FEATURES];
    uint8_t asked[MAX_FEATURES];
    uint32_t next = 0, num_open = 0;
    const size_t width = s->num_features;

    const td_status status = td_columns_check(s->plan, columns, at, count, scratch);
    if (status != TD_OK) {
        REQUIRE(!expected && status != TD_PYTHON && scratch->field < s->num_fields && scratch->at < count);
        return;
    }
    if (s->plan->is_scalar) {
        REQUIRE(td_plan_block(s->plan, columns, at, count, scratch, slots, values, numbers) == TD_OK);
        num_open = scratch->num_open;
        REQUIRE(num_open <= count * width);
        if (num_open) memcpy(open, scratch->open, num_open * sizeof *open);
    }
    for (uint32_t r = 0; r < count; r++) {
        REQUIRE(td_columns_row(s->plan, columns, at + r, scratch) == TD_OK);
        encode(s, scratch, asked);
        if (expected) check_equal(expected, &scratch->entries);
        if (!s->plan->is_scalar) continue;
        for (uint32_t j = 0; j < width; j++) {
            const int is_open = next < num_open && open[next].row == r && open[next].feature == j;
            const size_t place = r * width + j;
            next += (uint32_t)is_open;
            REQUIRE(is_open == asked[j] && numbers[place] == j);
            REQUIRE(is_open || (slots[place] == scratch->entries.slots[j] &&
                                !memcmp(&values[place], &scratch->entries.values[j], sizeof *values)));
        }
    }
    REQUIRE(next == num_open);
}

/* The row that scratch holds, as columns of one row; `fresh` has no history. */
static void run_as_columns(const subject *s, const td_scratch *scratch, td_scratch *fresh) {
    td_column columns[NUM_FIELDS + 1], items[NUM_FIELDS];
    for (uint32_t f = 0; f < s->num_fields; f++) {
        const td_field *const field = &s->fields[f];
        const td_value *const value = &scratch->fields[f];
        columns[f] = column_of(value, field->is_list ? 0 : 1, field->kind);
        if (!field->is_list) {
            if (!field->is_optional) columns[f].valid = NULL;
            continue;
        }
        int32_t *const offsets = hold(2 * sizeof *offsets);
        offsets[0] = 0;
        offsets[1] = (int32_t)value->size;
        items[f] = column_of(value->items, value->size, field->kind);
        columns[f] = (td_column){.storage = TD_LIST32, .offsets = offsets, .length = 1, .items = &items[f]};
    }
    run_columns(s, columns, 0, 1, fresh, &scratch->entries);
}

static void run_message(subject *s, const char *data, size_t size) {
    td_scratch *const scratch = &s->scratch;
    td_scratch fresh;
    uint8_t asked[MAX_FEATURES], again[MAX_FEATURES];
    uint32_t feature = UINT32_MAX;

    scratch->entries.count = 0;
    const td_status status = td_plan_message(s->plan, data, size, scratch, &feature);
    REQUIRE(status == TD_OK || scratch->entries.count == 0);
    REQUIRE(status != TD_PYTHON || (feature < s->num_features && s->features[feature].source < 0));
    REQUIRE(status <= TD_RANGE && status != TD_NO_MEMORY);
    REQUIRE(scratch->field == TD_NO_FIELD || (scratch->field < s->num_fields && status != TD_OK));
    REQUIRE(!td_scratch_init(&fresh, s->plan));
    if (status == TD_OK || status == TD_PYTHON) {
        REQUIRE(check_fields(s, scratch->fields) <= size);
        encode(s, scratch, asked);
        for (uint32_t j = 0; j < s->num_features && status == TD_OK; j++) REQUIRE(!asked[j]);
        REQUIRE(td_plan_decode(s->plan, data, size, &fresh) == TD_OK);
        encode(s, &fresh, again);
        REQUIRE(!memcmp(asked, again, sizeof asked));
        check_equal(&scratch->entries, &fresh.entries);
        run_as_columns(s, scratch, &fresh);
#ifdef PLANT_ERROR /* for the test that the sanitizer is at work */
        if (size && data[size] == 'x') fprintf(stderr, "read past the end\n");
#endif
    } else {
        const uint32_t field = scratch->field;
        REQUIRE(td_plan_message(s->plan, data, size, &fresh, &feature) == status && fresh.field == field);
        REQUIRE(fresh.entries.count == 0);
    }
    td_scratch_free(&fresh);
    release();
}

/* ---------------------------------------------------------------- columns of any bytes */

typedef struct {
    const uint8_t *data;
    size_t size, at;
} bytes;

static uint8_t next(bytes *input) { /* goes round */
    if (!input->size) return 0;
    return input->data[input->at++ % input->size];
}

static void fill(bytes *input, void *to, size_t size) {
    for (size_t k = 0; k < size; k++) ((uint8_t *)to)[k] = next(input);
}

/* What a caller vouches for, since no column says how much there is: the last offset of a text. The others are
   anyone's. */
static void *any_offsets(bytes *input, int64_t count, int is_wide, int64_t last) {
    int64_t offset = 0;
    const int is_wild = next(input) % 4 == 0;
    int32_t *const narrow = hold((size_t)(count + 1) * sizeof *narrow);
    int64_t *const wide = hold((size_t)(count + 1) * sizeof *wide);
    for (int64_t k = 0; k <= count; k++) {
        const uint8_t step = next(input);
        offset += step % 4;
        if (is_wild && step > 200) offset = (int64_t)(int8_t)step * (step % 2 ? 1 : INT64_C(0x1000000));
        if ((k == count || !is_wild) && offset > last) offset = last;
        narrow[k] = (int32_t)offset;
        wide[k] = offset;
    }
    return is_wide ? (void *)wide : (void *)narrow;
}

static td_column any_column(bytes *input, uint32_t kind, uint32_t count) {
    static const uint8_t ints[] = {TD_INT8, TD_INT16, TD_INT32, TD_INT64, TD_UINT8, TD_UINT16, TD_UINT32};
    static const uint8_t widths[] = {1, 2, 4, 8, 1, 2, 4};
    const uint8_t choice = next(input);
    td_column column = {.start = next(input) % 4, .length = count};
    const int64_t total = column.start + count;
    size_t width = 8;
    if (kind == TD_TEXT) {
        const uint8_t size = next(input);
        char *const text = hold((size_t)size + 1);
        fill(input, text, size);
        column.storage = choice % 2 ? TD_TEXT32 : TD_TEXT64;
        column.values = text;
        column.offsets = any_offsets(input, total, column.storage == TD_TEXT64, size);
    } else {
        if (kind == TD_INT) {
            column.storage = ints[choice % LENGTH(ints)];
            width = widths[choice % LENGTH(ints)];
        } else if (kind == TD_FLOAT) {
            column.storage = choice % 2 ? TD_FLOAT32 : TD_FLOAT64;
            width = choice % 2 ? 4 : 8;
        } else {
            column.storage = kind == TD_BOOL ? TD_BITS : TD_INT64;
        }
        const size_t size = kind == TD_BOOL ? (size_t)total / 8 + 1 : (size_t)total * width;
        uint8_t *const numbers = hold(size + 1);
        fill(input, numbers, size);
        if (kind == TD_TIME && choice % 8) /* mostly times that can be */
            for (int64_t k = 0; k < total; k++) numbers[8 * k + 6] = numbers[8 * k + 7] = 0;
        column.values = numbers;
    }
    REQUIRE(td_storage_holds(column.storage, kind));
    if (choice & 64) {
        uint8_t *const valid = hold((size_t)total / 8 + 1);
        fill(input, valid, (size_t)total / 8 + 1);
        if (choice & 32) memset(valid, 0xff, (size_t)total / 8 + 1);
        column.valid = valid;
    }
    return column;
}

static void run_any_columns(subject *s, const uint8_t *data, size_t size) {
    bytes input = {data, size, 0};
    td_column columns[NUM_FIELDS + 1], items[NUM_FIELDS];
    const uint32_t length = next(&input) % 8, first = length ? next(&input) % length : 0;
    for (uint32_t f = 0; f < s->num_fields; f++) {
        const td_field *const field = &s->fields[f];
        columns[f] = any_column(&input, field->is_list ? TD_INT : field->kind, length);
        if (!field->is_optional && !field->is_list && next(&input) % 8) columns[f].valid = NULL;
        if (!field->is_list) continue;
        const uint32_t num_items = next(&input) % 32;
        items[f] = any_column(&input, field->kind, num_items);
        if (next(&input) % 8) items[f].valid = NULL;
        columns[f].storage = next(&input) % 2 ? TD_LIST32 : TD_LIST64;
        columns[f].items = &items[f];
        columns[f].offsets = any_offsets(&input, columns[f].start + length, columns[f].storage == TD_LIST64,
                                         num_items + (next(&input) % 16 == 0));
    }
    run_columns(s, columns, first, length - first, &s->scratch, NULL);
    release();
}

/* ---------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > MAX_SIZE) return 0;
    for (size_t k = 0; k < LENGTH(subjects); k++) {
        subject *const s = &subjects[k];
        if (!s->plan) make_plan(s);
        run_message(s, (const char *)data, size);
    }
    run_any_columns(&subjects[size % 2], data, size); /* one is enough: it takes longer than messages do */
    return 0;
}
