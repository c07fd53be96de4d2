import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tadka.task.code.digest import CodeHash
from tadka.task.define.task import Task
from tadka.task.key import KeyParts, code_of_tasks, differences, parts_of
from tadka.task.output.out import Out
from tests.unit.task.shop import Clicks, Link, Note, Story, Total, Train

CODE = CodeHash("c0de", {"shop.helpers.clean": "function:1", "shop.Link.run": "function:2"}, ())


def parts(task: Task[object], contents: Mapping[str, str] | None = None) -> KeyParts:
    given = {place: "content" for place, _ in task.tasks()} if contents is None else contents
    return parts_of(task, CODE, given)


def changed(before: Task[object], now: Task[object]) -> list[str]:
    return differences(parts(before), parts(now))


def test_a_key_is_of_content_and_not_of_tasks() -> None:
    first = parts(Total(parts=[Link(number=1)]), {"parts[0]": "a"})
    second = parts(Total(parts=[Link(number=2)]), {"parts[0]": "a"})
    third = parts(Total(parts=[Link(number=2)]), {"parts[0]": "b"})

    assert first.key == second.key != third.key
    assert 64 == len(first.key)
    assert [] == differences(first, second)
    assert ["input parts[0] changed"] == differences(first, third)


def test_what_is_not_significant_does_not_count() -> None:
    assert parts(Clicks(bucket="a")).key == parts(Clicks(bucket="b")).key
    assert "bucket" not in parts(Clicks()).fields
    told = parts(Story(notes=[Note(text="x")], title=Note()))
    assert {} == told.inputs
    assert parts(Story()).key == told.key


def test_an_input_without_a_hash_is_our_mistake() -> None:
    with pytest.raises(KeyError, match="before"):
        parts(Link(number=1, before=Link(number=0)), {})


def test_parts_survive_json() -> None:
    before = parts(Train(clicks=Clicks(day=dt.date(2026, 2, 1), tags={"a"})))
    after = KeyParts.from_json(json.loads(json.dumps(before.to_json())))

    assert before.key == after.key
    assert [] == differences(before, after)


def test_each_change_is_a_sentence() -> None:
    base, link = parts(Link(number=1)), Link(number=0)
    code = replace(CODE, digest="other", parts={**CODE.parts, "shop.helpers.clean": "function:9"})

    assert ["number 1 -> 2"] == changed(Link(number=1), Link(number=2))
    assert ["day '2026-01-31' -> '2026-02-01'"] == changed(
        Clicks(), Clicks(day=dt.date(2026, 2, 1))
    )
    assert ["input before is new"] == changed(Link(number=1), Link(number=1, before=link))
    assert ["input before is gone"] == changed(Link(number=1, before=link), Link(number=1))
    assert ["version '' -> '2'"] == differences(base, replace(base, version="2"))
    assert ["class x.Link -> y.Link"] == differences(
        replace(base, task="x.Link"), replace(base, task="y.Link")
    )
    assert ["code: function shop.helpers.clean changed"] == differences(
        base, parts_of(Link(number=1), code, {})
    )
    assert ["a field has another type, or a value beside its tasks changed"] == differences(
        base, replace(base, values="other")
    )
    assert ["extra is new: 5"] == differences(
        base, replace(base, fields={**base.fields, "extra": 5}, values="other")
    )
    assert ["before is gone; it was None"] == differences(
        base, replace(base, fields={"number": 1}, values="other")
    )


def test_changed_outputs_are_told() -> None:
    base = parts(Train(clicks=Clicks()))
    csv = {**base.outs, "report": {**base.outs["report"], "format": "csv"}}

    assert ["output report: format 'json' -> 'csv'"] == differences(base, replace(base, outs=csv))
    assert ["output report is gone"] == differences(
        base, replace(base, outs={"weights": base.outs["weights"]})
    )
    single = parts(Link(number=1))
    assert ["output: min_rows 0 -> 1"] == differences(
        single, replace(single, outs={"": {**single.outs[""], "min_rows": 1}})
    )


def test_many_changed_inputs_are_counted() -> None:
    total = Total(parts=[Link(number=i) for i in range(1100)])
    before = parts(total)
    now = replace(
        before,
        inputs={
            **{f"parts[{i}]": "other" for i in range(1050)},
            **{f"parts[{i}]": "x" for i in range(1100, 1105)},
        },
    )

    assert ["inputs parts: 1,050 changed, 50 gone, 5 new"] == differences(before, now)


def test_settings_fields_and_tasks_in_annotations_are_no_code() -> None:
    names = code_of_tasks(Total).parts

    total = f"{Total.__module__}.Total"
    assert {total, f"{total}.run", f"{total}.run()"} == set(names)


def test_whether_inputs_are_loaded_one_by_one_is_code() -> None:
    def made(type_: object) -> KeyParts:
        class Sums(Task[int]):
            parts: list[Task[int]]

            def run(self, parts: Any) -> int:
                return sum(parts)

            run.__annotations__["parts"] = type_

        return parts_of(Sums(parts=[]), code_of_tasks(Sums), {})

    before, now = made(list[int]), made(Iterator[int])

    assert made(list).key == before.key != now.key
    (told,) = differences(before, now)
    assert told.startswith("code: signature ")
    assert told.endswith("Sums.run() changed")


def test_functions_and_files_that_a_class_names_are_code() -> None:
    def save(value: object, folder: Path) -> None:
        raise NotImplementedError

    def load(folder: Path) -> object:
        raise NotImplementedError

    class Model(Task[object]):
        out = Out(save=save, load=load)
        code_files = ("shop.py",)

        def run(self) -> object:
            return 0

    names = " ".join(code_of_tasks(Model).parts)
    assert ".save" in names
    assert ".load" in names
    assert "shop.py" in names
