"""What the tests of the handler share: a class with every kind of field, and a handler over it."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tadka.features import Buckets, Features, Hashed, Log
from tadka.scoring import Linear
from tadka.serve.answer.call import Call, Reply
from tadka.serve.answer.handler import Handler
from tadka.serve.board import Board
from tadka.serve.config import ServeConfig
from tadka.serve.log.ring import Ring
from tadka.serve.store.custom import PythonModel
from tadka.serve.store.live import Live
from tadka.serve.store.store import Store


class Visit(Features, size=1 << 10):
    """Every type of field, optional and not, and properties of which one is not compiled."""

    user: str
    page: str | None
    price: Annotated[float, Log()]
    discount: Annotated[float | None, Log()]
    count: Annotated[int, Hashed(64)]
    age: Annotated[int | None, Buckets([18, 30, 65])]
    is_new: bool
    is_member: bool | None
    time: datetime
    last: datetime | None
    tags: list[str]
    sizes: list[int]
    hits: list[datetime]
    country: str = "jp"

    @property
    def hour(self) -> str:
        return f"{self.time.hour}"

    @property
    def user_page(self) -> str:
        return f"{self.user}_{self.page}"

    @property
    def initials(self) -> str:
        if self.user == "faulty":
            raise RuntimeError("a property that fails")
        return "".join(part[:1] for part in self.user.split("-"))

    @property
    def since(self) -> Annotated[float | None, Log()]:
        return None if self.last is None else (self.time - self.last).total_seconds()


GOOD = Visit(
    user="u-1",
    page="p",
    price=2.5,
    discount=None,
    count=3,
    age=40,
    is_new=True,
    is_member=None,
    time=datetime(2024, 1, 1, 9, tzinfo=UTC),
    last=datetime(2023, 12, 31, tzinfo=UTC),
    tags=["a", "b"],
    sizes=[1, 2],
    hits=[],
)


def hostile_rows() -> list[Visit]:
    """Rows at the edges of what fields hold."""
    big, small = 2**63 - 1, -(2**63)
    rows = [GOOD]
    for user in ("", "日本語", "\0", "é" * 1000, "🙂", '"\\\n', "NaN", "\u2028"):
        rows.append(_with(user=user, page=user or None, tags=[user, "", user]))
    for price in (0.0, -0.0, 5e-324, 1.7976931348623157e308, -1e30, float("inf"), float("nan")):
        rows.append(_with(price=price, discount=price))
    for price in (0.1, 1 / 3, 2**53 + 1.0, 1e22):
        rows.append(_with(price=price, discount=-price))
    for count in (0, -1, big, small, 2**53 + 1):
        rows.append(
            _with(count=count, age=count, sizes=[count, 0, -count if count != small else 1])
        )
    first, last = (
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    )
    for when in (
        first,
        last,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ):
        rows.append(_with(time=when, last=when, hits=[when, datetime(2024, 2, 29, tzinfo=UTC)]))
    rows.append(
        _with(page=None, discount=None, age=None, is_member=False, last=None, tags=[], sizes=[])
    )
    rng = np.random.default_rng(7)
    for number in range(40):
        rows.append(
            _with(
                user=f"user-{rng.integers(1000)}",
                page=f"page {number}" if number % 3 else None,
                price=float(rng.normal() * 10.0 ** int(rng.integers(-5, 9))),
                discount=float(rng.normal()) if number % 2 else None,
                count=int(rng.integers(-1000, 1000)),
                is_new=bool(rng.integers(2)),
                time=datetime(2024, 1, 1, tzinfo=UTC)
                + timedelta(microseconds=int(rng.integers(10**14))),
                tags=[f"t{tag}" for tag in rng.integers(0, 9, number % 5)],
                country="de" if number % 2 else "jp",
            )
        )
    return rows


def _with(**values: Any) -> Visit:
    names = Visit.__dataclass_fields__
    return Visit(**{name: getattr(GOOD, name) for name in names} | values)


def as_json(row: Visit) -> dict[str, Any]:
    """A row as the JSON door takes it."""
    found: dict[str, Any] = {}
    for field in Visit.definition().fields:
        value = getattr(row, field.name)
        if isinstance(value, float) and not np.isfinite(value):
            value = "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        if field.type == "datetime" and value is not None:
            value = [v.isoformat() for v in value] if field.is_list else value.isoformat() + "Z"
        found[field.name] = value
    return found


def make_model(seed: int = 0, group: str | None = None) -> Linear:
    """A linear model with random parameters."""
    model = Linear(Visit, group=group)
    rng = np.random.default_rng(seed)
    num_slots = Visit.definition(group).num_slots
    model.example = GOOD.to_message()
    return model.take(
        {"bias": rng.normal(size=1), "linear": rng.normal(size=num_slots).astype(np.float32)}
    )


class Halves:
    """A user's own model: it says a half, and fails where the user is "bad"."""

    def predict(self, rows: Sequence[Visit]) -> Any:
        if any(row.user == "bad" for row in rows):
            raise ValueError("a model that fails")
        return np.full(len(rows), 0.5)


class Served:
    """A store with models, and a handler that serves it.

    Args:
        folder: For the store.
        models: By name; each is published as version 1.
        config: Of the server.
        ring: The request log.
    """

    def __init__(
        self,
        folder: Path,
        models: dict[str, Linear | PythonModel] | None = None,
        config: ServeConfig | None = None,
        ring: Ring | None = None,
    ) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self.models = models if models is not None else {"ctr": make_model(1), "cvr": make_model(2)}
        for name, model in self.models.items():
            self.publish(name, model)
        self.ring = ring
        self.board = Board(2)
        self.live = Live(self.store, Visit)
        self.handler = Handler(self.live, self.board, 1, ring, config or ServeConfig())

    def publish(self, name: str, model: Linear | PythonModel, alias: str = "production") -> int:
        """Version that was published."""
        model.save(self.folder / "model", replace=True)
        return self.store.publish(self.folder / "model", model=name, alias=alias).version

    def follow(self) -> None:
        """Serves what the store says now."""
        self.live.refresh()
        assert self.live.wait(30)
        assert self.live.failure is None

    def ask(self, *calls: Call) -> list[Reply]:
        """One batch."""
        return self.handler.answer(calls)

    def arm(self, model: str, version: int = 1) -> Any:
        """Counters of a version."""
        return self.board.counts(1).arm(model, version)

    @property
    def slot(self) -> Any:
        """Counters of the worker."""
        return self.board.workers[1]


PREDICT = "/tadka.visit.Predictor/Predict"


def grpc_call(body: bytes, path: str = PREDICT, **values: Any) -> Call:
    """A call of gRPC that arrives now."""
    return Call(
        "grpc",
        "POST",
        path,
        content_type="application/grpc",
        body=body,
        arrived_ns=time.monotonic_ns(),
        **values,
    )


def http_call(method: str, path: str, body: bytes = b"", **values: Any) -> Call:
    """A request of HTTP that arrives now."""
    path, _, query = path.partition("?")
    kind = values.pop("content_type", "application/json" if body else "")
    return Call(
        "http",
        method,
        path,
        query,
        kind,
        body=body,
        arrived_ns=time.monotonic_ns(),
        **values,
    )
