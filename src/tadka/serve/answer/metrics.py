"""The counters of all workers as Prometheus reads them.

Source: the text format, version 0.0.4, of prometheus.io/docs/instrumenting/exposition_formats.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tadka.serve.answer.call import STATUSES
from tadka.serve.board import DOORS, NUM_SCORES, Board, span_limits_s

Labels = Mapping[str, object]

_OF_A_WORKER = (  # name, type, field of the board, factor, help
    ("worker_busy_seconds_total", "counter", "busy_ns", 1e-9, "Time a worker did not wait."),
    ("worker_wakes_total", "counter", "wakes", 1, "Times that a worker woke up, or batches."),
    ("generation", "gauge", "generation", 1, "Number of the state that a worker serves."),
    ("swaps_total", "counter", "swaps", 1, "Times that a worker took up a new state."),
)
_OF_ALL = (
    ("shed_total", "shed", "Requests refused because they waited beyond their deadline."),
    ("shadow_dropped_total", "shadow_dropped", "Rows that shadows did not score for lack of time."),
    ("log_rows_total", "log_written", "Rows handed to the request log."),
    ("log_dropped_total", "log_dropped", "Rows for which the request log had no room."),
    (
        "log_lost_total",
        "log_lost",
        "Rows that the log writer could not write.",
    ),
    ("received_bytes_total", "bytes_in", "Bytes read from clients."),
    ("sent_bytes_total", "bytes_out", "Bytes written to clients."),
    ("malformed_total", "malformed", "Requests that were no HTTP or gRPC."),
    ("resets_total", "resets", "Calls that clients gave up."),
)
_REFUSED = ("refused_size", "refused_queue", "floods", "idle", "slow")


def render(
    board: Board, *, transport: str, nghttp2: str, version: str, failure: str | None = None
) -> str:
    """The counters as text.

    Args:
        board: Of all workers.
        transport: `"native"` or `"grpcio"`.
        nghttp2: Version of the library; "" without it.
        version: Of tadka.
        failure: Why the newest state is not served; None where it is.
    """
    workers = board.workers.copy()  # they count on while this reads
    page = _Page()
    build = {"transport": transport, "nghttp2": nghttp2, "version": version}
    page.add("build_info", "gauge", "What runs here.", [(build, 1)])
    page.add(
        "load_failed",
        "gauge",
        "Whether the newest state could not be loaded.",
        [({}, bool(failure))],
    )
    _add_requests(page, workers)
    _add_workers(page, workers)
    _add_arms(page, workers["arms"].ravel())
    return page.text()


class _Page:
    """Lines of the text format."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(
        self, name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]
    ) -> None:
        self._head(name, kind, about)
        self._lines += [_line(f"tadka_{name}", labels, value) for labels, value in samples]

    def add_histogram(
        self,
        name: str,
        about: str,
        limits: Sequence[float],
        rows: Iterable[tuple[Labels, Any, float | None]],
    ) -> None:
        """Adds labels, counts and the sum of each; the last count has no limit."""
        self._head(name, "histogram", about)
        for labels, counts, total in rows:
            ends = np.cumsum(counts).tolist()
            for limit, end in zip([*map(_number, limits), "+Inf"], ends, strict=True):
                self._lines.append(_line(f"tadka_{name}_bucket", {**labels, "le": limit}, end))
            if total is not None:
                self._lines.append(_line(f"tadka_{name}_sum", labels, total))
            self._lines.append(_line(f"tadka_{name}_count", labels, ends[-1]))

    def _head(self, name: str, kind: str, about: str) -> None:
        self._lines += [f"# HELP tadka_{name} {about}", f"# TYPE tadka_{name} {kind}"]

    def text(self) -> str:
        return "\n".join([*self._lines, ""])


def _add_requests(page: _Page, workers: Any) -> None:
    answers = workers["answers"].sum(axis=0)
    page.add(
        "requests_total",
        "counter",
        "Requests for scores that were answered, and requests that were refused.",
        [
            ({"protocol": door, "status": STATUSES[status]}, answers[i, status])
            for i, door in enumerate(DOORS)
            for status in range(len(STATUSES))
            if answers[i, status] or status == 0
        ],
    )
    page.add_histogram(
        "request_seconds",
        "Time from arrival to answer.",
        span_limits_s(),
        [({}, workers["spans"].sum(axis=0), workers["span_ns"].sum() * 1e-9)],
    )
    for name, field, about in _OF_ALL:
        page.add(name, "counter", about, [({}, workers[field].sum())])
    page.add(
        "transport_refused_total",
        "counter",
        "Requests refused and connections closed by the transport.",
        [({"reason": field}, workers[field].sum()) for field in _REFUSED],
    )


def _add_workers(page: _Page, workers: Any) -> None:
    opened, closed = workers["opened"].astype(np.int64), workers["closed"].astype(np.int64)
    page.add(
        "connections",
        "gauge",
        "Open connections.",
        [({"worker": i}, max(n, 0)) for i, n in enumerate(opened - closed)],
    )
    page.add(
        "connections_opened_total",
        "counter",
        "Connections that were accepted.",
        [({"worker": i}, n) for i, n in enumerate(opened)],
    )
    for name, kind, field, factor, about in _OF_A_WORKER:
        page.add(
            name, kind, about, [({"worker": i}, n * factor) for i, n in enumerate(workers[field])]
        )


def _add_arms(page: _Page, slots: Any) -> None:
    arms = list(_by_version(slots))
    page.add(
        "scores_total",
        "counter",
        "Scores that were answered, and those of shadows.",
        [
            ({**labels, "role": role}, found[field].sum())
            for labels, found in arms
            for role, field in (("served", "served"), ("shadow", "shadowed"))
        ],
    )
    page.add(
        "score_failures_total",
        "counter",
        "Rows at which the model or a property failed.",
        [(labels, found["failed"].sum()) for labels, found in arms],
    )
    page.add_histogram(
        "score",
        "Scores that were answered.",
        [round(i / NUM_SCORES, 6) for i in range(1, NUM_SCORES)],
        [(labels, found["scores"].sum(axis=0), found["score_sum"].sum()) for labels, found in arms],
    )
    page.add_histogram(
        "score_seconds",
        "Time from arrival to answer of the rows that a version scored.",
        span_limits_s(),
        [(labels, found["spans"].sum(axis=0), None) for labels, found in arms],
    )
    page.add(
        "score_busy_seconds_total",
        "counter",
        "Time that a version took for its scores.",
        [(labels, found["busy_ns"].sum() * 1e-9) for labels, found in arms],
    )


def _by_version(slots: Any) -> Iterator[tuple[Labels, Any]]:
    """The slots of each version of each model, of all workers."""
    used = slots[slots["model"] != b""]
    keys = sorted({(arm["model"].item(), arm["version"].item()) for arm in used})
    for model, version in keys:
        found = used[(used["model"] == model) & (used["version"] == version)]
        yield {"model": model.decode(errors="replace"), "version": version}, found


def _line(name: str, labels: Labels, value: Any) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {_number(value)}" if shown else f"{name} {_number(value)}"


def _escaped(text: object) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: Any) -> str:
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
