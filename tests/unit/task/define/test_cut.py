import pickle

import pytest

from tadka.core.error import ConfigError
from tadka.task.define.cut import StandIn, cut
from tadka.task.define.task import Task
from tests.unit.task.shop import Clicks, Link, Note, Score, Story, Total, Train


def chain(length: int) -> Link:
    link = Link(number=0)
    for number in range(1, length):
        link = Link(number=number, before=link)
    return link


def far(link: Link, steps: int) -> Link:
    for _ in range(steps):
        assert link.before is not None
        link = link.before
    return link


class TestCut:
    def test_two_levels_are_kept_and_the_rest_stands_for_an_id(self) -> None:
        whole = chain(6)

        short = cut(whole)

        assert [5, 4, 3] == [far(short, steps).number for steps in range(3)]
        assert isinstance(far(short, 3), StandIn)
        assert far(whole, 3).id == far(short, 3).id
        assert f"Link#{far(whole, 3).id[:6]}" == repr(far(short, 3))

    def test_all_ids_stay(self) -> None:
        whole = chain(6)
        wanted = [far(whole, steps).id for steps in range(4)]

        short: Link = pickle.loads(pickle.dumps(cut(whole)))

        assert "_id" not in short.__dict__
        assert wanted == [far(short, steps).id for steps in range(4)]

    def test_a_field_of_a_stand_in_is_refused_by_name(self) -> None:
        short = cut(chain(4))

        with pytest.raises(ConfigError, match=r"Link#\w{6}.number cannot be read here") as info:
            _ = far(short, 3).number
        assert "Give the running task a field for it" in str(info.value)
        assert not hasattr(far(short, 3), "number")

    def test_what_has_no_more_levels_is_the_same_object(self) -> None:
        assert (task := Link(number=1)) is cut(task)
        assert (task := chain(3)) is cut(task)
        assert (task := chain(4)) is not cut(task)
        assert (task := chain(4)) is cut(task, levels=3)

    def test_levels_are_counted(self) -> None:
        assert isinstance(cut(chain(3), levels=0).before, StandIn)
        near = cut(chain(3), levels=1).before
        assert near is not None
        assert isinstance(near.before, StandIn)

    def test_the_whole_stays_as_it_was(self) -> None:
        whole = chain(5)
        cut(whole)

        assert 1 == far(whole, 3).number

    def test_the_nearest_way_to_a_task_counts(self) -> None:
        deep = chain(5)
        both = Total(parts=[deep, far(deep, 3)], by_name={"x": far(deep, 4)})

        short = cut(both)

        near, known = short.parts
        assert isinstance(near, Link)
        assert isinstance(known, Link)
        assert known.before is short.by_name["x"]
        assert [1, 0] == [known.number, far(known, 1).number]
        assert 3 == far(near, 1).number
        assert isinstance(far(near, 2), StandIn)

    def test_parts_of_stand_ins_travel(self) -> None:
        score = Score(weights=Train(clicks=Clicks())["weights"])

        short: Score = pickle.loads(pickle.dumps(cut(score, levels=0)))

        assert isinstance(short.weights.task, StandIn)
        assert "weights" == short.weights.output
        assert score.id == short.id

    def test_many_tasks_have_one_stand_in(self) -> None:
        numbers = [Link(number=number) for number in range(5)]
        whole = Total(parts=[Total(parts=numbers, by_name={"x": numbers[0]})])
        wanted = whole.parts[0].id

        short: Total = pickle.loads(pickle.dumps(cut(whole, levels=1)))

        near = short.parts[0]
        assert isinstance(near, Total)
        assert 1.0 == near.scale
        assert "[5 tasks]" == repr(near.parts)
        assert near.parts
        for use in (len, list, lambda parts: parts[0], lambda parts: numbers[0] in parts):
            with pytest.raises(ConfigError, match=r"^\[5 tasks\] cannot be read here"):
                use(near.parts)
        with pytest.raises(ConfigError, match=r"^\[1 tasks\].items cannot be read here"):
            near.by_name.items()
        assert (wanted, whole.id) == (near.id, short.id)

    def test_layers_that_hold_all_of_the_one_above_are_cut_sooner(self) -> None:
        layer: list[Task[int]] = [Link(number=number) for number in range(40)]
        for _ in range(3):
            layer = [Total(parts=layer, scale=scale) for scale in range(40)]
        whole = Total(parts=layer)

        short: Total = pickle.loads(pickle.dumps(cut(whole)))

        assert 20_000 > len(pickle.dumps(cut(whole)))
        near = short.parts[7]
        assert isinstance(near, Total)
        assert 7.0 == near.scale
        assert isinstance(near.parts, StandIn)
        assert whole.id == short.id

    def test_what_is_not_significant_stays_so(self) -> None:
        story = Story(notes=[Note(text="a")], title=Note(text="b"))

        short: Story = pickle.loads(pickle.dumps(cut(story, levels=0)))

        assert Story(title=Note(text="c")).id == short.id == story.id

    def test_a_very_deep_task_is_cut_and_small(self) -> None:
        whole: Task[int] = chain(100_000)

        assert 2_000 > len(pickle.dumps(cut(whole)))
        assert 0 == len(list(cut(Link(number=1)).tasks()))

    def test_a_stand_in_is_cut_no_further(self) -> None:
        short = cut(chain(6))

        assert short is cut(short)
        shorter: Link = pickle.loads(pickle.dumps(cut(short, levels=1)))
        assert isinstance(far(shorter, 2), StandIn)
        assert short.id == shorter.id

    def test_a_stand_in_cannot_run(self) -> None:
        before = cut(chain(2), levels=0).before

        assert isinstance(before, StandIn)
        with pytest.raises(ConfigError, match="cannot be read here"):
            before.run()
