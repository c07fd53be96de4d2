import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.models import draw_negatives, evaluate, train
from tests import models

NUM_USERS, NUM_ITEMS = 12, 20


def ranking(folder: Path, *, texts: bool = False) -> dict[str, Any]:
    """Users take the items of their group; one of train's is left for valid, one for test."""
    pairs: dict[str, list[tuple[int, int]]] = {"train": [], "valid": [], "test": []}
    for user in range(NUM_USERS):
        own = [item for item in range(NUM_ITEMS) if item % 4 == user % 4]
        pairs["test"].append((user, own[user % 5]))
        pairs["valid"].append((user, own[(user + 1) % 5]))
        pairs["train"] += [(user, own[(user + k) % 5]) for k in (2, 3, 4)]
    pairs["test"].append((0, 999))  # an item that train does not have
    tables = {}
    for part, rows in pairs.items():
        user, item = np.array(rows).T
        ids = (user, item) if not texts else ([f"u{u}" for u in user], [f"i{i}" for i in item])
        tables[part] = pa.table({"user": pa.array(ids[0]), "item": pa.array(ids[1])})
    values = models.config(folder, {"name": "bpr", "dim": 4, "epochs": 2})
    return {**values, "data": models.write(folder / "pairs", **tables)}


@pytest.mark.parametrize("texts", [False, True], ids=["numbers", "texts"])
def test_rankings_are_judged_among_a_file_that_was_drawn_once(
    tmp_path: Path, *, texts: bool
) -> None:
    values = ranking(tmp_path, texts=texts)
    file = tmp_path / "negatives.parquet"

    assert 4 * NUM_USERS == draw_negatives(values, file, num=4)
    values["data"]["negatives"] = str(file)
    done = train(values, progress="none")

    assert 4.0 * NUM_USERS == done.metrics["num_negatives"]
    # 4 negatives and a positive: all are among the first 10, but for user 0's item without a row
    assert pytest.approx((NUM_USERS - 0.5) / NUM_USERS) == done.metrics["sampled_recall@10"]
    assert done.metrics["recall@10"] < done.metrics["sampled_recall@10"]
    assert done.metrics == evaluate(done.folder)
    assert not {"num_negatives"} & evaluate(done.folder, part="valid").keys()


def test_no_user_has_taken_a_negative_in_any_part(tmp_path: Path) -> None:
    values = ranking(tmp_path)
    files = [tmp_path / f"{i}.npz" for i in range(3)]

    for file, seed in zip(files, (0, 0, 1), strict=True):
        draw_negatives(values, file, num=100, power=1.0, seed=seed)

    with np.load(files[0]) as drawn:
        pairs = set(zip(drawn["user"].tolist(), drawn["item"].tolist(), strict=True))
    others = itertools.product(range(NUM_USERS), range(NUM_ITEMS))
    assert {(user, item) for user, item in others if user % 4 != item % 4} == pairs
    assert files[0].read_bytes() == files[1].read_bytes()


def test_each_part_has_a_file_of_its_own(tmp_path: Path) -> None:
    values = ranking(tmp_path)
    done = train(values, progress="none")
    of_test, of_valid = tmp_path / "test.parquet", tmp_path / "valid.parquet"
    draw_negatives(values, of_test, num=3)
    draw_negatives(values, of_valid, num=3, part="valid")

    found = evaluate(done.folder, part="valid", negatives=of_valid)

    assert 1.0 == found["sampled_recall@10"]
    with pytest.raises(NotFound):
        evaluate(done.folder, negatives=tmp_path / "nothing.parquet")
    pq.write_table(pa.table({"user": ["u1"], "item": ["i2"]}), of_valid)
    with pytest.raises(DataError, match=r"valid\.parquet.*draw them anew"):
        evaluate(done.folder, negatives=of_valid)


def test_models_that_do_not_rank_have_no_negatives(tmp_path: Path) -> None:
    values = models.config(tmp_path, {"name": "tiny"})

    with pytest.raises(ConfigError, match="for models that rank"):
        draw_negatives(values, tmp_path / "negatives.parquet")
    done = train(values, progress="none")
    with pytest.raises(ConfigError, match=r"Leave data\.negatives out"):
        evaluate(done.folder, negatives=tmp_path / "negatives.parquet")


def test_a_file_that_is_not_there_is_told_before_training(tmp_path: Path) -> None:
    values = ranking(tmp_path)
    values["data"]["negatives"] = str(tmp_path / "nothing.parquet")

    with pytest.raises(NotFound, match=r"nothing\.parquet"):
        train(values, progress="none")

    assert not (tmp_path / "runs").exists()
