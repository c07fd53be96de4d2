# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False
"""From the bytes of a message to its score in one step: engine, kernel and calibration joined.

The same classes and the same bits as `tadka.scoring.scorer_reference`.
"""

from libc.math cimport NAN, isnan
from libc.stdint cimport int32_t, uint16_t
from libc.stdlib cimport free, malloc

import numpy as np

from tadka.features.native cimport TD_OK, Engine, Scratch, td_status
from tadka.scoring.kernel cimport Kernel, sigmoid
from tadka.scoring.tree cimport ForestKernel

cdef enum:
    NO_CALIBRATION
    PLATT
    ISOTONIC

cdef enum:
    FEW_COLUMNS = 256  # of a row that is laid out on the stack


cdef class Scorer:
    """Scores rows of one model.

    Args:
        kernel: Its forward pass.
        engine: What makes entries of messages; None for a model without a feature class.
        calibration: Its kind and array: `("platt", array)`, `("isotonic", array)`, or None.
    """

    def __cinit__(self, Kernel kernel not None, Engine engine, calibration):
        self.kernel = kernel
        self.engine = engine
        self.scratches = []
        self.method = NO_CALIBRATION
        if calibration is not None:
            kind, array = calibration
            if kind == "platt":
                self.method = PLATT
                self.a, self.b = array
            else:
                self.method = ISOTONIC
                self.knots = np.ascontiguousarray(array, np.float64)

    def margins(self, rows, threads=1):
        """Log-odds of encoded rows.

        Args:
            rows: SparseRows, B of them.
            threads: How many cores work on them.

        Returns:
            float64, shape (B,).
        """
        return self.kernel.margins(rows, threads)

    def scores(self, margins):
        """Probabilities.

        Args:
            margins: float64, shape (B,).

        Returns:
            float64, shape (B,).
        """
        cdef const double[::1] given = np.ascontiguousarray(margins, np.float64)
        cdef Py_ssize_t index, num = given.shape[0]
        result = np.empty(num, np.float64)
        cdef double[::1] scores = result
        with nogil:
            for index in range(num):
                scores[index] = self.score_of(given[index])
        return result

    def score(self, bytes message not None):
        """Probability of one row.

        Args:
            message: The row as its client sends it.

        Returns:
            The same bits as `scores` of its margin.

        Raises:
            DataError: It is no such message, or a property raised.
        """
        cdef double score
        cdef td_status status
        # A property that runs as Python may let another thread in, which takes another scratch.
        cdef Scratch scratch = self.scratches.pop() if self.scratches else Scratch(self.engine)
        status = self.try_score(message, len(message), scratch, &score)
        if status != TD_OK:
            score = self.finish(scratch, status)
        self.scratches.append(scratch)
        return score

    cdef td_status try_score(
        self, const char *data, size_t size, Scratch scratch, double *score
    ) noexcept nogil:
        cdef td_status status = self.engine.try_message(data, size, scratch)
        if status == TD_OK:
            score[0] = self.score_of(self.kernel.margin(
                scratch.c.entries.slots, scratch.c.entries.values, scratch.c.entries.features,
                scratch.c.entries.count,
            ))
        return status

    cdef double finish(self, Scratch scratch, td_status status) except? -1.0:
        self.engine.finish(scratch, status, None)
        return self.score_of(self.kernel.margin(
            scratch.c.entries.slots, scratch.c.entries.values, scratch.c.entries.features,
            scratch.c.entries.count,
        ))

    cdef double score_of(self, double margin) noexcept nogil:
        cdef Py_ssize_t low, high, middle
        if self.method == NO_CALIBRATION:
            return sigmoid(margin)
        if self.method == PLATT:
            return sigmoid(self.a * margin + self.b)
        # The formula is calibration.py's.
        low, high = 0, self.knots.shape[1] - 1
        if isnan(margin):
            return margin
        if margin <= self.knots[0, 0]:
            return self.knots[1, high] if margin >= self.knots[0, high] else self.knots[1, 0]
        if margin >= self.knots[0, high]:
            return self.knots[1, high]
        while high - low > 1:
            middle = (low + high) >> 1
            if self.knots[0, middle] <= margin:
                low = middle
            else:
                high = middle
        return self.knots[1, low] + (self.knots[1, low + 1] - self.knots[1, low]) * (
            (margin - self.knots[0, low]) / (self.knots[0, low + 1] - self.knots[0, low])
        )


cdef class TreesKernel(Kernel):
    """Trees over encoded rows: each feature's entry becomes a column of the row they were grown on.

    Args:
        forest: A `Forest`.
        layout: What `tadka.scoring.matrix.columns` gives, int32, shape (F, 3).
        num_slots: Slots of the rows.
    """

    cdef ForestKernel forest
    cdef const int32_t[:, ::1] layout

    def __cinit__(self, forest, layout, num_slots):
        self.forest = ForestKernel(forest)
        self.layout = layout
        self.num_slots = num_slots
        self.num_features = self.layout.shape[0]

    cdef double margin(
        self, const int32_t *slots, const float *values, const uint16_t *features, Py_ssize_t num
    ) noexcept nogil:
        cdef double few[FEW_COLUMNS]
        cdef double *row = few
        cdef double margin
        cdef Py_ssize_t index
        cdef const int32_t *column
        few[0] = NAN
        if self.num_features > FEW_COLUMNS:
            row = <double *> malloc(self.num_features * sizeof(double))
            if row is NULL:
                return NAN
        for index in range(self.num_features):
            row[index] = NAN
        for index in range(num):
            column = &self.layout[features[index], 0]
            if slots[index] != column[2]:
                row[features[index]] = slots[index] - column[1] if column[0] else values[index]
        margin = self.forest.margin(row)
        if row != few:
            free(row)
        return margin
