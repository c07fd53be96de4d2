"""Checks by the names that YAML gives them."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.check.check import Check, nearest
from tadka.dataset.check.custom import Custom, load_function
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
    kind = values.pop("check")
    if kind not in KINDS:
        raise ConfigError(f"{where}.check is {kind!r}. {nearest(str(kind), list(KINDS))}")
    fields = {item.name: item for item in dataclasses.fields(KINDS[kind])}
    known = [f"{name}_s" if name == "max_age" else name for name in fields]
    for name in values:
        if name not in known:
            raise ConfigError(f"{where}.{name} is not known to {kind}. {nearest(name, known)}")
    for name, key in zip(fields, known, strict=True):
        if fields[name].default is dataclasses.MISSING and key not in values:
            raise ConfigError(f"{where}.{key} is missing; {kind} needs it.")
    try:
        if "max_age_s" in values:
            values["max_age"] = dt.timedelta(seconds=values.pop("max_age_s"))
        if "function" in values:
            values["function"] = load_function(str(values["function"]), f"{where}.function")
        if kind == "Unique":
            return Unique(*values.pop("columns", ()), **values)
        return KINDS[kind](**values)
    except TypeError as error:  # a text where a number must be, and the like
        raise ConfigError(f"{where} of kind {kind} is not understood: {error}.") from error
