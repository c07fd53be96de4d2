/* Counts of durations in classes of equal relative width: 128 classes for each doubling, so a value is known to 0.8 %. */

#ifndef TADKA_SERVE_HISTOGRAM_H
#define TADKA_SERVE_HISTOGRAM_H

#include <stdint.h>
#include <string.h>

enum {
    TD_HISTOGRAM_BITS = 7,
    TD_HISTOGRAM_TOP = 40,  /* nanoseconds from 2^40 on (18 minutes) count in the last class */
    TD_HISTOGRAM_SIZE = (TD_HISTOGRAM_TOP - TD_HISTOGRAM_BITS + 1) << TD_HISTOGRAM_BITS
};

typedef struct {
    uint64_t num;
    uint64_t total;
    uint64_t smallest;
    uint64_t largest;
    uint64_t counts[TD_HISTOGRAM_SIZE];
} td_histogram;

static inline uint32_t td_histogram_class(uint64_t value) {
    if (value < (1u << TD_HISTOGRAM_BITS)) return (uint32_t)value;
    if (value >> TD_HISTOGRAM_TOP) return TD_HISTOGRAM_SIZE - 1;
    uint32_t doublings = 63 - (uint32_t)__builtin_clzll(value) - TD_HISTOGRAM_BITS;
    return (doublings << TD_HISTOGRAM_BITS) + (uint32_t)(value >> doublings);
}

/* The middle of a class. */
static inline uint64_t td_histogram_value(uint32_t class) {
    uint32_t doublings = class >> TD_HISTOGRAM_BITS;
    if (doublings <= 1) return class;
    doublings--;
    uint64_t low = (uint64_t)(class - (doublings << TD_HISTOGRAM_BITS)) << doublings;
    return low + (1ull << (doublings - 1));
}

static inline void td_histogram_add(td_histogram *histogram, uint64_t value) {
    if (!histogram->num || value < histogram->smallest) histogram->smallest = value;
    if (value > histogram->largest) histogram->largest = value;
    histogram->num++;
    histogram->total += value;
    histogram->counts[td_histogram_class(value)]++;
}

/* The smallest value that `share` (0 to 1) of all do not exceed; 0 without any. */
static inline uint64_t td_histogram_quantile(const td_histogram *histogram, double share) {
    if (!histogram->num) return 0;
    double exact = share * (double)histogram->num;
    uint64_t rank = (uint64_t)exact, seen = 0;
    if ((double)rank < exact) rank++;
    if (rank < 1) rank = 1;
    for (uint32_t class = 0; class < TD_HISTOGRAM_SIZE; class++) {
        seen += histogram->counts[class];
        if (seen < rank) continue;
        uint64_t value = td_histogram_value(class);
        if (value > histogram->largest) return histogram->largest;
        return value < histogram->smallest ? histogram->smallest : value;
    }
    return histogram->largest;
}

static inline void td_histogram_clear(td_histogram *histogram) {
    if (histogram->num) memset(histogram, 0, sizeof *histogram);
}

#endif
