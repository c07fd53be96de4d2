"""Files that a version is written as."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from tadka.core.error import ConfigError
from tadka.core.resource import parse_bytes

FORMATS = ("parquet", "jsonl", "csv")
COMPRESSIONS = ("zstd", "snappy", "gzip", "none")

_LEAST_BYTES = 1024


@dataclass(frozen=True, init=False)
class Output:
    """How a version is written.

    Args:
        target_file_bytes: Size of each file: a number of bytes, or a text such as `"128MiB"` (all
            units are powers of 1024). The last file of each partition may be smaller.
        format: `"parquet"`, `"jsonl"` (one JSON object a line) or `"csv"`.
        partition_by: Columns of the output whose values become folders; they are not in the files.
        compression: `"zstd"`, `"snappy"` (Parquet only), `"gzip"` or `"none"`.

    Raises:
        ConfigError: A value is not accepted.
    """

    target_file_bytes: int
    format: str
    partition_by: tuple[str, ...]
    compression: str

    def __init__(
        self,
        target_file_bytes: int | str = 128 << 20,
        format: str = "parquet",  # noqa: A002 - the word that every engine has for it
        partition_by: Sequence[str] = (),
        compression: str = "zstd",
    ) -> None:
        num_bytes = parse_bytes(target_file_bytes)
        if num_bytes < _LEAST_BYTES:
            raise ConfigError(
                f"target_file_bytes of the output is {target_file_bytes!r}; it must be at least "
                f"{_LEAST_BYTES}."
            )
        if format not in FORMATS:
            raise ConfigError(
                f"format of the output is {format!r}; it must be one of {', '.join(FORMATS)}."
            )
        accepted = [c for c in COMPRESSIONS if c != "snappy" or format == "parquet"]
        if compression not in accepted:
            raise ConfigError(
                f"compression of the output is {compression!r}; for {format} it must be one of "
                f"{', '.join(accepted)}."
            )
        is_text = isinstance(partition_by, str) or not isinstance(partition_by, Sequence)
        if is_text or not all(isinstance(name, str) for name in partition_by):
            raise ConfigError(
                f"partition_by of the output is {partition_by!r}; it must be a list of columns, "
                "such as ['split']."
            )
        values = (num_bytes, format, tuple(partition_by), compression)
        for field, value in zip(dataclasses.fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)
