"""What the benchmarks share: cells in fresh processes, interleaved rounds, tables, the JSON line.

A *cell* is one method at one setting, measured once in a process of its own. A *round* runs every
cell once. `Bench` runs a warm-up round and then at least five, compares only inside rounds, and
ends with one line of JSON. Inside a cell's process, `Meter` measures the part that counts.

    bench = Bench("stream_fm", __doc__, packages=["torch", "ray"])
    options = bench.parse()
    use_own_environment()
    bench.run([Cell("tadka", ["-m", "fm.cell", "tadka_flow"]), ...])
    bench.target("vs_ray", bench.ratio(("ray", "wall_s"), ("tadka", "wall_s")), ">= 3")
    sys.exit(bench.finish([Table(...), ...]))
"""

import argparse
import contextlib
import ctypes
import datetime as dt
import importlib.metadata
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

# One thread for everything that would start a pool: OMP covers torch and Arrow's CPU pool.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "1",
}
# Others may use this many cores while we measure before the figures are called noisy.
QUIET_CORES = 0.10

_PR_SET_CHILD_SUBREAPER = 36


def use_own_environment() -> None:
    """Go on in ``benchmarks/.venv``, where the peers are; makes it when it is missing."""
    python = HERE / ".venv" / "bin" / "python"
    if Path(sys.prefix).resolve() == python.parents[1].resolve():
        return
    if not python.exists():
        print("benchmarks/.venv is missing; making it with benchmarks/setup.sh", file=sys.stderr)
        made = subprocess.run([HERE / "setup.sh"], stdout=sys.stderr, check=False)
        if made.returncode or not python.exists():
            raise SystemExit("benchmarks/setup.sh failed; see above.")
    os.execv(python, [str(python), *sys.argv])


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, so that none escapes counting and clean-up."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


# ------------------------------------------------------------------ inside a cell


def tree_pids(root: int) -> list[int]:
    """Process ids of `root` and all its descendants; `root` first."""
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(directory.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, ()))
    return found


