"""Quality of models that grow, and of what their vectors say: cells of MovieLens 100k.

    python quality_growth.py daily --seed 3    days in time order, updated against trained anew
    python quality_growth.py segments          gender and age from vectors against histories

**daily.** Each day's rows are learnt, and the next day's are what is judged. It begins on the day
by which 80 % of all users and 80 % of all items have appeared for the first time (day 169 of 214:
80 % of users, 97 % of items, 81 % of rows); 45 days follow. Both sides are the same model (`bpr`)
with the same settings, and see the same rows: all up to the day.

    retrained   trained anew on all rows so far, 20 epochs, each day
    updated     `train(..., start=yesterday's run)` on all rows so far, 1 epoch: vocabularies are
                kept, vectors of new users and items begin as the mean of their neighbours

Judged is the full ranking of all items that the user has not taken so far, for users who have rows
by then (on their first day nothing is known of them, by neither side: they are left out and
counted). `recall` is the mean over days of recall@20, updated over retrained; `cost` is the seconds
of all updates over those of all retrainings, the whole call of `train` on both sides, with data,
checks and records. Settings of the model were chosen for retraining, on days before: trained on the
rows up to day 150, judged on days 151 to 169. recall@20 there is .137; with lr .01 and 40 epochs it
is .109; with batches of 1,024 and lr .005 .111, .118 and .141 after 10, 20 and 40 epochs, the last
at four times the seconds.
Two cheaper updates are run beside it, and the first one with new rows drawn instead of averaged:

    today       the day's rows alone, 5 epochs
    replay      the day's rows and a tenth of all before, drawn anew each day, 3 epochs

**segments.** Gender, age above the median and four bands of age, by `segment_check`: the same
layers on dense vectors against a bag over the ids of films a user has rated. Vectors are trained on
who rated what, without users' attributes; histories are ids of films alone. Folds: 5, drawn by the
seed. The seconds that vectors took to train are beside those of a fold.
"""

import argparse
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tadka.models import Fit, full_ranking, train
from tadka.models.data.known import known
from tadka.models.grow.drift import drift
from tadka.models.library.bpr import BPR
from tadka.models.loss.pairs import to_csr
from tadka.models.vector.segment import SegmentCheck, segment_check

FOLDER = Path(os.environ.get("TADKA_DATA", "../shared/data")) / "ml-100k"
MODEL: dict[str, Any] = {
    "name": "bpr",
    "dim": 64,
    "lr": 0.02,
    "reg": 0.01,
    "batch_rows": 4096,
    "epochs": 20,
}
FIRST_SHARE = 0.8
K = 20


# ------------------------------------------------------------------ days


@dataclass
class Way:
    """A way to have a model each day.

    Args:
        rows: Which rows it learns from on a day, given all days and that day.
        epochs: Passes over them.
        is_averaged: Whether new rows begin as the mean of their neighbours.
    """

    rows: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
    epochs: int
    is_averaged: bool = True
    run: Fit | None = None
    seconds: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    ndcg: list[float] = field(default_factory=list)


