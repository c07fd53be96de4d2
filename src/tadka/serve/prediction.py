"""What a server answers: the score of each model for one row, and the service that says so."""

import functools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.features.features import Features
from tadka.features.wire import BYTES, END_GROUP, FIXED32, FIXED64, GROUP, VARINT

_DOUBLE = struct.Struct("<d")
pack_double = _DOUBLE.pack
"""A float as a message holds it, in 8 bytes."""

_RESERVED = ("Prediction", "Predictor", "Score")
_SERVICE = """
// The models' answers for one row.
service Predictor {{
  rpc Predict ({name}) returns (Prediction);
}}

message Prediction {{
  string request_id = 1;
  repeated Score scores = 2;
}}

message Score {{
  string model = 1;
  uint32 version = 2;
  double score = 3;  // probability, from 0 to 1
}}
"""


@dataclass(frozen=True, slots=True)
class Score:
    """What one model says of a row.

    Args:
        model: Its name.
        version: Of the model, from 1.
        score: Probability, in [0, 1].
    """

    model: str
    version: int
    score: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one request.

    Args:
        request_id: The client's, or the one that the server made; the request log has it too.
        scores: One of each model asked for, in that order.
    """

    request_id: str
    scores: tuple[Score, ...]

    def __getitem__(self, model: str) -> float:
        """The score of a model.

        Raises:
            NotFound: The model is not among those that answered.
        """
        for score in self.scores:
            if score.model == model:
                return score.score
        names = ", ".join(repr(score.model) for score in self.scores) or "none"
        raise NotFound(f"The prediction has no score of model {model!r}; it has: {names}.")

    @property
    def score(self) -> float:
        """The only score.

        Raises:
            NotFound: There are none or several.
        """
        if len(self.scores) == 1:
            return self.scores[0].score
        names = ", ".join(repr(score.model) for score in self.scores) or "none"
        raise NotFound(
            f"The prediction has {len(self.scores)} scores, not one: {names}. Take one by the name "
            "of its model: prediction[NAME]."
        )

    def to_message(self) -> bytes:
        """The message that clients get; every field is written, defaults too."""
        return prediction_message(
            self.request_id, [(score.model, score.version, score.score) for score in self.scores]
        )

    @classmethod
    def from_message(cls, message: bytes) -> Self:
        """The prediction of a message; fields that are not known are skipped.

        Args:
            message: As a server of this or of a later version wrote it.

        Raises:
            DataError: It is no such message.
        """
        request_id = ""
        scores = []
        try:
            for number, kind, value in read_fields(message):
                if number == 1 and kind == BYTES:
                    request_id = value.decode()
                elif number == 2 and kind == BYTES:
                    scores.append(_read_score(value))
        except UnicodeDecodeError as error:
            raise DataError("The message is no Prediction: a text is not UTF-8.") from error
        except DataError as error:
            raise DataError(f"The message is no Prediction: {error}.") from error
        return cls(request_id, tuple(scores))


def prediction_message(request_id: str, scores: Sequence[tuple[str, int, float]]) -> bytes:
    """The message of a prediction, without a `Prediction`: what a server writes for each request.

    Args:
        request_id: As in the answer.
        scores: Model, version and score of each.
    """
    name = request_id.encode()
    out = [b"\x0a", varint(len(name)), name]
    for model, version, score in scores:
        out += (score_head(model, version), pack_double(score))
    return b"".join(out)


@functools.lru_cache(1024)
def score_head(model: str, version: int) -> bytes:
    """What comes before the number in the bytes of a Score: the same for every request.

    Args:
        model: Its name.
        version: From 1.
    """
    name = model.encode()
    body = b"".join((b"\x0a", varint(len(name)), name, b"\x10", varint(version), b"\x19"))
    return b"".join((b"\x12", varint(len(body) + _DOUBLE.size), body))


def varint(value: int) -> bytes:
    """An integer from 0 to 2**64 - 1 as a message holds it, in 1 to 10 bytes."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def package_of(cls: type[Features]) -> str:
    """The protobuf package of a feature class: that of its `.proto` file.

    Args:
        cls: The feature class.

    Raises:
        ConfigError: The fields are not those of the class's own `.proto` file.
    """
    for line in cls.proto().splitlines():
        if line.startswith("package "):
            return line.removeprefix("package ").rstrip(";").strip()
    raise AssertionError("a .proto file that we write has a package")


def method_path(cls: type[Features]) -> str:
    """The path of the method that predicts: `/tadka.impression.Predictor/Predict`.

    Args:
        cls: The feature class.

    Raises:
        ConfigError: The fields are not those of the class's own `.proto` file.
    """
    return f"/{service_name(cls)}/Predict"


def service_name(cls: type[Features]) -> str:
    """The full name of the service: `tadka.impression.Predictor`.

    Args:
        cls: The feature class.

    Raises:
        ConfigError: The fields are not those of the class's own `.proto` file.
    """
    return f"{package_of(cls)}.Predictor"


def service_proto(cls: type[Features]) -> str:
    """Text of the `.proto` file of the service, for clients in any language.

    Args:
        cls: The feature class.

    Raises:
        ConfigError: The class bears the name of a message of the service, or its fields are not
            those of its own `.proto` file.
    """
    if cls.__name__ in _RESERVED:
        raise ConfigError(
            f"A feature class named {cls.__name__!r} cannot be served: the service has a message "
            f"of that name. Choose another than {', '.join(map(repr, _RESERVED))}."
        )
    return cls.proto() + _SERVICE.format(name=cls.__name__)


def _read_score(message: bytes) -> Score:
    model, version, score = "", 0, 0.0
    for number, kind, value in read_fields(message):
        if number == 1 and kind == BYTES:
            model = value.decode()
        elif number == 2 and kind == VARINT:
            version = value & 0xFFFF_FFFF
        elif number == 3 and kind == FIXED64:
            (score,) = _DOUBLE.unpack(value)
    return Score(model, version, score)


def read_fields(message: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field of a message."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise DataError("a field has the number 0")
        if kind == VARINT:
            value, at = _read_varint(message, at)
            yield number, kind, value
            continue
        if kind in (GROUP, END_GROUP) or kind > FIXED32:
            raise DataError(f"field {number} has the wire type {kind}, which no answer has")
        if kind == BYTES:
            size, at = _read_varint(message, at)
        else:
            size = 8 if kind == FIXED64 else 4
        if size > end - at:
            raise DataError(f"the message ends inside field {number}")
        yield number, kind, message[at : at + size]
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise DataError("the message ends inside a varint")
