"""A feature class by its name on a command line or in a file of settings."""

from tadka.core.locate import locate
from tadka.features.features import Features


def find_class(name: str) -> type[Features]:
    """The feature class that a name stands for. Its module is imported: that runs its code.

    Args:
        name: `MODULE:CLASS`, where MODULE is a dotted name, also of a module in the current
            directory, or the path of a `.py` file.

    Raises:
        ConfigError: The name is no such name, the module fails, or it has no such class.
        NotFound: There is no such module or file.
    """
    return locate(name, Features, "feature class", "rows:Impression")
