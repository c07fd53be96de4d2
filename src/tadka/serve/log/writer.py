"""The request log: a process that takes rows from the rings of all workers and writes Arrow files.

Batches are appended to `NAME.arrow.part`, a stream, which its writer holds locked; then their rows
may be forgotten in the rings. After a time or a size the part is published as `NAME.arrow`. What a
killed writer left is published by the next one: each batch says how far it empties which ring, so
no row is written twice.
"""

import logging
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tadka.core.error import ConfigError, DataError, NotFound, TadkaError
from tadka.core.extra import require
from tadka.features.features import Features
from tadka.serve.board import Board
from tadka.serve.log.part import Part, left_parts
from tadka.serve.log.ring import LogRow, Ring
from tadka.serve.log.table import VERSION, LogTable, own_columns
from tadka.serve.order import Order
from tadka.serve.process import DRAIN, FAILURE_STATUS, READY, begin, failure_message, read_order
from tadka.storage.format import read_piece, scan

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("tadka.serve")

POLL_S = 0.2
"""How often the rings are looked at."""

_BATCH_ROWS = 4096
"""Rows that are taken from one ring at a time."""

_RETRY_S = 5
"""After which a file that could not be published is tried again."""

_WARNING_S = 60
"""Between two warnings of rows that are lost."""

_NICENESS = 10
"""The workers come first: a row can wait in its ring, a request cannot wait."""


class LogWriter:
    """Writes the rows of all rings to files.

    What dead writers left in the folder is published first. Nothing here raises for a full or
    broken disk: the rows are counted as lost in their rings, and a warning says so.

    Args:
        rings: Of the workers; this is their only consumer.
        directory: Of the files; made where it is missing.
        features: The class of the requests.
        rotate_s: Age at which a file is published.
        rotate_bytes: Size from which it is.
        board: Where rows that could not be written are counted.
        clock: Unix time in seconds; tests replace it.
    """

    def __init__(
        self,
        rings: Sequence[Ring],
        directory: str | Path,
        features: type[Features],
        *,
        rotate_s: float = 60,
        rotate_bytes: int = 128 << 20,
        board: Board | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rings = tuple(rings)
        self._directory = Path(directory)
        self._rotate_s, self._rotate_bytes = rotate_s, rotate_bytes
        self._board = board
        self._clock = clock
        self._table = LogTable(features)
        self._part: Part | None = None
        self._waiting: list[Part] = []
        self._next_try_s = 0.0
        self._lost_rows = 0
        self._next_warning_s = 0.0
        for part in left_parts(self._directory):
            self._take_over(part)

    def run(self, control: socket.socket) -> None:
        """Writes until it is asked to end, then what is left in the rings.

        Args:
            control: Of the parent, which sends `DRAIN` or closes its end after the workers ended.
        """
        while True:
            self.step()
            pause_s = 0 if self._has_rows() else POLL_S
            if select.select([control], [], [], pause_s)[0]:
                try:
                    message = control.recv(16)
                except OSError:
                    break
                if message in (b"", DRAIN):
                    break
        self.close()

    def step(self) -> int:
        """Takes what is in the rings, writes it, and publishes what is due.

        Returns:
            How many rows were taken.
        """
        taken = [ring.take(_BATCH_ROWS) for ring in self._rings]
        rows = [row for found in taken for row in found]
        if rows:
            self._write(rows, taken)
        for ring in self._rings:
            ring.commit()
        if self._part is not None:
            age_s = self._clock() - self._part.started_s
            # A clock that was set back may make it young; it must not stay so for hours.
            is_old = not 0 <= age_s < self._rotate_s
            if is_old or self._part.num_bytes >= self._rotate_bytes:
                self._publish(self._part)
                self._part = None
        if self._waiting and not 0 <= self._next_try_s - self._clock() <= _RETRY_S:
            waiting, self._waiting = self._waiting, []
            for part in waiting:
                self._publish(part)
        return len(rows)

    def close(self) -> None:
        """Writes what is in the rings now, and publishes it."""
        ends = [ring.head for ring in self._rings]
        while any(ring.taken < end for ring, end in zip(self._rings, ends, strict=True)):
            self.step()
        parts = [*self._waiting, *([self._part] if self._part is not None else [])]
        self._waiting, self._part = [], None
        for part in parts:
            self._publish(part)
        for part in self._waiting:
            part.close()
        self._waiting = []

    def _has_rows(self) -> bool:
        return any(ring.taken != ring.head for ring in self._rings)

    def _take_over(self, part: Part) -> None:
        """Publishes what a dead writer left, and goes on where it ended."""
        try:
            positions = part.positions()
        except OSError as error:
            # Better some rows of this server twice, if it was its writer, than no log at all.
            self._keep(part, error)
            return
        for ring in self._rings:
            if ring.identity in positions:
                ring.commit(positions[ring.identity])
        self._publish(part)

    def _write(self, rows: list[LogRow], taken: list[list[LogRow]]) -> None:
        try:
            if self._part is None:
                self._part = Part.create(self._directory, self._table.schema, self._clock())
            positions = {ring.identity: ring.taken for ring in self._rings}
            self._part.append(self._table.batch(rows), positions)
        # Whatever it is: rows that are taken and not committed would come to every next writer.
        except Exception as error:  # noqa: BLE001
            for ring, lost in zip(self._rings, taken, strict=True):
                ring.lose(len(lost))
            self._lost_rows += len(rows)
            if self._board is not None:
                self._board.workers["log_lost"] = [ring.lost for ring in self._rings]
            if self._clock() >= self._next_warning_s:
                _log.warning(
                    "The request log %r cannot be written: %s. %d rows are lost; the server goes "
                    "on, and the log when it can.",
                    str(self._directory),
                    error,
                    self._lost_rows,
                )
                self._next_warning_s, self._lost_rows = self._clock() + _WARNING_S, 0

    def _publish(self, part: Part) -> None:
        """Publishes a part, or keeps it for later."""
        try:
            if not part.has_room():
                raise DataError(f"{str(part.path)!r} cannot be published: the disk is full.")
            part.publish()
        except (OSError, DataError) as error:
            self._keep(part, error)

    def _keep(self, part: Part, error: OSError | DataError) -> None:
        if not self._waiting:
            _log.warning(
                "%s. The rows stay in %r until it can.", str(error).rstrip("."), part.path.name
            )
        self._waiting.append(part)
        self._next_try_s = self._clock() + _RETRY_S


def check_log_directory(path: str | Path) -> None:
    """Refuses a folder for the request log before a server starts.

    Args:
        path: The folder; made where it is missing.

    Raises:
        ConfigError: It cannot be made, or no file can be written there.
        MissingExtra: pyarrow is not installed.
    """
    require("pyarrow", extra="arrow")
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"log")
    except OSError as error:
        raise ConfigError(
            f"The request log cannot be written to {str(path)!r}: {error.strerror or error}. "
            "Give a folder by --log in which this user may make files."
        ) from error


