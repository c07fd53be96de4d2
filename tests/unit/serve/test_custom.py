import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.features import PropertyError
from tadka.scoring import feature_matrix, load
from tadka.scoring.model import Model
from tadka.serve.store.custom import (
    ModelError,
    PythonModel,
    error_text,
    load_any,
    score_each,
)
from tests.unit.serve.sample import Other, Visit, linear, saved, visits

GROUP = "shops"


class Plain:
    """Scores by the number of the shop, and counts its calls."""

    def __init__(self, result: Any = None) -> None:
        self.calls: list[int] = []
        self.result = result

    def predict(self, rows: list[Visit]) -> Any:
        self.calls.append(len(rows))
        if self.result is not None:
            return self.result
        return [row.shop / 10 for row in rows]


class Net(torch.nn.Module):
    """Two weights of the price and of whether the user is new."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def predict(self, rows: list[Visit]) -> torch.Tensor:
        x = torch.tensor([[row.price, float(row.is_new)] for row in rows])
        return torch.sigmoid(self.layer(x))


class Failing:
    """Raises, as users' models do."""

    def predict(self, rows: list[Visit]) -> list[float]:
        raise KeyError("no such key")


class Unspeakable(Exception):
    """Cannot say what is wrong."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Mute:
    """Raises what cannot say why."""

    def predict(self, rows: list[Visit]) -> list[float]:
        raise Unspeakable


class Remote:
    """A result that cannot be fetched, as one of a GPU that failed meanwhile."""

    def detach(self) -> Any:
        raise RuntimeError("CUDA error")


class Lost:
    """A result that cannot be made an array."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise LookupError("it is gone")


def labels(rows: list[Visit]) -> list[int]:
    return [row.shop % 2 for row in rows]


def trained_sparse() -> PythonModel:
    rows = visits(200)
    model = PythonModel(LogisticRegression(), Visit, input="sparse")
    model.object.fit(model.inputs(rows), labels(rows))
    return model


def trained_trees() -> PythonModel:
    rows = visits(400)
    matrix = feature_matrix(Visit, rows, group=GROUP)
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5},
        lightgbm.Dataset(matrix, labels(rows)),
        num_boost_round=5,
    )
    return PythonModel(booster, Visit, input="dense", group=GROUP)


def trained_net() -> PythonModel:
    torch.manual_seed(0)
    return PythonModel(Net(), Visit, input="instances")


MODELS = {"sklearn": trained_sparse, "lightgbm": trained_trees, "torch": trained_net}


@pytest.mark.parametrize("name", MODELS)
def test_a_librarys_model_scores_as_the_library_does(name: str, tmp_path: Path) -> None:
    model, rows = MODELS[name](), visits(50)
    expected = {
        "sklearn": lambda: model.object.predict_proba(model.inputs(rows))[:, 1],
        "lightgbm": lambda: model.object.predict(feature_matrix(Visit, rows, group=GROUP)),
        "torch": lambda: model.object.predict(rows).detach().numpy()[:, 0],
    }[name]()

    scores = model.predict([row.to_message() for row in rows])

    assert np.array_equal(expected, scores)
    assert np.float64 == scores.dtype
    model.save(tmp_path / "model")
    again = load_any(tmp_path / "model", Visit)
    assert isinstance(again, PythonModel)
    assert np.array_equal(scores, again.predict(rows))
    assert (model.input, model.method, model.group) == (again.input, again.method, again.group)


def test_a_table_instances_and_messages_give_the_same_scores() -> None:
    model, rows = PythonModel(Plain(), Visit), visits(9)
    names = [field.name for field in Visit.definition().fields]
    table = pa.table({name: [getattr(row, name) for row in rows] for name in names})

    scores = model.predict(rows)

    assert np.array_equal(scores, model.predict(table))
    assert np.array_equal(scores, model.predict([row.to_message() for row in rows]))
    assert scores[3] == model.score(rows[3]) == model.score(rows[3].to_message())


def test_a_model_of_ours_goes_through_the_same_door(tmp_path: Path) -> None:
    loaded = load_any(saved(tmp_path), Visit)

    assert isinstance(loaded, Model)
    assert np.array_equal(linear().predict(visits(5)), loaded.predict(visits(5)))


def test_the_method_is_called_once_for_a_batch() -> None:
    plain = Plain()
    model = PythonModel(plain, Visit)

    model.predict_each([row.to_message() for row in visits(7)])

    assert [7] == plain.calls


def test_one_wrong_message_does_not_spoil_the_others() -> None:
    plain = Plain()
    messages = [row.to_message() for row in visits(3)]
    messages.insert(1, b"\xff")

    found = PythonModel(plain, Visit).predict_each(messages)

    assert [3] == plain.calls
    assert isinstance(found[1], DataError)
    assert "no Visit" in str(found[1])
    assert [0.0, 0.1, 0.2] == [found[0], found[2], found[3]]


