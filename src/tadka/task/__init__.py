"""Tasks whose results are kept: written once, made again only when what made them changed.

Start with `Task`, `Out` and `build`; `plan` and `explain` say what would run and why.
"""

from typing import TYPE_CHECKING

from tadka.core.extra import on_demand

if TYPE_CHECKING:
    from tadka.task.dataset_task import DatasetTask
    from tadka.task.define.explanation import Explanation
    from tadka.task.define.field import param
    from tadka.task.define.run import Run
    from tadka.task.define.task import Part, Task
    from tadka.task.engine.build import build
    from tadka.task.engine.drive import Build
    from tadka.task.engine.event import Event
    from tadka.task.engine.report import BuildError, Report, Result
    from tadka.task.force import below
    from tadka.task.gokart.workspace import from_gokart
    from tadka.task.history.approve import approve
    from tadka.task.history.clean import gc
    from tadka.task.history.diff import diff
    from tadka.task.history.results import get, load, ls, restore
    from tadka.task.history.runs import run, runs
    from tadka.task.notify import notify
    from tadka.task.output.out import Out, check
    from tadka.task.outside import state_of
    from tadka.task.page import graph_page
    from tadka.task.plan import Plan, explain, plan
    from tadka.task.settings import Settings, load_settings
    from tadka.task.store.store import Store
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "dataset_task": ["DatasetTask"],
            "define.explanation": ["Explanation"],
            "define.field": ["param"],
            "define.run": ["Run"],
            "define.task": ["Part", "Task"],
            "engine.build": ["build"],
            "engine.drive": ["Build"],
            "engine.event": ["Event"],
            "engine.report": ["BuildError", "Report", "Result"],
            "force": ["below"],
            "gokart.workspace": ["from_gokart"],
            "history.approve": ["approve"],
            "history.clean": ["gc"],
            "history.diff": ["diff"],
            "history.results": ["get", "load", "ls", "restore"],
            "history.runs": ["run", "runs"],
            "notify": ["notify"],
            "output.out": ["Out", "check"],
            "outside": ["state_of"],
            "page": ["graph_page"],
            "plan": ["Plan", "explain", "plan"],
            "settings": ["Settings", "load_settings"],
            "store.store": ["Store"],
        },
    )

__all__ = [
    "Build",
    "BuildError",
    "DatasetTask",
    "Event",
    "Explanation",
    "Out",
    "Part",
    "Plan",
    "Report",
    "Result",
    "Run",
    "Settings",
    "Store",
    "Task",
    "approve",
    "below",
    "build",
    "check",
    "diff",
    "explain",
    "from_gokart",
    "gc",
    "get",
    "graph_page",
    "load",
    "load_settings",
    "ls",
    "notify",
    "param",
    "plan",
    "restore",
    "run",
    "runs",
    "state_of",
]
