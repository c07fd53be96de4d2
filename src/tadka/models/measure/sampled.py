"""Sampled ranking: the positives of a user among stored negatives, and the file that stores them.

Drawing negatives anew for each evaluation makes figures that nobody can compare. Here they are
drawn once, kept in a file beside the dataset version, and the metrics bear names of their own:
`sampled_recall@10` is far above `recall@10` for the same model.

Shapes: Q tested users, V rows of users, I items (row 0 included), D dimensions, E pairs.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.models.loss.negatives import draw_distinct
from tadka.models.loss.pairs import Csr, IntArray, check_range, contains, items_of, lengths, to_csr
from tadka.models.measure.full import (
    check_lengths,
    groups,
    hits,
    rows_of,
    summary,
    tested_users,
)
from tadka.models.measure.ranking import NOTHING
from tadka.storage.format import load, save, suffix_of
from tadka.storage.publish import publish_file

PairScore = Callable[[Any, IntArray], npt.ArrayLike]
"""From `user_vectors` of pairs, (E, D), and rows of items, (E,), to their scores, (E,)."""
Rows = Callable[[npt.NDArray[Any]], IntArray]
"""From ids as a file holds them to rows, or to -1."""


def write_negatives(
    uri: str | Path,
    train: Csr,
    test: Csr,
    num_items: int,
    *,
    num: int = 100,
    seed: int = 0,
    users: npt.ArrayLike | None = None,
    share: npt.NDArray[np.float64] | None = None,
    user_ids: npt.ArrayLike | None = None,
    item_ids: npt.ArrayLike | None = None,
    first_item: int = 1,
) -> int:
    """Draws negatives for every tested user, once, and writes them.

    Args:
        uri: A `.parquet` or `.npz` file with the columns `user` and `item`; it is replaced.
        train: Items of each row of users; none of them is drawn.
        test: Positives of each tested user; none of them is drawn.
        num_items: Rows of items, row 0 included.
        num: Distinct negatives of each user; all that are left where there are fewer.
        seed: The same seed and data give the same file.
        users: Row in `train` of each tested user, shape (Q,). None: the same rows.
        share: Probability of a draw of each item, shape (I,), such as
            `tadka.models.loss.negatives.popularity`. None: uniform.
        user_ids: What to write for each tested user, shape (Q,). None: their rows in `test`.
            Write ids where rows may change with a vocabulary.
        item_ids: What to write for each row of items, shape (I,). None: the rows.
        first_item: Smallest row that is an item.

    Returns:
        Pairs written.

    Raises:
        ConfigError: `num` is below 1 or the suffix is neither.
        DataError: No user has test rows, or sizes do not fit.
    """
    suffix = _checked_suffix(uri)
    if num < 1:
        raise ConfigError(f"{num} negatives were asked for; it must be at least 1.")
    row_Q = rows_of(users, test, len(train[0]) - 1)
    tested = tested_users(lengths(test))
    for ids, size, what in ((user_ids, len(row_Q), "users"), (item_ids, num_items, "items")):
        if ids is not None and len(np.asarray(ids)) != size:
            raise DataError(f"There are {len(np.asarray(ids)):,} ids for {size:,} {what}.")
    taken = [items_of(train, row_Q[tested]), items_of(test, tested)]
    user_E, item_E = (np.concatenate(parts) for parts in zip(*taken, strict=True))
    known = to_csr(user_E, item_E, len(tested), first_item=first_item)
    position, item = draw_distinct(
        np.random.default_rng(seed),
        num_items,
        np.arange(len(tested)),
        known,
        num,
        share=share,
        first_item=first_item,
    )
    user = tested[position]
    columns = {
        "user": user if user_ids is None else np.asarray(user_ids)[user],
        "item": item if item_ids is None else np.asarray(item_ids)[item],
    }
    if suffix == ".npz":
        _save_npz(columns, uri)
    else:
        pa = require("pyarrow", extra="arrow")
        save(pa.table({name: pa.array(values) for name, values in columns.items()}), uri)
    return len(item)


def read_negatives(uri: str | Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Users and items of a file of negatives, as they are stored.

    Args:
        uri: A `.parquet` or `.npz` file with the columns `user` and `item`.

    Returns:
        Both columns.

    Raises:
        NotFound: There is no such file.
        ConfigError: The suffix is neither.
        DataError: A column is missing, or they are not of one length.
    """
    suffix = _checked_suffix(uri)
    content = load(uri)
    names = list(content) if suffix == ".npz" else content.column_names
    for name in ("user", "item"):
        if name not in names:
            raise DataError(
                f"The file of negatives {str(uri)!r} has no column {name!r}; it has "
                f"{', '.join(map(repr, names)) or 'none'}."
            )
    user, item = (
        np.asarray(content[name])
        if suffix == ".npz"
        else content[name].to_numpy(zero_copy_only=False)
        for name in ("user", "item")
    )
    if user.shape != item.shape or user.ndim != 1:
        raise DataError(f"{str(uri)!r} has {len(user):,} users and {len(item):,} items.")
    return user, item


