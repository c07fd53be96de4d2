"""Trained models for live traffic: their parameters in the form that `tadka.scoring` applies.

    OUT/rows_RUN.py  the feature class `Rows`: one field for each column
    OUT/NAME.txt     the words of each vocabulary, in the order of its rows
    OUT/model/       what tadka.scoring.load and tadka serve read

Shapes: V rows of a vocabulary, S slots, K factors, F features.
"""

import keyword
from pathlib import Path
from typing import Any

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.core.locate import locate
from tadka.features.features import Features
from tadka.models.train.trained import Trained
from tadka.scoring.learner import Fm, Linear
from tadka.scoring.model import Model as ScoringModel
from tadka.scoring.trees import Trees
from tadka.storage.publish import publish_directory

_UNSEEN = "\N{REPLACEMENT CHARACTER}"  # the word of row 0, which no value has
_KINDS = ("logistic", "fm", "trees")


def export(trained: Trained, out: str | Path) -> ScoringModel:
    """Writes a linear model, a factorization machine or trees for `tadka.scoring`.

    Scores are those of the model but for the last digits: float32 sums in another order.

    Args:
        trained: A binary model `logistic`, `fm` or `trees`, whose features are fields and numbers.
        out: Folder to make.

    Returns:
        The model as `tadka.scoring.load` gives it.

    Raises:
        ConfigError: The model is of another kind, or has features that scoring has not: lists, side
            tables, histories.
        DataError: The folder exists, or a value of a vocabulary has a line break.
    """
    model: Any = trained.model
    _check(model)
    target = Path(out).absolute()
    if target.exists():
        raise DataError(f"Folder {str(out)!r} exists. Name a new one.")
    with publish_directory(target) as folder:
        place = Path(folder)
        for name in model.fields:
            _write_words(place / f"{name}.txt", trained, name)
        # Of the run's name: a module that is loaded goes by its name, and there are other `rows`.
        module = place / f"rows_{str(trained.record['run'])[:8]}.py"
        module.write_text(_source(trained), encoding="utf-8")
        features = locate(f"{module}:Rows", Features, "feature class", "rows:Rows")
        if model.name == "trees":
            made: ScoringModel = Trees.from_library(trained.learnt, features)
        else:
            made = _factors(trained, features)
        made.save(place / "model")
    return made


def _check(model: Any) -> None:
    if model.name not in _KINDS:
        raise ConfigError(
            f"Model {model.name!r} has no form in tadka.scoring; those that have: "
            f"{', '.join(_KINDS)}."
        )
    if model.task != "binary":
        raise ConfigError(
            f"The model predicts a {model.task}, and scores are probabilities. Train it with "
            "model.target=binary."
        )
    for key in ("bags", "side", "history"):
        if getattr(model, key, None):
            raise ConfigError(
                f"The model has model.{key}={getattr(model, key)!r}, which tadka.scoring has not. "
                "Train one without."
            )
    for name in (*model.fields, *model.numbers):
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise ConfigError(
                f"Column {name!r} cannot be a field of a class; rename it by data.columns."
            )


def _write_words(file: Path, trained: Trained, name: str) -> None:
    words = [_UNSEEN, *(str(value) for value in _plain(trained, name))]
    wrong = next((word for word in words if "\n" in word), None)
    if wrong is not None:
        raise DataError(f"A value of {name!r} has a line break: {wrong!r}. Clean the column.")
    file.write_text("\n".join(words) + "\n", encoding="utf-8")


def _plain(trained: Trained, name: str) -> list[Any]:
    values = trained.model.state.vocabulary(name).values()
    return list(values.to_pylist() if hasattr(values, "to_pylist") else values.tolist())


def _source(trained: Trained) -> str:
    """The feature class as a module."""
    model: Any = trained.model
    lines = [
        f'"""What model {model.name!r} of run {trained.record.get("run")} sees of a row."""',
        "",
        "from pathlib import Path",
        "from typing import Annotated",
        "",
        "from tadka.features import Features, Number, Vocabulary",
        "",
        "HERE = Path(__file__).parent",
        "",
        "",
        "class Rows(Features):",
    ]
    for name in model.fields:
        kind = "str" if trained.model.state.vocabulary(name).kind == "text" else "int"
        words = f'Vocabulary(file=HERE / "{name}.txt")'
        lines.append(f"    {name}: Annotated[{kind} | None, {words}]")
    for place, name in enumerate(model.numbers):
        shift, scale = 0.0, 1.0
        if model.name != "trees":
            shift = float(model.state["number_mean"][place])
            scale = 1 / float(model.state["number_scale"][place])
        lines.append(f"    {name}: Annotated[float, Number(shift={shift!r}, scale={scale!r})]")
    return "\n".join(lines) + "\n"


def _factors(trained: Trained, features: type[Features]) -> ScoringModel:
    """Weights and vectors, slot by slot."""
    model: Any = trained.model
    net = trained.learnt
    torch = require("torch", extra="torch")
    with torch.inference_mode():
        table_VK = net.groups.fields.weight.float().numpy()
        starts = net.groups.fields.offsets.tolist()
        number_NK = None if net.groups.numbers is None else net.groups.numbers.float().numpy()
    definition = features.definition()
    slots_SK = np.zeros((definition.num_slots, table_VK.shape[1]), np.float32)
    for place, span in enumerate(definition.spans):
        if place < len(model.fields):
            rows_VK = table_VK[starts[place] : starts[place + 1]]
            slots_SK[span.offset : span.offset + span.width] = rows_VK[0]  # unknown, missing
            slots_SK[span.offset : span.offset + len(rows_VK)] = rows_VK
        elif number_NK is not None:
            slots_SK[span.offset] = number_NK[place - len(model.fields)]
    bias_1 = np.array([float(net.bias)], np.float64)
    arrays = {"bias": bias_1, "linear": slots_SK[:, 0].copy()}
    if model.name == "logistic":
        return Linear(features).take(arrays)
    return Fm(features, dim=model.dim).take({**arrays, "latent": slots_SK[:, 1:].copy()})
