/* The parts of forward.h that are built once for each instruction set: included there with TD_NAME,
   which tells their names apart, TD_DOUBLES, a vector of TD_LANES doubles, and TD_WIDE where AVX2
   and F16C may be used. Wider vectors than the machine has would be computed through memory. */

/* TD_LANES neighbours, as doubles. */
#if defined(TD_WIDE)
TD_INLINE void TD_NAME(td_load)(const void *data, int precision, ptrdiff_t index,
                                td_double4 *into) {
    const char *from = td_address(data, precision, index);
    td_float4 values;
    if (precision == TD_FLOAT32) {
        memcpy(&values, from, 16);
    } else {
        __m128i halves = _mm_loadl_epi64((const __m128i *)from);
        values = precision == TD_FLOAT16
                     ? (td_float4)_mm_cvtph_ps(halves)
                     : (td_float4)_mm_slli_epi32(_mm_cvtepu16_epi32(halves), 16);
    }
    *into = (td_double4)_mm256_cvtps_pd((__m128)values);
}
#else
TD_INLINE void TD_NAME(td_load)(const void *data, int precision, ptrdiff_t index,
                                td_double2 *into) {
    if (precision == TD_FLOAT32) {
        td_float2 values;
        memcpy(&values, td_address(data, precision, index), 8);
        *into = __builtin_convertvector(values, td_double2);
    } else {
        *into = (td_double2){td_one(data, precision, index), td_one(data, precision, index + 1)};
    }
}
#endif

/* ---- factorization machine ---- */

/* Adds 1/2 (square of the sum - sum of squares) of dimensions [at, at + 4 * blocks) to `total`, one
   dimension after the other. `blocks` is a constant wherever this is inlined. */
TD_INLINE double TD_NAME(td_fm_block)(double total, const void *latent, int precision,
        ptrdiff_t dim,
                             ptrdiff_t at, const int blocks, const int32_t *slots,
                             const float *values, ptrdiff_t num) {
    TD_DOUBLES sums[16 / TD_LANES] = {{0.0}}, squares[16 / TD_LANES] = {{0.0}};
    for (ptrdiff_t i = 0; i < num; i++) {
        ptrdiff_t row = (ptrdiff_t)slots[i] * dim + at;
        double x = values[i];
        for (int j = 0; j < 4 * blocks / TD_LANES; j++) {
            TD_DOUBLES term;
            TD_NAME(td_load)(latent, precision, row + TD_LANES * j, &term);
            term *= x;
            sums[j] += term;
            squares[j] += term * term;
        }
    }
    for (int j = 0; j < 4 * blocks / TD_LANES; j++) {
        TD_DOUBLES pairs = sums[j] * sums[j] - squares[j];
        for (int lane = 0; lane < TD_LANES; lane++) total += pairs[lane];
    }
    return total;
}

