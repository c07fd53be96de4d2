"""Runs one job: the body of a task, from the bytes of its inputs to the bytes of its outputs."""

import contextlib
import os
import resource
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from tadka.core.error import ConfigError, TadkaError
from tadka.task.define.frozen import Input, loaded
from tadka.task.define.run import Run
from tadka.task.define.task import Part, Task, arguments_of, inputs_of, whole_of
from tadka.task.engine.body import (
    codec_for,
    number_of,
    refuse_dump,
    returned,
    set_seed,
    settled,
    theirs,
)
from tadka.task.engine.capture import Capture
from tadka.task.engine.chart import points_of
from tadka.task.engine.job import Failure, Job, Outcome, Ready
from tadka.task.output.codec import Codec
from tadka.task.output.frame import library_of
from tadka.task.store.row import Output
from tadka.task.store.store import Damaged, Store

_FULL_BYTES = 1 << 20
"""A disk with less space than this counts as full."""


def perform(
    job: Job, store: Store, *, is_worker: bool = True, log: TextIO | None = None
) -> Outcome:
    """Runs a job: reads its inputs, runs the body, checks and writes its result.

    Args:
        job: What to run.
        store: Of its inputs and outputs.
        is_worker: Whether this process does nothing else: then its peak memory is the job's, and
            what it prints is shown by nobody.
        log: A file for what it prints, which is in the outcome as well.

    Returns:
        How it ended, well or not.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C.
    """
    return _Performance(job, store, is_worker=is_worker, log=log).outcome()


class _Needs(BaseException):
    """Leaves a body whose needs are not built; `except Exception` does not see it."""


