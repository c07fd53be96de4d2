/* The machine that runs compiled properties. td_program_check looks once at everything that does not
   depend on the row, so that a run has only the kinds of its values to look at. */
#include "program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Same numbers and names as Code of program.py; a test compares them. */
typedef enum {
    TD_OP_RETURN = 0,
    TD_OP_FIELD = 1,
    TD_OP_CONSTANT = 2,
    TD_OP_MOVE = 3,
    TD_OP_JUMP = 4,
    TD_OP_JUMP_IF = 5,
    TD_OP_JUMP_UNLESS = 6,
    TD_OP_REQUIRE = 7,
    TD_OP_TEXT = 8,
    TD_OP_LIST = 9,
    TD_OP_IS_NONE = 10,
    TD_OP_NOT = 11,
    TD_OP_BOOL = 12,
    TD_OP_INT = 13,
    TD_OP_FLOAT = 14,
    TD_OP_ROUND = 15,
    TD_OP_FLOOR = 16,
    TD_OP_CEIL = 17,
    TD_OP_SQRT = 18,
    TD_OP_NEGATIVE = 19,
    TD_OP_ABSOLUTE = 20,
    TD_OP_ADD = 21,
    TD_OP_SUBTRACT = 22,
    TD_OP_MULTIPLY = 23,
    TD_OP_DIVIDE = 24,
    TD_OP_FLOOR_DIVIDE = 25,
    TD_OP_MODULO = 26,
    TD_OP_AND = 27,
    TD_OP_OR = 28,
    TD_OP_XOR = 29,
    TD_OP_MIN = 30,
    TD_OP_MAX = 31,
    TD_OP_EQUAL = 32,
    TD_OP_NOT_EQUAL = 33,
    TD_OP_LESS = 34,
    TD_OP_LESS_EQUAL = 35,
    TD_OP_IN = 36,
    TD_OP_CONTAINS = 37,
    TD_OP_STARTS = 38,
    TD_OP_ENDS = 39,
    TD_OP_LENGTH = 40,
    TD_OP_LOWER = 41,
    TD_OP_UPPER = 42,
    TD_OP_STRIP = 43,
    TD_OP_SLICE = 44,
    TD_OP_ITEM = 45,
    TD_OP_YEAR = 46,
    TD_OP_MONTH = 47,
    TD_OP_DAY = 48,
    TD_OP_HOUR = 49,
    TD_OP_MINUTE = 50,
    TD_OP_SECOND = 51,
    TD_OP_MICROSECOND = 52,
    TD_OP_WEEKDAY = 53,
    TD_OP_ISOWEEKDAY = 54,
    TD_OP_DAYS = 55,
    TD_OP_SECONDS = 56,
    TD_OP_MICROSECONDS = 57,
    TD_OP_TOTAL_SECONDS = 58,
    TD_OP_END = 59
} td_code;

/* A difference of times in microseconds: i. Never leaves a program. */
#define TD_DELTA 7

#define MAX_OPS 65536u
#define MAX_TEXT 0x7fffffffu
#define EXACT (INT64_C(1) << 53) /* integers up to here are doubles, too */

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define FIRST_TIME INT64_C(-62135596800000000) /* 0001-01-01 00:00 */
#define LAST_TIME INT64_C(253402300799999999)  /* 9999-12-31 23:59:59.999999 */

/* ---------------------------------------------------------------- check */

/* What an operation's operands mean. */
enum {
    WRITES = 1,    /* dst */
    READS_A = 2,   /* a */
    READS_B = 4,   /* b */
    READS_RUN = 8, /* registers a to a + b - 1 */
    CONSTANTS = 16 /* b constants from imm on */
};

