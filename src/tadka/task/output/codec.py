"""How a task's result becomes a file, or a folder, and comes back: one codec for an output."""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from xml.etree.ElementTree import ElementTree

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import loaded, require
from tadka.task.output.array import Arrays, Image
from tadka.task.output.describe import Description, describe
from tadka.task.output.frame import NAMES, collect, library_of
from tadka.task.output.out import Out
from tadka.task.output.pickled import Pickle
from tadka.task.output.plain import Bytes, File, Json, JsonItems, Txt, Xml
from tadka.task.output.schema import refuse
from tadka.task.output.table import Feather, Parquet
from tadka.task.output.text import Csv, JsonLines

# what a type is, to a format -> the format of a result without a declared one
_DEFAULTS: Mapping[str, str] = {
    "frame": "parquet",
    "list": "json",
    "dict": "json",
    "scalar": "json",
    "str": "txt",
    "array": "npy",
    "arrays": "npz",
    "bytes": "bytes",
}
_HELD: Mapping[str, set[str]] = {
    "parquet": {"frame"},
    "feather": {"frame"},
    "csv": {"frame"},
    "tsv": {"frame"},
    "json": {"list", "dict", "str", "scalar"},
    "jsonl": {"frame", "list"},
    "txt": {"str"},
    "bytes": {"bytes"},
    "npy": {"array"},
    "npz": {"dict", "arrays"},
    "png": {"bytes", "array", "image"},
    "jpg": {"bytes", "array", "image"},
    "xml": {"xml", "str"},
}
_WORDS: Mapping[str, str] = {
    "frame": "a frame of pandas, polars or Arrow",
    "list": "a list of plain values",
    "dict": "a dict of plain values",
    "str": "str",
    "scalar": "int, float, bool or None",
    "bytes": "bytes",
    "array": "a numpy array",
    "arrays": "a dict of numpy arrays",
    "image": "a picture of PIL or a figure of matplotlib",
    "xml": "an Element or ElementTree",
}


class Form(Protocol):
    """One format: how a value is written and read."""

    def suffix(self, out: Out) -> str:
        """Of the file or folder, with its dot."""

    def is_folder(self, out: Out) -> bool:
        """Whether `write` makes a folder."""

    def write(self, value: Any, target: Path, out: Out) -> list[int] | None:
        """Writes the value, always as the same bytes; gives nulls by column where it knows."""

    def read(self, target: Path, type_: Any, out: Out) -> Any:
        """The value that was written."""


class _Folder:
    """Files that the user's own functions write and read."""

    def suffix(self, out: Out) -> str:  # noqa: ARG002 - none
        return ""

    def is_folder(self, out: Out) -> bool:  # noqa: ARG002 - always
        return True

    def write(self, value: Any, target: Path, out: Out) -> None:
        assert out.save is not None
        target.mkdir(exist_ok=True)
        out.save(value, target)
        if not any(target.iterdir()):
            name = getattr(out.save, "__qualname__", repr(out.save))
            raise DataError(f"Function {name} wrote no file; it must write into the folder given.")

    def read(self, target: Path, type_: Any, out: Out) -> Any:  # noqa: ARG002
        assert out.load is not None
        return out.load(target)


_FORMS: Mapping[str, Form] = {
    "parquet": Parquet(),
    "feather": Feather(),
    "csv": Csv(delimiter=","),
    "tsv": Csv(delimiter="\t"),
    "json": File("json", Json()),
    "txt": File("txt", Txt()),
    "bytes": File("bytes", Bytes()),
    "npy": Arrays("npy"),
    "npz": Arrays("npz"),
    "png": Image("png"),
    "jpg": Image("jpg"),
    "xml": File("xml", Xml()),
    "pickle": File("pickle", Pickle()),
    "dir": _Folder(),
}
_JSONL_FRAME: Form = JsonLines()
_JSONL_ITEMS: Form = File("jsonl", JsonItems())


