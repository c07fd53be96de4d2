import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.registry import Registry, send
from tadka.registry.journal import Journal, Mark

TRAINING = """
import sys
from tadka.registry import Registry

run = Registry(sys.argv[1], offline=True).begin("fm", params={"dim": 8}, directory=sys.argv[2])
step = 0
while True:
    step += 1
    run.log({"loss": 1 / step}, step=step)
    print(step, flush=True)
"""


def test_a_killed_training_loses_nothing_that_was_logged(
    registry: Registry, tmp_path: Path
) -> None:
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING, registry.uri, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert training.stdout is not None
    while training.stdout.readline() != "500\n":
        pass
    training.send_signal(signal.SIGKILL)
    told = [int(line) for line in training.communicate()[0].split()]
    send(tmp_path / "run")

    found = registry.runs()[0]
    history = found.history("loss")
    assert found.status == "running"
    assert len(history) >= max(told, default=500)
    assert [(n, 1 / n) for n in range(1, len(history) + 1)] == history
    again = Registry(registry.uri).begin("fm", params={"dim": 8}, directory=tmp_path / "run")
    again.finish(metrics={"rmse": 1.0})
    assert again.id == found.id
    assert registry.run(found.id).status == "finished"


@pytest.mark.parametrize("num_bytes", [1, 10, 40])
def test_a_torn_line_is_left_out_and_cut_off(tmp_path: Path, num_bytes: int) -> None:
    run = Registry("sqlite:///none.db", offline=True).begin("fm", directory=tmp_path)
    run.log({"loss": 1.0}, step=1)
    path = tmp_path / "tracking.jsonl"
    run.log({"loss": 2.0}, step=2)
    path.write_bytes(path.read_bytes()[:-num_bytes])
    torn = [line for _, line in Journal(tmp_path).lines()]
    run.log({"loss": 3.0}, step=3)
    whole = [line for _, line in Journal(tmp_path).lines()]

    assert ["begin", "log"] == [line["kind"] for line in torn]
    assert [1, 3] == [line["step"] for line in whole[1:]]


def test_lines_are_read_on_from_a_mark(tmp_path: Path) -> None:
    journal = Journal(tmp_path, is_new=True)
    journal.append("log", step=1, metrics={})
    offset = journal.path.stat().st_size
    journal.append("log", step=2, metrics={})
    journal.sent("http://one", Mark("m", offset))
    journal.sent("http://one", Mark("m", offset))
    again = Journal(tmp_path)

    assert {"http://one": Mark("m", offset)} == again.marks
    assert [2, None] == [line.get("step") for _, line in again.lines(offset)]


def test_what_is_no_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"holds no tracking\.jsonl"):
        send(tmp_path)
    (tmp_path / "tracking.jsonl").write_text("")
    with pytest.raises(ConfigError, match="holds no run yet"):
        send(tmp_path)
    (tmp_path / "tracking.jsonl").write_text("{}}\n" + json.dumps({"kind": "log"}) + "\n")
    with pytest.raises(DataError, match="damaged before byte 4"):
        send(tmp_path)
    for line in ("[]", "5", "{}"):
        (tmp_path / "tracking.jsonl").write_text(f"{line}\n")
        with pytest.raises(DataError, match="is no line of a run"):
            send(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        Journal(tmp_path / "file", is_new=True)


def test_a_full_disk_is_told() -> None:
    journal = Journal.__new__(Journal)
    journal.path = Path("/dev/full")
    with Path("/dev/full").open("ab", buffering=0) as full:
        journal._file = full.fileno()
        with pytest.raises(DataError, match="No space left"):
            journal.append("log", step=1)
