import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadka.core.error import ConfigError
from tadka.core.resource import Resources, format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("1K", 1024),
        ("512M", 512 * 2**20),
        ("512 MiB", 512 * 2**20),
        ("512mb", 512 * 2**20),
        ("1.5G", 3 * 2**29),
        (".5k", 512),
        ("2T", 2**41),
        (" 3G ", 3 * 2**30),
        (123, 123),
    ],
)
def test_sizes_are_read_in_binary_units(text: str | int, num_bytes: int) -> None:
    assert num_bytes == parse_bytes(text)


@pytest.mark.parametrize("text", ["", "M", "5X", "-1", "1,5G", "1e3", "5 M B", "٣", True, -1, 1.5])
def test_other_sizes_are_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match=r"Size .* is not understood; it must be a number of"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1K"),
        (3 * 2**29, "1.5G"),
        (-(2**20), "-1M"),
        (2**50, "1024T"),
    ],
)
def test_sizes_are_written_in_the_largest_unit(num_bytes: int, text: str) -> None:
    assert text == format_bytes(num_bytes)


@given(st.integers(0, 2**50))
def test_written_size_is_within_a_twentieth_of_the_size(num_bytes: int) -> None:
    assert abs(parse_bytes(format_bytes(num_bytes)) - num_bytes) <= num_bytes * 0.05


def test_defaults_ask_for_one_core_and_no_limit() -> None:
    resources = Resources()

    assert (1, 0, 1) == (resources.cpu, resources.gpu, resources.replicas)
    assert resources.memory_bytes is None


def test_memory_is_given_in_bytes_too() -> None:
    assert 512 * 2**20 == Resources(memory="512M").memory_bytes
    assert 100 == Resources(memory=100).memory_bytes


def test_resources_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Resources().cpu = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        ("cpu", 0, "a number above 0"),
        ("cpu", float("nan"), "a number above 0"),
        ("cpu", float("inf"), "a number above 0"),
        ("cpu", "2", "a number above 0"),
        ("cpu", True, "a number above 0"),
        ("memory", "5X", "such as '512M'"),
        ("memory", 0, "above 0, or None"),
        ("memory", 1.5, "above 0, or None"),
        ("gpu", -1, "a whole number, at least 0"),
        ("gpu", 0.5, "a whole number, at least 0"),
        ("replicas", 0, "a whole number, at least 1"),
        ("image", " ", "the name of an image, or None"),
        ("timeout_s", 0, "seconds above 0, or None"),
    ],
)
def test_wrong_field_is_named_with_its_value_and_what_is_accepted(
    field: str, value: Any, accepted: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Resources(**{field: value})

    assert f"Resources field {field!r} is {value!r}; it must be " in str(caught.value)
    assert accepted in str(caught.value)
