"""What the benchmark task_faults kills: a process that builds one task."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

from tadka.task import build
from tasks import journal, kept


def make(
    workspace: Path,
    journal_path: Path,
    kind: str,
    number: int,
    workers: int | None,
    told: Connection,
    reader: int | None = None,
) -> None:
    """Build a task and say what came out.

    Args:
        workspace: Where results are.
        journal_path: Where bodies write what they do.
        kind: A file, a folder or several outputs.
        number: Of the task.
        workers: As in `build`.
        told: Hears "begun", and at the end "done" with a hash, or "failed" with the error.
        reader: Build a task that reads it, of this number.
    """
    os.environ[journal.PATH] = str(journal_path)
    os.environ[journal.MAKER] = str(os.getpid())
    task = kept.task_of(kind, number)
    told.send(("begun", ""))
    try:
        if reader is None:
            found = kept.digest(build(task, workspace=workspace, workers=workers))
        else:
            found = build(kept.Reader(source=task, again=reader), workspace=workspace)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
        told.send(("failed", f"{type(error).__name__}: {error}"))
        return
    journal.tell("done", kept.label_of(kind, number))
    told.send(("done", found))
