"""Load on a server: distinct requests at a rate, every answer read and counted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from rich.console import Console
from rich.table import Table

from tadka.core.chart import line_chart
from tadka.core.error import ConfigError, MissingExtra, NotFound, Unreachable
from tadka.core.page import facts_list, legend, page
from tadka.serve.answer.call import MODELS, STATUSES
from tadka.serve.config import is_number, is_whole
from tadka.serve.workers.backend import CURE
from tadka.storage.publish import publish_file

try:
    from tadka.serve.generator import Generator
except ImportError as error:
    Generator = None  # type: ignore[assignment, misc]
    _missing = str(error)

_LATENCIES = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")
_OTHERS = {
    "malformed": "answers that are no gRPC",
    "timeouts": "without an answer in time",
    "lost": "connection ended before the answer",
    "dropped": "due, but never sent: the server is too slow for the rate",
    "retried": "refused before any work, and sent again",
    "reconnects": "connections opened again",
    "connect_failures": "connections that could not be opened",
    "goaways": "connections that the server said it would close",
}


@dataclass(frozen=True, kw_only=True)
class LoadConfig:
    """What is sent, where and how fast.

    Args:
        target: `HOST:PORT` of the server.
        rate: Requests a second, on a schedule that does not wait for answers; latency counts from
            the scheduled time. None keeps all streams busy instead: the highest throughput.
        seconds: Measured, after the warm-up.
        warmup_s: Seconds of load before, which are not counted.
        connections: Connections; each is answered by one worker of the server.
        streams: Requests in flight on each connection, at most.
        deadline_ms: That each request brings; None sends none.
        timeout_s: A request without an answer by then is given up.
        poisson: The times of the schedule are random with the same rate, as real traffic's.
        models: Names of the models asked for; empty for all.

    Raises:
        ConfigError: A value is out of range.
    """

    target: str = "localhost:50051"
    rate: float | None = None
    seconds: float = 10.0
    warmup_s: float = 1.0
    connections: int = 4
    streams: int = 8
    deadline_ms: int | None = None
    timeout_s: float = 10.0
    poisson: bool = False
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.address
        for name, is_zero_fine in (("seconds", False), ("timeout_s", False), ("warmup_s", True)):
            value = getattr(self, name)
            if not (is_number(value) and (value > 0 or (is_zero_fine and value == 0))):
                self._refuse(name, "seconds, at least 0" if is_zero_fine else "seconds above 0")
        if self.rate is not None and not (is_number(self.rate) and 0 < self.rate <= 1e7):
            self._refuse("rate", "requests a second above 0, or None for as many as possible")
        for name, most in (("connections", 10_000), ("streams", 1_000)):
            value = getattr(self, name)
            if not (is_whole(value) and 1 <= value <= most):
                self._refuse(name, f"a whole number from 1 to {most:,}")
        deadline = self.deadline_ms
        if deadline is not None and not (is_whole(deadline) and 1 <= deadline <= 86_400_000):
            self._refuse("deadline_ms", "a whole number from 1 to 86,400,000, or None")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `target`."""
        host, colon, port = str(self.target).rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            self._refuse("target", "HOST:PORT, such as 'localhost:50051'")
        return host, int(port)

    def _refuse(self, name: str, accepted: str) -> None:
        raise ConfigError(f"Setting {name!r} is {getattr(self, name)!r}; it must be {accepted}.")


