import errno
import json
import os
import random
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.feather
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.features import Features
from tadka.serve.board import Board
from tadka.serve.config import ServeConfig
from tadka.serve.log.part import Part
from tadka.serve.log.ring import SERVED, SHADOW, Ring
from tadka.serve.log.writer import LogWriter, check_log_directory, read_log
from tadka.serve.order import Order
from tadka.serve.process import DRAIN, READY, Process
from tadka.storage import scan

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Visit(Features, size=1 << 10):
    time: datetime
    user: str
    shop: str | None
    price: float
    count: int
    is_new: bool
    score: float | None
    tags: list[str]
    seen: list[datetime]

    @property
    def hour(self) -> int:
        return self.time.hour

    @property
    def user_shop(self) -> str | None:
        return None if self.shop is None else f"{self.user}_{self.shop}"

    @property
    def share(self) -> float:
        return self.price / self.count


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


def visit(number: int) -> Visit:
    return Visit(
        time=datetime(2024, 5, 1, number % 24, 3, 4, 5 + number, UTC),
        user=f"ü{number % 7}",
        shop=None if number % 5 == 0 else "",
        price=number / 3,
        count=-(2**63) + 1 if number % 9 == 8 else number,
        is_new=number % 2 == 0,
        score=None if number % 3 else -0.5,
        tags=["a", "日本"][: number % 3],
        seen=[datetime(1969, 1, 1, tzinfo=UTC)] * (number % 2),
    )


def put(ring: Ring, *numbers: int, model: str = "ctr", role: int = SERVED) -> None:
    for number in numbers:
        message = visit(number).to_message()
        time_us = 1_714_000_000_000_000 + number
        assert ring.put(time_us, role, number, number / 8, model, f"r{number}", message)


def versions(folder: Path) -> list[int]:
    found: list[int] = read_log(folder)["log.version"].to_pylist()
    return found


def names(folder: Path, pattern: str = "*") -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


@pytest.fixture
def rings() -> list[Ring]:
    descriptor = Ring.create(2, 1 << 20)
    try:
        return [Ring(descriptor, 0), Ring(descriptor, 1)]
    finally:
        os.close(descriptor)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "store" / "log"


@pytest.fixture
def start(rings: list[Ring], log: Path, clock: Clock) -> Callable[..., LogWriter]:
    def make(**settings: Any) -> LogWriter:
        return LogWriter(rings, log, Visit, clock=clock, **settings)

    return make


Start = Callable[..., LogWriter]


def test_each_score_is_a_row_with_what_was_asked_and_answered(
    rings: list[Ring], log: Path, start: Start
) -> None:
    put(rings[1], 3)
    put(rings[0], 4, model="cvr", role=SHADOW)
    writer = start()

    assert 2 == writer.step()
    assert 0 == writer.step()
    writer.close()

    rows = read_log(log).to_pylist()
    assert "cvr" == rows[0]["log.model"]
    assert {
        "log.request_id": "r3",
        "log.time": datetime.fromtimestamp(1_714_000_000, UTC).replace(microsecond=3),
        "log.model": "ctr",
        "log.version": 3,
        "log.role": "served",
        "log.score": 0.375,
        "log.message": visit(3).to_message(),
        "time": datetime(2024, 5, 1, 3, 3, 4, 8, UTC),
        "user": "ü3",
        "shop": "",
        "price": 1.0,
        "count": 3,
        "is_new": False,
        "score": -0.5,
        "tags": [],
        "seen": [datetime(1969, 1, 1, tzinfo=UTC)],
        "feature.hour": "3",
        "feature.user_shop": "ü3_",
        "feature.share": str(1.0 / 3),
    } == rows[1]
    assert "shadow" == rows[0]["log.role"]


def test_the_log_is_training_data_with_the_features_that_were_scored(
    rings: list[Ring], log: Path, start: Start
) -> None:
    numbers = range(1, 90)
    put(rings[0], *numbers)
    start().close()

    logged = Visit.encode(read_log(log))

    expected = Visit.encode([visit(number) for number in numbers])
    for part in ("starts", "slots", "values", "features"):
        np.testing.assert_array_equal(getattr(expected, part), getattr(logged, part))


