"""Checks of one's own: a function that looks at the output."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tadka.core.error import ConfigError
from tadka.dataset.check.check import OUTPUT, Check

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class CheckedOutput:
    """What was written, for a check of one's own; nobody else can see it yet.

    Args:
        query: Runs SQL of the session's engine, in which the view `output` is what was written, and
            gives an Arrow table.
        columns: Names of its columns.
        num_rows: In all.
    """

    query: "Callable[[str], pa.Table]"
    columns: tuple[str, ...]
    num_rows: int

    def sample(self, num_rows: int = 1_000) -> "pa.Table":
        """Some of the rows, no matter which.

        Args:
            num_rows: At most so many.
        """
        return self.query(f"SELECT * FROM {OUTPUT} LIMIT {int(num_rows)}")  # noqa: S608


@dataclass(frozen=True)
class Custom(Check):
    """A function that says what is wrong with the output.

    Args:
        function: Takes a `CheckedOutput`; gives None where all is well, else a sentence. In YAML it
            is `module:function`, so it must be found under its name in a module.
        title: What results call it; the name of the function unless given.
        on_fail: `"raise"` or `"warn"`.
    """

    function: Callable[[CheckedOutput], str | None]
    title: str | None = None

    @property
    def name(self) -> str:
        return self.title or str(getattr(self.function, "__name__", type(self.function).__name__))

    def to_config(self) -> dict[str, Any]:
        # a function inside another has no name that leads to it; reading the YAML says so
        module = getattr(self.function, "__module__", "")
        path = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return {**super().to_config(), "function": f"{module}:{path}"}


def load_function(path: str, where: str) -> Callable[[CheckedOutput], str | None]:
    """The function that YAML names.

    Args:
        path: `module:function`.
        where: The key, for messages.

    Raises:
        ConfigError: There is none.
    """
    found = load_named(path, where) if ":" in path else None
    if not callable(found):
        raise ConfigError(f"{where} is {path!r}; it must be a function, as 'module:function'.")
    return cast(Callable[[CheckedOutput], str | None], found)


def load_named(path: str, where: str) -> Any:
    """What a module has under a name.

    Args:
        path: `module:name`.
        where: The key, for messages.

    Raises:
        ConfigError: There is none.
    """
    if "<" in path:
        raise ConfigError(
            f"{where} is {path!r}, which stands inside a function or has no name, so that YAML "
            "cannot give it; define it at the top of a module."
        )
    try:
        return pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where} is {path!r}, which cannot be found: {error}.") from error
