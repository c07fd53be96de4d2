import http.server
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tadka.cli.parameter import Given, parse
from tadka.core.error import ConfigError
from tests import source
from tests.command import TADKA, run_command

TASKS = '''
import datetime as dt
import threading
from enum import Enum
from pathlib import Path

from tadka.task import Out, Part, Task, param


class Mode(Enum):
    FAST = 1
    SLOW = 2


class Clicks(Task[int]):
    """Clicks of a day."""

    day: dt.date
    mode: Mode = Mode.FAST

    def run(self) -> int:
        return self.day.day * self.mode.value


class Late(Clicks):
    workers: int = 1

    def run(self) -> int:
        return -self.workers


class Features(Task[int]):
    clicks: Clicks
    other: Clicks | None = None
    is_deep: bool = False
    shift: float = 0.0
    item_name: str = "a"

    def run(self, clicks: int, other: int | None) -> int:
        return clicks + (other or 0) + int(self.shift)


class Total(Task[int]):
    days: list[Clicks]
    extra: Task[int]

    def run(self, days: list[int], extra: int) -> int:
        return sum(days) + extra


class Fails(Task[int]):
    number: int

    def run(self) -> int:
        raise ValueError(f"number {self.number} is unlucky")


class Many(Task[int]):
    parts: list[Task[int]]

    def run(self, parts: list[int]) -> int:
        return sum(parts)


class Both(Task[dict[str, int]]):
    out = {"one": Out("json"), "two": Out("json")}

    def run(self) -> dict[str, int]:
        return {"one": 1, "two": 2}


class UsesPart(Task[int]):
    one: Part[int]

    def run(self, one: int) -> int:
        return one


class Waits(Task[int]):
    def run(self) -> int:
        Path("waits").write_text("now")
        threading.Event().wait()
        return 0


NUMBER = 5
DAYS = [Clicks(day=dt.date(2026, 1, day)) for day in (1, 2, 3)]
many = Many(parts=[Fails(number=1), Fails(number=2), *DAYS])
part = Both()["one"]


def total(first: dt.date, num_days: int = 2, mode: Mode = Mode.FAST) -> Many:
    days = [first + dt.timedelta(days=day) for day in range(num_days)]
    return Many(parts=[Clicks(day=day, mode=mode) for day in days])


def no_task(number: int = 1) -> int:
    return number


def no_type(number) -> Many:
    return many
'''
DAY = ("--clicks.day", "2026-01-31")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a project."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "tasks.py").write_text(TASKS)
    return tmp_path


def task(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(folder, "task", *words, environment={"COLUMNS": "200", **environment})


def report(folder: Path, *words: str, status: int = 0, **environment: str) -> dict[str, dict]:  # type: ignore[type-arg]
    """The results of a run by class and name, the root's under its class."""
    done = task(folder, "run", *words, "--json", **environment)
    assert status == done.returncode, done.stderr
    found = json.loads(done.stdout)
    return {one["task"].rpartition(".")[2]: one for one in found["results"]} | {"report": found}


# ---------------------------------------------------------------- run


def test_a_function_makes_the_task_of_its_arguments(place: Path) -> None:
    words = ("shop.tasks:total", "--first", "2026-01-02", "--num-days", "3", "--mode", "SLOW")
    found = report(place, *words)

    assert 3 == found["report"]["counts"]["ran"] - 1
    assert "18\n" == task(place, "load", "Many").stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("total",), "total needs --first (date)."),
        (("total", "--first", "soon"), "Field 'first' of total is 'soon'; it must be"),
        (("total", "--frist", "2026-01-01"), "--frist is no argument of total. Did you mean"),
        (("no_task",), "Function no_task returned 'int'; it must return a task"),
        (("no_type", "--number", "1"), "Argument 'number' of function no_type has no type"),
    ],
)
def test_what_a_function_cannot_take_is_told(
    place: Path, words: tuple[str, ...], expected: str
) -> None:
    done = task(place, "run", f"shop.tasks:{words[0]}", *words[1:])

    assert 2 == done.returncode
    assert expected in done.stderr


def test_a_task_is_run_once(place: Path) -> None:
    done = task(place, "run", "shop.tasks:Features", *DAY)

    assert 0 == done.returncode, done.stderr
    assert "2 ran" in done.stdout
    result = Path(done.stdout.splitlines()[-1].split()[1])
    assert result.is_relative_to(place / "workspace" / "Features")
    assert result.exists()
    assert "" == done.stderr
    assert "2 hit" in task(place, "run", "shop.tasks:Features", *DAY).stdout
    assert "31\n" == task(place, "load", "Features").stdout


