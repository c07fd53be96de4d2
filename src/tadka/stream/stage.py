"""`Stage` and `Train`: a user's function with what it may use."""

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tadka.core.error import ConfigError
from tadka.core.resource import Resources
from tadka.stream.plan import is_whole
from tadka.stream.transfer import Uneven

OnError = Literal["stop", "skip"]
Start = Literal["local", "mpi"]

_UNEVEN = ("pad", "drop", "repeat")


@dataclass(frozen=True, init=False)
class Stage:
    """A function from batch to batch, run by some processes of its own.

    Args:
        function: ``f(batch)`` or ``f(batch, rng)``, where `rng` is a NumPy generator that
            depends on the seed and the batch alone. Returns a batch, None to drop it, or a list
            or generator of batches. Or a class: it is built once per replica, and the object
            called.
        init: Arguments for a class.
        name: For reports; the function's unless given.
        on_error: ``stop`` the flow when the function raises, or ``skip`` the rest of the chunk
            and note it among the dead letters.
        cpu: Cores per replica: threads its libraries may use.
        memory: Limit per replica, as "4G".
        gpu: GPUs per replica.
        replicas: Processes, at least 1.

    Raises:
        ConfigError: Something that cannot be called, or a number out of range.
    """

    function: Callable[..., Any] | None
    init: dict[str, Any]
    name: str
    on_error: OnError
    resources: Resources

    def __init__(
        self,
        function: Callable[..., Any] | None,
        *,
        init: dict[str, Any] | None = None,
        name: str | None = None,
        on_error: OnError = "stop",
        cpu: float = 1,
        memory: str | int | None = None,
        gpu: int = 0,
        replicas: int = 1,
    ) -> None:
        if function is not None and not callable(function):
            raise ConfigError(
                f"Stage({function!r:.60}) cannot be called; give a function or a class."
            )
        if inspect.isclass(function) and not _makes_callables(function):
            raise ConfigError(
                f"Stage({function.__name__}) is a class whose objects cannot be called; give it a "
                "method __call__(self, batch)."
            )
        if init and not inspect.isclass(function):
            raise ConfigError(
                "Stage(init=...) is for a class; bind a function's arguments by functools.partial."
            )
        if on_error not in ("stop", "skip"):
            raise ConfigError(f"Stage has on_error={on_error!r}; it must be 'stop' or 'skip'.")
        _set(self, "function", function)
        _set(self, "init", dict(init or {}))
        _set(self, "name", name or name_of(function))
        _set(self, "on_error", on_error)
        resources = Resources(cpu=cpu, memory=memory, gpu=gpu, replicas=replicas)
        _set(self, "resources", resources)

    def renamed(self, name: str) -> "Stage":
        """The same stage under another name."""
        other = copy.copy(self)
        _set(other, "name", name)
        return other


@dataclass(frozen=True, init=False)
class Train:
    """A training loop, run by one process per rank.

    Args:
        function: ``train(batches, run)``: an ordinary loop, see `tadka.stream.Run`.
        ranks: Processes that train together, at least 1. Each has RANK, WORLD_SIZE and a
            rendezvous in its environment, as under torchrun.
        epochs: Passes over the data, at least 1.
        uneven: When an epoch's batches do not divide by `ranks`, the ranks left over get the
            last batch as padding with ``run.weight`` 0 (``pad``), or as data (``repeat``), or
            the incomplete round is left out (``drop``). All take the same number of steps.
        start: ``local``, or ``mpi`` to start the ranks by mpirun.
        name: For reports; the function's unless given.
        cpu: Cores per rank.
        memory: Limit per rank, as "4G".
        gpu: GPUs per rank.

    Raises:
        ConfigError: Something that cannot be called, or a number out of range.
    """

    function: Callable[..., Any]
    ranks: int
    epochs: int
    uneven: Uneven
    start: Start
    name: str
    resources: Resources

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        ranks: int = 1,
        epochs: int = 1,
        uneven: Uneven = "pad",
        start: Start = "local",
        name: str | None = None,
        cpu: float = 1,
        memory: str | int | None = None,
        gpu: int = 0,
    ) -> None:
        if not callable(function):
            raise ConfigError(f"Train({function!r:.60}) cannot be called; give a function.")
        for key, value in (("ranks", ranks), ("epochs", epochs)):
            if not is_whole(value, 1):
                raise ConfigError(f"Train has {key}={value!r}; it must be a whole number from 1.")
        if uneven not in _UNEVEN:
            raise ConfigError(f"Train has uneven={uneven!r}; it must be one of {_words(_UNEVEN)}.")
        if start not in ("local", "mpi"):
            raise ConfigError(f"Train has start={start!r}; it must be 'local' or 'mpi'.")
        _set(self, "function", function)
        _set(self, "ranks", ranks)
        _set(self, "epochs", epochs)
        _set(self, "uneven", uneven)
        _set(self, "start", start)
        _set(self, "name", name or name_of(function))
        _set(self, "resources", Resources(cpu=cpu, memory=memory, gpu=gpu))


def name_of(function: Callable[..., Any] | None) -> str:
    """A function's name, also through functools.partial."""
    inner = getattr(function, "func", function)
    name = getattr(inner, "__name__", type(inner).__name__)
    return "stage" if name == "<lambda>" else str(name)


def _makes_callables(function: type) -> bool:
    # hasattr would find the __call__ by which the class itself is called
    return any("__call__" in vars(base) for base in function.__mro__)


def _words(values: Sequence[str]) -> str:
    return ", ".join(map(repr, values))


def _set(target: object, name: str, value: object) -> None:
    object.__setattr__(target, name, value)  # frozen for everybody else
