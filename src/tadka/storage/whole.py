"""Whole objects as bytes, by suffix: how each is written and read back."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import yaml

from tadka.core.error import DataError


class WholeFormat(NamedTuple):
    """Both directions of one suffix."""

    to_bytes: Callable[[Any], bytes]
    from_bytes: Callable[[bytes], Any]


# What the two functions raise when the object, or the content, is not of the format.
ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    OSError,
    LookupError,
    ImportError,
    pickle.PickleError,
    zipfile.BadZipFile,
    yaml.YAMLError,
)


def find(name: str, suffix: str, tables: Mapping[str, object]) -> WholeFormat:
    """The format of a suffix.

    Args:
        name: The file, for the message.
        suffix: With its dot, in lower case.
        tables: Suffixes of table formats, for the message.

    Returns:
        How to write and read it.

    Raises:
        DataError: The suffix is unknown.
    """
    try:
        return _FORMATS[suffix]
    except KeyError:
        known = sorted({*_FORMATS, *tables})
        raise DataError(
            f"File {name!r} has the suffix {suffix!r}, which is no known format; it must be one of "
            f"{', '.join(known)}."
        ) from None


def _array_to_bytes(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def _array_from_bytes(data: bytes) -> Any:
    return np.load(io.BytesIO(data), allow_pickle=False)


def _arrays_to_bytes(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    # one by one through a mapping: savez would take an array named 'file' for its own argument
    checked = {str(name): np.asarray(array) for name, array in arrays.items()}
    for name, array in checked.items():
        if array.dtype.hasobject:
            raise ValueError(f"array {name!r} holds Python objects")
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in checked.items():
            archive.writestr(f"{name}.npy", _array_to_bytes(array))
    return buffer.getvalue()


def _arrays_from_bytes(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return dict(archive)


def _json_to_bytes(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _yaml_to_bytes(value: Any) -> bytes:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode()


def _text_to_bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"it is {type(text).__name__!r}, not text")
    return text.encode()


_YAML = WholeFormat(_yaml_to_bytes, yaml.safe_load)
_FORMATS: Mapping[str, WholeFormat] = {
    ".npy": WholeFormat(_array_to_bytes, _array_from_bytes),
    ".npz": WholeFormat(_arrays_to_bytes, _arrays_from_bytes),
    ".json": WholeFormat(_json_to_bytes, json.loads),
    ".yaml": _YAML,
    ".yml": _YAML,
    ".txt": WholeFormat(_text_to_bytes, bytes.decode),
    ".pkl": WholeFormat(pickle.dumps, pickle.loads),
}
