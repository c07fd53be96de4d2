/* One row's share of learning, in C without Python: what trainer.pyx calls in its loops. Nothing is
   checked here.

   Every operation rounds once, in float32, in an order that does not depend on the width of the
   machine's vectors: a vector holds neighbouring latent dimensions, or entries of one row, each of
   which is a sum of its own. So every build gives the bits of trainer_reference.py. */

#ifndef TADKA_SCORING_UPDATE_H
#define TADKA_SCORING_UPDATE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define TD_INLINE static inline __attribute__((always_inline))
/* The empty statement keeps GCC from taking a function that only prefetches for one without
   effect, and from leaving out its calls: LR was three times slower. */
TD_INLINE void td_fetch(const char *line) {
    __builtin_prefetch(line, 1, 2);
    __asm__ volatile("");
}
#else
#define TD_INLINE static inline
TD_INLINE void td_fetch(const char *line) { (void)line; }
#endif
#define TD_LINE 64 /* bytes of a cache line */

TD_INLINE void td_prefetch(const void *start, int64_t num_bytes) {
    const char *line = (const char *)((uintptr_t)start & ~(uintptr_t)(TD_LINE - 1));
    const char *end = (const char *)start + num_bytes;
    for (; line < end; line += TD_LINE) td_fetch(line);
}

/* Four lanes at a time: loops of constant length over local copies become vector instructions
   on every architecture, and the copies tell the compiler that nothing overlaps. */
#define TD_LANES(i) for (int i = 0; i < 4; i++)

/* AdaGrad on the linear weights of one row, all from their state before the row: a slot that
   the row names twice gets both steps. */
TD_INLINE void td_step_linear(float *linear, const int32_t *slots, const float *values,
                              int64_t num, float *restrict w, float *restrict n,
                              float kappa, float rate, float l2) {
    for (int64_t i = 0; i < num; i++) {
        float gradient = kappa * values[i] + l2 * w[i];
        float square = gradient * gradient;
        w[i] = rate * gradient / sqrtf(n[i] + square);
        n[i] = square;
    }
    for (int64_t i = 0; i < num; i++) {
        float *pair = linear + 2 * (int64_t)slots[i];
        pair[0] -= w[i];
        pair[1] += n[i];
    }
}

/* AdaGrad of k weights at `cell` (their accumulators follow them). */
TD_INLINE void td_step_fm(float *cell, const float *sums, int k, float kappa, float x,
                          float rate, float l2) {
    int d = 0;
    float scale = kappa * x;
    for (; d + 4 <= k; d += 4) {
        float v[4], n[4], s[4], g[4];
        memcpy(v, cell + d, sizeof v);
        memcpy(n, cell + k + d, sizeof n);
        memcpy(s, sums + d, sizeof s);
        TD_LANES(i) g[i] = scale * (s[i] - v[i] * x) + l2 * v[i];
        TD_LANES(i) n[i] += g[i] * g[i];
        TD_LANES(i) v[i] -= rate * g[i] / sqrtf(n[i]);
        memcpy(cell + d, v, sizeof v);
        memcpy(cell + k + d, n, sizeof n);
    }
    for (; d < k; d++) {
        float v = cell[d];
        float g = scale * (sums[d] - v * x) + l2 * v;
        float n = cell[k + d] + g * g;
        cell[k + d] = n;
        cell[d] = v - rate * g / sqrtf(n);
    }
}

TD_INLINE void td_sum_fm(const float *cell, float *sums, float *squares, int k, float x) {
    for (int d = 0; d < k; d++) {
        float part = cell[d] * x;
        sums[d] += part;
        squares[d] += part * part;
    }
}

/* One pair of FFM: sums[d] += a[d] * b[d] * x. */
TD_INLINE void td_sum_ffm(const float *restrict a, const float *restrict b,
                          float *restrict sums, int k, float x) {
    int d = 0;
    for (; d + 4 <= k; d += 4) TD_LANES(i) sums[d + i] += a[d + i] * b[d + i] * x;
    for (; d < k; d++) sums[d] += a[d] * b[d] * x;
}

TD_INLINE void td_step_ffm(float *a, float *b, int k, float kappa, float rate, float l2) {
    int d = 0;
    for (; d + 4 <= k; d += 4) {
        float va[4], vb[4], na[4], nb[4], ga[4], gb[4];
        memcpy(va, a + d, sizeof va);
        memcpy(vb, b + d, sizeof vb);
        memcpy(na, a + k + d, sizeof na);
        memcpy(nb, b + k + d, sizeof nb);
        TD_LANES(i) ga[i] = kappa * vb[i] + l2 * va[i];
        TD_LANES(i) gb[i] = kappa * va[i] + l2 * vb[i];
        TD_LANES(i) na[i] += ga[i] * ga[i];
        TD_LANES(i) nb[i] += gb[i] * gb[i];
        TD_LANES(i) va[i] -= rate * ga[i] / sqrtf(na[i]);
        TD_LANES(i) vb[i] -= rate * gb[i] / sqrtf(nb[i]);
        memcpy(a + d, va, sizeof va);
        memcpy(a + k + d, na, sizeof na);
        memcpy(b + d, vb, sizeof vb);
        memcpy(b + k + d, nb, sizeof nb);
    }
    for (; d < k; d++) {
        float va = a[d], vb = b[d];
        float ga = kappa * vb + l2 * va, gb = kappa * va + l2 * vb;
        float na = a[k + d] + ga * ga, nb = b[k + d] + gb * gb;
        a[k + d] = na;
        b[k + d] = nb;
        a[d] = va - rate * ga / sqrtf(na);
        b[d] = vb - rate * gb / sqrtf(nb);
    }
}

/* All pairs of one row; k is a constant where this is called with one. */
TD_INLINE void td_sums_ffm(float *const *blocks, const int32_t *columns, const float *values,
                           int64_t num, float scale, float *out, int k,
                           float *const *ahead, int64_t num_ahead, int64_t block_bytes) {
    float sums[4] = {0, 0, 0, 0}; /* in registers while k is 4 */
    for (int64_t i = 0; i < num; i++) {
        if (i < num_ahead) td_prefetch(ahead[i], block_bytes);
        for (int64_t j = i + 1; j < num; j++) {
            float x = values[i] * values[j] * scale;
            td_sum_ffm(blocks[i] + columns[j], blocks[j] + columns[i], k == 4 ? sums : out, k, x);
        }
    }
    if (k == 4) memcpy(out, sums, sizeof sums);
}

TD_INLINE void td_steps_ffm(float *const *blocks, const int32_t *columns, const float *values,
                            int64_t num, float scale, int k, float kappa, float rate,
                            float l2) {
    for (int64_t i = 0; i < num; i++)
        for (int64_t j = i + 1; j < num; j++) {
            float x = values[i] * values[j] * scale;
            td_step_ffm(blocks[i] + columns[j], blocks[j] + columns[i], k, kappa * x, rate, l2);
        }
}

#endif