@pytest.mark.parametrize("make", [trained_sparse, linear])
def test_a_property_that_raises_spoils_its_row_only(make: Any) -> None:
    messages = [Visit(user).to_message() for user in ("a", "faulty", "b")]
    model = make()

    first, second, third = score_each(model, messages)

    assert isinstance(second, PropertyError)
    assert [model.score(messages[0]), model.score(messages[2])] == [first, third]


def test_nothing_wrong_is_left_where_every_message_is_wrong() -> None:
    plain = Plain()

    found = PythonModel(plain, Visit).predict_each([b"\xff", b"\x0a"])

    assert [DataError, DataError] == [type(error) for error in found]
    assert [] == plain.calls
    assert [] == PythonModel(plain, Visit).predict_each([])
    assert [] == score_each(linear(), [])


def test_an_exception_of_the_model_is_given_to_each_row() -> None:
    found = PythonModel(Failing(), Visit).predict_each([b"", b""])

    assert ["ModelError"] * 2 == [type(error).__name__ for error in found]
    assert "Method 'predict' of 'Failing' raises KeyError: 'no such key'" in str(found[0])
    with pytest.raises(ModelError, match="raises KeyError"):
        PythonModel(Failing(), Visit).predict([b""])


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ([0.5], r"gives shape \(1,\) for 3 rows; it must give \(3,\)"),
        (0.5, r"gives shape \(\)"),
        (np.zeros((3, 3)), r"gives shape \(3, 3\)"),
        ("scores", "'str', which is no array of numbers"),
        (object(), "'object', which is no array of numbers"),
        ([[1.0], [1.0, 2.0], [3.0]], "no array of numbers"),
    ],
)
def test_a_result_of_another_form_is_refused_for_all(result: Any, words: str) -> None:
    model = PythonModel(Plain(result), Visit)

    with pytest.raises(ModelError, match=words):
        model.predict(visits(3))
    assert all(isinstance(found, ModelError) for found in model.predict_each([b"", b"", b""]))


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (Remote(), "Method 'predict' of 'Plain' raises RuntimeError: CUDA error"),
        (Lost(), "'Lost', which is no array of numbers: it is gone"),
    ],
)
def test_a_result_that_raises_is_an_error_of_the_model(result: Any, words: str) -> None:
    model = PythonModel(Plain(result), Visit)

    found = model.predict_each([b"", b""])

    assert [ModelError, ModelError] == [type(error) for error in found]
    assert words in str(found[0])
    assert [ModelError, ModelError] == [type(error) for error in score_each(model, [b"", b""])]


def test_an_exception_that_has_no_text_is_named_all_the_same() -> None:
    found = PythonModel(Mute(), Visit).predict_each([b""])

    assert "raises Unspeakable: (its __str__ raises RuntimeError)" in str(found[0])
    assert "half of a pair: \\ud800" == error_text(ValueError("half of a pair: \ud800"))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_score_that_is_none_is_refused_for_its_row(wrong: float) -> None:
    model = PythonModel(Plain([0.25, wrong, 1.0]), Visit)

    first, second, third = model.predict_each([b"", b"", b""])

    assert (0.25, 1.0) == (first, third)
    assert isinstance(second, ModelError)
    assert "it must be from 0 to 1" in str(second)
    with pytest.raises(ModelError, match="for row 1;"):
        model.predict(visits(3))


def test_a_native_model_that_overflows_gives_no_score() -> None:
    model = linear()
    model.take({"bias": np.array([np.nan]), "linear": model.arrays["linear"]})

    (found,) = score_each(model, [b""])

    assert isinstance(found, ModelError)
    assert "linear model gives nan" in str(found)


def test_both_shapes_of_probabilities_are_taken() -> None:
    both = np.array([[0.75, 0.25], [0.5, 0.5]])

    assert [0.25, 0.5] == PythonModel(Plain(both), Visit).predict(visits(2)).tolist()
    assert [0.5, 0.25] == PythonModel(Plain([[0.5], [0.25]]), Visit).predict(visits(2)).tolist()


def test_labels_of_a_classifier_are_not_taken_for_scores() -> None:
    assert "predict_proba" == trained_sparse().method
    assert "predict" == PythonModel(LogisticRegression(), Visit, method="predict").method


def test_a_wrong_method_or_input_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no method 'guess'. It has: predict\."):
        PythonModel(Plain(), Visit, method="guess")
    with pytest.raises(ConfigError, match="It has: none of the usual ones"):
        PythonModel(3, Visit)
    with pytest.raises(ConfigError, match="Input 'rows' is unknown; it must be one of instances"):
        PythonModel(Plain(), Visit, input="rows")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no group 'x'"):
        PythonModel(Plain(), Visit, group="x")


