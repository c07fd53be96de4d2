"""What Spark computes, as files of a chosen size.

Each task writes its rows from Arrow batches, sized by feedback as they come: nothing is sampled,
counted or shuffled beforehand, and rows keep the order in which they compress well. What tasks
leave unfinished, at most one file a task and folder, is merged by further tasks until one file of
each folder is left. Only files that a finished task has named count; a task that was repeated or
killed leaves files under other names, which are thrown away with the folder aside.

Workers need pyarrow and pandas, and a file system that the driver sees under the same path.
"""

import os
import shutil
import socket
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tadka.dataset.write.sized as sizes
from tadka.core import error, extra
from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.disk import writing
from tadka.dataset.write.place import layout_of, misfits, settle
from tadka.dataset.write.sized import Layout, Written

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import SparkContext
    from pyspark.sql import DataFrame

OnProgress = Callable[[float], None]

_ASIDE = "_writing"
_FILES_PER_TASK = 20  # that a merge makes at least, so that its own remains are few
_LOOK_S = 0.5
_RESULT = "path string, folder string, num_rows long, num_bytes long"


def write(
    dataframe: "DataFrame",
    directory: str | Path,
    output: Output,
    columns: Sequence[OutputColumn],
    on_progress: OnProgress | None = None,
) -> list[Path]:
    """Writes what a DataFrame holds.

    Args:
        dataframe: With the columns of the output. Cancelling its jobs from another thread ends the
            writing; files are left in the directory then.
        directory: Existing and empty, on a file system that driver and workers share.
        output: Size, format and folders of the files.
        columns: Of the output, in order.
        on_progress: Called now and then, from another thread, with the share of the tasks of the
            running stages that is done, 0 to 1.

    Returns:
        The files, sorted. All are within a tenth of the target, but the last of each folder.
        There is always one; without rows, it has only the schema.

    Raises:
        ConfigError: The format cannot hold a column, or a worker does not see the directory.
        DataError: The disk is full.
    """
    layout = layout_of(output, columns)
    directory = Path(directory)
    aside = directory / _ASIDE
    aside.mkdir()
    with (
        writing(directory, *_local_folders(dataframe)),
        _by_value(),
        _reported(dataframe, on_progress),
    ):
        context = getattr(dataframe.sparkSession, "sparkContext", None)
        if context is not None and not context.master.startswith("local"):
            refuse_unseen(context, aside)
        rows = dataframe.select([_quoted(column.name) for column in columns])
        files = _mapped(rows, _task(str(aside), layout))
        files = _merged(dataframe, files, aside, layout)
        settled = settle(files, directory, layout)
        shutil.rmtree(aside)
    return settled


def _local_folders(dataframe: "DataFrame") -> list[Path]:
    """Where Spark puts aside what it shuffles, as far as the driver knows."""
    context = getattr(dataframe.sparkSession, "sparkContext", None)
    if context is None:
        return []
    given = context.getConf().get("spark.local.dir", tempfile.gettempdir())
    return [Path(text) for text in os.environ.get("SPARK_LOCAL_DIRS", given).split(",")]


def refuse_unseen(context: "SparkContext", folder: Path) -> None:
    """Refuses a folder that is not there on a machine where Spark works, before the query runs.

    Args:
        context: Of the Spark that will write.
        folder: That its workers are to write into.

    Raises:
        ConfigError: It is not there on some machine, which is named.
    """
    count = max(1, context.defaultParallelism)

    def look(_: Any) -> Iterator[str]:
        if not folder.is_dir():
            yield socket.gethostname()

    hosts = context.parallelize(range(count), count).mapPartitions(look).distinct().collect()
    if hosts:
        raise ConfigError(
            f"Folder {str(folder)!r} is not on {', '.join(sorted(hosts))}, where Spark works. "
            "Write to a folder that all its machines mount, or give scratch= such a folder where "
            "the output lies in an object store."
        )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _task(directory: str, layout: Layout) -> "Callable[[Any], Iterator[pa.RecordBatch]]":
    """What workers do with the rows that fall to them."""

    def work(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        writer = sizes.SizedWriter(directory, layout)
        try:
            for batch in batches:
                writer.add(batch)
            files = writer.close()
        except BaseException:  # a killed task too: nothing may stay open; it is raised on
            writer.abort()
            raise
        yield sizes.as_batch(files)

    return work


def _merged(
    dataframe: "DataFrame", files: list[Written], aside: Path, layout: Layout
) -> list[Written]:
    """Files of which all but one in each folder have the right size."""
    fewest = 0
    while rest := misfits(files, layout.target_bytes):
        groups = [group for some in rest.values() for group in _groups(some, layout)]
        if fewest and len(groups) >= fewest:
            return files  # rows too large for such files: no better than this
        fewest = len(groups)
        numbers = dataframe.sparkSession.range(0, len(groups), 1, len(groups))
        made = _mapped(numbers, _merge(str(aside), layout, groups))
        again = {file.path for group in groups for file in group}
        files = [file for file in files if file.path not in again] + made
    return files


def _groups(files: Sequence[Written], layout: Layout) -> list[list[Written]]:
    """Files of one folder, apportioned to tasks."""
    total = sum(file.num_bytes for file in files)
    count = max(1, total // (_FILES_PER_TASK * layout.target_bytes))
    return [list(files[i::count]) for i in range(min(count, len(files)))]


def _merge(
    directory: str, layout: Layout, groups: Sequence[Sequence[Written]]
) -> "Callable[[Any], Iterator[pa.RecordBatch]]":
    def work(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        for batch in batches:
            for number in batch.column(0).to_pylist():
                group = groups[number]
                paths = [file.path for file in group]
                made = sizes.merge(paths, directory, layout, group[0].folder)
                yield sizes.as_batch(made)

    return work


def _mapped(rows: "DataFrame", function: "Callable[[Any], Any]") -> list[Written]:
    """Files that finished tasks have named, in an order that does not change."""
    require("pandas", extra="spark")  # which Spark looks for, though nothing here uses it
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
        results = rows.mapInArrow(function, _RESULT)
    found = [Written(row[0], row[1], row[2], row[3]) for row in results.collect()]
    return sorted(found, key=lambda file: (file.folder, -file.num_rows, file.path))


_SENT = (sizes, extra, error)
_sending = threading.Lock()


@contextmanager
def _by_value() -> Iterator[None]:
    """Functions of ours travel to the workers as they are, so that these need no tadka."""
    cloudpickle = require("pyspark.cloudpickle", extra="spark")
    with _sending:
        for module in _SENT:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in _SENT:
                cloudpickle.unregister_pickle_by_value(module)


@contextmanager
def _reported(dataframe: "DataFrame", on_progress: OnProgress | None) -> Iterator[None]:
    """Reports from another thread: the one that started the job waits for it."""
    context = getattr(dataframe.sparkSession, "sparkContext", None) if on_progress else None
    if on_progress is None or context is None:
        yield
        return
    tracker, done = context.statusTracker(), threading.Event()

    def report() -> None:
        while not done.wait(_LOOK_S):
            stages = [tracker.getStageInfo(i) for i in tracker.getActiveStageIds()]
            total = sum(stage.numTasks for stage in stages if stage)
            ended = sum(stage.numCompletedTasks for stage in stages if stage)
            if total:
                on_progress(ended / total)

    thread = threading.Thread(target=report, name="tadka-dataset-progress", daemon=True)
    thread.start()
    try:
        yield
        on_progress(1.0)
    finally:
        done.set()
        thread.join()