static const uint8_t shapes[TD_OP_END] = {
    [TD_OP_RETURN] = READS_A,
    [TD_OP_FIELD] = WRITES,
    [TD_OP_CONSTANT] = WRITES,
    [TD_OP_MOVE] = WRITES | READS_A,
    [TD_OP_JUMP] = 0,
    [TD_OP_JUMP_IF] = READS_A,
    [TD_OP_JUMP_UNLESS] = READS_A,
    [TD_OP_REQUIRE] = READS_A,
    [TD_OP_TEXT] = WRITES | READS_RUN,
    [TD_OP_LIST] = WRITES | READS_RUN,
    [TD_OP_IS_NONE] = WRITES | READS_A,
    [TD_OP_NOT] = WRITES | READS_A,
    [TD_OP_BOOL] = WRITES | READS_A,
    [TD_OP_INT] = WRITES | READS_A,
    [TD_OP_FLOAT] = WRITES | READS_A,
    [TD_OP_ROUND] = WRITES | READS_A,
    [TD_OP_FLOOR] = WRITES | READS_A,
    [TD_OP_CEIL] = WRITES | READS_A,
    [TD_OP_SQRT] = WRITES | READS_A,
    [TD_OP_NEGATIVE] = WRITES | READS_A,
    [TD_OP_ABSOLUTE] = WRITES | READS_A,
    [TD_OP_ADD] = WRITES | READS_A | READS_B,
    [TD_OP_SUBTRACT] = WRITES | READS_A | READS_B,
    [TD_OP_MULTIPLY] = WRITES | READS_A | READS_B,
    [TD_OP_DIVIDE] = WRITES | READS_A | READS_B,
    [TD_OP_FLOOR_DIVIDE] = WRITES | READS_A | READS_B,
    [TD_OP_MODULO] = WRITES | READS_A | READS_B,
    [TD_OP_AND] = WRITES | READS_A | READS_B,
    [TD_OP_OR] = WRITES | READS_A | READS_B,
    [TD_OP_XOR] = WRITES | READS_A | READS_B,
    [TD_OP_MIN] = WRITES | READS_A | READS_B,
    [TD_OP_MAX] = WRITES | READS_A | READS_B,
    [TD_OP_EQUAL] = WRITES | READS_A | READS_B,
    [TD_OP_NOT_EQUAL] = WRITES | READS_A | READS_B,
    [TD_OP_LESS] = WRITES | READS_A | READS_B,
    [TD_OP_LESS_EQUAL] = WRITES | READS_A | READS_B,
    [TD_OP_IN] = WRITES | READS_A | CONSTANTS,
    [TD_OP_CONTAINS] = WRITES | READS_A | READS_B,
    [TD_OP_STARTS] = WRITES | READS_A | CONSTANTS,
    [TD_OP_ENDS] = WRITES | READS_A | CONSTANTS,
    [TD_OP_LENGTH] = WRITES | READS_A,
    [TD_OP_LOWER] = WRITES | READS_A,
    [TD_OP_UPPER] = WRITES | READS_A,
    [TD_OP_STRIP] = WRITES | READS_A,
    [TD_OP_SLICE] = WRITES | READS_A,
    [TD_OP_ITEM] = WRITES | READS_A,
    [TD_OP_YEAR] = WRITES | READS_A,
    [TD_OP_MONTH] = WRITES | READS_A,
    [TD_OP_DAY] = WRITES | READS_A,
    [TD_OP_HOUR] = WRITES | READS_A,
    [TD_OP_MINUTE] = WRITES | READS_A,
    [TD_OP_SECOND] = WRITES | READS_A,
    [TD_OP_MICROSECOND] = WRITES | READS_A,
    [TD_OP_WEEKDAY] = WRITES | READS_A,
    [TD_OP_ISOWEEKDAY] = WRITES | READS_A,
    [TD_OP_DAYS] = WRITES | READS_A,
    [TD_OP_SECONDS] = WRITES | READS_A,
    [TD_OP_MICROSECONDS] = WRITES | READS_A,
    [TD_OP_TOTAL_SECONDS] = WRITES | READS_A,
};

static uint64_t bits(uint32_t first, uint32_t count) { /* first + count <= 64 */
    if (count == 0) return 0;
    return (count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1) << first;
}

static int constants_of_kind(const td_program *program, int64_t first, int64_t count, uint32_t kind) {
    if (first < 0 || first + count > (int64_t)program->num_constants) return 0;
    for (int64_t c = first; c < first + count; c++)
        if (program->constants[c].kind != kind) return 0;
    return 1;
}

/* set[i]: registers that hold a value on every way to operation i. Jumps go forward, so one pass does. */
static int check_op(const td_program *program, uint32_t i, uint64_t *set, int *falls) {
    const td_op *op = &program->ops[i];
    uint64_t needs = 0, now = set[i];
    int64_t imm = op->imm;

    if (op->code >= TD_OP_END) return 1;
    const uint8_t shape = shapes[op->code];
    if (shape & (READS_A | READS_RUN) && op->a >= TD_MAX_REGISTERS) return 1;
    if (shape & READS_A) needs |= bits(op->a, 1);
    if (shape & READS_B) {
        if (op->b >= TD_MAX_REGISTERS) return 1;
        needs |= bits(op->b, 1);
    }
    if (shape & READS_RUN) {
        if ((uint32_t)op->a + op->b > TD_MAX_REGISTERS) return 1;
        needs |= bits(op->a, op->b);
    }
    if (*falls && needs & ~now) return 1; /* what is never reached may be anything in bounds */
    if (shape & CONSTANTS && (imm < 0 || imm + op->b > (int64_t)program->num_constants)) return 1;
    if (shape & WRITES) {
        if (op->dst >= TD_MAX_REGISTERS) return 1;
        now |= bits(op->dst, 1);
    }
    switch (op->code) {
    case TD_OP_FIELD:
        if (imm < 0 || imm >= (int64_t)program->num_fields) return 1;
        break;
    case TD_OP_CONSTANT:
        if (imm < 0 || imm >= (int64_t)program->num_constants) return 1;
        if (op->a != 0 && !((op->a == TD_TIME || op->a == TD_DELTA) && constants_of_kind(program, imm, 1, TD_INT)))
            return 1;
        break;
    case TD_OP_STARTS:
    case TD_OP_ENDS:
        if (!constants_of_kind(program, imm, op->b, TD_TEXT)) return 1;
        break;
    case TD_OP_STRIP:
        if (op->b < 1 || op->b > 3) return 1;
        break;
    case TD_OP_SLICE:
        if (!constants_of_kind(program, imm, 2, TD_INT)) return 1;
        break;
    case TD_OP_JUMP:
    case TD_OP_JUMP_IF:
    case TD_OP_JUMP_UNLESS:
        if (imm <= (int64_t)i || imm >= (int64_t)program->num_ops) return 1;
        if (*falls) set[imm] &= now;
        break;
    default:
        break;
    }
    if (op->code == TD_OP_RETURN || op->code == TD_OP_JUMP) *falls = 0;
    if (*falls) {
        if (i + 1 == program->num_ops) return 1;
        set[i + 1] &= now;
    }
    return 0;
}

