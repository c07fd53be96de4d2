"""The request as a pydantic model, for the servers that read JSON with one."""

from typing import Any

from ctr import requests
from pydantic import BaseModel, create_model

_fields: dict[str, Any] = {"time": (int, ...), "recency": (float, ...)}
_fields |= dict.fromkeys(requests.STRINGS, (str, ...))
Row: type[BaseModel] = create_model("Row", **_fields)
