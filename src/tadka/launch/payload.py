"""A function on its way to another process: cloudpickle, with large arrays beside it.

Replicas of one stage differ in little and share what is large, such as a table in a closure.
Large buffers are written once, under the hash of their content, and mapped copy-on-write by
every process that needs them, so that they share the pages until one writes.
"""

import hashlib
import mmap
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

from tadka.core.extra import require

_LEAST_SHARED_BYTES = 1 << 20


class PayloadStore:
    """Payloads of the processes of one launcher.

    Args:
        directory: Where the files lie.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._uses: Counter[Path] = Counter()

    def write(self, name: str, value: object) -> list[Path]:
        """Write `value` for one process.

        Returns:
            The files: the pickle first, then its large buffers in their order.

        Raises:
            OSError: The disk is full.
            Exception: Whatever the value's own pickling raises.
        """
        large: list[pickle.PickleBuffer] = []

        def keep_inside(buffer: pickle.PickleBuffer) -> bool:
            is_small = buffer.raw().nbytes < _LEAST_SHARED_BYTES
            if not is_small:
                large.append(buffer)
            return is_small

        data = require("cloudpickle").dumps(value, protocol=5, buffer_callback=keep_inside)
        files = [self._directory / f"{name}.payload"]
        try:
            files[0].write_bytes(data)
            for buffer in large:
                content = buffer.raw()
                digest = hashlib.blake2b(content, digest_size=16).hexdigest()
                files.append(self._directory / f"{digest}.buffer")
                if not self._uses[files[-1]]:
                    files[-1].write_bytes(content)
                self._uses[files[-1]] += 1
        except OSError:
            files[0].unlink(missing_ok=True)
            self.remove(files[:-1])
            if len(files) > 1:
                files[-1].unlink(missing_ok=True)
            raise
        return files

    def remove(self, files: list[Path]) -> None:
        """Give back what `write` returned; buffers that others use stay."""
        for file in files:
            self._uses[file] -= 1
            if self._uses[file] <= 0:
                del self._uses[file]
                file.unlink(missing_ok=True)


def read_payload(files: list[str]) -> Any:
    """The value of one process; its large buffers are private to it as soon as it writes."""
    buffers = []
    for file in files[1:]:
        with Path(file).open("rb") as opened:
            buffers.append(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY))
    return require("cloudpickle").loads(Path(files[0]).read_bytes(), buffers=buffers)
