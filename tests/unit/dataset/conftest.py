"""Servers that many tests use, started once. Spark is in tests/conftest.py."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """Where an S3 server on loopback answers."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URI of an empty bucket; processes that a test starts find it, too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    kind = fsspec.get_filesystem_class("s3")
    kind.clear_instance_cache()  # those of other tests know another server
    kind().mkdir("tadka-dataset")
    yield "s3://tadka-dataset"
    kind().rm("tadka-dataset", recursive=True)
    kind.clear_instance_cache()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of an empty database on a PostgreSQL of its own; for tests that bear needs_postgresql."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=str)
    found = shutil.which("initdb")
    folder = programs[-1] if programs else Path(found or "").resolve().parent
    # a socket has at most 107 bytes of path, so not in pytest's own folder
    with tempfile.TemporaryDirectory(prefix="pg") as place:
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # which initdb refuses to be
            user = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(place, "postgres", "postgres")

        def run(*command: Any) -> None:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **user)

        data = f"{place}/data"
        run(folder / "initdb", "-D", data, "-A", "trust", "-U", "t", "-N")
        options = f"-c listen_addresses='' -k {place} -c fsync=off"
        control = [folder / "pg_ctl", "-D", data, "-w", "-l", f"{place}/log"]
        run(*control, "-o", options, "start")
        yield f"postgresql://t@/postgres?host={place}"
        run(*control, "-m", "immediate", "stop")
