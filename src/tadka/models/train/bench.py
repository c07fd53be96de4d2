"""Several models on the same data, one after the other, and one table of what came of it."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tadka.core.config import read_config
from tadka.core.error import ConfigError, DataError, MissingExtra, Unreachable
from tadka.core.hashing import digest
from tadka.core.locate import user_module
from tadka.core.progress import Mode
from tadka.models.data.prepare import prepare
from tadka.models.define.catalog import get
from tadka.models.train.code import code_of
from tadka.models.train.config import Config, read
from tadka.models.train.flow import train
from tadka.registry.environment import commit_of
from tadka.registry.registry import Registry

_OURS = ("name", "module")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model of a comparison.

    Args:
        model: Its name.
        data: Fingerprint of the data, the same for all.
        commit: Of the git repository that it ran in; empty where there is none.
        run: Id of the run; empty where it failed.
        seconds: Of all of it: data, training, evaluation, tracking.
        rows_per_s: Of training.
        memory_bytes: Of the largest process; 0 where it is not known.
        metrics: On the test part.
        error: What went wrong; empty where nothing did.
        left_out: Keys of the section `model` that it does not have.
        key: Hash of data, configuration and code.
    """

    model: str
    data: str = ""
    commit: str = ""
    run: str = ""
    seconds: float = 0.0
    rows_per_s: float = 0.0
    memory_bytes: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    left_out: tuple[str, ...] = ()
    key: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it was trained and judged."""
        return not self.error

    @property
    def reason(self) -> str:
        """What went wrong, in a line.

        Of a traceback that is the last one, of a report on the data its first error.
        """
        lines = [line.strip() for line in self.error.splitlines() if line.strip()]
        if "Traceback" in self.error:
            return lines[-1]
        return next((line for line in lines if line.startswith("error: ")), (lines or [""])[0])


def bench(
    config: str | Path | Mapping[str, Any],
    models: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    kept: str | Path | None = None,
    progress: Mode = "auto",
    on_trial: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """Trains several models on the same data; one that fails is named, and the rest goes on.

    The section `model` is that of the model it names. Others take from it the keys that they have,
    and from `models.NAME` keys of their own: `models: {lightgcn: {layers: 3}}`.

    Args:
        config: A configuration's file, or its values.
        models: Names; those of the section `models` unless given.
        overrides: Settings that win over it, as `"models.lightgcn.layers=2"`.
        kept: File of results, a line of JSON each. Those that it has of the same data,
            configuration and code are not trained again, and new ones are added as they come.
        progress: As `Flow.run` has it.
        on_trial: Is told of each result as it comes.

    Returns:
        Results in the order of `models`.

    Raises:
        ConfigError: A configuration is wrong, there is no such model, or none is named.
        NotFound: A file is missing.
        DataError: The data cannot be read, or `kept` is damaged.
        Unreachable: The tracking server does not answer.
    """
    values = read_config(config, overrides)
    configs = dict(_configs(values, models))
    before = _read_kept(kept)
    commit = commit_of()
    first = next(one for one, _ in configs.values() if isinstance(one, Config))
    tracking = first.tracking
    # before the first model, whose seconds would be more by what this takes for all of them
    Registry(tracking.uri, experiment=tracking.experiment, offline=tracking.offline)
    data = prepare(first.data, tracking.data)
    trials = []
    for name, (found, left_out) in configs.items():
        common = Trial(model=name, data=data.fingerprint, commit=commit, left_out=left_out)
        if isinstance(found, MissingExtra):
            trial = dataclasses.replace(common, error=str(found))
        else:
            key = digest((data.fingerprint, found.to_dict(), code_of(type(found.model))))
            trial = before.get(key) or _run(found, dataclasses.replace(common, key=key), progress)
            if kept is not None and trial.is_ok and key not in before:
                with Path(kept).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(dataclasses.asdict(trial)) + "\n")
        trials.append(trial)
        if on_trial is not None:
            on_trial(trial)
    return trials


def _configs(
    values: Mapping[str, Any], models: Sequence[str]
) -> Iterator[tuple[str, tuple[Config | MissingExtra, tuple[str, ...]]]]:
    """Each model's configuration, or what it lacks, with the keys that were left out for it."""
    own = values.get("models") or {}
    section = values.get("model") or {}
    if not isinstance(own, Mapping) or not isinstance(section, Mapping):
        raise ConfigError("Keys 'model' and 'models' of a comparison must be mappings.")
    wanted = list(dict.fromkeys(models or own))
    if not wanted:
        raise ConfigError(
            "No models to compare are named; say which: --models fm,lightgcn, or a section "
            "models: {fm: {dim: 16}, lightgcn: {}}."
        )
    if section.get("module"):
        user_module(str(section["module"]), "my_models.py")
    rest = {key: value for key, value in values.items() if key not in ("model", "models")}
    is_any = False
    for name in wanted:
        try:
            known = {one.name for one in dataclasses.fields(get(name))}
        except MissingExtra as error:
            yield name, (error, ())
            continue
        is_own = section.get("name") in (None, name)
        taken = {k: v for k, v in section.items() if is_own or k in known or k in _OURS}
        left_out = tuple(key for key in section if key not in taken)
        model = {**taken, "name": name, **(own.get(name) or {})}
        is_any = True
        yield name, (read({**rest, "model": model}), left_out)
    if not is_any:
        raise MissingExtra("None of the models can be imported: pip install 'tadka[models,trees]'.")


def _run(config: Config, common: Trial, progress: Mode) -> Trial:
    try:
        fit = train(config, progress=progress)
    except Unreachable:
        raise  # no other model would fare better
    except Exception as error:  # noqa: BLE001 - a model's own code, of any kind
        is_ours = type(error).__module__.startswith("tadka.")
        text = str(error) if is_ours else f"{type(error).__name__}: {error}"
        return dataclasses.replace(common, error=text or type(error).__name__)
    report = fit.report
    return dataclasses.replace(
        common,
        run=fit.run,
        seconds=fit.seconds,
        rows_per_s=report.rows_out / report.seconds if report.seconds else 0.0,
        memory_bytes=max((stage.peak_memory_bytes for stage in report.stages), default=0),
        metrics=dict(fit.metrics),
    )


def _read_kept(path: str | Path | None) -> dict[str, Trial]:
    """Results of a file by their key; none where it does not exist."""
    if path is None or not Path(path).exists():
        return {}
    found = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            values = json.loads(line)
            trial = Trial(**{**values, "left_out": tuple(values["left_out"])})
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"Line {number} of {str(path)!r} is no result of a comparison: {error}. Name "
                "another file, or delete that line."
            ) from error
        found[trial.key] = trial
    return found