def test_parameters_have_the_types_of_their_fields(place: Path) -> None:
    words = [*DAY, "--clicks.mode", "SLOW", "--shift=-1.5", "--is-deep", "--item-name", "b c"]

    found = report(place, "shop.tasks:Features", *words)

    assert {"day": "2026-01-31", "mode": "SLOW"} == found["Clicks"]["fields"]
    fields = found["Features"]["fields"]
    assert (True, -1.5, "b c", None) == tuple(
        fields[name] for name in ("is_deep", "shift", "item_name", "other")
    )


def test_a_module_may_be_a_file(place: Path) -> None:
    assert "ran" == report(place, "shop/tasks.py:Features", *DAY)["Features"]["status"]


def test_a_task_that_is_needed_may_be_of_another_class(place: Path) -> None:
    found = report(place, "shop.tasks:Features", "--clicks", "shop.tasks:Late", *DAY)

    assert found["Late"]["id"] == found["Features"]["fields"]["clicks"]["task"]
    assert "-1\n" == task(place, "load", "Features").stdout


def test_a_task_that_may_be_missing_is_made_when_it_is_given(place: Path) -> None:
    found = report(place, "shop.tasks:Features", *DAY, "--other.day", "2026-01-01")

    assert found["Features"]["fields"]["other"] is not None
    assert 3 == len(found["report"]["results"])
    without = report(place, "shop.tasks:Features", *DAY, "--other", "null")
    assert without["Features"]["fields"]["other"] is None


def test_lists_of_tasks_and_parts_are_named(place: Path) -> None:
    extra = ("--extra", "shop.tasks:Late", "--extra.day", "2026-01-09")

    found = report(place, "shop.tasks:Total", "--days", "shop.tasks:DAYS", *extra)
    assert 3 == len(found["Total"]["fields"]["days"])
    assert "5\n" == task(place, "load", "Total").stdout
    part = report(place, "shop.tasks:UsesPart", "--one", "shop.tasks:part")
    assert "one" == part["UsesPart"]["fields"]["one"]["part"]


def test_tasks_of_a_module_are_run_as_they_are(place: Path) -> None:
    assert 3 == len(report(place, "shop.tasks:DAYS")["report"]["roots"])
    assert "ran" == report(place, "shop.tasks:part")["Both"]["status"]


def test_a_parameter_with_the_name_of_an_option_stands_behind_two_dashes(place: Path) -> None:
    words = ("--day", "2026-01-01", "--workers", "1", "--", "--workers", "3")
    done = task(place, "run", "shop.tasks:Late", *words)

    assert 0 == done.returncode, done.stderr
    assert "-3\n" == task(place, "load", "Late").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shop.tasks:Features"], "Clicks needs --clicks.day (date)."),
        (["shop.tasks:Clicks"], "Clicks needs --day (date)."),
        (["shop.tasks:Clicks", "--day", "soon"], "it must be a date such as 2026-01-31"),
        (["shop.tasks:Features", "--clicks.dy", "x"], "Did you mean '--clicks.day'?"),
        (["shop.tasks:Features", *DAY, "--wrkers", "3"], "Did you mean '--workers'?"),
        (["shop.tasks:Features", *DAY, *DAY], "--clicks.day was given twice"),
        (["shop.tasks:Features", *DAY, "more"], "'more' is not understood"),
        (["shop.tasks:Features", *DAY, "--shift"], "--shift has no value; it must be float"),
        (["shop.tasks:Features", "--clicks"], "--clicks has no value"),
        (["shop.tasks:Features", "--clicks", "shop.tasks:Lat"], "Did you mean 'Late'?"),
        (["shop.tasks:Features", "--clicks", "shop.tasks:DAYS"], "it must be a Clicks task"),
        (["shop.tasks:Features", *DAY, "--shift.x", "1"], "is no task; it has no parameters"),
        (["shop.tasks:Total", "--extra.day", "x"], "--extra"),
        (["shop.tasks:Total"], "Name one that a module has, as MODULE:NAME"),
        (["shop.tasks:DAYS", "--day", "x"], "is a list of tasks, which has no parameter --day"),
        (["shop.tasks:NUMBER"], "has no task 'NUMBER', but 'int' of that name"),
        (["shop.tasks:Fals"], "Did you mean 'Fails'?"),
        (["shop.tasks:MONTH"], "Waits, DAYS, many."),
        (["shop.tasks:Total", "--days", "DAYS"], "MODULE:NAME: --days shop.tasks:DAYS."),
        (["shop.tasks:Features", *DAY, "--no-is-deep"], "Write --is-deep false."),
        (["shop.tasks"], "write MODULE:CLASS, such as shop:Report or shop.py:Report"),
        (["shop.tasks:Features", *DAY, "--force", "Nothing"], "force has 'Nothing'"),
        (["shop.tasks:Features", *DAY, "--workers", "0"], "'--workers'"),
        (["shop.tasks:Features", *DAY, "--notify", "nowhere"], "must begin with https://"),
    ],
)
def test_wrong_usage_is_one_line_before_anything_runs(
    place: Path, words: list[str], message: str
) -> None:
    done = task(place, "run", *words)

    assert 2 == done.returncode, done.stdout
    assert message in done.stderr
    assert 1 == done.stderr.count("\n")
    assert not (place / "workspace").exists()


