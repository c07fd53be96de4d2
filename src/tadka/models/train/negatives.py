"""The file of negatives of a configuration's data, for sampled ranking."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.models.data.prepare import prepare
from tadka.models.loss.negatives import popularity
from tadka.models.loss.pairs import to_csr
from tadka.models.measure.sampled import write_negatives
from tadka.models.train.config import Config, read
from tadka.models.train.evaluate import BEFORE, places, positives


def draw_negatives(
    config: Config | str | Path | Mapping[str, Any],
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    part: str = "test",
    num: int = 100,
    power: float = 0.0,
    seed: int = 0,
) -> int:
    """Draws items that users have not taken, once, and keeps them in a file.

    They are items of train, as ids, so the file outlives vocabularies; name it at
    `data.negatives`, or give it to `evaluate`.

    Args:
        config: A configuration of a model that ranks, its file, or its values.
        out: A `.parquet` or `.npz` file; it is replaced.
        overrides: Settings that win over it.
        part: Whose users it is for.
        num: Distinct negatives of each user; all that are left where there are fewer.
        power: Popularity to this power is how often an item is drawn; 0: all alike.
        seed: The same seed and data give the same file.

    Returns:
        Pairs written.

    Raises:
        ConfigError: The configuration is wrong, its model does not rank, or a number is out of
            range.
        NotFound: A file is missing.
        DataError: The part has no rows.
    """
    config = read(config, overrides)
    model = config.model
    if model.task != "ranking":
        raise ConfigError(
            f"Model {model.name!r} has task={model.task!r}; negatives are for models that rank."
        )
    data = prepare(config.data, config.tracking.data)
    if not data.num_rows(part):
        raise DataError(f"The data have no rows in the part {part!r}; choose another, or a split.")
    tested_users, tested_items = positives(model, data, part)
    before = [positives(model, data, name) for name in BEFORE[part] if data.num_rows(name)]
    users = np.unique(tested_users)
    items = np.unique(before[0][1]) if before else np.unique(tested_items)
    seen_users = np.concatenate([tested_users[:0], *(pairs[0] for pairs in before)])
    seen_items = np.concatenate([tested_items[:0], *(pairs[1] for pairs in before)])
    is_tested = places(users, seen_users) >= 0
    seen = places(users, seen_users[is_tested]), 1 + places(items, seen_items[is_tested])
    return write_negatives(
        out,
        to_csr(*seen, len(users)),
        to_csr(places(users, tested_users), 1 + places(items, tested_items), len(users)),
        len(items) + 1,
        num=num,
        seed=seed,
        share=popularity(len(items) + 1, 1 + places(items, seen_items), power) if power else None,
        user_ids=users,
        item_ids=np.concatenate([items[:1], items]),  # row 0 is no item
    )
