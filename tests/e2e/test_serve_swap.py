"""Versions change under load: no call fails, and each answer is wholly of one version."""

import contextlib
import functools
import itertools
import random
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from tadka.core.error import DataError
from tadka.serve.server import Server
from tadka.serve.store.store import Store
from tests.clients import GrpcClient, ask, h2load, make_rows, metric
from tests.conftest import ROOT
from tests.http2 import grpc_message
from tests.serving import (
    Impression,
    Transport,
    eventually,
    make_model,
    make_store,
    save_model,
    serving,
)

NUM_ROWS = 50
SEEDS = range(1, 6)  # of the versions that are published under load
MESSAGES = [row.message for row in make_rows(NUM_ROWS)]
SCORES = {seed: [row.scores for row in make_rows(NUM_ROWS, version_seed=seed)] for seed in range(6)}


@functools.cache
def weights_of(name: str, seed: int) -> bytes:
    """The parameters that tell the versions of a model apart."""
    weights: bytes = make_model(name, seed).arrays["linear"].tobytes()
    return weights


class Load:
    """Clients that call without a pause; the versions that answered are kept in order.

    Args:
        server: That is called.
        store: Whose versions it serves.
        num_clients: Threads, each with a connection.
    """

    def __init__(self, server: Server, store: Store, num_clients: int = 3) -> None:
        self._server, self._store = server, store
        self._seeds: dict[tuple[str, int], int] = {}
        self._is_over = False
        self._threads = [
            threading.Thread(target=self._call, args=(client,), daemon=True)
            for client in range(num_clients)
        ]
        self.failures: list[str] = []
        self.versions: list[list[tuple[int, int]]] = [[] for _ in range(num_clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert not self.failures, self.failures[:3]

    def marks(self) -> list[int]:
        """How many answers each client has, and the one that may be on its way."""
        return [len(answers) + 1 for answers in self.versions]

    def since(self, marks: list[int]) -> set[tuple[int, int]]:
        """The versions that answered calls begun after `marks` were taken; some of each client."""

        def have_some() -> bool:
            pairs = zip(self.versions, marks, strict=True)
            return bool(self.failures) or all(len(answers) > mark + 5 for answers, mark in pairs)

        assert eventually(have_some)
        assert not self.failures, self.failures[:3]
        pairs = zip(self.versions, marks, strict=True)
        return set(itertools.chain.from_iterable(answers[mark:] for answers, mark in pairs))

    def _seed_of(self, model: str, version: int) -> int:
        """Which of our models a version of the store is."""
        if (model, version) not in self._seeds:
            weights = np.load(self._store.version_path(model, version) / "linear.npy").tobytes()
            same = [seed for seed in SCORES if weights_of(model, seed) == weights]
            self._seeds[model, version] = same[0]
        return self._seeds[model, version]

    def _call(self, number: int) -> None:
        with GrpcClient(self._server.port) as client:
            for at in itertools.cycle(range(NUM_ROWS)):
                if self._is_over or len(self.failures) > 10:
                    return
                try:
                    self._call_once(client, number, at)
                except Exception as error:  # noqa: BLE001  the thread ends here, the test tells
                    self.failures.append(repr(error))

    def _call_once(self, client: GrpcClient, number: int, at: int) -> None:
        prediction = client.predict(MESSAGES[at])
        ctr, cvr = prediction.scores
        for score, name in ((ctr, "ctr"), (cvr, "cvr")):
            expected = SCORES[self._seed_of(name, score.version)][at][name]
            if (score.model, score.score) != (name, expected):
                self.failures.append(f"row {at}: {score} is not {expected}")
        self.versions[number].append((ctr.version, cvr.version))


def wait_for(server: Server, generation: int) -> None:
    """Returns when all workers serve a state."""

    def have_all() -> bool:
        text = ask(server.http_port, "/metrics")[1]
        served = [
            metric(text, "tadka_generation", worker=str(worker))
            for worker in range(server.config.num_workers)
        ]
        return min(served) >= generation

    assert eventually(have_all), "the workers do not follow"


@contextlib.contextmanager
def h2load_beside(server: Server, folder: Path) -> Iterator[None]:
    """h2load for the length of the block, again and again; all of its requests must succeed."""
    body = folder / "body"
    body.write_bytes(grpc_message(MESSAGES[0]))
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            loaded = h2load(server.port, body, "-n", 2000, "-c", 4, "-m", 8)
            assert loaded.num_succeeded == loaded.num_requests

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield
        finally:
            is_over.set()
    running.result()


@pytest.mark.needs_http2
def test_publications_and_rollbacks_under_load_fail_no_call(
    transport: Transport, tmp_path: Path
) -> None:
    store = make_store(tmp_path)
    patient = {"deadline_ms": 60_000}  # a busy machine must not look like a swap that sheds calls
    with (
        serving(store.path, transport, Impression, workers=2, **patient) as server,
        h2load_beside(server, tmp_path),
        Load(server, store) as load,
    ):
        for seed in SEEDS:
            published = store.publish(save_model(tmp_path, "ctr", seed), model="ctr")
            assert published.version == 1 + seed
            wait_for(server, published.generation)
            assert load.since(load.marks()) == {(1 + seed, 1)}
        for expected in (5, 6, 5):
            state = store.rollback("ctr")
            wait_for(server, state.generation)
            assert load.since(load.marks()) == {(expected, 1)}
        text = ask(server.http_port, "/metrics")[1]
        total = metric(text, "tadka_requests_total", protocol="grpc")
        rows = [row for row in text.splitlines() if row.startswith("tadka_requests_total")]
        assert metric(text, "tadka_requests_total", protocol="grpc", status="OK") == total, rows
    for answers in load.versions:  # each client met the versions in their order
        changes = [version for version, _ in itertools.groupby(ctr for ctr, _ in answers)]
        assert changes[-1] == 5
        assert changes[: changes.index(6)] == sorted(set(changes[: changes.index(6)]))


def test_a_split_that_moves_under_load_fails_no_call(transport: Transport, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.publish(save_model(tmp_path, "ctr", 1), model="ctr", alias="candidate")
    store.publish(save_model(tmp_path, "cvr", 2), model="cvr", alias="candidate")
    with (
        serving(store.path, transport, Impression, workers=2) as server,
        Load(server, store) as load,
    ):
        assert load.since(load.marks()) == {(1, 1)}
        state = store.split("production=50,candidate=50", model="ctr")
        wait_for(server, state.generation)
        assert load.since([mark + NUM_ROWS for mark in load.marks()]) == {(1, 1), (2, 1)}
        state = store.split("production=0,candidate=100", model="ctr")
        wait_for(server, state.generation)
        assert load.since(load.marks()) == {(2, 1)}
        store.split("candidate=100,production=0", model="cvr")
        state = store.shadow(["production"], model="cvr")
        wait_for(server, state.generation)
        assert load.since(load.marks()) == {(2, 2)}


def test_refused_versions_leave_what_is_served(transport: Transport, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with serving(store.path, transport, Impression) as server, Load(server, store) as load:
        before = store.state()
        for seed, harm in enumerate(["truncated", "missing", "changed"], start=1):
            model = save_model(tmp_path, "ctr", seed)
            weights = model / "linear.npy"
            content = weights.read_bytes()
            if harm == "truncated":
                weights.write_bytes(content[:-4])
            elif harm == "missing":
                weights.unlink()
            else:
                weights.write_bytes(content[:-4] + b"\0\0\xc0\x7f")  # a NaN
            with pytest.raises((DataError, LookupError), match=r"linear\.npy"):
                store.publish(model, model="ctr")
            assert store.state() == before
            assert load.since(load.marks()) == {(1, 1)}
        assert not [file for file in (store.path / "ctr").iterdir() if file.name != "1"]


PUBLISHER = """
    import sys
    from pathlib import Path
    from tadka.serve.store.store import Store
    from tests.serving import Impression

    store, first, second = Store(sys.argv[1]), *map(Path, sys.argv[2:])
    print("ready", flush=True)
    while True:
        for model in (first, second):
            store.publish(model, model="ctr", features=Impression)
"""


def test_publishers_killed_at_any_moment_do_no_harm(native: Transport, tmp_path: Path) -> None:
    rng = random.Random(3)
    store = make_store(tmp_path)
    models = [save_model(tmp_path, "ctr", seed) for seed in (1, 2)]
    command = [sys.executable, "-c", textwrap.dedent(PUBLISHER), str(store.path), *map(str, models)]
    with (
        serving(store.path, native, Impression) as server,
        Load(server, store, num_clients=2) as load,
    ):
        for _ in range(3):
            publisher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
            try:
                assert publisher.stdout is not None
                assert publisher.stdout.readline() == b"ready\n"
                load.since([mark + rng.randrange(200) for mark in load.marks()])
            finally:
                publisher.kill()
                publisher.communicate()
        for seed in (3, 4):
            published = Store(store.path).publish(save_model(tmp_path, "ctr", seed), model="ctr")
            wait_for(server, published.generation)
            assert load.since(load.marks()) == {(published.version, 1)}
