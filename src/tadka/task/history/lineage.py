"""What results were made from: the way up from some, along the ids that their fields hold."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tadka.task.define.restore import ids_in_fields
from tadka.task.store.row import Entry, Execution, RunRow
from tadka.task.store.store import Store

EntriesOf = Callable[[str], list[Entry]]


class Lineage:
    """Finds the results that others were made from.

    A field names a task by its id, and there may be several results of one: that with the content
    that was taken in is the one, else the newest that was there.

    Args:
        store: Where results are.
        entries_of: Gives all results of a task, the newest first; the index, unless given.
    """

    def __init__(self, store: Store, entries_of: EntriesOf | None = None) -> None:
        self._store = store
        self._entries_of = entries_of or store.index.search

    def of_run(self, run: RunRow, executions: Iterable[Execution]) -> dict[str, Entry]:
        """All results that a run made or took as they were.

        Args:
            run: Of the index.
            executions: What it did.

        Returns:
            By the task's id, as far as they are still stored.
        """
        made = {e.task_id: e.key for e in executions if e.status == "ran" and e.key is not None}
        roots = list(run.details.get("roots") or ([run.task_id] if run.task_id else []))
        keys = dict(zip(roots, run.details.get("keys") or (), strict=False))
        return self.above([*roots, *made], {**keys, **made}, until=run.ended_at)

    def above(
        self, ids: Iterable[str], keys: Mapping[str, str | None], *, until: float | None = None
    ) -> dict[str, Entry]:
        """The results of some tasks, and all that they were made from, as deep as memory reaches.

        Args:
            ids: Of the tasks.
            keys: Of results that are known, by the task's id.
            until: Results that were made later do not count, where there is an older one.

        Returns:
            By the task's id, as far as they are stored.
        """
        found: dict[str, Entry] = {}
        waiting: list[tuple[str, Entry | None]] = [(id_, None) for id_ in ids]
        seen = set()
        while waiting:
            id_, child = waiting.pop()
            if id_ in seen:
                continue
            seen.add(id_)
            key = keys.get(id_)
            entry = self._store.index.find(key) if key is not None else None
            entry = entry or self._chosen(id_, child, until)
            if entry is None:
                continue
            found[id_] = entry
            waiting += [(other, entry) for other in ids_in_fields(entry.fields)]
            needs = entry.parts.get("needs") if _may_need(entry) else None
            waiting += [(other, entry) for other in (needs or {}).get("contents", ())]
        return found

    def _chosen(self, id_: str, child: Entry | None, until: float | None) -> Entry | None:
        entries = self._entries_of(id_)
        if len(entries) < 2:
            return entries[0] if entries else None
        if child is not None:
            taken = {str(content)[:64] for content in child.parts.get("inputs", {}).values()}
            same = [e for e in entries if any(o.content in taken for o in e.outputs)]
            entries = same or entries
        early = [entry for entry in entries if until is None or entry.created_at <= until]
        return (early or entries)[0]


def _may_need(entry: Entry) -> bool:
    """Whether tasks were asked for while it ran; they are among the parts of its key."""
    return "needs" in entry.parts


def by_id(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Results by the id of their task, in the order given.

    Args:
        entries: Of an index.
    """
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.task_id, []).append(entry)
    return found


def num_bytes_of(entry: Entry) -> int:
    """Of all outputs of a result.

    Args:
        entry: It.
    """
    return sum(output.num_bytes for output in entry.outputs)


def plain_fields_of(entry: Entry) -> dict[str, Any]:
    """Fields of a result that hold no tasks.

    Args:
        entry: It.
    """
    return {
        name: value
        for name, value in entry.fields.items()
        if next(ids_in_fields({name: value}), None) is None
    }
