import datetime as dt
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError
from tadka.dataset.check.check import CheckFailed
from tadka.models.data.check import CheckConfig, check
from tadka.models.data.config import DataConfig
from tadka.models.data.data import Data
from tadka.models.data.footer import dtype_of
from tadka.models.data.prepare import prepare
from tadka.models.data.report import CheckReport, Finding
from tadka.models.data.split import Split
from tadka.models.define.column import Column

USER = Column("user", "int64", vocabulary=True)
ITEM = Column("item", "int64", vocabulary=True)
LABEL = Column("label", "float32", role="label")
Columns = dict[str, Any]


def good(num_rows: int = 60, first: int = 0) -> Columns:
    """Pairs of 20 users with items, without a repetition, half of them positive."""
    numbers = np.arange(first, first + num_rows)
    return {
        "user": numbers % 20,
        "item": numbers // 20 + 100,
        "label": (numbers * 7 % 4 < 2).astype(np.float32),
    }


def data_of(folder: Path, split: Any = None, **parts: Columns) -> Data:
    paths = {}
    for name, columns in parts.items():
        paths[name] = str(folder / f"{name}.parquet")
        pq.write_table(pa.table(columns), paths[name])
    found = prepare(DataConfig(**paths), folder / "out")  # type: ignore[arg-type]
    return found if split is None else Data(parts=found.parts, counts=found.counts, split=split)


def told(report: CheckReport) -> list[tuple[str, str, str]]:
    return [(one.severity, one.name, one.part) for one in report.findings]


def only(report: CheckReport) -> Finding:
    assert 1 == len(report.findings), str(report)
    return report.findings[0]


def test_good_data_has_no_findings(tmp_path: Path) -> None:
    report = check(data_of(tmp_path, train=good()), [USER, ITEM, LABEL], task="binary")

    assert (True, ()) == (report.is_ok, report.findings)
    assert {"NullShare(user)", "NoDuplicates", "LabelShare(label)", "ColumnType(item)"} <= set(
        report.passed
    )
    assert {"train": 60} == report.measured["rows"]
    assert {"0.0": 0.5, "1.0": 0.5} == report.measured["label_share"]["train"]


# ---------------------------------------------------------------- columns and types


def test_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    rows = good()
    rows["itm"] = rows.pop("item")

    found = only(check(data_of(tmp_path, train=rows), [USER, ITEM, LABEL]))

    assert ("error", "ColumnExists(item)", "footer") == (found.severity, found.name, found.stage)
    assert "Did you mean 'itm'? Name it at data.columns.item." in found.message


@pytest.mark.parametrize(
    ("dtype", "values", "is_fine"),
    [
        ("float32", pa.array([1, 2] * 30, pa.int32()), True),
        ("int64", pa.array(["1", "2"] * 30), False),
        ("int64", pa.array([1.0, 2.0] * 30), False),
        ("key", pa.array(["a", "b"] * 30), True),
        ("string", pa.array(["a", "b"] * 30).dictionary_encode(), True),
        ("list[int64]", pa.array([[1], []] * 30), True),
        ("list[int64]", pa.array([[1.5], []] * 30), False),
        ("bytes", pa.array([b"a", b"b"] * 30), True),
    ],
)
def test_types_that_will_do(tmp_path: Path, dtype: str, values: pa.Array, is_fine: bool) -> None:
    data = data_of(tmp_path, train={**good(), "x": values})

    report = check(data, [USER, ITEM, LABEL, Column("x", dtype)])

    assert ([] if is_fine else [("error", "ColumnType(x)", "train")]) == told(report)


def test_times_may_be_times_or_numbers(tmp_path: Path) -> None:
    time = Column("time", "int64", role="time")

    for values in (pa.array(range(60)), pa.array(range(60), pa.timestamp("us"))):
        assert [] == told(check(data_of(tmp_path, train={**good(), "time": values}), [USER, time]))


# ---------------------------------------------------------------- values


