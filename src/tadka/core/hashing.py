"""Content hashes of values and files: one canonical, typed hash for cache keys and lineage.

The hash of a value is SHA-256 over its *pre-image*:

    <type> ":" <number of payload bytes, decimal> ":" <payload>

The record type comes first and the length is explicit, so no value of one type can imitate another.
A container's payload is made of the 32-byte hashes of its parts (a Merkle tree), each of fixed
length. `docs/core.md` lists the payload of every type; `tests/unit/core/test_hashing.py` holds test
vectors. Changing any pre-image invalidates every stored key: add a type, never alter one.
"""

import datetime as dt
import hashlib
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import loaded, require

if TYPE_CHECKING:
    import numpy as np

_NAN = struct.pack(">d", float("nan"))
_ACCEPTED = (
    "None, bool, int, float, complex, str, bytes, date, time, datetime, timedelta, path, Enum, "
    "list, tuple, set, frozenset, mapping, dataclass, numpy array or numpy scalar"
)


def digest(value: object) -> str:
    """SHA-256 of a value, canonical and typed, as 64 hex digits.

    Equal in every process and on every machine. Values of different types differ: 1, 1.0, True,
    `"1"` and `b"1"` all have their own hash, as have `[1]` and `(1,)`. The order of a mapping or a
    set does not matter. Every NaN is the same value; 0.0 and -0.0 are different values.

    Args:
        value: Any nesting of None, bool, int, float, complex, str, bytes, dates and times, paths,
            Enum members, lists, tuples, sets, mappings, dataclasses, numpy arrays and scalars.

    Returns:
        64 hexadecimal digits.

    Raises:
        ConfigError: A part of the value is of another type, or a container holds itself. The
            message gives the place of that part.
    """
    return _Walk().node(value).hex()


def digest_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits; equals `sha256sum`.

    Args:
        path: A local file.

    Returns:
        64 hexadecimal digits.

    Raises:
        NotFound: There is no such file.
        DataError: The file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise NotFound(f"File {str(path)!r} does not exist. Check the path.") from error
    except OSError as error:
        raise DataError(f"File {str(path)!r} cannot be read: {error.strerror}.") from error


def _record(kind: str, payload: bytes | memoryview) -> bytes:
    hasher = hashlib.sha256(f"{kind}:{len(payload)}:".encode())
    hasher.update(payload)
    return hasher.digest()


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a file name may hold lone surrogates


def _real(value: float) -> bytes:
    return _NAN if math.isnan(value) else struct.pack(">d", value)


def _class_name(cls: type) -> bytes:
    return _record("str", _text(f"{cls.__module__}.{cls.__qualname__}"))


