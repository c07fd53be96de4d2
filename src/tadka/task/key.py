"""Keys: what a result was made from, as parts that can be compared and one hash of them."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tadka.core.error import ConfigError
from tadka.task.code.digest import CodeHash, code_of
from tadka.task.code.digest import differences as code_differences
from tadka.task.define.frozen import Input, canonical, record
from tadka.task.define.task import Task, arguments_of, inputs_of
from tadka.task.store.row import Lazy

_MOST_INPUTS = 3  # of one field that are told one by one
_LONGEST_VALUE = 60  # letters


@dataclass(frozen=True, kw_only=True)
class KeyParts:
    """All that a result depends on.

    Args:
        task: Module and name of the class.
        version: The class's salt.
        code: Digest of its code.
        code_parts: Digest of each piece of the code, by name; for people, as `code` covers them.
        fields: Significant fields as plain JSON, for people; without those that hold tasks.
        values: Digest of the same fields and of what stands beside tasks, with their types.
        inputs: Hash of the content of each result that it takes in, by place: `"days[3]"`.
        outs: What the class declares of each output, as plain JSON.
        outside: State of what it reads and no task made, by name.
    """

    task: str
    version: str
    code: str
    code_parts: Mapping[str, str]
    fields: Mapping[str, Any]
    values: str
    inputs: Mapping[str, str]
    outs: Mapping[str, Any]
    outside: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The hash of the parts: 64 hexadecimal digits."""
        # the text is JSON; most of it is that of all tasks of a class
        name = self.task, self.version, self.code
        known = _TEXTS.get(name)
        if known is None or known[0] is not self.outs:
            before = _TO_TEXT(name)[:-1]
            known = _TEXTS[name] = self.outs, before, _TO_TEXT(self.outs)
        inputs = _TO_TEXT(self.inputs) if self.inputs else "{}"
        outside = f",{_TO_TEXT(self.outside)}" if self.outside else ""
        text = f'{known[1]},"{self.values}",{inputs},{known[2]}{outside}]'
        return hashlib.sha256(record(b"key", text.encode())).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which `from_json` reads back as equal parts."""
        return {
            part.name: dict(value) if isinstance(value, Mapping) else value
            for part in dataclasses.fields(self)
            for value in (getattr(self, part.name),)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The parts that `to_json` wrote.

        Args:
            data: Plain JSON.
        """
        known = [part.name for part in dataclasses.fields(cls) if part.name in data]
        return cls(**{name: data[name] for name in known})


_TO_TEXT = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=dict).encode
_TEXTS: dict[tuple[str, str, str], tuple[Mapping[str, Any], str, str]] = {}
"""Parts of the text of keys, by class, version and code."""


def code_of_tasks(cls: type[Task[Any]]) -> CodeHash:
    """The code of a class of tasks, with the files and objects that it names.

    Args:
        cls: The class; its `code_files` are relative to its own file.

    Raises:
        NotFound: A file does not exist.
    """
    functions = [f for out in cls.outs.values() for f in (out.save, out.load) if f is not None]
    arguments = [
        f"{argument.name}: {'Run' if argument.is_run else 'Iterator' if argument.is_lazy else ''}"
        for argument in arguments_of(cls)
    ]
    return code_of(cls, files=cls.code_files, uses=[*cls.uses, *functions], arguments=arguments)


def parts_of(task: Task[Any], code: CodeHash, contents: Mapping[str, str]) -> KeyParts:
    """What the result of a task depends on.

    Args:
        task: It.
        code: Of its class.
        contents: Hash of the content of each input by place. Those of tasks that are not
            significant may be among them, and do not count.

    Raises:
        KeyError: An input has no hash.
    """
    cls = type(task)
    values = [head + canonical(task.__dict__[name], _no_input) for head, name in cls._significant]
    return KeyParts(
        task=cls._path,
        version=cls.version,
        code=code.digest,
        code_parts=code.parts,
        fields=Lazy(lambda: _fields_of(task)),
        values=hashlib.sha256(record(b"fields", b"".join(values))).hexdigest(),
        inputs={
            place: contents[place]
            for place, item in inputs_of(task)
            if item.is_significant and cls.fields[place.partition("[")[0]].is_significant
        },
        outs=cls._declared,
        outside={} if cls.fingerprint is Task.fingerprint else _outside_of(task),
    )


