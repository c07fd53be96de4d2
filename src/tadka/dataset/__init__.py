"""Training data by definition: tables and conditions in, versions that can be proved out."""

from tadka.dataset.check.check import Check, CheckFailed, CheckResult, CheckWarning
from tadka.dataset.check.custom import CheckedOutput, Custom
from tadka.dataset.check.footer import PartitionsExist
from tadka.dataset.check.inputs import Fresh, Matched, TimeCutoff
from tadka.dataset.check.predictor import NoSinglePredictor
from tadka.dataset.check.rows import LabelShare, NoDuplicates, NoEntityOverlap, RowCount, Unique
from tadka.dataset.check.values import InRange, NoNan, NullShare, OneOf
from tadka.dataset.define.bound import Definition, OutputColumn
from tadka.dataset.define.definition import Dataset
from tadka.dataset.define.label import Label
from tadka.dataset.define.output import Output
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.schema import Named, Partition
from tadka.dataset.define.split import by_hash, by_time
from tadka.dataset.define.table import Table
from tadka.dataset.document import digest_of, from_yaml, merge, to_yaml
from tadka.dataset.expression.expression import (
    Column,
    Expression,
    Parameter,
    Sql,
    days,
    hours,
    if_else,
    minutes,
    seconds,
)
from tadka.dataset.expression.kind import Kind, Utc
from tadka.dataset.measure.rowhash import RowHash
from tadka.dataset.plan import Plan, PlannedTable, plan
from tadka.dataset.script import to_python
from tadka.dataset.session import Session, session
from tadka.dataset.source.catalog import Catalog
from tadka.dataset.source.database import Database
from tadka.dataset.source.delta import Delta
from tadka.dataset.source.files import Files
from tadka.dataset.source.iceberg import Iceberg
from tadka.dataset.source.kafka import Kafka
from tadka.dataset.version.diff import Difference, diff
from tadka.dataset.version.fingerprint import Comparison, Fingerprint
from tadka.dataset.version.store import Store
from tadka.dataset.version.verify import Verification
from tadka.dataset.version.version import Version

__all__ = [
    "Catalog",
    "Check",
    "CheckFailed",
    "CheckResult",
    "CheckWarning",
    "CheckedOutput",
    "Column",
    "Comparison",
    "Custom",
    "Database",
    "Dataset",
    "Definition",
    "Delta",
    "Difference",
    "Expression",
    "Files",
    "Fingerprint",
    "Fresh",
    "Iceberg",
    "InRange",
    "Kafka",
    "Kind",
    "Label",
    "LabelShare",
    "Matched",
    "Named",
    "NoDuplicates",
    "NoEntityOverlap",
    "NoNan",
    "NoSinglePredictor",
    "NullShare",
    "OneOf",
    "Output",
    "OutputColumn",
    "Parameter",
    "Partition",
    "PartitionsExist",
    "Plan",
    "PlannedTable",
    "RowCount",
    "RowHash",
    "Rows",
    "Session",
    "Sql",
    "Store",
    "Table",
    "TimeCutoff",
    "Unique",
    "Utc",
    "Verification",
    "Version",
    "by_hash",
    "by_time",
    "days",
    "diff",
    "digest_of",
    "from_yaml",
    "hours",
    "if_else",
    "merge",
    "minutes",
    "plan",
    "seconds",
    "session",
    "to_python",
    "to_yaml",
]
