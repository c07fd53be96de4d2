"""What a worker or rank counts of itself."""

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Counters:
    """What a worker or rank says of itself several times a second."""

    rows_in: int = 0
    rows_out: int = 0
    batches: int = 0
    busy_ns: int = 0
    wait_input_ns: int = 0
    wait_output_ns: int = 0
    cpu_ns: int = 0
    peak_memory_bytes: int = 0
    first_batch_ns: int = 0  # time.monotonic_ns(), which all processes of a host share

    def measure(self) -> None:
        """Read the process's CPU time and peak memory."""
        self.cpu_ns = time.process_time_ns()
        # Not getrusage: its maximum begins with that of the process which started this one.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                self.peak_memory_bytes = int(line.split()[1]) * 1024

    def to_ints(self) -> list[int]:
        """For a message."""
        return [
            self.rows_in,
            self.rows_out,
            self.batches,
            self.busy_ns,
            self.wait_input_ns,
            self.wait_output_ns,
            self.cpu_ns,
            self.peak_memory_bytes,
            self.first_batch_ns,
        ]

    def add(self, other: "Counters") -> None:
        """Sum up, for the replicas of a stage; memory is the largest one's."""
        for name in ("rows_in", "rows_out", "batches", "busy_ns", "cpu_ns"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wait_input_ns += other.wait_input_ns
        self.wait_output_ns += other.wait_output_ns
        self.peak_memory_bytes = max(self.peak_memory_bytes, other.peak_memory_bytes)
        times = [ns for ns in (self.first_batch_ns, other.first_batch_ns) if ns]
        self.first_batch_ns = min(times, default=0)
