"""Graphs: edges in CSR built out of core, sampled neighbours, sparse products."""

from tadka.models.graph.build import build_graph, graph_of
from tadka.models.graph.csr import Graph, bipartite
from tadka.models.graph.propagate import Adjacency, propagate_mean, spmm
from tadka.models.graph.sampler import Layer, Subgraph, sample

__all__ = [
    "Adjacency",
    "Graph",
    "Layer",
    "Subgraph",
    "bipartite",
    "build_graph",
    "graph_of",
    "propagate_mean",
    "sample",
    "spmm",
]
