"""What holds for the body of a task wherever it runs: in a build, or in a test without a store."""

import random
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import loaded
from tadka.task.define.declaration import closest
from tadka.task.define.task import Task, type_of_output
from tadka.task.output.codec import Codec, codec_of

_HERE = Path(__file__).parent

_SEEDS = 2**32
"""Of numpy's generator; random and torch take them too."""


def set_seed(seed: int) -> None:
    """Seeds generators that code may use without saying so, of libraries that are loaded.

    Args:
        seed: Of the task.
    """
    random.seed(seed)
    if (numpy := loaded("numpy")) is not None:
        numpy.random.seed(seed % _SEEDS)
    if (torch := loaded("torch")) is not None:
        torch.manual_seed(seed % _SEEDS)


def codec_for(cls: type[Task[Any]], name: str) -> Codec:
    """How an output of a class is kept.

    Args:
        cls: The class.
        name: Of the output; empty for a single one.
    """
    key = cls, name
    found = _CODECS.get(key)
    if found is None:
        found = _CODECS[key] = codec_of(cls.outs[name], type_of_output(cls, name))
    return found


_CODECS: dict[tuple[type, str], Codec] = {}


def settled(codec: Codec, cls: type[Task[Any]], name: str, value: Any) -> Any:
    """An output in the form in which it is kept.

    Args:
        codec: As `codec_for` gives it.
        cls: The class.
        name: Of the output; empty for a single one.
        value: As the body gave it.

    Raises:
        DataError: It is not as declared.
    """
    value = codec.settle(value)
    codec.refuse(value, f"{cls.__name__}.out[{name!r}]" if name else f"{cls.__name__}.out")
    return value


def returned(cls: type[Task[Any]], value: Any, dumped: Collection[str]) -> dict[str, Any]:
    """Those of several outputs that a body returned.

    Args:
        cls: The class.
        value: What the body returned.
        dumped: Names of those that it dumped before.

    Raises:
        DataError: It is no dict of the outputs that remain.
    """
    names = cls.outs
    where = f"{cls.__name__}.run"
    if value is None and dumped:
        value = {}
    if not isinstance(value, Mapping):
        raise DataError(
            f"{where} returned {type(value).__name__}; it must return a dict with its outputs "
            f"{', '.join(map(repr, names))}."
        )
    for name in value:
        if name not in names:
            hint = closest(str(name), names, "Its outputs are ")
            raise DataError(f"{where} returned an output {name!r}.{hint}")
        if name in dumped:
            raise DataError(f"{where} returned output {name!r}, which it had dumped already.")
    missing = [name for name in names if name not in value and name not in dumped]
    if missing:
        raise DataError(
            f"{where} gave no output {', '.join(map(repr, missing))}; return it in the dict, "
            "or call run.dump(value, name)."
        )
    return dict(value)


def refuse_dump(cls: type[Task[Any]], name: str, dumped: Collection[str]) -> None:
    """Refuses an output that cannot be dumped.

    Args:
        cls: The class.
        name: Of the output.
        dumped: Names of those that were dumped before.

    Raises:
        ConfigError: It is not declared, or was dumped already.
    """
    where, outs = f"{cls.__name__}.run", cls.outs
    if name not in outs:
        hint = closest(str(name), outs, "Its outputs are ") if "" not in outs else ""
        raise ConfigError(f"{where} dumps an output {name!r} that is not declared.{hint}")
    if name in dumped:
        raise ConfigError(f"{where} dumped {name!r} twice.")


def number_of(name: str, value: Any) -> float:
    """A metric as it is kept.

    Args:
        name: Of the metric.
        value: As the body gave it.

    Raises:
        ConfigError: It is no number.
    """
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ConfigError(f"run.log({name}={value!r}): a metric must be a number.")
    return value if isinstance(value, int) else float(value)


def theirs(found: Any, folder: Path = _HERE) -> Any:
    """The part of a traceback below our own frames; all of it where there is none.

    Args:
        found: The traceback of what a body raised.
        folder: Of the files that ran the body, beside this one's.
    """
    step = found
    while step is not None and Path(step.tb_frame.f_code.co_filename).parent in {_HERE, folder}:
        step = step.tb_next
    return step or found
