"""A word for any value that code reads: equal for equal values, in every process."""

import datetime as dt
import hashlib
import pickle
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import MISSING
from enum import Enum
from functools import cached_property, partial, partialmethod, singledispatchmethod
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from tadka.core.error import ConfigError
from tadka.core.hashing import digest
from tadka.task.code.form import form_of_function
from tadka.task.code.project import Project, module_name

_DATES = (dt.date, dt.time, dt.timedelta, complex)
# Their repr says all that they are, on every version of Python.
_BY_REPR = frozenset(
    (
        "builtins.NotImplementedType",
        "builtins.ellipsis",
        "builtins.range",
        "builtins.slice",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "operator.attrgetter",
        "operator.itemgetter",
        "operator.methodcaller",
        "uuid.UUID",
        "zoneinfo.ZoneInfo",
    )
)
# Their objects are data, and a pickle holds all of it.
_DATA = frozenset({"pandas", "polars", "pyarrow"})
# Neither data nor code: a log, a type that is only spoken of.
_INERT = frozenset({"logging", "typing", "types", "typing_extensions"})
_DESCRIPTORS = (MemberDescriptorType, GetSetDescriptorType)
# What a decorator of classes generates, from fields that are looked at themselves.
_GENERATED = frozenset(
    (
        "__delattr__",
        "__eq__",
        "__ge__",
        "__getstate__",
        "__gt__",
        "__hash__",
        "__init__",
        "__le__",
        "__lt__",
        "__match_args__",
        "__new__",
        "__replace__",
        "__repr__",
        "__setattr__",
        "__setstate__",
    )
)
_WRAPPED = ("__wrapped__", "py_func", "func", "callback")


Part = FunctionType | type | ModuleType

# By place: word, what was out of sight, functions and classes met, and what is to live on.
_first: dict[tuple[object, ...], tuple[str, list[bool], list[Part], object]] = {}


