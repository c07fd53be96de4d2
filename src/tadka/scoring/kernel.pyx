# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False
"""Margins of sparse rows by a linear model, FM, FFM or a small dense network, without the GIL.

The same classes and the same bits as `tadka.scoring.reference`, which is the text to read: it says
what is computed and in which order. A batch gives what its rows give one by one.

The parameters stay where they are, such as in files that are mapped read-only, in float32, float16
or bfloat16 (as uint16). A row's entries are converted exactly when they are read, and all
arithmetic is in double, so that no product or square of them overflows, and rounding stays below
(number of operations) * 2**-53 of the sum of the absolute terms.
"""

from concurrent.futures import ThreadPoolExecutor

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int32_t, int64_t, uint16_t

import numpy as np

from tadka.core.error import DataError
import tadka.scoring.parameters as checks

cdef extern from "forward.h" nogil:
    int TD_FLOAT32, TD_FLOAT16, TD_BFLOAT16

    ctypedef struct td_array:
        const void *data
        int precision

    ctypedef struct td_network:
        const td_array *weights
        const double *const *biases
        const ptrdiff_t *widths
        ptrdiff_t num_layers

    double td_linear(const td_array *, const int32_t *, const float *, ptrdiff_t)
    double td_fm(const td_array *, ptrdiff_t, const int32_t *, const float *, ptrdiff_t)
    void td_fetch(const td_array *, ptrdiff_t, const int32_t *, ptrdiff_t)
    double td_ffm(
        const td_array *, ptrdiff_t, ptrdiff_t,
        const int32_t *, const float *, const uint16_t *, ptrdiff_t,
    )
    void td_fetch_ffm(const td_array *, ptrdiff_t, ptrdiff_t, const int32_t *, ptrdiff_t)
    double td_norm(const float *, ptrdiff_t)
    double td_dense(const td_network *, const int32_t *, const float *, ptrdiff_t)
    double td_sigmoid(double)
    int td_choose(int)


