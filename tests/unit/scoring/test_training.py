import itertools
import signal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

from tadka.core.error import ConfigError, DataError
from tadka.features.sparse import SparseRows
from tadka.scoring import trainer_reference, training
from tadka.scoring.metric import auc, log_loss
from tadka.scoring.training import Epoch, Training, train

KINDS = ("linear", "fm", "ffm")
ONE = Training(threads=1, epochs=3)


def sample(
    seed: int, num_rows: int = 3000, *, has_pairs: bool = False
) -> tuple[SparseRows, npt.NDArray[np.float32]]:
    """Four features of 10 values; labels follow weights of them, or only of pairs of values."""
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 10, (num_rows, 4))
    fixed = np.random.default_rng(99)
    if has_pairs:
        table = fixed.normal(size=(10, 3)) @ fixed.normal(size=(3, 10))
        margins = 2 * table[values[:, 0], values[:, 1]]
    else:
        margins = fixed.normal(size=(4, 10))[np.arange(4), values].sum(1)
    labels = generator.random(num_rows) < 1 / (1 + np.exp(-margins))
    rows = SparseRows(
        np.arange(0, 4 * num_rows + 1, 4),
        (values + 10 * np.arange(4)).ravel().astype(np.int32),
        np.ones(4 * num_rows, np.float32),
        np.tile(np.arange(4, dtype=np.uint16), num_rows),
        40,
        4,
    )
    return rows, labels.astype(np.float32)


def margins_of(
    parameters: dict[str, npt.NDArray[Any]], rows: SparseRows, *, normalize: bool = True
) -> npt.NDArray[np.float64]:
    """By the definition, in doubles."""
    margins = []
    for row in range(len(rows)):
        entries = slice(int(rows.starts[row]), int(rows.starts[row + 1]))
        slots, x = rows.slots[entries], rows.values[entries].astype(np.float64)
        features = rows.features[entries]
        margin = parameters["bias"][0] + parameters["linear"][slots].astype(np.float64) @ x
        latent = parameters.get("latent")
        if latent is not None:
            scale = 1 / (x @ x) if latent.ndim == 3 and normalize and len(x) else 1.0
            for a, b in itertools.combinations(range(len(x)), 2):
                left = latent[slots[a]] if latent.ndim == 2 else latent[slots[a], features[b]]
                right = latent[slots[b]] if latent.ndim == 2 else latent[slots[b], features[a]]
                margin += left.astype(np.float64) @ right * x[a] * x[b] * scale
        margins.append(margin)
    return np.array(margins)


@pytest.mark.parametrize("kind", KINDS)
def test_validation_scores_are_those_of_the_definition(kind: Any) -> None:
    rows, labels = sample(1, 500)
    fit = train(kind, rows, labels, valid=(rows, labels, None), settings=ONE, dim=3)
    margins = margins_of(fit.parameters, rows)
    best = fit.epochs[fit.best_epoch - 1]

    assert log_loss(labels, 1 / (1 + np.exp(-margins))) == pytest.approx(
        best.valid_log_loss, abs=1e-6
    )
    assert auc(labels, margins) == pytest.approx(best.valid_auc, abs=1e-4)


@pytest.mark.parametrize("optimizer", ["adagrad", "ftrl"])
def test_linear_models_come_near_the_regression_of_scikit_learn(optimizer: Any) -> None:
    rows, labels = sample(1, 5000)
    others, truth = sample(2, 5000)
    dense = np.zeros((5000, 40))
    dense[np.arange(5000).repeat(4), rows.slots] = 1
    theirs = LogisticRegression().fit(dense, labels)
    dense[:] = 0
    dense[np.arange(5000).repeat(4), others.slots] = 1
    fit = train(
        "linear",
        rows,
        labels,
        valid=(others, truth, None),
        settings=Training(optimizer=optimizer, threads=1, epochs=30),
    )

    expected = log_loss(truth, theirs.predict_proba(dense)[:, 1])
    assert expected == pytest.approx(
        min(epoch.valid_log_loss or 1 for epoch in fit.epochs), abs=0.005
    )


@pytest.mark.parametrize(("kind", "normalize"), [("fm", True), ("ffm", True), ("ffm", False)])
def test_factorization_finds_what_only_pairs_tell(kind: Any, normalize: bool) -> None:
    rows, labels = sample(1, 8000, has_pairs=True)
    valid = (*sample(2, has_pairs=True), None)
    settings = Training(threads=1, epochs=30, latent_scale=0.3 if kind == "fm" else None)
    linear = train("linear", rows, labels, valid=valid, settings=settings)
    fit = train(kind, rows, labels, valid=valid, settings=settings, normalize=normalize)

    assert max(epoch.valid_auc or 0 for epoch in linear.epochs) < 0.75
    assert max(epoch.valid_auc or 0 for epoch in fit.epochs) > 0.85


