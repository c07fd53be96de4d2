"""Sessions on DuckDB: engine and checks at the same moment, failures, and whole versions."""

import datetime as dt
import importlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, LaunchError, NotFound
from tadka.dataset import (
    CheckedOutput,
    CheckFailed,
    CheckResult,
    CheckWarning,
    Custom,
    Dataset,
    Fresh,
    Matched,
    NullShare,
    Output,
    Parameter,
    RowCount,
    session,
)
from tadka.dataset.version.store import Store
from tests.unit.dataset.shop import (
    CHECKS,
    FIRST,
    NUM_USERS,
    PERIOD,
    at,
    clicks,
    files_below,
    impressions,
    make_shop,
    shop_dataset,
    write,
)

# the function of this name hides the module
sessions = importlib.import_module("tadka.dataset.session")

WAIT_S = 30.0  # for threads that answer at once, or never


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return make_shop(tmp_path / "shop")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


class Watched:
    """DuckDB's engine, with a start that the test holds in its hands."""

    def __init__(self, engine: Any, on_start: Callable[["Watched"], object]) -> None:
        self._engine = engine
        self._on_start = on_start
        self.calls: list[str] = []
        self.interrupted = threading.Event()

    def start(self) -> None:
        self.calls.append("start")
        assert threading.current_thread() is not threading.main_thread()
        self._on_start(self)
        self._engine.start()

    def interrupt(self) -> None:
        self.calls.append("interrupt")
        self.interrupted.set()
        self._engine.interrupt()

    def stop(self) -> None:
        self.calls.append("stop")
        self._engine.stop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Watched]]:
    """Makes the engines of all sessions watched ones."""

    def install(on_start: Callable[[Watched], object] = lambda _: None) -> list[Watched]:
        made: list[Watched] = []
        make = sessions.make_engine

        def make_watched(*given: Any, **options: Any) -> Any:
            made.append(Watched(make(*given, **options), on_start))
            return made[-1]

        monkeypatch.setattr(sessions, "make_engine", make_watched)
        return made

    return install


def tadka_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "tadka-engine"]


# ---------------------------------------------------------------- engine and checks at once


def test_checks_run_while_the_engine_starts(
    shop: Path, watch: Callable[..., list[Watched]]
) -> None:
    both = threading.Barrier(2, timeout=WAIT_S)
    watch(lambda _: both.wait())
    threads: list[threading.Thread] = []

    def on_result(_: CheckResult) -> None:
        if not threads:
            both.wait()  # only where both are at work at one moment does either go on
        threads.append(threading.current_thread())

    with session(shop_dataset(shop), on_result=on_result, **PERIOD) as s:
        assert 12 == len(s.checks())
        assert {threading.main_thread()} == set(threads)


def test_a_failing_check_sends_the_starting_engine_home(
    shop: Path, scratch: Path, watch: Callable[..., list[Watched]]
) -> None:
    def on_start(engine: Watched) -> None:
        assert engine.interrupted.wait(WAIT_S)
        raise LaunchError("The start was interrupted.")

    made = watch(on_start)
    shutil.rmtree(shop / "imp/dt=2026-01-02")
    (shop / "user.parquet").unlink()
    seen: list[CheckResult] = []

    with (
        pytest.raises(CheckFailed) as raised,
        session(shop_dataset(shop), scratch=scratch, on_result=seen.append, **PERIOD),
    ):
        pytest.fail("the block does not run")

    assert "2 checks of dataset 'Ctr' failed:\n  Listed(User): " in str(raised.value)
    assert "dt=2026-01-02" in str(raised.value)
    assert seen == raised.value.results
    assert ["start", "interrupt"] == made[0].calls[:2]
    assert "stop" == made[0].calls[-1]
    assert [] == list(scratch.iterdir())
    assert [] == tadka_threads()


