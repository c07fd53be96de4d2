import dataclasses
import pickle
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.models.define.column import DTYPES, Column


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [
        ("int64", "int32", True),
        ("int64", "uint32", True),
        ("int64", "bool", True),
        ("int64", "float64", False),
        ("int64", "string", False),
        ("float32", "int64", True),
        ("float32", "float64", True),
        ("float32", "string", False),
        ("string", "int64", False),
        ("key", "string", True),
        ("key", "int64", True),
        ("key", "float32", False),
        ("int32", "int64", False),
        ("list[int64]", "list[int32]", True),
        ("list[int64]", "int64", False),
        ("int64", "list[int64]", False),
        ("list[float32]", "list[string]", False),
    ],
)
def test_narrower_data_will_do_and_text_does_not_for_numbers(
    asked: str, given: str, expected: bool
) -> None:
    assert expected is Column("x", asked).accepts(given)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_type_accepts_itself_except_key(dtype: str) -> None:
    assert (dtype != "key") is Column("x", dtype).accepts(dtype)


def test_vocabulary_is_of_the_columns_own_name_or_of_the_one_given() -> None:
    assert "user" == Column("user", "int64", vocabulary=True).vocabulary_name
    assert "item" == Column("history", "list[int64]", vocabulary="item").vocabulary_name
    assert "" == Column("age", "int64").vocabulary_name


def test_column_is_a_value_that_travels() -> None:
    column = Column("label", "float32", role="label", values=[0, 1], null_share=0.1)  # type: ignore[arg-type]

    assert (0, 1) == column.values
    assert column == pickle.loads(pickle.dumps(column))
    assert column != dataclasses.replace(column, null_share=0.2)
    assert hash(column) == hash(pickle.loads(pickle.dumps(column)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": ""}, "must be a text"),
        ({"dtype": "int46"}, "Did you mean 'int64'"),
        ({"dtype": "complex"}, "Known types: bool"),
        ({"role": "target"}, "one of feature, label, id, time"),
        ({"dtype": "float32", "vocabulary": True}, "whole numbers or texts"),
        ({"dtype": "list[float32]", "vocabulary": "item"}, "whole numbers or texts"),
        ({"vocabulary": 3}, "name of a vocabulary"),
        ({"null_share": 1.5}, "share from 0 to 1"),
        ({"null_share": True}, "share from 0 to 1"),
        ({"null_share": float("nan")}, "share from 0 to 1"),
        ({"low": 5, "high": 1}, "Exchange low and high"),
    ],
)
def test_wrong_columns_are_refused_with_what_is_accepted(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Column(**{"name": "x", **given})
