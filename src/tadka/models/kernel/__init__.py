"""Loops over rows that are compiled, each with a path of NumPy that gives equal results."""
