import copy
import datetime as dt
import gc
import inspect
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any, ClassVar, Generic, TypedDict, TypeVar

import numpy as np
import pytest

from tadka.core.error import ConfigError
from tadka.core.resource import Resources
from tadka.task.define.field import param
from tadka.task.define.run import Run
from tadka.task.define.task import Part, Task, arguments_of, inputs_of, set_settings
from tadka.task.output.out import Out, check
from tests.unit.task import shop
from tests.unit.task.shop import DAY, Link, Mode, Note, Score, Story, Total, Train

ANY: Any = shop  # where types are wrong on purpose
V = TypeVar("V")
W = TypeVar("W", bound=float)


class Clicks(Task[dict[str, int]]):
    """The same fields and name as `shop.Clicks`."""

    day: dt.date = DAY
    tags: set[str] = param(default_factory=set)
    mode: Mode = Mode.FAST
    bucket: str = param(default="logs", significant=False)

    def run(self) -> dict[str, int]:
        return {}


def chain(length: int) -> Link:
    link = Link(number=0)
    for number in range(1, length):
        link = Link(number=number, before=link)
    return link


class TestFields:
    def test_fields_are_given_by_name_and_have_defaults(self) -> None:
        task = shop.Clicks(tags={"a"})

        assert (DAY, {"a"}, Mode.FAST, "logs") == (task.day, task.tags, task.mode, task.bucket)
        assert isinstance(task.tags, frozenset)
        assert ["day", "tags", "mode", "bucket"] == list(shop.Clicks.fields)

    def test_they_never_change(self) -> None:
        task, part = Link(number=1), Train(clicks=shop.Clicks())["weights"]

        with pytest.raises(FrozenInstanceError, match=r"Link.number cannot be set"):
            task.number = 2  # type: ignore[misc]
        with pytest.raises(FrozenInstanceError, match=r"Link.number cannot be deleted"):
            del task.number
        with pytest.raises(FrozenInstanceError, match=r"Part.output cannot be set"):
            part.output = "report"
        with pytest.raises(FrozenInstanceError, match=r"Part.output cannot be deleted"):
            del part.output

    def test_containers_of_tasks_are_frozen_copies(self) -> None:
        given = [Link(number=1)]
        total = Total(parts=given, by_name={"x": given[0]})
        given.append(Link(number=2))

        assert (Link(number=1),) == tuple(total.parts)
        assert type(total.parts) is tuple
        by_name: Any = total.by_name
        with pytest.raises(TypeError, match="cannot change"):
            by_name["y"] = given[0]

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (ANY.Link, r"^Link needs field 'number' \(int\)\.$"),
            (lambda: ANY.Link(numbr=1), r"^Link has no field 'numbr'\. Did you mean 'number'\?$"),
            (lambda: ANY.Link(number=1, x=1), r"no field 'x'\. Its fields are number, before\."),
            (lambda: ANY.Link(number="1"), r"^Field 'number' of Link is '1'; it must be int\.$"),
            (
                lambda: ANY.Link(5),
                r"Link takes its fields by name, but 5 has none. Write Link\(num",
            ),
            (
                lambda: ANY.Link(number=1, before=Link),
                r"it must be a Link task or None. Make a task",
            ),
            (lambda: ANY.Link(number=1, before=Clicks()), r"is Clicks\(.*it must be a Link task"),
            (
                lambda: ANY.Link(number=Link(number=1)),
                "A task stands only in a field that is annotat",
            ),
            (
                lambda: ANY.Total(parts=[Link(number=1), Clicks()]),
                r"Field 'parts\[1\]' of Total is .*must be Task\[int\]. The result of Clicks is",
            ),
            (
                lambda: ANY.Total(parts=[], by_name={"a": 5}),
                r"""Field "by_name\['a'\]" of Total is 5""",
            ),
            (lambda: ANY.Score(weights=Clicks()), r"must be Part\[list\[float\]\]"),
            (Task, r"^Task has no run, so no task can be made of it"),
        ],
    )
    def test_what_is_wrong_is_named(self, make: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            make()

    def test_a_class_that_was_defined_again_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def cell() -> type[Task[int]]:
            class Cell(Task[int]):
                def run(self) -> int:
                    return 1

            Cell.__qualname__ = "Cell"
            monkeypatch.setattr(sys.modules[__name__], "Cell", Cell, raising=False)
            return Cell

        first: Any = cell()

        class User(Task[int]):
            cell: first

            def run(self, cell: int) -> int:
                return cell

        assert 1 == User(cell=first()).run(1)
        with pytest.raises(ConfigError, match="Cell was defined again after the class of the"):
            User(cell=cell()())
        monkeypatch.setattr(sys.modules[__name__], "Cell", first)
        second: Any = type("Cell", (Task,), {"run": first.run})
        with pytest.raises(ConfigError, match="It was made before Cell was defined again; make"):
            User(cell=second())

    def test_a_subclass_adds_fields_and_changes_defaults(self) -> None:
        class Longer(Link):
            number = 5
            extra: str = "x"

            def run(self, before: int | None) -> int:
                return 0

        made: Any = Longer
        assert (5, "x", None) == (made().number, made().extra, made().before)
        assert ["number", "before", "extra"] == list(Longer.fields)

    def test_post_init_may_refuse(self) -> None:
        class Even(Task[int]):
            number: int

            def __post_init__(self) -> None:
                if self.number % 2:
                    raise ConfigError(f"number is {self.number}; it must be even.")

            def run(self) -> int:
                return self.number

        assert 2 == Even(number=2).number
        with pytest.raises(ConfigError, match="must be even"):
            Even(number=1)

    def test_settings_stand_above_defaults_and_below_what_is_given(self) -> None:
        set_settings(lambda cls: {"bucket": "other"} if cls is shop.Clicks else {})
        try:
            assert "other" == shop.Clicks().bucket
            assert "mine" == shop.Clicks(bucket="mine").bucket
            assert "logs" == Clicks().bucket
            set_settings(lambda _: {"bucket": 5})
            with pytest.raises(ConfigError, match="Field 'bucket' of Clicks is 5"):
                Clicks()
        finally:
            set_settings(None)


class TestId:
    def test_equal_fields_are_one_task(self) -> None:
        first, second = (shop.Clicks(tags={"a", "b", "c"}), shop.Clicks(tags={"c", "b", "a"}))

        assert first == second
        assert (first.id, hash(first)) == (second.id, hash(second))
        assert 32 == len(first.id)
        assert shop.Clicks(day=dt.date(2026, 2, 1), tags={"a", "b", "c"}) != first

    def test_it_never_changes_from_one_version_to_the_next(self) -> None:
        train = Train(clicks=shop.Clicks(tags={"a"}))

        assert "f6d06e99006ca2877a277d3d13a52a17" == train.id

    def test_a_class_of_the_same_name_elsewhere_is_another(self) -> None:
        assert Clicks().id != shop.Clicks().id

    def test_insignificant_fields_and_tasks_do_not_count(self) -> None:
        assert shop.Clicks(bucket="other") == shop.Clicks()
        assert Train(clicks=shop.Clicks(bucket="other")) == Train(clicks=shop.Clicks())
        assert Story(notes=[Note(text="x")], title=Note(text="y")) == Story()
        assert Note(text="x") != Note()

    def test_tasks_below_count(self) -> None:
        one, two = Link(number=1), Link(number=2)

        assert Total(parts=[one, two]) == Total(parts=[Link(number=1), Link(number=2)])
        assert len({Total(parts=parts).id for parts in ([one, two], [two, one], [one], [])}) == 4
        assert Total(parts=[], by_name={"x": one}) != Total(parts=[], by_name={"y": one})

    def test_it_is_the_same_in_every_process(self) -> None:
        statement = (
            "from tests.unit.task.shop import *; print(Train(clicks=Clicks(tags=set('abcdef'))).id)"
        )
        ids = {
            subprocess.run(
                [sys.executable, "-c", statement],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=60,
            ).stdout.strip()
            for seed in ("1", "2")
        }

        assert {Train(clicks=shop.Clicks(tags=set("abcdef"))).id} == ids

    def test_a_script_s_class_is_the_imported_one_s(self, tmp_path: Path) -> None:
        folder = tmp_path / "store" / "deep"
        folder.mkdir(parents=True)
        (tmp_path / "store" / "__init__.py").touch()
        (folder / "__init__.py").touch()
        file = folder / "flow.py"
        file.write_text(
            "from tadka.task.define.task import Task\n"
            "from enum import Enum\n"
            "class Mode(Enum):\n    A = 1\n"
            "class One(Task[int]):\n    mode: Mode = Mode.A\n    def run(self): return 1\n"
            "if __name__ in ('__main__', 'ask'): print(One().id)\n"
        )
        ways = (
            [str(file)],
            ["-m", "store.deep.flow"],
            ["-c", "from store.deep.flow import One; print(One().id)"],
        )
        ids = {
            subprocess.run(
                [sys.executable, *way],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=60,
            ).stdout
            for way in ways
        }

        assert 1 == len(ids)

    @pytest.mark.timeout(120)
    def test_a_chain_of_100_000_is_no_recursion(self) -> None:
        began = time.monotonic()
        link, other = chain(100_000), chain(100_000)

        assert link.id == other.id
        assert link == other
        assert hash(link) == hash(other)
        assert len(repr(link)) < 200
        assert link is copy.deepcopy(link)
        back = pickle.loads(pickle.dumps(link))
        assert link == back
        assert type(back.before) is Link
        del link, other, back
        gc.collect()
        assert time.monotonic() - began < 100

    def test_it_costs_microseconds(self) -> None:
        def best(count: int = 5) -> tuple[float, float]:
            makes, ids = [], []
            for _ in range(count):
                began = time.perf_counter()
                tasks = [shop.Clicks(day=DAY, mode=Mode.FAST) for _ in range(1000)]
                makes.append(time.perf_counter() - began)
                began = time.perf_counter()
                for task in tasks:
                    _ = task.id
                ids.append(time.perf_counter() - began)
            return min(makes) / 1000, min(ids) / 1000

        make_s, id_s = best()

        assert make_s < 50e-6  # measured: 3
        assert id_s < 75e-6  # measured: 8

    def test_a_circle_made_behind_our_back_is_refused(self) -> None:
        first = Link(number=1)
        second = Link(number=2, before=first)
        first.__dict__["before"] = second

        with pytest.raises(ConfigError, match="need each other in a circle: Link -> Link -> Link"):
            _ = second.id


class TestDependencies:
    def test_tasks_have_their_places(self) -> None:
        links = [Link(number=i) for i in range(3)]
        total = Total(parts=links[:2], by_name={"x": links[2]})

        assert [("parts[0]", links[0]), ("parts[1]", links[1]), ("by_name['x']", links[2])] == list(
            total.tasks()
        )

    def test_a_part_is_one_output(self) -> None:
        train = Train(clicks=shop.Clicks())
        part = train["weights"]
        score = Score(weights=part)

        assert [("weights", part)] == list(inputs_of(score))
        assert [("weights", train)] == list(score.tasks())
        assert Score(weights=train["report"]) != score
        assert Score(weights=Part(Train(clicks=shop.Clicks()), "weights")) == score
        assert f"Train#{train.id[:6]}['weights']" == repr(part)
        assert part == pickle.loads(pickle.dumps(part))
        assert score == pickle.loads(pickle.dumps(score))
        assert {"task": train.id, "part": "weights"} == Score.fields["weights"].to_json(part)

    def test_a_wrong_part_is_refused(self) -> None:
        with pytest.raises(
            ConfigError, match=r"Train has no output 'weigths'. Did you mean 'weigh"
        ):
            Train(clicks=shop.Clicks())["weigths"]
        with pytest.raises(ConfigError, match="Link has a single output, and 'x' is asked of it"):
            Link(number=1)["x"]
        with pytest.raises(TypeError, match="not iterable"):
            list(Link(number=1))  # type: ignore[call-overload]

    def test_tasks_are_json_by_id(self) -> None:
        link = Link(number=1)
        field = Link.fields["before"]

        assert {"task": link.id} == field.to_json(link)
        assert link == field.from_json({"task": link.id}, "Link", lambda *_: link)
        with pytest.raises(ConfigError, match="A task cannot be written as text"):
            field.from_text("x", "Link")

    def test_repr_is_short(self) -> None:
        link = Link(number=1)

        assert f"Link(number=2, before=Link#{link.id[:6]})" == repr(Link(number=2, before=link))
        assert "Total(scale=1.0, parts=[1000 Link], by_name={})" == repr(
            Total(parts=[Link(number=i) for i in range(1000)])
        )


class Loader(Task[list[V]], Generic[V]):
    def run(self) -> list[V]:
        return []


class Cut:
    """A mixin that is no task."""


class Limited(Cut, Loader[W]):
    pass


class Words(Limited["float"]):
    pass


class TestResultType:
    def test_it_is_found_through_bases_mixins_and_type_variables(self) -> None:
        class Direct(Task[np.ndarray]):
            pass

        class Below(Cut, Direct):
            pass

        class Names(Loader[str]):
            pass

        class Nested(Loader[dict[str, int]]):
            pass

        class Bare(Task):  # type: ignore[type-arg]
            pass

        class Both(Bare, Direct):
            pass

        assert np.ndarray is Below.result_type
        assert list[str] == Names.result_type
        assert list[dict[str, int]] == Nested.result_type
        assert Any is Bare.result_type
        assert np.ndarray is Both.result_type
        assert list[Any] == Loader.result_type
        assert list[float] == Limited.result_type

    def test_a_task_field_takes_what_fits(self) -> None:
        class Takes(Task[int]):
            number: Task[float] | None = None
            rows: Task[list[str] | dict[str, int]] | None = None

            def run(self) -> int:
                return 0

        class Names(Loader[str]):
            pass

        class Numbers(Loader[int]):
            pass

        assert Takes(number=Link(number=1), rows=Names()).rows == Names()
        assert Takes(rows=Clicks()).rows == Clicks()
        with pytest.raises(ConfigError, match=r"The result of Numbers is list\[int\]"):
            Takes(rows=Numbers())  # type: ignore[arg-type]


TYPED = """
class A(Task[int]):
    x: field

    def run(self, x: "{argument}") -> int:
        return 1
"""


class TestClass:
    def test_run_tells_what_it_takes(self) -> None:
        parts, run = arguments_of(Total)

        assert ("parts", True, False) == (parts.name, parts.is_lazy, parts.is_run)
        assert ("run", False, True) == (run.name, run.is_lazy, run.is_run)

    def test_checks_and_outputs_are_collected(self) -> None:
        class Checked(Task[int]):
            @check(severity="warn")
            def is_small(self, value: int) -> bool:
                return value < 5

            def run(self) -> int:
                return 1

        assert ["is_small"] == [one.name for one in Checked.checks]
        assert [""] == list(Checked.outs)
        assert ["weights", "report"] == list(Train.outs)

    def test_a_check_gets_the_result(self) -> None:
        class Fine(Task[int]):
            @check
            def is_small(self, value: int, limit: int = 5) -> bool:
                return value < limit

            def run(self) -> int:
                return 1

        assert ["is_small"] == [one.name for one in Fine.checks]
        with pytest.raises(ConfigError, match=r"Check A.is_small must have one argument"):

            class A(Task[int]):
                @check
                def is_small(self) -> bool:
                    return True

    @pytest.mark.parametrize("type_", [int, str, None, bool])
    def test_rows_are_declared_of_what_has_some(self, type_: Any) -> None:
        with pytest.raises(ConfigError, match=r"A.out declares min_rows=1, and .* has no rows"):

            class A(Task[type_]):
                out = Out(min_rows=1)

                def run(self) -> Any:
                    return None

    @pytest.mark.parametrize(
        ("field", "argument"),
        [
            (Task[int], "str"),
            (Task[list[int]], "dict[str, int]"),
            (Part[str], "int"),
            (Link, "list[int]"),
            (Task[float], "int"),
        ],
    )
    def test_an_argument_has_the_type_of_its_result(self, field: Any, argument: str) -> None:
        with pytest.raises(ConfigError, match=r"A.run has the argument 'x' of type .* and the res"):
            exec(TYPED.format(argument=argument), {"Task": Task, "field": field})

    @pytest.mark.parametrize(
        ("field", "argument"),
        [
            (Task[int], "float"),
            (Task[int], "int | None"),
            (Task[int], "Any"),
            (Task[Any], "str"),
            (Task[int], "object"),
            (Link, "int"),
            (Link | None, "int | None"),
            (list[Link], "list[int]"),
            (list[Link], "Iterator[int]"),
            (dict[str, Link], "Mapping[str, int]"),
            (Task[list[int]], "Sequence[int]"),
            (Task[dict[str, int]], "Nowhere"),
            (Limited[float], "list[float]"),
        ],
    )
    def test_in_doubt_an_argument_may_have_any_type(self, field: Any, argument: str) -> None:
        names = {"Task": Task, "field": field, "Any": Any, "Iterator": Iterator}
        names |= {"Sequence": Sequence, "Mapping": Mapping}

        exec(TYPED.format(argument=argument), names)

        assert "A" in names

    def test_an_abstract_class_makes_no_task(self) -> None:
        class Base(Task[int]):
            number: int = 1

        class Whole(Base):
            limit: ClassVar[int] = 5

            def run(self) -> int:
                return 1

        assert {"number"} == set(Whole.fields)
        with pytest.raises(ConfigError, match="Base has no run"):
            Base()

    def test_run_arguments_are_fields_that_hold_tasks(self) -> None:
        with pytest.raises(ConfigError, match=r"A.run has the argument 'clik'.*mean 'click'\?"):

            class A(Task[int]):
                click: Link

                def run(self, clik: int) -> int:
                    return 0

        with pytest.raises(ConfigError, match=r"the argument 'x'.* has no field that holds tasks"):

            class B(Task[int]):
                def run(self, x: int) -> int:
                    return 0

        with pytest.raises(ConfigError, match=r"'n', which is a field and no task; read self\.n"):

            class C(Task[int]):
                n: int

                def run(self, n: int) -> int:
                    return 0

        with pytest.raises(ConfigError, match=r"has the argument '\*\*inputs: int'; name each"):

            class D(Task[int]):
                def run(self, **inputs: int) -> int:
                    return 0

        with pytest.raises(ConfigError, match="no argument for the task"):

            class E(Task[int]):
                def run() -> int:  # type: ignore[misc]
                    return 0

        with pytest.raises(ConfigError, match="is async"):

            class F(Task[int]):
                async def run(self) -> int:  # type: ignore[override]
                    return 0

        with pytest.raises(ConfigError, match="it must be a method"):

            class G(Task[int]):
                run = 5  # type: ignore[assignment]

    def test_a_name_stands_for_one_thing(self) -> None:
        with pytest.raises(ConfigError, match=r"name of a setting of Task. .*: seed = \.\.\."):

            class A(Task[int]):
                seed: int = 1  # type: ignore[misc]

        with pytest.raises(ConfigError, match="has the name of a method of Task"):

            class B(Task[int]):
                tasks: int = 1  # type: ignore[assignment]

        class Helper(Task[int]):
            def clean(self) -> int:
                return 0

        with pytest.raises(ConfigError, match="hides a method of Helper"):

            class C(Helper):
                clean: int = 1  # type: ignore[assignment]

        with pytest.raises(ConfigError, match="'number' of D has the name of a method"):

            class D(Link):
                @property  # type: ignore[misc]
                def number(self) -> int:
                    return 0

        with pytest.raises(ConfigError, match="begins with _"):

            class E(Task[int]):
                _hidden: int = 1

        with pytest.raises(ConfigError, match="defines __init__"):

            class F(Task[int]):
                def __init__(self) -> None:
                    pass

        with pytest.raises(ConfigError, match=r"G.ouput is Out\(...\).* is called 'out'"):

            class G(Task[int]):
                ouput = Out("json")

        with pytest.raises(ConfigError, match="is a param without a type"):

            class H(Task[int]):
                x = param(default=1)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("version", 2, r"A.version is 2; it must be text, such as '2'"),
            ("resources", 2, r"must be Resources\(...\)"),
            ("resources", Resources, "A.resources is Resources; it must be"),
            ("retries", -1, "a whole number, at least 0"),
            ("seed", True, "a whole number from 0, or None"),
            ("on_code_change", "never", "'rerun', 'warn', 'ignore' or None"),
            ("code_files", "a.sql", "a list of paths as text"),
            ("uses", 5, "a list of the functions"),
            ("uses", ["helpers.clean"], r"\['helpers.clean'\]; .* themselves: .*, not text"),
            ("retry", 5, "A.retry is no setting, .* Did you mean 'retries'"),
            ("retires", 5, "Did you mean 'retries'"),
            ("signifcant", False, "Did you mean 'significant'"),
            ("on_codechange", "warn", "Did you mean 'on_code_change'"),
            ("codefiles", ["a.sql"], "Did you mean 'code_files'"),
            ("resource", 5, "Did you mean 'resources'"),
            ("Version", "2", "Did you mean 'version'"),
            ("outs", {}, "Did you mean 'out'"),
            ("significant", 0, "True or False"),
            ("out", "json", r"it must be Out\(...\), or a dict"),
            ("out", {}, "or a dict of one Out for each"),
            ("out", {"a/b": Out()}, "has the name 'a/b'"),
            ("out", {"a": "json"}, r"has 'a': 'json'; it must be Out\(...\)"),
        ],
    )
    def test_settings_are_checked(self, name: str, value: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            type("A", (Task,), {name: value})

    def test_what_is_read_or_annotated_is_no_misspelt_setting(self) -> None:
        class Base(Task[int]):
            def run(self) -> int:
                return max(self.users)  # type: ignore[attr-defined, no-any-return]

        class A(Base):
            users = (1, 2)
            Version: ClassVar = "2"
            SEED = 5
            seeds: int = 3

            def retry(self) -> int:
                return sum(self.SEED for _ in range(3))

        assert 2 == A().run()

    def test_an_annotation_that_nobody_knows_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"'x' of A has .*: name 'Nope.* in a circle"):

            class A(Task[int]):
                x: "Nope"  # type: ignore[name-defined] # noqa: F821

    def test_deferred_annotations_are_evaluated(self, tmp_path: Path) -> None:
        source = inspect.cleandoc("""
            from __future__ import annotations
            import typing
            if typing.TYPE_CHECKING:
                from nowhere import Frame, Iterator, Run
            class A(Task[int]):
                limit: typing.ClassVar[int] = 5
                links: list[Link]
                def run(self, links: Iterator[Frame], context: Run) -> Frame: ...
        """)
        names: dict[str, Any] = {"Task": Task, "Link": Link, "__name__": "deferred"}
        exec(source, names)

        links, context = arguments_of(names["A"])
        assert (True, True) == (links.is_lazy, context.is_run)
        assert names["A"](links=[Link(number=1)]).links == (Link(number=1),)


