"""A version of a dataset as a task: written once, and again only when its inputs changed.

```python
class Rows(DatasetTask):
    definition = Clicked  # a tadka.dataset.Dataset
    start: date
    end: date


class Train(Task[Fit]):
    rows: Rows

    def run(self, rows: Version) -> Fit: ...


build(Train(rows=Rows(start=..., end=..., store="out/clicked")))
```
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.hashing import digest
from tadka.dataset.check.custom import Custom
from tadka.dataset.define.definition import Dataset
from tadka.dataset.document import digest_of
from tadka.dataset.intake import Input, Intake
from tadka.dataset.session import session
from tadka.dataset.source.catalog import Catalog
from tadka.dataset.version.fingerprint import LEVELS
from tadka.dataset.version.store import Store
from tadka.dataset.version.version import Version
from tadka.task.define.field import param
from tadka.task.define.run import Run
from tadka.task.define.task import Task
from tadka.task.output.out import Out

_FILE = "version.json"


def _save(version: Version, folder: Path) -> None:
    """Keeps where a version is, and what it holds; its rows stay in their store."""
    held = {
        "name": version.name,
        "path": version.path,
        "id": version.id,
        "num_rows": version.num_rows,
        "output_hash": version.manifest.output_hash,
    }
    (folder / _FILE).write_text(json.dumps(held, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _load(folder: Path) -> Version:
    """The version that was kept, as it is now.

    Raises:
        DataError: It is gone, or holds other rows.
    """
    held = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    what = f"Version {held['id']!r} of {held['name']!r} at {held['path']!r}"
    again = f"Make it again: force={held['name']!r}, or the name of its task."
    try:
        found = Store(held["path"].rpartition("/versions/")[0]).version(held["id"])
    except NotFound as error:
        raise DataError(f"{what} is gone. {again}") from error
    if found.manifest.output_hash != held["output_hash"]:
        raise DataError(f"{what} holds other rows than were written. {again}")
    return found


class DatasetTask(Task[Version]):
    """Writes a version of a dataset; what takes it in gets the `Version`.

    The fields of a subclass are the parameters of its dataset, by name; fields that hold tasks are
    what must be there before. The key covers the definition, the parameters and the state of the
    tables, so that changed inputs make a new version, and equal rows from other inputs make
    nothing downstream run again.

    Attributes:
        store: A field, the folder or URI of the store of versions, see `tadka.dataset.Store`.
        engine: A field, `"duckdb"` or `"spark"`, which give the same rows.
        definition: The dataset.
        level: How much of the tables is read at each build to tell whether they changed:
            `"content"` all bytes, `"footer"` the ends of files, `"listing"` nothing, so that files
            that were only copied count as changed. Of a database all rows are read in any case.

    Raises:
        ConfigError: The class has no definition, or its fields are not the dataset's parameters.
    """

    definition: ClassVar[type[Dataset]]
    level: ClassVar[Literal["listing", "footer", "content"]] = "footer"
    out = Out(save=_save, load=_load)

    store: str
    engine: Literal["duckdb", "spark"] = param(default="duckdb", significant=False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.level not in LEVELS:
            raise ConfigError(
                f"{cls.__name__}.level is {cls.level!r}; it must be one of {', '.join(LEVELS)}."
            )
        cls.__not_code__ = cls.__not_code__ | {"definition", "level"}  # `fingerprint` has them
        dataset = getattr(cls, "definition", None)
        if dataset is None:  # what its subclasses share
            return
        if not (isinstance(dataset, type) and issubclass(dataset, Dataset)):
            raise ConfigError(
                f"{cls.__name__}.definition is {dataset!r}; it must be a class of datasets."
            )
        _check_fields(cls, dataset)
        checks = dataset.definition.checks
        cls.uses = (*cls.uses, *(c.function for c in checks if isinstance(c, Custom)))

    def __post_init__(self) -> None:
        cls = type(self)
        if not hasattr(cls, "definition"):
            raise ConfigError(f"{cls.__name__} has no definition; write definition = DATASET.")
        cls.definition.definition.bind(**self.parameters)

    @property
    def parameters(self) -> dict[str, Any]:
        """Values for the parameters of the dataset; those that are None are left to it."""
        names = type(self).definition.definition.parameters
        values = {name: getattr(self, name) for name in names if name in self.fields}
        return {name: value for name, value in values.items() if value is not None}

    def fingerprint(self) -> Mapping[str, str]:
        """The definition's digest, and the state of each table.

        Raises:
            NotFound: A table is not there.
            DataError: A table cannot be read.
            ConfigError: Nothing tells the state of a table.
        """
        definition = type(self).definition.definition
        tables = Intake(definition.bind(**self.parameters), None).inputs
        states = {f"table {name}": self._state(found) for name, found in tables.items()}
        return {"definition": digest_of(definition), **states}

    def _state(self, found: Input) -> str:
        if isinstance(found.table.source, Catalog):
            raise ConfigError(
                f"{type(self).__name__} reads {found.name!r} from Spark's catalog, which does not "
                "tell whether a table changed. Override fingerprint() and say it there."
            )
        found.listing = found.staged = found.resolve()
        is_database = any(file.format == "database" for file in found.listing.files)
        print_ = found.fingerprint("content" if is_database else self.level)
        return digest((print_.level, print_.snapshot, dict(print_.partitions)))

    def run(self, run: Run) -> Version:
        """Writes the version, or finds it where rows are equal.

        Args:
            run: Whose folder holds what is not kept.

        Raises:
            CheckFailed: Checks failed.
            DataError: The query meets what it cannot calculate, or the disk is full.
        """
        opened = session(
            type(self).definition,
            engine=self.engine,
            scratch=run.folder,
            progress="none",
            **self.parameters,
        )
        with opened as s:
            # changed inputs are no fault here: they are why this runs
            version = s.write(self.store, accept_changed=True, fingerprint=self.level)
        run.log(rows=version.num_rows)
        return version


def _check_fields(cls: type[DatasetTask], dataset: type[Dataset]) -> None:
    """Refuses fields that are no parameters, and parameters without a field."""
    known = dataset.definition.parameters
    own = cls.fields.keys() - DatasetTask.fields.keys()
    taken = sorted(known.keys() & DatasetTask.fields.keys())
    if taken:
        raise ConfigError(
            f"{cls.__name__}: dataset {dataset.__name__!r} has a parameter {taken[0]!r}, which is "
            "a field of every DatasetTask. Give the parameter another name."
        )
    unknown = sorted(n for n in own - known.keys() if not cls.fields[n].holds_tasks)
    if unknown:
        raise ConfigError(
            f"{cls.__name__} has a field {unknown[0]!r}, and dataset {dataset.__name__!r} has no "
            f"such parameter; its parameters are {', '.join(known) or 'none'}."
        )
    missing = [n for n, parameter in known.items() if parameter.default is None and n not in own]
    if missing:
        raise ConfigError(
            f"{cls.__name__} lacks a field {missing[0]!r}, a parameter of dataset "
            f"{dataset.__name__!r}; write {missing[0]}: {known[missing[0]].kind}."
        )
