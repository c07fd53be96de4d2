import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.features import Features
from tadka.scoring import Linear
from tadka.serve.store.custom import PythonModel, load_any
from tadka.serve.store.requests import COLUMN, MAX_REQUESTS, read_requests
from tadka.serve.store.state import State
from tadka.serve.store.store import Store, publish_command
from tests.unit.serve.sample import (
    Other,
    Visit,
    everything,
    linear,
    publish,
    saved,
    visits,
)

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def word(store: Store) -> int:
    return int.from_bytes((store.path / "generation").read_bytes(), "little")


def python(code: str, *arguments: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def test_the_first_version_gets_all_requests(store: Store, tmp_path: Path) -> None:
    done = store.publish(saved(tmp_path), features=Visit)

    assert ("model", "production", 1, 1) == (done.model, done.alias, done.version, done.generation)
    assert (1, True, 100.0) == (done.replayed, done.is_new, done.share)
    assert 1 == word(store)
    names = everything(store.path)
    assert ["generation", "lock", "model", "model/1"] == [n for n in names if "." not in n]
    for name in ("model.json", "linear.npy", "features.proto", "requests.pb", "features.json"):
        assert f"model/1/{name}" in names
    assert np.array_equal(
        linear().predict(visits(4)),
        load_any(store.version_path("model", 1), Visit).predict(visits(4)),
    )


def test_the_first_alias_gets_all_requests_whatever_its_name(store: Store, tmp_path: Path) -> None:
    assert 100.0 == publish(store, tmp_path, alias="canary").share
    assert {"canary": 100.0} == store.state().models["ctr"].split


def test_a_second_alias_gets_none_until_it_is_named(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)

    done = publish(store, tmp_path, 1.0, "candidate")

    assert (2, 0.0) == (done.version, done.share)
    traffic = store.state().models["ctr"]
    assert {"production": 1, "candidate": 2} == traffic.aliases
    assert {"production": 100.0} == traffic.split


def test_the_store_is_a_copy(store: Store, tmp_path: Path) -> None:
    source = saved(tmp_path)
    (source / "notes").mkdir()
    store.publish(source, features=Visit)
    shutil.rmtree(source)

    assert isinstance(load_any(store.version_path("model", 1), Visit), Linear)
    assert not store.version_path("model", 1).joinpath("notes").exists()


def test_a_store_inside_the_model_directory_is_not_copied(tmp_path: Path) -> None:
    source = saved(tmp_path)

    done = Store(source / "serving").publish(source, features=Visit)

    assert 1 == done.version


def test_the_same_content_is_published_once(store: Store, tmp_path: Path) -> None:
    first = store.publish(saved(tmp_path), features=Visit)
    before = everything(store.path)

    again = store.publish(saved(tmp_path), features=Visit)

    assert (first.version, first.generation, False) == (
        again.version,
        again.generation,
        again.is_new,
    )
    assert before == everything(store.path)
    assert store.publish(saved(tmp_path), alias="candidate", features=Visit).is_new
    assert store.publish(saved(tmp_path, 1.0), features=Visit).is_new


def test_the_same_content_of_a_python_object_is_published_once(
    store: Store, tmp_path: Path
) -> None:
    for constant, is_new in ((0.5, True), (0.5, False), (0.25, True)):
        PythonModel(Constant(constant), Visit).save(tmp_path / "model", replace=True)
        assert is_new is store.publish(tmp_path / "model", features=Visit).is_new


class Constant:
    """Gives every row the same score."""

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, rows: list[Visit]) -> list[float]:
        return [self.value for row in rows]


def test_groups_of_one_class_are_models_of_one_store(store: Store, tmp_path: Path) -> None:
    store.publish(saved(tmp_path), model="ctr", features=Visit)
    store.publish(saved(tmp_path, group="shops"), model="cvr", features=Visit)

    assert {"ctr", "cvr"} == set(store.state().models)


