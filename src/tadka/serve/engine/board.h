/* Counters of all workers in shared memory. Each slot has one writer, its worker (but for log_lost); anybody reads.
   board.py has the same layout as a NumPy type; loop.pyx checks that the sizes agree. */

#ifndef TADKA_SERVE_BOARD_H
#define TADKA_SERVE_BOARD_H

#include <stdint.h>
#include <string.h>

#include "transport.h"

enum {
    TD_BOARD_ARMS = 32,     /* versions counted at a time; the longest unused one gives way */
    TD_BOARD_SPANS = 28,    /* of time: less than 1 us, 2 us, 4 us, ... 2^26 us, more */
    TD_BOARD_SCORES = 20,   /* of scores: [0, 0.05), ... [0.95, 1] */
    TD_BOARD_STATUSES = 17,
    TD_BOARD_DOORS = 3,     /* grpc, http, oip */
};

typedef struct {
    char model[48];         /* ends with 0 where shorter; empty: unused */
    uint32_t version;
    uint32_t last_used;     /* of a count that rises with each use of a slot anew */
    uint64_t served;        /* scores that were answered */
    uint64_t shadowed;      /* scores that were not */
    uint64_t failed;
    double score_sum;       /* of served ones */
    uint64_t scores[TD_BOARD_SCORES];
    uint64_t busy_ns;       /* spent on served ones */
    uint64_t spans[TD_BOARD_SPANS];
} td_board_arm;

typedef struct {
    td_transport_counts transport;
    int64_t pid;
    uint64_t generation;    /* of the state that is served */
    uint64_t swaps;
    uint64_t busy_ns;       /* between waking up and waiting again */
    uint64_t wakes;
    uint64_t shed;          /* refused for their age */
    uint64_t shadow_dropped;
    uint64_t log_written;
    uint64_t log_dropped;
    uint64_t log_lost;      /* rows of the log that could not be written; by the log writer */
    uint64_t answers[TD_BOARD_DOORS][TD_BOARD_STATUSES];
    uint64_t span_ns;       /* sum of all spans */
    uint64_t spans[TD_BOARD_SPANS];  /* from arrival to answer, all doors */
    td_board_arm arms[TD_BOARD_ARMS];
} td_board_worker;

/* Which span a time falls in: the number of bits of its microseconds. */
static inline uint32_t td_board_span(uint64_t ns) {
    uint64_t us = ns / 1000;
    uint32_t bits = us ? 64 - (uint32_t)__builtin_clzll(us) : 0;
    return bits < TD_BOARD_SPANS ? bits : TD_BOARD_SPANS - 1;
}

static inline void td_board_score(td_board_arm *arm, double score) {
    uint32_t at = score > 0 ? (uint32_t)(score * TD_BOARD_SCORES) : 0;
    arm->served++;
    arm->score_sum += score;
    arm->scores[at < TD_BOARD_SCORES ? at : TD_BOARD_SCORES - 1]++;
}

#endif
