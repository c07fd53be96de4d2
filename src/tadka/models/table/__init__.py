"""Ids to rows and rows to vectors: both grow, are kept on disk and outlive a kill."""

from typing import TYPE_CHECKING

from tadka.core.extra import on_demand

if TYPE_CHECKING:
    from tadka.models.table.embedding import (
        FieldEmbedding,
        RowEmbedding,
        SparseEmbedding,
        embedding,
    )
    from tadka.models.table.grown import Part, grown_optimizer, grown_state
    from tadka.models.table.mapped import MappedTable
    from tadka.models.table.table import MemoryTable, Table
    from tadka.models.table.vocabulary import Vocabulary, agree
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "embedding": ["FieldEmbedding", "RowEmbedding", "SparseEmbedding", "embedding"],
            "grown": ["Part", "grown_optimizer", "grown_state"],
            "mapped": ["MappedTable"],
            "table": ["MemoryTable", "Table"],
            "vocabulary": ["Vocabulary", "agree"],
        },
    )

__all__ = [
    "FieldEmbedding",
    "MappedTable",
    "MemoryTable",
    "Part",
    "RowEmbedding",
    "SparseEmbedding",
    "Table",
    "Vocabulary",
    "agree",
    "embedding",
    "grown_optimizer",
    "grown_state",
]
