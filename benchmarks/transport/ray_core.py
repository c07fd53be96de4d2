"""Ray's object store: two actors with streaming generators, eight objects ahead each."""

import itertools
from collections.abc import Iterator
from typing import Any

import ray
from peers import ray_session

from transport.payload import BATCH, measure


class Producer:
    def batches(self, num_batches: int) -> Iterator[Any]:
        for _ in range(num_batches):
            yield BATCH


def run(num_batches: int) -> dict[str, float]:
    with ray_session.started(num_cpus=2, object_store_bytes=2**30):
        actors = [ray.remote(num_cpus=1)(Producer).remote() for _ in range(2)]
        options = {"num_returns": "streaming", "_generator_backpressure_num_objects": 8}
        streams = [a.batches.options(**options).remote(num_batches // 2 + 1) for a in actors]
        turns = itertools.cycle(streams)
        return measure((ray.get(next(stream)) for stream in turns), num_batches)
