"""The check of data before anything is trained: columns, types, values, splits, leakage.

Footers are looked at first. Then each part is read once, a batch at a time; what is kept besides
counts are hashes, at most `CheckConfig.max_keys` of each kind. Names of checks and the words of
their messages are those of `tadka.dataset`, which checks what it writes; here the question is
whether rows suit a model.
"""

import dataclasses
import difflib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.models.data.data import PARTS, Data
from tadka.models.data.keys import KeySet, hash_column, hash_columns
from tadka.models.data.predictor import Sample
from tadka.models.data.report import CheckReport, Finding, Severity
from tadka.models.data.split import Split
from tadka.models.data.tally import Bad, Tally
from tadka.models.define.column import Column
from tadka.storage.tabular import open_binary

if TYPE_CHECKING:
    import pyarrow as pa

Task = Literal["", "binary", "rating", "class", "ranking"]

_BATCH_BYTES = 16 << 20
_SAMPLE_ROWS = 100_000
_LABELLED = ("binary", "class")  # tasks whose label is one of few


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
    task: Task = "",
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
    plain = dataclasses.replace(data, by="")  # the check's own reading is no fitting
    run = _Check(plain, columns, task, split or data.split, config or CheckConfig())
    run.footers()
    run.fitted(data.fitted if fitted is None else fitted)
    run.rows()
    return run.report(time.perf_counter() - started)


