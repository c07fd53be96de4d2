"""Secrets in settings of sources: named by an environment variable, never written down.

A definition goes into YAML and into the manifest of each version, where no password belongs.
"""

import os
import re

from tadka.core.error import ConfigError

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


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


def is_secret(name: str) -> bool:
    """Whether an option of that name holds what nobody else may read.

    Args:
        name: Of an option of a driver: `"sslpassword"`, `"ssl.key.pem"`.
    """
    name = name.casefold()
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
