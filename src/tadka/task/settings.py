"""Settings of a project: where results are kept, how builds run, and values of fields by class.

A file `tadka.toml` or `tadka.yaml` in the working directory, or the one that TADKA_SETTINGS names:

    workspace = "s3://team/results"
    workers = 4
    index = "postgresql://tadka:${PASSWORD}@db/tadka"

    [tasks."shop.features.Features"]
    window = 14

A value of a field is taken from the call, else from here, else from the class. Sections of base
classes are inherited. `${NAME}` is an environment variable, `${NAME:-other}` one with a default,
`$${NAME}` the text itself.
"""

import datetime as dt
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

from tadka.core.error import ConfigError, NotFound
from tadka.core.extra import require
from tadka.core.variable import expand_variables
from tadka.task.define.declaration import closest
from tadka.task.define.field import Field
from tadka.task.define.frozen import path_of
from tadka.task.define.restore import all_classes
from tadka.task.define.task import Task, set_settings
from tadka.task.store.store import Store, Verify

OnCodeChange = Literal["rerun", "warn", "ignore"]

FILE = "TADKA_SETTINGS"
WORKSPACE = "TADKA_WORKSPACE"
_NAMES = ("tadka.toml", "tadka.yaml", "tadka.yml")
_HERE = "workspace"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a project says once for all its builds.

    Args:
        workspace: Folder or URI of results.
        index: URL of their index, as in `Store`.
        workers: Processes at once.
        on_code_change: What happens to results whose code changed.
        verify: When the bytes of results are compared with their hash, as in `Store`.
        cache: Where copies of an object store's results lie.
        notify: URLs that are told of builds.
        tasks: Values of fields by class: its path, `"shop.features.Features"`, or its name alone.
        source: The file that they are from, for messages.

    Raises:
        ConfigError: A value is of the wrong type.
    """

    workspace: str | None = None
    index: str | None = None
    workers: int | None = None
    on_code_change: OnCodeChange | None = None
    verify: Verify = "load"
    cache: str | None = None
    notify: tuple[str, ...] = ()
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for name in ("workspace", "index", "cache"):
            value = getattr(self, name)
            if isinstance(value, Path):
                object.__setattr__(self, name, str(value))
            elif value is not None and (not isinstance(value, str) or not value):
                raise self._wrong(name, value, "a path or a URI")
        if self.workers is not None and (type(self.workers) is not int or self.workers < 1):
            raise self._wrong("workers", self.workers, "a whole number of at least 1")
        for name, accepted in (("on_code_change", OnCodeChange), ("verify", Verify)):
            value = getattr(self, name)
            if value not in get_args(accepted) and not (value is None and name != "verify"):
                raise self._wrong(name, value, f"one of {', '.join(get_args(accepted))}")
        urls = (self.notify,) if isinstance(self.notify, str) else self.notify
        if not isinstance(urls, tuple | list) or not all(isinstance(u, str) and u for u in urls):
            raise self._wrong("notify", self.notify, "a URL, or a list of URLs")
        object.__setattr__(self, "notify", tuple(urls))
        if not isinstance(self.tasks, Mapping):
            raise self._wrong("tasks", self.tasks, "a section for each class")
        for name, section in self.tasks.items():
            if not isinstance(name, str) or not isinstance(section, Mapping):
                raise self._wrong(f"tasks.{name}", section, "values by field")
            is_package = "." not in name and name[:1].islower()
            if is_package and section and all(isinstance(v, Mapping) for v in section.values()):
                raise ConfigError(
                    f"{self._name()}: tasks.{name} is a section of sections. The path of a class "
                    f'is one key, in quotes: [tasks."{name}.module.Class"].'
                )

    def fields_of(self, cls: type[Task[Any]]) -> Mapping[str, Any]:
        """Values of a class's fields, those of its bases among them.

        Args:
            cls: Any class of tasks.

        Returns:
            Checked values by field; empty where no section is for the class.

        Raises:
            ConfigError: A section has a field that its class has not, a value that the field does
                not accept or an environment variable that is not set, its name is that of several
                classes, or a section of the class's module names no class of it.
        """
        if not self.tasks:
            return {}
        self._check_module(cls)
        found: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, Task) and (name := self._section_of(base)) is not None:
                for key, value in self.tasks[name].items():
                    found[key] = self._value(base, name, key, value)
        return MappingProxyType(found)

    def check(self) -> None:
        """Looks whether each section is for a class, as far as modules are imported.

        Raises:
            ConfigError: A section names no class of an imported module.
        """
        known = {path_of(cls): cls.__name__ for cls in all_classes()}
        for name in self.tasks:
            if "." not in name:
                if name not in known.values():
                    hint = closest(name, known.values())
                    raise ConfigError(
                        f"{self._name()}: the section {name!r} of tasks is for no class that is "
                        f"imported.{hint} A class of another module is named with it: "
                        f"'package.module.{name}'."
                    )
            elif name not in known and (module := _module_of(name)) is not None:
                raise self._no_class(name, module)

    def _section_of(self, cls: type[Task[Any]]) -> str | None:
        path, name = path_of(cls), cls.__name__
        if name not in self.tasks:
            return path if path in self.tasks else None
        if path in self.tasks:
            raise ConfigError(
                f"{self._name()}: tasks has two sections for one class, {name!r} and {path!r}. "
                "Make them one."
            )
        others = sorted({path_of(c) for c in all_classes() if c.__name__ == name} - {path})
        if others:
            raise ConfigError(
                f"{self._name()}: the section {name!r} of tasks may be for {path} or for "
                f"{' or '.join(others)}. Write the whole path of the one that is meant."
            )
        return name

    def _value(self, cls: type[Task[Any]], section: str, name: str, value: Any) -> Any:
        known: Field | None = cls.fields.get(name)
        where = f"tasks.{section}.{name}"
        if known is None:
            hint = closest(name, cls.fields, "Its fields are ") or " It has no fields."
            raise ConfigError(
                f"{self._name()}: {where}: {cls.__name__} has no field {name!r}.{hint}"
            )
        given = expand_variables(value, f"{self._name()}: {where}")
        try:
            if (
                isinstance(value, str) and given != value
            ):  # variables are text, as on a command line
                return known.from_text(given, cls.__name__)
            try:
                return known.value_of(given, cls.__name__)
            except ConfigError:  # what files have no type for is written as in JSON
                return known.from_json(_plain(given), cls.__name__)
        except ConfigError as error:
            raise ConfigError(f"{self._name()}: {where}: {error}") from None

    def _check_module(self, cls: type[Task[Any]]) -> None:
        """Refuses sections of the class's own module that are for nothing in it."""
        module = path_of(cls).removesuffix(f".{cls.__qualname__}")
        for name in self.tasks:
            if name.startswith(f"{module}.") and _module_of(name) == module:
                raise self._no_class(name, module)

    def _no_class(self, name: str, module: str) -> ConfigError:
        paths = [path_of(cls) for cls in all_classes() if path_of(cls).startswith(f"{module}.")]
        hint = closest(name, sorted(set(paths)), "It has ")
        return ConfigError(
            f"{self._name()}: the section {name!r} of tasks is for no class of {module}.{hint}"
        )

    def _wrong(self, key: str, value: object, accepted: str) -> ConfigError:
        return ConfigError(f"{self._name()}: {key} is {value!r}; it must be {accepted}.")

    def _name(self) -> str:
        return f"Settings {self.source!r}" if self.source else "Settings"


