"""Optional libraries, imported on first use: the only place where an import may be late."""

import importlib
from types import ModuleType

from tadka.core.error import MissingExtra

_PACKAGES = {"zmq": "pyzmq", "yaml": "pyyaml"}  # import name -> name on the package index


def require(module: str, *, extra: str) -> ModuleType:
    """The optional library `module`, imported now.

    Args:
        module: Import name, dotted for a submodule (`"pyarrow.parquet"`).
        extra: The extra of tadka that installs it (`"stream"`).

    Returns:
        The imported module.

    Raises:
        MissingExtra: The library is absent, or present but fails to import.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        package = _PACKAGES.get(root, root)
        command = f"pip install 'tadka[{extra}]'"
        if isinstance(error, ModuleNotFoundError) and error.name == root:
            message = f"This needs {package}, which is not installed. Run: {command}."
        else:  # installed but broken: the reason is the news, reinstalling the usual cure
            message = (
                f"This needs {package}, which is installed but cannot be imported ({error}). "
                f"Run: {command} --force-reinstall."
            )
        raise MissingExtra(message, name=root) from error
