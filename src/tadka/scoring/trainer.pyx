# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Loops that learn LR, FM and FFM from sparse rows, without the GIL.

Same functions, arguments and bits as trainer_reference, whose docstrings say what each does.
Every sum is made in the order of the entries; nothing here depends on the width of the machine's
vectors, so that both paths and all machines with one C library agree.

Parameters and their accumulated squared gradients stand side by side, because a row touches both
and at a million slots each visit is a cache miss:
    linear: [w, n] a slot.                                   float32, shape (S, 2)
    latent: [v_1..v_k, n_1..n_k] a slot (FM) or a slot and feature (FFM).   float32, (S, F, 2, k)
"""

from libc.math cimport exp, fabs, log1p, sqrt
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc

cdef extern from "update.h":
    void td_prefetch(const void* start, int64_t num_bytes) noexcept nogil
    void td_step_linear(float* linear, const int32_t* slots, const float* values, int64_t num,
                        float* w, float* n, float kappa, float rate, float l2) noexcept nogil
    void td_step_fm(float* cell, const float* sums, int k, float kappa, float x, float rate,
                    float l2) noexcept nogil
    void td_sum_fm(const float* cell, float* sums, float* squares, int k, float x) noexcept nogil
    void td_sums_ffm(float** blocks, const int32_t* columns, const float* values, int64_t num,
                     float scale, float* out, int k, float** ahead, int64_t num_ahead,
                     int64_t block_bytes) noexcept nogil
    void td_steps_ffm(float** blocks, const int32_t* columns, const float* values, int64_t num,
                      float scale, int k, float kappa, float rate, float l2) noexcept nogil
    float sqrtf(float) noexcept nogil
    float fabsf(float) noexcept nogil


DEF FTRL = 1
DEF FM = 2
DEF FFM = 3
# Rows ahead of the one in work at which its place, its entries and its parameters are fetched.
DEF AHEAD_PLACE = 24
DEF AHEAD_ENTRIES = 12
DEF AHEAD_LINEAR = 4

cdef struct Job:
    int kind
    bint learns
    bint has_linear
    bint normalizes
    int k
    int64_t num_features
    int64_t num_rows
    const int64_t* starts
    const int32_t* slots
    const float* values
    const uint16_t* features
    const float* labels
    const float* weights
    const int64_t* order
    float* linear
    float* latent
    double* bias
    double* margins
    double rate
    double l1
    double l2
    double beta
    # Room for one row.
    float* row_w
    float* row_n
    float* sums
    float** blocks
    float** blocks_ahead
    int32_t* columns


cdef inline int64_t row_at(const Job* job, int64_t i) noexcept nogil:
    return job.order[i] if job.order != NULL else i


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    # splitmix64 (Steele, Lea and Flood 2014).
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


def shuffle(int64_t[::1] order, uint64_t seed):
    cdef int64_t i, j, n = order.shape[0]
    cdef uint64_t state = seed
    with nogil:
        for i in range(n):
            order[i] = i
        for i in range(n - 1, 0, -1):
            state += <uint64_t>0x9E3779B97F4A7C15
            j = <int64_t>(mix(state) % <uint64_t>(i + 1))
            order[i], order[j] = order[j], order[i]


def fill(float[:, :, ::1] cells, uint64_t seed, float low, float high):
    cdef int64_t i, d
    cdef int64_t k = cells.shape[2]
    cdef uint64_t state
    cdef float width = high - low, unit
    with nogil:
        for i in range(cells.shape[0]):
            for d in range(k):
                state = seed + <uint64_t>(i * k + d + 1) * <uint64_t>0x9E3779B97F4A7C15
                unit = <float>(mix(state) >> 40) * <float>5.9604644775390625e-08  # 2^-24
                cells[i, 0, d] = low + width * unit
                cells[i, 1, d] = 1


cdef inline float ftrl_weight(float z, float n, const Job* job) noexcept nogil:
    cdef float l1 = <float>job.l1
    cdef float pull = (<float>job.beta + sqrtf(n)) / <float>job.rate + <float>job.l2
    if fabsf(z) <= l1:
        return 0
    return -(z - (l1 if z > 0 else -l1)) / pull


cdef double margin_linear(const Job* job, int64_t begin, int64_t num) noexcept nogil:
    cdef double margin = job.bias[0]
    cdef int64_t i
    cdef const int32_t* slots = job.slots + begin
    cdef const float* values = job.values + begin
    cdef const float* pair
    if job.kind == FTRL:
        for i in range(num):
            pair = job.linear + 2 * <int64_t>slots[i]
            job.row_w[i] = ftrl_weight(pair[0], pair[1], job)
            job.row_n[i] = pair[1]
            margin += <double>job.row_w[i] * <double>values[i]
        return margin
    for i in range(num):
        pair = job.linear + 2 * <int64_t>slots[i]
        job.row_w[i] = pair[0]
        job.row_n[i] = pair[1]
        margin += <double>pair[0] * <double>values[i]
    return margin


cdef void step_ftrl(const Job* job, int64_t begin, int64_t num, float kappa) noexcept nogil:
    cdef int64_t i
    cdef float gradient, square, n
    cdef float* pair
    cdef float rate = <float>job.rate
    for i in range(num):
        pair = job.linear + 2 * <int64_t>job.slots[begin + i]
        gradient = kappa * job.values[begin + i]
        square = gradient * gradient
        n = job.row_n[i]
        pair[0] += gradient - (sqrtf(n + square) - sqrtf(n)) / rate * job.row_w[i]
        pair[1] += square


cdef double margin_fm(const Job* job, int64_t begin, int64_t num) noexcept nogil:
    cdef int k = job.k
    cdef int64_t i, d
    cdef float* sums = job.sums
    cdef float* squares = job.sums + k
    cdef const float* cell
    cdef double total = 0
    for d in range(2 * k):
        sums[d] = 0
    for i in range(num):
        cell = job.latent + <int64_t>job.slots[begin + i] * 2 * k
        # A constant k here and below: the compiler unrolls what it is used in.
        if k == 4:
            td_sum_fm(cell, sums, squares, 4, job.values[begin + i])
        elif k == 8:
            td_sum_fm(cell, sums, squares, 8, job.values[begin + i])
        else:
            td_sum_fm(cell, sums, squares, k, job.values[begin + i])
    for d in range(k):
        total += <double>sums[d] * <double>sums[d] - <double>squares[d]
    return 0.5 * total


cdef void step_fm(const Job* job, int64_t begin, int64_t num, float kappa) noexcept nogil:
    cdef int k = job.k
    cdef int64_t i
    cdef float rate = <float>job.rate, l2 = <float>job.l2, x
    cdef float* cell
    for i in range(num):
        x = job.values[begin + i]
        cell = job.latent + <int64_t>job.slots[begin + i] * 2 * k
        if k == 4:
            td_step_fm(cell, job.sums, 4, kappa, x, rate, l2)
        elif k == 8:
            td_step_fm(cell, job.sums, 8, kappa, x, rate, l2)
        else:
            td_step_fm(cell, job.sums, k, kappa, x, rate, l2)


cdef inline void find_blocks(
    const Job* job, int64_t begin, int64_t num, float** blocks
) noexcept nogil:
    cdef int64_t i
    for i in range(num):
        blocks[i] = job.latent + <int64_t>job.slots[begin + i] * job.num_features * 2 * job.k


cdef double margin_ffm(
    const Job* job, int64_t begin, int64_t num, int64_t begin_ahead, int64_t num_ahead,
    float* scale,
) noexcept nogil:
    cdef int k = job.k
    cdef int64_t i, d
    cdef int64_t block_bytes = job.num_features * 2 * k * sizeof(float)
    cdef double total = 0
    cdef const float* values = job.values + begin
    scale[0] = 1
    if job.normalizes:
        for i in range(num):
            total += <double>values[i] * <double>values[i]
        scale[0] = <float>(1 / total) if total > 0 else 0
    find_blocks(job, begin, num, job.blocks)
    find_blocks(job, begin_ahead, num_ahead, job.blocks_ahead)
    for i in range(num):
        job.columns[i] = <int32_t>job.features[begin + i] * 2 * k
    for d in range(k):
        job.sums[d] = 0
    if k == 4:
        td_sums_ffm(job.blocks, job.columns, values, num, scale[0], job.sums, 4,
                    job.blocks_ahead, num_ahead, block_bytes)
    elif k == 8:
        td_sums_ffm(job.blocks, job.columns, values, num, scale[0], job.sums, 8,
                    job.blocks_ahead, num_ahead, block_bytes)
    else:
        td_sums_ffm(job.blocks, job.columns, values, num, scale[0], job.sums, k,
                    job.blocks_ahead, num_ahead, block_bytes)
    for i in range(num, num_ahead):
        td_prefetch(job.blocks_ahead[i], block_bytes)
    total = 0
    for d in range(k):
        total += <double>job.sums[d]
    return total


cdef void step_ffm(
    const Job* job, int64_t begin, int64_t num, float scale, float kappa
) noexcept nogil:
    cdef float rate = <float>job.rate, l2 = <float>job.l2
    cdef const float* values = job.values + begin
    if job.k == 4:
        td_steps_ffm(job.blocks, job.columns, values, num, scale, 4, kappa, rate, l2)
    elif job.k == 8:
        td_steps_ffm(job.blocks, job.columns, values, num, scale, 8, kappa, rate, l2)
    else:
        td_steps_ffm(job.blocks, job.columns, values, num, scale, job.k, kappa, rate, l2)


cdef inline void fetch_ahead(const Job* job, int64_t i, int64_t last) noexcept nogil:
    cdef int64_t row, j
    if i + AHEAD_PLACE < last:
        row = row_at(job, i + AHEAD_PLACE)
        td_prefetch(job.starts + row, 16)
        if job.labels != NULL:
            td_prefetch(job.labels + row, 4)
    if i + AHEAD_ENTRIES < last:
        row = row_at(job, i + AHEAD_ENTRIES)
        td_prefetch(job.slots + job.starts[row], 4 * (job.starts[row + 1] - job.starts[row]))
        td_prefetch(job.values + job.starts[row], 4 * (job.starts[row + 1] - job.starts[row]))
        if job.kind == FFM:
            td_prefetch(job.features + job.starts[row], 2 * (job.starts[row + 1] - job.starts[row]))
    if i + AHEAD_LINEAR < last:
        row = row_at(job, i + AHEAD_LINEAR)
        if job.has_linear:
            for j in range(job.starts[row], job.starts[row + 1]):
                td_prefetch(job.linear + 2 * <int64_t>job.slots[j], 1)
        if job.kind == FM:
            for j in range(job.starts[row], job.starts[row + 1]):
                td_prefetch(job.latent + 2 * job.k * <int64_t>job.slots[j], 8 * job.k)


cdef double work(Job* job, int64_t first, int64_t last) noexcept nogil:
    cdef int64_t i, row, begin, num, ahead
    cdef int64_t begin_ahead = 0, num_ahead = 0
    cdef double margin, tail, probability, gradient, weight, loss = 0
    cdef float kappa, scale = 1
    for i in range(first, last):
        fetch_ahead(job, i, last)
        row = row_at(job, i)
        begin = job.starts[row]
        num = job.starts[row + 1] - begin
        margin = margin_linear(job, begin, num) if job.has_linear else 0
        if job.kind == FM:
            margin += margin_fm(job, begin, num)
        elif job.kind == FFM:
            num_ahead = 0
            if i + 1 < last:
                ahead = row_at(job, i + 1)
                begin_ahead = job.starts[ahead]
                num_ahead = job.starts[ahead + 1] - begin_ahead
            margin += margin_ffm(job, begin, num, begin_ahead, num_ahead, &scale)
        if not job.learns:
            job.margins[row] = margin
            continue
        weight = <double>job.weights[row] if job.weights != NULL else 1
        tail = exp(-fabs(margin))
        probability = (1 if margin >= 0 else tail) / (1 + tail)
        if job.labels[row] > 0:
            gradient = weight * (probability - 1)
            loss += weight * (log1p(tail) + (-margin if margin < 0 else 0))
        else:
            gradient = weight * probability
            loss += weight * (log1p(tail) + (margin if margin > 0 else 0))
        if margin != margin:
            return margin
        kappa = <float>gradient
        if job.has_linear:
            job.bias[1] += gradient * gradient
            job.bias[0] -= job.rate * gradient / (job.beta + sqrt(job.bias[1]))
            if job.kind == FTRL:
                step_ftrl(job, begin, num, kappa)
            else:
                td_step_linear(job.linear, job.slots + begin, job.values + begin, num,
                               job.row_w, job.row_n, kappa, <float>job.rate, <float>job.l2)
        if job.kind == FM:
            step_fm(job, begin, num, kappa)
        elif job.kind == FFM:
            step_ffm(job, begin, num, scale, kappa)
    return loss


def run(
    int kind,
    const int64_t[::1] starts,
    const int32_t[::1] slots,
    const float[::1] values,
    const uint16_t[::1] features,
    double[::1] bias,
    float[:, ::1] linear,
    float[:, :, :, ::1] latent,
    *,
    int64_t first,
    int64_t last,
    int64_t longest,
    const float[::1] labels=None,
    const float[::1] weights=None,
    const int64_t[::1] order=None,
    double[::1] margins=None,
    bint normalize=False,
    double rate=0,
    double l1=0,
    double l2=0,
    double beta=0,
):
    cdef Job job
    cdef double loss
    cdef int64_t room, k = 0
    cdef char* memory
    if last <= first:
        return 0.0
    job.kind = kind
    job.learns = margins is None
    job.has_linear = linear is not None
    job.normalizes = normalize
    job.num_rows = starts.shape[0] - 1
    job.starts = &starts[0]
    # An address of an empty array is not taken; no row has an entry then.
    job.slots = &slots[0] if slots.shape[0] else NULL
    job.values = &values[0] if values.shape[0] else NULL
    job.features = &features[0] if features.shape[0] else NULL
    job.labels = &labels[0] if labels is not None else NULL
    job.weights = &weights[0] if weights is not None else NULL
    job.order = &order[0] if order is not None else NULL
    job.margins = &margins[0] if margins is not None else NULL
    job.bias = &bias[0]
    job.linear = &linear[0, 0] if linear is not None else NULL
    job.latent = NULL
    job.num_features = 1
    if latent is not None:
        job.latent = &latent[0, 0, 0, 0]
        job.num_features = latent.shape[1]
        k = latent.shape[3]
    job.k = <int>k
    job.rate = rate
    job.l1 = l1
    job.l2 = l2
    job.beta = beta
    room = longest * (2 * sizeof(float) + 2 * sizeof(float*) + sizeof(int32_t))
    memory = <char*>malloc(room + 2 * k * sizeof(float) + 1)
    if memory == NULL:
        raise MemoryError
    job.blocks = <float**>memory
    job.blocks_ahead = job.blocks + longest
    job.row_w = <float*>(job.blocks_ahead + longest)
    job.row_n = job.row_w + longest
    job.columns = <int32_t*>(job.row_n + longest)
    job.sums = <float*>(job.columns + longest)
    with nogil:
        loss = work(&job, first, last)
    free(memory)
    return loss


# Reading of libffm's and libsvm's text.

cdef double[23] POWERS = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
]


cdef inline bint is_blank(unsigned char c) noexcept nogil:
    return c == 32 or c == 9 or c == 13


cdef inline bint is_digit(unsigned char c) noexcept nogil:
    return 48 <= c <= 57


cdef double slow_number(const unsigned char* text, int64_t num) noexcept with gil:
    try:
        return float(text[:num])
    except (ValueError, OverflowError):
        return float("nan")


cdef int64_t read_number(
    const unsigned char* text, int64_t at, int64_t end, double* out
) noexcept nogil:
    """Place after the decimal number at `at`, or -1."""
    cdef int64_t begin = at, num_digits = 0, power = 0, exponent = 0
    cdef uint64_t mantissa = 0
    cdef bint is_negative = False, is_long = False, sinks = False
    if at < end and (text[at] == 43 or text[at] == 45):
        is_negative = text[at] == 45
        at += 1
    while at < end and is_digit(text[at]):
        if mantissa < <uint64_t>900000000000000:
            mantissa = mantissa * 10 + (text[at] - 48)
        else:
            is_long = True
        num_digits += 1
        at += 1
    if at < end and text[at] == 46:
        at += 1
        while at < end and is_digit(text[at]):
            if mantissa < <uint64_t>900000000000000:
                mantissa = mantissa * 10 + (text[at] - 48)
                power -= 1
            else:
                is_long = True
            num_digits += 1
            at += 1
    if num_digits == 0:
        return -1
    if at < end and (text[at] == 101 or text[at] == 69):
        at += 1
        if at < end and (text[at] == 43 or text[at] == 45):
            sinks = text[at] == 45
            at += 1
        if at == end or not is_digit(text[at]):
            return -1
        while at < end and is_digit(text[at]):
            if exponent < 100000:
                exponent = exponent * 10 + (text[at] - 48)
            at += 1
        power += -exponent if sinks else exponent
    # Both factors are exact, so that one rounding remains, as in strtod.
    if is_long or power < -22 or power > 22:
        out[0] = slow_number(text + begin, at - begin)
        return at
    out[0] = <double>mantissa / POWERS[-power] if power < 0 else <double>mantissa * POWERS[power]
    if is_negative:
        out[0] = -out[0]
    return at


cdef inline int64_t read_index(
    const unsigned char* text, int64_t at, int64_t end, int64_t* out
) noexcept nogil:
    """Place after the digits at `at`, or -1; what is beyond 2^40 is not told apart."""
    cdef int64_t begin = at, value = 0
    while at < end and is_digit(text[at]):
        if value < <int64_t>1 << 40:
            value = value * 10 + (text[at] - 48)
        at += 1
    out[0] = value
    return at if at > begin else -1


def count(const unsigned char[::1] text):
    cdef int64_t i, lines = 1, colons = 0
    with nogil:
        for i in range(text.shape[0]):
            lines += text[i] == 10
            colons += text[i] == 58
    return lines, colons


def parse(
    const unsigned char[::1] text,
    int64_t[::1] starts,
    int32_t[::1] slots,
    float[::1] values,
    uint16_t[::1] features,
    float[::1] labels,
    *,
    bint has_fields,
):
    cdef int64_t num_rows = 0, num_entries = 0, line = 0, begin = -1, at = 0
    cdef int64_t end = text.shape[0]
    starts[0] = 0
    if end:
        with nogil:
            begin = parse_text(&text[0], end, starts, slots, values, features, labels, has_fields,
                               &num_rows, &num_entries, &line)
    if begin < 0:
        return num_rows, num_entries, line, -1, -1
    at = begin
    while at < end and text[at] != 10 and not is_blank(text[at]):
        at += 1
    return num_rows, num_entries, line, begin, at


cdef int64_t parse_text(
    const unsigned char* text, int64_t end, int64_t[::1] starts, int32_t[::1] slots,
    float[::1] values, uint16_t[::1] features, float[::1] labels, bint has_fields,
    int64_t* num_rows, int64_t* num_entries, int64_t* num_lines,
) noexcept nogil:
    """Place of the token that could not be read, or -1."""
    cdef int64_t at = 0, begin, feature = 0, slot, row = 0, entry = 0, line = 0
    cdef double value
    cdef float narrow
    while True:
        while at < end and (is_blank(text[at]) or text[at] == 10):
            line += text[at] == 10
            at += 1
        if at == end:
            break
        num_lines[0] = line
        begin = at
        at = read_number(text, at, end, &value)
        if at < 0 or (at < end and text[at] != 10 and not is_blank(text[at])):
            return begin
        narrow = <float>value
        if narrow - narrow != 0:  # NaN, or beyond float32
            return begin
        labels[row] = narrow
        while True:
            while at < end and is_blank(text[at]):
                at += 1
            if at == end or text[at] == 10:
                break
            if text[at] == 35:  # a comment, as svmlight has them
                while at < end and text[at] != 10:
                    at += 1
                break
            begin = at
            if has_fields:
                at = read_index(text, at, end, &feature)
                if at < 0 or at == end or text[at] != 58 or feature > 65535:
                    return begin
                at += 1
            at = read_index(text, at, end, &slot)
            if at < 0 or at == end or text[at] != 58 or slot > 2147483646:
                return begin
            at = read_number(text, at + 1, end, &value)
            if at < 0 or (at < end and text[at] != 10 and not is_blank(text[at])):
                return begin
            narrow = <float>value
            if narrow - narrow != 0:
                return begin
            slots[entry] = <int32_t>slot
            values[entry] = narrow
            features[entry] = <uint16_t>feature
            entry += 1
        row += 1
        starts[row] = entry
        num_rows[0] = row
        num_entries[0] = entry
    num_lines[0] = line
    return -1