class Words:
    """Gives words for values, and tells which functions and classes of the project it met.

    Args:
        project: Whose functions and classes are looked into; those of others are only named.
        follow: Told of each function, class and module of the project that a value holds.
    """

    def __init__(self, project: Project, follow: Callable[[Part], None]) -> None:
        self._project = project
        self._follow = follow
        self._blind: list[bool] = []
        self._open: dict[int, int] = {}

    # ------------------------------------------------------------ functions and classes

    def label(self, item: FunctionType | type) -> str:
        """The qualified name of a function or class; that of a wrapper is its own."""
        if isinstance(item, type):
            return f"{module_name(item.__module__)}.{item.__qualname__}"
        return f"{module_name(str(_module_of(item)))}.{item.__code__.co_qualname}"

    def is_at_home(self, function: FunctionType) -> bool:
        """Whether a function is what its qualified name says."""
        holder: Any = function.__globals__
        for part in function.__code__.co_qualname.split("."):
            names = holder if isinstance(holder, dict) else getattr(holder, "__dict__", {})
            holder = names.get(part)
            if holder is None:
                return False
        holder = getattr(holder, "__func__", holder)
        return (holder.fget if isinstance(holder, property) else holder) is function

    def state(self, function: FunctionType) -> list[str]:
        """Words for what a function holds beside its code: defaults and closure."""
        words = [f"default {self.word(item)}" for item in function.__defaults__ or ()]
        for name, item in sorted((function.__kwdefaults__ or {}).items()):
            words.append(f"default {name} {self.word(item)}")
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        form = form_of_function(function)
        for name in form.free:
            if name != "__class__":
                words.append(f"closure {self._cell(cells[name], is_changed=name in form.changed)}")
        held = {name: item for name, item in vars(function).items() if name != "__wrapped__"}
        if held:
            is_changed = function.__name__ in form.changed  # a counter or cache of its own
            place = (id(function), "attributes") if is_changed else None
            word, blind = self.look(held, first=place, keep=function)
            self._blind += blind
            words.append(f"attributes {word}")
        return words

    def declared(self, cls: type) -> list[str]:
        """Words for the fields of a class that has no source."""
        found = []
        for item in getattr(cls, "__dataclass_fields__", {}).values():
            made = [item.default, item.default_factory]
            words = ["-" if value is MISSING else self.word(value) for value in made]
            found.append(f"{item.name} {words} {item.init} {item.compare} {item.kw_only}")
        return found or list(getattr(cls, "_fields", ())) or sorted(field_names(cls))

    def attributes(
        self, cls: type, names: Iterable[str] | None, left_out: Container[str] = ()
    ) -> list[str]:
        """The attributes of a class that its author made, sorted.

        Args:
            cls: The class.
            names: What its body binds, None if that is not known.
            left_out: Names that do not count, whose values are not looked at.
        """
        made = vars(cls)
        fields = field_names(cls)
        found = set(names or ())
        if issubclass(cls, Enum):
            if names is None:  # what its author wrote, not what Enum adds
                found |= {n for n, item in made.items() if self._is_own_code(item)}
            found -= cls.__members__.keys()
            return sorted(name for name in found if name not in left_out)
        for name, value in made.items():
            is_code = isinstance(value, FunctionType | classmethod | staticmethod | property)
            is_private = name.startswith("__") if names is None else name.startswith("_")
            if name in found or name in left_out:
                continue
            if is_private and not (is_code and (names is None or self._is_own_code(value))):
                continue
            if fields and (name in _GENERATED or is_slot(value)):
                continue
            if names is None or self._is_clear(value):
                found.add(name)
        return sorted(name for name in found if name not in left_out)

    def is_plain(self, word: str) -> bool:
        """Whether a word is no more than a name."""
        return word.startswith(("@", "external ", "module "))

    # ------------------------------------------------------------ any value

    def look(
        self, value: object, first: tuple[object, ...] | None = None, keep: object = None
    ) -> tuple[str, list[bool]]:
        """The word for a value, and what was out of sight; True for what is worth a mention.

        Args:
            value: It.
            first: A place whose value the code that is hashed changes, such as a cache: it counts
                as it was when it was first seen in this process.
            keep: What must live on for the place to stay the same.
        """
        if first is None:
            before, self._blind = self._blind, []
            word = self.word(value)
            blind, self._blind = self._blind, before
            return word, blind
        place = (self._project, *first)
        if place not in _first:
            met: list[Part] = []
            follow, self._follow = self._follow, met.append
            word, blind = self.look(value)
            self._follow = follow
            _first[place] = (word, blind, met, keep)
        word, blind, met, _ = _first[place]
        for item in met:
            self._follow(item)
        return word, blind

    def word(self, value: object) -> str:
        """The word for a value."""
        kind = type(value)
        if value is None or kind is bool or kind is float or kind is bytes:
            return f"{kind.__name__} {value!a}"
        if kind is int:
            return f"int {value:x}"
        if isinstance(value, str) and kind is str:
            return self._text("str", value)
        if isinstance(value, _DATES) and kind.__module__ in {"datetime", "builtins"}:
            return f"{kind.__name__} {digest(value)}"
        if isinstance(value, PurePath):
            return self._text("path", value.as_posix())
        if id(value) in self._open:
            return f"again {self._open[id(value)]}"
        self._open[id(value)] = len(self._open)
        try:
            return self._code(value) or self._container(value) or self._object(value)
        except RecursionError:
            return self._opaque(value)
        finally:
            del self._open[id(value)]

    def _text(self, kind: str, text: str) -> str:
        relative = self._project.relative(text)
        return f"{kind} {text!a}" if relative is None else f"project's {kind} {relative!a}"

    def _code(self, value: Any) -> str | None:
        if isinstance(value, ModuleType):
            if self._project.owns(value.__name__):
                self._follow(value)
            return f"module {module_name(value.__name__)}"
        if isinstance(value, type):
            if self._project.owns(value.__module__):
                self._follow(value)
                return f"@class {self.label(value)}"
            name = _external(value.__module__, value.__qualname__)
            if field_names(value) and not self._is_offered(value):  # by make_dataclass, say
                return f"made {name} {self.declared(value)}"
            return f"external {name}"
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return f"method {self.word(value.__func__)} of {self.word(value.__self__)}"
        if isinstance(value, BuiltinFunctionType):
            holder = value.__self__
            name = _external(value.__module__ or "", value.__qualname__)
            if holder is None or isinstance(holder, ModuleType | type):
                return f"external {name}"
            return f"builtin {name} of {self.word(holder)}"
        if isinstance(value, partial | partialmethod):
            parts = [self.word(part) for part in (value.func, value.args, value.keywords)]
            return f"{type(value).__name__} {' '.join(parts)}"
        if isinstance(value, property):
            parts = [self.word(part) for part in (value.fget, value.fset, value.fdel)]
            return f"property {' '.join(parts)}"
        if isinstance(value, staticmethod | classmethod):
            return f"{type(value).__name__} {self.word(value.__func__)}"
        if isinstance(value, cached_property | singledispatchmethod):
            found = value.func if isinstance(value, cached_property) else value.dispatcher
            return f"{type(value).__name__} {self.word(found)}"
        return None

    def _function(self, function: FunctionType) -> str:
        if not self._project.owns(_module_of(function), function.__globals__.get("__file__")):
            return self._foreign_function(function)
        self._follow(function)
        label = self.label(function)
        if self.is_at_home(function):
            return f"@function {label}"
        return f"function {label} {form_of_function(function).digest} {self.state(function)}"

    def _foreign_function(self, function: Any) -> str:
        """A function of another package, or one that it made, as a decorator or factory does."""
        name = _external(str(_module_of(function)), function.__code__.co_qualname)
        if self._is_offered(function):
            return f"external {name}"
        words = [self.word(getattr(function, "__wrapped__", None))]
        if hasattr(function, "registry") and hasattr(function, "dispatch"):  # singledispatch
            words.append(self.word(dict(function.registry)))
        else:
            words += [self._cell(cell, is_changed=True) for cell in function.__closure__ or ()]
        dull = ("external ", "module ", "NoneType ")
        words = list(dict.fromkeys(word for word in words if not word.startswith(dull)))
        return f"wrapper {name} {words}" if words else f"external {name}"

    def _is_offered(self, item: FunctionType | type) -> bool:
        """Whether another package has a function or class under its name, closure and all."""
        if self._project.owns(item.__module__):
            return False
        found: Any = sys.modules.get(item.__module__)
        for part in item.__qualname__.split("."):
            found = getattr(found, "__dict__", {}).get(part)
        return getattr(found, "__func__", found) is item

    def _cell(self, cell: CellType, *, is_changed: bool) -> str:
        try:
            value = cell.cell_contents
        except ValueError:  # a variable that has no value yet
            return "empty"
        if not is_changed:
            return self.word(value)
        word, blind = self.look(value, first=(id(cell),), keep=cell)
        self._blind += blind
        return word

    def _container(self, value: Any) -> str | None:
        kind = type(value)
        if isinstance(value, Enum):
            name = value._name_ if value._name_ is not None else value._value_
            return f"member {self.word(kind)} {name!a}{self._if_foreign(kind, value._value_)}"
        if isinstance(value, list | tuple | deque):
            content = f"[{', '.join(self.word(item) for item in value)}]"
        elif isinstance(value, set | frozenset):
            content = f"{{{', '.join(sorted(self.word(item) for item in value))}}}"
        elif isinstance(value, Mapping) and not self._project.owns(kind.__module__):
            pairs = [f"{self.word(key)}: {self.word(item)}" for key, item in value.items()]
            content = f"{{{', '.join(pairs)}}}"
        elif isinstance(value, dict | str | int | float | bytes):
            plain: Any = next(b for b in (dict, str, int, float, bytes) if isinstance(value, b))
            content = self.word(plain(value))
        else:
            return None
        return f"value {self.word(kind)} {content}{self._attributes(value)}"

    def _object(self, value: Any) -> str:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if self._project.owns(kind.__module__):
            return f"object {self.word(kind)}{self._attributes(value)}{self._inner(value)}"
        if isinstance(value, _DESCRIPTORS) or name == "collections._tuplegetter":
            return f"external {_external(kind.__module__, kind.__qualname__)}"
        if name in _BY_REPR:
            return f"{name} {value!a}"
        if name == "re.Pattern":
            return f"{name} {value.pattern!a} {value.flags}"
        if name == "types.SimpleNamespace" or field_names(kind):
            return f"object {self.word(kind)}{self._attributes(value)}"
        held = getattr(value, "__dict__", {})
        inner = [held[name] for name in _WRAPPED if isinstance(held.get(name), FunctionType)]
        if inner:
            return f"wrapper {self.word(kind)} {[self.word(item) for item in inner]}"
        inner = [item for _, item in sorted(held.items()) if isinstance(item, FunctionType)]
        if inner:
            return f"{self._opaque(value)} {[self.word(item) for item in inner]}"
        if kind.__module__ == "numpy":
            try:
                return f"{name} {digest(value)}"
            except ConfigError:  # an array of such objects
                return self._opaque(value)
        if kind.__module__.partition(".")[0] in _DATA:
            try:
                return f"{name} {hashlib.sha256(pickle.dumps(value, protocol=5)).hexdigest()}"
            except Exception:  # noqa: BLE001 - whatever a class that cannot be pickled says
                return self._opaque(value)
        return self._opaque(value)

    def _attributes(self, value: object) -> str:
        """Words for what an instance of a class in Python holds."""
        kind = type(value)
        held = dict(getattr(value, "__dict__", {}))
        for base in kind.__mro__:
            for name, item in vars(base).items():
                if isinstance(item, MemberDescriptorType) and base.__module__ != "builtins":
                    try:
                        held[name] = getattr(value, name)
                    except AttributeError:  # a slot that is empty
                        continue
                elif isinstance(item, cached_property):
                    held.pop(name, None)
        if isinstance(value, deque):
            held["maxlen"] = value.maxlen
        elif isinstance(value, defaultdict):
            held["default_factory"] = value.default_factory
        return "".join(f" {name}={self.word(item)}" for name, item in sorted(held.items()))

    def _inner(self, value: object) -> str:
        """What a base of another package keeps out of sight, such as the items of an array."""
        kind = type(value)
        makers = (vars(base).get("__reduce__") and base for base in kind.__mro__[:-1])
        maker = next((base for base in makers if base), None)
        if maker is None or self._project.owns(maker.__module__):
            return ""
        try:
            if maker.__module__ == "numpy":
                return f" {digest(value.view(maker))}"  # type: ignore[attr-defined]
            made = value.__reduce__()
        except Exception:  # noqa: BLE001 - whatever a class that cannot be pickled says
            return f" {self._opaque(value)}"
        return f" {self.word(made[1:3])}" if isinstance(made, tuple) else ""

    def _if_foreign(self, kind: type, value: object) -> str:
        return "" if self._project.owns(kind.__module__) else f" {self.word(value)}"

    def _opaque(self, value: object) -> str:
        kind = type(value)
        self._blind.append(kind.__module__.partition(".")[0] not in _INERT)
        return f"opaque {_external(kind.__module__, kind.__qualname__)}"

    def _is_own_code(self, value: Any) -> bool:
        """Whether a value in a class is a method or property of the project."""
        value = getattr(value, "__func__", value)
        value = value.fget if isinstance(value, property) else value
        return isinstance(value, FunctionType) and self._project.owns(_module_of(value))

    def _is_clear(self, value: object) -> bool:
        """Whether nothing in a value is out of sight; what it holds is not followed."""
        follow, self._follow = self._follow, lambda _: None
        try:
            return not self.look(value)[1]
        finally:
            self._follow = follow


def _module_of(function: FunctionType) -> object:
    return function.__globals__.get("__name__")


def _external(module: str, name: str) -> str:
    """A name that another package has in all its versions: only its top level stays the same."""
    return f"{module.partition('.')[0].lstrip('_')}:{name}"


def field_names(cls: type) -> frozenset[str]:
    """The fields of a dataclass, a named tuple, or a class of attrs or pydantic."""
    for name in ("__dataclass_fields__", "__attrs_attrs__", "_fields", "__pydantic_fields__"):
        found = getattr(cls, name, None)
        if isinstance(found, Mapping | tuple) and found:
            return frozenset(item if isinstance(item, str) else item.name for item in found)
    return frozenset()


def is_slot(value: object) -> bool:
    """Whether an attribute of a class is only the place of a field's value."""
    return isinstance(value, _DESCRIPTORS) or type(value).__name__ == "_tuplegetter"