def test_an_engine_that_cannot_start_ends_the_checks(
    shop: Path, scratch: Path, watch: Callable[..., list[Watched]]
) -> None:
    listed = threading.Event()

    def on_start(_: Watched) -> None:
        listed.wait(WAIT_S)
        raise LaunchError("Java was not found.")

    watch(on_start)
    seen: list[str] = []

    def on_result(result: CheckResult) -> None:
        listed.set()
        for thread in threading.enumerate():
            if thread.name == "tadka-engine":
                thread.join(WAIT_S)
        seen.append(result.name)

    with (
        pytest.raises(LaunchError, match="Java was not found"),
        session(shop_dataset(shop), scratch=scratch, on_result=on_result, **PERIOD),
    ):
        pytest.fail("the block does not run")

    assert ["Listed(Imp)"] == seen
    assert [] == list(scratch.iterdir())


def test_ctrl_c_while_the_engine_starts_leaves_nothing(
    shop: Path, scratch: Path, watch: Callable[..., list[Watched]]
) -> None:
    def on_start(engine: Watched) -> None:
        # the checks may be done or not: the signal reaches the main thread wherever it is
        os.kill(os.getpid(), signal.SIGINT)
        assert engine.interrupted.wait(WAIT_S)
        raise LaunchError("The start was interrupted.")

    made = watch(on_start)

    with (
        pytest.raises(KeyboardInterrupt),
        session(shop_dataset(shop), scratch=scratch, **PERIOD),
    ):
        pytest.fail("the block does not run")

    assert "stop" == made[0].calls[-1]
    assert [] == list(scratch.iterdir())
    assert [] == tadka_threads()


def test_an_error_in_the_block_goes_on_and_leaves_nothing(
    shop: Path, scratch: Path, watch: Callable[..., list[Watched]]
) -> None:
    made = watch()
    own = ZeroDivisionError("mine")

    with (
        pytest.raises(ZeroDivisionError) as raised,
        session(shop_dataset(shop), scratch=scratch, **PERIOD) as s,
    ):
        raise own

    assert raised.value is own
    assert ["start", "interrupt", "stop"] == made[0].calls
    assert [] == list(scratch.iterdir())
    with pytest.raises(ConfigError, match="session of 'Ctr' has ended"):
        s.to_arrow()


def test_ctrl_c_in_a_query_of_a_write_leaves_nothing(
    shop: Path, tmp_path: Path, scratch: Path, watch: Callable[..., list[Watched]]
) -> None:
    made = watch()

    def write_and_stop(*given: Any, **options: Any) -> Any:
        made[0]._engine.write(*given, **options)
        assert files_below(tmp_path / "out")
        os.kill(os.getpid(), signal.SIGINT)

    def run() -> None:
        with session(shop_dataset(shop), scratch=scratch, **PERIOD) as s:
            made[0].write = write_and_stop  # type: ignore[attr-defined]
            s.write(tmp_path / "out")

    with pytest.raises(KeyboardInterrupt):
        run()

    assert [] == files_below(tmp_path / "out")
    assert [] == list(scratch.iterdir())
    assert "stop" == made[0].calls[-1]


# ---------------------------------------------------------------- progress


def stages(text: str) -> list[dict[str, Any]]:
    """What was shown of the stages, line by line."""
    return [record["stages"] for record in map(json.loads, text.splitlines()) if "stages" in record]


@pytest.mark.parametrize("shares", [[0.25, 1.0], [1.0]])
def test_the_share_of_a_write_that_takes_a_while_is_shown(
    shop: Path,
    tmp_path: Path,
    watch: Callable[..., list[Watched]],
    capsys: pytest.CaptureFixture[str],
    shares: list[float],
) -> None:
    made = watch()

    def write_slowly(*given: Any) -> Any:
        *others, on_progress = given
        for share in shares:
            on_progress(share)
        return made[0]._engine.write(*others)

    with session(shop_dataset(shop), progress="json", **PERIOD) as s:
        made[0].write = write_slowly  # type: ignore[attr-defined]
        s.write(tmp_path / "out")

    shown = stages(capsys.readouterr().err)
    if len(shares) == 1:  # it was done before anybody looked
        assert [] == shown
    else:
        rows = [{"write": {"done": done, "total": 100, "unit": "%", "note": ""}}
                for done in (25, 100)]  # fmt: skip
        assert rows == shown


