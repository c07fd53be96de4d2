"""Results put into a store without a build, for tests of what looks at results."""

import time
from collections.abc import Mapping
from typing import Any

from tadka.task.define.task import Task, inputs_of, type_of_output, whole_of
from tadka.task.graph import Graph
from tadka.task.key import KeyParts
from tadka.task.lookup import Codes, lookup
from tadka.task.output.codec import codec_of
from tadka.task.store.row import Entry, Execution, RunRow
from tadka.task.store.store import Store


def make(
    store: Store,
    *tasks: Task[Any],
    values: Mapping[str, Any] | None = None,
    run: str = "r1",
    at: float | None = None,
    codes: Codes | None = None,
    metrics: Mapping[str, float] | None = None,
) -> dict[str, Entry]:
    """Stores a value for each task of a graph that has none yet, as a build would.

    Args:
        store: Where to.
        tasks: What is wanted.
        values: By task id; else what `run` of the task gives for its fields, or `None`.
        run: That makes them.
        at: Time of all of it.
        codes: In the place of the classes' own.
        metrics: That each logs.
    """
    codes = codes or Codes()
    at = time.time() if at is None else at
    graph = Graph(tasks)
    entries: dict[str, Entry] = {}
    executions = []
    details = {"roots": [task.id for task in tasks]}
    row = RunRow(run, type(tasks[0])._path, tasks[0].id, at, details=details)
    with store.using(row):
        for node in graph:
            contents = {
                place: codes.content(item, entries[whole_of(item).id].outputs)
                for place, item in inputs_of(node.task)
            }
            found = lookup(node.task, contents, store, codes)
            if found.entry is None:
                value = (values or {}).get(node.id, node.id[:8])
                entry = _entry(store, node.task, found.parts, value, run, at)
                done = Execution(
                    run, entry.task, node.id, "ran", at, 0.5, entry.key, metrics=metrics or {}
                )
                store.commit([entry], [done])
                executions.append(done)
                found_entry = entry
            else:
                found_entry = found.entry
            entries[node.id] = found_entry
    keys = [entries[task.id].key for task in tasks]
    store.index.end_run(run, "ok", at + 1, {"keys": keys})
    return entries


def _entry(
    store: Store, task: Task[Any], parts: KeyParts, value: Any, run: str, at: float
) -> Entry:
    cls, outputs = type(task), []
    for name, out in cls.outs.items():
        codec = codec_of(out, type_of_output(cls, name))
        aside = store.begin(codec.suffix, is_folder=codec.is_folder)
        one = value[name] if name else value
        description = codec.write(one, aside).to_json()
        outputs.append(store.put(aside).named(name, description))
    fields = {name: field.to_json(getattr(task, name)) for name, field in cls.fields.items()}
    return Entry(
        parts.key, cls._path, task.id, parts.to_json(), fields, tuple(outputs), run, at, 0.5
    )
