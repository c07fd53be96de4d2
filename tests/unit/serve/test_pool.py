"""When a worker is started again."""

from tadka.serve.workers.pool import MAX_QUICK_ENDS, QUICK_S, Restarts


def test_a_process_that_ends_at_once_waits_longer_each_time() -> None:
    restarts = Restarts()
    pauses = []
    for _ in range(12):
        restarts.ready()
        pauses.append(restarts.end())

    assert sorted(pauses) == pauses
    assert 0 < pauses[0] < pauses[1]
    assert QUICK_S == pauses[-1]
    assert 12 == restarts.num_quick > MAX_QUICK_ENDS


def test_a_process_that_lived_starts_again_at_once() -> None:
    restarts = Restarts()
    restarts.end()  # it was not ready
    restarts.ready()
    assert restarts._ready_s is not None
    restarts._ready_s -= 2 * QUICK_S

    assert 0 == restarts.end()
    assert 0 == restarts.num_quick
