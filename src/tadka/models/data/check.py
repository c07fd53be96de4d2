"""The check of data before anything is trained: columns, types, values, splits, leakage.

Footers are looked at first. Then each part is read once, a batch at a time; what is kept besides
counts are hashes, at most `CheckConfig.max_keys` of each kind. Names of checks and the words of
their messages are those of `tadka.dataset`, which checks what it writes; here the question is
whether rows suit a model.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.models.data.coverage import Coverage
from tadka.models.data.data import Data
from tadka.models.data.findings import Findings
from tadka.models.data.footer import check_fitted, check_footers
from tadka.models.data.order import Order
from tadka.models.data.predictor import judge_predictors, sample_of
from tadka.models.data.repeat import Repeats
from tadka.models.data.report import CheckReport
from tadka.models.data.split import Split
from tadka.models.data.values import Values
from tadka.models.define.column import Column
from tadka.models.define.model import Task
from tadka.storage.tabular import open_binary

_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """What the check accepts.

    Args:
        accept: Checks that only warn, by name: `NoSinglePredictor(age)`, or `NoOverlap` for all
            columns.
        pair: Columns that make an event: no two parts have the same pair. Left out where the data
            lacks one.
        max_unseen: Share of rows of valid and test whose value is not in train's vocabulary, above
            which there is a warning.
        min_label_share: Share of either label of two, below which there is a warning.
        max_label_shift: Difference of that share between train and another part, likewise.
        max_auc: Of a single column, above which it is taken to know the label.
        max_duplicates: Share of rows of a part that are equal to an earlier one, above which there
            is a warning.
        max_keys: Hashes kept of each kind, 8 bytes each; where there are more, they are thinned
            out evenly and counts become estimates.
    """

    accept: tuple[str, ...] = ()
    pair: tuple[str, ...] = ("user", "item")
    max_unseen: float = 0.5
    min_label_share: float = 0.001
    max_label_shift: float = 0.1
    max_auc: float = 0.99
    max_duplicates: float = 0.0
    max_keys: int = 1 << 23

    def __post_init__(self) -> None:
        names = ("max_unseen", "min_label_share", "max_label_shift", "max_auc", "max_duplicates")
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}; it must be a share from 0 to 1."
                )
        if self.max_keys < 1:
            raise ConfigError(f"max_keys is {self.max_keys}; it must be at least 1.")


def check(
    data: Data,
    columns: Sequence[Column],
    *,
    task: Task | Literal[""] = "",
    split: Split | None = None,
    fitted: Mapping[str, Sequence[str]] | None = None,
    config: CheckConfig | None = None,
) -> CheckReport:
    """Whether rows suit a model, and tell of no more than they should.

    Args:
        data: Prepared.
        columns: What the model takes in.
        task: What it does; `binary` wants labels 0 and 1, `class` whole ones from 0.
        split: How the parts came about; as `data` says, unless given. The order of times is asked
            for only where it is a split by time.
        fitted: Which parts statistics were learned from, by what they are for; as `data.fitting`
            noted, unless given.
        config: What is accepted.

    Returns:
        All that was found; nothing is raised for bad rows.

    Raises:
        NotFound: A file is gone.
        DataError: A file is damaged.
    """
    started = time.perf_counter()
    config = config or CheckConfig()
    fitted = data.fitted if fitted is None else fitted
    data = dataclasses.replace(data, by="")  # the check's own reading is no fitting
    found = Findings(config.accept)
    parts = check_footers(data, columns, found)
    check_fitted(fitted, found)
    values, order = Values(task), Order(split or data.split)
    coverage = Coverage(columns, config.max_keys, config.max_unseen)
    repeats = Repeats(config.pair, config.max_keys, config.max_duplicates)
    for part in parts:
        if not part.num_rows:
            continue
        sample = sample_of(part) if part.name == "train" else None
        for reader in (values, order, coverage, repeats):
            reader.begin(part)
        start = 0
        for batch in data.batches(part.name, None, _batch_rows(data, part.name)):
            for reader in (values, order, coverage, repeats):
                reader.add(batch, start)
            if sample is not None:
                sample.add(batch)
            start += batch.num_rows
        repeats.judge(found)
        if part.name == "train":
            judge_predictors(found, sample, config.max_auc)
        else:
            coverage.judge(found)
    values.judge(found, config.min_label_share, config.max_label_shift)
    order.judge(found)
    return found.report(time.perf_counter() - started)


def _batch_rows(data: Data, part: str) -> int:
    """So many that a batch takes about 16 MiB, however wide the rows are."""
    parquet = require("pyarrow.parquet", extra="arrow")
    with open_binary(data.uris(part)[0]) as source:
        footer = parquet.ParquetFile(source).metadata
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    row_bytes = sum(group.total_byte_size for group in groups) / max(1, footer.num_rows)
    return int(min(65_536, max(64, _BATCH_BYTES / max(1.0, row_bytes))))
