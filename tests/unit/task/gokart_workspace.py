"""A workspace as gokart 1.12.2 leaves it, made without gokart.

A pipeline with an output of every format was run by gokart 1.12.2 (luigi 3.8.1, pandas 3.1.1, dill
0.4). The ids, the names, the logs and the texts here are those of that run, byte for byte except
the seconds; its binary files are in tests/data/gokart.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[2] / "data" / "gokart"
CSV = "user,item,price\n1,a,0.5\n2,b,1.25\n3,,2.0\n"
PACKED = (
    '{"type": "Clicks", "params": "425a683931415926535912789d630000111980500679102426042a2000314c98'
    '9906460d43d468d1a190a0a11d782b86b8ce99104eb5239378a408f1f8bb9229c2848093c4eb18"}'
)

# class, id, parameters, what it put into its log, its files
RUNS: list[tuple[str, str, dict[str, str], dict[str, Any], list[str]]] = [
    (
        "Clicks",
        "9d4c96c5342a24ed20c9b2a76779ac78",
        {"day": "2026-01-31", "limit": "10"},
        {"rows": 3},
        ["shop/tasks/Clicks_9d4c96c5342a24ed20c9b2a76779ac78.pkl"],
    ),
    (
        "Features",
        "3148705623e0829f24a25232a3a61a9b",
        {"clicks": PACKED, "window": "7"},
        {"mean": np.float64(1.25)},
        ["features/table_3148705623e0829f24a25232a3a61a9b.csv"],
    ),
    ("Hidden", "a311542a7d2d20e3c7a6fa665d044467", {}, {}, ["latest/report.txt"]),
    (
        "Large",
        "d5c9bdb9243d0efd9daef44901c0b5ad",
        {},
        {},
        ["large/table_d5c9bdb9243d0efd9daef44901c0b5ad.zip"],
    ),
    (
        "Model",
        "3186c74ef8412ee0bc337610180831f6",
        {},
        {},
        ["model/net_3186c74ef8412ee0bc337610180831f6.zip"],
    ),
    (
        "Plain",
        "42d04b196621b20ece02f74b1405be2a",
        {},
        {},
        ["plain/config_42d04b196621b20ece02f74b1405be2a.pkl"],
    ),
    (
        "Several",
        "2096ec7c500ff152593ea6ef8c5e53f9",
        {},
        {},
        [
            "split/train_2096ec7c500ff152593ea6ef8c5e53f9.csv",
            "split/test_2096ec7c500ff152593ea6ef8c5e53f9.csv",
        ],
    ),
    *[
        ("Value", id_, {"suffix": suffix}, {}, [f"formats/value_{id_}.{suffix}"])
        for suffix, id_ in {
            "jpg": "1fa9462133199ee665cc6d1cee7c0c4c",
            "ini": "34b7bbcd2717fd31102f27bdaa92f708",
            "json": "35d296000b7c9f655a8c861f1d54cd30",
            "txt": "3f0b5edaaff29f6d2f3b0e09b2baf747",
            "gz": "48e7baf21a443d30596bb25f3542fd4e",
            "ndjson": "8e66fcb942ee2447bbe3a3c311e849ef",
            "tsv": "982b322e6c908a1e9979f133dca3b05d",
            "npz": "bdabff63fe6e51ac8fabecbee2399b6d",
            "feather": "d181903a593fc3e2380e63a4fd68867b",
            "xml": "d981ca47ac22471d7647eb7b28057e29",
            "parquet": "da4a7fe03fdfe605ac7d78cc22b10b6a",
            "pkl": "e4a9387bc5fa42643f1da6eca3fd6233",
            "png": "e542bbad6c9e9062b85bf15329e0f20b",
            "csv": "e8250fd83687c6f0420ee356306f3d2d",
        }.items()
    ],
]
# Tasks that raised: there are logs of their start only.
FAILED = [
    ("Failing", "1349e98af3ab1e9dc3ad03cbcc81ef30"),
    ("Broken", "92091daf93a9f7d382a5cb93856102f7"),
]
TEXTS = {
    "csv": CSV,
    "tsv": CSV.replace(",", "\t"),
    "json": '{"user":{"0":1,"1":2,"2":3},"item":{"0":"a","1":"b","2":null},'
    '"price":{"0":0.5,"1":1.25,"2":2.0}}',
    "ndjson": '{"user":1,"item":"a","price":0.5}\n{"user":2,"item":"b","price":1.25}\n'
    '{"user":3,"item":null,"price":2.0}\n',
    "txt": "one\ntwo  \n",
    "ini": "[a]\nb = 1\n",
    "xml": '<a><b c="1">x</b></a>',
}


def make_workspace(folder: Path) -> Path:
    """Writes the workspace.

    Args:
        folder: It; made where it is not there.
    """
    for task, id_, params, log, paths in RUNS:
        for path in paths:
            write(folder / path, content_of(path))
        write_started(folder, task, id_, params)
        write_log(
            folder, "task_log", task, id_, {**log, "file_path": [f"./resources/{p}" for p in paths]}
        )
        write_log(folder, "processing_time", task, id_, 0.25)
    for task, id_ in FAILED:
        write_started(folder, task, id_, {})
    # one that keeps no logs, and a file that luigi was writing
    write(folder / "shop/tasks/Quiet_b58d2fb21c7c4fda5b5e3194a16d4d38.pkl", pickle.dumps(1, 4))
    write(folder / f"formats/broken_{FAILED[1][1]}.xml-luigi-tmp-3943077260", b"")
    (folder / "tmp").mkdir(exist_ok=True)
    return folder


def content_of(path: str) -> bytes:
    """What the file of the run holds."""
    name, suffix = Path(path).stem.partition("_")[0], Path(path).suffix.removeprefix(".")
    if name == "config":
        return pickle.dumps({"rate": 0.1, "names": ["a", "b"], "days": (1, 2)}, 4)
    if name == "test":
        return "".join(CSV.splitlines(keepends=True)[:2]).encode()
    if name == "report":
        return b"one\ntwo\n"
    if suffix in TEXTS:
        return TEXTS[suffix].encode()
    return (DATA / f"{name}.{suffix}").read_bytes()


def write_started(folder: Path, task: str, id_: str, params: dict[str, str]) -> None:
    """The logs that gokart writes when a task starts."""
    seed = int(id_, 16) % (2**32 - 1)
    methods = ["random.seed", "numpy.random.seed"]
    write_log(folder, "task_params", task, id_, params)
    write_log(folder, "random_seed", task, id_, {"seed": seed, "seed_methods": methods})
    write(folder / f"log/module_versions/{task}_{id_}.txt", b"")


def write_log(folder: Path, kind: str, task: str, id_: str, value: Any) -> None:
    """One log, as dill writes it: for plain values the bytes are those of pickle."""
    write(folder / f"log/{kind}/{task}_{id_}.pkl", pickle.dumps(value, 4))


def write(path: Path, data: bytes) -> None:
    """A file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
