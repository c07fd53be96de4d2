"""Arguments and options that several commands of `tadka model` share."""

from typing import Annotated

import typer

RUN = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Id of a run or its beginning, fm@champion, fm/3, or the folder of a run.",
        show_default=False,
    ),
]
TRACKING = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Registry: sqlite:///FILE or http://HOST:PORT; else TADKA_TRACKING, else "
        "sqlite:///runs/registry.db.",
        show_default=False,
    ),
]