def test_nulls_are_counted_and_their_first_rows_named(tmp_path: Path) -> None:
    rows = good()
    rows["age"] = [None if n % 8 == 3 else n for n in range(60)]

    found = only(check(data_of(tmp_path, train=rows), [USER, ITEM, LABEL, Column("age", "int64")]))

    assert ("error", "NullShare(age)") == (found.severity, found.name)
    assert "8 of 60 rows (13.33%) are null; at most 0.00% are accepted." == found.message
    assert [3, 11, 19, 27, 35] == [row for row, _ in found.rows]


def test_a_share_may_be_missing(tmp_path: Path) -> None:
    rows = {**good(), "age": [None, float("nan"), *map(float, range(58))]}
    columns = [USER, ITEM, LABEL]

    enough = check(data_of(tmp_path, train=rows), [*columns, Column("age", null_share=0.04)])
    short = check(data_of(tmp_path, train=rows), [*columns, Column("age", null_share=0.02)])

    assert [] == told(enough)
    assert 2 / 60 == enough.measured["missing_share"]["age"]["train"]
    assert ["NullShare(age)", "NoNan(age)"] == [one.name for one in short.findings]
    assert [(1, "nan")] == [(row, str(value)) for row, value in short.findings[1].rows]


@pytest.mark.parametrize("name", ["label", "weight"])
def test_nan_in_labels_and_features_names_its_row(tmp_path: Path, name: str) -> None:
    rows = {**good(), "weight": np.ones(60)}
    rows[name] = np.where(np.arange(60) == 41, np.nan, rows[name])

    found = only(
        check(data_of(tmp_path, train=rows), [USER, LABEL, Column("weight")], task="binary")
    )

    assert ("error", f"NoNan({name})", 41) == (found.severity, found.name, found.rows[0][0])
    assert "1 of 60 rows (1.67%) are NaN" in found.message


def test_infinite_values_and_those_out_of_range_are_told(tmp_path: Path) -> None:
    rows = {**good(), "age": [-1.0, np.inf, 200.0, *[30.0] * 57]}

    findings = check(data_of(tmp_path, train=rows), [USER, Column("age", low=0, high=120)]).findings

    assert ["InRange(age)"] * 2 == [one.name for one in findings]
    assert "1 of 60 rows (1.67%) are infinite." == findings[0].message
    assert "3 of 60 rows (5.00%) are outside the range from 0 to 120." == findings[1].message
    assert [0, 1, 2] == [row for row, _ in findings[1].rows]


def test_values_that_are_not_listed_are_told(tmp_path: Path) -> None:
    rows = {**good(), "sex": ["F", "M", "X", None] * 15}
    column = Column("sex", "string", values=("F", "M"), null_share=0.5)

    found = only(check(data_of(tmp_path, train=rows), [USER, column]))

    assert ("OneOf(sex)", (2, "X")) == (found.name, found.rows[0])
    assert "15 of 60 rows (25.00%) have another value than 'F', 'M'." == found.message


def test_dictionaries_count_as_their_values(tmp_path: Path) -> None:
    colour = pa.array(["red", "blue", "grey"] * 20).dictionary_encode()
    data = data_of(tmp_path, train={**good(), "colour": colour})

    found = only(check(data, [LABEL, Column("colour", "string", values=("red", "blue"))]))

    assert ("OneOf(colour)", (2, "grey")) == (found.name, found.rows[0])


@pytest.mark.parametrize("labels", [["a", "b"] * 30, [True, None, False] * 20])
def test_classes_that_are_no_numbers_are_not_asked_to_be_whole(
    tmp_path: Path, labels: list[Any]
) -> None:
    dtype = "string" if labels[0] == "a" else "int64"
    label = Column("label", dtype, role="label", null_share=0.5)
    train = {**good(), "label": labels}

    assert check(data_of(tmp_path, train=train), [label], task="class").is_ok


def test_columns_of_any_type_beside_those_of_the_model_are_fine(tmp_path: Path) -> None:
    days = [dt.date(2026, 1, 1)] * 60
    extra = {"day": days, "price": [Decimal("1.5")] * 60, "place": [{"x": 1}] * 60}

    report = check(data_of(tmp_path, train={**good(), **extra}), [USER, ITEM, LABEL])

    assert () == report.findings


