/* One row's share of learning, in C without Python: what native.pyx calls in its loops. Nothing is
   checked here.

   Sums over a vector are made in eight parts, of every eighth dimension each, which are then added
   in one order. So a compiler may use vectors of any width up to eight, and every build gives the
   bits of reference.py. */

#ifndef TADKA_MODELS_ROWS_H
#define TADKA_MODELS_ROWS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define TD_INLINE static inline __attribute__((always_inline))
TD_INLINE void td_fetch(const char *line) {
    __builtin_prefetch(line, 1, 2);
    __asm__ volatile(""); /* keeps GCC from taking the function for one without effect */
}
#else
#define TD_INLINE static inline
TD_INLINE void td_fetch(const char *line) { (void)line; }
#endif
#define TD_LINE 64 /* bytes of a cache line */

/* One build for processors with AVX2 and one for all others; the loader chooses. Neither fuses a
   product with a sum, so both give the same bits. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
#define TD_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define TD_CLONES
#endif

TD_INLINE void td_prefetch(const void *start, int64_t num_bytes) {
    const char *line = (const char *)((uintptr_t)start & ~(uintptr_t)(TD_LINE - 1));
    const char *end = (const char *)start + num_bytes;
    for (; line < end; line += TD_LINE) td_fetch(line);
}

/* Eight neighbouring dimensions: one vector register with AVX, two with SSE or NEON. What is left
   over at the end of a vector is read into lanes beside zeros, which change no sum. */
typedef float td_lanes __attribute__((vector_size(32)));

TD_INLINE void td_load(td_lanes *to, const float *from, int64_t num) {
    if (num >= 8) {
        memcpy(to, from, sizeof *to);
    } else {
        memset(to, 0, sizeof *to);
        memcpy(to, from, (size_t)num * sizeof *from);
    }
}

TD_INLINE void td_store(float *to, const td_lanes *from, int64_t num) {
    memcpy(to, from, num >= 8 ? sizeof *from : (size_t)num * sizeof *to);
}

