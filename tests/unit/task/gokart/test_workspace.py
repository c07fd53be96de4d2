import bz2
import contextlib
import datetime as dt
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ElementTree

import fsspec
import numpy as np
import pandas as pd
import pytest

from tadka.core.error import ConfigError, DataError, MissingExtra, NotFound
from tadka.task.gokart.format import NotPlain, unpickle_plain
from tadka.task.gokart.workspace import GokartWorkspace, from_gokart
from tadka.task.testing import assert_frames_equal
from tests.unit.task.gokart_workspace import FAILED, RUNS, content_of, make_workspace, write

FRAME = pd.DataFrame({"user": [1, 2, 3], "item": ["a", "b", None], "price": [0.5, 1.25, 2.0]})
CLICKS = "shop/tasks/Clicks_9d4c96c5342a24ed20c9b2a76779ac78.pkl"
ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_workspace(tmp_path / "resources")


@pytest.fixture
def workspace(folder: Path) -> GokartWorkspace:
    return from_gokart(folder)


def value(workspace: GokartWorkspace, suffix: str, **settings: Any) -> Any:
    [result] = workspace.find("Value", where={"suffix": suffix})
    return result.load(**settings)


# ---------------------------------------------------------------- listing


def test_every_output_is_listed_with_its_task(workspace: GokartWorkspace) -> None:
    expected = {path: id_ for _, id_, _, _, paths in RUNS for path in paths}
    expected["shop/tasks/Quiet_b58d2fb21c7c4fda5b5e3194a16d4d38.pkl"] = (
        "b58d2fb21c7c4fda5b5e3194a16d4d38"
    )

    listed = {result.path: result.id for result in workspace if not result.problem}

    assert expected == listed
    assert len(expected) + len(FAILED) == len(workspace)


def test_a_result_has_what_the_logs_say(workspace: GokartWorkspace, folder: Path) -> None:
    [clicks] = workspace.find("Clicks")

    assert "shop.tasks.Clicks" == clicks.task  # its path is that of its module
    assert {"day": "2026-01-31", "limit": "10"} == clicks.params
    assert {"rows": 3} == clicks.log
    assert 0.25 == clicks.seconds
    assert 1505368786 == clicks.seed
    assert {} == clicks.versions
    assert "pkl" == clicks.format
    assert 1223 == clicks.num_bytes
    assert "" == clicks.problem
    assert clicks.changed_at is not None
    assert (folder / CLICKS).stat().st_mtime == pytest.approx(clicks.changed_at.timestamp())


def test_a_task_among_the_parameters_is_unpacked(workspace: GokartWorkspace) -> None:
    [features] = workspace.find("Features")

    assert {
        "clicks": {"task": "Clicks", "params": {"day": "2026-01-31", "limit": "10"}},
        "window": "7",
    } == features.params
    assert 1.25 == features.log["mean"]
    assert "clicks=Clicks(day=2026-01-31, limit=10), window=7" in str(workspace)


def test_params_are_not_those_of_gokart_itself(workspace: GokartWorkspace) -> None:
    """gokart 1.12 gives its task_log where task_params are asked for."""
    assert "rows" not in workspace.find("Clicks")[0].params


def test_files_without_an_id_are_found_by_the_log(workspace: GokartWorkspace) -> None:
    [hidden] = workspace.find("Hidden")

    assert ("latest/report.txt", "a311542a7d2d20e3c7a6fa665d044467") == (hidden.path, hidden.id)
    assert ["one", "two"] == workspace.load("latest/report.txt")


def test_tasks_without_logs_have_their_name_from_the_path(workspace: GokartWorkspace) -> None:
    [quiet] = workspace.find("Quiet")

    assert "shop.tasks.Quiet" == quiet.task
    assert ({}, {}, None, None, {}) == (
        quiet.params,
        quiet.log,
        quiet.seconds,
        quiet.seed,
        quiet.versions,
    )


