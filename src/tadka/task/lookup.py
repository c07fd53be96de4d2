"""Whether a result is there: the key of a task from its code, fields and inputs, and its entry."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tadka.task.code.digest import CodeHash, code_of
from tadka.task.define.frozen import Input
from tadka.task.define.task import Part, Task, type_of_output, whole_of
from tadka.task.key import KeyParts, code_of_tasks, differences, parts_of
from tadka.task.output.codec import codec_of
from tadka.task.store.row import Entry, Output
from tadka.task.store.store import Store

OnCodeChange = Literal["rerun", "warn", "ignore"]


class Codes:
    """Code of classes, looked at once: what changes while a build runs is for the next one."""

    def __init__(self) -> None:
        self._codes: dict[type, CodeHash] = {}
        self._readings: dict[type, dict[str, str]] = {}

    def of(self, cls: type[Task[Any]]) -> CodeHash:
        """The code of a class of tasks.

        Args:
            cls: The class.

        Raises:
            NotFound: A file that it names does not exist.
        """
        found = self._codes.get(cls)
        if found is None:
            found = self._codes[cls] = code_of_tasks(cls)
        return found

    def content(self, item: Input[Any], outputs: Sequence[Output]) -> str:
        """What an input is, for the key of the task that takes it in.

        Equal bytes that are read in another way, as JSON and not as text, are another input.

        Args:
            item: A task, or one output of it.
            outputs: Of the task.

        Returns:
            Hash of the bytes and of how they are read.
        """
        cls = type(whole_of(item))
        readings = self._readings.get(cls)
        if readings is None:
            readings = self._readings[cls] = {name: _reading(cls, name) for name in cls.outs}
        if len(outputs) == 1 and not outputs[0].name:
            return outputs[0].content + readings[""]
        found = sorted((o.name, o.content + readings[o.name]) for o in outputs)
        if isinstance(item, Part):
            return dict(found)[item.output]
        return hashlib.sha256(repr(found).encode()).hexdigest()


class _Loading:
    """Has no code of its own: that of functions is hashed beside it."""


def _reading(cls: type[Task[Any]], name: str) -> str:
    """How the bytes of an output become a value, as 16 hexadecimal digits."""
    out = cls.outs[name]
    declared = codec_of(out, type_of_output(cls, name)).declaration()
    load = code_of(_Loading, uses=[out.load]).digest if out.load is not None else ""
    text = repr([declared["format"], declared["encoding"], declared["type"], load])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Found:
    """What is known of the result of a task.

    Args:
        parts: What it depends on.
        key: Their hash.
        entry: The result; None where the task must run.
        is_other_code: Whether the result was made by other code, and is served nevertheless.
    """

    parts: KeyParts
    key: str
    entry: Entry | None
    is_other_code: bool = False


def lookup(
    task: Task[Any],
    contents: Mapping[str, str],
    store: Store,
    codes: Codes,
    on_code_change: OnCodeChange = "rerun",
) -> Found:
    """The result of a task, if it is stored.

    Args:
        task: It.
        contents: What each input is, by place (`"days[3]"`), as `Codes.content` gives it.
        store: Where results are.
        codes: Of the classes.
        on_code_change: What to do where only the code differs from that of the newest result:
            `"rerun"` makes another; `"warn"` and `"ignore"` serve it. The class's own setting wins.

    Raises:
        DataError: The index cannot be read.
    """
    parts = parts_of(task, codes.of(type(task)), contents)
    return find(task, parts, store, on_code_change)


def find(
    task: Task[Any], parts: KeyParts, store: Store, on_code_change: OnCodeChange = "rerun"
) -> Found:
    """As `lookup`, where it is known what the result depends on.

    Args:
        task: It.
        parts: What its result depends on.
        store: Where results are.
        on_code_change: As in `lookup`.

    Raises:
        DataError: The index cannot be read.
    """
    key = parts.key
    entry = store.hit(key)
    if entry is None and (type(task).on_code_change or on_code_change) != "rerun":
        other = _of_other_code(task, parts, store)
        if other is not None:
            return Found(parts, key, other, is_other_code=True)
    return Found(parts, key, entry)


def _of_other_code(task: Task[Any], parts: KeyParts, store: Store) -> Entry | None:
    """The newest result, where nothing but the code was another."""
    newest = store.index.newest(task.id)
    if newest is None or "values" not in newest.parts:
        return None
    before = KeyParts.from_json(newest.parts)
    before = dataclasses.replace(before, code=parts.code, code_parts=parts.code_parts)
    return store.hit(newest.key) if before.key == parts.key else None


def reasons_of(found: Found, newest: Entry | None) -> tuple[str, ...]:
    """Why a task runs, for people.

    Args:
        found: Of `lookup`.
        newest: The newest result of the task, whatever it was made from.
    """
    if newest is None:
        return ("never built",)
    if newest.key == found.key:
        return ("its output is gone, or damaged",)
    if "values" not in newest.parts:
        return ("its result was not made by tadka",)
    return tuple(differences(KeyParts.from_json(newest.parts), found.parts)) or ("forced",)
