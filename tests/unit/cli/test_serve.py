import json
import select
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tadka.cli.app import app
from tadka.serve.store.store import Store
from tests.command import TADKA, run_command

ROWS = """
from tadka.features import Features


class Visit(Features, size=1024, groups={"users": ["user"]}):
    user: str
    shop: int

    @property
    def user_shop(self) -> str:
        return f"{self.user}_{self.shop}"


class Other(Features, size=64):
    user: str
"""
MODELS = """
import numpy as np
from serve_rows import Other, Visit
from tadka.scoring import Linear

for number, (cls, name) in enumerate([(Visit, "ctr"), (Visit, "next"), (Other, "other")]):
    model = Linear(cls)
    size = model.definition.num_slots
    weights = np.random.default_rng(number).normal(size=size).astype(np.float32)
    model.take({"bias": np.zeros(1), "linear": weights})
    model.metrics = {"rows": 1000 + number, "auc": 0.75, "learning_rate": 0.1}
    model.save(name)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "serve_rows.py").write_text(ROWS)
    subprocess.run([sys.executable, "-c", MODELS], cwd=folder, check=True, timeout=60)
    table = pa.table({"user": [f"u{n}" for n in range(50)], "shop": list(range(50))})
    parquet.write_table(table, folder / "requests.parquet")
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="module")
def served(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store serves one version."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    (folder / "Bad").mkdir()
    succeed(folder, "publish", "ctr")
    return folder


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(folder, "serve", *words, environment=environment)


def succeed(folder: Path, *words: str) -> str:
    done = run(folder, *words)
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def test_a_version_is_published_split_and_rolled_back(place: Path) -> None:
    assert "ctr: version 1 is production now, tried with 50 requests" == succeed(
        place, "publish", "ctr", "--model", "ctr", "--requests", "requests.parquet"
    )
    assert "ctr: version 1 is production already; nothing to do" == succeed(place, "publish", "ctr")
    told = succeed(place, "publish", "next", "--alias", "candidate")
    assert told.startswith("ctr: version 2 is candidate now, tried with 1 request; it gets no req")
    assert "ctr: version 1 (90%), 2 (10%), by user" == succeed(
        place, "split", "production=90,candidate=10", "--key", "user"
    )
    assert "ctr: version 1, by user" == succeed(place, "split", "production=100")
    assert "ctr: version 1 (100%), 2 (shadow)" == succeed(place, "shadow", "candidate")
    assert "ctr: version 1" == succeed(place, "shadow", "--off")
    assert "ctr: version 3 is production now, tried with 1 request" == succeed(
        place, "publish", "next"
    )
    assert "ctr: version 1 is production again" == succeed(place, "rollback")
    assert "ctr: version 3 is production again" == succeed(place, "rollback", "--model", "ctr")


def test_status_shows_every_alias(place: Path) -> None:
    assert "serving serves nothing yet; run: tadka serve publish MODEL_DIR" == succeed(
        place, "status"
    )
    assert "a serves nothing yet; run: tadka serve publish MODEL_DIR --store a" == succeed(
        place, "status", "--store", "a"
    )
    succeed(place, "publish", "ctr", "--model", "ctr")
    succeed(place, "publish", "next", "--alias", "candidate")
    store = Store(place / "serving")
    store.split("production=75,candidate=25", key="user")
    store.shadow(["candidate"])

    text = succeed(place, "status")
    found = json.loads(succeed(place, "status", "--json"))

    lines = text.splitlines()
    assert ["ctr", "production", "1", "75%"] == lines[1].split()[:4]
    assert lines[1].endswith("linear  rows 1,000, auc 0.75000")
    assert ["ctr", "candidate", "2", "25%"] == lines[2].split()[:4]
    assert "ctr is split by user" == lines[3]
    assert (4, {"ctr": "user"}) == (found["generation"], found["keys"])
    assert [("production", 1, 75.0, False), ("candidate", 2, 25.0, True)] == [
        (row["alias"], row["version"], row["share"], row["is_shadow"]) for row in found["aliases"]
    ]


def test_the_store_is_an_option_or_in_the_environment(place: Path) -> None:
    succeed(place, "publish", "ctr", "--store", "a")
    done = run(place, "publish", "ctr", TADKA_STORE="b")

    assert 0 == done.returncode, done.stderr
    assert 1 == Store(place / "a").state().generation == Store(place / "b").state().generation
    assert not (place / "serving").exists()


def test_publish_prints_json(place: Path) -> None:
    found = json.loads(succeed(place, "publish", "ctr", "--json"))

    assert {
        "model": "model",
        "alias": "production",
        "version": 1,
        "generation": 1,
        "replayed": 1,
        "is_new": True,
        "share": 100.0,
    } == found


def test_old_versions_are_deleted(place: Path) -> None:
    assert "does not exist" in run(place, "prune", "--model", "x").stderr
    assert not (place / "serving").exists()
    succeed(place, "publish", "ctr")
    assert "nothing to delete" == succeed(place, "prune")
    for name in ("next", "ctr", "next"):
        succeed(place, "publish", name)

    assert "deleted  serving/model/1\ndeleted  serving/model/2" == succeed(
        place, "prune", "--keep", "0"
    )


def test_the_service_is_printed_or_written(place: Path) -> None:
    succeed(place, "publish", "ctr")

    text = succeed(place, "proto")

    assert "rpc Predict (Visit) returns (Prediction);" in text
    assert text == succeed(place, "proto", "--features", "serve_rows.py:Visit", "--store", "none")
    assert "wrote  visit.proto" == succeed(place, "proto", "--out", "visit.proto")
    assert text == (place / "visit.proto").read_text().strip()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["publish", "none"], 1, "'none' is no model directory"),
        (["publish", "ctr", "--alias", "Big"], 2, "Alias 'Big' is no name"),
        (["publish", "next", "--features", "serve_rows.py:Other"], 2, "made with another 'Visit'"),
        (["publish", "other", "--model", "other"], 2, "feature class than those of store"),
        (["publish", "next", "--requests", "none.csv"], 1, "none.csv"),
        (["publish", "next", "--requests", "memory://none.csv"], 1, "memory://none.csv"),
        (["publish"], 2, "Missing argument"),
        (["rollback"], 2, "had no version before 1"),
        (["rollback", "--model", "cvr"], 2, "no model 'cvr'; it has: model"),
        (["rollback", "--store", "none"], 2, "Run: tadka serve publish MODEL_DIR --store none."),
        (["prune", "--store", "none"], 1, "does not exist"),
        (["split", "production=90"], 2, "sums to 90; it must sum to 100"),
        (["split", "production"], 2, "write ALIAS=PERCENT"),
        (["split", "produktion=100"], 2, "Did you mean 'production'?"),
        (["split", "production=100", "--key", "usr"], 2, "Key 'usr' is no field"),
        (["shadow"], 2, "Name the aliases"),
        (["shadow", "production", "--off"], 2, "Name the aliases"),
        (["shadow", "x"], 2, "Alias 'x' has no version"),
        (["proto", "--store", "none"], 1, "serves nothing yet"),
        (["proto", "--store", "none"], 1, "--features MODULE:CLASS"),
        (["load", "--rows", "x", "--store", "none"], 1, "--features MODULE:CLASS"),
        (["load", "--rows", "none.csv"], 1, "none.csv"),
        (["load", "--rows", "requests.parquet", "--target", "x"], 2, "HOST:PORT"),
        (["--workers", "0"], 2, "'workers' is 0; it must be"),
        (["--transport", "carrier"], 2, "'transport' is 'carrier'"),
        (["--max-message-bytes", "many"], 2, "Size 'many' is not understood"),
        (["rolback"], 2, "Did you mean 'rollback'?"),
        (["run", "models"], 2, "is neither a model directory nor a command. See: tadka serve"),
        (["a=ctr", "a=next"], 2, "Two models are named 'a'"),
        (["ctr", "Bad"], 2, "a name that no model can have. Name the model: NAME=Bad"),
        (["--store", "none", "--port", "0"], 2, "serves no model"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_status(
    served: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(served)

    assert status == app(["serve", *words], standalone_mode=False)

    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("tadka: ")
    assert 1 == len(told.splitlines())


@pytest.mark.parametrize(
    "command",
    ["", "run", "publish", "rollback", "split", "shadow", "status", "proto", "prune", "load"],
)
def test_help_gives_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert 0 == app(["serve", *command.split(), "--help"], standalone_mode=False)

    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"tadka serve {'' if command == 'run' else command}".strip() in text


def test_a_server_that_cannot_start_publishes_nothing(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run(place, "ctr", "--port", port, "--http-port", "0")

    assert 2 == done.returncode
    assert f"Port {port} of host '127.0.0.1' is in use" in done.stderr
    assert not (place / "serving").exists()


def test_a_directory_is_to_be_named_where_the_store_has_several_models(place: Path) -> None:
    succeed(place, "publish", "ctr", "--model", "ctr")
    succeed(place, "publish", "next", "--model", "cvr")

    done = run(place, "next", "--port", "0")

    assert 2 == done.returncode
    assert "several models: ctr, cvr. Say which one 'next' is: NAME=next." in done.stderr


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 60)
    assert ready, "the server says nothing"
    return process.stdout.readline().strip()


@pytest.fixture
def server(place: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [TADKA, "serve", "ctr=ctr", "cvr=next", "--port", "0", "--workers", "1"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    yield process
    process.kill()
    process.communicate()


def test_models_are_published_served_and_loaded(place: Path, server: subprocess.Popen[str]) -> None:
    lines = [read_line(server) for _ in range(3)]

    assert "ctr: version 1 is production now, tried with 1 request" == lines[0]
    assert "cvr: version 1 is production now, tried with 1 request" == lines[1], lines
    assert lines[2].startswith("serving ctr version 1; cvr version 1, at 127.0.0.1:")
    assert lines[2].endswith(", 1 worker")
    assert "transport native" in lines[2] or "transport grpcio" in lines[2]
    words = lines[2].split()
    target, http = (words[words.index(kind) - 1] for kind in ("(gRPC)", "(HTTP),"))
    with urllib.request.urlopen(f"http://{http}/healthz", timeout=30) as reply:
        assert 200 == reply.status

    pytest.importorskip("tadka.serve.generator")
    load = ["load", "--rows", "requests.parquet", "--target", target, "--seconds", "0.5"]
    done = run(place, *load, "--rate", "200", "--html", "load.html", "--json")
    assert 0 == done.returncode, (done.stdout, done.stderr)
    report = json.loads(done.stdout)
    assert {"OK"} == set(report["statuses"])
    assert "<h1>Load</h1>" in (place / "load.html").read_text()
    done = run(place, *load, "--models", "nobody", "--rate", "50")
    assert 1 == done.returncode
    assert "NOT_FOUND" in done.stdout

    server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=60)
    assert (0, "") == (server.returncode, errors)
