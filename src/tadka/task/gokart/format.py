"""Files of gokart: its formats as it reads them, and its pickles without running their code."""

import builtins
import gzip
import io
import pickle
import pickletools
import struct
import types
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Mapping
from typing import IO, Any
from zipfile import BadZipFile

from tadka.core.error import ConfigError, DataError, MissingExtra
from tadka.core.extra import require

FORMATS = (
    "txt",
    "ini",
    "csv",
    "tsv",
    "pkl",
    "gz",
    "json",
    "ndjson",
    "xml",
    "npz",
    "parquet",
    "feather",
    "png",
    "jpg",
)
# How a whole file ends; the formats that are not here end in any way.
_ENDS: Mapping[str, tuple[bytes, ...]] = {
    "pkl": (b".",),
    "parquet": (b"PAR1",),
    "feather": (b"ARROW1", b"FEA1"),
    "json": (b"}", b"]"),
    "xml": (b">",),
    "png": (b"IEND\xaeB`\x82",),
}
_ZIPS = ("npz", "zip")
_ZIP_END = b"PK\x05\x06"
_MAY_BE_EMPTY = ("txt", "ini")  # an empty list of lines
TAIL = 128  # bytes that `fault_of` wants to see

# Classes that plain values are made of: all of C, since a pickle can change those of Python, or
# replaced. One that names anything else could run anything.
_PLAIN: Mapping[str, tuple[str, ...]] = {
    "builtins": ("set", "frozenset", "complex"),
    "_codecs": ("encode",),  # bytes in old pickles
    "collections": ("OrderedDict",),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "numpy": ("dtype",),
    "numpy.core.multiarray": ("scalar",),
    "numpy._core.multiarray": ("scalar",),
}
# Numbers of numpy -> of struct
_NUMBERS = {
    "b1": "?",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}
# Opcodes that name a place in a table; one byte of damage can make the table many gigabytes.
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_INDEX = "__feather_gokart_index__"


class NotPlain(ConfigError):
    """A pickle names a class that plain values do not have."""


class _Dtype:
    """Stands for numpy's dtype, whose own reading of damaged bytes can end the process."""

    def __init__(self, name: str, *_: Any) -> None:
        self.code = _NUMBERS[name]
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Scalar:
    """Stands for what makes a number of numpy: gives one of Python."""

    def __new__(cls, dtype: _Dtype, data: bytes | str) -> Any:
        raw = data.encode("latin-1") if isinstance(data, str) else data
        return struct.unpack(dtype.order + dtype.code, raw)[0]

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a number has no state")


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _PLAIN.get(module, ()):
            raise NotPlain(f"{module}.{name}")
        if module.startswith("numpy"):
            return _Dtype if name == "dtype" else _Scalar
        return super().find_class(module, name)


def unpickle_plain(data: bytes) -> Any:
    """The value of a pickle that holds plain values only: numbers, texts, dates, and lists of them.

    Args:
        data: The pickle. No code that it names is run.

    Raises:
        NotPlain: It names another class; the message is its name.
        DataError: It is damaged.
    """
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name in _PUTS and int(argument or 0) > len(data):
                raise pickle.UnpicklingError("a place that it cannot have")
        return _Plain(io.BytesIO(data)).load()
    except NotPlain:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(f"it is no whole pickle ({_words(error)})") from error


def fault_of(format_: str, num_bytes: int, tail: bytes) -> str:
    """What shows, without reading it all, that a file is damaged.

    Args:
        format_: One of `FORMATS`, or zip; of others nothing is known.
        num_bytes: The file's size.
        tail: Its last bytes, up to `TAIL`.

    Returns:
        A few words; empty where nothing shows.
    """
    if format_ not in FORMATS and format_ != "zip":
        return ""
    if not num_bytes:
        return "" if format_ in _MAY_BE_EMPTY else "it has 0 bytes"
    if format_ in _ZIPS:
        return "" if _ZIP_END in tail else "its end is missing"
    ends = _ENDS.get(format_)
    if ends is not None and not tail.rstrip(b"\r\n\t ").endswith(ends):
        return "its end is missing"
    return ""


