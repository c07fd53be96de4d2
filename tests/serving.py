"""What tests of the room serve share: a feature class, models with parameters, a store, a server.

Fixtures that use these stand in tests/e2e/conftest.py.

python -m tests.serving SETTINGS      a server until a signal, with settings as JSON
"""

import contextlib
import json
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from tadka.core.error import TadkaError
from tadka.features import Features
from tadka.scoring import Linear
from tadka.serve.config import ServeConfig
from tadka.serve.server import Server
from tadka.serve.store.custom import PythonModel
from tadka.serve.store.store import Store
from tests.conftest import ROOT

Transport = Literal["native", "grpcio"]
DEADLINE_S = 30.0
"""How long a test waits for what must happen; it is never slept through."""

MODELS = {"ctr": "clicks", "cvr": "conversions"}
"""The two models of the store, with the group of features that each uses."""


class Impression(
    Features,
    size=1 << 10,
    groups={
        "clicks": ["user", "site", "hour", "user_site", "initials"],
        "conversions": ["user", "price", "is_weekend", "tags"],
    },
):
    """An ad about to be shown. `initials` is a property that does not compile; the others do."""

    user: str
    site: str = ""
    price: float = 0.0
    time: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    tags: list[str] = field(default_factory=list)

    @property
    def hour(self) -> str:
        return f"{self.time.hour}"

    @property
    def user_site(self) -> str:
        return f"{self.user}_{self.site}"

    @property
    def is_weekend(self) -> bool:
        return self.time.weekday() > 4

    @property
    def initials(self) -> str:
        if self.user == "faulty":
            raise RuntimeError("a property that fails")
        return "".join(part[:1] for part in self.user.split("-"))


def impressions(num: int, seed: int = 0) -> list[Impression]:
    """Rows that all differ."""
    rng = np.random.default_rng(seed)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Impression(
            user=f"user-{number}-{rng.integers(1000)}",
            site=f"site-{rng.integers(50)}.example",
            price=float(rng.normal()),
            time=start + timedelta(minutes=int(rng.integers(60 * 24 * 30))),
            tags=[f"tag-{tag}" for tag in rng.integers(0, 9, rng.integers(0, 4))],
        )
        for number in range(num)
    ]


def make_model(name: str, seed: int = 0) -> Linear:
    """A linear model with random parameters: `"ctr"` or `"cvr"`, another for each seed."""
    model = Linear(Impression, group=MODELS[name])
    rng = np.random.default_rng([seed, *name.encode()])
    assert model.definition is not None
    return model.take(
        {
            "bias": rng.normal(size=1),
            "linear": rng.normal(size=model.definition.num_slots).astype(np.float32),
        }
    )


def save_model(folder: Path, name: str, seed: int = 0) -> Path:
    """Folder of the model `make_model` gives."""
    place = folder / f"{name}-{seed}"
    make_model(name, seed).save(place, replace=True)
    return place


def make_store(folder: Path, seed: int = 0) -> Store:
    """A store that serves version 1 of both models."""
    store = Store(folder / "store")
    for name in MODELS:
        store.publish(save_model(folder, name, seed), model=name)
    return store


class Gate:
    """A slow model: while the file `closed` is in its folder, its calls do not return.

    Args:
        folder: Where it also notes every call.
    """

    def __init__(self, folder: Path, pause_s: float = 0.0) -> None:
        self.folder = folder
        self.pause_s = pause_s

    def close(self) -> None:
        """From here on calls wait; earlier ones, of warming up, are forgotten."""
        (self.folder / "closed").touch()
        (self.folder / "calls").unlink(missing_ok=True)

    def open(self) -> None:
        (self.folder / "closed").unlink()

    def calls(self) -> list[int]:
        """Number of rows of each call."""
        notes = self.folder / "calls"
        return [int(line) for line in notes.read_text().split()] if notes.exists() else []

    def predict(self, rows: list[Impression]) -> Any:
        with (self.folder / "calls").open("a") as notes:
            notes.write(f"{len(rows)}\n")
        while (self.folder / "closed").exists():
            time.sleep(0.002)
        time.sleep(self.pause_s)
        return np.full(len(rows), 0.5)


