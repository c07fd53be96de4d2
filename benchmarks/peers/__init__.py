"""Settings of peers that several benchmarks run."""
