"""The tables that a dataset reads: listed, made Parquet where they are not, and looked at.

All that is known of them before an engine runs is known here, from listings and footers.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tadka.core.error import DataError, NotFound
from tadka.dataset.check.check import Check, Verdict
from tadka.dataset.check.footer import AsDeclared, Listed, PartitionsExist, TableCheck, TableFacts
from tadka.dataset.check.rows import RowCount
from tadka.dataset.check.runner import Results
from tadka.dataset.define.bound import Bound
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.schema import Schema
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import DATE
from tadka.dataset.source.footer import Footer, check_columns, footers
from tadka.dataset.source.listing import InputFile, Listing
from tadka.dataset.source.template import text_of
from tadka.dataset.version.fingerprint import Fingerprint, compare, take
from tadka.dataset.version.manifest import Span, TableRecord, plain

_FILES_AT_ONCE = 4096  # footers between two looks at whether anybody still wants them


class Cancelled(Exception):
    """Nobody wants to know any more."""


@dataclass(kw_only=True)
class Input:
    """One table of a dataset, as far as it is known.

    Args:
        table: Whose files.
        aliases: Of the rows that the dataset takes from it.
        columns: Names of its columns that the dataset uses.
        spans: Parts of it that are read; empty for all of it.
        days: Partitions that must be there, by name.

    Attributes:
        listing: Its files, as the source gave them.
        staged: The same, all of them Parquet.
        footers: Of the staged files.
    """

    table: type[Schema]
    aliases: tuple[str, ...]
    columns: tuple[str, ...]
    spans: tuple[Span, ...]
    days: Mapping[str, frozenset[str]]
    listing: Listing = field(default_factory=lambda: Listing([]))
    staged: Listing = field(default_factory=lambda: Listing([]))
    footers: list[Footer] | None = None

    @property
    def name(self) -> str:
        """Of the table."""
        return self.table.__name__

    @property
    def num_rows(self) -> int | None:
        """Of all files; None where footers do not tell."""
        return None if self.footers is None else sum(footer.num_rows for footer in self.footers)

    @property
    def record(self) -> TableRecord:
        """For the manifest, without a fingerprint."""
        declared = self.table.columns.values()
        return TableRecord(
            source=self.table.source.to_config(),
            partitions={c.name: str(c.kind) for c in declared if c.is_partition},
            columns={c.name: str(c.kind) for c in declared if not c.is_partition},
            spans=self.spans,
            num_rows=self.num_rows,
            num_bytes=self.listing.num_bytes,
            snapshot=self.listing.snapshot,
        )

    def fingerprint(self, level: str) -> Fingerprint:
        """What its files are.

        Args:
            level: `"listing"`, `"footer"` or `"content"`.
        """
        is_staged = self.staged is not self.listing
        return take(
            self.listing,
            level,
            source=self.table.source,
            columns=self.table.columns,
            footers=None if is_staged else self.footers,
            staged=self.staged if is_staged else None,
        )

    @property
    def is_plain(self) -> bool:
        """Whether engines read all its files as they lie there."""
        return all(file.is_plain for file in self.listing.files)

    @property
    def is_fixed(self) -> bool:
        """Whether what is read stays as it is: a snapshot, or the copy of what is no file."""
        is_copied = not all(file.is_file for file in self.listing.files)
        return self.listing.snapshot is not None or is_copied

    def resolve(self) -> Listing:
        """Its files as they are now."""
        return self.table.source.resolve(self.table.columns, self.record.keeps)


class Intake:
    """The tables of a dataset.

    Args:
        bound: The definition with its parameters.
        directory: An existing folder for what is made Parquet; None stages nothing, and what is
            not Parquet then has no rows that could be counted.
    """

    def __init__(self, bound: Bound, directory: Path | None) -> None:
        self._bound = bound
        self._directory = directory
        self.inputs = {
            name: _input(bound, table) for name, table in bound.definition.tables.items()
        }

    def check(
        self,
        checks: Sequence[Check],
        results: Results,
        *,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Lists all tables, reads the footers of their files, and says what is wrong with them.

        What is not Parquet is made so last, and only where nothing failed before: it may be long.

        Args:
            checks: Of the definition; those of tables run, others do where footers tell enough.
            results: Takes them down, as they arrive; failures are not raised here.
            is_cancelled: Asked between steps.

        Raises:
            Cancelled: `is_cancelled` said so.
        """
        listed: list[Input] = []
        for found in self.inputs.values():
            if is_cancelled():
                raise Cancelled
            if self._list(found, results):
                listed.append(found)
        plain = [found for found in listed if self._is_ready(found)]
        others = [found for found in listed if not self._is_ready(found)]
        for found in plain:
            self._look(found, checks, results, is_cancelled)
        told = {found.name for found in others if self._lacks_days(found, checks, results)}
        has_counted = len(listed) == len(self.inputs) and self.most_rows is not None
        if has_counted:
            self.count(checks, results)
        if results.failures:
            return
        for found in others:
            self._look(found, checks, results, is_cancelled, is_told=found.name in told)
        if len(listed) == len(self.inputs) and not has_counted:
            self.count(checks, results)

    def _is_ready(self, found: Input) -> bool:
        """Whether a table is looked at as it is."""
        return self._directory is None or found.is_plain

    def _list(self, found: Input, results: Results) -> bool:
        start = results.clock()
        facts = TableFacts(table=found.name)
        try:
            found.listing = found.staged = found.resolve()
            facts = replace(
                facts, num_files=len(found.listing.files), num_bytes=found.listing.num_bytes
            )
        except (NotFound, DataError) as error:
            facts = replace(facts, error=str(error))
        check = Listed(found.name)
        results.add(check, check.judge_table(facts), start=start)
        return facts.error is None

    def _look(
        self,
        found: Input,
        checks: Sequence[Check],
        results: Results,
        is_cancelled: Callable[[], bool],
        *,
        is_told: bool = False,
    ) -> None:
        start = results.clock()
        facts = _facts(found)
        try:
            self._stage(found, is_cancelled)
            if found.staged.files and all(file.is_plain for file in found.staged.files):
                found.footers = list(_footers(found.staged.files, is_cancelled))
                complaints = check_columns(found.footers, found.table.columns)
                facts = replace(facts, rows=_rows(found), complaints=complaints)
        except (NotFound, DataError) as error:
            facts = replace(facts, error=str(error))
        declared: TableCheck = AsDeclared(found.name)
        results.add(declared, declared.judge_table(facts), start=start)
        if facts.error is None:
            exist = _partitions_exist(found.name, checks)
            verdict = exist.judge_table(replace(facts, expected=()) if is_told else facts)
            if verdict.status == "failed" or not is_told:
                results.add(exist, verdict, start=start)

    def _lacks_days(self, found: Input, checks: Sequence[Check], results: Results) -> bool:
        """Whether partitions are missing, which is said before rows are copied."""
        start = results.clock()
        exist = _partitions_exist(found.name, checks)
        verdict = exist.judge_table(_facts(found))
        if verdict.status == "failed":
            results.add(exist, verdict, start=start)
        return verdict.status == "failed"

    def _stage(self, found: Input, is_cancelled: Callable[[], bool]) -> None:
        if self._is_ready(found):
            return
        assert self._directory is not None, "without a folder every table is ready"

        def proceed() -> None:
            if is_cancelled():
                raise Cancelled

        folder = self._directory / f"staged-{len(list(self._directory.iterdir()))}"
        folder.mkdir()
        source = found.table.source
        found.staged = source.stage(found.listing, found.table.columns, folder, proceed)

    def count(
        self, checks: Sequence[Check], results: Results, previous_rows: int | None = None
    ) -> None:
        """Says where too few rows will come out, whatever the query: only failures are results.

        Args:
            checks: Of the definition; only `RowCount` is asked.
            results: Takes them down; failures are not raised here.
            previous_rows: In the version before; None where there is none.
        """
        most = self.most_rows
        for check in checks:
            start = results.clock()
            if isinstance(check, RowCount) and most is not None:
                reason = check.too_few(most, previous_rows)
                if reason is not None:
                    verdict = Verdict("failed", f"at most {most:,} rows can come out; {reason}.")
                    results.add(check, verdict, start=start, stage="footer")

    @property
    def most_rows(self) -> int | None:
        """The most rows that the output can have; None where footers do not tell."""
        definition = self._bound.definition
        rows = self.inputs[definition.rows.table.__name__].num_rows
        if rows is None:
            return None
        factor = 1.0
        for other in definition.relations.values():
            if other.lookup is not None:
                factor *= other.lookup.max_matches
        return int(rows * factor)

    def changed_since_listed(self) -> list[str]:
        """What was changed in the tables since they were listed, a sentence for each table."""
        told = []
        for name, found in self.inputs.items():
            if found.is_fixed:
                continue
            now = found.resolve()
            seen = compare(take(found.listing, "listing"), take(now, "listing"))
            if seen.is_changed:
                told.append(f"table {name!r}: {' '.join(seen.reasons)}")
        return told


