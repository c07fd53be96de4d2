"""Models that answer one row in a microsecond, applied without a framework."""

from tadka.scoring.calibration import Isotonic, Platt
from tadka.scoring.config import FitConfig, fit
from tadka.scoring.dense import Dense
from tadka.scoring.directory import load
from tadka.scoring.example import Examples
from tadka.scoring.forest import Forest
from tadka.scoring.learner import Ffm, Fm, Learner, Linear
from tadka.scoring.matrix import category_columns, feature_matrix
from tadka.scoring.metric import auc, calibration_ratio, log_loss
from tadka.scoring.model import Model
from tadka.scoring.training import Epoch, Training
from tadka.scoring.trees import Trees

__all__ = [
    "Dense",
    "Epoch",
    "Examples",
    "Ffm",
    "FitConfig",
    "Fm",
    "Forest",
    "Isotonic",
    "Learner",
    "Linear",
    "Model",
    "Platt",
    "Training",
    "Trees",
    "auc",
    "calibration_ratio",
    "category_columns",
    "feature_matrix",
    "fit",
    "load",
    "log_loss",
]
