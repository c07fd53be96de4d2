"""`build`: the value of a task, made now where it is not stored."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from tadka.task.define.frozen import Input
from tadka.task.engine.drive import MOST_DAMAGES
from tadka.task.engine.drive import Build as Build
from tadka.task.engine.event import Event as Event
from tadka.task.engine.record import Listener
from tadka.task.engine.report import BuildError as BuildError
from tadka.task.engine.report import Report as Report
from tadka.task.engine.report import Result as Result
from tadka.task.force import Forced
from tadka.task.lookup import OnCodeChange
from tadka.task.settings import current, open_store
from tadka.task.store.store import Damaged, Store

T = TypeVar("T")


@overload
def build(
    task: Input[T],
    *,
    workspace: str | Path | Store | None = None,
    workers: int | None = None,
    force: Forced | Iterable[Forced] = (),
    on_code_change: OnCodeChange | None = None,
    on_event: Listener | None = None,
    keep_going: bool = True,
) -> T: ...
@overload
def build(
    task: Sequence[Input[T]],
    *,
    workspace: str | Path | Store | None = None,
    workers: int | None = None,
    force: Forced | Iterable[Forced] = (),
    on_code_change: OnCodeChange | None = None,
    on_event: Listener | None = None,
    keep_going: bool = True,
) -> list[T]: ...
def build(
    task: Any,
    *,
    workspace: str | Path | Store | None = None,
    workers: int | None = None,
    force: Forced | Iterable[Forced] = (),
    on_code_change: OnCodeChange | None = None,
    on_event: Listener | None = None,
    keep_going: bool = True,
) -> Any:
    """The result of a task, made now where it is not stored.

    Args:
        task: A task, one output of it (`train["weights"]`), or a list of such.
        workspace: A folder, a URI or a store; as `open_store` takes it.
        workers: Processes at once; those of the settings, else one task at a time.
        force: What runs although its result is stored; as `Build` takes it.
        on_code_change: What to do with results whose code changed: `"rerun"`, `"warn"` or
            `"ignore"`; as the settings say, else `"rerun"`.
        on_event: Told of everything that happens.
        keep_going: Whether tasks that do not depend on a failed one still run.

    Returns:
        The value; a list of them for a list.

    Raises:
        BuildError: Tasks failed; it names each.
        ConfigError: Something is wrong that can be known before anything runs.
        DataError: The workspace cannot be read or written.
    """
    is_one = isinstance(task, Input) or not isinstance(task, Iterable)
    wanted = [task] if is_one else list(task)
    store = open_store(workspace)
    settings = current()
    try:
        for number in range(1, MOST_DAMAGES + 1):
            report = Build(
                wanted,
                store=store,
                workers=settings.workers if workers is None else workers,
                force=force,
                on_code_change=on_code_change or settings.on_code_change,
                on_event=on_event,
                keep_going=keep_going,
            ).run()
            report.raise_failures()
            try:
                values = [report.value(item) for item in wanted]
            except Damaged:  # it is in the quarantine, so that the next build makes it anew
                force = ()
                if number == MOST_DAMAGES:
                    raise
            else:
                break
    finally:
        if store is not workspace:
            store.close()
    return values[0] if is_one else values
