"""RecBole's models and trainer, as its quick start has them.

Its `ray` and `pandas` pins do not hold beside the other peers, so it is installed without its
dependencies; nothing of it is changed but three names that NumPy has dropped.
"""

import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from modelling import rows

# What RecBole 1.2.1 asks of NumPy when its configuration is read, and NumPy 2 no longer has.
for _name, _type in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
    if not hasattr(np, _name):
        setattr(np, _name, _type)


def fm(directory: str) -> dict[str, Any]:
    """Factorization machine on the clicks."""
    data = rows.clicks(directory)
    names = [f"f{place}" for place in range(data.fields.shape[1])]
    return _fit(
        "FM",
        directory,
        {**dict(zip(names, data.fields.T, strict=True)), "label": data.label},
        {
            "embedding_size": rows.FM_DIM,
            "train_batch_size": rows.BATCH_ROWS,
            "USER_ID_FIELD": "f0",
            "ITEM_ID_FIELD": "f1",
            "LABEL_FIELD": "label",
            "train_neg_sample_args": None,
            "eval_args": {
                "split": {"RS": [1.0, 0.0, 0.0]},
                "order": "RO",
                "group_by": None,
                "mode": "labeled",
            },
            "metrics": ["AUC"],
            "valid_metric": "AUC",
        },
    )


def bpr(directory: str) -> dict[str, Any]:
    """Matrix factorization by BPR on the made-up pairs."""
    return _pairwise("BPR", directory, "pairs", {"train_batch_size": rows.BATCH_ROWS})


def lightgcn(directory: str) -> dict[str, Any]:
    """LightGCN on LastFM."""
    more = {"n_layers": rows.LAYERS, "train_batch_size": rows.LIGHTGCN_BATCH_ROWS}
    return _pairwise("LightGCN", directory, "lastfm", {**more, "reg_weight": 1e-4})


def _pairwise(model: str, directory: str, name: str, more: dict[str, Any]) -> dict[str, Any]:
    data = rows.pairs(directory, name)
    return _fit(
        model,
        directory,
        {"user": data.user, "item": data.item},
        {
            "embedding_size": rows.DIM,
            "USER_ID_FIELD": "user",
            "ITEM_ID_FIELD": "item",
            "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
            "eval_args": {
                "split": {"RS": [1.0, 0.0, 0.0]},
                "order": "RO",
                "group_by": None,
                "mode": "full",
            },
            **more,
        },
    )


def _fit(
    model: str, directory: str, columns: dict[str, np.ndarray], config: dict[str, Any]
) -> dict[str, Any]:
    import scipy.sparse as sp
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    logging.disable(logging.WARNING)
    os.chdir(directory)  # it writes logs where it stands
    if not hasattr(sp.dok_matrix, "_update"):  # gone from SciPy
        sp.dok_matrix._update = _update  # noqa: SLF001
    folder = Path(directory, f"recbole-{model}-{os.getpid()}")
    (folder / "set").mkdir(parents=True)
    _write_atomic(folder / "set" / "set.inter", columns)
    whole = Config(
        model=model,
        dataset="set",
        config_dict={
            "data_path": str(folder),
            "load_col": {"inter": list(columns)},
            "epochs": rows.SLOW_EPOCHS,
            "learning_rate": 1e-3,
            "use_gpu": False,
            "gpu_id": "",
            "show_progress": False,
            "checkpoint_dir": str(folder),
            "save_dataset": False,
            "user_inter_num_interval": None,
            "item_inter_num_interval": None,
            "normalize_all": False,
            **config,
        },
    )
    init_seed(0, True)
    dataset = create_dataset(whole)
    train, _, _ = data_preparation(whole, dataset)
    trainer_class = get_trainer(whole["MODEL_TYPE"], whole["model"])
    seconds: list[float] = []

    class Timed(trainer_class):  # type: ignore[misc, valid-type]
        def _train_epoch(self, *args: Any, **kwargs: Any) -> Any:
            start_s = time.perf_counter()
            loss = super()._train_epoch(*args, **kwargs)
            seconds.append(time.perf_counter() - start_s)
            self.last_loss = loss
            return loss

    trainer = Timed(whole, get_model(whole["model"])(whole, train.dataset))
    trainer.fit(train, None, verbose=False, saved=False, show_progress=False)
    num_rows = len(next(iter(columns.values())))
    return {"epoch_s": seconds, "rows": num_rows, "loss": trainer.last_loss}


def _write_atomic(path: Path, columns: dict[str, np.ndarray]) -> None:
    kinds = {"f": "float", "i": "token"}
    header = "\t".join(f"{name}:{kinds[column.dtype.kind]}" for name, column in columns.items())
    table = np.stack([column.astype(np.int64) for column in columns.values()], axis=1)
    np.savetxt(path, table, fmt="%d", delimiter="\t", header=header, comments="")


def _update(matrix: Any, entries: dict[tuple[int, int], float]) -> None:
    """What `scipy.sparse.dok_matrix._update` was."""
    matrix._dict.update(entries)  # noqa: SLF001
