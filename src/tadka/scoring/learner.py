"""Models that learn from examples here: logistic regression and factorization machines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from tadka.core.error import ConfigError
from tadka.core.progress import Mode, Progress, ProgressRow
from tadka.features.features import Features
from tadka.scoring.backend import make_kernel
from tadka.scoring.example import Examples
from tadka.scoring.libffm import read_model, write_model
from tadka.scoring.model import Model
from tadka.scoring.training import Epoch, Kind, Training, train


class Learner(Model):
    """A model with `fit`.

    Args:
        features: The class that makes its rows; None for a model of plain `SparseRows`.
        group: The group of the class's features that it uses; None for all.
        training: How it learns.
    """

    kind: ClassVar[Kind]

    def __init__(
        self,
        features: type[Features] | None = None,
        *,
        group: str | None = None,
        training: Training | None = None,
    ) -> None:
        super().__init__(features, group=group)
        self.training = training or Training()

    def fit(
        self,
        train_rows: Any,
        *,
        valid: Any = None,
        label: str = "label",
        weight: str | None = None,
        progress: Mode = "none",
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> Self:
        """Learns the parameters, from the start or, if it has some, from those.

        Args:
            train_rows: Examples, or files or an Arrow table as `Examples.read` takes them.
            valid: The same, to stop early by: the parameters of the epoch with the least log loss
                on them are kept. None: all epochs run and the last one counts.
            label: Column of labels, in tables.
            weight: Column of weights, in tables.
            progress: `"auto"`, `"bars"`, `"json"` or `"none"`, on standard error.
            on_epoch: Called after every epoch.

        Returns:
            Itself.

        Raises:
            ConfigError: The model has no feature class to read a table with.
            DataError: A row cannot be encoded, a label is not 0 or 1, all labels are equal, there
                are no rows, or the loss grew beyond all bounds.
        """
        with Progress(progress) as shown:

            def read(source: Any, name: str) -> Examples:
                if isinstance(source, Examples):
                    return source
                return self.examples(source, label=label, weight=weight, progress=shown, name=name)

            examples = read(train_rows, "training rows")
            judged = None if valid is None else read(valid, "validation rows")
            curve: list[Epoch] = []

            def follow(done: int, total: int) -> None:
                note = f"epoch {len(curve) + 1} of at most {self.training.epochs}"
                shown.show({"train": ProgressRow(done=done, total=total, note=note)})

            def close(epoch: Epoch) -> None:
                curve.append(epoch)
                shown.line(str(epoch))
                if on_epoch is not None:
                    on_epoch(epoch)

            fit = train(
                self.kind,
                examples.rows,
                examples.labels,
                weights=examples.weights,
                valid=None if judged is None else (judged.rows, judged.labels, judged.weights),
                settings=self.training,
                start=self.arrays or None,
                on_epoch=close,
                on_progress=follow,
                **self.settings(),
            )
        self.calibration = None
        self.curve = curve
        self.example = examples.first
        self.take(fit.parameters)
        best = fit.epochs[fit.best_epoch - 1]
        self.metrics = {
            "rows": len(examples),
            "epochs": best.number,
            "train_log_loss": best.train_log_loss,
        }
        if judged is not None:
            self.metrics |= {f"valid_{name}": v for name, v in self.evaluate(judged).items()}
        return self

    def make_kernel(self) -> Any:
        """The forward pass over `self.arrays`."""
        return make_kernel(self.kind, self.arrays, **self.settings())

    @property
    def num_slots(self) -> int:
        """S: slots that the parameters have."""
        return len(self.arrays["linear"])


class Linear(Learner):
    """Sparse logistic regression: a weight for every slot.

    Args:
        features: The class that makes its rows; None for a model of plain `SparseRows`.
        group: The group of the class's features that it uses; None for all.
        training: How it learns.
    """

    kind: ClassVar[Kind] = "linear"


class Fm(Learner):
    """Factorization machine: a weight for every slot, and a vector, whose products weigh pairs.

    Args:
        features: The class that makes its rows; None for a model of plain `SparseRows`.
        dim: Length of a slot's vector, k.
        group: The group of the class's features that it uses; None for all.
        training: How it learns.

    Source: Rendle 2010, "Factorization Machines", equation 1.
    """

    kind: ClassVar[Kind] = "fm"

    def __init__(
        self,
        features: type[Features] | None = None,
        *,
        dim: int = 8,
        group: str | None = None,
        training: Training | None = None,
    ) -> None:
        super().__init__(features, group=group, training=training)
        self.dim = _checked_dim(dim)

    def settings(self) -> dict[str, Any]:
        """The length of the vectors."""
        return {"dim": self.dim}


class Ffm(Learner):
    """Field-aware factorization machine: a slot has a vector for every feature it can meet.

    Its latent parameters are slots x features x dim numbers: choose the sizes of hashed features
    by what memory allows.

    Args:
        features: The class that makes its rows; None for a model of plain `SparseRows`.
        dim: Length of a vector, k.
        normalize: Whether the pairs of a row are divided by the sum of its squared values.
        linear: Whether it also has a bias and a weight for every slot; libffm has none.
        group: The group of the class's features that it uses; None for all.
        training: How it learns.

    Source: Juan, Zhuang, Chin and Lin 2016, "Field-aware Factorization Machines for CTR
    Prediction", equation 4 and algorithm 1.
    """

    kind: ClassVar[Kind] = "ffm"

    def __init__(
        self,
        features: type[Features] | None = None,
        *,
        dim: int = 4,
        normalize: bool = True,
        linear: bool = True,
        group: str | None = None,
        training: Training | None = None,
    ) -> None:
        super().__init__(features, group=group, training=training)
        self.dim = _checked_dim(dim)
        self.normalize = normalize
        self.linear = linear

    def settings(self) -> dict[str, Any]:
        """The length of the vectors, whether rows are normalised, and the linear part."""
        return {"dim": self.dim, "normalize": self.normalize, "linear": self.linear}

    def make_kernel(self) -> Any:
        """The forward pass over `self.arrays`."""
        return make_kernel(self.kind, self.arrays, dim=self.dim, normalize=self.normalize)

    @classmethod
    def from_libffm(cls, path: str | Path) -> Self:
        """A model that libffm trained, for rows that `Examples.from_libffm` reads.

        Args:
            path: Its model file, binary or text.

        Returns:
            A model ready to predict.

        Raises:
            NotFound: There is no such file.
            DataError: It is no such model.
        """
        arrays, normalize = read_model(path)
        return cls(dim=arrays["latent"].shape[2], normalize=normalize, linear=False).take(arrays)

    def to_libffm(self, path: str | Path, *, is_binary: bool = True) -> None:
        """Writes the model for libffm.

        Args:
            path: The file; an existing one is replaced.
            is_binary: As libffm 1.2 on x86 reads it; otherwise the text form.

        Raises:
            DataError: It has a bias or linear weights, which libffm has not: train with
                `linear=False`. Or the file cannot be written.
        """
        write_model(path, self.arrays, normalize=self.normalize, is_binary=is_binary)


def _checked_dim(dim: int) -> int:
    if not isinstance(dim, int | np.integer) or not 1 <= dim <= 1024:
        raise ConfigError(f"dim is {dim!r}; it must be a whole number from 1 to 1024.")
    return int(dim)
