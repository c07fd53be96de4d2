"""What a model knows of its data before it is trained: vocabularies, arrays, plain facts.

    STATE/state.json            which column goes by which vocabulary, and the facts
    STATE/vocabulary/NAME/      one append-only vocabulary each
    STATE/array/NAME.npy        arrays that `Model.prepare` gave, mapped into memory when read

A state is a folder: it pickles as its path, and every process maps the same bytes.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.models.table.vocabulary import Vocabulary
from tadka.storage.publish import publish_file

_FILE = "state.json"


class State:
    """Vocabularies, arrays and facts in one folder.

    Args:
        folder: Where `State.create` made it.

    Raises:
        DataError: The folder holds none, or it is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        try:
            told = json.loads((self.folder / _FILE).read_text(encoding="utf-8"))
            self._vocabulary_of: dict[str, str] = dict(told["columns"])
            self.meta: dict[str, Any] = dict(told["meta"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"Folder {str(self.folder)!r} holds no state of a model: {error}. Train it anew."
            ) from error
        self._vocabularies: dict[str, Vocabulary] = {}
        self._arrays: dict[str, np.ndarray] = {}

    @classmethod
    def create(
        cls, folder: str | Path, columns: Mapping[str, str], before: "State | None" = None
    ) -> "State":
        """A state without arrays; vocabularies that lie in the folder already are its own.

        Args:
            folder: Of the state.
            columns: Name of the vocabulary by column.
            before: State of the same model whose vocabularies are copied: their rows never change,
                and new values come after them. None begins with empty ones.
        """
        path = Path(folder).absolute()
        (path / "array").mkdir(parents=True, exist_ok=True)
        for name in sorted(set(columns.values())):
            home = path / "vocabulary" / name
            if home.exists():
                continue
            if before is None:
                Vocabulary.create(home)
            else:
                shutil.copytree(before.folder / "vocabulary" / name, home)
        _write(path, columns, {})
        return cls(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return State, (str(self.folder),)

    def __getitem__(self, name: str) -> np.ndarray:
        """An array that `Model.prepare` gave; it cannot be written to.

        Raises:
            ConfigError: There is none of that name.
        """
        if name not in self._arrays:
            path = self.folder / "array" / f"{name}.npy"
            if not path.exists():
                known = ", ".join(sorted(p.stem for p in path.parent.glob("*.npy"))) or "none"
                raise ConfigError(
                    f"The model's state has no array {name!r}; prepare() gave: {known}."
                )
            self._arrays[name] = np.load(path, mmap_mode="r")
        return self._arrays[name]

    def has(self, name: str) -> bool:
        """Whether there is an array of that name.

        Args:
            name: Of the array.
        """
        return (self.folder / "array" / f"{name}.npy").exists()

    def vocabulary(self, name: str) -> Vocabulary:
        """The vocabulary of a column, or of that name.

        Args:
            name: Of either.

        Raises:
            ConfigError: There is none.
        """
        found = self._vocabulary_of.get(name, name)
        if found not in self._vocabularies:
            if found not in self._vocabulary_of.values():
                known = ", ".join(sorted(set(self._vocabulary_of.values()))) or "none"
                raise ConfigError(
                    f"The model has no vocabulary {name!r}; it has: {known}. Mark the column in "
                    f"`inputs`: Column({name!r}, 'int64', vocabulary=True)."
                )
            self._vocabularies[found] = Vocabulary.open(self.folder / "vocabulary" / found)
        return self._vocabularies[found]

    @property
    def vocabularies(self) -> dict[str, str]:
        """Name of the vocabulary by column."""
        return dict(self._vocabulary_of)

    def rows(self, name: str, values: Any) -> np.ndarray:
        """Rows of values in a column's vocabulary.

        Args:
            name: Of the column or the vocabulary.
            values: Keys, shape (N,).

        Returns:
            int64, shape (N,); 0 where a value was not seen in training.
        """
        return self.vocabulary(name).rows(values)

    def size(self, name: str) -> int:
        """Rows of a column's vocabulary, row 0 included, which stands for the unseen."""
        return self.vocabulary(name).size

    def put(self, arrays: Mapping[str, Any]) -> None:
        """Keeps arrays; those of the same name are replaced.

        Args:
            arrays: By name; scalars and text go to `meta`.
        """
        for name, value in arrays.items():
            if isinstance(value, np.ndarray):
                with publish_file(str(self.folder / "array" / f"{name}.npy")) as file:
                    np.lib.format.write_array(file, value, allow_pickle=False)
                self._arrays.pop(name, None)
            else:
                self.meta[name] = value
        _write(self.folder, self._vocabulary_of, self.meta)


def _write(folder: Path, columns: Mapping[str, str], meta: Mapping[str, Any]) -> None:
    text = json.dumps({"columns": dict(columns), "meta": dict(meta)}, indent=1)
    with publish_file(str(folder / _FILE)) as file:
        file.write(text.encode())
