"""The cell of stream_faults: one run in which workers are killed."""
