import dataclasses

from tadka.stream.counters import Counters


def test_counters_go_through_a_message() -> None:
    counters = Counters(*range(1, 10))

    assert counters == Counters(*counters.to_ints())
    assert len(dataclasses.fields(Counters)) == len(counters.to_ints())


def test_replicas_are_summed_but_for_memory_and_the_first_batch() -> None:
    total = Counters()
    for counters in (
        Counters(1, 2, 3, 4, 5, 6, 7, peak_memory_bytes=100, first_batch_ns=50),
        Counters(10, 20, 30, 40, 50, 60, 70, peak_memory_bytes=80, first_batch_ns=40),
        Counters(),  # has made nothing yet
    ):
        total.add(counters)

    assert Counters(11, 22, 33, 44, 55, 66, 77, 100, 40) == total


def test_process_is_measured() -> None:
    counters = Counters()
    sum(range(300_000))
    counters.measure()

    assert counters.cpu_ns > 0
    assert counters.peak_memory_bytes > 10 << 20
    before = counters.cpu_ns
    sum(range(300_000))
    counters.measure()
    assert counters.cpu_ns > before
