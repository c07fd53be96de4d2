"""What a check is: a rule about inputs or the output, what it finds, and the error that says so.

A check with stage `"footer"` needs no more than listings and the footers of files, and answers
while the engine still starts; one with stage `"rows"` asks the engine. Whatever a check needs to
know of the definition comes to it as a `Scope`, so that definitions can hold checks.
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tadka.core.error import ConfigError, DataError
from tadka.dataset.define.schema import nearest
from tadka.dataset.expression.expression import Column, Expression
from tadka.dataset.expression.kind import BOOL, Kind
from tadka.dataset.sql.dialect import Dialect

Status = Literal["passed", "failed", "warned", "skipped"]
Stage = Literal["footer", "rows"]
OnFail = Literal["raise", "warn"]

ON_FAIL = ("raise", "warn")
OUTPUT = "output"
"""Name of the view of what was written, for the SQL of checks."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What became of one check.

    Args:
        name: Of the check, with what it looks at: `"NullShare(price)"`.
        status: `"warned"` is a failure that does not stop the session; `"skipped"` says that there
            was nothing to look at.
        message: What was found, one sentence.
        seconds: That it took; checks answered by one query share its time.
        stage: Where it ran.
    """

    name: str
    status: Status
    message: str
    seconds: float
    stage: Stage

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return dataclasses.asdict(self)


class CheckFailed(DataError):
    """Checks failed; nothing was written.

    Args:
        message: All failures, one a line.
        results: Of all checks that ran, those that passed included.
    """

    def __init__(self, message: str, results: Sequence[CheckResult] = ()) -> None:
        super().__init__(message)
        self.results = list(results)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.results)


class CheckWarning(UserWarning):
    """A check failed that does not stop the session."""


@dataclass(frozen=True)
class Verdict:
    """What a check finds.

    Args:
        status: Failed, whatever the session makes of it.
        message: What was seen, one sentence.
    """

    status: Literal["passed", "failed", "skipped"]
    message: str


def verdict(*, is_fine: bool, message: str) -> Verdict:
    """Passed or failed.

    Args:
        is_fine: Whether it passed.
        message: What was seen.
    """
    return Verdict("passed" if is_fine else "failed", message)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a definition has that checks may name.

    Args:
        features: Kinds of the features by name.
        label: Name and kind of the label.
        split: Name and kind of the column that says which split a row is in.
        relations: Kinds of the columns of each relation, by alias.
        rows: Alias of the relation that the rows are.
        lookups: Aliases of the relations that are joined to it.
        tables: Names of the tables, each with name and kind of its time column.
    """

    features: Mapping[str, Kind]
    label: tuple[str, Kind] | None = None
    split: tuple[str, Kind] | None = None
    relations: Mapping[str, Mapping[str, Kind]] = field(default_factory=dict)
    rows: str = ""
    lookups: Sequence[str] = ()
    tables: Mapping[str, tuple[str, Kind] | None] = field(default_factory=dict)

    @property
    def output(self) -> dict[str, Kind]:
        """Kinds of all columns of the output."""
        further = [pair for pair in (self.label, self.split) if pair is not None]
        return {**self.features, **dict(further)}

    def place(self, names: Sequence[str]) -> tuple[str, dict[str, Kind]] | None:
        """Where columns of these names stand together: first the output, then its rows.

        Args:
            names: Of columns, as a check was given them.

        Returns:
            The alias, `""` for the output, with the columns there; None where they do not.
        """
        for alias in ("", self.rows):
            columns = self.output if not alias else dict(self.relations.get(alias, {}))
            if all(name in columns for name in names):
                return alias, columns
        return None

    def missing(self, names: Sequence[str]) -> list[str]:
        """Sentences about columns that a check names and that do not exist.

        Args:
            names: Of columns, as a check was given them.
        """
        if self.place(names) is not None:
            return []
        known = {**self.relations.get(self.rows, {}), **self.output}
        unknown = [name for name in names if name not in known]
        if not unknown:
            told = ", ".join(map(repr, names))
            return [f"{told} stand neither all in the output nor all in the rows {self.rows!r}."]
        return [
            f"there is no column {name!r}. {nearest(name, known, 'columns')}" for name in unknown
        ]


