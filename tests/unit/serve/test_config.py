"""Settings of a server: what is refused, and what follows from them."""

import os
from pathlib import Path
from typing import Any

import pytest

from tadka.core.config import dump_config, load_config
from tadka.core.error import ConfigError
from tadka.serve.config import ServeConfig


@pytest.mark.parametrize(
    ("setting", "value", "accepted"),
    [
        ("workers", 0, "a whole number from 1 to 1,024"),
        ("workers", 1.5, "a whole number"),
        ("workers", True, "a whole number"),
        ("port", -1, "a whole number from 0 to 65,535"),
        ("port", 65536, "a whole number from 0 to 65,535"),
        ("port", None, "a whole number"),
        ("http_port", 70000, "a whole number from 0 to 65,535"),
        ("deadline_ms", 0, "a whole number from 1"),
        ("max_message_bytes", 0, "a whole number from 1"),
        ("max_message_bytes", 1 << 31, "a whole number from 1"),
        ("max_connections", 0, "a whole number from 1"),
        ("max_streams", 0, "a whole number from 1"),
        ("max_queue", 0, "a whole number from 1"),
        ("coalesce_us", 100_001, "a whole number from 0 to 100,000"),
        ("header_s", 0, "seconds above 0"),
        ("idle_s", float("nan"), "seconds above 0"),
        ("grace_s", -1, "seconds, at least 0"),
        ("log", "", "text that is not empty, or None"),
        ("log_share", 1.1, "a share from 0 to 1"),
        ("log_share", "all", "a share from 0 to 1"),
        ("log_rotate_s", 0, "seconds above 0"),
        ("log_rotate_bytes", 0, "a whole number from 1,024"),
        ("transport", "http", "one of auto, native, grpcio"),
        ("store", "", "text that is not empty"),
        ("host", " ", "text that is not empty"),
        ("features", "", "text that is not empty, or None"),
    ],
)
def test_a_setting_out_of_range_is_named_with_what_is_accepted(
    setting: str, value: Any, accepted: str
) -> None:
    with pytest.raises(ConfigError, match=f"Setting '{setting}' is .* it must be {accepted}"):
        ServeConfig(**{setting: value})


def test_http_takes_the_port_after_that_of_grpc() -> None:
    assert 50052 == ServeConfig().wanted_http_port
    assert 8080 == ServeConfig(http_port=8080).wanted_http_port


def test_http_takes_any_port_where_grpc_does() -> None:
    assert 0 == ServeConfig(port=0).wanted_http_port
    assert 8080 == ServeConfig(port=0, http_port=8080).wanted_http_port


def test_the_two_ports_must_differ() -> None:
    with pytest.raises(ConfigError, match="'port' and 'http_port' are both 8080"):
        ServeConfig(port=8080, http_port=8080)


def test_the_last_port_has_none_after_it() -> None:
    with pytest.raises(ConfigError, match="There is no port after 65535"):
        ServeConfig(port=65535)
    assert 65535 == ServeConfig(port=65535, http_port=0).port


def test_there_is_one_worker_for_each_core_by_default() -> None:
    assert len(os.sched_getaffinity(0)) == ServeConfig().num_workers
    assert 3 == ServeConfig(workers=3).num_workers


def test_settings_are_read_from_a_file_and_written_to_one(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("store: models\nport: 9000\nlog: log\nlog_share: 0.5\n", encoding="utf-8")

    config = load_config(ServeConfig, file, ["workers=2"])

    assert ServeConfig(store="models", port=9000, log="log", log_share=0.5, workers=2) == config
    file.write_text(dump_config(config), encoding="utf-8")
    assert config == load_config(ServeConfig, file)
