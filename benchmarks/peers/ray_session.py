"""A Ray session on loopback that leaves nothing behind."""

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path


def environment(directory: Path) -> dict[str, str]:
    """Environment of a process that will import Ray, which reads most of this at import.

    Args:
        directory: Where the token may lie as long as the process runs.
    """
    # Ray 2.60 authenticates by token; its own would go into the home directory and stay there.
    token = directory / "ray-token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        # Ray takes 127.0.0.1 only when clusters are out of the question; else it replaces
        # that address by one that others can reach, and listens on every interface.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


@contextlib.contextmanager
def started(*, num_cpus: int, object_store_bytes: int = 512 * 2**20) -> Iterator[None]:
    """Start Ray without its dashboard, and stop it at the end."""
    import ray

    # The prefix is short because Ray puts sockets deep inside, and their paths are limited.
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as directory:
        ray.init(
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=object_store_bytes,
            log_to_driver=False,
            _temp_dir=directory,
        )
        try:
            yield
        finally:
            ray.shutdown()