def _input(bound: Bound, table: type[Schema]) -> Input:
    relations = {a: r for a, r in bound.definition.relations.items() if r.table is table}
    spans: list[Span] = []
    days: dict[str, set[str]] = {}
    for rows in relations.values():
        bounds = bound.span(rows)
        if bounds is None or rows.span is None or not table.columns[rows.span.by].is_partition:
            spans = []
            break
        start, end = bounds
        spans.append(Span(column=rows.span.by, start=plain(start.value), end=plain(end.value)))
    for rows in relations.values():
        bounds = bound.span(rows)
        if bounds is None or rows.span is None:
            continue
        column = table.columns[rows.span.by]
        if column.is_partition and column.kind == DATE:
            names = days.setdefault(column.name, set())
            names.update(
                text_of({column.name: day}) for day in _days(bounds[0].value, bounds[1].value)
            )
    return Input(
        table=table,
        aliases=tuple(relations),
        columns=tuple(name for name in table.columns if name in _used(bound, table)),
        spans=tuple(spans),
        days={name: frozenset(found) for name, found in days.items()},
    )


def _days(start: dt.date, end: dt.date) -> Iterator[dt.date]:
    for number in range((end - start).days):
        yield start + dt.timedelta(days=number)


def _used(bound: Bound, table: type[Schema]) -> set[str]:
    """Columns of a table that are read: named, or needed for what is looked up."""
    used: set[str] = set()
    for _, expression in bound.definition.expressions():
        for part in expression.walk():
            if not isinstance(part, Column):
                continue
            if part.relation is None:
                is_of_table = table.columns.get(part.name) is part
            else:
                is_of_table = isinstance(part.relation, Rows) and part.relation.table is table
            if is_of_table:
                used.add(part.name)
    has_lookups = any(r.lookup is not None for r in bound.definition.relations.values())
    for rows in bound.definition.relations.values():
        if rows.table is table:
            if rows.span is not None:
                used.add(rows.span.by)
            if rows.lookup is not None:
                used.update(rows.lookup.on)
            if table.time_column is not None and has_lookups:
                used.add(table.time_column)
    return used