def test_items_of_lists_are_looked_at(tmp_path: Path) -> None:
    rows = {**good(), "vector": [[1.0, float("nan")], [1.0, None], *[[0.0, 1.0]] * 58]}

    findings = check(
        data_of(tmp_path, train=rows), [USER, Column("vector", "list[float32]")]
    ).findings

    assert [("NullShare(vector)", 1), ("NoNan(vector)", 0)] == [
        (one.name, one.rows[0][0]) for one in findings
    ]


def test_rows_are_numbered_through_all_files_of_a_part(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", float("nan"))):
        pq.write_table(pa.table({"x": [1.0, value]}), tmp_path / f"{name}.parquet")
    data = prepare(DataConfig(train=str(tmp_path / "*.parquet")), tmp_path / "out")

    found = check(data, [Column("x")], config=CheckConfig(max_duplicates=1)).findings

    assert [3] == [row for one in found for row, _ in one.rows]


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("task", "labels", "name", "row"),
    [
        ("binary", [0.0, 1.0, 2.0], "OneOf(label)", 2),
        ("binary", [-1.0, 1.0, 1.0], "OneOf(label)", 0),
        ("class", [0.0, 1.5, 1.0], "OneOf(label)", 1),
        ("class", [0.0, 1.0, -1.0], "OneOf(label)", 2),
        ("rating", [1.0, 5.0, 6.0], "InRange(label)", 2),
    ],
)
def test_labels_outside_their_domain_are_named(
    tmp_path: Path, task: Any, labels: Sequence[float], name: str, row: int
) -> None:
    label = Column("label", role="label", low=1, high=5) if task == "rating" else LABEL
    data = data_of(tmp_path, train={**good(3), "label": labels})

    found = only(check(data, [USER, label], task=task))

    assert ("error", name, row) == (found.severity, found.name, found.rows[0][0])


@pytest.mark.parametrize(
    ("task", "severity"), [("binary", "error"), ("", "error"), ("ranking", "warn")]
)
def test_one_class_only_is_refused(tmp_path: Path, task: Any, severity: str) -> None:
    data = data_of(tmp_path, train={**good(), "label": np.ones(60)})

    found = only(check(data, [USER, LABEL], task=task))

    assert (severity, "LabelShare(label)") == (found.severity, found.name)
    assert "all 60 labels are 1.0; at least 2 different ones must be there." == found.message


def test_one_class_in_test_is_warned_of(tmp_path: Path) -> None:
    test = {"user": [1, 2], "item": [100, 101], "label": [1.0, 1.0]}
    report = check(data_of(tmp_path, train=good(), test=test), [USER, LABEL], task="binary")

    assert ("warn", "LabelShare(label)", "test") in told(report)


def test_rare_and_shifted_labels_are_warned_of(tmp_path: Path) -> None:
    rare = {**good(2_000), "label": np.arange(2_000) == 7}
    train = data_of(tmp_path, train=rare)
    label = Column("label", "bool", role="label")

    assert ("warn", "LabelShare(label)") == (
        (found := only(check(train, [USER, label], task="binary"))).severity,
        found.name,
    )
    assert "0.0500% of 2,000 labels are positive" in found.message
    test = {"user": [1] * 10, "item": range(900, 910), "label": [1.0] * 9 + [0.0]}
    shifted = check(data_of(tmp_path, train=good(), test=test), [USER, LABEL], task="binary")
    assert [("warn", "LabelShift(label)", "test")] == told(shifted)
    assert "90.00% of the labels are positive, and 50.00% of train's" in shifted.findings[0].message


# ---------------------------------------------------------------- parts


def test_empty_parts_are_refused(tmp_path: Path) -> None:
    empty = {name: np.asarray(values)[:0] for name, values in good().items()}

    report = check(data_of(tmp_path, train=empty, test=empty), [USER, ITEM, LABEL])

    assert [("error", "RowCount", "train"), ("error", "RowCount", "test")] == told(report)
    assert "0 rows; at least 1 must be there." == report.findings[0].message