def test_a_message_that_cannot_be_read_keeps_its_bytes_and_has_no_fields(
    rings: list[Ring], log: Path, start: Start
) -> None:
    rings[0].put(0, SERVED, 1, 0.5, "ctr", "r", b"\xff\xff")
    put(rings[0], 2)
    start().close()

    broken, whole = read_log(log).to_pylist()
    assert b"\xff\xff" == broken["log.message"]
    assert {None} == {broken[name] for name in broken if not name.startswith("log.")}
    assert "ü2" == whole["user"]


def test_a_property_that_fails_is_missing_and_nothing_else_is(
    rings: list[Ring], log: Path, start: Start
) -> None:
    put(rings[0], 0)  # a division by zero
    start().close()

    (row,) = read_log(log).to_pylist()
    assert row["feature.share"] is None
    assert "0" == row["feature.hour"]
    assert "ü0" == row["user"]


def test_a_class_that_refuses_a_row_leaves_its_properties_out(
    rings: list[Ring], log: Path, clock: Clock
) -> None:
    class Strict(Features):
        user: str

        @property
        def shout(self) -> str:
            return self.user.upper()

        def __post_init__(self) -> None:
            if self.user == "no":
                raise RuntimeError("no")

    for user in (b"no", b"yes"):
        rings[0].put(0, SERVED, 1, 0.5, "ctr", "r", bytes([10, len(user)]) + user)
    LogWriter(rings, log, Strict, clock=clock).close()

    refused, taken = read_log(log, ["user", "feature.shout"]).to_pylist()
    assert {"user": "no", "feature.shout": None} == refused
    assert {"user": "yes", "feature.shout": "YES"} == taken


def test_a_text_that_is_no_utf_8_is_written_with_escapes(
    rings: list[Ring], log: Path, clock: Clock
) -> None:
    class Cut(Features):
        user: str

        @property
        def half(self) -> str:
            return self.user + chr(0xD83D)  # one of the two that stand for an emoji

        @property
        def whole(self) -> str:
            return f"{self.user}!"

    user = "üb".encode()
    rings[0].put(0, SERVED, 1, 0.5, "ctr", "r", bytes([10, len(user)]) + user)
    LogWriter(rings, log, Cut, clock=clock).close()

    (row,) = read_log(log, ["feature.half", "feature.whole"]).to_pylist()
    assert {"feature.half": "üb\\ud83d", "feature.whole": "üb!"} == row
    assert 0 == rings[0].lost


