"""Which values an annotation of a field accepts: checked, frozen, as JSON and from text.

A kind is made of an annotation once, when the class is; after that a value costs a few comparisons.
"""

import datetime as dt
import json
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, cast

from tadka.task.define.frozen import FrozenDict, Input, canonical
from tadka.task.define.result import fits, shown

TaskOf = Callable[[str, str | None], Input[Any]]  # id, and the output's name where it is a part


class Wrong(Exception):
    """A value that a kind does not accept; whoever knows the field makes it a message.

    Args:
        value: What was given.
        accepted: What is accepted in its place.
        hint: The next step, where it is known better than that.
        place: Where in the field's value, as `"[3]"`.
    """

    def __init__(self, value: object, accepted: str, hint: str = "", place: str = "") -> None:
        super().__init__(accepted)
        self.value = value
        self.accepted = accepted
        self.hint = hint
        self.place = place

    def below(self, place: str) -> "Wrong":
        """The same, seen from the container that holds the value at this place."""
        self.place = place + self.place
        return self


class Kind:
    """The values that one annotation accepts. This one: values of one type that JSON has.

    Args:
        type_: The type, exactly: a subclass may look equal and be another value.
    """

    holds_tasks = False

    def __init__(self, type_: type) -> None:
        self.type = type_
        self.name = "None" if type_ is types.NoneType else type_.__name__

    def check(self, value: Any) -> Any:
        """The value, frozen.

        Raises:
            Wrong: It is not accepted.
        """
        if type(value) is self.type:
            return value
        raise Wrong(value, self.name, _hint(value))

    def to_json(self, value: Any) -> Any:
        """A checked value as plain JSON."""
        return value

    def from_json(self, data: Any, _task_of: TaskOf | None) -> Any:
        """The checked value that `to_json` wrote.

        Raises:
            Wrong: No value of this kind is written so.
        """
        return self.check(data)

    def from_text(self, text: str) -> Any:
        """The checked value of a text on a command line: JSON, unless said otherwise.

        Raises:
            Wrong: No value of this kind is written so.
        """
        try:
            return self.from_json(json.loads(text), None)
        except ValueError:
            raise Wrong(text, _TEXTS.get(self.name, f"{self.name}, as JSON")) from None


class TextKind(Kind):
    """str."""

    def from_text(self, text: str) -> Any:
        return text


