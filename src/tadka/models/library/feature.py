"""What models of clicks and ratings share: columns that parameters name, and the data behind them.

A model of this kind is a net over `Groups`; see `library/fm.py`. In YAML:

    model: {name: fm, fields: [user, item], side: [users, items], history: true, target: rating}

Shapes: B rows of a batch, F fields, N numbers, P places of side features, U users, E pairs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.models.define.column import Column
from tadka.models.define.encode import encode
from tadka.models.define.model import Prepared, Rows
from tadka.models.library.side import codes_of, learn
from tadka.models.loss.pairs import to_csr
from tadka.models.net.groups import Groups
from tadka.models.net.pairs import Histories
from tadka.models.train.torch import TorchModel

Target = Literal["binary", "rating"]
LABEL = "label"


def columns_of(
    fields: Sequence[str], numbers: Sequence[str], bags: Sequence[str], target: Target
) -> tuple[Column, ...]:
    """The columns that a model takes in.

    Args:
        fields: Names of columns with one value a row, each with a vocabulary.
        numbers: Names of columns of numbers.
        bags: Names of list columns.
        target: What the label is: 0 or 1, or a number.
    """
    values = (0, 1) if target == "binary" else ()
    return (
        *(Column(name, "key", vocabulary=True) for name in fields),
        *(Column(name, "float32") for name in numbers),
        *(Column(name, "list[int64]", vocabulary=True) for name in bags),
        Column(LABEL, "float32", role="label", values=values),
    )


@dataclass(frozen=True, kw_only=True)
class FeatureModel(TorchModel):
    """A model of clicks or ratings by features of a row.

    Args:
        target: `binary` for labels 0 and 1 and log loss, `rating` for numbers and squared error.
        fields: Columns with one value a row.
        numbers: Columns of numbers; they are brought to mean 0 and deviation 1.
        bags: Columns of lists.
        side: Further tables whose columns are features: each has one of the fields as its key.
        history: Whether users are described by the items they have in train too, and items by
            their users; the fields `user_column` and `item_column`.
        dropout: Share of what is left out in training.
    """

    inputs = columns_of(("user", "item"), (), (), "binary")

    target: Target = "binary"
    fields: tuple[str, ...] = ("user", "item")
    numbers: tuple[str, ...] = ()
    bags: tuple[str, ...] = ()
    side: tuple[str, ...] = ()
    history: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        pair = (self.user_column, self.item_column)
        if not self.fields:
            raise ConfigError("model.fields is empty; it must name at least one column.")
        if self.history and not set(pair) <= set(self.fields):
            raise ConfigError(
                f"model.history is true, which needs {pair[0]!r} and {pair[1]!r} among "
                f"model.fields; they are: {', '.join(self.fields)}."
            )
        # what follows from parameters; the class has it for the parameters' defaults
        inputs = columns_of(self.fields, self.numbers, self.bags, self.target)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "task", self.target)
        object.__setattr__(self, "default_loss", "bce" if self.target == "binary" else "mse")

    def groups(self, factors: int) -> Groups:
        """The features of a batch, for the model's net.

        Args:
            factors: Length of their vectors.
        """
        size, meta = self.state.size, self.state.meta
        histories = None
        if self.history:
            histories = Histories(
                self.state["history_indptr"],
                self.state["history_items"],
                size(self.item_column),
                1 + factors,
                vocabulary=(self.user_column, self.item_column),
            )
        return Groups(
            {name: size(name) for name in self.fields},
            factors,
            numbers=len(self.numbers),
            bags={name: size(name) for name in self.bags},
            side=[places for table in self.side for places in meta["side_places"][table]],
            num_side=1 + sum(meta["num_side"][table] for table in self.side),
            histories=histories,
            pair=self._pair() if self.history else (0, 0),
        )

    @property
    def bias(self) -> float:
        """The score that fits the mean label of train."""
        return float(self.state.meta["bias"])

    def prepare(self, data: Prepared) -> Mapping[str, Any]:
        """Mean of the labels, and what numbers, side tables and histories need."""
        label_B = np.asarray(data.read("train", [LABEL])[LABEL], np.float64)
        mean = float(label_B.mean())
        if self.target == "binary":
            chance = min(max(mean, 1e-6), 1 - 1e-6)
            mean = math.log(chance / (1 - chance))
        found: dict[str, Any] = {
            "bias": mean,
            "low": float(label_B.min()),
            "high": float(label_B.max()),
        }
        if self.numbers:
            columns = data.read("train", list(self.numbers))
            number_BN = np.stack([np.asarray(columns[n], np.float64) for n in self.numbers], axis=1)
            deviation_N = number_BN.std(axis=0)
            found["number_mean"] = number_BN.mean(axis=0).astype(np.float32)
            found["number_scale"] = (1 / np.where(deviation_N > 0, deviation_N, 1)).astype("f4")
        found["side_places"], found["num_side"] = {}, {}
        for name in self.side:
            table = data.table(name)
            key = self._key_of(name, table.column_names)
            side, found["side_places"][name] = learn(
                table, key, self.state.rows(key, _plain(table[key])) > 0
            )
            found["num_side"][name] = int(side["codes"].max(initial=0))
            found[f"side.{name}.keys"], found[f"side.{name}.codes"] = side["keys"], side["codes"]
            found[f"side.{name}"] = key
        if self.history:
            pair = self.user_column, self.item_column
            columns = data.read("train", list(pair))
            user_E, item_E = (self.state.rows(name, columns[name]) for name in pair)
            indptr_U1, items_E = to_csr(user_E, item_E, self.state.size(pair[0]))
            found["history_indptr"], found["history_items"] = indptr_U1, items_E
        return found

    def train_preprocess(self, rows: Rows) -> dict[str, Any]:
        """Rows of features, each marked as one that the histories hold."""
        batch = self.predict_preprocess(rows)
        if self.history:
            batch["own"] = np.ones(len(batch["fields"]), np.float32)
        batch[LABEL] = np.asarray(rows[LABEL], np.float32)
        return batch

    def predict_preprocess(self, rows: Rows) -> dict[str, Any]:
        """Rows of features, as `Groups` takes them."""
        features = [column for column in self.inputs if column.role != "label"]
        encoded = encode(features, self.state, rows)
        batch: dict[str, Any] = {
            "fields": np.stack([encoded[name] for name in self.fields], axis=1)
        }
        if self.numbers:
            number_BN = np.stack([encoded[name] for name in self.numbers], axis=1)
            batch["numbers"] = (number_BN - self.state["number_mean"]) * self.state["number_scale"]
        for name in self.bags:
            batch[f"bag.{name}"] = encoded[name]
        if self.side:
            batch["side"] = self._side(rows)
        return batch

    def postprocess(self, rows: Rows) -> Rows:
        """Probabilities of clicks; ratings brought into the range of train."""
        if self.target == "binary":
            return super().postprocess(rows)
        meta = self.state.meta
        return {**rows, "score": np.clip(rows["score"], meta["low"], meta["high"])}

    def _pair(self) -> tuple[int, int]:
        return self.fields.index(self.user_column), self.fields.index(self.item_column)

    def _key_of(self, name: str, columns: Sequence[str]) -> str:
        keys = [field for field in self.fields if field in columns]
        if len(keys) != 1:
            raise DataError(
                f"Table {name!r} of model.side has the columns {', '.join(columns)}; exactly one "
                f"of model.fields ({', '.join(self.fields)}) must be among them, as its key."
            )
        return keys[0]

    def _side(self, rows: Rows) -> np.ndarray:
        """Numbers of side features of all tables, shape (B, P)."""
        found, used = [], 0
        for name in self.side:
            side = {part: self.state[f"side.{name}.{part}"] for part in ("keys", "codes")}
            code_BP = codes_of(side, rows[self.state.meta[f"side.{name}"]])
            found.append(np.where(code_BP > 0, code_BP + used, 0))
            used += self.state.meta["num_side"][name]
        return np.concatenate(found, axis=1)


def _plain(column: Any) -> Any:
    """A column of a table as vocabularies take it."""
    array = column.combine_chunks()
    return array.to_numpy() if array.type in ("int64", "int32") else array