_KEYS = tuple(one.name for one in fields(Settings) if one.name != "source")

# What `use` was given, or the file that was found first; None until then.
_current: Settings | None = None


def load_settings(path: str | Path | None = None) -> Settings:
    """Settings of a file.

    Args:
        path: A `.toml`, `.yaml`, `.yml` or `.json` file; the one that TADKA_SETTINGS names, else
            `tadka.toml` or `tadka.yaml` of the working directory, unless given.

    Returns:
        Settings that say nothing, where there is no file.

    Raises:
        NotFound: The file that was named does not exist.
        ConfigError: It cannot be read, a key is unknown, a value is of the wrong type, or an
            environment variable is not set.
    """
    file = _find() if path is None else Path(path)
    if file is None:
        return Settings()
    name = f"Settings {str(file)!r}"
    data = _read(file, name)
    for key in data:
        if key not in _KEYS:
            hint = closest(str(key), _KEYS, "Known keys: ")
            raise ConfigError(f"{name}: key {key!r} is unknown.{hint}")
    given = {
        key: value if key == "tasks" else expand_variables(value, f"{name}: {key}")
        for key, value in data.items()
        if value is not None  # as `tasks:` with all its lines commented out
    }
    if isinstance(given.get("workers"), str) and "$" in str(data["workers"]):
        given["workers"] = int(w) if (w := given["workers"]).isdecimal() else w
    if isinstance(sections := given.get("tasks"), Mapping):
        given["tasks"] = {key: {} if value is None else value for key, value in sections.items()}
    return Settings(**given, source=str(file))


