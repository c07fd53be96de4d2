"""What a run did: rows, time, who waited for whom, and where things are."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tadka.stream.page import render


@dataclass(kw_only=True)
class StageReport:
    """One stage of a run.

    Args:
        name: The stage's name.
        kind: ``stage``, ``train`` or ``write``.
        replicas: Processes it ran as.
        rows: Rows it made, or trained; padding is not counted.
        batches: The same in batches.
        rows_per_s: Rows by the seconds of the run.
        busy_share: Part of its processes' time spent working, 0 to 1.
        wait_input_share: Part spent waiting for batches.
        wait_output_share: Part spent waiting for credit: those behind it were slower.
        cpu_s: CPU seconds of all its processes, their start included.
        peak_memory_bytes: Of its largest process.
        restarts: Processes it lost and that were replaced.
        skipped_chunks: Chunks it could not work, see `Report.dead_letters`.
    """

    name: str
    kind: Literal["stage", "train", "write"]
    replicas: int
    rows: int = 0
    batches: int = 0
    rows_per_s: float = 0.0
    busy_share: float = 0.0
    wait_input_share: float = 0.0
    wait_output_share: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    restarts: int = 0
    skipped_chunks: int = 0


@dataclass(kw_only=True)
class Report:
    """What `Flow.run` returns.

    Args:
        seconds: From everybody ready to the end.
        startup_s: From the call to everybody ready.
        first_batch_s: From everybody ready to the first batch trained or written; None if none.
        rows_read: Rows that came out of storage, those read again after a crash included.
        rows_out: Rows trained (over all epochs) or written; each counted once.
        steps: Optimizer steps of each rank; 0 for a flow that writes.
        epochs: Passes over the data.
        padded_steps: Steps of single ranks that got padding.
        bottleneck: Name of the stage that the others waited for.
        stages: One entry each, in order.
        samples: Rows and queue depth over time, ``{"t": s, "stages": {name: {"rows", "queue"}}}``.
        metrics: What rank 0 logged, in order.
        checkpoints: Directories that `run.save` made.
        dead_letters: File that names skipped chunks, None if there are none.
        outputs: URIs of the parts written.
        reissued_chunks: Chunks that were leased again after a death.
        plan_hash: Identifies input and order.
        transport: ``shm``, ``ipc`` or ``tcp``.
        memory_limits: What enforces memory limits, by stage; empty where none is set.
        result: What rank 0's train function returned, if JSON can carry it.
    """

    seconds: float
    startup_s: float
    first_batch_s: float | None
    rows_read: int
    rows_out: int
    steps: int
    epochs: int
    padded_steps: int
    bottleneck: str
    stages: list[StageReport]
    samples: list[dict[str, Any]] = field(repr=False)
    metrics: list[dict[str, Any]] = field(repr=False)
    checkpoints: list[str]
    dead_letters: str | None
    outputs: list[str] = field(repr=False)
    reissued_chunks: int
    plan_hash: str
    transport: str
    memory_limits: dict[str, str]
    result: Any

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON has it."""
        return asdict(self)

    def save_html(self, path: str | Path, *, title: str = "tadka stream") -> None:
        """Write a page with charts that needs nothing but a browser."""
        Path(path).write_text(render(self.to_dict(), title=title), encoding="utf-8")

    def save_json(self, path: str | Path) -> None:
        """Write `to_dict` as JSON; NaN and the infinities become null, as JSON has neither."""
        text = json.dumps(_finite(self.to_dict()), indent=1, allow_nan=False)
        Path(path).write_text(text, encoding="utf-8")

    def __str__(self) -> str:
        console = Console(width=110, color_system=None)  # plain also where stdout is a terminal
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()

    def table(self) -> Table:
        """The stages as a table for the terminal; the bottleneck is marked."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("stage", "replicas", "rows", "rows/s", "busy", "waits in", "waits out"):
            table.add_column(name, justify="left" if name == "stage" else "right")
        table.add_column("")
        for stage in self.stages:
            notes = ["bottleneck"] if stage.name == self.bottleneck else []
            if stage.restarts:
                notes.append(f"{stage.restarts} restarts")
            if stage.skipped_chunks:
                notes.append(f"{stage.skipped_chunks} chunks skipped")
            table.add_row(
                Text(stage.name),  # a name is no markup
                str(stage.replicas),
                f"{stage.rows:,}",
                f"{stage.rows_per_s:,.0f}",
                f"{stage.busy_share:.0%}",
                f"{stage.wait_input_share:.0%}",
                f"{stage.wait_output_share:.0%}",
                ", ".join(notes),
            )
        return table


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def find_bottleneck(stages: list[StageReport]) -> str:
    """The stage whose processes were busy for the largest part of their time."""
    return max(stages, key=lambda stage: stage.busy_share).name if stages else ""
