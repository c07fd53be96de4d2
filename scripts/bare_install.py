"""What an install without extras must do; scripts/check-wheel runs it where nothing else is.

Prints one line, which must be the same with and without the compiled parts.
"""

import importlib
import importlib.util
import sys
import tempfile
import warnings
from pathlib import Path

ROOMS = (
    "tadka",
    "tadka.core",
    "tadka.storage",
    "tadka.launch",
    "tadka.features",
    "tadka.scoring",
    "tadka.dataset",
    "tadka.task",
    "tadka.registry",
    "tadka.serve",
    "tadka.cli",
)
OF_EXTRAS = (
    *("pyarrow", "pandas", "polars", "PIL", "duckdb", "pyspark", "sqlalchemy"),
    *("grpc", "google", "zmq", "torch", "mpi4py", "s3fs", "mlflow", "lightgbm", "optuna", "faiss"),
)


def check_rooms() -> None:
    """The rooms that need no extra can be imported, and have all their names."""
    for module in OF_EXTRAS:
        if importlib.util.find_spec(module):
            sys.exit(f"{module} is installed here, so this is no install without extras.")
    for room in ROOMS:
        imported = importlib.import_module(room)
        for name in getattr(imported, "__all__", ()):  # some are imported when first asked for
            getattr(imported, name)


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


def check_models() -> None:
    """A model can be declared and listed, and what trains it names the extra."""
    from tadka.core.error import MissingExtra
    from tadka.models import Column, Model, register
    from tadka.models.define.describe import summaries

    class Last(Model):
        inputs = (Column("user", "key", vocabulary=True),)

    register("last")(Last)
    if not {"fm", "last"} <= {one.name for one in summaries()}:
        sys.exit("tadka.models does not list its models.")
    try:
        importlib.import_module("tadka.models").TorchModel  # noqa: B018 - imported when asked for
    except MissingExtra as error:
        if "tadka[models]" not in str(error):
            sys.exit(f"MissingExtra does not name the extra 'models': {error}")
    else:
        sys.exit("tadka.models has TorchModel without its extra.")


def score() -> str:
    """Scores of a few rows by a linear model and an FFM, to the last bit."""
    import numpy as np

    from tadka.features import Features
    from tadka.scoring import Examples, Ffm, Linear, Training

    class Visit(Features, size=64):
        user: str | None
        shop: int

        @property
        def user_shop(self) -> str:
            return f"{self.user}_{self.shop}"

    rows = [Visit(None if n % 5 == 0 else f"ü{n % 7}", n % 3) for n in range(200)]
    encoded = Visit.encode([row.to_message() for row in rows])
    labels = np.array([n % 7 % 2 == n % 3 % 2 for n in range(200)], np.float32)
    training = Training(epochs=2, threads=1)
    models = [Linear(Visit, training=training), Ffm(Visit, dim=2, training=training)]
    scores = [
        model.fit(Examples(encoded, labels)).score(row) for model in models for row in rows[:20]
    ]
    return " ".join(score.hex() for score in scores)


def check_compiled(*, wanted: bool) -> None:
    """The compiled parts are there, or they are not and a warning said so once."""
    found = importlib.util.find_spec("tadka.features.native") is not None
    if found != wanted:
        sys.exit(f"The compiled parts are {'' if found else 'not '}in this wheel.")


if __name__ == "__main__":
    check_rooms()
    check_stream()
    check_models()
    check_compiled(wanted="--without-compiled-parts" not in sys.argv)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        line = score()
    told = [warning for warning in said if "compiled parts" in str(warning.message)]
    if len(told) != ("--without-compiled-parts" in sys.argv):
        sys.exit(f"{len(told)} warnings about the compiled parts were given.")
    print(line)
