"""Arrays (npy, npz) and images (png, jpg)."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tadka.core.error import DataError
from tadka.core.extra import loaded, require
from tadka.storage.tabular import unreadable
from tadka.task.output.out import SUFFIXES, Out

if TYPE_CHECKING:
    import numpy as np

_MAX_NAME_BYTES = (1 << 16) - 1  # of a file in a zip archive
_MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff"}


class Arrays:
    """`npy`: one array; `npz`: a dict of arrays, not compressed and without times."""

    def __init__(self, format_: str) -> None:
        self.name = format_

    def suffix(self, out: Out) -> str:  # noqa: ARG002 - one only
        """Of the file."""
        return SUFFIXES[self.name][0]

    def is_folder(self, out: Out) -> bool:  # noqa: ARG002 - never
        """Never."""
        return False

    def write(self, value: Any, target: Path, out: Out) -> None:  # noqa: ARG002
        """Writes the file.

        Raises:
            DataError: An array holds Python objects, or is masked.
        """
        if self.name == "npy":
            with target.open("wb") as file:
                require("numpy").save(file, _checked("The array", value), allow_pickle=False)
            return
        if not isinstance(value, Mapping):
            raise DataError(f"npz holds a dict of arrays; the value is {type(value).__name__!r}.")
        with zipfile.ZipFile(target, "w") as archive:
            for name, array in value.items():
                if not isinstance(name, str):
                    raise DataError(f"npz holds arrays by text names; {name!r} is none.")
                array = _checked(f"Array {name!r}", array)
                with archive.open(_entry(name), "w", force_zip64=True) as file:
                    require("numpy.lib.format").write_array(file, array, allow_pickle=False)

    def read(self, target: Path, type_: Any, out: Out) -> Any:  # noqa: ARG002
        """The array, or the dict of them.

        Raises:
            DataError: The file is damaged.
        """
        numpy = require("numpy")
        try:
            with target.open("rb") as file:  # by itself, numpy leaves a damaged archive open
                loaded = numpy.load(file, allow_pickle=False)
                if isinstance(loaded, numpy.ndarray):
                    return loaded
                # by names of files: "x.npy" may be the file of `x`, or an array of that name
                return {name: loaded[f"{name}.npy"] for name in loaded.files}
        except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise unreadable(str(target), self.name, str(error)) from error


def _entry(name: str) -> zipfile.ZipInfo:
    """A file in the archive, dated 1980: the same bytes every time."""
    entry = zipfile.ZipInfo(f"{name}.npy")
    try:
        is_kept = len(entry.filename.encode()) <= _MAX_NAME_BYTES
    except UnicodeEncodeError:
        is_kept = False
    if not is_kept or entry.filename != f"{name}.npy":
        raise DataError(
            f"npz cannot hold the name {name[:40]!r} of an array; it must be text of UTF-8 without "
            f"a NUL, and with {'.npy'!r} be at most {_MAX_NAME_BYTES} bytes long."
        )
    return entry


def _checked(what: str, value: Any) -> "np.ndarray[Any, Any]":
    numpy = require("numpy")
    if type(value) not in {numpy.ndarray, numpy.memmap}:  # a mask, or a class, would be lost
        raise DataError(
            f"{what} is {type(value).__name__!r}, which would not come back as such; it must be a "
            "plain numpy array. Convert it, or declare Out('pickle')."
        )
    if value.dtype.hasobject:
        raise DataError(
            f"{what} of dtype {value.dtype} holds Python objects; it must hold numbers, booleans, "
            "times or text of fixed width. Convert it, or declare Out('pickle')."
        )
    return cast("np.ndarray[Any, Any]", numpy.asarray(value))


class Image:
    """Bytes of such a file, a picture of PIL, an array (height, width[, channels]) or a figure."""

    def __init__(self, format_: str) -> None:
        self.name = format_

    def suffix(self, out: Out) -> str:  # noqa: ARG002 - one only
        """Of the file."""
        return SUFFIXES[self.name][0]

    def is_folder(self, out: Out) -> bool:  # noqa: ARG002 - never
        """Never."""
        return False

    def write(self, value: Any, target: Path, out: Out) -> None:  # noqa: ARG002
        """Writes the file; JPEG loses detail, PNG nothing.

        Raises:
            DataError: The value is no picture, or the format cannot hold its colours.
        """
        target.write_bytes(self._to_bytes(value))

    def _to_bytes(self, value: Any) -> bytes:
        if isinstance(value, bytes):
            if not value.startswith(_MAGIC[self.name]):
                raise DataError(f"The bytes are no {self.name} file; they begin {value[:8]!r}.")
            return value
        buffer = io.BytesIO()
        if hasattr(value, "savefig"):
            # without the version of matplotlib in it
            metadata = {"metadata": {"Software": None}} if self.name == "png" else {}
            value.savefig(buffer, format=self.name, **metadata)
            return buffer.getvalue()
        numpy = loaded("numpy")
        picture = self._from_array(value) if numpy and isinstance(value, numpy.ndarray) else value
        try:
            picture.save(buffer, format="JPEG" if self.name == "jpg" else "PNG")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise DataError(
                f"A {type(value).__name__!r} cannot be kept as {self.name}: {error}."
            ) from error
        return buffer.getvalue()

    def _from_array(self, array: "np.ndarray[Any, Any]") -> Any:
        channels = (1,) if array.ndim == 2 else array.shape[2:]
        is_grey16 = array.dtype == "uint16" and array.ndim == 2 and self.name == "png"
        accepted = (1, 2, 3, 4) if self.name == "png" else (1, 3)
        is_bytes = array.dtype == "uint8" and channels in {(n,) for n in accepted if n > 1}
        if not (is_grey16 or is_bytes or (array.dtype == "uint8" and array.ndim == 2)):
            raise DataError(
                f"An array of {array.dtype} with the shape {array.shape} cannot be kept as "
                f"{self.name}; it must be uint8 of (height, width) or (height, width, channels)"
                f"{', or uint16 of (height, width)' if self.name == 'png' else ''}."
            )
        return require("PIL.Image", extra="image").fromarray(array)

    def read(self, target: Path, type_: Any, out: Out) -> Any:  # noqa: ARG002
        """Bytes or an array where `type_` says so, else a picture of PIL.

        Raises:
            DataError: The file is damaged.
        """
        data = target.read_bytes()
        if not data.startswith(_MAGIC[self.name]):
            raise unreadable(str(target), self.name, f"it begins with {data[:8]!r}")
        if type_ is bytes:
            return data
        try:
            picture = require("PIL.Image", extra="image").open(io.BytesIO(data))
            picture.load()
        except (OSError, ValueError, SyntaxError) as error:
            raise unreadable(str(target), self.name, str(error)) from error
        numpy = loaded("numpy")
        return numpy.asarray(picture) if numpy and type_ is numpy.ndarray else picture
