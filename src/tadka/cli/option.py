"""Options that several commands share."""

from enum import StrEnum


class ProgressMode(StrEnum):
    """How a run shows that it moves."""

    AUTO = "auto"
    JSON = "json"
    NONE = "none"