def test_without_progress_nobody_asks_for_it(
    shop: Path,
    tmp_path: Path,
    watch: Callable[..., list[Watched]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = watch()
    given: list[Any] = []

    def write_silently(*words: Any) -> Any:
        given.append(words[-1])
        return made[0]._engine.write(*words)

    with session(shop_dataset(shop), progress="none", **PERIOD) as s:
        made[0].write = write_silently  # type: ignore[attr-defined]
        s.write(tmp_path / "out")

    assert [None] == given
    assert "" == capsys.readouterr().err


# ---------------------------------------------------------------- refused before work


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "polars"}, "Engine 'polars' is not known"),
        ({"on_fail": "ignore"}, "on_fail is 'ignore'"),
        ({"start": dt.date(2026, 1, 9)}, "start must be before the end"),
        ({"stat": 1}, "Parameter 'stat' is not known. Did you mean 'start'?"),
        ({"extracted_at": at(dt.date(2026, 1, 4))}, "extracted_at"),
        ({"progress": "loud"}, "Progress mode 'loud'"),
    ],
)
def test_what_is_wrong_is_refused_before_an_engine_is_made(
    shop: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "make_engine", lambda *_, **__: pytest.fail("made"))

    with (
        pytest.raises(ConfigError, match=message),
        session(shop_dataset(shop), **{**PERIOD, **options}),
    ):
        pytest.fail("the block does not run")


def test_a_check_of_nothing_is_refused_before_work(shop: Path) -> None:
    dataset = shop_dataset(shop, checks=[NullShare("prise", max=0)])

    with (
        pytest.raises(ConfigError, match="Did you mean 'price'"),
        session(dataset, **PERIOD),
    ):
        pytest.fail("the block does not run")


# ---------------------------------------------------------------- looking


def expected_rows() -> int:
    return 300


def test_a_session_shows_what_it_reads(shop: Path) -> None:
    with session(shop_dataset(shop), **PERIOD) as s:
        rows = s.to_arrow()
        few = s.to_arrow(limit=7)
        ads = s.table("ad")
        plan = s.plan()
        with pytest.raises(ConfigError, match="has no rows 'imq'"):
            s.table("imq")
        with pytest.raises(ConfigError, match="has no SparkSession"):
            _ = s.spark

    assert expected_rows() == rows.num_rows
    assert 7 == few.num_rows
    assert ["user", "price", "age", "name", "clicks_7d", "label", "split"] == rows.column_names
    assert pa.int64() == rows.schema.field("clicks_7d").type
    assert {"train", "valid"} == set(rows["split"].to_pylist())
    # the fifth ad is not in its table, and users grow older at once on the second day
    assert 60 == rows["name"].null_count
    assert {20, 40} == {
        age for user, age in zip(rows["user"].to_pylist(), rows["age"].to_pylist(), strict=True)
        if user == 0
    }  # fmt: skip
    assert ["id", "name"] == ads.column_names
    assert 300 == plan.most_rows
    assert "SELECT" in plan.sql
    assert "Imp (imp): 3 partitions (dt=2026-01-01 to dt=2026-01-03), 3 files, 300 rows" in str(
        plan
    )
    assert plan.to_dict()["tables"][0]["partitions"][0] == "dt=2026-01-01"


# ---------------------------------------------------------------- writing


