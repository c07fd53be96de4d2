"""`tadka task`: build tasks, say why they run, and look at what is stored."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import typer

from tadka.cli.option import JSON, PROGRESS, ProgressMode
from tadka.cli.parameter import find_tasks
from tadka.cli.task_store import SETTINGS, WORKSPACE, use_settings
from tadka.cli.task_store import app as store_app
from tadka.cli.warning import short_warnings
from tadka.core.error import ConfigError
from tadka.core.progress import Progress, ProgressRow
from tadka.storage.publish import publish_file
from tadka.task.define.task import Task
from tadka.task.engine.build import Build
from tadka.task.engine.event import Event
from tadka.task.engine.link import names_of
from tadka.task.engine.report import BuildError, Result
from tadka.task.force import Forced, below
from tadka.task.history.approve import approve as approve_tasks
from tadka.task.look.past import executions_of, log_reader
from tadka.task.look.word import first_line
from tadka.task.notify import notify as notifier_of
from tadka.task.page import graph_page
from tadka.task.plan import Plan, opened
from tadka.task.plan import plan as plan_of
from tadka.task.settings import current
from tadka.task.store.store import Store
from tadka.task.tree import table as table_of
from tadka.task.tree import tree as tree_of

FAILED = 1
_SHOWN_S = 0.1

app = typer.Typer(
    name="task",
    help="Build tasks whose results are kept, say why they run, and look at what is stored.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_PARAMETERS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""A task has options of its own: --lr 0.1 --clicks.day 2026-01-31."""


class OnCodeChange(StrEnum):
    """What happens to results whose code changed."""

    RERUN = "rerun"
    WARN = "warn"
    IGNORE = "ignore"


_TASK = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:TASK",
        help="A class of tasks, a task, a list of them, or a function that makes one of these; "
        "MODULE may be dotted, or the path of a .py file. Its parameters are options: --lr 0.1, "
        "those of a task that it needs --clicks.day 2026-01-31; one with the name of an option "
        "below stands behind --.",
        show_default=False,
    ),
]
_FORCE = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Run this although its result is stored: a class, one task of it as Features#1a2b3c, "
        "or below:NAME for all that needs it. May stand several times.",
        show_default=False,
    ),
]
_CODE = Annotated[
    OnCodeChange | None,
    typer.Option(
        help="What to do with results whose code changed; rerun unless settings say otherwise.",
        show_default=False,
    ),
]


