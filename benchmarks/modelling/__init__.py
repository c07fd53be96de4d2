"""The cells of benchmarks/models.py: the same model on the same rows, by tadka and by its peers."""
