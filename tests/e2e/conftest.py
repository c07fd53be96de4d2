"""Fixtures of scenarios on real processes."""

import importlib.util
from pathlib import Path

import pytest

from tests.conftest import IN_CI
from tests.serving import Transport, make_store


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
