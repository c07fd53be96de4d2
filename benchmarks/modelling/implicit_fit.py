"""implicit's BPR: compiled SGD, one pair at a time."""

from typing import Any

from modelling import rows


def bpr(directory: str, threads: str = "1") -> dict[str, Any]:
    """Matrix factorization by BPR on the made-up pairs."""
    import numpy as np
    import scipy.sparse as sp
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    data = rows.pairs(directory, "pairs")
    taken = sp.csr_matrix((np.ones(len(data.user), np.float32), (data.user, data.item)))
    seconds: list[float] = []
    model = BayesianPersonalizedRanking(
        factors=rows.DIM,
        learning_rate=0.05,
        regularization=0.002,
        iterations=rows.EPOCHS,
        num_threads=int(threads),
        random_state=0,
    )
    right: list[float] = []

    def tell(epoch: int, elapsed_s: float, correct: int, skipped: int) -> None:  # noqa: ARG001
        seconds.append(elapsed_s)
        right.append(correct / (len(data.user) - skipped))

    model.fit(taken, show_progress=False, callback=tell)
    return {"epoch_s": seconds, "rows": len(data.user), "right": right[-1]}
