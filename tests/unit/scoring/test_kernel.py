"""Compiled forward passes against NumPy's, and both against sums written out."""

import itertools
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError
from tadka.features.sparse import SparseRows
from tadka.scoring import backend, reference
from tadka.scoring.parameters import widen
from tadka.scoring.precision import PRECISIONS, from_precision, to_precision

kernel = pytest.importorskip(
    "tadka.scoring.kernel", reason="the compiled kernels are not built", exc_type=ImportError
)

Array = npt.NDArray[Any]
KINDS = ["linear", "fm", "ffm", "ffm normalised", "dense"]
BOTH = pytest.mark.parametrize("module", [kernel, reference], ids=["kernel", "reference"])


def rows_of(
    starts: npt.ArrayLike,
    slots: npt.ArrayLike,
    values: npt.ArrayLike,
    features: npt.ArrayLike,
    num_slots: int,
    num_features: int,
) -> SparseRows:
    return SparseRows(
        np.asarray(starts, np.int64),
        np.asarray(slots, np.int32),
        np.asarray(values, np.float32),
        np.asarray(features, np.uint16),
        num_slots,
        num_features,
    )


def make_rows(
    rng: np.random.Generator,
    num_rows: int,
    num_slots: int,
    num_features: int,
    longest: int = 12,
) -> SparseRows:
    """Rows of any length, slots and features repeated, values of any size, zero among them."""
    starts = np.r_[0, np.cumsum(rng.integers(0, longest + 1, num_rows))]
    num = int(starts[-1])
    values = rng.normal(size=num) * 10.0 ** rng.integers(-6, 7, num) * rng.integers(0, 8, num)
    return rows_of(
        starts,
        rng.integers(0, num_slots, num),
        values,
        rng.integers(0, num_features, num),
        num_slots,
        num_features,
    )


def make_parameters(
    rng: np.random.Generator,
    kind: str,
    precision: str = "float32",
    *,
    num_slots: int = 9,
    num_features: int = 5,
    dim: int = 4,
) -> dict[str, Array]:
    """Parameters from float16's subnormals up to a thousand."""

    def draw(*shape: int) -> Array:
        sizes = 2.0 ** rng.integers(-24, 10, shape)
        return to_precision(rng.normal(size=shape) * sizes, precision)

    if kind == "dense":
        widths = [num_slots, *rng.integers(1, 40, rng.integers(0, 3)), 1]
        layers = enumerate(itertools.pairwise(widths))
        return {
            name: draw(*shape)
            for number, (inputs, outputs) in layers
            for name, shape in (
                (f"weights_{number}", (inputs, outputs)),
                (f"bias_{number}", (outputs,)),
            )
        }
    parameters = {"bias": rng.normal(size=1), "linear": draw(num_slots)}
    if kind == "fm":
        parameters["latent"] = draw(num_slots, dim)
    elif kind.startswith("ffm"):
        parameters["latent"] = draw(num_slots, num_features, dim)
    return parameters


def make(module: Any, kind: str, parameters: dict[str, Array]) -> Any:
    match kind:
        case "linear":
            return module.LinearKernel(parameters)
        case "fm":
            return module.FmKernel(parameters)
        case "ffm":
            return module.FfmKernel(parameters)
        case "ffm normalised":
            return module.FfmKernel(parameters, normalize=True)
        case _:
            return module.DenseKernel(parameters)