def test_a_module_that_is_not_there_is_told(place: Path) -> None:
    done = task(place, "run", "gone:X")

    assert 1 == done.returncode
    assert "There is no module 'gone'" in done.stderr


def test_all_failures_are_told_and_what_can_run_has_run(place: Path) -> None:
    done = task(place, "run", "shop.tasks:many")

    assert 1 == done.returncode
    for number in (1, 2):
        assert f"Fails(number={number})" in done.stderr
        assert f"number {number} is unlucky" in done.stderr
    assert "1 task was skipped" in done.stderr
    assert "Traceback" not in done.stderr
    assert "3 ran, 2 failed, 1 skipped" in done.stdout
    found = report(place, "shop.tasks:many", status=1)["report"]
    assert {"ran": 0, "hit": 3, "failed": 2, "skipped": 1} == found["counts"]


def test_what_modules_and_tasks_print_is_no_part_of_the_result(place: Path) -> None:
    text = TASKS.replace("return self.day.day", 'print("hello")\n        return self.day.day')
    (place / "shop" / "tasks.py").write_text(f'print("imported")\n{text}')

    done = task(place, "run", "shop.tasks:DAYS", "--json")

    assert json.loads(done.stdout)["is_ok"]
    assert ["imported", "hello", "hello", "hello"] == done.stderr.splitlines()


def test_force_runs_what_is_named(place: Path) -> None:
    words = ("shop.tasks:Features", *DAY)
    report(place, *words)

    forced = report(place, *words, "--force", "Clicks")
    assert ("ran", "hit") == (forced["Clicks"]["status"], forced["Features"]["status"])
    below = report(place, *words, "--force", "below:Clicks")
    assert ("hit", "ran") == (below["Clicks"]["status"], below["Features"]["status"])


def test_workers_and_progress(place: Path) -> None:
    done = task(place, "run", "shop.tasks:DAYS", "--workers", "2", "--progress", "json")

    assert 0 == done.returncode, done.stderr
    last = json.loads(done.stderr.splitlines()[-1])["stages"]["build"]
    assert (3, 3, "tasks") == (last["done"], last["total"], last["unit"])


def test_code_that_changed_is_served_with_a_warning_where_that_is_asked(place: Path) -> None:
    words = ("shop.tasks:Clicks", "--day", "2026-01-31")
    report(place, *words)
    (place / "shop" / "tasks.py").write_text(TASKS.replace("self.day.day *", "1 + self.day.day *"))

    done = task(place, "run", *words, "--on-code-change", "warn")

    assert "1 hit" in done.stdout
    assert done.stderr.startswith("tadka: ")
    assert "Clicks" in done.stderr
    assert "1 ran" in task(place, "run", *words).stdout


