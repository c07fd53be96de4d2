"""A real S3 server for the whole session, and a clean in-memory file system for each test."""

import os
from collections.abc import Iterator

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="session")
def s3_server() -> Iterator[None]:
    """An S3 server on loopback, found through the usual environment variables."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", os.environ.get("AWS_DEFAULT_REGION", "us-east-1"))
        yield
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


@pytest.fixture
def bucket(s3_server: None) -> Iterator[str]:
    """URI of an empty bucket."""
    file_system = fsspec.filesystem("s3")
    region = os.environ["AWS_DEFAULT_REGION"]
    # the one region that a new bucket must not name
    file_system.mkdir("tadka-test", **({} if region == "us-east-1" else {"region_name": region}))
    yield "s3://tadka-test"
    file_system.rm("tadka-test", recursive=True)


@pytest.fixture
def memory() -> Iterator[str]:
    """URI of an empty folder in memory."""
    yield "memory://folder"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request: pytest.FixtureRequest) -> str:
    """An empty folder, on each kind of file system in turn."""
    name = {"local": "tmp_path", "memory": "memory", "s3": "bucket"}[request.param]
    return f"{request.getfixturevalue(name)}"
