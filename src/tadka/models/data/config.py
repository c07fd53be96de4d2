"""What the section `data` of a configuration says."""

import codecs
import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tadka.core.error import ConfigError
from tadka.core.variable import expand_variables
from tadka.models.data.split import Split

Uris = str | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Csv:
    """How texts with separators are read.

    Args:
        separator: One character; a comma, and a tab in `.tsv` files, unless given.
        names: Of the columns, where the file has no line of them.
        encoding: Of the text.

    Raises:
        ConfigError: The separator is no single character, or nobody knows the encoding.
    """

    separator: str = ""
    names: tuple[str, ...] = ()
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if len(self.separator.encode()) > 1 or self.separator in ("\n", "\r", '"'):
            raise ConfigError(
                f"csv.separator is {self.separator!r}; it must be one ASCII character such as ';' "
                "or '\\t', and no quote or end of a line."
            )
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise ConfigError(
                f"csv.encoding is {self.encoding!r}, which is not known; use one such as 'utf-8' "
                "or 'latin-1'."
            ) from error


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which rows a model learns from and is judged by.

    Args:
        source: A known data set, one of `tadka.models.data.known.KNOWN`; or `train`.
        folder: That holds the files of a known data set.
        train: Files, patterns or folders; or a version of a `tadka.dataset`, as its folder or as
            `out/ctr@tag`.
        valid: Likewise; or a `Split` that is cut from train.
        test: Likewise, of rows to judge by.
        tables: Further tables by name, such as `items`.
        columns: Names that the model asks for, each with the name that the data has:
            `{label: rating}`.
        join: Tables whose columns the rows get, each with the column that both have:
            `{users: user}`. Rows without a match get null.
        label: Column of labels, as the model calls it.
        positive_from: Labels from here on become 1, all others 0; unless given they stay.
        negatives: File of negatives of test users, which `tadka model negatives` writes: rankings
            are judged among them, too.
        csv: How `.csv` and `.tsv` files are read.
        split: How test rows come about, where `test` names no files.
        shuffle: Whether rows of train are written in a seeded order.
        seed: Of that order.
        group_rows: Rows of one row group that is written.

    Raises:
        ConfigError: There are no rows, or two keys do not go together.
    """

    source: str = ""
    folder: str = ""
    train: Uris = ()
    valid: Split | str | tuple[str, ...] = ()
    test: Uris = ()
    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    join: Mapping[str, str] = field(default_factory=dict)
    label: str = "label"
    positive_from: float | None = None
    negatives: str = ""
    csv: Csv = field(default_factory=Csv)
    split: Split = field(default_factory=Split)
    shuffle: bool = True
    seed: int = 0
    group_rows: int = 65_536

    def __post_init__(self) -> None:
        if bool(self.source) == bool(self.train):
            told = "both source and train" if self.source else "neither source nor train"
            raise ConfigError(f"The data names {told}; it must name one of them.")
        if self.source and not self.folder:
            raise ConfigError(
                f"The data names source {self.source!r} and no folder; set folder to where its "
                "files are."
            )
        if self.test and self.split.kind != "given":
            raise ConfigError(
                f"The data names test files and a {self.split.kind} split; leave one of them out."
            )
        if isinstance(self.valid, Split) and self.valid.kind == "given":
            raise ConfigError(
                "valid is a given split; name its files, or cut it by random, time, leave_last or "
                "fold."
            )
        for name in self.tables:
            if not re.fullmatch(r"\w[\w.-]*", name):
                raise ConfigError(
                    f"data.tables names a table {name!r}; use letters, digits, '_', '-' and '.'."
                )
        if self.group_rows < 1:
            raise ConfigError(f"group_rows is {self.group_rows}; it must be at least 1.")

    def expanded(self) -> "DataConfig":
        """The same with `${NAME}` and `${NAME:-default}` replaced in its places.

        Raises:
            ConfigError: An environment variable is not set.
        """
        changes = {
            name: expand_variables(getattr(self, name), f"data.{name}")
            for name in ("folder", "train", "valid", "test", "tables", "negatives")
            if not isinstance(getattr(self, name), Split)
        }
        lists: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()
        }
        return dataclasses.replace(self, **lists)

    def uris(self, part: str) -> tuple[str, ...]:
        """Files that are named for a part; none where it is cut from another, or not there.

        Args:
            part: `train`, `valid` or `test`.
        """
        given = getattr(self, part)
        if isinstance(given, Split):
            return ()
        return (given,) if isinstance(given, str) and given else tuple(given)