def read(file: IO[bytes], format_: str, *, is_trusted: bool, encoding: str) -> Any:
    """The value of a file, as gokart's `load` gives it.

    Args:
        file: Open, and able to seek.
        format_: One of `FORMATS`.
        is_trusted: Whether the code that a pickle names may be run.
        encoding: Of csv, tsv, txt and ini.

    Raises:
        NotPlain: A pickle names classes, and is not trusted.
        DataError: The file is damaged.
        MissingExtra: The library that reads the format is not installed.
    """
    if format_ == "pkl":
        return _unpickle(file.read()) if is_trusted else unpickle_plain(file.read())
    try:
        return _READERS[format_](file, encoding)
    except (
        ArithmeticError,
        BadZipFile,
        ET.ParseError,
        EOFError,
        LookupError,
        OSError,
        ValueError,  # what pandas, Arrow and numpy raise on files are subclasses
        zlib.error,
    ) as error:
        raise DataError(f"it cannot be read as {format_}: {_words(error)}") from error


class _Trusted(pickle.Unpickler):
    """Reads frames that dill wrote without dill: of its functions they need these two only."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "dill._dill" and name in _OF_DILL:
            return _OF_DILL[name]
        try:
            return super().find_class(module, name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "dill":
                raise
            raise MissingExtra(
                f"it needs dill ({module}.{name}), which is not installed. Run: pip install dill",
                name="dill",
            ) from error


def _create_array(make: Any, args: Any, state: Any, attributes: Any = None) -> Any:
    array = make(*args)
    array.__setstate__(state)
    if attributes is not None:
        array.__dict__.update(attributes)
    return array


def _load_type(name: str) -> Any:
    return getattr(builtins, name, None) or getattr(types, name)


_OF_DILL: Mapping[str, Any] = {"_create_array": _create_array, "_load_type": _load_type}


def _unpickle(data: bytes) -> Any:
    try:
        return _Trusted(io.BytesIO(data)).load()
    except MissingExtra:
        raise
    except Exception as error:  # it runs code of others
        raise DataError(
            f"its pickle cannot be loaded ({_words(error)}); the modules and versions it was "
            "written with may be needed"
        ) from error


def _words(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _pandas() -> Any:
    return require("pandas", extra="pandas")


def _lines(file: IO[bytes], encoding: str) -> list[str]:
    text = io.StringIO(file.read().decode(encoding), newline=None)
    return [line.rstrip() for line in text]


def _gz(file: IO[bytes], encoding: str) -> list[str]:  # noqa: ARG001 - gokart writes UTF-8
    with gzip.open(file) as lines:
        return [line.rstrip().decode() for line in lines]


def _csv(file: IO[bytes], encoding: str, delimiter: str = ",") -> Any:
    pandas = _pandas()
    try:
        return pandas.read_csv(file, sep=delimiter, encoding=encoding)
    except pandas.errors.EmptyDataError:  # the one line of a frame without columns
        return pandas.DataFrame()


def _tsv(file: IO[bytes], encoding: str) -> Any:
    return _csv(file, encoding, "\t")


def _json(file: IO[bytes], encoding: str) -> Any:  # noqa: ARG001 - JSON is UTF-8
    return _pandas().read_json(file)


def _ndjson(file: IO[bytes], encoding: str) -> Any:  # noqa: ARG001
    return _pandas().read_json(file, orient="records", lines=True)


def _xml(file: IO[bytes], encoding: str) -> Any:  # noqa: ARG001 - the file says it
    return ET.parse(file)  # noqa: S314 - expat itself limits what entities grow to


def _npz(file: IO[bytes], encoding: str) -> Any:  # noqa: ARG001
    with require("numpy", extra="arrow").load(file, allow_pickle=False) as arrays:
        return arrays["data"]


def _parquet(file: IO[bytes], encoding: str) -> Any:  # noqa: ARG001
    return _pandas().read_parquet(file)


def _feather(file: IO[bytes], encoding: str) -> Any:  # noqa: ARG001
    """A frame; gokart keeps its index in a column of a name of its own."""
    pandas = _pandas()
    frame = pandas.read_feather(file)
    kept = [name for name in frame.columns if str(name).startswith(_INDEX)]
    if not kept:
        return frame
    name = kept[-1].removeprefix(_INDEX)
    frame.index = pandas.Index(frame[kept[-1]].values, name=None if name == "None" else name)
    return frame.drop(columns=[kept[-1]])


def _bytes(file: IO[bytes], encoding: str) -> bytes:  # noqa: ARG001
    return file.read()


_READERS: Mapping[str, Callable[[IO[bytes], str], Any]] = {
    "txt": _lines,
    "ini": _lines,
    "csv": _csv,
    "tsv": _tsv,
    "gz": _gz,
    "json": _json,
    "ndjson": _ndjson,
    "xml": _xml,
    "npz": _npz,
    "parquet": _parquet,
    "feather": _feather,
    "png": _bytes,
    "jpg": _bytes,
}
