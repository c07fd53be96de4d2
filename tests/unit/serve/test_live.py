import gc
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.features import PropertyError
from tadka.scoring.model import Model
from tadka.serve.store.custom import PythonModel
from tadka.serve.store.live import Live, Serving
from tadka.serve.store.store import Store
from tadka.serve.store.warmup import touch
from tests.unit.serve.sample import Other, Visit, linear, publish, saved, visits

MESSAGES = [row.to_message() for row in visits(20)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    publish(store, tmp_path)
    return store


@pytest.fixture
def live(store: Store) -> Iterator[Live]:
    live = Live(store, Visit)
    yield live
    live.close()
    assert live.wait(30)


def version(live: Live, model: str = "ctr") -> int:
    (arm,) = live.current.by_name[model].arms
    return arm.version


def scores(live: Live, model: str = "ctr") -> Any:
    (arm,) = live.current.by_name[model].arms
    return arm.predict(MESSAGES)


def followed(live: Live) -> None:
    """As a worker does: looks at the word, refreshes, and waits for what is loaded."""
    assert live.wants_refresh()
    live.refresh()
    assert not live.wants_refresh()
    assert live.wait(30)


def test_what_is_published_is_served(live: Live) -> None:
    serving = live.current

    assert (1, ["ctr"]) == (serving.generation, [served.name for served in serving.models])
    (arm,) = serving.models[0].arms
    assert ("ctr", "production", 1, False) == (arm.model, arm.alias, arm.version, arm.is_python)
    assert np.array_equal(linear().predict(MESSAGES), scores(live))
    assert (10_000,) == serving.models[0].thresholds
    assert {1: arm} == serving.models[0].versions
    assert Visit is serving.features
    assert not live.wants_refresh()
    assert live.failure is None


def test_the_class_is_imported_by_the_name_saved(store: Store) -> None:
    assert "Visit" == Live(store.path).current.features.__name__


def test_a_new_version_is_swapped_in(live: Live, store: Store, tmp_path: Path) -> None:
    before = live.current
    publish(store, tmp_path, 1.0)

    followed(live)

    assert (2, 2) == (live.current.generation, version(live))
    assert np.array_equal(linear(1.0).predict(MESSAGES), scores(live))
    assert 1 == before.models[0].arms[0].version  # what was read once stays what it was


def test_the_swap_is_told_once_by_the_thread_that_loaded(store: Store, tmp_path: Path) -> None:
    told: list[tuple[Serving, str]] = []
    live = Live(
        store, Visit, on_swap=lambda found: told.append((found, threading.current_thread().name))
    )
    publish(store, tmp_path, 1.0)

    followed(live)

    assert [(live.current, "tadka-live")] == told
    store.rollback()
    live.refresh()
    assert "MainThread" == told[1][1]


def test_nothing_happens_where_nothing_changed(live: Live) -> None:
    before = live.current

    live.refresh()
    live.check_file()

    assert live.wait(0)
    assert before is live.current


def test_a_rollback_needs_no_file(live: Live, store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, 1.0)
    followed(live)
    store.rollback()
    (store.path / "ctr").rename(tmp_path / "gone")

    live.refresh()  # and no waiting: the swap is this thread's

    assert (3, 1) == (live.current.generation, version(live))
    assert np.array_equal(linear().predict(MESSAGES), scores(live))
    assert live.failure is None


def test_a_rollback_needs_no_file_after_a_restart_either(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, 1.0)
    live = Live(store, Visit)
    assert live.wait(30)
    store.rollback()
    shutil.rmtree(store.path / "ctr")

    live.refresh()

    assert 1 == version(live)
    assert np.array_equal(linear().predict(MESSAGES), scores(live))


def test_a_version_before_that_is_gone_stops_nobody(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, 1.0)
    shutil.rmtree(store.version_path("ctr", 1))

    live = Live(store, Visit)

    assert live.wait(30)
    assert (2, None) == (version(live), live.failure)


def broken(folder: Path) -> None:
    file = folder / "linear.npy"
    content = file.read_bytes()
    file.unlink()  # never changed in place: the old bytes may be mapped
    file.write_bytes(content[:-10])


def test_a_broken_version_changes_nothing_but_the_failure(
    live: Live, store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, 1.0)
    broken(store.version_path("ctr", 2))

    followed(live)

    assert (1, 1) == (live.current.generation, version(live))
    assert np.array_equal(linear().predict(MESSAGES), scores(live))
    assert live.failure is not None
    assert "Generation 2 is not served" in live.failure
    assert "linear.npy' is truncated" in live.failure


def test_a_broken_version_is_not_tried_again_at_once(
    live: Live, store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, 1.0)
    broken(store.version_path("ctr", 2))
    followed(live)
    shutil.rmtree(store.version_path("ctr", 2))

    live.refresh()
    live.check_file()
    assert live.wait(30)
    assert live.failure is not None
    assert "is truncated" in live.failure  # still the first failure

    publish(store, tmp_path, 2.0)
    followed(live)
    assert 3 == version(live)
    assert not live.failure


def test_a_failed_load_is_tried_again_after_a_while(
    live: Live, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, tmp_path, 1.0)
    store.version_path("ctr", 2).rename(tmp_path / "away")
    followed(live)
    assert live.failure is not None
    (tmp_path / "away").rename(store.version_path("ctr", 2))

    live.check_file()  # too early
    assert live.wait(30)
    assert 1 == version(live)
    monkeypatch.setattr("tadka.serve.store.live.RETRY_S", 0.0)
    live.check_file()

    assert live.wait(30)
    assert (2, 2) == (live.current.generation, version(live))
    assert not live.failure


def test_a_failure_is_logged_once(
    live: Live, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    (store.path / "state.json").write_text("{")

    with caplog.at_level(logging.ERROR, "tadka.serve"):
        live.refresh()
        live.refresh()

    assert [live.failure] == [record.getMessage() for record in caplog.records]


def test_a_repair_ends_a_failure(live: Live, store: Store) -> None:
    file = store.path / "state.json"
    text = file.read_text()
    file.write_text("{")
    live.refresh()
    assert live.failure is not None
    before = live.current

    file.write_text(text)
    live.refresh()

    assert live.failure is None
    assert before is live.current


def test_a_rollback_ends_a_failure(live: Live, store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, 1.0)
    broken(store.version_path("ctr", 2))
    followed(live)

    store.rollback()
    live.refresh()

    assert (3, 1, None) == (live.current.generation, version(live), live.failure)


@pytest.mark.parametrize("content", [b"\x05ab", None])
def test_requests_that_cannot_be_read_fail_the_version(
    live: Live, store: Store, tmp_path: Path, content: bytes | None
) -> None:
    publish(store, tmp_path, 1.0)
    file = store.version_path("ctr", 2) / "requests.pb"
    file.unlink()
    if content is not None:
        file.write_bytes(content)

    followed(live)

    assert 1 == version(live)
    assert live.failure is not None
    assert "requests.pb" in live.failure


def test_a_damaged_state_leaves_what_is_served(live: Live, store: Store) -> None:
    (store.path / "state.json").write_text("{")

    live.check_file()

    assert 1 == version(live)
    assert live.failure is not None
    assert "state.json' is no JSON" in live.failure


def test_a_state_that_is_gone_leaves_what_is_served(live: Live, store: Store) -> None:
    shutil.rmtree(store.path)

    live.check_file()

    assert 1 == version(live)
    assert live.failure is not None
    assert "has lost its state.json" in live.failure


def test_another_store_in_its_place_is_loaded_anew(
    live: Live, store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, 1.0)
    followed(live)
    shutil.rmtree(store.path)
    publish(store, tmp_path, 7.0)  # again version 1 of generation 1

    live.check_file()
    assert live.wait(30)

    assert (1, 1) == (live.current.generation, version(live))
    assert np.array_equal(linear(7.0).predict(MESSAGES), scores(live))
    publish(store, tmp_path, 8.0)
    followed(live)  # by the new store's word
    assert 2 == version(live)


def test_another_store_of_the_same_generation_is_loaded_anew(
    live: Live, store: Store, tmp_path: Path
) -> None:
    shutil.rmtree(store.path)
    publish(store, tmp_path, 7.0)

    live.check_file()
    assert live.wait(30)

    assert (1, 1, None) == (live.current.generation, version(live), live.failure)
    assert np.array_equal(linear(7.0).predict(MESSAGES), scores(live))


def test_a_lost_word_is_healed_by_a_look_at_the_file(
    live: Live, store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, 1.0)
    with (store.path / "generation").open("r+b") as file:  # as if killed before it was written
        file.write((1).to_bytes(8, "little"))
    assert not live.wants_refresh()

    live.check_file()

    assert live.wait(30)
    assert 2 == version(live)


FOLLOW = """
import sys
from tadka.serve.store.live import Live
from tests.unit.serve.sample import Visit

live = Live(sys.argv[1], Visit)
print("ready", flush=True)
while not live.wants_refresh():
    pass
live.refresh()
assert live.wait(30)
print(live.current.generation, live.current.models[0].arms[0].version, flush=True)
"""


def test_another_process_sees_the_word(store: Store, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FOLLOW, store.path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()

    publish(store, tmp_path, 1.0)

    assert "2 2\n" == process.communicate(timeout=60)[0]


def test_what_is_neither_served_nor_before_is_let_go(
    live: Live, store: Store, tmp_path: Path
) -> None:
    def scorer() -> Any:
        return live.current.models[0].arms[0].scorer

    seen = [weakref.ref(scorer())]
    for number in range(1, 4):
        publish(store, tmp_path, float(number))
        followed(live)
        seen.append(weakref.ref(scorer()))
        gc.collect()

        alive = [reference() is not None for reference in seen]
        assert [False] * (number - 1) + [True, True] == alive


def test_a_swap_while_another_is_loaded_wins(live: Live, store: Store, tmp_path: Path) -> None:
    for number in range(1, 30):
        publish(store, tmp_path, float(number))
        live.refresh()
        if number % 3 == 0:
            store.rollback()
            live.refresh()
    assert live.wait(60)

    state = store.state()
    assert state.generation == live.current.generation
    assert state.models["ctr"].aliases["production"] == version(live)
    assert live.failure is None
    assert len(live._models) <= 3


def test_loading_is_for_when_nobody_asks(store: Store, tmp_path: Path) -> None:
    policies: list[int] = []
    live = Live(store, Visit, on_swap=lambda _: policies.append(os.sched_getscheduler(0)))
    own = os.sched_getscheduler(0)
    publish(store, tmp_path, 1.0)

    followed(live)

    assert policies == [os.SCHED_IDLE]
    assert os.sched_getscheduler(0) == own != os.SCHED_IDLE


# Who answers.


def split_store(tmp_path: Path, split: str, key: str | None = None) -> Live:
    store = Store(tmp_path / "store")
    publish(store, tmp_path)
    publish(store, tmp_path, 1.0, "candidate")
    store.split(split, key=key)
    return Live(store, Visit)


def test_requests_are_split_in_proportion(tmp_path: Path) -> None:
    live = split_store(tmp_path, "production=90,candidate=10")
    served = live.current.models[0]
    messages = [Visit(f"user-{n}", n).to_message() for n in range(10_000)]

    counts = Counter(served.choose(message).alias for message in messages)

    assert 10_000 == counts.total()
    # five standard deviations of a binomial
    assert abs(counts["candidate"] - 1000) < 5 * math.sqrt(10_000 * 0.1 * 0.9)
    assert (9000, 10_000) == served.thresholds
    assert {1, 2} == set(served.versions)


def test_the_same_key_always_meets_the_same_arm(tmp_path: Path) -> None:
    live = split_store(tmp_path, "production=50,candidate=50", "user")
    served = live.current.models[0]
    seen: Counter[str] = Counter()
    for user in range(400):
        arms = {
            served.choose(Visit(f"u{user}", shop, shop / 3).to_message()).alias
            for shop in range(10)
        }
        assert 1 == len(arms)
        seen.update(arms)

    assert 130 < seen["candidate"] < 270
    # the same in another worker
    again = Live(tmp_path / "store", Visit).current.models[0]
    for message in MESSAGES:
        assert served.choose(message).alias == again.choose(message).alias


def test_a_malformed_message_is_given_to_some_arm(tmp_path: Path) -> None:
    live = split_store(tmp_path, "production=50,candidate=50", "user")

    assert "ctr" == live.current.models[0].choose(b"\xff\xff").model


def test_a_growing_share_keeps_who_was_there(tmp_path: Path) -> None:
    live = split_store(tmp_path, "candidate=10,production=90", "user")
    messages = [Visit(f"u{n}").to_message() for n in range(2000)]

    def candidates() -> set[int]:
        served = live.current.models[0]
        return {n for n, m in enumerate(messages) if served.choose(m).alias == "candidate"}

    before = candidates()
    Store(tmp_path / "store").split("candidate=30,production=70")
    live.refresh()

    assert before < candidates()


def test_an_arm_of_no_percent_is_never_chosen(tmp_path: Path) -> None:
    live = split_store(tmp_path, "candidate=0,production=100")
    served = live.current.models[0]

    assert {"production"} == {served.choose(m).alias for m in MESSAGES}
    assert 2 == len(served.arms)


def test_a_shadow_is_loaded_beside_the_arms(live: Live, store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, 1.0, "candidate")
    followed(live)
    assert () == live.current.models[0].shadow
    assert live._models.keys() == {("ctr", 1)}  # an alias without traffic is not loaded

    store.shadow(["candidate"])
    followed(live)

    served = live.current.models[0]
    assert [("candidate", 2)] == [(arm.alias, arm.version) for arm in served.shadow]
    assert 1 == version(live)
    assert {1, 2} == set(served.versions)


def test_several_models_come_in_the_order_of_their_names(store: Store, tmp_path: Path) -> None:
    store.publish(saved(tmp_path, group="shops"), model="a-cvr", features=Visit)

    live = Live(store, Visit)

    assert ["a-cvr", "ctr"] == [served.name for served in live.current.models]
    assert live.current.models[0].seed != live.current.models[1].seed
    assert np.array_equal(linear(group="shops").predict(MESSAGES), scores(live, "a-cvr"))


def test_one_wrong_message_does_not_spoil_the_others(live: Live) -> None:
    (arm,) = live.current.models[0].arms

    found = arm.predict([MESSAGES[0], b"\xff", Visit("faulty").to_message(), MESSAGES[1]])

    assert isinstance(found[1], DataError)
    assert not isinstance(found[1], PropertyError)
    assert isinstance(found[2], PropertyError)
    assert [found[0], found[3]] == linear().predict(MESSAGES[:2]).tolist()


class Half:
    """Has no opinion."""

    def predict(self, rows: list[Visit]) -> list[float]:
        return [0.5] * len(rows)


def test_an_object_of_python_is_served(live: Live, store: Store, tmp_path: Path) -> None:
    PythonModel(Half(), Visit).save(tmp_path / "half")
    store.publish(tmp_path / "half", features=Visit)

    followed(live)

    (arm,) = live.current.models[0].arms
    assert arm.is_python
    assert [0.5] * len(MESSAGES) == arm.predict(MESSAGES)


# Beginnings and ends.


def test_an_empty_store_can_be_served_and_filled(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(NotFound, match="serves nothing yet"):
        Live(store)
    live = Live(store, Visit)
    assert () == live.current.models
    assert not live.wants_refresh()

    publish(store, tmp_path)
    live.check_file()

    assert live.wait(30)
    assert 1 == version(live)
    publish(store, tmp_path, 1.0)
    followed(live)  # the word is there now
    assert 2 == version(live)


def test_a_word_that_has_no_bytes_yet_is_taken_up_later(live: Live, store: Store) -> None:
    other = Store(store.path.parent / "other")
    shutil.copytree(store.path, other.path)
    (other.path / "generation").write_bytes(b"")

    live = Live(other, Visit)

    assert live.word is None
    with (other.path / "generation").open("r+b") as file:
        file.write((1).to_bytes(8, "little"))
    live.check_file()
    assert live.word is not None
    assert 1 == live.word[0]


def test_a_broken_store_is_refused_at_the_start(store: Store) -> None:
    broken(store.version_path("ctr", 1))

    with pytest.raises(DataError, match=r"linear\.npy' is truncated"):
        Live(store, Visit)


def test_the_version_before_a_broken_one_is_served_at_the_start(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, tmp_path, 1.0)
    store.version_path("ctr", 2).rename(tmp_path / "away")

    live = Live(store, Visit)

    assert (1, 1) == (live.current.generation, version(live))
    assert np.array_equal(linear().predict(MESSAGES), scores(live))
    assert live.failure is not None
    assert "Generation 2 is not served" in live.failure
    (tmp_path / "away").rename(store.version_path("ctr", 2))
    monkeypatch.setattr("tadka.serve.store.live.RETRY_S", 0.0)
    live.check_file()
    assert live.wait(30)
    assert (2, 2) == (live.current.generation, version(live))
    assert not live.failure


def test_where_the_version_before_is_broken_too_the_first_is_named(
    store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, 1.0)
    broken(store.version_path("ctr", 1))
    broken(store.version_path("ctr", 2))

    with pytest.raises(DataError, match=r"2/linear\.npy' is truncated"):
        Live(store, Visit)


def test_another_class_is_refused_at_the_start(store: Store) -> None:
    with pytest.raises(ConfigError, match="was made with another 'Visit'"):
        Live(store, Other)


def test_a_key_that_is_no_field_is_refused(live: Live, store: Store) -> None:
    file = store.path / "state.json"
    text = file.read_text().replace('"key": null', '"key": "usr"')
    file.write_text(text.replace('"generation": 1', '"generation": 2'))

    with pytest.raises(ConfigError, match="The split's key 'usr' is no field of 'Visit'"):
        Live(store, Visit)
    live.check_file()
    assert 1 == live.current.generation
    assert live.failure is not None
    assert "'usr' is no field" in live.failure


def test_a_closed_one_still_answers_but_follows_no_more(store: Store, tmp_path: Path) -> None:
    live = Live(store, Visit)
    publish(store, tmp_path, 1.0)

    live.close()

    assert not live.wants_refresh()
    assert np.array_equal(linear().predict(MESSAGES), scores(live))


def test_parameters_are_mapped_and_can_be_touched(live: Live) -> None:
    model = live.current.models[0].arms[0].scorer
    assert isinstance(model, Model)

    assert isinstance(model.arrays["linear"], np.memmap)
    touch(model)
    touch(PythonModel(Half(), Visit))