def exact_margin(kind: str, parameters: dict[str, Array], rows: SparseRows) -> tuple[float, float]:
    """The margin of one row in rational numbers, and the sum of its absolute terms."""
    arrays = {name: from_precision(array) for name, array in parameters.items()}
    entries = [
        (int(slot), int(feature), Fraction(float(value)))
        for slot, feature, value in zip(rows.slots, rows.features, rows.values, strict=True)
    ]

    def number(value: Any) -> Fraction:
        return Fraction(float(value))

    terms = [number(arrays["bias"][0])]
    terms += [number(arrays["linear"][slot]) * x for slot, _, x in entries]
    pairs = []
    if kind != "linear":
        latent = arrays["latent"]
        for a, (slot_a, feature_a, x_a) in enumerate(entries):
            for slot_b, feature_b, x_b in entries[a + 1 :]:
                left, right = (
                    (latent[slot_a], latent[slot_b])
                    if kind == "fm"
                    else (latent[slot_a, feature_b], latent[slot_b, feature_a])
                )
                pairs += [
                    number(v) * number(w) * x_a * x_b for v, w in zip(left, right, strict=True)
                ]
    norm = sum((x * x for *_, x in entries), Fraction(0))
    if kind == "ffm normalised" and norm:
        pairs = [pair / norm for pair in pairs]
    terms += pairs
    size = sum((abs(term) for term in terms), Fraction(0))
    if kind == "fm":  # the sum of squares comes and goes again
        size += sum((number(v) * x) ** 2 for slot, _, x in entries for v in arrays["latent"][slot])
    return float(sum(terms)), float(size)


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    precision=st.sampled_from(PRECISIONS),
    seed=st.integers(0, 2**32),
    dim=st.integers(1, 37),
    num_features=st.integers(1, 40),
    num_slots=st.integers(1, 60),
    num_rows=st.integers(0, 9),
)
def test_kernel_and_reference_give_the_same_bits(
    kind: str,
    precision: str,
    seed: int,
    dim: int,
    num_features: int,
    num_slots: int,
    num_rows: int,
) -> None:
    rng = np.random.default_rng(seed)
    parameters = make_parameters(
        rng, kind, precision, num_slots=num_slots, num_features=num_features, dim=dim
    )
    rows = make_rows(rng, num_rows, num_slots, num_features, longest=40)

    expected = make(reference, kind, parameters).margins(rows)
    margins = make(kernel, kind, parameters).margins(rows)

    assert expected.tobytes() == margins.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dim", range(1, 18))
def test_every_dimension_gives_the_same_bits(kind: str, precision: str, dim: int) -> None:
    rng = np.random.default_rng(dim)
    parameters = make_parameters(rng, kind, precision, dim=dim)
    rows = make_rows(rng, 20, 9, 5)

    expected = make(reference, kind, parameters).margins(rows)

    assert expected.tobytes() == make(kernel, kind, parameters).margins(rows).tobytes()


@pytest.fixture
def _plain_build() -> Iterator[None]:
    """The build for processors without AVX2."""
    assert not kernel.use_avx2(False)
    yield
    kernel.use_avx2()


@pytest.mark.usefixtures("_plain_build")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_processors_without_avx2_give_the_same_bits(kind: str, precision: str) -> None:
    for seed in range(1, 18):
        rng = np.random.default_rng(seed)
        parameters = make_parameters(rng, kind, precision, dim=seed)
        rows = make_rows(rng, 20, 9, 5)

        expected = make(reference, kind, parameters).margins(rows)

        assert expected.tobytes() == make(kernel, kind, parameters).margins(rows).tobytes()


@pytest.mark.parametrize("width", [*range(1, 38), 64, 4096])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_width_of_a_layer_gives_the_same_bits(width: int, precision: str) -> None:
    rng = np.random.default_rng(width)
    sizes = {"weights_0": (6, width), "bias_0": (width,), "weights_1": (width, 1), "bias_1": (1,)}
    parameters = {
        name: to_precision(rng.normal(size=shape), precision) for name, shape in sizes.items()
    }
    rows = make_rows(rng, 8, 6, 3)

    expected = reference.DenseKernel(parameters).margins(rows)

    assert expected.tobytes() == kernel.DenseKernel(parameters).margins(rows).tobytes()