def test_an_object_that_cannot_be_pickled_is_named(tmp_path: Path) -> None:
    plain = Plain()
    plain.lock = threading.Lock()  # type: ignore[attr-defined]

    with pytest.raises(DataError, match=r"'Plain', cannot be pickled: .*lock"):
        PythonModel(plain, Visit).save(tmp_path / "model")

    assert not (tmp_path / "model").exists()


def test_an_example_that_has_no_score_is_refused_on_save(tmp_path: Path) -> None:
    model = PythonModel(Plain(), Visit)
    model.example = b"\xff"
    with pytest.raises(DataError, match=r"Set model\.example"):
        model.save(tmp_path / "model")


def saved_plain(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    PythonModel(Plain(), Visit).save(place)
    return place


def test_a_truncated_or_changed_pickle_is_refused(tmp_path: Path) -> None:
    file = saved_plain(tmp_path) / "model.pkl"
    content = file.read_bytes()

    file.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"model\.pkl' has .* bytes; the model was saved with"):
        load_any(file.parent, Visit)
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(DataError, match=r"model\.pkl' is not what was saved"):
        load_any(file.parent, Visit)
    file.unlink()
    with pytest.raises(NotFound, match=r"model\.pkl' of the model is missing"):
        load_any(file.parent, Visit)


def test_a_record_without_the_pickle_is_refused(tmp_path: Path) -> None:
    record = saved_plain(tmp_path) / "model.json"
    record.write_text(record.read_text().replace('"blobs"', '"blobz"'))

    with pytest.raises(DataError, match=r"lists no file 'model\.pkl'"):
        load_any(record.parent, Visit)


def test_another_feature_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was made with another 'Visit'"):
        load_any(saved_plain(tmp_path), Other)


def test_a_library_that_is_not_there_is_named(tmp_path: Path) -> None:
    module = types.ModuleType("tadka_test_library")
    exec("class Thing:\n    def predict(self, rows): return [0.5] * len(rows)", vars(module))
    module.Thing.__module__ = module.__name__
    sys.modules[module.__name__] = module
    PythonModel(module.Thing(), Visit).save(tmp_path / "model")
    del sys.modules[module.__name__]

    with pytest.raises(ConfigError, match="needs the module 'tadka_test_library'"):
        load_any(tmp_path / "model", Visit)


class Refusing:
    """Cannot be made again."""

    def predict(self, rows: list[Visit]) -> list[float]:
        return [0.5] * len(rows)

    def __setstate__(self, state: object) -> None:
        raise RuntimeError("of another version")

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}


def test_an_object_that_cannot_be_unpickled_is_named(tmp_path: Path) -> None:
    PythonModel(Refusing(), Visit).save(tmp_path / "model")

    with pytest.raises(DataError, match="cannot be unpickled: RuntimeError: of another version"):
        load_any(tmp_path / "model", Visit)


class Moody:
    """Fails once it has been saved."""

    def predict(self, rows: list[Visit]) -> list[float]:
        return [0.5] * len(rows)

    def __setstate__(self, state: dict[str, float]) -> None:
        self.predict = None  # type: ignore[assignment,method-assign]
        vars(self)["predict"] = lambda rows: [state["score"]] * len(rows)

    def __getstate__(self) -> dict[str, float]:
        return {"score": self.score}

    score = 0.5


@pytest.mark.parametrize(("score", "words"), [(0.6, "scores its example 0.6"), (7.0, "gives 7.0")])
def test_an_example_of_another_score_is_refused(tmp_path: Path, score: float, words: str) -> None:
    moody = Moody()
    moody.score = score
    PythonModel(moody, Visit).save(tmp_path / "model")

    with pytest.raises(DataError, match=words):
        load_any(tmp_path / "model", Visit)


def test_scoring_says_that_it_does_not_know_the_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is of kind 'python'"):
        load(saved_plain(tmp_path), Visit)


def test_a_sparse_row_adds_what_falls_into_one_slot() -> None:
    class Narrow(Visit, size=2):
        pass

    matrix = PythonModel(Plain(), Narrow, input="sparse").inputs([Narrow("a", 1, 2.0, True, ["x"])])

    assert matrix.has_canonical_format
    assert Narrow.definition().num_slots == matrix.shape[1]
    assert 1.0 < matrix.data.max()


def test_no_library_is_needed_to_import_the_module() -> None:
    code = (
        "import sys, tadka.serve.store.custom, tadka.serve.store.live;"
        "print([m for m in ('torch','scipy','sklearn','pyarrow','pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