def sampled_ranking(
    negatives: str | Path,
    user_vectors: npt.NDArray[Any],
    item_vectors: npt.NDArray[Any] | PairScore,
    test: Csr,
    ks: Sequence[int] = (10,),
    block: int = 1024,
    *,
    train: Csr | None = None,
    users: npt.ArrayLike | None = None,
    user_rows: Rows | None = None,
    item_rows: Rows | None = None,
    first_item: int = 1,
) -> dict[str, float]:
    """Metrics of ranking each user's positives together with the user's stored negatives.

    Args:
        negatives: The file that `write_negatives` wrote.
        user_vectors: Shape (V, D); with a score function any array by user, such as row numbers.
        item_vectors: Shape (I, D), scored by dot product; or a function of pairs: `user_vectors`
            of the pairs and their items' rows to scores.
        test: Positives of each tested user, Q rows. Items below `first_item` have no row and count
            as misses.
        ks: Lengths of the list.
        block: Users ranked at once.
        train: To report users without train rows as a group; None: no groups.
        users: Row of users of each tested one, shape (Q,). None: the same rows.
        user_rows: From ids of the file to rows of `test`; -1 for users that are not tested. None:
            the file holds these rows.
        item_rows: From ids of the file to rows of items. None: the file holds rows.
        first_item: Smallest row that is an item.

    Returns:
        `sampled_recall@k`, `sampled_ndcg@k`, `sampled_mrr@k` and `sampled_hit_rate@k` for each k,
        and `num_users`, `num_skipped`, `num_negatives`; with `train` the groups of `full_ranking`.

    Raises:
        NotFound: There is no such file.
        ConfigError: `ks` is empty or holds less than 1, or `block` is below 1.
        DataError: A tested user has no negatives, a negative is a positive of the user (the file
            belongs to other data), a row is out of range, or a score is NaN.
    """
    largest = check_lengths(ks)
    if block < 1:
        raise ConfigError(f"block is {block}; it must be at least 1.")
    row_Q = rows_of(users, test, len(user_vectors))
    num_positives_Q = lengths(test)
    tested = tested_users(num_positives_Q)
    stored = _stored(negatives, test, tested, user_rows, item_rows, first_item)
    score, num_items = _pair_scorer(item_vectors)
    check_range(stored[1], num_items, "Negative item")
    listed = np.full((len(tested), largest), NOTHING, dtype=np.int64)
    for start in range(0, len(tested), block):
        user_B = tested[start : start + block]
        parts = [items_of(test, user_B), items_of(stored, user_B)]
        user_E, item_E = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        is_item_E = item_E >= first_item
        user_E, item_E = user_E[is_item_E], item_E[is_item_E]
        check_range(item_E, num_items, "Item")
        score_E = np.asarray(score(user_vectors[row_Q[user_B[user_E]]], item_E))
        _check_scores(score_E, item_E)
        listed[start : start + block] = _lists(user_E, item_E, score_E, len(user_B), largest)
    told = {"": np.ones(len(tested), dtype=bool)}
    if train is not None:
        if len(train[0]) != len(user_vectors) + 1:
            raise DataError(
                f"Train has {len(train[0]) - 1:,} users, the model {len(user_vectors):,}."
            )
        told = groups(lengths(train)[row_Q[tested]] == 0)
    is_hit = hits(listed, test, tested)
    measured = {
        f"{prefix}sampled_{name}": value
        for prefix, is_member in told.items()
        for name, value in summary(is_hit, num_positives_Q[tested], ks, {"": is_member}).items()
    }
    return measured | {
        "num_users": float(len(tested)),
        "num_skipped": float(len(row_Q) - len(tested)),
        "num_negatives": float(len(items_of(stored, tested)[1])),
    }


