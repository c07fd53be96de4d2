"""Any object comes back by pickle, by cloudpickle where pickle fails."""

import pickle
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import DataError
from tadka.task.output.codec import codec_of
from tadka.task.output.out import Out
from tadka.task.output.pickled import Pickle


@dataclass(frozen=True)
class Fit:
    """A result of a user's own class."""

    words: frozenset[str] = frozenset({"a", "b", "c"})
    by_name: dict[str, Any] = field(default_factory=dict)


def _bytes(value: Any) -> bytes:
    return Pickle().to_bytes(value, Out())


@pytest.mark.parametrize(
    "value",
    [
        Fit(by_name={"x": {1, "a", (2, frozenset({"q", "r"}))}}),
        set(),
        frozenset(),
        [{"a"}, {"a"}],
        {i: {str(i)} for i in range(3000)},
        set(range(5000)),
        (np.arange(3).tolist(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_come_back(value: Any, tmp_path: Path) -> None:
    codec = codec_of(Out("pickle"), Any)
    codec.write(value, tmp_path / "x")

    back = codec.read(tmp_path / "x")

    assert value == back
    assert type(value) is type(back)


def test_a_set_that_holds_itself_comes_back() -> None:
    class Node:
        def __init__(self) -> None:
            self.friends: set[Any] = set()

    globals()["Node"] = Node  # plain pickle finds it
    Node.__qualname__ = "Node"
    node = Node()
    node.friends.add(node)

    back = pickle.loads(_bytes(node))

    assert [back] == list(back.friends)
    shared = {"a", "b"}
    one, two = pickle.loads(_bytes([shared, shared]))
    assert one is two


def test_lambdas_and_local_classes_come_back_by_cloudpickle(tmp_path: Path) -> None:
    step = 3
    codec = codec_of(Out(), Any)
    codec.write({"f": lambda x: x + step}, tmp_path / "x")

    assert 5 == codec.read(tmp_path / "x")["f"](2)


def test_what_cannot_be_pickled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="A 'lock' cannot be pickled"):
        codec_of(Out(), Any).write(threading.Lock(), tmp_path / "x")


@pytest.mark.parametrize("content", [b"", b"\x80\x05.", b"cno_such_module\nThing\n."])
def test_a_damaged_file_is_a_data_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)

    with pytest.raises(DataError, match="cannot be read as pickle"):
        codec_of(Out("pickle"), Any).read(tmp_path / "x")
