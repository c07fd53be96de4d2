"""The graph of tasks: every task once, each after what it needs."""

from collections.abc import Iterable, Iterator
from typing import Any

from tadka.core.error import ConfigError
from tadka.task.define.frozen import ordered
from tadka.task.define.task import Task, needs_of


class Node:
    """A task in a graph.

    Args:
        task: It, with its `id`; of several with one id the first that was met.
        index: Its number in the order of the graph.
        parents: What it needs, each once.
    """

    __slots__ = ("children", "id", "index", "parents", "task")

    def __init__(self, task: Task[Any], index: int, parents: "tuple[Node, ...]") -> None:
        self.task = task
        self.id = task.id
        self.index = index
        self.parents = parents
        self.children: list[Node] = []

    def __repr__(self) -> str:
        return f"Node({type(self.task).__name__}#{self.id[:6]})"


class Graph:
    """All tasks that some tasks need, as deep as memory reaches.

    Args:
        roots: What is wanted.

    Raises:
        ConfigError: Tasks need each other in a circle, or two classes of one name are in use.
    """

    def __init__(self, roots: Iterable[Task[Any]]) -> None:
        roots = list(roots)
        self._by_id: dict[str, Node] = {}
        needs: dict[str, list[Task[Any]]] = {}

        def needs_once(task: Task[Any]) -> list[Task[Any]]:
            found = needs_of(task)
            if found:
                needs[task.id] = found
            return found

        for task in ordered(roots, needs_once, _id):
            name = task.id
            before = needs.pop(name, ())
            parents = tuple(dict.fromkeys([self._node_of(other) for other in before]))
            self._by_id[name] = node = Node(task, len(self._by_id), parents)
            for parent in node.parents:
                parent.children.append(node)
        self.nodes = tuple(self._by_id.values())
        self.roots = tuple(dict.fromkeys(self._node_of(task) for task in roots))
        self._check_classes()

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __contains__(self, task: object) -> bool:
        return isinstance(task, Task) and task.id in self._by_id

    def __getitem__(self, task: Task[Any] | str) -> Node:
        """The node of a task, or of an id.

        Raises:
            KeyError: It is not in the graph.
        """
        return self._by_id[task if isinstance(task, str) else task.id]

    def places(self, node: Node) -> Iterator[tuple[str, Node]]:
        """What a node needs, with the place of each: `"days[3]"`.

        Args:
            node: Of this graph.

        Returns:
            In the order of the fields; a task that stands in two places is there twice.
        """
        for place, task in node.task.tasks():
            yield place, self._by_id[task.id]

    def above(self, nodes: Iterable[Node]) -> set[Node]:
        """All that some nodes need, directly or not; without them, unless one needs another.

        Args:
            nodes: Of this graph.
        """
        found: set[Node] = set()
        waiting = list(nodes)
        while waiting:
            new = [parent for parent in waiting.pop().parents if parent not in found]
            found.update(new)
            waiting.extend(new)
        return found

    def below(self, nodes: Iterable[Node]) -> set[Node]:
        """All that needs some nodes, directly or not; without them, unless one needs another.

        Args:
            nodes: Of this graph.
        """
        found: set[Node] = set()
        waiting = list(nodes)
        while waiting:
            new = [child for child in waiting.pop().children if child not in found]
            found.update(new)
            waiting.extend(new)
        return found

    def _node_of(self, task: Task[Any]) -> Node:
        """The node of a task that was met, which is of its class."""
        node = self._by_id[task.id]
        if type(node.task) is not type(task):
            raise _defined_again(type(task))
        return node

    def _check_classes(self) -> None:
        """In a notebook a cell that ran again makes another class of the same name."""
        classes: dict[str, type] = {}
        for node in self.nodes:
            cls = type(node.task)
            path = cls.__module__ + "." + cls.__qualname__
            if classes.setdefault(path, cls) is not cls:
                raise _defined_again(cls)


def _defined_again(cls: type) -> ConfigError:
    return ConfigError(
        f"Tasks of two classes named {cls.__module__}.{cls.__qualname__} are in one graph: the "
        "class was defined again after some of them were made. Make the tasks anew."
    )


def _id(task: Task[Any]) -> str:
    return task.id
