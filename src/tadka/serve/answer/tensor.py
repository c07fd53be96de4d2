"""Tensors of the Open Inference Protocol: columns that become rows of a feature class."""

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tadka.core.error import DataError
from tadka.features.definition import Field
from tadka.features.row import show
from tadka.serve.answer.intake import Intake

WHOLE = "message"
"""Name of the one input that holds whole rows as messages, where the class has no such field."""

_INTS = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
_FITS: Mapping[str, tuple[str, ...]] = {
    "bool": ("BOOL",),
    "datetime": ("INT64", "BYTES"),
    "float": ("FP64", "FP32", "FP16"),
    "int": _INTS,
    "str": ("BYTES",),
}
"""Datatypes in which a field of each type may come; the first is what the metadata says."""

_DTYPES = {
    "BOOL": "?",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    **{name: f"<{name[0].lower()}{int(name.lstrip('UINT')) // 8}" for name in _INTS},
}
_SIZE = struct.Struct("<I")  # before each text of raw BYTES


@dataclass(frozen=True)
class Tensor:
    """One input or output.

    Args:
        name: Of a field.
        datatype: Such as `"INT64"`.
        shape: B rows, and n values in a row of a list.
        data: The values in the order of rows; BYTES as bytes, or as str out of JSON.
        is_base64: Whether texts are base64.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any]
    is_base64: bool = False


@dataclass(frozen=True)
class Inference:
    """A request for scores, of either protocol.

    Args:
        model: Its name.
        version: As the client wrote it; "" for what the traffic says.
        id: The client's; "" for none.
        tensors: The inputs.
        outputs: Names of those wanted; none for all.
        is_raw: Whether the inputs came as raw bytes, and the outputs go so.
    """

    model: str
    version: str
    id: str
    tensors: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()
    is_raw: bool = False


def metadata(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """What clients are told of the inputs."""
    return [
        {
            "name": field.name,
            "datatype": _FITS[field.type][0],
            "shape": [-1, -1] if field.is_list else [-1],
        }
        for field in fields
    ]


def messages_of(tensors: Sequence[Tensor], intake: Intake) -> list[bytes]:
    """The rows of tensors, as messages.

    Args:
        tensors: One of each field; those of optional fields may be left out, which makes them
            missing in all rows. Or one of BYTES named `WHOLE`.
        intake: Of the feature class.

    Raises:
        DataError: An input is unknown, missing, of a wrong type or shape, or a row is wrong.
    """
    if not tensors:
        raise DataError("The request has no inputs.")
    if len(tensors) == 1 and tensors[0].name == WHOLE and WHOLE not in intake.by_name:
        return _whole(tensors[0])
    num_rows = -1
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        field = intake.by_name.get(tensor.name)
        if field is None:
            raise DataError(f"input {intake.unknown(tensor.name)}")
        if tensor.name in columns:
            raise DataError(f"input {tensor.name!r} is there twice.")
        columns[field.name] = _column(tensor, field)
        if num_rows not in (-1, len(columns[field.name])):
            raise DataError(
                f"input {tensor.name!r} has {len(columns[field.name])} rows and the one before it "
                f"{num_rows}; all must have the same number."
            )
        num_rows = len(columns[field.name])
    messages = []
    for row in range(num_rows):
        try:
            values = {name: column[row] for name, column in columns.items()}
            messages.append(intake.message(values))
        except DataError as error:
            raise DataError(f"row {row}: {error}") from error
    return messages


def _whole(tensor: Tensor) -> list[bytes]:
    field = Field(WHOLE, "str", 1)
    if tensor.datatype != "BYTES":
        raise DataError(f"input {WHOLE!r} is {tensor.datatype}; it must be BYTES.")
    items = _flat(tensor, field)
    return [item if isinstance(item, bytes) else _from_base64(item, WHOLE) for item in items]


def _column(tensor: Tensor, field: Field) -> list[Any]:
    """A value for each row: a list of values where the field is one."""
    if tensor.datatype not in _FITS[field.type]:
        raise DataError(
            f"input {tensor.name!r} is {show(tensor.datatype)}; of a field of {field} it must be "
            f"{' or '.join(_FITS[field.type])}."
        )
    values = _flat(tensor, field)
    if tensor.datatype == "BYTES":
        values = [_text(value, tensor) for value in values]
    elif tensor.datatype == "FP32":  # out of JSON the digits may be of more
        values = [float(np.float32(v)) if isinstance(v, int | float) else v for v in values]
    if not field.is_list:
        return values
    num_rows, width = tensor.shape
    return [values[row * width : (row + 1) * width] for row in range(num_rows)]


def _flat(tensor: Tensor, field: Field) -> list[Any]:
    shape = tensor.shape
    is_row = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if len(shape) != 2 if field.is_list else not is_row:
        wanted = "[rows, values]" if field.is_list else "[rows]"
        raise DataError(f"input {tensor.name!r} has the shape {list(shape)}; it must be {wanted}.")
    if min(shape) < 0 or math.prod(shape) != len(tensor.data):
        raise DataError(
            f"input {tensor.name!r} has the shape {list(shape)} and {len(tensor.data)} values."
        )
    return tensor.data


def _text(value: Any, tensor: Tensor) -> Any:
    if isinstance(value, str):
        if not tensor.is_base64:
            return value
        value = _from_base64(value, tensor.name)
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"input {tensor.name!r}: {show(value)} is not UTF-8.") from error


def _from_base64(text: Any, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise DataError(f"input {name!r}: {show(text)} is no base64: {error}.") from error


def read_raw(raw: bytes, datatype: str, where: str) -> list[Any]:
    """The values of a tensor that comes as bytes.

    Args:
        raw: Little endian; of BYTES each with its length before it, in 4 bytes.
        datatype: Such as `"FP64"`.
        where: What messages call it.

    Raises:
        DataError: The bytes end inside a value.
    """
    if datatype != "BYTES":
        dtype = np.dtype(_DTYPES[datatype])
        if len(raw) % dtype.itemsize:
            raise DataError(f"{where} has {len(raw)} bytes, no whole number of {datatype}.")
        values: list[Any] = np.frombuffer(raw, dtype).tolist()
        return values
    items: list[bytes] = []
    at = 0
    while at < len(raw):
        size = _SIZE.unpack_from(raw, at)[0] if at + 4 <= len(raw) else len(raw)
        at += 4
        if at + size > len(raw):
            raise DataError(f"{where}: its raw bytes end inside item {len(items)}.")
        items.append(raw[at : at + size])
        at += size
    return items


def write_raw(values: list[Any], datatype: str) -> bytes:
    """Numbers as the bytes of a tensor."""
    return np.array(values, _DTYPES[datatype]).tobytes()