def _all(day_E: np.ndarray, day: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    return day_E <= day


def _today(day_E: np.ndarray, day: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    return day_E == day


def _replay(day_E: np.ndarray, day: int, rng: np.random.Generator) -> np.ndarray:
    return (day_E == day) | ((day_E < day) & (rng.random(len(day_E)) < 0.1))


def daily(seed: int, *, num_days: int = 0) -> dict[str, Any]:
    """Days in time order: updated models against models trained anew each day.

    Args:
        seed: Of weights, order and draws.
        num_days: Days at most, to try it out; 0 for all.

    Returns:
        `recall` and `cost` as the head of this file has them, `recall_low` and `recall_high` (95 %,
        days drawn again with replacement), the same of each other way, and how far vectors moved.
    """
    user_E, item_E, day_E = _days()
    first_day = max(_day_of_share(user_E, day_E), _day_of_share(item_E, day_E))
    days = np.unique(day_E[day_E >= first_day])
    days = days[: num_days + 1] if num_days else days
    rng = np.random.default_rng(seed)
    retrained = Way(_all, MODEL["epochs"])
    updates = {
        "updated": Way(_all, 1),
        "drawn": Way(_all, 1, is_averaged=False),
        "today": Way(_today, 5),
        "replay": Way(_replay, 3),
    }
    num_users, num_left_out = [], 0
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        first, _ = _train(folder, user_E, item_E, day_E <= first_day, MODEL, seed)
        for way in updates.values():
            way.run = first
        for day, next_day in zip(days[:-1].tolist(), days[1:].tolist(), strict=True):
            is_next_E = day_E == next_day
            is_known_E = is_next_E & np.isin(user_E, user_E[day_E <= day])
            num_left_out += len(np.unique(user_E[is_next_E])) - len(np.unique(user_E[is_known_E]))
            ways = [retrained, *updates.values()]
            for way in ways:
                if way is retrained or day > first_day:
                    start = None if way is retrained else way.run
                    rows_E = way.rows(day_E, day, rng)
                    settings = {**MODEL, "epochs": way.epochs}
                    with contextlib.nullcontext() if way.is_averaged else _drawn():
                        way.run, seconds = _train(
                            folder, user_E, item_E, rows_E, settings, seed, start
                        )
                    way.seconds.append(seconds)
                if is_known_E.any():
                    measured = _judge(way.run, user_E, item_E, day_E <= day, is_known_E)
                    way.recall.append(measured[f"recall@{K}"])
                    way.ndcg.append(measured[f"ndcg@{K}"])
            if is_known_E.any():
                num_users.append(int(measured["num_users"]))
        moved = drift(first.load(), updates["updated"].run.load())
    return {
        **_told(updates["updated"], retrained, seed),
        "recall_retrained": float(np.mean(retrained.recall)),
        "ndcg_retrained": float(np.mean(retrained.ndcg)),
        "seconds_retrained": float(np.mean(retrained.seconds)),
        "num_days": len(retrained.recall),
        "users_a_day": float(np.mean(num_users)),
        "num_first_day_users_left_out": num_left_out,
        "drift": {one.vocabulary: round(one.mean, 4) for one in moved.vocabularies},
        "other": {
            name: _told(way, retrained, seed) for name, way in updates.items() if name != "updated"
        },
    }


def _days() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, item and number of the day of each row, in order of time."""
    table = known("ml-100k", FOLDER)["all"]
    time_E = table["time"].to_numpy()
    second_E = time_E.astype("datetime64[s]").astype(np.int64)
    order_E = np.argsort(second_E, kind="stable")
    day_E = second_E[order_E] // 86_400
    columns = (table[name].to_numpy()[order_E] for name in ("user", "item"))
    user_E, item_E = columns
    return user_E, item_E, day_E - day_E.min()


def _day_of_share(value_E: np.ndarray, day_E: np.ndarray) -> int:
    """Day by which `FIRST_SHARE` of all values have appeared."""
    _, first_N = np.unique(value_E, return_index=True)  # rows are in order of time
    return int(np.quantile(day_E[first_N], FIRST_SHARE, method="higher"))


def _train(
    folder: Path,
    user_E: np.ndarray,
    item_E: np.ndarray,
    rows_E: np.ndarray,
    settings: Mapping[str, Any],
    seed: int,
    start: Fit | None = None,
) -> tuple[Fit, float]:
    """A training, and the seconds of all of it."""
    table = pa.table({"user": user_E[rows_E], "item": item_E[rows_E]})
    pq.write_table(table, folder / "rows.parquet", row_group_size=8192)
    config = {
        "data": {"train": str(folder / "rows.parquet")},
        "model": {**settings, "seed": seed},
        "stream": {"on": "here"},
        "tracking": {"offline": True, "folder": str(folder / "runs")},
    }
    begun_s = time.perf_counter()
    fit = train(config, start=None if start is None else start.folder, progress="none")
    return fit, time.perf_counter() - begun_s


@contextlib.contextmanager
def _drawn() -> Iterator[None]:
    """New rows are drawn, as if nothing were known of them."""
    kept = BPR.new_rows
    BPR.new_rows = lambda self, part, rows: None  # type: ignore[method-assign]  # noqa: ARG005
    try:
        yield
    finally:
        BPR.new_rows = kept  # type: ignore[method-assign]


def _judge(
    run: Fit | None,
    user_E: np.ndarray,
    item_E: np.ndarray,
    is_seen_E: np.ndarray,
    is_judged_E: np.ndarray,
) -> dict[str, float]:
    """Full ranking of all items that a user has not taken so far, for the rows of a day."""
    assert run is not None
    trained = run.load()
    state, vectors = trained.model.state, trained.vectors()
    seen, judged = (
        (state.rows("user", user_E[which]), state.rows("item", item_E[which]))
        for which in (is_seen_E, is_judged_E)
    )
    rows, place = np.unique(judged[0], return_inverse=True)
    return full_ranking(
        vectors["user"],
        vectors["item"],
        to_csr(*seen, state.size("user")),
        to_csr(place, judged[1], len(rows)),
        (K,),
        users=rows,
    )


def _told(way: Way, retrained: Way, seed: int) -> dict[str, float]:
    """Recall and cost of a way, over those of retraining."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(way.recall), (2000, len(way.recall)))
    ours, theirs = np.array(way.recall), np.array(retrained.recall)
    ratios = ours[drawn].mean(axis=1) / theirs[drawn].mean(axis=1)
    return {
        "recall": float(ours.mean() / theirs.mean()),
        "recall_low": float(np.quantile(ratios, 0.025)),
        "recall_high": float(np.quantile(ratios, 0.975)),
        "ndcg": float(np.mean(way.ndcg) / np.mean(retrained.ndcg)),
        "cost": sum(way.seconds) / sum(retrained.seconds[1:]),  # both from the second day on
        "seconds": float(np.mean(way.seconds)),
    }


# ------------------------------------------------------------------ segments

_BPR = {"name": "bpr", "dim": 64, "lr": 0.005, "reg": 0.01, "epochs": 40}
VECTORS: dict[str, dict[str, Any]] = {
    "svd32": {"svd": 32},
    "svd64": {"svd": 64},
    "svd128": {"svd": 128},
    "bpr64": _BPR,
    "bpr128": {**_BPR, "dim": 128},
    "lightgcn64": {"name": "lightgcn", "dim": 64, "lr": 0.01, "reg": 0.0001, "epochs": 30},
    "lightgcn128": {"name": "lightgcn", "dim": 128, "lr": 0.01, "reg": 0.0001, "epochs": 30},
}
"""Dense vectors that are tried; all of them are in the results."""


def segments(seed: int, *, only: str = "") -> dict[str, Any]:
    """Gender and age from dense vectors against histories of ids.

    Args:
        seed: Of vectors, folds and weights.
        only: One of `VECTORS`; all unless given.

    Returns:
        By vectors and label: AUC of both sides with their spread over folds, AUC of dense over
        sparse, parameters, seconds a fold; and the seconds that the vectors took.
    """
    user_E, item_E, _ = _days()
    people = known("ml-100k", FOLDER)["users"].sort_by("user")
    ids = people["user"].to_numpy()
    age = people["age"].to_numpy()
    labels = {
        "gender": (np.array(people["gender"].to_pylist()) == "F").astype(np.int64),
        "age": (age > np.median(age)).astype(np.int64),
        "age_band": np.searchsorted([25, 35, 50], age, side="right"),
    }
    items, item_row_E = np.unique(item_E, return_inverse=True)
    histories = to_csr(np.searchsorted(ids, user_E), item_row_E, len(ids), first_item=0)
    found: dict[str, Any] = {}
    for name in [only] if only else VECTORS:
        begun_s = time.perf_counter()
        vectors = _vectors(VECTORS[name], user_E, item_E, ids, histories, len(items), seed)
        seconds = time.perf_counter() - begun_s
        found[name] = {
            label: _segment(segment_check(vectors, values, histories, seed=seed))
            for label, values in labels.items()
        }
        found[name]["vectors_s"] = round(seconds, 2)
    return found


def _vectors(
    settings: Mapping[str, Any],
    user_E: np.ndarray,
    item_E: np.ndarray,
    ids: np.ndarray,
    histories: Any,
    num_items: int,
    seed: int,
) -> np.ndarray:
    """Dense vectors of users, in the order of `ids`."""
    if "svd" in settings:
        # of the matrix that LightGCN propagates by: D^-1/2 A D^-1/2
        cells = np.zeros((len(ids), num_items), np.float32)
        counts = np.diff(histories[0])
        cells[np.repeat(np.arange(len(ids)), counts), histories[1]] = 1
        cells /= np.sqrt(cells.sum(axis=1, keepdims=True) * cells.sum(axis=0, keepdims=True))
        left, strength, _ = np.linalg.svd(cells, full_matrices=False)
        return left[:, : settings["svd"]] * strength[: settings["svd"]]
    with tempfile.TemporaryDirectory() as text:
        every_E = np.ones(len(user_E), bool)
        fit, _ = _train(Path(text), user_E, item_E, every_E, settings, seed)
        trained = fit.load()
        return np.array(trained.vectors()["user"][trained.model.state.rows("user", ids)])


def _segment(found: SegmentCheck) -> dict[str, Any]:
    told: dict[str, Any] = {"ratio": round(found.ratio, 4)}
    for name, side in (("dense", found.dense), ("sparse", found.sparse)):
        told[name] = {
            "auc": round(side.auc, 4),
            "spread": round(side.spread, 4),
            "parameters": side.num_parameters,
            "seconds": round(side.seconds, 2),
        }
    return told


def main() -> None:
    """Prints a cell as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["daily", "segments"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--days", type=int, default=0, help="of daily, to try it out")
    parser.add_argument("--only", default="", choices=["", *VECTORS], help="of segments")
    options = parser.parse_args()
    if options.name == "daily":
        found = daily(options.seed, num_days=options.days)
    else:
        found = segments(options.seed, only=options.only)
    print(json.dumps({"cell": options.name, "seed": options.seed, **found}))


if __name__ == "__main__":
    main()
