"""The two graphs: a chain, and one source that many read and one total that reads them.

A system's module has `build(shape, num, workspace)`, which makes the tasks, builds the last and
gives its value, and `num_bodies()`, how many bodies have run in this process.
"""

SHAPES = ("chain", "fan")


def expected(shape: str, num: int) -> int:
    """The value of the last of `num` tasks."""
    return num - 1 if shape == "chain" else sum(range(1, num - 1))


def check_shape(shape: str) -> None:
    if shape not in SHAPES:
        raise ValueError(f"There is no shape {shape!r}.")