def test_unseen_values_are_measured_warned_of_and_refused_when_there_is_none_else(
    tmp_path: Path,
) -> None:
    test = {"user": [1, 77, 78, 79], "item": [901, 902, 903, 904], "label": [0.0, 1.0, 0.0, 1.0]}

    report = check(data_of(tmp_path, train=good(), test=test), [USER, ITEM, LABEL])

    assert [("error", "Coverage(item)", "test"), ("warn", "Coverage(user)", "test")] == told(report)
    assert {"user": {"test": 0.25}, "item": {"test": 0.0}} == report.measured["coverage"]
    assert "75.00% of the values are not in train's vocabulary" in report.findings[1].message
    assert [(1, 77), (2, 78), (3, 79)] == list(report.findings[1].rows)


def test_columns_of_one_vocabulary_are_known_together(tmp_path: Path) -> None:
    history = Column("history", "list[int64]", vocabulary="item")
    train = {**good(), "history": [[500], *[[100]] * 59]}
    test = {"user": [1], "item": [500], "label": [1.0], "history": [[101, 999]]}

    report = check(data_of(tmp_path, train=train, test=test), [ITEM, history])

    assert {"item": {"test": 1.0}, "history": {"test": 0.5}} == report.measured["coverage"]


def test_duplicates_are_warned_of(tmp_path: Path) -> None:
    rows = {name: np.append(values, values[:2]) for name, values in good().items()}

    report = check(data_of(tmp_path, train=rows), [USER, ITEM, LABEL])

    assert [("warn", "NoDuplicates", "train")] == told(report)
    assert "2 of 62 rows (3.23%) are equal to an earlier one." == report.findings[0].message
    assert [60, 61] == [row for row, _ in report.findings[0].rows]


# ---------------------------------------------------------------- leakage


def test_pairs_in_both_parts_are_refused_and_named(tmp_path: Path) -> None:
    test = {"user": [1, 2], "item": [100, 999], "label": [0.0, 1.0]}

    report = check(data_of(tmp_path, train=good(), test=test), [USER, ITEM, LABEL])

    assert [("error", "NoOverlap(user, item)", "test")] == told(report)[:1]
    assert "1 of 2 rows (50.00%) have a pair (user, item) that is in train." == (
        report.findings[0].message
    )
    assert [(0, "user=1 item=100")] == [(row, str(v)) for row, v in report.findings[0].rows]


def test_pairs_of_a_log_of_events_are_only_warned_of(tmp_path: Path) -> None:
    train = {name: np.tile(values, 2) for name, values in good().items()} | {"hour": range(120)}
    test = {"user": [1], "item": [100], "label": [0.0], "hour": [500]}

    report = check(data_of(tmp_path, train=train, test=test), [USER, ITEM])

    assert [("warn", "NoOverlap(user, item)", "test")] == told(report)
    assert "pairs occur more than once there, too" in report.findings[0].message


def test_equal_rows_in_both_parts_are_warned_of_where_there_are_no_pairs(tmp_path: Path) -> None:
    train = {"x": np.arange(60), "label": good()["label"]}
    test = {"x": [5, 70], "label": [train["label"][5], 1.0]}

    report = check(data_of(tmp_path, train=train, test=test), [Column("x"), LABEL])

    assert [("warn", "NoOverlap", "test")] == told(report)
    assert "there is no column 'user'." == report.skipped["NoOverlap(user, item)"]


def times(train: Sequence[int], test: Sequence[int]) -> dict[str, Columns]:
    return {
        "train": {**good(len(train)), "time": train},
        "test": {
            "user": [1] * len(test),
            "item": range(900, 900 + len(test)),
            "label": [0.0] * len(test),
            "time": test,
        },
    }


def test_rows_of_test_before_one_of_train_are_refused_for_a_split_by_time(tmp_path: Path) -> None:
    report = check(data_of(tmp_path, Split(kind="time"), **times([5, 9, 7, 1], [8, 6, 12])), [USER])

    assert [("error", "TimeOrder(time)", "test")] == told(report)
    assert "the last row of train is of 9 (row 1), after the first of test, of 6" in (
        report.findings[0].message
    )
    assert [(1, 6)] == list(report.findings[0].rows)