TD_INLINE double TD_NAME(td_fm_in)(const void *latent, int precision, ptrdiff_t dim,
        const int32_t *slots,
                          const float *values, ptrdiff_t num) {
    double total = 0.0;
    ptrdiff_t at = 0;
    for (; at + 16 <= dim; at += 16)
        total = TD_NAME(td_fm_block)(total, latent, precision, dim, at, 4, slots, values, num);
    if (at + 8 <= dim) {
        total = TD_NAME(td_fm_block)(total, latent, precision, dim, at, 2, slots, values, num);
        at += 8;
    }
    if (at + 4 <= dim) {
        total = TD_NAME(td_fm_block)(total, latent, precision, dim, at, 1, slots, values, num);
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

static double TD_NAME(td_fm)(const td_array *latent, ptrdiff_t dim, const int32_t *slots,
                              const float *values, ptrdiff_t num) {
    const void *data = latent->data;
    switch (latent->precision) {
    case TD_FLOAT32: return TD_NAME(td_fm_in)(data, TD_FLOAT32, dim, slots, values, num);
    case TD_FLOAT16: return TD_NAME(td_fm_in)(data, TD_FLOAT16, dim, slots, values, num);
    default: return TD_NAME(td_fm_in)(data, TD_BFLOAT16, dim, slots, values, num);
    }
}

/* ---- field-aware factorization machine ---- */

/* The pair terms of dimensions [at, at + 4 * blocks). */
TD_INLINE double TD_NAME(td_ffm_block)(double total, const void *latent, int precision,
        ptrdiff_t stride,
                              ptrdiff_t dim, ptrdiff_t at, const int blocks, const int32_t *slots,
                              const float *values, const uint16_t *features, ptrdiff_t num) {
    TD_DOUBLES sums[16 / TD_LANES] = {{0.0}};
    for (ptrdiff_t a = 0; a < num; a++) {
        ptrdiff_t row = (ptrdiff_t)slots[a] * stride + at;
        ptrdiff_t column = (ptrdiff_t)features[a] * dim + at;
        TD_DOUBLES partners[16 / TD_LANES] = {{0.0}};
        for (ptrdiff_t b = a + 1; b < num; b++) {
            ptrdiff_t mine = row + (ptrdiff_t)features[b] * dim;
            ptrdiff_t theirs = (ptrdiff_t)slots[b] * stride + column;
            double x = values[b];
            for (int j = 0; j < 4 * blocks / TD_LANES; j++) {
                TD_DOUBLES left, right;
                TD_NAME(td_load)(latent, precision, mine + TD_LANES * j, &left);
                TD_NAME(td_load)(latent, precision, theirs + TD_LANES * j, &right);
                partners[j] += left * right * x;
            }
        }
        for (int j = 0; j < 4 * blocks / TD_LANES; j++) sums[j] += partners[j] * (double)values[a];
    }
    for (int j = 0; j < 4 * blocks / TD_LANES; j++)
        for (int lane = 0; lane < TD_LANES; lane++) total += sums[j][lane];
    return total;
}

TD_INLINE double TD_NAME(td_ffm_in)(const void *latent, int precision, ptrdiff_t num_features,
                           ptrdiff_t dim, const int32_t *slots, const float *values,
                           const uint16_t *features, ptrdiff_t num) {
    ptrdiff_t stride = num_features * dim, at = 0;
    double total = 0.0;
    if (dim == 4) /* known to the compiler: offsets need no multiplication */
        return TD_NAME(td_ffm_block)(0.0, latent, precision, stride, 4, 0, 1, slots, values,
                features, num);
    if (dim == 8)
        return TD_NAME(td_ffm_block)(0.0, latent, precision, stride, 8, 0, 2, slots, values,
                features, num);
    for (; at + 16 <= dim; at += 16)
        total = TD_NAME(td_ffm_block)(total, latent, precision, stride, dim, at, 4, slots, values,
                features,
                             num);
    if (at + 8 <= dim) {
        total = TD_NAME(td_ffm_block)(total, latent, precision, stride, dim, at, 2, slots, values,
                features,
                             num);
        at += 8;
    }
    if (at + 4 <= dim) {
        total = TD_NAME(td_ffm_block)(total, latent, precision, stride, dim, at, 1, slots, values,
                features,
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

static double TD_NAME(td_ffm)(const td_array *latent, ptrdiff_t num_features, ptrdiff_t dim,
                               const int32_t *slots, const float *values,
                               const uint16_t *features, ptrdiff_t num) {
    const void *data = latent->data;
    switch (latent->precision) {
    case TD_FLOAT32:
        return TD_NAME(td_ffm_in)(data, TD_FLOAT32, num_features, dim, slots, values, features,
                num);
    case TD_FLOAT16:
        return TD_NAME(td_ffm_in)(data, TD_FLOAT16, num_features, dim, slots, values, features,
                num);
    default: return TD_NAME(td_ffm_in)(data, TD_BFLOAT16, num_features, dim, slots, values,
            features, num);
    }
}

/* ---- dense network ---- */

/* Outputs [at, at + 4 * blocks) of a layer: bias plus the inputs times their rows of weights. The
   inputs are the entries of a sparse row (`slots` and `values`), or all of `hidden`. */
TD_INLINE void TD_NAME(td_layer_block)(double *outputs, const double *bias, const void *weights,
                              int precision, ptrdiff_t width, ptrdiff_t at, const int blocks,
                              const int32_t *slots, const float *values, const double *hidden,
                              ptrdiff_t num) {
    TD_DOUBLES sums[16 / TD_LANES];
    memcpy(sums, bias + at, 32 * (size_t)blocks);
    for (ptrdiff_t i = 0; i < num; i++) {
        ptrdiff_t row = (slots ? (ptrdiff_t)slots[i] : i) * width + at;
        double x = slots ? (double)values[i] : hidden[i];
        for (int j = 0; j < 4 * blocks / TD_LANES; j++) {
            TD_DOUBLES term;
            TD_NAME(td_load)(weights, precision, row + TD_LANES * j, &term);
            sums[j] += term * x;
        }
    }
    memcpy(outputs + at, sums, 32 * (size_t)blocks);
}

TD_INLINE void TD_NAME(td_layer_in)(double *outputs, const double *bias, const void *weights,
        int precision,
                           ptrdiff_t width, const int32_t *slots, const float *values,
                           const double *hidden, ptrdiff_t num) {
    ptrdiff_t at = 0;
    for (; at + 16 <= width; at += 16)
        TD_NAME(td_layer_block)(outputs, bias, weights, precision, width, at, 4, slots, values,
                hidden, num);
    for (; at + 4 <= width; at += 4)
        TD_NAME(td_layer_block)(outputs, bias, weights, precision, width, at, 1, slots, values,
                hidden, num);
    for (; at < width; at++) {
        double sum = bias[at];
        for (ptrdiff_t i = 0; i < num; i++) {
            ptrdiff_t row = (slots ? (ptrdiff_t)slots[i] : i) * width + at;
            sum += td_one(weights, precision, row) * (slots ? (double)values[i] : hidden[i]);
        }
        outputs[at] = sum;
    }
}

TD_INLINE void TD_NAME(td_layer)(double *outputs, const double *bias, const td_array *weights,
                        ptrdiff_t width, const int32_t *slots, const float *values,
                        const double *hidden, ptrdiff_t num) {
    const void *data = weights->data;
    switch (weights->precision) {
    case TD_FLOAT32:
        TD_NAME(td_layer_in)(outputs, bias, data, TD_FLOAT32, width, slots, values, hidden, num);
        break;
    case TD_FLOAT16:
        TD_NAME(td_layer_in)(outputs, bias, data, TD_FLOAT16, width, slots, values, hidden, num);
        break;
    default: TD_NAME(td_layer_in)(outputs, bias, data, TD_BFLOAT16, width, slots, values, hidden,
            num);
    }
}

static double TD_NAME(td_dense)(const td_network *network, const int32_t *slots,
                                 const float *values, ptrdiff_t num) {
    double halves[2][TD_MAX_WIDTH];
    double *outputs = halves[0], *inputs = halves[1];
    const ptrdiff_t *widths = network->widths;
    TD_NAME(td_layer)(outputs, network->biases[0], &network->weights[0], widths[0], slots, values,
            NULL,
             num);
    for (ptrdiff_t layer = 1; layer < network->num_layers; layer++) {
        double *swap = inputs;
        inputs = outputs;
        outputs = swap;
        for (ptrdiff_t i = 0; i < widths[layer - 1]; i++)
            inputs[i] = inputs[i] < 0.0 ? 0.0 : inputs[i]; /* NaN stays */
        TD_NAME(td_layer)(outputs, network->biases[layer], &network->weights[layer],
                widths[layer], NULL,
                 NULL, inputs, widths[layer - 1]);
    }
    return outputs[0];
}