def test_an_interrupt_ends_with_status_130(place: Path) -> None:
    os.mkfifo(place / "waits")
    with subprocess.Popen(
        [TADKA, "task", "run", "shop.tasks:Waits"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(source.SOURCE)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        (place / "waits").read_text()  # waits until the task writes into the pipe
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)

    assert 130 == process.returncode
    assert "tadka: Interrupted." in told


# ---------------------------------------------------------------- settings


def test_settings_are_those_of_the_folder_or_of_a_file(place: Path) -> None:
    (place / "tadka.toml").write_text('workspace = "out"\n[tasks.Features]\nshift = 5.0\n')
    (place / "other.yaml").write_text("workspace: ${WHERE}\ntasks: {Features: {shift: 7}}\n")
    words = ("shop.tasks:Features", *DAY)

    assert 5.0 == report(place, *words)["Features"]["fields"]["shift"]
    assert (place / "out" / "index.sqlite").exists()
    given = report(place, *words, "--shift", "1")
    assert 1.0 == given["Features"]["fields"]["shift"]
    other = report(place, *words, "--settings", "other.yaml", WHERE=str(place / "there"))
    assert 7.0 == other["Features"]["fields"]["shift"]
    assert (place / "there" / "index.sqlite").exists()
    kept = json.loads(task(place, "ls", "Features", "--workspace", "out", "--json").stdout)
    assert [1.0, 5.0] == [row["fields"]["shift"] for row in kept]
    variable = report(place, *words, TADKA_SETTINGS="other.yaml", WHERE=str(place / "there"))
    assert "hit" == variable["Features"]["status"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tasks.Featurs]\nshift = 1", "'Featurs' of tasks is for no class"),
        ('[tasks."shop.tasks.Featurs"]\nshift = 1', "Did you mean 'shop.tasks.Features'?"),
        ("[tasks.Features]\nshft = 1", "Did you mean 'shift'?"),
        ('workspace = "${NOT_SET}"', "NOT_SET, which is not set"),
        ("workrs = 1", "Did you mean 'workers'?"),
    ],
)
def test_wrong_settings_are_told_before_anything_runs(place: Path, text: str, message: str) -> None:
    (place / "tadka.toml").write_text(text)

    done = task(place, "run", "shop.tasks:Features", *DAY)

    assert 2 == done.returncode
    assert message in done.stderr
    assert not (place / "workspace").exists()


# ---------------------------------------------------------------- look


def test_why_and_plan_say_what_changed_and_run_nothing(place: Path) -> None:
    words = ("shop.tasks:Features", *DAY)
    assert "never built" in task(place, "why", *words).stdout
    assert not (place / "workspace").exists()
    report(place, *words)
    assert "stored" == json.loads(task(place, "why", *words, "--json").stdout)["status"]

    other = json.loads(task(place, "why", *words, "--shift", "2", "--json").stdout)

    assert "runs" == other["status"]
    assert any("shift" in reason for reason in other["reasons"])
    assert "All" not in task(place, "plan", *words).stdout
    counts = json.loads(task(place, "plan", *words, "--shift=2", "--json").stdout)["counts"]
    assert (1, 1) == (counts["runs"], counts["stored"])
    lines = task(place, "plan", *words, "--all").stdout.splitlines()
    assert 3 == len(lines)


def test_the_tree_shows_what_is_needed(place: Path) -> None:
    report(place, "shop.tasks:Clicks", "--day", "2026-01-31")

    shown = task(place, "tree", "shop.tasks:Features", *DAY).stdout

    assert "[to run]" in shown.splitlines()[0]
    assert "clicks: Clicks(day=2026-01-31" in shown
    assert "[stored]" in shown
    assert (
        "Clicks"
        not in task(place, "tree", "shop.tasks:Features", *DAY, "--ignore", "Clicks").stdout
    )


def test_the_graph_is_one_file(place: Path) -> None:
    done = task(place, "graph", "shop.tasks:many", "--out", "pages/graph.html")

    assert "wrote    pages/graph.html\n" == done.stdout
    page = (place / "pages" / "graph.html").read_text()
    assert page.startswith("<!")
    assert "Fails" in page
    assert not (place / "workspace").exists()


def test_results_are_listed_shown_copied_and_loaded(place: Path) -> None:
    for shift in ("1", "2"):
        report(place, "shop.tasks:Features", *DAY, "--shift", shift)
    report(place, "shop.tasks:Both")

    assert 4 == len(json.loads(task(place, "ls", "--json").stdout))
    wanted = task(place, "ls", "Features", "--where", "shift=2", "--json")
    (found,) = json.loads(wanted.stdout)
    assert 2.0 == found["fields"]["shift"]
    assert 3 == len(task(place, "ls", "Features").stdout.splitlines())
    assert "33\n" == task(place, "load", found["key"][:10]).stdout
    assert {"one": 1, "two": 2} == json.loads(task(place, "load", "Both", "--json").stdout)
    assert "2\n" == task(place, "load", "Both", "--output", "two").stdout

    shown = task(place, "get", "Both", "--output", "one", "--out", "one.json")
    assert "output   one: 2 B" in shown.stdout
    assert "1\n" == (place / "one.json").read_text()
    assert found["key"] == json.loads(task(place, "get", found["id"], "--json").stdout)["key"]
    for words, message, status in (
        (["get", "Both", "--out", "two.json"], "say --output with one of 'one', 'two'", 2),
        (["get", "Both", "--output", "one", "--out", "one.json"], "exists", 2),
        (["get", "Nothing"], "Nothing of 'Nothing' is stored", 1),
        (["ls", "--where", "shift"], "write it as FIELD=VALUE", 2),
        (["ls", "--since", "never"], "'never' is no time", 2),
    ):
        done = task(place, *words)
        assert (status, True) == (done.returncode, message in done.stderr), done.stderr