def test_a_version_is_written_and_proved(shop: Path, tmp_path: Path) -> None:
    seen: list[CheckResult] = []
    dataset = shop_dataset(shop, checks=CHECKS, output=Output("1MiB", partition_by=["split"]))

    with session(dataset, on_result=seen.append, **PERIOD) as s:
        rows = s.to_arrow()
        version = s.write(tmp_path / "out", tag="first")
        assert s.checks() == seen

    assert 300 == version.num_rows
    assert ("first",) == version.tags
    assert sorted(rows.to_pylist(), key=repr) == sorted(version.read().to_pylist(), key=repr)
    assert "same" == version.verify().status
    assert {"Ad", "Click", "Imp", "User"} == set(version.manifest.tables)
    assert [result.to_dict() for result in seen] == list(version.manifest.checks)
    names = [result.name for result in seen]
    assert {"NoTies(user)", "NotMultiplied(ad)", "TimeCutoff", "RowCount"} <= set(names)
    assert {"passed"} == {result.status for result in seen}
    assert {"start", "query", "check", "measure", "fingerprint"} == set(version.manifest.seconds)
    assert version.sample().num_rows <= 300
    assert "shop.py" in str(version.manifest.code["module"])


def test_equal_content_is_the_same_version(shop: Path, tmp_path: Path) -> None:
    with session(shop_dataset(shop), **PERIOD) as s:
        first, second = (s.write(tmp_path / "out") for _ in range(2))

    assert first.id == second.id
    assert 1 == len(Store(tmp_path / "out").versions())


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (RowCount(min=300, max=299 + 1), None),
        (RowCount(max=299), "300 rows; at most 299 are accepted."),
        (NullShare("name", max=0.1), "60 of 300 rows (20.00%) are null"),
        (Matched("ad"), "240 of 300 rows (80.00%) have a match"),
        (Fresh("User", dt.timedelta(days=1)), "at most 1 day, 0:00:00 are accepted"),
        (Custom(lambda output: f"odd {output.num_rows}", "own"), "own: odd 300"),
    ],
)
def test_a_failing_check_leaves_no_version(
    shop: Path, tmp_path: Path, check: Any, message: str | None
) -> None:
    dataset = shop_dataset(shop, checks=[check])

    with session(dataset, **PERIOD) as s:
        if message is None:
            s.write(tmp_path / "out")
            return
        with pytest.raises(CheckFailed) as raised:
            s.write(tmp_path / "out")

    assert message in str(raised.value)
    assert [] == files_below(tmp_path / "out")
    assert [] == Store(tmp_path / "out").versions()


def test_a_session_can_warn_of_all(shop: Path, tmp_path: Path) -> None:
    checks = [RowCount(max=299), NullShare("name", max=0.1), Matched("ad")]

    with (
        session(shop_dataset(shop, checks=checks), on_fail="warn", **PERIOD) as s,
        pytest.warns(CheckWarning) as warned,
    ):
        version = s.write(tmp_path / "out")

    assert 3 == len(warned)
    assert 3 == [check["status"] for check in version.manifest.checks].count("warned")


def test_a_filter_that_removes_all_rows_is_an_error(shop: Path, tmp_path: Path) -> None:
    table: Any = shop_dataset(shop).definition.tables["Imp"]
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        moved = pq.read_table(shop / f"imp/dt={day}/part.parquet")
        index = moved.schema.get_field_index("user")
        far = pa.array([10_000] * moved.num_rows, pa.int64())
        pq.write_table(moved.set_column(index, "user", far), shop / f"imp/dt={day}/part.parquet")

    class Nobody(Dataset):
        start = Parameter(dt.date)
        end = Parameter(dt.date)
        imp = table.between(start, end).where(table.user < 10)
        features = {"user": imp.user}

    with (
        session(Nobody, start=PERIOD["start"], end=PERIOD["end"]) as s,
        pytest.raises(CheckFailed, match="the filters removed all"),
    ):
        s.write(tmp_path / "out")


