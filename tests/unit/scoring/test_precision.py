"""Parameters in float32, float16 and bfloat16."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError
from tadka.scoring.precision import (
    PRECISIONS,
    check_finite,
    from_precision,
    name_precision,
    to_precision,
)

ALL_HALVES = np.arange(2**16, dtype=np.uint32).astype(np.uint16)


def test_every_bfloat16_number_survives_the_way_there_and_back() -> None:
    numbers = from_precision(ALL_HALVES)
    finite = np.isfinite(numbers)

    back = to_precision(numbers, "bfloat16")

    assert np.array_equal(ALL_HALVES[finite], back[finite])
    assert np.array_equal(np.isnan(numbers), np.isnan(from_precision(back)))
    assert np.array_equal(np.isinf(numbers), np.isinf(from_precision(back)))


def test_every_float16_number_survives_the_way_there_and_back() -> None:
    numbers = from_precision(ALL_HALVES.view(np.float16))

    assert np.array_equal(
        ALL_HALVES.view(np.float16), to_precision(numbers, "float16"), equal_nan=True
    )


@settings(deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bfloat16_is_the_nearest_number_and_ties_go_to_even(number: float) -> None:
    below = np.float32(number).view(np.uint32) >> 16
    bits = np.array([below, below + 1], np.uint32)
    low, high = ((bits << 16).view(np.float32)).astype(np.float64)
    if not np.isfinite(high):
        return
    if abs(number - low) != abs(high - number):
        expected = low if abs(number - low) < abs(high - number) else high
    else:
        expected = low if below % 2 == 0 else high

    rounded = from_precision(to_precision(np.array([number], np.float32), "bfloat16"))

    assert expected == rounded[0]


def test_nan_with_low_bits_only_stays_nan() -> None:
    numbers = np.array([0x7F800001, 0xFFFFFFFF, 0x7FFFFFFF], np.uint32).view(np.float32)

    assert np.isnan(from_precision(to_precision(numbers, "bfloat16"))).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3, 4)])
def test_the_shape_stays(precision: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, np.float64)

    stored = to_precision(array, precision)

    assert shape == stored.shape
    assert precision == name_precision(stored)
    assert np.array_equal(array, from_precision(stored))


def test_a_transposed_array_keeps_its_places() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T

    stored = to_precision(array, "bfloat16")

    assert stored.flags.c_contiguous
    assert np.array_equal(array, from_precision(stored))


@pytest.mark.parametrize(
    ("number", "precision"),
    [(65520.0, "float16"), (3.4e38, "bfloat16"), (1e39, "float32"), (-1e300, "bfloat16")],
)
def test_a_number_that_is_too_large_is_named(number: float, precision: str) -> None:
    with pytest.raises(DataError, match=f"too large for {precision}; the largest number is"):
        to_precision(np.array([[0.0, number]]), precision)


def test_infinity_stays_for_check_finite_to_find() -> None:
    stored = to_precision(np.array([np.inf, -np.inf]), "bfloat16")

    assert [np.inf, -np.inf] == from_precision(stored).tolist()


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(ConfigError, match="'fp8' is not known; it must be one of float32"):
        to_precision(np.zeros(1), "fp8")


@pytest.mark.parametrize("dtype", ["int32", "complex64", "U3", ">f4", ">u2"])
def test_an_array_of_another_type_holds_no_parameters(dtype: str) -> None:
    with pytest.raises(DataError, match="holds no parameters"):
        to_precision(np.zeros(2, dtype), "float32")


def test_uint16_is_bfloat16_unless_it_was_saved_as_integers() -> None:
    array = np.zeros(1, np.uint16)

    assert "bfloat16" == name_precision(array)
    assert "bfloat16" == name_precision(array, "bfloat16")
    assert "uint16" == name_precision(array, "uint16")
    assert "int32" == name_precision(np.zeros(1, np.int32), "bfloat16")
    assert ">f4" == name_precision(np.zeros(1, ">f4"))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_the_first_number_that_is_not_finite_is_named_with_its_place(
    precision: str, wrong: float
) -> None:
    array = np.ones((3, 4, 2), np.float32)
    array[2, 1, 1] = array[2, 3, 0] = wrong

    with pytest.raises(DataError, match=rf"'latent' has the value {wrong} at \[2, 1, 1\]"):
        check_finite("latent", to_precision(array, precision))


def test_a_wrong_number_far_behind_is_found(tmp_path: Path) -> None:
    array = np.zeros(2_500_000, np.float16)
    array[2_400_000] = np.nan
    np.save(tmp_path / "linear.npy", array)

    with pytest.raises(DataError, match=r"\[2400000\]"):
        check_finite("linear", np.load(tmp_path / "linear.npy", mmap_mode="r"))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(0, np.float32),
        np.array([65504.0], np.float16),
        np.array([0x7F7F], np.uint16),
        np.array([-1], np.int32),
        np.array(1.0),
    ],
)
def test_finite_numbers_and_integers_pass(array: npt.NDArray[np.generic]) -> None:
    check_finite("any", array)
