/* Forward passes of one row, in C without Python. kernel.pyx says what they compute and checks the
   shapes; nothing is checked here.

   Every parameter is converted to double, which is exact, and every operation rounds once, in an
   order that does not depend on the width of the machine's vectors: a vector holds neighbouring
   latent dimensions (or outputs of a layer), each of which is a sum of its own. So the plain build
   and that for AVX2, other architectures, and reference.py all give the same bits. */

#ifndef TADKA_SCORING_FORWARD_H
#define TADKA_SCORING_FORWARD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TD_AVX2 1
#include <immintrin.h>
#endif

#if !defined(__GNUC__)
#error "GCC or Clang is needed for vector types; without this extension NumPy does the work"
#endif

#define TD_INLINE static inline __attribute__((always_inline))

enum { TD_FLOAT32, TD_FLOAT16, TD_BFLOAT16 };

enum {
    TD_MAX_WIDTH = 4096, /* of a hidden layer: two of them stand on the stack */
    TD_LINE = 64,        /* bytes of a cache line */
    TD_AHEAD = 64,       /* entries whose parameters are asked for before the first is used */
};

typedef struct {
    const void *data;
    int precision;
} td_array;

typedef struct {
    const td_array *weights; /* of each layer; (S, h1), (h1, h2), ... */
    const double *const *biases;
    const ptrdiff_t *widths; /* outputs of each layer; the last has 1 */
    ptrdiff_t num_layers;
} td_network;

/* ---- numbers ---- */

typedef float td_float2 __attribute__((vector_size(8)));
typedef float td_float4 __attribute__((vector_size(16)));
typedef double td_double2 __attribute__((vector_size(16)));
typedef double td_double4 __attribute__((vector_size(32)));

TD_INLINE size_t td_size(int precision) { return precision == TD_FLOAT32 ? 4 : 2; }

TD_INLINE const char *td_address(const void *data, int precision, ptrdiff_t index) {
    return (const char *)data + index * (ptrdiff_t)td_size(precision);
}

TD_INLINE double td_one(const void *data, int precision, ptrdiff_t index) {
    const char *from = td_address(data, precision, index);
    float value;
    uint32_t word;
    uint16_t half;
    if (precision == TD_FLOAT32) {
        memcpy(&value, from, 4);
        return value;
    }
    memcpy(&half, from, 2);
    if (precision == TD_BFLOAT16) {
        word = (uint32_t)half << 16;
    } else {
        uint32_t magnitude = half & 0x7fffu;
        if (magnitude < 0x0400u) {
            /* Subnormal: a count of 2^-24. Not by float32's own subnormals, which a library that
               was built with -ffast-math may have switched off for the whole process. */
            value = (float)(int32_t)magnitude * 0x1p-24f;
            memcpy(&word, &value, 4);
        } else {
            word = (magnitude << 13) + (magnitude < 0x7c00u ? 112u << 23 : 224u << 23);
        }
        word |= (uint32_t)(half & 0x8000u) << 16;
    }
    memcpy(&value, &word, 4);
    return value;
}

TD_INLINE void td_prefetch(const char *start, ptrdiff_t num_bytes) {
    const char *line = (const char *)((uintptr_t)start & ~(uintptr_t)(TD_LINE - 1));
    for (; line < start + num_bytes; line += TD_LINE) __builtin_prefetch(line, 0, 3);
}

/* ---- linear ---- */

TD_INLINE double td_linear_in(const void *weights, int precision, const int32_t *slots,
                              const float *values, ptrdiff_t num) {
    double sum = 0.0;
    for (ptrdiff_t i = 0; i < num; i++)
        sum += td_one(weights, precision, slots[i]) * (double)values[i];
    return sum;
}

static double td_linear(const td_array *weights, const int32_t *slots, const float *values,
                        ptrdiff_t num) {
    switch (weights->precision) {
    case TD_FLOAT32: return td_linear_in(weights->data, TD_FLOAT32, slots, values, num);
    case TD_FLOAT16: return td_linear_in(weights->data, TD_FLOAT16, slots, values, num);
    default: return td_linear_in(weights->data, TD_BFLOAT16, slots, values, num);
    }
}

/* ---- asking for memory before it is needed ---- */

/* The parameters of the first entries, `width` numbers each. */
TD_INLINE void td_fetch(const td_array *array, ptrdiff_t width, const int32_t *slots,
                        ptrdiff_t num) {
    ptrdiff_t num_bytes = width * (ptrdiff_t)td_size(array->precision);
    for (ptrdiff_t i = 0; i < (num < TD_AHEAD ? num : TD_AHEAD); i++)
        td_prefetch(td_address(array->data, array->precision, (ptrdiff_t)slots[i] * width),
                    num_bytes);
}

/* A slot's vectors span several lines, and a row that has most features needs most of them. A row
   of few features would fetch lines for nothing: there the loads come as they are needed. */
TD_INLINE void td_fetch_ffm(const td_array *latent, ptrdiff_t num_features, ptrdiff_t dim,
                            const int32_t *slots, ptrdiff_t num) {
    ptrdiff_t width = num_features * dim;
    if (width * (ptrdiff_t)td_size(latent->precision) / TD_LINE <= num)
        td_fetch(latent, width, slots, num);
}

TD_INLINE double td_norm(const float *values, ptrdiff_t num) {
    double sum = 0.0;
    for (ptrdiff_t i = 0; i < num; i++) sum += (double)values[i] * (double)values[i];
    return sum;
}

/* ---- one build for each instruction set ---- */

#define TD_NAME(name) name##_plain
#define TD_DOUBLES td_double2
#define TD_LANES 2
#include "forward_row.h"
#undef TD_LANES
#undef TD_DOUBLES
#undef TD_NAME

#if TD_AVX2
#pragma GCC push_options
#pragma GCC target("avx2,f16c")
#define TD_NAME(name) name##_avx2
#define TD_DOUBLES td_double4
#define TD_LANES 4
#define TD_WIDE 1
#include "forward_row.h"
#undef TD_LANES
#undef TD_DOUBLES
#undef TD_WIDE
#undef TD_NAME
#pragma GCC pop_options
#endif

static double (*td_fm)(const td_array *, ptrdiff_t, const int32_t *, const float *,
                       ptrdiff_t) = td_fm_plain;
static double (*td_ffm)(const td_array *, ptrdiff_t, ptrdiff_t, const int32_t *, const float *,
                        const uint16_t *, ptrdiff_t) = td_ffm_plain;
static double (*td_dense)(const td_network *, const int32_t *, const float *,
                          ptrdiff_t) = td_dense_plain;

/* Chooses a build; gives whether it is AVX2's. Not while another thread computes. */
static int td_choose(int wants_avx2) {
    td_fm = td_fm_plain;
    td_ffm = td_ffm_plain;
    td_dense = td_dense_plain;
#if TD_AVX2
    if (wants_avx2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")) {
        td_fm = td_fm_avx2;
        td_ffm = td_ffm_avx2;
        td_dense = td_dense_avx2;
        return 1;
    }
#else
    (void)wants_avx2;
#endif
    return 0;
}

/* ---- score ---- */

TD_INLINE double td_sigmoid(double margin) {
    double small = exp(-fabs(margin)); /* never overflows */
    return margin < 0.0 ? small / (1.0 + small) : 1.0 / (1.0 + small);
}

#endif
