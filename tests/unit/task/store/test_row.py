import json
import pickle

import pytest

from tadka.task.store.row import (
    Entry,
    Execution,
    Lazy,
    Output,
    RunRow,
    columns_of,
    compact,
    entry_of,
)
from tests.rows import digest, entry


def test_an_output_keeps_its_bytes_under_another_name() -> None:
    output = Output("", "aa", ".json", 3, {"num_rows": 1}, aside="/somewhere")

    named = output.named("report", {"num_rows": 2})

    assert ("report", "aa", {"num_rows": 2}) == (named.name, named.content, named.description)
    assert "/somewhere" == named.aside
    assert {"num_rows": 1} == output.named("x").description


def test_where_an_output_waits_is_no_part_of_it() -> None:
    output = Output("", "aa", ".json", 3, aside="/somewhere")

    assert Output("", "aa", ".json", 3) == output
    assert "aside" not in output.to_json()


def test_rows_come_back_from_json() -> None:
    given = entry(1, Output("", "aa", "", 1, {"x": [1]}, True, 0), peak_bytes=3, seed=0)
    assert given == Entry.from_json(json.loads(compact(given.to_json())))
    execution = Execution("r", "t", "i", "ran", 1.0, 2.0, metrics={"auc": 1})
    assert execution == Execution.from_json(json.loads(compact(execution.to_json())))
    run = RunRow("r", "t", "i", 1.0, details={"a": 1})
    assert run == RunRow.from_json(json.loads(compact(run.to_json())))


def test_a_seed_of_0_and_no_seed_differ_in_a_table() -> None:
    for given in (entry(1, seed=0, peak_bytes=0), entry(1, seed=None)):
        assert given == entry_of(columns_of(given, {}, {})[:-1], given.parts)


def test_long_parts_are_put_by_their_hash_once() -> None:
    details: dict[str, str] = {}
    known: dict[int, str] = {}
    first = entry(1)
    rows = [columns_of(first, details, known), columns_of(entry(2), details, known)]

    assert 1 == len(details)
    assert [["code"], ["code"]] == [list(json.loads(row[-1])[1]) for row in rows]


def test_a_lazy_mapping_is_read_once_and_only_when_looked_at() -> None:
    calls = []

    def read() -> dict[str, int]:
        calls.append(1)
        return {"a": 1}

    lazy = Lazy(read)
    assert [] == calls
    assert lazy == {"a": 1}
    assert (1, ["a"], "{'a': 1}") == (lazy["a"], list(lazy), repr(lazy))
    assert {"a": 1} == pickle.loads(pickle.dumps(lazy))
    assert [1] == calls


def test_mappings_of_any_class_are_json_and_other_objects_are_not() -> None:
    assert '{"a":{"b":1}}' == compact({"a": Lazy(lambda: {"b": 1})})
    with pytest.raises(TypeError, match="'set' is no plain JSON"):
        compact({"a": {1}})


def test_entries_differ_by_what_they_hold() -> None:
    assert entry(1) != entry(1, run="r2")
    assert digest(1) == entry(1).key
