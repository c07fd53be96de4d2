"""What another kernel needs to score a row by trees without the interpreter."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef union Bound:
    double threshold     # of a numeric node; of a leaf its value
    uint64_t mask        # of a categorical node: the codes that go left, if the column has at most 62
    uint64_t first       # the same for a wider column: the first word of its set


cdef struct Node:
    Bound bound
    uint32_t slot        # which prepared value is asked
    uint32_t child       # the left one; the right one follows it; a leaf's is the leaf itself


cdef struct Slot:
    int32_t column
    int32_t rule         # how the column's value is prepared, see tree.pyx
    int32_t width        # codes of a category; the next is unknown, the one after it missing
    int64_t first_key    # CatBoost: where the column's keys begin, -1 for the other libraries


cdef class ForestKernel:
    cdef readonly object forest
    cdef Node *nodes
    cdef Slot *slots
    cdef int32_t *depths     # of oblivious trees; NULL for trees of nodes
    cdef double *leaves      # of oblivious trees
    cdef uint64_t *sets
    cdef uint32_t *keys
    cdef Py_ssize_t num_trees, num_slots, num_features
    cdef uint32_t num_wide, num_categorical    # the first slots: columns of many categories, of any
    cdef bint single_row, single_sum, drops_fraction_first
    cdef double start, scale, divisor, shift

    cdef void _fill(
        self, Node *node, Py_ssize_t split, uint32_t slot,
        const double[::1] thresholds, const int64_t[::1] first_words,
    ) noexcept
    cdef double margin(self, const double *row) noexcept nogil
    cdef void prepare(self, const double *row, Bound *values) noexcept nogil
    cdef double walk(self, const Bound *values) noexcept nogil
