"""Preparing data: from what a configuration names to parts as Parquet files, made once.

Rows stream: in memory are a batch, the columns that divide rows (8 bytes a row and column), and for
the order of train 8 bytes a row. Nothing is written where files already are what is asked for.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadka.core.error import ConfigError, DataError, TadkaError
from tadka.core.extra import require
from tadka.core.hashing import digest
from tadka.models.data.config import Csv, DataConfig
from tadka.models.data.data import PARTS, Data
from tadka.models.data.divide import divided
from tadka.models.data.known import find, known
from tadka.models.data.place import in_order, write_rows
from tadka.models.data.shape import Shaped
from tadka.models.data.source import (
    FileSource,
    Source,
    TableSource,
    VersionSource,
    folder_hash,
    identity,
    open_source,
)
from tadka.models.data.split import Split
from tadka.storage.format import scan, suffix_of
from tadka.storage.publish import publish_directory, publish_file
from tadka.storage.uri import is_local, resolve

if TYPE_CHECKING:
    import pyarrow as pa

_FORMAT = 1  # raised when the same configuration would give other files
_RECORD = "data.json"
_MIN_GROUPS = 8  # so that several workers share even a small part


def prepare(config: DataConfig, folder: str | Path) -> Data:
    """The data that a configuration names.

    Parquet files that are split already, with the names that are asked for, are read in place and
    in their order. All else is written once below `folder`, under the fingerprint of its content,
    and found there by later calls.

    Args:
        config: What is wanted.
        folder: Local, for what is written.

    Returns:
        Its parts and tables.

    Raises:
        ConfigError: Keys do not go together, or an environment variable is not set.
        NotFound: A file, or a known data set, does not exist.
        DataError: A file is damaged, a column is missing, or rows cannot be divided as asked.
    """
    config = config.expanded()
    file_system, path = resolve(folder)
    if not is_local(file_system):
        raise ConfigError(f"Prepared data cannot be kept at {str(folder)!r}; name a local folder.")
    place = Path(path)
    sources, tables, origin = _opened(config, place)
    if _is_as_asked(config, sources, tables):
        return _in_place(config, sources, tables, origin)
    fingerprint = digest((_FORMAT, _meaning(config), origin))
    target = place / fingerprint[:16]
    if (found := _found(target, fingerprint)) is not None:
        return found
    try:
        with publish_directory(target, replace=target.exists()) as aside:
            _write(config, sources, tables, origin, fingerprint, aside)
    except DataError:
        # another process may have been faster; its files are as good
        if (found := _found(target, fingerprint)) is not None:
            return found
        raise
    found = _found(target, fingerprint)
    assert found is not None, "written right now"
    return found


def _opened(
    config: DataConfig, cache: Path
) -> tuple[dict[str, Source], dict[str, Any], dict[str, Any]]:
    """Rows by part (`train` is all that is to be divided), tables by name, and what they are."""
    tables: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    origin: dict[str, Any] = {}
    if config.source:
        one = find(config.source)
        found = known(config.source, config.folder)
        origin["source"] = {
            "name": one.name,
            "files": folder_hash(Path(config.folder).expanduser(), one.files),
        }
        is_given = config.split.kind == "given" and not config.split.column
        if is_given and "train" not in found:
            raise ConfigError(
                f"Data set {one.name!r} has no published parts; set data.split.kind to random, "
                "fold or time."
            )
        names = [part for part in PARTS if part in found] if is_given else ["train"]
        for part in names:
            sources[part] = TableSource(found[part] if is_given else _whole(found))
        tables = {n: t for n, t in found.items() if n not in (*PARTS, "all")}
    for part in PARTS:
        uris = config.uris(part)
        if uris:
            opened = open_source(uris, config.csv)
            sources[part] = opened
            origin[part] = identity(opened, cache)
    if isinstance(config.valid, Split):
        sources.pop("valid", None)
    for name, uri in config.tables.items():
        opened = open_source((uri,), config.csv)
        tables[name] = opened
        origin[f"tables.{name}"] = identity(opened, cache)
    for name in config.join:
        if name not in tables:
            raise ConfigError(
                f"data.join names table {name!r}, which the data does not have; it has "
                f"{', '.join(tables) or 'none'}."
            )
    return sources, tables, origin


def _whole(tables: Mapping[str, "pa.Table"]) -> "pa.Table":
    """All rows of a known data set, whatever parts it was published in."""
    pa = require("pyarrow", extra="arrow")
    if "all" in tables:
        return tables["all"]
    return pa.concat_tables([tables[part] for part in PARTS if part in tables])


def _is_as_asked(
    config: DataConfig, sources: Mapping[str, Source], tables: Mapping[str, Any]
) -> bool:
    """Whether the files can be read as they are."""
    return (
        config.split.kind == "given"
        and not config.split.column
        and not isinstance(config.valid, Split)
        and not config.columns
        and not config.join
        and config.positive_from is None
        and all(_files(source) is not None for source in sources.values())
        and all(isinstance(t, FileSource) and len(t.uris) == 1 for t in tables.values())
        and config.csv == Csv()
    )


def _files(source: Source) -> list[str] | None:
    """Parquet files that hold all of a source's columns; None where there are none."""
    if isinstance(source, VersionSource):
        manifest = source.version.manifest
        is_plain = manifest.format == "parquet" and not manifest.partition_by
        return source.version.files() if is_plain else None
    if isinstance(source, FileSource) and all(suffix_of(u) == ".parquet" for u in source.uris):
        return source.uris
    return None