int td_program_check(const td_program *program) {
    if (program->num_ops == 0 || program->num_ops > MAX_OPS) return 1;
    for (uint32_t c = 0; c < program->num_constants; c++) {
        const td_value *constant = &program->constants[c];
        if (constant->kind > TD_TEXT || constant->kind == TD_TIME) return 1;
        if (constant->kind == TD_TEXT && (constant->size > MAX_TEXT || (constant->size && !constant->text))) return 1;
        if (constant->kind == TD_BOOL && constant->i != 0 && constant->i != 1) return 1;
    }
    uint64_t *set = malloc(program->num_ops * sizeof *set);
    uint8_t *reached = calloc(program->num_ops, 1);
    int wrong = !set || !reached;
    if (!wrong) {
        memset(set, 0xff, program->num_ops * sizeof *set);
        set[0] = 0;
        reached[0] = 1;
    }
    for (uint32_t i = 0; !wrong && i < program->num_ops; i++) {
        const int was_reached = reached[i];
        int falls = was_reached;
        wrong = check_op(program, i, set, &falls);
        if (wrong || !was_reached) continue;
        const td_op *op = &program->ops[i];
        if (falls) reached[i + 1] = 1;
        if (op->code == TD_OP_JUMP || op->code == TD_OP_JUMP_IF || op->code == TD_OP_JUMP_UNLESS)
            reached[op->imm] = 1;
    }
    free(set);
    free(reached);
    return wrong;
}

/* ---------------------------------------------------------------- numbers and comparisons */

static int is_whole(const td_value *v) { return v->kind == TD_INT || v->kind == TD_BOOL; }

static int is_number(const td_value *v) { return v->kind - TD_BOOL <= TD_FLOAT - TD_BOOL; }

static int is_exact(int64_t i) { return i >= -EXACT && i <= EXACT; }

static double as_double(const td_value *v) { return v->kind == TD_FLOAT ? v->f : (double)v->i; }

static int64_t floor_divide(int64_t i, int64_t by) { /* by > 0 */
    return i / by - (i % by < 0);
}

static int64_t modulo(int64_t i, int64_t by) { /* by > 0 */
    const int64_t rest = i % by;
    return rest < 0 ? rest + by : rest;
}

/* In these, -1 means that Python has to say. */

static int equals(const td_value *a, const td_value *b) {
    if (a->kind == b->kind) {
        switch (a->kind) {
        case TD_NONE:
            return 1;
        case TD_FLOAT:
            return a->f == b->f;
        case TD_TEXT:
            return a->size == b->size && (a->size == 0 || memcmp(a->text, b->text, a->size) == 0);
        case TD_LIST:
            return -1;
        default:
            return a->i == b->i;
        }
    }
    if (!is_number(a) || !is_number(b)) return 0;
    if (a->kind != TD_FLOAT && b->kind != TD_FLOAT) return a->i == b->i;
    if (!is_exact((a->kind == TD_FLOAT ? b : a)->i)) return -1;
    return as_double(a) == as_double(b);
}