cdef class Kernel:
    """Parameters and the forward pass over them; made as one of its subclasses.

    `num_slots` and `num_features` bound the slots and features of the rows it takes; a kernel that
    does not look at features has 0 of them.
    """

    def __cinit__(self, *args, **settings):
        if type(self) is Kernel:
            raise TypeError("Kernel has no forward pass of its own; make one of its subclasses.")

    cdef double margin(
        self, const int32_t *slots, const float *values, const uint16_t *features, Py_ssize_t num
    ) noexcept nogil:
        return 0.0

    def bind(self, rows):
        """The rows with this kernel, to ask for one margin at a time at little cost.

        Args:
            rows: SparseRows; their arrays must not be changed afterwards.

        Returns:
            An object with `margin(index)` and a length.

        Raises:
            DataError: The rows have slots or features that the parameters lack.
        """
        return BoundRows(self, rows)

    def margin_at(self, rows, index):
        """Log-odds of one row.

        Args:
            rows: SparseRows. For many single rows `bind` is faster.
            index: From 0.

        Returns:
            The same bits as `margins` gives for the row.

        Raises:
            DataError: As from `bind`, or there is no such row.
        """
        return BoundRows(self, rows).margin(index)

    def margins(self, rows, threads=1):
        """Log-odds of all rows.

        Args:
            rows: SparseRows, B of them.
            threads: How many cores work on them, at least 1.

        Returns:
            float64, shape (B,); its bits do not depend on `threads`.

        Raises:
            ConfigError: `threads` is below 1.
            DataError: The rows have slots or features that the parameters lack.
        """
        cdef BoundRows bound = BoundRows(self, rows)
        cdef Py_ssize_t num_rows = len(bound)
        checks.check_threads(threads)
        margins = np.empty(num_rows, np.float64)
        bounds = [num_rows * part // threads for part in range(threads + 1)]
        if threads == 1:
            bound.fill(margins, 0, num_rows)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for done in [
                    pool.submit(bound.fill, margins, first, last)
                    for first, last in zip(bounds, bounds[1:])
                    if first < last
                ]:
                    done.result()
        return margins


cdef class BoundRows:
    """Rows whose width was checked against a kernel once."""

    cdef Kernel kernel
    cdef const int64_t[::1] starts
    cdef const int32_t[::1] slots
    cdef const float[::1] values
    cdef const uint16_t[::1] features
    cdef Py_ssize_t num_rows

    def __cinit__(self, Kernel kernel not None, rows):
        checks.check_rows(rows, kernel.num_slots, kernel.num_features)
        self.kernel = kernel
        self.starts = rows.starts
        self.slots = rows.slots
        self.values = rows.values
        self.features = rows.features
        self.num_rows = self.starts.shape[0] - 1

    def __len__(self):
        return self.num_rows

    def margin(self, Py_ssize_t index):
        """Log-odds of one row.

        Args:
            index: From 0.

        Returns:
            The same bits as `margins` of the kernel.

        Raises:
            DataError: There is no such row.
        """
        if not 0 <= index < self.num_rows:
            raise DataError(checks.no_row(index, self.num_rows))
        return self.margin_of(index)

    def fill(self, double[::1] margins not None, Py_ssize_t first, Py_ssize_t last):
        """Writes the margins of some rows to their places.

        Args:
            margins: float64, shape (B,).
            first: Row to begin with.
            last: Row to stop before.

        Raises:
            DataError: There are no such rows, or `margins` has another length.
        """
        cdef Py_ssize_t index
        if not (0 <= first <= last <= self.num_rows and margins.shape[0] == self.num_rows):
            raise DataError(
                f"Rows {first} to {last} cannot be written to {margins.shape[0]} margins; there "
                f"are {self.num_rows} rows."
            )
        with nogil:
            for index in range(first, last):
                margins[index] = self.margin_of(index)

    cdef inline double margin_of(self, Py_ssize_t index) noexcept nogil:
        cdef Py_ssize_t start = self.starts[index]
        return self.kernel.margin(
            &self.slots[start], &self.values[start], &self.features[start],
            self.starts[index + 1] - start,
        )


cdef class LinearKernel(Kernel):
    """bias + sum of weights times values.

    Args:
        parameters: `bias` (1,) in float64 and `linear` (S,); kept, not copied.

    Raises:
        DataError: An array is missing, not known, or of a wrong type or shape.
    """

    cdef double bias
    cdef td_array linear
    cdef object kept

    def __cinit__(self, parameters):
        self.num_slots = checks.check_linear(parameters)
        self.kept = [reach(parameters["linear"], &self.linear)]
        self.bias = parameters["bias"][0]

    cdef double margin(
        self, const int32_t *slots, const float *values, const uint16_t *features, Py_ssize_t num
    ) noexcept nogil:
        return self.bias + td_linear(&self.linear, slots, values, num)


cdef class FmKernel(Kernel):
    """A linear model plus the products of all pairs of entries, weighted by their vectors.

    Args:
        parameters: `bias` (1,) in float64, `linear` (S,) and `latent` (S, k); kept, not copied.

    Raises:
        DataError: An array is missing, not known, or of a wrong type or shape.
    """

    cdef double bias
    cdef td_array linear, latent
    cdef Py_ssize_t dim
    cdef object kept

    def __cinit__(self, parameters):
        self.num_slots, self.dim = checks.check_fm(parameters)
        self.kept = [
            reach(parameters["linear"], &self.linear), reach(parameters["latent"], &self.latent)
        ]
        self.bias = parameters["bias"][0]

    cdef double margin(
        self, const int32_t *slots, const float *values, const uint16_t *features, Py_ssize_t num
    ) noexcept nogil:
        cdef double linear
        td_fetch(&self.latent, self.dim, slots, num)
        linear = self.bias + td_linear(&self.linear, slots, values, num)
        return linear + td_fm(&self.latent, self.dim, slots, values, num)


cdef class FfmKernel(Kernel):
    """As FM, but a slot has another vector for each feature that it meets.

    Args:
        parameters: `bias` (1,) in float64, `linear` (S,) and `latent` (S, F, k); kept, not copied.
        normalize: Whether the pair terms are divided by the row's sum of squared values.

    Raises:
        DataError: An array is missing, not known, or of a wrong type or shape.
    """

    cdef double bias
    cdef td_array linear, latent
    cdef Py_ssize_t dim
    cdef bint normalize
    cdef object kept

    def __cinit__(self, parameters, *, bint normalize=False):
        self.num_slots, self.num_features, self.dim = checks.check_ffm(parameters)
        self.kept = [
            reach(parameters["linear"], &self.linear), reach(parameters["latent"], &self.latent)
        ]
        self.bias = parameters["bias"][0]
        self.normalize = normalize

    cdef double margin(
        self, const int32_t *slots, const float *values, const uint16_t *features, Py_ssize_t num
    ) noexcept nogil:
        cdef double linear, pairs, norm
        td_fetch_ffm(&self.latent, self.num_features, self.dim, slots, num)
        linear = self.bias + td_linear(&self.linear, slots, values, num)
        pairs = td_ffm(&self.latent, self.num_features, self.dim, slots, values, features, num)
        if self.normalize:
            norm = td_norm(values, num)
            if norm > 0.0:
                pairs /= norm
        return linear + pairs


cdef class DenseKernel(Kernel):
    """Fully connected layers with ReLU between them.

    Args:
        parameters: `weights_0` (S, h1), `bias_0` (h1,), `weights_1` (h1, h2) and so on; the last
            layer has one output. The weights are kept, not copied.

    Raises:
        DataError: An array is missing, not known, or of a wrong type or shape, or a layer has more
            than 4096 outputs.
    """

    cdef td_network network
    cdef td_array *weights
    cdef const double **biases
    cdef ptrdiff_t *widths
    cdef object kept

    def __cinit__(self, parameters):
        cdef const double[::1] bias
        cdef Py_ssize_t layer
        self.num_slots, widths = checks.check_dense(parameters)
        self.weights = <td_array *> PyMem_Calloc(len(widths), sizeof(td_array))
        self.biases = <const double **> PyMem_Calloc(len(widths), sizeof(double *))
        self.widths = <ptrdiff_t *> PyMem_Calloc(len(widths), sizeof(ptrdiff_t))
        if self.weights is NULL or self.biases is NULL or self.widths is NULL:
            raise MemoryError
        self.kept = []
        for layer, width in enumerate(widths):
            self.widths[layer] = width
            self.kept.append(reach(parameters[f"weights_{layer}"], &self.weights[layer]))
            wide = checks.widen(parameters[f"bias_{layer}"])
            bias = wide
            self.biases[layer] = &bias[0]
            self.kept.append(memoryview(wide))
        self.network.weights = self.weights
        self.network.biases = self.biases
        self.network.widths = self.widths
        self.network.num_layers = len(widths)

    def __dealloc__(self):
        PyMem_Free(self.weights)
        PyMem_Free(self.biases)
        PyMem_Free(self.widths)

    cdef double margin(
        self, const int32_t *slots, const float *values, const uint16_t *features, Py_ssize_t num
    ) noexcept nogil:
        td_fetch(&self.weights[0], self.widths[0], slots, num)
        return td_dense(&self.network, slots, values, num)


cdef object reach(array, td_array *into):
    """Sets the address; gives what keeps the memory where it is as long as it lives."""
    cdef const unsigned char[::1] start = array.reshape(-1).view(np.uint8)
    into.data = &start[0] if start.shape[0] else NULL
    into.precision = {"f": TD_FLOAT32, "e": TD_FLOAT16, "H": TD_BFLOAT16}[array.dtype.char]
    return memoryview(array)


cdef double sigmoid(double margin) noexcept nogil:
    return td_sigmoid(margin)


def sigmoids(margins):
    """Probabilities of log-odds: 1 / (1 + exp(-margin)), by the C library's exp.

    Args:
        margins: float64, shape (B,).

    Returns:
        float64, shape (B,), in [0, 1]; NaN for NaN.
    """
    cdef const double[::1] given = np.ascontiguousarray(margins, np.float64)
    cdef Py_ssize_t index
    scores = np.empty(given.shape[0], np.float64)
    cdef double[::1] into = scores
    with nogil:
        for index in range(given.shape[0]):
            into[index] = td_sigmoid(given[index])
    return scores


def use_avx2(bint wanted=True):
    """Chooses between the two builds of the forward passes, which differ in nothing but time.

    For tests, which hold one against the other.

    Args:
        wanted: Whether the build for AVX2 and F16C shall run, as it does from the start where the
            processor has both. Not to be changed while another thread computes.

    Returns:
        Whether it runs.
    """
    return bool(td_choose(wanted))


use_avx2()
