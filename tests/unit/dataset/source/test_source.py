"""How definitions and YAML name sources."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml

from tadka.core.error import ConfigError
from tadka.dataset.source.catalog import Catalog
from tadka.dataset.source.database import Database
from tadka.dataset.source.delta import Delta
from tadka.dataset.source.files import Files
from tadka.dataset.source.iceberg import Iceberg
from tadka.dataset.source.kafka import Kafka
from tadka.dataset.source.listing import InputFile, Source
from tadka.dataset.source.source import KINDS, from_config, source_of

SOURCES = [
    Files("s3://b/dt={dt}/*.parquet"),
    Files("a/*", format="csv"),
    Catalog("logs.imp"),
    Database("postgresql://u:$PASSWORD@host/db", "s.t"),
    Delta("s3://b/t"),
    Delta("t", version=3),
    Iceberg("logs.t"),
    Iceberg("logs.t", catalog="prod", snapshot=5),
    Kafka("a:1", "t"),
    Kafka("a:1", "t", start={0: 5}, end=9, options={"sasl.password": "$SECRET"}),
    Kafka("a:1", "t", start=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), end="2026-01-02T00:00+09:00"),
]


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_round_trip_through_yaml(source: Source) -> None:
    text = yaml.safe_dump(source.to_config())
    assert from_config(yaml.safe_load(text)) == source


def test_a_path_alone_is_a_text() -> None:
    assert Files("a/{x}").to_config() == "a/{x}"
    assert Delta("t").to_config() == {"kind": "delta", "uri": "t"}


def test_source_of_a_path_or_a_source() -> None:
    assert source_of("a/*.csv") == source_of(Path("a/*.csv")) == Files("a/*.csv")
    assert source_of(SOURCES[2]) is SOURCES[2]
    with pytest.raises(ConfigError, match="A source is 5; it must be"):
        source_of(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (5, "source is 5"),
        ({}, r"source\.kind is None; it must be one of files, catalog"),
        ({"kind": "csv"}, r"source\.kind is 'csv'"),
        ({"kind": "delta"}, r"source\.uri is missing"),
        ({"kind": "delta", "uri": "t", "verison": 1}, r"source\.verison is not known.*version"),
    ],
)
def test_yaml_that_names_no_source(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_config(given)


def test_a_catalog_gives_no_files() -> None:
    listing = Catalog("logs.imp").resolve({})
    assert (list(listing.files), listing.snapshot, listing.num_bytes) == ([], None, 0)
    with pytest.raises(ConfigError, match="has no name"):
        Catalog(" ")


def test_partition_names_say_what_a_path_has() -> None:
    assert {
        "files": ("dt",),
        "catalog": None,
        "database": (),
        "delta": None,
        "iceberg": None,
        "kafka": (),
    } == {type(s).__name__.lower(): s.partition_names for s in reversed(SOURCES) if s != SOURCES[1]}
    assert set(KINDS) == {"files", "catalog", "database", "delta", "iceberg", "kafka"}


def test_a_source_of_ones_own_must_say_how_it_is_read() -> None:
    file = InputFile("a", {}, 0, "", "mine")
    for call in (lambda: Source().resolve({}), lambda: Source().batches(file, {})):
        with pytest.raises(NotImplementedError):
            call()
