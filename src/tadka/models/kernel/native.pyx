# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Loops of models over rows, without the GIL.

Same functions, arguments and bits as reference, whose docstrings say what each does.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t

ctypedef fused integer:
    int32_t
    int64_t

cdef extern from "rows.h":
    void td_fetch(const char* line) noexcept nogil
    int td_inside(const int64_t* rows, int64_t num_rows, int64_t num_columns,
                  const int64_t* offsets, int64_t size) noexcept nogil
    double td_bpr(float* user, float* item, float* sum_user, float* sum_item, int64_t k,
                  const int64_t* users, const int64_t* items, const int64_t* negatives,
                  int64_t num_rows, int64_t num_negatives, float lr, float l2,
                  float eps) noexcept nogil
    void td_fm(const float* weight, int64_t k, const int64_t* rows, const int64_t* offsets,
               int64_t num_rows, int64_t num_fields, float* sums, float* scores) noexcept nogil
    void td_fm_back(const float* weight, int64_t k, const int64_t* rows, const int64_t* offsets,
                    int64_t num_rows, int64_t num_fields, const float* sums, const float* g,
                    float* gradient) noexcept nogil
    void td_find(const int64_t* keys, int64_t num, const uint32_t* slots, int bits,
                 const int64_t* log, int64_t size, int64_t* rows) noexcept nogil
    int td_absent(const int64_t* items, int64_t num_taken, int64_t first_item, int64_t num_items,
                  double unit, int64_t* item) noexcept nogil


def bpr(float[:, ::1] user, float[:, ::1] item, float[::1] sum_user, float[::1] sum_item,
        const int64_t[::1] users, const int64_t[::1] items, const int64_t[:, ::1] negatives,
        float lr, float l2, float eps):
    cdef int64_t num = users.shape[0]
    cdef double loss
    if num == 0 or negatives.shape[1] == 0:
        return 0.0
    if not (td_inside(&users[0], num, 1, NULL, user.shape[0])
            and td_inside(&items[0], num, 1, NULL, item.shape[0])
            and td_inside(&negatives[0, 0], num, negatives.shape[1], NULL, item.shape[0])):
        raise IndexError("A row of the batch is out of range.")
    with nogil:
        loss = td_bpr(&user[0, 0], &item[0, 0], &sum_user[0], &sum_item[0], user.shape[1],
                      &users[0], &items[0], &negatives[0, 0], num, negatives.shape[1], lr, l2, eps)
    return loss


def fm(const float[:, ::1] weight, const int64_t[:, ::1] rows, const int64_t[::1] offsets,
       float[:, ::1] sums, float[::1] scores):
    if rows.shape[0] == 0 or weight.shape[1] < 2:
        return
    if not td_inside(&rows[0, 0], rows.shape[0], rows.shape[1], &offsets[0], weight.shape[0]):
        raise IndexError("A row of the batch is out of range.")
    with nogil:
        td_fm(&weight[0, 0], weight.shape[1] - 1, &rows[0, 0], &offsets[0], rows.shape[0],
              rows.shape[1], &sums[0, 0], &scores[0])


def fm_back(const float[:, ::1] weight, const int64_t[:, ::1] rows, const int64_t[::1] offsets,
            const float[:, ::1] sums, const float[::1] by_score, float[:, ::1] gradient):
    if rows.shape[0] == 0 or weight.shape[1] < 2:
        return
    with nogil:
        td_fm_back(&weight[0, 0], weight.shape[1] - 1, &rows[0, 0], &offsets[0], rows.shape[0],
                   rows.shape[1], &sums[0, 0], &by_score[0], &gradient[0, 0])


def find(const int64_t[::1] keys, const uint32_t[::1] slots, const int64_t[::1] log, int64_t size,
         int64_t[::1] rows):
    cdef int bits = 0
    if keys.shape[0] == 0:
        return
    while (<int64_t>1 << bits) < slots.shape[0]:
        bits += 1
    with nogil:
        td_find(&keys[0], keys.shape[0], &slots[0], bits, &log[0], size, &rows[0])


def absent(const int64_t[::1] users, const int64_t[::1] indptr, const int64_t[::1] indices,
           int64_t first_item, int64_t num_items, const double[::1] units, int64_t[::1] items):
    cdef int64_t n, start, num_full = 0
    cdef const int64_t* taken = NULL
    if indices.shape[0]:
        taken = &indices[0]
    with nogil:
        for n in range(users.shape[0]):
            start = indptr[users[n]]
            if not td_absent(taken + start, indptr[users[n] + 1] - start, first_item, num_items,
                             units[n], &items[n]):
                items[n] = -1
                num_full += 1
    return num_full


def number(const integer[::1] nodes, const int64_t[::1] at, int32_t[::1] table, int64_t count,
           int64_t[::1] new, int32_t[::1] numbers):
    cdef int64_t k, ahead, node, num_new = 0, size = table.shape[0], total = nodes.shape[0]
    with nogil:
        for k in range(at.shape[0]):
            if k + 32 < at.shape[0]:  # both memories are random: fetch the node, then its number
                ahead = at[k + 32]
                if 0 <= ahead < total:
                    td_fetch(<const char*>&nodes[ahead])
                ahead = at[k + 12]
                if 0 <= ahead < total and 0 <= nodes[ahead] < size:
                    td_fetch(<const char*>&table[nodes[ahead]])
            if at[k] < 0 or at[k] >= total:
                num_new = -1
                break
            node = nodes[at[k]]
            if node < 0 or node >= size:
                num_new = -1
                break
            if table[node] == 0:
                new[num_new] = node
                num_new += 1
                table[node] = <int32_t>(count + num_new)
            numbers[k] = table[node] - 1
    if num_new < 0:
        raise IndexError("A node is out of range.")
    return num_new


def pick(const int64_t[::1] start, const int64_t[::1] degree, const double[:, ::1] units,
         int64_t[::1] out):
    cdef int64_t f, k, other, last, place, large = 0, at = 0, num = units.shape[0]
    with nogil:
        for f in range(start.shape[0]):
            if degree[f] <= num:
                for k in range(degree[f]):
                    out[at + k] = start[f] + k
                at += degree[f]
                continue
            for k in range(num):
                last = degree[f] - num + k
                place = start[f] + <int64_t>(units[k, large] * <double>(last + 1))
                for other in range(k):
                    if out[at + other] == place:
                        place = start[f] + last
                        break
                out[at + k] = place
            at += num
            large += 1


def ranges(const int64_t[::1] start, const int64_t[::1] count, int64_t[::1] out):
    cdef int64_t f, k, at = 0
    with nogil:
        for f in range(start.shape[0]):
            for k in range(count[f]):
                out[at + k] = start[f] + k
            at += count[f]


def owners(int32_t first, const int64_t[::1] count, int32_t[::1] out):
    cdef int64_t f, k, at = 0
    with nogil:
        for f in range(count.shape[0]):
            for k in range(count[f]):
                out[at + k] = first + <int32_t>f
            at += count[f]