def test_nothing_is_stored_in_a_workspace_that_is_not_there(place: Path) -> None:
    assert "Nothing.\n" == task(place, "ls").stdout
    assert "[]\n" == task(place, "runs", "list", "--json").stdout
    assert 1 == task(place, "runs", "show").returncode
    assert "0 results would be removed" in task(place, "gc").stdout
    assert not (place / "workspace").exists()


def test_runs_are_listed_shown_and_compared(place: Path) -> None:
    report(place, "shop.tasks:Features", *DAY)
    report(place, "shop.tasks:Features", *DAY, "--shift", "3")
    report(place, "shop.tasks:many", status=1)

    rows = json.loads(task(place, "runs", "list", "--json").stdout)
    assert ["failed", "ok", "ok"] == [row["status"] for row in rows]
    shown = task(place, "runs", "show").stdout
    assert "unlucky" in shown
    assert rows[2]["id"] in task(place, "runs", "show", rows[2]["id"]).stdout
    told = task(place, "runs", "diff", rows[2]["id"], rows[1]["id"]).stdout
    assert "shift" in told
    assert 1 == task(place, "runs", "show", "gone").returncode


def test_gc_tells_first_and_removes_when_told(place: Path) -> None:
    report(place, "shop.tasks:Clicks", "--day", "2026-01-01")
    report(place, "shop.tasks:Features", *DAY)

    told = task(place, "gc", "--keep-runs", "1").stdout
    assert "1 result would be removed" in told
    assert "say --yes" in told
    assert 3 == len(json.loads(task(place, "ls", "--json").stdout))
    removed = task(place, "gc", "--keep", "shop.tasks:DAYS", "--yes").stdout
    assert "2 results removed" in removed
    (kept,) = json.loads(task(place, "ls", "--json").stdout)
    assert "2026-01-01" == kept["fields"]["day"]


def test_approve_binds_results_to_new_code(place: Path) -> None:
    words = ("shop.tasks:Clicks", "--day", "2026-01-31")
    report(place, *words)
    assert "nothing to approve" in task(place, "approve", *words).stdout
    (place / "shop" / "tasks.py").write_text(TASKS.replace("self.day.day *", "1 * self.day.day *"))

    assert "approved shop.tasks.Clicks" in task(place, "approve", *words).stdout

    assert "1 hit" in task(place, "run", *words).stdout
    refused = task(place, "approve", "shop.tasks:Clicks", "--day", "2026-02-01")
    assert 2 == refused.returncode
    assert "nothing is stored of it" in refused.stderr
    assert 2 == task(place, "approve", *words, "--moved", "x").returncode


# ---------------------------------------------------------------- telling others


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server, and the texts that it was told."""
    told: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append(json.loads(body)["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret", told
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_told_before_the_command_ends(
    place: Path, webhook: tuple[str, list[str]]
) -> None:
    url, told = webhook

    task(place, "run", "shop.tasks:many", "--notify", url)

    assert 3 == len(told)
    assert "unlucky" in told[0]


# ---------------------------------------------------------------- words


def test_words_become_values_by_place() -> None:
    found = parse(["--a-b.c=1", "--a-b.d", "--e", "-0.5", "--f="])

    assert {"a_b", "e", "f"} == set(found.below)
    below = found.below["a_b"].below
    assert ("1", False) == (below["c"].text, below["c"].is_flag)
    assert (None, True) == (below["d"].text, below["d"].is_flag)
    assert ("-0.5", "") == (found.below["e"].text, found.below["f"].text)
    assert Given("") == parse([])


@pytest.mark.parametrize("word", ["x", "-x", "--", "--a..b", "--.a", "--=1"])
def test_words_that_are_no_options_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="is not understood"):
        parse([word])
