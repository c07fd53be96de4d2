"""What a scorer needs to score a row without the interpreter. See kernel.pyx."""

from libc.stdint cimport int32_t, uint16_t


cdef class Kernel:
    cdef readonly Py_ssize_t num_slots
    cdef readonly Py_ssize_t num_features

    # Trusts its caller: every slot is in [0, num_slots), every feature in [0, num_features) unless
    # num_features is 0. The arrays are not read when num is 0. Any number of threads may call it.
    cdef double margin(
        self, const int32_t *slots, const float *values, const uint16_t *features, Py_ssize_t num
    ) noexcept nogil


cdef double sigmoid(double margin) noexcept nogil
