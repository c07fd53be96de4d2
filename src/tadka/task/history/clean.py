"""Removes results that nobody needs any more: by age, by number of runs, by what is to be kept."""

import contextlib
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tadka.core.error import ConfigError, DataError
from tadka.task.define.frozen import Input
from tadka.task.define.restore import ids_in_fields
from tadka.task.define.task import whole_of
from tadka.task.history.lineage import Lineage, by_id, num_bytes_of
from tadka.task.history.results import Since, Workspace, moment_of
from tadka.task.look.table import aligned
from tadka.task.look.word import many, moment, size
from tadka.task.plan import opened, plan
from tadka.task.store.row import Entry, RunRow
from tadka.task.store.store import RESERVED, Store

_MOST_LINES = 20


@dataclass(frozen=True)
class Removed:
    """What was removed, or would be.

    Args:
        entries: Results, the one that was made last first, without the parts of their keys.
        num_objects: Files and folders that no other result names, with those that no result named
            before.
        num_bytes: Of them.
        num_kept: Results that stay.
        is_dry: Whether nothing was removed yet.
    """

    entries: Sequence[Entry]
    num_objects: int
    num_bytes: int
    num_kept: int
    is_dry: bool

    def __str__(self) -> str:
        verb = "would be removed" if self.is_dry else "removed"
        stays = "stays" if self.num_kept == 1 else "stay"
        files = f"{many(self.num_objects, 'file')} of {size(self.num_bytes)}"
        kept = f"{many(self.num_kept, 'result')} {stays}"
        lines = [f"{many(len(self.entries), 'result')} {verb}, with {files}; {kept}."]
        counts = Counter(entry.task for entry in self.entries)
        rows = []
        for task, number in counts.most_common(_MOST_LINES):
            found = [entry for entry in self.entries if entry.task == task]
            rows.append(
                {
                    "task": task,
                    "results": f"{number:,}",
                    "size": size(sum(map(num_bytes_of, found))),
                    "newest": moment(found[0].created_at),
                    "oldest": moment(found[-1].created_at),
                }
            )
        if rows:
            lines += ["", *aligned(rows)]
        if len(counts) > _MOST_LINES:
            lines.append(f"and {many(len(counts) - _MOST_LINES, 'class', 'classes')} more")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "is_dry": self.is_dry,
            "num_entries": len(self.entries),
            "num_objects": self.num_objects,
            "num_bytes": self.num_bytes,
            "num_kept": self.num_kept,
            "entries": [
                {
                    "task": entry.task,
                    "id": entry.task_id,
                    "key": entry.key,
                    "created_at": entry.created_at,
                    "num_bytes": num_bytes_of(entry),
                }
                for entry in self.entries
            ],
        }


def gc(
    *,
    workspace: Workspace = None,
    older_than: Since | None = None,
    keep_runs: int | None = None,
    keep: Input[Any] | Iterable[Input[Any]] | None = None,
    dry: bool = True,
) -> Removed:
    """Removes results; which ones, is first only told.

    Each condition that is given keeps results, and what none keeps is removed. Without a condition
    only files go that no result names, such as those of killed builds.

    Args:
        workspace: As in `build`.
        older_than: Keeps results that were made since, or used by a run since: an age (`"30d"`),
            or a time.
        keep_runs: Keeps results that one of the newest so many runs made or used.
        keep: Keeps what a build of these tasks would find now.
        dry: Whether only to say what would be removed.

    Returns:
        What was, or would be, removed.

    Raises:
        ConfigError: A condition is wrong.
        DataError: A build is going on in the workspace, or it cannot be written.
    """
    if keep_runs is not None and (type(keep_runs) is not int or keep_runs < 0):
        raise ConfigError(f"gc has keep_runs={keep_runs!r}; it must be a whole number from 0.")
    since = None if older_than is None else moment_of(older_than)
    if since is not None and since > time.time():
        raise ConfigError(
            f"gc has older_than={older_than!r}, which is in the future; give an age or a time."
        )
    with opened(workspace) as store:
        if not store.exists:
            return Removed([], 0, 0, 0, dry)
        collector = _Collector(store, since, keep_runs, keep)
        if dry:
            return collector.collect(is_dry=True)
        with store.removing() as running:
            if running:
                raise _busy(store, running)
            return collector.collect(is_dry=False)


