"""DeepFM."""

from tadka.models.define.catalog import register
from tadka.models.library.wide_deep import WideDeep


@register("deepfm")
class DeepFM(WideDeep):
    """A factorization machine and layers over the same vectors (Guo et al. 2017)."""

    with_pairs = True
