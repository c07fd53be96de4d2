from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tadka.features.declaration import Member
from tadka.features.definition import Definition
from tadka.features.program import Program
from tadka.features.row import Rows

Entries: TypeAlias = tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.uint16]
]

def hash_text(data: bytes, seed: int = 0) -> int: ...

class Scratch:
    def __init__(self, engine: Engine) -> None: ...

class Engine:
    definition: Definition
    def __init__(
        self,
        definition: Definition,
        sources: Sequence[int],
        programs: Sequence[Program | None],
        rows: Rows,
        members: Sequence[Member],
        *,
        is_plain: bool = True,
    ) -> None: ...
    def encode_messages(self, messages: Iterable[bytes], *, first_row: int = 0) -> Entries: ...
    def encode_arrow(self, batch: Any, threads: int = 1, *, first_row: int = 0) -> Entries: ...
    def encode_rows(self, instances: Iterable[Any], *, first_row: int = 0) -> Entries: ...
    def decode(self, message: bytes) -> list[Any]: ...

def run_program(program: Program, values: Sequence[Any]) -> tuple[bool, Any]: ...
