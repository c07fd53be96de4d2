import sys
import time

import pytest

from tadka.core.error import ConfigError
from tadka.task.define.task import Task
from tadka.task.graph import Graph
from tests.unit.task.shop import Clicks, Link, Score, Total, Train


def test_every_task_is_there_once_after_what_it_needs() -> None:
    def diamond() -> Total:
        base = Link(number=0)
        return Total(parts=[Link(number=1, before=base), Link(number=2, before=Link(number=0))])

    graph = Graph([diamond(), diamond(), Link(number=2, before=Link(number=0))])

    assert 4 == len(graph)
    assert [0, 1, 2, 3] == [node.index for node in graph]
    assert all(parent.index < node.index for node in graph for parent in node.parents)
    assert [diamond(), Link(number=2, before=Link(number=0))] == [n.task for n in graph.roots]
    base = graph[Link(number=0)]
    assert (0, 2) == (len(base.parents), len(base.children))
    assert (2, 0) == (len(graph[diamond()].parents), len(graph[diamond().id].children))
    assert Link(number=0) in graph
    assert Link(number=9) not in graph
    assert f"Node(Link#{base.id[:6]})" == repr(base)


def test_places_tell_where_a_task_stands() -> None:
    link = Link(number=1)
    total = Total(parts=[link, link], by_name={"x": link})
    graph = Graph([total])

    places = list(graph.places(graph[total]))
    assert ["parts[0]", "parts[1]", "by_name['x']"] == [place for place, _ in places]
    assert {graph[link]} == {node for _, node in places}
    assert (1, 1) == (len(graph[total].parents), len(graph[link].children))


def test_a_part_needs_its_whole_task() -> None:
    train = Train(clicks=Clicks())
    graph = Graph([Score(weights=train["weights"])])

    assert [Clicks(), train, Score(weights=train["weights"])] == [node.task for node in graph]


def test_what_is_above_and_below_is_found() -> None:
    links = [Link(number=0)]
    for number in range(1, 5):
        links.append(Link(number=number, before=links[-1]))
    other = Total(parts=[links[2]])
    graph = Graph([links[-1], other])

    def names(tasks: list[Task[int]]) -> set[str]:
        return {task.id for task in tasks}

    assert names([links[0], links[1]]) == {n.id for n in graph.above([graph[links[2]]])}
    assert names([links[3], links[4], other]) == {n.id for n in graph.below([graph[links[2]]])}


def test_a_circle_made_behind_our_back_is_refused() -> None:
    first = Link(number=1)
    second = Link(number=2, before=first)
    assert second.id
    first.__dict__["before"] = second

    with pytest.raises(
        ConfigError, match=r"in a circle: Link -> Link -> Link\. A field was changed"
    ):
        Graph([second])


def test_a_long_circle_is_told_shortly() -> None:
    links = [Link(number=0)]
    for number in range(1, 1000):
        links.append(Link(number=number, before=links[-1]))
    assert links[-1].id
    links[0].__dict__["before"] = links[-1]

    with pytest.raises(
        ConfigError, match=r"Link -> Link -> Link -> \.\.\. -> Link -> Link -> Link"
    ):
        Graph([links[-1]])


def test_a_class_defined_again_is_refused() -> None:
    def define() -> type[Task[int]]:
        class Cell(Task[int]):
            number: int

            def run(self) -> int:
                return 0

        return Cell

    old, new = define(), define()
    with pytest.raises(ConfigError, match=r"two classes named .*Cell are in one graph"):
        Graph([Total(parts=[old(number=1), new(number=2)])])


def test_100_000_deep_and_wide() -> None:
    link = Link(number=0)
    for number in range(1, 100_000):
        link = Link(number=number, before=link)
    wide = Total(parts=[Link(number=number) for number in range(100_000)])
    assert sys.getrecursionlimit() < 100_000
    assert link.id
    assert wide.id

    began = time.perf_counter()
    deep_graph, wide_graph = Graph([link]), Graph([wide])
    seconds = time.perf_counter() - began

    assert (100_000, 100_001) == (len(deep_graph), len(wide_graph))
    assert 99_999 == len(deep_graph.below([deep_graph.nodes[0]]))
    assert seconds < 20  # measured: 1


@pytest.mark.parametrize("is_new_first", [True, False])
def test_tasks_of_one_id_whose_class_was_defined_again_are_not_one_task(
    is_new_first: bool,
) -> None:
    def defined() -> type[Task[int]]:
        class Cell(Task[int]):
            def run(self) -> int:
                return 1

        return Cell

    old, new = defined()(), defined()()
    assert old.id == new.id
    tasks = [new, old] if is_new_first else [old, new]

    for wanted in (tasks, [Total(parts=tasks)], [Total(parts=tasks[:1]), tasks[1]]):
        with pytest.raises(ConfigError, match=r"Cell are in one graph: the class was defined ag"):
            Graph(wanted)
