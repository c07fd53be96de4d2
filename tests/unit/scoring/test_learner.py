import base64
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.features.encoding import Skip
from tadka.features.features import Features
from tadka.scoring.directory import load
from tadka.scoring.example import Examples
from tadka.scoring.learner import Ffm, Fm, Learner, Linear
from tadka.scoring.model import Array
from tadka.scoring.training import Epoch, Training

ONE_THREAD = Training(epochs=6, threads=1)


class Visit(Features, size=2**12, groups={"place": ["shop"]}):
    user: str
    shop: int | None
    price: float
    tags: list[str]
    note: Annotated[str, Skip()]

    @property
    def user_shop(self) -> str:
        return f"{self.user}_{self.shop}"


def visits(num_rows: int, seed: int = 0) -> pa.Table:
    """Rows in which the pair of user and shop decides, and neither alone."""
    random = np.random.default_rng(seed)
    user, shop = random.integers(0, 8, num_rows), random.integers(0, 8, num_rows)
    liked = (user + shop) % 2 == 0
    label = random.random(num_rows) < np.where(liked, 0.8, 0.2)
    return pa.table(
        {
            "user": pa.array([f"u{number}" for number in user]),
            "shop": pa.array(shop, mask=random.random(num_rows) < 0.02),
            "price": random.normal(10, 3, num_rows),
            "tags": pa.array([[f"t{n}" for n in range(number % 3)] for number in user]),
            "note": pa.array(["-"] * num_rows),
            "label": label,
        }
    )


TRAIN, VALID = visits(3000), visits(1000, seed=1)


def models() -> list[Learner]:
    return [
        Linear(Visit, training=ONE_THREAD),
        Fm(Visit, dim=4, training=ONE_THREAD),
        Ffm(Visit, dim=4, training=ONE_THREAD),
    ]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.kind)
def test_a_model_learns_what_only_a_pair_of_fields_tells(model: Learner) -> None:
    model.fit(TRAIN, valid=VALID)

    measures = model.evaluate(VALID)
    assert measures["auc"] > 0.75
    assert measures["log_loss"] < 0.58
    assert model.metrics["valid_auc"] == measures["auc"]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.kind)
def test_a_row_alone_scores_as_in_its_table_to_the_last_bit(model: Learner) -> None:
    model.fit(TRAIN).calibrate(VALID, "platt")
    scores = model.predict(VALID)
    names = [field.name for field in Visit.definition().fields]
    rows = [Visit(**values) for values in VALID.select(names).to_pylist()]

    assert scores.tolist() == [model.score(row.to_message()) for row in rows]
    assert scores.tolist() == [model.score(row) for row in rows]
    assert scores.tolist() == model.predict(rows).tolist()


@pytest.mark.parametrize("model", models(), ids=lambda model: model.kind)
@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_saved_model_scores_as_before(model: Learner, method: str, tmp_path: Path) -> None:
    model.fit(TRAIN, valid=VALID).calibrate(VALID, method)

    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model", Visit)

    assert model.predict(VALID).tolist() == loaded.predict(VALID).tolist()
    assert model.metrics == loaded.metrics
    assert model.curve == loaded.curve
    assert type(model) is type(loaded)
    assert model.settings() == loaded.settings()
    assert all(isinstance(array, np.memmap) for array in loaded.arrays.values())


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("model", models(), ids=lambda model: model.kind)
def test_half_the_bits_change_scores_little(model: Learner, precision: str, tmp_path: Path) -> None:
    model.fit(TRAIN)

    halved = model.to_precision(precision)
    halved.save(tmp_path / "model")
    loaded = load(tmp_path / "model", Visit)

    assert np.abs(model.predict(VALID) - halved.predict(VALID)).max() < 0.02
    assert halved.predict(VALID).tolist() == loaded.predict(VALID).tolist()
    assert loaded.arrays["linear"].itemsize == 2


def test_one_thread_repeats_exactly() -> None:
    first, second = (Ffm(Visit, training=ONE_THREAD).fit(TRAIN, valid=VALID) for _ in range(2))

    for name, array in first.arrays.items():
        assert np.array_equal(array, second.arrays[name])


def test_a_group_of_features_is_all_that_a_model_sees() -> None:
    model = Linear(Visit, group="place", training=ONE_THREAD).fit(TRAIN)

    other = TRAIN.set_column(0, "user", pa.array(["somebody else"] * len(TRAIN)))
    assert model.predict(TRAIN).tolist() == model.predict(other).tolist()
    assert model.definition is not None
    assert [feature.name for feature in model.definition.features] == ["shop"]


def test_files_and_tables_train_the_same_model(tmp_path: Path) -> None:
    parquet.write_table(TRAIN.slice(0, 2000), tmp_path / "a.parquet", row_group_size=700)
    parquet.write_table(TRAIN.slice(2000), tmp_path / "b.parquet")

    from_table = Linear(Visit, training=ONE_THREAD).fit(TRAIN)
    from_files = Linear(Visit, training=ONE_THREAD).fit(str(tmp_path / "*.parquet"))

    assert np.array_equal(from_table.arrays["linear"], from_files.arrays["linear"])


