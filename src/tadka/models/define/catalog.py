"""Models by name: those that come with tadka, and those that users register."""

import dataclasses
import difflib
from collections.abc import Callable
from typing import TypeVar, dataclass_transform

from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.models.define.column import Column
from tadka.models.define.model import Model

M = TypeVar("M", bound=Model)

# Imported when asked for: most of them load torch.
_SHIPPED = {
    name: f"tadka.models.library.{module}"
    for module, names in {
        "logistic": ["logistic"],
        "fm": ["fm"],
        "wide_deep": ["wide_deep"],
        "deepfm": ["deepfm"],
        "dnn": ["dnn", "dnn_vector"],
        "bpr": ["bpr"],
        "lightgcn": ["lightgcn"],
        "two_tower": ["two_tower"],
        "gcn": ["gcn"],
        "sage": ["sage"],
        "gcmc": ["gcmc"],
        "representation": ["representation"],
        "text_cnn": ["text_cnn"],
        "resnet": ["resnet"],
        "trees": ["trees"],
    }.items()
    for name in names
}
_REGISTERED: dict[str, type[Model]] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def register(name: str) -> Callable[[type[M]], type[M]]:
    """Makes a class a model that configurations can name.

    Its annotated fields become parameters: keyword-only, and not to be changed. A class that is
    registered again under the same name, as in a notebook, replaces the first.

    Args:
        name: What configurations call it: `model: {name: fm}`.

    Raises:
        ConfigError: It is no `Model`, its `inputs` are no columns, or the name is that of a model
            that comes with tadka.
    """

    def decorate(cls: type[M]) -> type[M]:
        if not (isinstance(cls, type) and issubclass(cls, Model)):
            raise ConfigError(f"@register({name!r}) is for a subclass of Model; it got {cls!r}.")
        if _SHIPPED.get(name, cls.__module__) != cls.__module__:
            raise ConfigError(
                f"@register({name!r}): tadka has a model of that name. Choose another, such as "
                f"{'my_' + name!r}."
            )
        wrong = [repr(entry) for entry in cls.inputs if not isinstance(entry, Column)]
        if wrong:
            raise ConfigError(
                f"Model {name!r} has inputs that are no Column: {', '.join(wrong)}. Write "
                "Column('user', 'int64', vocabulary=True)."
            )
        made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        made.name = name
        _REGISTERED[name] = made
        return made

    return decorate


def get(name: str) -> type[Model]:
    """The model of that name.

    Args:
        name: Of a model that comes with tadka, or was registered.

    Raises:
        ConfigError: There is none; the nearest names are suggested.
        MissingExtra: Its library is not installed.
    """
    if name not in _REGISTERED and name in _SHIPPED:
        require(_SHIPPED[name], extra="models")
    if name not in _REGISTERED:
        close = difflib.get_close_matches(str(name), names(), n=2)
        hint = (
            f"Did you mean {' or '.join(map(repr, close))}?"
            if close
            else f"Known: {', '.join(names())}."
        )
        raise ConfigError(
            f"There is no model {name!r}. {hint} A model of your own is found where model.module "
            "names its module or file."
        )
    return _REGISTERED[name]


def names() -> list[str]:
    """All names, in the order of the alphabet."""
    return sorted({*_SHIPPED, *_REGISTERED})


def module_of(name: str) -> str | None:
    """Module of a model that comes with tadka and is not imported yet; None for all others.

    Args:
        name: Of the model.
    """
    return None if name in _REGISTERED else _SHIPPED.get(name)
