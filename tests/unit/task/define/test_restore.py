import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tadka.core.error import DataError, NotFound
from tadka.task.define.frozen import path_of
from tadka.task.define.restore import Classes, ids_in_fields, task_of
from tadka.task.define.task import Task
from tests.unit.task.shop import Link

TASK = "from tadka.task.define.task import Task\n\n\nclass Rows(Task[int]):\n    size: int = 2\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Writes a module of its own name, which nobody imported so far."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> str:
        tmp_path.joinpath(f"{name}.py").write_text(text, encoding="utf-8")
        return name

    return write


@pytest.mark.parametrize("name", ["restore_plain", "restore-of-a-script"])
def test_the_module_of_a_class_is_imported(module: Callable[[str, str], str], name: str) -> None:
    path = f"{module(name, TASK)}.Rows"

    assert path == path_of(Classes().of(path))
    del sys.modules[name]
    assert path == path_of(Classes().of(path)), "what is alive needs no module"


def test_a_class_of_a_function_is_found() -> None:
    class Inner(Task[int]):
        pass

    assert Classes().of(path_of(Inner)) is Inner


def test_of_classes_of_one_path_the_last_is_meant() -> None:
    def define() -> type[Task[int]]:
        class Again(Task[int]):
            pass

        return Again

    first, last = define(), define()

    assert path_of(first) == path_of(last)
    assert Classes().of(path_of(last)) is last


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import restore_nothing", "ModuleNotFoundError: No module named 'restore_nothing'"),
        ("def", "SyntaxError: "),
    ],
)
def test_a_module_that_fails_is_told(
    module: Callable[[str, str], str], text: str, reason: str
) -> None:
    name = module(f"restore_{reason.partition(':')[0].lower()}", text)

    with pytest.raises(NotFound, match=f"'{name}.Rows' cannot be imported: '{name}' raises"):
        Classes().of(f"{name}.Rows")
    with pytest.raises(NotFound, match=reason):
        Classes().of(f"{name}.Rows")


@pytest.mark.parametrize("path", ["restore_gone.Rows", "json.Rows", "json.loads", "x.<locals>.Y"])
def test_a_class_that_is_gone_is_told(path: str) -> None:
    with pytest.raises(NotFound, match=f"There is no class '{path}' of tasks"):
        Classes().of(path)


def test_a_task_is_as_it_was_or_refused() -> None:
    first = Link(number=1)
    second = Link(number=2, before=first)
    fields = {"number": 2, "before": {"task": first.id}}

    assert [first.id] == list(ids_in_fields(fields))
    assert second == task_of(Link, second.id, fields, {first.id: first})
    with pytest.raises(DataError, match="'size', which is no field"):
        task_of(Link, second.id, {**fields, "size": 2}, {first.id: first})
    with pytest.raises(DataError, match="would be another task"):
        task_of(Link, first.id, fields, {first.id: first})
