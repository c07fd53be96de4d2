"""CatBoost's trees, from a model in memory or its JSON file."""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.scoring.forest_draft import MISSING_RIGHT, ForestDraft, Split

_LINKS: Final = {
    "Logloss": "logistic",
    "CrossEntropy": "logistic",
    "Focal": "logistic",
    "Poisson": "exp",
    "Tweedie": "exp",
}


def model_json(model: Any) -> dict[str, Any]:
    """The JSON of a trained model.

    Args:
        model: `catboost.CatBoost` or an estimator such as `CatBoostClassifier`.

    Returns:
        The document.

    Raises:
        ConfigError: The model is not trained, or this is none.
    """
    if not hasattr(model, "save_model"):
        raise ConfigError(f"{type(model).__name__!r} is no CatBoost model.")
    if not model.is_fitted():
        raise ConfigError(f"The {type(model).__name__} is not fitted. Call fit first.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.json")
        model.save_model(str(file), format="json")
        document: dict[str, Any] = json.loads(file.read_bytes())
    return document


def read(document: dict[str, Any], source: str) -> ForestDraft:
    """The trees of a model's JSON.

    Args:
        document: What `save_model(file, format="json")` writes.
        source: Name for messages.

    Returns:
        The draft of a forest.

    Raises:
        ConfigError: The model has several outputs, or features that are computed when scoring
            (counters of categories, text, embeddings).
        DataError: The document is damaged.

    Source: CatBoost, `evaluator_impl.cpp` (`CalcTreesSingleDocImpl`) and `quantization.h`.
    """
    try:
        return _read(document, source)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, (ConfigError, DataError)):
            raise
        raise DataError(
            f"{source!r} is no CatBoost model that can be read ({type(error).__name__}: {error}). "
            "Save it again with save_model(file, format='json')."
        ) from error


def _read(document: dict[str, Any], source: str) -> ForestDraft:
    information = document["features_info"]
    features = [feature for group in information.values() for feature in group or ()]
    features = [feature for feature in features if "flat_feature_index" in feature]
    names = {f["flat_feature_index"]: f.get("feature_id") for f in features}
    if sorted(names) != list(range(len(names))):
        raise DataError(f"{source!r} does not number its columns from 0. Save it again.")
    draft = ForestDraft("catboost", source, [names[n] or str(n) for n in range(len(names))])
    scale, shifts = document["scale_and_bias"]
    shifts = shifts if isinstance(shifts, list) else [shifts]
    if len(shifts) > 1:
        raise ConfigError(
            f"{source!r} has {len(shifts)} outputs. Trees are read of models with one: "
            "binary classification, regression, ranking."
        )
    draft.scale, draft.shift = float(scale), float(shifts[0]) if shifts else 0.0
    draft.link = _LINKS.get(_loss(document), "identity")
    reader = _SplitReader(information, draft)
    if "oblivious_trees" in document:
        for tree in document["oblivious_trees"]:
            levels = [reader.read(split) for split in tree["splits"] or []]
            draft.add_levels(levels, [float(value) for value in tree["leaf_values"]])
    else:
        for tree in document["trees"]:
            draft.add_tree(_nodes(tree, reader))
    return draft


def _loss(document: dict[str, Any]) -> str:
    """Name of the loss, "" if the document does not say."""
    parameters = document.get("model_info", {}).get("params", {})
    if isinstance(parameters, str):
        parameters = json.loads(parameters)
    return str(parameters.get("loss_function", {}).get("type", ""))