def test_another_class_is_refused_with_what_differs(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    before = everything(store.path)
    Linear(Other).take({"bias": np.zeros(1), "linear": np.zeros(256, np.float32)}).save(
        tmp_path / "other"
    )

    with pytest.raises(ConfigError, match=r"feature class than .* 'Other' here and 'Visit' there"):
        store.publish(tmp_path / "other", model="other", features=Other)

    assert before == everything(store.path)
    assert 1 == store.state().generation


def test_a_group_does_not_hide_that_the_whole_class_differs(store: Store, tmp_path: Path) -> None:
    def made(**extra: Any) -> type[Features]:
        class Click(Features, size=64, groups={"users": ["user"]}):
            user: str = ""
            site: extra.get("site", str) = ""  # type: ignore[valid-type]

        return Click

    for number, cls in enumerate((made(), made(site=int))):
        model = Linear(cls, group="users")
        model.take({"bias": np.zeros(1), "linear": np.zeros(64, np.float32)})
        model.save(tmp_path / str(number))
    store.publish(tmp_path / "0", features=made())

    with pytest.raises(ConfigError, match="'site'"):
        store.publish(tmp_path / "1", features=made(site=int))


def test_a_class_that_is_not_the_models_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was made with another 'Visit'"):
        store.publish(saved(tmp_path), features=Other)

    assert State() == store.state()


def test_a_class_is_found_by_the_name_saved(store: Store, tmp_path: Path) -> None:
    store.publish(saved(tmp_path))

    assert "tests.unit.serve.sample" == store.features().__module__


def test_a_class_named_as_a_message_of_the_service_is_refused(store: Store, tmp_path: Path) -> None:
    class Score(Features, size=64):
        user: str = ""

    model = Linear(Score)
    slots = np.zeros(Score.definition().num_slots, np.float32)
    model.take({"bias": np.zeros(1), "linear": slots}).save(tmp_path / "model")

    with pytest.raises(ConfigError, match="named 'Score' cannot be served"):
        store.publish(tmp_path / "model", features=Score)

    assert State() == store.state()
    assert ["lock"] == everything(store.path)


def test_a_model_without_a_class_is_refused(store: Store, tmp_path: Path) -> None:
    Linear().take({"bias": np.zeros(1), "linear": np.zeros(4, np.float32)}).save(tmp_path / "plain")

    with pytest.raises(ConfigError, match="has no feature class"):
        store.publish(tmp_path / "plain")


@pytest.mark.parametrize(
    ("file", "content", "kind", "words"),
    [
        ("linear.npy", None, NotFound, r"linear\.npy' of the model is missing"),
        ("linear.npy", -4, DataError, r"linear\.npy' is truncated"),
        ("bias.npy", b"x" * 136, DataError, r"bias\.npy' is truncated or no array"),
        ("model.json", b"{", DataError, r"model\.json' cannot be read"),
        ("model.json", None, NotFound, r"is no model directory"),
    ],
)
def test_a_broken_version_is_refused_and_nothing_changes(
    store: Store, tmp_path: Path, file: str, content: Any, kind: Any, words: str
) -> None:
    publish(store, tmp_path)
    before, state = everything(store.path), store.state()
    source = saved(tmp_path, 1.0)
    if content is None:
        (source / file).unlink()
    elif isinstance(content, int):
        (source / file).write_bytes((source / file).read_bytes()[:content])
    else:
        (source / file).write_bytes(content)

    with pytest.raises(kind, match=words) as caught:
        store.publish(source, features=Visit)

    assert str(source) in str(caught.value)
    assert before == everything(store.path)
    assert state == store.state()
    assert 1 == word(store)


def test_arrays_of_a_wrong_length_or_type_are_refused(store: Store, tmp_path: Path) -> None:
    source = saved(tmp_path)
    np.save(source / "linear.npy", np.zeros(7, np.float64))

    with pytest.raises(DataError, match=r"holds float64 of shape \[7\]; the model was saved with"):
        store.publish(source, features=Visit)


def test_names_are_checked(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Model 'Ctr' is no name"):
        store.publish(saved(tmp_path), model="Ctr")
    with pytest.raises(ConfigError, match=r"Alias '\.\.' is no name"):
        store.publish(saved(tmp_path), alias="..")
    with pytest.raises(ConfigError, match="Model 'lock' is a name that the store uses"):
        store.publish(saved(tmp_path), model="lock")
    assert not store.path.exists()


def test_the_only_model_is_meant_and_of_several_one_must_be_named(
    store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, model="ctr")
    assert "ctr" == store.publish(saved(tmp_path, 1.0), features=Visit).model
    publish(store, tmp_path, model="cvr")

    with pytest.raises(ConfigError, match=r"several models: ctr, cvr\. Name one"):
        store.publish(saved(tmp_path, 2.0), features=Visit)
    with pytest.raises(ConfigError, match="no model 'x'; it has: ctr, cvr"):
        store.rollback("x")


# Requests that a version is tried with.


def test_rows_of_a_table_are_replayed_and_kept(store: Store, tmp_path: Path) -> None:
    rows = visits(MAX_REQUESTS + 200)
    names = [field.name for field in Visit.definition().fields]
    table = pa.table({name: [getattr(row, name) for row in rows] for name in names})
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=300)

    done = store.publish(saved(tmp_path), requests=tmp_path / "rows.parquet", features=Visit)

    assert MAX_REQUESTS == done.replayed
    kept = read_requests(store.version_path("model", 1) / "requests.pb")
    assert [row.to_message() for row in rows[:MAX_REQUESTS]] == kept


def write_log(folder: Path, name: str, messages: list[bytes], at: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"model": ["ctr"] * len(messages), COLUMN: messages})
    with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table, max_chunksize=3)
    os.utime(folder / name, (at, at))


