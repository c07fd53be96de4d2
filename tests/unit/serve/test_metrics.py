import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tadka.serve.answer.metrics import render
from tadka.serve.board import NUM_SPANS, Board, span_limits_s
from tadka.serve.tally import Tally

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def text_of(board: Board, **values: Any) -> str:
    build: dict[str, Any] = {"transport": "native", "nghttp2": "1.52.0", "version": "0.1.0"}
    return render(board, **(build | values))


def samples_of(text: str) -> Samples:
    """Every sample as Prometheus reads it; no two may have the same name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("tadka_")
        assert family.documentation
        assert family.type in {"counter", "gauge", "histogram"}
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: object) -> float:
    return samples[f"tadka_{name}", frozenset((k, str(v)) for k, v in labels.items())]


@pytest.fixture
def board() -> Board:
    """Two workers that have answered."""
    board = Board(2)
    for number in range(2):
        tally = Tally(board, number)
        for span_ns in (500, 3_000, 3_500, 10**13):
            tally.answer(0, 0, span_ns)
        tally.answer(2, 3, 40_000)
        for score in (0.0, 0.051, 0.5, 1.0):
            tally.score(tally.arm("ctr", 3), score)
        arm = board.counts(number).arm("ctr", 3)
        arm["shadowed"] += 2
        arm["failed"] += 1
        arm["busy_ns"] += 5_000_000
        arm["spans"][2] += 4
        board.workers[number]["generation"] = 7 + number
        board.workers[number]["opened"] = 5
        board.workers[number]["closed"] = 2 + number
        board.workers[number]["shed"] = 4
        board.workers[number]["log_written"] = 10
        board.workers[number]["busy_ns"] = 2_500_000_000
    tally = Tally(board, 1)
    tally.score(tally.arm("ctr", 4), 0.25)
    return board


def test_counters_of_all_workers_are_summed(board: Board) -> None:
    samples = samples_of(text_of(board))

    assert value(samples, "requests_total", protocol="grpc", status="OK") == 8
    assert value(samples, "requests_total", protocol="oip", status="INVALID_ARGUMENT") == 2
    assert value(samples, "requests_total", protocol="http", status="OK") == 0
    assert value(samples, "scores_total", model="ctr", version=3, role="served") == 8
    assert value(samples, "scores_total", model="ctr", version=3, role="shadow") == 4
    assert value(samples, "scores_total", model="ctr", version=4, role="served") == 1
    assert value(samples, "score_failures_total", model="ctr", version=3) == 2
    assert value(samples, "score_busy_seconds_total", model="ctr", version=3) == 0.01
    assert value(samples, "shed_total") == 8
    assert value(samples, "log_rows_total") == 20
    assert value(samples, "log_dropped_total") == 0
    assert value(samples, "shadow_dropped_total") == 0


def test_what_belongs_to_a_worker_is_told_of_each(board: Board) -> None:
    samples = samples_of(text_of(board))

    assert [value(samples, "generation", worker=i) for i in (0, 1)] == [7, 8]
    assert [value(samples, "connections", worker=i) for i in (0, 1)] == [3, 2]
    assert value(samples, "worker_busy_seconds_total", worker=1) == 2.5
    assert value(samples, "build_info", transport="native", nghttp2="1.52.0", version="0.1.0") == 1


def test_times_are_a_histogram_that_adds_up(board: Board) -> None:
    samples = samples_of(text_of(board))

    ends = [value(samples, "request_seconds_bucket", le=limit) for limit in span_limits_s()]
    assert len(ends) == NUM_SPANS - 1
    assert ends[0] == 2  # below a microsecond
    assert ends[2] == 6  # and below four
    assert ends == sorted(ends)
    assert ends[-1] == 8
    assert value(samples, "request_seconds_bucket", le="+Inf") == 10
    assert value(samples, "request_seconds_count") == 10
    assert value(samples, "request_seconds_sum") == pytest.approx(2 * 10_000.000047)
    assert value(samples, "score_seconds_bucket", model="ctr", version=3, le=4e-06) == 8
    assert value(samples, "score_seconds_count", model="ctr", version=3) == 8


def test_scores_are_a_histogram_of_each_version(board: Board) -> None:
    samples = samples_of(text_of(board))

    def below(limit: object) -> float:
        return value(samples, "score_bucket", model="ctr", version=3, le=limit)

    assert [below(0.05), below(0.1), below(0.5), below(0.55), below("+Inf")] == [2, 4, 4, 6, 8]
    assert value(samples, "score_sum", model="ctr", version=3) == pytest.approx(2 * 1.551)
    assert value(samples, "score_sum", model="ctr", version=4) == 0.25


def test_labels_are_escaped() -> None:
    board = Board(1)
    name = 'a"b\\c\nd'
    tally = Tally(board, 0)
    tally.score(tally.arm(name, 1), 0.5)

    samples = samples_of(text_of(board, nghttp2='1"\\\n'))

    assert value(samples, "scores_total", model=name, version=1, role="served") == 1


def test_an_empty_board_is_valid_and_every_metric_is_told_once() -> None:
    text = text_of(Board(1), nghttp2="")

    assert samples_of(text)
    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(names) == len(set(names))
    assert text.endswith("\n")


def test_a_state_that_could_not_be_loaded_shows(board: Board) -> None:
    assert value(samples_of(text_of(board)), "load_failed") == 0
    assert value(samples_of(text_of(board, failure="no such file")), "load_failed") == 1