def read_log(directory: str | Path, columns: Sequence[str] | None = None) -> "pa.Table":
    """What a request log has published, oldest file first.

    Args:
        directory: Of the log.
        columns: Names to read, in the order wanted; all for None. A column that some files lack,
            since the class has changed, is null there.

    Returns:
        A row for each score: `log.request_id`, `log.time`, `log.model`, `log.version`, `log.role`
        ("served" or "shadow"), `log.score`, `log.message`, the fields of the feature class under
        their names, and `feature.NAME` as text for each property. A log without files has no rows,
        and only the columns of all logs.

    Raises:
        NotFound: There is no such folder.
        DataError: A file is damaged, no file has a column, or it has another type in another file.
    """
    pa = require("pyarrow", extra="arrow")
    if not Path(directory).is_dir():
        raise NotFound(f"There is no request log {str(directory)!r}; it must be a folder.")
    tables = [pa.schema(own_columns()).empty_table()]
    known = dict.fromkeys(tables[0].column_names)
    for file in sorted(Path(directory).glob("*.arrow")):
        found = scan(file)
        known |= dict.fromkeys(found.schema.names)
        if columns is not None:
            # One column at least, for the number of rows where the file has none of the wanted.
            present = [name for name in (VERSION, *columns) if name in found.schema.names]
            found = scan(file, list(dict.fromkeys(present)))
        tables += [read_piece(found, piece) for piece in range(len(found.piece_rows))]
    for name in columns or ():
        if name not in known:
            raise DataError(
                f"The request log {str(directory)!r} has no column {name!r}; it has: "
                f"{', '.join(known)}."
            )
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"The files of the request log {str(directory)!r} do not go together: {error}. Read "
            "them one by one, or choose columns."
        ) from error
    return table if columns is None else table.select(list(columns))


def main(head: Mapping[str, Any], order: BinaryIO) -> None:
    """The log writer as a child of a server; see `Process`.

    Args:
        head: What every child is told.
        order: Holds an `Order`.
    """
    control = begin(head)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent says when, after the last row
    try:
        with order:
            writer = _writer_of(read_order(order))
    except TadkaError as error:
        with suppress(OSError):
            control.send(failure_message(error))
        sys.exit(FAILURE_STATUS)
    os.nice(_NICENESS)
    with suppress(OSError):  # the parent is gone; what is in the rings is written all the same
        control.send(READY)
    writer.run(control)


def _writer_of(order: Order) -> LogWriter:
    config = order.config
    assert config.log is not None
    assert order.rings is not None
    check_log_directory(config.log)
    rings = [Ring(order.rings, index) for index in range(config.num_workers)]
    return LogWriter(
        rings,
        config.log,
        order.feature_class(),
        rotate_s=config.log_rotate_s,
        rotate_bytes=config.log_rotate_bytes,
        board=Board(config.num_workers, order.board),
    )
