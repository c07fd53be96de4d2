"""What runs did with the tasks of a plan, and what they printed."""

from tadka.task.look.card import LogReader
from tadka.task.look.view import PlanLike
from tadka.task.store.row import Execution
from tadka.task.store.store import Store

_TAIL_BYTES = 64 * 1024  # of a log


def executions_of(plan: PlanLike, store: Store, *, num_runs: int = 50) -> dict[str, Execution]:
    """What a run did with each task of a plan: the one that made its result, else the last one.

    Args:
        plan: Of the workspace.
        store: The workspace.
        num_runs: How many of the newest runs are looked at, beside those that made the results.

    Returns:
        Executions by the task's id, of those that ran or failed.

    Raises:
        DataError: The index cannot be read.
    """
    if not store.exists:
        return {}
    made_by = {
        id_: (step.entry.run, step.entry.key)
        for id_, step in plan.steps.items()
        if step.entry is not None and step.status in {"stored", "other code"}
    }
    newest = [row.id for row in store.index.runs(limit=num_runs)]
    others = dict.fromkeys(run for run, _ in made_by.values())
    runs = dict.fromkeys([*newest, *list(others)[-num_runs:]])
    found: dict[str, Execution] = {}
    for run in runs:
        for execution in store.index.executions(run):
            id_ = execution.task_id
            if id_ not in plan.steps or execution.status not in {"ran", "failed"}:
                continue
            if id_ in made_by:
                if made_by[id_] == (run, execution.key) and execution.status == "ran":
                    found[id_] = execution
            elif id_ not in found or _order(found[id_]) < _order(execution):
                found[id_] = execution
    return found


def _order(execution: Execution) -> tuple[float, int]:
    return execution.started_at, execution.attempt


def log_reader(store: Store) -> LogReader:
    """Reads the end of what a task printed.

    Args:
        store: The workspace, in whose folder on this machine logs are.

    Returns:
        What gives the text of an execution; nothing where the file is gone.
    """
    folder = store.folder.resolve()

    def read(execution: Execution) -> str:
        try:
            path = (folder / (execution.log or "")).resolve()
            if not path.is_relative_to(folder):
                return ""  # no log of this workspace, whatever its index says
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                return file.read(_TAIL_BYTES).decode(errors="replace")
        except (OSError, ValueError):
            return ""

    return read