def test_weights_of_zero_leave_rows_out() -> None:
    kept = TRAIN.slice(0, 1500)
    weight = pa.array(np.arange(len(TRAIN)) < 1500).cast("float32")
    spoiled = TRAIN.set_column(
        TRAIN.column_names.index("label"), "label", pa.array([True] * len(TRAIN))
    )
    both = pa.concat_tables([kept, spoiled.slice(1500)]).append_column("weight", weight)

    weighted = Linear(Visit, training=ONE_THREAD).fit(both, weight="weight")

    assert weighted.evaluate(VALID)["auc"] > 0.75


def test_fit_goes_on_from_the_parameters_it_has() -> None:
    model = Linear(Visit, training=Training(epochs=1, threads=1)).fit(TRAIN)
    first = model.curve[0].train_log_loss

    model.fit(TRAIN)

    assert model.curve[0].train_log_loss < first


def test_epochs_are_told_as_they_end() -> None:
    told: list[Epoch] = []
    model = Linear(Visit, training=ONE_THREAD).fit(TRAIN, valid=VALID, on_epoch=told.append)

    assert model.curve == told
    assert [1, 2] == [epoch.number for epoch in told[:2]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": pa.array([True] * 3000)}, "label"),
        ({"label": pa.array([None, *[True] * 2999])}, "row 0"),
        ({"label": pa.array(["yes"] * 3000)}, "string"),
        ({"label": pa.array([2.0] * 3000)}, "2"),
        ({"user": None}, "'user'"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_refused(
    change: dict[str, pa.Array | None], words: str
) -> None:
    table = TRAIN
    for name, column in change.items():
        place = table.column_names.index(name)
        table = (
            table.remove_column(place) if column is None else table.set_column(place, name, column)
        )

    with pytest.raises(DataError, match=words):
        Linear(Visit).fit(table)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        Linear(Visit).fit(TRAIN.slice(0, 0))


def test_a_model_without_parameters_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Call fit first"):
        Linear(Visit).predict(VALID)
    with pytest.raises(ConfigError, match="Call fit first"):
        Linear(Visit).save(tmp_path / "model")


def test_a_model_of_plain_rows_needs_no_feature_class(tmp_path: Path) -> None:
    examples = Examples.read(TRAIN, Visit)
    model = Fm(dim=2, training=ONE_THREAD).fit(Examples(examples.rows, examples.labels))

    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")

    assert model.predict(examples.rows).tolist() == loaded.predict(examples.rows).tolist()
    with pytest.raises(ConfigError, match="no feature class"):
        loaded.predict(TRAIN)
    with pytest.raises(ConfigError, match="no feature class"):
        loaded.score(b"")


def test_parameters_of_another_width_are_refused() -> None:
    """A score of a message reads at a slot and a feature without looking; they must be there."""
    num_slots = Visit.definition().num_slots
    arrays: dict[str, Array] = {
        "bias": np.zeros(1),
        "linear": np.zeros(num_slots, np.float32),
    }
    few = np.zeros((num_slots, 2, 4), np.float32)

    with pytest.raises(DataError, match=r"for 7 slots and 'Visit' has"):
        Linear(Visit).take({**arrays, "linear": np.zeros(7, np.float32)})
    with pytest.raises(DataError, match=r"for 2 features and 'Visit' has 5"):
        Ffm(Visit, dim=4).take({**arrays, "latent": few})


def test_an_unknown_calibration_is_refused() -> None:
    with pytest.raises(ConfigError, match="isotonic, platt"):
        Linear(Visit, training=ONE_THREAD).fit(TRAIN).calibrate(VALID, "temperature")


def test_calibration_brings_the_mean_score_to_the_mean_label() -> None:
    model = Linear(Visit, training=ONE_THREAD).fit(TRAIN)
    rare = VALID.filter(
        pa.compute.or_(pa.compute.invert(VALID["label"]), pa.compute.equal(VALID["shop"], 1))
    )

    model.calibrate(rare, "platt")

    assert model.evaluate(rare)["calibration"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.needs_data("libffm-sample")
class TestLibffm:
    def test_rows_train_and_models_return(self, data: Path, tmp_path: Path) -> None:
        train = Examples.from_libffm(data / "libffm-sample" / "bigdata.tr.txt")
        width = {"num_slots": train.rows.num_slots, "num_features": train.rows.num_features}
        valid = Examples.from_libffm(data / "libffm-sample" / "bigdata.te.txt", **width)
        model = Ffm(dim=4, linear=False, training=ONE_THREAD).fit(train, valid=valid)

        model.to_libffm(tmp_path / "model")
        returned = Ffm.from_libffm(tmp_path / "model")
        train.to_libffm(tmp_path / "rows.gz")
        again = Examples.from_libffm(tmp_path / "rows.gz", **width)

        assert len(train) == len(again) == 200
        assert model.predict(train.rows).tolist() == returned.predict(again.rows).tolist()
        assert model.settings() == returned.settings()

    def test_a_linear_part_cannot_be_written(self, data: Path, tmp_path: Path) -> None:
        train = Examples.from_libffm(data / "libffm-sample" / "bigdata.tr.txt")
        model = Ffm(dim=2, training=ONE_THREAD).fit(train)

        with pytest.raises(DataError, match="linear=False"):
            model.to_libffm(tmp_path / "model")


class TestDirectory:
    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        Linear(Visit, training=ONE_THREAD).fit(TRAIN, valid=VALID).save(tmp_path / "model")
        return tmp_path / "model"

    def change(self, place: Path, **values: object) -> None:
        file = place / "model.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    def test_it_is_not_replaced_unasked(self, place: Path) -> None:
        model = load(place, Visit)

        with pytest.raises(DataError, match="exists already"):
            model.save(place)
        model.save(place, replace=True)

        assert load(place, Visit).metrics == model.metrics

    def test_a_truncated_array_is_named(self, place: Path) -> None:
        file = place / "linear.npy"
        file.write_bytes(file.read_bytes()[:-100])

        with pytest.raises(DataError, match=r"linear\.npy"):
            load(place, Visit)

    def test_one_changed_bit_is_seen(self, place: Path) -> None:
        data = bytearray((place / "linear.npy").read_bytes())
        data[-1] ^= 1
        (place / "linear.npy").write_bytes(data)

        with pytest.raises(DataError, match="SHA-256"):
            load(place, Visit)

    def test_a_missing_array_is_named(self, place: Path) -> None:
        (place / "bias.npy").unlink()

        with pytest.raises(NotFound, match=r"bias\.npy"):
            load(place, Visit)

    def test_an_array_of_another_model_is_refused(self, place: Path) -> None:
        np.save(place / "linear.npy", np.zeros(7, np.float32))

        with pytest.raises(DataError, match=r"linear\.npy.*\[7\]"):
            load(place, Visit)

    def test_another_example_score_is_refused(self, place: Path) -> None:
        example = json.loads((place / "model.json").read_text())["example"]
        self.change(place, example={**example, "score": (0.123).hex()})

        with pytest.raises(DataError, match="example"):
            load(place, Visit)

    def test_its_example_is_the_first_training_row(self, place: Path) -> None:
        example = json.loads((place / "model.json").read_text())["example"]
        first = TRAIN.slice(0, 1).to_pylist()[0]

        row = Visit.from_message(base64.b64decode(example["message"]))

        assert first["user"] == row.user
        assert first["price"] == row.price

    def test_another_class_is_refused_with_what_differs(self, place: Path) -> None:
        class Visit(Features, size=2**12):
            user: str
            shop: int
            price: float
            tags: list[str]

            @property
            def user_shop(self) -> str:
                return f"{self.shop}_{self.user}"

        with pytest.raises(ConfigError) as error:
            load(place, Visit)

        assert "type of field 'shop' is int here and int | None there" in str(error.value)
        assert "property of feature 'user_shop'" in str(error.value)
        assert "field 'note' is there only" in str(error.value)

    def test_a_renumbered_field_is_refused_with_both_numbers(self, place: Path) -> None:
        class Visit(Features, size=2**12):
            shop: int | None
            user: str
            price: float
            tags: list[str]
            note: Annotated[str, Skip()]

            @property
            def user_shop(self) -> str:
                return f"{self.user}_{self.shop}"

        with pytest.raises(ConfigError, match="number of field 'shop' is 1 here and 2 there"):
            load(place, Visit)

    def test_a_class_that_cannot_be_imported_is_named(self, place: Path) -> None:
        record = json.loads((place / "model.json").read_text())
        self.change(place, features=record["features"] | {"class": "nowhere_at_all:Visit"})

        with pytest.raises(ConfigError, match="nowhere_at_all:Visit"):
            load(place)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
    def test_a_damaged_record_is_refused(self, place: Path, text: str) -> None:
        (place / "model.json").write_text(text)

        with pytest.raises(DataError, match=r"model\.json"):
            load(place, Visit)

    def test_a_folder_without_a_model_is_not_found(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="no model directory"):
            load(tmp_path, Visit)

    def test_parameters_that_are_not_finite_are_not_saved(self, tmp_path: Path) -> None:
        model = Linear(Visit, training=ONE_THREAD).fit(TRAIN)
        model.arrays["linear"][3] = np.nan

        with pytest.raises(DataError, match="'linear'"):
            model.save(tmp_path / "spoiled")
        assert not (tmp_path / "spoiled").exists()

    def test_the_page_shows_the_curve(self, place: Path) -> None:
        page = (place / "report.html").read_text()

        assert "Learning curve" in page
        assert "<svg" in page
        assert "user_shop" in page
