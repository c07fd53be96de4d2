/* Forward passes of one row, in C without Python. kernel.pyx says what they compute and checks the
   shapes; nothing is checked here.

   Every parameter is converted to double, which is exact, and every operation rounds once, in an
   order that does not depend on the width of the machine's vectors: a vector holds neighbouring
   latent dimensions (or outputs of a layer), each of which is a sum of its own. So the builds for
   plain x86-64 and for AVX2, other architectures, and reference.py all give the same bits. */

#ifndef TADKA_SCORING_FORWARD_H
#define TADKA_SCORING_FORWARD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__GNUC__)
#error "GCC or Clang is needed for vector types; without this extension NumPy does the work"
#endif

#define TD_INLINE static inline __attribute__((always_inline))

/* One more copy of a function for AVX2, chosen when the module is loaded. Needs GCC and a linker
   and C library with indirect functions. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define TD_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define TD_CLONES
#endif

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

typedef float td_float4 __attribute__((vector_size(16)));
typedef uint32_t td_word4 __attribute__((vector_size(16)));
typedef int32_t td_int4 __attribute__((vector_size(16)));
typedef uint16_t td_short4 __attribute__((vector_size(8)));
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

/* Four neighbours; through a pointer, because the way in which a function returns 32 bytes depends
   on the instruction set. */
TD_INLINE void td_four(const void *data, int precision, ptrdiff_t index, td_double4 *into) {
    const char *from = td_address(data, precision, index);
    td_float4 values;
    if (precision == TD_FLOAT32) {
        memcpy(&values, from, 16);
    } else {
        td_short4 halves;
        memcpy(&halves, from, 8);
        td_word4 words = __builtin_convertvector(halves, td_word4);
        if (precision == TD_BFLOAT16) {
            words <<= 16;
        } else {
            td_word4 magnitude = words & 0x7fffu;
            td_float4 counted = __builtin_convertvector((td_int4)magnitude, td_float4) * 0x1p-24f;
            td_word4 is_special = (td_word4)(magnitude >= 0x7c00u);
            td_word4 is_subnormal = (td_word4)(magnitude < 0x0400u);
            td_word4 normal = (magnitude << 13) + (112u << 23) + (is_special & (112u << 23));
            words = ((words & 0x8000u) << 16) | (is_subnormal & (td_word4)counted) |
                    (~is_subnormal & normal);
        }
        values = (td_float4)words;
    }
    *into = __builtin_convertvector(values, td_double4);
}

