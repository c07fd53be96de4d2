/* A feature class compiled: rows in, entries of a sparse matrix out. Several threads may use one plan at a
   time, each with a td_scratch of its own. */
#ifndef TADKA_PLAN_H
#define TADKA_PLAN_H

#include "program.h"
#include "value.h"
#include "wire.h"

#define TD_MAX_FEATURES 65535u
#define TD_BLOCK 128u /* rows of columns that are encoded feature by feature */

typedef enum {
    TD_HASHED = 0,     /* seed, offset, width */
    TD_VOCABULARY = 1, /* words, num_words, offset */
    TD_NUMBER = 2,     /* shift, scale, offset */
    TD_LOG = 3,        /* offset */
    TD_BUCKETS = 4     /* edges, num_edges, offset */
} td_encoding;

typedef struct {
    int32_t source;            /* number of a field, or -1 for a property */
    const td_program *program; /* of a property; NULL where Python always evaluates it */
    uint8_t kind;              /* td_kind of the values, or of the items of a list */
    uint8_t is_list;
    uint8_t is_optional;
    uint8_t encoding; /* td_encoding */
    uint32_t offset;  /* first slot */
    uint32_t width;   /* slots */
    uint64_t seed;
    double shift, scale;
    const double *edges; /* increasing */
    uint32_t num_edges;
    const td_value *words; /* of kind TD_TEXT, all different */
    uint32_t num_words;
} td_feature;

/* A feature and what is worked out ahead of the rows. */
typedef struct {
    td_feature given;
    uint64_t state;     /* of the hash */
    int32_t missing;    /* slot of a missing value */
    uint32_t mask;      /* of the table */
    uint32_t *table;    /* of the vocabulary: number of a word plus 1, or 0 */
    uint32_t *prints;   /* part of each word's hash */
    uint8_t is_python;  /* always */
} td_step;

typedef struct {
    td_schema schema;
    td_step *steps;
    uint32_t num_features;
    uint32_t *python; /* features that Python always evaluates */
    uint32_t num_python;
    uint8_t is_scalar; /* every row has num_features entries */
    uint8_t reads_rows; /* some property is compiled */
    float *ones;        /* num_features of them */
    uint16_t *numbers;  /* 0 .. num_features - 1 */
} td_plan;

/* NULL where it cannot be; *why says so, in words without a full stop. What `features` point to (programs, edges,
   words) is not copied and must outlive the plan. */
td_plan *td_plan_new(const td_field *fields, uint32_t num_fields, const td_feature *features, uint32_t num_features,
                     const char **why);
void td_plan_free(td_plan *plan);

/* Entries of any number of rows. */
typedef struct {
    int32_t *slots;
    float *values;
    uint16_t *features;
    size_t count, capacity;
    int is_borrowed; /* the arrays are the caller's and hold enough */
} td_entries;

typedef struct {
    uint32_t row, feature;
} td_open;

typedef struct {
    td_arena row;      /* lists of fields */
    td_arena made;     /* what properties make */
    td_value *fields;  /* of the row at hand */
    td_value *presets; /* values that Python gave, by feature */
    uint8_t *is_preset;
    uint32_t num_presets;
    td_entries entries;
    uint32_t field; /* where an error is, or TD_NO_FIELD */
    uint32_t at;    /* row of a block where an error is */
    td_value *block; /* of td_plan_block, made when needed */
    td_open *open;   /* left to Python by td_plan_block, by row, then by feature */
    uint32_t num_open;
} td_scratch;

/* 0, or 1 without memory. */
int td_scratch_init(td_scratch *scratch, const td_plan *plan);
void td_scratch_free(td_scratch *scratch);

/* One row. td_plan_decode reads a message to scratch->fields and forgets the row before; td_plan_encode appends
   the row's entries; td_plan_message does both. TD_PYTHON: property *feature is Python's; give its value to
   td_plan_preset and call td_plan_encode again. */
td_status td_plan_decode(const td_plan *plan, const char *data, size_t size, td_scratch *scratch);
td_status td_plan_encode(const td_plan *plan, td_scratch *scratch, uint32_t *feature);
td_status td_plan_message(const td_plan *plan, const char *data, size_t size, td_scratch *scratch, uint32_t *feature);
void td_plan_begin(const td_plan *plan, td_scratch *scratch); /* instead of td_plan_decode: the caller fills fields */
void td_plan_preset(td_scratch *scratch, uint32_t feature, const td_value *value);

/* Entry of one value that is no list. */
td_status td_plan_entry(const td_plan *plan, uint32_t feature, const td_value *value, int32_t *slot, float *x);

/* A column in Arrow's layout. */
typedef enum {
    TD_BITS,
    TD_INT8,
    TD_INT16,
    TD_INT32,
    TD_INT64,
    TD_UINT8,
    TD_UINT16,
    TD_UINT32,
    TD_FLOAT32,
    TD_FLOAT64,
    TD_TEXT32, /* 32-bit offsets */
    TD_TEXT64,
    TD_LIST32,
    TD_LIST64
} td_storage;

typedef struct td_column {
    uint8_t storage; /* td_storage */
    const uint8_t *valid; /* bits, or NULL where nothing is missing */
    const void *values;   /* numbers, bits or the bytes of texts */
    const void *offsets;  /* of texts and lists */
    int64_t start;        /* where row 0 is */
    int64_t length;       /* rows from there on */
    const struct td_column *items; /* of lists; not a list itself */
} td_column;

/* Whether values of a storage are those of a kind. */
int td_storage_holds(uint8_t storage, uint32_t kind);

/* Looks at what cannot be trusted in rows [first, first + count) of all columns, of which there is one a field:
   missing values, offsets, UTF-8, times. At an error scratch->at is the row, counted from `first`. */
td_status td_columns_check(const td_plan *plan, const td_column *columns, int64_t first, uint32_t count,
                           td_scratch *scratch);
/* Value of one row of a column that was checked. */
td_status td_column_value(const td_field *field, const td_column *column, int64_t row, td_arena *arena,
                          td_value *value);
/* All fields of a row that was checked, to scratch->fields, in place of td_plan_decode. */
td_status td_columns_row(const td_plan *plan, const td_column *columns, int64_t row, td_scratch *scratch);

/* Encodes `count` <= TD_BLOCK rows that were checked, of a plan that is_scalar: entry j of row r goes to place
   r * num_features + j; `features`, which repeat, may be NULL. What is left to Python stands in scratch->open; its
   entries are the caller's to write. */
td_status td_plan_block(const td_plan *plan, const td_column *columns, int64_t first, uint32_t count,
                        td_scratch *scratch, int32_t *slots, float *values, uint16_t *features);

#endif