def _facts(found: Input) -> TableFacts:
    """What the listing tells."""
    return TableFacts(
        table=found.name,
        num_files=len(found.listing.files),
        num_bytes=found.listing.num_bytes,
        expected=[name for names in found.days.values() for name in sorted(names)],
        present=_present(found),
    )


def _present(found: Input) -> frozenset[str]:
    names: set[str] = set()
    seen: set[int] = set()
    for file in found.listing.files:
        if id(file.values) not in seen:  # files of one folder share their values
            seen.add(id(file.values))
            names.update(text_of({name: file.values[name]}) for name in found.days)
    return frozenset(names)


def _rows(found: Input) -> dict[str, int]:
    assert found.footers is not None
    rows: dict[str, int] = {}
    names: dict[int, str] = {}
    for file, footer in zip(found.staged.files, found.footers, strict=True):
        name = names.get(id(file.values))
        if name is None:
            name = names[id(file.values)] = text_of(file.values)
        rows[name] = rows.get(name, 0) + footer.num_rows
    return rows


def _footers(files: Sequence[InputFile], is_cancelled: Callable[[], bool]) -> Iterator[Footer]:
    for start in range(0, len(files), _FILES_AT_ONCE):
        if is_cancelled():
            raise Cancelled
        yield from footers(files[start : start + _FILES_AT_ONCE])


def _partitions_exist(table: str, checks: Sequence[Check]) -> PartitionsExist:
    """The check that somebody asked for, of this table or of all, or the one of every table."""
    asked = [check for check in checks if isinstance(check, PartitionsExist)]
    for name in (table, None):
        for check in asked:
            if check.table == name:
                return replace(check, table=table)
    return PartitionsExist(table)
