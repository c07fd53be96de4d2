from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.models.train.config import read


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": {"name": "two_tower", "reg": 0.1}}, r"model\.reg"),
        ({"model": {"name": "two_tower", "negatives": 4}}, r"model\.negatives"),
        ({"model": {"name": "two_tower", "loss": "bpr"}}, r"model\.loss"),
        ({"model": {"name": "representation", "reg": 0.1}}, r"model\.reg"),
        (
            {"model": {"name": "resnet", "head": "arcface", "loss": "focal"}},
            "'arcface', which has a loss of its own",
        ),
        ({"stream": {"preprocess": {"timeout_s": 5}}}, r"stream\.preprocess\.timeout_s is 5"),
        ({"stream": {"predict": {"image": "x"}}}, r"stream\.predict\.image is 'x'"),
        ({"stream": {"checkpoint_s": -1}}, r"stream\.checkpoint_s is -1"),
    ],
)
def test_settings_that_nothing_would_heed_are_refused(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read({"data": {"train": "rows.parquet"}, "model": {"name": "fm"}, **sections})


def test_what_stages_of_a_training_and_of_a_prediction_get_is_said_once() -> None:
    config = read(
        {
            "data": {"train": "rows.parquet"},
            "model": {"name": "fm"},
            "stream": {"preprocess": {"replicas": 2, "gpu": 1, "memory": "1G", "cpu": 0.5}},
        }
    )

    assert {"replicas": 2, "cpu": 0.5, "memory": "1G", "gpu": 1} == config.stream.options(
        "preprocess"
    )