class _Check:
    def __init__(
        self, data: Data, columns: Sequence[Column], task: Task, split: Split, config: CheckConfig
    ) -> None:
        self.data, self.columns, self.task = data, list(columns), task
        self.split, self.config = split, config
        self.parts = [part for part in PARTS if part in data.parts]
        self.findings: list[Finding] = []
        self.ran: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.measured: dict[str, Any] = {"rows": {p: data.num_rows(p) for p in self.parts}}
        self.usable: dict[str, list[Column]] = {}
        self.tallies: dict[str, dict[str, Tally]] = {}

    # ---------------------------------------------------------------- findings

    def find(
        self,
        check: str,
        message: str,
        *,
        part: str = "",
        column: str = "",
        bad: Bad | None = None,
        severity: Severity = "error",
        stage: Literal["footer", "rows"] = "rows",
    ) -> None:
        """Notes what is wrong; a check that is accepted only warns."""
        found = Finding(
            severity=severity,
            check=check,
            message=message,
            part=part,
            column=column,
            rows=tuple(bad.rows) if bad is not None else (),
            stage=stage,
        )
        if {found.name, check} & set(self.config.accept):
            found = dataclasses.replace(found, severity="warn")
        self.findings.append(found)

    def ask(self, check: str, column: str = "") -> None:
        """Notes that a check ran."""
        self.ran.add(f"{check}({column})" if column else check)

    def report(self, seconds: float) -> CheckReport:
        """All that was noted."""
        names = {one.name for one in self.findings}
        order = {"error": 0, "warn": 1}
        return CheckReport(
            findings=tuple(sorted(self.findings, key=lambda one: order[one.severity])),
            passed=tuple(sorted(self.ran - names)),
            skipped=self.skipped,
            measured=self.measured,
            seconds=seconds,
        )

    # ---------------------------------------------------------------- footers

    def footers(self) -> None:
        """Parts, columns and types."""
        self.ask("RowCount")
        if "train" not in self.parts:
            self.find("RowCount", "the data has no part 'train'.", stage="footer")
        for part in self.parts:
            if not self.data.num_rows(part):
                self.find(
                    "RowCount", "0 rows; at least 1 must be there.", part=part, stage="footer"
                )
            schema = self.data.schema(part)
            self.usable[part] = [c for c in self.columns if self._suits(c, schema, part)]

    def _suits(self, column: Column, schema: "pa.Schema", part: str) -> bool:
        self.ask("ColumnExists", column.name)
        index = schema.get_field_index(column.name)
        if index < 0:
            close = difflib.get_close_matches(column.name, schema.names, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"It has {', '.join(schema.names)}."
            self.find(
                "ColumnExists",
                f"there is no column {column.name!r}. {hint} Name it at "
                f"data.columns.{column.name}.",
                part=part,
                column=column.name,
                stage="footer",
            )
            return False
        self.ask("ColumnType", column.name)
        kind = dtype_of(schema.field(index).type)
        is_time = column.role == "time" and kind == "time"
        if not (column.accepts(kind) or is_time):
            self.find(
                "ColumnType",
                f"the type is {schema.field(index).type}; the model asks for {column.dtype}.",
                part=part,
                column=column.name,
                stage="footer",
            )
            return False
        return True

    def fitted(self, fitted: Mapping[str, Sequence[str]]) -> None:
        """Statistics must be learned from train alone."""
        self.ask("FittedOnTrain")
        for by, parts in fitted.items():
            others = [part for part in parts if part != "train"]
            if others:
                self.find(
                    "FittedOnTrain",
                    f"{by} was learned from {' and '.join(others)}; it must be learned from train "
                    "alone.",
                    part=others[-1],
                    stage="footer",
                )

    # ---------------------------------------------------------------- rows

    def rows(self) -> None:
        """One pass over each part, train first."""
        self.times: dict[str, tuple[Any, int, Any, int]] = {}
        self.keys = {
            name: KeySet(self.config.max_keys) for name in ("pairs", "rows", *self._vocabularies())
        }
        for part in self.parts:
            if self.data.num_rows(part):
                _Pass(self, part).run()
        self._judge_values()
        self._judge_labels()
        self._judge_times()

    def _vocabularies(self) -> set[str]:
        return {f"vocabulary {c.vocabulary_name}" for c in self.columns if c.vocabulary}

    def _judge_values(self) -> None:
        shares = self.measured.setdefault("missing_share", {})
        for part, tallies in self.tallies.items():
            for name, tally in tallies.items():
                column, rows = tally.column, tally.num_rows
                share = tally.num_missing / rows
                shares.setdefault(name, {})[part] = share
                self.ask("NullShare", name)
                if tally.null.count and share > column.null_share:
                    self._tell("NullShare", "are null", tally.null, rows, part, column)
                if tally.nan.count or "float" in column.item:
                    self.ask("NoNan", name)
                if tally.nan.count and share > column.null_share:
                    self._tell("NoNan", "are NaN", tally.nan, rows, part, column)
                for check, bad, what in (
                    ("InRange", tally.infinite, "are infinite"),
                    ("InRange", tally.outside, f"are outside the range{_bounds(column)}"),
                    ("OneOf", tally.other, f"have another value than {_few(tally.values)}"),
                    ("OneOf", tally.fraction, "are no class: classes are 0, 1, 2 and so on"),
                ):
                    self.ask(check, name)
                    if bad.count:
                        self._tell(check, what, bad, rows, part, None, name)

    def _tell(
        self,
        check: str,
        what: str,
        bad: Bad,
        rows: int,
        part: str,
        column: Column | None,
        name: str = "",
    ) -> None:
        limit = f"; at most {column.null_share:.2%} are accepted" if column is not None else ""
        self.find(
            check,
            f"{_share(bad.count, rows)} {what}{limit}.",
            part=part,
            column=column.name if column is not None else name,
            bad=bad,
        )

    def _judge_labels(self) -> None:
        found = {
            part: tally
            for part, tallies in self.tallies.items()
            for tally in tallies.values()
            if tally.column.role == "label" and tally.labels
        }
        shares = {}
        for part, tally in found.items():
            name, labels = tally.column.name, tally.labels
            total = sum(labels.values())
            if len(labels) <= 20:
                told = {
                    str(k): n / total for k, n in sorted(labels.items(), key=lambda p: str(p[0]))
                }
                self.measured.setdefault("label_share", {})[part] = told
            self.ask("LabelShare", name)
            if len(labels) == 1:
                only = next(iter(labels))
                # nothing is learned from one label; to judge by, only some measures lose sense
                is_fatal = part == "train" and self.task != "ranking"
                self.find(
                    "LabelShare",
                    f"all {total:,} labels are {only!r}; at least 2 different ones must be there.",
                    part=part,
                    column=name,
                    severity="error" if is_fatal else "warn",
                )
            elif len(labels) == 2 and set(labels) <= {0, 1}:
                shares[part] = labels[1] / total
                least = self.config.min_label_share
                if not least <= shares[part] <= 1 - least:
                    self.find(
                        "LabelShare",
                        f"{shares[part]:.4%} of {total:,} labels are positive; accepted are "
                        f"{least:.4%} to {1 - least:.4%}.",
                        part=part,
                        column=name,
                        severity="warn",
                    )
        for part in shares.keys() - {"train"}:
            first = shares.get("train")
            if first is not None and abs(shares[part] - first) > self.config.max_label_shift:
                self.find(
                    "LabelShift",
                    f"{shares[part]:.2%} of the labels are positive, and {first:.2%} of train's; "
                    f"at most {self.config.max_label_shift:.2%} apart are accepted.",
                    part=part,
                    column=found[part].column.name,
                    severity="warn",
                )

    def _judge_times(self) -> None:
        if self.split.kind != "time":
            self.skipped["TimeOrder"] = f"the split is {self.split.kind}, not by time."
            return
        self.ask("TimeOrder")
        parts = [part for part in self.parts if part in self.times]
        if len(parts) < 2:
            self.skipped["TimeOrder"] = f"fewer than two parts have column {self.split.times!r}."
            self.ran.discard("TimeOrder")
            return
        for number, part in enumerate(parts):
            for later in parts[number + 1 :]:
                most, most_row = self.times[part][2:]
                least, least_row = self.times[later][:2]
                if most > least:
                    self.find(
                        "TimeOrder",
                        f"the last row of {part} is of {most} (row {most_row}), after the first "
                        f"of {later}, of {least}; a split by time has no row of {later} before "
                        f"one of {part}.",
                        part=later,
                        column=self.split.times,
                        bad=Bad(1, [(least_row, least)]),
                    )


@dataclass
class _Unseen:
    """Values of one column that train does not have.

    Args:
        num_values: How many.
        num_looked: Of how many that were looked at.
        bad: The rows.
    """

    num_values: int = 0
    num_looked: int = 0
    bad: Bad = dataclasses.field(default_factory=Bad)


class _Pass:
    """Reads one part and counts."""

    def __init__(self, run: _Check, part: str) -> None:
        self.run_, self.part = run, part
        self.config, self.data = run.config, run.data
        self.schema = run.data.schema(part)
        self.columns = run.usable[part]
        self.num_rows = run.data.num_rows(part)
        values = (0, 1) if run.task == "binary" else ()
        self.tallies = {c.name: Tally(c, values if c.role == "label" else ()) for c in self.columns}
        run.tallies[part] = self.tallies
        self.unseen = {c.name: _Unseen() for c in self.columns if c.vocabulary}
        self.equal, self.known_rows, self.known_pairs = Bad(), Bad(), Bad()
        self.repeated_pairs = 0
        is_first = part == run.parts[0]
        # rows of this part; those of the first are what later parts are compared with
        self.own = run.keys["rows"] if is_first else KeySet(self.config.max_keys)
        self.sample = self._sample() if part == "train" else None

    def run(self) -> None:
        """Reads and judges."""
        start = 0
        for batch in self.data.batches(self.part, None, self._batch_rows()):
            for column in self.columns:
                values = batch.column(column.name)
                tally = self.tallies[column.name]
                tally.add(values, start)
                if column.role == "label" and self.run_.task == "class":
                    tally.whole_only(values, start)
            self._vocabularies(batch, start)
            self._repeats(batch, start)
            self._times(batch, start)
            if self.sample is not None:
                self.sample.add(batch)
            start += batch.num_rows
        self._judge()

    def _batch_rows(self) -> int:
        """So many that a batch takes about 16 MiB, however wide its rows are."""
        parquet = require("pyarrow.parquet", extra="arrow")
        with open_binary(self.data.uris(self.part)[0]) as source:
            footer = parquet.ParquetFile(source).metadata
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        row_bytes = sum(g.total_byte_size for g in groups) / max(1, footer.num_rows)
        return int(min(65_536, max(64, _BATCH_BYTES / max(1.0, row_bytes))))

    def _sample(self) -> Sample | None:
        label = next((c for c in self.columns if c.role == "label"), None)
        if label is None or label.item in ("string", "bytes", "key"):
            return None
        usable = [c for c in self.columns if c.role == "feature" and not c.is_list]
        usable = [c for c in usable if c.item != "bytes"]
        categories = [c.name for c in usable if c.vocabulary or c.item in ("string", "key")]
        numbers = [c.name for c in usable if c.name not in categories]
        share = min(1.0, 1.1 * _SAMPLE_ROWS / self.num_rows)
        return Sample(label.name, numbers, categories, share, _SAMPLE_ROWS)

    def _vocabularies(self, batch: Any, start: int) -> None:
        compute = require("pyarrow.compute", extra="arrow")
        for column in self.columns:
            if not column.vocabulary:
                continue
            keys = self.run_.keys[f"vocabulary {column.vocabulary_name}"]
            values = batch.column(column.name)
            parents: Any = None
            if column.is_list:
                parents = compute.list_parent_indices(values).to_numpy(zero_copy_only=False)
                items = compute.list_flatten(values)
            else:
                items = values
            hashes = hash_column(items)
            if self.part == "train":
                keys.put(hashes)
                continue
            looked = keys.looks_at(hashes)
            is_unseen = looked & ~keys.contains(hashes)
            if parents is not None:
                rows = np.zeros(len(values), dtype=bool)
                rows[parents[is_unseen]] = True
            else:
                rows = is_unseen
            unseen = self.unseen[column.name]
            unseen.num_values += int(is_unseen.sum())
            unseen.num_looked += int(looked.sum())
            unseen.bad.add(rows, values, start)

    def _repeats(self, batch: Any, start: int) -> None:
        run, keys = self.run_, self.run_.keys
        hashes = hash_columns(batch.columns)
        self.equal.add(self.own.add(hashes), _Whole(batch), start)
        if self.part != run.parts[0]:
            self.known_rows.add(keys["rows"].contains(hashes), _Whole(batch), start)
        pair = self._pair()
        if pair:
            chosen = batch.select(list(pair))
            hashes = hash_columns(chosen.columns)
            if self.part == run.parts[0]:
                self.repeated_pairs += int(keys["pairs"].add(hashes).sum())
            else:
                self.known_pairs.add(keys["pairs"].contains(hashes), _Whole(chosen), start)

    def _pair(self) -> tuple[str, ...]:
        pair = self.config.pair
        return pair if pair and all(name in self.schema.names for name in pair) else ()

    def _times(self, batch: Any, start: int) -> None:
        name = self.run_.split.times or "time"
        if self.run_.split.kind != "time" or name not in self.schema.names:
            return
        pa = require("pyarrow", extra="arrow")
        column = batch.column(name)
        if not (dtype_of(column.type) == "time" or pa.types.is_primitive(column.type)):
            return
        where = np.flatnonzero(~column.is_null().to_numpy(zero_copy_only=False))
        times = column.drop_null().to_numpy(zero_copy_only=False)
        if not len(times):
            return
        low, high = int(np.argmin(times)), int(np.argmax(times))
        least, most = times[low], times[high]
        before = self.run_.times.get(self.part)
        first = (least, start + int(where[low]))
        last = (most, start + int(where[high]))
        if before is not None:
            first = before[:2] if before[0] <= least else first
            last = before[2:] if before[2] >= most else last
        self.run_.times[self.part] = (*first, *last)

    def _judge(self) -> None:
        run, part = self.run_, self.part
        run.ask("NoDuplicates")
        estimate = "" if self.own.share == 1 else f" (by {self.own.share:.2%} of the rows)"
        if self.equal.count / self.num_rows > self.config.max_duplicates:
            run.find(
                "NoDuplicates",
                f"{_share(self._all(self.equal.count, self.own), self.num_rows)} are equal to an "
                f"earlier one{estimate}.",
                part=part,
                bad=self.equal,
                severity="warn",
            )
        if part == "train":
            self._judge_predictors()
        else:
            self._judge_vocabularies()
        if part != run.parts[0]:
            self._judge_overlap()
        elif self._pair():
            run.measured["repeated_pairs"] = self.repeated_pairs / self.num_rows

    def _judge_overlap(self) -> None:
        run, part = self.run_, self.part
        pair = self._pair()
        if pair:
            name = ", ".join(pair)
            run.ask("NoOverlap", name)
            if self.known_pairs.count:
                # a log of events has a pair again and again: then it is no leak by itself
                is_log = run.measured.get("repeated_pairs", 0) > 0.01
                count = self._all(self.known_pairs.count, run.keys["pairs"])
                run.find(
                    "NoOverlap",
                    f"{_share(count, self.num_rows)} have a pair ({name}) that is in train"
                    + ("; pairs occur more than once there, too." if is_log else "."),
                    part=part,
                    column=name,
                    bad=self.known_pairs,
                    severity="warn" if is_log else "error",
                )
        else:
            missing = [n for n in self.config.pair if n not in self.schema.names]
            if missing:
                run.skipped[f"NoOverlap({', '.join(self.config.pair)})"] = (
                    f"there is no column {missing[0]!r}."
                )
        run.ask("NoOverlap")
        if self.known_rows.count:
            count = self._all(self.known_rows.count, run.keys["rows"])
            run.find(
                "NoOverlap",
                f"{_share(count, self.num_rows)} are equal to a row of train in all columns.",
                part=part,
                bad=self.known_rows,
                severity="warn",
            )

    def _judge_vocabularies(self) -> None:
        run = self.run_
        for name, unseen in self.unseen.items():
            if not unseen.num_looked:
                continue
            run.ask("Coverage", name)
            share = unseen.num_values / unseen.num_looked
            run.measured.setdefault("coverage", {}).setdefault(name, {})[self.part] = 1 - share
            if share > self.config.max_unseen or share == 1:
                run.find(
                    "Coverage",
                    f"{share:.2%} of the values are not in train's vocabulary"
                    + (
                        ": none is. Is it the same column?"
                        if share == 1
                        else f"; at most {self.config.max_unseen:.2%} are accepted."
                    ),
                    part=self.part,
                    column=name,
                    bad=unseen.bad,
                    severity="error" if share == 1 else "warn",
                )

    def _judge_predictors(self) -> None:
        run = self.run_
        told = self.sample.told() if self.sample is not None else {}
        if not told:
            run.skipped["NoSinglePredictor"] = (
                "there are no labels of two kinds, no features, or too few rows."
            )
        for name, area in told.items():
            run.ask("NoSinglePredictor", name)
            if area > self.config.max_auc:
                run.find(
                    "NoSinglePredictor",
                    f"it alone tells the label ({area:.4f} by area under the ROC curve, or by rank "
                    f"correlation); at most {self.config.max_auc} is accepted. Look whether it is "
                    "known before the label is.",
                    part="train",
                    column=name,
                )

    def _all(self, count: int, keys: KeySet) -> int:
        """An estimate of all, of a count among the rows that a set looks at."""
        return min(self.num_rows, round(count / keys.share))


class _Whole:
    """Values of a row as `Bad` takes them of a column."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getitem__(self, row: int) -> "_Whole":
        return _Whole(self._batch.slice(row, 1))

    def as_py(self) -> str:
        """The first row, its first columns."""
        names = self._batch.schema.names[:4]
        values = [f"{n}={self._batch.column(n)[0].as_py()!r}"[:40] for n in names]
        return " ".join(values)


def dtype_of(kind: Any) -> str:
    """A type of Arrow in the words of `Column`.

    Args:
        kind: A `pyarrow.DataType`.

    Returns:
        Such as `int64`, `string`, `list[float32]`, `time`; the text of the type for all else.
    """
    types = require("pyarrow", extra="arrow").types
    if types.is_dictionary(kind):
        return dtype_of(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return f"list[{dtype_of(kind.value_type)}]"
    if types.is_string(kind) or types.is_large_string(kind):
        return "string"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "bytes"
    if types.is_temporal(kind):
        return "time"
    return {"double": "float64", "float": "float32", "halffloat": "float16"}.get(
        str(kind), str(kind)
    )


def _share(count: int, rows: int) -> str:
    return f"{count:,} of {rows:,} rows ({count / rows:.2%})"


def _bounds(column: Column) -> str:
    low = "" if column.low is None else f" from {column.low}"
    return low + ("" if column.high is None else f" to {column.high}")


def _few(values: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, values[:10]))
    return shown + (", ..." if len(values) > 10 else "")
