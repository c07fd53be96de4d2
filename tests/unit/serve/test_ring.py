import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tadka.core.error import ConfigError, DataError
from tadka.serve.log.ring import DEFAULT_CAPACITY, SERVED, SHADOW, LogRow, Ring
from tests.conftest import find_program

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
PATTERN = bytes(range(256)) * 3

# Puts rows 0, 1, 2... with messages of 0 to 299 bytes into ring 1; tries again where asked to.
PRODUCER = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ring.h"

int main(int num_arguments, char **arguments) {
    struct stat found;
    int descriptor = atoi(arguments[1]), insists = atoi(arguments[3]);
    uint32_t num_rows = (uint32_t)atoi(arguments[2]);
    char pattern[768], id[16];
    for (int i = 0; i < 768; i++) pattern[i] = (char)i;
    if (num_arguments != 4 || fstat(descriptor, &found)) return 1;
    uint64_t size = (uint64_t)found.st_size;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED || td_ring_open(memory, size, 2)) return 2;
    td_ring *ring = td_ring_open(memory, size, 1);
    if (!ring) return 3;
    for (uint32_t row = 0; row < num_rows; row++) {
        uint32_t id_size = (uint32_t)sprintf(id, "r%u", row);
        const char *message = pattern + (row & 255);
        uint32_t size = row * 2654435761u % 300;
        while (!td_ring_put(ring, 1000 + (int64_t)row, row & 1, row, row / 4.0, "ctr", 3,
                            id, id_size, message, size) && insists)
            usleep(100);
    }
    return 0;
}
"""

# Takes rows of ring 1 until it has the last one; says each on standard output, then commits.
CONSUMER = """
import os, sys, time
from tadka.serve.log.ring import Ring
descriptor, last = map(int, sys.argv[1:])
ring, version = Ring(descriptor, 1), -1
while version != last:
    if not (rows := ring.take(1000)):
        time.sleep(0.001)
        continue
    version = rows[-1].version
    os.write(1, b"".join(b"%d\\n" % row.version for row in rows))
    ring.commit()
