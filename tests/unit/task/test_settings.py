import datetime as dt
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError, NotFound
from tadka.task import settings as module
from tadka.task.define.field import param
from tadka.task.define.task import Task
from tadka.task.settings import Settings, current, load_settings, open_store, use
from tests import source

HERE = __name__


class Mode(Enum):
    FAST = "f"
    SLOW = "s"


@dataclass(frozen=True)
class Point:
    x: float
    day: dt.date


class Beech(Task[int]):
    rate: float = 0.1
    depth: int = 3
    name: str = "base"

    def run(self) -> int:
        return 0


class Birch(Beech):
    trees: int = 10


class Elm(Birch):
    depth: int = 9


class Alder(Task[int]):
    day: dt.date = dt.date(2026, 1, 1)
    at: dt.datetime | None = None
    span: dt.timedelta = dt.timedelta(0)
    mode: Mode = Mode.FAST
    modes: list[Mode] = param(default_factory=list)
    tags: set[str] = param(default_factory=set)
    days: list[dt.date] = param(default_factory=list)
    point: Point | None = None
    path: Path = Path("x")
    is_deep: bool = False
    count: int = 0
    share: float = 0.0
    text: str = ""

    def run(self) -> int:
        return 0


class Nest(Task[int]):
    model: Beech
    scale: int = 1

    def run(self, model: int) -> int:
        return model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in (module.FILE, module.WORKSPACE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    use(None)
    yield tmp_path
    use(None)


def write(folder: Path, text: str, name: str = "tadka.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def path_of(cls: type) -> str:
    return f"{HERE}.{cls.__name__}"


def test_without_a_file_settings_say_nothing() -> None:
    assert Settings() == load_settings() == current()
    assert 0.1 == Beech().rate


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tadka.toml", 'workspace = "out"\nworkers = 2\n[tasks.Beech]\nrate = 0.5\n'),
        ("tadka.yaml", "workspace: out\nworkers: 2\ntasks:\n  Beech:\n    rate: 0.5\n"),
        ("tadka.yml", "{workspace: out, workers: 2, tasks: {Beech: {rate: 0.5}}}"),
    ],
)
def test_a_file_of_the_working_directory_is_found(folder: Path, name: str, text: str) -> None:
    write(folder, text, name)

    assert "out" == current().workspace
    assert 2 == current().workers
    assert 0.5 == Beech().rate
    assert name == current().source


def test_the_variable_names_another_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "workers = 2")
    monkeypatch.setenv(module.FILE, str(write(folder, "workers = 3", "other.toml")))

    assert 3 == current().workers


def test_two_files_are_one_too_many(folder: Path) -> None:
    write(folder, "workers = 2")
    write(folder, "workers: 2", "tadka.yaml")

    with pytest.raises(ConfigError, match=r"tadka\.toml and tadka\.yaml") as caught:
        current()
    assert "TADKA_SETTINGS" in str(caught.value)


def test_a_file_that_was_named_must_be_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.FILE, "gone.toml")

    with pytest.raises(NotFound, match=r"gone\.toml"):
        Beech()


# ---------------------------------------------------------------- precedence and inheritance


def test_call_goes_before_settings_and_settings_before_the_class(folder: Path) -> None:
    use(Settings(tasks={path_of(Beech): {"rate": 0.5}}))

    assert 0.7 == Beech(rate=0.7).rate
    assert 0.5 == Beech().rate
    assert 3 == Beech().depth


def test_a_value_of_settings_is_another_task_only_where_it_differs() -> None:
    plain = Beech()
    use(Settings(tasks={"Beech": {"rate": 0.1}}))
    assert plain == Beech()

    use(Settings(tasks={"Beech": {"rate": 0.5}}))
    assert plain != Beech()
    assert Beech(rate=0.5) == Beech()


def test_sections_of_bases_are_inherited_and_the_own_one_wins() -> None:
    use(Settings(tasks={"Beech": {"rate": 0.5, "name": "all"}, "Birch": {"name": "forest"}}))

    assert (0.5, "all") == (Beech().rate, Beech().name)
    assert (0.5, "forest", 10) == (Birch().rate, Birch().name, Birch().trees)
    assert (0.5, "forest", 9) == (Elm().rate, Elm().name, Elm().depth)


def test_tasks_that_a_field_makes_have_their_settings() -> None:
    use(Settings(tasks={"Beech": {"rate": 0.5}, "Nest": {"scale": 2}}))

    task = Nest(model=Beech())

    assert (0.5, 2) == (task.model.rate, task.scale)


# ---------------------------------------------------------------- variables


