#include "plan.h"

#include "hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROW_LIMIT ((size_t)1 << 30) /* bytes that one row may need beside its message */
#define MAX_WORDS (1u << 30)

/* ---------------------------------------------------------------- plan */

static int32_t slot_of(const td_step *step, uint64_t hash) {
    uint64_t high;
    td_multiply(hash, step->given.width, &high);
    return (int32_t)(step->given.offset + (uint32_t)high);
}

static int add_words(td_step *step) {
    const uint32_t num_words = step->given.num_words;
    uint32_t size = 4;
    while (size < 2 * num_words) size *= 2;
    step->table = calloc(size, sizeof *step->table);
    step->prints = calloc((size_t)num_words + 1, sizeof *step->prints);
    if (!step->table || !step->prints) return 1;
    step->mask = size - 1;
    for (uint32_t w = 0; w < num_words; w++) {
        const td_value *const word = &step->given.words[w];
        const uint64_t hash = td_hash_from(word->text, word->size, step->state);
        uint32_t place = (uint32_t)hash & step->mask;
        while (step->table[place]) place = (place + 1) & step->mask;
        step->table[place] = w + 1;
        step->prints[w] = (uint32_t)(hash >> 32);
    }
    return 0;
}

static const char *set_step(td_step *step, const td_feature *feature, uint32_t num_fields, const td_field *fields) {
    step->given = *feature;
    step->state = td_hash_state(feature->seed);
    step->is_python = feature->source < 0 && !feature->program;
    if (feature->source >= 0) {
        if ((uint32_t)feature->source >= num_fields) return "a feature is of a field that does not exist";
        const td_field *const field = &fields[feature->source];
        if (field->kind != feature->kind || !field->is_list != !feature->is_list)
            return "a feature and its field differ in type";
    } else if (feature->program) {
        if (feature->program->num_fields != num_fields || td_program_check(feature->program))
            return "a compiled property is damaged";
    }
    if ((uint64_t)feature->offset + feature->width > INT32_MAX) return "a feature's slots go beyond 2**31 - 1";
    uint64_t needed = 2;
    switch (feature->encoding) {
    case TD_HASHED:
        needed = 1;
        step->missing = slot_of(step, td_hash("", 0, feature->seed + 1));
        break;
    case TD_VOCABULARY:
        if (feature->num_words > MAX_WORDS) return "a vocabulary has over 2**30 words";
        needed = (uint64_t)feature->num_words + 2;
        step->missing = (int32_t)(feature->offset + feature->num_words + 1);
        if (add_words(step)) return "there is no memory left";
        break;
    case TD_BUCKETS:
        needed = (uint64_t)feature->num_edges + 2;
        step->missing = (int32_t)(feature->offset + feature->num_edges + 1);
        break;
    case TD_NUMBER:
    case TD_LOG:
        step->missing = (int32_t)(feature->offset + 1);
        if (feature->is_list) return "a list cannot be a number";
        break;
    default:
        return "an encoding is unknown";
    }
    if (feature->width < needed) return "a feature has too few slots";
    if ((feature->encoding == TD_HASHED || feature->encoding == TD_VOCABULARY)
            ? feature->kind != TD_TEXT && feature->kind != TD_INT && feature->kind != TD_BOOL
            : feature->kind != TD_INT && feature->kind != TD_FLOAT && feature->kind != TD_BOOL)
        return "an encoding does not take values of its feature's type";
    return NULL;
}

