import warnings

import numpy as np
import pyarrow as pa
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from tadka.core.error import DataError
from tadka.features.features import Features
from tadka.features.sparse import SparseRows
from tadka.scoring.dense import Dense


def sparse(matrix: np.ndarray) -> SparseRows:
    num_rows, width = matrix.shape
    return SparseRows(
        np.arange(num_rows + 1) * width,
        np.tile(np.arange(width), num_rows),
        matrix.reshape(-1),
        np.tile(np.arange(width), num_rows),
        width,
        width,
    )


def test_a_network_of_scikit_learn_predicts_the_same() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(500, 12)).astype(np.float32)
    label = matrix[:, 0] * matrix[:, 1] > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it need not be good
        peer = MLPClassifier((16, 8), max_iter=20, random_state=0).fit(matrix, label)

    model = Dense.from_layers(list(zip(peer.coefs_, peer.intercepts_, strict=True)))

    assert np.abs(peer.predict_proba(matrix)[:, 1] - model.predict(sparse(matrix))).max() < 1e-6


def test_a_row_alone_scores_as_in_its_table() -> None:
    class Click(Features, size=64):
        user: str
        price: float

    random = np.random.default_rng(0)
    layers = [
        (random.normal(size=(Click.definition().num_slots, 8)), random.normal(size=8)),
        (random.normal(size=(8, 1)), random.normal(size=1)),
    ]
    model = Dense.from_layers(layers, Click)
    table = pa.table({"user": ["a", "b", "c"], "price": [0.5, -2.0, float("nan")]})

    alone = [model.score(Click(**row)) for row in table.to_pylist()]

    assert model.predict(table).tolist() == alone
    assert 3 == len(set(alone))


def test_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="at least one layer"):
        Dense.from_layers([])
    with pytest.raises(DataError, match="weights_1"):
        Dense.from_layers([(np.zeros((4, 3)), np.zeros(3)), (np.zeros((2, 1)), np.zeros(1))])


def test_a_network_of_another_width_than_the_class_is_refused() -> None:
    class Click(Features, size=64):
        user: str

    with pytest.raises(DataError, match="do not belong together"):
        Dense.from_layers([(np.zeros((4, 1)), np.zeros(1))], Click)
