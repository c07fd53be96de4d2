"""A task made again from what is stored of its result, and of the results that it needs."""

from typing import Any

from tadka.core.error import NotFound
from tadka.task.define.frozen import ordered
from tadka.task.define.restore import Classes, ids_in_fields, task_of
from tadka.task.define.task import Task
from tadka.task.store.row import Entry
from tadka.task.store.store import Store


def restored(entry: Entry, store: Store) -> Task[Any]:
    """The task of a result, with all that it needs, as deep as memory reaches.

    Args:
        entry: The result.
        store: Where those are that it was made from.

    Raises:
        NotFound: A class, or the result of a task that it needs, is gone.
        DataError: A class changed so that the task would be another one.
    """
    entries: dict[str, Entry] = {entry.task_id: entry}

    def needs(one: Entry) -> list[Entry]:
        found = []
        for task_id in ids_in_fields(one.fields):
            if task_id not in entries:
                newest = store.index.newest(task_id)
                if newest is None:
                    name = f"{one.task.rpartition('.')[2]}#{one.task_id[:8]}"
                    raise NotFound(
                        f"The task {name} needs the task {task_id[:8]}, of which nothing is stored "
                        f"in {store.workspace!r} any more, so that it cannot be made again. Its "
                        "own result can be loaded."
                    )
                entries[task_id] = newest
            found.append(entries[task_id])
        return found

    tasks: dict[str, Task[Any]] = {}
    classes = Classes()
    for one in ordered([entry], needs, lambda one: one.task_id):
        tasks[one.task_id] = task_of(classes.of(one.task), one.task_id, one.fields, tasks)
    return tasks[entry.task_id]