class _SplitReader:
    """Splits of the document, which name a feature by its number within its kind."""

    def __init__(self, information: dict[str, Any], draft: ForestDraft) -> None:
        self._draft = draft
        self._columns: dict[int, int] = {}
        self._missing: dict[int, int] = {}
        for feature in information.get("float_features") or []:
            number = feature["feature_index"]
            self._columns[number] = feature["flat_feature_index"]
            # NaN is above no border, unless the training rows had NaN and it was to be the largest.
            treatment = feature["nan_value_treatment"] if feature["has_nans"] else "AsIs"
            self._missing[number] = MISSING_RIGHT if treatment == "AsTrue" else 0
        self._categories: dict[int, tuple[int, dict[int, int]]] = {}
        for feature in information.get("categorical_features") or []:
            hashes = sorted({value & 0xFFFFFFFF for value in feature.get("values") or []})
            codes = {value: code for code, value in enumerate(hashes)}
            column = feature["flat_feature_index"]
            self._categories[feature["feature_index"]] = (column, codes)
            if hashes:
                draft.keys[column] = hashes

    def read(self, split: dict[str, Any], left: int = -1, right: int = -1) -> Split:
        """The question that a split asks."""
        kind = split["split_type"]
        if kind == "FloatFeature":
            number = split["float_feature_index"]
            with np.errstate(over="ignore"):
                border = float(np.float32(split["border"]))
            return Split(self._columns[number], border, self._missing[number], left, right)
        if kind == "OneHotFeature":
            column, codes = self._categories[split["cat_feature_index"]]
            code = codes[split["value"] & 0xFFFFFFFF]
            return Split(column, 0.0, 0, left, right, codes=[code], listed_left=False)
        if kind == "OnlineCtr":
            raise ConfigError(
                f"{self._draft.source!r} splits by counters of categories, which are not "
                "supported. Train with one_hot_max_size as large as the largest number of "
                "categories (at most 255), or encode the categories before training."
            )
        raise ConfigError(
            f"{self._draft.source!r} splits by {kind!r}, which is not supported; "
            "only numeric and one-hot features are."
        )


def _nodes(tree: dict[str, Any], reader: _SplitReader) -> list[Split | float]:
    """A tree of `left` and `right`, as a list."""
    nodes: list[Split | float] = []
    waiting = [tree]
    for node in waiting:  # grows while it is read
        if "split" not in node:
            nodes.append(float(node["value"]))
            continue
        nodes.append(reader.read(node["split"], len(waiting), len(waiting) + 1))
        waiting += [node["left"], node["right"]]
    return nodes


def hash_category(value: float) -> int:
    """CatBoost's 32-bit hash of a category that is an integer; -1 where no text is defined.

    CatBoost hashes the text of a category. That of an integer is decimal; NaN is taken for the
    text `nan`. A fraction, an infinity or an integer beyond 2**53 has no text and is no category.

    Args:
        value: Code of the category.

    Returns:
        The low 32 bits of CityHash64 of the text.

    Source: CityHash 1.0 (Pike and Alakuijala 2011), its cases of up to 32 bytes; CatBoost,
    `CalcCatFeatureHash`.
    """
    if value != value:  # noqa: PLR0124  # NaN
        return hash_text(b"nan")
    if abs(value) > 2**53 or value != int(value):
        return -1
    return hash_text(str(int(value)).encode())


_PRIMES = (0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC949D7C7509E6557)
_MASK = (1 << 64) - 1


def hash_text(text: bytes) -> int:
    """The low 32 bits of CityHash64 (version 1.0), of 1 to 32 bytes.

    Args:
        text: What is hashed.

    Returns:
        A number in [0, 2**32).
    """
    length = len(text)
    k0, k1, k2, k3 = _PRIMES

    def word(start: int, size: int = 8) -> int:
        return int.from_bytes(text[start : start + size], "little")

    if length > 16:
        a, b = word(0) * k1 & _MASK, word(8)
        c, d = word(length - 8) * k2 & _MASK, word(length - 16) * k0 & _MASK
        low = _rotate(a - b & _MASK, 43) + _rotate(c, 30) + d
        high = a + _rotate(b ^ k3, 20) - c + length
        return _mix(low & _MASK, high & _MASK) & 0xFFFFFFFF
    if length > 8:
        a, b = word(0), word(length - 8)
        return (_mix(a, _rotate(b + length & _MASK, length)) ^ b) & 0xFFFFFFFF
    if length >= 4:
        return _mix(length + (word(0, 4) << 3), word(length - 4, 4)) & 0xFFFFFFFF
    y = text[0] + (text[length >> 1] << 8)
    z = length + (text[-1] << 2)
    mixed = (y * k2 ^ z * k3) & _MASK
    return ((mixed ^ mixed >> 47) * k2) & 0xFFFFFFFF


def _rotate(word: int, by: int) -> int:
    return (word >> by | word << (64 - by)) & _MASK


def _mix(low: int, high: int) -> int:
    """Of 128 bits 64, by Murmur's multiplications."""
    factor = 0x9DDFEA08EB382D69
    a = ((low ^ high) * factor) & _MASK
    a ^= a >> 47
    b = ((high ^ a) * factor) & _MASK
    b ^= b >> 47
    return (b * factor) & _MASK