static int compare_texts(const td_value *a, const td_value *b) {
    const uint32_t size = a->size < b->size ? a->size : b->size;
    const int order = size ? memcmp(a->text, b->text, size) : 0; /* UTF-8 sorts as code points do */
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static int is_less(const td_value *a, const td_value *b, int or_equal) {
    if (is_number(a) && is_number(b)) {
        if (a->kind != TD_FLOAT && b->kind != TD_FLOAT) return or_equal ? a->i <= b->i : a->i < b->i;
        if (a->kind != TD_FLOAT && !is_exact(a->i)) return -1;
        if (b->kind != TD_FLOAT && !is_exact(b->i)) return -1;
        const double x = as_double(a), y = as_double(b);
        return or_equal ? x <= y : x < y;
    }
    if (a->kind != b->kind) return -1;
    if (a->kind == TD_TEXT) {
        const int order = compare_texts(a, b);
        return or_equal ? order <= 0 : order < 0;
    }
    if (a->kind == TD_TIME || a->kind == TD_DELTA) return or_equal ? a->i <= b->i : a->i < b->i;
    return -1;
}

static int is_true(const td_value *v) {
    switch (v->kind) {
    case TD_NONE:
        return 0;
    case TD_FLOAT:
        return v->f != 0.0;
    case TD_TEXT:
    case TD_LIST:
        return v->size != 0;
    case TD_TIME:
        return 1;
    default:
        return v->i != 0;
    }
}

static int from_int(td_value *out, int64_t i) {
    out->i = i;
    out->size = 0;
    out->kind = TD_INT;
    return 0;
}

static int from_float(td_value *out, double f) {
    out->f = f;
    out->size = 0;
    out->kind = TD_FLOAT;
    return 0;
}

static void from_bool(td_value *out, int truth) {
    out->i = truth;
    out->size = 0;
    out->kind = TD_BOOL;
}

static int from_microseconds(td_value *out, int64_t i, uint32_t kind) {
    if (kind == TD_TIME && (i < FIRST_TIME || i > LAST_TIME)) return -1;
    out->i = i;
    out->size = 0;
    out->kind = kind;
    return 0;
}

static int from_whole_double(td_value *out, double f) {
    /* Both bounds are doubles; NaN fails the comparison. */
    if (!(f >= -9223372036854775808.0 && f < 9223372036854775808.0)) return -1;
    return from_int(out, (int64_t)f);
}

/* int / int is rounded once in Python; here only where both are doubles. */
static int divide_whole(td_value *out, int64_t i, int64_t j) {
    if (j == 0 || !is_exact(i) || !is_exact(j)) return -1;
    return from_float(out, (double)i / (double)j);
}

static int floor_divide_whole(td_value *out, int64_t i, int64_t j) {
    if (j == 0 || (j == -1 && i == INT64_MIN)) return -1;
    const int64_t rest = i % j;
    return from_int(out, i / j - (rest != 0 && (rest < 0) != (j < 0)));
}

/* Remainder with the divisor's sign, and the quotient that belongs to it, as Python defines them:
   docs.python.org/3/reference/expressions.html, "Binary arithmetic operations". fmod is exact. */
static double float_remainder(double x, double y) {
    double rest = fmod(x, y);
    if (rest == 0.0) return copysign(0.0, y);
    if ((rest < 0.0) != (y < 0.0)) rest += y;
    return rest;
}

static double float_quotient(double x, double y) {
    double rest = fmod(x, y), quotient = (x - rest) / y;
    if (rest != 0.0 && (rest < 0.0) != (y < 0.0)) quotient -= 1.0;
    if (quotient == 0.0) return copysign(0.0, x / y);
    const double whole = floor(quotient); /* the division above may have been rounded */
    return quotient - whole > 0.5 ? whole + 1.0 : whole;
}

static int arithmetic(td_value *out, uint8_t code, const td_value *a, const td_value *b) {
    int64_t i;
    if (is_whole(a) && is_whole(b)) {
        switch (code) {
        case TD_OP_ADD:
            return __builtin_add_overflow(a->i, b->i, &i) ? -1 : from_int(out, i);
        case TD_OP_SUBTRACT:
            return __builtin_sub_overflow(a->i, b->i, &i) ? -1 : from_int(out, i);
        case TD_OP_MULTIPLY:
            return __builtin_mul_overflow(a->i, b->i, &i) ? -1 : from_int(out, i);
        case TD_OP_DIVIDE:
            return divide_whole(out, a->i, b->i);
        case TD_OP_FLOOR_DIVIDE:
            return floor_divide_whole(out, a->i, b->i);
        default:
            if (b->i == 0) return -1;
            if (b->i == -1) return from_int(out, 0); /* INT64_MIN % -1 is undefined in C */
            i = a->i % b->i;
            return from_int(out, i != 0 && (i < 0) != (b->i < 0) ? i + b->i : i);
        }
    }
    if (is_number(a) && is_number(b)) {
        const double x = as_double(a), y = as_double(b);
        switch (code) {
        case TD_OP_ADD:
            return from_float(out, x + y);
        case TD_OP_SUBTRACT:
            return from_float(out, x - y);
        case TD_OP_MULTIPLY:
            return from_float(out, x * y);
        case TD_OP_DIVIDE:
            return y == 0.0 ? -1 : from_float(out, x / y);
        case TD_OP_FLOOR_DIVIDE:
            return y == 0.0 ? -1 : from_float(out, float_quotient(x, y));
        default:
            return y == 0.0 ? -1 : from_float(out, float_remainder(x, y));
        }
    }
    if (a->kind == TD_TIME && b->kind == TD_DELTA) {
        if (code == TD_OP_ADD && !__builtin_add_overflow(a->i, b->i, &i)) return from_microseconds(out, i, TD_TIME);
        if (code == TD_OP_SUBTRACT && !__builtin_sub_overflow(a->i, b->i, &i))
            return from_microseconds(out, i, TD_TIME);
        return -1;
    }
    if (a->kind == TD_DELTA && b->kind == TD_TIME) {
        if (code == TD_OP_ADD && !__builtin_add_overflow(a->i, b->i, &i)) return from_microseconds(out, i, TD_TIME);
        return -1;
    }
    if (a->kind == TD_TIME && b->kind == TD_TIME) {
        if (code == TD_OP_SUBTRACT && !__builtin_sub_overflow(a->i, b->i, &i))
            return from_microseconds(out, i, TD_DELTA);
        return -1;
    }
    if (a->kind == TD_DELTA && b->kind == TD_DELTA) {
        if (code == TD_OP_DIVIDE) return divide_whole(out, a->i, b->i);
        if (code == TD_OP_FLOOR_DIVIDE) return floor_divide_whole(out, a->i, b->i);
    }
    return -1;
}

static int bitwise(td_value *out, uint8_t code, const td_value *a, const td_value *b) {
    if (!is_whole(a) || !is_whole(b)) return -1;
    const uint32_t kind = a->kind == TD_BOOL && b->kind == TD_BOOL ? TD_BOOL : TD_INT;
    out->i = code == TD_OP_AND ? a->i & b->i : code == TD_OP_OR ? a->i | b->i : a->i ^ b->i;
    out->size = 0;
    out->kind = kind;
    return 0;
}

/* What int() reads, in its simplest form: a sign and up to 18 ASCII digits. */
static int int_of_text(td_value *out, const td_value *a) {
    uint32_t at = a->size && (a->text[0] == '-' || a->text[0] == '+');
    const int is_negative = at && a->text[0] == '-';
    if (a->size - at == 0 || a->size - at > 18) return -1;
    int64_t i = 0;
    for (; at < a->size; at++) {
        const unsigned digit = (unsigned char)a->text[at] - '0';
        if (digit > 9) return -1;
        i = i * 10 + digit;
    }
    return from_int(out, is_negative ? -i : i);
}

static int convert(td_value *out, uint8_t code, const td_value *a) {
    if (code == TD_OP_SQRT) {
        if (!is_number(a)) return -1;
        const double x = as_double(a);
        return x < 0.0 ? -1 : from_float(out, sqrt(x));
    }
    if (is_whole(a)) return code == TD_OP_FLOAT ? from_float(out, (double)a->i) : from_int(out, a->i);
    if (a->kind == TD_TEXT && code == TD_OP_INT) return int_of_text(out, a);
    if (a->kind != TD_FLOAT) return -1;
    switch (code) {
    case TD_OP_FLOAT:
        return from_float(out, a->f);
    case TD_OP_INT:
        return from_whole_double(out, trunc(a->f));
    case TD_OP_ROUND:
        return from_whole_double(out, rint(a->f)); /* halves to even: nobody changes the rounding mode */
    case TD_OP_FLOOR:
        return from_whole_double(out, floor(a->f));
    default:
        return from_whole_double(out, ceil(a->f));
    }
}

static int negative(td_value *out, const td_value *a) {
    if (a->kind == TD_FLOAT) return from_float(out, -a->f);
    if (!is_whole(a) || a->i == INT64_MIN) return -1;
    return from_int(out, -a->i);
}

static int absolute(td_value *out, const td_value *a) {
    if (a->kind == TD_FLOAT) return from_float(out, fabs(a->f));
    if (!is_whole(a) || a->i == INT64_MIN) return -1;
    return from_int(out, a->i < 0 ? -a->i : a->i);
}

/* ---------------------------------------------------------------- times */

typedef struct {
    int year, month, day;
} td_date;

/* Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2021), civil_from_days:
   eras of 400 years that begin on the 1st of March, so that the leap day comes last. All times of 64
   bits lie within 800 eras of 1970, so that unsigned numbers of 32 bits do. */
static td_date date_of_time(int64_t i) {
    td_date date;
    const uint32_t days = (uint32_t)(floor_divide(i, DAY) + 719468 + 800 * 146097); /* 719468: from 0000-03-01 */
    const uint32_t era = days / 146097, day_of_era = days % 146097;
    const uint32_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const uint32_t month = (5 * day_of_year + 2) / 153; /* 0 is March */
    date.day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    date.month = (int)(month < 10 ? month + 3 : month - 9);
    date.year = (int)(year_of_era + era * 400) - 800 * 400 + (date.month <= 2);
    return date;
}

static int64_t part_of_time(uint8_t code, int64_t i) {
    switch (code) {
    case TD_OP_YEAR:
        return date_of_time(i).year;
    case TD_OP_MONTH:
        return date_of_time(i).month;
    case TD_OP_DAY:
        return date_of_time(i).day;
    case TD_OP_MINUTE:
        return modulo(i, 3600 * SECOND) / (60 * SECOND);
    case TD_OP_SECOND:
        return modulo(i, 60 * SECOND) / SECOND;
    case TD_OP_MICROSECOND:
        return modulo(i, SECOND);
    default: /* 1970-01-01 was a Thursday */
        return modulo(floor_divide(i, DAY) + 3, 7) + (code == TD_OP_ISOWEEKDAY);
    }
}

static int part_of_delta(td_value *out, uint8_t code, int64_t i) {
    switch (code) {
    case TD_OP_DAYS:
        return from_int(out, floor_divide(i, DAY));
    case TD_OP_SECONDS:
        return from_int(out, modulo(i, DAY) / SECOND);
    case TD_OP_MICROSECONDS:
        return from_int(out, modulo(i, SECOND));
    default:
        return divide_whole(out, i, SECOND);
    }
}

/* ---------------------------------------------------------------- texts */

/* memcpy without a call for what texts of features are: short. */
static inline void copy(char *to, const char *from, size_t size) {
    uint64_t head, tail;
    if (size > 32) {
        memcpy(to, from, size);
    } else if (size >= 16) {
        uint64_t words[4];
        memcpy(words, from, 16);
        memcpy(words + 2, from + size - 16, 16);
        memcpy(to, words, 16);
        memcpy(to + size - 16, words + 2, 16);
    } else if (size >= 8) {
        memcpy(&head, from, 8);
        memcpy(&tail, from + size - 8, 8);
        memcpy(to, &head, 8);
        memcpy(to + size - 8, &tail, 8);
    } else if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + size - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + size - 4, &last, 4);
    } else if (size) {
        to[0] = from[0];
        to[size / 2] = from[size / 2];
        to[size - 1] = from[size - 1];
    }
}