def test_rows_that_a_lookup_would_choose_by_chance_are_refused(shop: Path, tmp_path: Path) -> None:
    users = pq.read_table(shop / "user.parquet")
    pq.write_table(pa.concat_tables([users, users.slice(0, 2)]), shop / "user.parquet")

    with (
        session(shop_dataset(shop), on_fail="warn", **PERIOD) as s,
        pytest.raises(CheckFailed, match="2 keys and times occur in several rows of 'user'"),
    ):
        s.write(tmp_path / "out")


def test_a_join_that_multiplies_rows_is_refused(shop: Path, tmp_path: Path) -> None:
    ads = pq.read_table(shop / "ad.parquet")
    pq.write_table(pa.concat_tables([ads, ads.slice(0, 1)]), shop / "ad.parquet")

    with (
        session(shop_dataset(shop), **PERIOD) as s,
        pytest.raises(CheckFailed, match=r"300 rows become 360 \(1.2 times as many\)"),
    ):
        s.write(tmp_path / "out")


def test_rows_outside_the_period_are_refused(shop: Path, tmp_path: Path) -> None:
    rows = {**impressions(FIRST, 1), "at": pa.array([at(dt.date(2026, 1, 5))])}
    write(shop / "imp/dt=2026-01-03/more.parquet", rows)

    with (
        session(shop_dataset(shop), **PERIOD) as s,
        pytest.raises(CheckFailed, match="1 of 301 rows of 'imp' have a time outside"),
    ):
        s.check()


def test_lookups_by_local_days_are_refused(shop: Path, tmp_path: Path) -> None:
    # the click of 2025-12-24 20:00 UTC is of 12-25 in Tokyo: as many hours are missing at the end
    early = {"user": pa.array([1]), "at": pa.array([at(dt.date(2025, 12, 24), 20 * 3600)])}
    write(shop / "click/dt=2025-12-25/more.parquet", early)

    with (
        session(shop_dataset(shop), **PERIOD) as s,
        pytest.raises(CheckFailed, match="1 of 301 rows of 'recent' have a time outside"),
    ):
        s.write(tmp_path / "out")


def test_a_drop_against_the_version_before_is_found(shop: Path, tmp_path: Path) -> None:
    dataset = shop_dataset(shop, checks=[RowCount(max_drop=0.2)])
    with session(dataset, **PERIOD) as s:
        s.write(tmp_path / "out")
    changed = {**PERIOD, "start": dt.date(2026, 1, 2)}

    with (
        session(dataset, **changed) as s,
        pytest.raises(CheckFailed, match=r"33\.3% fewer than the 300 of the version before"),
    ):
        s.write(tmp_path / "out")