"""


def number_row(row: int) -> LogRow:
    start = row & 255
    message = PATTERN[start : start + row * 2654435761 % 2**32 % 300]
    return LogRow(1000 + row, row & 1, row, row / 4.0, "ctr", f"r{row}", message)


def small_ring(capacity: int = 4096) -> Ring:
    descriptor = Ring.create(1, capacity)
    try:
        return Ring(descriptor)
    finally:
        os.close(descriptor)


def corrupt(ring: Ring, at: int, data: bytes) -> None:
    ring.memory[at : at + len(data)] = data


@pytest.fixture
def rings() -> Iterator[int]:
    descriptor = Ring.create(2, 1 << 16)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(scope="module")
def producer(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> str:
    folder = tmp_path_factory.mktemp("producer")
    source, program = folder / "producer.c", folder / "producer"
    source.write_text(PRODUCER, encoding="utf-8")
    compiler = find_program("clang", "gcc", "cc")
    assert compiler is not None, "mark the test with needs_compiler"
    options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    engine = repository / "src/tadka/serve/engine"
    subprocess.run([compiler, *options, f"-I{engine}", source, "-o", program], check=True)
    return str(program)


def test_rows_come_back_as_they_were_put() -> None:
    ring = small_ring()
    rows = [
        LogRow(-1, SERVED, 2**32 - 1, 0.1, "ctr", "a" * 128, b"\0\1\2"),
        LogRow(2**62, SHADOW, 0, float("inf"), "", "", b""),
        LogRow(0, SERVED, 7, 1.0, "modèle", "日本", bytes(500)),
    ]

    assert all(ring.put(*row) for row in rows)

    assert rows == ring.take(10)
    assert [] == ring.take(10)
    assert (3, 0, 0) == (ring.written, ring.dropped, ring.damaged)


def test_no_more_rows_are_taken_than_asked_for() -> None:
    ring = small_ring()
    for row in range(5):
        ring.put(*number_row(row))

    assert [0, 1] == [row.version for row in ring.take(2)]
    assert [2, 3, 4] == [row.version for row in ring.take(9)]


def test_a_full_ring_drops_and_counts_until_there_is_room() -> None:
    ring = small_ring()
    num_put = 0
    while ring.put(0, SERVED, num_put, 0.5, "ctr", "id", bytes(100)):
        num_put += 1

    assert not ring.put(0, SERVED, 99, 0.5, "ctr", "id", bytes(100))
    assert list(range(num_put)) == [row.version for row in ring.take(1000)]
    assert not ring.put(0, SERVED, 99, 0.5, "ctr", "id", bytes(100))
    ring.commit()
    assert ring.put(0, SERVED, 100, 0.5, "ctr", "id", bytes(100))
    assert [100] == [row.version for row in ring.take(1000)]
    assert (num_put + 1, 3) == (ring.written, ring.dropped)


def test_rows_go_around_the_end_at_every_offset() -> None:
    ring = small_ring()
    for row in range(3000):
        assert ring.put(*number_row(row))
        assert [number_row(row)] == ring.take(10)
        ring.commit()


def test_a_row_of_half_the_ring_always_fits_and_a_longer_one_never() -> None:
    ring = small_ring()
    for size in (1, 777, 2048 - 40):
        assert ring.put(0, SERVED, 1, 0.5, "", "", bytes(size))
        assert 1 == len(ring.take(10))
        ring.commit()
    for size in (2048, 5000, 10**6):
        assert not ring.put(0, SERVED, 1, 0.5, "", "", bytes(size))
    assert not small_ring(1 << 20).put(0, SERVED, 1, 0.5, "", "i" * 2**16, b"")
    assert 3 == ring.dropped


def test_a_new_consumer_starts_behind_what_was_committed(rings: int) -> None:
    ring = Ring(rings)
    for row in range(6):
        ring.put(*number_row(row))
    first = Ring(rings)
    first.take(2)
    first.commit()
    first.take(2)

    assert [2, 3, 4, 5] == [row.version for row in Ring(rings).take(10)]


def test_a_new_consumer_skips_what_another_made_safe(rings: int) -> None:
    ring = Ring(rings)
    for row in range(6):
        ring.put(*number_row(row))
    first, second = Ring(rings), Ring(rings)
    first.take(4)

    second.commit(first.taken)

    assert [4, 5] == [row.version for row in second.take(10)]
    for nonsense in (0, second.head + 8, 2**63):
        second.commit(nonsense)
    assert [] == second.take(10)


def test_rings_of_one_memory_are_apart(rings: int) -> None:
    first, second = Ring(rings, 0), Ring(rings, 1)
    first.put(*number_row(1))

    assert [] == second.take(10)
    assert 1 == len(first.take(10))
    assert first.identity != second.identity


@pytest.mark.parametrize("capacity", [0, 4095, 5000, 1 << 31, -4096])
def test_a_capacity_that_cannot_be_is_refused(capacity: int) -> None:
    with pytest.raises(ConfigError, match=f"ring of {capacity} bytes .* power of two"):
        Ring.create(1, capacity)


def test_memory_that_holds_no_such_ring_is_refused(rings: int) -> None:
    with pytest.raises(DataError, match="holds no log ring 2"):
        Ring(rings, 2)
    with pytest.raises(DataError, match="holds no log ring -1"):
        Ring(rings, -1)
    empty = os.memfd_create("empty")
    with pytest.raises(DataError, match="0 bytes holds no log ring 0"):
        Ring(empty)
    os.close(empty)
    os.pwrite(rings, b"x", 0)
    with pytest.raises(DataError, match="holds no log ring 0"):
        Ring(rings)


@pytest.mark.parametrize(
    ("at", "data"),
    [
        (0, b"\0\0\0\0"),  # the record has no size
        (0, b"\4\0\0\0"),  # it is shorter than its own head
        (0, b"\x11\0\0\0"),  # it does not end at a multiple of 8
        (0, b"\xf8\xff\xff\x7f"),  # it is longer than the ring
        (0, b"\x10\0\0\0"),  # a row that is too short for one
        (4, b"\0\0\0\0"),  # it is of no kind
        (28, b"\xff\xff\xff\xff"),  # its message is longer than itself
        (32, b"\xff\xff"),  # its model is
        (34, b"\xff\xff"),  # its request id is
    ],
)
def test_a_damaged_record_is_counted_and_the_consumer_goes_on_behind_it(
    at: int, data: bytes
) -> None:
    ring = small_ring()
    ring.put(*number_row(0))
    where = 4096 + ring.head + at
    ring.put(*number_row(1))
    ring.put(*number_row(2))
    corrupt(ring, where, data)

    assert [number_row(0)] == ring.take(10)
    assert 1 == ring.damaged
    ring.commit()
    ring.put(*number_row(3))
    assert [number_row(3)] == ring.take(10)


def test_no_content_of_the_memory_breaks_consumer_or_producer() -> None:
    for _ in range(300):
        ring = small_ring()
        ring.put(*number_row(1))
        corrupt(ring, 64, secrets.token_bytes(8))  # head
        corrupt(ring, 128, secrets.token_bytes(8))  # tail
        corrupt(ring, 4096, secrets.token_bytes(4096))
        ring.put(*number_row(1))
        for _ in range(3):
            ring.take(1000)
            ring.commit()
            ring.put(*number_row(2))
        assert [number_row(2)] == ring.take(1000)


@pytest.mark.needs_compiler
def test_a_million_rows_of_the_compiled_producer_arrive_in_order(rings: int, producer: str) -> None:
    num_rows = 1_000_000
    ring, expected = Ring(rings, 1), 0
    command = [producer, str(rings), str(num_rows), "1"]
    with subprocess.Popen(command, pass_fds=[rings]) as process:
        while expected < num_rows:
            for row in ring.take(500):
                assert number_row(expected) == row
                expected += 1
            ring.commit()
        assert 0 == process.wait()

    assert [] == ring.take(1)
    assert (num_rows, 0) == (ring.written, ring.damaged)


@pytest.mark.needs_compiler
def test_what_the_compiled_producer_cannot_put_is_dropped_and_counted(
    rings: int, producer: str
) -> None:
    num_rows = 200_000
    ring, seen, last = Ring(rings, 1), 0, -1
    command = [producer, str(rings), str(num_rows), "0"]
    with subprocess.Popen(command, pass_fds=[rings]) as process:
        is_over = False
        while not is_over:
            is_over = process.poll() is not None
            while rows := ring.take(500):
                for row in rows:
                    assert row.version > last
                    assert number_row(row.version) == row
                    last = row.version
                seen += len(rows)
                ring.commit()
        assert 0 == process.returncode

    assert (seen, num_rows - seen, 0) == (ring.written, ring.dropped, ring.damaged)
    assert ring.dropped > 0


@pytest.mark.needs_compiler
def test_no_row_is_lost_when_the_consumer_is_killed(rings: int, producer: str) -> None:
    num_rows = 60_000
    consume = [sys.executable, "-c", CONSUMER, str(rings), str(num_rows - 1)]

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(consume, stdout=subprocess.PIPE, pass_fds=[rings], env=ENVIRONMENT)

    seen: list[int] = []
    with subprocess.Popen([producer, str(rings), str(num_rows), "1"], pass_fds=[rings]) as process:
        for _ in range(3):
            with start() as consumer:
                assert consumer.stdout is not None
                before = [int(consumer.stdout.readline()) for _ in range(9000)]
                consumer.send_signal(signal.SIGKILL)
                rest = consumer.stdout.read().split(b"\n")
                seen += before + [int(line) for line in rest if line]
        with start() as consumer:
            assert consumer.stdout is not None
            seen += map(int, consumer.stdout.read().split())
        assert 0 == process.wait()

    assert set(range(num_rows)) == set(seen)
    # Twice come at most the rows that were said and not yet committed, a thousand each time.
    assert len(seen) <= num_rows + 3 * 1000


def test_the_default_ring_takes_memory_only_as_it_is_filled() -> None:
    descriptor = Ring.create(4)

    assert os.fstat(descriptor).st_size > 4 * DEFAULT_CAPACITY
    assert os.fstat(descriptor).st_blocks * 512 < 1 << 20
    os.close(descriptor)
