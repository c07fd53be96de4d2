"""The journal of a run, `tracking.jsonl` in its folder: all that was logged, a line each.

It is written before any server is asked, so a server that fails costs nothing. Lines are added and
never changed. A line reaches the kernel with the call that writes it: a killed process loses none
of those that it wrote, and at most its last one is torn, which readers leave out.

Kinds of lines: `begin`, `log`, `finish`, and `sent`, which tells up to which byte a server has it.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadka.core.error import DataError, NotFound

NAME = "tracking.jsonl"


@dataclass(frozen=True)
class Mark:
    """How far a server has a run.

    Args:
        mlflow_id: MLflow's id of the run.
        offset: Bytes of the journal that it has.
    """

    mlflow_id: str
    offset: int


class Journal:
    """Lines of one run's folder.

    Args:
        directory: Of the run; made where it is missing.
        is_new: Whether the file may be made.

    Raises:
        NotFound: There is no journal, and `is_new` is false.
        DataError: The file cannot be written.
    """

    def __init__(self, directory: str | Path, *, is_new: bool = False) -> None:
        self.path = Path(directory).resolve() / NAME
        self.marks: dict[str, Mark] = {}
        if not is_new and not self.path.is_file():
            raise NotFound(
                f"Folder {str(directory)!r} holds no {NAME}. Name the folder of a run that was "
                "begun with tadka.registry."
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        for _, line in self.lines():
            if line["kind"] == "sent":
                self.marks[line["uri"]] = Mark(line["mlflow"], line["offset"])

    def close(self) -> None:
        """Lets go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def append(self, kind: str, *, is_durable: bool = False, **values: Any) -> None:
        """Adds a line.

        Args:
            kind: What it tells.
            is_durable: Whether to wait until the disk has it.
            values: Plain JSON, and NaN and infinities; `time` in milliseconds, if not now.

        Raises:
            DataError: It cannot be written, for example because the disk is full.
        """
        line = json.dumps({"kind": kind, "time": now_ms(), **values}, separators=(",", ":")) + "\n"
        try:
            self._mend()
            data = line.encode()
            if os.write(self._file, data) != len(data):
                raise OSError("the disk is full")
            if is_durable:
                os.fsync(self._file)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def lines(self, start: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        """Whole lines.

        Args:
            start: Byte of the file to begin at: 0, or an offset that was yielded.

        Yields:
            The offset behind the line, and the line.

        Raises:
            DataError: A line in the middle is no JSON.
        """
        with self.path.open("rb") as file:
            file.seek(start)
            for text in file:
                if not text.endswith(b"\n"):
                    return  # torn: its writer was killed, or is writing
                start += len(text)
                try:
                    line = json.loads(text)
                    if not isinstance(line, dict) or "kind" not in line:
                        raise ValueError
                except ValueError as error:
                    raise DataError(
                        f"{str(self.path)!r} is damaged before byte {start}: {text[:80]!r} is no "
                        "line of a run. Delete it to send the others."
                    ) from error
                yield start, line

    def numbers(self) -> Iterator[tuple[tuple[int, str], Any]]:
        """What was logged, by step and name, in the order in which it was."""
        for _, line in self.lines():
            if line["kind"] == "log":
                for name, value in line["metrics"].items():
                    yield (line["step"], name), value

    def begun(self) -> dict[str, Any] | None:
        """The last line that began the run; None in a new journal."""
        begins = [line for _, line in self.lines() if line["kind"] == "begin"]
        return begins[-1] if begins else None

    def is_finished(self) -> bool:
        """Whether the run was ended well; one that failed may be gone on with."""
        return any(
            line["kind"] == "finish" and line["status"] == "finished" for _, line in self.lines()
        )

    def sent(self, uri: str, mark: Mark) -> None:
        """Notes how far a server has the run.

        Args:
            uri: Of the server.
            mark: How far.
        """
        if self.marks.get(uri) != mark:
            self.append("sent", uri=uri, mlflow=mark.mlflow_id, offset=mark.offset)
            self.marks[uri] = mark

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Makes others wait who want to send the same run, also in other processes."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _mend(self) -> None:
        """Cuts off a torn last line, so that the next does not go on from it."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            end = self.path.read_bytes().rfind(b"\n") + 1
            os.ftruncate(self._file, end)


def now_ms() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{str(path)!r} cannot be written: {error}. Free some space or choose another folder."
    )
