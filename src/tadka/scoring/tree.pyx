# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Trees walked without the interpreter: the same bits as `Forest.margins`, one row in microseconds.

A row is first *prepared*: each column that a split asks becomes one value for each way in which
splits treat its missing values, so that all of them ask `value <= threshold`: where missing goes
left the value is -inf, where it goes right it stays NaN, which is below nothing. A categorical
column becomes the position of its code in the sets. Then eight trees are walked in step, because
the loads of one tree wait for each other and those of eight do not; a leaf leads to itself.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_ND,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from libc.math cimport INFINITY, NAN, fabs
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

import numpy as np

from tadka.core.error import DataError
from tadka.scoring.forest_draft import ZERO as LARGEST_ZERO

cdef enum:
    LANES = 8            # trees walked in step
    NARROW = 62          # categories whose set, with unknown and missing, fits into a word
    STACK = 512          # prepared values that need no allocation
    RIGHT = 1            # rules of a numeric slot: MISSING_RIGHT and ZERO_IS_MISSING of forest.py
    ZERO = 2
    LEAF = 4             # the slot that leaves ask: below every value
    CODE = 8             # a categorical slot

cdef double ALMOST_ZERO = LARGEST_ZERO


cdef inline uint32_t goes_right(
    const Node *node, const Bound *values, const uint64_t *sets,
    uint32_t num_categorical, uint32_t num_wide, int mode,
) noexcept nogil:
    """1 if a node sends the prepared row right. mode: 0 numeric, 1 some categories, 2 many."""
    cdef uint32_t slot = node.slot
    cdef uint32_t right = not (values[slot].threshold <= node.bound.threshold)
    cdef uint64_t word, code
    if mode:
        word = node.bound.mask
        code = values[slot].mask
        if mode == 2 and slot < num_wide:
            word = sets[word + (code >> 6)]
        # Both answers are computed and one is masked out: a branch would be mispredicted.
        word = ~(word >> (code & 63)) & <uint64_t> (slot < num_categorical)
        right = (right & <uint32_t> (slot >= num_categorical)) | <uint32_t> word
    return right


cdef inline double walk_nodes(
    const Node *nodes, const Bound *values, const uint64_t *sets, Py_ssize_t num_trees,
    uint32_t num_categorical, uint32_t num_wide, double start, bint single, int mode,
) noexcept nogil:
    cdef Py_ssize_t group
    cdef uint32_t at[LANES]
    cdef uint32_t then, moved
    cdef int lane
    cdef double total = start
    cdef float total_single = <float> start
    for group in range((num_trees + LANES - 1) // LANES):
        for lane in range(LANES):
            at[lane] = <uint32_t> (group * LANES + lane)
        moved = 1
        while moved:
            moved = 0
            for lane in range(LANES):
                then = nodes[at[lane]].child + goes_right(
                    &nodes[at[lane]], values, sets, num_categorical, num_wide, mode
                )
                moved |= then ^ at[lane]
                at[lane] = then
        if single:
            for lane in range(LANES):
                total_single = total_single + <float> nodes[at[lane]].bound.threshold
        else:
            for lane in range(LANES):
                total = total + nodes[at[lane]].bound.threshold
    return <double> total_single if single else total


cdef inline double walk_levels(
    const Node *nodes, const Bound *values, const uint64_t *sets, Py_ssize_t num_trees,
    uint32_t num_categorical, uint32_t num_wide, double start,
    const int32_t *depths, const double *leaves, int mode,
) noexcept nogil:
    cdef Py_ssize_t tree
    cdef int32_t level, depth
    cdef uint32_t leaf
    cdef double total = start
    for tree in range(num_trees):
        depth = depths[tree]
        leaf = 0
        for level in range(depth):
            leaf |= goes_right(
                &nodes[level], values, sets, num_categorical, num_wide, mode
            ) << level
        total = total + leaves[leaf]
        nodes += depth
        leaves += (<Py_ssize_t> 1) << depth
    return total


cdef inline uint64_t rotate(uint64_t word, int by) noexcept nogil:
    return (word >> by) | (word << (64 - by))


cdef inline uint64_t mix(uint64_t low, uint64_t high) noexcept nogil:
    cdef uint64_t factor = 0x9DDFEA08EB382D69ULL
    cdef uint64_t a = (low ^ high) * factor
    a ^= a >> 47
    a = (high ^ a) * factor
    a ^= a >> 47
    return a * factor


cdef inline uint64_t word64(const char *text) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, text, 8)
    return word


cdef inline uint64_t word32(const char *text) noexcept nogil:
    cdef uint32_t word
    memcpy(&word, text, 4)
    return word


