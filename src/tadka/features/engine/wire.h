/* Protobuf messages of a row. Same verdicts as upb, the parser under Google's Python package, but for
   unknown groups: at most 64 deep, and field number 0 is refused in them, too. */
#ifndef TADKA_WIRE_H
#define TADKA_WIRE_H

#include "value.h"

#define TD_MAX_FIELDS 65535u
#define TD_MAX_NUMBER 0x1fffffffu /* of a protobuf field */
#define TD_NO_FIELD UINT32_MAX

typedef struct {
    uint32_t number;     /* of the protobuf field */
    uint8_t kind;        /* td_kind of its values; never TD_NONE or TD_LIST */
    uint8_t is_list;     /* repeated */
    uint8_t is_optional; /* TD_NONE when not there, else the default of its kind */
    uint8_t is_read;     /* some compiled property reads it; columns of other fields are not made values */
} td_field;

typedef struct {
    uint32_t tag;
    uint16_t field;
    uint8_t action; /* what to do at this tag; wire.c knows */
} td_tag;

#define TD_NEAR_TAGS 1024 /* tags below are found by index: field numbers to 127 */

typedef struct {
    td_field *fields;
    td_value *defaults;
    uint32_t *times; /* fields of kind TD_TIME */
    td_tag *far;     /* sorted by tag */
    uint32_t num_fields, num_times, num_far;
    td_tag near[TD_NEAR_TAGS];
} td_schema;

/* 0, or 1 without memory, or 2 where a number is out of range or comes twice, or a kind cannot be. */
int td_schema_init(td_schema *schema, const td_field *fields, uint32_t num_fields);
void td_schema_free(td_schema *schema);

/* Reads one message to out[0..num_fields). Texts point into the message, lists live in the arena.
   At an error *field is the field it is in, or TD_NO_FIELD. */
td_status td_schema_decode(const td_schema *schema, const char *data, size_t size, td_arena *arena, td_value *out,
                           uint32_t *field);

#endif
