"""Requests in files: rows of tables, the request log, and what lies beside a version.

`requests.pb` of a version holds them as every protobuf library reads a stream of messages: the
length of each as a varint, then the message.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadka.core.error import DataError, MissingExtra, NotFound
from tadka.core.extra import require
from tadka.features.features import Features, plan_of
from tadka.serve.prediction import varint
from tadka.storage.format import read_piece, scan
from tadka.storage.uri import expand

if TYPE_CHECKING:
    import pyarrow as pa

REQUESTS = "requests.pb"
MAX_REQUESTS = 1000
"""That a version is tried with; more would show nothing new and make a swap slower."""

COLUMN = "log.message"
"""Of the request log, which holds messages as they came."""

_TAIL_ROWS = 10 * MAX_REQUESTS
"""Of a batch of the log that are looked at."""


def read_rows(source: str | Path, features: type[Features], *, max_rows: int) -> list[bytes]:
    """Messages of the first rows of a table.

    Args:
        source: A table file of any format, a pattern or a folder, with a column for each field of
            the class, or with the column `log.message` of the request log.
        features: The feature class.
        max_rows: To read; those that follow are left out.

    Returns:
        At least one.

    Raises:
        NotFound: There is no such file.
        DataError: A file is damaged, a column is missing, or there are no rows.
        MissingExtra: pyarrow is not installed.
    """
    require("pyarrow", extra="arrow")
    messages: list[bytes] = []
    for uri in expand(str(source)):
        for table in _pieces(uri):
            messages += _messages(table.slice(0, max_rows - len(messages)), features)
            if len(messages) == max_rows:
                return messages
    if not messages:
        raise DataError(f"The requests {str(source)!r} have no rows; give at least one.")
    return messages


def read_logged(folder: Path) -> list[bytes]:
    """The last different messages of a request log.

    Args:
        folder: Of its files.

    Returns:
        At most 1,000; none where there is no log, or pyarrow to read it with. Files that cannot be
        read are left out: they may be on their way to be deleted.
    """
    messages: dict[Any, None] = {}  # several models, and shadows, log the same request
    try:
        files = sorted(folder.glob("*.arrow"), key=_changed_ns)
    except FileNotFoundError:  # the folder was deleted while we looked
        return []
    for file in reversed(files):
        try:
            found = scan(str(file), [COLUMN])
            for index in reversed(range(len(found.piece_rows))):
                column = read_piece(found, index)[COLUMN]
                last = column.slice(max(0, len(column) - _TAIL_ROWS)).to_pylist()
                messages.update(dict.fromkeys(reversed(last)))
                if len(messages) >= MAX_REQUESTS:
                    break
        except (DataError, NotFound, MissingExtra):
            continue
        if len(messages) >= MAX_REQUESTS:
            break
    return [message for message in messages if isinstance(message, bytes)][:MAX_REQUESTS]


def _changed_ns(file: Path) -> int:
    """When a file was written; 0 where it was deleted while we looked."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _pieces(uri: str) -> Iterator["pa.Table"]:
    found = scan(uri)
    for index in range(len(found.piece_rows)):
        yield read_piece(found, index)


def _messages(table: "pa.Table", features: type[Features]) -> Iterable[bytes]:
    pa = require("pyarrow", extra="arrow")
    if COLUMN in table.column_names and pa.types.is_binary(table[COLUMN].type):
        messages: list[bytes] = table[COLUMN].drop_null().to_pylist()
        return messages
    return [row.to_message() for _, row in plan_of(features, None).instances(table)]


def write_requests(file: Path, messages: Iterable[bytes]) -> None:
    """Writes requests beside a version.

    Args:
        file: To make.
        messages: As clients sent them.
    """
    file.write_bytes(b"".join(varint(len(message)) + message for message in messages))


def read_requests(file: Path) -> list[bytes]:
    """The requests that `write_requests` wrote.

    Args:
        file: Of a version.

    Raises:
        NotFound: It is missing.
        DataError: It is truncated or cannot be read.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(
            f"File {str(file)!r} of the version is missing. Publish it again."
        ) from error
    except OSError as error:
        raise DataError(f"File {str(file)!r} cannot be read: {error}.") from error
    messages = []
    at = 0
    while at < len(content):
        start = at
        while at < len(content) and content[at] & 0x80:
            at += 1
        at += 1
        size = sum((byte & 0x7F) << 7 * n for n, byte in enumerate(content[start:at]))
        if at + size > len(content):
            raise DataError(f"File {str(file)!r} is truncated. Publish the version again.")
        messages.append(content[at : at + size])
        at += size
    return messages
