import logging
import threading

import pytest

from tadka.serve.workers.threads import Job, Threads


def test_all_that_is_submitted_is_done_and_told_once() -> None:
    told: list[Job] = []
    done: list[tuple[int, str]] = []
    end = threading.Semaphore(0)

    def tell(job: Job) -> None:
        told.append(job)
        end.release()

    threads = Threads(4, "few")
    jobs = [threads.submit(lambda *args: done.append(args), n, "a") for n in range(2000)]
    for job in jobs:  # while the threads are at work: before, as and after it is done
        job.add_done_callback(tell)
    for _ in jobs:
        assert end.acquire(timeout=30)

    assert sorted(done) == [(n, "a") for n in range(2000)]
    assert len(told) == 2000
    assert set(told) == set(jobs)


def test_a_job_that_fails_is_logged_and_its_thread_works_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = Threads(1, "one")
    order: list[str] = []
    end = threading.Event()

    def fail() -> None:
        order.append("fail")
        raise SystemExit("not even this ends it")

    def last() -> None:
        order.append("last")
        end.set()

    with caplog.at_level(logging.ERROR, "tadka.serve"):
        threads.submit(fail)
        threads.submit(last)
        assert end.wait(30)

    assert order == ["fail", "last"]
    assert "not even this ends it" in caplog.text
