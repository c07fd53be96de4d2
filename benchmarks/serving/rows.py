"""What all peers compute: a row's score in plain Python, with the hash and weights of tadka."""

import array
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from ctr import plain, requests, tadka_features


def message_scorer() -> Callable[[bytes], float]:
    """From a protobuf message (parsed by upb) to its score."""
    return plain.scorer(*tadka_features.hash_of_text(plain.FEATURES))


def row_scorer() -> Callable[[Any], float]:
    """From the fields of a row, an object that has them as attributes, to its score.

    The time is an int of microseconds, as JSON has it.
    """
    hash_of, seeds = tadka_features.hash_of_text(plain.FEATURES)
    values_of = attrgetter(*plain.FEATURES)
    fields_of = attrgetter(*requests.FIELDS[1:])
    weights = array.array("f", requests.weights().tobytes())
    shift = 64 - requests.TABLE_BITS

    def score(fields: Any) -> float:
        row = plain.Impression(datetime.fromtimestamp(fields.time / 1e6, UTC), *fields_of(fields))
        margin = 0.0
        for value, seed in zip(values_of(row), seeds):  # noqa: B905 (strict costs time)
            margin += weights[hash_of(value.encode(), seed) >> shift]
        return 1.0 / (1.0 + math.exp(-margin))

    return score


def reply_class() -> Any:
    """The protobuf class of the gRPC peers' answer: `message Reply { double score = 1; }`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="reply.proto", syntax="proto3")
    file.message_type.add(name="Reply").field.add(name="score", number=1, type=1, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Reply"))


def json_bodies(messages: list[bytes], shape: str) -> list[bytes]:
    """The messages as JSON.

    Args:
        messages: Protobuf.
        shape: `"row"` (one object), `"named"` (BentoML: within `row`) or `"v2"` (Open Inference
            Protocol, a tensor for each field).
    """
    parse = requests.message_class().FromString
    kinds = {"time": "INT64", "recency": "FP64"}
    bodies = []
    for message in messages:
        parsed = parse(message)
        row: Any = {name: getattr(parsed, name) for name in requests.FIELDS}
        if shape == "named":
            row = {"row": row}
        elif shape == "v2":
            row = {
                "inputs": [
                    {"name": k, "shape": [1], "datatype": kinds.get(k, "BYTES"), "data": [v]}
                    for k, v in row.items()
                ]
            }
        bodies.append(json.dumps(row).encode())
    return bodies