def test_a_run_can_be_a_subclass_s() -> None:
    class Own(Run):
        pass

    class A(Task[int]):
        links: list[Link]

        def run(self, links: Iterator[int], context: Own) -> int:
            return 0

    assert [False, True] == [argument.is_run for argument in arguments_of(A)]


class Fit(TypedDict):
    weights: bytes
    score: float


def test_outputs_have_the_types_that_the_class_gives() -> None:
    class Model(Task[Fit]):
        out = {"weights": Out("pickle"), "score": Out("json")}

        def run(self) -> Fit:
            return {"weights": b"", "score": 1.0}

    class Folds(Task[dict[str, list[str]]]):
        out = {"a": Out("json"), "b": Out("jsonl")}

        def run(self) -> dict[str, list[str]]:
            return {}

    assert (bytes, float) == (Model()["weights"].result_type, Model()["score"].result_type)
    assert list[str] == Folds()["b"].result_type
    assert Any is Train(clicks=shop.Clicks())["weights"].result_type
    with pytest.raises(ConfigError, match=r"The result of Part is bytes"):
        Score(weights=Model()["weights"])


def test_a_format_that_cannot_hold_the_result_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(ConfigError, match=r"^A\.out: Out\('npy'\) cannot hold str"):

        class A(Task[str]):
            out = Out("npy")

            def run(self) -> str:
                return ""

    with pytest.raises(ConfigError, match=r"^B\.out\['b'\]: Out\('npy'\) cannot hold str"):

        class B(Task[dict[str, str]]):
            out = {"a": Out("json"), "b": Out("npy")}

            def run(self) -> dict[str, str]:
                return {}
