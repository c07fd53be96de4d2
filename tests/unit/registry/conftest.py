"""A new SQLite file without the second that making its tables takes, and a real MLflow server."""

import contextlib
import logging
import os
import shutil
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tadka.registry.registry import Registry
from tadka.registry.tracking import Tracking

VARIABLES = {
    "_MLFLOW_SERVER_FILE_STORE": "sqlite:///{folder}/server.db",
    "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
    "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "{folder}/kept",
    "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
}


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("empty") / "empty.db"
    Tracking(f"sqlite:///{file}")
    return file


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> Registry:
    shutil.copy(empty_database, tmp_path / "registry.db")
    return Registry(f"sqlite:///{tmp_path}/registry.db")


class Server:
    """MLflow's own server in a thread, at one port, that can be stopped and started again."""

    def __init__(self, app: Any, make: Any) -> None:
        self._app, self._make = app, make
        self._server: Any = None
        self._port = 0
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._server = self._make("127.0.0.1", self._port, self._app, threaded=True)
        self._port = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None


@pytest.fixture(scope="session")
def mlflow_app(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "server.db")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own imports
        for name, value in VARIABLES.items():
            patch.setenv(name, value.format(folder=folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        import mlflow
        from mlflow.server import app

        with contextlib.suppress(ImportError):  # it is for users and passwords
            import mlflow.server.auth  # the first search would do it, and warn

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        logging.getLogger("mlflow.server").setLevel(logging.ERROR)  # shown where a test fails
        yield app
        mlflow.set_tracking_uri("")  # the server makes its own the one of the process
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def server(mlflow_app: Any) -> Iterator[Server]:
    from werkzeug.serving import make_server

    server = Server(mlflow_app, make_server)
    yield server
    server.stop()
