"""FuxiCTR's factorization machine: its layers, loop and loader.

The model class is its model zoo's, which its wheel leaves out: its layers put together the same
way. One loading process: its default of 3 would need cores that the others do not get.
"""

import logging
import os
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from modelling import rows


def fm(directory: str) -> dict[str, Any]:
    """Factorization machine on the clicks."""
    from fuxictr.features import FeatureMap
    from fuxictr.pytorch.dataloaders.npz_dataloader import NpzDataLoader
    from fuxictr.pytorch.layers import FactorizationMachine, FeatureEmbedding
    from fuxictr.pytorch.models import BaseModel
    from fuxictr.pytorch.torch_utils import seed_everything

    logging.disable(logging.WARNING)
    seed_everything(0)
    data = rows.clicks(directory)
    names = [f"f{place}" for place in range(len(data.sizes))]
    features = FeatureMap("frappe", directory)
    features.features = OrderedDict(
        (name, {"type": "categorical", "source": "", "vocab_size": size + 1})
        for name, size in zip(names, data.sizes, strict=True)
    )
    features.labels = ["label"]
    features.num_fields = len(names)
    features.total_features = sum(data.sizes)
    features.input_length = len(names)
    features.default_emb_dim = rows.FM_DIM
    features.set_column_index()
    seconds: list[float] = []

    class FM(BaseModel):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(
                features,
                model_id="FM",
                gpu=-1,
                eval_steps=10**9,
                verbose=0,
                model_root=directory,
                metrics=["AUC"],
            )
            self.embedding_layer = FeatureEmbedding(features, rows.FM_DIM)
            self.fm = FactorizationMachine(features)
            self.compile("adam", "binary_crossentropy", 1e-3)
            self.reset_parameters()
            self.model_to_device()

        def forward(self, inputs: Any) -> dict[str, Any]:
            found = self.get_inputs(inputs)
            return {"y_pred": self.output_activation(self.fm(found, self.embedding_layer(found)))}

        def train_epoch(self, loader: Any) -> None:
            start_s = time.perf_counter()
            super().train_epoch(loader)
            seconds.append(time.perf_counter() - start_s)

        def load_weights(self, checkpoint: str) -> None:
            """The best weights are those of an evaluation, and there is none."""

    path = Path(directory, f"fuxictr-{os.getpid()}.npz")
    columns = {
        name: column.astype(np.float64) for name, column in zip(names, data.fields.T, strict=True)
    }
    np.savez(path, label=data.label.astype(np.float64), **columns)
    loader = NpzDataLoader(
        features, str(path), batch_size=rows.BATCH_ROWS, shuffle=True, num_workers=0
    )
    FM().fit(loader, epochs=rows.SLOW_EPOCHS)
    return {"epoch_s": seconds, "rows": len(data.label)}
