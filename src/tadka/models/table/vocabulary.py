"""The persistent map from ids to rows: append-only, shared by processes, safe against a kill.

A folder holds

    manifest.json   kind of the keys and number of rows; replaced by rename: this is the commit
    keys.log        int64; the key of row r at place r (an integer id, or the hash of a text)
    text.log        texts, one after the other, in UTF-8; only for texts
    bounds.log      int64; the text of row r ends at the byte that stands at place r
    rows.index      hash table over keys.log (`tadka.models.table.index`); can be made anew
    lock            held (flock) by the process that adds

What lies in the logs behind the committed number of rows was never there: the next writer writes
over it. A row, once committed, keeps its number.

Letters of shapes: N values of a call.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.models.table.index import RowIndex
from tadka.models.table.text import Keys, hash_texts, integers, parts, texts
from tadka.storage.lock import lock_folder
from tadka.storage.publish import publish_file, sync

_FORMAT = 1
_CHUNK_ROWS = 1 << 18
_MAX_ROWS = 2**32 - 1  # rows of the index are 32 bits wide


class Vocabulary:
    """Rows of ids, in order of first appearance; row 0 stands for every id that is not in it.

    A pickled vocabulary is its path (and its size, where it was opened at one). One process at a
    time adds; any number look up, and see what is added after `refresh`.

    Args:
        folder: Of a vocabulary that exists; use `open` or `create`.
        size: See `open`.
    """

    def __init__(self, folder: str | Path, size: int | None = None) -> None:
        self.folder = Path(folder).absolute()
        self._pinned = size
        self._lock: int | None = None
        self._files: dict[str, int] = {}
        self.refresh()

    @classmethod
    def create(cls, folder: str | Path) -> "Vocabulary":
        """An empty vocabulary; the first `add` decides whether its keys are integers or texts.

        Args:
            folder: Made where it does not exist.

        Raises:
            ConfigError: There is one in it already.
            DataError: It cannot be written.
        """
        path = Path(folder) / "manifest.json"
        if path.exists():
            raise ConfigError(
                f"There is a vocabulary in {str(folder)!r} already. Use Vocabulary.open, or choose "
                "another folder."
            )
        _write_manifest(path, None, 1)
        return cls(folder)

    @classmethod
    def open(cls, folder: str | Path, *, size: int | None = None) -> "Vocabulary":
        """A vocabulary that exists.

        Args:
            folder: Where it is.
            size: See its first `size` rows only, however many there are later: what a model that
                was trained with so many rows must see. Nothing can be added to such a view.

        Raises:
            NotFound: There is none.
            DataError: A file is damaged, or there are fewer than `size` rows.
        """
        return cls(folder, size)

    @property
    def size(self) -> int:
        """Number of rows, row 0 included."""
        return self._size

    @property
    def kind(self) -> str | None:
        """`"int64"` or `"text"`; None before anything was added."""
        return self._kind

    def refresh(self) -> None:
        """Takes over what others have committed; what was added here and not committed is lost."""
        self._release()
        kind, size = _read_manifest(self.folder / "manifest.json")
        if self._pinned is not None and not 1 <= self._pinned <= size:
            raise DataError(
                f"Vocabulary {str(self.folder)!r} has {size:,} rows, and {self._pinned:,} are "
                "asked for. It is not the one that this size was taken from, or was cut since."
            )
        self._kind: str | None = kind
        self._size = self._committed = size if self._pinned is None else self._pinned
        self._map()
        index = RowIndex.open(self.folder / "rows.index", write=False)
        self._index = RowIndex.build(self._keys, self._size) if index is None else index

    def add(self, values: object, *, commit: bool = True) -> Keys:
        """Rows of values; those that are new get the next rows, in order of first appearance.

        Args:
            values: Integers or texts, shape (N,). A missing text has row 0.
            commit: Whether to make them durable now. Without, the folder stays locked until
                `commit` is called.

        Returns:
            Rows, shape (N,).

        Raises:
            ConfigError: It was opened at a size.
            DataError: Another process is adding; values of another kind than the first ones; or
                two texts share a hash. Nothing that is not committed is kept then.
        """
        kind, keys_N, texts_N = self._encode(values)
        if len(keys_N) == 0:
            if commit and self._lock is not None:
                self.commit()
            return np.empty(0, np.int64)
        self._begin()
        try:
            if self._kind is None:
                self._kind = kind
                self._map()
            rows_N = np.zeros(len(keys_N), np.int64)
            for start in range(0, len(keys_N), _CHUNK_ROWS):
                piece = slice(start, start + _CHUNK_ROWS)
                some = None if texts_N is None else texts_N[piece]
                rows_N[piece] = self._add(keys_N[piece], some)
            if commit:
                self.commit()
        except BaseException:  # KeyboardInterrupt too: what is half added is not to be committed
            self.refresh()
            raise
        return rows_N

    def commit(self) -> None:
        """Makes durable what was added, and lets others add."""
        if self._lock is None:
            return
        for descriptor in self._files.values():
            os.fsync(descriptor)
        self._index.unmark()
        _write_manifest(self.folder / "manifest.json", self._kind, self._size)
        self._committed = self._size
        self._release()

    def rows(self, values: object) -> Keys:
        """Rows of values, 0 where a value is not in the vocabulary or is missing.

        Args:
            values: Integers or texts, shape (N,).

        Returns:
            Rows, shape (N,).

        Raises:
            DataError: Values of another kind than the vocabulary's.
        """
        _, keys_N, texts_N = self._encode(values)
        rows_N = self._index.find(keys_N, self._keys, self._size)
        if texts_N is not None and rows_N.any():
            found = np.flatnonzero(rows_N)
            # a text that was never added may have the hash of one that was
            rows_N[found[~self._is_same(texts_N, found, rows_N[found])]] = 0
        return rows_N

    def values(self, start: int = 0, stop: int | None = None) -> Any:
        """Values in order of their rows. Row 0 has none, so the first is that of row 1.

        Args:
            start: First row; 0 counts as 1.
            stop: Row to end before; None: all.

        Returns:
            int64 array, or `pyarrow.LargeStringArray` where they are texts.
        """
        start = max(start, 1)
        stop = self._size if stop is None else max(start, min(stop, self._size))
        if self._kind == "text":
            return self._texts[start - 1 : stop - 1]
        return self._keys[start:stop].copy()

    def truncate(self, size: int) -> None:
        """Forgets the rows from `size` on: those that no table and no model has taken over.

        Args:
            size: Rows to keep, row 0 included.

        Raises:
            ConfigError: `size` is not between 1 and the present size.
            DataError: Another process is adding.
        """
        self._begin()
        try:
            if not 1 <= size <= self._committed:
                raise ConfigError(
                    f"Vocabulary {str(self.folder)!r} has {self._committed:,} rows and cannot be "
                    f"cut to {size:,}; give 1 to {self._committed:,}."
                )
            # The files keep their length: others may have mapped what is behind the end now.
            _write_manifest(self.folder / "manifest.json", self._kind, size)
            RowIndex.build(self._keys, size, self.folder / "rows.index").unmark()
        finally:
            self.refresh()

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Vocabulary({str(self.folder)!r}, kind={self._kind!r}, size={self._size:,})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Vocabulary, (str(self.folder), self._pinned)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Commits when the block ends well, else drops what is not committed."""
        if kind is None:
            self.commit()
        elif self._lock is not None:
            self.refresh()

    def _encode(self, values: object) -> tuple[str, Keys, Any]:
        keys_N = integers(values)
        kind = "text" if keys_N is None else "int64"
        texts_N = None
        if keys_N is None:
            texts_N = texts(values)
            keys_N = hash_texts(texts_N)
        if self._kind not in (None, kind) and len(keys_N):
            raise DataError(
                f"Vocabulary {str(self.folder)!r} has keys of kind {self._kind!r}, and these are "
                f"{kind!r}. Convert the column to the kind that it was fitted on."
            )
        return kind, keys_N, texts_N

    def _begin(self) -> None:
        """Takes the lock, and with it the newest state and an index that may be changed."""
        if self._lock is not None:
            return
        if self._pinned is not None:
            raise ConfigError(
                f"Vocabulary {str(self.folder)!r} was opened at size {self._pinned:,}; it cannot "
                "be changed. Open it without a size."
            )
        self._lock = lock_folder(
            self.folder,
            f"Another process is adding to vocabulary {str(self.folder)!r}; one may at a time. "
            "Wait for it, or stop it.",
        )
        self._kind, self._size = _read_manifest(self.folder / "manifest.json")
        self._committed = self._size
        self._map()
        path = self.folder / "rows.index"
        index = RowIndex.open(path, write=True)
        if index is None or index.capacity < self._size:
            index = RowIndex.build(self._keys, self._size, path)
        else:
            index.mark()
        self._index = index

    def _release(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _add(self, keys_N: Keys, texts_N: Any) -> Keys:
        rows_N = self._index.find(keys_N, self._keys, self._size)
        is_new_N = rows_N == 0
        if texts_N is not None and texts_N.null_count:
            is_there_N = texts_N.is_valid().to_numpy(zero_copy_only=False)
            rows_N[~is_there_N] = 0
            is_new_N &= is_there_N
        if texts_N is not None:
            known = np.flatnonzero(rows_N)
            self._check(texts_N, known, rows_N[known])
        new = np.flatnonzero(is_new_N)
        if new.size:
            self._reserve(self._size + len(new))
            rows, is_first = self._index.add(keys_N[new], self._size)
            rows_N[new] = rows
            firsts = new[is_first]
            self._append(keys_N[firsts], None if texts_N is None else texts_N.take(firsts))
            if texts_N is not None and not is_first.all():
                self._check(texts_N, new, rows)
        return rows_N

    def _reserve(self, size: int) -> None:
        if size > _MAX_ROWS:
            raise DataError(
                f"Vocabulary {str(self.folder)!r} is full: it takes {_MAX_ROWS:,} rows."
            )
        if size > self._index.capacity:
            path = self.folder / "rows.index"
            self._index = RowIndex.build(self._keys, self._size, path, size)

    def _append(self, keys_M: Keys, texts_M: Any) -> None:
        self._write("keys.log", keys_M, self._size * 8)
        if texts_M is not None:
            bounds, data = parts(texts_M)
            end = int(self._bounds[-1])
            self._write("text.log", data[bounds[0] : bounds[-1]], end)
            self._write("bounds.log", bounds[1:] - bounds[0] + end, self._size * 8)
        self._size += len(keys_M)
        self._map()

    def _write(self, name: str, data: npt.NDArray[Any], at: int) -> None:
        if name not in self._files:
            path = self.folder / name
            self._files[name] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if name != "text.log":  # place 0 is that of row 0: no key, and where texts begin
                os.pwrite(self._files[name], bytes(8), 0)
            sync(self.folder)
        view = memoryview(data.tobytes())
        try:
            while view:
                done = os.pwrite(self._files[name], view, at)
                view, at = view[done:], at + done
        except OSError as error:
            raise DataError(
                f"Vocabulary {str(self.folder)!r} cannot be written: {error.strerror}. What was "
                "committed before is whole."
            ) from error

    def _map(self) -> None:
        self._keys: Keys = self._log("keys.log", self._size)
        if self._kind == "text":
            arrow = require("pyarrow", extra="arrow")
            self._bounds = self._log("bounds.log", self._size)
            data = self._mapped("text.log", np.uint8, int(self._bounds[-1]))
            buffers = [None, arrow.py_buffer(self._bounds), arrow.py_buffer(data)]
            self._texts: Any = arrow.Array.from_buffers(
                arrow.large_string(), self._size - 1, buffers
            )
        else:
            self._bounds, self._texts = np.zeros(1, np.int64), None

    def _log(self, name: str, size: int) -> Keys:
        return np.zeros(1, np.int64) if size == 1 else self._mapped(name, np.int64, size)

    def _mapped(self, name: str, kind: type[Any], size: int) -> npt.NDArray[Any]:
        if size == 0:
            return np.empty(0, kind)
        try:
            return np.memmap(self.folder / name, kind, "r", shape=(size,)).view(np.ndarray)
        except (OSError, ValueError) as error:  # ValueError: shorter than the manifest says
            raise DataError(
                f"Vocabulary {str(self.folder)!r} is damaged: {name} does not hold {size:,} "
                f"entries ({error}). Restore the folder from a copy."
            ) from error

    def _is_same(self, texts_N: Any, places_M: Keys, rows_M: Keys) -> npt.NDArray[np.bool_]:
        """Whether texts at `places_M` are those of the rows; a missing text has none."""
        compute = require("pyarrow.compute", extra="arrow")
        stored = self._texts.take(rows_M - 1)
        asked = texts_N if len(places_M) == len(texts_N) else texts_N.take(places_M)
        same: npt.NDArray[np.bool_] = (
            compute.equal(stored, asked).fill_null(False).to_numpy(zero_copy_only=False)
        )
        return same

    def _check(self, texts_N: Any, places_M: Keys, rows_M: Keys) -> None:
        wrong = np.flatnonzero(~self._is_same(texts_N, places_M, rows_M))
        if wrong.size:
            text = texts_N[int(places_M[wrong[0]])].as_py()
            other = self._texts[int(rows_M[wrong[0]]) - 1].as_py()
            raise DataError(
                f"Keys {text!r} and {other!r} have the same 64-bit hash, so they cannot both be "
                f"in vocabulary {str(self.folder)!r}. Rename one of them."
            )


class Truncatable(Protocol):
    """What `agree` can bring into step."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""

    def truncate(self, num_rows: int) -> None:
        """Forgets the rows from `num_rows` on."""


def agree(vocabulary: Vocabulary, *tables: Truncatable) -> int:
    """Brings a vocabulary and its tables to the same rows after a crash between their commits.

    Rows that one of them has committed and another has not were never used by a finished step; they
    are forgotten everywhere, and come again with the next `add` and `grow`.

    Args:
        vocabulary: The ids.
        tables: Tables with a row for each of them.

    Returns:
        How many rows of the vocabulary were forgotten.

    Raises:
        DataError: Another process is adding.
    """
    before = vocabulary.size
    size = min(before, *(table.num_rows for table in tables)) if tables else before
    if size < before:
        vocabulary.truncate(size)
    for table in tables:
        if table.num_rows > size:
            table.truncate(size)
    return before - size


def _read_manifest(path: Path) -> tuple[str | None, int]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no vocabulary in {str(path.parent)!r}: it has no manifest.json. Check the "
            "path, or make one with Vocabulary.create."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}.") from error
    with suppress(KeyError, TypeError):
        kind, size = found["kind"], found["size"]
        is_whole = isinstance(size, int) and size >= 1 and (kind is not None or size == 1)
        if found["format"] == _FORMAT and kind in (None, "int64", "text") and is_whole:
            return kind, size
    raise DataError(
        f"{str(path)!r} is not the manifest of a vocabulary of format {_FORMAT}. Check the path, "
        "or open it with the version of tadka that wrote it."
    )


def _write_manifest(path: Path, kind: str | None, size: int) -> None:
    with publish_file(path) as file:
        file.write(json.dumps({"format": _FORMAT, "kind": kind, "size": size}).encode())