static const char pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354"
    "555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

static char *write_int(char *to, int64_t i) { /* at most 20 bytes */
    uint64_t rest = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    char digits[20], *at = digits + sizeof digits;
    if (i < 0) *to++ = '-';
    if (rest < 10) {
        *to = (char)('0' + rest);
        return to + 1;
    }
    while (rest >= 100) {
        memcpy(at -= 2, pairs + 2 * (rest % 100), 2);
        rest /= 100;
    }
    if (rest >= 10)
        memcpy(at -= 2, pairs + 2 * rest, 2);
    else
        *--at = (char)('0' + rest);
    const size_t size = (size_t)(digits + sizeof digits - at);
    copy(to, at, size);
    return to + size;
}

static td_status join(td_value *out, const td_value *parts, uint32_t count, td_arena *arena) {
    size_t room = 0;
    for (uint32_t p = 0; p < count; p++) {
        switch (parts[p].kind) {
        case TD_TEXT:
            room += parts[p].size;
            break;
        case TD_NONE:
        case TD_BOOL:
            room += 5;
            break;
        case TD_INT:
            room += 20;
            break;
        default:
            return TD_PYTHON;
        }
    }
    if (room > MAX_TEXT) return TD_PYTHON;
    char *const text = td_arena_take(arena, room);
    if (!text) return TD_NO_MEMORY;
    char *to = text;
    for (uint32_t p = 0; p < count; p++) {
        switch (parts[p].kind) {
        case TD_TEXT:
            copy(to, parts[p].text, parts[p].size);
            to += parts[p].size;
            break;
        case TD_INT:
            to = write_int(to, parts[p].i);
            break;
        default:
            if (parts[p].kind == TD_BOOL && !parts[p].i) {
                memcpy(to, "False", 5);
                to += 5;
            } else {
                memcpy(to, parts[p].kind == TD_BOOL ? "True" : "None", 4);
                to += 4;
            }
        }
    }
    out->text = text;
    out->size = (uint32_t)(to - text);
    out->kind = TD_TEXT;
    return TD_OK;
}