def pids_cpu_s(pids: Sequence[int], *, children: bool = True) -> float:
    """CPU seconds of `pids` so far, with those of their ended and awaited children.

    A difference of two such sums over a whole tree is right even when a process ends in
    between, if its parent awaits it: what it used is then among that parent's children's.
    """
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            # utime, stime, cutime, cstime: fields 14-17, counted behind the name in brackets.
            ticks += sum(map(int, stat.rpartition(")")[2].split()[11 : 15 if children else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Meter:
    """Measures the wall of one cell and the CPU time of all its processes inside that wall.

    Args:
        root: Top of the process tree; by default the one that the harness started.
        follow: Look at the tree four times a second as well. For a peer whose processes end in
            between without being awaited (Ray's workers): their time would be lost.
    """

    def __init__(self, root: int | None = None, *, follow: bool = False) -> None:
        self.root = root or int(os.environ.get("BENCH_ROOT_PID", os.getpid()))
        self.start_at = self.stop_at = 0.0
        self.cpu_s = 0.0
        self._before: dict[int, float] = {}
        self._seen: dict[int, float] = {}
        self._end = threading.Event()
        self._follower = threading.Thread(target=self._follow, daemon=True) if follow else None

    def start(self) -> None:
        """Everything is up: from here on it counts."""
        self._look()
        self._before = dict(self._seen)
        if self._follower:
            self._follower.start()
        self.start_at = time.perf_counter()

    def stop(self) -> None:
        """The last batch is done."""
        self.stop_at = time.perf_counter()
        if self._follower:
            self._end.set()
            self._follower.join()
        else:
            self._seen.clear()
        self._look()
        self.cpu_s = sum(self._seen.values()) - sum(self._before.values())

    @property
    def wall_s(self) -> float:
        """Seconds from start to stop."""
        return self.stop_at - self.start_at

    def _look(self) -> None:
        self._seen.update({pid: pids_cpu_s([pid]) for pid in tree_pids(self.root)})

    def _follow(self) -> None:
        while not self._end.wait(0.25):
            self._look()


def run_cell(measure: Any) -> None:
    """Body of a cell's process: call `measure` and hand its dict to the harness.

    A library that cannot be imported makes the cell `missing`; any other error fails it.
    """
    adopt_orphans()
    os.environ["BENCH_ROOT_PID"] = str(os.getpid())
    try:
        result = measure()
    except ImportError as error:
        # Not only ModuleNotFoundError: Ray's own guard let a plain ImportError through.
        result = {"missing": f"{error}"}
    Path(os.environ["BENCH_RESULT"]).write_text(json.dumps(result))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: what libraries do at exit is no part of the measurement, and the harness
    # ends what is left of the tree.
    os._exit(0)


# ------------------------------------------------------------------ the harness's side


@dataclass(frozen=True)
class Cell:
    """One method at one setting.

    Args:
        name: Shown in tables, the key of results.
        arguments: Of a fresh Python interpreter, started in ``benchmarks/``.
        env: Added to the environment (which has one thread for every pool).
        timeout_s: After this the cell has failed.
    """

    name: str
    arguments: Sequence[str]
    env: dict[str, str] = field(default_factory=dict)
    timeout_s: float = 300.0


Round = dict[str, dict[str, Any]]


@dataclass
class Table:
    """A table of a report; every cell is text or a number."""

    title: str
    columns: list[str]
    rows: list[list[Any]]

    def text(self) -> str:
        """Columns aligned, for a terminal."""
        rows = [self.columns, *([_show(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [value.rjust(width) for value, width in zip(row[1:], widths[1:], strict=True)]
            )
            for row in rows
        ]
        return "\n".join([self.title, "-" * len(self.title), *lines])

    def markdown(self) -> str:
        """As Markdown, with a heading."""
        rows = [self.columns, *([_show(value) for value in row] for row in self.rows)]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|" + "---|" * len(self.columns))
        return "\n".join([f"## {self.title}", "", *lines])


class Bench:
    """One benchmark: its arguments, its rounds, its targets, its report.

    Args:
        name: Of the script, and of the file that ``--write`` writes.
        description: The script's docstring; its first paragraph goes into the report.
        packages: Distributions whose versions are reported.
        rounds: Measured rounds unless ``--rounds`` says otherwise; at least 5 for a claim.
        is_timed: False where figures do not depend on the machine: one round is a claim, and other
            load is no noise.
    """

    def __init__(
        self,
        name: str,
        description: str | None,
        *,
        packages: Sequence[str],
        rounds: int = 5,
        is_timed: bool = True,
    ) -> None:
        self.name = name
        self.is_timed = is_timed
        self.description = (description or "").strip()
        self.packages = packages
        self.parser = argparse.ArgumentParser(
            description=self.description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add = self.parser.add_argument
        add("--quick", action="store_true", help="under a minute: fewer rounds, no warm-up")
        add("--rounds", type=int, help=f"measured rounds (default {rounds}, 1 with --quick)")
        add("--write", action="store_true", help=f"write benchmarks/results/{name}.md")
        add("--force", action="store_true", help="let --write write noisy or short results, too")
        add("--methods", help="only these, separated by commas; other targets are not met")
        self._default_rounds = rounds
        self.options = argparse.Namespace(quick=False, rounds=None, write=False, force=False)
        self.num_rounds = rounds
        self.targets: dict[str, dict[str, Any]] = {}
        self.raw: dict[str, Any] = {}
        self.results: list[Round] = []
        self.missing: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.noise: list[str] = []
        self.load_before = os.getloadavg()

    def parse(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Read the command line; a script may add arguments to `parser` before."""
        self.options = self.parser.parse_args(arguments)
        if self.options.rounds is not None and self.options.rounds < 1:
            self.parser.error(f"--rounds is {self.options.rounds}; it must be at least 1.")
        quick = 1 if self.options.quick else self._default_rounds
        self.num_rounds = self.options.rounds or quick
        return self.options

    def wants(self, method: str) -> bool:
        """Whether ``--methods`` leaves this method in."""
        return not self.options.methods or method in self.options.methods.split(",")

    # ---- rounds

    def run(self, cells: Sequence[Cell], *, warm_up: bool | None = None) -> list[Round]:
        """Run every cell once per round, and a warm-up round before unless ``--quick``.

        The order turns by one from round to round, so that no cell always follows the same one.
        """
        adopt_orphans()
        self._look_around()
        warm_up = not self.options.quick if warm_up is None else warm_up
        for number in range(-1 if warm_up else 0, self.num_rounds):
            shift = (number + 1) % len(cells)
            results: Round = {}
            for cell in [*cells[shift:], *cells[:shift]]:
                result = self._run_cell(cell, number)
                if result is not None:
                    results[cell.name] = result
            if number >= 0:
                self.results.append(results)
        return self.results

    def _run_cell(self, cell: Cell, number: int) -> dict[str, Any] | None:
        if cell.name in self.missing or cell.name in self.failed:
            return None
        label = "warm-up" if number < 0 else f"round {number + 1}/{self.num_rounds}"
        print(f"[{label}] {cell.name} ...", end=" ", file=sys.stderr, flush=True)
        result = execute(cell)
        if "missing" in result:
            self.missing[cell.name] = result["missing"]
            print(f"missing: {result['missing']}", file=sys.stderr)
            return None
        if "failed" in result:
            self.failed[cell.name] = result["failed"]
            print(f"failed: {result['failed']}", file=sys.stderr)
            return None
        if self.is_timed and number >= 0 and result["others_cores"] > QUIET_CORES:
            used = f"{result['others_cores']:.2f} cores"
            self.noise.append(f"others used {used} during {cell.name}, {label}")
        print(f"{result.get('headline', 'done')}", file=sys.stderr)
        return result

    def _look_around(self) -> None:
        """Note when others use the machine before we begin."""
        busy_before, at = _busy_s(), time.perf_counter()
        time.sleep(1.0)
        cores = (_busy_s() - busy_before) / (time.perf_counter() - at)
        self.load_before = os.getloadavg()
        if self.is_timed and cores > QUIET_CORES:
            self.noise.append(f"others used {cores:.2f} cores before the start")
            print(
                f"warning: others use {cores:.2f} of {os.cpu_count()} cores; the figures below "
                "are no claims.",
                file=sys.stderr,
            )

    # ---- figures

    def values(self, cell: str, key: str) -> list[float]:
        """`key` of `cell` in each round that has it."""
        found = (results[cell].get(key) for results in self.results if cell in results)
        return [value for value in found if value is not None]

    def median(self, cell: str, key: str) -> float | None:
        """Median over the rounds; None without any."""
        values = self.values(cell, key)
        return statistics.median(values) if values else None

    def ratio(self, over: tuple[str, str], under: tuple[str, str]) -> float | None:
        """Median over the rounds of one cell's figure by another's in the same round."""
        ratios = [
            results[over[0]][over[1]] / results[under[0]][under[1]]
            for results in self.results
            if over[0] in results and under[0] in results and results[under[0]].get(under[1])
        ]
        return statistics.median(ratios) if ratios else None

    def target(self, name: str, value: float | None, aim: str) -> None:
        """Record a target.

        Args:
            name: As in the issue that asks for it.
            value: Measured; None when a part of it is missing, and then it is not met.
            aim: ``">= 0.95"`` or ``"<= 1.05"`` or ``"== 0"``.
        """
        relation, bound = aim.split()
        met = (
            value is not None
            and {
                ">=": value >= float(bound),
                "<=": value <= float(bound),
                "==": value == float(bound),
            }[relation]
        )
        shown = None if value is None else float(f"{value:.4g}")
        self.targets[name] = {"value": shown, "aim": aim, "met": met}

    # ---- the report

    def finish(self, tables: Sequence[Table], notes: Sequence[str] = ()) -> int:
        """Print tables and targets and, last, the JSON line; write the result file if asked.

        Returns:
            The exit status: 0, or 1 when ``--write`` was asked for and refused.
        """
        rows = [
            [name, target["value"], target["aim"], "yes" if target["met"] else "NO"]
            for name, target in self.targets.items()
        ]
        tables = [*tables, Table("Targets", ["target", "value", "aim", "met"], rows)]
        remarks = [*notes, *self._remarks()]
        for table in tables:
            print(table.text(), end="\n\n")
        for remark in remarks:
            print(f"- {remark}")
        refusal = self._refusal()
        if self.options.write and not refusal:
            path = HERE / "results" / f"{self.name}.md"
            path.parent.mkdir(exist_ok=True)
            path.write_text(self._markdown(tables, remarks))
            print(f"- written: benchmarks/results/{self.name}.md")
        elif self.options.write:
            print(f"- not written: {refusal}; --force writes all the same")
        print(json.dumps(self._summary()), flush=True)
        return 1 if self.options.write and refusal else 0

    def _remarks(self) -> list[str]:
        remarks = [f"missing: {name}: {why}" for name, why in self.missing.items()]
        remarks += [f"failed: {name}: {why}" for name, why in self.failed.items()]
        if self.noise:
            remarks.append(
                f"NOISY: {len(self.noise)} signs of other load on this machine, first: "
                f"{self.noise[0]}. These figures are no claims."
            )
        if self.is_timed and self.num_rounds < 5:
            remarks.append(f"{self.num_rounds} round(s): a claim needs at least 5.")
        return remarks

    def _refusal(self) -> str:
        if self.options.force or not self.is_timed:
            return ""
        if self.noise:
            return "other load was seen on the machine"
        return "fewer than 5 rounds" if self.num_rounds < 5 else ""

    def _summary(self) -> dict[str, Any]:
        return {
            "bench": self.name,
            "machine": machine(),
            "versions": versions(self.packages),
            "targets": self.targets,
            "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "rounds": self.num_rounds,
            "quick": self.options.quick,
            "quiet": not self.noise,
            "noise": self.noise[:20],
            "loadavg": [round(load, 2) for load in (*self.load_before, *os.getloadavg())],
            "missing": self.missing,
            "failed": self.failed,
            "raw": {**self.raw, "rounds": self.results},
        }

    def _markdown(self, tables: Sequence[Table], remarks: Sequence[str]) -> str:
        summary = self._summary()
        warm_up = "" if self.options.quick else ", after a warm-up round"
        facts = [
            f"- date: {summary['date']}",
            f"- machine: {summary['machine']}",
            "- versions: " + ", ".join(f"{k} {v}" for k, v in summary["versions"].items()),
            f"- rounds: {self.num_rounds}, interleaved{warm_up}; medians (min-max)",
            f"- load averages before and after: {summary['loadavg']}",
            *(f"- {remark}" for remark in remarks),
        ]
        again = f"Again: `make bench NAME={self.name} ARGS=--write`"
        parts = [f"# {self.name}", self.description, "\n".join(facts)]
        return "\n\n".join([*parts, *(table.markdown() for table in tables), again]) + "\n"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """``median (min-max)``, or a dash without values."""
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def machine() -> str:
    """Processor, cores, memory and system; never a name or a path of the machine."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of `packages`; a package that is not installed is ``missing``."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def execute(cell: Cell) -> dict[str, Any]:
    """Run a cell in a fresh process and return what it measured, never leaving a process.

    Returns:
        The cell's own figures, or ``missing`` or ``failed`` with a reason; always with
        ``elapsed_s``, ``peak_bytes`` and ``others_cores`` (cores used by processes that are
        not ours).
    """
    with tempfile.TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as directory:
        result_path, error_path = Path(directory, "result.json"), Path(directory, "stderr")
        env = {
            **os.environ,
            **ONE_THREAD,
            "PYTHONPATH": str(HERE),
            "BENCH_RESULT": str(result_path),
            "TMPDIR": directory,  # what a library forgets there goes with it
            **cell.env,
        }
        before, busy_before, at = _own_s(), _busy_s(), time.perf_counter()
        usage = _Usage()
        with error_path.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, *cell.arguments],
                cwd=HERE,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
            try:
                _watch(process, cell.timeout_s, usage)
            finally:
                end_descendants()
        elapsed_s = time.perf_counter() - at
        # Both are lower bounds: Ray does not await its workers, so only the samples have them.
        own_s = max(_own_s() - before, sum(usage.cpu_s.values()))
        others_cores = (_busy_s() - busy_before - own_s) / elapsed_s
        try:
            result: dict[str, Any] = json.loads(result_path.read_text())
        except (OSError, ValueError):
            lines = error_path.read_text(errors="replace").strip().splitlines()
            ended = f"exit status {process.returncode}"
            if elapsed_s >= cell.timeout_s:
                ended = f"no end after {cell.timeout_s:g} s"
            result = {"failed": f"{ended}; last line: {lines[-1] if lines else '(none)'}"}
            print("\n" + "\n".join(lines[-25:]), file=sys.stderr)
    result["elapsed_s"] = round(elapsed_s, 2)
    result["others_cores"] = round(max(0.0, others_cores), 3)
    result["peak_bytes"] = usage.peak_bytes
    return result


def end_descendants() -> None:
    """Kill and await every process below this one, those with another parent by now included."""
    for _ in range(50):
        pids = tree_pids(os.getpid())[1:]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
        if not pids:
            return
        time.sleep(0.05)


@dataclass
class _Usage:
    """What the samples of a cell showed.

    Memory is the anonymous memory of every process plus the largest mapping of shared memory
    (a ring or an object store is mapped by several, and counted once).
    """

    peak_bytes: int = 0
    cpu_s: dict[int, float] = field(default_factory=dict)


def _watch(process: "subprocess.Popen[bytes]", timeout_s: float, usage: _Usage) -> None:
    """Wait for the end of `process`, looking at its tree four times a second."""
    end_at = time.monotonic() + timeout_s
    pids: list[int] = []
    for tick in range(sys.maxsize):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.25)
            return
        if time.monotonic() > end_at:
            return
        if tick % 4 == 0:  # walks all of /proc
            pids = tree_pids(process.pid)
        anonymous, shared = 0, 0
        for pid in pids:
            fields = _memory(pid)
            anonymous += fields.get("RssAnon", 0)
            shared = max(shared, fields.get("RssShmem", 0))
            usage.cpu_s[pid] = max(usage.cpu_s.get(pid, 0), pids_cpu_s([pid], children=False))
        usage.peak_bytes = max(usage.peak_bytes, anonymous + shared)


def _memory(pid: int) -> dict[str, int]:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        pairs = (line.split() for line in lines if line.startswith("Rss"))
        return {pair[0].rstrip(":"): int(pair[1]) * 1024 for pair in pairs}
    return {}


def _busy_s() -> float:
    """CPU seconds that the whole machine has been busy, other guests' share included."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    """CPU seconds of this process and of every descendant that has ended and was awaited."""
    used = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        used += usage.ru_utime + usage.ru_stime
    return used


def _show(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