class TestChangedInputs:
    def write(self, shop: Path, out: Path, **options: Any) -> Any:
        with session(shop_dataset(shop), **PERIOD) as s:
            return s.write(out, **options)

    def test_a_late_file_is_refused_until_it_is_accepted(self, shop: Path, tmp_path: Path) -> None:
        first = self.write(shop, tmp_path / "out")
        write(shop / "click/dt=2026-01-01/late.parquet", clicks(FIRST, 3))

        found = first.verify()
        assert "changed" == found.status
        assert ["dt=2026-01-01"] == list(found.inputs["Click"].partitions)
        with pytest.raises(DataError, match=r"'Click' \(dt=2026-01-01\): File .*late.parquet' is"):
            self.write(shop, tmp_path / "out")
        assert 1 == len(Store(tmp_path / "out").versions())
        second = self.write(shop, tmp_path / "out", accept_changed=True)
        assert second.id != first.id

    def test_equal_rows_of_changed_inputs_have_to_be_accepted_once(
        self, shop: Path, tmp_path: Path
    ) -> None:
        first = self.write(shop, tmp_path / "out")
        path = shop / "click/dt=2026-01-01/part.parquet"
        rows = pq.read_table(path)
        pq.write_table(rows.take(list(reversed(range(len(rows))))), path, compression="none")
        with pytest.raises(DataError, match="changed since"):
            self.write(shop, tmp_path / "out")

        second = self.write(shop, tmp_path / "out", accept_changed=True)

        assert first.id == second.id
        assert "changed" == first.verify().status
        assert "same" == second.verify().status
        assert second == self.write(shop, tmp_path / "out")

    def test_a_value_that_changes_in_place_is_found(self, shop: Path, tmp_path: Path) -> None:
        path = shop / "imp/dt=2026-01-02/part.parquet"
        first = self.write(shop, tmp_path / "out")
        rows, before = pq.read_table(path), path.stat()
        prices = rows["price"].to_pylist()
        prices[3], prices[4] = prices[4], prices[3]
        pq.write_table(rows.set_column(2, "price", pa.array(prices)), path)
        assert before.st_size == path.stat().st_size
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        assert "changed" == first.verify().status
        assert ["dt=2026-01-02"] == list(first.verify().inputs["Imp"].partitions)
        assert "no difference seen" == first.verify(level="footer").status
        with pytest.raises(DataError, match=r"'Imp' \(dt=2026-01-02\)"):
            self.write(shop, tmp_path / "out")

    def test_what_changes_while_it_is_read_is_refused(
        self, shop: Path, tmp_path: Path, watch: Callable[..., list[Watched]]
    ) -> None:
        made = watch()
        with session(shop_dataset(shop), **PERIOD) as s:
            real = made[0]._engine.write

            def write_late(*given: Any, **options: Any) -> Any:
                write(shop / "click/dt=2026-01-01/late.parquet", clicks(FIRST, 3))
                return real(*given, **options)

            made[0].write = write_late  # type: ignore[attr-defined]
            with pytest.raises(DataError, match="were changed while they were read"):
                s.write(tmp_path / "out")

        assert [] == Store(tmp_path / "out").versions()

    @pytest.mark.parametrize("level", ["listing", "footer"])
    def test_a_version_says_no_more_than_was_looked_at(
        self, shop: Path, tmp_path: Path, level: str
    ) -> None:
        version = self.write(shop, tmp_path / "out", fingerprint=level)

        assert "no difference seen" == version.verify().status

    def test_an_unknown_level_is_refused(self, shop: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="Level 'all' is not known"):
            self.write(shop, tmp_path / "out", fingerprint="all")


def test_a_tag_stays_with_its_content(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with session(shop_dataset(shop), **PERIOD) as s:
        s.write(out, tag="a")
        s.write(out, tag="a")
        with pytest.raises(ConfigError, match="Tag 'latest' is not possible"):
            s.write(out, tag="latest")
    with (
        session(shop_dataset(shop), **{**PERIOD, "start": dt.date(2026, 1, 2)}) as s,
        pytest.raises(DataError, match="Tag 'a' of store"),
    ):
        s.write(out, tag="a")

    assert 1 == len(Store(out).versions())
    with pytest.raises(NotFound):
        Store(out).version("other")


def test_own_checks_see_the_output(shop: Path, tmp_path: Path) -> None:
    seen: list[Sequence[str]] = []

    def looks(output: CheckedOutput) -> str | None:
        seen.append(output.columns)
        found = output.query('SELECT count(DISTINCT "user") AS n FROM output')["n"][0].as_py()
        return None if found == NUM_USERS else f"{found} users"

    dataset = shop_dataset(shop, checks=[Custom(looks)], output=Output(partition_by=["split"]))
    with session(dataset, **PERIOD) as s:
        s.write(tmp_path / "out")

    assert ("user", "price", "age", "name", "clicks_7d", "label", "split") == seen[0]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_text_is_a_version_too(shop: Path, tmp_path: Path, form: str) -> None:
    dataset = shop_dataset(shop, output=Output(format=form), checks=CHECKS)
    plain = shop_dataset(shop)

    with session(dataset, **PERIOD) as s:
        version = s.write(tmp_path / "text")
    with session(plain, **PERIOD) as s:
        parquet = s.write(tmp_path / "parquet")

    assert parquet.manifest.output_hash == version.manifest.output_hash
