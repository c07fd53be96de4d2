"""From a run's journal to MLflow: whole or what is left, and as often as one likes."""

import json
from pathlib import Path
from typing import Any

from tadka.core.error import ConfigError
from tadka.registry.environment import lock_text
from tadka.registry.journal import Journal, Mark
from tadka.registry.naming import flat, text_of
from tadka.registry.record import DatasetRef
from tadka.registry.tracking import Tracking, full_uri

ENVIRONMENT = "environment/environment.json"
LOCK = "environment/requirements.txt"


def send(directory: str | Path, uri: str | None = None) -> str:
    """Sends what a run's folder kept while its server was away, or all of an offline run.

    Sending twice changes nothing, also where the first time broke off in the middle.

    Args:
        directory: That the run was begun with.
        uri: Where to; None: where the run was begun for.

    Returns:
        The id of the run.

    Raises:
        NotFound: The folder holds no journal.
        ConfigError: Nothing was begun there, or the server refuses the run.
        Unreachable: The server does not answer; nothing is lost.
        DataError: An artifact cannot be kept; the journal is damaged.
    """
    journal = Journal(directory)
    try:
        begin = journal.begun()
        if begin is None:
            raise ConfigError(
                f"{str(journal.path)!r} holds no run yet: it ended before one was begun. "
                "Train again."
            )
        deliver(journal, Tracking(full_uri(uri or begin["uri"])))
        return str(begin["run"])
    finally:
        journal.close()


def deliver(journal: Journal, tracking: Tracking) -> None:
    """Sends the lines that a server does not have yet, and notes that it has them.

    Every step may be done twice: a run is found by our id, MLflow keeps equal metrics once, and
    the rest is replaced. So whatever breaks off is done again from the last note.

    Args:
        journal: Of the run.
        tracking: Where to.
    """
    with journal.sending():
        mark = journal.marks.get(tracking.uri, Mark("", 0))
        metrics: list[tuple[str, float, int, int]] = []
        finish: dict[str, Any] | None = None
        offset = mark.offset
        for end, line in journal.lines(mark.offset):
            if line["kind"] == "sent":
                continue  # a note about the lines before it, which are looked at anew
            offset = end
            if line["kind"] == "begin":
                if mark.mlflow_id:
                    tracking.reopen(mark.mlflow_id)  # it may have failed before
                else:
                    mark = Mark(tracking.open_run(line), 0)
                _begin(tracking, mark.mlflow_id, line)
                finish = None  # of a try that failed before
            elif line["kind"] == "log":
                step, time_ms = line["step"], line["time"]
                metrics += [(key, value, time_ms, step) for key, value in line["metrics"].items()]
            elif line["kind"] == "finish":
                finish = line
        tracking.write(mark.mlflow_id, metrics=metrics)
        if finish:
            for name, text in finish["artifacts"].items():
                path = journal.path.parent / text
                if path.exists():  # deleted since: the numbers are worth sending all the same
                    tracking.write_file(mark.mlflow_id, name, path)
            tracking.end(mark.mlflow_id, finish["status"], finish["time"])
        journal.sent(tracking.uri, Mark(mark.mlflow_id, offset))


def _begin(tracking: Tracking, mlflow_id: str, begin: dict[str, Any]) -> None:
    params = {name: text_of(value) for name, value in flat(begin["params"])}
    tracking.write(mlflow_id, params=params, begin=begin)
    if begin["dataset"]:
        tracking.write_dataset(mlflow_id, DatasetRef(**begin["dataset"]))
    environment = begin["environment"]
    if environment:
        tracking.write_text(mlflow_id, ENVIRONMENT, json.dumps(environment, indent=2))
    if isinstance(environment.get("packages"), dict):
        tracking.write_text(mlflow_id, LOCK, lock_text(environment["packages"]))
