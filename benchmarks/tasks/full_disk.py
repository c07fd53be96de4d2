"""Disks that get full: ``python -m tasks.full_disk FOLDER STEP``, in a mount namespace of its own.

FOLDER gets a file system in memory, with ever more room: for nothing, for rows, for a part of a
result of 3 MB, for all of it but not for its row, for both. Prints what was seen, as JSON.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tadka.core.error import TadkaError
from tadka.task import build
from tadka.task.settings import open_store
from tasks import journal, kept

BIG_BYTES = 3_000_000
SIZES_KIB = (*range(40, 400, 24), *range(400, 3_000, 400), *range(3_000, 3_400, 8))


def main() -> None:
    folder, step = Path(sys.argv[1]), int(sys.argv[2])
    os.environ[journal.MAKER] = str(os.getpid())
    os.environ[journal.PATH] = str(folder.parent / "journal")
    counts: Counter[str] = Counter()
    for number, size in enumerate(SIZES_KIB[::step]):
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(folder)], check=True
        )
        try:
            fill(folder / "workspace", folder, number, counts)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    print(json.dumps(counts))


def fill(workspace: Path, folder: Path, number: int, counts: Counter[str]) -> None:
    small, big = kept.File(number=0, num_bytes=50_000), kept.File(number=1, num_bytes=BIG_BYTES)
    small_is, big_is = (kept.digest(kept.array(t.number, t.num_bytes)) for t in (small, big))
    counts["disks"] += 1
    has_small = False
    try:
        has_small = kept.digest(build(small, workspace=workspace)) == small_is
        counts["wrong"] += not has_small
        counts["wrong"] += kept.digest(build(big, workspace=workspace)) != big_is
        counts["fitted"] += 1
    except TadkaError as error:
        counts["failed"] += 1
        named = ("No space left", "is full", "disk is full", "free some space")
        counts["unnamed"] += not any(words.lower() in str(error).lower() for words in named)
        print(f"{number}: {str(error).splitlines()[-1]}", file=sys.stderr)
        counts["published"] += is_stored(workspace, big)
        counts["lost"] += has_small and not is_stored(workspace, small)
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    try:
        again = (build(small, workspace=workspace), build(big, workspace=workspace))
        counts["not_recovered"] += (small_is, big_is) != tuple(map(kept.digest, again))
    except TadkaError as error:
        counts["not_recovered"] += 1
        print(f"{number}, with room: {error}", file=sys.stderr)


def is_stored(workspace: Path, task: kept.File) -> bool:
    """Whether another process would take it for made."""
    try:
        with open_store(workspace) as store:
            entry = store.index.newest(task.id)
            return entry is not None and store.hit(entry.key) is not None
    except TadkaError as error:  # not even an index, or one that cannot be opened without room
        print(f"no index: {error}", file=sys.stderr)
        return False


if __name__ == "__main__":
    main()