@dataclass(frozen=True)
class Codec:
    """Writes and reads one output of a task class; made by `codec_of`.

    Args:
        out: What is declared.
        type_: The type of the result, as the class says it.
        format: Which format it is, declared or not.
    """

    out: Out
    type_: Any
    format: str

    @property
    def suffix(self) -> str:
        """Of the file or folder, with its dot; empty for a folder of the user's functions."""
        return self._form(self.type_).suffix(self.out)

    @property
    def is_folder(self) -> bool:
        """Whether `write` makes a folder."""
        return self._form(self.type_).is_folder(self.out)

    @property
    def shown(self) -> str:
        """The file in the folder that people want to open; empty where there is no single one."""
        return f"table{self.suffix}" if self.is_folder and self.format in _TABLES else ""

    def declaration(self) -> dict[str, Any]:
        """What of it belongs to the key, as plain JSON."""
        return {**self.out.declaration(), "format": self.format, "type": _name(self.type_)}

    def settle(self, value: Any) -> Any:
        """The value as it will be written: a lazy frame of polars is computed, once."""
        return collect(value)

    def refuse(self, value: Any, where: str) -> None:
        """Refuses a result that is not of the type that the class says, or not as declared.

        Args:
            value: The result, settled.
            where: Whose, for messages.

        Raises:
            DataError: As said.
        """
        wanted = self._class
        if wanted is not None and not _is_instance(value, wanted):
            raise DataError(
                f"The result of {where} is {_name(type(value))}; the class says "
                f"{_name(self.type_)}. Return that, or change the class."
            )
        held = _HELD.get(self.format)
        if held is not None and not _shapes(type(value)) & held and not _is_dict(value, held):
            raise DataError(
                f"The result of {where} is {_name(type(value))}, which {self.format} cannot hold; "
                f"it holds {_listed(held)}."
            )
        refuse(self.out, value, where)

    def write(self, value: Any, target: Path) -> Description:
        """Writes a result that was not refused. The same value gives the same bytes.

        Args:
            value: The result; a lazy frame is computed.
            target: A file that does not exist, or, where `is_folder`, a folder that does not exist
                or is empty.

        Returns:
            The result in figures, as `describe` but cheaper: what writing found out is used.

        Raises:
            DataError: The format cannot hold the value, or not as it is.
        """
        value = collect(value)
        return self._described(value, self._form(type(value)).write(value, target, self.out))

    def pack(self, value: Any) -> tuple[bytes, Description] | None:
        """What `write` would write, without a file; None where the format writes its files itself.

        Args:
            value: The result, settled.

        Raises:
            DataError: The format cannot hold the value.
        """
        form = self._form(type(value))
        if not isinstance(form, File):
            return None
        return form.pack(value, self.out), self._described(value, None)

    def unpack(self, data: bytes) -> Any:
        """The result of the bytes that `pack` gave.

        Args:
            data: As given.
        """
        form = self._form(self.type_)
        assert isinstance(form, File)
        return form.unpack(data, _origin(self.type_), self.out)

    def read(self, target: Path, type_: Any = None) -> Any:
        """The result, equal to what was written.

        Args:
            target: What `write` made.
            type_: Whose frame is wanted, where that is another than the class says.

        Raises:
            DataError: The file is damaged, or of another format.
        """
        type_ = self.type_ if type_ is None else type_
        return self._form(type_).read(target, _origin(type_), self.out)

    def describe(self, value: Any) -> Description:
        """A result in figures."""
        return describe(value)

    def _described(self, value: Any, nulls: list[int] | None) -> Description:
        found = describe(value, nulls)
        object.__setattr__(found, "format", self.format)  # it is ours, and this is often
        object.__setattr__(found, "type", _name(type(value)))
        return found

    @cached_property
    def _class(self) -> type | None:
        """What results must be of."""
        return _wanted(self.type_)

    def _form(self, type_: Any) -> Form:
        if self.format != "jsonl":
            return _FORMS[self.format]
        return _JSONL_FRAME if "frame" in _shapes(type_) else _JSONL_ITEMS


_TABLES = ("csv", "tsv", "jsonl")


def codec_of(out: Out, type_: Any = Any) -> Codec:
    """The codec of an output.

    Args:
        out: What is declared.
        type_: The type of the result; `Any` where the class does not say.

    Returns:
        By the declared format, else the one of the path's suffix, else by the type: frames as
        parquet, lists and dicts of plain values and numbers as json, str as txt, arrays as npy,
        bytes as they are, everything else by pickle.

    Raises:
        ConfigError: The format cannot hold the type, or a setting does not go with the format.
    """
    shapes = _shapes(type_)
    format_ = out.format
    if format_ is None:
        format_ = _DEFAULTS.get(next(iter(shapes)), "pickle") if len(shapes) == 1 else "pickle"
        out.check_for(format_)
    held = _HELD.get(format_)
    if format_ == "jsonl" and shapes == {"any"}:
        raise ConfigError(
            "Out('jsonl') needs to know whether the result is a frame or a list; name it in the "
            "class: Task[list[dict]] or Task[pd.DataFrame]."
        )
    if held is not None and shapes != {"any"} and not shapes <= held:
        raise ConfigError(
            f"Out({format_!r}) cannot hold {_name(type_)}; it holds {_listed(held)}. Choose "
            "another format, or leave it out: the type decides."
        )
    if format_ == "pickle" and library_of(_origin(type_)) == "lazy":
        raise ConfigError(
            "Out('pickle') cannot hold polars.LazyFrame; choose parquet or feather, or the type "
            "polars.DataFrame."
        )
    if out.columns is not None and shapes & {"str", "scalar", "bytes", "array", "dict"}:
        raise ConfigError(
            f"Out has columns, and {_name(type_)} has none; only frames and lists of dicts do."
        )
    return Codec(out, type_, format_)


