"""Fixtures of scenarios on real processes."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tadka.serve.server import Server
from tests.conftest import IN_CI
from tests.serving import Impression, Transport, make_store, serving


def _need_native() -> None:
    if importlib.util.find_spec("tadka.serve.loop") is not None:
        return
    if IN_CI:
        pytest.fail("tadka.serve.loop is not built. TADKA_CI=1 allows no skip.", pytrace=False)
    pytest.skip("tadka.serve.loop is not built; run: make setup")


@pytest.fixture(params=["native", "grpcio"])
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each of the two servers in turn; the native one where it was built."""
    wanted: Transport = request.param
    if wanted == "native":
        _need_native()
    return wanted


@pytest.fixture
def native() -> Transport:
    """The native server, for what the other one leaves to the kernel or to grpcio."""
    _need_native()
    return "native"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Folder of a store that serves version 1 of the models ctr and cvr."""
    return make_store(tmp_path).path


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The native server, started once for a whole file."""
    _need_native()
    store = make_store(tmp_path_factory.mktemp("native"))
    with serving(store.path, "native", Impression) as server:
        yield server


@pytest.fixture(scope="module")
def fallback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The grpcio server, started once for a whole file."""
    store = make_store(tmp_path_factory.mktemp("fallback"))
    with serving(store.path, "grpcio", Impression) as server:
        yield server


@pytest.fixture(params=["fast", "fallback"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the two, started once for a whole file."""
    found: Server = request.getfixturevalue(request.param)
    return found