def make_gated_store(folder: Path, pause_s: float = 0.0) -> tuple[Path, Gate]:
    """Folder of a store whose only model is a gate, which is open."""
    gate = Gate(folder, pause_s)
    PythonModel(gate, Impression).save(folder / "gate")
    Store(folder / "store").publish(folder / "gate")
    return folder / "store", gate


@contextlib.contextmanager
def serving(
    store: Path | str,
    transport: Transport | Literal["auto"],
    cls: type[Features] | None = None,
    **settings: Any,
) -> Iterator[Server]:
    """A server at free ports for the length of the block; after it no process of its is left."""
    wanted: Mapping[str, Any] = {"port": 0, "http_port": 0, "workers": 1, "grace_s": 5} | settings
    config = ServeConfig(store=str(store), transport=transport, **wanted)
    before = set(psutil.Process().children(recursive=True))
    with Server(config, cls) as server:
        yield server
    assert set(psutil.Process().children(recursive=True)) <= before


@contextlib.contextmanager
def serving_alone(
    store: Path | str, transport: str, before: str = "", **settings: Any
) -> Iterator["Program"]:
    """A server in a process of its own for the length of the block.

    Args:
        store: Its folder.
        transport: Or "auto".
        before: Code that runs first in the process.
        settings: Of the server; `spare_files`: as many files may be opened once it is ready.
    """
    wanted = {"store": str(store), "transport": transport, "port": 0, "workers": 1} | settings
    code = f"{before}\nfrom tests.serving import main\nmain()"
    popen = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(wanted)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert popen.stdout is not None
    try:
        ports = popen.stdout.readline().split()
        yield Program(popen, *map(int, ports or (0, 0)))
    finally:
        with contextlib.suppress(ProcessLookupError):
            popen.kill()
        popen.communicate()


@dataclass(frozen=True)
class Program:
    """A process that serves; its ports are 0 where it did not begin."""

    popen: "subprocess.Popen[str]"
    port: int
    http_port: int

    def end(self) -> tuple[int, str]:
        """Exit status and standard error, after waiting for the end."""
        _, errors = self.popen.communicate(timeout=DEADLINE_S)
        return self.popen.returncode, errors


def main() -> None:
    """What the process of `serving_alone` does."""
    settings = json.loads(sys.argv[1])
    spare_files = settings.pop("spare_files", None)

    def tell(server: Server) -> None:
        if spare_files is not None:
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare_files, most))
        print(server.port, server.http_port, flush=True)

    try:
        status = Server(ServeConfig(**settings)).run(tell)
    except TadkaError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    sys.exit(status)


def children(pid: int | None = None) -> dict[str, list[psutil.Process]]:
    """The processes of a server by role: `"worker"` and `"log"`."""
    found: dict[str, list[psutil.Process]] = {"worker": [], "log": []}
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            role = next((arg for arg in child.cmdline() if arg.startswith("tadka-serve-")), "")
            if role:
                found["log" if role == "tadka-serve-log" else "worker"].append(child)
    return found


def has_ended(process: psutil.Process, timeout_s: float = DEADLINE_S) -> bool:
    """Whether a process, also one that is nobody's child here, ends in time."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not process.is_running():
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(1000 * timeout_s))
    finally:
        os.close(descriptor)


def eventually(is_so: Callable[[], object], timeout_s: float = DEADLINE_S) -> bool:
    """Whether a condition that nothing announces comes true in time; it is looked at often."""
    pause = select.poll()
    for _ in range(int(timeout_s / 0.01)):
        if is_so():
            return True
        pause.poll(10)
    return bool(is_so())


if __name__ == "__main__":
    main()
