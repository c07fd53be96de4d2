"""Tests that users run on what they build: the same that tadka runs on its own."""

from typing import TYPE_CHECKING

from tadka.core.extra import on_demand

if TYPE_CHECKING:
    from tadka.testing.check_model import check_model
else:
    __getattr__, __dir__ = on_demand(__name__, {"check_model": ["check_model"]}, extra="models")

__all__ = ["check_model"]