@app.command(
    "run",
    context_settings=_PARAMETERS,
    epilog="""\b
    Examples:
      tadka task run shop.tasks:Report --line.points.noise 0.5
      tadka task run shop/tasks.py:Report --workers 4 --force Line --force below:Points
      tadka task run shop.tasks:Report --notify https://hooks.example.com/1 --json""",
)
def run(
    context: typer.Context,
    task: _TASK,
    *,
    workspace: WORKSPACE = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes at once.", min=1, show_default=False)
    ] = None,
    force: _FORCE = None,
    on_code_change: _CODE = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Start nothing more once a task has failed.")
    ] = False,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Tell this webhook what failed, and how the build ended. May stand several times.",
            show_default=False,
        ),
    ] = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Make what is not stored yet, and what changed since.

    Status 1 means that a task failed; what does not depend on it has run, and all failures are
    told.
    """
    tasks = _tasks(context, task, settings)
    chosen = current()
    with ExitStack() as stack:
        store = stack.enter_context(opened(workspace))
        listeners = [stack.enter_context(_told(url)) for url in [*chosen.notify, *(notify or ())]]
        shown = stack.enter_context(_Shown(progress, list(listeners)))
        stack.enter_context(short_warnings())
        build = Build(
            tasks,
            store=store,
            workers=workers or chosen.workers,
            force=_forced(force),
            on_code_change=_code(on_code_change),
            on_event=shown,
            keep_going=not fail_fast,
        )
        with redirect_stdout(sys.stderr):  # what tasks print is no part of the result
            report = build.run()
        shown.close()
        if as_json:
            typer.echo(json.dumps(report.to_json()))
        else:
            # what failed follows on standard error, with its log
            typer.echo(str(report).partition("\nFailed: ")[0])
            for one in report.roots[:10]:
                _tell_result(report.results[one.id], store)
        try:
            report.raise_failures()
        except BuildError as error:  # the main command would make one line of it
            typer.echo(f"tadka: {error}", err=True)
            raise typer.Exit(FAILED) from None


@app.command(
    "why",
    context_settings=_PARAMETERS,
    epilog="""\b
    Examples:
      tadka task why shop.tasks:Report
      tadka task why shop.tasks:Report --digits 5 --json""",
)
def why(
    context: typer.Context,
    task: _TASK,
    *,
    workspace: WORKSPACE = None,
    force: _FORCE = None,
    on_code_change: _CODE = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """Say whether a task would run, and what changed since its last result; runs nothing."""
    found = _plan(context, task, settings, workspace, force, on_code_change)
    explanations = [found.explanation(node.id) for node in found.graph.roots]
    if as_json:
        told = [one.to_json() for one in explanations]
        typer.echo(json.dumps(told[0] if len(told) == 1 else told))
    else:
        typer.echo("\n\n".join(map(str, explanations)))


@app.command(
    "plan",
    context_settings=_PARAMETERS,
    epilog="""\b
    Examples:
      tadka task plan shop.tasks:Report
      tadka task plan shop.tasks:Report --force below:Points --all""",
)
def plan(
    context: typer.Context,
    task: _TASK,
    *,
    workspace: WORKSPACE = None,
    force: _FORCE = None,
    on_code_change: _CODE = None,
    every: Annotated[bool, typer.Option("--all", help="A line for each task.")] = False,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """Show what a build would run, and why; runs nothing."""
    found = _plan(context, task, settings, workspace, force, on_code_change)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    elif every:
        typer.echo(table_of(found, most_lines=sys.maxsize))
    else:
        typer.echo(str(found))


@app.command(
    "tree",
    context_settings=_PARAMETERS,
    epilog="""\b
    Examples:
      tadka task tree shop.tasks:Report
      tadka task tree shop.tasks:Report --ignore Points""",
)
def tree(
    context: typer.Context,
    task: _TASK,
    *,
    workspace: WORKSPACE = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            help="Leave out this class, and what only it needs. May stand several times.",
            show_default=False,
        ),
    ] = None,
    lines: Annotated[int, typer.Option(help="Most lines.", min=1)] = 1000,
    settings: SETTINGS = None,
) -> None:
    """Show a task and below it what it needs, each with how it stands."""
    found = _plan(context, task, settings, workspace)
    typer.echo(tree_of(found, ignore=ignore or (), most_lines=lines))


@app.command(
    "graph",
    context_settings=_PARAMETERS,
    epilog="""\b
    Examples:
      tadka task graph shop.tasks:Report --out graph.html""",
)
def graph(
    context: typer.Context,
    task: _TASK,
    *,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("graph.html"),
    workspace: WORKSPACE = None,
    settings: SETTINGS = None,
) -> None:
    """Write one HTML file: the graph, and a card for each task with its columns, checks and log."""
    tasks = _tasks(context, task, settings)
    with opened(workspace) as store:
        found = plan_of(tasks, store=store)
        executions = executions_of(found, store)
        page = graph_page(found, executions=executions, title=task, log=log_reader(store))
    with publish_file(out) as file:
        file.write(page.encode())
    typer.echo(f"wrote    {out}")


@app.command(
    "approve",
    context_settings=_PARAMETERS,
    epilog="""\b
    Examples:
      tadka task approve shop.tasks:Report
      tadka task approve shop.tasks:Report --upstream --moved shop.old.Line=shop.tasks:Line""",
)
def approve(
    context: typer.Context,
    task: _TASK,
    *,
    upstream: Annotated[
        bool, typer.Option("--upstream", help="Also all that the task needs.")
    ] = False,
    moved: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Where a class got another name: both, each as module.Class. May stand several "
            "times.",
            show_default=False,
        ),
    ] = None,
    workspace: WORKSPACE = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """Say that stored results are good for the present code of their tasks.

    For changes of code that cannot change a result. Status 2 means that more than the code changed;
    then nothing is approved.
    """
    bound = approve_tasks(
        _tasks(context, task, settings),
        workspace=workspace,
        upstream=upstream,
        moved=_moved(moved),
    )
    if as_json:
        found = [{"key": one.key, "task": one.task, "from": one.approved_from} for one in bound]
        typer.echo(json.dumps(found))
        return
    for one in bound:
        typer.echo(f"approved {one.task}  {one.key[:12]} from {(one.approved_from or '')[:12]}")
    if not bound:
        typer.echo("nothing to approve: the results are of the present code")


# ---------------------------------------------------------------- what several commands do


def _tasks(context: typer.Context, name: str, settings: Path | None) -> list[Task[Any]]:
    use_settings(settings)
    options = [name for one in context.command.params for name in one.opts]
    with redirect_stdout(sys.stderr):  # what modules print when they are imported
        return find_tasks(name, context.args, [one for one in options if one.startswith("--")])


def _plan(
    context: typer.Context,
    task: str,
    settings: Path | None,
    workspace: str | None,
    force: list[str] | None = None,
    on_code_change: OnCodeChange | None = None,
) -> Plan:
    return plan_of(
        _tasks(context, task, settings),
        workspace=workspace,
        force=_forced(force),
        on_code_change=_code(on_code_change),
    )


def _forced(force: list[str] | None) -> list[Forced]:
    return [
        below(name.removeprefix("below:")) if name.startswith("below:") else name
        for name in force or ()
    ]


def _moved(moved: list[str] | None) -> dict[str, str]:
    found = {}
    for text in moved or ():
        old, equals, new = text.replace(":", ".").partition("=")
        if not (old and equals and new):
            raise ConfigError(
                f"--moved {text!r} is not understood; write it as shop.old.Line=shop.tasks.Line."
            )
        found[old] = new
    return found


def _code(given: OnCodeChange | None) -> Any:
    return current().on_code_change if given is None else given.value


def _tell_result(result: Result, store: Store) -> None:
    if result.entry is None:
        return
    if store.is_remote:
        typer.echo(f"result   {type(result.task).__name__} {result.entry.key[:12]}")
        return
    for name, _ in names_of(result.task, result.entry.key, result.entry.outputs):
        typer.echo(f"result   {store.folder / name}")


@contextmanager
def _told(url: str) -> Iterator[Any]:
    """Tells a webhook of events, and waits at the end until it was told."""
    notifier = notifier_of(url)
    try:
        yield notifier
    finally:
        notifier.close()


class _Shown:
    """Shows the events of a build as progress, and passes them on."""

    def __init__(self, mode: ProgressMode, listeners: list[Any]) -> None:
        self._listeners = listeners
        self._progress = Progress(mode.value)
        self._running: dict[str, str] = {}
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the drawing, so that what is printed next stands below it."""
        self._progress.__exit__(None, None, None)

    def __call__(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
        if self._progress.mode == "none":
            return
        if event.task is not None:
            if event.kind == "started":
                self._running[event.task.id] = type(event.task).__name__
            else:
                self._running.pop(event.task.id, None)
        if event.kind in {"failed", "retried"}:
            self._progress.line(f"{event.kind}  {event.task!r}: {first_line(event.error)}")
        now = time.monotonic()
        if now - self._shown_s >= _SHOWN_S or event.kind == "build finished":
            self._shown_s = now
            row = ProgressRow(
                done=event.num_done, total=event.num_tasks, unit="tasks", note=self._note()
            )
            self._progress.show({"build": row})

    def _note(self) -> str:
        counts: Mapping[str, int] = {
            name: list(self._running.values()).count(name) for name in self._running.values()
        }
        told = [name if number == 1 else f"{number} {name}" for name, number in counts.items()]
        return ", ".join(told[:4]) + (", ..." if len(told) > 4 else "")


app.registered_commands += store_app.registered_commands
app.registered_groups += store_app.registered_groups
