"""What made a model, and what a data set fed."""

from tadka.core.error import NotFound
from tadka.registry.finding import all_versions, find_run, record_of, run_id
from tadka.registry.record import Lineage, ModelVersion, RunRecord
from tadka.registry.tracking import Tracking, begins_with, equals

_SHORTEST = 6  # characters of a fingerprint that stand for it


def made(tracking: Tracking, ref: str) -> Lineage:
    """What made a model: its run, and the runs that it goes on from, back to the first.

    Args:
        tracking: Where to look.
        ref: The run, as for `Registry.run`.

    Raises:
        NotFound: There is no such run. A parent that is not there is told in the result.
    """
    experiments = tracking.experiments()
    run = record_of(tracking, find_run(tracking, ref), experiments, is_whole=True)
    parents: list[RunRecord] = []
    seen = {run.id}
    parent = run.parent
    while parent and parent not in seen:
        seen.add(parent)
        try:
            found = record_of(tracking, find_run(tracking, parent), experiments, is_whole=True)
        except NotFound:
            return Lineage(run=run, parents=tuple(parents), missing=parent)
        parents.append(found)
        parent = found.parent
    return Lineage(run=run, parents=tuple(parents))


def fed(tracking: Tracking, dataset: str) -> tuple[list[RunRecord], list[ModelVersion]]:
    """What a data set fed: runs trained on it, those that go on from them, and their versions.

    Args:
        tracking: Where to look.
        dataset: Its fingerprint (six characters of it are enough), version or URI.

    Returns:
        Runs, the newest first, and model versions; both empty where it fed nothing.
    """
    experiments = tracking.experiments()
    ids = list(experiments)
    conditions = [equals(f"tags.`tadka.dataset.{key}`", dataset) for key in ("uri", "version")]
    if len(dataset) >= _SHORTEST:
        conditions.append(begins_with("tags.`tadka.dataset.fingerprint`", dataset))
    else:
        conditions.append(equals("tags.`tadka.dataset.fingerprint`", dataset))
    runs = {
        run.info.run_id: run for condition in conditions for run in tracking.search(ids, condition)
    }
    # One question for all runs that have a parent, instead of one for each run's children.
    children = tracking.search(ids, begins_with("tags.`tadka.parent`", "")) if runs else []
    known = {run_id(run) for run in runs.values()}
    num_known = 0
    while num_known < len(known):
        num_known = len(known)
        for run in children:
            if run.data.tags["tadka.parent"] in known:
                runs[run.info.run_id] = run
                known.add(run_id(run))
    records = [record_of(tracking, run, experiments) for run in runs.values()]
    records.sort(key=lambda run: run.started, reverse=True)
    versions = [one for one in all_versions(tracking) if one.run in known]
    return records, versions
