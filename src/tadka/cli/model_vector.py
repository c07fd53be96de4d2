"""`tadka model`, outwards: how far vectors moved, into files, what lies near what, to serving."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tadka.cli.model_option import RUN, TRACKING
from tadka.cli.option import JSON
from tadka.cli.output import console, echo_json, print_table
from tadka.core.extra import require
from tadka.core.resource import format_bytes

models: Any = require("tadka.models")
"""The room, whose names are imported when a command uses them: most of them need extras."""

app = typer.Typer(rich_markup_mode=None)

_VOCABULARY = typer.Option(help="Of the keys; that of items unless given.", show_default=False)


class Metric(StrEnum):
    """What near means."""

    COSINE = "cosine"
    PRODUCT = "product"


@app.command(
    "drift",
    epilog="""\b
    Examples:
      tadka model drift bpr/1 bpr/2
      tadka model drift 3f9a1c2b bpr@champion --threshold 0.9 --json""",
)
def drift(
    before: RUN,
    after: RUN,
    *,
    threshold: Annotated[
        float, typer.Option(help="Cosine below which a vector has moved.", min=-1, max=1)
    ] = 0.95,
    moved: Annotated[int, typer.Option(help="How many that moved most are named.", min=0)] = 10,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Show how far old vectors moved from a run to one that started from it."""
    runs = [models.load(run, tracking=tracking) for run in (before, after)]
    found = models.drift(runs[0], runs[1], threshold=threshold, num_moved=moved)
    if as_json:
        echo_json(found.to_dict())
        return
    console().print(found)


@app.command(
    "vectors",
    epilog="""\b
    Examples:
      tadka model vectors bpr@champion out/vectors
      tadka model vectors 3f9a1c2b out/vectors --index --metric product --overwrite""",
)
def vectors(
    run: RUN,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder.", show_default=False)],
    *,
    vocabulary: Annotated[
        list[str] | None,
        typer.Option(help="Whose vectors, one or more; all unless given.", show_default=False),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="Also an index of nearest neighbours (faiss).")
    ] = False,
    metric: Annotated[Metric, typer.Option(help="Of the index.")] = Metric.COSINE,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT where it exists.")
    ] = False,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Write the vectors of a model as Parquet: key, row, vector."""
    done = models.export_vectors(
        run,
        out,
        vocabularies=vocabulary or (),
        index=index,
        metric=metric.value,
        overwrite=overwrite,
        tracking=tracking,
    )
    if as_json:
        echo_json(asdict(done))
        return
    told = ", ".join(f"{count:,} of {name}" for name, count in done.num_vectors.items())
    typer.echo(f"{told}: {format_bytes(done.num_bytes)} in {done.folder} ({done.seconds:.1f} s)")


@app.command(
    "export",
    epilog="""\b
    Examples:
      tadka model export fm@champion models/ctr
      tadka serve models/ctr/model --features models/ctr/rows_3f9a1c2b.py:Rows""",
)
def export(
    run: RUN,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.", show_default=False)],
    *,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Write a linear model, factorization machine or trees for live traffic (tadka serve)."""
    made = models.export(models.load(run, tracking=tracking), out)
    folder = out.absolute() / "model"
    features = f"{out.absolute() / made.features.__module__}.py:{made.features.__qualname__}"
    if as_json:
        echo_json({"kind": made.kind, "folder": str(folder), "features": features})
        return
    typer.echo(
        f"A model of kind {made.kind!r} in {folder}. Serve it: "
        f"tadka serve {folder} --features {features}"
    )


@app.command(
    "alike",
    epilog="""\b
    Examples:
      tadka model alike bpr@champion 50 172
      tadka model alike out/vectors 13 14 --vocabulary user --together -k 100 --json""",
)
def alike(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="As in show, or a folder of vectors.", show_default=False
        ),
    ],
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY...", help="Whose look-alikes.", show_default=False)
    ],
    *,
    k: Annotated[int, typer.Option("-k", help="How many of each.", min=1)] = 10,
    vocabulary: Annotated[str, _VOCABULARY] = "",
    metric: Annotated[
        Metric | None,
        typer.Option(help="That of the exported index, else cosine.", show_default=False),
    ] = None,
    together: Annotated[
        bool, typer.Option("--together", help="What is near to all keys at once.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare all vectors although there is an index.")
    ] = False,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Show what has the nearest vectors: similar items, or users like some users."""
    found = models.neighbours(
        source,
        keys,
        k,
        vocabulary=vocabulary,
        metric=None if metric is None else metric.value,
        together=together,
        exact=exact,
        tracking=tracking,
    )
    names = [", ".join(keys)] if together else keys
    if as_json:
        echo_json(
            [
                {"of": name, "found": [asdict(one) for one in near]}
                for name, near in zip(names, found, strict=True)
            ]
        )
        return
    rows = [
        (name if place == 1 else "", str(place), str(one.key), f"{one.score:.4f}")
        for name, near in zip(names, found, strict=True)
        for place, one in enumerate(near, 1)
    ]
    print_table(("of", "place", "key", "score"), rows, right=("place", "score"))
