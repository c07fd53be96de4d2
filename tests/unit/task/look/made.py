"""Plans and results that no build made, for tests of what is shown of them."""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

from tadka.core.resource import Resources
from tadka.task.define.field import param
from tadka.task.define.task import Task
from tadka.task.graph import Graph, Node
from tadka.task.output.out import Out, check
from tadka.task.plan import Plan, Step
from tadka.task.store.row import Entry, Execution, Output

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'"
AT = 1_790_000_000.0


class Day(Task[dict[str, int]]):
    """Clicks of a day.

    As the log server wrote them.
    """

    day: dt.date
    bucket: str = param(default="logs", significant=False, help="Where logs are.")
    out = Out("json")

    def run(self) -> dict[str, int]:
        return {}


class Shop(Task[dict[str, int]]):
    def run(self) -> dict[str, int]:
        return {}


class Joined(Task[dict[str, int]]):
    clicks: Day
    shop: Shop
    window: int = 7
    version = "2"
    resources = Resources(cpu=2, memory="4G", gpu=1, timeout_s=60)

    @check
    def is_sane(self, value: dict[str, int]) -> bool:
        return True

    @check(severity="warn")
    def is_full(self, value: dict[str, int]) -> bool:
        return True

    def run(self, clicks: dict[str, int], shop: dict[str, int]) -> dict[str, int]:
        return {}


class Fit(Task[dict[str, Any]]):
    days: list[Joined]
    lr: float = 0.1
    out = {"weights": Out("npy"), "report": Out("json")}

    def run(self, days: list[dict[str, int]]) -> dict[str, Any]:
        return {}


class Named(Task[int]):
    """<script>alert('doc')</script>"""

    name: str
    before: "Named | None" = None

    def run(self, before: int | None) -> int:
        return 0


def fit(num_days: int = 3) -> Fit:
    first, shop = dt.date(2026, 1, 1), Shop()
    days = [Day(day=first + dt.timedelta(number)) for number in range(num_days)]
    return Fit(days=[Joined(clicks=day, shop=shop) for day in days], lr=0.05)


def chain(length: int) -> Named:
    named = Named(name="0")
    for number in range(1, length):
        named = Named(name=str(number), before=named)
    return named


DESCRIPTION: Mapping[str, Any] = {
    "num_rows": 20_000,
    "num_bytes": 640_000,
    "columns": {"user": "int64", "age": "float64", "city": "object", "at": "datetime64[ns]"},
    "statistics": {
        "user": {
            "nulls": 0, "min": 1, "max": 9000, "mean": 4493.2, "sampled": 4000, "distinct": 3239,
            "histogram": {"edges": [1, 3000, 6000, 9000], "counts": [100, 0, 50]},
        },
        "age": {"nulls": 5000, "min": 41, "max": 41, "mean": 41.0, "sampled": 4000, "distinct": 1},
        "city": {"nulls": 1, "sampled": 4000, "distinct": 3},
        "at": {"nulls": 0, "min": "2026-01-01T00:00:00", "max": "2026-01-31T10:00:00"},
    },
}  # fmt: skip


def entry(node: Node, **values: Any) -> Entry:
    """A result of a task, as large as its number in the graph."""
    content = hashlib.sha256(node.id.encode()).hexdigest()
    cls = type(node.task)
    made: dict[str, Any] = {
        "key": content,
        "task": cls._path,
        "task_id": node.id,
        "parts": {
            "inputs": {place: content for place, _ in node.task.tasks()},
            "code": "c0de" * 16,
            "code_parts": {"shop.helpers.clean": "1", "shop.LIMIT": "2"},
        },
        "fields": {},
        "outputs": tuple(
            Output(name, content, ".parquet", 3 << 20, DESCRIPTION) for name in cls.outs
        ),
        "run": "r1",
        "created_at": AT,
        "seconds": 1.5 + node.index,
        "peak_bytes": 300 << 20,
        "seed": 7,
    }
    return Entry(**{**made, **values})


def execution(node: Node, **values: Any) -> Execution:
    """What a run did with a task."""
    made: dict[str, Any] = {
        "run": "r1", "task": "x", "task_id": node.id, "status": "ran", "started_at": AT,
        "seconds": 2.0,
    }  # fmt: skip
    return Execution(**{**made, **values})


def stored(node: Node) -> Step:
    return Step(node, "stored", entry(node), ())


def plan_of(*tasks: Task[Any], step: Callable[[Node], Step] = stored) -> Plan:
    """A plan in which each task stands as `step` says."""
    graph = Graph(tasks)
    return Plan(graph, {node.id: step(node) for node in graph})


def mixed(node: Node) -> Step:
    """One of each status, by the class."""
    cls = type(node.task)
    if isinstance(node.task, Joined):
        status: Sequence[Any] = ("runs", "other code", "stored")
        number = node.task.clicks.day.day % 3
        reasons = ("code: function shop.helpers.clean changed", "input clicks changed")
        return Step(node, status[number], entry(node), reasons if number < 2 else ())
    if cls is Fit:
        return Step(node, "waits", None, ("input days[1] is made before",))
    return stored(node)


class Elements(HTMLParser):
    """Elements of a page, whether they are closed, and its text."""

    VOID = frozenset({"meta"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.text = " ".join(self.text.split()).replace(" ,", ",")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.text += " "
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str, style: str | None = None) -> int:
        """How many elements of a name there are; of those that bear a class."""
        return sum(
            name == tag and (style is None or style in (attributes.get("class") or "").split())
            for name, attributes in self.found
        )

    def values(self, attribute: str) -> list[str]:
        """Of an attribute, wherever it stands."""
        return [found[attribute] or "" for _, found in self.found if attribute in found]
