"""Errors, resources, hashing, configuration and progress: what every room stands on."""

from typing import TYPE_CHECKING

from tadka.core.extra import on_demand

if TYPE_CHECKING:
    from tadka.core.config import dump_config, load_config
    from tadka.core.error import (
        ConfigError,
        DataError,
        LaunchError,
        MissingExtra,
        NotFound,
        ServeError,
        StageError,
        TadkaError,
        TooLate,
        Unreachable,
    )
    from tadka.core.extra import require
    from tadka.core.hashing import digest, digest_file
    from tadka.core.progress import Progress, ProgressRow
    from tadka.core.resource import Resources, format_bytes, parse_bytes
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "config": ["dump_config", "load_config"],
            "error": [
                "ConfigError",
                "DataError",
                "LaunchError",
                "MissingExtra",
                "NotFound",
                "ServeError",
                "StageError",
                "TadkaError",
                "TooLate",
                "Unreachable",
            ],
            "extra": ["require"],
            "hashing": ["digest", "digest_file"],
            "progress": ["Progress", "ProgressRow"],
            "resource": ["Resources", "format_bytes", "parse_bytes"],
        },
    )

__all__ = [
    "ConfigError",
    "DataError",
    "LaunchError",
    "MissingExtra",
    "NotFound",
    "Progress",
    "ProgressRow",
    "Resources",
    "ServeError",
    "StageError",
    "TadkaError",
    "TooLate",
    "Unreachable",
    "digest",
    "digest_file",
    "dump_config",
    "format_bytes",
    "load_config",
    "parse_bytes",
    "require",
]