@pytest.mark.parametrize("kind", KINDS)
def test_one_thread_repeats_to_the_bit_and_without_the_extension(kind: Any) -> None:
    rows, labels = sample(3, 700)
    given: dict[str, Any] = {"valid": (*sample(4, 200), None), "settings": ONE}
    first = train(kind, rows, labels, **given)
    for again in (
        train(kind, rows, labels, **given),
        train(kind, rows, labels, **given, native=False),
    ):
        for name, array in first.parameters.items():
            np.testing.assert_array_equal(array, again.parameters[name])
        assert [e.train_log_loss for e in first.epochs] == [e.train_log_loss for e in again.epochs]
        assert [e.valid_log_loss for e in first.epochs] == [e.valid_log_loss for e in again.epochs]


@pytest.mark.parametrize("kind", KINDS)
def test_more_threads_learn_nearly_the_same(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHUNK_ROWS", 64)
    rows, labels = sample(5)
    seen: list[tuple[int, int]] = []
    losses = [
        train(
            kind,
            rows,
            labels,
            settings=Training(threads=threads, epochs=4),
            on_progress=lambda done, total: seen.append((done, total)),
        )
        .epochs[-1]
        .train_log_loss
        for threads in (1, 3)
    ]

    assert losses[0] == pytest.approx(losses[1], abs=0.01)
    assert (3000, 3000) in seen


def test_another_seed_gives_another_order_and_other_latent_parameters() -> None:
    rows, labels = sample(6, 300)
    fits = [
        train("fm", rows, labels, settings=Training(seed=seed, epochs=1, threads=1))
        for seed in (1, 2)
    ]

    assert fits[0].epochs[0].train_log_loss != fits[1].epochs[0].train_log_loss


def test_the_best_epoch_is_kept_and_patience_ends_the_run() -> None:
    rows, labels = sample(7, 200)
    valid = (*sample(8), None)
    seen: list[Epoch] = []
    fit = train(
        "ffm",
        rows,
        labels,
        valid=valid,
        settings=Training(epochs=100, patience=3, threads=1, learning_rate=1.0),
        on_epoch=seen.append,
    )
    curve = [epoch.valid_log_loss for epoch in fit.epochs]

    assert seen == fit.epochs
    assert [*range(1, len(curve) + 1)] == [epoch.number for epoch in seen]
    assert fit.best_epoch + 3 == len(curve) < 100
    assert min(curve) == curve[fit.best_epoch - 1]  # type: ignore[type-var]
    shorter = train(
        "ffm",
        rows,
        labels,
        settings=Training(epochs=fit.best_epoch, threads=1, learning_rate=1.0),
    )
    np.testing.assert_array_equal(shorter.parameters["latent"], fit.parameters["latent"])
    assert shorter.epochs[-1].valid_log_loss is None


def test_an_epoch_reads_as_a_line() -> None:
    epoch = Epoch(
        number=2,
        train_log_loss=0.5,
        valid_log_loss=0.25,
        valid_auc=0.75,
        seconds=1.0,
        rows_per_s=1234567.0,
    )

    assert (
        "epoch 2: train log loss 0.50000, valid log loss 0.25000, AUC 0.75000, 1,234,567 rows/s"
        == str(epoch)
    )


def test_a_row_of_weight_2_counts_as_two_rows_in_the_loss() -> None:
    rows, labels = sample(9, 1000)
    weights = np.where(np.arange(1000) < 500, 2.0, 0.0)
    weighted = train("linear", rows, labels, weights=weights, settings=Training(epochs=20))
    plain = train("linear", rows[:500], labels[:500], settings=Training(epochs=20))

    np.testing.assert_allclose(plain.parameters["linear"], weighted.parameters["linear"], atol=0.15)


def test_rows_of_weight_0_teach_nothing() -> None:
    rows, labels = sample(10, 400)
    rows = SparseRows(rows.starts, rows.slots, rows.values, rows.features, 50, 4)
    odd = SparseRows(
        np.r_[rows.starts, rows.starts[-1] + 1],
        np.r_[rows.slots, 45].astype(np.int32),
        np.r_[rows.values, 1].astype(np.float32),
        np.r_[rows.features, 0].astype(np.uint16),
        50,
        4,
    )
    fit = train("linear", odd, np.r_[labels, 1], weights=np.r_[np.ones(400), 0], settings=ONE)

    assert fit.parameters["linear"][45] == 0


def test_labels_may_be_booleans_or_signs() -> None:
    rows, labels = sample(11, 300)
    losses = {
        train("linear", rows, given, settings=ONE).epochs[-1].train_log_loss
        for given in (labels, labels > 0, labels.astype(int), 2 * labels - 1, labels.tolist())
    }

    assert len(losses) == 1


def test_l1_of_ftrl_makes_weights_exactly_0() -> None:
    rows, labels = sample(12, 1000)
    weak, strong = (
        train(
            "linear", rows, labels, settings=Training(optimizer="ftrl", l1=l1, epochs=3)
        ).parameters["linear"]
        for l1 in (0.0, 20.0)
    )

    assert np.all(weak != 0)
    assert 0 < np.count_nonzero(strong) < 40


@pytest.mark.parametrize(
    ("kind", "optimizer"),
    [("linear", "adagrad"), ("linear", "ftrl"), ("fm", "adagrad"), ("ffm", "adagrad")],
)
def test_a_warm_start_goes_on_where_it_stood(kind: Any, optimizer: Any) -> None:
    rows, labels = sample(13)
    settings = Training(optimizer=optimizer, epochs=8, threads=1, l1=0.1 * (optimizer == "ftrl"))
    first = train(kind, rows, labels, settings=settings)
    again = train(kind, rows, labels, settings=settings, start=first.parameters)

    assert again.epochs[0].train_log_loss < first.epochs[0].train_log_loss
    still = train(
        kind,
        rows,
        labels,
        settings=Training(
            optimizer=optimizer,
            epochs=1,
            learning_rate=1e-9,
            l2=0,
            l1=0.1 * (optimizer == "ftrl"),
        ),
        start=first.parameters,
    )
    for name, array in first.parameters.items():
        np.testing.assert_allclose(array, still.parameters[name], rtol=1e-5, atol=1e-6)


def test_ffm_without_linear_weights_learns_latent_parameters_alone() -> None:
    rows, labels = sample(14, 500)
    parameters = train("ffm", rows, labels, settings=ONE, linear=False).parameters

    assert parameters["bias"][0] == 0
    assert not parameters["linear"].any()
    assert {"bias": (1,), "linear": (40,), "latent": (40, 4, 4)} == {
        name: array.shape for name, array in parameters.items()
    }
    assert [np.float64, np.float32, np.float32] == [a.dtype for a in parameters.values()]


def test_ctrl_c_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHUNK_ROWS", 16)
    monkeypatch.setattr(training, "_PROGRESS_PERIOD_S", 0.0)
    rows, labels = sample(15)

    def press(done: int, total: int) -> None:
        signal.raise_signal(signal.SIGINT)

    for threads in (1, 2):
        settings = Training(epochs=10_000, threads=threads)
        with pytest.raises(KeyboardInterrupt):
            train("linear", rows, labels, settings=settings, on_progress=press)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("optimizer", "sgd"),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("learning_rate", True),
        ("learning_rate", None),
        ("l1", -1),
        ("l2", float("inf")),
        ("epochs", 0),
        ("epochs", 1.5),
        ("patience", 0),
        ("seed", -1),
        ("seed", 1 << 64),
        ("threads", 0),
        ("ftrl_beta", 0),
        ("latent_scale", 0),
    ],
)
def test_a_wrong_setting_is_named(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"'{setting}' is {value!r}"):
        Training(**{setting: value})


