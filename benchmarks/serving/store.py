"""What the servers read: requests, the static file, and stores with the model published."""

from pathlib import Path
from typing import Any

import numpy as np
from ctr import requests, tadka_features

from serving import peers, python_features, running
from tadka.scoring import Linear
from tadka.serve.prediction import Prediction, Score
from tadka.serve.store.store import Store


def write(directory: Path) -> None:
    """Write everything of `serve` under its directory."""
    requests.write_requests(directory)
    (directory / "htdocs").mkdir()
    # An answer of tadka's, with the five bytes of gRPC before it.
    reply = Prediction("0123456789abcdef", (Score("ctr", 1, 0.5),)).to_message()
    (directory / "htdocs" / "reply").write_bytes(bytes(5) + reply)
    for name in ("plan", "python"):
        peer = peers.PEERS[name]
        running.model_of(peer).save(directory / f"model-{name}")
        Store(directory / peer.store).publish(directory / f"model-{name}", model="ctr")
    num = python_features.num_python()
    if num != 10:
        raise RuntimeError(f"{num} features of the Python class run as Python; 10 must.")


def two_models() -> list[Any]:
    """Models with other weights, of the same size."""
    return [
        Linear(tadka_features.Impression).take(
            {"bias": np.zeros(1), "linear": requests.weights() * np.float32(sign)}
        )
        for sign in (1, -1)
    ]


def write_swap(directory: Path) -> None:
    """Write everything of `serve_swap`: two models, and a store whose version 1 is the second."""
    requests.write_requests(directory)
    for number, model in enumerate(two_models()):
        model.save(directory / f"swap-{number}")
    Store(directory / "swap-store").publish(directory / "swap-1", model="ctr")
