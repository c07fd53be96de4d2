"""Environment variables in the texts of settings and configurations."""

import os
import re
from collections.abc import Mapping
from typing import Any

from tadka.core.error import ConfigError

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def expand_variables(value: Any, where: str) -> Any:
    """A value with its environment variables, also those inside of lists and mappings.

    `${NAME}` is the variable, `${NAME:-other}` the text after the sign where the variable is not
    set or empty (as in a POSIX shell), `$${` the text `${` itself.

    Args:
        value: Any nesting of mappings, lists and plain values; texts alone are looked at.
        where: What messages call it.

    Returns:
        The same with other texts; tuples become lists.

    Raises:
        ConfigError: A variable is not set and has no default, or there is no name between the
            braces.

    >>> expand_variables({"folder": "${TADKA_NOT_SET:-data}/ml-100k"}, "data")
    {'folder': 'data/ml-100k'}
    """
    if isinstance(value, Mapping):
        return {key: expand_variables(item, f"{where}.{key}") for key, item in value.items()}
    if type(value) in {list, tuple}:
        return [expand_variables(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if type(value) is not str or "$" not in value:
        return value

    def put(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        inside = _INSIDE.fullmatch(match[2])
        if inside is None:
            raise ConfigError(
                f"{where} has {match[0]!r}; between the braces stands the name of an environment "
                "variable. Write $${ for the text itself."
            )
        name, default = inside[1], inside[2]
        if default is not None:
            return os.environ.get(name) or default
        if name not in os.environ:
            raise ConfigError(
                f"{where} needs the environment variable {name}, which is not set. "
                f"Run: export {name}=..."
            )
        return os.environ[name]

    return _VARIABLE.sub(put, value)
