"""The losses by name, as YAML names them."""

import difflib
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from torch import Tensor

from tadka.core.error import ConfigError, NotFound
from tadka.models.loss.pointwise import arcface, bce, ce, focal, mse
from tadka.models.loss.ranking import bpr, ccl, ce_neg, in_batch, warp

Loss = Callable[..., Tensor]
"""`(scores, labels or negatives, *, weight=None, **parameters)`, giving a scalar."""

_Given = TypeVar("_Given", bound=Callable[..., Tensor])
_TERM = re.compile(r"\s*(?:([0-9.eE-]+)\s*\*\s*)?([A-Za-z_]\w*)\s*")


def mixed(
    scores: Tensor,
    labels: Tensor,
    *,
    weights: Mapping[str, float],
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Weighted sum of several losses of the same scores.

    Args:
        scores: As the losses take them.
        labels: Labels or negatives, as the losses take them.
        weights: What each loss is multiplied with, by name.
        parameters: Parameters of the losses, by name.
        weight: Row weights.

    Returns:
        A scalar.

    Raises:
        NotFound: There is no loss of that name.
        ConfigError: No loss is named, or one has no such parameter.

    Source: a weighted sum; multi-task training with fixed weights.
    """
    if not weights:
        raise ConfigError("The loss 'mixed' needs at least one loss, such as {bce: 1.0}.")
    given = parameters or {}
    if unused := sorted(given.keys() - weights.keys()):
        raise ConfigError(f"Parameters are given for {unused[0]!r}, which is not in the mixture.")
    terms = [
        share * get(name, **given.get(name, {}))(scores, labels, weight=weight)
        for name, share in weights.items()
    ]
    return functools.reduce(lambda total, term: total + term, terms)


LOSSES: dict[str, Loss] = {
    "arcface": arcface,
    "bce": bce,
    "bpr": bpr,
    "ccl": ccl,
    "ce": ce,
    "ce_neg": ce_neg,
    "focal": focal,
    "in_batch": in_batch,
    "mixed": mixed,
    "mse": mse,
    "warp": warp,
}
"""All losses by name; `register_loss` adds to it."""


def register_loss(name: str) -> Callable[[_Given], _Given]:
    """Adds a function to the losses: `@register_loss("hinge")`.

    Args:
        name: How YAML names it: a Python name, not taken yet.

    Returns:
        A decorator that gives the function back unchanged. The function takes scores and labels (or
        negatives), then by keyword `weight` and its own parameters, and gives a scalar.

    Raises:
        ConfigError: The name is taken or no name, or the function takes no `weight`.
    """

    def add(loss: _Given) -> _Given:
        known = LOSSES.get(name)
        is_same = known is not None and (known.__module__, known.__qualname__) == (
            loss.__module__,
            loss.__qualname__,
        )  # the same function of a module that was imported again
        if known is not None and not is_same:
            raise ConfigError(f"There is a loss {name!r} already; choose another name.")
        if not name.isidentifier():
            raise ConfigError(f"A loss cannot be named {name!r}; use letters, digits and '_'.")
        if "weight" not in inspect.signature(loss).parameters:
            raise ConfigError(f"The loss {name!r} takes no 'weight'; add `*, weight=None`.")
        LOSSES[name] = loss
        return loss

    return add


def get(name: str, **parameters: Any) -> Loss:
    """The loss of that name, or a weighted sum of several.

    Args:
        name: Such as `"bce"`; or a sum such as `"0.7*bce + 0.3*focal"`, which is `mixed`.
        parameters: Parameters to fix, such as `gamma=1.0`; of a sum, none.

    Returns:
        The function.

    Raises:
        NotFound: There is no such loss; the message names the nearest.
        ConfigError: The loss has no such parameter, or the sum cannot be read.
    """
    if "+" in name or "*" in name:
        weights = _read_sum(name)
        if parameters:
            first = next(iter(parameters))
            raise ConfigError(
                f"A sum of losses takes no parameter {first!r}; use the loss 'mixed' and its "
                "'parameters'."
            )
        return functools.partial(mixed, weights=weights)
    if name not in LOSSES:
        raise NotFound(f"There is no loss {name!r}.{_closest(name, LOSSES)}")
    loss = LOSSES[name]
    if not parameters:
        return loss
    known = list(inspect.signature(loss).parameters)[2:]
    for parameter in parameters:
        if parameter not in known:
            raise ConfigError(
                f"The loss {name!r} has no parameter {parameter!r}.{_closest(parameter, known)}"
            )
    return functools.partial(loss, **parameters)


def _read_sum(text: str) -> dict[str, float]:
    """The weights of `"0.7*bce + focal"` by name.

    Raises:
        ConfigError: The text is no such sum, or names a loss twice.
        NotFound: There is no such loss.
    """
    weights: dict[str, float] = {}
    for term in text.split("+"):
        found = _TERM.fullmatch(term)
        try:
            share = float(found[1] or 1) if found else None
        except ValueError:
            share = None
        if found is None or share is None:
            raise ConfigError(
                f"The loss {text!r} cannot be read at {term.strip()!r}; write a sum such as "
                "'0.7*bce + 0.3*focal'."
            )
        get(found[2])
        if found[2] == "mixed" or not math.isfinite(share):
            raise ConfigError(f"The loss {text!r} cannot have the term {term.strip()!r}.")
        if found[2] in weights:
            raise ConfigError(f"The loss {text!r} names {found[2]!r} twice.")
        weights[found[2]] = share
    return weights


def _closest(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest known name; where none is near, with all."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" There are: {', '.join(names)}."