class FloatKind(Kind):
    """float, and int where it is no other number as float."""

    def check(self, value: Any) -> Any:
        if type(value) is float:
            return value
        if type(value) is int:
            try:
                if (number := float(value)) == value:
                    return number
            except OverflowError:
                pass
            raise Wrong(value, "float", "The number is too large to be a float unchanged.")
        raise Wrong(value, "float", _hint(value))

    def to_json(self, value: Any) -> Any:
        return value if value - value == 0 else repr(value)  # JSON has no nan and no inf

    def from_json(self, data: Any, _task_of: TaskOf | None) -> Any:
        is_name = isinstance(data, str) and data in {"nan", "inf", "-inf"}
        return float(data) if is_name else self.check(data)

    def from_text(self, text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            raise Wrong(text, "a number") from None


class WrittenKind(Kind):
    """A type that JSON has as text: dates, times, spans and paths.

    Args:
        type_: The type.
        read: Gives the value of a text, or a ValueError.
        write: Gives the text of a value.
        form: How such a text looks.
    """

    def __init__(
        self, type_: type, read: Callable[[str], Any], write: Callable[[Any], str], form: str
    ) -> None:
        super().__init__(type_)
        self.read = read
        self.write = write
        self.form = form

    def check(self, value: Any) -> Any:
        if type(value) is self.type or (self.type is Path and isinstance(value, PurePath)):
            return value
        hint = f"Write {self.read.__qualname__}({value!r})." if isinstance(value, str) else ""
        raise Wrong(value, self.name, hint or _hint(value))

    def to_json(self, value: Any) -> Any:
        return self.write(value)

    def from_json(self, data: Any, _task_of: TaskOf | None) -> Any:
        if not isinstance(data, str):
            raise Wrong(data, self.form)
        return self.from_text(data)

    def from_text(self, text: str) -> Any:
        try:
            return self.read(text)
        except ValueError:
            raise Wrong(text, self.form) from None


class EnumKind(Kind):
    """The members of one Enum, by name in JSON."""

    def check(self, value: Any) -> Any:
        if isinstance(value, self.type):
            return value
        members = cast("type[Enum]", self.type)
        close = [member.name for member in members if value in (member.name, member.value)]
        hint = f"Write {self.name}.{close[0]}." if close else ""
        raise Wrong(value, f"a member of {self.name}", hint or _hint(value))

    def to_json(self, value: Any) -> Any:
        return value.name

    def from_json(self, data: Any, _task_of: TaskOf | None) -> Any:
        members = cast("type[Enum]", self.type).__members__
        if isinstance(data, str) and data in members:
            return members[data]
        raise Wrong(data, f"one of {', '.join(members)}")

    def from_text(self, text: str) -> Any:
        return self.from_json(text, None)


class LiteralKind(Kind):
    """The values of a Literal.

    Args:
        values: They; of str, int, bool, None or Enum.
    """

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values
        self.name = f"one of {', '.join(repr(value) for value in values)}"
        self.by_text = {_key_text(self.to_json(value)): value for value in values}

    def check(self, value: Any) -> Any:
        for accepted in self.values:
            if type(value) is type(accepted) and value == accepted:
                return accepted
        raise Wrong(value, self.name, _hint(value))

    def to_json(self, value: Any) -> Any:
        return value.name if isinstance(value, Enum) else value

    def from_json(self, data: Any, _task_of: TaskOf | None) -> Any:
        for value in self.values:
            written = self.to_json(value)
            if type(data) is type(written) and data == written:
                return value
        raise Wrong(data, self.name)

    def from_text(self, text: str) -> Any:
        if text not in self.by_text:
            raise Wrong(text, self.name)
        return self.by_text[text]


class UnionKind(Kind):
    """Any of several kinds, tried in order; one that takes the value unchanged goes first.

    Args:
        members: The kinds.
    """

    def __init__(self, members: Sequence[Kind]) -> None:
        self.members = tuple(members)
        self.name = " | ".join(member.name for member in members)
        self.holds_tasks = any(member.holds_tasks for member in members)

    def check(self, value: Any) -> Any:
        found: list[Any] = []
        reasons: list[Wrong] = []
        for member in self.members:
            try:
                checked = member.check(value)
            except Wrong as wrong:
                reasons.append(wrong)
            else:
                if checked is value:
                    return value
                found.append(checked)
        if found:
            return found[0]
        raise self._reason(value, reasons)

    def to_json(self, value: Any) -> Any:
        member = next(member for member in self.members if self._is_of(member, value))
        data = member.to_json(value)
        # where this reads back as another value, the member's name is written too
        if member.holds_tasks or self._reads_as(data, value):
            return data
        return {"type": member.name, "value": data}

    def _is_of(self, member: Kind, value: Any) -> bool:
        try:
            return _are_same(member.check(value), value)
        except Wrong:
            return False

    def _reads_as(self, data: Any, value: Any) -> bool:
        try:
            return _are_same(self.from_json(data, None), value)
        except Wrong:
            return False

    def from_json(self, data: Any, task_of: TaskOf | None) -> Any:
        if isinstance(data, dict) and set(data) == {"type", "value"}:
            for member in self.members:
                if member.name == data["type"]:
                    return member.from_json(data["value"], task_of)
        return self._first(data, task_of)

    def _first(self, data: Any, task_of: TaskOf | None) -> Any:
        reasons = []
        for member in self.members:
            try:
                return member.from_json(data, task_of)
            except Wrong as wrong:
                reasons.append(wrong)
        raise self._reason(data, reasons)

    def from_text(self, text: str) -> Any:
        if text == "null" and any(member.name == "None" for member in self.members):
            return None
        reasons = []
        for member in sorted(self.members, key=lambda member: isinstance(member, TextKind)):
            try:
                return member.from_text(text)
            except Wrong as wrong:
                reasons.append(wrong)
        raise self._reason(text, reasons)

    def _reason(self, value: object, reasons: Sequence[Wrong]) -> Wrong:
        """The words of the member that came furthest."""
        deepest = max(reasons, key=lambda wrong: len(wrong.place))
        if deepest.place:
            return deepest
        hints = [wrong.hint for wrong in reasons if wrong.hint]
        accepted = " or ".join(dict.fromkeys(wrong.accepted for wrong in reasons))
        return Wrong(value, accepted, hints[0] if hints else "")


class ListKind(Kind):
    """Lists, tuples and sequences, kept as tuples; sets, kept as frozensets.

    Args:
        name: As annotated.
        items: What each item is; where there are several, what each place holds.
        types_: What may be given.
        keeps: `tuple` or `frozenset`.
    """

    def __init__(
        self,
        name: str,
        items: Sequence[Kind],
        types_: tuple[type, ...],
        keeps: type[tuple[Any, ...]] | type[frozenset[Any]] = tuple,
        *,
        by_place: bool = False,
    ) -> None:
        self.name = name
        self.items = tuple(items)
        self.types = types_
        self.keeps = keeps
        self.by_place = by_place
        self.holds_tasks = any(item.holds_tasks for item in items)

    def check(self, value: Any) -> Any:
        if type(value) not in self.types:
            raise Wrong(value, self.name, _hint(value))
        return self._each(value, lambda kind: kind.check)

    def to_json(self, value: Any) -> Any:
        data = [kind.to_json(item) for kind, item in self._pairs(value)]
        return data if self.keeps is tuple else sorted(data, key=json.dumps)

    def from_json(self, data: Any, task_of: TaskOf | None) -> Any:
        if not isinstance(data, list):
            raise Wrong(data, f"a list, for {self.name}")
        return self._each(data, lambda kind: lambda item: kind.from_json(item, task_of))

    def _each(self, values: Any, function_of: Callable[[Kind], Callable[[Any], Any]]) -> Any:
        if self.by_place and len(values) != len(self.items):
            raise Wrong(values, f"{self.name}, with {len(self.items)} items")
        done: list[Any] = []
        try:
            if self.by_place:
                for kind, item in zip(self.items, values, strict=True):
                    done.append(function_of(kind)(item))
            else:
                function = function_of(self.items[0])
                for item in values:
                    done.append(function(item))
            return self.keeps(done)
        except Wrong as wrong:
            raise wrong.below(f"[{len(done)}]" if self.keeps is tuple else "") from None

    def _pairs(self, value: Any) -> list[tuple[Kind, Any]]:
        if self.by_place:
            return list(zip(self.items, value, strict=True))
        return [(self.items[0], item) for item in value]


class DictKind(Kind):
    """Dicts, which keep their order.

    Args:
        name: As annotated.
        key: What each key is: a value that JSON can write as text.
        item: What each value is.
    """

    def __init__(self, name: str, key: Kind, item: Kind) -> None:
        self.name = name
        self.key = key
        self.item = item
        self.holds_tasks = item.holds_tasks

    def check(self, value: Any) -> Any:
        if type(value) not in {dict, FrozenDict, types.MappingProxyType}:
            raise Wrong(value, self.name, _hint(value))
        done = {}
        for key, item in value.items():
            try:
                done[self.key.check(key)] = self.item.check(item)
            except Wrong as wrong:
                raise wrong.below(f"[{key!r}]") from None
        return FrozenDict(done)

    def to_json(self, value: Any) -> Any:
        written = [(self.key.to_json(key), self.item.to_json(item)) for key, item in value.items()]
        return {_key_text(key): item for key, item in written}

    def from_json(self, data: Any, task_of: TaskOf | None) -> Any:
        if not isinstance(data, dict):
            raise Wrong(data, f"an object, for {self.name}")
        done = {}
        for key, item in data.items():
            try:
                done[self.key.from_text(str(key))] = self.item.from_json(item, task_of)
            except Wrong as wrong:
                raise wrong.below(f"[{key!r}]") from None
        return FrozenDict(done)


class DataclassKind(Kind):
    """A frozen dataclass, its fields checked and frozen by their own annotations.

    Args:
        type_: The class.
        kinds: Its fields.
    """

    def __init__(self, type_: type, kinds: Mapping[str, Kind]) -> None:
        super().__init__(type_)
        self.kinds = kinds

    def check(self, value: Any) -> Any:
        if type(value) is not self.type:
            raise Wrong(value, self.name, _hint(value))
        frozen = value
        for name, kind in self.kinds.items():
            item = getattr(value, name)
            try:
                checked = kind.check(item)
            except Wrong as wrong:
                raise wrong.below(f".{name}") from None
            if checked is not item:
                frozen = copy(value) if frozen is value else frozen
                object.__setattr__(frozen, name, checked)
        return frozen

    def to_json(self, value: Any) -> Any:
        return {name: kind.to_json(getattr(value, name)) for name, kind in self.kinds.items()}

    def from_json(self, data: Any, task_of: TaskOf | None) -> Any:
        if not isinstance(data, dict):
            raise Wrong(data, f"an object, for {self.name}")
        given = {}
        for name, item in data.items():
            if name not in self.kinds:
                raise Wrong(data, f"{self.name}, which has {', '.join(self.kinds)}")
            try:
                given[name] = self.kinds[name].from_json(item, task_of)
            except Wrong as wrong:
                raise wrong.below(f".{name}") from None
        try:
            return self.check(self.type(**given))
        except (TypeError, ValueError) as error:  # a field is missing, or the class refuses
            raise Wrong(data, self.name, f"{error}") from error


class InputKind(Kind):
    """Tasks of a class, tasks with a type of result, or parts.

    Args:
        type_: Task, Part or a class of tasks.
        result: The type that the result must have; Any for every one.
    """

    holds_tasks = True

    def __init__(self, type_: type, result: Any = Any) -> None:
        super().__init__(type_)
        self.result = result
        if result is not Any:
            self.name = f"{type_.__name__}[{shown(result)}]"

    def check(self, value: Any) -> Any:
        if not isinstance(value, self.type):
            is_class = isinstance(value, type) and issubclass(value, Input)
            hint = f"Make a task of the class: {value.__name__}(...)." if is_class else ""
            hint = hint or _defined_again(self.type, type(value)) or _hint(value)
            raise Wrong(value, self._accepted(), hint)
        found = getattr(value, "result_type", Any)
        if self.result is not Any and not fits(found, self.result):
            hint = f"The result of {type(value).__name__} is {shown(found)}."
            raise Wrong(value, self._accepted(), hint)
        return value

    def _accepted(self) -> str:
        return self.name if self.name.startswith(("Task", "Part")) else f"a {self.name} task"

    def to_json(self, value: Any) -> Any:
        return value.as_json()

    def from_json(self, data: Any, task_of: TaskOf | None) -> Any:
        if task_of is None or not isinstance(data, dict) or "task" not in data:
            raise Wrong(data, self._accepted(), "A task cannot be written as text.")
        return self.check(task_of(data["task"], data.get("part")))

    def from_text(self, text: str) -> Any:
        raise Wrong(text, self._accepted(), "A task cannot be written as text.")


def _are_same(first: Any, second: Any) -> bool:
    """Equal and of equal types, all the way down."""
    return canonical(first, _name) == canonical(second, _name)


def _name(value: Input[Any]) -> bytes:
    return value.id.encode()


def _key_text(data: Any) -> str:
    return data if isinstance(data, str) else json.dumps(data)


def _defined_again(wanted: type, found: type) -> str:
    """The next step where a cell of a notebook ran again, so that two classes have one name."""
    if (wanted.__module__, wanted.__qualname__) != (found.__module__, found.__qualname__):
        return ""
    name = wanted.__name__
    if getattr(sys.modules.get(wanted.__module__), name, None) is wanted:
        return f"It was made before {name} was defined again; make it anew."
    return f"{name} was defined again after the class of the field; define that one again, too."


def _hint(value: object) -> str:
    """The next step for values that are often given."""
    type_ = type(value)
    if isinstance(value, Input):
        return "A task stands only in a field that is annotated with its class or with Task[...]."
    if type_.__module__ == "numpy" and hasattr(value, "item"):
        method = "tolist" if type_.__name__ == "ndarray" else "item"
        return f"Make it a value of Python: .{method}()."
    if isinstance(value, dt.datetime):
        is_plain = type_ is dt.datetime
        return "A date of it is .date()." if is_plain else "Write .to_pydatetime()."
    for plain in (int, float, str) if type_ is not bool else ():
        if isinstance(value, plain) and type_ is not plain and not isinstance(value, Enum):
            return f"It is of a subclass of {plain.__name__}; write {plain.__name__}(...)."
    return ""


_TEXTS = {"bool": "true or false", "int": "a whole number", "None": "null"}
