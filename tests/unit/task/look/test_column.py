from typing import Any

import pytest

from tadka.task.look.column import columns_table
from tests.unit.task.look.made import DESCRIPTION, EVIL, Elements


def test_a_row_for_each_column_with_what_is_known_of_it() -> None:
    found = Elements(columns_table(DESCRIPTION))

    assert [] == found.open
    assert 1 + 4 == found.count("tr")
    for text in ("user", "int64", "3,239", "of 4,000 rows", "4,493", "25 %", "all 41",
                 "2026-01-01 … 2026-01-31 10:00:00"):  # fmt: skip
        assert text in found.text, text
    assert "<0.1 %" in found.text


def test_a_histogram_has_a_bar_for_each_bin_with_values() -> None:
    found = Elements(columns_table(DESCRIPTION))
    (path,) = [a["d"] for tag, a in found.found if tag == "path" and a.get("class") == "bins"]

    assert "M0.5 27v-27.0h65.7v27.0zM133.8 27v-13.5h65.7v13.5z" == path
    assert "150 values from 1 to 9,000; most, 100, from 1 to 3,000" in found.values("aria-label")


def test_what_has_no_columns_has_no_table() -> None:
    assert "" == columns_table({})
    assert "" == columns_table({"num_rows": 3, "columns": {}})


def test_only_the_first_of_many_columns_have_statistics() -> None:
    found = Elements(columns_table({"columns": {f"c{i}": "int64" for i in range(300)}}))

    assert 1 + 40 == found.count("tr")
    assert "260 more columns" in found.text
    assert "c239" in found.text
    assert "c240" not in found.text
    assert "and 60 more" in found.text


@pytest.mark.parametrize(
    "statistics",
    [
        {"nulls": 10**9, "min": -1e308, "max": 1e308, "mean": 1e-300,
         "histogram": {"edges": [-1e308, 0, 1e308], "counts": [1, 0]}},
        {"nulls": None, "min": -(10**400), "max": 10**400, "mean": 10**400},
        {"histogram": {"edges": [1], "counts": [1, 2]}},
        {"histogram": {"edges": [], "counts": []}},
        {"histogram": {"edges": [0, 1], "counts": [0]}},
        {"histogram": None, "min": EVIL, "max": EVIL + "b", "distinct": None},
        {},
        None,
    ],
)  # fmt: skip
def test_odd_statistics_make_a_table(statistics: Any) -> None:
    found = Elements(
        columns_table({"num_rows": 5, "columns": {EVIL: EVIL}, "statistics": {EVIL: statistics}})
    )

    assert [] == found.open
    assert 2 == found.count("tr")
    assert 0 == found.count("script") == found.count("img")