def _stored(
    uri: str | Path,
    test: Csr,
    tested: IntArray,
    user_rows: Rows | None,
    item_rows: Rows | None,
    first_item: int,
) -> Csr:
    """The file as CSR by rows of `test`.

    Raises:
        DataError: It does not belong to this test part.
    """
    user_E, item_E = read_negatives(uri)
    user_E = np.asarray(user_E if user_rows is None else user_rows(user_E), dtype=np.int64)
    item_E = np.asarray(item_E if item_rows is None else item_rows(item_E), dtype=np.int64)
    num_tested = len(test[0]) - 1
    is_ours_E = (user_E >= 0) & (user_E < num_tested)
    # A negative that the model has no row for can not be above anything: it is left out.
    is_ours_E &= item_E >= first_item
    stored = to_csr(user_E[is_ours_E], item_E[is_ours_E], num_tested, first_item=first_item)
    is_missing = lengths(stored)[tested] == 0
    if is_missing.any():
        raise DataError(
            f"{str(uri)!r} has no negatives for {np.count_nonzero(is_missing):,} of "
            f"{len(tested):,} tested users, first row {tested[np.argmax(is_missing)]:,}; write it "
            "anew for this split with write_negatives."
        )
    row_E, item_E = items_of(stored, tested)
    is_positive_E = contains(test, tested[row_E], item_E)
    if is_positive_E.any():
        at = int(np.argmax(is_positive_E))
        raise DataError(
            f"{str(uri)!r} names {np.count_nonzero(is_positive_E):,} test positives as negatives, "
            f"first item row {item_E[at]:,} of user row {tested[row_E[at]]:,}; write it anew for "
            "this split with write_negatives."
        )
    return stored


def _pair_scorer(item_vectors: npt.NDArray[Any] | PairScore) -> tuple[PairScore, int | None]:
    """The score function, and the number of items where vectors tell it."""
    if callable(item_vectors):
        return item_vectors, None
    item_ID = np.asarray(item_vectors)
    return lambda user_ED, item_E: np.einsum("ed,ed->e", user_ED, item_ID[item_E]), len(item_ID)


def _check_scores(score_E: npt.NDArray[Any], item_E: IntArray) -> None:
    """Refuses NaN and another number of scores."""
    if score_E.shape != item_E.shape:
        raise DataError(
            f"The scores of {len(item_E):,} pairs have the shape {score_E.shape}; expected is "
            f"{item_E.shape}."
        )
    if np.isnan(score_E).any():
        raise DataError("A score is NaN: the model has diverged.")


def _lists(
    user_E: IntArray, item_E: IntArray, score_E: npt.NDArray[Any], num_users: int, k: int
) -> IntArray:
    """The first k of each user's candidates by (-score, item); -1 where there are fewer."""
    order_E = np.lexsort((item_E, -score_E, user_E))
    user_E, item_E = user_E[order_E], item_E[order_E]
    starts_U = np.searchsorted(user_E, np.arange(num_users))
    place_E = np.arange(len(user_E)) - starts_U[user_E]
    is_listed_E = place_E < k
    listed_UK = np.full((num_users, k), NOTHING, dtype=np.int64)
    listed_UK[user_E[is_listed_E], place_E[is_listed_E]] = item_E[is_listed_E]
    return listed_UK


def _save_npz(columns: Mapping[str, npt.NDArray[Any]], uri: str | Path) -> None:
    """As `storage.save`, but without the time of day, so that equal columns are equal bytes.

    Raises:
        DataError: A column holds objects.
    """
    with publish_file(uri) as file, zipfile.ZipFile(file, "w") as archive:
        for name, values in columns.items():
            if values.dtype == object:
                raise DataError(
                    f"The ids of column {name!r} are Python objects, which .npz cannot hold; "
                    "write a .parquet file."
                )
            entry = zipfile.ZipInfo(f"{name}.npy")  # its time is that of 1980 unless told
            with archive.open(entry, "w") as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def _checked_suffix(uri: str | Path) -> str:
    """`.parquet` or `.npz`.

    Raises:
        ConfigError: The file has another suffix.
    """
    suffix = str(suffix_of(uri))
    if suffix not in {".parquet", ".npz"}:
        raise ConfigError(f"Negatives are kept in .parquet or .npz files, not in {str(uri)!r}.")
    return suffix
