"""Files of libffm, and of libsvm and libFM: rows as text, and FFM models.

A row is a line: a label, then entries.
    libffm:           1 0:7:0.5 1:12:1        field:index:value
    libsvm, libFM:    1 7:0.5 12:1            index:value; all entries are of field 0
The first entry of a file says which of the two it is. What libffm calls field and feature are
feature and slot here. Blank lines, and what follows a `#` among the entries, are passed over.

Shapes: B rows, E entries, S slots, F features, k latent dimensions.
"""

import gzip
import math
import os
import re
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.core.native import use_native
from tadka.features.sparse import SparseRows
from tadka.storage.publish import publish_file
from tadka.storage.uri import reading, resolve

try:
    import tadka.scoring.trainer as native_loops
except ImportError:  # built without a compiler
    native_loops = None  # type: ignore[assignment]

Floats = npt.NDArray[np.float32]

_PIECE_BYTES = 4 << 20
_PIECE_ROWS = 4096
_LANES = 4  # libffm's vectors: so many weights, then so many accumulators
_MAX_FEATURES = 1 << 16
_MAX_SLOTS = (1 << 31) - 1
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INDEX = re.compile(rb"\d+")


@dataclass(frozen=True, eq=False)
class _Part:
    """Rows of one piece of a file."""

    starts: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int32]
    values: Floats
    features: npt.NDArray[np.uint16]
    labels: Floats
    num_lines: int
    bad: tuple[int, bytes, bool] | None  # line in the piece, token, whether it is the label


