"""Secrets in settings of sources: named by an environment variable, never written down.

A definition goes into YAML and into the manifest of each version, where no password belongs.
"""

import os
import re
from collections.abc import Iterable

from tadka.core.error import ConfigError

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LEAST_SECRET = 4  # characters; shorter values are parts of ordinary words


def expand(text: str, where: str) -> str:
    """A text with the values of the environment variables that it names.

    Args:
        text: With `$NAME` or `${NAME}` for a variable.
        where: What it is of, for the message.

    Raises:
        ConfigError: A variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        name = found.group(1) or found.group(2)
        if name not in os.environ:
            raise ConfigError(f"{where} needs the environment variable {name!r}, which is not set.")
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def conceal(message: str, texts: Iterable[str]) -> str:
    """A message of a library with the names of environment variables in place of their values.

    Args:
        message: That a library made of expanded texts.
        texts: With `$NAME`, as `expand` takes them.
    """
    for found in _VARIABLE.finditer(" ".join(texts)):
        value = os.environ.get(found.group(1) or found.group(2), "")
        if len(value) >= _LEAST_SECRET:
            message = message.replace(value, found.group())
    return message


def is_secret(name: str) -> bool:
    """Whether an option of that name holds what nobody else may read.

    Args:
        name: Of an option of a driver: `"sslpassword"`, `"ssl.key.pem"`.
    """
    name = name.casefold()
    if name.endswith(".url"):  # of the server that gives tokens
        return False
    is_key = name.endswith((".pem", ".key")) and "certificate" not in name
    return is_key or any(
        word in name for word in ("password", "secret", "token", "oauthbearer.config")
    )


def refuse_literal(secret: str | None, where: str) -> None:
    """Refuses a secret that is written out.

    Args:
        secret: What stands in its place.
        where: What it is of, for the message.

    Raises:
        ConfigError: It is no environment variable.
    """
    if secret and _VARIABLE.fullmatch(secret) is None:
        raise ConfigError(
            f"{where} holds a password, which would be written into every version. Write the name "
            "of an environment variable in its place, such as $PASSWORD."
        )
