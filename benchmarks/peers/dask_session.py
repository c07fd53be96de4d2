"""Settings that keep Dask on loopback; nothing here changes how it works."""

from typing import Any

# The dashboard would listen on every interface.
LOOPBACK: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
