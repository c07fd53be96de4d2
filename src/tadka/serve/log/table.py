"""The columns of the request log.

A field of the feature class stands under its own name, so that the log is training data. All other
names have a dot, which no field can have: `log.score` is ours, `feature.hour` what a property gave.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.features.annotation import Shape
from tadka.features.columns import canonical_type
from tadka.features.definition import Field
from tadka.features.features import Features
from tadka.features.wire import Wire, to_time
from tadka.serve.log.ring import SERVED, SHADOW, LogRow

if TYPE_CHECKING:
    import pyarrow as pa

REQUEST_ID, TIME, MODEL = "log.request_id", "log.time", "log.model"
VERSION, ROLE, SCORE, MESSAGE = "log.version", "log.role", "log.score", "log.message"


class LogTable:
    """Makes record batches of the rows of a log.

    Args:
        features: The class of the requests.

    Attributes:
        schema: Of the batches: our own columns, the fields, and the features that properties make.
    """

    def __init__(self, features: type[Features]) -> None:
        pa = require("pyarrow", extra="arrow")
        definition = features.definition()
        self._features = features
        self._fields = definition.fields
        self._wire = Wire(self._fields)
        names = {field.name for field in self._fields}
        self._properties = [f.name for f in definition.features if f.name not in names]
        columns = [(field.name, _type_of(field)) for field in self._fields]
        columns += [(f"feature.{name}", pa.string()) for name in self._properties]
        self.schema = pa.schema([*own_columns(), *columns])
        # pyarrow imports pandas, where that is installed, with its first list: now, before the
        # process is ready and stands back behind the workers.
        self.batch([LogRow(0, SERVED, 0, 0.0, "", "", b"")])

    def batch(self, rows: Sequence[LogRow]) -> "pa.RecordBatch":
        """Rows as columns.

        Args:
            rows: A message that is none of the class keeps its bytes, and has no fields.
        """
        pa = require("pyarrow", extra="arrow")
        messages = {row.message for row in rows}  # several models score one message
        decoded = {message: self._decode(message) for message in messages}
        columns: list[Any] = [
            [row.request_id for row in rows],
            pa.array([row.time_us for row in rows], pa.int64()).view(pa.timestamp("us", tz="UTC")),
            [row.model for row in rows],
            [row.version for row in rows],
            ["shadow" if row.role == SHADOW else "served" for row in rows],
            [row.score for row in rows],
            [row.message for row in rows],
            *zip(*(decoded[row.message] for row in rows), strict=True),
        ]
        arrays = [
            column if isinstance(column, pa.Array) else _array(column, field.type)
            for column, field in zip(columns, self.schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _decode(self, message: bytes) -> list[Any]:
        """Values of the fields, then texts of the properties; None for all of them or for one."""
        try:
            values = self._wire.decode(message)
        except DataError:
            return [None] * (len(self._fields) + len(self._properties))
        try:
            named = zip(self._fields, values, strict=True)
            row = self._features(**{field.name: value for field, value in named})
        except Exception:  # noqa: BLE001 - the user's own __post_init__
            row = None
        texts = [_text(row, name) for name in self._properties]
        times = [_times(value) if f.type == "datetime" else value
                 for f, value in zip(self._fields, values, strict=True)]  # fmt: skip
        return [*times, *texts]


def own_columns() -> "list[pa.Field]":
    """The columns that every log has."""
    pa = require("pyarrow", extra="arrow")
    return [
        pa.field(REQUEST_ID, pa.string()),
        pa.field(TIME, pa.timestamp("us", tz="UTC")),
        pa.field(MODEL, pa.string()),
        pa.field(VERSION, pa.uint32()),
        pa.field(ROLE, pa.string()),
        pa.field(SCORE, pa.float64()),
        pa.field(MESSAGE, pa.binary()),
    ]


def _type_of(field: Field) -> "pa.DataType":
    return canonical_type(Shape(field.type, is_list=field.is_list))


def _array(values: Sequence[Any], kind: "pa.DataType") -> "pa.Array":
    pa = require("pyarrow", extra="arrow")
    is_list = pa.types.is_list(kind)
    item = kind.value_type if is_list else kind
    if not pa.types.is_timestamp(item):
        return pa.array(values, kind)
    # As whole numbers, and not as datetimes, which pyarrow would look up time zones for.
    whole = pa.list_(pa.int64()) if is_list else pa.int64()
    return pa.array(values, whole).cast(kind)


def _times(value: Any) -> Any:
    """Microseconds since 1970 in UTC of one time or of many."""
    if isinstance(value, list):
        return [to_time(item) for item in value]
    return None if value is None else to_time(value)


def _text(row: Any, name: str) -> str | None:
    try:
        value = getattr(row, name)
        text = None if value is None else str(value)
    except Exception:  # noqa: BLE001 - the user's own property; the log has the message
        return None
    if text is None or text.isascii():
        return text
    # Half of a surrogate pair, as of a text that was cut, is no UTF-8: it is written as an escape.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
