import functools
import re
from collections.abc import Callable
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.stream.stage import Stage, Train, name_of


def work(batch: Any, scale: float = 1) -> Any:
    return batch


class Model:
    def __init__(self, path: str = "") -> None:
        self.path = path

    def __call__(self, batch: Any) -> Any:
        return batch


class Heir(Model):
    """Inherits the call."""


class Record:
    """Nothing that can be called."""


def make_stage(*arguments: Any, **options: Any) -> Stage:
    return Stage(*arguments, **options)


def make_train(*arguments: Any, **options: Any) -> Train:
    return Train(*arguments, **options)


@pytest.mark.parametrize(
    ("make", "argument", "options", "words"),
    [
        (make_stage, 5, {}, "Stage(5) cannot be called; give a function or a class."),
        (make_stage, "f", {}, "Stage('f') cannot be called; give a function or a class."),
        (make_stage, Model(), {"init": {"path": "x"}}, "Stage(init=...) is for a class; bind a"),
        (make_stage, work, {"init": {"scale": 2}}, "arguments by functools.partial."),
        (make_stage, Record, {}, "Stage(Record) is a class whose objects cannot be called; give"),
        (make_stage, work, {"on_error": "retry"}, "on_error='retry'; it must be 'stop' or 'skip'."),
        (make_stage, work, {"replicas": 0}, "'replicas' is 0; it must be a whole number, at least"),
        (make_stage, work, {"cpu": -1}, "'cpu' is -1; it must be a number above 0."),
        (make_stage, work, {"memory": "big"}, "'memory' is 'big'; it must be"),
        (make_stage, work, {"gpu": 0.5}, "'gpu' is 0.5; it must be a whole number, at least 0."),
        (make_train, None, {}, "Train(None) cannot be called; give a function."),
        (make_train, work, {"ranks": 0}, "Train has ranks=0; it must be a whole number from 1."),
        (make_train, work, {"ranks": "2"}, "Train has ranks='2'; it must be a whole number from"),
        (make_train, work, {"ranks": True}, "Train has ranks=True; it must be a whole number"),
        (make_train, work, {"epochs": 1.5}, "Train has epochs=1.5; it must be a whole number from"),
        (
            make_train,
            work,
            {"uneven": "cut"},
            "Train has uneven='cut'; it must be one of 'pad', 'drop', 'repeat'.",
        ),
        (make_train, work, {"start": "ssh"}, "Train has start='ssh'; it must be 'local' or 'mpi'."),
        (make_train, work, {"cpu": 0}, "'cpu' is 0; it must be a number above 0."),
    ],
)
def test_argument_out_of_range_is_named(
    make: Callable[..., Any], argument: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        make(argument, **options)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("function", [work, Model, Heir, Model(), None, functools.partial(work)])
def test_whatever_can_be_called_makes_a_stage(function: Any) -> None:
    stage = Stage(function, replicas=3, memory="1G", cpu=0.5)

    assert function is stage.function
    assert (3, 1 << 30, 0.5) == (
        stage.resources.replicas,
        stage.resources.memory_bytes,
        stage.resources.cpu,
    )


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (work, "work"),
        (Model, "Model"),
        (Model(), "Model"),
        (functools.partial(work, scale=2), "work"),
        (functools.partial(functools.partial(work), scale=2), "work"),
        (lambda batch: batch, "stage"),
        (len, "len"),
    ],
)
def test_stage_and_train_are_named_for_their_function(
    function: Callable[..., Any], name: str
) -> None:
    assert name == name_of(function) == Stage(function).name == Train(function).name
    assert "other" == Stage(function, name="other").name == Train(function, name="other").name


def test_renamed_stage_is_otherwise_the_same() -> None:
    stage = Stage(Model, init={"path": "x"}, replicas=2, on_error="skip")

    other = stage.renamed("b")

    assert ("Model", "b") == (stage.name, other.name)
    assert other == Stage(Model, init={"path": "x"}, replicas=2, on_error="skip", name="b")


def test_stage_does_not_follow_later_changes_of_its_init() -> None:
    init = {"path": "x"}
    stage = Stage(Model, init=init)
    init["path"] = "y"

    assert {"path": "x"} == stage.init


@pytest.mark.parametrize("thing", [Stage(work), Train(work)])
def test_stage_and_train_cannot_be_changed(thing: Any) -> None:
    with pytest.raises(AttributeError):
        thing.name = "x"
