"""While a worker process loads a task, and imports its module with it, no build may begin there."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

from tadka.core.error import ConfigError

_is_loading = False


@contextmanager
def loading() -> Iterator[None]:
    """Stands round the load of a task."""
    global _is_loading
    _is_loading = True
    try:
        yield
    finally:
        _is_loading = False


def refuse_build() -> None:
    """Refuses a build that a module begins when it is imported for a task.

    Each worker process would import the module, too, and begin the same build with workers of its
    own, or wait for what its own build waits for.

    Raises:
        ConfigError: A task is being loaded.
    """
    if not _is_loading:
        return
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    name = "The module of a task" if frame is None else f"Module {frame.f_globals['__name__']}"
    raise ConfigError(
        f'{name} builds when it is imported; put that under if __name__ == "__main__":.'
    )