def codec_of_stored(declared: Mapping[str, Any], description: Mapping[str, Any]) -> Codec:
    """The codec of an output whose class is not at hand.

    Args:
        declared: What the class declared of it, as `Out.declaration` gave it.
        description: Of the value, as `write` gave it.

    Raises:
        ConfigError: It is a folder that functions of the class write and read.
        MissingExtra: The library of the value is not installed.
    """
    format_ = description.get("format") or declared.get("format")
    if format_ is None or format_ == "dir":
        raise ConfigError("Functions of the class write and read it; import the class.")
    out = Out(
        format_,
        encoding=declared.get("encoding", "utf-8"),
        max_bytes=declared.get("max_bytes"),
        compression=declared.get("compression"),
    )
    return Codec(out, _type_of(description.get("type", "")), format_)


def _type_of(name: str) -> Any:
    """A type that a format cannot tell from the bytes alone, by the name that `_name` gave it."""
    library = next((library for library, known in NAMES.items() if known == name), None)
    if library is not None:
        module, _, class_name = name.partition(".")
        extra = "arrow" if module == "pyarrow" else module
        return getattr(require(module, extra=extra), class_name)
    if name == "numpy.ndarray":
        return require("numpy").ndarray
    known = (str, bytes, list, ElementTree)
    return next((type_ for type_ in known if _name(type_) == name), Any)


def _shapes(type_: Any) -> set[str]:
    """What a type is to a format: one word, several for a union."""
    if type(type_) is type and type_ in _BUILTIN:
        return {_BUILTIN[type_]}
    if typing.get_origin(type_) is typing.Annotated:
        return _shapes(typing.get_args(type_)[0])
    if typing.get_origin(type_) in {typing.Union, types.UnionType}:
        return set().union(*(_shapes(part) for part in typing.get_args(type_)))
    return {_shape(type_)}


def _shape(type_: Any) -> str:
    origin, args = _origin(type_), typing.get_args(type_)
    if origin in {Any, object} or isinstance(origin, typing.TypeVar):
        return "any"
    if library_of(origin) is not None:
        return "frame"
    if origin is list:
        return "list" if all(_is_plain(part) for part in args) else "other"
    if origin is dict or typing.is_typeddict(origin):
        if len(args) == 2 and args[0] is str and _shape(args[1]) == "array":
            return "arrays"
        return "dict" if not args or (args[0] is str and _is_plain(args[1])) else "other"
    for shape, classes in _CLASSES.items():
        if origin in classes:
            return shape
    if isinstance(origin, type):
        numpy = loaded("numpy")
        if numpy and origin in {numpy.ndarray, numpy.memmap}:
            return "array"
        if (
            numpy
            and issubclass(origin, numpy.generic)
            and origin.__name__ not in {"void", "object_"}
        ):
            return "scalar"
        root, name = origin.__module__.partition(".")[0], origin.__name__
        if root == "PIL" or (root == "matplotlib" and name == "Figure"):
            return "image"
        if origin.__module__ == "xml.etree.ElementTree" and name in {"Element", "ElementTree"}:
            return "xml"
    return "other"


_BUILTIN: Mapping[type, str] = {
    dict: "dict",
    list: "list",
    str: "str",
    bytes: "bytes",
    int: "scalar",
    float: "scalar",
    bool: "scalar",
    type(None): "scalar",
}
_CLASSES: Mapping[str, tuple[Any, ...]] = {
    "str": (str,),
    "bytes": (bytes,),
    "scalar": (int, float, bool, None, type(None)),
}


def _is_plain(type_: Any) -> bool:
    return _shapes(type_) <= {"list", "dict", "str", "scalar", "any"}


def _is_dict(value: Any, held: set[str]) -> bool:
    return isinstance(value, dict) and "arrays" in held


def _origin(type_: Any) -> Any:
    if typing.get_origin(type_) is typing.Annotated:
        return _origin(typing.get_args(type_)[0])
    return typing.get_origin(type_) or type_


def _wanted(type_: Any) -> type | None:
    """The class that a result must be of; None where that cannot be told."""
    origin = _origin(type_)
    if origin is None:
        return type(None)
    is_class = isinstance(origin, type) and origin not in {object, Any}
    if not is_class or origin is types.UnionType or getattr(origin, "_is_protocol", False):
        return None
    return dict if typing.is_typeddict(origin) else origin


def _is_instance(value: Any, wanted: type) -> bool:
    library = library_of(wanted)
    if library is not None:  # what is lazy is computed before it is written
        seen = library_of(type(value))
        return seen == library or {seen, library} == {"polars", "lazy"}
    if wanted is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    numpy = loaded("numpy")
    if wanted is int:
        is_int = isinstance(value, int) and not isinstance(value, bool)
        return is_int or bool(numpy and isinstance(value, numpy.integer))
    if wanted is bool:
        return isinstance(value, bool) or bool(numpy and isinstance(value, numpy.bool_))
    return isinstance(value, wanted)


def _name(type_: Any) -> str:
    library = library_of(type_)
    if library is not None:
        return NAMES[library]
    if isinstance(type_, type) and typing.get_origin(type_) is None:
        is_plain = type_.__module__ == "builtins"
        return type_.__qualname__ if is_plain else f"{type_.__module__}.{type_.__qualname__}"
    return str(type_)


def _listed(held: set[str]) -> str:
    return ", or ".join(words for shape, words in _WORDS.items() if shape in held)
