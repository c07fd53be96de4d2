"""States of nets and optimizers from before a vocabulary grew, made to fit a net of now.

A module with an attribute `vocabulary` has tensors with a row for each row of that vocabulary (or
of several, one after the other, where it has a buffer `offsets`). Rows that were there keep what
they had learned; the others begin anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tadka.core.error import ConfigError, DataError


@dataclass(frozen=True)
class Part:
    """Part of a parameter: the rows of one vocabulary.

    Args:
        key: Of the parameter in the state (`"user.weight"`).
        vocabulary: Name of the vocabulary.
        old: Its rows so far, shape (rows, ...).
        others: Rows so far of the other vocabularies, by name, where the net has parameters of this
            form for them: a mean of neighbours is taken from these.
    """

    key: str
    vocabulary: str
    old: npt.NDArray[Any]
    others: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


InitPart: TypeAlias = Callable[[Part, npt.NDArray[np.int64]], "npt.NDArray[Any] | None"]
"""What new rows begin with, given their numbers in the vocabulary; None: normal, mean 0."""

_Span: TypeAlias = tuple[str, slice, slice]  # vocabulary, its rows in the old and the new tensor


def grown_state(
    old_state: Mapping[str, torch.Tensor],
    net: nn.Module,
    init: InitPart | None = None,
    *,
    scale: float = 0.01,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """A state for `net.load_state_dict` from one whose vocabularies had fewer rows.

    Args:
        old_state: `state_dict` of the net of before.
        net: The net of now.
        init: What new rows begin with; None: as if it gave None.
        scale: Standard deviation of new rows that `init` does not give.
        seed: Of their draws.

    Returns:
        All of the net's state: copies of the old, and of `net` nothing but its shapes.

    Raises:
        ConfigError: A tensor is missing, has fewer rows now, or has another shape although no
            vocabulary explains it.
        DataError: `init` gives rows of another shape, or that are not finite.
    """
    spans_of = _spans(old_state, net)
    state: dict[str, torch.Tensor] = {}
    for place, (key, now) in enumerate(net.state_dict().items()):
        if key not in old_state:
            raise ConfigError(f"The old state has no {key!r}; its net was another one.")
        old = old_state[key]
        if key.endswith("offsets") and key in spans_of:
            state[key] = now.clone()
            continue
        if key not in spans_of:
            if old.shape != now.shape:
                raise _unlike(key, old, now)
            state[key] = old.clone()
            continue
        rng = np.random.default_rng([seed, place])
        new = torch.empty_like(now)
        for vocabulary, before, after in spans_of[key]:
            count = before.stop - before.start
            new[after.start : after.start + count] = old[before]
            added = np.arange(count, after.stop - after.start)
            if added.size:
                values = None
                if init is not None:
                    others = _others(key, vocabulary, old_state, spans_of)
                    part = Part(key, vocabulary, _array(old[before]), others)
                    values = _values(part, added, init)
                if values is None:
                    values = rng.normal(0.0, scale, (len(added), *now.shape[1:]))
                new[after.start + count : after.stop] = torch.as_tensor(values, dtype=now.dtype)
        state[key] = new
    return state


def grown_optimizer(
    old_optimizer: Mapping[str, Any], old_state: Mapping[str, torch.Tensor], net: nn.Module
) -> dict[str, Any]:
    """A state for `optimizer.load_state_dict`; new rows begin with zeros, as in a new optimizer.

    Args:
        old_optimizer: `state_dict` of the optimizer of before, made of `net.parameters()` in their
            order.
        old_state: `state_dict` of the net of before.
        net: The net of now.

    Raises:
        ConfigError: It has another number of parameters, or see `grown_state`.
    """
    spans_of = _spans(old_state, net)
    parameters = dict(net.named_parameters())
    places = [place for group in old_optimizer["param_groups"] for place in group["params"]]
    if sorted(places) != list(range(len(parameters))):
        raise ConfigError(
            f"The old optimizer has {len(places)} parameters, and the net has {len(parameters)}. "
            "Make both of net.parameters()."
        )
    states: dict[int, dict[str, Any]] = {}
    for place, (key, now) in enumerate(parameters.items()):
        if place not in old_optimizer["state"]:
            continue
        states[place] = {}
        for name, old in old_optimizer["state"][place].items():
            if not isinstance(old, torch.Tensor):
                states[place][name] = old
                continue
            if key not in spans_of or old.shape != old_state[key].shape:  # a number of steps
                states[place][name] = old.clone()  # an optimizer works in what it loads
                continue
            new = old.new_zeros(now.shape)
            for _, before, after in spans_of[key]:
                new[after.start : after.start + before.stop - before.start] = old[before]
            states[place][name] = new
    return {**old_optimizer, "state": states}


def _spans(old_state: Mapping[str, torch.Tensor], net: nn.Module) -> dict[str, list[_Span]]:
    """Rows of each vocabulary in the old and the new form of each tensor that has some."""
    spans_of: dict[str, list[_Span]] = {}
    for name, module in net.named_modules():
        vocabulary = getattr(module, "vocabulary", None)
        if vocabulary is None:
            continue
        prefix = f"{name}." if name else ""
        tensors: dict[str, torch.Tensor] = dict(module.named_parameters(recurse=False))
        tensors |= dict(module.named_buffers(recurse=False))
        for own, now in tensors.items():
            key = prefix + own
            if key not in old_state:
                continue  # `grown_state` says so, if the state is to have it
            if isinstance(vocabulary, str):
                bounds = [0, old_state[key].shape[0] if old_state[key].ndim else 0]
                bounds_now = [0, now.shape[0] if now.ndim else 0]
                names: tuple[str, ...] = (vocabulary,)
            else:
                bounds = old_state[f"{prefix}offsets"].tolist()
                bounds_now = tensors["offsets"].tolist()
                names = tuple(vocabulary)
            if own == "offsets":
                spans_of[key] = []
            elif _is_grown(old_state[key], now, bounds[-1], bounds_now[-1]):
                spans_of[key] = _paired(key, names, bounds, bounds_now)
    return spans_of


def _is_grown(old: torch.Tensor, now: torch.Tensor, rows: int, rows_now: int) -> bool:
    has_rows = old.ndim > 0 and (old.shape[0], now.shape[0]) == (rows, rows_now)
    return has_rows and old.shape[1:] == now.shape[1:]


def _paired(key: str, names: tuple[str, ...], old: list[int], now: list[int]) -> list[_Span]:
    spans = []
    if len(old) != len(now):
        raise ConfigError(
            f"{key!r} was made for {len(old) - 1} vocabularies and is for {len(now) - 1} now."
        )
    for number, name in enumerate(names):
        before = slice(old[number], old[number + 1])
        after = slice(now[number], now[number + 1])
        if before.stop - before.start > after.stop - after.start:
            raise ConfigError(
                f"Vocabulary {name!r} had {before.stop - before.start:,} rows in {key!r} and has "
                f"{after.stop - after.start:,} now; a vocabulary only grows. Was the run made "
                "with another one?"
            )
        spans.append((name, before, after))
    return spans


def _others(
    key: str,
    vocabulary: str,
    old_state: Mapping[str, torch.Tensor],
    spans_of: Mapping[str, list[_Span]],
) -> dict[str, npt.NDArray[Any]]:
    """Parameters of other vocabularies that stand for the same as this one of `vocabulary`.

    Those in the same matrix; else, of all parameters of this form, the one in the same place.
    """
    form = old_state[key].shape[1:]
    of: dict[str, list[tuple[str, slice]]] = {}
    for other, spans in spans_of.items():
        if old_state[other].shape[1:] == form:
            for name, before, _ in spans:
                of.setdefault(name, []).append((other, before))
    place = [other for other, _ in of[vocabulary]].index(key)
    found = {}
    for name, parts in of.items():
        same = [part for part in parts if part[0] == key] or parts[place : place + 1]
        if name != vocabulary and same:
            found[name] = _array(old_state[same[0][0]][same[0][1]])
    return found


def _array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    return np.asarray(tensor.detach().cpu().numpy())


def _values(part: Part, rows: npt.NDArray[np.int64], init: InitPart) -> npt.NDArray[Any] | None:
    values = init(part, rows)
    if values is None:
        return None
    values = np.asarray(values)
    if values.shape != (len(rows), *part.old.shape[1:]) or not np.isfinite(values).all():
        raise DataError(
            f"The new rows of {part.key!r} have shape {values.shape} or are not finite; they must "
            f"have {(len(rows), *part.old.shape[1:])} and be finite."
        )
    return values


def _unlike(key: str, old: torch.Tensor, now: torch.Tensor) -> ConfigError:
    return ConfigError(
        f"{key!r} had shape {tuple(old.shape)} and has {tuple(now.shape)} now, and its module has "
        "no vocabulary that grew. Use the old run's parameters, or make it with `embedding`."
    )