def test_variables_stand_for_their_values(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOT", "/data")
    monkeypatch.setenv("DEPTH", "7")
    monkeypatch.setenv("DAYS", '["2026-01-02"]')
    write(
        folder,
        'workspace = "${ROOT}/out"\nworkers = "${DEPTH}"\n'
        '[tasks.Alder]\ncount = "${DEPTH}"\nshare = "${DEPTH}.5"\nis_deep = false\n'
        'text = "$${ROOT} ${ROOT} $ROOT"\ndays = "${DAYS}"\ntags = ["${ROOT}", "a"]\n',
    )

    assert "/data/out" == current().workspace
    assert 7 == current().workers
    task = Alder()
    assert (7, 7.5, "${ROOT} /data $ROOT") == (task.count, task.share, task.text)
    assert [dt.date(2026, 1, 2)] == [*task.days]
    assert {"/data", "a"} == task.tags


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('workspace = "${NOT_SET}/x"', "workspace"),
        ('notify = ["a", "${NOT_SET}"]', r"notify\[1\]"),
        ('[tasks.Beech]\nname = "${NOT_SET}"', r"tasks\.Beech\.name"),
    ],
)
def test_a_variable_that_is_not_set_names_the_key(folder: Path, text: str, key: str) -> None:
    write(folder, text)

    with pytest.raises(ConfigError, match=f"tadka.toml': {key}.*NOT_SET.*not set") as caught:
        Beech()
    assert "export NOT_SET=" in str(caught.value)


def test_a_variable_of_a_section_is_needed_when_its_class_is(folder: Path) -> None:
    write(folder, '[tasks.Nest]\nscale = "${NOT_SET}"')

    assert 0.1 == Beech().rate
    with pytest.raises(ConfigError, match="NOT_SET"):
        Nest(model=Beech())


@pytest.mark.parametrize("name", ["", " A", "A B", "A-b", "1A"])
def test_what_is_no_name_of_a_variable_is_refused(name: str) -> None:
    use(Settings(tasks={"Beech": {"name": f"${{{name}}}"}}))

    with pytest.raises(ConfigError, match="between the braces"):
        Beech()


# ---------------------------------------------------------------- values


def test_values_are_as_files_have_them(folder: Path) -> None:
    write(
        folder,
        """
        [tasks.Alder]
        day = 2026-02-03
        at = 2026-02-03T04:05:06
        span = "1d12h"
        mode = "SLOW"
        modes = ["FAST", "SLOW"]
        tags = ["a", "b"]
        days = [2026-02-03, "2026-02-04"]
        point = { x = 1, day = 2026-02-03 }
        path = "/x"
        share = 1
        """,
    )

    task = Alder()

    assert dt.date(2026, 2, 3) == task.day
    assert dt.datetime(2026, 2, 3, 4, 5, 6) == task.at  # noqa: DTZ001
    assert dt.timedelta(days=1, hours=12) == task.span
    assert Mode.SLOW == task.mode
    assert [Mode.FAST, Mode.SLOW] == [*task.modes]
    assert {"a", "b"} == task.tags
    assert [dt.date(2026, 2, 3), dt.date(2026, 2, 4)] == [*task.days]
    assert Point(1.0, dt.date(2026, 2, 3)) == task.point
    assert (Path("/x"), 1.0) == (task.path, task.share)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"count": "7"}, ["tasks.Alder.count", "it must be int"]),
        ({"count": True}, ["tasks.Alder.count", "it must be int"]),
        ({"mode": "FASTER"}, ["tasks.Alder.mode", "one of FAST, SLOW"]),
        ({"cuont": 7}, ["tasks.Alder.cuont", "Did you mean 'count'?"]),
        ({"zzz": 7}, ["tasks.Alder.zzz", "Its fields are day, at"]),
    ],
)
def test_a_wrong_value_names_file_class_and_field(
    section: dict[str, Any], words: list[str]
) -> None:
    use(Settings(tasks={"Alder": section}, source="here.toml"))

    with pytest.raises(ConfigError, match=r"Settings 'here\.toml'") as caught:
        Alder(text="x")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workers": 0}, "workers is 0; it must be a whole number of at least 1"),
        ({"workers": True}, "workers is True"),
        ({"workers": "many"}, "workers is 'many'"),
        ({"workspace": ""}, "workspace is ''"),
        ({"workspace": 3}, "workspace is 3; it must be a path or a URI"),
        ({"verify": "sometimes"}, "it must be one of load, never, always"),
        ({"verify": None}, "verify is None"),
        ({"on_code_change": "rerum"}, "it must be one of rerun, warn, ignore"),
        ({"notify": [1]}, "notify is"),
        ({"tasks": []}, "tasks is"),
        ({"tasks": {"Beech": 3}}, "tasks.Beech is 3"),
        ({"tasks": {"shop": {"tasks": {"Beech": {}}}}}, "in quotes"),
    ],
)
def test_settings_are_checked(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings(**given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("tadka.toml", "worksapce = 'x'", "key 'worksapce' is unknown. Did you mean 'workspace'?"),
        ("tadka.toml", "workspace = ", "is not TOML"),
        ("tadka.yaml", "{a: [", "is not YAML"),
        ("tadka.yaml", "workers: 1\nworkers: 2", "stands twice"),
        ("tadka.yaml", "- 1", "is a list"),
        ("tadka.toml", "source = 'x'", "key 'source' is unknown"),
    ],
)
def test_a_file_is_checked(folder: Path, name: str, text: str, words: str) -> None:
    path = write(folder, text, name)

    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert words in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing", "tasks:\nworkers:", "tasks:\n  Beech:\n"])
