"""A model's state, made of its training rows: vocabularies, and what `Model.prepare` gives."""

from pathlib import Path

from tadka.core.error import DataError
from tadka.models.data.data import Data
from tadka.models.define.model import Model
from tadka.models.define.state import State
from tadka.models.train.grown import grown_pairs
from tadka.storage.publish import publish_directory


def bind(model: Model, data: Data, folder: Path, before: State | None) -> Model:
    """The model with its state, which is made unless the folder has one: then the run goes on.

    Args:
        model: Without a state.
        data: Of which the training part is read, and what `Model.prepare` asks for.
        folder: Where the state goes; it is there whole or not at all.
        before: State of the run that training starts from: its vocabularies grow.

    Raises:
        DataError: Something was learned from the test part.
    """
    if folder.exists():
        return model.bound(State(folder))
    with publish_directory(folder) as aside:
        _make(model, data, aside, before)
    return model.bound(State(folder))


def _make(model: Model, data: Data, folder: Path, before: State | None) -> None:
    columns = {c.name: c.vocabulary_name for c in model.inputs if c.vocabulary}
    state = State.create(folder, columns, before)
    for rows in data.fitting("vocabularies").scan("train", list(columns)) if columns else ():
        for name in columns:
            values = rows[name]
            flat = values.flatten() if hasattr(values, "flatten") else values
            state.vocabulary(name).add(flat, commit=False)
    for name in dict.fromkeys(columns.values()):
        state.vocabulary(name).commit()
    bound = model.bound(state)
    state.put(bound.prepare(data.fitting(f"prepare() of {model.name!r}")))
    if before is not None:
        state.put(grown_pairs(bound, data.fitting("rows that are new"), before))
    for by, parts in data.fitted.items():
        if "test" in parts:
            raise DataError(
                f"The test part was read for {by}, so what it is judged by is in what it knows. "
                'Read only "train" there: data.read("train").'
            )
