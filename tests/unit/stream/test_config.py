import re
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.stream.config import CurveKeys, TransferConfig


def test_defaults_are_in_range() -> None:
    config = TransferConfig()

    assert ("auto", 256 << 20, None) == (config.transport, config.credit_limit_bytes, config.keys)


@pytest.mark.parametrize(("size", "expected"), [("1K", 1024), (5, 5), ("1.5M", 3 << 19)])
def test_credit_is_told_in_bytes(size: str | int, expected: int) -> None:
    assert expected == TransferConfig(credit_bytes=size).credit_limit_bytes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transport": "rdma"}, "'transport' is 'rdma'; it must be one of auto, shm, ipc, tcp."),
        ({"num_credits": 0}, "'num_credits' is 0; it must be a whole number from 1."),
        ({"num_credits": 1.5}, "'num_credits' is 1.5; it must be a whole number from 1."),
        ({"num_credits": "4"}, "'num_credits' is '4'; it must be a whole number from 1."),
        ({"num_credits": True}, "'num_credits' is True; it must be a whole number from 1."),
        ({"max_restarts": -1}, "'max_restarts' is -1; it must be a whole number from 0."),
        ({"heartbeat_timeout_s": 0}, "'heartbeat_timeout_s' is 0; it must be a number from 1."),
        (
            {"heartbeat_timeout_s": float("nan")},
            "'heartbeat_timeout_s' is nan; it must be a number from 1.",
        ),
        ({"credit_bytes": "lots"}, "'credit_bytes' is 'lots'; it must be a size such as '256M'"),
        ({"credit_bytes": 0}, "'credit_bytes' is 0; it must be a size such as '256M'"),
        ({"credit_bytes": -5}, "'credit_bytes' is -5; it must be a size such as '256M'"),
        ({"credit_bytes": None}, "'credit_bytes' is None; it must be a size such as '256M'"),
    ],
)
def test_setting_out_of_range_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        TransferConfig(**options)
    assert str(caught.value).startswith("TransferConfig ")


@pytest.mark.parametrize("transport", ["auto", "shm", "ipc"])
def test_encryption_is_for_tcp(transport: Any) -> None:
    with pytest.raises(ConfigError, match=rf"curve=True and transport='{transport}'; only 'tcp'"):
        TransferConfig(curve=True, transport=transport)

    assert TransferConfig(curve=True, transport="tcp").curve


def test_keys_do_not_show() -> None:
    config = TransferConfig(keys=CurveKeys(b"public", b"secret"))

    assert "secret" not in repr(config)
