"""What the benchmarks `task` and `task_faults` run: the same graphs in tadka and in its peers."""
