"""What a YAML file says of a training: sections data, model, stream, tracking, check."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tadka.core.config import load_config, read_config
from tadka.core.error import ConfigError
from tadka.core.locate import user_module
from tadka.core.resource import Resources
from tadka.models.data.check import CheckConfig
from tadka.models.data.config import DataConfig
from tadka.models.define.catalog import get
from tadka.models.define.model import Model


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """What training may use.

    Args:
        ranks: Processes that train together.
        cpu: Cores of each.
        memory: Limit of each, as "4G".
        gpu: GPUs of each.
    """

    ranks: int = 1
    cpu: float = 1
    memory: str | None = None
    gpu: int = 0


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How the five functions run.

    Args:
        on: `local`: processes on this machine. `here`: this process alone, for a debugger.
        checkpoint_s: Seconds after which a checkpoint is written within an epoch, too; 0 for
            those at the ends of epochs alone.
        preprocess: Resources of the stage before the model.
        train: Of training.
        predict: Of prediction.
        postprocess: Of the stage after it.

    Raises:
        ConfigError: A number is out of range, or a stage is given what stages do not have.
    """

    on: Literal["local", "here"] = "local"
    checkpoint_s: float = 600.0
    preprocess: Resources = field(default_factory=Resources)
    train: Ranks = field(default_factory=Ranks)
    predict: Resources = field(default_factory=Resources)
    postprocess: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        if not 0 <= self.checkpoint_s < math.inf:
            raise ConfigError(
                f"stream.checkpoint_s is {self.checkpoint_s!r}; it must be 0 or more seconds."
            )
        for stage in ("preprocess", "predict", "postprocess"):
            resources: Resources = getattr(self, stage)
            for key in ("image", "timeout_s"):
                if (value := getattr(resources, key)) is not None:
                    raise ConfigError(
                        f"stream.{stage}.{key} is {value!r}; a stage has cpu, memory, gpu and "
                        "replicas. Leave it out."
                    )

    def options(self, stage: Literal["preprocess", "predict", "postprocess"]) -> dict[str, Any]:
        """What `tadka.stream.Stage` is told of a stage's resources.

        Args:
            stage: Which.
        """
        of: Resources = getattr(self, stage)
        return {"replicas": of.replicas, "cpu": of.cpu, "memory": of.memory, "gpu": of.gpu}


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where runs are kept.

    Args:
        uri: Of MLflow: `sqlite:///FILE` or a server; None for TADKA_TRACKING, else
            `sqlite:///runs/registry.db`.
        experiment: Name of the experiment.
        offline: Keep everything in the run's folder; `tadka model send RUN` brings it later.
        folder: Where the folders of runs lie.
    """

    uri: str | None = None
    experiment: str = "tadka"
    offline: bool = False
    folder: str = "runs/models"

    @property
    def data(self) -> Path:
        """Where prepared rows lie: beside the folders of runs, which share them."""
        return Path(self.folder) / "data"


@dataclass(frozen=True, kw_only=True)
class Config:
    """A training, ready to be begun.

    Args:
        data: Rows.
        model: The model with its parameters.
        stream: Resources.
        tracking: Where the run is kept.
        check: What the checker of data accepts.
        module: Module or file that registers the model, where tadka does not have it.
    """

    data: DataConfig
    model: Model
    stream: StreamConfig = field(default_factory=StreamConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    check: CheckConfig = field(default_factory=CheckConfig)
    module: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, of which `read` makes an equal configuration."""
        model = {"name": self.model.name, **self.model.params}
        if self.module:
            model["module"] = self.module
        return {
            "data": dataclasses.asdict(self.data),
            "model": model,
            "stream": dataclasses.asdict(self.stream),
            "tracking": dataclasses.asdict(self.tracking),
            "check": dataclasses.asdict(self.check),
        }


def read(source: Config | str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """A configuration from a YAML file or a mapping.

    Args:
        source: Path, or the values; a configuration that is read already stays as it is, but for
            what wins over it.
        overrides: Settings that win, as `"model.lr=0.1"`.

    Raises:
        NotFound: There is no such file.
        ConfigError: A key or a value is wrong, with the key's path; or there is no such model.
    """
    if isinstance(source, Config):
        if not overrides:
            return source
        source = source.to_dict()
    values = read_config(source, overrides)
    section = values.get("model")
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        raise ConfigError(
            "Key 'model.name' is missing: say which model, as in model: {name: fm}. "
            "`tadka model list` shows all."
        )
    name, module = section.pop("name"), section.pop("module", None)
    if module is not None:
        module = str(module)
        user_module(module, "my_models.py")
        if module.endswith(".py"):  # the run is read from other working directories, too
            module = str(Path(module).resolve())
    cls = get(name)
    if isinstance(values.get("tracking"), str):
        values["tracking"] = {"uri": values["tracking"]}
    # A dataclass of its own for each model, so that mistakes name the whole path of a key.
    whole = dataclasses.make_dataclass(
        "Configuration",
        [  # in the order of the sections
            ("data", DataConfig),
            ("model", cls, field(default_factory=cls)),
            ("stream", StreamConfig, field(default_factory=StreamConfig)),
            ("tracking", TrackingConfig, field(default_factory=TrackingConfig)),
            ("check", CheckConfig, field(default_factory=CheckConfig)),
        ],
        frozen=True,
        kw_only=True,
    )
    is_file = not isinstance(source, Mapping)
    found: Any = load_config(
        whole, values, name=f"Configuration {str(source)!r}" if is_file else None
    )
    return Config(
        data=found.data,
        model=found.model,
        stream=found.stream,
        tracking=found.tracking,
        check=found.check,
        module=module,
    )
