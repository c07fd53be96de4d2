# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""The compiled engine: encodes messages, Arrow columns and instances of one feature class.

What a row costs is paid in engine/*.c; here Python objects become what C reads, properties that
could not be compiled are evaluated, and a status becomes an error with its row and field.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.features.encoding import Buckets, Hashed, Log, Number, Vocabulary
from tadka.features.hash import feature_seed
from tadka.features.reference import evaluate
from tadka.features.row import PropertyError, at_row, type_of

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_Clear
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strcmp, strncmp


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size)
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    char *PyByteArray_AS_STRING(object array)


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
        int64_t n_children
        ArrowSchema **children
        ArrowSchema *dictionary

    struct ArrowArray:
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_buffers
        int64_t n_children
        const void **buffers
        ArrowArray **children


cdef object EPOCH = datetime(1970, 1, 1)
cdef object MICROSECOND = timedelta(microseconds=1)
cdef dict KINDS = {
    "bool": TD_BOOL, "datetime": TD_TIME, "float": TD_FLOAT, "int": TD_INT, "str": TD_TEXT
}
cdef int64_t DAY = 86_400_000_000


def hash_text(data: bytes, seed: int = 0) -> int:
    """64-bit hash of bytes, the same on every machine; hash.py is the same in Python.

    Args:
        data: Any bytes; of a category the UTF-8 bytes of its text.
        seed: From 0 to 2**64 - 1; other integers count modulo 2**64.
    """
    cdef uint64_t start = seed & 0xFFFF_FFFF_FFFF_FFFF
    return td_hash(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), start)


# ---------------------------------------------------------------- values

cdef bint set_value(object given, uint32_t kind, td_value *value) except -1:
    """Whether `given` is of exactly the type of a kind; then `value` is set.

    A text's bytes are those of `given`, which must stay.
    """
    cdef Py_ssize_t size
    cdef int overflow = 0
    value.size = 0
    value.kind = kind
    if kind == TD_TEXT:
        if type(given) is not str:
            return False
        value.text = PyUnicode_AsUTF8AndSize(given, &size)
        if value.text == NULL:  # lone surrogates
            PyErr_Clear()
            return False
        if size > 0x7FFF_FFFF:
            return False
        value.size = <uint32_t>size
    elif kind == TD_INT:
        if type(given) is not int:
            return False
        value.i = PyLong_AsLongLongAndOverflow(given, &overflow)
        return not overflow
    elif kind == TD_FLOAT:
        if type(given) is not float:
            return False
        value.f = given
    elif kind == TD_BOOL:
        if type(given) is not bool:
            return False
        value.i = given is True
    else:
        if type(given) is not datetime or given.tzinfo is not None:
            return False
        value.i = (given - EPOCH) // MICROSECOND
    return True


cdef object to_python(const td_value *value):
    cdef int64_t days
    cdef uint32_t k
    if value.kind == TD_TEXT:
        return PyUnicode_DecodeUTF8(value.text, value.size, NULL)
    if value.kind == TD_INT:
        return value.i
    if value.kind == TD_FLOAT:
        return value.f
    if value.kind == TD_BOOL:
        return value.i != 0
    if value.kind == TD_TIME:
        days = value.i // DAY  # of C: the rest may be negative, which timedelta puts right
        return EPOCH + timedelta(days, 0, value.i - days * DAY)
    if value.kind == TD_LIST:
        return [to_python(&value.items[k]) for k in range(value.size)]
    return None


cdef int check_memory(bint failed) except -1:
    if failed:
        raise MemoryError("the engine has no memory left")
    return 0


# ---------------------------------------------------------------- columns

cdef class Columns:
    """An Arrow record batch as td_columns; holds it until they are not needed any more."""

    cdef object schema
    cdef object array
    cdef bytearray memory
    cdef td_column *c
    cdef int64_t length

    def __cinit__(self, batch, fields):
        try:
            self.schema, self.array = batch.__arrow_c_array__()
        except AttributeError as error:
            raise DataError(
                f"{type(batch).__name__} is no record batch; give an object that speaks Arrow's C "
                "interface."
            ) from error
        cdef const ArrowSchema *schema = <const ArrowSchema *>PyCapsule_GetPointer(
            self.schema, b"arrow_schema"
        )
        cdef const ArrowArray *array = <const ArrowArray *>PyCapsule_GetPointer(
            self.array, b"arrow_array"
        )
        cdef int64_t n = len(fields), i, row
        cdef const uint8_t *valid
        if strcmp(schema.format, b"+s") or schema.n_children != n or array.n_children != n:
            raise DataError(
                f"The record batch has {schema.n_children} columns; it must have the {n} fields of "
                "the class, in their order."
            )
        self.length = array.length
        if array.n_buffers > 0 and array.null_count != 0 and array.buffers[0] != NULL:
            valid = <const uint8_t *>array.buffers[0]
            for row in range(array.length):
                i = array.offset + row
                if not valid[i >> 3] >> (i & 7) & 1:
                    raise DataError(f"Row {row} of the record batch is missing altogether.")
        self.memory = bytearray((2 * n + 1) * sizeof(td_column))
        self.c = <td_column *>PyByteArray_AS_STRING(self.memory)
        for i in range(n):
            field = fields[i]
            read_column(schema.children[i], array.children[i], field, &self.c[i], &self.c[n + i])
            if self.c[i].length < array.offset + array.length:
                raise DataError(f"Column {field.name!r} is shorter than the record batch.")
            self.c[i].start += array.offset
            self.c[i].length = array.length


cdef int read_column(const ArrowSchema *schema, const ArrowArray *array, object field,
                     td_column *column, td_column *items) except -1:
    cdef uint32_t kind = KINDS[field.type]
    cdef const char *format = schema.format
    cdef bint is_list = field.is_list and items != NULL
    cdef int storage = storage_of(format)
    cdef bint fits
    if is_list:
        fits = (
            (storage == TD_LIST32 or storage == TD_LIST64)
            and schema.n_children == 1
            and array.n_children == 1
        )
    else:
        fits = (
            storage >= 0
            and td_storage_holds(storage, kind)
            and (kind == TD_TIME) == (format[0] == c"t")
        )
    if not fits or schema.dictionary != NULL:
        raise DataError(
            f"Column {field.name!r} has the Arrow type {format.decode()!r}; the field is {field}."
        )
    column.storage = storage
    column.start = array.offset
    column.length = array.length
    column.valid = NULL
    cdef bint has_offsets = storage >= TD_TEXT32
    if array.n_buffers != 2 + (has_offsets and not is_list):
        raise DataError(f"Column {field.name!r} has {array.n_buffers} buffers; it is damaged.")
    if array.null_count != 0:
        column.valid = <const uint8_t *>array.buffers[0]
    if has_offsets:
        column.offsets = array.buffers[1]
        if not is_list:
            column.values = array.buffers[2]
    else:
        column.values = array.buffers[1]
    if array.length and array.buffers[1] == NULL:
        raise DataError(f"Column {field.name!r} has no data for {array.length} rows; it is damaged.")
    if is_list:
        read_column(schema.children[0], array.children[0], field, items, NULL)
        column.items = items
    return 0


cdef int storage_of(const char *format) noexcept:
    """-1 for what the engine does not read."""
    if format[0] and not format[1]:
        if format[0] == c"b":
            return TD_BITS
        if format[0] == c"c":
            return TD_INT8
        if format[0] == c"C":
            return TD_UINT8
        if format[0] == c"s":
            return TD_INT16
        if format[0] == c"S":
            return TD_UINT16
        if format[0] == c"i":
            return TD_INT32
        if format[0] == c"I":
            return TD_UINT32
        if format[0] == c"l":
            return TD_INT64
        if format[0] == c"f":
            return TD_FLOAT32
        if format[0] == c"g":
            return TD_FLOAT64
        if format[0] == c"u":
            return TD_TEXT32
        if format[0] == c"U":
            return TD_TEXT64
    if not strncmp(format, b"tsu:", 4):  # whatever the zone is, the values are UTC
        return TD_INT64
    if not strcmp(format, b"+l"):
        return TD_LIST32
    if not strcmp(format, b"+L"):
        return TD_LIST64
    return -1


# ---------------------------------------------------------------- entries

cdef enum:
    SHARED_ROWS = 1 << 16  # of longer batches nothing is kept


cdef class Output:
    """Arrays that entries go to: of full size where it is known ahead, else made at the end."""

    cdef object starts_array
    cdef object slots_array
    cdef object values_array
    cdef object features_array
    cdef int64_t[::1] starts
    cdef int32_t[::1] slots
    cdef float[::1] values
    cdef uint16_t[::1] features
    cdef bint shares_values, shares_features

    def __cinit__(
        self, Py_ssize_t num_rows, Py_ssize_t width, bint is_scalar, values=None, features=None
    ):
        if is_scalar:
            self.starts_array = np.arange(0, (num_rows + 1) * width, width or 1, dtype=np.int64)
            if not width:
                self.starts_array = np.zeros(num_rows + 1, np.int64)
            self._make(num_rows * width, values, features)
        else:
            self.starts_array = np.zeros(num_rows + 1, np.int64)
        self.starts = self.starts_array

    cdef int _make(self, Py_ssize_t count, values=None, features=None) except -1:
        """`values` and `features`: where they are known ahead, and shared."""
        self.shares_values, self.shares_features = values is not None, features is not None
        self.slots_array = np.empty(count, np.int32)
        self.values_array = np.empty(count, np.float32) if values is None else values
        self.features_array = np.empty(count, np.uint16) if features is None else features
        if count:
            self.slots = self.slots_array
            if values is None:
                self.values = self.values_array
            if features is None:
                self.features = self.features_array
        return 0

    cdef int lend(self, td_entries *entries) except -1:
        """Lets entries be written here directly."""
        entries.is_borrowed = 1
        entries.count = 0
        entries.capacity = self.slots_array.shape[0]
        if entries.capacity:
            entries.slots = &self.slots[0]
            entries.values = &self.values[0]
            entries.features = &self.features[0]
        return 0

    cdef tuple take(self, const td_entries *entries):
        """The arrays; what was not lent is copied."""
        if not entries.is_borrowed:
            self._make(<Py_ssize_t>entries.count)
            if entries.count:
                memcpy(&self.slots[0], entries.slots, entries.count * sizeof(int32_t))
                memcpy(&self.values[0], entries.values, entries.count * sizeof(float))
                memcpy(&self.features[0], entries.features, entries.count * sizeof(uint16_t))
        return self.arrays()

    cdef tuple arrays(self):
        return self.starts_array, self.slots_array, self.values_array, self.features_array


# ---------------------------------------------------------------- engine

cdef class Scratch:
    """Memory for one thread that encodes rows of one engine; not for two threads at a time.

    Args:
        engine: Whose rows.
    """

    def __cinit__(self, Engine engine not None):
        engine._check()
        check_memory(td_scratch_init(&self.c, engine.plan))
        self.engine = engine

    def __dealloc__(self):
        td_scratch_free(&self.c)


cdef class Engine:
    """Encodes rows of one feature class.

    Any number of threads may use it at a time.

    Args:
        definition: Of the class, with the features wanted.
        sources: For each feature the number of its field, or -1 for a property.
        programs: For each feature its compiled property, or None where Python evaluates it.
        rows: Makes and checks instances of the class.
        members: For each feature its field or property, with its type.
        is_plain: Whether an instance's fields are always what it was made of; false for a class
            with a `__post_init__`, which then runs for every row.

    Raises:
        ConfigError: These do not belong together.
    """

    def __init__(self, definition, sources, programs, rows, members, *, is_plain=True):
        if self.plan != NULL:
            raise ConfigError("The engine has been made already.")
        self.definition = definition
        self.rows = rows
        self.members = list(members)
        self.is_plain = is_plain
        self.names = [field.name for field in definition.fields]
        self.classes = set()
        self.is_categorical = not any(
            isinstance(feature.encoding, (Number, Log)) for feature in definition.features
        )
        self.keep = []
        cdef uint32_t num_fields = len(definition.fields)
        cdef uint32_t num_features = len(definition.features)
        if not len(sources) == len(programs) == len(self.members) == num_features:
            raise ConfigError("The engine needs a source, program and member for each feature.")
        memory = bytearray((num_fields + 1) * sizeof(td_field))
        cdef td_field *fields = <td_field *>PyByteArray_AS_STRING(memory)
        used = set()
        for program in programs:
            if program is not None:
                used |= program.fields_read
        cdef uint32_t f, j
        for f in range(num_fields):
            field = definition.fields[f]
            fields[f].number = field.number
            fields[f].kind = KINDS[field.type]
            fields[f].is_list = field.is_list
            fields[f].is_optional = field.is_optional
            fields[f].is_read = f in used
        more = bytearray((num_features + 1) * sizeof(td_feature))
        cdef td_feature *features = <td_feature *>PyByteArray_AS_STRING(more)
        for j in range(num_features):
            set_feature(
                definition.features[j], definition.spans[j], self.members[j].shape, &features[j],
                self.keep,
            )
            features[j].source = sources[j]
            if sources[j] < 0 and programs[j] is not None:
                features[j].program = new_program(programs[j], num_fields, self.keep)
        cdef const char *why = NULL
        self.plan = td_plan_new(fields, num_fields, features, num_features, &why)
        if self.plan == NULL:
            raise ConfigError(f"{definition.name!r} cannot be compiled: {why.decode()}.")

    def __dealloc__(self):
        td_plan_free(self.plan)

    cdef int _check(self) except -1:
        if self.plan == NULL:
            raise ConfigError("The engine was not made; call Engine with all that it needs.")
        return 0

    cdef int encode_message(self, const char *data, size_t size, Scratch scratch) except -1:
        cdef td_status status = self.try_message(data, size, scratch)
        if status != TD_OK:
            self.finish(scratch, status, None)
        return 0

    cdef td_status try_message(self, const char *data, size_t size,
                               Scratch scratch) noexcept nogil:
        scratch.c.entries.count = 0
        return self._append(data, size, scratch)

    cdef td_status _append(self, const char *data, size_t size, Scratch scratch) noexcept nogil:
        """Adds the entries of a message to those that are there."""
        cdef td_status status
        if self.is_plain:
            return td_plan_message(self.plan, data, size, &scratch.c, &scratch.feature)
        status = td_plan_decode(self.plan, data, size, &scratch.c)
        return TD_PYTHON if status == TD_OK else status

    cdef int finish(self, Scratch scratch, td_status status, object row) except -1:
        if status != TD_PYTHON:
            raise self._error(scratch, status, row, True)
        values = self._values(scratch)
        instance = self.rows.make(values, row)
        if not self.is_plain:
            instance, values = self.rows.exact(instance, row)
            td_plan_begin(self.plan, &scratch.c)
            if not self._set_fields(scratch, values):
                raise DataError(f"{at_row(row)}a text has over 2**31 - 1 bytes.")
        return self._encode(scratch, instance, values, row)

    cdef int _encode(self, Scratch scratch, object instance, list values, object row) except -1:
        """Entries of the fields that are set; `values` holds their texts."""
        cdef td_status status
        keep = [values]
        while True:
            status = td_plan_encode(self.plan, &scratch.c, &scratch.feature)
            if status == TD_OK:
                return 0
            if status != TD_PYTHON:
                raise self._error(scratch, status, row, False)
            self._preset(scratch, instance, row, keep)

    cdef int _preset(self, Scratch scratch, object instance, object row, list keep) except -1:
        cdef td_value value
        cdef uint32_t feature = scratch.feature
        given = evaluate(instance, self.members[feature], row)
        self._value(feature, given, row, keep, &scratch.c.row, &value)
        td_plan_preset(&scratch.c, feature, &value)
        return 0

    cdef int _value(self, uint32_t feature, object given, object row, list keep, td_arena *arena,
                    td_value *value) except -1:
        """What Python gave for a property, for C; `keep` holds its texts."""
        cdef const td_feature *about = &self.plan.steps[feature].given
        cdef td_value *items
        cdef Py_ssize_t k
        memset(value, 0, sizeof(td_value))
        keep.append(given)
        if given is None:
            return 0
        if not about.is_list:
            return self._scalar(feature, given, row, keep, value)
        items = <td_value *>td_arena_take(arena, (len(given) + 1) * sizeof(td_value))
        check_memory(items == NULL)
        for k in range(len(given)):
            self._scalar(feature, given[k], row, keep, &items[k])
        value.items = items
        value.size = <uint32_t>len(given)
        value.kind = TD_LIST
        return 0

    cdef int _scalar(self, uint32_t feature, object given, object row, list keep,
                     td_value *value) except -1:
        cdef const td_feature *about = &self.plan.steps[feature].given
        if set_value(given, about.kind, value):
            return 0
        if type(given) is int:  # beyond 64 bits
            if about.encoding == TD_HASHED or about.encoding == TD_VOCABULARY:
                try:
                    text = str(given)
                except ValueError as error:
                    name = self.members[feature].name
                    raise DataError(f"{at_row(row)}feature {name!r}: {error}") from error
                keep.append(text)
                if set_value(text, TD_TEXT, value):
                    return 0
            try:
                number = float(given)
            except OverflowError:
                number = float("inf") if given > 0 else float("-inf")
            if set_value(number, TD_FLOAT, value):
                return 0
        raise PropertyError(
            f"{at_row(row)}property {self.members[feature].name!r} gave {given!r:.80} "
            f"({type_of(given)}), which cannot be encoded."
        )

    cdef list _values(self, Scratch scratch):
        cdef uint32_t f
        return [to_python(&scratch.c.fields[f]) for f in range(self.plan.schema.num_fields)]

    cdef bint _set_fields(self, Scratch scratch, list values) except -1:
        """Whether all values are of exactly their field's type; then the fields are set."""
        cdef uint32_t f, k
        cdef const td_field *field
        cdef td_value *value
        cdef td_value *items
        for f in range(self.plan.schema.num_fields):
            field = &self.plan.schema.fields[f]
            value = &scratch.c.fields[f]
            given = values[f]
            if field.is_list:
                if type(given) is not list:
                    return False
                count = len(given)
                items = <td_value *>td_arena_take(&scratch.c.row, (count + 1) * sizeof(td_value))
                check_memory(items == NULL)
                for k in range(count):
                    if not set_value((<list>given)[k], field.kind, &items[k]):
                        return False
                value.items = items
                value.size = count
                value.kind = TD_LIST
            elif given is None and field.is_optional:
                memset(value, 0, sizeof(td_value))
            elif not set_value(given, field.kind, value):
                return False
        return True

    cdef object _error(self, Scratch scratch, td_status status, object row, bint is_message):
        if status == TD_NO_MEMORY:
            return MemoryError(f"{at_row(row)}the engine has no memory left")
        cdef uint32_t f = scratch.c.field
        field = self.definition.fields[f] if f < self.plan.schema.num_fields else None
        where = f"field {field.name!r}" if field is not None else "an unknown field"
        if status == TD_TRUNCATED:
            what = f"it ends inside {where}"
        elif status == TD_MALFORMED:
            what = f"{where} is malformed" if is_message else f"{where} has offsets that decrease"
        elif status == TD_NOT_UTF8:
            what = f"{where} is not UTF-8"
        elif status == TD_RANGE and field is not None and field.type == "datetime":
            what = f"{where} has a time outside the years 1 to 9999"
        elif status == TD_RANGE:
            what = f"{where} has a text of over 2**31 - 1 bytes"
        elif status == TD_MISSING:
            what = f"{where} is missing, but its type is {field}"
        else:
            what = f"{where} cannot be encoded"
        if is_message:
            return DataError(f"{at_row(row)}the message is no {self.definition.name}: {what}.")
        return DataError(f"{at_row(row)}{what}.")

    def decode(self, message: bytes) -> list:
        """The values of a message's fields, in the order of the class.

        Args:
            message: As a client wrote it.

        Raises:
            DataError: It is no message, or a value cannot be held.
        """
        scratch = Scratch(self)
        cdef td_status status = td_plan_decode(
            self.plan, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), &(<Scratch>scratch).c
        )
        if status != TD_OK:
            raise self._error(scratch, status, None, True)
        return self._values(scratch)

    def encode_messages(self, messages, *, first_row=0):
        """Entries of messages.

        Args:
            messages: As clients wrote them.
            first_row: Number of the first one, for errors.

        Returns:
            starts, slots, values and features, as SparseRows has them.

        Raises:
            DataError: A message cannot be read, or one of its properties evaluated.
        """
        self._check()
        cdef list items = list(messages)
        cdef Py_ssize_t n = len(items), r
        cdef bytearray memory = bytearray((n + 1) * (sizeof(void *) + sizeof(size_t)))
        cdef const char **data = <const char **>PyByteArray_AS_STRING(memory)
        cdef size_t *sizes = <size_t *>(data + n)
        for r in range(n):
            item = items[r]
            if type(item) is not bytes:
                if not isinstance(item, bytes | bytearray | memoryview):
                    raise DataError(
                        f"Row {first_row + r}: {item!r:.80} is no message but {type_of(item)}; "
                        "give all rows as messages (bytes) or as instances."
                    )
                item = items[r] = bytes(item)
            data[r] = PyBytes_AS_STRING(item)
            sizes[r] = PyBytes_GET_SIZE(item)
        cdef bint is_scalar = self.plan.is_scalar
        cdef Output out = Output(n, self.plan.num_features, is_scalar)
        cdef Scratch scratch = Scratch(self)
        if is_scalar:
            out.lend(&scratch.c.entries)
        cdef int64_t[::1] starts = out.starts
        cdef td_status status
        with nogil:
            for r in range(n):
                status = self._append(data[r], sizes[r], scratch)
                if status != TD_OK:
                    with gil:
                        self.finish(scratch, status, first_row + r)
                if not is_scalar:
                    starts[r + 1] = <int64_t>scratch.c.entries.count
        return out.take(&scratch.c.entries)

    def encode_rows(self, instances, *, first_row=0):
        """Entries of instances.

        Args:
            instances: Of the class.
            first_row: Number of the first one, for errors.

        Returns:
            starts, slots, values and features, as SparseRows has them.

        Raises:
            DataError: A value cannot be that of its field, or a property cannot be evaluated.
        """
        self._check()
        cdef list items = list(instances)
        cdef Py_ssize_t n = len(items), r
        cdef bint is_scalar = self.plan.is_scalar, is_set
        cdef Output out = Output(n, self.plan.num_features, is_scalar)
        cdef Scratch scratch = Scratch(self)
        cdef list values
        if is_scalar:
            out.lend(&scratch.c.entries)
        for r in range(n):
            instance = items[r]
            is_set = False
            if type(instance) in self.classes:
                values = [getattr(instance, name) for name in self.names]
                td_plan_begin(self.plan, &scratch.c)
                is_set = self._set_fields(scratch, values)
            if not is_set:
                instance, values = self.rows.exact(instance, first_row + r)
                self.classes.add(type(instance))
                td_plan_begin(self.plan, &scratch.c)
                if not self._set_fields(scratch, values):
                    raise DataError(f"{at_row(first_row + r)}a text has over 2**31 - 1 bytes.")
            self._encode(scratch, instance, values, first_row + r)
            out.starts[r + 1] = <int64_t>scratch.c.entries.count
        return out.take(&scratch.c.entries)

    def encode_arrow(self, batch, threads=1, *, first_row=0):
        """Entries of a record batch.

        Args:
            batch: Speaks Arrow's C interface; its columns are the fields of the class in their
                order, of the types of `columns.canonical_type` or narrower ones.
            threads: How many share the rows.
            first_row: Number of the first row, for errors.

        Returns:
            starts, slots, values and features, as SparseRows has them.

        Raises:
            DataError: A column is not as said, or a row cannot be encoded.
        """
        self._check()
        cdef Columns columns = Columns(batch, self.definition.fields)
        cdef int64_t n = columns.length, piece
        cdef bint is_direct = self.plan.is_scalar and self.is_plain
        cdef Output out = self._direct_output(n) if is_direct else None
        threads = min(threads, n // (2 * TD_BLOCK))  # fewer rows are not worth a thread
        if threads <= 1:
            made = self._encode_slice(columns, 0, n, out, first_row)
            return out.arrays() if is_direct else made
        piece = (n // threads // TD_BLOCK + 1) * TD_BLOCK
        firsts = range(0, n, piece)
        with ThreadPoolExecutor(threads) as pool:
            parts = list(
                pool.map(
                    lambda first: self._encode_slice(
                        columns, first, min(first + piece, n), out, first_row
                    ),
                    firsts,
                )
            )
        if is_direct:
            return out.arrays()
        starts = [np.zeros(1, np.int64)]
        end = 0
        for part in parts:
            starts.append(part[0][1:] + end)
            end += int(part[0][len(part[0]) - 1])
        return (
            np.concatenate(starts),
            *(np.concatenate([part[k] for part in parts]) for k in (1, 2, 3)),
        )

    cdef object _direct_output(self, int64_t num_rows):
        """Of rows that have an entry for every feature.

        Their features repeat, and where all are categories their values are 1: one read-only array
        of each serves all batches. Filling fresh memory costs a tenth of the whole otherwise.
        """
        cdef Py_ssize_t width = self.plan.num_features, count = num_rows * width
        if num_rows > SHARED_ROWS or not count:
            return Output(num_rows, width, True)
        if self.numbers is None or len(self.numbers) < count:
            numbers = np.tile(np.arange(width, dtype=np.uint16), num_rows)
            numbers.flags.writeable = False
            self.numbers = numbers
            if self.is_categorical:
                ones = np.ones(count, np.float32)
                ones.flags.writeable = False
                self.ones = ones
        ones = self.ones[:count] if self.is_categorical else None
        return Output(num_rows, width, True, ones, self.numbers[:count])

    cdef tuple _encode_slice(self, object held, int64_t first, int64_t last, object output,
                             int64_t first_row):
        """Entries of rows [first, last), into `output` where there is one."""
        cdef const td_column *columns = (<Columns>held).c
        cdef Scratch scratch = Scratch(self)
        cdef Output out
        cdef td_status status = TD_OK
        cdef size_t width = self.plan.num_features
        cdef int32_t *slots = NULL
        cdef float *values = NULL
        cdef uint16_t *features = NULL
        cdef int64_t at = first, r
        cdef uint32_t count
        cdef size_t step
        cdef float[::1] block  # of values that nobody reads: all 1
        if output is not None:
            out = output
            if not width or first == last:
                return ()
            slots = &out.slots[0]
            if not out.shares_values:
                values = &out.values[0] + at * width
                step = width
            else:
                block = np.empty(TD_BLOCK * width, np.float32)
                values = &block[0]
                step = 0
            if not out.shares_features:
                features = &out.features[0]
            with nogil:
                while at < last:
                    count = <uint32_t>min(last - at, <int64_t>TD_BLOCK)
                    status = td_columns_check(self.plan, columns, at, count, &scratch.c)
                    if status == TD_OK:
                        status = td_plan_block(
                            self.plan, columns, at, count, &scratch.c, slots + at * width, values,
                            NULL if features is NULL else features + at * width,
                        )
                    if status != TD_OK or scratch.c.num_open:
                        with gil:
                            if status != TD_OK:
                                raise self._error(
                                    scratch, status, first_row + at + scratch.c.at, False
                                )
                            self._finish_block(
                                scratch, columns, at, slots + at * width, values, first_row
                            )
                    at += count
                    values += count * step
            return ()
        out = Output(last - first, width, False)
        with nogil:
            while at < last:
                count = <uint32_t>min(last - at, <int64_t>TD_BLOCK)
                status = td_columns_check(self.plan, columns, at, count, &scratch.c)
                if status != TD_OK:
                    with gil:
                        raise self._error(scratch, status, first_row + at + scratch.c.at, False)
                for r in range(at, at + count):
                    status = td_columns_row(self.plan, columns, r, &scratch.c)
                    if status == TD_OK:
                        status = TD_PYTHON
                        if self.is_plain:
                            status = td_plan_encode(self.plan, &scratch.c, &scratch.feature)
                    if status != TD_OK:
                        with gil:
                            if status != TD_PYTHON:
                                raise self._error(scratch, status, first_row + r, False)
                            self.finish(scratch, status, first_row + r)
                    out.starts[r - first + 1] = <int64_t>scratch.c.entries.count
                at += count
        return out.take(&scratch.c.entries)

    cdef int _finish_block(self, Scratch scratch, const td_column *columns, int64_t at,
                           int32_t *slots, float *values, int64_t first_row) except -1:
        """Evaluates in Python what td_plan_block left open."""
        cdef td_open *open
        cdef uint32_t k, row = 0
        cdef size_t place
        cdef td_value value
        cdef td_status status
        instance = None
        for k in range(scratch.c.num_open):
            open = &scratch.c.open[k]
            if instance is None or open.row != row:
                row = open.row
                check_memory(
                    td_columns_row(self.plan, columns, at + row, &scratch.c) == TD_NO_MEMORY
                )
                instance = self.rows.make(self._values(scratch), first_row + at + row)
            keep = []
            given = evaluate(instance, self.members[open.feature], first_row + at + row)
            self._value(open.feature, given, first_row + at + row, keep, &scratch.c.row, &value)
            place = row * self.plan.num_features + open.feature
            status = td_plan_entry(
                self.plan, open.feature, &value, &slots[place], &values[place]
            )
            if status != TD_OK:
                raise self._error(scratch, status, first_row + at + row, False)
        return 0


cdef int set_feature(object feature, object span, object shape, td_feature *out,
                     list keep) except -1:
    """Kind, encoding and slots of a feature; `keep` holds what is pointed to."""
    encoding = feature.encoding
    memset(out, 0, sizeof(td_feature))
    out.kind = KINDS[shape.type]
    out.is_list = shape.is_list
    out.is_optional = shape.is_optional
    out.offset = span.offset
    out.width = span.width
    out.seed = feature_seed(feature.name)
    if isinstance(encoding, Hashed):
        out.encoding = TD_HASHED
    elif isinstance(encoding, Vocabulary):
        out.encoding = TD_VOCABULARY
        out.words = new_values(encoding.words, keep)
        out.num_words = len(encoding.words)
    elif isinstance(encoding, Number):
        out.encoding = TD_NUMBER
        out.shift = encoding.shift
        out.scale = encoding.scale
    elif isinstance(encoding, Log):
        out.encoding = TD_LOG
    elif isinstance(encoding, Buckets):
        out.encoding = TD_BUCKETS
        edges = np.array(encoding.edges, np.float64).tobytes()
        keep.append(edges)
        out.edges = <const double *>PyBytes_AS_STRING(edges)
        out.num_edges = len(encoding.edges)
    else:
        raise ConfigError(f"Feature {feature.name!r} has the unknown encoding {encoding!r}.")
    return 0


cdef const td_value *new_values(object constants, list keep) except NULL:
    memory = bytearray((len(constants) + 1) * sizeof(td_value))
    cdef td_value *values = <td_value *>PyByteArray_AS_STRING(memory)
    cdef Py_ssize_t k
    keep.append(memory)
    for k in range(len(constants)):
        constant = constants[k]
        keep.append(constant)
        if constant is not None and not set_value(constant, KINDS[type(constant).__name__],
                                                  &values[k]):
            raise ConfigError(f"{constant!r:.80} cannot be a constant of the engine.")
    return values


cdef const td_program *new_program(object program, uint32_t num_fields, list keep) except NULL:
    memory = bytearray(sizeof(td_program))
    cdef td_program *made = <td_program *>PyByteArray_AS_STRING(memory)
    ops = program.ops_bytes()
    keep.append(memory)
    keep.append(ops)
    made.ops = <const td_op *>PyBytes_AS_STRING(ops)
    made.num_ops = len(program.ops)
    made.constants = new_values(program.constants, keep)
    made.num_constants = len(program.constants)
    made.num_fields = num_fields
    return made


# ---------------------------------------------------------------- one program

cdef extern from "engine/value.h" nogil:
    void td_arena_init(td_arena *arena, size_t limit)
    void td_arena_free(td_arena *arena)


cdef extern from "engine/program.h" nogil:
    td_status td_program_run(
        const td_program *program, const td_value *fields, td_arena *arena, td_value *out
    )


cdef const td_value *new_row(object given, list keep) except NULL:
    """Values of any kind, lists of them too, as the machine reads them."""
    memory = bytearray((len(given) + 1) * sizeof(td_value))
    cdef td_value *values = <td_value *>PyByteArray_AS_STRING(memory)
    cdef Py_ssize_t k
    keep.append(memory)
    for k in range(len(given)):
        value = given[k]
        keep.append(value)
        if isinstance(value, list):
            values[k].items = new_row(value, keep)
            values[k].size = len(value)
            values[k].kind = TD_LIST
        elif value is not None and not set_value(value, KINDS[type(value).__name__], &values[k]):
            raise DataError(f"{value!r:.80} cannot be a value of the engine.")
    return values


def run_program(program, values) -> tuple[bool, object]:
    """What a compiled property gives for a row.

    Args:
        program: The property.
        values: Of the row's fields, in their order.

    Returns:
        Whether the machine knows the value, and the value; None where Python has to evaluate.
    """
    cdef td_arena arena
    cdef td_value out
    cdef td_status status
    keep = []
    cdef const td_program *made = new_program(program, len(values), keep)
    if td_program_check(made):
        raise ConfigError("The program is not one that the compiler makes.")
    cdef const td_value *row = new_row(values, keep)
    td_arena_init(&arena, 1 << 30)
    try:
        with nogil:
            status = td_program_run(made, row, &arena, &out)
        check_memory(status == TD_NO_MEMORY)
        return (True, to_python(&out)) if status == TD_OK else (False, None)
    finally:
        td_arena_free(&arena)