def test_times_in_order_or_equal_at_the_cut_are_fine(tmp_path: Path) -> None:
    report = check(data_of(tmp_path, Split(kind="time"), **times([1, 2, 3], [3, 4])), [USER])

    assert [] == told(report)
    assert "TimeOrder" in report.passed


def test_other_splits_are_not_asked_for_an_order(tmp_path: Path) -> None:
    report = check(data_of(tmp_path, **times([5, 9, 7, 1], [8, 6, 12])), [USER])

    assert [] == told(report)
    assert "the split is given, not by time." == report.skipped["TimeOrder"]


def test_split_by_time_without_times_says_so(tmp_path: Path) -> None:
    report = check(data_of(tmp_path, Split(kind="time"), train=good()), [USER])

    assert "fewer than two parts have column 'time'." == report.skipped["TimeOrder"]


def test_statistics_learned_from_test_are_refused(tmp_path: Path) -> None:
    test = {"user": [1, 2], "item": [900, 901], "label": [0.0, 1.0]}
    data = data_of(tmp_path, train=good(), test=test)
    list(data.fitting("vocabulary user").scan("train"))
    assert [] == told(check(data, [USER]))

    list(data.fitting("mean of age").scan("train"))
    data.fitting("mean of age").read("test")
    report = check(data, [USER])

    assert {"vocabulary user": ("train",), "mean of age": ("train", "test")} == data.fitted
    assert [("error", "FittedOnTrain", "test")] == told(report)
    assert "mean of age was learned from test; it must be learned from train alone." == (
        report.findings[0].message
    )


def test_what_a_run_stored_of_its_statistics_can_be_given(tmp_path: Path) -> None:
    report = check(data_of(tmp_path, train=good()), [USER], fitted={"prepare": ["train", "valid"]})

    assert [("error", "FittedOnTrain", "valid")] == told(report)


def noisy(num_rows: int = 200) -> Columns:
    rng = np.random.default_rng(0)
    return {"user": np.arange(num_rows), "label": rng.integers(0, 2, num_rows).astype(np.float32)}


def test_a_column_that_knows_the_label_is_refused(tmp_path: Path) -> None:
    rows = noisy()
    rng = np.random.default_rng(1)
    rows["paid"] = 5.0 - 3 * rows["label"] + rng.random(200)
    rows["noise"] = rng.random(200)
    columns = [Column("paid"), Column("noise"), LABEL]

    found = only(check(data_of(tmp_path, train=rows), columns, task="binary"))

    assert ("error", "NoSinglePredictor(paid)") == (found.severity, found.name)
    assert "it alone tells the label (1.0000 by area under the ROC curve" in found.message


def test_a_text_that_knows_the_label_is_refused_and_ids_that_occur_once_are_not(
    tmp_path: Path,
) -> None:
    rows = noisy()
    rows["state"] = np.where(rows["label"] > 0, "done", "open")
    columns = [USER, Column("state", "string"), LABEL]

    found = only(check(data_of(tmp_path, train=rows), columns, task="binary"))

    assert "NoSinglePredictor(state)" == found.name


def test_a_number_that_orders_ratings_is_refused(tmp_path: Path) -> None:
    ratings = np.random.default_rng(0).integers(1, 6, 200).astype(np.float32)
    rows = {"label": ratings, "stars": ratings * 20, "x": np.arange(200.0)}

    found = only(check(data_of(tmp_path, train=rows), [Column("stars"), Column("x"), LABEL]))

    assert "NoSinglePredictor(stars)" == found.name


def test_accepted_checks_only_warn(tmp_path: Path) -> None:
    rows = {**noisy(), "state": np.where(noisy()["label"] > 0, "done", "open")}
    columns = [USER, Column("state", "string"), LABEL]
    data = data_of(tmp_path, train=rows)

    for accept in ("NoSinglePredictor", "NoSinglePredictor(state)"):
        report = check(data, columns, config=CheckConfig(accept=(accept,)))
        assert [("warn", "NoSinglePredictor(state)", "train")] == told(report)
        assert report.is_ok


# ---------------------------------------------------------------- size, report


