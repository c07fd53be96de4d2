import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.scoring.forest import Forest, flatten
from tadka.scoring.forest_draft import LIBRARIES, MAX_DEPTH, ForestDraft, Split
from tests.unit.scoring.adult import CODES, SPECIAL, Matrix, assert_equal_bits, assert_same_forest

Arrays = dict[str, npt.NDArray[np.generic]]


def random_split(
    random: np.random.Generator, draft: ForestDraft, widths: list[int], left: int, right: int
) -> Split:
    column = int(random.integers(len(widths)))
    missing = int(random.integers(4 if draft.library == "lightgbm" else 2))
    if not widths[column]:
        threshold = float(random.choice([*SPECIAL, np.inf, -np.inf, random.normal()]))
        return Split(column, threshold, missing, left, right)
    known = len(draft.keys[column]) if draft.keys else widths[column]
    codes = random.choice(known, int(random.integers(known + 1)), replace=False).tolist()
    listed_left = bool(random.integers(2))
    return Split(column, 0.0, missing, left, right, codes=codes, listed_left=listed_left)


def random_forest(seed: int) -> Forest:
    """Trees of any shape, from single leaves to chains, over numeric and categorical columns."""
    random = np.random.default_rng(seed)
    library = str(random.choice(LIBRARIES))
    widths = random.choice([0, 0, 1, 5, 61, 62, 63, 64, 126, 127, 300], 4).tolist()
    draft = ForestDraft(library, "random", [f"column {n}" for n in range(len(widths))])
    draft.start, draft.shift = random.normal(), random.normal()
    draft.scale, draft.divisor = float(random.choice([1.0, 0.3])), float(random.choice([1.0, 7.0]))
    if library == "xgboost":
        draft.start = float(np.float32(draft.start))
    if library == "catboost":
        hashes = {number: hash_of(number) for number in range(-3, 400)}
        for column, width in enumerate(widths):
            if width:
                draft.keys[column] = sorted(hashes[number] for number in range(width))
    oblivious = library == "catboost" and bool(random.integers(2))
    for _ in range(int(random.integers(20))):
        if oblivious:
            levels = [
                random_split(random, draft, widths, -1, -1) for _ in range(random.integers(8))
            ]
            draft.add_levels(levels, random.normal(size=1 << len(levels)).tolist())
            continue
        nodes: list[Split | float] = [float(np.float32(random.normal()))]
        for _ in range(int(random.integers(40))):
            leaf = int(random.choice([n for n, x in enumerate(nodes) if isinstance(x, float)]))
            nodes[leaf] = random_split(random, draft, widths, len(nodes), len(nodes) + 1)
            nodes += np.float32(random.normal(size=2)).astype(float).tolist()
        draft.add_tree(nodes)
    return Forest.from_arrays(draft.arrays())


def hash_of(number: int) -> int:
    from tadka.scoring.forest_catboost import hash_category

    return hash_category(float(number))


def random_rows(seed: int, num_rows: int = 60) -> Matrix:
    random = np.random.default_rng(seed)
    values = [*SPECIAL, *CODES, np.nan, np.inf, -np.inf, 1e300, -1e300, 2.0**53, 2.0**53 + 2]
    values += [*range(-3, 310), *random.normal(size=100).tolist(), *[np.nan] * 40]
    return random.choice(values, (num_rows, 4))


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_the_kernel_gives_the_bits_of_the_walker(seed: int) -> None:
    kernel_module = pytest.importorskip("tadka.scoring.tree")
    forest = random_forest(seed)
    kernel = kernel_module.ForestKernel(forest)
    rows_BF = random_rows(seed)

    with np.errstate(over="ignore"):
        expected_B = forest.margins(rows_BF)

    assert_equal_bits(expected_B, kernel.margins(rows_BF))
    assert_equal_bits(expected_B, np.array([kernel.margin_row(row) for row in rows_BF]))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_arrays_stored_without_pickle_make_the_same_forest(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    forest = random_forest(seed)
    folder = tmp_path_factory.mktemp("forest")
    for name, array in forest.to_arrays().items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)

    arrays: Arrays = {file.stem: np.load(file, mmap_mode="r") for file in folder.iterdir()}
    stored = Forest.from_arrays(arrays)

    assert_same_forest(forest, stored)
    assert forest.feature_names == stored.feature_names
    assert_equal_bits(forest.margins(random_rows(seed)), stored.margins(random_rows(seed)))


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_damaged_arrays_are_refused_or_harmless(seed: int) -> None:
    kernel_module = pytest.importorskip("tadka.scoring.tree")
    random = np.random.default_rng(seed)
    arrays = random_forest(seed % 50).to_arrays()
    numeric = [name for name, array in arrays.items() if array.dtype.kind in "fiu" and len(array)]
    name = str(random.choice(numeric))
    damaged = arrays[name].copy()
    if random.integers(2):
        limits = [-(2**31), -1, 0, 1, 2, 3, 63, 2**31 - 1]
        place = int(random.integers(len(damaged)))
        value = np.array([random.choice(limits)]).astype(damaged.dtype)[0]
        damaged[place] = np.nan if damaged.dtype.kind == "f" and random.integers(2) else value
    else:
        damaged = damaged[: int(random.integers(len(damaged)))]

    try:
        forest = Forest.from_arrays(arrays | {name: damaged})
    except DataError:
        return
    rows_BF = random_rows(seed)
    with np.errstate(all="ignore"):
        expected_B = forest.margins(rows_BF)
    assert_equal_bits(expected_B, kernel_module.ForestKernel(forest).margins(rows_BF))