def test_l1_needs_ftrl_and_ftrl_a_linear_model() -> None:
    rows, labels = sample(16, 10)
    with pytest.raises(ConfigError, match="only optimizer 'ftrl' knows"):
        Training(l1=0.1)
    with pytest.raises(ConfigError, match="'ftrl' learns linear models"):
        train("fm", rows, labels, settings=Training(optimizer="ftrl"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "gbdt"}, "Kind 'gbdt' is unknown"),
        ({"kind": "fm", "dim": 0}, "'dim' is 0"),
        ({"kind": "fm", "dim": 2.0}, r"'dim' is 2\.0"),
        ({"kind": "fm", "linear": False}, "'ffm' only"),
        ({"start": {}}, "'start' has nothing"),
        ({"start": {"bias": np.zeros(1), "linear": np.zeros(39)}}, r"shape \(39,\)"),
        (
            {"start": {"bias": np.zeros(1), "linear": np.zeros(40, np.uint16)}},
            "finite floats, not uint16",
        ),
        (
            {"start": {"bias": np.zeros(1), "linear": np.full(40, np.nan)}},
            "with NaN or infinity",
        ),
    ],
)
def test_a_wrong_argument_is_named(given: dict[str, Any], message: str) -> None:
    rows, labels = sample(17, 10)
    called: dict[str, Any] = {"kind": "linear", "rows": rows, "labels": labels} | given
    with pytest.raises(ConfigError, match=message):
        train(**called)


