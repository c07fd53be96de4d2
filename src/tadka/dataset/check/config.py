"""Checks by the names that YAML gives them."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.check.check import Check
from tadka.dataset.check.custom import Custom, load_function, load_named
from tadka.dataset.check.footer import PartitionsExist
from tadka.dataset.check.inputs import Fresh, Matched, TimeCutoff
from tadka.dataset.check.predictor import NoSinglePredictor
from tadka.dataset.check.rows import (
    LabelShare,
    NoDuplicates,
    NoEntityOverlap,
    RowCount,
    Unique,
)
from tadka.dataset.check.values import InRange, NoNan, NullShare, OneOf
from tadka.dataset.define.schema import nearest

KINDS: dict[str, type[Check]] = {
    cls.__name__: cls
    for cls in (
        Custom,
        Fresh,
        InRange,
        LabelShare,
        Matched,
        NoDuplicates,
        NoEntityOverlap,
        NoNan,
        NoSinglePredictor,
        NullShare,
        OneOf,
        PartitionsExist,
        RowCount,
        TimeCutoff,
        Unique,
    )
}
"""Every kind of check by its name."""


def _class(kind: str, where: str) -> type[Check]:
    if kind in KINDS:
        return KINDS[kind]
    if ":" not in kind:
        raise ConfigError(f"{where} is {kind!r}. {nearest(kind, KINDS, 'kinds')}")
    found = load_named(kind, where)
    if not isinstance(found, type) or not issubclass(found, Check):
        raise ConfigError(f"{where} is {kind!r}, which is no class below Check.")
    return found


def check_from_config(given: Mapping[str, Any], where: str = "check") -> Check:
    """The check that YAML names, as `to_config` wrote it.

    Args:
        given: A mapping with the key `check`.
        where: Path of the key, for messages.

    Raises:
        ConfigError: A key is unknown or missing, or a value is not accepted.
    """
    if not isinstance(given, Mapping) or "check" not in given:
        raise ConfigError(f"{where} is {given!r}; it must be a mapping with the key 'check'.")
    values = {str(key): value for key, value in given.items()}
    kind = str(values.pop("check"))
    cls = _class(kind, f"{where}.check")
    fields = {item.name: item for item in dataclasses.fields(cls) if item.init}
    # a duration is written in seconds
    known = [f"{n}_s" if "timedelta" in str(item.type) else n for n, item in fields.items()]
    for name in values:
        if name not in known:
            raise ConfigError(
                f"{where}.{name} is not known to {kind}. {nearest(name, known, 'keys')}"
            )
    for name, key in zip(fields, known, strict=True):
        if fields[name].default is dataclasses.MISSING and key not in values:
            raise ConfigError(f"{where}.{key} is missing; {kind} needs it.")
    try:
        for name, key in zip(fields, known, strict=True):
            if key != name and key in values:
                values[name] = dt.timedelta(seconds=values.pop(key))
        if cls is Custom:
            values["function"] = load_function(str(values["function"]), f"{where}.function")
        if cls is Unique:
            return Unique(*values.pop("columns", ()), **values)
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**options)
    except TypeError as error:  # a text where a number must be, and the like
        raise ConfigError(f"{where} of kind {kind} is not understood: {error}.") from error