TD_INLINE void td_prefetch(const char *start, ptrdiff_t num_bytes) {
    const char *line = start - ((uintptr_t)start & (TD_LINE - 1));
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

TD_INLINE void td_linear_prefetch(const td_array *weights, const int32_t *slots, ptrdiff_t num) {
    for (ptrdiff_t i = 0; i < (num < TD_AHEAD ? num : TD_AHEAD); i++)
        __builtin_prefetch(td_address(weights->data, weights->precision, slots[i]), 0, 3);
}

/* ---- factorization machine ---- */

/* Adds 1/2 (square of the sum - sum of squares) of dimensions [at, at + 4 * blocks) to `total`, one
   dimension after the other. `blocks` is a constant wherever this is inlined. */
TD_INLINE double td_fm_block(double total, const void *latent, int precision, ptrdiff_t dim,
                             ptrdiff_t at, const int blocks, const int32_t *slots,
                             const float *values, ptrdiff_t num) {
    td_double4 sums[4] = {{0.0}}, squares[4] = {{0.0}};
    for (ptrdiff_t i = 0; i < num; i++) {
        ptrdiff_t row = (ptrdiff_t)slots[i] * dim + at;
        double x = values[i];
        for (int j = 0; j < blocks; j++) {
            td_double4 term;
            td_four(latent, precision, row + 4 * j, &term);
            term *= x;
            sums[j] += term;
            squares[j] += term * term;
        }
    }
    for (int j = 0; j < blocks; j++) {
        td_double4 pairs = sums[j] * sums[j] - squares[j];
        for (int lane = 0; lane < 4; lane++) total += pairs[lane];
    }
    return total;
}

TD_INLINE double td_fm_in(const void *latent, int precision, ptrdiff_t dim, const int32_t *slots,
                          const float *values, ptrdiff_t num) {
    double total = 0.0;
    ptrdiff_t at = 0;
    for (; at + 16 <= dim; at += 16)
        total = td_fm_block(total, latent, precision, dim, at, 4, slots, values, num);
    if (at + 8 <= dim) {
        total = td_fm_block(total, latent, precision, dim, at, 2, slots, values, num);
        at += 8;
    }
    if (at + 4 <= dim) {
        total = td_fm_block(total, latent, precision, dim, at, 1, slots, values, num);
        at += 4;
    }
    for (; at < dim; at++) {
        double sum = 0.0, squares = 0.0;
        for (ptrdiff_t i = 0; i < num; i++) {
            double term =
                td_one(latent, precision, (ptrdiff_t)slots[i] * dim + at) * (double)values[i];
            sum += term;
            squares += term * term;
        }
        total += sum * sum - squares;
    }
    return 0.5 * total;
}

TD_CLONES static double td_fm(const td_array *latent, ptrdiff_t dim, const int32_t *slots,
                              const float *values, ptrdiff_t num) {
    const void *data = latent->data;
    switch (latent->precision) {
    case TD_FLOAT32: return td_fm_in(data, TD_FLOAT32, dim, slots, values, num);
    case TD_FLOAT16: return td_fm_in(data, TD_FLOAT16, dim, slots, values, num);
    default: return td_fm_in(data, TD_BFLOAT16, dim, slots, values, num);
    }
}

TD_INLINE void td_fm_prefetch(const td_array *latent, ptrdiff_t dim, const int32_t *slots,
                              ptrdiff_t num) {
    ptrdiff_t num_bytes = dim * (ptrdiff_t)td_size(latent->precision);
    for (ptrdiff_t i = 0; i < (num < TD_AHEAD ? num : TD_AHEAD); i++)
        td_prefetch(td_address(latent->data, latent->precision, (ptrdiff_t)slots[i] * dim),
                    num_bytes);
}

/* ---- field-aware factorization machine ---- */

/* The pair terms of dimensions [at, at + 4 * blocks). */
TD_INLINE double td_ffm_block(double total, const void *latent, int precision, ptrdiff_t stride,
                              ptrdiff_t dim, ptrdiff_t at, const int blocks, const int32_t *slots,
                              const float *values, const uint16_t *features, ptrdiff_t num) {
    td_double4 sums[4] = {{0.0}};
    for (ptrdiff_t a = 0; a < num; a++) {
        ptrdiff_t row = (ptrdiff_t)slots[a] * stride + at;
        ptrdiff_t column = (ptrdiff_t)features[a] * dim + at;
        td_double4 partners[4] = {{0.0}};
        for (ptrdiff_t b = a + 1; b < num; b++) {
            ptrdiff_t mine = row + (ptrdiff_t)features[b] * dim;
            ptrdiff_t theirs = (ptrdiff_t)slots[b] * stride + column;
            double x = values[b];
            for (int j = 0; j < blocks; j++) {
                td_double4 left, right;
                td_four(latent, precision, mine + 4 * j, &left);
                td_four(latent, precision, theirs + 4 * j, &right);
                partners[j] += left * right * x;
            }
        }
        for (int j = 0; j < blocks; j++) sums[j] += partners[j] * (double)values[a];
    }
    for (int j = 0; j < blocks; j++)
        for (int lane = 0; lane < 4; lane++) total += sums[j][lane];
    return total;
}

TD_INLINE double td_ffm_in(const void *latent, int precision, ptrdiff_t num_features,
                           ptrdiff_t dim, const int32_t *slots, const float *values,
                           const uint16_t *features, ptrdiff_t num) {
    ptrdiff_t stride = num_features * dim, at = 0;
    double total = 0.0;
    if (dim == 4) /* known to the compiler: offsets need no multiplication */
        return td_ffm_block(0.0, latent, precision, stride, 4, 0, 1, slots, values, features, num);
    if (dim == 8)
        return td_ffm_block(0.0, latent, precision, stride, 8, 0, 2, slots, values, features, num);
    for (; at + 16 <= dim; at += 16)
        total = td_ffm_block(total, latent, precision, stride, dim, at, 4, slots, values, features,
                             num);
    if (at + 8 <= dim) {
        total = td_ffm_block(total, latent, precision, stride, dim, at, 2, slots, values, features,
                             num);
        at += 8;
    }
    if (at + 4 <= dim) {
        total = td_ffm_block(total, latent, precision, stride, dim, at, 1, slots, values, features,
                             num);
        at += 4;
    }
    for (; at < dim; at++) {
        double sum = 0.0;
        for (ptrdiff_t a = 0; a < num; a++) {
            ptrdiff_t row = (ptrdiff_t)slots[a] * stride + at;
            ptrdiff_t column = (ptrdiff_t)features[a] * dim + at;
            double partners = 0.0;
            for (ptrdiff_t b = a + 1; b < num; b++)
                partners += td_one(latent, precision, row + (ptrdiff_t)features[b] * dim) *
                            td_one(latent, precision, (ptrdiff_t)slots[b] * stride + column) *
                            (double)values[b];
            sum += partners * (double)values[a];
        }
        total += sum;
    }
    return total;
}

TD_CLONES static double td_ffm(const td_array *latent, ptrdiff_t num_features, ptrdiff_t dim,
                               const int32_t *slots, const float *values,
                               const uint16_t *features, ptrdiff_t num) {
    const void *data = latent->data;
    switch (latent->precision) {
    case TD_FLOAT32:
        return td_ffm_in(data, TD_FLOAT32, num_features, dim, slots, values, features, num);
    case TD_FLOAT16:
        return td_ffm_in(data, TD_FLOAT16, num_features, dim, slots, values, features, num);
    default: return td_ffm_in(data, TD_BFLOAT16, num_features, dim, slots, values, features, num);
    }
}

/* A slot's vectors span several lines, and a row that has most features needs most of them. A row
   of few features would fetch lines for nothing: there the loads come as they are needed. */
TD_INLINE void td_ffm_prefetch(const td_array *latent, ptrdiff_t num_features, ptrdiff_t dim,
                               const int32_t *slots, ptrdiff_t num) {
    ptrdiff_t stride = num_features * dim;
    ptrdiff_t num_bytes = stride * (ptrdiff_t)td_size(latent->precision);
    if (num_bytes / TD_LINE > num) return;
    for (ptrdiff_t i = 0; i < (num < TD_AHEAD ? num : TD_AHEAD); i++)
        td_prefetch(td_address(latent->data, latent->precision, (ptrdiff_t)slots[i] * stride),
                    num_bytes);
}

TD_INLINE double td_norm(const float *values, ptrdiff_t num) {
    double sum = 0.0;
    for (ptrdiff_t i = 0; i < num; i++) sum += (double)values[i] * (double)values[i];
    return sum;
}

/* ---- dense network ---- */

/* Outputs [at, at + 4 * blocks) of a layer: bias plus the inputs times their rows of weights. The
   inputs are the entries of a sparse row (`slots` and `values`), or all of `hidden`. */
TD_INLINE void td_layer_block(double *outputs, const double *bias, const void *weights,
                              int precision, ptrdiff_t width, ptrdiff_t at, const int blocks,
                              const int32_t *slots, const float *values, const double *hidden,
                              ptrdiff_t num) {
    td_double4 sums[4];
    memcpy(sums, bias + at, 32 * (size_t)blocks);
    for (ptrdiff_t i = 0; i < num; i++) {
        ptrdiff_t row = (slots ? (ptrdiff_t)slots[i] : i) * width + at;
        double x = slots ? (double)values[i] : hidden[i];
        for (int j = 0; j < blocks; j++) {
            td_double4 term;
            td_four(weights, precision, row + 4 * j, &term);
            sums[j] += term * x;
        }
    }
    memcpy(outputs + at, sums, 32 * (size_t)blocks);
}

TD_INLINE void td_layer_in(double *outputs, const double *bias, const void *weights, int precision,
                           ptrdiff_t width, const int32_t *slots, const float *values,
                           const double *hidden, ptrdiff_t num) {
    ptrdiff_t at = 0;
    for (; at + 16 <= width; at += 16)
        td_layer_block(outputs, bias, weights, precision, width, at, 4, slots, values, hidden, num);
    for (; at + 4 <= width; at += 4)
        td_layer_block(outputs, bias, weights, precision, width, at, 1, slots, values, hidden, num);
    for (; at < width; at++) {
        double sum = bias[at];
        for (ptrdiff_t i = 0; i < num; i++) {
            ptrdiff_t row = (slots ? (ptrdiff_t)slots[i] : i) * width + at;
            sum += td_one(weights, precision, row) * (slots ? (double)values[i] : hidden[i]);
        }
        outputs[at] = sum;
    }
}

TD_INLINE void td_layer(double *outputs, const double *bias, const td_array *weights,
                        ptrdiff_t width, const int32_t *slots, const float *values,
                        const double *hidden, ptrdiff_t num) {
    const void *data = weights->data;
    switch (weights->precision) {
    case TD_FLOAT32:
        td_layer_in(outputs, bias, data, TD_FLOAT32, width, slots, values, hidden, num);
        break;
    case TD_FLOAT16:
        td_layer_in(outputs, bias, data, TD_FLOAT16, width, slots, values, hidden, num);
        break;
    default: td_layer_in(outputs, bias, data, TD_BFLOAT16, width, slots, values, hidden, num);
    }
}

TD_CLONES static double td_dense(const td_network *network, const int32_t *slots,
                                 const float *values, ptrdiff_t num) {
    double halves[2][TD_MAX_WIDTH];
    double *outputs = halves[0], *inputs = halves[1];
    const ptrdiff_t *widths = network->widths;
    td_layer(outputs, network->biases[0], &network->weights[0], widths[0], slots, values, NULL,
             num);
    for (ptrdiff_t layer = 1; layer < network->num_layers; layer++) {
        double *swap = inputs;
        inputs = outputs;
        outputs = swap;
        for (ptrdiff_t i = 0; i < widths[layer - 1]; i++)
            inputs[i] = inputs[i] < 0.0 ? 0.0 : inputs[i]; /* NaN stays */
        td_layer(outputs, network->biases[layer], &network->weights[layer], widths[layer], NULL,
                 NULL, inputs, widths[layer - 1]);
    }
    return outputs[0];
}

/* ---- score ---- */

TD_INLINE double td_sigmoid(double margin) {
    double small = exp(-fabs(margin)); /* never overflows */
    return margin < 0.0 ? small / (1.0 + small) : 1.0 / (1.0 + small);
}

#endif
