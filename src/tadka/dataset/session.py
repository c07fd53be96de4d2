"""A session: an engine with the tables of a dataset, checked while the engine starts.

The engine starts in a thread of its own; listings and footers are looked at meanwhile in the thread
of the caller, where Ctrl-C arrives and where results are reported. The first check that fails sends
the engine home; the other checks go on, so that all failures are listed in one error.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.core.progress import Mode, Progress, ProgressRow
from tadka.dataset.check.check import ON_FAIL, Check, CheckResult, OnFail
from tadka.dataset.check.ground import checks_of, ground_of, scope_of
from tadka.dataset.check.runner import Results, refuse_mistaken, run_checks
from tadka.dataset.define.bound import Bound, Definition
from tadka.dataset.define.definition import Dataset
from tadka.dataset.define.leakage import check_bound
from tadka.dataset.engine.choice import make_engine
from tadka.dataset.engine.engine import Engine, TableInputs
from tadka.dataset.engine.spark import SparkEngine
from tadka.dataset.intake import Cancelled, Intake
from tadka.dataset.plan import Plan, plan_of
from tadka.dataset.scratch import scratch_folder
from tadka.dataset.sql.choice import dialect_of
from tadka.dataset.sql.query import select, source
from tadka.dataset.start import Start
from tadka.dataset.version.fingerprint import LEVELS
from tadka.dataset.version.store import Store
from tadka.dataset.version.version import Version
from tadka.dataset.writing import Writing

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def session(
    dataset: type[Dataset],
    *,
    engine: Literal["duckdb", "spark"] = "duckdb",
    on_fail: OnFail | None = None,
    spark: Any = None,
    scratch: str | Path | None = None,
    progress: Mode = "auto",
    on_result: Callable[[CheckResult], None] | None = None,
    **parameters: Any,
) -> "Iterator[Session]":
    """A dataset on an engine: its tables are listed, checked and ready to be queried.

    ```python
    with session(CtrTrain, start=..., end=..., engine="duckdb") as s:
        version = s.write("out/ctr", tag="2026-01")
    ```

    The engine and the checks of inputs start at the same moment. Whatever ends the block, an error
    or Ctrl-C, stops the engine and removes what was written aside.

    Args:
        dataset: The definition.
        engine: `"duckdb"`, or `"spark"`, which needs Java.
        on_fail: `"warn"` makes a warning of every failing check, `"raise"` an error; None leaves
            that to each check.
        spark: A SparkSession to work in; its options and views stay as they are, and it is not
            stopped. By default one is made.
        scratch: Folder for what is not kept, copies of inputs that are no Parquet and what does not
            fit into memory, say; the system's unless given. Spark puts aside what it shuffles where
            its own `spark.local.dir` says.
        progress: As in `tadka.core`.
        on_result: Called with the result of each check as it arrives.
        **parameters: Of the dataset.

    Yields:
        The session, until the end of the block.

    Raises:
        ConfigError: The definition or its parameters are wrong, or would leak, or no scratch folder
            can be made; nothing has started.
        CheckFailed: Checks failed; all failures are listed.
        MissingExtra: The engine is not installed.
    """
    definition = dataset.definition
    if on_fail not in (None, *ON_FAIL):
        raise ConfigError(f"on_fail is {on_fail!r}; it must be 'raise', 'warn' or None.")
    bound = _bound(dataset, engine, parameters)
    with Progress(progress) as shown, scratch_folder(scratch) as folder:
        made = make_engine(engine, spark=spark, scratch=folder)
        start = Start(made)

        def report(result: CheckResult) -> None:
            if result.status == "failed" and not opened:
                start.interrupt()
            shown.line(f"{result.status} {result}")
            if on_result is not None:
                on_result(result)

        results = Results(definition.name, on_fail=on_fail, report=report)
        opened: list[Session] = []
        try:
            opened.append(_opened(bound, start, made, folder, results, shown, dataset.__module__))
            yield opened[0]
        except BaseException:  # KeyboardInterrupt too: a query that runs is of no use; raised on
            start.interrupt()
            raise
        finally:
            for session_ in opened:
                session_.is_open = False
            start.end()


def _bound(dataset: type[Dataset], engine: str, parameters: dict[str, Any]) -> Bound:
    """A definition with its parameters, after all that can be refused before anything is read."""
    definition = dataset.definition
    bound = definition.bind(**parameters)
    check_bound(bound)
    refuse_mistaken(definition.name, definition.checks, scope_of(definition))
    select(bound, dialect_of(engine))  # raw SQL for another engine is refused before work
    return bound


def _opened(
    bound: Bound,
    start: Start,
    engine: Engine,
    folder: Path,
    results: Results,
    shown: Progress,
    module: str | None,
) -> "Session":
    """Starts the engine and looks at the tables, at the same time."""
    began = time.perf_counter()
    checks = checks_of(bound)
    asked: list[Check] = [*bound.definition.checks, *(c for c in checks if c.stage == "rows")]
    intake = Intake(bound, _made(folder / "staged"))
    start.begin()
    try:
        intake.check(list(dict.fromkeys(asked)), results, is_cancelled=lambda: start.has_failed)
        results.raise_failures()
    except Cancelled:
        pass  # by the engine, whose error follows
    start.wait()
    for found in intake.inputs.values():
        engine.register(found.name, TableInputs(found.table, found.staged.files, found.footers))
    return Session(
        bound,
        engine,
        intake,
        results,
        shown,
        scratch=folder,
        module=module,
        seconds=time.perf_counter() - began,
    )


class Session:
    """A dataset on an engine that runs; made by `session`.

    Args:
        bound: The definition with its parameters.
        engine: That runs.
        intake: The tables, looked at.
        results: Of the checks so far.
        shown: Where progress is shown.
        scratch: Folder for what is not kept.
        module: Name of the module that the definition stands in.
        seconds: That it took to begin.

    Attributes:
        definition: Of the dataset.
        is_open: Whether its block has not ended.
    """

    def __init__(
        self,
        bound: Bound,
        engine: Engine,
        intake: Intake,
        results: Results,
        shown: Progress,
        *,
        scratch: Path,
        module: str | None,
        seconds: float,
    ) -> None:
        self.definition: Definition = bound.definition
        self.is_open = True
        self._bound = bound
        self._engine = engine
        self._intake = intake
        self._results = results
        self._shown = shown
        self._num_writes = 0
        self._scratch = scratch
        self._module = module
        self._seconds = {"start": seconds}
        self._dialect = dialect_of(engine.name)
        self._has_checked = False
        self._checks = checks_of(bound)
        self._scope = scope_of(bound.definition)
        self._latest = results

    # ------------------------------------------------------------ looking

    @property
    def sql(self) -> str:
        """The query of the dataset, in the engine's SQL."""
        return select(self._bound, self._dialect)

    @property
    def spark(self) -> Any:
        """The SparkSession, whose views are the tables of the dataset, filtered.

        Raises:
            ConfigError: The engine is another one, or the session has ended.
        """
        self._check_open()
        if not isinstance(self._engine, SparkEngine):
            raise ConfigError(
                f"This session runs on {self._engine.name!r} and has no SparkSession; begin it "
                "with engine='spark'."
            )
        return self._engine.hand_out(self._bound)

    def plan(self) -> Plan:
        """What would be read and run."""
        return plan_of(self._bound, self._intake, self._engine.name)

    def table(self, alias: str) -> "pa.Table":
        """The rows of one alias, after their filters and before anything is looked up.

        Args:
            alias: Name of rows in the dataset.

        Raises:
            ConfigError: There are no such rows, or the session has ended.
        """
        self._check_open()
        if alias not in self.definition.relations:
            known = ", ".join(self.definition.relations)
            raise ConfigError(
                f"Dataset {self.definition.name!r} has no rows {alias!r}; it has {known}."
            )
        rows = source(self._bound, self._dialect, alias)
        return self._engine.query(f"SELECT * FROM {rows}")  # noqa: S608 - of our own making

    def to_arrow(self, limit: int | None = None) -> "pa.Table":
        """Rows of the dataset, without writing anything and without checks on rows.

        Args:
            limit: How many at most, no matter which; all unless given.

        Raises:
            ConfigError: The session has ended.
        """
        self._check_open()
        end = "" if limit is None else f"\nLIMIT {int(limit)}"
        table = self._engine.query(self.sql + end)
        pa = require("pyarrow", extra="dataset")
        return table.cast(pa.schema([(c.name, c.kind.arrow) for c in self.definition.columns]))

    # ------------------------------------------------------------ checks

    def checks(self) -> list[CheckResult]:
        """Results of all checks so far; those of the output are of the latest write."""
        return self._latest.all

    def check(self) -> list[CheckResult]:
        """Runs the checks of inputs that ask the engine, once; `write` does so before it writes.

        Returns:
            Results of all checks so far.

        Raises:
            CheckFailed: Checks failed.
            ConfigError: The session has ended.
        """
        self._check_open()
        if not self._has_checked:
            mine = [check for check in self._checks if check.is_of_inputs(self._scope)]
            ground = ground_of(self._bound, self._dialect)
            run_checks(mine, ground, self._engine.query_all, self._results)
            self._has_checked = True
        self._results.raise_failures()
        return self._results.all

    # ------------------------------------------------------------ writing

    def write(
        self,
        out: str | Path,
        *,
        tag: str | None = None,
        accept_changed: bool = False,
        fingerprint: str = "content",
    ) -> Version:
        """Writes a version, which is there as a whole or not at all.

        Args:
            out: Folder or URI of the store; it need not exist.
            tag: A name for the version.
            accept_changed: Whether to write although the inputs are not what they were for the
                newest version of the same definition and parameters.
            fingerprint: How much of the inputs is read to tell later whether they have changed:
                `"content"` all bytes, `"footer"` the ends of files, `"listing"` nothing.

        Returns:
            The version; the one that is there already where the content is equal.

        Raises:
            CheckFailed: Checks failed; nothing was kept.
            DataError: Inputs have changed, the tag stands for other content, the query meets what
                it cannot calculate, or the disk is full.
            ConfigError: The tag is no name, the level is not known, or the session has ended.
        """
        self._check_open()
        if fingerprint not in LEVELS:
            raise ConfigError(
                f"Level {fingerprint!r} is not known; it must be one of {', '.join(LEVELS)}."
            )
        store = Store(out)
        if tag is not None:
            store.check_tag(tag)
        writing = Writing(
            self._bound,
            self._engine,
            self._intake,
            module=self._module,
            level=fingerprint,
            on_progress=self._progress(),
            seconds=dict(self._seconds),
            clock=time.perf_counter,
        )
        versions = store.versions()
        before = None if accept_changed else writing.before(versions)
        if before is not None:
            writing.refuse_changed(before, writing.fingerprints("footer"))
        same_name = [v.num_rows for v in versions if v.name == self.definition.name]
        previous_rows = same_name[-1] if same_name else None
        self._latest = self._results.fork()
        self._intake.count(self._checks, self._latest, previous_rows)
        self._latest.raise_failures()
        self._latest = self._results
        self.check()
        self._latest = self._results.fork()
        with store.prepare(self._scratch) as folder:
            manifest = writing.run(
                self.sql,
                [check for check in self._checks if not check.is_of_inputs(self._scope)],
                ground_of(self._bound, self._dialect, previous_rows),
                self._latest,
                folder,
                before,
            )
            return store.publish(folder, manifest, tag)

    def _progress(self) -> Callable[[float], None] | None:
        """Shows how far a write is; None where nobody looks."""
        if self._shown.mode == "none":
            return None
        self._num_writes += 1  # each has a beginning of its own
        name = "write" if self._num_writes == 1 else f"write {self._num_writes}"
        has_begun = False

        def show(share: float) -> None:
            nonlocal has_begun
            has_begun = has_begun or share < 1
            if has_begun:  # else it was done before anybody could look
                percent = round(100 * share)
                self._shown.show({name: ProgressRow(done=percent, total=100, unit="%")})

        return show

    def _check_open(self) -> None:
        if not self.is_open:
            raise ConfigError(
                f"The session of {self.definition.name!r} has ended; use it inside its with block."
            )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
