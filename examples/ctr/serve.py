"""Serves what was trained: one score by every door, then two versions side by side.

    python examples/ctr/serve.py            # frappe in ../shared/data, or TADKA_DATA
    python examples/ctr/serve.py --keep DIR # and keep the models, the store and the request log

A linear model answers first, an FM gets a tenth of the people afterwards. The program stops if one
score differs in one bit from what the training side gives for the same row.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import rows
import tables
from rich.console import Console
from rich.table import Table

from tadka.scoring import Examples, Fm, Linear, Model, Training
from tadka.serve import Client, ServeConfig, Server, Store, read_log

NUM_ROWS = 2000


def train(data: Path) -> tuple[dict[str, Model], pa.Table]:
    """A linear model and an FM, and rows that neither has seen."""
    train_table, test_table = tables.read_frappe(data)
    learn, held_out = tables.hold_out(train_table)
    training = Training(learning_rate=0.05, l2=1e-4, epochs=40, patience=3, threads=1)
    examples, valid = Examples.read(learn, rows.AppUse), Examples.read(held_out, rows.AppUse)
    models = {
        "linear": Linear(rows.AppUse, training=training).fit(examples, valid=valid),
        "fm": Fm(rows.AppUse, dim=16, training=training).fit(examples, valid=valid),
    }
    fields = [field.name for field in rows.AppUse.definition().fields]
    return models, test_table.select(fields).slice(0, NUM_ROWS)


def check(door: str, expected: np.ndarray, scores: list[float]) -> None:
    """Every bit of every score."""
    if scores != expected.tolist():
        row = next(i for i, s in enumerate(scores) if s != expected[i])
        sys.exit(f"{door}: row {row} scores {scores[row]!r}, in training {expected[row]!r}.")


def by_grpc(server: Server, table: pa.Table) -> list[float]:
    with Client(f"localhost:{server.port}") as client:
        people = [rows.AppUse(**row) for row in table.to_pylist()]
        return [prediction.score for prediction in client.predict_many(people)]


def by_json(server: Server, table: pa.Table) -> list[float]:
    answer = post(server, "/v1/predict", {"rows": table.to_pylist()})
    return [row["scores"]["model"]["score"] for row in answer["predictions"]]


def by_open_inference(server: Server, table: pa.Table) -> list[float]:
    inputs = [
        {"name": name, "shape": [len(table)], "datatype": "INT64", "data": column.to_pylist()}
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    answer = post(server, "/v2/models/model/infer", {"inputs": inputs})
    return next(out["data"] for out in answer["outputs"] if out["name"] == "score")


def post(server: Server, path: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://localhost:{server.http_port}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


DOORS = {"gRPC": by_grpc, "JSON": by_json, "Open Inference Protocol": by_open_inference}


def run(data: Path, place: Path) -> dict[str, object]:
    """Everything, in the order of the lines that `main` prints."""
    models, table = train(data)
    for name, model in models.items():
        model.save(place / name, replace=True)
    scores = {name: model.predict(table) for name, model in models.items()}

    store = Store(place / "store")
    store.publish(place / "linear")
    config = ServeConfig(
        store=str(place / "store"), port=0, workers=2, log=str(place / "log"), log_share=1.0
    )
    with Server(config) as server:
        transport = server.config.transport
        for door, ask in DOORS.items():
            check(door, scores["linear"], ask(server, table))

        store.publish(place / "fm", alias="candidate")
        store.split({"production": 90, "candidate": 10}, key="user")
        expected = {1: scores["linear"], 2: scores["fm"]}
        answered = Counter({1: len(DOORS) * len(table)})
        with Client(f"localhost:{server.port}") as client:
            people = [rows.AppUse(**row) for row in table.to_pylist()]
            deadline = time.monotonic() + 60
            while 2 not in answered:  # while a worker loads version 2, version 1 answers everybody
                if time.monotonic() > deadline:
                    sys.exit("Version 2 has answered nobody for a minute.")
                for number, prediction in enumerate(client.predict_many(people)):
                    (score,) = prediction.scores
                    answered[score.version] += 1
                    if score.score != expected[score.version][number]:
                        sys.exit(f"Row {number} by version {score.version} differs from training.")
    log = read_log(place / "log")
    logged = Counter(log["log.version"].to_pylist())
    if logged != answered:
        sys.exit(f"The request log has {dict(logged)} rows by version, not {dict(answered)}.")
    return {
        "transport": transport,
        "rows": len(table),
        "doors": list(DOORS),
        "answered": dict(sorted(answered.items())),
        "logged": dict(sorted(logged.items())),
        "log_columns": log.column_names,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="folder for models, store and request log")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    data = Path(os.environ.get("TADKA_DATA", default))
    if not data.is_dir():
        sys.exit(f"There is no folder {data} with the data sets. Set TADKA_DATA to it.")
    with tempfile.TemporaryDirectory() as temporary:
        found = run(data, arguments.keep or Path(temporary))
    if arguments.json:
        print(json.dumps(found))
        return
    console = Console(highlight=False)
    console.print(
        f"{found['rows']:,} rows over {found['transport']}, each with the bits of training, by "
        f"{', '.join(found['doors'])}"
    )
    table = Table("version", "answered", "in the request log")
    for version, count in found["answered"].items():
        table.add_row(str(version), f"{count:,}", f"{found['logged'].get(version, 0):,}")
    console.print(table)


if __name__ == "__main__":
    main()
