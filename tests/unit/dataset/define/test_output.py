"""How a version is written."""

import dataclasses
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.define.output import Output


def test_defaults() -> None:
    output = Output()
    assert (128 << 20, "parquet", (), "zstd") == dataclasses.astuple(output)


def test_sizes_may_be_texts_and_lists_become_tuples() -> None:
    output = Output("1.5MiB", "csv", ["split"], "gzip")
    assert 1_572_864 == output.target_file_bytes
    assert ("split",) == output.partition_by
    assert output == dataclasses.replace(output)
    assert Output(target_file_bytes=1 << 20) == Output("1M")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"target_file_bytes": 5}, "is 5; it must be at least 1024"),
        ({"target_file_bytes": "much"}, "Size 'much' is not understood"),
        ({"target_file_bytes": -5}, "Size -5 is not understood"),
        ({"format": "orc"}, "it must be one of parquet, jsonl, csv"),
        ({"compression": "lz4"}, "for parquet it must be one of zstd, snappy, gzip, none"),
        ({"format": "csv", "compression": "snappy"}, "for csv it must be one of zstd, gzip, none"),
        ({"partition_by": "split"}, "must be a list of columns, such as ['split']"),
        ({"partition_by": [5]}, "must be a list of columns"),
        ({"partition_by": 5}, "must be a list of columns"),
    ],
)
def test_refuses(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Output(**values)
    assert expected in str(caught.value)