def test_the_newest_logged_requests_are_replayed(store: Store, tmp_path: Path) -> None:
    messages = [row.to_message() for row in visits(8)]
    write_log(store.path / "log", "a.arrow", messages[:5], 1)
    write_log(store.path / "log", "b.arrow", messages[3:], 2)
    (store.path / "log" / "c.arrow").write_bytes(b"broken")
    (store.path / "log" / "d.arrow").symlink_to("nowhere")  # as one deleted while we look

    done = store.publish(saved(tmp_path), features=Visit)

    assert 8 == done.replayed  # each once, though two were logged twice
    kept = read_requests(store.version_path("model", 1) / "requests.pb")
    assert messages[::-1][:5] == kept[:5]
    write_log(tmp_path, "log.arrow", messages[:2], 1)
    done = store.publish(saved(tmp_path, 1.0), requests=tmp_path / "log.arrow", features=Visit)
    assert 2 == done.replayed


def test_a_request_without_a_score_stops_the_publication(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    before = everything(store.path)
    table = pa.table({COLUMN: [b"", Visit("faulty").to_message()]})
    parquet.write_table(table, tmp_path / "rows.parquet")

    with pytest.raises(
        DataError, match=r"is not published\. Request 1 of '.*rows\.parquet' has no score: .*flaw"
    ):
        store.publish(saved(tmp_path, 1.0), requests=tmp_path / "rows.parquet", features=Visit)

    assert before == everything(store.path)
    assert 1 == store.state().generation


class Growing:
    """Its scores leave the bounds with the shop."""

    def predict(self, rows: list[Visit]) -> list[float]:
        return [row.shop / 2 for row in rows]


def test_a_score_out_of_bounds_stops_the_publication(store: Store, tmp_path: Path) -> None:
    PythonModel(Growing(), Visit).save(tmp_path / "model")
    messages = [row.to_message() for row in visits(5)]
    parquet.write_table(pa.table({COLUMN: messages}), tmp_path / "rows.parquet")

    with pytest.raises(DataError, match=r"Request 3 of .* gives 1.5 for the row"):
        store.publish(tmp_path / "model", requests=tmp_path / "rows.parquet", features=Visit)

    assert State() == store.state()


def test_requests_that_cannot_be_read_are_named(store: Store, tmp_path: Path) -> None:
    source = saved(tmp_path)
    with pytest.raises(NotFound, match=r"none\.csv"):
        store.publish(source, requests=tmp_path / "none.csv", features=Visit)
    empty = pa.table({COLUMN: pa.array([], pa.binary())})
    parquet.write_table(empty, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"rows\.parquet' have no rows"):
        store.publish(source, requests=tmp_path / "rows.parquet", features=Visit)
    (tmp_path / "more.csv").write_text("usr\nx\n")
    with pytest.raises(DataError, match="no column 'user'"):
        store.publish(source, requests=tmp_path / "more.csv", features=Visit)
    assert State() == store.state()


@pytest.mark.parametrize("content", [b"\x05abc", b"\x01a\xff", b"\x80"])
def test_recorded_requests_that_are_truncated_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "requests.pb").write_bytes(content)

    with pytest.raises(DataError, match="is truncated"):
        read_requests(tmp_path / "requests.pb")
    with pytest.raises(NotFound, match="is missing"):
        read_requests(tmp_path / "none.pb")


# Rollback, split, shadow, prune, status.