def test_many_keys_are_thinned_out_and_counts_estimated(tmp_path: Path) -> None:
    numbers = np.arange(4_000)
    train = {"user": numbers, "item": numbers, "label": numbers % 2}
    test = {
        "user": numbers[:2_000] + 2_000,
        "item": numbers[:2_000] + 2_000,
        "label": numbers[:2_000] % 2,
    }

    report = check(
        data_of(tmp_path, train=train, test=test),
        [USER, Column("label", role="label")],
        config=CheckConfig(max_keys=1_000),
    )

    pairs = next(one for one in report.findings if one.name == "NoOverlap(user, item)")
    assert 1_600 < int(pairs.message.split(" of ")[0].replace(",", "")) <= 2_000
    assert 1.0 == report.measured["coverage"]["user"]["test"]


def test_report_is_text_json_and_an_error(tmp_path: Path) -> None:
    rows = {**good(), "label": np.where(np.arange(60) == 3, np.nan, 1.0)}
    report = check(data_of(tmp_path, train=rows), [USER, LABEL, Column("x")])

    text = str(report)
    assert text.startswith("60 train rows: 3 errors, 0 warnings, ")
    assert "error: NoNan(label) in train: 1 of 60 rows (1.67%) are NaN" in text
    assert "First: row 3 (nan)." in text
    back = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (False, 3) == (back["is_ok"], len(back["findings"]))
    assert [[3, "nan"]] == next(f["rows"] for f in back["findings"] if f["check"] == "NoNan")
    with pytest.raises(
        CheckFailed, match=r"3 errors; nothing was trained[\s\S]*check\.accept"
    ) as e:
        report.require_ok()
    assert 3 == len(e.value.results)
    CheckReport().require_ok()


@pytest.mark.parametrize("given", [{"max_auc": 1.5}, {"max_unseen": -1}, {"max_keys": 0}])
def test_limits_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        CheckConfig(**given)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.float64(), "float64"),
        (pa.float16(), "float16"),
        (pa.large_string(), "string"),
        (pa.list_(pa.float32(), 3), "list[float32]"),
        (pa.binary(4), "bytes"),
        (pa.date32(), "time"),
        (pa.null(), "null"),
    ],
)
def test_types_of_arrow_in_the_words_of_columns(kind: pa.DataType, expected: str) -> None:
    assert expected == dtype_of(kind)


# ---------------------------------------------------------------- real data


@pytest.mark.needs_data("ml-100k")
def test_u1_passes_although_it_is_no_split_by_time(tmp_path: Path, data: Path) -> None:
    config = DataConfig(source="ml-100k", folder=str(data / "ml-100k"), columns={"label": "rating"})
    label = Column("label", role="label", low=1, high=5)
    prepared = prepare(config, tmp_path)

    report = check(prepared, [USER, ITEM, label], task="rating")
    as_if = check(prepared, [USER, ITEM, label], task="rating", split=Split(kind="time"))

    assert [] == told(report)
    assert 1.0 == report.measured["coverage"]["user"]["test"]
    assert ["TimeOrder(time)"] == [one.name for one in as_if.findings]
    assert "893286638" in as_if.findings[0].message
    assert "874724710" in as_if.findings[0].message


@pytest.mark.needs_data("ml-100k")
def test_last_fifth_of_ml_100k_is_warned_of_for_its_unseen_users(
    tmp_path: Path, data: Path
) -> None:
    config = DataConfig(
        source="ml-100k",
        folder=str(data / "ml-100k"),
        columns={"label": "rating"},
        split=Split(kind="time"),
    )

    report = check(prepare(config, tmp_path), [USER, ITEM, LABEL], task="rating")

    assert [("warn", "Coverage(user)", "test")] == told(report)
    assert "85." in report.findings[0].message
    assert "TimeOrder" in report.passed


@pytest.mark.needs_data("frappe")
def test_frappe_is_a_log_in_which_pairs_return(tmp_path: Path, data: Path) -> None:
    config = DataConfig(source="frappe", folder=str(data / "frappe"))

    report = check(prepare(config, tmp_path), [USER, ITEM, LABEL], task="binary")

    assert report.is_ok
    assert ("warn", "NoOverlap(user, item)", "test") in told(report)
