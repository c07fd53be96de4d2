"""What an install without extras must do; scripts/check-wheel runs it where nothing else is."""

import importlib
import importlib.util
import sys
import tempfile
from pathlib import Path

ROOMS = (
    "tadka",
    "tadka.core",
    "tadka.storage",
    "tadka.launch",
    "tadka.features",
    "tadka.scoring",
    "tadka.cli",
)
OF_EXTRAS = ("pyarrow", "zmq", "torch", "mpi4py", "s3fs")


def check_rooms() -> None:
    """The rooms that need no extra can be imported."""
    for module in OF_EXTRAS:
        if importlib.util.find_spec(module):
            sys.exit(f"{module} is installed here, so this is no install without extras.")
    for room in ROOMS:
        importlib.import_module(room)


def check_stream() -> None:
    """The stream room names its extra, at import or when it is first used."""
    from tadka.core.error import MissingExtra

    with tempfile.TemporaryDirectory() as place:
        Path(place, "rows.csv").write_text("a\n1\n", encoding="utf-8")
        try:
            stream = importlib.import_module("tadka.stream")
            flow = stream.read(f"{place}/rows.csv") | stream.write(f"{place}/out")
            flow.run(directory=f"{place}/run", progress="none")
        except MissingExtra as error:
            if "tadka[stream]" not in str(error):
                sys.exit(f"MissingExtra does not name the extra 'stream': {error}")
        else:
            sys.exit("tadka.stream ran without its extra. If that is meant, change this script.")


if __name__ == "__main__":
    check_rooms()
    check_stream()