def _no_input(_: Input[Any]) -> bytes:
    return b""


def _fields_of(task: Task[Any]) -> dict[str, Any]:
    """Significant fields without tasks as plain JSON; read by people, and no part of the key."""
    held = {place.partition("[")[0] for place, _ in inputs_of(task)}
    return {
        name: field.to_json(task.__dict__[name])
        for name, field in type(task).fields.items()
        if field.is_significant and name not in held
    }


def differences(before: KeyParts, now: KeyParts) -> list[str]:
    """What is different, one sentence each; nothing where the keys are equal.

    Args:
        before: Of a result that is there.
        now: Of the one that is asked for.

    Returns:
        Such as `"lr 0.1 -> 0.05"`, `"input clicks changed"`,
        `"code: function shop.helpers.clean changed"` and `"version '1' -> '2'"`.
    """
    if before.key == now.key:
        return []
    told: list[str] = []
    if before.task != now.task:
        told.append(f"class {before.task} -> {now.task}")
    if before.version != now.version:
        told.append(f"version {before.version!r} -> {now.version!r}")
    if before.code != now.code:
        sentences = code_differences(before.code_parts, now.code_parts)
        told.extend(f"code: {sentence}" for sentence in sentences or ["it changed"])
    told.extend(_of_values(before.fields, now.fields, {**before.inputs, **now.inputs}))
    if before.values != now.values and before.fields == now.fields:
        told.append("a field has another type, or a value beside its tasks changed")
    told.extend(_of_inputs(before.inputs, now.inputs))
    for name, what in _of_places(before.outside, now.outside):
        told.append(f"{name}, which no task made, {what}")
    for name in dict.fromkeys((*before.outs, *now.outs)):
        what = f"output {name}".rstrip()
        if name not in now.outs or name not in before.outs:
            told.append(f"{what} is {'new' if name in now.outs else 'gone'}")
        else:
            changes = _of_values(before.outs[name], now.outs[name], {})
            told.extend(f"{what}: {change}" for change in changes)
    return told


def field_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is different between two sets of fields: `["lr 0.1 -> 0.05"]`.

    Args:
        before: Values by name, as plain JSON.
        now: Likewise.
    """
    return list(_of_values(before, now, {}))


def _of_values(
    before: Mapping[str, Any], now: Mapping[str, Any], inputs: Mapping[str, str]
) -> Iterator[str]:
    fields_with_tasks = {place.partition("[")[0] for place in inputs}
    for name in dict.fromkeys((*before, *now)):
        if name in fields_with_tasks and (name not in before or name not in now):
            continue  # the inputs say so
        if name not in before:
            yield f"{name} is new: {_brief(now[name])}"
        elif name not in now:
            yield f"{name} is gone; it was {_brief(before[name])}"
        elif before[name] != now[name] or type(before[name]) is not type(now[name]):
            yield f"{name} {_brief(before[name])} -> {_brief(now[name])}"


def _outside_of(task: Task[Any]) -> dict[str, str]:
    found = task.fingerprint()
    if not isinstance(found, Mapping) or not all(
        type(text) is str for pair in found.items() for text in pair
    ):
        raise ConfigError(
            f"{type(task).__name__}.fingerprint returned {_brief(found)}; it must return text by "
            'name, such as {"ratings": state_of(self.file)}.'
        )
    return dict(found)


def _of_places(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for place in dict.fromkeys((*before, *now)):
        if before.get(place) != now.get(place):
            what = "is new" if place not in before else "is gone" if place not in now else "changed"
            yield place, what


def _of_inputs(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    by_field: dict[str, list[tuple[str, str]]] = {}
    for place, what in _of_places(before, now):
        by_field.setdefault(place.partition("[")[0], []).append((place, what))
    for name, places in by_field.items():
        if len(places) <= _MOST_INPUTS:
            yield from (f"input {place} {what}" for place, what in places)
        else:
            yield f"inputs {name}: {_counted([what for _, what in places])}"


def _counted(words: Sequence[str]) -> str:
    counts = {word: words.count(word) for word in dict.fromkeys(words)}
    return ", ".join(f"{count:,} {word.removeprefix('is ')}" for word, count in counts.items())


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
