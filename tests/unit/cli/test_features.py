import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tadka.cli.app import app

runner = CliRunner()

TEXT = """
from datetime import datetime
from typing import Annotated
from tadka.features import Features, Log

class Impression(Features{}):
    time: datetime
    user: str | None
    price: Annotated[float, Log()]

    @property
    def hour(self) -> str:
        return str(self.time.hour)

    @property
    def inverse(self) -> float:
        return 1 / (self.price - 7)

    @property
    def looped(self) -> str:
        for letter in str(self.user):
            return letter
        return ""
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "rows.py").write_text(TEXT.format(""))
    (tmp_path / "kept.py").write_text(TEXT.format(', proto="row.proto"'))
    pq.write_table(table(6), tmp_path / "rows.parquet", row_group_size=4)
    yield tmp_path
    for name in set(sys.modules) - before:
        # those of this folder only: a library that is loaded twice has every class twice
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def table(num_rows: int) -> pa.Table:
    return pa.table(
        {
            "time": pa.array([i * 3_600_000_000 for i in range(num_rows)], pa.timestamp("us")),
            "user": [None if i % 3 == 0 else f"u{i % 2}" for i in range(num_rows)],
            "price": [float(i) for i in range(num_rows)],
            "label": [0] * num_rows,
        }
    )


def run(*words: str) -> Any:
    return runner.invoke(app, ["features", *words])


def test_check_shows_features_reasons_examples_and_the_verdict() -> None:
    result = run("check", "rows.py:Impression", "--data", "rows.parquet")

    assert 0 == result.exit_code, result.stderr
    for words in ("hour", "Python: a loop (line 21)", "Log()", "33.3%", "missing -> ", "compiled"):
        assert words in result.stdout
    assert "6 rows: the same bits by columns and messages" in result.stdout


def test_check_gives_one_json_object() -> None:
    result = run("check", "rows.py:Impression", "--data", "rows.parquet", "--rows", "5", "--json")

    found = json.loads(result.stdout)
    assert (5, True) == (found["rows"], found["equal"])
    assert ["user", "price", "hour", "inverse", "looped"] == [f["name"] for f in found["features"]]


def test_check_tells_its_progress() -> None:
    result = run(
        "check", "rows.py:Impression", "--data", "rows.parquet", "--json", "--progress", "json"
    )

    last = json.loads(result.stderr.splitlines()[-1])
    assert (6, 6) == tuple(last["stages"]["check"][key] for key in ("done", "total"))


def test_check_ends_with_status_1_where_a_property_raises(folder: Path) -> None:
    pq.write_table(table(9), folder / "more.parquet", row_group_size=2)

    result = run("check", "rows.py:Impression", "--data", "more.parquet")

    assert 1 == result.exit_code
    assert "'inverse' raised ZeroDivisionError: float division by zero for row 7" in result.stderr


def test_check_ends_with_status_1_where_the_ways_differ(folder: Path) -> None:
    (folder / "odd.py").write_text(
        "from tadka.features import Features\nseen = []\nclass Row(Features):\n    label: int\n"
        "    @property\n    def count(self) -> int:\n        seen.append(1)\n"
        "        return len(seen)\n"
    )

    result = run("check", "odd:Row", "--data", "rows.parquet")

    assert 1 == result.exit_code
    assert "Row 0, feature 'count': [(" in result.stdout


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["check", "rows.py:Impression"], 2, "--data"),
        (["check", "rows:Impresion", "--data", "rows.parquet"], 2, "Did you mean 'Impression'"),
        (["check", "nothing:X", "--data", "rows.parquet"], 1, "There is no module 'nothing'"),
        (["check", "rows:Impression", "--data", "no.parquet"], 1, "No file matches"),
        (["check", "rows:Impression", "--data", "empty.parquet"], 1, "have no rows"),
        (["check", "rows:Impression", "--data", "users.parquet"], 1, "Did you mean 'users'?"),
        (["proto", "kept:Impression"], 2, "does not exist. Run: tadka features proto kept:Imp"),
        (["proto", "rows:Impression", "--update"], 2, 'proto="impression.proto"'),
        (["proto", "kept:Impression", "--update", "--out", "x"], 2, "--out and --update"),
        (["proto", "rows:Impression", "--out", "rows.py"], 2, "which tadka does not write"),
        (["vocabulary", "rows:Impression", "price", "--data", "rows.parquet", "--out", "x"], 1,
         "'price' of 'Impression' is float"),
        (["vocabulary", "rows:Impression", "user", "--data", "rows.parquet", "--out", "x",
          "--min-count", "9"], 1, "no word that comes at least 9 times in 6 rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    folder: Path, words: list[str], status: int, message: str
) -> None:
    pq.write_table(table(0), folder / "empty.parquet")
    pq.write_table(
        table(1).rename_columns(["time", "users", "price", "label"]), folder / "users.parquet"
    )

    result = run(*words)

    assert status == result.exit_code, result.output
    assert 1 == result.stderr.count("\n")
    assert message in result.stderr
    assert not (folder / "x").exists()


def test_proto_is_printed_or_written(folder: Path) -> None:
    printed = run("proto", "rows.py:Impression")
    written = run("proto", "rows.py:Impression", "--out", "a.proto")
    again = run("proto", "rows.py:Impression", "--out", "a.proto")

    assert (0, 0, 0) == (printed.exit_code, written.exit_code, again.exit_code)
    assert printed.stdout == (folder / "a.proto").read_text()
    assert "optional string user = 2;" in printed.stdout


def test_proto_does_not_renumber_a_file(folder: Path) -> None:
    run("proto", "rows.py:Impression", "--out", "a.proto")
    before = (folder / "a.proto").read_text()
    lines = TEXT.format("").replace("    time: datetime\n", "")
    (folder / "moved.py").write_text(
        lines.replace("    user: str | None\n", "    user: str | None\n    time: datetime\n")
    )

    result = run("proto", "moved.py:Impression", "--out", "a.proto")

    assert 2 == result.exit_code
    assert "'time' has number 1 in 'a.proto' and 2 in the class 'Impression'" in result.stderr
    assert "--update" in result.stderr
    assert before == (folder / "a.proto").read_text()


def test_update_keeps_the_history_of_the_class_s_own_file(folder: Path) -> None:
    first = run("proto", "kept.py:Impression", "--update")
    assert "new      time = 1" in first.stdout
    text = TEXT.format(', proto="row.proto"').replace("    user: str | None", "    who: str | None")
    (folder / "next.py").write_text(text.replace("self.user", "self.who"))

    refused = run("proto", "next:Impression")
    second = run("proto", "next:Impression", "--update")
    del sys.modules["next"]
    printed = run("proto", "next:Impression")

    assert 2 == refused.exit_code
    assert "'who' of 'Impression' has no number" in refused.stderr
    assert "new      who = 4" in second.stdout
    assert "removed  user = 2, reserved from now on" in second.stdout
    assert printed.stdout == (folder / "row.proto").read_text()
    assert 'reserved 2;\n  reserved "user";' in printed.stdout


def test_a_vocabulary_has_the_most_frequent_words_first(folder: Path) -> None:
    result = run(
        "vocabulary", "rows:Impression", "user", "--data", "rows.parquet", "--out", "users.txt"
    )

    assert 0 == result.exit_code, result.stderr
    assert "u0\nu1\n" == (folder / "users.txt").read_text()
    assert "2 words of 6 rows" in result.stdout
    run("vocabulary", "rows:Impression", "looped", "--data", "rows.parquet", "--out", "users.txt")
    assert "u\nN\n" == (folder / "users.txt").read_text()


def test_words_with_line_ends_are_left_out(folder: Path) -> None:
    pq.write_table(table(2).set_column(1, "user", pa.array(["a\nb", "c"])), folder / "odd.parquet")

    result = run(
        "vocabulary", "rows:Impression", "user", "--data", "odd.parquet", "--out", "users.txt"
    )

    assert "c\n" == (folder / "users.txt").read_text()
    assert "1 left out" in result.stdout


def test_the_noun_alone_shows_its_help() -> None:
    result = run()

    assert 2 == result.exit_code
    assert "Commands:\n  check" in result.output
