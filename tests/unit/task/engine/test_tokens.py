import heapq
import itertools
import random
from collections.abc import Sequence

import pytest

from tadka.core.error import ConfigError
from tadka.core.resource import Resources
from tadka.task.define.task import Task
from tadka.task.engine.tokens import Capacity, Tokens, grown, needs_process

GB = 1 << 30
MACHINE = Capacity(cpu=8, memory_bytes=12 * GB, gpu=2, workers=8)
SMALL = Resources(cpu=0.5, memory="1G")
LARGE = Resources(cpu=0.5, memory="10G")


class Plain(Task[int]):
    def run(self) -> int:
        return 0


def task_of(resources: Resources) -> Plain:
    task = Plain()
    task.__dict__["resources"] = resources
    return task


class Day:
    """Jobs with their seconds on a machine, from the first to the last."""

    def __init__(self, capacity: Capacity) -> None:
        self.tokens = Tokens(capacity)
        self.begun: list[tuple[float, Resources]] = []

    def run(self, jobs: Sequence[tuple[Resources, float]]) -> float:
        """When the last has ended; a job whose seconds are unknown to `choose`."""
        waiting, now = list(jobs), 0.0
        running: list[tuple[float, int]] = []
        numbers = itertools.count()
        while waiting or running:
            shapes = list(dict.fromkeys(needs for needs, _ in waiting))
            chosen = self.tokens.choose(shapes)
            if chosen is None:
                now, number = heapq.heappop(running)
                self.tokens.give(number)
                continue
            index = next(i for i, (needs, _) in enumerate(waiting) if needs == chosen)
            needs, seconds = waiting.pop(index)
            number = next(numbers)
            self.tokens.take(number, needs)
            self.begun.append((now, needs))
            heapq.heappush(running, (now + seconds, number))
        return now


class TestCapacity:
    def test_more_workers_than_cores_share_them(self) -> None:
        assert 64 == Capacity.of_machine(64).cpu == Capacity.of_machine(64).workers
        assert 1 == Capacity.of_machine(1).workers <= Capacity.of_machine(1).cpu
        assert 0 < Capacity.of_machine().memory_bytes