def test_other_files_are_not_listed(folder: Path) -> None:
    before = len(from_gokart(folder))
    write(folder / "README.md", b"x")
    write(folder / "notes/data.csv", b"x")
    write(folder / "tmp/0123/data_0.pkl", b"x")
    write(folder / "log/task_info/tree.txt", b"x")

    assert before == len(from_gokart(folder))


def test_find_by_class_parameter_and_time(workspace: GokartWorkspace, folder: Path) -> None:
    os.utime(folder / CLICKS, (0, dt.datetime(2020, 1, 2, tzinfo=dt.UTC).timestamp()))
    workspace = from_gokart(folder)

    assert 2 == len(workspace.find("Several"))
    assert 14 == len(workspace.find("Value"))
    assert 1 == len(workspace.find("shop.tasks.Clicks", where={"limit": 10}))
    assert [] == workspace.find("Clicks", where={"limit": 11})
    assert [] == workspace.find("Clicks", since=dt.datetime(2020, 1, 3))  # noqa: DTZ001 - it is UTC
    assert 1 == len(workspace.find("Clicks", since=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))


def test_a_workspace_is_a_sequence_and_becomes_json_and_a_frame(workspace: GokartWorkspace) -> None:
    rows = json.loads(json.dumps(workspace.to_json()))

    assert list(workspace) == [workspace[i] for i in range(len(workspace))]
    assert 2 == len(workspace[:2])
    assert [row["path"] for row in rows] == list(workspace.to_pandas()["path"])
    assert 1.25 == next(row for row in rows if row["task"] == "Features")["log"]["mean"]
    assert f"GokartWorkspace({workspace.uri!r}, {len(workspace)} results)" == repr(workspace)


