"""DeepCTR-Torch: its DeepFM without the deep part is a factorization machine."""

import time
from typing import Any

from modelling import rows


def fm(directory: str) -> dict[str, Any]:
    """Factorization machine on the clicks."""
    import torch
    from deepctr_torch.callbacks import Callback
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import DeepFM

    torch.manual_seed(0)
    data = rows.clicks(directory)
    names = [f"f{place}" for place in range(len(data.sizes))]
    features = [
        SparseFeat(name, vocabulary_size=size, embedding_dim=rows.FM_DIM)
        for name, size in zip(names, data.sizes, strict=True)
    ]
    seconds: list[float] = []

    class Clock(Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            self.start_s = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            seconds.append(time.perf_counter() - self.start_s)

    model = DeepFM(
        features, features, dnn_hidden_units=(), l2_reg_linear=0, l2_reg_embedding=0, device="cpu"
    )
    model.compile(torch.optim.Adam(model.parameters(), lr=1e-3), "binary_crossentropy")
    history = model.fit(
        dict(zip(names, data.fields.T, strict=True)),
        data.label,
        batch_size=rows.BATCH_ROWS,
        epochs=rows.SLOW_EPOCHS,
        verbose=0,
        callbacks=[Clock()],
    )
    return {"epoch_s": seconds, "rows": len(data.label), "loss": history.history["loss"][-1]}