cdef uint32_t hash_text(const char *text, uint64_t length) noexcept nogil:
    """`hash_text` of forest.py: CityHash 1.0 of 1 to 32 bytes."""
    cdef uint64_t k0 = 0xC3A5C85C97CB3127ULL, k1 = 0xB492B66FBE98F273ULL
    cdef uint64_t k2 = 0x9AE16A3B2F90404FULL, k3 = 0xC949D7C7509E6557ULL
    cdef uint64_t a, b, c, d
    if length > 16:
        a = word64(text) * k1
        b = word64(text + 8)
        c = word64(text + length - 8) * k2
        d = word64(text + length - 16) * k0
        return <uint32_t> mix(
            rotate(a - b, 43) + rotate(c, 30) + d, a + rotate(b ^ k3, 20) - c + length
        )
    if length > 8:
        a = word64(text)
        b = word64(text + length - 8)
        return <uint32_t> (mix(a, rotate(b + length, <int> length)) ^ b)
    if length >= 4:
        return <uint32_t> mix(length + (word32(text) << 3), word32(text + length - 4))
    a = <uint8_t> text[0] + (<uint64_t> <uint8_t> text[length >> 1] << 8)
    b = length + (<uint64_t> <uint8_t> text[length - 1] << 2)
    a = (a * k2) ^ (b * k3)
    return <uint32_t> ((a ^ (a >> 47)) * k2)


cdef int64_t hash_category(double value) noexcept nogil:
    """`hash_category` of forest.py: of the decimal text of an integer, -1 for other numbers."""
    cdef char text[24]
    cdef int first = 24
    cdef int64_t integer
    cdef uint64_t rest
    if value != value:
        return hash_text(b"nan", 3)
    if not fabs(value) <= 9007199254740992.0:
        return -1
    integer = <int64_t> value
    if <double> integer != value:
        return -1
    rest = <uint64_t> (-integer if integer < 0 else integer)
    while True:
        first -= 1
        text[first] = <char> (48 + rest % 10)
        rest //= 10
        if rest == 0:
            break
    if integer < 0:
        first -= 1
        text[first] = 45  # minus
    return hash_text(&text[first], <uint64_t> (24 - first))


cdef uint64_t find_key(const uint32_t *keys, int32_t width, int64_t key) noexcept nogil:
    """Place of a hash among ascending keys; `width` if it is none of them."""
    cdef int32_t low = 0, high = width, middle
    while low < high:
        middle = low + (high - low) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < width and keys[low] == key:
        return low
    return width