@pytest.fixture
def arrays() -> Arrays:
    """Two trees of nodes: a numeric and a categorical split, and a single leaf."""
    draft = ForestDraft("xgboost", "test", ["a", "b"])
    draft.add_tree([Split(0, 0.5, 0, 1, 2), 1.0, Split(1, 0.0, 1, 3, 4, codes=[2]), 2.0, 3.0])
    draft.add_tree([0.25])
    return draft.arrays()


def test_a_forest_adds_the_leaves_that_a_row_comes_to(arrays: Arrays) -> None:
    rows_BF = np.array([[0.5, 0], [np.nan, 0], [0.6, 2], [0.6, 1], [0.6, np.nan]])

    margins_B = Forest.from_arrays(arrays).margins(rows_BF)

    assert [1.25, 1.25, 2.25, 3.25, 3.25] == margins_B.tolist()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("left", np.array([-1, 0], dtype=np.int32), "'left' points back"),
        ("left", np.array([-1, 1], dtype=np.int32), "'left' points back"),
        ("right", np.array([2, -3], dtype=np.int32), r"'right' has values outside \[-4, 2\)"),
        ("right", np.array([-9, -3], dtype=np.int32), r"'right' has values outside"),
        ("right", np.array([1], dtype=np.int32), "'right' has 1 values; it needs 2"),
        ("roots", np.array([0, -3], dtype=np.int32), "lead to leaf 3 0 times|leaf 2 2 times"),
        ("roots", np.array([1, -4], dtype=np.int32), "lead to node 0 0 times"),
        ("roots", np.array([0, 7], dtype=np.int32), "'roots' has values outside"),
        ("split_features", np.array([0, 2], dtype=np.int32), "'split_features' has values"),
        ("split_features", np.array([0, -1], dtype=np.int32), "'split_features' has values"),
        ("split_features", np.array([1, 1], dtype=np.int32), "a numeric split of a categorical"),
        ("split_features", np.array([[0, 1]], dtype=np.int32), "'split_features' has 2 dimensions"),
        ("split_features", np.array([0.0, 1.0]), "'split_features' is float64; it must be int32"),
        ("split_thresholds", np.array([np.nan, 0]), "'split_thresholds' has NaN"),
        ("split_missing", np.array([0, 9], dtype=np.uint8), "'split_missing' has values"),
        ("split_sets", np.array([-1, 1]), "'split_sets' has values"),
        ("split_sets", np.array([0, 0]), "'category_widths' is 0"),
        ("category_widths", np.array([0, 64], dtype=np.int32), "'split_sets' has a set that runs"),
        ("category_widths", np.array([0, 2**25], dtype=np.int32), "'category_widths' has values"),
        ("category_widths", np.array([3], dtype=np.int32), "'category_widths' has 1 values"),
        ("leaf_values", np.array([1, 2, np.inf, 4]), "'leaf_values' has inf at 2"),
        ("leaf_values", np.array([1.0, 2, 3, 4, 5]), "lead to leaf 4 0 times"),
        ("constants", np.array([0.0, 1, 0, 0]), "'constants' has the divisor 0"),
        ("constants", np.array([0.0, np.nan, 1, 0]), "'constants' has nan at 1"),
        ("constants", np.array([0.0]), "'constants' has 1 values"),
        ("settings", np.array(["xgboost", "probit"]), "'probit'"),
        ("settings", np.array(["h2o", "identity"]), "'h2o'"),
        ("settings", np.array([1, 2]), "'settings' is int64"),
        ("names", np.array([], dtype=np.str_), "'names' is empty"),
        ("depths", np.array([1], dtype=np.int32), "'roots' and 'depths' are both given"),
        ("keys", np.array([1], dtype=np.uint32), "'keys' belong to CatBoost"),
    ],
)
def test_a_damaged_array_is_named(
    arrays: Arrays, name: str, value: npt.NDArray[np.generic], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Forest.from_arrays(arrays | {name: value})


@pytest.fixture
def level_arrays() -> Arrays:
    """One oblivious tree: a numeric and a one-hot question."""
    draft = ForestDraft("catboost", "test", ["a", "b"])
    draft.keys[1] = sorted(hash_of(code) for code in (4, 5))
    first = draft.keys[1].index(hash_of(4))
    levels = [Split(0, 0.5), Split(1, codes=[first], listed_left=False)]
    draft.add_levels(levels, [1.0, 2.0, 3.0, 4.0])
    return draft.arrays()


def test_the_answers_of_an_oblivious_tree_are_bits_of_the_leaf(level_arrays: Arrays) -> None:
    rows_BF = np.array([[0, 5], [1, 5], [0, 4], [1, 4], [np.nan, np.nan]])

    assert [1, 2, 3, 4, 1] == Forest.from_arrays(level_arrays).margins(rows_BF).tolist()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("depths", np.array([3], dtype=np.int32), "'split_features' has 2 values; it needs 3"),
        ("depths", np.array([-1], dtype=np.int32), "'depths' has values"),
        ("depths", np.array([MAX_DEPTH + 1], dtype=np.int32), "'depths' has values"),
        ("leaf_values", np.array([1.0]), "'leaf_values' has 1 values; it needs 4"),
        ("key_starts", np.array([0, 2]), "'key_starts' has 2 values; it needs 3"),
        ("key_starts", np.array([0, 0, 1]), "'key_starts' must begin with 0"),
        ("key_starts", np.array([0, 1, 2]), "other numbers of keys"),
        ("keys", np.array([7, 7], dtype=np.uint32), "'keys' must ascend"),
    ],
)
def test_a_damaged_array_of_levels_is_named(
    level_arrays: Arrays, name: str, value: npt.NDArray[np.generic], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Forest.from_arrays(level_arrays | {name: value})


def test_a_missing_and_an_unknown_array_are_named(arrays: Arrays) -> None:
    with pytest.raises(DataError, match="no array 'leafs'"):
        Forest.from_arrays(arrays | {"leafs": arrays["left"]})
    del arrays["left"]
    with pytest.raises(DataError, match="needs the array 'left'"):
        Forest.from_arrays(arrays)


def test_rows_of_another_shape_are_refused(arrays: Arrays) -> None:
    forest = Forest.from_arrays(arrays)
    kernel = pytest.importorskip("tadka.scoring.tree").ForestKernel(forest)
    for rows in (np.zeros((2, 3)), np.zeros(2), np.zeros((1, 2, 1))):
        with pytest.raises(DataError, match="this forest needs"):
            forest.margins(rows)
        with pytest.raises(DataError, match="this forest needs"):
            kernel.margins(rows)
    wrong_rows: list[Any] = [
        [0.0, 0.0],
        np.zeros(3),
        np.zeros((1, 2)),
        np.zeros(2, dtype=np.float32),
        np.zeros(2, dtype=np.int64),
        np.zeros(2, dtype=">f8"),
        np.zeros(4)[::2],
        b"0123456789abcdef",
        None,
    ]
    for row in wrong_rows:
        with pytest.raises(DataError, match="A row must be"):
            kernel.margin_row(row)


def test_no_rows_give_no_margins(arrays: Arrays) -> None:
    forest = Forest.from_arrays(arrays)
    kernel = pytest.importorskip("tadka.scoring.tree").ForestKernel(forest)

    assert (0,) == forest.margins(np.zeros((0, 2))).shape == kernel.margins(np.zeros((0, 2))).shape


def test_a_kernel_survives_pickling_and_threads() -> None:
    forest = random_forest(7)
    kernel = pytest.importorskip("tadka.scoring.tree").ForestKernel(forest)
    rows_BF = random_rows(7, 3000)
    expected_B = forest.margins(rows_BF)

    assert_equal_bits(expected_B, pickle.loads(pickle.dumps(kernel)).margins(rows_BF))
    with ThreadPoolExecutor(4) as pool:
        for actual_B in pool.map(kernel.margins, [rows_BF] * 16):
            assert_equal_bits(expected_B, actual_B)
    with pytest.raises(TypeError, match="initialised once"):
        kernel.__init__(forest)


def test_a_row_of_many_columns_is_scored() -> None:
    num_columns = 2000
    draft = ForestDraft("lightgbm", "test", [str(n) for n in range(num_columns)])
    for column in range(num_columns):
        draft.add_tree([Split(column, 0.0, column % 4, 1, 2), 1.0, float(column)])
    forest = Forest.from_arrays(draft.arrays())
    kernel = pytest.importorskip("tadka.scoring.tree").ForestKernel(forest)
    row = np.random.default_rng(0).normal(size=num_columns)

    assert forest.margins(row[None])[0] == kernel.margin_row(row)


def test_a_deep_chain_is_walked_to_its_end() -> None:
    draft = ForestDraft("lightgbm", "test", ["x"])
    depth = 5000
    nodes: list[Split | float] = []
    for level in range(depth):
        nodes += [Split(0, float(level), 0, 2 * level + 1, 2 * level + 2), float(level)]
    draft.add_tree([*nodes, -1.0])
    forest = Forest.from_arrays(draft.arrays())
    kernel = pytest.importorskip("tadka.scoring.tree").ForestKernel(forest)
    rows_BF = np.array([[-1.0], [2500.0], [1e9]])

    assert [0.0, 2500.0, -1.0] == forest.margins(rows_BF).tolist()
    assert [0.0, 2500.0, -1.0] == kernel.margins(rows_BF).tolist()


def test_a_draft_refuses_what_is_no_tree() -> None:
    draft = ForestDraft("lightgbm", "model.txt", ["x"])
    with pytest.raises(DataError, match=r"Tree 0 of 'model\.txt' has no nodes"):
        draft.add_tree([])
    with pytest.raises(DataError, match="17 levels"):
        draft.add_levels([Split(0)] * 17, [0.0])


def test_category_sets_that_fill_the_memory_are_refused() -> None:
    draft = ForestDraft("lightgbm", "model.txt", ["x"])
    for code in range(70):
        draft.add_tree([Split(0, codes=[code, (1 << 24) - 1], left=1, right=2), 0.0, 1.0])

    with pytest.raises(DataError, match="128 MiB"):
        draft.arrays()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not of a 'dict'"):
        flatten({})
    with pytest.raises(NotFound, match="no model file"):
        flatten(tmp_path / "absent.json")
    with pytest.raises(DataError, match="cannot be read"):
        flatten(tmp_path)
    file = tmp_path / "model.json"
    for text, message in (
        ("", "no model that"),
        ("<xml/>", "no model that"),
        ("{", "is no JSON"),
        ("[" * 100_000, "no model that"),
        ('{"a":' * 100_000, "is no JSON"),
        ('{"name": "tree"}', "but of no model"),
        ('{"learner": 1}', "TypeError"),
        ('{"features_info": 1}', "AttributeError"),
        ("tree\n", "ends early"),
        ("tree\r\n", "ends early"),
    ):
        file.write_bytes(text.encode())
        with pytest.raises(DataError, match=message):
            flatten(str(file))


def test_files_are_read_without_their_libraries(tmp_path: Path) -> None:
    import lightgbm

    random = np.random.default_rng(0)
    rows = lightgbm.Dataset(random.random((200, 2)), random.integers(0, 2, 200))
    model = lightgbm.train({"verbose": -1, "num_threads": 1}, rows, 2)
    model.save_model(tmp_path / "model.txt")
    program = (
        "import sys; from tadka.scoring.forest import flatten; flatten(sys.argv[1]);"
        "print({'lightgbm', 'xgboost', 'catboost', 'sklearn', 'pandas'} & set(sys.modules))"
    )

    command = [sys.executable, "-c", program, str(tmp_path / "model.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "set()" == done.stdout.strip()
