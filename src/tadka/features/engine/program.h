/* A property, compiled: straight operations over registers. Written by compiler.py, listed in program.py. */
#ifndef TADKA_PROGRAM_H
#define TADKA_PROGRAM_H

#include "value.h"

typedef struct {
    uint8_t code; /* td_code of program.c, equal to program.py's Code */
    uint8_t dst, a, b;
    int32_t imm;
} td_op;

#define TD_MAX_REGISTERS 64

typedef struct {
    const td_op *ops;
    uint32_t num_ops;
    const td_value *constants;
    uint32_t num_constants;
    uint32_t num_fields; /* of the row that td_program_run is given */
} td_program;

/* 0 when every register, constant, field and jump of the program is in bounds, and every path ends in a return. */
int td_program_check(const td_program *program);

/* The property's value for a row. TD_PYTHON where Python could differ or raise; TD_NO_MEMORY.
   Texts in `out` point into the row, the constants or the arena. */
td_status td_program_run(const td_program *program, const td_value *fields, td_arena *arena, td_value *out);

#endif
