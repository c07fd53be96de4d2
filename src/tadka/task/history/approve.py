"""Results that are good for other code than made them, because somebody says so."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tadka.core.error import ConfigError
from tadka.task.define.frozen import Input, path_of
from tadka.task.define.task import Task, inputs_of, whole_of
from tadka.task.graph import Graph, Node
from tadka.task.history.results import Workspace
from tadka.task.key import KeyParts, differences
from tadka.task.lookup import Codes, Found, lookup
from tadka.task.plan import name_of, opened
from tadka.task.store.row import Entry
from tadka.task.store.store import Store

_MOST_LINES = 10


def approve(
    tasks: Input[Any] | Iterable[Input[Any]],
    *,
    workspace: Workspace = None,
    upstream: bool = False,
    moved: Mapping[str, str | type[Task[Any]]] | None = None,
) -> list[Entry]:
    """Binds stored results to the present code of their tasks, which then count as made by it.

    For changes of code that cannot change a result: a body put another way, a log line, a function
    that got another name. The newest result of each task is taken, if it was made of the same
    parameters and inputs.

    Args:
        tasks: One or several.
        workspace: As in `build`.
        upstream: Whether all that they need is approved, too.
        moved: Where classes got another name: the class that a path stands for now,
            `{"shop.old.Features": Features}`.

    Returns:
        The results that were bound; none for those that are of the present code already.

    Raises:
        ConfigError: More than the code of a task changed, or nothing is stored of it. Then nothing
            is bound.
        DataError: The index cannot be read or written.
    """
    given = [tasks] if isinstance(tasks, Input) else list(tasks)
    graph = Graph([whole_of(item) for item in given])
    chosen = set(graph) if upstream else set(graph.roots)
    before = {_path(now): old for old, now in (moved or {}).items()}
    with opened(workspace) as store:
        if not store.exists:
            raise ConfigError(f"Workspace {store.workspace!r} does not exist; nothing is stored.")
        approval = _Approval(store, chosen, before)
        for node in graph:
            approval.look(node)
        if approval.refused:
            lines = approval.refused[:_MOST_LINES]
            if len(approval.refused) > _MOST_LINES:
                lines.append(f"and {len(approval.refused) - _MOST_LINES:,} more")
            raise ConfigError("Nothing was approved. " + "\n".join(lines))
        if approval.bound:
            store.commit(approval.bound)
        return approval.bound


class _Approval:
    """Looks at the tasks of a graph, each after what it needs.

    Args:
        store: Where results are.
        chosen: Tasks that are approved.
        before: Paths that classes had, by the ones they have.
    """

    def __init__(self, store: Store, chosen: set[Node], before: Mapping[str, str]) -> None:
        self.bound: list[Entry] = []
        self.refused: list[str] = []
        self._store = store
        self._chosen = chosen
        self._before = before
        self._codes = Codes()
        self._entries: dict[str, Entry] = {}  # by id: results of the present code, or approved
        self._moved: dict[str, list[Entry]] = {}

    def look(self, node: Node) -> None:
        """Finds the result of a task, and binds it where it is chosen.

        Args:
            node: All that it needs was looked at before.
        """
        task, contents = node.task, {}
        for place, item in inputs_of(task):
            entry = self._entries.get(whole_of(item).id)
            if entry is not None:
                contents[place] = self._codes.content(item, entry.outputs)
            elif item.is_significant and type(task).fields[place.partition("[")[0]].is_significant:
                if node in self._chosen:
                    self._refuse(
                        task,
                        f"its input {place}, {name_of(whole_of(item))}, is not stored for its "
                        "present code. Approve that, too (upstream=True, or --upstream), or build "
                        "it first.",
                    )
                return
        found = lookup(task, contents, self._store, self._codes)
        if found.entry is not None and not found.is_other_code:
            self._entries[node.id] = found.entry
        elif node in self._chosen:
            self._bind(node, found)

    def _bind(self, node: Node, found: Found) -> None:
        task = node.task
        entry = self._store.index.newest(node.id) or self._of_moved(task, found.parts)
        if entry is None:
            self._refuse(task, "nothing is stored of it. Build it.")
            return
        if "values" not in entry.parts:
            self._refuse(task, "its result was not made by tadka. Build it.")
            return
        parts = dict(entry.parts)
        now = found.parts
        same = replace(
            KeyParts.from_json(parts), task=now.task, code=now.code, code_parts=now.code_parts
        )
        if same.key != found.key:
            changes = "; ".join(differences(same, now))
            self._refuse(task, f"more than its code changed: {changes}. Build it.")
        elif self._store.hit(entry.key) is None:
            self._refuse(task, "its output is gone, or damaged. Build it.")
        else:
            bound = replace(
                entry,
                key=found.key,
                task=now.task,
                task_id=node.id,
                parts={**parts, **now.to_json()},
                created_at=time.time(),
                approved_from=entry.key,
            )
            self.bound.append(bound)
            self._entries[node.id] = bound

    def _of_moved(self, task: Task[Any], now: KeyParts) -> Entry | None:
        """The newest result that a class made before it got its present name."""
        path = self._before.get(path_of(type(task)))
        if path is None:
            return None
        if path not in self._moved:
            entries = self._store.index.entries(task=path)
            self._moved[path] = [e for e in entries if e.task == path and "values" in e.parts]
        for entry in self._moved[path]:
            before = KeyParts.from_json(dict(entry.parts))
            if (before.values, before.inputs) == (now.values, now.inputs):
                return entry
        return None

    def _refuse(self, task: Task[Any], reason: str) -> None:
        self.refused.append(f"{name_of(task)} cannot be approved: {reason}")


def _path(cls: str | type[Task[Any]]) -> str:
    return cls.replace(":", ".") if isinstance(cls, str) else path_of(cls)