class _Collector:
    """Finds what no condition keeps, and removes it.

    Args:
        store: Of what.
        since: As in `gc`, in seconds since 1970.
        keep_runs: As in `gc`.
        keep: As in `gc`.
    """

    def __init__(
        self,
        store: Store,
        since: float | None,
        keep_runs: int | None,
        keep: Input[Any] | Iterable[Input[Any]] | None,
    ) -> None:
        self._store = store
        self._since = since
        self._keep_runs = keep_runs
        self._tasks: list[Input[Any]] | None = None
        if keep is not None:
            self._tasks = [keep] if isinstance(keep, Input) else list(keep)

    def collect(self, *, is_dry: bool) -> Removed:
        store = self._store
        entries = list(store.index.entries())
        kept = self._kept(entries)
        removed = [entry for entry in entries if entry.key not in kept]
        named = {o.content for entry in entries if entry.key in kept for o in entry.outputs}
        unnamed = store.unnamed(named)
        if not is_dry:
            store.index.remove([entry.key for entry in removed])
            store.remove_unnamed()
            _remove_links(store)
        removed = [replace(entry, parts={}) for entry in removed]  # they are read when asked for
        return Removed(removed, len(unnamed), sum(unnamed.values()), len(kept), is_dry)

    def _kept(self, entries: Sequence[Entry]) -> set[str]:
        if self._since is None and self._keep_runs is None and self._tasks is None:
            return {entry.key for entry in entries}
        kept: set[str] = set()
        known = by_id(entries)
        lineage = Lineage(self._store, lambda id_: known.get(id_, []))
        if self._since is not None:
            kept |= {entry.key for entry in entries if entry.created_at >= self._since}
        for run in self._runs():
            executions = self._store.index.executions(run.id)
            kept |= _with_equals(lineage.of_run(run, executions), entries)
        if self._tasks is not None:
            kept |= self._of_tasks(self._tasks, lineage)
        return kept

    def _runs(self) -> list[RunRow]:
        """Runs whose results are kept."""
        if self._since is None and self._keep_runs is None:
            return []
        found = self._store.index.runs()
        since = math.inf if self._since is None else self._since
        return [
            run
            for number, run in enumerate(found)
            if number < (self._keep_runs or 0) or (run.ended_at or run.started_at) >= since
        ]

    def _of_tasks(self, tasks: Sequence[Input[Any]], lineage: Lineage) -> set[str]:
        """What a build would find, and what it would compare with; also what was needed on the way.

        A result of other code is kept as long as there is none of the present code: it may be
        approved, or come back with the code.
        """
        steps = plan([whole_of(item) for item in tasks], store=self._store)
        entries = {step.node.id: step.entry for step in steps if step.entry is not None}
        keys = {id_: entry.key for id_, entry in entries.items()}
        return set(keys.values()) | {e.key for e in lineage.above(keys, keys).values()}


def _with_equals(found: Mapping[str, Entry], entries: Sequence[Entry]) -> set[str]:
    """Keys of results, with those that stand in for tasks of which none is stored.

    A task whose inputs have the same content as those of another has its result, under its id.
    """
    keys = {entry.key for entry in found.values()}
    missing = {
        str(content)[:64]
        for entry in found.values()
        if any(id_ not in found for id_ in ids_in_fields(entry.fields))
        for content in entry.parts.get("inputs", {}).values()
    }
    if missing:
        keys |= {e.key for e in entries if any(o.content in missing for o in e.outputs)}
    return keys


def _remove_links(store: Store) -> None:
    """Removes names for people whose object is gone, and folders that are empty then."""
    if store.is_remote:
        return
    objects = store.folder.resolve() / "objects"
    for top in store.folder.iterdir():
        if top.name in RESERVED:
            continue
        if top.is_symlink():
            _remove_link(top, objects)
        elif top.is_dir():
            for parent, folders, names in os.walk(top, topdown=False):
                for name in [*names, *folders]:
                    _remove_link(Path(parent, name), objects)
                with contextlib.suppress(OSError):  # it is not empty
                    Path(parent).rmdir()


def _remove_link(path: Path, objects: Path) -> None:
    if path.is_symlink() and not path.exists():
        target = Path(os.path.normpath(path.parent.resolve() / path.readlink()))
        if target.is_relative_to(objects):
            path.unlink(missing_ok=True)


def _busy(store: Store, running: Sequence[RunRow]) -> DataError:
    names = ", ".join(f"{run.id} ({run.task.rpartition('.')[2]})" for run in running[:3])
    return DataError(
        f"{many(len(running), 'build')} going on in {store.workspace!r}: {names}. Nothing was "
        "removed; try again when that is done."
    )