TD_INLINE float td_total(const td_lanes *sum) {
    const td_lanes s = *sum;
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* Whether all rows, each with what is added to those of its column, are below `size`. */
TD_CLONES static int td_inside(const int64_t *rows, int64_t num_rows, int64_t num_columns,
                               const int64_t *offsets, int64_t size) {
    uint64_t bad = 0;
    for (int64_t row = 0; row < num_rows; row++)
        for (int64_t c = 0; c < num_columns; c++) {
            int64_t at = rows[row * num_columns + c] + (offsets ? offsets[c] : 0);
            bad |= (uint64_t)(at < 0) | (uint64_t)(at >= size);
        }
    return !bad;
}

/* ------------------------------------------------------------------ BPR

   One step on u, i and j of dimension K for loss = softplus(-u.(i - j)) + l2/2 (|u|^2+|i|^2+|j|^2):

       e = 1 / (1 + exp(u.(i - j)))
       g_u = -e (i - j) + l2 u,   g_i = -e u + l2 i,   g_j = e u + l2 j

   and for each of them row-wise AdaGrad: sum += |g|^2 / K, v -= lr / (sqrt(sum) + eps) g. */
TD_INLINE double td_step_bpr(float *u, float *i, float *j, float *sum_u, float *sum_i,
                             float *sum_j, int64_t k, float lr, float l2, float eps) {
    td_lanes a, b, c, dot = {0}, gu2 = {0}, gi2 = {0}, gj2 = {0};
    for (int64_t d = 0; d < k; d += 8) {
        td_load(&a, u + d, k - d);
        td_load(&b, i + d, k - d);
        td_load(&c, j + d, k - d);
        dot += a * (b - c);
    }
    double x = (double)td_total(&dot);
    double small = exp(-fabs(x));
    float e = (float)((x >= 0 ? small : 1.0) / (1.0 + small));
    double loss = log1p(small) + (x >= 0 ? 0.0 : -x);
    for (int64_t d = 0; d < k; d += 8) {
        td_load(&a, u + d, k - d);
        td_load(&b, i + d, k - d);
        td_load(&c, j + d, k - d);
        td_lanes gu = l2 * a - e * (b - c), ea = e * a;
        td_lanes gi = l2 * b - ea, gj = l2 * c + ea;
        gu2 += gu * gu;
        gi2 += gi * gi;
        gj2 += gj * gj;
    }
    float num = (float)k;
    *sum_u += td_total(&gu2) / num;
    *sum_i += td_total(&gi2) / num;
    *sum_j += td_total(&gj2) / num;
    float ru = lr / (sqrtf(*sum_u) + eps);
    float ri = lr / (sqrtf(*sum_i) + eps);
    float rj = lr / (sqrtf(*sum_j) + eps);
    for (int64_t d = 0; d < k; d += 8) {
        td_load(&a, u + d, k - d);
        td_load(&b, i + d, k - d);
        td_load(&c, j + d, k - d);
        td_lanes gu = l2 * a - e * (b - c), ea = e * a;
        td_lanes gi = l2 * b - ea, gj = l2 * c + ea;
        a -= ru * gu;
        b -= ri * gi;
        c -= rj * gj;
        td_store(u + d, &a, k - d);
        td_store(i + d, &b, k - d);
        td_store(j + d, &c, k - d);
    }
    return loss;
}

#define TD_AHEAD 4 /* rows ahead of the one in work whose vectors are fetched */

TD_CLONES static double td_bpr(float *user, float *item, float *sum_user, float *sum_item,
                               int64_t k, const int64_t *users, const int64_t *items,
                               const int64_t *negatives, int64_t num_rows, int64_t num_negatives,
                               float lr, float l2, float eps) {
    double loss = 0;
    for (int64_t row = 0; row < num_rows; row++) {
        if (row + TD_AHEAD < num_rows) {
            int64_t next = row + TD_AHEAD;
            td_prefetch(user + users[next] * k, k * 4);
            td_prefetch(item + items[next] * k, k * 4);
            td_prefetch(item + negatives[next * num_negatives] * k, k * 4);
        }
        int64_t u = users[row], i = items[row];
        for (int64_t n = 0; n < num_negatives; n++) {
            int64_t j = negatives[row * num_negatives + n];
            if (i == j) {
                loss += 0.6931471805599453; /* a user who has every item: nothing to learn */
                continue;
            }
            loss += td_step_bpr(user + u * k, item + i * k, item + j * k, sum_user + u,
                                sum_item + i, sum_item + j, k, lr, l2, eps);
        }
    }
    return loss;
}

/* ------------------------------------------------------------------ factorization machine

   A feature's row is [w, v_1..v_K]. sums (B, K) are those of the vectors of a row's features. */
TD_CLONES static void td_fm(const float *weight, int64_t k, const int64_t *rows,
                            const int64_t *offsets, int64_t num_rows, int64_t num_fields,
                            float *sums, float *scores) {
    int64_t width = k + 1;
    for (int64_t row = 0; row < num_rows; row++) {
        const int64_t *at = rows + row * num_fields;
        float *s = sums + row * k;
        float linear = 0;
        td_lanes a, b, square = {0};
        memset(s, 0, (size_t)k * sizeof *s);
        for (int64_t f = 0; f < num_fields; f++) {
            const float *cell = weight + (at[f] + offsets[f]) * width;
            linear += cell[0];
            for (int64_t d = 0; d < k; d += 8) {
                td_load(&a, cell + 1 + d, k - d);
                td_load(&b, s + d, k - d);
                square -= a * a;
                b += a;
                td_store(s + d, &b, k - d);
            }
        }
        for (int64_t d = 0; d < k; d += 8) {
            td_load(&b, s + d, k - d);
            square += b * b;
        }
        scores[row] = linear + 0.5f * td_total(&square);
    }
}

/* gradient (N, 1 + K) += what the rows' features share of g (B,), the gradient by the scores. */
TD_CLONES static void td_fm_back(const float *weight, int64_t k, const int64_t *rows,
                                 const int64_t *offsets, int64_t num_rows, int64_t num_fields,
                                 const float *sums, const float *g, float *gradient) {
    int64_t width = k + 1;
    for (int64_t row = 0; row < num_rows; row++) {
        const int64_t *at = rows + row * num_fields;
        const float *s = sums + row * k;
        float scale = g[row];
        for (int64_t f = 0; f < num_fields; f++) {
            int64_t place = (at[f] + offsets[f]) * width;
            gradient[place] += scale;
            td_lanes a, b, total;
            for (int64_t d = 0; d < k; d += 8) {
                td_load(&a, weight + place + 1 + d, k - d);
                td_load(&b, gradient + place + 1 + d, k - d);
                td_load(&total, s + d, k - d);
                b += scale * (total - a);
                td_store(gradient + place + 1 + d, &b, k - d);
            }
        }
    }
}

/* ------------------------------------------------------------------ preprocess */

/* Rows of keys in open addressing: `tadka.models.table.index`. 0 where a key has none. */
TD_INLINE void td_find(const int64_t *keys, int64_t num, const uint32_t *slots, int bits,
                       const int64_t *log, int64_t size, int64_t *rows) {
    uint64_t last = ((uint64_t)1 << bits) - 1;
    for (int64_t n = 0; n < num; n++) {
        uint64_t slot = ((uint64_t)keys[n] * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - bits);
        int64_t row;
        while ((row = slots[slot]) != 0) {
            if (row < size && log[row] == keys[n]) break;
            slot = (slot + 1) & last;
        }
        rows[n] = row;
    }
}

/* The nth item that is not the user's: `tadka.models.loss.negatives`. Of a user who has all, any.
   unit is in [0, 1). Returns whether there was one. */
TD_INLINE int td_absent(const int64_t *items, int64_t num_taken, int64_t first_item,
                        int64_t num_items, double unit, int64_t *item) {
    int64_t none = 0, low, high;
    if (num_taken > 0 && items[0] < first_item) { /* entries without a row come first */
        low = 0, high = num_taken;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (items[middle] < first_item) low = middle + 1;
            else high = middle;
        }
        none = low;
    }
    int64_t num_absent = num_items - first_item - (num_taken - none);
    if (num_absent <= 0) return 0;
    int64_t nth = (int64_t)(unit * (double)num_absent);
    low = none, high = num_taken;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (items[middle] - first_item - (middle - none) <= nth) low = middle + 1;
        else high = middle;
    }
    *item = first_item + nth + (low - none);
    return 1;
}

#endif
