# ruff: noqa: DTZ001 - naive times are UTC in this room
from datetime import datetime
from typing import Annotated

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.features import Features, Number, SparseRows
from tadka.features.check import Check, collisions, texts_of


class Impression(Features, size=3):
    time: datetime
    user: str | None
    tags: list[str]
    price: Annotated[float, Number()] = 0.0

    @property
    def hour(self) -> int:
        return self.time.hour

    @property
    def joined(self) -> str:
        return "".join(tag for tag in sorted(self.tags))


def table(num_rows: int = 10) -> pa.Table:
    return pa.table(
        {
            "time": [datetime(2024, 1, 1, i % 24) for i in range(num_rows)],
            "user": [None if i % 5 == 0 else f"u{i}" for i in range(num_rows)],
            "tags": pa.array([["b", "a"][: i % 3] for i in range(num_rows)], pa.list_(pa.string())),
            "price": [float(i) for i in range(num_rows)],
        }
    )


def test_equal_bits_and_figures_of_each_feature() -> None:
    check = Check(Impression)
    check.add(table().slice(0, 7))
    check.add(table().slice(7))
    found = check.to_dict()
    told = {feature["name"]: feature for feature in found["features"]}

    assert (10, True, None) == (found["rows"], found["equal"], found["difference"])
    assert (10, 2, 9) == tuple(told["user"][key] for key in ("values", "missing", "distinct"))
    assert told["user"]["collisions"] >= 6
    assert (9, 2) == (told["tags"]["values"], told["tags"]["distinct"])
    assert None is told["price"]["collisions"]
    assert [None, "u1", "u2"] == [example["value"] for example in told["user"]["examples"]]
    assert ["0.0", "1.0", "2.0"] == [example["value"] for example in told["price"]["examples"]]
    assert [3, 3, 3] == [example["slot"] for example in told["price"]["examples"]]
    assert "property" == told["hour"]["kind"]
    assert told["hour"]["compiled"]
    assert not told["joined"]["compiled"]
    assert told["joined"]["line"] is not None
    assert collisions(check.explanations[0], check.observed[0]) == told["user"]["collisions"]


def test_the_first_difference_is_named_with_row_feature_and_entries() -> None:
    check = Check(Impression)
    truth = check._python.encode(table(3))
    slots = truth.slots.copy()
    slots[-1] = (slots[-1] + 1) % 3
    other = SparseRows(
        truth.starts, slots, truth.values, truth.features, truth.num_slots, truth.num_features
    )

    assert None is check._compare(truth, truth, "w", 100)
    message = check._compare(truth, other, "messages, compiled", 100)
    assert message is not None
    assert message.startswith(f"Row 102, feature 'joined': [({truth.slots[-1]}, 1.0)] from columns")
    assert f"and [({slots[-1]}, 1.0)] from messages, compiled" in message
    order = np.r_[1, 0, 2 : len(truth.slots)]
    turned = SparseRows(
        truth.starts,
        truth.slots[order],
        truth.values[order],
        truth.features[order],
        truth.num_slots,
        truth.num_features,
    )
    assert "another order" in str(check._compare(truth, turned, "w", 0))


def test_a_property_that_depends_on_more_than_the_row_is_found() -> None:
    seen: list[int] = []

    class Counting(Features):
        n: int

        @property
        def count(self) -> int:
            seen.append(1)
            return len(seen)

    check = Check(Counting)
    check.add(pa.table({"n": [1, 2]}))

    assert check.difference is not None
    assert "Row 0, feature 'count'" in check.difference
    assert not check.to_dict()["equal"]


def test_a_raising_property_is_named_with_the_row_of_all_data() -> None:
    class Row(Features):
        n: int

        @property
        def inverse(self) -> float:
            return 1 / self.n

    check = Check(Row)
    check.add(pa.table({"n": [1, 2]}))

    with pytest.raises(DataError, match=r"'inverse' raised ZeroDivisionError.* row 3"):
        check.add(pa.table({"n": [1, 0]}))


def test_texts_of_fields_and_properties_are_those_of_a_vocabulary() -> None:
    assert ["u1", "u2"] == list(texts_of(Impression, "user", table(3)))
    assert ["b", "b", "a"] == list(texts_of(Impression, "tags", table(3)))
    assert ["0", "1", "2"] == list(texts_of(Impression, "hour", table(3)))


def test_what_has_no_words_is_refused() -> None:
    with pytest.raises(DataError, match="'Impression' has no 'usr'; it has: time, user"):
        list(texts_of(Impression, "usr", table()))
    with pytest.raises(DataError, match="'price' of 'Impression' is float"):
        list(texts_of(Impression, "price", table()))
    with pytest.raises(DataError, match="no column 'user'"):
        list(texts_of(Impression, "user", table().select(["time"])))
