"""What `mlserver start DIRECTORY` reads."""

import json
from pathlib import Path


def write_settings(directory: Path, port: int, num_processes: int) -> None:
    """Write both files; with 0 processes requests are scored where they arrive."""
    directory.mkdir(parents=True)
    model = {"name": "ctr", "implementation": "serving.mlserver_model.Ctr"}
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_endpoint": None,
        "parallel_workers": num_processes,
        "debug": False,
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    (directory / "model-settings.json").write_text(json.dumps(model))
