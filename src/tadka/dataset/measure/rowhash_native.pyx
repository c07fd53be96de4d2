# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False
"""Digests of rows, compiled: the same numbers as `tadka.dataset.measure.rowhash_reference`."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport strncmp

import numpy as np

from tadka.core.error import DataError

cdef extern from *:
    """
    #include <stdint.h>
    #ifndef ARROW_C_DATA_INTERFACE
    #define ARROW_C_DATA_INTERFACE
    struct ArrowSchema {
        const char *format, *name, *metadata;
        int64_t flags, n_children;
        struct ArrowSchema **children, *dictionary;
        void (*release)(struct ArrowSchema *);
        void *private_data;
    };
    struct ArrowArray {
        int64_t length, null_count, offset, n_buffers, n_children;
        const void **buffers;
        struct ArrowArray **children, *dictionary;
        void (*release)(struct ArrowArray *);
        void *private_data;
    };
    #endif
    """
    # Of Arrow's specification of the C data interface.
    struct ArrowSchema:
        const char *format
        ArrowSchema **children
        ArrowSchema *dictionary

    struct ArrowArray:
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_children
        const void **buffers
        ArrowArray **children
        ArrowArray *dictionary

cdef extern from "rowhash.h" nogil:
    ctypedef enum td_row_storage:
        TD_ROW_BIT, TD_ROW_I8, TD_ROW_I16, TD_ROW_I32, TD_ROW_I64, TD_ROW_F32, TD_ROW_F64
        TD_ROW_BYTES32, TD_ROW_BYTES64, TD_ROW_LIST32, TD_ROW_LIST64

    ctypedef struct td_row_keys:
        pass

    ctypedef struct td_row_column:
        td_row_storage storage
        int64_t start
        const uint8_t *valid
        const void *values
        const void *offsets
        const td_row_keys *keys
        const td_row_column *items
        const int32_t *codes
        const uint64_t *coded_x
        const uint64_t *coded_y

    enum: TD_REGISTERS

    void td_add_cells(const td_row_column *column, int64_t start, int64_t count, uint64_t *x,
                      uint64_t *y)
    void td_hash_rows(const td_row_column *columns, int64_t num_columns, int64_t num_rows,
                      const uint64_t *row_keys, uint64_t *sum, uint64_t *digests,
                      uint8_t *registers)


cdef class Columns:
    """A record batch as columns in C; holds what they point to."""

    cdef object schema, array
    cdef list kept  # arrays of NumPy that columns point to
    cdef list blocks  # addresses of the columns of items, as integers
    cdef td_row_column *c
    cdef int64_t count, length

    def __cinit__(self, batch, list keys):
        self.schema, self.array = batch.__arrow_c_array__()
        self.kept, self.blocks = [], []
        cdef const ArrowSchema *schema = <const ArrowSchema *>PyCapsule_GetPointer(
            self.schema, b"arrow_schema"
        )
        cdef const ArrowArray *array = <const ArrowArray *>PyCapsule_GetPointer(
            self.array, b"arrow_array"
        )
        if array.n_children != len(keys):
            raise ValueError(f"{array.n_children} columns and {len(keys)} keys")
        self.count, self.length = array.n_children, array.length
        self.c = <td_row_column *>PyMem_Calloc(self.count + 1, sizeof(td_row_column))
        if self.c == NULL:
            raise MemoryError
        cdef int64_t i
        for i in range(self.count):
            self.read(&self.c[i], schema.children[i], array.children[i], keys[i], 0)
            self.c[i].start += array.offset

    cdef int read(self, td_row_column *column, const ArrowSchema *schema, const ArrowArray *array,
                  const uint64_t[:, ::1] keys, Py_ssize_t depth) except -1:
        cdef td_row_column *items
        column.start = array.offset
        column.valid = <const uint8_t *>array.buffers[0] if array.null_count else NULL
        column.keys = <const td_row_keys *>&keys[depth, 0]
        if depth == 0:
            self.kept.append(keys.base)
        if schema.dictionary != NULL:
            column.codes = <const int32_t *>array.buffers[1]
            return self.code(column, schema.dictionary, array.dictionary, keys)
        column.storage = storage_of(schema.format)
        if column.storage < TD_ROW_BYTES32:
            column.values = array.buffers[1]
            return 0
        column.offsets = array.buffers[1]
        if column.storage < TD_ROW_LIST32:
            column.values = array.buffers[2]
            return 0
        items = <td_row_column *>PyMem_Calloc(1, sizeof(td_row_column))
        if items == NULL:
            raise MemoryError
        column.items = items
        self.blocks.append(<size_t>items)
        return self.read(items, schema.children[0], array.children[0], keys, depth + 1)

    cdef int code(self, td_row_column *column, const ArrowSchema *schema, const ArrowArray *array,
                  const uint64_t[:, ::1] keys) except -1:
        """The digests of a dictionary's values."""
        cdef td_row_column values
        cdef uint64_t[:, ::1] digests = np.zeros((2, max(1, array.length)), np.uint64)
        values = td_row_column(
            storage=TD_ROW_BIT, start=0, valid=NULL, values=NULL, offsets=NULL, keys=NULL,
            items=NULL, codes=NULL, coded_x=NULL, coded_y=NULL,
        )
        self.read(&values, schema, array, keys, 0)
        td_add_cells(&values, 0, array.length, &digests[0, 0], &digests[1, 0])
        column.coded_x, column.coded_y = &digests[0, 0], &digests[1, 0]
        self.kept.append(digests.base)
        return 0

    def __dealloc__(self):
        for address in self.blocks or ():
            PyMem_Free(<void *><size_t>address)
        PyMem_Free(self.c)


