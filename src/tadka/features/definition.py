"""What a feature class says, as plain data: it travels with a model and decides where slots lie."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from tadka.core.error import ConfigError, DataError
from tadka.core.hashing import digest
from tadka.features.encoding import (
    MAX_SLOTS,
    Buckets,
    Encoding,
    Hashed,
    Log,
    Number,
    Vocabulary,
    num_slots,
)

FORMAT = 1
"""Of the definition and of the encoding rules; part of the hash, so that a change shows."""

TYPES = ("bool", "datetime", "float", "int", "str")

_ENCODINGS: Mapping[str, type[Encoding]] = {
    "buckets": Buckets,
    "hashed": Hashed,
    "log": Log,
    "number": Number,
    "vocabulary": Vocabulary,
}


@dataclass(frozen=True)
class Field:
    """An input of a row, and its place in the message.

    Args:
        name: As in the class.
        type: One of "bool", "datetime", "float", "int", "str".
        number: Of the protobuf field, from 1.
        is_list: Whether it holds any number of values.
        is_optional: Whether it may be missing; never together with `is_list`.
    """

    name: str
    type: str
    number: int
    is_list: bool = False
    is_optional: bool = False

    def __str__(self) -> str:
        if self.is_list:
            return f"list[{self.type}]"
        return f"{self.type} | None" if self.is_optional else self.type


@dataclass(frozen=True)
class Feature:
    """Something a model sees of a row: a field or a property, encoded.

    Args:
        name: Of the field or property.
        encoding: How its value becomes slots.
        body: What the property computes, in one canonical form; "" for a field.
    """

    name: str
    encoding: Encoding
    body: str = ""


@dataclass(frozen=True)
class Span:
    """The slots of one feature: [offset, offset + width)."""

    offset: int
    width: int


@dataclass(frozen=True)
class Definition:
    """A feature class as data.

    Args:
        name: Of the class.
        version: As the class states it.
        size: Slots of the table that hashed features share.
        fields: Inputs, in the order of the class.
        features: In the order of the class; a model numbers them from 0.
    """

    name: str
    version: int
    size: int
    fields: tuple[Field, ...]
    features: tuple[Feature, ...]

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Where each feature's slots lie: the shared table first, then each feature's own."""
        has_shared = any(feature.encoding == Hashed() for feature in self.features)
        end = self.size if has_shared else 0
        spans = []
        for feature in self.features:
            own = num_slots(feature.encoding)
            spans.append(Span(end, own) if own else Span(0, self.size))
            end += own
        if end > MAX_SLOTS:
            raise ConfigError(
                f"The features of {self.name!r} need {end:,} slots; at most {MAX_SLOTS:,} are "
                "possible. Choose smaller sizes."
            )
        return tuple(spans)

    @cached_property
    def num_slots(self) -> int:
        """S: slots of all features together."""
        return max((span.offset + span.width for span in self.spans), default=0)

    @property
    def num_features(self) -> int:
        """F."""
        return len(self.features)

    @cached_property
    def hash(self) -> str:
        """Equal for definitions that make the same entries of the same messages."""
        return digest(self.to_dict())

    def only(self, names: Iterable[str]) -> "Definition":
        """The definition with some of its features, in the order of the class.

        Args:
            names: Features to keep.

        Raises:
            ConfigError: A name is unknown.
        """
        chosen = list(names)
        known = [feature.name for feature in self.features]
        for name in chosen:
            if name not in known:
                raise ConfigError(f"{self.name!r} has no feature {name!r}; it has: {known}.")
        return replace(self, features=tuple(f for f in self.features if f.name in chosen))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, which `from_dict` reads."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "size": self.size,
            "fields": [asdict(field) for field in self.fields],
            "features": [
                {"name": f.name, "encoding": _encoding_to_dict(f.encoding), "body": f.body}
                for f in self.features
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Definition":
        """The definition that `to_dict` wrote.

        Args:
            data: As read from JSON.

        Raises:
            DataError: It is of another format or incomplete.
        """
        if data.get("format") != FORMAT:
            raise DataError(
                f"The definition has format {data.get('format')!r}; this tadka reads {FORMAT}."
            )
        try:
            return cls(
                data["name"],
                data["version"],
                data["size"],
                tuple(Field(**field) for field in data["fields"]),
                tuple(
                    Feature(f["name"], _encoding_from_dict(f["encoding"]), f["body"])
                    for f in data["features"]
                ),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"The definition is damaged: {error!r}.") from error

    def differences(self, other: "Definition") -> list[str]:
        """What `other` has otherwise, one sentence each; empty when the hashes are equal.

        Args:
            other: The definition of a model, say, where self is the class's.
        """
        found = []
        for name, mine, theirs in (
            ("name", self.name, other.name),
            ("version", self.version, other.version),
            ("size", self.size, other.size),
        ):
            if mine != theirs:
                found.append(f"{name} is {mine!r} here and {theirs!r} there")
        found.extend(_compare("field", self.fields, other.fields, _describe_field))
        found.extend(_compare("feature", self.features, other.features, _describe_feature))
        if not found and self.hash != other.hash:
            found.append("the order of the fields or features differs")
        return found


def _encoding_to_dict(encoding: Encoding) -> dict[str, Any]:
    kind = next(name for name, kind in _ENCODINGS.items() if type(encoding) is kind)
    values = {key: value for key, value in asdict(encoding).items() if key != "file"}
    return {
        "kind": kind,
        **{key: list(v) if isinstance(v, tuple) else v for key, v in values.items()},
    }


def _encoding_from_dict(data: Mapping[str, Any]) -> Encoding:
    settings = {key: value for key, value in data.items() if key != "kind"}
    return _ENCODINGS[data["kind"]](**settings)


def _describe_field(field: Field) -> dict[str, str]:
    return {"number": str(field.number), "type": str(field)}


def _describe_feature(feature: Feature) -> dict[str, str]:
    return {"encoding": repr(feature.encoding), "property": feature.body or "none, it is a field"}


def _compare(kind: str, mine: Sequence[Any], theirs: Sequence[Any], describe: Any) -> list[str]:
    here = {item.name: item for item in mine}
    there = {item.name: item for item in theirs}
    found = [f"{kind} {name!r} is here only" for name in here if name not in there]
    found += [f"{kind} {name!r} is there only" for name in there if name not in here]
    for name, item in here.items():
        if name in there:
            ours, others = describe(item), describe(there[name])
            found += [
                f"{part} of {kind} {name!r} is {our} here and {others[part]} there"
                for part, our in ours.items()
                if our != others[part]
            ]
    return found
