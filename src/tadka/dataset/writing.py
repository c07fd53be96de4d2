"""Writes a version: the query, checks of what it gave, the record, and only then the name."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.dataset.check.check import OUTPUT, Check, Ground
from tadka.dataset.check.custom import CheckedOutput, Custom
from tadka.dataset.check.runner import Results, run_checks, run_custom
from tadka.dataset.define.bound import Bound
from tadka.dataset.disk import writing as on_disk
from tadka.dataset.document import digest_of, to_yaml
from tadka.dataset.engine.engine import Engine
from tadka.dataset.intake import Intake
from tadka.dataset.measure.measure import Measured, measure
from tadka.dataset.plan import plain_parameters
from tadka.dataset.version.fingerprint import Fingerprint, compare
from tadka.dataset.version.manifest import FileRecord, Manifest
from tadka.dataset.version.origin import code_of, environment
from tadka.dataset.version.version import Version


class Writing:
    """One version on its way.

    Args:
        bound: The definition with its parameters.
        engine: That runs, with the tables registered.
        intake: The tables.
        module: Name of the module that the definition stands in; None where there is none.
        level: Of the fingerprints of the inputs.
        on_progress: Called with the share of the query that is done; None where nobody looks.
        seconds: What the steps took, by name; further ones are added.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        bound: Bound,
        engine: Engine,
        intake: Intake,
        *,
        module: str | None,
        level: str,
        on_progress: Callable[[float], None] | None,
        seconds: dict[str, float],
        clock: Callable[[], float],
    ) -> None:
        self._bound = bound
        self._engine = engine
        self._intake = intake
        self._module = module
        self._level = level
        self._on_progress = on_progress
        self._seconds = seconds
        self._clock = clock
        self._digest = digest_of(bound.definition)
        self._parameters = plain_parameters(bound)

    def before(self, versions: Sequence[Version]) -> Version | None:
        """The newest version of the same definition and parameters; None where there is none.

        Args:
            versions: Of the store, the oldest first.
        """
        same = [
            version
            for version in versions
            if version.manifest.definition_digest == self._digest
            and version.manifest.parameters == self._parameters
        ]
        return same[-1] if same else None

    def fingerprints(self, level: str) -> dict[str, Fingerprint]:
        """What the inputs are, by table.

        Args:
            level: How far to look.
        """
        return {name: found.fingerprint(level) for name, found in self._intake.inputs.items()}

    def refuse_changed(self, before: Version, prints: Mapping[str, Fingerprint]) -> None:
        """Refuses to write again what is made from other inputs than before.

        Args:
            before: The version of the same definition and parameters.
            prints: What the inputs are now, by table.

        Raises:
            DataError: Inputs have changed; the message names table, partitions and files.
        """
        told = []
        for name, record in before.manifest.tables.items():
            now = compare(Fingerprint.from_dict(record.fingerprint), prints[name])
            if now.is_changed:
                where = f" ({', '.join(list(now.partitions)[:5])})" if any(now.partitions) else ""
                told.append(f"Table {name!r}{where}: {' '.join(now.reasons)}")
        if told:
            raise DataError(
                f"Inputs of {self._bound.definition.name!r} changed since version {before.id!r} "
                f"was written with the same definition and parameters. {' '.join(told)} Write "
                "with accept_changed=True to accept that."
            )

    def run(
        self,
        sql: str,
        checks: Sequence[Check],
        ground: Ground,
        results: Results,
        folder: Path,
        unchanged_since: Version | None,
    ) -> Manifest:
        """Writes the files, checks and measures them.

        Args:
            sql: The query.
            checks: Those of the output.
            ground: Where they run.
            results: Takes them down.
            folder: An empty folder, which afterwards holds all but the manifest.
            unchanged_since: A version whose inputs must have been the same; None for any.

        Raises:
            CheckFailed: A check failed.
            DataError: The query meets what it cannot calculate, the disk is full, or a table was
                changed, since that version or while it was read.
        """
        definition = self._bound.definition
        data = folder / "data"
        with on_disk(folder):
            data.mkdir()
        with self._timed("query"):
            files = self._engine.write(
                sql, data, definition.output, definition.columns, self._on_progress
            )
        with self._timed("check"):
            self._check(files, checks, ground, results)
        with self._timed("measure"):
            measured = measure(
                [str(file) for file in files],
                definition.columns,
                format=definition.output.format,
                partition_by=definition.output.partition_by,
            )
            pq = require("pyarrow.parquet", extra="dataset")
            with on_disk(folder):
                pq.write_table(measured.sample, folder / "sample.parquet")
        with self._timed("fingerprint"):
            prints = self.fingerprints(self._level)
            if told := self._intake.changed_since_listed():
                raise DataError(
                    f"Tables of {definition.name!r} were changed while they were read: "
                    f"{' '.join(told)} Write again when nobody else writes to them."
                )
            if unchanged_since is not None:
                self.refuse_changed(unchanged_since, prints)
        return self._manifest(measured, folder, prints, results)

    def _check(
        self, files: Sequence[Path], checks: Sequence[Check], ground: Ground, results: Results
    ) -> None:
        definition = self._bound.definition
        if checks:
            self._engine.register_files(OUTPUT, files, definition.columns)
        own = [check for check in checks if isinstance(check, Custom)]
        others = [check for check in checks if not isinstance(check, Custom)]
        run_checks(others, ground, self._engine.query_all, results)
        if own:
            counted = self._engine.query(f"SELECT count(*) AS n FROM {OUTPUT}")  # noqa: S608
            names = tuple(column.name for column in definition.columns)
            output = CheckedOutput(self._engine.query, names, counted["n"][0].as_py())
            run_custom(own, output, results)
        results.raise_failures()

    def _manifest(
        self,
        measured: Measured,
        folder: Path,
        prints: Mapping[str, Fingerprint],
        results: Results,
    ) -> Manifest:
        definition = self._bound.definition
        return Manifest(
            name=definition.name,
            definition=to_yaml(definition),
            definition_digest=self._digest,
            is_portable=definition.is_portable,
            parameters=self._parameters,
            engine={
                "name": self._engine.name,
                "version": self._engine.version,
                "options": dict(self._engine.options),
            },
            tables={
                name: replace(found.record, fingerprint=prints[name].to_dict())
                for name, found in self._intake.inputs.items()
            },
            columns=tuple(definition.columns),
            format=definition.output.format,
            partition_by=tuple(definition.output.partition_by),
            files=tuple(
                FileRecord(
                    path=str(Path(file.uri).relative_to(folder)),
                    num_rows=file.num_rows,
                    num_bytes=file.num_bytes,
                )
                for file in measured.files
            ),
            num_rows=measured.num_rows,
            output_hash=measured.output_hash,
            statistics=measured.statistics,
            checks=tuple(result.to_dict() for result in results.all),
            code=code_of(_file_of(self._module)),
            environment=environment(),
            seconds=dict(self._seconds),
            created_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        )

    @contextlib.contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = self._clock()
        yield
        self._seconds[step] = self._seconds.get(step, 0.0) + self._clock() - start


def _file_of(module: str | None) -> str | None:
    found: Any = sys.modules.get(module or "")
    return getattr(found, "__file__", None)