class TestChoose:
    def test_jobs_are_let_in_until_one_thing_is_used_up(self) -> None:
        tokens = Tokens(Capacity(cpu=4, memory_bytes=3 * GB, workers=8))
        job = Resources(cpu=1, memory="1G")

        for number in range(3):
            assert job == tokens.choose([job])
            tokens.take(number, job)

        assert tokens.choose([job]) is None
        assert Resources(cpu=1) == tokens.choose([job, Resources(cpu=1)])
        tokens.give(0)
        assert job == tokens.choose([job])

    def test_workers_are_a_limit_of_their_own(self) -> None:
        tokens = Tokens(Capacity(cpu=8, memory_bytes=GB, workers=1))
        tokens.take(0, Resources())

        assert tokens.choose([Resources()]) is None

    def test_parts_of_a_core_share_it(self) -> None:
        tokens = Tokens(Capacity(cpu=1, memory_bytes=GB, workers=1))
        tenth = Resources(cpu=0.1)

        for number in range(10):
            assert tokens.choose([tenth]) is not None
            tokens.take(number, tenth)

        assert tokens.choose([tenth]) is None
        for number in range(10):
            tokens.give(number)
        assert Resources() == tokens.choose([Resources()])

    def test_the_largest_that_fits_is_first_and_of_equals_the_oldest(self) -> None:
        tokens = Tokens(MACHINE)
        one, other = Resources(memory="3G"), Resources(cpu=2)  # a quarter each

        assert LARGE == tokens.choose([SMALL, one, LARGE, other])
        assert one == tokens.choose([SMALL, one, other])
        assert other == tokens.choose([SMALL, other, one])
        assert tokens.choose([]) is None

    def test_what_has_grown_beyond_the_machine_runs_alone(self) -> None:
        tokens = Tokens(MACHINE)
        grown = Resources(memory="13G")

        assert grown == tokens.choose([grown])
        tokens.take(0, grown)
        assert tokens.choose([SMALL]) is None
        tokens.give(0)
        assert SMALL == tokens.choose([SMALL])

    def test_what_fits_beside_the_large_one_begins_before_it(self) -> None:
        tokens = Tokens(MACHINE)
        tokens.take(0, LARGE)

        for number in (1, 2):
            assert SMALL == tokens.choose([SMALL, LARGE])
            tokens.take(number, SMALL)
        assert tokens.choose([SMALL, LARGE]) is None

        tokens.give(0)
        assert LARGE == tokens.choose([SMALL, LARGE])

    def test_a_stream_of_small_jobs_does_not_keep_out_a_large_one(self) -> None:
        tokens = Tokens(MACHINE)
        running = list(range(12))
        for number in running:
            tokens.take(number, SMALL)

        for number in range(12, 100):
            chosen = tokens.choose([SMALL, LARGE])
            if chosen == LARGE:
                break
            if chosen is None:
                tokens.give(running.pop(0))
            else:
                tokens.take(number, SMALL)
                running.append(number)

        assert chosen == LARGE
        assert 2 == len(running)
        assert 12 <= min(running)  # all that ran when it came have ended

    def test_who_waits_for_a_gpu_keeps_nobody_out_who_needs_none(self) -> None:
        tokens = Tokens(Capacity(cpu=2, memory_bytes=GB, gpu=1, workers=2))
        train = Resources(cpu=2, gpu=1)
        tokens.take(0, Resources(cpu=0.5, gpu=1))

        assert Resources(cpu=0.5) == tokens.choose([Resources(cpu=0.5), train])

    def test_eight_small_and_two_large_take_as_long_as_they_must(self) -> None:
        jobs = [(SMALL, 1.0)] * 8 + [(LARGE, 1.0)] * 2
        for seed in range(50):
            mixed = random.Random(seed).sample(jobs, len(jobs))

            assert 3.0 == Day(MACHINE).run(mixed)  # 28 GB seconds, and the large never together

    def test_of_any_length_they_take_at_most_a_tenth_more(self) -> None:
        for seed in range(50):
            lengths = random.Random(seed)
            small = [lengths.uniform(1, 3) for _ in range(8)]
            large = [lengths.uniform(5, 10) for _ in range(2)]

            took = Day(MACHINE).run([(SMALL, s) for s in small] + [(LARGE, s) for s in large])

            least = max(sum(large), (sum(small) + 10 * sum(large)) / 12)
            assert took <= 1.1 * least

    def test_nothing_is_let_in_that_does_not_fit(self) -> None:
        rand = random.Random(7)
        for _ in range(30):
            shapes = [
                Resources(
                    cpu=rand.choice([0.5, 1, 2, 8]),
                    memory=rand.choice([None, "1G", "5G", "12G"]),
                    gpu=rand.choice([0, 0, 1, 2]),
                )
                for _ in range(5)
            ]
            jobs = [(rand.choice(shapes), rand.uniform(0.1, 5)) for _ in range(60)]
            day = Day(MACHINE)

            day.run(jobs)

            seconds = {}
            left = list(jobs)
            for at, needs in day.begun:
                index = next(i for i, (other, _) in enumerate(left) if other == needs)
                seconds[at, id(needs), len(left)] = (at, at + left.pop(index)[1], needs)
            for at, _, _ in seconds.values():
                now = [n for begin, end, n in seconds.values() if begin <= at < end - 1e-9]
                assert 8 + 1e-6 >= sum(n.cpu for n in now)
                assert 12 * GB >= sum(n.memory_bytes or 0 for n in now)
                assert 2 >= sum(n.gpu for n in now)
            assert 60 == len(day.begun)


class TestCheck:
    @pytest.mark.parametrize(
        ("resources", "message"),
        [
            (Resources(replicas=2), "replicas=2, and a task runs once"),
            (Resources(image="x:1"), "image='x:1', and a build on this machine"),
            (Resources(gpu=3), "gpu=3, and this machine has 2"),
            (Resources(cpu=9), "cpu=9, and this machine has 8 cores"),
            (Resources(memory="13G"), "memory='13G', and this machine has 12G free"),
        ],
    )
    def test_what_can_never_run_is_refused(self, resources: Resources, message: str) -> None:
        with pytest.raises(ConfigError, match=f"Plain has resources with {message}"):
            Tokens(MACHINE).check(task_of(resources))

    def test_what_takes_all_of_it_may(self) -> None:
        Tokens(MACHINE).check(task_of(Resources(cpu=8, memory="12G", gpu=2)))


class TestGrown:
    def test_memory_doubles_each_time_up_to_the_machine(self) -> None:
        declared = Resources(cpu=2, memory="1G")

        found = [grown(declared, attempt, 3 * GB).memory_bytes for attempt in range(4)]

        assert [GB, 2 * GB, 3 * GB, 3 * GB] == found
        assert 2 == grown(declared, 1).cpu
        assert GB < (grown(declared, 1).memory_bytes or 0)

    def test_without_memory_there_is_nothing_to_grow(self) -> None:
        assert Resources(cpu=2) == grown(Resources(cpu=2), 3)

    def test_it_never_shrinks(self) -> None:
        assert grown(Resources(memory="4G"), 1, 3 * GB).memory_bytes == 4 * GB


def test_limits_need_a_process() -> None:
    assert not needs_process(Resources(cpu=4))
    limits = ({"memory": "1G"}, {"gpu": 1}, {"timeout_s": 1}, {"replicas": 2}, {"image": "x"})
    assert all(needs_process(Resources(**limit)) for limit in limits)