def use(settings: Settings | None) -> None:
    """Makes settings those of this process, in the place of the ones it had.

    Args:
        settings: They; `Settings()` for none, None for those of the file, found when next needed.
    """
    global _current
    _current = settings
    if settings is None:
        set_settings(defaults_of)
    else:
        set_settings(_Cached(settings.fields_of) if settings.tasks else None)


def current() -> Settings:
    """The settings of this process: those of `use`, else those of the file, read once.

    Raises:
        NotFound: TADKA_SETTINGS names a file that does not exist.
        ConfigError: The file cannot be understood.
    """
    if _current is None:
        use(load_settings())
    assert _current is not None
    return _current


def defaults_of(cls: type[Task[Any]]) -> Mapping[str, Any]:
    """Values of a class's fields by the settings of this process.

    Args:
        cls: A class of tasks.

    Raises:
        ConfigError: The settings, or the sections for the class, are wrong.
    """
    return current().fields_of(cls)


def open_store(workspace: str | Path | Store | None = None) -> Store:
    """The store of a workspace.

    Args:
        workspace: A folder, a URI or a store; that of the settings, else the one that
            TADKA_WORKSPACE names, else the folder `workspace`, unless given.

    Returns:
        With the index and the cache of the settings, unless it is another workspace than theirs.

    Raises:
        ConfigError: The settings cannot be understood.
    """
    if isinstance(workspace, Store):
        return workspace
    settings = current()
    usual = settings.workspace or os.environ.get(WORKSPACE) or _HERE
    chosen = usual if workspace is None else str(workspace)
    is_usual = chosen == usual
    return Store(
        chosen,
        settings.index if is_usual else None,
        verify=settings.verify,
        cache=settings.cache if is_usual else None,
    )


class _Cached:
    """Values of fields by class, found once for each."""

    def __init__(self, fields_of: Callable[[type[Task[Any]]], Mapping[str, Any]]) -> None:
        self._fields_of = fields_of
        self._known: WeakKeyDictionary[type[Task[Any]], Mapping[str, Any]] = WeakKeyDictionary()

    def __call__(self, cls: type[Task[Any]]) -> Mapping[str, Any]:
        found = self._known.get(cls)
        if found is None:
            found = self._known[cls] = self._fields_of(cls)
        return found


def _find() -> Path | None:
    named = os.environ.get(FILE)
    if named:
        return Path(named)
    found = [name for name in _NAMES if Path(name).is_file()]
    if len(found) > 1:
        raise ConfigError(
            f"There are {' and '.join(found)} in {str(Path.cwd())!r}; settings stand in one file. "
            f"Remove one, or name one in {FILE}."
        )
    return Path(found[0]) if found else None


def _yaml(text: str) -> Any:
    """The value of a document; the library is slow to load, and most projects need none of it."""
    document = require("tadka.core.document")
    try:
        return document.read_yaml(text)
    except require("yaml").YAMLError as error:
        raise ValueError(str(error)) from error


def _read(file: Path, name: str) -> dict[str, Any]:
    try:
        text = file.expanduser().read_text(encoding="utf-8")
        is_toml = file.suffix == ".toml"
        data = tomllib.loads(text) if is_toml else _yaml(text)
    except FileNotFoundError as error:
        raise NotFound(f"{name} do not exist. Check the path.") from error
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # of TOML, YAML or UTF-8
        reason = " ".join(str(error).split()).rstrip(".")
        kind = "TOML" if file.suffix == ".toml" else "YAML"
        raise ConfigError(f"{name} is not {kind}: {reason}.") from error
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigError(f"{name} is a {type(data).__name__}; it must have keys with values.")
    return data


def _plain(value: Any) -> Any:
    """As JSON has it: dates and times, which TOML and YAML know, as text."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value


def _module_of(path: str) -> str | None:
    """The imported module in which the class of a path should be, and is not; else None."""
    known = {path_of(cls) for cls in all_classes()}
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:end])
        module = sys.modules.get(name)
        if module is None:
            continue
        spec = getattr(module, "__spec__", None)
        is_ready = spec is not None and not getattr(spec, "_initializing", False)
        is_package = hasattr(module, "__path__") and end < len(parts) - 1
        # a module of the package that is not imported yet may have it
        return name if is_ready and not is_package and path not in known else None
    return None


use(None)
