# ruff: noqa: NPY002 - the global generator is what is to be found out

import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.stream.function import Function, UserError, cause_of, takes_rng, traceback_of
from tadka.stream.plan import random_generator

KEY = (0, 1, 2, 3, 0)


def batch_of(*values: float) -> dict[str, Any]:
    return {"x": np.array(values, float)}


def call(function: Any, batch: Any = None, **init: Any) -> list[Any]:
    return list(Function(function, "prep", init)(batch_of(1, 2) if batch is None else batch, KEY))


def twice(function: Any, batch: Any = None) -> list[Any]:
    batch = batch_of(1, 2) if batch is None else batch
    return list(Function(function, "prep", {}).twice(batch, KEY))


def values(batches: list[Any]) -> list[list[float]]:
    return [batch["x"].tolist() for batch in batches]


# -- what a function may return -------------------------------------------------------------------


def generate(batch: Any) -> Iterator[Any]:
    for value in batch["x"]:
        yield {"x": np.array([value])}
        yield None


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (None, [[1, 2]]),
        (lambda batch: batch, [[1, 2]]),
        (lambda batch: None, []),
        (lambda batch: [], []),
        (lambda batch: [batch, None, {"x": batch["x"] * 2}], [[1, 2], [2, 4]]),
        (lambda batch: iter([batch, batch]), [[1, 2], [1, 2]]),
        (lambda batch: ({"x": batch["x"] + i} for i in range(2)), [[1, 2], [2, 3]]),
        (generate, [[1], [2]]),
        (lambda batch: map(dict, [batch]), [[1, 2]]),
    ],
)
def test_batch_none_list_and_generator_are_taken(function: Any, expected: Any) -> None:
    assert expected == values(call(function))
    assert expected == values(twice(function))


@pytest.mark.parametrize(
    "result",
    [pa.table({"x": [1]}), pa.record_batch({"x": [1]}), (np.zeros(1), np.ones(1)), np.zeros(3)],
)
def test_tables_and_objects_are_batches(result: Any) -> None:
    (found,) = call(lambda batch: result)

    assert found is result


def test_results_of_a_generator_come_one_by_one() -> None:
    made = []

    def generate(batch: Any) -> Iterator[Any]:
        for value in range(3):
            made.append(value)
            yield batch

    results = Function(generate, "prep", {})(batch_of(1), KEY)
    next(results)

    assert [0] == made


@pytest.mark.parametrize("result", [True, 5, 1.5, "text", b"x", 2j, np.float32(3)])
@pytest.mark.parametrize("wrap", [lambda r: r, lambda r: [r], lambda r: iter([r])])
def test_single_value_is_no_batch(result: Any, wrap: Callable[[Any], Any]) -> None:
    with pytest.raises(
        DataError,
        match=rf"^Stage 'prep' returned a {type(result).__name__} \(.*\); it must return a batch "
        r"\(a dict of arrays, an Arrow table\), an iterable of batches, or None to drop",
    ):
        call(lambda batch: wrap(result))


# -- random numbers -------------------------------------------------------------------------------


class Noise:
    def __init__(self, scale: float = 1) -> None:
        self.scale = scale

    def __call__(self, batch: Any, rng: np.random.Generator) -> Any:
        return {"x": self.scale * rng.random(2)}


def noise(batch: Any, rng: np.random.Generator) -> Any:
    return {"x": rng.random(2)}


def noise_between(batch: Any, scale: float = 1, rng: Any = None) -> Any:
    return {"x": scale * rng.random(2)}


def noise_by_name(batch: Any, *, rng: np.random.Generator) -> Any:
    return {"x": rng.random(2)}


@pytest.mark.parametrize(
    "function",
    [
        noise,
        noise_between,
        noise_by_name,
        Noise,
        Noise(),
        functools.partial(noise_between, scale=1),
        lambda batch, rng: {"x": rng.random(2)},
    ],
)
def test_generator_of_the_batch_is_given_to_who_asks(function: Any) -> None:
    expected = [random_generator(*KEY).random(2).tolist()]

    assert expected == values(call(function)) == values(call(function)) == values(twice(function))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (noise, True),
        (Noise(), True),
        (functools.partial(noise_between, 2), True),
        (generate, False),
        (dict, False),  # some have no signature at all
        (np.add, False),
    ],
)
def test_who_asks_is_found_by_the_parameters_name(function: Any, expected: bool) -> None:
    assert expected is takes_rng(function)


# -- objects --------------------------------------------------------------------------------------