@pytest.mark.parametrize("part", ["training", "validation"])
@pytest.mark.parametrize(
    ("labels", "weights", "message"),
    [
        ([0, 1, 2, 0], None, "Row 2 of the {} rows has the label 2"),
        ([0, 1, np.nan, 0], None, "Row 2 of the {} rows has the label nan"),
        ([0, 1, -1, 0], None, "Row 2 of the {} rows has the label -1"),
        ([1, 1, 1, 1], None, "All {} rows have label 1"),
        ([-1, -1, -1, -1], None, "All {} rows have label 0"),
        ([1, 1, 1, 0], [1, 1, 1, 0], "All {} rows that weigh anything have label 1"),
        ([1, 0, 1], None, "4 {} rows and 3 labels"),
        ([1, 0, 1, 0], [1, 1, 1], "4 {} rows and 3 weights"),
        ([1, 0, 1, 0], [1, 1, 1, -1], "Row 3 of the {} rows has the weight -1.0"),
        ([1, 0, 1, 0], [1, 1, 1, np.nan], "Row 3 of the {} rows has the weight nan"),
        ([1, 0, 1, 0], [0, 0, 0, 0], "All {} rows weigh 0"),
        ([[1, 0, 1, 0]], None, "labels have 2 dimensions"),
        (["a", "b", "c", "d"], None, "{} labels are no numbers"),
    ],
)
def test_rows_that_cannot_be_learnt_are_named(
    labels: Any, weights: Any, message: str, part: str
) -> None:
    rows, _ = sample(18, 4)
    good = (rows, [0, 1, 0, 1], None)
    bad = (rows, labels, weights)
    fitted, judged = (bad, good) if part == "training" else (good, bad)
    with pytest.raises(DataError, match=message.format(part)):
        train("linear", *fitted[:2], weights=fitted[2], valid=judged)


def test_no_rows_and_values_that_are_not_finite_are_refused() -> None:
    rows, labels = sample(19, 10)
    with pytest.raises(DataError, match="There are no training rows"):
        train("linear", rows[:0], [])
    values = rows.values.copy()
    values[9] = np.inf
    broken = SparseRows(rows.starts, rows.slots, values, rows.features, 40, 4)
    with pytest.raises(DataError, match="Row 2 of the training rows has the value inf at slot"):
        train("linear", broken, labels)


def test_validation_rows_of_another_width_are_refused() -> None:
    rows, labels = sample(20, 10)
    wider = SparseRows(rows.starts, rows.slots, rows.values, rows.features, 41, 4)
    with pytest.raises(ConfigError, match="41 slots"):
        train("linear", rows, labels, valid=(wider, labels, None))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_diverges_returns_nothing(
    kind: Any, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHUNK_ROWS", 8)
    rows, labels = sample(21, 100)
    huge = SparseRows(rows.starts, rows.slots, rows.values * 1e30, rows.features, 40, 4)
    with pytest.raises(DataError, match="Lower 'learning_rate'"):
        train(
            kind,
            huge,
            labels,
            normalize=False,
            settings=Training(learning_rate=1e30, epochs=3, threads=threads),
        )


def test_parameters_beyond_memory_are_refused_before_work() -> None:
    rows, labels = sample(22, 10)
    wide = SparseRows(rows.starts, rows.slots, rows.values, rows.features, 2**31 - 1, 65536)
    with pytest.raises(ConfigError, match="Give hashed features smaller sizes"):
        train("ffm", wide, labels, dim=1024)


def test_compiled_loops_that_are_missing_cannot_be_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, labels = sample(23, 50)
    monkeypatch.setattr(training, "native_loops", None)
    with pytest.raises(ConfigError, match="compiled loops were asked for"):
        train("linear", rows, labels, settings=ONE, native=True)


def test_the_environment_chooses_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADKA_NATIVE", "0")

    assert training._loops(None) is trainer_reference
