import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tadka.core.document import read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("010", 10),
        ("0o10", 8),
        ("0xff", 255),
        ("1_000", 1000),
        ("-7", -7),
        ("1:30", "1:30"),
        ("1.2.3", "1.2.3"),
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1e-3'", "1e-3"),
        ("e5", "e5"),
        (".", "."),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = read_yaml(text)

    assert value == found
    assert type(value) is type(found)


def test_not_a_number_is_read() -> None:
    assert math.isnan(read_yaml(".nan"))


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "{a: 1, a: 1}", "x:\n  1: a\n  1: b"])
def test_equal_keys_are_an_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match=r"key '[a1]' stands twice"):
        read_yaml(text)


def test_merged_keys_may_be_overridden() -> None:
    text = "base: &base {a: 1, b: 2}\nown:\n  <<: *base\n  b: 3\n"

    assert {"a": 1, "b": 3} == read_yaml(text)["own"]


def test_python_objects_are_refused() -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml("!!python/object/apply:os.getcwd []")
    with pytest.raises(yaml.YAMLError):
        write_yaml(object())


def test_order_of_keys_is_kept() -> None:
    assert "b: 1\na: 2\n" == write_yaml({"b": 1, "a": 2})


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
texts = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))
) | st.sampled_from(
    [
        "1e-3",
        "on",
        "yes",
        "010",
        "1:30",
        "null",
        "",
        "1_0",
        ".inf",
        "0x1",
        "<<",
        "true",
        "2026-01-01",
    ]
)


@given(st.dictionaries(texts, st.recursive(scalars | texts, st.lists, max_leaves=5)))
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    assert value == read_yaml(write_yaml(value))