class Scaler:
    """Counts how often it was made and closed."""

    log: list[str]

    def __init__(self, factor: float = 2) -> None:
        self.factor = factor
        Scaler.log.append("made")

    def __call__(self, batch: Any) -> Any:
        return {"x": self.factor * batch["x"]}

    def close(self) -> None:
        Scaler.log.append("closed")


def test_class_is_built_once_with_its_arguments_and_closed() -> None:
    Scaler.log = []
    function = Function(Scaler, "prep", {"factor": 3})
    for _ in range(2):
        assert [[3, 6]] == values(list(function(batch_of(1, 2), KEY)))
    function.close()

    assert ["made", "closed"] == Scaler.log


def test_what_has_no_close_is_closed_all_the_same() -> None:
    class Plain:
        def __call__(self, batch: Any) -> Any:
            return batch

    for function in (Plain, noise, None):
        Function(function, "prep", {}).close()


# -- twice ----------------------------------------------------------------------------------------


def count_up() -> Callable[[Any], Any]:
    calls = []

    def function(batch: Any) -> Any:
        calls.append(1)
        return {"x": np.array([len(calls)])}

    return function


def grow() -> Callable[[Any], Any]:
    calls = []

    def function(batch: Any) -> Any:
        calls.append(1)
        return [batch] * len(calls)

    return function


@pytest.mark.parametrize(
    "function",
    [
        lambda batch: {"x": np.random.random(2)},
        lambda batch: {"x": [random.random()]},
        count_up(),
        grow(),
    ],
)
def test_result_that_differs_is_found(function: Any) -> None:
    with pytest.raises(
        DataError,
        match=r"^Stage 'prep' gave two different results for one batch, .* def f\(batch, rng\), "
        r"not from a global generator or the clock\.$",
    ):
        twice(function)


def double_in_place(batch: Any) -> Any:
    batch["x"] *= 2
    batch["y"] = batch.pop("x")
    return {"x": batch["y"]}


def test_change_of_the_batch_in_place_is_fine() -> None:
    assert [[2, 4]] == values(twice(double_in_place))


def test_generator_may_fill_one_array_again_and_again() -> None:
    def refill(batch: Any) -> Iterator[Any]:
        out = {"x": np.zeros(2)}
        for factor in (1, 2, 3):
            np.multiply(batch["x"], factor, out=out["x"])
            yield out

    function = Function(refill, "prep", {})
    found = [batch["x"].tolist() for batch in function.twice(batch_of(1, 2), KEY)]

    assert [[1, 2], [2, 4], [3, 6]] == found


def test_object_that_fills_one_array_is_found_out_all_the_same() -> None:
    class Reuser:
        def __init__(self) -> None:
            self.out = np.zeros(2)

        def __call__(self, batch: Any) -> Any:
            self.out[:] = np.random.random(2)
            return {"x": self.out}

    with pytest.raises(DataError, match="two different results"):
        twice(Reuser)


@pytest.mark.parametrize(
    "function",
    [
        None,
        lambda batch: None,
        lambda batch: {"x": np.array([np.nan, -0.0])},
        lambda batch: {"s": pa.array(["a", None])},
        lambda batch: pa.table({"x": batch["x"]}),
        lambda batch: {"x": [1, {"y": "z"}]},
        noise,
    ],
)
def test_result_that_is_the_same_is_fine(function: Any) -> None:
    assert len(call(function)) == len(twice(function))


# -- what goes wrong ------------------------------------------------------------------------------


def fail(batch: Any) -> Any:
    return helper(batch)


def helper(batch: Any) -> Any:
    return batch["nothing"]


def fail_later(batch: Any) -> Iterator[Any]:
    yield batch
    helper(batch)


@pytest.mark.parametrize("function", [fail, fail_later])
def test_error_of_the_user_is_told_without_our_frames(function: Callable[..., Any]) -> None:
    with pytest.raises(UserError) as caught:
        call(function)

    assert isinstance(cause_of(caught.value), KeyError)
    text = traceback_of(caught.value)
    frames = [line for line in text.splitlines() if line.startswith("  File")]
    assert [function.__name__, "helper"] == [line.rsplit(" in ")[1] for line in frames]
    assert "tadka/stream" not in text
    assert text.endswith("KeyError: 'nothing'\n")


def test_error_of_ours_is_told_by_its_message() -> None:
    with pytest.raises(DataError) as caught:
        call(lambda batch: 5)

    assert caught.value is cause_of(caught.value)
    lines = traceback_of(caught.value).splitlines()
    assert "tadka.core.error.DataError: Stage 'prep' returned a int" in lines[-1]


def test_interrupt_passes() -> None:
    def interrupt(batch: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(interrupt)
