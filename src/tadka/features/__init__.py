"""One feature class for training and serving."""

from tadka.features.definition import Definition, Feature, Field, Span
from tadka.features.encoding import Buckets, Encoding, Hashed, Log, Number, Skip, Vocabulary
from tadka.features.features import Features
from tadka.features.plan import Explanation
from tadka.features.row import PropertyError
from tadka.features.sparse import SparseRows

__all__ = [
    "Buckets",
    "Definition",
    "Encoding",
    "Explanation",
    "Feature",
    "Features",
    "Field",
    "Hashed",
    "Log",
    "Number",
    "PropertyError",
    "Skip",
    "Span",
    "SparseRows",
    "Vocabulary",
]