class _Performance:
    """One job while it runs."""

    def __init__(self, job: Job, store: Store, *, is_worker: bool, log: TextIO | None) -> None:
        self.job, self.store, self.task = job, store, job.task
        self.cls = type(job.task)
        self.run = _Run(self)
        self.written: dict[str, Output] = {}
        self.warnings: list[str] = []
        self._is_worker = is_worker
        self._log = log
        self._values: dict[str, Any] = {}  # of several outputs, for checks
        self._in_fields: dict[str, Ready] | None = None
        self._scanned: list[Path] = []

    def outcome(self) -> Outcome:
        error = None
        is_waiting = False
        peak_before = _peak_bytes(is_fresh=self._is_worker)
        begin = time.perf_counter()
        with Capture(is_shown=not self._is_worker, copy=self._log) as capture:
            try:
                self._make()
            except _Needs:
                is_waiting = True
            except KeyboardInterrupt:
                self._clean()
                self.store.discard([*self.written.values()])
                raise
            except (Exception, SystemExit) as failure:  # noqa: BLE001 - user code raises anything
                error = _failure_of(failure)
        seconds = time.perf_counter() - begin
        self._clean()
        if is_waiting or error is not None:
            self.store.discard([*self.written.values()])
            self.written.clear()
        peak_bytes = _peak_bytes()
        is_own = self._is_worker or peak_bytes > peak_before
        return Outcome(
            self.job.number,
            tuple(self.written.values()),
            seconds,
            peak_bytes if is_own else None,
            self.run.metrics,
            str(capture),
            self.run.plots,
            self.warnings,
            error,
            tuple(self.run.needs),
            is_waiting,
        )

    def _make(self) -> None:
        arguments = {
            argument.name: self._argument(argument.name, argument.is_run, argument.is_lazy)
            for argument in arguments_of(self.cls)
        }
        set_seed(self.job.seed)
        value = self.task.run(**arguments)
        del arguments
        if "" in self.cls.outs:
            self._check({"": value}, value)
        else:
            self._check(*self._several(value))

    def _argument(self, name: str, is_run: bool, is_lazy: bool) -> Any:
        if is_run:
            return self.run
        value = self.task.__dict__[name]
        return self._one_by_one(value) if is_lazy else loaded(value, self.load)

    def _one_by_one(self, value: Sequence[Any]) -> Iterator[Any]:
        for item in value:
            yield loaded(item, self.load)

    # ------------------------------------------------------------ inputs

    def load(self, item: Input[Any]) -> Any:
        """The value of a task that a field holds, or of a part of it."""
        if self._in_fields is None:
            places = self.job.inputs
            self._in_fields = {
                whole_of(held).id: places[place]
                for place, held in inputs_of(self.task)
                if place in places
            }
        ready = self._in_fields.get(whole_of(item).id)
        if ready is None:
            where = f"{self.cls.__name__}.run"
            raise ConfigError(
                f"{where} loads {item!r}, which no field of {self.cls.__name__} holds. Give it a "
                "field, or ask for it with run.need(...)."
            )
        return self.read(item, ready)

    def read(self, item: Input[Any], ready: Ready) -> Any:
        return value_of(item, ready, self.store, self._kept)

    def _kept(self, path: Path) -> Path:
        """Another name for bytes that are read later: they may lose this one when committed."""
        link = self.store.begin()
        _link(path, link)
        self._scanned.append(link)
        return link

    # ------------------------------------------------------------ outputs

    def dump(self, name: str, value: Any) -> None:
        codec = codec_for(self.cls, name)
        value = settled(codec, self.cls, name, value)
        if self.cls.checks:
            self._values[name] = value
        self._write(codec, name, value)

    def _several(self, value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Outputs that `run` returned and did not write itself; all of them."""
        found = returned(self.cls, value, self.written)
        return found, {**self._values, **found}

    def _check(self, found: dict[str, Any], whole: Any) -> None:
        """Looks at what the body returned, then writes it."""
        codecs = {name: codec_for(self.cls, name) for name in found}
        for name, codec in codecs.items():
            found[name] = settled(codec, self.cls, name, found[name])
        if self.cls.checks:
            whole = found[""] if "" in found else {**whole, **found}  # noqa: SIM401
            for one in self.cls.checks:
                if one.passes(self.task, whole):
                    continue
                if one.severity == "error":
                    raise _FailedCheck(f"Check {self.cls.__name__}.{one.name} failed.")
                self.warnings.append(f"check {one.name} failed")
        for name, codec in codecs.items():
            self._write(codec, name, found[name])

    def _write(self, codec: Codec, name: str, value: Any) -> None:
        packed = codec.pack(value)
        if packed is not None:
            output, description = self.store.keep(packed[0], codec.suffix), packed[1]
        else:
            aside = self.store.begin(codec.suffix, is_folder=codec.is_folder)
            try:
                description = codec.write(value, aside)
                output = self.store.put(aside)
            except BaseException as error:  # KeyboardInterrupt, too: half a file is of no use
                if isinstance(error, OSError) and error.errno is None:  # numpy names no cause
                    num_bytes = shutil.disk_usage(aside.parent).free
                    if num_bytes < _FULL_BYTES:
                        error.add_note(f"The disk of the workspace has {num_bytes:,} bytes left.")
                _remove(aside)
                raise
        found = {key: part for key, part in description.to_json().items() if part not in (None, {})}
        self.written[name] = output.named(name, found)

    def _clean(self) -> None:
        for path in self._scanned:
            _remove(path)
        if self.run.scratch is not None:
            shutil.rmtree(self.run.scratch, ignore_errors=True)


class _Run(Run):
    """What the body of a task may ask for."""

    def __init__(self, performance: _Performance) -> None:
        self._performance = performance
        self.seed = performance.job.seed
        self.metrics: dict[str, float] = {}
        self.plots: list[dict[str, Any]] = []
        self.needs: list[tuple[Task[Any], ...]] = []
        self._asked: set[str] = set()
        self.scratch: Path | None = None

    @property
    def folder(self) -> Path:  # type: ignore[override]
        """Scratch space, removed afterwards."""
        if self.scratch is None:
            self.scratch = self._performance.store.begin(is_folder=True)
        return self.scratch

    def load(self, task: Input[Any]) -> Any:
        return self._performance.load(task)

    def need(self, task: Any) -> Any:
        is_one = isinstance(task, Input)
        asked: Sequence[Input[Any]] = [task] if is_one else list(task)
        for item in asked:
            if not isinstance(item, Task | Part):
                raise ConfigError(f"run.need takes tasks, and was given {item!r}.")
        tasks = {whole_of(item).id: whole_of(item) for item in asked}
        new = tuple([task for id_, task in tasks.items() if id_ not in self._asked])
        if new:
            self._asked.update(tasks)
            self.needs.append(new)
        needed = self._performance.job.needed
        if any(whole_of(item).id not in needed for item in asked):
            raise _Needs
        values = [self._performance.read(item, needed[whole_of(item).id]) for item in asked]
        return values[0] if is_one else values

    def dump(self, value: Any, name: str) -> None:
        refuse_dump(self._performance.cls, name, self._performance.written)
        self._performance.dump(name, value)

    def log(self, **metrics: float) -> None:
        for name, value in metrics.items():
            self.metrics[name] = number_of(name, value)

    def plot(self, frame: Any, x: str, y: str) -> None:
        self.plots.append({"x": x, "y": y, "points": points_of(frame, x, y)})


class _FailedCheck(Exception):
    """A check of severity "error" said False."""


def value_of(
    item: Input[Any], ready: Ready, store: Store, kept: Callable[[Path], Path] | None = None
) -> Any:
    """The value of a task or a part, read from its bytes.

    Args:
        item: What is asked for.
        ready: The result of its task.
        store: Where the bytes are.
        kept: Gives what waits for its group a name that stays while a lazy frame is read.

    Returns:
        Of a task with several outputs a dict.

    Raises:
        Damaged: The bytes are not as they were written.
        DataError: They cannot be read.
    """
    wanted = item.output if isinstance(item, Part) else None
    values = {
        output.name: _value(output, codec_for(ready.cls, output.name), store, kept)
        for output in ready.outputs
        if wanted is None or output.name == wanted
    }
    if wanted is not None:
        return values[wanted]
    return values.get("", values)


def _value(output: Output, codec: Codec, store: Store, kept: Callable[[Path], Path] | None) -> Any:
    if output.data is not None:  # it waits for its group
        return codec.unpack(output.data)
    value = store.read(output, codec.read)
    if output.aside is not None and kept is not None and library_of(type(value)) == "lazy":
        return store.read(output, lambda path: codec.read(kept(path)))
    return value


def _failure_of(error: BaseException) -> Failure:
    """An exception, with the traceback from the user's first line on."""
    if isinstance(error, Damaged):
        return Failure("damaged", str(error), content=error.content)
    if isinstance(error, _FailedCheck):
        return Failure("check", str(error))
    lines = traceback.format_exception(type(error), error, theirs(error.__traceback__))
    message = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, TadkaError):
        message = f"{type(error).__name__}: {error}"
    return Failure(
        "out of memory" if isinstance(error, MemoryError) else "error", message, "".join(lines)
    )


def _peak_bytes(*, is_fresh: bool = False) -> int:
    """The most memory of this process until now; `is_fresh` begins anew."""
    if is_fresh:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _link(path: Path, link: Path) -> None:
    """Gives a file, or each file of a folder, a second name."""
    if path.is_dir():
        shutil.copytree(path, link, copy_function=os.link)
    else:
        link.hardlink_to(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