def test_only_names_are_read_for_a_list(folder: Path) -> None:
    """Of 5 logs a task, none is opened before it is asked for, unless a file has no id."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "report.txt":
            path.write_bytes(b"damaged")
    (folder / "latest/report.txt").unlink()

    assert 14 == len(from_gokart(folder).find("Value"))


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "ndjson", "parquet"])
def test_frames(suffix: str, workspace: GokartWorkspace) -> None:
    found = value(workspace, suffix)
    found["item"] = found["item"].astype(object)

    assert_frames_equal(FRAME, found)


def test_feather_with_its_index(workspace: GokartWorkspace) -> None:
    found = value(workspace, "feather")
    found["item"] = found["item"].astype(object)

    assert_frames_equal(FRAME.set_index(pd.Index([7, 8, 9], name="row")), found)


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [("txt", ["one", "two"]), ("ini", ["[a]", "b = 1"]), ("gz", ["one", "two"])],
)
def test_texts_are_lists_of_lines_as_in_gokart(
    suffix: str, expected: list[str], workspace: GokartWorkspace
) -> None:
    assert expected == value(workspace, suffix)


def test_arrays_pictures_and_xml(workspace: GokartWorkspace) -> None:
    assert [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] == value(workspace, "npz").tolist()
    assert value(workspace, "png").startswith(b"\x89PNG")
    assert value(workspace, "jpg").startswith(b"\xff\xd8")
    tree = value(workspace, "xml")
    assert isinstance(tree, ElementTree)
    assert "x" == tree.findtext("b")


def test_other_encodings(folder: Path) -> None:
    path = f"data/words_{ID}.csv"
    write(folder / path, "word\nカレー\n".encode("cp932"))

    found = from_gokart(folder).load(path, encoding="cp932")

    assert ["カレー"] == list(found["word"])
    with pytest.raises(DataError, match="cannot be read as csv"):
        from_gokart(folder).load(path)


def test_a_frame_without_columns_is_one_empty_line_of_csv(folder: Path) -> None:
    write(folder / f"data/none_{ID}.csv", b"\n")

    assert (0, 0) == from_gokart(folder).load(ID).shape


# ---------------------------------------------------------------- pickles


def test_plain_pickles_need_no_trust(workspace: GokartWorkspace) -> None:
    assert {"rate": 0.1, "names": ["a", "b"], "days": (1, 2)} == workspace.load("Plain")
    assert 1 == workspace.load("Quiet")


def test_other_pickles_do(workspace: GokartWorkspace) -> None:
    with pytest.raises(ConfigError, match=r"names pandas.*load\(is_trusted=True\)"):
        workspace.load("Clicks")

    found = workspace.load("Clicks", is_trusted=True)  # written by dill and pandas 3

    found["item"] = found["item"].astype(object)
    assert_frames_equal(FRAME, found)


def test_functions_need_dill(workspace: GokartWorkspace) -> None:
    with pytest.raises(MissingExtra, match=r"needs dill .*pip install dill"):
        value(workspace, "pkl", is_trusted=True)


class Evil:
    def __init__(self, run: Any, *args: Any) -> None:
        self.what = run, args

    def __reduce__(self) -> Any:
        return self.what


@pytest.mark.parametrize(
    "make",
    [
        lambda path: Evil(os.mkdir, str(path)),
        lambda path: Evil(subprocess.Popen, ["mkdir", str(path)]),
        lambda path: Evil(eval, f"__import__('os').mkdir({str(path)!r})"),
        lambda path: {"a": [Evil(os.makedirs, str(path))]},
    ],
)
def test_no_code_of_a_pickle_runs_unless_asked(
    make: Callable[[Path], Any], folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "made"
    data = pickle.dumps(make(target), 4)
    write(folder / f"shop/Evil_{ID}.pkl", data)
    for kind in ("task_log", "task_params", "processing_time", "random_seed"):
        write(folder / f"log/{kind}/Evil_{ID}.pkl", data)
    write(folder / "shop/no_id.txt", b"")  # so that all logs are read

    workspace = from_gokart(folder)
    str(workspace)
    workspace.to_json()
    with pytest.raises(ConfigError, match="is a pickle that names"):
        workspace.load(ID)

    assert not target.exists()
    assert "code of pickles is not run for a list" in workspace.find("Evil")[0].problem


def test_logs_of_numbers_and_dates_are_read(folder: Path) -> None:
    log = {
        "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "auc": np.float32(0.5),
        "n": np.int64(3),
        "set": {1},
        "file_path": [],
    }
    write(folder / f"shop/Other_{ID}.pkl", pickle.dumps(1))
    write(folder / f"log/task_log/Other_{ID}.pkl", pickle.dumps(log, 4))

    [found] = from_gokart(folder).find("Other")

    assert "" == found.problem
    assert {k: v for k, v in log.items() if k != "file_path"} == found.log
    assert '"auc": 0.5' in json.dumps(found.to_json())


def test_damaged_bytes_of_logs_end_in_one_error() -> None:
    """Neither in a crash of the process, as numpy's own reading of them may, nor in gigabytes."""
    values = [{"a": 1, "b": [2.5, {"x"}]}, {"m": np.float64(1.25)}, {"d": dt.datetime(2026, 1, 1)}]  # noqa: DTZ001
    whole = [pickle.dumps(value, protocol) for value in values for protocol in (0, 2, 4, 5)]
    draw = random.Random(7)
    for _ in range(3000):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        with contextlib.suppress(DataError, NotPlain):
            unpickle_plain(bytes(data))

    with pytest.raises(DataError, match="a place that it cannot have"):
        unpickle_plain(b"\x80\x02}r\xff\xff\xff\x7f.")


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("suffix", ["parquet", "feather", "npz", "pkl", "png", "json", "xml"])
def test_half_a_file_is_told_and_refused(suffix: str, folder: Path) -> None:
    [result] = from_gokart(folder).find("Value", where={"suffix": suffix})
    path = folder / result.path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    workspace = from_gokart(folder)
    [result] = workspace.find("Value", where={"suffix": suffix})

    assert "The file is damaged: its end is missing." == result.problem
    assert result in workspace.problems
    with pytest.raises(DataError, match=r"is damaged: its end is missing\. Run its task again"):
        result.load(is_trusted=True)


@pytest.mark.parametrize(
    "suffix",
    ["csv", "tsv", "json", "ndjson", "gz", "xml", "npz", "parquet", "feather", "pkl", "png", "jpg"],
)
def test_an_empty_file_is_damaged(suffix: str, folder: Path) -> None:
    """Of a csv of 0 bytes gokart makes a frame of 0 rows without a word."""
    [result] = from_gokart(folder).find("Value", where={"suffix": suffix})
    (folder / result.path).write_bytes(b"")

    with pytest.raises(DataError, match="it has 0 bytes"):
        value(from_gokart(folder), suffix)


