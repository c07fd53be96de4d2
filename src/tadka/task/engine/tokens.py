"""What a machine has, and which of the waiting jobs may take of it."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.core.resource import Resources, format_bytes
from tadka.task.define.task import Task

_GROWTH = 2
_ROUNDING = 1e-9  # ten jobs of 0.1 cores are one core


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What all jobs together may use.

    Args:
        cpu: Cores.
        memory_bytes: Memory.
        gpu: GPUs.
        workers: Jobs at a time; those of less than a core count as much as they need of one.
    """

    cpu: float
    memory_bytes: int
    gpu: int = 0
    workers: float = math.inf

    @classmethod
    def of_machine(cls, workers: int | None = None) -> "Capacity":
        """That of this machine: what is free of its memory, and its cores.

        Args:
            workers: Jobs at a time; more than there are cores may share them. None is one for each
                core.
        """
        launch = require("tadka.launch")  # a build without processes has no use for it
        num_cores = len(os.sched_getaffinity(0))
        return cls(
            cpu=max(num_cores, workers or 0),
            memory_bytes=launch.available_bytes(),
            gpu=launch.num_gpus(),
            workers=num_cores if workers is None else workers,
        )


class Tokens:
    """Lets jobs in as long as they fit, the largest first.

    One that does not fit is passed by smaller ones, but only by as many as could run beside it: so
    it begins when those have ended that ran when it came, and never waits for ever. What it lacks
    and a smaller one does not use, such as GPUs, holds the smaller one not up.

    Args:
        capacity: What there is.
    """

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._all = (
            capacity.cpu,
            capacity.memory_bytes,
            capacity.gpu,
            capacity.workers,
        )
        self._used = [0.0, 0.0, 0.0, 0.0]
        self._running: dict[int, Resources] = {}
        # The job that is waited for, and those that have begun since, which could run beside it.
        self._awaited: Resources | None = None
        self._beside: set[int] = set()

    @property
    def num_running(self) -> int:
        """Jobs that have begun and not ended."""
        return len(self._running)

    def check(self, task: Task[Any]) -> None:
        """Says what can never run here.

        Args:
            task: Of a build.

        Raises:
            ConfigError: It needs more than there is, or something that only a cluster has.
        """
        name, needs = type(task).__name__, task.resources
        has = self.capacity
        if needs.replicas > 1:
            raise ConfigError(
                f"{name} has resources with replicas={needs.replicas}, and a task runs once. Leave "
                "replicas out, and make a task for each part of the work."
            )
        if needs.image is not None:
            raise ConfigError(
                f"{name} has resources with image={needs.image!r}, and a build on this machine "
                "runs everything in the environment it is in. Leave image out, and start the build "
                "inside that image."
            )
        if needs.gpu > has.gpu:
            raise ConfigError(
                f"{name} has resources with gpu={needs.gpu}, and this machine has {has.gpu}. Ask "
                "for fewer, or build where there are more."
            )
        if needs.cpu > has.cpu:
            raise ConfigError(
                f"{name} has resources with cpu={needs.cpu:g}, and this machine has {has.cpu:g} "
                "cores. Ask for fewer, or build where there are more."
            )
        if (needs.memory_bytes or 0) > has.memory_bytes:
            raise ConfigError(
                f"{name} has resources with memory={needs.memory!r}, and this machine has "
                f"{format_bytes(has.memory_bytes)} free. Ask for less, or build where there is "
                "more."
            )

    def choose(self, waiting: Iterable[Resources]) -> Resources | None:
        """Which of the waiting jobs is to begin next.

        Args:
            waiting: What they need, each different need once; the oldest first.

        Returns:
            One of `waiting`; None where all have to wait until something ends.
        """
        awaited: Resources | None = None
        for needs in sorted(waiting, key=self._size, reverse=True):
            lacks = self._lacks(needs)
            if not any(lacks):
                if awaited is None or self._may_pass(needs, awaited):
                    return needs
            elif awaited is None:
                awaited = needs
                if awaited != self._awaited:
                    self._awaited, self._beside = awaited, set()
        return None

    def take(self, number: int, needs: Resources) -> None:
        """A job begins.

        Args:
            number: Of the job.
            needs: What it uses until `give`.
        """
        self._running[number] = needs
        self._add(needs, 1)
        if needs == self._awaited:
            self._awaited, self._beside = None, set()
        elif self._awaited is not None:
            self._beside.add(number)

    def give(self, number: int) -> None:
        """A job has ended.

        Args:
            number: Of the job.
        """
        self._add(self._running.pop(number), -1)
        self._beside.discard(number)

    def _amounts(self, needs: Resources) -> tuple[float, float, float, float]:
        """Cores, memory, GPUs and workers; what has grown beyond the machine takes all of it."""
        memory_bytes = min(needs.memory_bytes or 0, self.capacity.memory_bytes)
        return needs.cpu, memory_bytes, needs.gpu, min(1.0, needs.cpu)

    def _add(self, needs: Resources, sign: int) -> None:
        for place, amount in enumerate(self._amounts(needs)):
            self._used[place] += sign * amount

    def _size(self, needs: Resources) -> float:
        """The largest share of anything that there is."""
        pairs = zip(self._amounts(needs), self._all, strict=True)
        return max(amount / most if most else 0.0 for amount, most in pairs)

    def _lacks(self, needs: Resources) -> list[bool]:
        """For each of cores, memory, GPUs and workers, whether too little is free."""
        return [
            amount > 0 and used + amount > most + _ROUNDING
            for amount, used, most in zip(self._amounts(needs), self._used, self._all, strict=True)
        ]

    def _may_pass(self, needs: Resources, awaited: Resources) -> bool:
        """Whether a job that fits may begin before a larger one that does not."""
        amounts, large = self._amounts(needs), self._amounts(awaited)
        lacks = self._lacks(awaited)
        if any(is_short and not amount for is_short, amount in zip(lacks, amounts, strict=True)):
            return True  # the larger one waits for something else
        beside = list(amounts)
        for number in self._beside:
            for place, amount in enumerate(self._amounts(self._running[number])):
                beside[place] += amount
        return all(
            other + amount <= most + _ROUNDING
            for other, amount, most in zip(beside, large, self._all, strict=True)
        )


def needs_process(resources: Resources) -> bool:
    """Whether a job cannot run in the process of the build itself.

    Args:
        resources: Of its task.
    """
    return (
        resources.memory is not None
        or resources.gpu > 0
        or resources.timeout_s is not None
        or resources.replicas > 1  # which `Tokens.check` refuses, as it does images
        or resources.image is not None
    )


def grown(resources: Resources, attempt: int, most_bytes: int | None = None) -> Resources:
    """What to try after a job was killed for its memory.

    Args:
        resources: As the task declares them.
        attempt: How often that has happened; the memory is doubled each time.
        most_bytes: That a job can have; what is free on this machine unless given.

    Returns:
        The same as for `attempt - 1` where there is no more.
    """
    if resources.memory_bytes is None or attempt <= 0:
        return resources
    most = require("tadka.launch").available_bytes() if most_bytes is None else most_bytes
    wanted = resources.memory_bytes * _GROWTH**attempt
    return replace(resources, memory=max(resources.memory_bytes, min(wanted, most)))