def test_what_is_commented_out_says_nothing(folder: Path, text: str) -> None:
    use(load_settings(write(folder, text, "a.yaml")))

    assert 0.1 == Beech().rate
    assert None is current().workers


def test_bytes_that_are_no_text_are_no_settings(folder: Path) -> None:
    (folder / "tadka.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="is not TOML"):
        current()


# ---------------------------------------------------------------- which class


def test_a_name_of_several_classes_is_refused_when_one_is_used() -> None:
    first: type[Task[int]] = type("Larch", (Beech,), {"__module__": f"{HERE}.a"})
    second: type[Task[int]] = type("Larch", (Beech,), {"__module__": f"{HERE}.b"})
    use(Settings(tasks={"Larch": {"rate": 0.5}}))

    with pytest.raises(ConfigError, match=rf"{HERE}\.a\.Larch or for {HERE}\.b\.Larch"):
        first()

    use(Settings(tasks={f"{HERE}.a.Larch": {"rate": 0.5}}))
    assert [0.5, 0.1] == [vars(first())["rate"], vars(second())["rate"]]


def test_a_class_has_one_section() -> None:
    use(Settings(tasks={"Beech": {}, path_of(Beech): {}}))

    with pytest.raises(ConfigError, match="two sections for one class"):
        Beech()


def test_a_class_that_its_module_has_not_is_refused_when_the_module_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import types
    from importlib.machinery import ModuleSpec

    shop = types.ModuleType("shop_of_settings")
    shop.__spec__ = ModuleSpec("shop_of_settings", None)
    monkeypatch.setitem(sys.modules, "shop_of_settings", shop)
    cls: type[Task[int]] = type("Sales", (Beech,), {"__module__": "shop_of_settings"})
    settings = Settings(tasks={"shop_of_settings.Sale": {"rate": 0.5}})
    use(settings)

    for attempt in (cls, settings.check):
        with pytest.raises(ConfigError, match=r"Did you mean 'shop_of_settings\.Sales'"):
            attempt()
    assert 0.1 == Beech().rate


def test_names_of_no_class_are_found_by_check() -> None:
    with pytest.raises(ConfigError, match=r"'Brch' of tasks is for no class.*'Birch'"):
        Settings(tasks={"Brch": {}}).check()
    Settings(tasks={"Birch": {}, "not.imported.yet.Birch": {}}).check()


# ---------------------------------------------------------------- stores


def test_the_workspace_is_that_of_call_settings_variable_or_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "workspace" == open_store().workspace
    monkeypatch.setenv(module.WORKSPACE, str(folder / "of_variable"))
    assert str(folder / "of_variable") == open_store().workspace
    use(Settings(workspace="of_settings", verify="always"))
    assert ("of_settings", "always") == (open_store().workspace, open_store().verify)
    assert str(folder) == open_store(folder).workspace
    store = open_store(folder)
    assert store is open_store(store)
    assert [] == list(folder.iterdir())


def test_the_index_belongs_to_the_workspace_of_the_settings(folder: Path) -> None:
    use(Settings(workspace=str(folder / "out"), index=f"sqlite:///{folder}/index.db"))

    with open_store() as store:
        _ = store.index.runs()
    assert (folder / "index.db").exists()
    with open_store(folder / "other") as store:
        _ = store.index.runs()
    assert (folder / "other" / "index.sqlite").exists()


def test_settings_travel_to_another_process() -> None:
    settings = Settings(tasks={"Beech": {"rate": 0.5}}, workers=2)

    assert settings == pickle.loads(pickle.dumps(settings))


def test_a_program_that_only_makes_tasks_has_settings(folder: Path) -> None:
    write(folder, "[tasks.Ash]\nsize = 5\n")
    write(
        folder,
        "from tadka.task import Task\n"
        "class Ash(Task[int]):\n"
        "    size: int = 1\n"
        "    def run(self) -> int: ...\n"
        "print(Ash().size, Ash(size=2).size)\n",
        "program.py",
    )
    done = subprocess.run(
        [sys.executable, "program.py"],
        env={**os.environ, "PYTHONPATH": str(source.SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("5 2\n", "") == (done.stdout, done.stderr)
