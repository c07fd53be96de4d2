"""How far old vectors moved from one training to the next.

Shapes: N values that both models know, D dimensions, B rows of a block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from tadka.core.error import ConfigError, DataError
from tadka.models.train.trained import Trained

QUANTILES = (0.01, 0.05, 0.25, 0.5)
THRESHOLD = 0.95
_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A value whose vector moved.

    Args:
        key: The value.
        cosine: Of its vector before and after.
    """

    key: Any
    cosine: float


@dataclass(frozen=True, kw_only=True)
class VocabularyDrift:
    """How far the vectors of one vocabulary moved.

    Args:
        vocabulary: Its name.
        num_old: Values that both models know.
        num_new: Values that only the later one knows.
        num_gone: Values that only the earlier one knows; 0 where one started from the other.
        mean: Of the cosines of a value's vectors before and after.
        quantiles: Of these cosines, by share.
        share_below: Share of values whose cosine is below `threshold`.
        threshold: Below which a value counts as moved.
        length_ratio: Mean length of the vectors after over that before.
        moved: The values that moved most, those first.
    """

    vocabulary: str
    num_old: int
    num_new: int
    num_gone: int
    mean: float
    quantiles: Mapping[float, float]
    share_below: float
    threshold: float
    length_ratio: float
    moved: tuple[Moved, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far the vectors of a model moved: who reads stored vectors must fetch those again.

    Args:
        before: Id of the earlier run.
        after: Id of the later one.
        is_continued: Whether the later run started from the earlier one. Trained apart, two models
            have axes of their own, and their cosines say nothing.
        vocabularies: One each.
    """

    before: str
    after: str
    is_continued: bool
    vocabularies: tuple[VocabularyDrift, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; a number that is not finite is None."""
        found = asdict(self)
        for one in found["vocabularies"]:
            one["quantiles"] = {f"{share:g}": _finite(v) for share, v in one["quantiles"].items()}
            for name in ("mean", "share_below", "length_ratio"):
                one[name] = _finite(one[name])
            one["moved"] = [{**moved, "key": _plain(moved["key"])} for moved in one["moved"]]
        return found

    def __str__(self) -> str:
        head = f"{self.before} to {self.after}"
        if not self.is_continued:
            head += " (not trained from one another: cosines say nothing)"
        lines = [
            f"{one.vocabulary}: {one.num_old:,} old and {one.num_new:,} new values, cosine mean "
            f"{one.mean:.3f}, {one.share_below:.1%} below {one.threshold:g}"
            for one in self.vocabularies
        ]
        return "\n".join([head, *lines])

    def __rich__(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
        table.add_column("vocabulary")
        shares = [f"p{100 * share:g}" for share in QUANTILES]
        for title in ("old", "new", "mean", *shares, f"below {THRESHOLD:g}", "length"):
            table.add_column(title, justify="right")
        table.add_column("moved most", overflow="fold")
        for one in self.vocabularies:
            moved = ", ".join(f"{each.key} ({each.cosine:.2f})" for each in one.moved[:5])
            table.add_row(
                one.vocabulary,
                f"{one.num_old:,}",
                f"{one.num_new:,}",
                f"{one.mean:.3f}",
                *(f"{value:.3f}" for value in one.quantiles.values()),
                f"{one.share_below:.1%}",
                f"{one.length_ratio:.2f}x",
                moved,
            )
        if not self.is_continued:
            table.caption = "Not trained from one another: cosines say nothing."
        return table


def drift(
    before: Trained, after: Trained, *, threshold: float = THRESHOLD, num_moved: int = 10
) -> Drift:
    """Compares the vectors of two runs of a model, value by value.

    Args:
        before: The earlier run.
        after: The later one, as a rule trained with `train(..., start=before)`.
        threshold: Cosine below which a value counts as moved, from -1 to 1.
        num_moved: How many of the values that moved most are named.

    Returns:
        By vocabulary. A vector of length 0 (of a value that no step touched) has the cosine 1 with
        another such and 0 with any other.

    Raises:
        ConfigError: The model has no vectors, the two have none in common, or `threshold` is no
            cosine.
        DataError: The vectors have different dimensions.
    """
    if not -1 <= threshold <= 1:
        raise ConfigError(f"threshold is {threshold}; it must be a cosine, from -1 to 1.")
    old, new = before.vectors(), after.vectors()
    names = [name for name in old if name in new]
    if not names:
        raise ConfigError(
            f"Models {before.model.name!r} and {after.model.name!r} have no vectors in common: "
            f"{', '.join(old) or 'none'} and {', '.join(new) or 'none'}. A model gives them by "
            "vectors()."
        )
    runs = [str(one.record.get("run") or one.folder) for one in (before, after)]
    found, is_continued = [], True
    for name in names:
        values = before.model.state.vocabulary(name).values()
        new_N = after.model.state.rows(name, values)
        is_continued &= np.array_equal(new_N, np.arange(1, len(new_N) + 1))
        num_values = after.model.state.size(name) - 1
        vectors = old[name], new[name]
        found.append(_compare(name, values, new_N, num_values, vectors, threshold, num_moved))
    return Drift(
        before=runs[0], after=runs[1], is_continued=is_continued, vocabularies=tuple(found)
    )


def cosines(
    first_MD: npt.NDArray[Any],
    second_MD: npt.NDArray[Any],
    rows: Sequence[npt.NDArray[np.int64]],
) -> npt.NDArray[np.float64]:
    """Cosines of vectors, pair by pair.

    Args:
        first_MD: Vectors.
        second_MD: Vectors of the same dimension.
        rows: Rows of each of both, shape (N,).

    Returns:
        Shape (N,); two vectors of length 0 count as alike.
    """
    found = np.empty(len(rows[0]))
    for start in range(0, len(found), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        one_BD = np.asarray(first_MD[rows[0][block]], dtype=np.float64)
        two_BD = np.asarray(second_MD[rows[1][block]], dtype=np.float64)
        length_2B = np.stack([np.linalg.norm(one_BD, axis=1), np.linalg.norm(two_BD, axis=1)])
        product_B = length_2B.prod(axis=0)
        cosine_B = (one_BD * two_BD).sum(axis=1) / np.where(product_B > 0, product_B, 1)
        found[block] = np.where((length_2B == 0).all(axis=0), 1.0, np.clip(cosine_B, -1, 1))
    return found


def _compare(
    name: str,
    values: Any,
    new_N: npt.NDArray[np.int64],
    num_values: int,
    vectors: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    threshold: float,
    num_moved: int,
) -> VocabularyDrift:
    """Of earlier values, whose rows are `new_N` in the later vocabulary of `num_values`."""
    old, new = vectors
    if old.shape[1] != new.shape[1]:
        raise DataError(
            f"Vectors of {name!r} have {old.shape[1]} dimensions before and "
            f"{new.shape[1]} after; only those of the same can be compared."
        )
    old_N = np.flatnonzero(new_N) + 1  # row 0 has no value
    both = old_N, new_N[old_N - 1]
    cosine_N = cosines(old, new, both)
    worst = np.argsort(cosine_N, kind="stable")[:num_moved]
    lengths = [_mean_length(*one) for one in zip(vectors, both, strict=True)]
    has_any = bool(len(cosine_N))
    return VocabularyDrift(
        vocabulary=name,
        num_old=len(old_N),
        num_new=num_values - len(old_N),
        num_gone=len(new_N) - len(old_N),
        mean=float(cosine_N.mean()) if has_any else np.nan,
        quantiles={q: float(np.quantile(cosine_N, q)) if has_any else np.nan for q in QUANTILES},
        share_below=float(np.mean(cosine_N < threshold)) if has_any else np.nan,
        threshold=threshold,
        length_ratio=lengths[1] / lengths[0] if has_any and lengths[0] else np.nan,
        moved=tuple(
            Moved(key=_key(values, int(old_N[at]) - 1), cosine=float(cosine_N[at])) for at in worst
        ),
    )


def _mean_length(vectors: npt.NDArray[Any], rows_N: npt.NDArray[np.int64]) -> float:
    blocks = range(0, len(rows_N), _BLOCK_ROWS)
    total = sum(
        float(np.linalg.norm(vectors[rows_N[start : start + _BLOCK_ROWS]], axis=1).sum())
        for start in blocks
    )
    return total / max(len(rows_N), 1)


def _key(values: Any, place: int) -> Any:
    value = values[place]
    return value.as_py() if hasattr(value, "as_py") else value.item()


def _plain(key: Any) -> Any:
    return key if isinstance(key, int | str) else str(key)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