def test_rows_at_which_anything_fails_are_lost_once_and_the_next_are_written(
    rings: list[Ring],
    log: Path,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("nobody thought of it")

    writer = start()
    put(rings[0], 1)
    with monkeypatch.context() as patch:
        patch.setattr(writer._table, "batch", fail)
        assert 1 == writer.step()
    assert rings[0].head == rings[0].tail
    put(rings[0], 2)
    writer.close()

    assert [2] == versions(log)
    assert (1, 0) == (rings[0].lost, rings[1].lost)
    (said,) = caplog.messages
    assert "nobody thought of it" in said
    assert "1 rows are lost" in said


def test_a_batch_that_fails_leaves_the_part_as_it_was(log: Path) -> None:
    schema = pyarrow.schema([("a", pyarrow.int64())])
    batch = pyarrow.record_batch([pyarrow.array([7])], schema=schema)
    broken: Any = {"ring": object()}
    part = Part.create(log, schema, 0.0)

    for position in (1, 2):
        with pytest.raises(TypeError):
            part.append(batch, broken)
        part.append(batch, {"ring": position})

    assert {"ring": 2} == part.positions()
    assert 2 == part.publish()


def test_a_file_is_published_after_its_time(
    rings: list[Ring], log: Path, start: Start, clock: Clock
) -> None:
    writer = start(rotate_s=60)
    put(rings[0], 1)
    writer.step()
    clock.now_s += 59
    put(rings[0], 2)
    writer.step()
    assert [] == versions(log)

    clock.now_s += 1
    writer.step()

    assert [1, 2] == versions(log)
    assert [f"20231114T221320-{os.getpid()}-000.arrow"] == names(log)
    put(rings[0], 3)
    writer.step()
    clock.now_s -= 3600  # set back
    writer.step()
    assert [1, 2, 3] == versions(log)


def test_a_file_is_published_when_it_is_long(rings: list[Ring], log: Path, start: Start) -> None:
    writer = start(rotate_bytes=20_000)
    for number in range(1, 200):
        put(rings[0], number)
        writer.step()

    assert len(names(log, "*.arrow")) > 2
    published = versions(log)
    assert list(range(1, len(published) + 1)) == published
    writer.close()
    assert list(range(1, 200)) == versions(log)
    assert names(log) == names(log, "*.arrow")


def test_a_published_file_is_an_arrow_file_of_few_batches(
    rings: list[Ring], log: Path, start: Start
) -> None:
    writer = start()
    for number in range(1, 50):
        put(rings[0], number)
        writer.step()
    writer.close()

    (file,) = log.iterdir()
    assert [49] == scan(file).piece_rows
    assert read_log(log).equals(pyarrow.feather.read_table(file))


def test_nothing_is_written_where_nothing_was_asked(log: Path, start: Start) -> None:
    writer = start()
    writer.step()
    writer.close()

    assert not log.exists()


def test_the_writer_runs_until_it_is_told_to_end_and_writes_what_is_left(
    rings: list[Ring], log: Path, start: Start
) -> None:
    for end in ("drain", "close", "other"):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with mine, theirs:
            writer = threading.Thread(target=start().run, args=(theirs,))
            writer.start()
            put(rings[1], *range(1, 400))
            if end == "other":
                mine.send(b"?")
            mine.send(DRAIN) if end != "close" else mine.close()
            writer.join()

    assert list(range(1, 400)) * 3 == versions(log)


def test_rows_that_are_written_but_not_committed_come_once(
    rings: list[Ring], log: Path, start: Start
) -> None:
    dead = start()
    put(rings[0], 1, 2)
    dead.step()
    put(rings[0], 3, 4)
    put(rings[1], 5)
    taken = [ring.take(10) for ring in rings]
    dead._write([row for found in taken for row in found], taken)
    assert dead._part is not None
    dead._part.close()  # what the kernel does when it dies
    put(rings[0], 6)
    for ring in rings:
        ring._taken = ring.tail  # a new process

    start().close()

    assert [1, 2, 3, 4, 5, 6] == versions(log)
    assert names(log) == names(log, "*.arrow")


def test_positions_of_another_servers_rings_are_not_ours(
    rings: list[Ring], log: Path, start: Start
) -> None:
    dead = start()
    put(rings[0], 1, 2)
    dead.step()
    assert dead._part is not None
    dead._part.close()
    descriptor = Ring.create(2, 1 << 20)
    others = [Ring(descriptor, 0), Ring(descriptor, 1)]
    os.close(descriptor)
    put(others[0], 3, 4)

    LogWriter(others, log, Visit).close()

    assert [1, 2, 3, 4] == versions(log)


def test_of_a_torn_part_the_whole_batches_are_published(
    rings: list[Ring], log: Path, start: Start
) -> None:
    ends = []
    dead = start()
    for number in (1, 2, 3):
        put(rings[0], number)
        dead.step()
        assert dead._part is not None
        ends.append(dead._part.num_bytes)
    assert dead._part is not None
    dead._part.close()
    (part,) = log.glob("*.part")
    whole = part.read_bytes()
    part.unlink()

    for size in range(0, len(whole) + 1, 97):
        part.write_bytes(whole[:size])
        start().close()
        num_whole = sum(end <= size for end in ends)
        assert [1, 2, 3][:num_whole] == versions(log)
        assert names(log) == names(log, "*.arrow")
        for file in log.iterdir():
            file.unlink()


def test_a_writer_killed_before_it_removed_the_part_does_not_publish_it_twice(
    rings: list[Ring], log: Path, start: Start
) -> None:
    dead = start()
    put(rings[0], 1)
    dead.step()
    (part,) = log.glob("*.part")
    content = part.read_bytes()
    dead.close()
    part.write_bytes(content)
    (log / f".{part.with_suffix('').name}.1-00000000.tmp").write_bytes(b"half")

    start()

    assert [1] == versions(log)
    assert [part.with_suffix("").name] == names(log)


def test_the_part_of_a_living_writer_is_left_alone(
    rings: list[Ring], log: Path, start: Start
) -> None:
    living = start()
    put(rings[0], 1)
    living.step()

    start().close()

    assert [] == versions(log)
    put(rings[0], 2)
    living.close()
    assert [1, 2] == versions(log)


# Writes rows of the rings it inherits until it is killed, or the other end of its input closes.
WRITER = """
import socket, sys
from tadka.serve.log.writer import LogWriter
from tadka.serve.log.ring import Ring
from tests.unit.serve.test_log import Visit
rings = [Ring(int(sys.argv[1]), index) for index in range(2)]
LogWriter(rings, sys.argv[2], Visit, rotate_bytes=200_000).run(socket.socket(fileno=0))
"""


def test_no_row_is_lost_or_twice_when_the_writer_is_killed_at_any_moment(
    log: Path, repository: Path
) -> None:
    num_rows, moments = 12_000, random.Random(1)
    descriptor = Ring.create(2, 1 << 16)
    rings = [Ring(descriptor, 0), Ring(descriptor, 1)]
    command = [sys.executable, "-c", WRITER, str(descriptor), str(log)]
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stdin = theirs.fileno()

    def begin() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command, stdin=stdin, pass_fds=[descriptor], env=ENVIRONMENT, cwd=repository
        )

    messages = [visit(number).to_message() for number in range(24)]
    next_kill, num_kills, number = 1000, 0, 0
    writer = begin()
    while number < num_rows:
        row = (number, SERVED, number, 0.5, "ctr", f"r{number}", messages[number % 24])
        if not rings[number % 2].put(*row):
            assert writer.poll() is None
            select.select([], [], [], 0.0005)  # the writer makes room
            continue
        number += 1
        if number >= next_kill and num_kills < 5:
            select.select([], [], [], moments.random() / 50)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            num_kills, next_kill = num_kills + 1, next_kill + moments.randrange(800, 2000)
            writer = begin()
    mine.send(DRAIN)
    assert 0 == writer.wait()
    mine.close()
    theirs.close()
    os.close(descriptor)

    assert list(range(num_rows)) == sorted(versions(log))
    assert 5 == num_kills
    assert names(log) == names(log, "*.arrow")


