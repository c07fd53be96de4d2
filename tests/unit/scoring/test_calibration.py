import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from tadka.core.error import DataError
from tadka.scoring.calibration import Isotonic, Platt
from tadka.scoring.metric import calibration_ratio, log_loss

Floats = npt.NDArray[np.float64]


def sample(seed: int, num_rows: int = 2000) -> tuple[Floats, Floats, Floats]:
    """Margins that promise twice too much, labels, weights."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(-1, 1.5, num_rows)
    labels = (generator.random(num_rows) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    return np.round(2 * truth + 1, 2), labels, generator.random(num_rows) + 0.1


@pytest.mark.parametrize("is_weighted", [False, True])
def test_platt_equals_scikit_learns(is_weighted: bool) -> None:
    margins, labels, weights = sample(1)
    given_weights = weights if is_weighted else None
    theirs = _SigmoidCalibration().fit(margins, labels, sample_weight=given_weights)
    ours = Platt.fit(margins, labels, given_weights)

    # Theirs has a and b of the opposite sign, and stops earlier.
    assert -theirs.a_ == pytest.approx(ours.a, rel=1e-3)
    assert -theirs.b_ == pytest.approx(ours.b, rel=1e-3)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_isotonic_equals_scikit_learns(is_weighted: bool) -> None:
    margins, labels, weights = sample(2)
    given_weights = weights if is_weighted else None
    theirs = IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1)
    theirs.fit(margins, labels, sample_weight=given_weights)
    ours = Isotonic.fit(margins, labels, given_weights)
    asked = np.linspace(-12, 12, 5001)

    np.testing.assert_allclose(theirs.predict(asked), ours.apply(asked), atol=1e-9)


@pytest.mark.parametrize("kind", [Platt, Isotonic])
def test_calibrated_scores_come_true_on_other_rows(kind: type[Platt | Isotonic]) -> None:
    margins, labels, _ = sample(3, 20_000)
    others, truth, _ = sample(4, 20_000)
    scores = kind.fit(margins, labels).apply(others)
    raw = 1 / (1 + np.exp(-others))

    assert calibration_ratio(truth, scores) == pytest.approx(1, abs=0.05)
    assert log_loss(truth, scores) < log_loss(truth, raw)


@pytest.mark.parametrize("kind", [Platt, Isotonic])
@settings(deadline=None, max_examples=50)
@given(asked=st.lists(st.floats(), min_size=1, max_size=8))
def test_a_batch_equals_its_single_rows_and_stays_in_bounds(
    kind: type[Platt | Isotonic], asked: list[float]
) -> None:
    margins, labels, _ = sample(5, 300)
    calibration = kind.fit(margins, labels)
    together = calibration.apply(asked)
    alone = [float(calibration.apply(margin)) for margin in asked]

    np.testing.assert_array_equal(alone, together)
    for margin, score in zip(asked, alone, strict=True):
        assert math.isnan(score) if math.isnan(margin) else 0 <= score <= 1


@settings(deadline=None, max_examples=50)
@given(asked=st.floats(allow_nan=False))
def test_isotonic_follows_the_stated_formula(asked: float) -> None:
    calibration = Isotonic.fit(*sample(6, 300)[:2])
    x, y = calibration.to_array().tolist()
    if asked <= x[0]:
        expected = y[0]
    elif asked >= x[-1]:
        expected = y[-1]
    else:
        i = next(i for i in range(len(x)) if x[i] <= asked < x[i + 1])
        expected = y[i] + (y[i + 1] - y[i]) * ((asked - x[i]) / (x[i + 1] - x[i]))

    assert expected == float(calibration.apply(asked))


def test_platt_follows_the_stated_formula() -> None:
    calibration = Platt(0.7, -0.3)

    assert 1 / (1 + math.exp(-(0.7 * 2.5 - 0.3))) == float(calibration.apply(2.5))
    tail = math.exp(0.7 * -2.5 - 0.3)
    assert tail / (1 + tail) == float(calibration.apply(-2.5))
    assert [0.0, 1.0] == calibration.apply([-1e300, 1e300]).tolist()


@pytest.mark.parametrize("kind", [Platt, Isotonic])
def test_an_array_gives_the_calibration_back(kind: type[Platt | Isotonic]) -> None:
    margins, labels, _ = sample(7)
    calibration = kind.fit(margins, labels)
    again = kind.from_array(calibration.to_array())

    np.testing.assert_array_equal(calibration.apply(margins), again.apply(margins))


@pytest.mark.parametrize("kind", [Platt, Isotonic])
def test_equal_margins_give_the_rate_of_label_1(kind: type[Platt | Isotonic]) -> None:
    labels = [0] * 3000 + [1] * 1000
    calibration = kind.fit([5.0] * 4000, labels)

    assert float(calibration.apply(5.0)) == pytest.approx(0.25, abs=1e-3)


def test_platt_stands_separable_and_extreme_margins() -> None:
    assert Platt.fit([-1e6, -2e6, 1e6, 2e6], [0, 0, 1, 1]).a > 0
    assert Platt.fit([-1e-6, -2e-6, 1e-6, 2e-6], [0, 0, 1, 1]).a > 0


def test_labels_of_minus_1_count_as_0() -> None:
    margins, labels, _ = sample(8)

    assert Platt.fit(margins, labels) == Platt.fit(margins, 2 * labels - 1)


@pytest.mark.parametrize("kind", [Platt, Isotonic])
@pytest.mark.parametrize(
    ("margins", "labels", "weights", "message"),
    [
        ([], [], None, "both labels"),
        ([1.0, 2.0], [1, 1], None, "both labels"),
        ([1.0, 2.0], [0, 1], [1, 0], "both labels"),
        ([1.0, math.nan], [0, 1], None, "Margin nan of row 1"),
        ([1.0, math.inf], [0, 1], None, "Margin inf of row 1"),
        ([1.0, 2.0], [0, 3], None, "Label 3.0 of row 1"),
        ([1.0, 2.0], [0, 1], [1, math.nan], "Weight nan of row 1"),
        ([1.0, 2.0], [0, 1], [1], "same length"),
        ([[1.0, 2.0]], [0, 1], None, "same length"),
    ],
)
def test_rows_that_cannot_be_fitted_are_named(kind, margins, labels, weights, message) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    with pytest.raises(DataError, match=message):
        kind.fit(margins, labels, weights)


def test_arrays_of_no_calibration_are_refused() -> None:
    with pytest.raises(DataError, match="2 float64"):
        Platt.from_array([1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="finite"):
        Platt.from_array([1.0, math.nan])
    with pytest.raises(DataError, match=r"shape \(2, K\)"):
        Isotonic.from_array([1.0, 2.0])
    with pytest.raises(DataError, match="increase"):
        Isotonic.from_array([[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(DataError, match="never decrease"):
        Isotonic.from_array([[1.0, 2.0], [0.6, 0.5]])
    with pytest.raises(DataError, match="never decrease"):
        Isotonic.from_array([[1.0, 2.0], [0.6, math.nan]])
    with pytest.raises(DataError, match="at least 1"):
        Isotonic.from_array(np.empty((2, 0)))