def read_rows(
    path: str | Path,
    *,
    num_slots: int | None = None,
    num_features: int | None = None,
    threads: int | None = None,
) -> tuple[SparseRows, Floats]:
    """Rows and labels of a text file.

    Args:
        path: The file; gzip if it ends in .gz.
        num_slots: S, at least 1; None for the largest index of the file and 1. Entries beyond a
            given one are left out, as libffm does with what a model does not know: so read the
            validation rows with the numbers of the training rows.
        num_features: F, from 1 to 65536; likewise.
        threads: That parse; None for one a core.

    Returns:
        The rows, and the labels as they stand in the file, shape (B,).

    Raises:
        ConfigError: A number is out of range.
        DataError: A line cannot be parsed (its number and the token are named), or the file has no
            rows or cannot be read.
        NotFound: There is no such file.
    """
    for name, bound, most in (
        ("num_slots", num_slots, _MAX_SLOTS),
        ("num_features", num_features, _MAX_FEATURES),
        ("threads", threads, 1024),
    ):
        if bound is not None and not 1 <= bound <= most:
            raise ConfigError(f"{name!r} is {bound}; it must be from 1 to {most}.")
    parse = _parse_native if use_native(native_loops) else _parse_reference
    parts: list[_Part] = []
    num_lines = 0
    has_fields: bool | None = None

    def take(part: _Part) -> None:
        nonlocal num_lines
        if part.bad is not None:
            raise _bad_token(path, num_lines, part.bad, has_fields=bool(has_fields))
        num_lines += part.num_lines
        parts.append(part)

    with _open(path) as file, ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        waiting: deque[Future[_Part]] = deque()
        try:
            for piece in _pieces(file):
                if has_fields is None:
                    has_fields = _has_fields(piece)
                waiting.append(pool.submit(parse, piece, has_fields=bool(has_fields)))
                if len(waiting) > 2 * (threads or os.cpu_count() or 1):
                    take(waiting.popleft().result())
            while waiting:
                take(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()
    if not sum(len(part.labels) for part in parts):
        raise DataError(f"{str(path)!r} has no rows.")
    return _join(parts, num_slots, num_features)


def write_rows(
    path: str | Path, rows: SparseRows, labels: npt.ArrayLike, *, has_fields: bool = True
) -> None:
    """Writes rows as text; they are read back to the same bits.

    Args:
        path: The file; gzip if it ends in .gz. An existing file is replaced.
        rows: What to write.
        labels: Finite, shape (B,).
        has_fields: Whether as libffm's lines; False leaves out where entries come from.

    Raises:
        DataError: The lengths differ, a label or value is not finite, or the file cannot be
            written.
    """
    label_B = np.asarray(labels, np.float32)
    if label_B.shape != (len(rows),):
        raise DataError(
            f"There are {len(rows):,} rows and labels of shape {label_B.shape}; there must be as "
            "many of each."
        )
    for name, array in (("label", label_B), ("value", rows.values)):
        if not np.isfinite(array).all():
            bad = array[int(np.argmin(np.isfinite(array)))]
            raise DataError(f"A {name} is {bad!s}; libffm's lines hold finite numbers only.")
    with _create(path) as file:
        for first in range(0, len(rows), _PIECE_ROWS):
            piece = rows[first : first + _PIECE_ROWS]
            tokens = [
                f"{slot}:{value}"
                for slot, value in zip(piece.slots.tolist(), _texts(piece.values), strict=True)
            ]
            if has_fields:
                tokens = [f"{f}:{t}" for f, t in zip(piece.features.tolist(), tokens, strict=True)]
            starts = piece.starts.tolist()
            lines = [
                " ".join([label, *tokens[starts[row] : starts[row + 1]]])
                for row, label in enumerate(_texts(label_B[first : first + _PIECE_ROWS]))
            ]
            file.write(("\n".join(lines) + "\n").encode())


def read_model(path: str | Path) -> tuple[dict[str, npt.NDArray[Any]], bool]:
    """Parameters of a model that libffm trained.

    Args:
        path: The file: text (`n`, `m`, `k`, `normalization`, then a line `wINDEX,FIELD ...` for
            each pair) or the binary one of libffm 1.2 on little-endian machines. Gzip if it ends
            in .gz.

    Returns:
        `bias` (1,) and `linear` (S,), which are 0 as libffm has none, and `latent` (S, F, k); and
        whether rows are normalised.

    Raises:
        DataError: The file is of another format, cut short, or has a weight that is no finite
            number (text: the line is named).
        NotFound: There is no such file.
    """
    with _open(path) as file:
        head = file.read(2)
        latent, normalize = (
            _read_text_model(path, file) if head == b"n " else _read_binary_model(path, file, head)
        )
    return {
        "bias": np.zeros(1),
        "linear": np.zeros(len(latent), np.float32),
        "latent": latent,
    }, normalize


def write_model(
    path: str | Path,
    parameters: Mapping[str, npt.NDArray[Any]],
    *,
    normalize: bool,
    is_binary: bool = False,
) -> None:
    """Writes a model for libffm.

    Args:
        path: The file; gzip if it ends in .gz. An existing file is replaced.
        parameters: `latent` float32 (S, F, k); `bias` and `linear` must be 0 or absent, as libffm
            has none: train with `linear=False`.
        normalize: Whether rows are normalised.
        is_binary: Whether as libffm 1.2 on x86 reads it; otherwise as text, with digits enough to
            read the same bits back.

    Raises:
        DataError: A bias or linear weight is not 0, the latent parameters have another shape or
            are not finite, or the file cannot be written.
    """
    for name in ("bias", "linear"):
        if name in parameters and np.any(parameters[name]):
            raise DataError(
                f"The model has {name!r} parameters, which libffm does not know. Train it with "
                "linear=False to write it for libffm."
            )
    latent = np.asarray(parameters.get("latent"))
    if latent.ndim != 3 or latent.dtype != np.float32 or not latent.size:
        raise DataError(
            f"'latent' is {latent.dtype} of shape {latent.shape}; libffm's models are float32 of "
            "shape (slots, features, dim)."
        )
    if not np.isfinite(latent).all():
        raise DataError("'latent' has NaN or infinity; such a model cannot score.")
    n, m, k = latent.shape
    with _create(path) as file:
        if is_binary:
            file.write(np.array([n, m, k], "<i4").tobytes() + bytes([normalize]))
            num_groups = -(-k // _LANES)
            for first in range(0, n, _PIECE_ROWS):
                part = latent[first : first + _PIECE_ROWS]
                cells = np.zeros((len(part), m, num_groups * _LANES), "<f4")
                cells[:, :, :k] = part
                groups = cells.reshape(len(part), m, num_groups, _LANES)
                file.write(np.stack([groups, np.ones_like(groups)], axis=3).tobytes())
            return
        file.write(f"n {n}\nm {m}\nk {k}\nnormalization {int(normalize)}\n".encode())
        for first in range(0, n, max(1, _PIECE_ROWS // m)):
            part = latent[first : first + max(1, _PIECE_ROWS // m)]
            texts = _texts(part.ravel())
            lines = [
                f"w{first + i // m},{i % m} {' '.join(texts[i * k : (i + 1) * k])} "
                for i in range(len(part) * m)
            ]
            file.write(("\n".join(lines) + "\n").encode())


def _read_text_model(path: str | Path, file: IO[bytes]) -> tuple[Floats, bool]:
    sizes = []
    for number, name in enumerate(("n", "m", "k", "normalization"), 1):
        line = (b"n " if number == 1 else b"") + file.readline()
        words = line.split()
        least, most = (0, 1) if name == "normalization" else (1, _MAX_SLOTS)
        if (
            len(words) != 2
            or words[0] != name.encode()
            or not words[1].isdigit()
            or not least <= int(words[1]) <= most
        ):
            raise DataError(
                f"{str(path)!r}, line {number}: {_shown(line)} is not {name!r} and a number from "
                f"{least} to {most}, so this is no model of libffm."
            )
        sizes.append(int(words[1]))
    n, m, k, normalization = sizes
    latent = _room(path, n, m, k)
    cells = latent.reshape(n * m, k)
    for first in range(0, n * m, _PIECE_ROWS):
        last = min(n * m, first + _PIECE_ROWS)
        lines = [file.readline() for _ in range(last - first)]
        words = b"".join(lines).split()
        names = [f"w{i // m},{i % m}".encode() for i in range(first, last)]
        if len(words) != (last - first) * (k + 1) or words[:: k + 1] != names:
            raise _bad_cell(path, lines, names, first, k)
        del words[:: k + 1]
        try:
            cells[first:last] = np.array(words).astype(np.float32).reshape(-1, k)
        except ValueError:
            raise _bad_cell(path, lines, names, first, k) from None
        if not np.isfinite(cells[first:last]).all():
            raise _bad_cell(path, lines, names, first, k)
    if rest := file.readline().strip():
        raise DataError(f"{str(path)!r}: {_shown(rest)} follows the last weights of the model.")
    return latent, bool(normalization)


def _bad_cell(
    path: str | Path, lines: list[bytes], names: list[bytes], first: int, k: int
) -> DataError:
    for number, (line, name) in enumerate(zip(lines, names, strict=True), first + 5):
        words = line.split()
        if len(words) != k + 1 or words[0] != name or not all(map(_is_finite, words[1:])):
            what = _shown(line) if line else "the end of the file"
            return DataError(
                f"{str(path)!r}, line {number}: {what} is not {name.decode()!r} and {k} finite "
                "weights."
            )
    return DataError(f"{str(path)!r}: the weights cannot be read.")


def _read_binary_model(path: str | Path, file: IO[bytes], head: bytes) -> tuple[Floats, bool]:
    head += file.read(11)
    n, m, k = np.frombuffer(head[:12], "<i4").tolist() if len(head) == 13 else (0, 0, 0)
    if min(n, m, k) < 1 or head[12] > 1:
        raise DataError(
            f"{str(path)!r} begins with {_shown(head)}, which is neither the text nor the binary "
            "format of libffm's models."
        )
    latent = _room(path, n, m, k)
    # Without SSE libffm stores weight and accumulator in turn, with it four of each, padded. The
    # accumulators tell them apart: they start at 1 and never fall.
    padded = -(-k // _LANES) * _LANES
    piece = max(1, (1 << 22) // (m * padded))
    lanes = 0
    for first in range(0, n, piece):
        last = min(n, first + piece)
        if not lanes:
            start = file.read((last - first) * m * padded * 8)
            lanes = _lanes(start, m, k)
            if not lanes:
                raise DataError(
                    f"{str(path)!r} is no model of libffm: where accumulated gradients should be "
                    "are numbers below 1, or it is cut short."
                )
            width = padded if lanes > 1 else k
            data = start[: (last - first) * m * width * 8]
            rest = start[len(data) :]
        else:
            need = (last - first) * m * width * 8
            data = rest + file.read(max(0, need - len(rest)))
            data, rest = data[:need], data[need:]
        if len(data) != (last - first) * m * width * 8:
            raise DataError(f"{str(path)!r} is cut short: its {n} x {m} x {k} weights do not end.")
        groups = np.frombuffer(data, "<f4").reshape(last - first, m, -1, 2, lanes)
        latent[first:last] = groups[:, :, :, 0].reshape(last - first, m, width)[:, :, :k]
    if rest or file.read(1):
        raise DataError(f"{str(path)!r} goes on after its {n} x {m} x {k} weights.")
    if not np.isfinite(latent).all():
        raise DataError(f"{str(path)!r} has weights that are NaN or infinite.")
    return latent, bool(head[12])


def _lanes(data: bytes, m: int, k: int) -> int:
    """How many weights stand together, or 0 if the data fit neither layout."""
    for lanes in (_LANES, 1):
        row_bytes = -(-k // lanes) * lanes * m * 8
        whole = len(data) - len(data) % row_bytes
        numbers = np.frombuffer(data[:whole], "<f4").reshape(-1, 2, lanes)
        if len(numbers) and np.all(numbers[:, 1] >= 1):
            return lanes
    return 0


def _room(path: str | Path, n: int, m: int, k: int) -> Floats:
    try:
        return np.empty((n, m, k), np.float32)
    except (MemoryError, ValueError) as error:
        raise DataError(
            f"{str(path)!r} says that it holds {n} x {m} x {k} weights, more than fit into memory."
        ) from error


def _join(
    parts: list[_Part], num_slots: int | None, num_features: int | None
) -> tuple[SparseRows, Floats]:
    ends = np.cumsum([0, *(len(part.slots) for part in parts)])
    starts = [part.starts[1:] + end for part, end in zip(parts, ends, strict=False)]
    all_starts = np.concatenate([np.zeros(1, np.int64), *starts])
    labels = np.concatenate([part.labels for part in parts])
    slots = np.concatenate([part.slots for part in parts])
    values = np.concatenate([part.values for part in parts])
    features = np.concatenate([part.features for part in parts])
    parts.clear()
    most_slots = int(slots.max(initial=0)) + 1
    most_features = int(features.max(initial=0)) + 1
    bound_slots, bound_features = num_slots or most_slots, num_features or most_features
    if bound_slots < most_slots or bound_features < most_features:
        stays = (slots < bound_slots) & (features < bound_features)
        all_starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(stays)])[all_starts]
        slots, values, features = slots[stays], values[stays], features[stays]
    return SparseRows(all_starts, slots, values, features, bound_slots, bound_features), labels


def _parse_native(text: bytes, *, has_fields: bool) -> _Part:
    num_lines, num_colons = native_loops.count(text)
    starts = np.empty(num_lines + 1, np.int64)
    slots = np.empty(num_colons, np.int32)
    values = np.empty(num_colons, np.float32)
    features = np.empty(num_colons, np.uint16)
    labels = np.empty(num_lines, np.float32)
    rows, entries, line, begin, end = native_loops.parse(
        text, starts, slots, values, features, labels, has_fields=has_fields
    )
    return _Part(  # copies, which give back the room for entries that were not there
        starts[: rows + 1].copy(),
        slots[:entries].copy(),
        values[:entries].copy(),
        features[:entries].copy(),
        labels[:rows].copy(),
        text.count(b"\n"),
        None
        if begin < 0
        else (line, text[begin:end], not text[text.rfind(b"\n", 0, begin) + 1 : begin].strip()),
    )


def _parse_reference(text: bytes, *, has_fields: bool) -> _Part:
    starts, slots, values = [0], [], []
    features: list[int] = []
    labels: list[float] = []
    bad: tuple[int, bytes, bool] | None = None
    for line, data in enumerate(text.split(b"\n")):
        words = _words(data)
        if not words:
            continue
        if not _is_finite(words[0]):
            bad = (line, words[0], True)
            break
        for word in words[1:]:
            if word.startswith(b"#"):
                break
            parts = word.split(b":")
            is_read = (
                len(parts) == 2 + has_fields
                and all(_INDEX.fullmatch(part) for part in parts[:-1])
                and int(parts[-2]) < _MAX_SLOTS
                and (not has_fields or int(parts[0]) < _MAX_FEATURES)
                and _is_finite(parts[-1])
            )
            if not is_read:
                bad = (line, word, False)
                break
            features.append(int(parts[0]) if has_fields else 0)
            slots.append(int(parts[-2]))
            values.append(float(parts[-1]))
        if bad is not None:
            break
        labels.append(float(words[0]))
        starts.append(len(slots))
    return _Part(
        np.array(starts, np.int64),
        np.array(slots, np.int32),
        np.array(values, np.float64).astype(np.float32),
        np.array(features, np.uint16),
        np.array(labels, np.float64).astype(np.float32),
        text.count(b"\n"),
        bad,
    )


def _words(line: bytes) -> list[bytes]:
    """Parts between blanks; bytes.split knows more blanks than libffm."""
    return [word for word in re.split(rb"[ \t\r]+", line) if word]


def _is_finite(word: bytes) -> bool:
    """Whether it is a decimal number that float32 holds."""
    if _NUMBER.fullmatch(word) is None:
        return False
    with np.errstate(over="ignore"):
        return math.isfinite(np.float32(float(word)))


def _has_fields(piece: bytes) -> bool:
    """Whether the first entry is field:index:value; a file without entries may be either."""
    for match in re.finditer(rb"^[ \t\r]*[^\s#]+[ \t\r]+([^\s#]+)", piece, re.MULTILINE):
        return match[1].count(b":") == 2
    return True


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The file in pieces that end with a line."""
    rest: list[bytes] = []
    while data := file.read(_PIECE_BYTES):
        end = data.rfind(b"\n") + 1
        if not end:
            rest.append(data)  # joined once, however long the line
            continue
        yield b"".join([*rest, data[:end]])
        rest = [data[end:]]
    if last := b"".join(rest):
        yield last


def _texts(values: Floats) -> list[str]:
    """The fewest digits that give each float32 back."""
    # By their bits: -0 is not 0.
    distinct, place = np.unique(values.view(np.int32), return_inverse=True)
    texts = [str(value).removesuffix(".0") for value in distinct.view(np.float32)]
    return [texts[i] for i in place.tolist()]


def _shown(data: bytes) -> str:
    text = data.strip().decode("utf-8", errors="backslashreplace")
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _bad_token(
    path: str | Path, num_lines: int, bad: tuple[int, bytes, bool], *, has_fields: bool
) -> DataError:
    line, token, is_label = bad
    if is_label:
        wanted = "a label, which begins each line and is a finite number"
    elif has_fields:
        wanted = (
            f"FIELD:INDEX:VALUE with whole numbers (FIELD below {_MAX_FEATURES}, INDEX below "
            f"{_MAX_SLOTS}) and a finite number"
        )
    else:
        wanted = (
            f"INDEX:VALUE with a whole number (below {_MAX_SLOTS}) and a finite number, as the "
            "first entry of the file"
        )
    return DataError(
        f"{str(path)!r}, line {num_lines + line + 1}: {_shown(token)} is not {wanted}."
    )


@contextmanager
def _open(path: str | Path) -> Iterator[Any]:
    file_system, inner = resolve(path)
    with reading(path), file_system.open(inner, "rb") as raw:
        if not str(path).endswith(".gz"):
            yield raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) as file:
                yield file
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{str(path)!r} is no gzip file or is cut short: {error}.") from error


@contextmanager
def _create(path: str | Path) -> Iterator[Any]:
    with publish_file(path) as raw:
        if not str(path).endswith(".gz"):
            yield raw
            return
        # Without name and time the same rows give the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
            yield file