static td_status list(td_value *out, const td_value *items, uint32_t count, td_arena *arena) {
    for (uint32_t i = 0; i < count; i++)
        if (items[i].kind > TD_TEXT) return TD_PYTHON;
    td_value *const copies = td_arena_take(arena, count * sizeof *copies);
    if (!copies) return TD_NO_MEMORY;
    memcpy(copies, items, count * sizeof *copies);
    out->items = copies;
    out->size = count;
    out->kind = TD_LIST;
    return TD_OK;
}

static int is_within(const char *text, size_t size, const char *part, size_t part_size) {
    if (part_size == 0) return 1;
    while (size >= part_size) {
        const char *found = memchr(text, part[0], size - part_size + 1);
        if (!found) return 0;
        if (memcmp(found, part, part_size) == 0) return 1;
        size -= (size_t)(found - text) + 1;
        text = found + 1;
    }
    return 0;
}

static int contains(const td_value *a, const td_value *b) {
    if (b->kind == TD_TEXT)
        return a->kind == TD_TEXT ? is_within(b->text, b->size, a->text, a->size) : -1;
    if (b->kind != TD_LIST) return -1;
    if (a->kind == TD_FLOAT && isnan(a->f)) return -1; /* `in` looks at identity first */
    for (uint32_t i = 0; i < b->size; i++) {
        const int found = equals(a, &b->items[i]);
        if (found) return found;
    }
    return 0;
}

static int is_one_of(const td_value *a, const td_value *constants, uint32_t count) {
    if (a->kind == TD_LIST) return -1; /* not hashable, if the constants were a set */
    for (uint32_t c = 0; c < count; c++) {
        const int found = equals(a, &constants[c]);
        if (found) return found;
    }
    return 0;
}

static int has_end(uint8_t code, const td_value *a, const td_value *ends, uint32_t count) {
    if (a->kind != TD_TEXT) return -1;
    for (uint32_t c = 0; c < count; c++) {
        const uint32_t size = ends[c].size;
        if (size > a->size) continue;
        if (size == 0 || memcmp(a->text + (code == TD_OP_ENDS ? a->size - size : 0), ends[c].text, size) == 0) return 1;
    }
    return 0;
}

static int is_follower(char byte) { return ((unsigned char)byte & 0xC0) == 0x80; }

static uint32_t count_points(const char *text, uint32_t size) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < size; i++) count += !is_follower(text[i]);
    return count;
}

