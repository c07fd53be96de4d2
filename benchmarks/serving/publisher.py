"""Publishes a new version every second: ``python -m serving.publisher STORE DIRECTORY SECONDS``.

A process of its own, scheduled as idle (`chrt --idle 0`), as a trainer on a machine that serves
should be. It writes a line when it is ready, and begins when it reads one.
"""

import os
import sys
import time
from pathlib import Path

from tadka.serve.store.store import Store

KEPT_VERSIONS = 3


def main(store_path: str, directory: str, seconds: str) -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    store, folder = Store(store_path), Path(directory)
    print("ready", flush=True)
    sys.stdin.readline()
    begun_at = time.monotonic()
    number = 1
    while (elapsed := time.monotonic() - begun_at) < float(seconds):
        number += 1
        store.publish(folder / f"swap-{number % 2}", model="ctr")
        store.prune(KEPT_VERSIONS)
        time.sleep(max(0.0, int(elapsed) + 1 - (time.monotonic() - begun_at)))


if __name__ == "__main__":
    main(*sys.argv[1:])
