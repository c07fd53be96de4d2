# The compiled engine for other compiled modules: a Scratch a thread, then Engine.encode_message, or
# td_plan_message without the GIL.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "engine/value.h" nogil:
    ctypedef enum td_status:
        TD_OK
        TD_PYTHON
        TD_NO_MEMORY
        TD_TRUNCATED
        TD_MALFORMED
        TD_NOT_UTF8
        TD_RANGE
        TD_MISSING

    enum:
        TD_NONE
        TD_BOOL
        TD_INT
        TD_FLOAT
        TD_TIME
        TD_TEXT
        TD_LIST

    ctypedef struct td_value:
        int64_t i
        double f
        const char *text
        const td_value *items
        uint32_t size
        uint32_t kind

    ctypedef struct td_arena:
        pass

    void *td_arena_take(td_arena *arena, size_t bytes)


cdef extern from "engine/hash.h" nogil:
    uint64_t td_hash(const void *data, size_t size, uint64_t seed)


cdef extern from "engine/program.h" nogil:
    ctypedef struct td_op:
        pass

    ctypedef struct td_program:
        const td_op *ops
        uint32_t num_ops
        const td_value *constants
        uint32_t num_constants
        uint32_t num_fields

    int td_program_check(const td_program *program)


cdef extern from "engine/wire.h" nogil:
    const uint32_t TD_NO_FIELD

    ctypedef struct td_field:
        uint32_t number
        uint8_t kind
        uint8_t is_list
        uint8_t is_optional
        uint8_t is_read

    ctypedef struct td_schema:
        td_field *fields
        uint32_t num_fields


cdef extern from "engine/plan.h" nogil:
    const uint32_t TD_BLOCK

    enum:
        TD_HASHED
        TD_VOCABULARY
        TD_NUMBER
        TD_LOG
        TD_BUCKETS

    enum:
        TD_BITS
        TD_INT8
        TD_INT16
        TD_INT32
        TD_INT64
        TD_UINT8
        TD_UINT16
        TD_UINT32
        TD_FLOAT32
        TD_FLOAT64
        TD_TEXT32
        TD_TEXT64
        TD_LIST32
        TD_LIST64

    ctypedef struct td_feature:
        int32_t source
        const td_program *program
        uint8_t kind
        uint8_t is_list
        uint8_t is_optional
        uint8_t encoding
        uint32_t offset
        uint32_t width
        uint64_t seed
        double shift
        double scale
        const double *edges
        uint32_t num_edges
        const td_value *words
        uint32_t num_words

    ctypedef struct td_step:
        td_feature given

    ctypedef struct td_plan:
        td_schema schema
        td_step *steps
        uint32_t num_features
        uint32_t *python
        uint32_t num_python
        uint8_t is_scalar

    ctypedef struct td_entries:
        int32_t *slots
        float *values
        uint16_t *features
        size_t count
        size_t capacity
        int is_borrowed

    ctypedef struct td_open:
        uint32_t row
        uint32_t feature

    ctypedef struct td_scratch:
        td_arena row
        td_arena made
        td_value *fields
        td_entries entries
        uint32_t field
        uint32_t at
        td_open *open
        uint32_t num_open

    ctypedef struct td_column:
        uint8_t storage
        const uint8_t *valid
        const void *values
        const void *offsets
        int64_t start
        int64_t length
        const td_column *items

    td_plan *td_plan_new(const td_field *fields, uint32_t num_fields, const td_feature *features,
                         uint32_t num_features, const char **why)
    void td_plan_free(td_plan *plan)
    int td_scratch_init(td_scratch *scratch, const td_plan *plan)
    void td_scratch_free(td_scratch *scratch)
    td_status td_plan_decode(const td_plan *plan, const char *data, size_t size,
                             td_scratch *scratch)
    td_status td_plan_encode(const td_plan *plan, td_scratch *scratch, uint32_t *feature)
    td_status td_plan_message(const td_plan *plan, const char *data, size_t size,
                              td_scratch *scratch, uint32_t *feature)
    void td_plan_begin(const td_plan *plan, td_scratch *scratch)
    void td_plan_preset(td_scratch *scratch, uint32_t feature, const td_value *value)
    td_status td_plan_entry(const td_plan *plan, uint32_t feature, const td_value *value,
                            int32_t *slot, float *x)
    int td_storage_holds(uint8_t storage, uint32_t kind)
    td_status td_columns_check(const td_plan *plan, const td_column *columns, int64_t first,
                               uint32_t count, td_scratch *scratch)
    td_status td_column_value(const td_field *field, const td_column *column, int64_t row,
                              td_arena *arena, td_value *value)
    td_status td_columns_row(const td_plan *plan, const td_column *columns, int64_t row,
                             td_scratch *scratch)
    td_status td_plan_block(const td_plan *plan, const td_column *columns, int64_t first,
                            uint32_t count, td_scratch *scratch, int32_t *slots, float *values,
                            uint16_t *features)


cdef class Scratch:
    cdef td_scratch c
    cdef readonly uint32_t feature  # that a status is about
    cdef object engine


cdef class Engine:
    cdef td_plan *plan
    cdef readonly object definition
    cdef object rows
    cdef list members
    cdef list names  # of the fields
    cdef bint is_plain
    cdef list keep  # what the plan points to
    cdef set classes  # of instances that were checked
    cdef bint is_categorical  # all features: their values are 1
    cdef object numbers, ones  # features and values of many rows, shared; None before the first

    # The entries of one message, in scratch.c.entries from 0 on. Raises DataError. `data` must
    # stay as it is until this returns. It is `try_message`, and where that is not TD_OK `finish`.
    cdef int encode_message(self, const char *data, size_t size, Scratch scratch) except -1

    # The same without the GIL; TD_OK for nearly all. Else call `finish` with the GIL.
    cdef td_status try_message(self, const char *data, size_t size,
                               Scratch scratch) noexcept nogil
    # Evaluates in Python what is not compiled, or raises what the status says.
    # `row` is a number for the message of an error, or None.
    cdef int finish(self, Scratch scratch, td_status status, object row) except -1

    cdef int _check(self) except -1
    cdef td_status _append(self, const char *data, size_t size, Scratch scratch) noexcept nogil
    cdef int _encode(self, Scratch scratch, object instance, list values, object row) except -1
    cdef int _preset(self, Scratch scratch, object instance, object row, list keep) except -1
    cdef int _scalar(self, uint32_t feature, object given, object row, list keep,
                     td_value *value) except -1
    cdef int _value(self, uint32_t feature, object given, object row, list keep, td_arena *arena,
                    td_value *value) except -1
    cdef list _values(self, Scratch scratch)
    cdef bint _set_fields(self, Scratch scratch, list values) except -1
    cdef object _error(self, Scratch scratch, td_status status, object row, bint is_message)
    cdef object _direct_output(self, int64_t num_rows)
    cdef tuple _encode_slice(self, object columns, int64_t first, int64_t last, object out,
                             int64_t first_row)
    cdef int _finish_block(self, Scratch scratch, const td_column *columns, int64_t at,
                           int32_t *slots, float *values, int64_t first_row) except -1
