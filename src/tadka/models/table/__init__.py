"""Ids to rows and rows to vectors: both grow, are kept on disk and outlive a kill."""

from typing import TYPE_CHECKING

from tadka.core.extra import on_demand

if TYPE_CHECKING:
    from tadka.models.table.vocabulary import Vocabulary, agree
else:
    __getattr__, __dir__ = on_demand(__name__, {"vocabulary": ["Vocabulary", "agree"]})

__all__ = ["Vocabulary", "agree"]
