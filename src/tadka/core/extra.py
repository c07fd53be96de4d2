"""Libraries and public names imported on first use: the only place where an import may be late."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from tadka.core.error import MissingExtra

_OURS = __name__.partition(".")[0]
_PACKAGES = {"zmq": "pyzmq", "yaml": "pyyaml"}  # import name -> name on the package index


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """The library `module`, imported now: an optional one, or one that is slow to load.

    Args:
        module: Import name, dotted for a submodule (`"pyarrow.parquet"`).
        extra: The extra of tadka that installs it (`"stream"`); without one, tadka itself does.

    Returns:
        The imported module.

    Raises:
        MissingExtra: The library is absent, or present but fails to import.
    """
    try:
        return importlib.import_module(module)
    except MissingExtra:
        raise  # a module of tadka has told already what it needs
    except ImportError as error:
        root = module.partition(".")[0]
        if root == _OURS and isinstance(error, ModuleNotFoundError):
            root = str(error.name).partition(".")[0]  # what a module of tadka needs
        package = _PACKAGES.get(root, root)
        command = f"pip install 'tadka[{extra}]'" if extra else "pip install tadka"
        if isinstance(error, ModuleNotFoundError) and error.name == root:
            message = f"This needs {package}, which is not installed. Run: {command}."
        else:  # installed but broken: the reason is the news, reinstalling the usual cure
            message = (
                f"This needs {package}, which is installed but cannot be imported ({error}). "
                f"Run: {command} --force-reinstall."
            )
        raise MissingExtra(message, name=root) from error


def loaded(module: str) -> ModuleType | None:
    """The library `module` if it is imported already; if not, no value can be of its classes.

    Args:
        module: Import name.

    Returns:
        The imported module, or None where nothing has asked for it so far.
    """
    found = sys.modules.get(module)
    is_half = getattr(getattr(found, "__spec__", None), "_initializing", False)
    return None if is_half else found


def on_demand(
    package: str, homes: Mapping[str, Sequence[str]], *, extra: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names are imported when first used.

    `from package import name` then loads no more than the module that defines that name. A public
    name wins over a module of the same name, whichever is imported first.

    Args:
        package: Its `__name__`.
        homes: Public names by the module that defines them, below the package
            (`{"config": ["load_config"], "build.build": ["build"]}`).
        extra: The extra of tadka that installs what these modules import.

    Returns:
        Both functions (PEP 562).
    """
    homes_of = {name: f"{package}.{home}" for home, names in homes.items() for name in names}
    modules = {home.partition(".")[0] for home in homes} - homes_of.keys()
    module = sys.modules[package]

    class Package(ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            if name in homes_of and isinstance(value, ModuleType):
                return  # Python binds a module that was imported to its package
            super().__setattr__(name, value)

    def get(name: str) -> Any:
        if name in homes_of:
            value = getattr(
                require(homes_of[name], extra=extra)
                if extra
                else importlib.import_module(homes_of[name]),
                name,
            )
            setattr(module, name, value)
            return value
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    module.__class__ = Package
    return get, lambda: sorted({*vars(module), *homes_of, *modules})
