import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tadka.stream.arena import Allocator, Arena, Lifetimes, map_arena
from tadka.stream.codec import decode, encode

PAGE = 4096


@pytest.fixture
def allocator() -> Allocator:
    return allocator_of(16 * PAGE)


def allocator_of(size_bytes: int) -> Allocator:
    arena = Arena(size_bytes)
    allocator = Allocator(map_arena(arena.path))
    arena.close()
    return allocator


class Places(RuleBasedStateMachine):
    """Allocates and frees at will; the model is the list of places in use."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = allocator_of(16 * PAGE)
        self.live: dict[int, int] = {}

    @rule(size_bytes=st.one_of(st.integers(64, 3 * PAGE), st.integers(64, 17 * PAGE)))
    def allocate(self, size_bytes: int) -> None:
        offset = self.allocator.allocate(size_bytes)
        if offset is None:
            # Whatever fits at all fits when nothing is in use.
            assert self.live or size_bytes > 16 * PAGE
            return
        assert offset not in self.live
        assert 0 == offset % PAGE
        self.live[offset] = size_bytes

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def free(self, data: Any) -> None:
        offset = data.draw(st.sampled_from(sorted(self.live)))
        del self.live[offset]
        self.allocator.free(offset)

    @invariant()
    def places_in_use_are_apart_and_inside(self) -> None:
        end = 0
        for offset in sorted(self.live):
            assert end <= offset
            end = offset + self.live[offset]
        assert end <= 16 * PAGE


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_place_freed_last_is_used_first(allocator: Allocator) -> None:
    first, second, third = (allocator.allocate(PAGE) for _ in range(3))
    for offset in (second, first):
        assert offset is not None
        allocator.free(offset)

    assert [first, second] == [allocator.allocate(PAGE) for _ in range(2)]
    assert third is not None


def test_much_larger_place_is_kept_for_the_large_batch(allocator: Allocator) -> None:
    keep, large = allocator.allocate(PAGE), allocator.allocate(10 * PAGE)
    assert keep is not None
    assert large is not None
    allocator.free(large)

    assert large != allocator.allocate(100)
    assert large == allocator.allocate(10 * PAGE)


def test_empty_arena_is_cut_anew(allocator: Allocator) -> None:
    offsets = [allocator.allocate(PAGE) for _ in range(16)]
    assert allocator.allocate(PAGE) is None
    for offset in offsets:
        assert offset is not None
        allocator.free(offset)

    assert 0 == allocator.allocate(16 * PAGE)


def test_what_is_too_large_gets_no_place(allocator: Allocator) -> None:
    assert allocator.allocate(16 * PAGE + 1) is None
    assert 0 == allocator.allocate(16 * PAGE)
    assert allocator.allocate(64) is None


@pytest.mark.parametrize(("asked", "given"), [(1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE)])
def test_arena_has_whole_pages(asked: int, given: int) -> None:
    arena = Arena(asked)

    assert given == len(map_arena(arena.path))
    arena.close()


def test_two_maps_of_an_arena_are_the_same_memory() -> None:
    arena = Arena(PAGE)
    one, other = map_arena(arena.path), map_arena(arena.path)

    one[:5] = b"hello"

    assert b"hello" == other[:5]
    arena.close()


def test_map_outlives_its_maker() -> None:
    arena = Arena(PAGE)
    memory = map_arena(arena.path)
    encoded = encode({"x": np.arange(10)})

    arena.close()
    encoded.write_to(memory)

    found = decode(np.ndarray(encoded.size_bytes, np.uint8, memory))
    np.testing.assert_array_equal(np.arange(10), found["x"])


def test_closed_arena_cannot_be_mapped_and_closing_twice_is_fine() -> None:
    arena = Arena(PAGE)
    arena.close()
    arena.close()

    with pytest.raises(OSError):
        map_arena(arena.path)


def test_another_process_maps_an_arena_by_its_path() -> None:
    arena = Arena(PAGE)
    code = (
        "import sys; from tadka.stream.arena import map_arena; map_arena(sys.argv[1])[:2] = b'ok'"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    subprocess.run([sys.executable, "-c", code, arena.path], check=True, env=environment)

    assert b"ok" == map_arena(arena.path)[:2]
    arena.close()


def test_arena_has_no_name_in_shared_memory() -> None:
    shared = Path("/dev/shm")
    before = set(shared.iterdir()) if shared.exists() else set()
    arena = Arena(64 * PAGE)

    assert not any("tadka" in path.name for path in set(shared.iterdir()) - before)
    arena.close()


class Watch:
    """A batch in an arena, under watch."""

    def __init__(self) -> None:
        self.gone: list[Any] = []
        self.lifetimes = Lifetimes(self.gone.append)

    def open(self, batch: dict[str, Any], ticket: Any = "ticket") -> dict[str, Any]:
        encoded = encode(batch)
        arena = Arena(encoded.size_bytes)
        memory = map_arena(arena.path)
        arena.close()
        encoded.write_to(memory)
        place = np.ndarray(encoded.size_bytes, np.uint8, memory, 0)
        self.lifetimes.watch(place, ticket)
        found: dict[str, Any] = decode(place)
        return found


def test_memory_is_given_back_when_the_batch_is_gone() -> None:
    watch = Watch()
    batch = watch.open({"x": np.arange(10), "y": np.ones(10)})
    assert ([], 1) == (watch.gone, len(watch.lifetimes))

    del batch

    assert (["ticket"], 0) == (watch.gone, len(watch.lifetimes))


def torch_tensor(column: Any) -> Any:
    return pytest.importorskip("torch").from_numpy(column)


@pytest.mark.parametrize(
    "made",
    [
        lambda column: column,
        lambda column: column[2:4],
        lambda column: column[::2][::-1].reshape(1, -1),
        lambda column: column.view(np.uint8),
        memoryview,
        torch_tensor,
        lambda column: torch_tensor(column)[3:],
        lambda column: torch_tensor(column[3:]).view(-1, 1),
    ],
)
def test_whatever_looks_into_the_memory_keeps_it(made: Any) -> None:
    watch = Watch()
    alias = made(watch.open({"x": np.arange(10), "y": np.ones(10)})["x"])
    gc.collect()
    assert [] == watch.gone

    del alias
    gc.collect()

    assert ["ticket"] == watch.gone


@pytest.mark.parametrize("made", [np.copy, lambda column: column + 1, lambda c: c[[1, 2]]])
def test_copy_does_not_keep_the_memory(made: Any) -> None:
    watch = Watch()
    copied = made(watch.open({"x": np.arange(10)})["x"])

    assert ["ticket"] == watch.gone
    assert len(copied) > 0


def test_arrow_column_keeps_the_memory() -> None:
    pa = pytest.importorskip("pyarrow")
    watch = Watch()
    text = watch.open({"x": np.arange(3), "s": pa.array(["a", "b", "c"])})["s"][1:]
    assert [] == watch.gone

    del text
    gc.collect()

    assert ["ticket"] == watch.gone


def test_each_batch_is_told_by_its_own_ticket() -> None:
    watch = Watch()
    batches = {ticket: watch.open({"x": np.arange(3)}, ticket) for ticket in range(4)}
    for ticket in (2, 0, 3, 1):
        del batches[ticket]

    assert [2, 0, 3, 1] == watch.gone
