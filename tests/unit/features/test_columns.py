# ruff: noqa: DTZ001 - naive times are UTC in this room
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.features import Features, Skip
from tadka.features.columns import Columns, canonical_type, read_batches

make_class: Any = type(Features)


def read(annotation: Any, array: Any, first_row: int = 0) -> list[Any]:
    """Values of a field of this type that come from an array."""
    hints = {"x": Annotated[annotation, Skip()], "n": int}
    cls = make_class("Row", (Features,), {"__annotations__": hints})
    columns = Columns("Row", cls._declaration.fields[:1])
    table = pa.table({"x": array})
    columns.check(table.schema)
    (batch,) = table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
    made = columns.cast(batch, first_row)
    assert canonical_type(cls._declaration.fields[0].shape) == made.schema.field(0).type
    made.validate(full=True)
    return columns.values(made)[0]


NOON = datetime(2024, 2, 29, 12)


@pytest.mark.parametrize(
    ("annotation", "array", "expected"),
    [
        (str, pa.array(["a", "日"], pa.large_string()), ["a", "日"]),
        (str, pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (str | None, pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (str, pa.DictionaryArray.from_arrays([1, 0], ["x", "y"]), ["y", "x"]),
        (str | None, pa.nulls(2), [None, None]),
        (int | None, pa.nulls(1), [None]),
        (datetime | None, pa.nulls(1), [None]),
        (bool | None, pa.nulls(1), [None]),
        (float | None, pa.nulls(1), [None]),
        (list[int], pa.nulls(2), [[], []]),
        (str, pa.nulls(0), []),
        (int, pa.array([-1, 5], pa.int8()), [-1, 5]),
        (int, pa.array([5], pa.uint32()), [5]),
        (int, pa.array([2**63 - 1], pa.uint64()), [2**63 - 1]),
        (int | None, pa.array([3, None], pa.uint64()), [3, None]),
        (int, pa.array([300]).dictionary_encode(), [300]),
        (float, pa.array([0.1], pa.float32()), [float(np.float32(0.1))]),
        (float | None, pa.array([np.float16(0.1), None]), [float(np.float16(0.1)), None]),
        (float, pa.array([2**53 + 1]), [2.0**53]),
        (float, pa.array([7], pa.uint8()), [7.0]),
        (bool, pa.array([True, False]), [True, False]),
        (datetime, pa.array([date(1969, 12, 31)]), [datetime(1969, 12, 31)]),
        (datetime, pa.array([date(1, 1, 1)], pa.date64()), [datetime(1, 1, 1)]),
        (datetime, pa.array([NOON], pa.timestamp("s")), [NOON]),
        (datetime, pa.array([NOON], pa.timestamp("ms", tz="Asia/Tokyo")), [NOON]),
        (datetime | None, pa.array([NOON, None], pa.timestamp("us")), [NOON, None]),
        (
            datetime,
            pa.array([1_999, -1], pa.timestamp("ns")),
            [datetime(1970, 1, 1, 0, 0, 0, 1), datetime(1969, 12, 31, 23, 59, 59, 999999)],
        ),
        (list[str], pa.array([["a"], None, [], ["b", "c"]]), [["a"], [], [], ["b", "c"]]),
        (list[int], pa.array([[1], [2]], pa.large_list(pa.int8())), [[1], [2]]),
        (list[int], pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), [[1, 2], []]),
        (list[float], pa.array([[1], [2, 3]]), [[1.0], [2.0, 3.0]]),
        (list[datetime], pa.array([[NOON], []], pa.list_(pa.timestamp("ms"))), [[NOON], []]),
        (list[str], pa.array([["a", "a"], ["b"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
         [["a", "a"], ["b"]]),
        (list[str], pa.array([["a"], [None, "b"], ["c"]])[2:], [["c"]]),
        (int, pa.array([None, 1, 2])[1:], [1, 2]),
    ],
)  # fmt: skip
def test_a_column_becomes_the_field_s_values(annotation: Any, array: Any, expected: Any) -> None:
    assert expected == read(annotation, array)


@pytest.mark.parametrize(
    ("annotation", "array", "message"),
    [
        (int, pa.array([1.0]), "Column 'x' has the type double, which the field's type int does"),
        (int, pa.array([True]), "type bool, which the field's type int"),
        (int, pa.array(["1"]), "type string"),
        (str, pa.array([1]), "type int64, which the field's type str"),
        (str, pa.array([b"a"]), "type binary"),
        (float, pa.array([True]), "type bool"),
        (bool, pa.array([1]), "type int64"),
        (datetime, pa.array([1]), "type int64"),
        (datetime, pa.array(["2024-01-01"]), "type string"),
        (list[str], pa.array(["a"]), "type string"),
        (list[str], pa.array([[1]]), "type list<"),
        (str, pa.array([["a"]]), "type list<"),
        (str, pa.array(["a", None]), "Row 11: field 'x' is missing, but its type is str. Annotate"),
        (int, pa.nulls(1), "Row 10: field 'x' is missing"),
        (int, pa.array([1, 2**63], pa.uint64()), "Row 11: field 'x' is 9223372036854775808; an"),
        (list[int], pa.array([[1], [], [2, 2**64 - 1]], pa.list_(pa.uint64())),
         "Row 12: an item of field 'x' is 18446744073709551615"),
        (list[str], pa.array([["a"], [], ["b", None]]), "Row 12: an item of field 'x' is missing"),
        (datetime, pa.array([0, 2**62], pa.timestamp("s")), "Row 11: field 'x' is the time 46116"),
        (datetime, pa.array([-(2**62)], pa.timestamp("us")), "outside the years 1 to 9999"),
        (datetime, pa.array([2**31 - 1], pa.int32()).view(pa.date32()), "outside the years"),
        (list[datetime], pa.array([[], [2**62]], pa.list_(pa.timestamp("ms"))), "Row 11: an item"),
    ],
)  # fmt: skip
def test_a_column_that_the_field_does_not_take_is_named(
    annotation: Any, array: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(annotation, array, first_row=10)


class Row(Features):
    user: str
    site: str = ""


def test_a_missing_column_is_named_with_close_ones_and_more_columns_are_ignored() -> None:
    with pytest.raises(
        DataError, match=r"no column 'user', .* Did you mean 'users'. They have: us"
    ):
        Row.encode(pa.table({"users": ["a"], "site": ["b"]}))
    with pytest.raises(DataError, match=r"no column 'user', .* They have: none"):
        Row.encode(pa.table({}))
    with pytest.raises(DataError, match="2 columns 'user'"):
        Row.encode(pa.table([pa.array(["a"])] * 3, names=["user", "user", "site"]))

    more = pa.table({"label": [1], "site": ["b"], "user": ["a"]})
    assert Row.encode([Row("a", "b")]).slots.tolist() == Row.encode(more).slots.tolist()


def test_the_row_of_an_error_counts_over_all_batches() -> None:
    table = pa.concat_tables(
        [
            pa.table({"user": ["a"] * 3, "site": ["b"] * 3}),
            pa.table({"user": ["a", None], "site": ["b"] * 2}),
        ]
    )

    with pytest.raises(DataError, match="Row 4: field 'user' is missing"):
        Row.encode(table)


def test_tables_of_other_libraries_and_readers_are_read() -> None:
    pd = pytest.importorskip("pandas")
    table = pa.table({"user": ["a", "日"], "site": ["b", ""]})
    expected = Row.encode(table).slots.tolist()

    assert expected == Row.encode(table.to_reader()).slots.tolist()
    assert expected == Row.encode(table.to_batches()[0]).slots.tolist()
    assert (
        expected
        == Row.encode(pd.DataFrame({"user": ["a", "日"], "site": ["b", ""]})).slots.tolist()
    )


def test_an_arrow_object_that_is_no_table_is_refused() -> None:
    for array in (pa.array([1]), pa.chunked_array([[1]])):
        with pytest.raises(DataError, match="is no table of columns"):
            read_batches(array)


def test_a_struct_array_is_a_record_batch() -> None:
    array = pa.array([{"user": "a", "site": "b"}])

    assert Row.encode([Row("a", "b")]).slots.tolist() == Row.encode(array).slots.tolist()


def test_time_zones_do_not_change_the_instant() -> None:
    class Timed(Features):
        time: datetime

        @property
        def hour(self) -> int:
            return self.time.hour

    tokyo = datetime(2024, 1, 1, 3, tzinfo=timezone(timedelta(hours=9)))
    expected = Timed.encode([Timed(datetime(2023, 12, 31, 18))]).slots.tolist()

    assert expected == Timed.encode([Timed(tokyo)]).slots.tolist()
    for kind in (pa.timestamp("us", tz="Asia/Tokyo"), pa.timestamp("ns", tz="+09:00")):
        column = pa.array([tokyo.astimezone(UTC)], kind)
        assert expected == Timed.encode(pa.table({"time": column})).slots.tolist()