/* Byte at which code point `points` begins, or `size`. */
static uint32_t skip_points(const char *text, uint32_t size, int64_t points) {
    uint32_t at = 0;
    for (; points > 0 && at < size; points--)
        for (at++; at < size && is_follower(text[at]); at++) {}
    return at;
}

static void slice(td_value *out, const td_value *a, int64_t start, int64_t stop) {
    const char *text = a->text;
    uint32_t size = a->size;
    if (size == 0) { /* its text may be NULL */
        *out = *a;
        return;
    }
    if (start < 0 || stop < 0) { /* from the end: bounds are far from overflow, a size is 32 bits */
        const int64_t points = count_points(text, size);
        if (start < 0) start = start < -points ? 0 : start + points;
        if (stop < 0) stop = stop < -points ? 0 : stop + points;
    }
    const uint32_t begin = skip_points(text, size, start);
    const uint32_t length = stop > start ? skip_points(text + begin, size - begin, stop - start) : 0;
    out->text = text + begin;
    out->size = length;
    out->kind = TD_TEXT;
}

static int item(td_value *out, const td_value *a, int64_t at) {
    if (a->kind == TD_LIST) {
        if (at < 0) at += a->size;
        if (at < 0 || at >= (int64_t)a->size) return -1;
        *out = a->items[at];
        return 0;
    }
    if (a->kind != TD_TEXT) return -1;
    if (at < 0) at += count_points(a->text, a->size);
    if (at < 0) return -1;
    const uint32_t begin = skip_points(a->text, a->size, at);
    if (begin == a->size) return -1;
    out->size = skip_points(a->text + begin, a->size - begin, 1);
    out->text = a->text + begin;
    out->kind = TD_TEXT;
    return 0;
}

static td_status change_case(td_value *out, uint8_t code, const td_value *a, td_arena *arena) {
    if (a->kind != TD_TEXT) return TD_PYTHON;
    const uint32_t size = a->size;
    const char *const text = a->text;
    const unsigned char first = code == TD_OP_LOWER ? 'A' : 'a';
    unsigned char seen = 0;
    uint32_t changes = 0;
    for (uint32_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)text[i];
        seen |= byte;
        changes |= (unsigned char)(byte - first) < 26;
    }
    if (seen >= 0x80) return TD_PYTHON;
    if (!changes) {
        *out = *a;
        return TD_OK;
    }
    char *const to = td_arena_take(arena, size);
    if (!to) return TD_NO_MEMORY;
    for (uint32_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)text[i];
        to[i] = (char)(byte ^ ((unsigned char)(byte - first) < 26 ? 0x20 : 0));
    }
    out->text = to;
    out->size = size;
    out->kind = TD_TEXT;
    return TD_OK;
}

/* str.strip() takes away \t \n \v \f \r, the four separators 0x1C to 0x1F, the space, and others
   beyond ASCII: a text that begins or ends beyond ASCII is Python's. */
static int is_space(char byte) { return byte == ' ' || (byte >= 9 && byte <= 13) || (byte >= 28 && byte <= 31); }

static int strip(td_value *out, const td_value *a, uint8_t sides) {
    if (a->kind != TD_TEXT) return -1;
    const char *text = a->text;
    uint32_t size = a->size;
    if (sides & 1) {
        while (size && is_space(text[0])) text++, size--;
        if (size && (unsigned char)text[0] >= 0x80) return -1;
    }
    if (sides & 2) {
        while (size && is_space(text[size - 1])) size--;
        if (size && (unsigned char)text[size - 1] >= 0x80) return -1;
    }
    out->text = text;
    out->size = size;
    out->kind = TD_TEXT;
    return 0;
}

/* ---------------------------------------------------------------- run */

