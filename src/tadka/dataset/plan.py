"""What a dataset would read and run, before it does: partitions, files, rows, bytes and SQL."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tadka.dataset.check.runner import Results
from tadka.dataset.define.bound import Bound
from tadka.dataset.define.definition import Dataset
from tadka.dataset.define.leakage import check_bound
from tadka.dataset.intake import Intake
from tadka.dataset.source.template import text_of
from tadka.dataset.sql.choice import dialect_of
from tadka.dataset.sql.query import select
from tadka.dataset.version.manifest import plain


@dataclass(frozen=True, kw_only=True)
class PlannedTable:
    """What would be read of one table.

    Args:
        name: Of the table.
        aliases: Names in the dataset of the rows that are taken from it.
        source: Where it lies, as YAML has it.
        columns: Those that are used.
        partitions: Names of the partitions, in order; empty without any.
        num_files: In them.
        num_rows: In them; None where footers do not tell, as of CSV or a database.
        num_bytes: Of the files.
        snapshot: What the table calls its state; None where it has no such thing.
    """

    name: str
    aliases: tuple[str, ...]
    source: str | dict[str, Any]
    columns: tuple[str, ...]
    partitions: tuple[str, ...]
    num_files: int
    num_rows: int | None
    num_bytes: int
    snapshot: str | None

    def __str__(self) -> str:
        rows = "" if self.num_rows is None else f"{self.num_rows:,} rows, "
        partitions = ""
        if self.partitions:
            ends = dict.fromkeys([self.partitions[0], self.partitions[-1]])
            partitions = f"{len(self.partitions):,} partitions ({' to '.join(ends)}), "
        return (
            f"{self.name} ({', '.join(self.aliases)}): {partitions}{self.num_files:,} files, "
            f"{rows}{self.num_bytes:,} bytes; columns {', '.join(self.columns)}"
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a session would do.

    Args:
        name: Of the dataset.
        engine: That would run it.
        parameters: Values by name, as JSON has them.
        tables: That would be read.
        most_rows: The most rows that can come out; None where footers do not tell.
        columns: Kinds of the output's columns by name.
        sql: The query.
    """

    name: str
    engine: str
    parameters: dict[str, Any]
    tables: tuple[PlannedTable, ...]
    most_rows: int | None
    columns: dict[str, str]
    sql: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        most = "" if self.most_rows is None else f", at most {self.most_rows:,} rows"
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        lines = [f"{self.name}({given}) on {self.engine}", *map(str, self.tables)]
        return "\n".join([*lines, f"output{most}: {columns}", "", self.sql])


def plan(
    dataset: type[Dataset], *, engine: Literal["duckdb", "spark"] = "duckdb", **parameters: Any
) -> Plan:
    """The plan of a dataset, from listings and footers; no engine is started.

    Days that are missing and partitions without rows are warnings here.

    Args:
        dataset: The definition.
        engine: That would run it.
        **parameters: Of the dataset.

    Raises:
        ConfigError: The definition or its parameters are wrong, or would leak.
        CheckFailed: A table is not there, or its columns are not as declared.
    """
    bound = dataset.definition.bind(**parameters)
    check_bound(bound)
    dialect_of(engine)
    intake = Intake(bound, None)
    results = Results(dataset.definition.name, on_fail="warn")
    intake.check(dataset.definition.checks, results)
    results.raise_failures()
    return plan_of(bound, intake, engine)


def plan_of(bound: Bound, intake: Intake, engine: str) -> Plan:
    """The plan of a dataset whose tables were looked at.

    Args:
        bound: The definition with its parameters.
        intake: Its tables.
        engine: `"duckdb"` or `"spark"`.

    Raises:
        ConfigError: The engine is not known, or the definition has SQL for another one only.
    """
    definition = bound.definition
    return Plan(
        name=definition.name,
        engine=engine,
        parameters=plain_parameters(bound),
        tables=tuple(
            PlannedTable(
                name=found.name,
                aliases=found.aliases,
                source=found.table.source.to_config(),
                columns=found.columns,
                partitions=_partitions(found.listing.files),
                num_files=len(found.listing.files),
                num_rows=found.num_rows,
                num_bytes=found.listing.num_bytes,
                snapshot=found.listing.snapshot,
            )
            for found in intake.inputs.values()
        ),
        most_rows=intake.most_rows,
        columns={column.name: str(column.kind) for column in definition.columns},
        sql=select(bound, dialect_of(engine)),
    )


def plain_parameters(bound: Bound) -> dict[str, Any]:
    """Values of the parameters as JSON has them.

    Args:
        bound: The definition with its parameters.
    """
    found: Mapping[str, Any] = bound.parameters
    return {name: plain(literal.value) for name, literal in found.items()}


def _partitions(files: Any) -> tuple[str, ...]:
    values = {id(file.values): file.values for file in files if file.values}
    return tuple(sorted({text_of(one) for one in values.values()}))