@dataclass(frozen=True)
class LoadReport:
    """What a run of load showed.

    Args:
        config: That was asked for.
        figures: Of the generator: counts of each outcome, latencies in milliseconds, a series by
            second.
    """

    config: LoadConfig
    figures: dict[str, Any]

    @property
    def num_failed(self) -> int:
        """Requests without a good answer, with those that could not be sent at all."""
        return int(self.figures["failed"] + self.figures["dropped"])

    @property
    def statuses(self) -> dict[str, int]:
        """Requests by the name of their gRPC status; HTTP statuses and resets beside them."""
        found = {STATUSES[code]: num for code, num in self.figures["grpc"].items()}
        found |= {f"HTTP {code}": num for code, num in self.figures["http"].items()}
        return found | {f"reset {code}": num for code, num in self.figures["resets"].items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        figures = {name: value for name, value in self.figures.items() if name != "begun_ns"}
        figures["complaints"] = [
            {**complaint, "text": _text(complaint["text"])} for complaint in figures["complaints"]
        ]
        return {"config": asdict(self.config), "statuses": self.statuses, **figures}

    def text(self) -> str:
        """Tables for a terminal."""
        console = Console(width=100, highlight=False, color_system=None)
        with console.capture() as capture:
            for rows in (self._facts(), self._latencies(), self._outcomes()):
                table = Table.grid(padding=(0, 2))
                for name, value in rows.items():
                    table.add_row(name, value)
                console.print(table)
                console.print()
            for complaint in self.figures["complaints"]:
                status, text = _name(complaint["status"]), _text(complaint["text"])
                console.print(f"{status} x {complaint['num']:,}: {text}", markup=False)
        return capture.get().rstrip() + "\n"

    def html(self, path: str | Path) -> None:
        """Writes a page with the figures and their course.

        Args:
            path: Of the file; missing folders are made, an existing file is replaced.

        Raises:
            DataError: It cannot be written; what was there is as it was.
        """
        body = ["<h1>Load</h1>", facts_list(self._facts()), "<h2>Latency</h2>"]
        body.append(facts_list(self._latencies()))
        series = self.figures["series"]
        whole = [point for point in series if point["ok"]]
        if whole:
            body += [
                _figure(
                    "Latency by second",
                    {
                        name: [(float(point["second"]), point[f"{name}_ms"]) for point in whole]
                        for name in ("p50", "p99")
                    },
                    "ms",
                ),
                _figure(
                    "Requests by second",
                    {
                        name: [(float(point["second"]), float(point[name])) for point in series]
                        for name in ("ok", "failed")
                    },
                    "requests",
                ),
            ]
        body += ["<h2>Outcomes</h2>", facts_list(self._outcomes())]
        for complaint in self.figures["complaints"]:
            told = f"{_name(complaint['status'])} x {complaint['num']:,}: "
            body.append(f"<p>{escape(told + _text(complaint['text']))}</p>")
        with publish_file(path) as file:
            file.write(page(f"Load on {self.config.target}", body).encode())

    def _facts(self) -> dict[str, str]:
        config, figures = self.config, self.figures
        rate = "as fast as it answers" if config.rate is None else f"{config.rate:,.0f} a second"
        return {
            "target": config.target,
            "load": f"{rate}, {config.connections} connections x {config.streams} streams",
            "requests": f"{figures['sent']:,} in {figures['seconds']:.1f} s",
            "throughput": f"{figures['qps']:,.0f} good answers a second",
            "failed": f"{self.num_failed:,}",
            "CPU of the generator": f"{figures['cpu_s'] / figures['seconds']:.0%} of a core",
        }

    def _latencies(self) -> dict[str, str]:
        latency = self.figures["latency_ms"]
        return {name: f"{latency[name]:,.3f} ms" for name in _LATENCIES}

    def _outcomes(self) -> dict[str, str]:
        found = {name: f"{num:,}" for name, num in self.statuses.items()}
        for name, meaning in _OTHERS.items():
            if num := self.figures[name]:
                found[name.replace("_", " ")] = f"{num:,} ({meaning})"
        versions = self.figures["versions"]
        return found | {f"version {number}": f"{versions[number]:,}" for number in sorted(versions)}


def run_load(
    config: LoadConfig,
    messages: Sequence[bytes],
    path: str,
    *,
    expected: Sequence[bytes] | None = None,
    versions: bool = True,
) -> LoadReport:
    """Sends requests to a server and reads every answer.

    Args:
        config: Where and how fast.
        messages: Sent in turn, again and again.
        path: Of the method, as `method_path` of the feature class gives it.
        expected: How the answer to each message must end; others count as wrong.
        versions: Count the versions of models that the answers name: they are Prediction messages.

    Returns:
        The report.

    Raises:
        MissingExtra: The load generator was not built.
        Unreachable: Nothing takes connections at the target.
    """
    if Generator is None:
        raise MissingExtra(
            f"The load generator was not built ({_missing}), and there is none in Python. {CURE}."
        )
    host, port = config.address
    try:
        generator = Generator(
            host,
            port,
            path,
            messages,
            connections=config.connections,
            streams=config.streams,
            metadata=[(MODELS, ",".join(config.models))] if config.models else [],
            timeout_s=config.timeout_s,
            deadline_ms=config.deadline_ms or 0,
            expected=expected,
            versions=versions,
        )
        figures = generator.run(
            seconds=config.seconds,
            rate=config.rate or 0.0,
            poisson=config.poisson,
            warmup_s=config.warmup_s,
        )
    except NotFound as error:
        raise Unreachable(str(error), "UNAVAILABLE") from error
    return LoadReport(config, figures)


def _figure(caption: str, series: dict[str, list[tuple[float, float]]], unit: str) -> str:
    chart = line_chart(series, x_label="second", y_label=unit, label=caption, x_is_whole=True)
    colours = {name: number for number, name in enumerate(series)}
    return f"<figure><figcaption>{caption}</figcaption>{legend(colours)}{chart}</figure>"


def _name(status: int) -> str:
    return STATUSES[status] if status < len(STATUSES) else f"HTTP {status}"


def _text(raw: bytes) -> str:
    """grpc-message as it was meant: percent-encoded UTF-8."""
    return unquote_to_bytes(raw).decode("utf-8", "replace")
