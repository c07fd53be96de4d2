"""Why a task runs, or does not, as text for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["stored", "runs", "waits", "other code"]
"""Of a task, should it be built now: its result is there; it runs; it runs if an input that is made
again turns out different; its result is there, of other code, and is served as it is."""

WORDS: Mapping[str, str] = {
    "stored": "stored",
    "runs": "runs",
    "waits": "runs if an input turns out different",
    "other code": "stored, made by other code",
}
_COUNTED = {"stored": "stored", "runs": "to run", "waits": "to wait", "other code": "of other code"}


@dataclass(frozen=True)
class Line:
    """One task of an explanation.

    Args:
        name: Of it, short.
        status: How it stands.
        reasons: Why.
    """

    name: str
    status: Status
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """Whether a task runs if it is built now, and why.

    Args:
        task: It, short: `Features(window=7, clicks=Clicks#1a2b3c)`.
        id: Of the task.
        status: How it stands.
        reasons: What changed since the result that it is compared with, one sentence each.
        result: What is known of that result; empty where there is none.
        counts: Of the tasks that it needs, directly or not: how many stand how.
        upstream: Some of those that are not stored.
        key: Of the result that is asked for; None where inputs of it must be made first.
    """

    task: str
    id: str
    status: Status
    reasons: tuple[str, ...]
    result: str
    counts: Mapping[Status, int]
    upstream: Sequence[Line] = ()
    key: str | None = None

    def __str__(self) -> str:
        lines = [f"{self.task}  #{self.id[:8]}", f"{WORDS[self.status]}"]
        lines += [f"  {reason}" for reason in self.reasons]
        if self.result:
            lines.append(self.result)
        total = sum(self.counts.values())
        if total:
            told = ", ".join(f"{number:,} {_COUNTED[name]}" for name, number in self.counts.items())
            lines += ["", f"It needs {total:,} task{'' if total == 1 else 's'}: {told}."]
            lines += table_of(self.upstream)
            num_left = total - self.counts.get("stored", 0) - len(self.upstream)
            if self.upstream and num_left > 0:
                lines.append(f"  and {num_left:,} more")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "task": self.task,
            "id": self.id,
            "key": self.key,
            "status": self.status,
            "reasons": list(self.reasons),
            "result": self.result,
            "counts": dict(self.counts),
            "upstream": [asdict(line) for line in self.upstream],
        }


def table_of(lines: Sequence[Line]) -> list[str]:
    """Tasks one below the other, the first reason of each beside it and others below that.

    Args:
        lines: They.
    """
    wide = max((len(line.status) for line in lines), default=0)
    long = min(max((len(line.name) for line in lines), default=0), 70)
    told = []
    for line in lines:
        first, *others = line.reasons or ("",)
        told.append(f"  {line.status:{wide}}  {line.name:{long}}  {first}".rstrip())
        told += [f"  {'':{wide}}  {'':{long}}  {reason}" for reason in others]
    return told
