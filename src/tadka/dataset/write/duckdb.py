"""What a query of DuckDB gives, as files of a chosen size.

DuckDB's own Parquet writer is the fastest, and closes a file once it has reached a size, which it
sees after each row group. So row groups are limited in bytes of memory: what is compressed is
hardly larger, and none carries a file past a tenth of the target. Small row groups cost bytes: a
fifth of the target is the largest that even incompressible values bear. What comes out wrong all
the same (rows of which 2,048 exceed a file, more than a hundred folders) is merged and cut again.

JSON lines, CSV, and folders on DuckDB before 2.0 go through the writer of
`tadka.dataset.write.sized`.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from tadka.core.extra import require
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.disk import writing
from tadka.dataset.write.place import layout_of, misfits, settle
from tadka.dataset.write.sized import NULL_FOLDER, Layout, SizedWriter, Written, folder_name, merge

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

T = TypeVar("T")
OnProgress = Callable[[float], None]

_ASIDE = "_writing"
_GROUPS_PER_FILE = 5
_CLOSE_AT = 0.91  # of the target: with the footer and one more row group still within a tenth
_LOOK_S = 0.2
_BATCH_ROWS = 1 << 16
_SETTINGS = {"preserve_insertion_order": "false"}
_SHOW = {"enable_progress_bar": "true", "enable_progress_bar_print": "false"}


def write(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    directory: str | Path,
    output: Output,
    columns: Sequence[OutputColumn],
    on_progress: OnProgress | None = None,
) -> list[Path]:
    """Writes what a query gives.

    Args:
        connection: To run it on. From another thread, its `interrupt` ends the writing; files are
            left in the directory then.
        sql: One SELECT with the columns of the output.
        directory: Existing and empty; `publish_directory` gives one.
        output: Size, format and folders of the files.
        columns: What the query gives, in order.
        on_progress: Called a few times a second with the share that is done, 0 to 1. What it
            raises ends the writing.

    Returns:
        The files, sorted. All are within a tenth of the target, but the last of each folder.
        There is always one; without rows, it has only the schema.

    Raises:
        ConfigError: The format cannot hold a column.
        DataError: The disk is full.
    """
    layout = layout_of(output, columns)
    directory = Path(directory)
    aside = directory / _ASIDE
    aside.mkdir()
    is_native = layout.format == "parquet" and (not layout.partition_by or _has_folders())

    def work(stop: threading.Event) -> list[Path]:
        with _Settings(connection, on_progress is not None):
            if is_native:
                files = _copy(connection, sql, aside, layout)
                for folder, some in misfits(files, layout.target_bytes).items():
                    made = _merged(some, aside, layout, folder)
                    files = [file for file in files if file not in some] + made
            else:
                files = _stream(connection, sql, aside, layout, stop)
        settled = settle(files, directory, layout)
        shutil.rmtree(aside)
        return settled

    with writing(directory):
        return watched(connection, work, on_progress)


def _has_folders() -> bool:
    """Whether COPY takes a size and folders together."""
    duckdb = require("duckdb", extra="dataset")
    return int(duckdb.__version__.split(".")[0]) >= 2


# ---------------------------------------------------------------- writing


def _copy(
    connection: "duckdb.DuckDBPyConnection", sql: str, aside: Path, layout: Layout
) -> list[Written]:
    target = layout.target_bytes
    parts = _GROUPS_PER_FILE
    if not _has_folders():  # before 2.0 each thread may still add a row group to a full file
        threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
        parts *= max(1, int(threads) // 2)
    compression = "uncompressed" if layout.compression == "none" else layout.compression
    options = [
        "FORMAT parquet",
        f"COMPRESSION {compression}",
        f"FILE_SIZE_BYTES {int(target * _CLOSE_AT)}",
        f"ROW_GROUP_SIZE_BYTES {max(1, target // parts)}",
    ]
    if layout.partition_by:
        names = ('"' + name.replace('"', '""') + '"' for name in layout.partition_by)
        options.append(f"PARTITION_BY ({', '.join(names)})")
    place = str(aside / "copy").replace("'", "''")
    connection.execute(f"COPY ({sql}) TO '{place}' ({', '.join(options)})")
    return _found(aside / "copy", layout)


def _found(top: Path, layout: Layout) -> list[Written]:
    """The files that COPY made, without empty ones, in the order in which it began them."""
    parquet = require("pyarrow.parquet", extra="dataset")
    found = []
    for at, _, names in os.walk(top):
        if not names:
            continue
        levels = [unquote(part).partition("=")[2] for part in Path(at).relative_to(top).parts]
        texts = [None if text == NULL_FOLDER else text for text in levels]
        folder = folder_name(layout.partition_by, texts) if levels else ""
        for name in sorted(names, key=lambda name: (len(name), name)):
            path = str(Path(at, name))
            num_bytes = Path(path).stat().st_size
            num_rows = -1  # many, and nobody asks
            if num_bytes < layout.target_bytes / 2:
                num_rows = parquet.read_metadata(path).num_rows
            if num_rows:
                found.append(Written(path, folder, num_rows, num_bytes))
    return found


def _stream(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    aside: Path,
    layout: Layout,
    stop: threading.Event,
) -> list[Written]:
    relation: Any = connection.sql(sql)
    # the name of 2.0, then that of 1.5
    reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    writer = SizedWriter(str(aside), layout)
    try:
        for batch in _read(reader(_BATCH_ROWS)):
            if stop.is_set():
                break
            writer.add(batch)
        files = writer.close()
    except BaseException:  # an interrupt too: nothing may stay open; it is raised on
        writer.abort()
        raise
    rest = misfits(files, layout.target_bytes)
    for folder, some in rest.items():
        if len(some) > 1:  # more folders than files that may be open
            made = _merged(some, aside, layout, folder)
            files = [file for file in files if file not in some] + made
    return files


def _merged(files: Sequence[Written], aside: Path, layout: Layout, folder: str) -> list[Written]:
    made = merge([file.path for file in files], str(aside), layout, folder)
    for file in files:
        Path(file.path).unlink()
    return made


def _read(reader: "pa.RecordBatchReader") -> "Iterator[pa.RecordBatch]":
    """The batches, with errors of the query as DuckDB calls them elsewhere."""
    duckdb = require("duckdb", extra="dataset")
    pa = require("pyarrow", extra="dataset")
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (OSError, pa.ArrowException) as error:
            text = str(error)
            is_interrupt = text.startswith("INTERRUPT")
            raise (duckdb.InterruptException if is_interrupt else duckdb.Error)(text) from error
        yield batch


# ---------------------------------------------------------------- running


def watched(
    connection: "duckdb.DuckDBPyConnection",
    work: Callable[[threading.Event], T],
    on_progress: OnProgress | None = None,
) -> T:
    """Works in another thread, so that this one can report, and end the work when it is told to.

    DuckDB must not work in the main thread: where Ctrl-C arrives there, it raises RuntimeError in
    place of KeyboardInterrupt, or goes on.

    Args:
        connection: That the work uses; it is interrupted when this thread is.
        work: Is given an event that is set when the result is of no use any more.
        on_progress: Called as `write` says.

    Returns:
        What the work gives.
    """
    stop, done = threading.Event(), threading.Event()
    share = 0.0
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            if not stop.is_set():  # else Ctrl-C came while this thread began
                results.append(work(stop))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="tadka-duckdb")
    try:
        thread.start()
        while not done.wait(_LOOK_S if on_progress else None):
            if on_progress is not None:
                share = max(share, connection.query_progress() / 100)  # negative between queries
                on_progress(min(1.0, share))
    except BaseException:  # of on_progress, or KeyboardInterrupt: raised on once nothing runs
        stop.set()
        while thread.ident is not None and not done.is_set():
            connection.interrupt()
            done.wait(_LOOK_S)
        raise
    if errors:
        raise errors[0]
    if on_progress is not None:
        on_progress(1.0)
    return results[0]


class _Settings:
    """Settings that writing needs, and as they were before."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", is_shown: bool) -> None:
        self._connection = connection
        self._wanted = _SETTINGS | (_SHOW if is_shown else {})
        self._before: dict[str, str] = {}

    def __enter__(self) -> None:
        for name, value in self._wanted.items():
            query = f"SELECT current_setting('{name}')"
            self._before[name] = str(self._connection.execute(query).fetchall()[0][0])
            self._connection.execute(f"SET {name} = {value}")

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            self._connection.execute(f"SET {name} = {value}")