@pytest.mark.parametrize("suffix", ["txt", "ini"])
def test_an_empty_text_is_an_empty_list(suffix: str, folder: Path) -> None:
    [result] = from_gokart(folder).find("Value", where={"suffix": suffix})
    (folder / result.path).write_bytes(b"")

    assert [] == value(from_gokart(folder), suffix)


@pytest.mark.parametrize("suffix", ["parquet", "feather", "npz", "json", "ndjson", "xml", "gz"])
def test_damage_within_is_one_kind_of_error(suffix: str, folder: Path) -> None:
    [result] = from_gokart(folder).find("Value", where={"suffix": suffix})
    path = folder / result.path
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 4, len(data) * 3 // 4)
    data[middle] = b"\xff" * len(data[middle])
    path.write_bytes(data)

    with pytest.raises(DataError, match="damaged"):
        value(from_gokart(folder), suffix)


def test_tasks_that_failed_and_files_that_luigi_left(workspace: GokartWorkspace) -> None:
    [failing] = workspace.find("Failing")
    [broken] = workspace.find("Broken")

    assert "" == failing.path
    assert "It was started and has not ended: it failed, or still runs." == failing.problem
    assert "The file is damaged: luigi was writing it, and did not finish." == broken.problem
    assert [broken, failing] == workspace.problems
    with pytest.raises(NotFound, match="it failed, or still runs"):
        failing.load()
    with pytest.raises(DataError, match="did not finish"):
        broken.load()


def test_an_output_that_is_gone(folder: Path) -> None:
    (folder / CLICKS).unlink()

    [clicks] = from_gokart(folder).find("Clicks")

    assert "It ended well, and its output is gone." == clicks.problem
    assert {"day": "2026-01-31", "limit": "10"} == clicks.params


def test_damaged_logs_are_told_and_harm_nothing_else(folder: Path) -> None:
    name = Path(CLICKS).stem
    for kind, data in {
        "task_params": b"",
        "task_log": b"\x80\x04\x95",
        "processing_time": pickle.dumps("soon", 4),
        "random_seed": pickle.dumps([1], 4),
    }.items():
        (folder / f"log/{kind}/{name}.pkl").write_bytes(data)
    (folder / f"log/module_versions/{name}.txt").write_bytes(b"numpy==2.4\n\xff\n")
    workspace = from_gokart(folder)

    [clicks] = workspace.find("Clicks")

    assert ({}, {}, None, None) == (clicks.params, clicks.log, clicks.seconds, clicks.seed)
    assert {"numpy": "2.4"} == clicks.versions
    assert "Its task_params cannot be read" in clicks.problem
    assert "Its task_log cannot be read" in clicks.problem
    assert len(clicks.load(is_trusted=True)) == 3
    assert "Clicks" in str(workspace)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"type": "A"}',
        '{"type": "A", "params": "zz"}',
        '{"type": "A", "params": "00"}',
        json.dumps({"type": "A", "params": bz2.compress(b"[").hex()}),
        json.dumps({"type": "A", "params": bz2.compress(b'"' + b" " * (1 << 25)).hex()}),
        "[" * 100_000,
    ],
)
def test_parameters_that_only_look_like_tasks_stay_text(text: str, folder: Path) -> None:
    name = Path(CLICKS).stem
    (folder / f"log/task_params/{name}.pkl").write_bytes(pickle.dumps({"a": text}, 4))

    assert {"a": text} == from_gokart(folder).find("Clicks")[0].params


