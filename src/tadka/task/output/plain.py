"""Plain values, text, bytes and XML: formats of one file without columns."""

import json
import pickle
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tadka.core.error import DataError
from tadka.core.extra import loaded
from tadka.storage.tabular import unreadable
from tadka.task.output.out import SUFFIXES, Out
from tadka.task.output.text import encode, is_utf8, pack, unpack

_LINE = 88  # characters that are read at a glance
_INDENTED_BYTES = 1 << 16  # JSON up to this size is written for people, larger for machines


class _Bytes(Protocol):
    def to_bytes(self, value: Any, out: Out) -> bytes: ...
    def from_bytes(self, data: bytes, type_: Any, out: Out) -> Any: ...


class File:
    """One file, written whole, by gzip where declared so."""

    def __init__(self, format_: str, content: _Bytes) -> None:
        self.name = format_
        self._content = content

    def suffix(self, out: Out) -> str:
        """Of the file."""
        return SUFFIXES[self.name][0] + (".gz" if out.compression == "gzip" else "")

    def is_folder(self, out: Out) -> bool:  # noqa: ARG002 - never
        """Never."""
        return False

    def write(self, value: Any, target: Path, out: Out) -> None:
        """Writes the file.

        Raises:
            DataError: The format cannot hold the value.
        """
        target.write_bytes(self.pack(value, out))

    def pack(self, value: Any, out: Out) -> bytes:
        """The bytes of the file.

        Raises:
            DataError: The format cannot hold the value.
        """
        return pack(self._content.to_bytes(value, out), out)

    def read(self, target: Path, type_: Any, out: Out) -> Any:
        """The value.

        Raises:
            DataError: The file is damaged.
        """
        try:
            return self.unpack(target.read_bytes(), type_, out)
        except DataError:
            raise
        except _UNREADABLE as error:
            raise unreadable(str(target), self.name, str(error)) from error

    def unpack(self, data: bytes, type_: Any, out: Out) -> Any:
        """The value of the bytes that `pack` gave."""
        return self._content.from_bytes(unpack(data, out), type_, out)


# what readers raise on content that is not theirs; a pickle may name a class that is gone
_UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OSError,
    ImportError,
    MemoryError,
    pickle.PickleError,
    zlib.error,
    ET.ParseError,
)


class Json:
    """One plain value: dicts with text keys, lists, text, numbers, booleans and None."""

    def to_bytes(self, value: Any, out: Out) -> bytes:
        """NaN and infinities as Python writes them; numbers of numpy as plain numbers."""
        with _not_too_deep():
            plain = _plain(value, "value")
            text = json.dumps(plain, ensure_ascii=not is_utf8(out))
            if _LINE < len(text) <= _INDENTED_BYTES:
                text = json.dumps(plain, ensure_ascii=not is_utf8(out), indent=2)
        return _encode(text + "\n", out)

    def from_bytes(self, data: bytes, type_: Any, out: Out) -> Any:  # noqa: ARG002
        return json.loads(data.decode(out.encoding))


class JsonItems:
    """A list, one plain value a line."""

    def to_bytes(self, value: Any, out: Out) -> bytes:
        with _not_too_deep():
            lines = [
                json.dumps(_plain(item, f"value[{i}]"), ensure_ascii=not is_utf8(out))
                for i, item in enumerate(value)
            ]
        return _encode("".join(line + "\n" for line in lines), out)

    def from_bytes(self, data: bytes, type_: Any, out: Out) -> Any:  # noqa: ARG002
        return [json.loads(line) for line in data.decode(out.encoding).split("\n")[:-1]]


@contextmanager
def _not_too_deep() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise DataError(
            "JSON cannot hold the value, which holds itself or is nested deeper than Python's "
            "recursion reaches; return a flat list or dict, or declare Out('pickle')."
        ) from None


def _plain(value: Any, place: str) -> Any:
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if type(value) is list:
        return [_plain(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                raise _not_plain(f"the key {key!r} of {place}", key)
        return {key: _plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    numpy = loaded("numpy")
    numbers = (numpy.bool_, numpy.integer, numpy.floating) if numpy else ()
    if isinstance(value, numbers) and value.dtype.itemsize <= 8:
        return value.item()
    raise _not_plain(place, value)


def _not_plain(place: str, value: object) -> DataError:
    return DataError(
        f"JSON cannot hold {place}, which is {type(value).__name__!r} and would not come back as "
        "such; it must be a dict with text keys, a list, text, a number, a boolean or None. "
        "Convert it, or declare Out('pickle')."
    )


class Txt:
    """Text, every character kept."""

    def to_bytes(self, value: Any, out: Out) -> bytes:
        return _encode(value, out)

    def from_bytes(self, data: bytes, type_: Any, out: Out) -> Any:  # noqa: ARG002
        return data.decode(out.encoding)


def _encode(text: str, out: Out) -> bytes:
    try:
        return text.encode() if is_utf8(out) else encode(text, out.encoding)
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise DataError(
            f"The text holds {text[error.start : error.start + 1]!r} in line {line}, which the "
            f"encoding {out.encoding!r} does not have; declare encoding='utf-8'."
        ) from error


class Bytes:
    """Bytes as they are."""

    def to_bytes(self, value: Any, out: Out) -> bytes:  # noqa: ARG002
        return bytes(value)

    def from_bytes(self, data: bytes, type_: Any, out: Out) -> Any:  # noqa: ARG002
        return data


class Xml:
    """An element, a tree, or the text of a document."""

    def to_bytes(self, value: Any, out: Out) -> bytes:
        data: bytes
        if isinstance(value, str):
            data = _encode(value, out)
            _parse(data)
            return data
        root = value.getroot() if isinstance(value, ET.ElementTree) else value
        try:
            data = ET.tostring(root, encoding=out.encoding, xml_declaration=True)
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"XML cannot hold the tree: {error}.") from error
        for before, after in zip(root.iter(), _parse(data).iter(), strict=True):
            if _parts(before) != _parts(after):
                raise DataError(
                    f"XML cannot hold the element {before.tag!r}: {_parts(before)!r} would come "
                    f"back as {_parts(after)!r}."
                )
        return data

    def from_bytes(self, data: bytes, type_: Any, out: Out) -> Any:
        if type_ is str:
            return data.decode(out.encoding)
        root = ET.fromstring(data)  # noqa: S314 - written by a task of ours
        return ET.ElementTree(root) if type_ is ET.ElementTree else root


def _parse(data: bytes) -> ET.Element:
    try:
        return ET.fromstring(data)  # noqa: S314 - what the task just made
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"The value is no XML that can be read back: {error}.") from error


def _parts(element: ET.Element) -> tuple[Any, ...]:
    return element.tag, element.text or "", element.tail or "", dict(element.attrib)