class _Walk:
    """One traversal: knows where it is, for messages, and which containers it is inside of."""

    def __init__(self) -> None:
        self._place: list[str] = []
        self._open: set[int] = set()

    def node(self, value: object) -> bytes:
        if isinstance(value, Enum):  # before int and str, which an Enum may also be
            name = _record("str", _text(value.name))
            member = name + self._part(value, ".value", value.value)
            return _record("enum", _class_name(type(value)) + member)
        scalar = self._scalar(value)
        return self._container(value) if scalar is None else scalar

    def _scalar(self, value: object) -> bytes | None:
        """Hash of a value without parts; exact types only, so a subclass is not mistaken for it."""
        kind = type(value)
        if value is None:
            return _record("none", b"")
        if isinstance(value, bool):
            return _record("bool", b"1" if value else b"0")
        if kind is int:
            return _record("int", f"{value:d}".encode())
        if isinstance(value, float) and kind is float:
            return _record("float", _real(value))
        if isinstance(value, complex) and kind is complex:
            return _record("complex", _real(value.real) + _real(value.imag))
        if isinstance(value, str) and kind is str:
            return _record("str", _text(value))
        if isinstance(value, bytes) and kind is bytes:
            return _record("bytes", value)
        if isinstance(value, PurePath):
            return _record("path", _text(value.as_posix()))
        if isinstance(value, dt.datetime) and kind is dt.datetime:
            return _record("datetime", f"{value.isoformat()}#{value.fold}".encode())
        if isinstance(value, dt.date) and kind is dt.date:
            return _record("date", value.isoformat().encode())
        if isinstance(value, dt.time) and kind is dt.time:
            return _record("time", f"{value.isoformat()}#{value.fold}".encode())
        if isinstance(value, dt.timedelta) and kind is dt.timedelta:
            text = f"{value.days}:{value.seconds}:{value.microseconds}"
            return _record("timedelta", text.encode())
        return None

    def _container(self, value: object) -> bytes:
        if id(value) in self._open:
            raise ConfigError(f"The container{self._where()} holds itself; it cannot be hashed.")
        numpy = loaded("numpy")
        if numpy and isinstance(value, numpy.generic):
            return _record("scalar", self._array(numpy.asarray(value)))
        if is_dataclass(value) and not isinstance(value, type):
            chosen = [f.name for f in fields(value) if (f.compare if f.hash is None else f.hash)]
            parts = [
                _record("str", _text(name)) + self._part(value, f".{name}", getattr(value, name))
                for name in sorted(chosen)
            ]
            return _record("dataclass", _class_name(type(value)) + b"".join(parts))
        if isinstance(value, list) and type(value) is list:
            return _record("list", b"".join(self._items(value, value)))
        if isinstance(value, tuple):
            payload = b"".join(self._items(value, value))
            if type(value) is tuple:
                return _record("tuple", payload)
            if hasattr(value, "_fields"):
                names = b"".join(_record("str", _text(name)) for name in value._fields)
                return _record("namedtuple", _class_name(type(value)) + names + payload)
        if isinstance(value, set | frozenset) and type(value) in (set, frozenset):
            return _record(type(value).__name__, b"".join(sorted(self._items(value, value))))
        if isinstance(value, Mapping):
            pairs = [
                self._part(value, f"[key {key!r}]", key) + self._part(value, f"[{key!r}]", item)
                for key, item in value.items()
            ]
            return _record("dict", b"".join(sorted(pairs)))
        if (
            numpy
            and isinstance(value, numpy.ndarray)
            and not isinstance(value, numpy.ma.MaskedArray)
        ):
            return _record("array", self._array(value))
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise ConfigError(
            f"A value of type {kind!r}{self._where()} cannot be hashed; it must be {_ACCEPTED}. "
            "Convert it to one of these first."
        )

    def _array(self, array: "np.ndarray[Any, Any]") -> bytes:
        """Payload of an array: hash of the dtype, hash of the shape, hash of the elements."""
        numpy = require("numpy")
        dtype = array.dtype
        shape = _record("tuple", b"".join(_record("int", str(n).encode()) for n in array.shape))
        if dtype.names is not None:  # by field: the padding between fields has no value
            parts = [
                _record("str", _text(name))
                + _record("array", self._array_part(f"[{name!r}]", array[name]))
                for name in dtype.names
            ]
            return _record("str", b"struct") + shape + _record("fields", b"".join(parts))
        if dtype.kind in "OT":
            items = self._items(array, array.ravel().tolist())
            return _record("str", b"object") + shape + _record("list", b"".join(items))
        if dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
            raise ConfigError(
                f"An array of {dtype.name!r}{self._where()} cannot be hashed: its elements hold "
                "undefined padding. Convert it to float64 or complex128 first."
            )
        little = dtype.newbyteorder("<")
        flat = numpy.ascontiguousarray(array, dtype=little).reshape(-1)
        if dtype.kind in "fc" and (is_nan := numpy.isnan(flat)).any():
            flat = flat.copy()
            if dtype.kind == "c":
                parts_2N = flat.view(flat.real.dtype)
                parts_2N[numpy.isnan(parts_2N)] = numpy.nan
            else:
                flat[is_nan] = numpy.nan
        data = flat.view(numpy.uint8).data if flat.nbytes else b""
        return _record("str", little.str.encode()) + shape + _record("bytes", data)

    def _array_part(self, step: str, array: "np.ndarray[Any, Any]") -> bytes:
        self._place.append(step)
        payload = self._array(array)
        self._place.pop()
        return payload

    def _items(self, container: object, items: Iterable[object]) -> list[bytes]:
        return [self._part(container, f"[{i}]", item) for i, item in enumerate(items)]

    def _part(self, container: object, step: str, part: object) -> bytes:
        self._place.append(step)
        self._open.add(id(container))
        result = self.node(part)
        self._open.discard(id(container))
        self._place.pop()
        return result

    def _where(self) -> str:
        return f" at 'value{''.join(self._place)}'" if self._place else ""