def test_lists_of_tasks_and_deep_ones_are_unpacked(folder: Path) -> None:
    text = "{}"
    for _ in range(20):
        text = json.dumps(
            {"before": json.dumps({"type": "A", "params": bz2.compress(text.encode()).hex()})}
        )
    inner = json.loads(text)["before"]
    name = Path(CLICKS).stem
    data = pickle.dumps({"days": json.dumps([inner, inner])}, 4)
    (folder / f"log/task_params/{name}.pkl").write_bytes(data)

    days = from_gokart(folder).find("Clicks")[0].params["days"]

    assert 2 == len(days)
    for _ in range(20):
        days = days[0] if isinstance(days, list) else days["params"]["before"]
    assert {"task": "A", "params": {}} == days or {"params", "task"} == set(days)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("task", ["Model", "Large"])
def test_zips_are_refused_with_the_way_to_read_them(task: str, workspace: GokartWorkspace) -> None:
    with pytest.raises(ConfigError, match=r"load_function\.pkl .* data_0\.pkl"):
        workspace.load(task, is_trusted=True)


def test_formats_of_other_processors_are_refused(folder: Path) -> None:
    write(folder / f"data/model_{ID}.onnx", b"x")

    with pytest.raises(ConfigError, match=r"suffix 'onnx', .*with a processor of yours"):
        from_gokart(folder).load(ID)


def test_what_is_not_there_or_not_one(workspace: GokartWorkspace, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has no result 'Nothing'"):
        workspace.load("Nothing")
    with pytest.raises(NotFound, match="has no result ''"):
        workspace.load("")
    with pytest.raises(ConfigError, match=r"has 14 results 'Value': .*, \.\.\.\. Name one"):
        workspace.load("Value")
    with pytest.raises(ConfigError, match="has 2 results"):
        workspace.load("2096ec7c")
    with pytest.raises(NotFound, match="should be gokart's workspace"):
        from_gokart(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotFound, match="should be gokart's workspace"):
        from_gokart(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert 0 == len(from_gokart(tmp_path / "empty"))
    assert "task" in str(from_gokart(tmp_path / "empty"))


def test_a_workspace_that_was_moved(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder, tmp_path / "elsewhere")

    assert "latest/report.txt" == from_gokart(tmp_path / "elsewhere").find("Hidden")[0].path


# ---------------------------------------------------------------- elsewhere


@pytest.fixture
def memory(folder: Path) -> Iterator[str]:
    file_system = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            file_system.pipe(f"/gokart/{path.relative_to(folder)}", path.read_bytes())
    yield "memory://gokart"
    file_system.rm("/gokart", recursive=True)


def test_a_workspace_of_another_file_system(memory: str, workspace: GokartWorkspace) -> None:
    found = from_gokart(memory)

    def known(results: Any) -> list[Any]:
        return [(r.task, r.id, r.path, r.params, r.problem) for r in results]

    assert known(workspace) == known(found)
    assert all(result.changed_at is not None for result in found if result.path)
    assert {"rate": 0.1, "names": ["a", "b"], "days": (1, 2)} == found.load("Plain")
    assert (3, 3) == value(found, "parquet").shape
    assert ["one", "two"] == value(found, "gz")


def test_a_workspace_on_s3(folder: Path, bucket: str) -> None:
    file_system, path = fsspec.core.url_to_fs(bucket)
    file_system.put(f"{folder}/", f"{path}/gokart/", recursive=True)

    found = from_gokart(f"{bucket}/gokart")

    assert 1 == len(found.find("Clicks", since=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    assert (3, 3) == value(found, "feather").shape
    assert len(RUNS) + 1 + 1 + len(FAILED) == len(found)


def test_nothing_heavy_is_loaded_for_a_list(folder: Path) -> None:
    code = (
        "import sys\n"
        "from tadka.task.gokart.workspace import from_gokart\n"
        f"w = from_gokart({str(folder)!r})\n"
        "print(w.load('Hidden'), len(w.find('Value')))\n"
        "print([m for m in ('pandas', 'polars', 'pyarrow', 'sqlalchemy') if m in sys.modules])\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert "['one', 'two'] 14\n[]\n" == done.stdout


def test_contents_of_the_generator_are_those_of_the_run(folder: Path) -> None:
    for _, _, _, _, paths in RUNS:
        for path in paths:
            assert content_of(path) == (folder / path).read_bytes()
