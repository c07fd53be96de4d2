"""A version for other tools: as an input of an MLflow run."""

import json
import warnings
from typing import TYPE_CHECKING, Any

from tadka.core.extra import require
from tadka.dataset.expression.kind import Kind

if TYPE_CHECKING:
    from tadka.dataset.version.version import Version

_MLFLOW = {
    "bool": "boolean",
    "int8": "integer",
    "int16": "integer",
    "int32": "integer",
    "int64": "long",
    "float32": "float",
    "float64": "double",
    "string": "string",
    "bytes": "binary",
    "date": "datetime",
    "time": "datetime",
    "utc": "datetime",
}


def to_mlflow(version: "Version") -> Any:
    """A dataset as MLflow has it, for `mlflow.log_input(dataset, context="training")`.

    Its name is that of the dataset, its digest the id of the version, its source the version's
    folder; the profile holds number of rows and bytes, output hash and tags.

    Args:
        version: To be logged.

    Returns:
        A `mlflow.data.dataset.Dataset`.

    Raises:
        MissingExtra: MLflow is not installed.
    """
    meta_dataset = require("mlflow.data.meta_dataset", extra="mlflow")
    types = require("mlflow.types.schema", extra="mlflow")
    manifest = version.manifest

    class VersionDataset(meta_dataset.MetaDataset):  # type: ignore[name-defined,misc]
        """Metadata of a version; the rows stay where they are."""

        @property
        def profile(self) -> dict[str, Any]:
            """What is known of the rows."""
            return {
                "num_rows": manifest.num_rows,
                "num_bytes": manifest.num_bytes,
                "output_hash": manifest.output_hash,
                "definition_digest": manifest.definition_digest,
                "tags": list(version.tags),
            }

        def to_dict(self) -> dict[str, str]:
            """What MLflow stores."""
            return {**super().to_dict(), "profile": json.dumps(self.profile)}

    schema = types.Schema(
        [
            types.ColSpec(_type(column.kind, types), column.name, required=not column.is_nullable)
            for column in manifest.columns
        ]
    )
    return VersionDataset(_source(version.path), manifest.name, version.id, schema)


def _type(kind: Kind, types: Any) -> Any:
    if kind.item is not None:
        return types.Array(_type(kind.item, types))
    return getattr(types.DataType, _MLFLOW[kind.name])


def _source(uri: str) -> Any:
    registry = require("mlflow.data.dataset_source_registry", extra="mlflow")
    exceptions = require("mlflow.exceptions", extra="mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a local path has two sources of one name
        try:
            return registry.resolve_dataset_source(uri)
        except exceptions.MlflowException:  # a store that MLflow does not know
            code = require("mlflow.data.code_dataset_source", extra="mlflow")
            return code.CodeDatasetSource({"uri": uri})