td_plan *td_plan_new(const td_field *fields, uint32_t num_fields, const td_feature *features, uint32_t num_features,
                     const char **why) {
    const size_t room = (size_t)num_features + 1;
    *why = "there is no memory left";
    td_plan *const plan = calloc(1, sizeof *plan);
    if (!plan) return NULL;
    if (num_features > TD_MAX_FEATURES) {
        *why = "there are more than 65535 features";
        td_plan_free(plan);
        return NULL;
    }
    const int failed = td_schema_init(&plan->schema, fields, num_fields);
    if (failed) {
        if (failed == 2) *why = "a field's number or type cannot be";
        td_plan_free(plan);
        return NULL;
    }
    plan->num_features = num_features;
    plan->is_scalar = 1;
    plan->steps = calloc(room, sizeof *plan->steps);
    plan->python = calloc(room, sizeof *plan->python);
    plan->ones = calloc(room, sizeof *plan->ones);
    plan->numbers = calloc(room, sizeof *plan->numbers);
    if (!plan->steps || !plan->python || !plan->ones || !plan->numbers) {
        plan->num_features = plan->steps ? num_features : 0;
        td_plan_free(plan);
        return NULL;
    }
    for (uint32_t j = 0; j < num_features; j++) {
        td_step *const step = &plan->steps[j];
        const char *const wrong = set_step(step, &features[j], num_fields, plan->schema.fields);
        if (wrong) {
            *why = wrong;
            td_plan_free(plan);
            return NULL;
        }
        plan->ones[j] = 1.0f;
        plan->numbers[j] = (uint16_t)j;
        if (step->is_python) plan->python[plan->num_python++] = j;
        if (step->given.is_list) plan->is_scalar = 0;
        if (step->given.source < 0 && !step->is_python) plan->reads_rows = 1;
    }
    return plan;
}

void td_plan_free(td_plan *plan) {
    if (!plan) return;
    for (uint32_t j = 0; j < plan->num_features; j++) {
        free(plan->steps[j].table);
        free(plan->steps[j].prints);
    }
    td_schema_free(&plan->schema);
    free(plan->steps);
    free(plan->python);
    free(plan->ones);
    free(plan->numbers);
    free(plan);
}

/* ---------------------------------------------------------------- scratch */

int td_scratch_init(td_scratch *scratch, const td_plan *plan) {
    const size_t num_features = (size_t)plan->num_features + 1;
    memset(scratch, 0, sizeof *scratch);
    td_arena_init(&scratch->row, ROW_LIMIT);
    td_arena_init(&scratch->made, ROW_LIMIT);
    scratch->field = TD_NO_FIELD;
    scratch->fields = calloc((size_t)plan->schema.num_fields + 1, sizeof *scratch->fields);
    scratch->presets = calloc(num_features, sizeof *scratch->presets);
    scratch->is_preset = calloc(num_features, 1);
    if (scratch->fields && scratch->presets && scratch->is_preset) return 0;
    td_scratch_free(scratch);
    return 1;
}

void td_scratch_free(td_scratch *scratch) {
    td_arena_free(&scratch->row);
    td_arena_free(&scratch->made);
    free(scratch->fields);
    free(scratch->presets);
    free(scratch->is_preset);
    free(scratch->block);
    free(scratch->open);
    if (!scratch->entries.is_borrowed) {
        free(scratch->entries.slots);
        free(scratch->entries.values);
        free(scratch->entries.features);
    }
    memset(scratch, 0, sizeof *scratch);
}

static int grow(void **array, size_t count, size_t size) {
    void *const larger = count > SIZE_MAX / size ? NULL : realloc(*array, count * size);
    if (!larger) return 1;
    *array = larger;
    return 0;
}

static int reserve_more(td_entries *entries, size_t needed) {
    if (entries->is_borrowed || needed > SIZE_MAX / 16) return 1;
    size_t capacity = entries->capacity ? entries->capacity : 64;
    while (capacity < needed) capacity *= 2;
    if (grow((void **)&entries->slots, capacity, sizeof *entries->slots) ||
        grow((void **)&entries->values, capacity, sizeof *entries->values) ||
        grow((void **)&entries->features, capacity, sizeof *entries->features))
        return 1;
    entries->capacity = capacity;
    return 0;
}

static inline int reserve(td_entries *entries, size_t more) {
    return more <= entries->capacity - entries->count ? 0 : reserve_more(entries, entries->count + more);
}

