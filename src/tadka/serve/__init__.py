"""Models answer live traffic: gRPC, JSON and the Open Inference Protocol. See docs/serve.md."""

from tadka.serve.client import Client
from tadka.serve.config import ServeConfig
from tadka.serve.load import LoadConfig, LoadReport, run_load
from tadka.serve.log.writer import read_log
from tadka.serve.prediction import Prediction, Score
from tadka.serve.server import Server
from tadka.serve.store.custom import PythonModel
from tadka.serve.store.store import Store

__all__ = [
    "Client",
    "LoadConfig",
    "LoadReport",
    "Prediction",
    "PythonModel",
    "Score",
    "ServeConfig",
    "Server",
    "Store",
    "read_log",
    "run_load",
]
