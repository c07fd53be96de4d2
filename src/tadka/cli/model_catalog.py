"""`tadka model`, of the models that there are."""

from dataclasses import asdict
from typing import Annotated

import typer

from tadka.cli.option import JSON
from tadka.cli.output import echo_json, print_table, shown
from tadka.core.locate import user_module
from tadka.models.define.catalog import get
from tadka.models.define.describe import parameters_of, summaries

app = typer.Typer(rich_markup_mode=None)

_MODULE = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE",
        help="Module or .py file that registers models of your own.",
        show_default=False,
    ),
]


@app.command(
    "list",
    epilog="""\b
    Examples:
      tadka model list
      tadka model list fm
      tadka model list my_model --module my_models.py --json""",
)
def list_models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Of one model.", show_default=False)
    ] = None,
    *,
    module: _MODULE = None,
    as_json: JSON = False,
) -> None:
    """List the models, or what one of them takes in and its parameters."""
    if module is not None:
        user_module(module, "my_models.py")
    if name is not None:
        _tell_model(name, as_json=as_json)
        return
    found = summaries()
    if as_json:
        echo_json([asdict(one) for one in found])
        return
    print_table(("model", "task", ""), [(one.name, one.task, one.told) for one in found])


def _tell_model(name: str, *, as_json: bool) -> None:
    model = get(name)
    parameters = parameters_of(model)
    if as_json:
        echo_json(
            {
                "name": name,
                "task": model.task,
                "doc": model.__doc__,
                "inputs": [asdict(column) for column in model.inputs],
                "parameters": [asdict(one) for one in parameters],
            }
        )
        return
    typer.echo(f"{name} ({model.task}): {(model.__doc__ or '').strip().partition(chr(10))[0]}\n")
    print_table(
        ("column", "type", "role", "vocabulary", ""),
        [(c.name, c.dtype, c.role, c.vocabulary_name, c.help) for c in model.inputs],
    )
    typer.echo()
    print_table(
        ("parameter", "type", "default", ""),
        [(one.name, one.kind, shown(one.default), one.told) for one in parameters],
    )