cdef void *copy(const void *source, size_t size) except NULL:
    """Bytes in memory that starts at a cache line."""
    cdef void *target = aligned_alloc(64, (size + 127) // 64 * 64)
    if target == NULL:
        raise MemoryError
    memcpy(target, source, size)
    return target


cdef class ForestKernel:
    """A forest laid out for scoring one row at a time; its methods may run in several threads.

    Args:
        forest: The trees. They are copied; the kernel keeps the forest only to be pickled.
    """

    def __init__(self, forest):
        if self.forest is not None:
            raise TypeError("A ForestKernel is initialised once.")
        self.forest = forest
        self.num_features = forest.num_features
        self.num_trees = forest.num_trees
        self.single_row, self.single_sum = forest.single_precision
        self.drops_fraction_first = forest.library == "lightgbm"
        self.start, self.scale, self.divisor, self.shift = forest.constants.tolist()
        cdef const uint64_t[::1] sets = forest.sets
        cdef const uint32_t[::1] keys = forest.keys
        if sets.shape[0]:
            self.sets = <uint64_t *> copy(&sets[0], sets.shape[0] * sizeof(uint64_t))
        if keys.shape[0]:
            self.keys = <uint32_t *> copy(&keys[0], keys.shape[0] * sizeof(uint32_t))
        slot_of_split = self._make_slots()
        if len(forest.depths):
            self._place_levels(slot_of_split)
        else:
            self._place_nodes(slot_of_split)

    def __dealloc__(self):
        free(self.nodes)
        free(self.slots)
        free(self.depths)
        free(self.leaves)
        free(self.sets)
        free(self.keys)

    def __reduce__(self):
        return ForestKernel, (self.forest,)

    def _make_slots(self):
        """Decides which values a row is prepared into; gives the slot that each split asks."""
        forest = self.forest
        features = forest.split_features.astype(np.int64)
        categorical = forest.split_sets >= 0
        widths = forest.category_widths
        columns = np.unique(features[categorical])
        wide = columns[widths[columns] > NARROW]
        narrow = columns[widths[columns] <= NARROW]
        asked = features * 4 + forest.split_missing
        pairs, place = np.unique(asked[~categorical], return_inverse=True)
        self.num_wide = len(wide)
        self.num_categorical = len(wide) + len(narrow)
        self.num_slots = self.num_categorical + 1 + len(pairs)
        self.slots = <Slot *> calloc(self.num_slots, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError
        slot_of_column = np.zeros(forest.num_features, dtype=np.uint32)
        cdef Py_ssize_t slot = 0
        for column in [*wide.tolist(), *narrow.tolist()]:
            slot_of_column[column] = slot
            self.slots[slot].column = column
            self.slots[slot].rule = CODE
            self.slots[slot].width = widths[column]
            self.slots[slot].first_key = (
                forest.key_starts[column] if forest.library == "catboost" else -1
            )
            slot += 1
        self.slots[slot].rule = LEAF
        slot += 1
        for pair in pairs.tolist():
            self.slots[slot].column = pair // 4
            self.slots[slot].rule = pair % 4
            slot += 1
        slot_of_split = slot_of_column[features]
        slot_of_split[~categorical] = self.num_categorical + 1 + place
        return np.ascontiguousarray(slot_of_split, dtype=np.uint32)

    cdef void _fill(
        self, Node *node, Py_ssize_t split, uint32_t slot,
        const double[::1] thresholds, const int64_t[::1] first_words,
    ) noexcept:
        node.slot = slot
        if slot < self.num_wide:
            node.bound.first = <uint64_t> first_words[split]
        elif slot < self.num_categorical:
            node.bound.mask = self.sets[first_words[split]]
        else:
            node.bound.threshold = thresholds[split]

    def _place_levels(self, const uint32_t[::1] slots):
        forest = self.forest
        cdef const double[::1] thresholds = forest.split_thresholds, leaves = forest.leaf_values
        cdef const int64_t[::1] first_words = forest.split_sets
        cdef const int32_t[::1] depths = forest.depths
        cdef Py_ssize_t split
        self.depths = <int32_t *> copy(&depths[0], depths.shape[0] * sizeof(int32_t))
        self.leaves = <double *> copy(&leaves[0], leaves.shape[0] * sizeof(double))
        self.nodes = <Node *> calloc(slots.shape[0] + 1, sizeof(Node))
        if self.nodes == NULL:
            raise MemoryError
        for split in range(slots.shape[0]):
            self._fill(&self.nodes[split], split, slots[split], thresholds, first_words)

    def _place_nodes(self, const uint32_t[::1] slots):
        """Roots first, then children in pairs that share half a cache line."""
        forest = self.forest
        cdef const double[::1] thresholds = forest.split_thresholds, leaves = forest.leaf_values
        cdef const int64_t[::1] first_words = forest.split_sets
        cdef const int32_t[::1] left = forest.left, right = forest.right, roots = forest.roots
        cdef Py_ssize_t num_splits = slots.shape[0], split, tree
        cdef size_t next_pair = (self.num_trees + LANES - 1) // LANES * LANES
        cdef size_t num_nodes = next_pair + 2 * <size_t> num_splits
        if num_nodes >= 2 ** 32:
            raise DataError(f"'split_features' has {num_splits} splits; 2**31 are too many.")
        cdef Node *nodes = <Node *> aligned_alloc(64, (num_nodes + 4) // 4 * 64)
        if nodes == NULL:
            raise MemoryError
        self.nodes = nodes
        cdef uint32_t leaf_slot = self.num_categorical
        positions = np.zeros(num_splits + 1, dtype=np.uint32)
        cdef uint32_t[::1] position = positions
        cdef uint32_t at
        cdef int32_t child
        cdef int side
        for tree in range(<Py_ssize_t> next_pair):  # the last group is filled up with zeros
            nodes[tree].bound.threshold = 0.0
            nodes[tree].slot = leaf_slot
            nodes[tree].child = <uint32_t> tree
        for tree in range(self.num_trees):
            if roots[tree] >= 0:
                position[roots[tree]] = <uint32_t> tree
            else:
                nodes[tree].bound.threshold = leaves[-1 - roots[tree]]
        for split in range(num_splits):  # a child comes after its parent, which has placed it
            at = position[split]
            self._fill(&nodes[at], split, slots[split], thresholds, first_words)
            nodes[at].child = <uint32_t> next_pair
            for side in range(2):
                child = right[split] if side else left[split]
                if child >= 0:
                    position[child] = <uint32_t> next_pair
                else:
                    nodes[next_pair].bound.threshold = leaves[-1 - child]
                    nodes[next_pair].slot = leaf_slot
                    nodes[next_pair].child = <uint32_t> next_pair
                next_pair += 1

    cdef void prepare(self, const double *row, Bound *values) noexcept nogil:
        cdef Py_ssize_t i
        cdef const Slot *slot
        cdef double value, lowest
        cdef bint missing
        for i in range(self.num_categorical):
            slot = &self.slots[i]
            value = row[slot.column]
            if slot.first_key >= 0:
                values[i].mask = find_key(
                    self.keys + slot.first_key, slot.width, hash_category(value)
                )
                continue
            if self.single_row:
                value = <double> <float> value
            if value != value:
                values[i].mask = slot.width + 1
            elif value < slot.width and (
                value > -1.0 if self.drops_fraction_first else value >= 0.0
            ):
                values[i].mask = <uint64_t> <int64_t> value
            else:
                values[i].mask = slot.width
        values[self.num_categorical].threshold = -INFINITY
        for i in range(self.num_categorical + 1, self.num_slots):
            slot = &self.slots[i]
            value = row[slot.column]
            if self.single_row:
                value = <double> <float> value
            missing = value != value
            if slot.rule & ZERO:
                missing |= fabs(value) <= ALMOST_ZERO
            if missing:
                value = NAN if slot.rule & RIGHT else -INFINITY
            values[i].threshold = value

    cdef double walk(self, const Bound *values) noexcept nogil:
        cdef double total
        cdef int mode = 2 if self.num_wide else (1 if self.num_categorical else 0)
        # The mode is a constant at each call, so that each has a loop of its own.
        if self.depths != NULL:
            if mode == 0:
                total = walk_levels(
                    self.nodes, values, self.sets, self.num_trees, 0, 0, self.start,
                    self.depths, self.leaves, 0,
                )
            elif mode == 1:
                total = walk_levels(
                    self.nodes, values, self.sets, self.num_trees, self.num_categorical, 0,
                    self.start, self.depths, self.leaves, 1,
                )
            else:
                total = walk_levels(
                    self.nodes, values, self.sets, self.num_trees, self.num_categorical,
                    self.num_wide, self.start, self.depths, self.leaves, 2,
                )
        elif mode == 0:
            total = walk_nodes(
                self.nodes, values, self.sets, self.num_trees, 0, 0,
                self.start, self.single_sum, 0,
            )
        elif mode == 1:
            total = walk_nodes(
                self.nodes, values, self.sets, self.num_trees, self.num_categorical, 0,
                self.start, self.single_sum, 1,
            )
        else:
            total = walk_nodes(
                self.nodes, values, self.sets, self.num_trees, self.num_categorical,
                self.num_wide, self.start, self.single_sum, 2,
            )
        return total * self.scale / self.divisor + self.shift

    cdef double margin(self, const double *row) noexcept nogil:
        """Margin of F numbers; NaN if there is no memory for more than 512 prepared values."""
        cdef Bound few[STACK]
        cdef Bound *values = few
        cdef double result
        if self.num_slots > STACK:
            values = <Bound *> malloc(self.num_slots * sizeof(Bound))
            if values == NULL:
                return NAN
        self.prepare(row, values)
        result = self.walk(values)
        if values != few:
            free(values)
        return result

    def margin_row(self, row):
        """Margin of one row.

        Args:
            row: A contiguous buffer of F float64, as a NumPy array; NaN is missing.

        Returns:
            A float.

        Raises:
            DataError: `row` is something else.
        """
        cdef Py_buffer view
        cdef bint right
        cdef double result = 0
        if not PyObject_CheckBuffer(row):
            raise DataError(f"A row must be an array of float64, not {type(row).__name__!r}.")
        try:
            PyObject_GetBuffer(row, &view, PyBUF_ND | PyBUF_FORMAT)
        except (BufferError, ValueError) as error:
            raise DataError(f"A row must be a contiguous array of float64: {error}.") from error
        right = (
            view.ndim == 1 and view.shape[0] == self.num_features and view.itemsize == 8
            and view.format != NULL and view.format[0] == 100 and view.format[1] == 0  # "d"
        )
        if right:
            result = self.margin(<const double *> view.buf)
        PyBuffer_Release(&view)
        if not right:
            raise DataError(f"A row must be {self.num_features} contiguous values of float64.")
        return result

    def margins(self, matrix):
        """Margins of rows, computed without the interpreter lock.

        Args:
            matrix: Rows, shape (B, F); NaN is missing, a category is its code.

        Returns:
            float64 of shape (B,), the bits of `Forest.margins`.

        Raises:
            DataError: The matrix is not two-dimensional or has another number of columns.
        """
        array = np.ascontiguousarray(matrix, dtype=np.float64)
        if np.ndim(matrix) != 2 or array.shape[1] != self.num_features:
            raise DataError(
                f"The rows have shape {np.shape(matrix)}; "
                f"this forest needs (rows, {self.num_features})."
            )
        result = np.empty(len(array))
        cdef const double[:, ::1] rows = array
        cdef double[::1] margins = result
        cdef Py_ssize_t row
        cdef Bound *values = <Bound *> malloc(self.num_slots * sizeof(Bound))
        if values == NULL:
            raise MemoryError
        with nogil:
            for row in range(rows.shape[0]):
                self.prepare(&rows[row, 0], values)
                margins[row] = self.walk(values)
        free(values)
        return result
