"""A user's class, or another value, by its name on a command line or in a file of settings."""

import difflib
import importlib.util
import pkgutil
import sys
import traceback
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from tadka.core.error import ConfigError, NotFound

T = TypeVar("T")


def locate(name: str, base: type[T], noun: str, example: str) -> type[T]:
    """The class that a name stands for. Its module is imported: that runs its code.

    Args:
        name: `MODULE:CLASS`, where MODULE is a dotted name, also of a module in the current
            directory, or the path of a `.py` file.
        base: What it must be a subclass of.
        noun: What such a class is called in messages: `"feature class"`.
        example: A name of one, without its module's ending: `"rows:Impression"`.

    Raises:
        ConfigError: The name is no such name, the module fails, or it has no such class.
        NotFound: There is no such module or file.
    """
    module, found = locate_value(name, noun, example)
    if isinstance(found, type) and issubclass(found, base) and found is not base:
        return found
    known = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    ]
    module_name, _, class_name = name.rpartition(":")
    close = difflib.get_close_matches(class_name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ConfigError(
        f"{module_name!r} has no {noun} {class_name!r}.{hint} It has: {', '.join(known) or 'none'}."
    )


def locate_value(name: str, noun: str, example: str) -> tuple[ModuleType, Any]:
    """Whatever a name stands for. Its module is imported: that runs its code.

    Args:
        name: `MODULE:NAME`, as in `locate`.
        noun: What such a value is called in messages.
        example: A name of one, without its module's ending.

    Returns:
        The module, and the value; None where the module has nothing of that name.

    Raises:
        ConfigError: The name is no such name, or the module fails.
        NotFound: There is no such module or file.
    """
    module_name, _, value_name = name.rpartition(":")
    if not module_name or not value_name:
        raise ConfigError(
            f"{name!r} names no {noun}; write MODULE:CLASS, such as {example} or "
            f"{example.replace(':', '.py:')}."
        )
    module = user_module(module_name, example.replace(":", ".py:"))
    found: Any = module
    for part in value_name.split("."):
        found = getattr(found, part, None)
    return module, found


def user_module(name: str, example: str) -> ModuleType:
    """A user's module, imported now: that runs its code.

    Args:
        name: Dotted name, also of a module in the current directory, or the path of a `.py` file.
        example: Path of such a file, for messages.

    Raises:
        ConfigError: The module fails.
        NotFound: There is no such module or file.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    is_file = name.endswith(".py")
    path = Path(name).resolve()
    if is_file and not path.is_file():
        raise NotFound(f"File {name!r} does not exist. Check the path.")
    try:
        return _load(path) if is_file else pkgutil.resolve_name(f"{name}:")
    except ModuleNotFoundError as error:
        if not is_file and error.name and (name == error.name or name.startswith(error.name + ".")):
            raise NotFound(
                f"There is no module {name!r}, nor in the current directory. Give the path of a "
                f"file: {example}."
            ) from error
        raise _failed(name, error) from error
    except ConfigError as error:  # a class of the module says what is wrong
        raise ConfigError(f"Module {name!r} cannot be imported. {error}") from error
    except Exception as error:  # the user's own code, of any kind
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> ConfigError:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith("<") and f.filename != __file__]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return ConfigError(
        f"Module {name!r} cannot be imported: {type(error).__name__}: {error}{where}."
    )


def _load(path: Path) -> ModuleType:
    """A file as the module of its name, beside which its own imports are found."""
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # another module of that name stays what it is
    is_free = known is None and _is_ours(path)
    name = path.stem if is_free else f"{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_ours(path: Path) -> bool:
    """Whether an import of the file's name would find the file."""
    try:
        spec = importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):  # such as a name with a dot
        return False
    return spec is not None and spec.origin == str(path)