@BOTH
@pytest.mark.parametrize("kind", ["linear", "fm", "ffm", "ffm normalised"])
@pytest.mark.parametrize("seed", range(8))
def test_margins_are_the_exact_sum_within_rounding(module: Any, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = make_parameters(rng, kind, "float16")
    rows = make_rows(rng, 1, 9, 5)
    num = len(rows.slots)

    expected, size = exact_margin(kind, parameters, rows)
    margin = make(module, kind, parameters).margins(rows)[0]

    num_operations = 10 + num + 8 * num  # along the longest chain of roundings
    assert abs(expected - margin) <= num_operations * 2.0**-53 * size


@BOTH
def test_a_network_is_what_numpy_multiplies(module: Any) -> None:
    rng = np.random.default_rng(0)
    sizes = [(7, 5), (5,), (5, 3), (3,), (3, 1), (1,)]
    w0, b0, w1, b1, w2, b2 = (rng.normal(size=size).astype(np.float32) for size in sizes)
    rows = rows_of([0, 2, 2], [1, 6], [0.5, -2.0], [0, 1], 7, 2)
    x = np.zeros((2, 7))
    x[0, 1], x[0, 6] = 0.5, -2.0

    parameters = {
        "weights_0": w0, "bias_0": b0, "weights_1": w1, "bias_1": b1, "weights_2": w2, "bias_2": b2
    }  # fmt: skip
    expected = np.maximum(np.maximum(x @ w0 + b0, 0) @ w1 + b1, 0) @ w2 + b2

    assert module.DenseKernel(parameters).margins(rows) == pytest.approx(expected[:, 0], rel=1e-12)


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_its_single_rows(module: Any, kind: str) -> None:
    rng = np.random.default_rng(1)
    one = make(module, kind, make_parameters(rng, kind, "bfloat16"))
    rows = make_rows(rng, 50, 9, 5)

    margins = one.margins(rows)
    bound = one.bind(rows)

    assert 50 == len(bound)
    assert margins.tolist() == [bound.margin(i) for i in range(50)]
    assert margins.tolist() == [one.margin_at(rows, i) for i in range(50)]
    assert margins[7:31].tobytes() == one.margins(rows[7:31]).tobytes()
    assert margins.tobytes() == one.margins(rows, threads=3).tobytes()
    assert margins.tobytes() == one.margins(rows, threads=70).tobytes()


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_no_row_and_empty_rows_are_fine(module: Any, kind: str) -> None:
    parameters = make_parameters(np.random.default_rng(2), kind)
    one = make(module, kind, parameters)
    none = rows_of([0], [], [], [], 9, 5)
    empty = rows_of([0, 0, 0], [], [], [], 9, 5)

    assert (0,) == one.margins(none).shape
    assert (0,) == one.margins(none, threads=2).shape
    margins = one.margins(empty)
    assert margins[0] == margins[1]
    if kind != "dense":
        assert parameters["bias"].tolist() == margins[:1].tolist()


@BOTH
@pytest.mark.parametrize("kind", ["linear", "fm", "ffm", "ffm normalised"])
def test_one_entry_has_no_pairs(module: Any, kind: str) -> None:
    parameters = make_parameters(np.random.default_rng(3), kind)
    rows = rows_of([0, 1], [4], [0.5], [2], 9, 5)

    expected = parameters["bias"][0] + 0.5 * float(parameters["linear"][4])

    assert expected == pytest.approx(make(module, kind, parameters).margins(rows)[0], rel=1e-9)


@BOTH
def test_pairs_of_one_feature_and_of_one_slot_count(module: Any) -> None:
    latent = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    parameters = {"bias": np.zeros(1), "linear": np.zeros(2, np.float32), "latent": latent}
    rows = rows_of([0, 3], [0, 1, 1], [1.0, 2.0, 3.0], [2, 2, 0], 2, 3)

    expected = float(
        latent[0, 2] @ latent[1, 2] * 2
        + latent[0, 0] @ latent[1, 2] * 3
        + latent[1, 0] @ latent[1, 2] * 6
    )

    assert expected == module.FfmKernel(parameters).margins(rows)[0]
    assert expected / 14.0 == module.FfmKernel(parameters, normalize=True).margins(rows)[0]


@BOTH
def test_a_row_of_zeros_is_not_normalised(module: Any) -> None:
    parameters = make_parameters(np.random.default_rng(4), "ffm")
    rows = rows_of([0, 2], [1, 2], [0.0, 0.0], [0, 1], 9, 5)

    assert parameters["bias"][0] == module.FfmKernel(parameters, normalize=True).margins(rows)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_many_entries_gives_the_same_bits(kind: str) -> None:
    rng = np.random.default_rng(5)
    parameters = make_parameters(rng, kind, num_slots=50)
    num = 900
    rows = rows_of(
        [0, num],
        rng.integers(0, 50, num),
        rng.normal(size=num),
        rng.integers(0, 5, num),
        50,
        5,
    )

    expected = make(reference, kind, parameters).margins(rows)

    assert expected.tobytes() == make(kernel, kind, parameters).margins(rows).tobytes()


@pytest.mark.parametrize("dim", [1, 4, 16])
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("build", ["plain", "avx2"])
def test_every_16_bit_number_is_read_exactly(
    dim: int, precision: str, build: str, request: pytest.FixtureRequest
) -> None:
    if build == "plain":
        request.getfixturevalue("_plain_build")
    halves = np.arange(2**16, dtype=np.uint32).astype(np.uint16)
    array = halves.view(np.float16) if precision == "float16" else halves
    expected = widen(array)
    num = len(halves)
    rows = rows_of(np.arange(num + 1), np.arange(num), np.ones(num), np.zeros(num), num, 1)
    turned = rows_of(rows.starts, rows.slots, -rows.values, rows.features, num, 1)
    linear = kernel.LinearKernel({"bias": np.zeros(1), "linear": array})
    dense = kernel.DenseKernel(
        {
            "weights_0": np.repeat(array[:, None], dim, 1),
            "bias_0": np.zeros(dim, np.float32),
            "weights_1": np.full((dim, 1), 1 / dim, np.float32),
            "bias_1": np.zeros(1, np.float32),
        }
    )

    assert np.array_equal(expected, linear.margins(rows), equal_nan=True)
    assert np.array_equal(np.maximum(expected, 0.0), dense.margins(rows), equal_nan=True)
    assert np.array_equal(np.maximum(-expected, 0.0), dense.margins(turned), equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_values_at_the_ends_of_float32_do_not_overflow(kind: str) -> None:
    rng = np.random.default_rng(6)
    parameters = make_parameters(rng, kind, "bfloat16")
    rows = rows_of([0, 3], [1, 2, 3], [3e38, -3e38, 1e-45], [0, 1, 2], 9, 5)

    margins = make(kernel, kind, parameters).margins(rows)

    assert np.isfinite(margins).all()
    assert make(reference, kind, parameters).margins(rows).tobytes() == margins.tobytes()


@BOTH
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_read_only_maps_are_read_in_place(
    module: Any, kind: str, precision: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    parameters = make_parameters(rng, kind, precision)
    rows = make_rows(rng, 10, 9, 5)
    expected = make(module, kind, parameters).margins(rows)
    mapped = {}
    for name, array in parameters.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")

    one = make(module, kind, mapped)
    mapped.clear()  # the kernel keeps what it reads

    assert expected.tobytes() == one.margins(rows).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_are_not_copied(kind: str) -> None:
    rng = np.random.default_rng(8)
    parameters = make_parameters(rng, kind)
    rows = make_rows(rng, 10, 9, 5)
    one = make(kernel, kind, parameters)
    before = one.margins(rows)

    parameters["weights_0" if kind == "dense" else "linear"][:] *= 2

    after = one.margins(rows)
    assert before.tobytes() != after.tobytes()
    assert make(reference, kind, parameters).margins(rows).tobytes() == after.tobytes()


def test_the_kernel_knows_its_sizes() -> None:
    rng = np.random.default_rng(9)
    sizes = {
        kind: (one.num_slots, one.num_features)
        for kind in KINDS
        for one in [make(kernel, kind, make_parameters(rng, kind))]
    }

    by_feature = (9, 5)
    assert sizes == {
        "linear": (9, 0),
        "fm": (9, 0),
        "ffm": by_feature,
        "ffm normalised": by_feature,
        "dense": (9, 0),
    }


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_more_slots_are_refused_and_of_fewer_taken(module: Any, kind: str) -> None:
    one = make(module, kind, make_parameters(np.random.default_rng(10), kind))
    narrow = rows_of([0, 1], [0], [1.0], [0], 3, 2)
    wide = rows_of([0, 1], [0], [1.0], [0], 10, 2)

    assert 1 == len(one.margins(narrow))
    for call in (one.margins, one.bind, lambda rows: one.margin_at(rows, 0)):
        with pytest.raises(DataError, match="rows have 10 slots and the parameters 9"):
            call(wide)


@BOTH
def test_rows_of_more_features_are_refused_by_ffm_only(module: Any) -> None:
    rows = rows_of([0, 1], [0], [1.0], [6], 9, 7)
    rng = np.random.default_rng(11)

    assert 1 == len(make(module, "fm", make_parameters(rng, "fm")).margins(rows))
    with pytest.raises(DataError, match="rows have 7 features and the parameters 5"):
        make(module, "ffm", make_parameters(rng, "ffm")).margins(rows)


@BOTH
def test_a_row_that_does_not_exist_is_refused(module: Any) -> None:
    one = make(module, "linear", make_parameters(np.random.default_rng(12), "linear"))
    rows = rows_of([0, 1, 1], [0], [1.0], [0], 9, 5)

    for index in (-1, 2, 2**62):
        with pytest.raises(DataError, match=f"There is no row {index}; the 2 rows are numbered"):
            one.margin_at(rows, index)


@BOTH
@pytest.mark.parametrize("rows", [None, 3, np.zeros((2, 9), np.float32)])
def test_other_rows_are_refused(module: Any, rows: Any) -> None:
    one = make(module, "linear", make_parameters(np.random.default_rng(13), "linear"))

    with pytest.raises(DataError, match="takes SparseRows"):
        one.margins(rows)


@BOTH
@pytest.mark.parametrize("threads", [0, -1, 1.5, "two"])
def test_threads_must_be_a_count(module: Any, threads: Any) -> None:
    one = make(module, "linear", make_parameters(np.random.default_rng(14), "linear"))

    with pytest.raises(ConfigError, match=r"threads is .*at least 1"):
        one.margins(rows_of([0], [], [], [], 9, 5), threads=threads)


def test_fill_refuses_places_that_do_not_exist() -> None:
    one = make(kernel, "linear", make_parameters(np.random.default_rng(15), "linear"))
    bound = one.bind(rows_of([0, 1, 1], [0], [1.0], [0], 9, 5))

    for first, last, num in ((0, 3, 2), (-1, 1, 2), (2, 1, 2), (0, 2, 1)):
        with pytest.raises(DataError, match="cannot be written"):
            bound.fill(np.zeros(num), first, last)


@BOTH
@pytest.mark.parametrize(
    ("kind", "name", "array", "message"),
    [
        ("linear", "bias", np.zeros(2), r"'bias' is .*must be float64 of shape \(1,\)"),
        ("linear", "bias", np.zeros(1, np.float32), "'bias' is .*must be float64"),
        ("linear", "bias", 0.0, "'bias' is of type 'float'"),
        ("linear", "linear", np.zeros(9), "'linear' is an array of <f8.*must be an array of"),
        ("linear", "linear", np.zeros(9, ">f4"), "'linear' is an array of >f4.*byte order"),
        ("linear", "linear", np.zeros(9, np.int32), "'linear' is an array of <i4"),
        ("linear", "linear", [0.0] * 9, "'linear' is of type 'list'"),
        ("linear", "linear", np.zeros((9, 1), np.float32), r"'linear' has shape \(9, 1\)"),
        ("linear", "linear", np.zeros(18, np.float32)[::2], "'linear' is not contiguous"),
        ("linear", "latent", np.zeros((9, 4), np.float32), "have 'latent', which is not known"),
        ("fm", "latent", np.zeros((8, 4), np.float32), r"'latent' has shape .*must be \(9, any\)"),
        ("fm", "latent", np.zeros((9, 0), np.float32), "only the slots may be 0"),
        ("fm", "latent", np.zeros((9, 5, 4), np.float32), "'latent' has shape"),
        ("fm", "latent", np.zeros((4, 9), np.float32).T, "'latent' is not contiguous"),
        ("ffm", "latent", np.zeros((9, 4), np.float32), r"must be \(9, any, any\)"),
        ("ffm", "latent", np.zeros((9, 0, 4), np.float32), "only the slots may be 0"),
        ("ffm", "latent", np.zeros((9, 65537, 1), np.float16), "has 65,537 features; at most 65,"),
        ("ffm", "latent", np.zeros((9, 5, 4), np.uint8), "'latent' is an array of |u1"),
    ],
)
def test_parameters_that_do_not_fit_are_named(
    module: Any, kind: str, name: str, array: Any, message: str
) -> None:
    parameters = make_parameters(np.random.default_rng(16), kind)
    parameters[name] = array

    with pytest.raises(DataError, match=message):
        make(module, kind, parameters)


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_array_is_named(module: Any, kind: str) -> None:
    parameters = make_parameters(np.random.default_rng(17), kind)
    for name in parameters:
        others = {other: array for other, array in parameters.items() if other != name}
        with pytest.raises(DataError, match=r"parameters lack|which is not known"):
            make(module, kind, others)


@BOTH
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(9, 2), (2,)], "'weights_0' has 2 outputs; the last layer must have 1"),
        ([(9, 2), (3,), (2, 1), (1,)], r"'bias_0' has shape \(3,\); it must be \(2\)"),
        ([(9, 2), (2,), (3, 1), (1,)], r"'weights_1' has shape \(3, 1\); it must be \(2, any\)"),
        ([(9, 4097), (4097,), (4097, 1), (1,)], "'weights_0' has 4,097 outputs; .* at most 4,096"),
        ([(9, 0), (0,), (0, 1), (1,)], "only the slots may be 0"),
        ([(9,), (1,)], r"'weights_0' has shape \(9,\)"),
    ],
)
def test_layers_that_do_not_fit_are_named(
    module: Any, shapes: list[tuple[int, ...]], message: str
) -> None:
    names = [f"{kind}_{number}" for number in range(2) for kind in ("weights", "bias")]
    parameters = {
        name: np.zeros(shape, np.float32) for name, shape in zip(names, shapes, strict=False)
    }

    with pytest.raises(DataError, match=message):
        module.DenseKernel(parameters)