cdef td_row_storage storage_of(const char *name) except *:
    """Of a type's name in Arrow's C data interface; batches were normalised before."""
    cdef char first = name[0]
    if strncmp(name, b"td", 2) == 0:  # days
        return TD_ROW_I32
    if strncmp(name, b"ts", 2) == 0:
        return TD_ROW_I64
    if strncmp(name, b"+l", 2) == 0:
        return TD_ROW_LIST32
    if strncmp(name, b"+L", 2) == 0:
        return TD_ROW_LIST64
    if first == c"b":
        return TD_ROW_BIT
    if first == c"c":
        return TD_ROW_I8
    if first == c"s":
        return TD_ROW_I16
    if first == c"i":
        return TD_ROW_I32
    if first == c"l":
        return TD_ROW_I64
    if first == c"f":
        return TD_ROW_F32
    if first == c"g":
        return TD_ROW_F64
    if first == c"u" or first == c"z":
        return TD_ROW_BYTES32
    if first == c"U" or first == c"Z":
        return TD_ROW_BYTES64
    raise DataError(f"A column has the Arrow type {name.decode()!r}, which has no digest.")


def hash_rows(batch, list keys, const uint64_t[::1] row_keys, digests=None, registers=None):
    """What `tadka.dataset.measure.rowhash_reference.hash_rows` gives."""
    cdef Columns columns = Columns(batch, keys)
    cdef uint64_t total[2]
    cdef uint64_t[:, ::1] digest_view
    cdef uint8_t[:, ::1] register_view
    cdef uint64_t *digests_to = NULL
    cdef uint8_t *registers_to = NULL
    if digests is not None and columns.length:
        digest_view = digests
        if digest_view.shape[0] != columns.length or digest_view.shape[1] != 2:
            raise ValueError("digests must have shape (num_rows, 2)")
        digests_to = &digest_view[0, 0]
    if registers is not None and columns.count:
        register_view = registers
        if register_view.shape[0] != columns.count or register_view.shape[1] != TD_REGISTERS:
            raise ValueError(f"registers must have shape (columns, {TD_REGISTERS})")
        registers_to = &register_view[0, 0]
    total[0] = total[1] = 0
    with nogil:
        td_hash_rows(columns.c, columns.count, columns.length, &row_keys[0], total, digests_to,
                     registers_to)
    return (<object>total[0] << 64) | <object>total[1]