# On a disk of 1 MB: fills it up, makes room, and goes on.
FULL_DISK = """
import json, logging, os, sys
from pathlib import Path
from tadka.serve.log.writer import LogWriter, read_log
from tadka.serve.log.ring import SERVED, Ring
from tests.unit.serve.test_log import Clock, Visit, visit

said = []
logging.basicConfig(level=logging.INFO, handlers=[handler := logging.Handler()])
handler.emit = lambda record: said.append(record.levelname)
folder, clock, ring = Path(sys.argv[1], "log"), Clock(), Ring(Ring.create(1))
writer = LogWriter([ring], folder, Visit, rotate_s=60, clock=clock)
number = 0

def feed(num_rows):
    global number
    for number in range(number + 1, number + 1 + num_rows):
        message = visit(number % 24).to_message() + bytes([122, 200, 3]) + bytes(456)
        ring.put(0, SERVED, number, 0.5, "m", "r", message)
        if number % 40 == 0:
            writer.step()
    writer.step()

def report():
    found = read_log(folder)["log.version"].to_pylist()
    parts = sum(path.stat().st_size > 0 for path in folder.glob("*.part"))
    others = [path.name for path in folder.iterdir() if path.suffix not in (".arrow", ".part")]
    print(json.dumps([number, found, ring.lost, parts, others, said]))
    said.clear()

ballast = Path(sys.argv[1], "ballast")
ballast.write_bytes(bytes(700_000))
feed(100)
clock.now_s += 60
writer.step()
report()  # all is well
feed(2000)
report()  # rows are lost
clock.now_s += 60
feed(100)
report()  # the part cannot be published either
ballast.unlink()
clock.now_s += 60
feed(100)
clock.now_s += 60
writer.step()
report()  # there is room again
"""