def test_a_rollback_goes_back_and_a_second_forward(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    publish(store, tmp_path, 1.0)

    for version, previous, generation in ((1, 2, 3), (2, 1, 4)):
        state = store.rollback()
        traffic = state.models["ctr"]
        assert (version, previous) == (
            traffic.aliases["production"],
            traffic.previous["production"],
        )
        assert generation == state.generation == store.state().generation == word(store)


def test_a_rollback_without_a_version_before_says_what_to_do(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"does not exist\. Run: tadka serve publish"):
        store.rollback()
    publish(store, tmp_path)

    with pytest.raises(
        ConfigError, match=r"had no version before 1\. Publish the version you want"
    ):
        store.rollback()
    with pytest.raises(
        ConfigError, match=r"'produktion' has no version\. Did you mean 'production'"
    ):
        store.rollback(alias="produktion")
    assert 1 == store.state().generation


def test_a_rollback_to_a_version_that_is_gone_is_refused(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    publish(store, tmp_path, 1.0)
    shutil.rmtree(store.version_path("ctr", 1))

    with pytest.raises(NotFound, match="is no model directory"):
        store.rollback()
    assert 2 == store.state().models["ctr"].aliases["production"]


def test_a_split_keeps_its_key_until_another_is_named(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    publish(store, tmp_path, 1.0, "candidate")

    traffic = store.split("production=90,candidate=10", key="user").models["ctr"]
    assert ({"production": 90.0, "candidate": 10.0}, "user") == (traffic.split, traffic.key)
    traffic = store.split({"production": 50, "candidate": 50}).models["ctr"]
    assert ({"production": 50.0, "candidate": 50.0}, "user") == (traffic.split, traffic.key)
    assert store.split("production=100", key="").models["ctr"].key is None


def test_a_split_that_cannot_be_served_changes_nothing(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)

    with pytest.raises(ConfigError, match="sums to 90"):
        store.split("production=90")
    with pytest.raises(ConfigError, match="'candidat' has no version"):
        store.split("production=90,candidat=10")
    for key in ("usr", "tags", "user_shop"):
        with pytest.raises(ConfigError, match=f"Key '{key}' is no field .* user, shop, price"):
            store.split("production=100", key=key)
    assert 1 == store.state().generation


def test_shadows_are_set_and_switched_off(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    publish(store, tmp_path, 1.0, "candidate")

    assert ("candidate",) == store.shadow(["candidate"]).models["ctr"].shadow
    assert () == store.shadow([]).models["ctr"].shadow
    with pytest.raises(ConfigError, match="'x' has no version"):
        store.shadow(["x"])


def test_prune_keeps_what_is_served_or_may_be(store: Store, tmp_path: Path) -> None:
    for number in range(6):
        publish(store, tmp_path, float(number))
    publish(store, tmp_path, 9.0, "candidate")

    assert [store.version_path("ctr", 1), store.version_path("ctr", 2)] == store.prune()
    assert [store.version_path("ctr", n) for n in (3, 4)] == store.prune(0, model="ctr")
    assert [] == store.prune(0)
    assert ["5", "6", "7"] == sorted(p.name for p in (store.path / "ctr").iterdir())
    store.rollback()
    with pytest.raises(ConfigError, match="-1 versions"):
        store.prune(-1)
    with pytest.raises(ConfigError, match="no model 'x'"):
        store.prune(model="x")
    with pytest.raises(NotFound, match="does not exist"):
        Store(tmp_path / "none").prune()
    assert not (tmp_path / "none").exists()


def test_numbers_of_pruned_versions_are_not_used_again(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    publish(store, tmp_path, 1.0, "candidate")
    publish(store, tmp_path, 2.0, "candidate")
    publish(store, tmp_path, 3.0, "candidate")
    store.rollback(alias="candidate")
    shutil.rmtree(store.version_path("ctr", 4))

    assert 5 == publish(store, tmp_path, 4.0).version


def test_status_lists_every_alias(store: Store, tmp_path: Path) -> None:
    model = linear()
    model.metrics = {"rows": 10, "auc": 0.75}
    model.save(tmp_path / "model")
    store.publish(tmp_path / "model", model="ctr", features=Visit)
    publish(store, tmp_path, 1.0, "candidate")
    publish(store, tmp_path, 2.0, "candidate")
    store.shadow(["candidate"])
    (store.version_path("ctr", 3) / "model.json").unlink()

    first, second = store.status()

    assert ("ctr", "production", 1, 100.0, False, None, "linear") == (
        first.model,
        first.alias,
        first.version,
        first.share,
        first.is_shadow,
        first.previous,
        first.kind,
    )
    assert {"rows": 10, "auc": 0.75} == first.metrics
    assert first.since is not None
    assert first.since > 1_700_000_000
    assert ("candidate", 3, 0.0, True, 2, "damaged") == (
        second.alias,
        second.version,
        second.share,
        second.is_shadow,
        second.previous,
        second.kind,
    )


def test_an_empty_store_serves_nothing(store: Store) -> None:
    assert State() == store.state()
    assert [] == store.status()
    with pytest.raises(NotFound, match=r"serves nothing yet\. Run: tadka serve publish MODEL_DIR"):
        store.features()
    store.path.mkdir()
    with pytest.raises(ConfigError, match="has no model yet"):
        store.split("production=100")


def test_the_next_step_names_a_store_that_is_not_the_default() -> None:
    assert "tadka serve publish MODEL_DIR" == publish_command(Path("serving"))
    assert "tadka serve publish MODEL_DIR --store 'my store'" == publish_command("my store")


def test_a_damaged_state_or_class_is_named(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    record = store.version_path("ctr", 1) / "features.json"
    record.write_text("[]")
    with pytest.raises(DataError, match=r"features\.json' is damaged"):
        store.features()
    record.unlink()
    with pytest.raises(NotFound, match=r"features\.json' is missing"):
        store.features()
    (store.path / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"state\.json' is no JSON"):
        publish(store, tmp_path, 1.0)


# Writers that fail, come together, or die.


def test_more_versions_than_a_server_counts_apart_leave_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, tmp_path)
    before = everything(store.path)
    monkeypatch.setattr("tadka.serve.store.state.NUM_ARMS", 1)

    with pytest.raises(ConfigError, match="2 versions of 2 models"):
        publish(store, tmp_path, 1.0, model="cvr")

    assert before == everything(store.path)


@pytest.mark.parametrize("model", ["ctr", "cvr"])
def test_a_state_that_cannot_be_written_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    publish(store, tmp_path)
    before = everything(store.path)

    def fail(*_: Any) -> None:
        raise DataError("no room")

    monkeypatch.setattr(Store, "_write", fail)

    with pytest.raises(DataError, match="no room"):
        publish(store, tmp_path, 1.0, model=model)

    assert before == everything(store.path)


def test_a_version_that_the_state_names_is_kept_whatever_fails_then(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, tmp_path)
    bump = Store._bump

    def fail(self: Store, generation: int) -> None:
        if generation == 2:
            raise DataError("no word")
        bump(self, generation)

    monkeypatch.setattr(Store, "_bump", fail)

    with pytest.raises(DataError, match="no word"):
        publish(store, tmp_path, 1.0)

    assert 2 == store.state().models["ctr"].aliases["production"]
    load_any(store.version_path("ctr", 2), Visit)


KILLED = """
import os, signal, sys
from tadka.serve.store.store import Store
from tests.unit.serve.sample import Visit, linear

store, source, events = Store(sys.argv[1]), sys.argv[2], int(sys.argv[3])
left = events

def watch(event, arguments):
    global left
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "fcntl.flock") and any(
        sys.argv[1] in str(a) or event == "fcntl.flock" for a in arguments
    ):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

for _ in iter(sys.stdin.readline, ""):
    child = os.fork()
    if child == 0:
        left = events
        sys.addaudithook(watch)
        store.publish(source, model="ctr", features=Visit)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)
    events += 1
"""


@pytest.mark.parametrize("is_first", [True, False])
def test_a_publication_killed_anywhere_leaves_what_was_served(
    store: Store, tmp_path: Path, is_first: bool
) -> None:
    if not is_first:
        publish(store, tmp_path, 5.0)
    copy = tmp_path / "copy"
    if not is_first:
        shutil.copytree(store.path, copy)
    before = store.state()
    process = python(KILLED, store.path, saved(tmp_path), 1)
    assert process.stdin is not None
    assert process.stdout is not None
    kills, published = 0, 0
    while True:
        process.stdin.write("go\n")
        process.stdin.flush()
        answer = process.stdout.readline().strip()
        if answer == "0":
            break
        assert "-9" == answer, process.communicate()
        kills += 1
        state = store.state()
        if state != before:  # the last steps: all of it is done but the word
            published += 1
            assert before.generation + 1 == state.generation
        for name, traffic in state.models.items():
            for version in traffic.aliases.values():
                load_any(store.version_path(name, version), Visit)
        shutil.rmtree(store.path, ignore_errors=True)
        if not is_first:
            shutil.copytree(copy, store.path)
    process.communicate()

    assert kills > 15
    assert 1 <= published <= 8
    assert not [name for name in everything(store.path) if name.startswith(".")]


def test_what_dead_writers_left_is_swept_by_the_next(store: Store, tmp_path: Path) -> None:
    source = saved(tmp_path)
    for events in (8, 14):
        process = python(KILLED, store.path, source, events)
        assert "-9\n" == process.communicate("go\n")[0]
    left = [name for name in everything(store.path) if name.startswith(".aside-")]
    assert left
    (store.path / ".state.json.1-ab.tmp").write_text("half")

    publish(store, tmp_path)

    assert [] == [name for name in everything(store.path) if name.startswith(".")]


def test_what_a_living_writer_writes_is_not_swept(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    with store._aside() as aside:
        (aside / "file").write_text("x")
        publish(store, tmp_path, 1.0)
        assert ["file"] == everything(aside)
    assert not aside.exists()


def test_a_lost_word_is_written_by_the_next_writer(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    publish(store, tmp_path, 1.0)
    (store.path / "generation").write_bytes(bytes(8))  # as if killed before the word

    store.split("production=100")

    assert 3 == word(store)


PUBLISH = """
import sys
from tadka.serve.store.store import Store
from tests.unit.serve.sample import Visit

sys.stdin.readline()
done = Store(sys.argv[1]).publish(sys.argv[2], model="ctr", features=Visit)
print(done.version, done.generation)
"""


def test_publications_at_the_same_time_get_different_versions(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)
    processes = [python(PUBLISH, store.path, saved(tmp_path, 1.0 + n)) for n in range(3)]

    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(lambda process: process.communicate("go\n"), processes))

    assert ["2 2", "3 3", "4 4"] == sorted(out.strip() for out, _ in outputs), outputs
    assert (4, 4) == (store.state().generation, word(store))
    for version in (2, 3, 4):
        load_any(store.version_path("ctr", version), Visit)


def test_threads_publish_one_after_the_other(store: Store, tmp_path: Path) -> None:
    places = [saved(tmp_path, float(n)) for n in range(4)]
    barrier = threading.Barrier(4)

    def work(place: Path) -> int:
        barrier.wait()
        return store.publish(place, model="ctr", features=Visit).version

    with ThreadPoolExecutor(4) as pool:
        assert {1, 2, 3, 4} == set(pool.map(work, places))
    assert 4 == store.state().models["ctr"].last


FULL = """
import os, sys
from pathlib import Path
from tadka.core.error import DataError
from tadka.serve.store.store import Store
from tests.unit.serve.sample import Visit, everything, saved

disk, sources, free = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
store = Store(disk / "store")
store.publish(saved(sources), model="ctr", features=Visit)
before, state, room = everything(store.path), store.state(), os.statvfs(disk)
(disk / "junk").write_bytes(bytes(room.f_bavail * room.f_frsize - free))
changes = [lambda: store.publish(saved(sources, 1.0), model="ctr", features=Visit)]
if not free:
    changes.append(lambda: store.split("production=100"))
for change in changes:
    try:
        change()
    except DataError as error:
        print(error)
    else:
        print("was written")
assert everything(store.path) == before, everything(store.path)
assert store.state() == state
(disk / "junk").unlink()
print(store.publish(saved(sources, 1.0), model="ctr", features=Visit).version)
"""


@pytest.mark.needs_root
@pytest.mark.parametrize("free", [0, 8192, 16384])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, free: int) -> None:
    disk, sources = tmp_path / "disk", tmp_path / "sources"
    disk.mkdir()
    sources.mkdir()
    command = (
        f"mount -t tmpfs -o size=2m tmpfs {shlex.quote(str(disk))} && "
        f"exec {shlex.quote(sys.executable)} - {shlex.quote(str(disk))} "
        f"{shlex.quote(str(sources))} {free}"
    )

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command],
        input=FULL,
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )

    assert 0 == done.returncode, done.stderr
    *refusals, version = done.stdout.splitlines()
    assert (1 if free else 2) == len(refusals)
    assert all("is full" in line for line in refusals), refusals
    assert "2" == version


def test_the_state_file_can_be_read_by_others(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path)

    data = json.loads((store.path / "state.json").read_text())

    assert 1 == data["format"]
    assert {"production": 1} == data["models"]["ctr"]["aliases"]
