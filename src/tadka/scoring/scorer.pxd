"""What a server needs to score messages without the interpreter. See scorer.pyx."""

from tadka.features.native cimport Engine, Scratch, td_status
from tadka.scoring.kernel cimport Kernel


cdef class Scorer:
    cdef readonly Kernel kernel
    cdef readonly Engine engine
    cdef int method  # of the calibration
    cdef double a, b  # of Platt
    cdef const double[:, ::1] knots  # of Isotonic
    cdef list scratches  # those that no call uses

    # The score of one message, without the GIL. Anything but TD_OK leaves `score` alone: then call
    # `finish` with the GIL.
    cdef td_status try_score(
        self, const char *data, size_t size, Scratch scratch, double *score
    ) noexcept nogil
    # Evaluates in Python what is not compiled, or raises what the status says.
    cdef double finish(self, Scratch scratch, td_status status) except? -1.0

    cdef double score_of(self, double margin) noexcept nogil