@pytest.mark.needs_root
def test_on_a_full_disk_rows_are_counted_and_nothing_half_written_is_published(
    tmp_path: Path, repository: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    program = shlex.join([sys.executable, "-c", FULL_DISK, str(disk)])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c",
         f"mount -t tmpfs -o size=1m none {shlex.quote(str(disk))} && exec {program}"],
        capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd=repository,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    well, full, stuck, again = map(json.loads, done.stdout.splitlines())
    assert [100, list(range(1, 101)), 0, 0, [], []] == well
    put, published, lost, parts, others, said = full
    assert (2100, list(range(1, 101)), 1, []) == (put, published, parts, others)
    assert 0 < lost < 2000
    assert ["WARNING"] == said
    put, published, lost, parts, others, said = stuck
    assert list(range(1, 101)) == published
    assert 1 == parts
    assert [] == others
    put, published, lost, parts, others, said = again
    assert 2300 == put
    assert 2300 == len(set(published)) + lost == len(published) + lost
    assert published == sorted(published)
    assert (0, [], 2300) == (parts, others, published[-1])


def test_a_folder_that_goes_away_and_comes_back_costs_the_rows_between(
    rings: list[Ring],
    log: Path,
    start: Start,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log.parent.write_text("in the way", encoding="utf-8")
    board = Board(2)
    writer = start(board=board)
    for number in (1, 2):
        put(rings[0], number)
        writer.step()
    log.parent.unlink()
    put(rings[0], 3)
    writer.step()
    writer.close()

    assert [3] == versions(log)
    assert (2, 0) == (rings[0].lost, rings[1].lost)
    assert [2, 0] == board.workers["log_lost"].tolist()
    (said,) = caplog.messages
    assert f"The request log {str(log)!r} cannot be written: " in said
    assert "1 rows are lost; the server goes on" in said


def test_a_part_that_cannot_be_published_is_tried_again_and_left_for_the_next_writer(
    rings: list[Ring], log: Path, start: Start, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start(rotate_s=60)
    put(rings[0], 1)
    writer.step()
    (part,) = log.glob("*.part")
    aside = part.with_suffix("")
    clock.now_s += 60
    moved = log.rename(log.with_name("moved"))
    writer.step()
    moved.rename(log)
    assert f"The rows stay in {part.name!r} until it can." in caplog.text
    assert not aside.exists()
    clock.now_s += 4
    writer.step()
    assert not aside.exists()
    clock.now_s += 2
    writer.step()

    assert [1] == versions(log)
    put(rings[0], 2)
    writer.step()
    log.rename(moved)
    writer.close()
    moved.rename(log)
    start()
    assert [1, 2] == versions(log)


def no_descriptors(*_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_part_that_cannot_be_opened_is_not_taken_for_an_empty_one(
    rings: list[Ring],
    log: Path,
    start: Start,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer = start(rotate_s=60)
    put(rings[0], 1)
    writer.step()
    clock.now_s += 60
    with monkeypatch.context() as patch:
        patch.setattr(pyarrow, "memory_map", no_descriptors)
        writer.step()
    assert "Too many open files. The rows stay in" in caplog.text
    assert 1 == len(names(log, "*.part"))
    assert [] == versions(log)
    clock.now_s += 6
    writer.step()

    assert [1] == versions(log)
    assert names(log) == names(log, "*.arrow")


def test_a_left_part_that_cannot_be_opened_does_not_keep_a_writer_from_its_work(
    rings: list[Ring],
    log: Path,
    start: Start,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = start()
    put(rings[0], 1)
    dead.step()
    assert dead._part is not None
    dead._part.close()
    with monkeypatch.context() as patch:
        patch.setattr(pyarrow, "memory_map", no_descriptors)
        writer = start()
    assert 1 == len(names(log, "*.part"))
    clock.now_s += 6
    put(rings[0], 2)
    writer.step()
    assert [1] == versions(log)
    writer.close()

    assert [1, 2] == versions(log)


def test_a_part_that_somebody_deleted_is_forgotten(
    rings: list[Ring], log: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start()
    put(rings[0], 1)
    writer.step()
    (part,) = log.glob("*.part")
    part.unlink()
    writer.close()

    assert [] == names(log)
    assert [] == caplog.messages


def test_a_folder_for_the_log_is_made_and_tried(tmp_path: Path) -> None:
    check_log_directory(tmp_path / "a" / "b")
    assert [] == list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"cannot be written to '.*file'.* Give a folder"):
        check_log_directory(tmp_path / "file")
    with pytest.raises(ConfigError, match=r"'/proc/self/log'"):
        check_log_directory("/proc/self/log")
    with pytest.raises(ConfigError, match=r"'/proc/self'"):
        check_log_directory("/proc/self")


def test_a_log_is_read_with_the_columns_wanted(rings: list[Ring], log: Path, start: Start) -> None:
    put(rings[0], 1, 2)
    start().close()

    table = read_log(log, ["user", "log.score"])

    assert {"user": ["ü1", "ü2"], "log.score": [0.125, 0.25]} == table.to_pydict()
    with pytest.raises(DataError, match=r"no column 'nope'; it has: .*user"):
        read_log(log, ["nope"])


def test_a_column_that_older_files_lack_is_null_there(
    rings: list[Ring], log: Path, start: Start, clock: Clock
) -> None:
    class Later(Visit):
        page: str

    put(rings[0], 1)
    start().close()
    clock.now_s += 1
    put(rings[0], 2)
    LogWriter(rings, log, Later, clock=clock).close()

    assert [None, ""] == read_log(log)["page"].to_pylist()
    assert [None, ""] == read_log(log, ["page"])["page"].to_pylist()


def test_files_whose_types_do_not_go_together_are_named(
    rings: list[Ring], log: Path, start: Start, clock: Clock
) -> None:
    class Other(Features):
        user: list[int]

    put(rings[0], 1)
    start().close()
    clock.now_s += 1
    rings[0].put(0, SERVED, 1, 0.5, "ctr", "r", b"")
    LogWriter(rings, log, Other, clock=clock).close()

    with pytest.raises(DataError, match="do not go together"):
        read_log(log)
    assert 2 == read_log(log, ["log.score"]).num_rows


def test_a_log_without_files_has_no_rows_and_one_without_folder_is_named(tmp_path: Path) -> None:
    assert (0, 7) == read_log(tmp_path).shape
    with pytest.raises(NotFound, match="no request log '/nowhere'"):
        read_log("/nowhere")


def test_a_damaged_file_is_named(rings: list[Ring], log: Path, start: Start) -> None:
    put(rings[0], 1)
    start().close()
    (file,) = log.iterdir()
    file.write_bytes(file.read_bytes()[:-30])

    with pytest.raises(DataError, match=file.name):
        read_log(log)


def order(log: Path | str, rings: int) -> Order:
    return Order(
        config=ServeConfig(log=str(log), workers=2),
        transport="native",
        features=Visit,
        index=0,
        board=-1,
        rings=rings,
    )


def wait_for(process: Process) -> bytes | None:
    select.select([process.control], [], [], 60)
    return process.receive()


@pytest.mark.parametrize("end", ["drain", "close"])
def test_the_process_writes_the_last_row_before_it_ends(log: Path, end: str) -> None:
    descriptor = Ring.create(2)
    process = Process("log", "tadka.serve.log.writer", order(log, descriptor), [descriptor])
    assert READY == wait_for(process)
    os.kill(process.pid, signal.SIGTERM)  # to all processes of a service; the parent says when
    put(Ring(descriptor, 0), *range(1, 300))
    os.close(descriptor)
    if end == "drain":
        process.send(DRAIN)
    else:
        process.control.shutdown(socket.SHUT_RDWR)

    assert 0 == process.close().status
    assert list(range(1, 300)) == versions(log)


def test_a_process_that_cannot_begin_says_why() -> None:
    descriptor = Ring.create(1)
    process = Process("log", "tadka.serve.log.writer", order("/proc/log", descriptor), [descriptor])
    os.close(descriptor)
    select.select([process.pidfd], [], [], 60)

    assert "'/proc/log'" in str(process.close())
