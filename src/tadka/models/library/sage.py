"""Classes of nodes by GraphSAGE."""

from tadka.models.define.catalog import register
from tadka.models.library.gcn import GCN


@register("sage")
class Sage(GCN):
    """GraphSAGE with the mean of sampled neighbours (Hamilton, Ying and Leskovec 2017)."""

    is_sage = True
    hidden: int = 32
    fanouts: tuple[int, ...] = (10, 10)
