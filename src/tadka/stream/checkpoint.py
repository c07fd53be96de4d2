"""Model and data position in one atomic directory."""

import json
import pickle
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.storage.publish import publish_directory
from tadka.stream.plan import Plan, plan_differences
from tadka.stream.position import Position

_DIRECTORY = "checkpoints"
_POSITION = "position.json"
_NAME = re.compile(r"epoch-(\d+)-step-(\d+)")
# What unpickling a damaged file, or one whose classes have moved, raises.
_UNREADABLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A saved position and the directory with the model that belongs to it.

    Args:
        path: The directory.
        position: Where the stream stood.
        step: Optimizer steps a rank had taken in all.
        world_size: Ranks at that time.
        plan: `Plan.describe()` of the run.
    """

    path: Path
    position: Position
    step: int
    world_size: int
    plan: dict[str, Any]

    def load_state(self) -> dict[str, Any]:
        """What was given to `run.save`, by name; tensors lie on the CPU.

        Raises:
            DataError: It is damaged, or names a class that is gone.
            MissingExtra: It was saved with torch, which is not installed.
        """
        has_tensors = (self.path / "state.pt").exists()
        torch = require("torch", extra="torch") if has_tensors else None
        try:
            if torch is not None:
                # Each rank moves them to its own device, which may have another number now.
                path = self.path / "state.pt"
                return dict(torch.load(path, map_location="cpu", weights_only=False))
            return dict(pickle.loads((self.path / "state.pkl").read_bytes()))
        except _UNREADABLE as error:
            raise DataError(
                f"Checkpoint {str(self.path)!r} cannot be read: {error!r}. "
                "Resume from another one: run(resume='.../checkpoints/epoch-...')."
            ) from error

    def check_plan(self, plan: Plan) -> None:
        """Refuse to go on with other data.

        Raises:
            DataError: Says what differs.
        """
        changes = plan_differences(self.plan, json.loads(json.dumps(plan.describe())))
        if changes:
            more = f" and {len(changes) - 5} more changes" if len(changes) > 5 else ""
            raise DataError(
                f"Checkpoint {str(self.path)!r} belongs to other input: "
                f"{'; '.join(changes[:5])}{more}. Restore the input, or start anew without resume."
            )


def save_checkpoint(
    directory: Path,
    *,
    state: dict[str, Any],
    position: dict[str, Any],
    step: int,
    world_size: int,
    plan: dict[str, Any],
) -> Path:
    """Write a checkpoint; it is there whole or not at all."""
    name = f"epoch-{position['epoch']:04d}-step-{position['step']:09d}"
    target = directory / _DIRECTORY / name
    record = {
        "tadka": 1,
        "position": position,
        "step": step,
        "world_size": world_size,
        "saved_at": time.time(),
        "plan": plan,
    }
    torch = sys.modules.get("torch")
    with publish_directory(target, replace=True) as aside:
        if torch is not None:
            torch.save(state, aside / "state.pt")
        else:
            (aside / "state.pkl").write_bytes(pickle.dumps(state, protocol=5))
        (aside / _POSITION).write_text(json.dumps(record))
    return target


def find_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint at `path`, or the latest one of the run at `path`.

    Raises:
        NotFound: There is none.
        DataError: It cannot be read.
    """
    path = Path(path)
    if not (path / _POSITION).exists():
        found = list_checkpoints(path)
        if not found:
            raise NotFound(
                f"There is no checkpoint in {str(path)!r}. Name the run's directory or one of its "
                f"{_DIRECTORY}/epoch-*-step-*, and let the training loop call run.save(model)."
            )
        path = found[-1]
    try:
        record = json.loads((path / _POSITION).read_text())
        return Checkpoint(
            path=path,
            position=Position.from_dict(record["position"]),
            step=record["step"],
            world_size=record["world_size"],
            plan=record["plan"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"Checkpoint {str(path)!r} cannot be read: {error!r}.") from error


def list_checkpoints(directory: Path) -> list[Path]:
    """Checkpoints of a run, the oldest first.

    Args:
        directory: Of the run.
    """
    found = (directory / _DIRECTORY).glob("epoch-*")
    return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_order)


def _order(path: Path) -> tuple[int, int]:
    epoch, step = path.name.removeprefix("epoch-").split("-step-")
    return int(epoch), int(step)


def to_state(objects: dict[str, Any]) -> dict[str, Any]:
    """What is saved of each object: its ``state_dict()`` if it has one, else itself."""
    return {
        name: value.state_dict() if hasattr(value, "state_dict") else value
        for name, value in objects.items()
    }


def restore_into(objects: dict[str, Any], state: dict[str, Any], path: Path) -> None:
    """Give each object its saved state.

    Raises:
        ConfigError: An object has no saved state, or cannot take one.
    """
    for name, value in objects.items():
        if name not in state:
            raise ConfigError(
                f"Checkpoint {str(path)!r} holds {', '.join(map(repr, state))} and no {name!r}. "
                "Give run.restore the names that run.save was given."
            )
        saved = state[name]
        if hasattr(value, "load_state_dict"):
            value.load_state_dict(saved)
            continue
        if type(value) is not type(saved):
            raise ConfigError(
                f"run.restore was given a {type(value).__name__} as {name!r}, and checkpoint "
                f"{str(path)!r} holds a {type(saved).__name__}. Give what run.save was given."
            )
        if isinstance(value, dict):
            value.clear()
            value.update(saved)
        elif isinstance(value, np.ndarray):
            value[...] = saved
        elif hasattr(value, "copy_"):  # a tensor: its numbers are none of its attributes
            value.detach().copy_(saved)
        elif hasattr(value, "__dict__"):
            value.__dict__.update(saved.__dict__)
        else:
            raise ConfigError(
                f"run.restore cannot write into {name!r}, a {type(value).__name__}; give an "
                "object with load_state_dict, an array, a dict, or an object with attributes."
            )
