"""Servers and cells of the benchmarks `serve` and `serve_swap`."""