/* ---------------------------------------------------------------- entries of values */

/* The text of a category as Python's str() gives it; 0 bytes at `to` are used where the value is text. */
static const char *category_of(const td_value *value, char *to, size_t *size) {
    if (value->kind == TD_TEXT) {
        *size = value->size;
        return value->text;
    }
    if (value->kind == TD_INT) {
        *size = td_write_int(value->i, to);
        return to;
    }
    if (value->kind == TD_BOOL) {
        *size = value->i ? 4 : 5;
        return value->i ? "True" : "False";
    }
    return NULL;
}

static int32_t find_word(const td_step *step, const char *text, size_t size) {
    const uint64_t hash = td_hash_from(text, size, step->state);
    const uint32_t print = (uint32_t)(hash >> 32);
    uint32_t place = (uint32_t)hash & step->mask, found;
    while ((found = step->table[place]) != 0) {
        const td_value *const word = &step->given.words[found - 1];
        if (step->prints[found - 1] == print && word->size == size && !memcmp(word->text, text, size))
            return (int32_t)(step->given.offset + found - 1);
        place = (place + 1) & step->mask;
    }
    return (int32_t)(step->given.offset + step->given.num_words);
}

static uint32_t bucket_of(const td_step *step, double x) { /* number of edges <= x; x is not NaN */
    uint32_t low = 0, high = step->given.num_edges;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (step->given.edges[middle] <= x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static td_status enter_number(const td_step *step, const td_value *value, int32_t *slot, float *x) {
    double number;
    if (value->kind == TD_FLOAT)
        number = value->f;
    else if (value->kind == TD_INT || value->kind == TD_BOOL)
        number = (double)value->i;
    else if (value->kind == TD_NONE)
        number = NAN;
    else
        return TD_PYTHON;
    *slot = step->missing;
    *x = 1.0f;
    if (step->given.encoding == TD_BUCKETS) {
        if (!isnan(number)) *slot = (int32_t)(step->given.offset + bucket_of(step, number));
        return TD_OK;
    }
    if (step->given.encoding == TD_NUMBER)
        number = (number - step->given.shift) / step->given.scale;
    else
        number = copysign(log1p(fabs(number)), number);
    const float narrow = (float)number;
    if (isfinite(narrow)) {
        *slot = (int32_t)step->given.offset;
        *x = narrow;
    }
    return TD_OK;
}

static inline td_status enter(const td_step *step, const td_value *value, int32_t *slot, float *x) {
    char made[TD_INT_TEXT];
    size_t size;
    if (step->given.encoding > TD_VOCABULARY) return enter_number(step, value, slot, x);
    *x = 1.0f;
    if (value->kind == TD_NONE) {
        *slot = step->missing;
        return TD_OK;
    }
    const char *const text = category_of(value, made, &size);
    if (!text) return TD_PYTHON;
    *slot = step->given.encoding == TD_HASHED ? slot_of(step, td_hash_from(text, size, step->state))
                                              : find_word(step, text, size);
    return TD_OK;
}

td_status td_plan_entry(const td_plan *plan, uint32_t feature, const td_value *value, int32_t *slot, float *x) {
    return enter(&plan->steps[feature], value, slot, x);
}

/* Whether a compiled property gave what its annotation says; where not, Python gives the error. */
static int is_of_kind(const td_value *value, uint32_t kind) {
    return value->kind == kind || (kind == TD_FLOAT && value->kind == TD_INT);
}

static int is_as_annotated(const td_feature *feature, const td_value *value) {
    if (!feature->is_list)
        return is_of_kind(value, feature->kind) || (value->kind == TD_NONE && feature->is_optional);
    if (value->kind != TD_LIST) return 0;
    for (uint32_t k = 0; k < value->size; k++)
        if (!is_of_kind(&value->items[k], feature->kind)) return 0;
    return 1;
}

static inline td_status run(const td_step *step, const td_value *fields, td_arena *arena, td_value *value) {
    const td_status status = td_program_run(step->given.program, fields, arena, value);
    if (status != TD_OK) return status;
    return is_as_annotated(&step->given, value) ? TD_OK : TD_PYTHON;
}

/* ---------------------------------------------------------------- one row */

void td_plan_begin(const td_plan *plan, td_scratch *scratch) {
    td_arena_reset(&scratch->row);
    td_arena_reset(&scratch->made);
    scratch->field = TD_NO_FIELD;
    if (scratch->num_presets) {
        memset(scratch->is_preset, 0, plan->num_features);
        scratch->num_presets = 0;
    }
}

td_status td_plan_decode(const td_plan *plan, const char *data, size_t size, td_scratch *scratch) {
    td_plan_begin(plan, scratch);
    return td_schema_decode(&plan->schema, data, size, &scratch->row, scratch->fields, &scratch->field);
}

void td_plan_preset(td_scratch *scratch, uint32_t feature, const td_value *value) {
    scratch->presets[feature] = *value;
    scratch->num_presets += !scratch->is_preset[feature];
    scratch->is_preset[feature] = 1;
}

static td_status append_list(const td_plan *plan, td_entries *entries, uint32_t feature, const td_value *list) {
    if (list->kind != TD_LIST) return TD_PYTHON;
    /* room for the features to come, too: they do not look */
    if (reserve(entries, (size_t)list->size + plan->num_features)) return TD_NO_MEMORY;
    for (uint32_t k = 0; k < list->size; k++) {
        const size_t e = entries->count;
        const td_status status =
            enter(&plan->steps[feature], &list->items[k], &entries->slots[e], &entries->values[e]);
        if (status != TD_OK) return status;
        entries->features[e] = (uint16_t)feature;
        entries->count = e + 1;
    }
    return TD_OK;
}

td_status td_plan_encode(const td_plan *plan, td_scratch *scratch, uint32_t *feature) {
    td_entries *const entries = &scratch->entries;
    const size_t before = entries->count;
    td_status status = TD_OK;
    td_value made;
    uint32_t j;

    for (uint32_t p = 0; p < plan->num_python; p++)
        if (!scratch->is_preset[plan->python[p]]) {
            *feature = plan->python[p];
            return TD_PYTHON;
        }
    if (reserve(entries, plan->num_features)) return TD_NO_MEMORY;
    for (j = 0; j < plan->num_features; j++) {
        const td_step *const step = &plan->steps[j];
        const td_value *value = &made;
        if (step->given.source >= 0) {
            value = &scratch->fields[step->given.source];
        } else if (scratch->num_presets && scratch->is_preset[j]) {
            value = &scratch->presets[j];
        } else {
            status = run(step, scratch->fields, &scratch->made, &made);
            if (status != TD_OK) break;
        }
        if (step->given.is_list) {
            status = append_list(plan, entries, j, value);
        } else {
            const size_t e = entries->count;
            status = enter(step, value, &entries->slots[e], &entries->values[e]);
            entries->features[e] = (uint16_t)j;
            entries->count = e + 1;
        }
        if (status != TD_OK) break;
    }
    if (status != TD_OK) {
        entries->count = before;
        *feature = j;
    }
    return status;
}

td_status td_plan_message(const td_plan *plan, const char *data, size_t size, td_scratch *scratch, uint32_t *feature) {
    const td_status status = td_plan_decode(plan, data, size, scratch);
    return status == TD_OK ? td_plan_encode(plan, scratch, feature) : status;
}

/* ---------------------------------------------------------------- columns */

static inline int bit(const uint8_t *bits, int64_t i) { return bits[i >> 3] >> (i & 7) & 1; }

static inline int is_null(const td_column *column, int64_t i) { return column->valid && !bit(column->valid, i); }

/* i counts from the beginning of the buffers, as in all that follows. */
static inline int64_t offset_at(const td_column *column, int64_t i) {
    if (column->storage == TD_TEXT32 || column->storage == TD_LIST32) return ((const int32_t *)column->offsets)[i];
    return ((const int64_t *)column->offsets)[i];
}

static int64_t integer_at(const td_column *column, int64_t i) {
    switch (column->storage) {
    case TD_BITS: return bit(column->values, i);
    case TD_INT8: return ((const int8_t *)column->values)[i];
    case TD_INT16: return ((const int16_t *)column->values)[i];
    case TD_INT32: return ((const int32_t *)column->values)[i];
    case TD_UINT8: return ((const uint8_t *)column->values)[i];
    case TD_UINT16: return ((const uint16_t *)column->values)[i];
    case TD_UINT32: return ((const uint32_t *)column->values)[i];
    default: return ((const int64_t *)column->values)[i];
    }
}

int td_storage_holds(uint8_t storage, uint32_t kind) {
    switch (storage) {
    case TD_BITS: return kind == TD_BOOL;
    case TD_INT64: return kind == TD_INT || kind == TD_TIME;
    case TD_FLOAT32:
    case TD_FLOAT64: return kind == TD_FLOAT;
    case TD_TEXT32:
    case TD_TEXT64: return kind == TD_TEXT;
    default: return kind == TD_INT && storage < TD_FLOAT32;
    }
}

/* One look at all offsets comes before the texts themselves. */
static td_status check_offsets(const td_column *column, int64_t first, int64_t count, int64_t *wrong) {
    *wrong = 0;
    if (!count) return TD_OK; /* there may be no offsets at all */
    if (offset_at(column, first) < 0) return TD_MALFORMED;
    if (column->storage == TD_TEXT32 || column->storage == TD_LIST32) {
        const int32_t *const offsets = (const int32_t *)column->offsets + first;
        int decreases = 0;
        for (int64_t r = 0; r < count; r++) decreases |= offsets[r + 1] < offsets[r];
        if (!decreases) return TD_OK;
    }
    for (int64_t r = 0; r < count; r++) {
        const int64_t before = offset_at(column, first + r), after = offset_at(column, first + r + 1);
        *wrong = r;
        if (after < before) return TD_MALFORMED;
        if (after - before > (int64_t)TD_MAX_TEXT) return TD_RANGE;
    }
    return TD_OK;
}

static int is_ascii(const char *text, int64_t size) {
    uint8_t seen = 0;
    for (int64_t k = 0; k < size; k++) seen |= (uint8_t)text[k];
    return seen < 0x80;
}

static td_status check_texts(const td_column *column, int64_t first, int64_t count, int64_t *wrong) {
    const td_status status = check_offsets(column, first, count, wrong);
    if (status != TD_OK || !count) return status;
    const char *const bytes = column->values;
    const int64_t start = offset_at(column, first), end = offset_at(column, first + count);
    /* Of a damaged column these rows may increase and those after them fall back. No buffer says its size: the
       column's last offset is as far as there may be bytes. */
    const int64_t last = offset_at(column, column->start + column->length);
    if (end > last) {
        *wrong = 0;
        while (offset_at(column, first + *wrong + 1) <= last) ++*wrong;
        return TD_MALFORMED;
    }
    if (end == start || is_ascii(bytes + start, end - start)) return TD_OK;
    for (int64_t r = 0; r < count; r++) {
        const int64_t from = offset_at(column, first + r), to = offset_at(column, first + r + 1);
        *wrong = r;
        if (!is_null(column, first + r) && !td_is_utf8(bytes + from, (size_t)(to - from))) return TD_NOT_UTF8;
    }
    return TD_OK;
}

static td_status check_column(const td_field *field, const td_column *column, int64_t first, int64_t count,
                              int may_miss, int64_t *wrong) {
    if (column->valid && !may_miss)
        for (int64_t r = 0; r < count; r++)
            if (!bit(column->valid, first + r)) {
                *wrong = r;
                return TD_MISSING;
            }
    if (field->kind == TD_TEXT) return check_texts(column, first, count, wrong);
    if (field->kind == TD_TIME)
        for (int64_t r = 0; r < count; r++) {
            const int64_t time = ((const int64_t *)column->values)[first + r];
            *wrong = r;
            if ((time < TD_FIRST_TIME || time > TD_LAST_TIME) && !is_null(column, first + r)) return TD_RANGE;
        }
    return TD_OK;
}

static td_status check_lists(const td_field *field, const td_column *column, int64_t first, int64_t count,
                             int64_t *wrong) {
    td_status status = check_offsets(column, first, count, wrong);
    if (status != TD_OK || !count) return status;
    if (offset_at(column, first + count) > column->items->length) return TD_MALFORMED;
    for (int64_t r = 0; r < count; r++) {
        if (is_null(column, first + r)) continue; /* what its offsets span is not looked at */
        const int64_t start = offset_at(column, first + r), size = offset_at(column, first + r + 1) - start;
        int64_t item = 0;
        status = check_column(field, column->items, column->items->start + start, size, 0, &item);
        *wrong = r;
        if (status != TD_OK) return status;
    }
    return TD_OK;
}

td_status td_columns_check(const td_plan *plan, const td_column *columns, int64_t first, uint32_t count,
                           td_scratch *scratch) {
    td_status worst = TD_OK;
    int64_t at = count;
    scratch->field = TD_NO_FIELD;
    for (uint32_t f = 0; f < plan->schema.num_fields && at; f++) {
        const td_field *const field = &plan->schema.fields[f];
        const td_column *const column = &columns[f];
        const int64_t start = column->start + first;
        int64_t wrong = 0;
        const td_status status = field->is_list ? check_lists(field, column, start, at, &wrong)
                                                : check_column(field, column, start, at, field->is_optional, &wrong);
        if (status != TD_OK) { /* only rows before it are of interest in the columns to come */
            worst = status;
            at = wrong;
            scratch->field = f;
            scratch->at = (uint32_t)wrong;
        }
    }
    return worst;
}

static inline void scalar_at(uint32_t kind, const td_column *column, int64_t i, td_value *value) {
    value->kind = kind;
    value->size = 0;
    switch (kind) {
    case TD_TEXT: {
        const int64_t start = offset_at(column, i), end = offset_at(column, i + 1);
        value->text = end > start ? (const char *)column->values + start : "";
        value->size = (uint32_t)(end - start);
        break;
    }
    case TD_FLOAT:
        if (column->storage == TD_FLOAT32)
            value->f = ((const float *)column->values)[i];
        else
            value->f = ((const double *)column->values)[i];
        break;
    default:
        value->i = integer_at(column, i);
    }
}

td_status td_column_value(const td_field *field, const td_column *column, int64_t row, td_arena *arena,
                          td_value *value) {
    const int64_t i = column->start + row;
    if (!field->is_list) {
        if (is_null(column, i)) {
            value->i = 0;
            value->size = 0;
            value->kind = TD_NONE;
        } else {
            scalar_at(field->kind, column, i, value);
        }
        return TD_OK;
    }
    const int64_t start = offset_at(column, i);
    const uint32_t size = is_null(column, i) ? 0 : (uint32_t)(offset_at(column, i + 1) - start);
    td_value *items = NULL;
    if (size) {
        items = td_arena_take(arena, size * sizeof *items);
        if (!items) return TD_NO_MEMORY;
        for (uint32_t k = 0; k < size; k++)
            scalar_at(field->kind, column->items, column->items->start + start + k, &items[k]);
    }
    value->items = items;
    value->size = size;
    value->kind = TD_LIST;
    return TD_OK;
}

td_status td_columns_row(const td_plan *plan, const td_column *columns, int64_t row, td_scratch *scratch) {
    td_plan_begin(plan, scratch);
    for (uint32_t f = 0; f < plan->schema.num_fields; f++) {
        const td_status status =
            td_column_value(&plan->schema.fields[f], &columns[f], row, &scratch->row, &scratch->fields[f]);
        if (status != TD_OK) return status;
    }
    return TD_OK;
}

/* ---------------------------------------------------------------- blocks of columns */

static void leave_open(td_scratch *scratch, uint32_t row, uint32_t feature) {
    const td_open open = {row, feature};
    scratch->open[scratch->num_open++] = open;
}

static int compare_open(const void *a, const void *b) {
    const td_open *const x = a, *const y = b;
    if (x->row != y->row) return x->row < y->row ? -1 : 1;
    return (x->feature > y->feature) - (x->feature < y->feature);
}

/* The most frequent feature by far: texts of a column, hashed. */
static void hash_texts(const td_step *step, const td_column *column, int64_t first, uint32_t count, int32_t *slots,
                       size_t stride) {
    const char *const bytes = column->values ? column->values : "";
    const int64_t i = column->start + first;
    for (uint32_t r = 0; r < count; r++) {
        const int64_t start = offset_at(column, i + r), end = offset_at(column, i + r + 1);
        slots[r * stride] = is_null(column, i + r)
                                ? step->missing
                                : slot_of(step, td_hash_from(bytes + start, (size_t)(end - start), step->state));
    }
}

static td_status encode_field(const td_plan *plan, uint32_t j, const td_column *columns, int64_t first,
                              uint32_t count, td_scratch *scratch, int32_t *slots, float *values) {
    const td_step *const step = &plan->steps[j];
    const size_t stride = plan->num_features;
    const td_column *const column = &columns[step->given.source];
    if (step->given.encoding == TD_HASHED && column->storage == TD_TEXT32) {
        td_column narrow = *column;
        narrow.storage = TD_TEXT32; /* now the compiler knows it */
        hash_texts(step, &narrow, first, count, slots + j, stride);
        return TD_OK;
    }
    const td_field *const field = &plan->schema.fields[step->given.source];
    for (uint32_t r = 0; r < count; r++) {
        td_value value;
        const td_status status = td_column_value(field, column, first + r, &scratch->row, &value);
        if (status != TD_OK) return status;
        enter(step, &value, &slots[r * stride + j], &values[r * stride + j]);
    }
    return TD_OK;
}

#define LEFT_OPEN UINT32_MAX /* in place of a kind */

/* Two passes, many rows each: a text that has just been put together byte by byte is slow to read again. */
static void enter_made(const td_plan *plan, uint32_t j, const td_value *made, uint32_t first, uint32_t last,
                       td_scratch *scratch, int32_t *slots, float *values) {
    const td_step *const step = &plan->steps[j];
    const size_t stride = plan->num_features;
    const int is_hashed = step->given.encoding == TD_HASHED;
    for (uint32_t r = first; r < last; r++) {
        const td_value *const value = &made[r];
        int32_t *const slot = &slots[r * stride + j];
        if (is_hashed && value->kind == TD_TEXT)
            *slot = slot_of(step, td_hash_from(value->text, value->size, step->state));
        else if (value->kind == LEFT_OPEN || enter(step, value, slot, &values[r * stride + j]) != TD_OK)
            leave_open(scratch, r, j);
    }
}

static td_status encode_property(const td_plan *plan, uint32_t j, uint32_t count, td_scratch *scratch, int32_t *slots,
                                 float *values) {
    const td_step *const step = &plan->steps[j];
    const size_t width = plan->schema.num_fields;
    td_value made[TD_BLOCK];
    uint32_t done = 0;
    td_arena_reset(&scratch->made);
    for (uint32_t r = 0; r < count; r++) {
        td_status status = run(step, scratch->block + r * width, &scratch->made, &made[r]);
        if (status == TD_NO_MEMORY && r > done) { /* one row alone may have what all together may not */
            enter_made(plan, j, made, done, r, scratch, slots, values);
            td_arena_reset(&scratch->made);
            done = r;
            status = run(step, scratch->block + r * width, &scratch->made, &made[r]);
        }
        if (status == TD_PYTHON)
            made[r].kind = LEFT_OPEN;
        else if (status != TD_OK)
            return status;
    }
    enter_made(plan, j, made, done, count, scratch, slots, values);
    return TD_OK;
}

static void fill_scalars(uint32_t kind, const td_column *column, int64_t first, uint32_t count, td_value *to,
                         size_t stride) {
    const int64_t i = column->start + first;
    if (kind == TD_TEXT && column->storage == TD_TEXT32 && !column->valid) {
        td_column narrow = *column;
        narrow.storage = TD_TEXT32; /* now the compiler knows it */
        for (uint32_t r = 0; r < count; r++) scalar_at(TD_TEXT, &narrow, i + r, to + r * stride);
        return;
    }
    for (uint32_t r = 0; r < count; r++) {
        if (is_null(column, i + r))
            *(to + r * stride) = (td_value){.i = 0, .size = 0, .kind = TD_NONE};
        else
            scalar_at(kind, column, i + r, to + r * stride);
    }
}

/* The fields that compiled properties read, row by row. */
static td_status fill_block(const td_plan *plan, const td_column *columns, int64_t first, uint32_t count,
                            td_scratch *scratch) {
    const size_t width = plan->schema.num_fields;
    for (uint32_t f = 0; f < plan->schema.num_fields; f++) {
        const td_field *const field = &plan->schema.fields[f];
        if (!field->is_read) continue;
        if (!field->is_list) {
            fill_scalars(field->kind, &columns[f], first, count, scratch->block + f, width);
            continue;
        }
        for (uint32_t r = 0; r < count; r++) {
            const td_status status =
                td_column_value(field, &columns[f], first + r, &scratch->row, &scratch->block[r * width + f]);
            if (status != TD_OK) return status;
        }
    }
    return TD_OK;
}

td_status td_plan_block(const td_plan *plan, const td_column *columns, int64_t first, uint32_t count,
                        td_scratch *scratch, int32_t *slots, float *values, uint16_t *features) {
    const size_t width = plan->num_features;
    td_status status = TD_OK;
    scratch->num_open = 0;
    scratch->field = TD_NO_FIELD;
    td_plan_begin(plan, scratch);
    if (!scratch->open) {
        scratch->open = malloc((size_t)TD_BLOCK * (width + 1) * sizeof *scratch->open);
        if (!scratch->open) return TD_NO_MEMORY;
    }
    if (plan->reads_rows && !scratch->block) {
        scratch->block = calloc((size_t)TD_BLOCK * plan->schema.num_fields + 1, sizeof *scratch->block);
        if (!scratch->block) return TD_NO_MEMORY;
    }
    for (uint32_t r = 0; r < count; r++) {
        memcpy(values + r * width, plan->ones, width * sizeof *values);
        if (features) memcpy(features + r * width, plan->numbers, width * sizeof *features);
    }
    if (plan->reads_rows) status = fill_block(plan, columns, first, count, scratch);
    for (uint32_t j = 0; j < plan->num_features && status == TD_OK; j++) {
        const td_step *const step = &plan->steps[j];
        if (step->given.source >= 0)
            status = encode_field(plan, j, columns, first, count, scratch, slots, values);
        else if (!step->is_python)
            status = encode_property(plan, j, count, scratch, slots, values);
        else
            for (uint32_t r = 0; r < count; r++) leave_open(scratch, r, j);
    }
    if (status == TD_OK && scratch->num_open)
        qsort(scratch->open, scratch->num_open, sizeof *scratch->open, compare_open);
    return status;
}
