"""A feature class with every kind of field and encoding, hostile rows of it, and their twins."""
# ruff: noqa: DTZ001 - naive times are UTC in this room

import math
from dataclasses import field
from datetime import UTC, datetime
from typing import Annotated, Any

import pyarrow as pa
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from hypothesis import strategies as st

from tadka.features import Buckets, Features, Hashed, Log, Number, Skip, Vocabulary
from tadka.features.definition import Definition

EDGES = [-1e9, -1.0, 0.0, 0.5, 2.0**53]


class Everything(Features, size=2**12, groups={"few": ["user", "hour", "price"]}):
    """All kinds of fields; properties that compile, properties that do not."""

    time: datetime
    seen: datetime | None
    user: str | None
    site: str
    category: int | None
    count: int
    price: float
    bid: float | None
    flag: bool
    answer: bool | None
    tags: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    flags: list[bool] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    weights: Annotated[list[float], Buckets(EDGES)] = field(default_factory=list)
    own: Annotated[str, Hashed(size=7)] = ""
    word: Annotated[str | None, Vocabulary(["a", "b", "ü"])] = None
    size: Annotated[int, Log()] = 0
    scaled: Annotated[float | None, Number(3.5, 0.25)] = None
    level: Annotated[int | None, Buckets(EDGES)] = None
    unused: Annotated[str, Skip()] = ""

    @property
    def hour(self) -> str:
        return str(self.time.hour)

    @property
    def weekday(self) -> int:
        return self.time.weekday()

    @property
    def user_site(self) -> str:
        return f"{self.user}_{self.site}"

    @property
    def category_hour(self) -> str:
        return f"{self.category}_{self.hour}"

    @property
    def price_text(self) -> str:
        return f"{self.price}"

    @property
    def is_known(self) -> bool:
        return self.user is not None and len(self.site) > 2

    @property
    def ratio(self) -> float:
        return self.price / 4.0

    @property
    def log_count(self) -> Annotated[float, Buckets([0.0, 1.0, 5.0])]:
        return math.log1p(abs(self.count))

    @property
    def lower(self) -> str:
        return self.site.lower()

    @property
    def age(self) -> float | None:
        return None if self.seen is None else (self.time - self.seen).total_seconds()

    @property
    def pairs(self) -> list[str]:
        return [f"{self.site}/{tag}" for tag in self.tags]

    @property
    def count_plus(self) -> int:
        return self.count + 1

    @property
    def first(self) -> str | None:
        return self.tags[0] if self.tags else None


texts = st.one_of(
    st.text(max_size=8),
    st.text(alphabet="aü日😀\0 ", max_size=70),
    st.sampled_from(["", "a", "b", "ü", "None", "İ", "ß", "\u2028"]),
)
ints = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-5, 5),
    st.sampled_from([2**63 - 1, -(2**63), 2**53 + 1, 0, -1]),
)
floats = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e30, -1e30, 1e39, 5e-324, 1e-40, 0.5, math.nan, -math.inf]),
)
times = st.one_of(
    st.datetimes(),
    st.sampled_from(
        [
            datetime(1, 1, 1),
            datetime(9999, 12, 31, 23, 59, 59, 999999),
            datetime(1970, 1, 1),
            datetime(1969, 12, 31, 23, 59, 59, 999999),
            datetime(2024, 2, 29, 23, 0, tzinfo=UTC),
        ]
    ),
)
values: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "datetime": times,
    "float": floats,
    "int": ints,
    "str": texts,
}


def rows_of(cls: Any = Everything) -> st.SearchStrategy[Any]:
    """Instances of a feature class."""
    parts = {}
    for member in cls._declaration.fields:
        value = values[member.shape.type]
        if member.shape.is_list:
            value = st.lists(value, max_size=3)
        elif member.shape.is_optional:
            value = st.none() | value
        parts[member.name] = value
    return st.builds(cls, **parts)


def table_of(rows: list[Any], cls: Any = Everything) -> pa.Table:
    """The rows as columns of their canonical types."""
    kinds = {
        "bool": pa.bool_(),
        "datetime": pa.timestamp("us"),
        "float": pa.float64(),
        "int": pa.int64(),
        "str": pa.string(),
    }
    columns = {}
    for member in cls._declaration.fields:
        kind = kinds[member.shape.type]
        columns[member.name] = pa.array(
            [getattr(row, member.name) for row in rows],
            pa.list_(kind) if member.shape.is_list else kind,
        )
    return pa.table(columns)


def google_class(definition: Definition) -> Any:
    """The message class that Google's protobuf makes of a definition's fields."""
    file = descriptor_pb2.FileDescriptorProto(name="test.proto", package="test", syntax="proto3")
    message = file.message_type.add(name="Row")
    kinds = {"bool": 8, "datetime": 3, "float": 1, "int": 3, "str": 9}
    for f in definition.fields:
        made = message.field.add(
            name=f.name, number=f.number, type=kinds[f.type], label=3 if f.is_list else 1
        )
        if f.is_optional:
            made.proto3_optional = True
            made.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{f.name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Row"))


def entries(found: Any) -> tuple[bytes, bytes, bytes, bytes]:
    """All of encoded rows, bit by bit."""
    return (
        found.starts.tobytes(),
        found.slots.tobytes(),
        found.values.tobytes(),
        found.features.tobytes(),
    )
