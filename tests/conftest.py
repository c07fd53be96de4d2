"""What tests may need from the machine, and the rule for a machine that lacks it.

A test that needs a data set, a program or a right says so with a marker. Where it is missing the
test is skipped with a reason that names it; under TADKA_CI=1 the test fails instead, so that a
green CI run has run everything. (A GPU may be missing there.)
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.spark import spark_session

ROOT = Path(__file__).resolve().parent.parent
# Every JVM of the tests, ours and those of processes that tests start: none lives long enough to
# gain from the optimizing compiler, which takes two fifths of the time that Spark uses without it.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
DATA = Path(os.environ.get("TADKA_DATA", ROOT.parent / "shared" / "data")).resolve()
IN_CI = os.environ.get("TADKA_CI") == "1"

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM_PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
)


def find_program(*names: str) -> str | None:
    """The first of `names` beside this interpreter, on PATH, or among the system's programs."""
    return next((found for name in names if (found := shutil.which(name, path=PROGRAM_PATH))), None)


def find_postgresql() -> Path | None:
    """The folder of PostgreSQL's programs, where Debian puts them or where PATH has them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=str)
    if found:
        return found[-1].parent
    initdb = find_program("initdb")
    return None if initdb is None else Path(initdb).resolve().parent


def missing_data(*folders: str) -> str | None:
    absent = [folder for folder in folders if not (DATA / folder).is_dir()]
    if absent:
        return (
            f"no data set {', '.join(absent)} in {DATA}; set TADKA_DATA to the folder that holds it"
        )
    return None


def missing_root() -> str | None:
    if os.geteuid() != 0:
        return "not root; network namespaces need it"
    unshare, ip = find_program("unshare"), find_program("ip")
    if unshare is None or ip is None:
        return "unshare or ip is not installed; run: apt-get install util-linux iproute2"
    tried = subprocess.run(
        [unshare, "--net", "--mount", ip, "link", "show", "lo"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        return f"this root may not make namespaces: {tried.stderr.strip()}"
    return None


def missing_chromium() -> str | None:
    if find_program(*CHROMIUM_NAMES) is None:
        return "no Chromium; run: apt-get install chromium"
    return None


def missing_mpi() -> str | None:
    if importlib.util.find_spec("mpi4py") is None:
        return "no mpi4py; run: make setup"
    if find_program("mpirun") is None:
        return "no mpirun; run: make setup"
    return None


def missing_compiler() -> str | None:
    compiler = find_program("clang", "gcc", "cc")
    if compiler is None:
        return "no C compiler; run: apt-get install gcc libc6-dev"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "try.c")
        source.write_text("int main(void) { return 0; }", encoding="utf-8")
        tried = subprocess.run(
            [compiler, "-fsanitize=address,undefined", str(source), "-o", f"{folder}/try"],
            capture_output=True,
            check=False,
        )
    if tried.returncode != 0:
        return f"{compiler} has no sanitizer libraries; run: apt-get install gcc libc6-dev"
    return None


def missing_http2() -> str | None:
    absent = [name for name in ("h2load", "nghttp", "curl") if find_program(name) is None]
    if absent:
        return f"no {', '.join(absent)}; run: apt-get install nghttp2-client curl"
    return None


def missing_node() -> str | None:
    if find_program("node") is None:
        return "no node; run: apt-get install nodejs npm"
    if not (ROOT / "tests" / "node" / "node_modules" / "@grpc" / "grpc-js").is_dir():
        return "tests/node has no packages; run: tests/node/install.sh"
    return None


def missing_spark() -> str | None:
    if importlib.util.find_spec("pyspark") is None:
        return "no pyspark; run: make setup"
    if find_program("java") is None:
        return "no Java; run: apt-get install openjdk-17-jre-headless"
    return None


def missing_postgresql() -> str | None:
    if find_postgresql() is None:
        return "no PostgreSQL; run: apt-get install postgresql"
    return None


def missing_shells() -> str | None:
    absent = [name for name in ("zsh", "fish") if find_program(name) is None]
    return f"no {', '.join(absent)}; run: apt-get install zsh fish" if absent else None


def missing_gpu() -> str | None:
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return "no NVIDIA GPU"
    return None


NEEDS = {
    "needs_data": missing_data,
    "needs_root": missing_root,
    "needs_chromium": missing_chromium,
    "needs_mpi": missing_mpi,
    "needs_compiler": missing_compiler,
    "needs_http2": missing_http2,
    "needs_node": missing_node,
    "needs_spark": missing_spark,
    "needs_postgresql": missing_postgresql,
    "needs_shells": missing_shells,
    "needs_gpu": missing_gpu,
}
MAY_BE_MISSING_IN_CI = {"needs_gpu"}
GROUPS = {
    "needs_spark": "spark",  # a second JVM would cost more than its process gains
    **dict.fromkeys(("needs_chromium", "needs_mpi", "needs_postgresql"), "files in /dev/shm"),
}
"""What runs in one process of several, wherever it stands."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Says which tests stay together where several processes run them (make test: pytest-xdist).

    Those of a file do, for its fixtures. A need may say otherwise, and a test by
    @pytest.mark.xdist_group.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            needs = (marker.name for marker in item.iter_markers())
            group = next((GROUPS[name] for name in needs if name in GROUPS), str(item.path))
            item.add_marker(pytest.mark.xdist_group(group))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips, or in CI fails, a test whose needs this machine does not meet."""
    for marker in item.iter_markers():
        if marker.name not in NEEDS:
            continue
        reason = NEEDS[marker.name](*marker.args)
        if reason is None:
            continue
        if IN_CI and marker.name not in MAY_BE_MISSING_IN_CI:
            pytest.fail(f"{marker.name}: {reason}. TADKA_CI=1 allows no skip.", pytrace=False)
        pytest.skip(f"{marker.name}: {reason}")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of data sets; who opens `data / "ml-100k"` bears needs_data("ml-100k")."""
    return DATA


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return ROOT


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; for tests that bear needs_chromium."""
    found = find_program(*CHROMIUM_NAMES)
    assert found is not None, "mark the test with needs_chromium"
    return found


@pytest.fixture(scope="session")
def mpirun() -> str:
    """Path of mpirun; for tests that bear needs_mpi."""
    found = find_program("mpirun")
    assert found is not None, "mark the test with needs_mpi"
    return found


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One SparkSession for all tests that bear needs_spark.

    What tests change belongs into `spark.newSession()`.
    """
    with spark_session(tmp_path_factory.mktemp("spark")) as session:
        yield session
