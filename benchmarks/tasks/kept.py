"""What the benchmark task_faults makes: a file, a folder, several outputs; all from a number."""

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from tadka.task import Out, Task
from tasks.journal import body

NUM_FILES, FILE_BYTES = 12, 40_000
BODY_S = 0.02
"""That a body takes besides: others shall come while it runs."""


def bytes_of(number: int, num: int) -> bytes:
    return np.random.default_rng(number).bytes(num)


def save_folder(value: dict[str, bytes], folder: Path) -> None:
    for name, content in value.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def load_folder(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


class File(Task[np.ndarray]):
    number: int
    num_bytes: int = 1_000_000
    out = Out("npy")

    def run(self) -> np.ndarray:
        with body(f"File{self.number}"):
            time.sleep(BODY_S)
            return array(self.number, self.num_bytes)


class Folder(Task[dict[str, bytes]]):
    number: int
    out = Out(save=save_folder, load=load_folder)

    def run(self) -> dict[str, bytes]:
        with body(f"Folder{self.number}"):
            time.sleep(BODY_S)
            return folder(self.number)


class Several(Task[dict[str, Any]]):
    number: int
    out = {"weights": Out("npy"), "report": Out("json"), "log": Out("txt")}

    def run(self) -> dict[str, Any]:
        with body(f"Several{self.number}"):
            time.sleep(BODY_S)
            return several(self.number)


class Reader(Task[str]):
    """What came out of another task, as a hash: did it ever see other bytes?"""

    source: Task[Any]
    again: int

    def run(self, source: Any) -> str:
        return digest(source)


def array(number: int, num_bytes: int = 1_000_000) -> np.ndarray:
    return np.frombuffer(bytes_of(number, num_bytes), np.uint8)


def folder(number: int) -> dict[str, bytes]:
    names = [f"part{one % 3}/{one:02}.bin" for one in range(NUM_FILES)]
    return {name: bytes_of(number + one, FILE_BYTES) for one, name in enumerate(sorted(names))}


def several(number: int) -> dict[str, Any]:
    return {
        "weights": np.random.default_rng(number).standard_normal(60_000),
        "report": {"number": number, "values": list(range(2_000))},
        "log": f"line of {number}\n" * 3_000,
    }


def digest(value: Any) -> str:
    """Of a value, whatever tadka thinks of it."""
    found = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, dict):
            for name in sorted(part):
                add(name)
                add(part[name])
        elif isinstance(part, np.ndarray):
            add(f"{part.dtype} {part.shape}")
            add(part.tobytes())
        else:
            content = part if isinstance(part, bytes) else repr(part).encode()
            found.update(b"%s %d " % (type(part).__name__.encode(), len(content)) + content)

    add(value)
    return found.hexdigest()


KINDS = {"file": File, "folder": Folder, "several": Several}
VALUES = {"file": array, "folder": folder, "several": several}


def task_of(kind: str, number: int) -> Any:
    return KINDS[kind](number=number)


def label_of(kind: str, number: int) -> str:
    return f"{KINDS[kind].__name__}{number}"


def expected(kind: str, number: int) -> str:
    return digest(VALUES[kind](number))
