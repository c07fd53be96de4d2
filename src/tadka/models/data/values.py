"""Values and labels of each part: missing ones, those that are not accepted, shares of labels."""

from collections.abc import Sequence
from typing import Any

from tadka.models.data.findings import Findings, Part, share_of
from tadka.models.data.tally import Bad, Tally
from tadka.models.define.column import Column


class Values:
    """Counts of the columns of all parts.

    Args:
        task: What the model does: `binary` wants labels 0 and 1, `class` whole ones from 0.
    """

    def __init__(self, task: str) -> None:
        self._task = task
        self._tallies: dict[str, list[Tally]] = {}

    def begin(self, part: Part) -> None:
        """Goes on with a part."""
        accepted = (0, 1) if self._task == "binary" else ()
        self._tallies[part.name] = self._own = [
            Tally(column, accepted if column.role == "label" else ()) for column in part.columns
        ]

    def add(self, batch: Any, start: int) -> None:
        """Counts a batch whose first row has the number `start`."""
        for tally in self._own:
            values = batch.column(tally.column.name)
            tally.add(values, start)
            if tally.column.role == "label" and self._task == "class":
                tally.whole_only(values, start)

    def judge(self, found: Findings, min_label_share: float, max_label_shift: float) -> None:
        """Notes what is wrong in any part.

        Args:
            found: Where.
            min_label_share: Of either of two labels.
            max_label_shift: Of that share between train and another part.
        """
        labels: dict[str, Tally] = {}
        for part, tallies in self._tallies.items():
            for tally in tallies:
                _judge_values(found, part, tally)
                if tally.column.role == "label" and tally.labels:
                    labels[part] = tally
        shares = {
            part: share
            for part, tally in labels.items()
            if (share := self._judge_labels(found, part, tally, min_label_share)) is not None
        }
        for part in shares.keys() - {"train"}:
            if "train" in shares and abs(shares[part] - shares["train"]) > max_label_shift:
                found.find(
                    "LabelShift",
                    f"{shares[part]:.2%} of the labels are positive, and {shares['train']:.2%} of "
                    f"train's; at most {max_label_shift:.2%} apart are accepted.",
                    part=part,
                    column=labels[part].column.name,
                    severity="warn",
                )

    def _judge_labels(self, found: Findings, part: str, tally: Tally, least: float) -> float | None:
        """The share of label 1 of two; None where there are others."""
        name, labels = tally.column.name, tally.labels
        total = sum(labels.values())
        if len(labels) <= 20:
            told = {str(k): n / total for k, n in sorted(labels.items(), key=lambda p: str(p[0]))}
            found.measured.setdefault("label_share", {})[part] = told
        found.ask("LabelShare", name)
        if len(labels) == 1:
            # nothing is learned from one label; to judge by, only some measures lose sense
            is_fatal = part == "train" and self._task != "ranking"
            found.find(
                "LabelShare",
                f"all {total:,} labels are {next(iter(labels))!r}; at least 2 different ones must "
                "be there.",
                part=part,
                column=name,
                severity="error" if is_fatal else "warn",
            )
            return None
        if len(labels) != 2 or not set(labels) <= {0, 1}:
            return None
        share: float = labels[1] / total
        if not least <= share <= 1 - least:
            found.find(
                "LabelShare",
                f"{share:.4%} of {total:,} labels are positive; accepted are {least:.4%} to "
                f"{1 - least:.4%}.",
                part=part,
                column=name,
                severity="warn",
            )
        return share


def _judge_values(found: Findings, part: str, tally: Tally) -> None:
    column, rows = tally.column, tally.num_rows
    name, share = column.name, tally.num_missing / rows
    found.measured.setdefault("missing_share", {}).setdefault(name, {})[part] = share

    def judge(check: str, bad: Bad, what: str) -> None:
        found.ask(check, name)
        if bad.count:
            message = f"{share_of(bad.count, rows)} {what}."
            found.find(check, message, part=part, column=name, bad=bad)

    limit = f"; at most {column.null_share:.2%} are accepted"
    accepted = share <= column.null_share
    judge("NullShare", Bad() if accepted else tally.null, f"are null{limit}")
    if tally.nan.count or "float" in column.item:
        judge("NoNan", Bad() if accepted else tally.nan, f"are NaN{limit}")
    judge("InRange", tally.infinite, "are infinite")
    judge("InRange", tally.outside, f"are outside the range{_bounds(column)}")
    judge("OneOf", tally.other, f"have another value than {_few(tally.values)}")
    judge("OneOf", tally.fraction, "are no class: classes are 0, 1, 2 and so on")


def _bounds(column: Column) -> str:
    low = "" if column.low is None else f" from {column.low}"
    return low + ("" if column.high is None else f" to {column.high}")


def _few(values: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, values[:10]))
    return shown + (", ..." if len(values) > 10 else "")
