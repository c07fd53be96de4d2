"""From files as an engine left them to files of the right size under their final names."""

from collections.abc import Sequence
from pathlib import Path

from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.write.sized import Layout, Written, write_empty

_TOLERANCE = 0.1


def layout_of(output: Output, columns: Sequence[OutputColumn]) -> Layout:
    """What the files of an output have in common.

    Args:
        output: As the user asked for it.
        columns: What is written.

    Raises:
        ConfigError: The format, or a folder's name, cannot hold a column.
    """
    pa = require("pyarrow", extra="dataset")
    for column in columns:
        kind = column.kind
        is_bytes = "bytes" in (kind.name, kind.item.name if kind.item else "")
        if column.name in output.partition_by and (kind.is_float or kind.item or is_bytes):
            raise ConfigError(
                f"partition_by names {column.name!r} of type {kind}, which has no exact name of a "
                "folder. Choose a column of whole numbers, texts, dates or truth values."
            )
        if (output.format != "parquet" and is_bytes) or (output.format == "csv" and kind.item):
            raise ConfigError(
                f"Column {column.name!r} is {kind}, which {output.format} cannot hold. "
                "Leave it out, or write format='parquet'."
            )
    return Layout(
        pa.schema([(column.name, column.kind.arrow) for column in columns]),
        output.target_file_bytes,
        output.format,
        output.compression,
        tuple(output.partition_by),
    )


def misfits(files: Sequence[Written], target_bytes: int) -> dict[str, list[Written]]:
    """Files to be written again, by folder: of the wrong size, or more remains than one.

    Args:
        files: All files.
        target_bytes: The size they should have.
    """
    found: dict[str, list[Written]] = {}
    for file in files:
        if abs(file.num_bytes / target_bytes - 1) > _TOLERANCE:
            found.setdefault(file.folder, []).append(file)
    return {
        folder: some
        for folder, some in sorted(found.items())
        if len(some) > 1 or some[0].num_bytes > target_bytes
    }


def settle(files: Sequence[Written], directory: Path, layout: Layout) -> list[Path]:
    """Moves files to their places: `split=train/part-00000.parquet`, the smallest one last.

    Args:
        files: Without empty ones; in the order in which they shall be numbered.
        directory: Above all folders.
        layout: Of the files.

    Returns:
        Their paths, in order; one of a file without rows where there are none.
    """
    if not files:
        path = directory / f"part-00000{layout.suffix}"
        write_empty(str(path), layout)
        return [path]
    folders: dict[str, list[Written]] = {}
    for file in files:
        folders.setdefault(file.folder, []).append(file)
    settled = []
    for folder, some in sorted(folders.items()):
        last = min(some, key=lambda file: file.num_bytes)
        some.sort(key=lambda file: file is last)  # the others keep their order
        (directory / folder).mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(some):
            path = directory / folder / f"part-{number:05}{layout.suffix}"
            Path(file.path).rename(path)
            settled.append(path)
    return settled
