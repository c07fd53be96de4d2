"""Publishes a model, serves it, and asks for a few scores; scripts/check-wheel runs it.

    python serve_once.py native|grpcio

Prints the scores in one line, to the last bit; they must be the same whichever server answers.
"""

import importlib.util
import json
import sys
import tempfile
import urllib.request
import warnings
from pathlib import Path

import numpy as np

from tadka.features import Features
from tadka.scoring import Examples, Linear, Training
from tadka.serve.client import Client
from tadka.serve.config import ServeConfig
from tadka.serve.server import Server
from tadka.serve.store.store import Store


class Visit(Features, size=64):
    user: str
    shop: int

    @property
    def user_shop(self) -> str:
        return f"{self.user}_{self.shop}"


def main(wanted: str) -> str:
    rows = [Visit(f"ü{n % 7}", n % 3) for n in range(200)]
    labels = np.array([n % 7 % 2 == n % 3 % 2 for n in range(200)], np.float32)
    model = Linear(Visit, training=Training(epochs=2, threads=1))
    model.fit(Examples(Visit.encode([row.to_message() for row in rows]), labels))
    asked = rows[:20]
    with tempfile.TemporaryDirectory() as place:
        model.save(Path(place, "model"))
        Store(Path(place, "store")).publish(Path(place, "model"), features=Visit)
        config = ServeConfig(store=f"{place}/store", port=0, workers=1)
        with Server(config, features=Visit) as server:
            if server.config.transport != wanted:
                sys.exit(f"The server runs on {server.config.transport}, not on {wanted}.")
            scores = [over_http(server.http_port, row) for row in asked]
            if importlib.util.find_spec("grpc") is not None:
                with Client(f"127.0.0.1:{server.port}") as client:
                    over_grpc = [prediction.score for prediction in client.predict_many(asked)]
                if over_grpc != scores:
                    sys.exit(f"gRPC gave {over_grpc}, and HTTP {scores}.")
    if scores != [model.score(row) for row in asked]:
        sys.exit(f"The server gave other scores than the model: {scores}.")
    return " ".join(score.hex() for score in scores)


def over_http(port: int, row: Visit) -> float:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/predict",
        json.dumps({"user": row.user, "shop": row.shop}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        (found,) = json.load(reply)["scores"].values()
    return float(found["score"])


if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        line = main(sys.argv[1])
    told = [str(warning.message) for warning in said if "some thirty times" in str(warning.message)]
    if len(told) != (sys.argv[1] == "grpcio"):
        sys.exit(f"{len(told)} warnings said that the native server is not there: {told}")
    print(line)