def _in_place(
    config: DataConfig,
    sources: Mapping[str, Source],
    tables: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> Data:
    parts = {part: tuple(_files(source) or ()) for part, source in sources.items()}
    return Data(
        parts=parts,
        counts={part: int(source.num_rows or 0) for part, source in sources.items()},
        tables={name: table.uris[0] for name, table in tables.items()},
        fingerprint=digest((_FORMAT, dict(origin))),
        split=config.split,
        origin=origin,
    )


def _meaning(config: DataConfig) -> dict[str, Any]:
    """What of a configuration changes the rows: all but where its files lie."""
    given = asdict(config)
    for name in ("folder", "train", "test", "tables", "negatives"):
        given.pop(name)
    given["valid"] = asdict(config.valid) if isinstance(config.valid, Split) else None
    return given


def _found(target: Path, fingerprint: str) -> Data | None:
    """What an earlier call wrote; None where it is not there, or not whole."""
    try:
        found = Data.from_json((target / _RECORD).read_text(encoding="utf-8"), target)
        is_whole = all(
            sum(scan(uri).num_rows or 0 for uri in uris) == found.num_rows(part)
            for part, uris in found.parts.items()
        ) and all(scan(uri).schema.names for uri in found.tables.values())
    except (OSError, TadkaError):
        return None
    return found if is_whole and found.fingerprint == fingerprint else None


def _write(
    config: DataConfig,
    sources: Mapping[str, Source],
    tables: Mapping[str, Any],
    origin: Mapping[str, Any],
    fingerprint: str,
    folder: Path,
) -> None:
    paths: dict[str, str] = {}
    whole: dict[str, Any] = {}
    for name, table in tables.items():
        if isinstance(table, FileSource | VersionSource):
            table = _all_rows(table)
        whole[name] = table
        paths[name] = f"tables/{name}.parquet"
        write_rows(folder / paths[name], table.schema, iter([table]), config.group_rows)
    shaped = {
        part: Shaped(
            source,
            columns=config.columns,
            sides=[(name, key, whole[name]) for name, key in config.join.items()],
            label=config.label,
            positive_from=config.positive_from,
        )
        for part, source in sources.items()
    }
    counts = {}
    for name, part in divided(shaped, config.split, config.valid).items():
        count, schema, rows = part.count(), part.rows.schema, part.tables()
        group_rows = min(config.group_rows, max(1, -(-count // _MIN_GROUPS)))
        if name == "train" and config.shuffle:
            rows = in_order(rows, count, config.seed, schema, folder)
        write_rows(folder / f"{name}.parquet", schema, rows, group_rows)
        counts[name] = count
    record = Data(
        parts={name: (f"{folder}/{name}.parquet",) for name in counts},
        counts=counts,
        tables={name: f"{folder}/{path}" for name, path in paths.items()},
        fingerprint=fingerprint,
        split=config.split,
        origin=origin,
        folder=str(folder),
    )
    with publish_file(folder / _RECORD) as file:
        file.write(record.to_json().encode())


def _all_rows(source: FileSource | VersionSource) -> "pa.Table":
    pa = require("pyarrow", extra="arrow")
    return pa.Table.from_batches(source.batches(), source.schema.remove_metadata())
