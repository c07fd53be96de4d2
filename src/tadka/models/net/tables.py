"""Tables of a net: in memory, or in mapped files of which checkpoints keep links.

Shapes: rows of any shape; D dimensions of a vector, appended to it.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from tadka.core.error import DataError
from tadka.models.table.embedding import SparseEmbedding
from tadka.models.table.mapped import MappedTable
from tadka.models.table.table import Init, MemoryTable

_LIVE = "live"


class TableEmbedding(SparseEmbedding):
    """A table in memory whose rows are in the net's state, so that checkpoints have them.

    The buffers are the table's own memory: what is loaded into them is in the table.

    Args:
        table: Where the vectors are; it must not grow.
        vocabulary: Name of the vocabulary of its rows.
        lr: Learning rate of its steps.
    """

    values: Tensor
    sums: Tensor

    def __init__(self, table: MemoryTable, vocabulary: str, *, lr: float) -> None:
        super().__init__(table, vocabulary, lr=lr)
        self.register_buffer("values", torch.from_numpy(table.values))
        self.register_buffer("sums", torch.from_numpy(table.sums))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002
        return self  # the table stays in the memory of the machine; vectors go to the device

    def forward(self, rows: Tensor) -> Tensor:
        """Vectors of rows, of any shape, with D appended to it."""
        if self.training and torch.is_grad_enabled():
            return super().forward(rows)
        # of the buffers, which a copy of the net has of its own
        return nn.functional.embedding(rows.cpu(), self.values).to(rows.device)


class MappedEmbedding(SparseEmbedding):
    """A table in mapped files, for more rows than there is memory.

        FOLDER/live/    the table that is trained
        FOLDER/NUMBER/  links to its files as they were after so many pushes: a checkpoint's

    The net's state has that number alone. The two newest are kept, as of checkpoints. What is
    pushed after one copies the segment that it is pushed to, so where all segments are, the disk
    holds three tables. No copy of the net has vectors of its own.

    Args:
        table: Where the vectors are; read-only where they are trained no more.
        vocabulary: Name of the vocabulary of its rows.
        lr: Learning rate of its steps.
        folder: Of `begin`; None where nothing is trained.
    """

    table: MappedTable

    def __init__(
        self, table: MappedTable, vocabulary: str, *, lr: float, folder: Path | None = None
    ) -> None:
        super().__init__(table, vocabulary, lr=lr)
        self._folder = folder
        self._last = 0  # number of the checkpoint that was made or restored last

    @classmethod
    def begin(
        cls,
        folder: Path,
        num_rows: int,
        dim: int,
        vocabulary: str,
        *,
        lr: float,
        scale: float,
        seed: int,
        before: Path | None = None,
        init: Init | None = None,
    ) -> Self:
        """A table to train; checkpoints of an earlier try stay until there is a new one.

        Args:
            folder: Of the table and its checkpoints.
            num_rows: Rows of the vocabulary, row 0 included.
            dim: D.
            vocabulary: Its name.
            lr: Learning rate.
            scale: Standard deviation of first vectors.
            seed: Of their draws.
            before: Folder of a trained table to begin from, which has not more rows.
            init: First vectors of the rows that it has not.
        """
        live = folder / _LIVE
        shutil.rmtree(live, ignore_errors=True)
        if before is None:
            table = MappedTable.create(live, 0, dim, scale=scale, seed=seed)
        else:
            MappedTable.open(before, read_only=True).save(live)
            table = MappedTable.open(live)
        table.grow(num_rows, init)  # not saved: what no manifest names is written to in place
        return cls(table, vocabulary, lr=lr, folder=folder)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002
        return self  # no tensor of its own

    def get_extra_state(self) -> Tensor:
        """Keeps the table as it is now; the number by which `set_extra_state` finds it.

        0 stands for a table that was not pushed to, or is not trained here.
        """
        number = 0 if self._folder is None else self.table.num_pushes
        if self._folder is not None and number not in (0, self._last):
            kept = _numbers(self._folder)
            for old in kept - {max((n for n in kept if n < number), default=0)}:
                shutil.rmtree(self._folder / str(old))
            self.table.save(self._folder / str(number))
            self._last = number
        return torch.tensor(number)

    def set_extra_state(self, state: Tensor) -> None:
        """Takes back the table as it was then.

        Raises:
            DataError: It is not there any more.
        """
        number = int(state)
        if self._folder is None or not number:
            return
        source = self._folder / str(number)
        if not (source / "manifest.json").exists():
            raise DataError(
                f"The checkpoint needs table {str(source)!r}, which is gone. Train anew."
            )
        live = self._folder / _LIVE
        self.table.close()
        shutil.rmtree(live)
        MappedTable.open(source, read_only=True).save(live)
        self.table = MappedTable.open(live)
        self._last = number

    def hand_over(self, folder: Path) -> None:
        """Leaves the trained table in a folder, by links; it is read-only from here on.

        Args:
            folder: For it.
        """
        self.table.save(folder)
        if self._folder is not None:
            self.table.close()
            for old in _numbers(self._folder) - {self._last}:
                shutil.rmtree(self._folder / str(old))
        self.table, self._folder = MappedTable.open(folder, read_only=True), None


def _numbers(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdigit()}