def test_a_misaligned_array_is_refused() -> None:
    linear = np.zeros(37, np.uint8)[1:].view(np.float32)

    with pytest.raises(DataError, match="'linear' is not contiguous in memory"):
        kernel.LinearKernel({"bias": np.zeros(1), "linear": linear})


def test_a_kernel_without_forward_pass_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="make one of its subclasses"):
        kernel.Kernel()
    with pytest.raises(NotImplementedError):
        reference.Kernel()._margins(rows_of([0], [], [], [], 0, 0))


def test_two_threads_share_a_kernel() -> None:
    rng = np.random.default_rng(18)
    one = make(kernel, "dense", make_parameters(rng, "dense"))
    rows = make_rows(rng, 3000, 9, 5)
    expected = one.margins(rows)
    results: list[Array] = []

    threads = [threading.Thread(target=lambda: results.append(one.margins(rows))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [expected.tobytes()] * 4 == [result.tobytes() for result in results]


def test_sigmoids_are_equal_bit_by_bit_and_never_overflow() -> None:
    rng = np.random.default_rng(19)
    margins = np.r_[rng.normal(size=5000) * 20, 0.0, -0.0, 800.0, -800.0, np.inf, -np.inf, np.nan]

    scores = kernel.sigmoids(margins)

    assert reference.sigmoids(margins).tobytes() == scores.tobytes()
    assert [0.5, 0.5, 1.0, 0.0, 1.0, 0.0] == scores[-7:-1].tolist()
    assert math.isnan(scores[-1])
    assert kernel.sigmoids(margins[3:4])[0] == scores[3]
    assert (0,) == kernel.sigmoids(np.zeros(0)).shape
    assert np.allclose((scores + kernel.sigmoids(-margins))[:-1], 1.0, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", ["linear", "fm", "ffm", "dense"])
def test_the_backend_makes_the_kernel_that_the_environment_asks_for(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(20)
    parameters = make_parameters(rng, kind)
    rows = make_rows(rng, 5, 9, 5)

    monkeypatch.delenv("TADKA_NATIVE", raising=False)
    native = backend.make_kernel(kind, parameters)
    monkeypatch.setenv("TADKA_NATIVE", "0")
    plain = backend.make_kernel(kind, parameters)

    assert isinstance(native, kernel.Kernel)
    assert isinstance(plain, reference.Kernel)
    assert plain.margins(rows).tobytes() == native.margins(rows).tobytes()


def test_the_backend_refuses_an_unknown_kind_and_another_dimension() -> None:
    parameters = make_parameters(np.random.default_rng(21), "fm")

    with pytest.raises(ConfigError, match="Kind 'svm' is not known; it must be one of linear"):
        backend.make_kernel("svm", parameters)
    with pytest.raises(DataError, match="'latent' has 4 dimensions and the model 8"):
        backend.make_kernel("fm", parameters, dim=8)


def test_without_the_extension_numpy_works_and_one_warning_says_so() -> None:
    program = """
import sys, warnings
import numpy as np
sys.modules["tadka.scoring.kernel"] = None
from tadka.scoring import backend
arrays = {"bias": np.ones(1), "linear": np.zeros(1, np.float32)}
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    made = [backend.make_kernel("linear", arrays) for _ in range(3)]
print(type(made[0]).__module__, len(seen), seen[0].category.__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TADKA_NATIVE": "1"},
    )

    assert "tadka.scoring.reference 1 RuntimeWarning" in done.stdout
