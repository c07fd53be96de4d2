"""All kinds of sources, and how a definition or YAML names one."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.source.catalog import Catalog
from tadka.dataset.source.database import Database
from tadka.dataset.source.delta import Delta
from tadka.dataset.source.files import Files
from tadka.dataset.source.footer import Footer
from tadka.dataset.source.iceberg import Iceberg
from tadka.dataset.source.kafka import Kafka
from tadka.dataset.source.listing import InputFile, Listing, Source

__all__ = ["KINDS", "Footer", "InputFile", "Listing", "Source", "from_config", "source_of"]

KINDS: dict[str, type[Source]] = {
    cls.__name__.lower(): cls for cls in (Files, Catalog, Database, Delta, Iceberg, Kafka)
}
"""Every kind of source by the name that YAML gives it."""


def source_of(given: "str | Path | Source") -> Source:
    """The source that a definition names.

    Args:
        given: A source, or a path or URI of files.

    Raises:
        ConfigError: It is neither, or the path is not a template.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, str | Path):
        return Files(str(given))
    raise ConfigError(
        f"A source is {given!r}; it must be a path or URI of files, or one of "
        f"{', '.join(cls.__name__ for cls in KINDS.values())}."
    )


def from_config(given: str | Mapping[str, Any], where: str = "source") -> Source:
    """The source that YAML names, as `to_config` wrote it.

    Args:
        given: A path or URI of files, or a mapping with the key `kind`.
        where: Path of the key, for the message.

    Raises:
        ConfigError: A key is unknown or missing, or a value is not accepted.
    """
    if isinstance(given, str):
        return Files(given)
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} is {given!r}; it must be a path or a mapping with 'kind'.")
    values = dict(given)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise ConfigError(f"{where}.kind is {kind!r}; it must be one of {', '.join(KINDS)}.")
    fields = dataclasses.fields(KINDS[kind])  # type: ignore[arg-type] # all are dataclasses
    for name in values:
        if name not in {field.name for field in fields}:
            raise ConfigError(
                f"{where}.{name} is not known; a source of kind {kind!r} has "
                f"{', '.join(field.name for field in fields)}."
            )
    for field in fields:
        if field.default is dataclasses.MISSING and field.name not in values:
            raise ConfigError(f"{where}.{field.name} is missing; kind {kind!r} needs it.")
    return KINDS[kind](**values)
