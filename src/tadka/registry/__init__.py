"""Runs, model versions and what they were made from, kept by MLflow: in a file, or on a server.

`Registry` begins runs and finds them again; `send` sends what could not be sent while it ran.
"""

from tadka.registry.record import DatasetRef, Lineage, ModelVersion, RunRecord
from tadka.registry.registry import Registry
from tadka.registry.spool import send

__all__ = [
    "DatasetRef",
    "Lineage",
    "ModelVersion",
    "Registry",
    "RunRecord",
    "send",
]
