import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tadka.core.error import ConfigError, DataError, Unreachable
from tadka.registry.registry import Registry
from tadka.registry.tracking import Tracking, begins_with, equals

PACKAGE = Path(__file__).resolve().parents[3] / "src" / "tadka" / "registry"


class Broken(BaseHTTPRequestHandler):
    """A server that is up and unwell, or no MLflow at all."""

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = int(self.path.split("/")[1])
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"no JSON")

    def log_message(self, *words: object) -> None:
        pass


@pytest.mark.parametrize("status", [500, 503, 404, 200])
def test_a_server_that_answers_wrong_is_told_at_the_start(status: int) -> None:
    server = HTTPServer(("127.0.0.1", 0), Broken)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        with pytest.raises((Unreachable, ConfigError), match=r"127\.0\.0\.1"):
            Registry(f"http://127.0.0.1:{server.server_port}/{status}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_schema_of_another_version_is_told(registry: Registry) -> None:
    file = registry.uri.removeprefix("sqlite:///")
    other = f"{file}.old"
    program = (
        "import shutil, sqlite3, sys; shutil.copy(sys.argv[1], sys.argv[2]);"
        "c = sqlite3.connect(sys.argv[2]);"
        "c.execute(\"update alembic_version set version_num = 'acf3f17fdcc7'\"); c.commit()"
    )
    subprocess.run([sys.executable, "-c", program, file, other], check=True)
    with pytest.raises((ConfigError, DataError), match="mlflow db upgrade"):
        Registry(f"sqlite:///{other}")


def test_telemetry_is_off_and_only_one_module_knows_mlflow(registry: Registry) -> None:
    import mlflow.telemetry

    assert registry.uri
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert mlflow.telemetry.get_telemetry_client() is None
    knowing = [
        file.name
        for file in PACKAGE.glob("*.py")
        if 'require("mlflow' in file.read_text() or "import mlflow" in file.read_text()
    ]
    assert knowing == ["tracking.py"]


def test_a_deleted_experiment_is_told(registry: Registry, tmp_path: Path) -> None:
    tracking = Tracking(registry.uri)
    registry.begin("fm", directory=tmp_path / "run").finish()
    tracking._client.delete_experiment(tracking.experiment_id("tadka"))

    with pytest.raises(ConfigError, match="mlflow experiments restore --experiment-id 1"):
        registry.runs()
    with pytest.warns(RuntimeWarning, match="was deleted"):
        Registry(registry.uri).begin("fm", directory=tmp_path / "other")


def test_conditions_quote_what_they_compare() -> None:
    assert equals("a", "it's") == 'a = "it\'s"'
    assert begins_with("a", "x") == "a LIKE 'x%'"
    with pytest.raises(ConfigError, match="both kinds of quotes"):
        equals("a", "'\"")