@dataclass(frozen=True)
class Measure:
    """One number that a check asks for; those of one source are asked for in one query.

    Args:
        sql: An aggregate, such as `count(*)`.
        source: What stands after FROM.
    """

    sql: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where the SQL of checks runs, and what a judgement may look at.

    Args:
        scope: What the definition has.
        dialect: Of the engine.
        sources: What stands after FROM, by alias of a relation.
        tables: What stands after FROM, by name of a table.
        matches: By alias of a lookup, what stands after FROM for the rows with a column `matches`:
            how many rows of the lookup each has.
        ties: By alias of rows found by time, the query for keys and times that occur twice.
        end: Of the period that the rows are taken from; None where it has none.
        cutoffs: By alias of a relation, what must hold for the time of each of its rows.
        previous_rows: Number of rows of the version before; None where there is none.
    """

    scope: Scope
    dialect: Dialect
    sources: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    matches: Mapping[str, str] = field(default_factory=dict)
    ties: Mapping[str, str] = field(default_factory=dict)
    end: dt.date | None = None
    cutoffs: Mapping[str, Expression[bool]] = field(default_factory=dict)
    previous_rows: int | None = None

    def source(self, *names: str) -> str:
        """What stands after FROM to reach certain columns.

        Args:
            *names: Of columns; none for the output.
        """
        place = self.scope.place(names)
        assert place is not None, "mistakes() was asked before"
        return self.sources[place[0]] if place[0] else self.dialect.quote(OUTPUT)

    def column(self, name: str, among: Sequence[str] = ()) -> Column[Any]:
        """A column that a check names.

        Args:
            name: Its name.
            among: The names that it is looked up with; itself where none are given.
        """
        place = self.scope.place(among or (name,))
        assert place is not None, "mistakes() was asked before"
        return Column(name, place[1][name], is_nullable=True)

    def sql(self, expression: Expression[Any]) -> str:
        """An expression over columns from `column`, for the engine.

        Args:
            expression: Without parameters.
        """
        return self.dialect.expression(
            expression, column=lambda column: self.dialect.quote(column.name), parameters={}
        )

    def count(self, condition: Expression[bool]) -> str:
        """The aggregate that counts rows with a condition.

        Args:
            condition: Over columns from `column`.
        """
        return f"count(*) FILTER (WHERE {self.sql(condition)})"


@dataclass(frozen=True)
class Check:
    """A rule that inputs or the output must keep.

    Args:
        on_fail: `"raise"` stops the session, `"warn"` only says so.

    Attributes:
        stage: `"footer"` where listings and footers tell, `"rows"` where the engine is asked.
        is_strict: Whether a session with `on_fail="warn"` does not soften it, because what follows
            would not mean anything.
    """

    on_fail: OnFail = field(default="raise", kw_only=True)

    stage: ClassVar[Stage] = "rows"
    is_strict: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.on_fail not in ON_FAIL:
            raise ConfigError(
                f"{self.name}: on_fail is {self.on_fail!r}; it must be 'raise' or 'warn'."
            )

    @property
    def name(self) -> str:
        """What results call it."""
        return type(self).__name__

    def mistakes(self, scope: Scope) -> list[str]:  # noqa: ARG002
        """What is wrong with it in a certain definition, such as a column that is not there.

        Args:
            scope: What the definition has.

        Returns:
            A sentence each, in lower case at its beginning; none where all is well.
        """
        return []

    def is_of_inputs(self, scope: Scope) -> bool:  # noqa: ARG002
        """Whether it looks at what is read and not at the output, and so can run before a write.

        Args:
            scope: What the definition has.
        """
        return False

    def measures(self, ground: Ground) -> Mapping[str, Measure]:  # noqa: ARG002
        """The numbers that it needs, by a name of its own.

        Args:
            ground: Where they are taken.
        """
        return {}

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:
        """What the numbers say.

        Args:
            found: The values of `measures`.
            ground: Where they were taken.
        """
        raise NotImplementedError

    def to_config(self) -> dict[str, Any]:
        """What YAML says of it; `check_from_config` is the way back.

        A class of one's own is named `module:Class`.
        """
        cls = type(self)
        is_own = cls.__module__.rpartition(".")[0] != __package__
        kind = f"{cls.__module__}:{cls.__qualname__}" if is_own else cls.__name__
        given: dict[str, Any] = {"check": kind}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if value == item.default or not item.init:
                continue
            if isinstance(value, dt.timedelta):
                given[f"{item.name}_s"] = value.total_seconds()
            else:
                many = isinstance(value, tuple | list)
                given[item.name] = [_plain(v) for v in value] if many else _plain(value)
        return given


def _plain(value: Any) -> Any:
    """As YAML has it: days and times as texts, which checks take for them, too."""
    return value.isoformat() if isinstance(value, dt.date) else value


def share(name: str, what: str, value: Any) -> None:
    """Refuses what is no share.

    Args:
        name: Of the check.
        what: Name of the argument.
        value: That was given.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value <= 1):
        raise ConfigError(f"{name}: {what} is {value!r}; it must be a share from 0 to 1.")


def is_positive(label: Column[Any]) -> Expression[bool]:
    """Whether a label is true, or above 0; null where it is null.

    Args:
        label: Of the output.
    """
    return label if label.kind == BOOL else label > 0
