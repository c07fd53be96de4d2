"""A training run as a configuration file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tadka.core.error import ConfigError
from tadka.core.progress import Mode
from tadka.features.features import Features
from tadka.scoring.learner import Ffm, Fm, Learner, Linear
from tadka.scoring.training import Epoch, Training


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """What `tadka score fit` reads.

    Args:
        features: The feature class, as MODULE:CLASS.
        train: Files, patterns or folders of training rows.
        out: The model directory to make.
        model: `linear`, `fm` or `ffm`.
        valid: Files of validation rows; None to train for all epochs.
        label: Column of labels.
        weight: Column of weights.
        group: Group of the features; None for all.
        dim: Length of the latent vectors; None for the kind's default.
        normalize: Whether ffm divides the pairs of a row by the sum of its squared values.
        precision: In which the parameters are saved.
        calibration: A last step fitted on the validation rows; None for none.
        training: How it learns.
    """

    features: str
    train: str | list[str]
    out: str
    model: Literal["linear", "fm", "ffm"] = "linear"
    valid: str | list[str] | None = None
    label: str = "label"
    weight: str | None = None
    group: str | None = None
    dim: int | None = None
    normalize: bool = True
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    calibration: Literal["platt", "isotonic"] | None = None
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        if self.calibration is not None and self.valid is None:
            raise ConfigError(
                f"Calibration {self.calibration!r} is fitted on validation rows; name some by "
                "'valid'."
            )
        if self.dim is not None and self.model == "linear":
            raise ConfigError("'dim' has no meaning for model 'linear'. Remove it, or use fm.")

    def make_model(self, features: type[Features]) -> Learner:
        """The model to train.

        Args:
            features: The class that `features` names.

        Returns:
            A model without parameters.

        Raises:
            ConfigError: The class has no such group.
        """
        common: dict[str, Any] = {"group": self.group, "training": self.training}
        latent: dict[str, Any] = {} if self.dim is None else {"dim": self.dim}
        if self.model == "linear":
            return Linear(features, **common)
        if self.model == "fm":
            return Fm(features, **latent, **common)
        return Ffm(features, normalize=self.normalize, **latent, **common)


def fit(
    config: FitConfig,
    features: type[Features],
    *,
    replace: bool = False,
    progress: Mode = "auto",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Learner:
    """Trains a model as configured, and saves it.

    Args:
        config: What to do.
        features: The class that `config.features` names.
        replace: Whether an existing model directory may be replaced.
        progress: How it shows that it moves.
        on_epoch: Called after every epoch.

    Returns:
        The trained model.

    Raises:
        ConfigError: A setting is wrong.
        DataError: The rows cannot be learnt from, or the directory cannot be written.
        NotFound: There is no such file.
    """
    model = config.make_model(features)
    columns: dict[str, Any] = {"label": config.label, "weight": config.weight}
    valid = None
    if config.valid is not None:
        valid = model.examples(config.valid, name="validation rows", **columns)
    model.fit(config.train, valid=valid, progress=progress, on_epoch=on_epoch, **columns)
    if config.precision != "float32":
        model = model.to_precision(config.precision)
    if config.calibration is not None:
        model.calibrate(valid, config.calibration)
    if valid is not None and (config.precision != "float32" or config.calibration is not None):
        model.metrics |= {f"valid_{name}": v for name, v in model.evaluate(valid).items()}
    model.save(config.out, replace=replace)
    return model
