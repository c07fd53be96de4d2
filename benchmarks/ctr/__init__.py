"""Rows, requests and methods of the benchmarks `features` and `scoring`."""