td_status td_program_run(const td_program *program, const td_value *fields, td_arena *arena, td_value *out) {
    td_value r[TD_MAX_REGISTERS]; /* not cleared: td_program_check saw that each is written before it is read */
    const td_op *const ops = program->ops;
    const td_value *const constants = program->constants;
    const td_op *op = ops;
    td_status status;
    int answer;

    for (;;) {
        td_value *const dst = &r[op->dst];
        const td_value *const a = &r[op->a];
        switch (op->code) {
        case TD_OP_RETURN:
            if (a->kind > TD_LIST) return TD_PYTHON;
            *out = *a;
            return TD_OK;
        case TD_OP_FIELD:
            *dst = fields[op->imm];
            break;
        case TD_OP_CONSTANT:
            *dst = constants[op->imm];
            if (op->a) dst->kind = op->a;
            break;
        case TD_OP_MOVE:
            *dst = *a;
            break;
        case TD_OP_JUMP:
            op = ops + op->imm;
            continue;
        case TD_OP_JUMP_IF:
        case TD_OP_JUMP_UNLESS:
            if (is_true(a) == (op->code == TD_OP_JUMP_IF)) {
                op = ops + op->imm;
                continue;
            }
            break;
        case TD_OP_REQUIRE:
            if (!((uint32_t)op->imm >> (a->kind & 31) & 1)) return TD_PYTHON;
            break;
        case TD_OP_TEXT:
            /* Straight to where it goes: a copy would read back in one piece what was just written in three, which
               the processor cannot forward. */
            if (op[1].code == TD_OP_RETURN && op[1].a == op->dst) return join(out, a, op->b, arena);
            status = join(dst, a, op->b, arena);
            if (status != TD_OK) return status;
            break;
        case TD_OP_LIST:
            status = list(dst, a, op->b, arena);
            if (status != TD_OK) return status;
            break;
        case TD_OP_IS_NONE:
            from_bool(dst, a->kind == TD_NONE);
            break;
        case TD_OP_NOT:
            from_bool(dst, !is_true(a));
            break;
        case TD_OP_BOOL:
            from_bool(dst, is_true(a));
            break;
        case TD_OP_INT:
        case TD_OP_FLOAT:
        case TD_OP_ROUND:
        case TD_OP_FLOOR:
        case TD_OP_CEIL:
        case TD_OP_SQRT:
            if (convert(dst, op->code, a)) return TD_PYTHON;
            break;
        case TD_OP_NEGATIVE:
            if (negative(dst, a)) return TD_PYTHON;
            break;
        case TD_OP_ABSOLUTE:
            if (absolute(dst, a)) return TD_PYTHON;
            break;
        case TD_OP_ADD:
        case TD_OP_SUBTRACT:
        case TD_OP_MULTIPLY:
        case TD_OP_DIVIDE:
        case TD_OP_FLOOR_DIVIDE:
        case TD_OP_MODULO:
            if (arithmetic(dst, op->code, a, &r[op->b])) return TD_PYTHON;
            break;
        case TD_OP_AND:
        case TD_OP_OR:
        case TD_OP_XOR:
            if (bitwise(dst, op->code, a, &r[op->b])) return TD_PYTHON;
            break;
        case TD_OP_MIN: /* the first of equal ones, as Python's */
            answer = is_less(&r[op->b], a, 0);
            if (answer < 0) return TD_PYTHON;
            *dst = answer ? r[op->b] : *a;
            break;
        case TD_OP_MAX:
            answer = is_less(a, &r[op->b], 0);
            if (answer < 0) return TD_PYTHON;
            *dst = answer ? r[op->b] : *a;
            break;
        case TD_OP_EQUAL:
        case TD_OP_NOT_EQUAL:
            answer = equals(a, &r[op->b]);
            if (answer < 0) return TD_PYTHON;
            from_bool(dst, answer == (op->code == TD_OP_EQUAL));
            break;
        case TD_OP_LESS:
        case TD_OP_LESS_EQUAL:
            answer = is_less(a, &r[op->b], op->code == TD_OP_LESS_EQUAL);
            if (answer < 0) return TD_PYTHON;
            from_bool(dst, answer);
            break;
        case TD_OP_IN:
            answer = is_one_of(a, constants + op->imm, op->b);
            if (answer < 0) return TD_PYTHON;
            from_bool(dst, answer);
            break;
        case TD_OP_CONTAINS:
            answer = contains(a, &r[op->b]);
            if (answer < 0) return TD_PYTHON;
            from_bool(dst, answer);
            break;
        case TD_OP_STARTS:
        case TD_OP_ENDS:
            answer = has_end(op->code, a, constants + op->imm, op->b);
            if (answer < 0) return TD_PYTHON;
            from_bool(dst, answer);
            break;
        case TD_OP_LENGTH:
            if (a->kind == TD_LIST)
                from_int(dst, a->size);
            else if (a->kind == TD_TEXT)
                from_int(dst, count_points(a->text, a->size));
            else
                return TD_PYTHON;
            break;
        case TD_OP_LOWER:
        case TD_OP_UPPER:
            status = change_case(dst, op->code, a, arena);
            if (status != TD_OK) return status;
            break;
        case TD_OP_STRIP:
            if (strip(dst, a, op->b)) return TD_PYTHON;
            break;
        case TD_OP_SLICE:
            if (a->kind != TD_TEXT) return TD_PYTHON;
            slice(dst, a, constants[op->imm].i, constants[op->imm + 1].i);
            break;
        case TD_OP_ITEM:
            if (item(dst, a, op->imm)) return TD_PYTHON;
            break;
        case TD_OP_HOUR: /* by far the most frequent one */
            if (a->kind != TD_TIME) return TD_PYTHON;
            from_int(dst, modulo(a->i, DAY) / (3600 * SECOND));
            break;
        case TD_OP_YEAR:
        case TD_OP_MONTH:
        case TD_OP_DAY:
        case TD_OP_MINUTE:
        case TD_OP_SECOND:
        case TD_OP_MICROSECOND:
        case TD_OP_WEEKDAY:
        case TD_OP_ISOWEEKDAY:
            if (a->kind != TD_TIME) return TD_PYTHON;
            from_int(dst, part_of_time(op->code, a->i));
            break;
        case TD_OP_DAYS:
        case TD_OP_SECONDS:
        case TD_OP_MICROSECONDS:
        case TD_OP_TOTAL_SECONDS:
            if (a->kind != TD_DELTA || part_of_delta(dst, op->code, a->i)) return TD_PYTHON;
            break;
        default: /* td_program_check lets none through */
            return TD_PYTHON;
        }
        op++;
    }
}
