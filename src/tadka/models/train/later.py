"""What training does with the registry, done later: for a run that had none, or lost it."""

from pathlib import Path

from tadka.models.train.flow import signature_of
from tadka.models.train.trained import read_trained
from tadka.registry.kept import address_of, read_kept
from tadka.registry.record import ModelVersion
from tadka.registry.registry import Registry
from tadka.registry.spool import send as send_run


def send(folder: str | Path, tracking: str | None = None) -> tuple[str, ModelVersion | None]:
    """Sends a run that was kept in its folder, and publishes its model if the run ended well.

    Args:
        folder: Of the run.
        tracking: URI of the registry; None for the one that the run was begun for.

    Returns:
        Id of the run, and the version of its model.

    Raises:
        NotFound: The folder is that of no run.
        Unreachable: The server does not answer; nothing is lost.
    """
    run = send_run(folder, tracking)
    if read_kept(folder).status != "finished":
        return run, None
    trained = read_trained(folder)
    registry = Registry(tracking or address_of(folder))
    return run, registry.publish(run, trained.model.name, signature_of(trained))
