"""What this process has open."""

from contextlib import suppress
from pathlib import Path


def open_descriptors() -> set[tuple[str, str]]:
    """Number and target of each descriptor: path of a file, number of a pipe or socket.

    A test that leaves none open has no more of them at its end than at its beginning (`<=`). It may
    have fewer: what other tests of the process left is closed whenever garbage is collected.
    """
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since, as the one that lists the folder
            found.add((descriptor.name, str(descriptor.readlink())))
    return found
